"""Deadlines: the moment against a slow, obvious reference, and the sentence a parent reads."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.common.errors import Refused
from portal.common.formats import NBSP, PARIS, WEEKDAYS
from services.deadlines import moment_for, opening_for, sentence
from services.models import Deadline, SchoolHoliday
from services.school_calendar import SchoolCalendar, packaged_holidays, public_holidays

CALENDAR = SchoolCalendar(
    public_holidays(dt.date(2025, 1, 1), dt.date(2029, 12, 31)),
    [SchoolHoliday(name=name, first_day=first, last_day=last) for name, first, last in packaged_holidays(2025, 2028)],
)
DATES = st.dates(dt.date(2026, 9, 1), dt.date(2028, 7, 31))
Skips = tuple[bool, bool, bool]
SKIPS = st.tuples(st.booleans(), st.booleans(), st.booleans())


def rule(basis: str, time: str = "12:00", skips: Skips = (False, False, False), **fields: object) -> Deadline:
    """A rule; `skips` says whether weekends, public holidays and school holidays are passed over."""
    names = ("skip_weekends", "skip_holidays", "skip_school_holidays")
    return Deadline(basis=basis, time=dt.time.fromisoformat(time), **dict(zip(names, skips, strict=True)), **fields)


def limits(**by_day: str) -> list[int | None]:
    """`lundi="jeudi 10:00"`, as the database holds it: minutes since Monday for each weekday, None where there is none."""
    found: list[int | None] = [None] * 7
    for day, text in by_day.items():
        weekday, time = text.split()
        hours, minutes = time.split(":")
        found[WEEKDAYS.index(day)] = WEEKDAYS.index(weekday) * 24 * 60 + int(hours) * 60 + int(minutes)
    return found


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=PARIS)


OFFICE = (True, True, False)
SCHOOL = (True, True, True)
CRUAS = rule("days", skips=OFFICE, offset=2)  # J-2 12 h without weekends: for Monday, the Thursday before
CUNAC = rule(
    "weekdays",
    weekday_limits=limits(lundi="jeudi 10:00", mardi="jeudi 10:00", jeudi="mardi 10:00", vendredi="mardi 10:00"),
)
HOLIDAY_CENTRE = rule("holidays", offset=3, opens_weeks=6)
EVE_CANCEL = rule("days", offset=1)
SAME_MORNING = rule("days", "07:00", offset=0)


@pytest.mark.parametrize(
    "deadline, date, moment",
    [
        (CRUAS, "2026-12-07", "2026-12-03 12:00"),
        (CRUAS, "2026-12-10", "2026-12-08 12:00"),
        # Armistice (Wednesday 11 November) is not counted.
        (CRUAS, "2026-11-12", "2026-11-09 12:00"),
        (rule("days", skips=(True, False, False), offset=2), "2026-11-12", "2026-11-10 12:00"),
        (rule("days", skips=(False, True, False), offset=2), "2026-12-07", "2026-12-05 12:00"),
        # Three working days, over the year's end.
        (rule("days", skips=OFFICE, offset=3), "2027-01-05", "2026-12-30 12:00"),
        (rule("days", "07:00", offset=0), "2026-12-07", "2026-12-07 07:00"),
        (EVE_CANCEL, "2026-12-07", "2026-12-06 12:00"),
        # The first day after the holidays (4 January): the last day of school before them (Friday 18 December).
        (rule("days", skips=SCHOOL, offset=1), "2027-01-04", "2026-12-18 12:00"),
        (rule("week", skips=SCHOOL, weekday=3), "2027-01-04", "2026-12-18 12:00"),
        # « jeudi 12 h pour la semaine suivante », from Monday to Sunday, over the year's end.
        (rule("week", weekday=3), "2026-11-30", "2026-11-26 12:00"),
        (rule("week", weekday=3), "2026-12-06", "2026-11-26 12:00"),
        (rule("week", weekday=3), "2027-01-04", "2026-12-31 12:00"),
        # Ascension is a Thursday: the office is closed, the limit is on Wednesday.
        (rule("week", skips=OFFICE, weekday=3), "2027-05-10", "2027-05-05 12:00"),
        (CUNAC, "2026-12-07", "2026-12-03 10:00"),
        (CUNAC, "2026-12-08", "2026-12-03 10:00"),
        (CUNAC, "2026-12-10", "2026-12-08 10:00"),
        (CUNAC, "2026-12-11", "2026-12-08 10:00"),
        # A limit on the same weekday is a week before, never on the day itself.
        (rule("weekdays", weekday_limits=limits(mardi="mardi 09:30")), "2026-12-08", "2026-12-01 09:30"),
        # February holidays begin on Saturday the 13th.
        (HOLIDAY_CENTRE, "2027-02-16", "2027-01-23 12:00"),
        (rule("holidays", skips=OFFICE, offset=3), "2027-02-26", "2027-01-22 12:00"),
    ],
)
def test_the_moment(deadline: Deadline, date: str, moment: str) -> None:
    assert moment_for(deadline, dt.date.fromisoformat(date), calendar=CALENDAR) == at(moment)


def skipped(day: dt.date, skips: Skips) -> bool:
    weekends, public, school = skips
    in_holidays = any(row.first_day <= day <= row.last_day for row in CALENDAR.breaks)
    return (
        (weekends and day.strftime("%A") in {"Saturday", "Sunday"})
        or (public and day in CALENDAR.public_holidays)
        or (school and in_holidays)
    )


def before(date: dt.date) -> Iterable[dt.date]:
    return (date - dt.timedelta(days=back) for back in range(1, 300))


def noon(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, 12, tzinfo=PARIS)


@given(offset=st.integers(0, 20), date=DATES, time=st.times(), skips=SKIPS)
def test_days_before_agree_with_the_reference(offset: int, date: dt.date, time: dt.time, skips: Skips) -> None:
    """All the counted days before the date, written out; the offset-th last of them."""
    counted = [date, *(day for day in before(date) if not skipped(day, skips))]
    day = counted[offset]
    moment = moment_for(rule("days", f"{time:%H:%M}", skips, offset=offset), date, calendar=CALENDAR)
    assert moment == dt.datetime(day.year, day.month, day.day, time.hour, time.minute, tzinfo=PARIS)


@given(date=DATES, weekday=st.integers(0, 6), skips=SKIPS)
def test_a_weekly_limit_agrees_with_the_reference(date: dt.date, weekday: int, skips: Skips) -> None:
    """The day of that name in the ISO week before; then back to the first that is not skipped."""
    week = (date - dt.timedelta(days=7)).isocalendar()
    named = dt.date.fromisocalendar(week.year, week.week, weekday + 1)
    day = next(day for day in [named, *before(named)] if not skipped(day, skips))
    assert moment_for(rule("week", skips=skips, weekday=weekday), date, calendar=CALENDAR) == noon(day)


@given(date=DATES, weekday=st.integers(0, 6), skips=SKIPS)
def test_a_limit_by_weekday_agrees_with_the_reference(date: dt.date, weekday: int, skips: Skips) -> None:
    """The last day of that name before the date; then back to the first that is not skipped."""
    named = next(day for day in before(date) if day.weekday() == weekday)
    day = next(day for day in [named, *before(named)] if not skipped(day, skips))
    by_day = limits(**dict.fromkeys(WEEKDAYS, f"{WEEKDAYS[weekday]} 12:00"))
    assert moment_for(rule("weekdays", skips=skips, weekday_limits=by_day), date, calendar=CALENDAR) == noon(day)


@given(date=DATES, weeks=st.integers(0, 8), more=st.integers(1, 8), skips=SKIPS)
def test_a_window_before_the_holidays_agrees_with_the_reference(
    date: dt.date, weeks: int, more: int, skips: Skips
) -> None:
    """Every day of the same holidays has the same window; outside of them a day has its own."""
    start = date
    while any(row.first_day <= start <= row.last_day for row in CALENDAR.breaks) and any(
        row.first_day <= start - dt.timedelta(days=1) and start <= row.last_day for row in CALENDAR.breaks
    ):
        start -= dt.timedelta(days=1)
    named = start - dt.timedelta(days=7 * weeks)
    day = next(day for day in [named, *before(named)] if not skipped(day, skips))
    deadline = rule("holidays", skips=skips, offset=weeks, opens_weeks=weeks + more)
    assert moment_for(deadline, date, calendar=CALENDAR) == noon(day)
    opens = start - dt.timedelta(days=7 * (weeks + more))
    assert opening_for(deadline, date, calendar=CALENDAR) == dt.datetime(*opens.timetuple()[:3], tzinfo=PARIS)


def test_a_day_may_open_some_weeks_before() -> None:
    opens = opening_for(rule("days", offset=1, opens_weeks=4), dt.date(2027, 4, 7), calendar=CALENDAR)
    assert opens == at("2027-03-10 00:00")
    assert opening_for(CRUAS, dt.date(2027, 4, 7), calendar=CALENDAR) is None


def test_a_weekday_without_a_limit_is_refused() -> None:
    with pytest.raises(Refused, match="ne fixe pas de limite pour le mercredi"):
        moment_for(CUNAC, dt.date(2026, 12, 9), calendar=CALENDAR)


@pytest.mark.parametrize("date", ["2026-10-25", "2027-03-28"])
def test_noon_is_noon_on_the_days_when_the_clock_changes(date: str) -> None:
    moment = moment_for(rule("days", offset=0), dt.date.fromisoformat(date), calendar=CALENDAR)
    assert moment.strftime("%H:%M") == "12:00"


@pytest.mark.parametrize(
    "deadline, words",
    [
        (rule("week", weekday=3), "jusqu’au jeudi 12 h pour la semaine suivante"),
        (
            rule("week", skips=OFFICE, weekday=3),
            "jusqu’au jeudi 12 h pour la semaine suivante (avancé au dernier jour ouvré s’il tombe un week-end ou un "
            "jour férié)",
        ),
        (rule("days", "07:00", offset=0), "jusqu’au jour même à 7 h"),
        (rule("days", "17:00", offset=1), "jusqu’à la veille à 17 h"),
        (CRUAS, "jusqu’à deux jours avant, à 12 h (sans compter samedis et dimanches ni jours fériés)"),
        (
            rule("days", skips=SCHOOL, offset=1),
            "jusqu’à la veille à 12 h (sans compter samedis et dimanches, jours fériés ni vacances scolaires)",
        ),
        (CUNAC, "jusqu’au jeudi 10 h pour lundi et mardi, jusqu’au mardi 10 h pour jeudi et vendredi"),
        (
            HOLIDAY_CENTRE,
            "dès six semaines avant le début des vacances, et jusqu’à trois semaines avant le début des "
            "vacances, à 12 h",
        ),
        (
            rule("days", offset=1, opens_weeks=1),
            "dès une semaine avant chaque date, et jusqu’à la veille à 12 h",
        ),
        (
            rule("week", weekday=3, late=SAME_MORNING),
            "jusqu’au jeudi 12 h pour la semaine suivante ; ensuite, jusqu’au jour même à 7 h",
        ),
        (
            rule("days", offset=1, late=SAME_MORNING, surcharge="added", surcharge_amount=Decimal("1.00")),
            "jusqu’à la veille à 12 h ; ensuite, jusqu’au jour même à 7 h avec un supplément de 1,00 €",
        ),
        (
            rule("days", offset=1, late=SAME_MORNING, surcharge="times", surcharge_amount=Decimal("2.00")),
            "jusqu’à la veille à 12 h ; ensuite, jusqu’au jour même à 7 h au double du prix",
        ),
        (
            rule(
                "days", offset=1, late=SAME_MORNING, surcharge="times", surcharge_amount=Decimal("1.50"), free_times=2
            ),
            "jusqu’à la veille à 12 h ; ensuite, jusqu’au jour même à 7 h à 1,5 fois le prix, sauf les 2 premières fois "
            "du mois",
        ),
        (
            rule(
                "days",
                offset=1,
                late=SAME_MORNING,
                surcharge="fixed",
                surcharge_amount=Decimal("6.00"),
                free_times=1,
                free_period="year",
            ),
            "jusqu’à la veille à 12 h ; ensuite, jusqu’au jour même à 7 h au prix de 6,00 €, sauf la première fois de "
            "l’année scolaire",
        ),
    ],
)
def test_the_sentence(deadline: Deadline, words: str) -> None:
    assert sentence(deadline).replace(NBSP, " ").replace("\u202f", " ") == words
