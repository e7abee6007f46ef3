"""What a family has booked: one month as a grid, and the list of what is to come."""

import calendar
import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field

from bookings.calendar import initials
from bookings.models import Booking, BookingQuerySet
from families.models import Beneficiary
from portal.common.formats import month


@dataclass
class Day:
    """One square of the month: its bookings with each child's initials and colour (1 to 6)."""

    date: dt.date
    in_month: bool
    bookings: list[tuple[Booking, str, int]] = field(default_factory=list)


@dataclass
class Agenda:
    """A month of a family's bookings."""

    title: str
    weeks: list[list[Day]]
    previous: str
    next: str
    count: int


def marks(beneficiaries: Collection[Beneficiary]) -> dict[int, tuple[str, int]]:
    """Each child's initials and colour (1 to 6), by key."""
    letters = initials(beneficiaries)
    return {row.pk: (letters[row.pk], index % 6 + 1) for index, row in enumerate(beneficiaries)}


def month_of(*, first: dt.date, beneficiaries: Collection[Beneficiary]) -> Agenda:
    """The month that starts on `first`, with every booking of these beneficiaries; one query."""
    known = marks(beneficiaries)
    weeks = [
        [Day(date, date.month == first.month) for date in week]
        for week in calendar.Calendar().monthdatescalendar(first.year, first.month)
    ]
    squares = {day.date: day for week in weeks for day in week}
    rows = _rows(beneficiaries).filter(open_day__date__range=(weeks[0][0].date, weeks[-1][-1].date))
    for row in rows:
        squares[row.open_day.date].bookings.append((row, *known[row.beneficiary_id]))
    before = first - dt.timedelta(days=1)
    after = (first + dt.timedelta(days=31)).replace(day=1)
    count = sum(len(day.bookings) for day in squares.values() if day.in_month)
    return Agenda(month(first), weeks, f"{before:%Y-%m}", f"{after:%Y-%m}", count)


def upcoming(*, beneficiaries: Collection[Beneficiary], since: dt.date) -> BookingQuerySet:
    """Booked days from a date on, soonest first."""
    return _rows(beneficiaries).filter(open_day__date__gte=since)


def _rows(beneficiaries: Collection[Beneficiary]) -> BookingQuerySet:
    return (
        Booking.objects.booked()
        .filter(beneficiary__in=beneficiaries)
        .select_related("beneficiary", "slot", "made_by", "open_day__activity__service__commune")
        .order_by("period", "beneficiary")
    )
