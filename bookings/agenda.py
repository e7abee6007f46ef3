"""What a family has booked: one month as a grid, and the list of what is to come."""

import calendar
import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field

from django.db.models import Q

from accounts.models import User
from bookings.calendar import initials
from bookings.models import Booking, BookingQuerySet
from families.models import Beneficiary, Filiation
from portal.common.formats import month

ELDEST_FIRST = ("beneficiary__birth_date", "beneficiary__first_name", "beneficiary")


@dataclass
class Day:
    """One square of the month: its bookings with each child's initials and colour (1 to 6)."""

    date: dt.date
    in_month: bool
    bookings: list[tuple[Booking, str, int]] = field(default_factory=list)


@dataclass
class Agenda:
    """A month of a family's bookings; `previous` and `next` are the first days of the months around it."""

    title: str
    weeks: list[list[Day]]
    previous: dt.date
    next: dt.date
    count: int


def marks(beneficiaries: Collection[Beneficiary]) -> dict[int, tuple[str, int]]:
    """Each child's initials and colour (1 to 6), by key."""
    letters = initials(beneficiaries)
    return {row.pk: (letters[row.pk], index % 6 + 1) for index, row in enumerate(beneficiaries)}


class Family:
    """The beneficiaries an adult answers for, and those of former filiations whom they have booked for.

    Of a former filiation only what the adult booked is theirs to see, and to cancel: they paid for it.
    """

    def __init__(self, user: User) -> None:
        links = list(Filiation.objects.filter(user=user).select_related("beneficiary").order_by(*ELDEST_FIRST))
        self.user = user
        self.current = [row.beneficiary for row in links if row.ended_at is None]
        present = {row.pk for row in self.current}
        self.former = list({row.beneficiary for row in links if row.beneficiary_id not in present})
        self.marks = marks([*self.current, *self.former])

    def bookings(self) -> BookingQuerySet:
        """Booked days of the whole family, soonest first."""
        return (
            Booking.objects.booked()
            .filter(Q(beneficiary__in=self.current) | Q(beneficiary__in=self.former, made_by=self.user))
            .select_related("beneficiary", "slot", "made_by", "open_day__activity__service__commune")
            .order_by("period", "beneficiary")
        )


def month_of(*, first: dt.date, family: Family) -> Agenda:
    """The month that starts on `first`, with every booking of the family; one query."""
    weeks = [
        [Day(date, date.month == first.month) for date in week]
        for week in calendar.Calendar().monthdatescalendar(first.year, first.month)
    ]
    squares = {day.date: day for week in weeks for day in week}
    rows = family.bookings().filter(open_day__date__range=(weeks[0][0].date, weeks[-1][-1].date))
    for row in rows:
        squares[row.open_day.date].bookings.append((row, *family.marks[row.beneficiary_id]))
    before = (first - dt.timedelta(days=1)).replace(day=1)
    after = (first + dt.timedelta(days=31)).replace(day=1)
    count = sum(len(day.bookings) for day in squares.values() if day.in_month)
    return Agenda(month(first), weeks, before, after, count)
