"""What taking a place is made of: the lock of its day, its row, and when two rows are at the same time."""

import datetime as dt
from collections.abc import Collection, Iterable

from django.db.models import Count, Exists, OuterRef, Q
from psycopg.types.range import TimestamptzRange

from accounts.models import User
from bookings.closures.models import Closure
from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from portal.common.db import annotated
from services.models import OpenDay, Slot
from services.models.calendar import OpenDayQuerySet


def lock_days(ids: Collection[int]) -> dict[int, OpenDay]:
    """Lock open days in the order of their keys and return them by key; their places stand still until the commit."""
    return lock_days_where(Q(pk__in=ids))


def lock_days_where(which: Q) -> dict[int, OpenDay]:
    """The same for the days that a condition names; see days_where.

    Who joins in the very moment in which we wait for the lock may be missed: they found the day full, and a place that
    comes free is offered where it comes free.
    """
    rows = days_where(which).order_by("pk")
    return {row.pk: row for row in rows.select_for_update(of=("self",), no_key=True)}


def days_where(which: Q) -> OpenDayQuerySet:
    """Open days that a condition names; each says whether somebody waits for it (`waited_for`), and whether a school or a
    class of its commune is closed (`school_closed`)."""
    waiting = WaitingListEntry.objects.waiting().filter(open_day=OuterRef("pk"))
    closures = Closure.objects.in_force().filter(
        school__isnull=False,
        commune=OuterRef("activity__service__commune"),
        first_day__lte=OuterRef("date"),
        last_day__gte=OuterRef("date"),
    )
    return annotated(OpenDay.objects.filter(which), waited_for=Exists(waiting), school_closed=Exists(closures))


def slot_room(slots: Iterable[Slot], days: Iterable[OpenDay]) -> dict[tuple[int, int], int]:
    """How many places of each limited slot are left on each of these days, as (day, slot); at most one query.

    A slot that a day does not offer has none; where neither slot nor day sets a limit there is no entry.
    """
    slots, days = list(slots), list(days)
    if all(slot.capacity is None for slot in slots) and not any(day.slot_places for day in days):
        return {}
    limits = {
        (day.pk, slot.pk): places for day in days for slot in slots if (places := day.places_of(slot)) is not None
    }
    counted = [key for key, places in limits.items() if places]
    taken: dict[tuple[int, int], int] = {}
    if counted:
        live = Booking.objects.live().filter(
            open_day__in={day for day, _slot in counted}, slot__in={slot for _day, slot in counted}
        )
        rows = live.order_by().values_list("open_day", "slot").annotate(Count("pk"))
        taken = {(day, slot): count for day, slot, count in rows}
    return {key: places - taken.get(key, 0) for key, places in limits.items()}


def new_booking(*, user: User, beneficiary_id: int, open_day: OpenDay, slot: Slot, at: dt.datetime) -> Booking:
    """A held place that is not written yet, and still without its hold; past the day's deadline it is booked late."""
    return Booking(
        beneficiary_id=beneficiary_id,
        open_day=open_day,
        slot=slot,
        made_by=user,
        may_overlap=slot.activity.may_overlap,
        is_late=open_day.is_late(at),
        period=TimestamptzRange(*slot.span(open_day.date)),
    )


def rivals(place: Booking, others: Iterable[Booking]) -> list[Booking]:
    """What of the same beneficiary cannot be had beside a place: the same place again, or another one at that time."""
    return [
        other
        for other in others
        if other.beneficiary_id == place.beneficiary_id
        and (
            (overlap(other, place) and not (other.may_overlap or place.may_overlap))
            or (other.open_day_id == place.open_day_id and other.slot_id == place.slot_id)
        )
    ]


def overlap(one: Booking, other: Booking) -> bool:
    """Whether two rows are at the same time."""
    return bool(one.period.lower < other.period.upper and other.period.lower < one.period.upper)
