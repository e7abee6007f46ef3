"""A rule that changes reaches the days to come in the same transaction: what parents read is what the server enforces."""

import datetime as dt
import functools
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bookings.models import Booking
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from services.calendars import generate_open_days
from services.deadlines import moment_for, sentence
from services.models import Activity, ActivityPeriod, Deadline, OpenDay
from services.moments import Recomputed, recompute_limits
from services.school_calendar import SchoolCalendar, import_school_holidays, school_year
from tests.factories import ActivityFactory, DeadlineFactory, OpenDayFactory, ServiceFactory
from tests.shop import open_shop

pytestmark = pytest.mark.django_db
KEPT_BOOKING = ("open_day", "slot", "status", "period", "is_late", "ended_at", "made_by")


@functools.cache
def year() -> tuple[dt.date, dt.date]:
    """Tomorrow and a year later: both changes of the clock lie in it."""
    return today() + dt.timedelta(days=1), today() + dt.timedelta(days=366)


def opened(weekdays: list[int] | None = None, **options: Any) -> Activity:
    activity = ActivityFactory(weekdays=weekdays or [0, 1, 3, 4], term=ActivityPeriod.Kind.ALWAYS, **options)
    generate_open_days(activity=activity, first=year()[0], last=year()[1])
    return activity


def change(deadline: Deadline, **values: Any) -> Recomputed:
    for name, value in values.items():
        setattr(deadline, name, value)
    deadline.save()
    keys = Activity.objects.ruled_by(deadline).values_list("pk", flat=True)
    return recompute_limits(activities=set(keys))


def noon_before(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date - dt.timedelta(days=1), dt.time(12), tzinfo=PARIS)


def test_days_follow_and_the_sentence_is_true_across_the_clock_changes() -> None:
    activity = opened()
    rule = activity.service.booking_deadline
    assert rule is not None
    done = change(rule, offset=1, skip_weekends=False, skip_holidays=False)
    assert sentence(rule).endswith("veille à 12\u00a0h")
    days = list(OpenDay.objects.filter(activity=activity))
    assert (done.activities, done.days) == (1, len(days)) and len(days) > 150
    for day in days:
        assert day.book_until == day.cancel_until == noon_before(day.date)
        assert day.book_until.astimezone(PARIS).hour == 12
    assert {day.book_until.astimezone(PARIS).utcoffset() for day in days} == {
        dt.timedelta(hours=1),
        dt.timedelta(hours=2),
    }


def test_all_four_limits_follow() -> None:
    late = DeadlineFactory(name="Le matin même", offset=0, time=dt.time(7))
    activity = opened(cancel_deadline=DeadlineFactory(name="La veille", offset=1))
    activity.service.cancel_deadline = activity.cancel_deadline
    activity.service.save()
    rule = activity.service.booking_deadline
    assert rule is not None
    change(rule, basis="week", weekday=3, opens_weeks=4, late=late)
    calendar = SchoolCalendar.around(*year())
    for day in OpenDay.objects.filter(activity=activity):
        assert day.book_from == dt.datetime.combine(day.date - dt.timedelta(weeks=4), dt.time(), tzinfo=PARIS)
        assert day.book_until == moment_for(rule, day.date, calendar=calendar)
        assert day.late_until == dt.datetime.combine(day.date, dt.time(7), tzinfo=PARIS)
    # The second limit is a rule of its own, which reaches the same days.
    assert change(late, time=dt.time(8)).activities == 1
    assert {row.late_until.astimezone(PARIS).hour for row in OpenDay.objects.all() if row.late_until} == {8}


def test_only_those_whom_the_rule_concerns() -> None:
    rule, other = DeadlineFactory(name="La veille", offset=1), DeadlineFactory()
    service = ServiceFactory(booking_deadline=rule, cancel_deadline=other)
    named = [opened(service=service), opened(booking_deadline=rule), opened(cancel_deadline=rule)]
    opened(service=service, booking_deadline=other)
    opened()
    assert set(Activity.objects.ruled_by(rule)) == set(named)
    assert change(rule, offset=3).activities == 3


