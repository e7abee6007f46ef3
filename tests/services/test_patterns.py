"""Periods of an activity: the most exact one counts, and no two of one kind share a weekday."""

import datetime as dt
from typing import Any

import pytest
from django.db import Error, IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from portal.common.db import violated_constraint
from services.calendars import generate_open_days
from services.models import Activity, ActivityPeriod, OpenDay, SchoolHoliday
from services.patterns import Pattern
from services.school_calendar import (
    SchoolCalendar,
    import_school_holidays,
    is_summer,
    packaged_holidays,
    public_holidays,
)
from tests.factories import ActivityFactory, only_open
from tests.guards import guarded, sql

Kind = ActivityPeriod.Kind
FIRST, LAST = dt.date(2026, 9, 1), dt.date(2027, 8, 31)
BREAKS = [
    SchoolHoliday(name=name, first_day=first, last_day=last) for name, first, last in packaged_holidays(2026, 2027)
]
CALENDAR = SchoolCalendar(public_holidays(FIRST, LAST), BREAKS)
NAMES = sorted({row.name for row in BREAKS})
dates = st.dates(FIRST, LAST)


@st.composite
def periods(draw: st.DrawFn) -> list[ActivityPeriod]:
    """Some periods that do not clash, of every kind."""
    found: list[ActivityPeriod] = []
    for _index in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(Kind))
        first, last = sorted((draw(dates), draw(dates)))
        row = ActivityPeriod(
            kind=kind,
            holiday=draw(st.sampled_from(NAMES)) if kind == Kind.NAMED else "",
            first_day=first if kind == Kind.DATES else None,
            last_day=last if kind == Kind.DATES else None,
            weekdays=sorted(draw(st.sets(st.integers(0, 6)))),
            capacity=draw(st.none() | st.integers(1, 99)),
        )
        if not any(row.clashes(other) for other in found):
            found.append(row)
    return found


def slow_places(activity: Activity, rows: list[ActivityPeriod], date: dt.date) -> int | None:
    """The rule word by word: the places of a date, None when it is closed."""
    if date in CALENDAR.public_holidays and not activity.open_on_public_holidays:
        return None
    lies_in = [row for row in BREAKS if row.first_day <= date <= row.last_day]
    in_period = {
        Kind.DATES: lambda row: row.first_day <= date <= row.last_day,
        Kind.NAMED: lambda row: any(each.name == row.holiday for each in lies_in),
        Kind.SCHOOL: lambda row: not lies_in,
        Kind.SMALL: lambda row: any(not is_summer(each) for each in lies_in),
        Kind.SUMMER: lambda row: any(is_summer(each) for each in lies_in),
        Kind.HOLIDAYS: lambda row: bool(lies_in),
        Kind.ALWAYS: lambda row: True,
    }
    for kinds in ([Kind.DATES], [Kind.NAMED], [Kind.SCHOOL, Kind.SMALL, Kind.SUMMER], [Kind.HOLIDAYS], [Kind.ALWAYS]):
        speaking = [row for row in rows if row.kind in kinds and in_period[Kind(row.kind)](row)]
        if speaking:
            opening = [row for row in speaking if date.weekday() in row.weekdays]
            return (opening[0].capacity or activity.capacity) if opening else None
    return None


@given(rows=periods(), date=dates, bank_holidays=st.booleans())
def test_the_pattern_is_the_slow_rule(rows: list[ActivityPeriod], date: dt.date, bank_holidays: bool) -> None:
    activity = Activity(capacity=20, open_on_public_holidays=bank_holidays)
    pattern = Pattern(activity, rows, CALENDAR)
    period = pattern.opening(date)
    assert (pattern.capacity(period) if period else None) == slow_places(activity, rows, date)
    if period is None:
        assert pattern.why_closed(date)


@given(rows=periods(), date=dates)
def test_at_most_one_period_opens_a_date(rows: list[ActivityPeriod], date: dt.date) -> None:
    pattern = Pattern(Activity(capacity=20, open_on_public_holidays=True), rows, CALENDAR)
    assert sum(date.weekday() in row.weekdays for row in pattern.around(date)) <= 1


