"""What a family has booked: a month as a grid, a week by day, the list; and what of it somebody asked to see."""

import calendar
import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef, Q, Subquery, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from bookings.absences import AbsenceDay
from bookings.calendar import initials
from bookings.models import Booking, BookingQuerySet
from families.models import Beneficiary, Filiation
from portal.common.db import annotated
from portal.common.formats import month
from services.models import Activity

ELDEST_FIRST = ("beneficiary__birth_date", "beneficiary__first_name", "beneficiary")
HUES = 6


class State(TextChoices):
    """Which bookings of a family are shown."""

    BOOKED = "reservees", _("Réservées")
    ABSENT = "absences", _("Absences signalées")
    CANCELLED = "annulees", _("Annulées")
    ALL = "toutes", _("Toutes")


@dataclass(frozen=True)
class Filters:
    """What somebody asked to see: of one beneficiary, of one service or activity (by key), in one state."""

    beneficiary: int | None = None
    service: int | None = None
    activity: int | None = None
    state: State = State.BOOKED

    @property
    def narrow(self) -> bool:
        """Whether something is left out that the page shows by itself."""
        return self != Filters()


@dataclass
class Day:
    """One square of the month or week: its bookings with each child's initials and colour (1 to 6)."""

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
    return {row.pk: (letters[row.pk], index % HUES + 1) for index, row in enumerate(beneficiaries)}


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

    def bookings(self, filters: Filters | None = None) -> BookingQuerySet:
        """The family's bookings, soonest first: what is booked, or what the filters ask for.

        What expired in a cart was never booked, and is no part of it.
        """
        filters = filters or Filters()
        rows = Booking.objects.filter(
            Q(beneficiary__in=self.current) | Q(beneficiary__in=self.former, made_by=self.user)
        )
        reported = AbsenceDay.objects.filter(booking=OuterRef("pk"), is_live=True)
        rows = annotated(rows, absence_status=Subquery(reported.values("absence__status")[:1]))
        match filters.state:
            case State.BOOKED:
                rows = rows.booked()
            case State.CANCELLED:
                rows = rows.filter(status=Booking.Status.CANCELLED)
            case _:
                rows = rows.filter(status__in=[Booking.Status.BOOKED, Booking.Status.CANCELLED])
        if filters.state == State.ABSENT:
            rows = rows.filter(Exists(reported))
        if filters.beneficiary is not None:
            rows = rows.filter(beneficiary=filters.beneficiary)
        if filters.service is not None:
            rows = rows.filter(open_day__activity__service=filters.service)
        if filters.activity is not None:
            rows = rows.filter(open_day__activity=filters.activity)
        return rows.select_related("beneficiary", "slot", "made_by", "open_day__activity__service__commune").order_by(
            "period", "beneficiary", "pk"
        )

    def activities(self) -> list[Activity]:
        """The activities in which anything of this family was ever booked, by service; one query."""
        booked = self.bookings(Filters(state=State.ALL)).select_related(None).order_by()
        return list(
            Activity.objects.filter(pk__in=booked.values("open_day__activity"))
            .select_related("service")
            .order_by("service__name", "service", "name")
        )

    def alike(self, booking: Booking) -> BookingQuerySet:
        """What is booked of the same activity for the same beneficiary from now on, this one included."""
        return self.bookings(Filters(beneficiary=booking.beneficiary_id, activity=booking.open_day.activity_id)).filter(
            period__startswith__gt=timezone.now()
        )


def month_of(*, first: dt.date, family: Family, filters: Filters | None = None) -> Agenda:
    """The month that starts on `first`, with the bookings of the family that the filters ask for; one query."""
    weeks = [
        [Day(date, date.month == first.month) for date in week]
        for week in calendar.Calendar().monthdatescalendar(first.year, first.month)
    ]
    squares = {day.date: day for week in weeks for day in week}
    _fill(squares, family, filters)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    after = (first + dt.timedelta(days=31)).replace(day=1)
    count = sum(len(day.bookings) for day in squares.values() if day.in_month)
    return Agenda(month(first), weeks, before, after, count)


def week_of(*, monday: dt.date, family: Family, filters: Filters | None = None) -> list[Day]:
    """The seven days from `monday` on, with the bookings of the family that the filters ask for; one query."""
    days = {date: Day(date, True) for date in (monday + dt.timedelta(days=index) for index in range(7))}
    _fill(days, family, filters)
    return list(days.values())


def _fill(squares: dict[dt.date, Day], family: Family, filters: Filters | None) -> None:
    for row in family.bookings(filters).filter(open_day__date__range=(min(squares), max(squares))):
        squares[row.date].bookings.append((row, *family.marks[row.beneficiary_id]))
