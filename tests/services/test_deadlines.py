"""Deadlines: the moment against a slow, obvious reference, and the sentence a parent reads."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.common.formats import NBSP, PARIS
from services.calendars import public_holidays
from services.deadlines import moment_for, sentence
from services.models import Deadline

HOLIDAYS = public_holidays(dt.date(2026, 1, 1), dt.date(2029, 12, 31))


def days(offset: int, time: str = "12:00", *, weekends: bool = True, holidays: bool = True) -> Deadline:
    return Deadline(
        basis=Deadline.Basis.DAYS,
        offset=offset,
        time=dt.time.fromisoformat(time),
        skip_weekends=weekends,
        skip_holidays=holidays,
    )


def week(weekday: int, time: str = "12:00") -> Deadline:
    return Deadline(basis=Deadline.Basis.WEEK, weekday=weekday, time=dt.time.fromisoformat(time))


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=PARIS)


@pytest.mark.parametrize(
    "rule, date, moment",
    [
        # Cruas: J-2 12:00 without weekends: for Monday, the Thursday before.
        (days(2), "2026-12-07", "2026-12-03 12:00"),
        (days(2), "2026-12-10", "2026-12-08 12:00"),
        # Armistice (Wednesday 11 November) is not counted.
        (days(2), "2026-11-12", "2026-11-09 12:00"),
        (days(2, holidays=False), "2026-11-12", "2026-11-10 12:00"),
        (days(2, weekends=False), "2026-12-07", "2026-12-05 12:00"),
        (days(0, "07:00"), "2026-12-07", "2026-12-07 07:00"),
        (days(1, "17:00", weekends=False, holidays=False), "2026-12-07", "2026-12-06 17:00"),
        # « jeudi 12 h pour la semaine suivante », from Monday to Sunday, over the year's end.
        (week(3), "2026-11-30", "2026-11-26 12:00"),
        (week(3), "2026-12-06", "2026-11-26 12:00"),
        (week(3), "2027-01-04", "2026-12-31 12:00"),
    ],
)
def test_the_moment(rule: Deadline, date: str, moment: str) -> None:
    assert moment_for(rule, dt.date.fromisoformat(date), public_holidays=HOLIDAYS) == at(moment)


def reference(rule: Deadline, date: dt.date) -> dt.datetime:
    """All the counted days before the date, written out; the offset-th last of them."""
    counted = [
        day
        for day in (date - dt.timedelta(days=back) for back in range(1, 200))
        if not (rule.skip_weekends and day.strftime("%A") in {"Saturday", "Sunday"})
        and not (rule.skip_holidays and day in HOLIDAYS)
    ]
    day = counted[rule.offset - 1] if rule.offset else date
    return dt.datetime(day.year, day.month, day.day, rule.time.hour, rule.time.minute, tzinfo=PARIS)


@given(
    offset=st.integers(0, 20),
    date=st.dates(dt.date(2026, 9, 1), dt.date(2028, 12, 31)),
    time=st.times(),
    weekends=st.booleans(),
    holidays=st.booleans(),
)
def test_the_moment_agrees_with_the_reference(
    offset: int, date: dt.date, time: dt.time, weekends: bool, holidays: bool
) -> None:
    rule = days(offset, f"{time:%H:%M}", weekends=weekends, holidays=holidays)
    assert moment_for(rule, date, public_holidays=HOLIDAYS) == reference(rule, date)


@given(date=st.dates(dt.date(2026, 9, 1), dt.date(2028, 12, 31)), weekday=st.integers(0, 6))
def test_a_weekly_deadline_is_in_the_week_before(date: dt.date, weekday: int) -> None:
    moment = moment_for(week(weekday), date, public_holidays=HOLIDAYS)
    assert moment.weekday() == weekday
    assert moment.date().isocalendar()[:2] == (date - dt.timedelta(days=7)).isocalendar()[:2]


@pytest.mark.parametrize("date", ["2026-10-25", "2027-03-28"])
def test_noon_is_noon_on_the_days_when_the_clock_changes(date: str) -> None:
    moment = moment_for(days(0), dt.date.fromisoformat(date), public_holidays=HOLIDAYS)
    assert moment.strftime("%H:%M") == "12:00"


@pytest.mark.parametrize(
    "rule, words",
    [
        (week(3), "jusqu’au jeudi 12 h pour la semaine suivante"),
        (days(0, "07:00"), "jusqu’au jour même à 7 h"),
        (days(1, "17:00", weekends=False, holidays=False), "jusqu’à la veille à 17 h"),
        (days(2), "jusqu’à deux jours avant, à 12 h (sans compter samedis et dimanches ni jours fériés)"),
    ],
)
def test_the_sentence(rule: Deadline, words: str) -> None:
    assert sentence(rule).replace(NBSP, " ") == words