def test_days_by_hand_past_and_closed_keep_theirs() -> None:
    activity = opened()
    kept = list(OpenDay.objects.filter(activity=activity).order_by("date")[:2])
    OpenDay.objects.filter(pk=kept[0].pk).update(by_hand=True)
    OpenDay.objects.filter(pk=kept[1].pk).update(is_open=False, closed_reason="Travaux")
    kept.append(OpenDayFactory(activity=activity, date=today() - dt.timedelta(days=3)))
    before = list(OpenDay.objects.filter(pk__in=[row.pk for row in kept]).values())
    rule = activity.service.booking_deadline
    assert rule is not None
    done = change(rule, offset=5)
    assert list(OpenDay.objects.filter(pk__in=[row.pk for row in kept]).values()) == before
    assert done.by_hand == 1 and "1 jour réglé à la main garde ses limites." in done.sentences


def test_who_has_booked_loses_nothing() -> None:
    shop = open_shop(days=2)
    shop.add(days=shop.days[:1])
    rule = shop.activity.cancel_rule
    OpenDay.objects.update(by_hand=False)
    change(rule, time=dt.time(12))
    before = {row.pk: row.cancel_until for row in OpenDay.objects.all()}
    bookings = list(Booking.objects.values(*KEPT_BOOKING))
    done = change(rule, offset=20)
    booked, free = (OpenDay.objects.get(pk=row.pk) for row in shop.days)
    assert booked.cancel_until == before[booked.pk] and booked.book_until < booked.cancel_until
    assert free.cancel_until < before[free.pk]
    assert list(Booking.objects.values(*KEPT_BOOKING)) == bookings
    assert done.promised == 1 and "garde sa limite d’annulation" in done.sentences[1]


def test_a_rule_that_says_nothing_of_an_open_weekday_changes_nothing() -> None:
    activity = opened(weekdays=[2])
    before = list(OpenDay.objects.values())
    rule = activity.service.booking_deadline
    assert rule is not None
    with pytest.raises(Refused, match="ne fixe pas de limite pour le mercredi"):
        change(rule, basis="weekdays", weekday_limits=[0, None, None, None, None, None, None])
    assert list(OpenDay.objects.values()) == before


def test_again_changes_nothing_and_says_so() -> None:
    activity = opened()
    done = recompute_limits(activities=[activity.pk])
    assert done == Recomputed() and done.sentences == ["Aucun jour à venir ne change de limite."]


def test_what_is_said() -> None:
    said = Recomputed(activities=3, days=1412).sentences
    assert said == [
        "Les limites de 3 activités et 1\u202f412 jours à venir ont été recalculées\u00a0; aucune réservation n’a changé."
    ]


def test_a_day_says_what_it_was_before() -> None:
    activity = opened()
    day = OpenDay.objects.filter(activity=activity).earliest("date")
    rule = activity.service.booking_deadline
    assert rule is not None
    change(rule, offset=4)
    events: Any = OpenDay.pgh_event_model  # type: ignore[attr-defined]
    assert events.objects.get(pgh_obj=day).book_until == day.book_until


def test_many_activities_cost_the_same_queries_as_one() -> None:
    import_school_holidays(today().year - 1, today().year + 3)
    rule = DeadlineFactory()
    activity = opened(weekdays=list(range(7)))

    def cost(offset: int) -> tuple[int, int]:
        with CaptureQueriesContext(connection) as queries:
            done = change(rule, offset=offset)
        return done.days, len(queries)

    few, cheap = cost(3)
    for _more in range(4):
        opened(service=activity.service, weekdays=list(range(7)))
    many, dear = cost(4)
    assert many > 4 * few > 1000
    assert cheap == dear <= 11


def test_the_school_year_starts_where_holidays_end() -> None:
    """The first day after holidays follows the holidays that count now."""
    import_school_holidays(today().year - 1, today().year + 3)
    first = school_year(today())[1] + dt.timedelta(days=1)
    rule = DeadlineFactory(offset=1, skip_school_holidays=True)
    activity = ActivityFactory(weekdays=list(range(7)), booking_deadline=rule)
    generate_open_days(activity=activity, first=first, last=first + dt.timedelta(days=90))
    break_ = next(
        row for row in SchoolCalendar.around(first, first + dt.timedelta(days=90)).breaks if row.first_day > first
    )
    back = OpenDay.objects.filter(date__gt=break_.last_day).earliest("date")
    assert back.book_until < dt.datetime.combine(break_.first_day, dt.time(), tzinfo=PARIS)
    break_.first_day -= dt.timedelta(days=7)
    break_.save()
    assert recompute_limits(activities=[activity.pk]).days >= 1
    back.refresh_from_db()
    assert back.book_until < dt.datetime.combine(break_.first_day, dt.time(), tzinfo=PARIS)
