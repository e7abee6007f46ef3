"""Open days from rules: the real school calendar and holidays, again without change, bookings never touched silently."""

import datetime as dt

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.common.errors import Refused
from portal.common.formats import PARIS
from services.calendars import Report, _wanted_days, close_days, generate_open_days, preview_open_days
from services.models import Activity, ActivityPeriod, OpenDay, SchoolHoliday
from services.school_calendar import import_school_holidays, public_holidays, school_year
from tests.factories import ActivityFactory, CommuneFactory, OpenDayFactory, agent_of, only_open
from tests.shop import open_shop

pytestmark = pytest.mark.django_db
FIRST, LAST = dt.date(2026, 9, 1), dt.date(2027, 8, 31)


@pytest.fixture
def school() -> None:
    import_school_holidays(2026, 2027)


def generate(activity: Activity) -> Report:
    return generate_open_days(activity=activity, first=FIRST, last=LAST)


def dates(activity: Activity) -> set[dt.date]:
    return set(OpenDay.objects.filter(activity=activity, is_open=True).values_list("date", flat=True))


@pytest.mark.usefixtures("school")
def test_the_real_calendar_of_zone_a() -> None:
    christmas = SchoolHoliday.objects.get(first_day=dt.date(2026, 12, 19))
    assert (christmas.name, christmas.last_day) == ("Vacances de Noël", dt.date(2027, 1, 3))
    assert import_school_holidays(2026, 2027) == 0


def test_public_holidays_have_french_names() -> None:
    assert public_holidays(FIRST, LAST)[dt.date(2026, 11, 11)].startswith("Armistice")


@pytest.mark.usefixtures("school")
def test_school_days_open_and_holidays_do_not() -> None:
    activity = ActivityFactory(weekdays=[0, 1, 3, 4])
    generate(activity)
    opened = dates(activity)
    assert dt.date(2026, 12, 18) in opened  # the last Friday before Christmas
    assert dt.date(2026, 12, 21) not in opened  # holidays
    assert dt.date(2026, 12, 16) not in opened  # a Wednesday
    assert dt.date(2027, 3, 29) not in opened  # Easter Monday
    assert 130 < len(opened) < 150


@pytest.mark.usefixtures("school")
def test_holiday_activities_open_in_holidays_alone() -> None:
    activity = ActivityFactory(weekdays=[0, 1, 2, 3, 4], term=ActivityPeriod.Kind.HOLIDAYS)
    generate(activity)
    assert dt.date(2026, 12, 21) in dates(activity) and dt.date(2026, 12, 18) not in dates(activity)


@pytest.mark.usefixtures("school")
def test_running_again_changes_nothing() -> None:
    activity = ActivityFactory()
    first = generate(activity)
    before = list(OpenDay.objects.order_by("pk").values())
    again = generate(activity)
    assert len(first.opened) > 30 and not again.changes_something
    assert list(OpenDay.objects.order_by("pk").values()) == before


@pytest.mark.usefixtures("school")
def test_the_deadline_becomes_a_moment() -> None:
    activity = ActivityFactory(weekdays=[0])
    generate(activity)
    day = OpenDay.objects.get(date=dt.date(2026, 12, 7))
    assert day.book_until == dt.datetime(2026, 12, 3, 12, tzinfo=PARIS)


@pytest.mark.usefixtures("school")
def test_a_day_set_by_hand_is_left_alone() -> None:
    activity = ActivityFactory()
    generate(activity)
    day = OpenDay.objects.filter(activity=activity).first()
    assert day is not None
    day.capacity, day.by_hand = 3, True
    day.save()
    Activity.objects.update(capacity=50)
    activity.refresh_from_db()
    report = generate(activity)
    day.refresh_from_db()
    assert day.capacity == 3 and len(report.changed) == OpenDay.objects.count() - 1


@pytest.mark.usefixtures("school")
def test_a_preview_says_what_is_then_done_and_writes_nothing() -> None:
    activity = ActivityFactory(weekdays=[0, 1])
    generate(activity)
    only_open(activity, [1, 3], ActivityPeriod.Kind.SCHOOL)
    Activity.objects.update(capacity=50)
    activity.refresh_from_db()
    before = list(OpenDay.objects.order_by("pk").values())
    seen = preview_open_days(activity=activity, first=FIRST, last=LAST)
    assert list(OpenDay.objects.order_by("pk").values()) == before
    assert min(map(len, (seen.opened, seen.changed, seen.withdrawn))) > 30
    assert {day.weekday() for day in seen.opened} == {3} and {day.weekday() for day in seen.withdrawn} == {0}
    assert generate(activity) == seen


@pytest.mark.usefixtures("school")
def test_withdrawing_costs_the_same_for_one_day_as_for_fifty() -> None:
    def cost(last: dt.date) -> tuple[int, int]:
        OpenDay.objects.all().delete()
        only_open(activity, [0], ActivityPeriod.Kind.SCHOOL)
        generate(activity)
        only_open(activity, [1], ActivityPeriod.Kind.SCHOOL)
        # Only withdrawals: the new rule's own days are there already.
        OpenDay.objects.bulk_create(
            OpenDay(
                activity=activity, date=row.date, capacity=20, book_until=row.book_until, cancel_until=row.cancel_until
            )
            for row in _wanted_days(activity, FIRST, last)
        )
        with CaptureQueriesContext(connection) as queries:
            report = generate_open_days(activity=activity, first=FIRST, last=last)
        return len(report.withdrawn), len(queries)

    activity = ActivityFactory(weekdays=[0], capacity=20)
    few, cheap = cost(FIRST + dt.timedelta(days=20))
    many, dear = cost(LAST)
    assert few < 4 and many > 30
    assert cheap == dear <= 18


