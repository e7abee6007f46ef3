"""A calendar that is made while a closure is in force: its dates are closed, however late they are made."""

import datetime as dt
from typing import Any

import pytest

from bookings.closures import actions as closures
from bookings.closures.models import Closure
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from services.calendars import generate_open_days, preview_open_days
from services.models import ActivityPeriod, Deadline, OpenDay
from tests.factories import OpenDayFactory, SchoolFactory, agent_of, only_open
from tests.guards import guarded
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db


def scene() -> tuple[Shop, dict[str, Any]]:
    """A shop with one day, and the dates of two weeks around it, of which one day alone is in the calendar yet."""
    shop = open_shop(days=1)
    only_open(shop.activity, list(range(7)), ActivityPeriod.Kind.ALWAYS)
    shop.activity.open_on_public_holidays = True
    shop.activity.save()
    day = shop.days[0].date
    return shop, {"first": day - dt.timedelta(days=1), "last": day + dt.timedelta(days=5)}


def decide(shop: Shop, scope: str = "activity", **target: Any) -> Closure:
    commune = shop.activity.service.commune
    target = target or {"activity": shop.activity}
    first = shop.days[0].date
    plan = Closure(
        scope=scope, commune=commune, first_day=first, last_day=first + dt.timedelta(days=2), reason="Neige", **target
    )
    return closures.decide(closure=plan, seen=closures.fingerprint(plan), by=agent_of(commune))


@pytest.mark.parametrize("scope", ["activity", "service", "commune"])
def test_days_made_later_are_closed_with_the_reason(scope: str) -> None:
    shop, dates = scene()
    targets = {"activity": {"activity": shop.activity}, "service": {"service": shop.activity.service}}
    closure = decide(shop, scope, **targets.get(scope, {"school": None}))
    seen = preview_open_days(activity=shop.activity, **dates)
    report = generate_open_days(activity=shop.activity, **dates)
    closed = [closure.first_day + dt.timedelta(days=n) for n in (1, 2)]
    assert report == seen and report.closed == closed and not set(closed) & set(report.opened)
    assert set(OpenDay.objects.filter(is_open=False).values_list("date", "closed_reason")) == {
        (date, "Neige") for date in [closure.first_day, *closed]
    }
    assert not generate_open_days(activity=shop.activity, **dates).changes_something
    with pytest.raises(Refused):
        shop.add(days=[OpenDay.objects.get(date=closed[0])])


def test_another_communes_calendar_and_a_closed_school_stay_open() -> None:
    shop, dates = scene()
    other, _dates = scene()
    decide(shop, "commune", school=None)
    school = SchoolFactory(commune=other.activity.service.commune)
    decide(other, "school", school=school)
    report = generate_open_days(activity=other.activity, **dates)
    assert report.opened and not report.closed


def test_taking_it_back_opens_what_was_made_since_with_todays_limits() -> None:
    shop, dates = scene()
    OpenDay.objects.update(by_hand=False)
    closure = decide(shop)
    generate_open_days(activity=shop.activity, **dates)
    Deadline.objects.update(time=dt.time(9))
    closures.undo(closure=closure, by=closure.made_by)
    days = OpenDay.objects.filter(date__range=(closure.first_day, closure.last_day))
    assert [day.is_open for day in days] == [True, True, True]
    assert {day.book_until.astimezone(PARIS).hour for day in days} == {9}
    assert not generate_open_days(activity=shop.activity, first=closure.first_day, last=closure.last_day).closed


def test_a_person_may_open_such_a_day() -> None:
    shop, dates = scene()
    decide(shop)
    day = shop.fresh()
    day.is_open, day.closed_reason, day.by_hand = True, "", True
    day.save()
    generate_open_days(activity=shop.activity, **dates)
    assert shop.fresh().is_open


def test_a_day_with_places_taken_that_was_made_open_stays_so_and_is_named() -> None:
    """As calendars made before days knew of closures may hold."""
    import pgtrigger

    shop, dates = scene()
    closure = decide(shop)
    with pgtrigger.ignore("services.OpenDay:closed_dates_open_by_hand"):
        late = OpenDayFactory(activity=shop.activity, date=closure.last_day)
        free = OpenDayFactory(activity=shop.activity, date=closure.last_day - dt.timedelta(days=1))
    shop.add(days=[late])
    report = generate_open_days(activity=shop.activity, **dates)
    assert any("reste ouvert" in line for line in report.kept) and report.changed
    late.refresh_from_db()
    free.refresh_from_db()
    assert late.is_open and not free.is_open and free.closed_reason == "Neige"


def test_the_database_makes_no_open_day_under_a_closure() -> None:
    shop, _dates = scene()
    closure = decide(shop)
    date = closure.last_day

    def seen() -> bool:
        return OpenDay.objects.filter(date=date, is_open=True).exists()

    guarded(
        "services.OpenDay:closed_dates_open_by_hand",
        lambda: OpenDayFactory(activity=shop.activity, date=date),
        "a closure is in force",
        seen,
    )
    row = OpenDayFactory(activity=shop.activity, date=date, is_open=False, closed_reason="Neige")
    guarded(
        "services.OpenDay:closed_dates_open_by_hand",
        lambda: OpenDay.objects.filter(pk=row.pk).update(is_open=True),
        "a closure is in force",
        seen,
    )
    assert date > today()
