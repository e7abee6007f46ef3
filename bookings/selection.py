"""What is ticked on the booking page, and what its quick choices do to it.

The calendar ticks dates, which count for every chosen beneficiary; the grid ticks the days of each beneficiary apart.
Nothing here is a rule: whether a place can be had is for bookings.actions, whatever was ticked.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bookings.actions import Wish
from bookings.availability import Had
from bookings.models import Booking

T = TypeVar("T")

WEEK = dt.timedelta(weeks=1)
WHOLE_WEEK = "1234567"

# [period:]weekdays[/beneficiary], where the period is a month (2026-12) or the week of a Monday (2026-12-07).
PICK = re.compile(r"(?:(\d{4}-\d\d)(-\d\d)?:)?([1-7]{1,7})(?:/(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class Pick:
    """A quick-choice button: the weekdays (1 is Monday) of a month, of a week or of the year on screen.

    `3` every Wednesday, `1245` Mondays to Fridays without Wednesdays, `2026-12:3` those of December, `2026-12-07:1234567`
    the week of 7 December, `2026-12:1234567/15` December for beneficiary 15 alone.
    """

    weekdays: frozenset[int]
    period: str = ""
    beneficiary_id: int | None = None

    @classmethod
    def read(cls, text: str) -> "Pick | None":
        """The button that sent this text, or None: what is no quick choice ticks nothing."""
        found = PICK.fullmatch(text)
        if found is None:
            return None
        month, day, weekdays, person = found.groups()
        period = (month or "") + (day or "")
        if day:
            try:
                dt.date.fromisoformat(period)
            except ValueError:
                return None
        return cls(frozenset(int(digit) for digit in weekdays), period, int(person) if person else None)

    def dates(self, tickable: Iterable[dt.date]) -> set[dt.date]:
        """Which of these dates it stands for."""
        return {date for date in tickable if date.isoweekday() in self.weekdays and self._covers(date)}

    def _covers(self, date: dt.date) -> bool:
        if len(self.period) == len("2026-12-07"):
            monday = dt.date.fromisoformat(self.period)
            return monday <= date < monday + WEEK
        return f"{date:%Y-%m}" == self.period if self.period else True


@dataclass
class Selection:
    """What is ticked: dates for some people (the calendar), or each day of each person (the grid, `by_person`)."""

    people: set[int] = field(default_factory=set)
    dates: set[dt.date] = field(default_factory=set)
    days: set[Wish] = field(default_factory=set)
    by_person: bool = False

    @property
    def wishes(self) -> set[Wish]:
        if self.by_person:
            return set(self.days)
        return {Wish(person, date) for person in self.people for date in self.dates}

    @property
    def all_dates(self) -> set[dt.date]:
        return {wish.date for wish in self.days} if self.by_person else set(self.dates)

    def clear(self) -> None:
        self.dates, self.days = set(), set()

    def toggle(self, wishes: Collection[Wish]) -> None:
        """Tick days of each person; when all of them were ticked, take them back (the grid)."""
        self.days = _toggled(self.days, set(wishes))

    def toggle_dates(self, dates: Collection[dt.date]) -> None:
        """Tick dates for whoever is chosen; when all of them were ticked, take them back (the calendar)."""
        self.dates = _toggled(self.dates, set(dates))

    def to_grid(self, everybody: Collection[int]) -> None:
        """Show the days of each person; dates that were ticked before anybody was chosen are ticked for all."""
        if not self.by_person:
            self.people = self.people or set(everybody)
            self.days, self.by_person = self.wishes, True

    def to_calendar(self, left_out: Collection[Wish]) -> bool:
        """Show dates that count for all who are chosen; False, and nothing changed, when their days differ.

        `left_out` are days that could not be ticked for somebody (booked already), and make no difference.
        """
        people = {wish.beneficiary_id for wish in self.days}
        dates = self.all_dates
        missing = {Wish(person, date) for person in people for date in dates} - self.days
        if self.by_person and not missing <= set(left_out):
            return False
        if self.by_person:
            self.people, self.dates, self.by_person = people or self.people, dates, False
        return True


def _toggled(ticked: set[T], more: set[T]) -> set[T]:
    return ticked - more if more and more <= ticked else ticked | more


@dataclass(frozen=True)
class LastWeek:
    """The week that « Comme la semaine dernière » repeats: its Monday, the slot, and who went on which weekdays."""

    monday: dt.date
    slot_id: int
    days: Mapping[int, frozenset[int]]

    def wishes(self, weeks: Iterable[dt.date]) -> list[Wish]:
        """The same days of each person in other weeks, named by their Mondays."""
        return sorted(
            Wish(person, monday + dt.timedelta(days=weekday - 1))
            for monday in weeks
            for person, weekdays in self.days.items()
            for weekday in weekdays
        )


def last_week(bookings: Mapping[dt.date, Sequence[Had]], before: dt.date) -> LastWeek | None:
    """The latest week before a date's own in which something was booked, in the slot most used in it; None without one."""
    this_monday = monday_of(before)
    past = [row for date, rows in bookings.items() if date < this_monday for row in rows]
    rows = [row for row in past if row.status == Booking.Status.BOOKED]
    if not rows:
        return None
    monday = max(monday_of(row.date) for row in rows)
    week = [row for row in rows if monday_of(row.date) == monday]
    slot_id = Counter(row.slot_id for row in week).most_common(1)[0][0]
    days: dict[int, set[int]] = {}
    for row in week:
        if row.slot_id == slot_id:
            days.setdefault(row.beneficiary_id, set()).add(row.date.isoweekday())
    return LastWeek(monday, slot_id, {person: frozenset(found) for person, found in days.items()})


def monday_of(date: dt.date) -> dt.date:
    return date - dt.timedelta(days=date.weekday())