@pytest.mark.django_db
class TestYear:
    """A leisure centre of the guides: school Wednesdays, small holidays but Christmas, July with more places."""

    @pytest.fixture
    def days(self) -> dict[dt.date, int]:
        import_school_holidays(2026, 2027)
        activity = ActivityFactory(capacity=32)
        every = [0, 1, 2, 3, 4]
        for facts in (
            {"kind": Kind.SMALL, "weekdays": every},
            {"kind": Kind.NAMED, "holiday": "Vacances de Noël", "weekdays": []},
            {"kind": Kind.SUMMER, "weekdays": every, "capacity": 48},
            {"kind": Kind.DATES, "first_day": dt.date(2027, 8, 1), "last_day": dt.date(2027, 8, 31), "weekdays": []},
            # An exceptional opening: the Saturday of the village fête.
            {"kind": Kind.DATES, "first_day": dt.date(2027, 6, 5), "last_day": dt.date(2027, 6, 5), "weekdays": [5]},
        ):
            ActivityPeriod.objects.create(activity=activity, **facts)
        generate_open_days(activity=activity, first=FIRST, last=LAST)
        return dict(OpenDay.objects.values_list("date", "capacity"))

    @pytest.mark.parametrize(
        "date, places",
        [
            ("2026-12-16", 32),  # a school Wednesday
            ("2026-12-17", None),  # a school Thursday
            ("2026-10-22", 32),  # Toussaint
            ("2026-12-23", None),  # Christmas
            ("2027-07-15", 48),
            ("2027-07-14", None),  # a public holiday
            ("2027-08-11", None),
            ("2027-06-05", 32),
        ],
    )
    def test_a_date(self, days: dict[dt.date, int], date: str, places: int | None) -> None:
        assert days.get(dt.date.fromisoformat(date)) == places

    def test_why_a_date_is_closed(self, days: dict[dt.date, int]) -> None:
        pattern = Pattern.of(Activity.objects.get(), SchoolCalendar.around(FIRST, LAST))
        for date, reason in (
            ("2026-12-23", "vacances de Noël"),
            ("2026-11-11", "férié\u00a0: Armistice"),
            ("2026-12-13", "fermé le dimanche"),
            ("2026-12-17", "fermé le jeudi"),
        ):
            assert pattern.why_closed(dt.date.fromisoformat(date)) == reason


@pytest.mark.django_db
class TestGuards:
    def test_a_weekday_is_in_one_period_of_a_kind(self) -> None:
        activity = ActivityFactory(weekdays=[1, 2])
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "services.ActivityPeriod:one_period_per_weekday",
            lambda: ActivityPeriod.objects.create(activity=activity, kind=Kind.SCHOOL, weekdays=[2, 3]),
            "a weekday is in one period of a kind",
            lambda: activity.periods.count() == 2,
        )
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            activity.periods.create(kind=Kind.SCHOOL, weekdays=[])
        assert violated_constraint(refused.value) == "one_period_per_weekday"
        activity.periods.create(kind=Kind.SCHOOL, weekdays=[3, 4])
        activity.periods.create(kind=Kind.HOLIDAYS, weekdays=[1, 2])
        ActivityFactory(weekdays=[1, 2])

    def test_chosen_dates_clash_where_they_meet(self) -> None:
        activity = ActivityFactory()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        july = {"kind": Kind.DATES, "first_day": dt.date(2027, 7, 1), "last_day": dt.date(2027, 7, 31), "weekdays": [1]}
        activity.periods.create(**july)
        activity.periods.create(**july | {"first_day": dt.date(2027, 8, 1), "last_day": dt.date(2027, 8, 2)})
        with pytest.raises(Error, match="one period of a kind"), transaction.atomic():
            activity.periods.create(**july | {"first_day": dt.date(2027, 7, 31), "last_day": dt.date(2027, 7, 31)})

    @pytest.mark.parametrize(
        "name, facts",
        [
            ("named_period_names_its_holidays", {"kind": Kind.NAMED}),
            ("named_period_names_its_holidays", {"kind": Kind.SUMMER, "holiday": "Vacances d’été"}),
            ("period_dates_are_in_order", {"kind": Kind.DATES}),
            ("period_dates_are_in_order", {"kind": Kind.DATES, "first_day": LAST, "last_day": FIRST}),
            ("period_dates_are_in_order", {"kind": Kind.ALWAYS, "first_day": FIRST, "last_day": LAST}),
            ("period_has_places", {"kind": Kind.ALWAYS, "capacity": 0}),
            ("period_has_weekdays_of_a_week", {"kind": Kind.ALWAYS, "weekdays": [7]}),
        ],
    )
    def test_a_period_that_is_none(self, name: str, facts: dict[str, Any]) -> None:
        activity = ActivityFactory()
        only_open(activity, [0])
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no pending trigger
        row = {"activity": activity, "weekdays": [3], **facts}
        with transaction.atomic():
            sql(f"ALTER TABLE services_activityperiod DROP CONSTRAINT {name}")
            ActivityPeriod.objects.create(**row)
            assert activity.periods.count() == 2
            transaction.set_rollback(True)
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            ActivityPeriod.objects.create(**row)