def test_dates_the_wrong_way_round_are_refused_in_one_sentence() -> None:
    activity = ActivityFactory(term=ActivityPeriod.Kind.ALWAYS)
    for work in (generate_open_days, preview_open_days):
        with pytest.raises(Refused) as refused:
            work(activity=activity, first=LAST, last=FIRST)
        assert refused.value.code == "dates_reversed"
    with pytest.raises(CommandError, match="est avant le premier"):
        call_command("generate_open_days", "--from", "2027-07-01", "--until", "2026-09-01")


class TestClosing:
    def test_a_day_with_places_taken_needs_a_closure(self) -> None:
        shop = open_shop(days=2)
        shop.add(days=shop.days[:1])
        with pytest.raises(Refused, match="passez par une fermeture") as refused:
            close_days(days=[day.pk for day in shop.days], reason="Grève", by=agent_of())
        assert refused.value.code == "booked" and OpenDay.objects.filter(is_open=True).count() == 2

    def test_days_are_closed_with_their_reason(self) -> None:
        open_shop(days=3)
        agent = agent_of()
        keys = list(OpenDay.objects.values_list("pk", flat=True))
        OpenDay.objects.filter(pk=keys[0]).update(is_open=False, closed_reason="Grève")
        closed = close_days(days=keys, reason=" Dégât des eaux ", by=agent)
        assert closed == 2
        reasons = list(OpenDay.objects.order_by("pk").values_list("is_open", "closed_reason"))
        assert reasons == [(False, "Grève"), (False, "Dégât des eaux"), (False, "Dégât des eaux")]
        assert OpenDay.objects.filter(pk__in=keys[1:], by_hand=True).count() == 2  # the generation leaves them so

    def test_a_reason_and_a_right_are_needed(self) -> None:
        day = OpenDayFactory()
        for days, reason, by, code in (
            ([day.pk], "  ", agent_of(), "reason_missing"),
            ([day.pk], "Grève", agent_of(CommuneFactory()), "out_of_scope"),
            ([day.pk, 0], "Grève", agent_of(), "out_of_scope"),
        ):
            with pytest.raises(Refused) as refused:
                close_days(days=days, reason=reason, by=by)
            assert refused.value.code == code
        day.refresh_from_db()
        assert day.is_open


class TestBookedDays:
    """A day that somebody holds a place on is never changed without saying so, and nobody loses by a change."""

    @pytest.fixture
    def activity(self) -> Activity:
        shop = open_shop(days=1, children=2)
        self.day = shop.days[0]
        self.first, self.last = self.day.date - dt.timedelta(days=1), self.day.date + dt.timedelta(days=1)
        shop.add()
        activity = shop.activity
        activity.open_on_public_holidays = True
        activity.save()
        return activity

    def report(self, activity: Activity) -> Report:
        return generate_open_days(activity=activity, first=self.first, last=self.last)

    def test_stays_open_when_the_rule_closes_it(self, activity: Activity) -> None:
        only_open(activity, [(self.day.date.weekday() + 3) % 7])
        report = self.report(activity)
        assert "reste ouvert" in report.kept[0] and OpenDay.objects.filter(pk=self.day.pk, is_open=True).exists()

    def test_keeps_the_places_taken_when_the_rule_has_fewer(self, activity: Activity) -> None:
        only_open(activity, [self.day.date.weekday()])
        activity.capacity = 1
        activity.save()
        report = self.report(activity)
        assert OpenDay.objects.get(pk=self.day.pk).capacity == 2
        assert "pas toute appliquée, pour ne rien retirer à 2 places prises" in report.kept[0]

    def test_keeps_the_promise_to_those_who_may_still_cancel(self, activity: Activity) -> None:
        only_open(activity, [self.day.date.weekday()])
        activity.cancel_rule.offset = 20
        activity.cancel_rule.save()
        before = OpenDay.objects.get(pk=self.day.pk).cancel_until
        self.report(activity)
        assert OpenDay.objects.get(pk=self.day.pk).cancel_until == before


@pytest.mark.usefixtures("school")
def test_a_day_once_booked_is_closed_instead_of_deleted() -> None:
    shop = open_shop(days=1)
    shop.add()
    from checkout.actions import remove_lines
    from checkout.models import CartLine

    remove_lines(user=shop.user, ids=list(CartLine.objects.values_list("pk", flat=True)))
    activity = shop.activity
    only_open(activity, [(shop.days[0].date.weekday() + 1) % 7])
    generate_open_days(activity=activity, first=shop.days[0].date, last=shop.days[0].date)
    day = OpenDay.objects.get(pk=shop.days[0].pk)
    assert not day.is_open and day.closed_reason


def test_an_unknown_school_calendar_opens_nothing() -> None:
    with pytest.raises(Refused, match="calendrier scolaire"):
        generate(ActivityFactory())
    with pytest.raises(CommandError, match="n’est connu que"):
        call_command("generate_open_days", "--from", "2040-09-01", "--until", "2041-07-01")


def test_the_command_reports_each_activity(capsys: pytest.CaptureFixture[str]) -> None:
    activity = ActivityFactory()
    call_command("generate_open_days", "--from", "2026-09-01", "--until", "2027-07-01", "--activity", str(activity.pk))
    assert "jours ouverts" in capsys.readouterr().out
    with pytest.raises(CommandError, match="Aucune activité"):
        call_command("generate_open_days", "--activity", "0")


@pytest.mark.parametrize(
    "date, start", [("2026-11-21", 2026), ("2026-08-31", 2025), ("2026-09-01", 2026), ("2027-01-01", 2026)]
)
def test_the_school_year(date: str, start: int) -> None:
    assert school_year(dt.date.fromisoformat(date)) == (dt.date(start, 9, 1), dt.date(start + 1, 8, 31))
