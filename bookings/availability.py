"""What each day of an activity is for one family, for each of its people and slots, in words that a screen can say.

Read models only: the rule that counts is checked again, under locks, by bookings.actions.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.closures.pupils import ClosedSchools
from bookings.models import Booking
from bookings.places import slot_room
from bookings.pricing import Taken
from bookings.waiting.models import WaitingListEntry
from families.limits import Limits
from families.models import Beneficiary
from portal.common.formats import enumeration, long_date, moment
from services.models import Activity, OpenDay, Slot
from services.patterns import Pattern
from services.school_calendar import SchoolCalendar


class Had(NamedTuple):
    """A live place that somebody of the family has in the activity; `offered`: held for them by its waiting list."""

    beneficiary_id: int
    date: dt.date
    slot_id: int
    slot: str
    starts_at: dt.time | None
    ends_at: dt.time | None
    status: str
    offered: bool
    made_by_id: int
    made_by: str
    is_late: bool
    activity_id: int


class Waits(NamedTuple):
    """Somebody of the family who waits for a place of a full day, with the position on its list (1: the next)."""

    beneficiary_id: int
    date: dt.date
    position: int


NOTHING_HAD: Sequence[Had] = ()
NOBODY_WAITS: Sequence[Waits] = ()


@dataclass(frozen=True, slots=True)
class State:
    """Why a day cannot be chosen: "f" full, "l" too late, "n" not yet open, "c" closed; in words."""

    kind: str
    reason: str


class FamilyBookings(NamedTuple):
    """What a family has: in one activity, by date; and in its whole service, as prices count it."""

    here: dict[dt.date, list[Had]]
    taken: list[Taken]


def family_bookings(
    *, beneficiaries: Collection[Beneficiary], activity: Activity, first: dt.date, last: dt.date
) -> FamilyBookings:
    """What these beneficiaries have in an activity, and in its service, between two dates; stale holds of a cart count as
    held. One query."""
    live = Booking.objects.live().filter(
        beneficiary__in=beneficiaries,
        open_day__activity__service=activity.service_id,
        open_day__date__range=(first, last),
    )
    offers = WaitingListEntry.objects.offered().filter(booking=OuterRef("pk"))
    rows = live.order_by("pk").values_list(
        "beneficiary_id",
        "open_day__date",
        "slot_id",
        "slot__name",
        "slot__starts_at",
        "slot__ends_at",
        "status",
        Exists(offers),
        "made_by_id",
        "made_by__first_name",
        "is_late",
        "open_day__activity_id",
    )
    found = FamilyBookings({}, [])
    for row in map(Had._make, rows):
        found.taken.append(Taken(row.beneficiary_id, row.activity_id, activity.service_id, row.date, row.is_late))
        if row.activity_id == activity.pk:
            found.here.setdefault(row.date, []).append(row)
    return found


def family_waiting(
    *, beneficiaries: Collection[Beneficiary], activity: Activity, slots: Iterable[Slot], days: Collection[OpenDay]
) -> dict[dt.date, list[Waits]]:
    """Which of these beneficiaries wait for which of these days of an activity, offered in these slots.

    No query where there is no waiting list, nor where none of the days can be full.
    """
    found: dict[dt.date, list[Waits]] = {}
    may_be_full = any(row.free <= 0 or row.slot_places for row in days) or any(slot.capacity for slot in slots)
    if not activity.waiting_list or not days or not may_be_full:
        return found
    dates = [row.date for row in days]
    rows = WaitingListEntry.objects.waiting().filter(
        beneficiary__in=beneficiaries, open_day__activity=activity, open_day__date__range=(min(dates), max(dates))
    )
    for row in rows.with_position().select_related("open_day").order_by("pk"):
        date = row.open_day.date
        found.setdefault(date, []).append(Waits(row.beneficiary_id, date, row.position))
    return found


class Availability:
    """The open days of an activity as they are for a family at one moment."""

    def __init__(
        self,
        *,
        activity: Activity,
        slots: Sequence[Slot],
        days: Iterable[OpenDay],
        booked: Mapping[dt.date, Sequence[Had]],
        beneficiaries: Sequence[Beneficiary],
        user: User,
        at: dt.datetime,
        limits: Limits,
        closed: ClosedSchools,
        waiting: Mapping[dt.date, Sequence[Waits]] = MappingProxyType({}),
    ) -> None:
        """`slots` are those offered; `booked` comes from family_bookings, `waiting` from family_waiting; `user` looks."""
        self._waiting = waiting
        self.limits, self.closed = limits, closed
        self._unfit: dict[tuple[int, dt.date], str] = {}
        self._people = {row.pk: row for row in beneficiaries}
        self.activity = activity
        self.slots = slots
        self.days = {row.date: row for row in days}
        self.booked = booked
        self.beneficiaries = beneficiaries
        self.user = user
        self.at = at
        self._all_slots = frozenset(slot.pk for slot in slots)
        self._fits_all = not (limits.by_age or limits.by_school or closed.closures)
        self._beside: dict[int, frozenset[int]] = {}
        # Slots with places of their own may be full on a day that is not.
        self._room = slot_room(slots, self.days.values())
        opens_on = activity.booking_opens_on
        soon = opens_on is not None and opens_on > timezone.localdate(at)
        self._opens_on = _("réservable à partir du %s") % long_date(opens_on) if opens_on and soon else ""
        self._states = {row.pk: self._state(row) for row in self.days.values()}

    @cached_property
    def pattern(self) -> Pattern:
        """The rules that open the activity, which say why the other days are closed. Two queries when first asked."""
        dates = [*self.days, self.at.date()]
        # The last month is shown whole: the holidays that begin after its last open day are named, too.
        return Pattern.of(self.activity, SchoolCalendar.around(min(dates), max(dates) + dt.timedelta(days=31)))

    def rows(self, date: dt.date) -> Sequence[Had]:
        return self.booked.get(date, NOTHING_HAD)

    def there(self, date: dt.date) -> list[int]:
        """Who has a place that day already."""
        return sorted({row.beneficiary_id for row in self.rows(date)})

    def waits(self, date: dt.date, person: int | None = None) -> list[Waits]:
        """Who of the family waits for a place that day, or the one that is asked for."""
        rows = self._waiting.get(date, NOBODY_WAITS)
        return [row for row in rows if person in (None, row.beneficiary_id)]

    def waiting_words(self, rows: Sequence[Waits], names: Mapping[int, str] | None = None) -> str:
        """`en attente : Louane (1re)`; without `names`, `en attente (1re)`."""
        told = [(names[row.beneficiary_id] if names else "", _position(row.position)) for row in rows]
        if not names:
            return " ".join([_("en attente"), *(position for _name, position in told[:1])])
        return _("en attente\u00a0: %s") % enumeration(f"{name} {position}" for name, position in told)

    @property
    def in_cart(self) -> int:
        """How many places of the activity are in the person's own cart, not paid yet."""
        return sum(
            self.is_in_cart(row) and row.made_by_id == self.user.pk for rows in self.booked.values() for row in rows
        )

    @staticmethod
    def is_in_cart(row: Had) -> bool:
        """Whether this place is held for a payment that is still to come."""
        return row.status != Booking.Status.BOOKED and not row.offered

    def state(self, open_day: OpenDay) -> State | None:
        """What keeps everybody from booking a day, or None."""
        return self._states[open_day.pk]

    def _state(self, open_day: OpenDay) -> State | None:
        if not open_day.is_open:
            return State("c", open_day.closed_reason)
        if self._opens_on:
            return State("n", self._opens_on)
        if open_day.book_from and open_day.book_from > self.at:
            return State("n", _("réservable à partir du %s") % moment(open_day.book_from))
        if open_day.last_moment <= self.at:
            return State("l", _("délai passé (%s)") % moment(open_day.last_moment))
        if open_day.free <= 0 or (self._all_slots and self.full_slots(open_day.date) >= self._all_slots):
            if self.slots and not any(open_day.offers(slot) for slot in self.slots):
                return State("c", _("aucune prestation ce jour-là"))
            return State("f", _("complet"))
        return None

    def waiting_list(self, open_day: OpenDay, state: State | None) -> str:
        """The address of a full day's waiting list, from the activity's page, or an empty text."""
        is_full = state is not None and state.kind == "f"
        return f"liste-d-attente/?dates={open_day.date}" if is_full and self.activity.waiting_list else ""

    def taken_slots(self, beneficiary_id: int, date: dt.date) -> frozenset[int]:
        """The slots that a person cannot have that day because of what they have in this activity already."""
        found: frozenset[int] = frozenset()
        for row in self.rows(date):
            if row.beneficiary_id == beneficiary_id:
                found |= self._kept_from(row)
        return found

    def full_slots(self, date: dt.date) -> frozenset[int]:
        """The slots that have no place left that day, whatever the day itself has."""
        open_day = self.days.get(date)
        if open_day is None or not self._room:
            return frozenset()
        return frozenset(slot.pk for slot in self.slots if self._room.get((open_day.pk, slot.pk), 1) < 1)

    def free(self, open_day: OpenDay) -> int:
        """How many places are left that day in the slot that has most of them."""
        if not self._room:
            return open_day.free
        left = [self._room.get((open_day.pk, slot.pk), open_day.free) for slot in self.slots]
        return min(open_day.free, max(left, default=0))

    def scarce(self, open_day: OpenDay, few: int) -> list[tuple[Slot, int]]:
        """The slots of several that have so few places of their own left that day, and how many."""
        if not self._room or len(self.slots) < 2:
            return []
        found = [(slot, self._room.get((open_day.pk, slot.pk), open_day.free)) for slot in self.slots]
        return [(slot, left) for slot, left in found if 0 < left <= few and left < open_day.free]

    def unfit(self, beneficiary_id: int, date: dt.date) -> str:
        """Why the activity is not for this person that day (age, school, class, closed school), or an empty text."""
        if self._fits_all:
            return ""
        key = (beneficiary_id, date)
        if key not in self._unfit:
            person = self._people[beneficiary_id]
            self._unfit[key] = self.limits.why_not(person, date) or self.closed.why_not(person, date)
        return self._unfit[key]

    def may_have(self, beneficiary_id: int, date: dt.date, slot: Slot) -> bool:
        """Whether neither what the person has or is nor the slot's own places stand in the way that day."""
        kept_from = self.taken_slots(beneficiary_id, date) | self.full_slots(date)
        return slot.pk not in kept_from and not self.unfit(beneficiary_id, date)

    def is_settled(self, beneficiary_id: int, date: dt.date) -> bool:
        """Whether nothing is left to book for this person that day."""
        return bool(self.rows(date)) and self.taken_slots(beneficiary_id, date) >= self._all_slots

    def obstacle(self, beneficiary_id: int, date: dt.date, slot: Slot) -> str:
        """Why this person cannot be booked that day in that slot, or an empty text."""
        open_day = self.days.get(date)
        if open_day is None:
            is_to_come = date > max(self.days, default=date) and self.pattern.opening(date)
            return _("calendrier pas encore publié") if is_to_come else self.pattern.why_closed(date)
        if slot.pk in self.taken_slots(beneficiary_id, date):
            return self.words(row for row in self.rows(date) if row.beneficiary_id == beneficiary_id)
        state = self.state(open_day)
        if state:
            return state.reason
        if not open_day.offers(slot):
            return _("«\u00a0%s\u00a0» n’est pas proposé ce jour-là") % slot
        return _("complet") if slot.pk in self.full_slots(date) else self.unfit(beneficiary_id, date)

    @cached_property
    def quick_dates(self) -> list[dt.date]:
        """The dates that a quick choice may tick. Late ones cost more: they are ticked one by one, by hand."""
        return [
            date
            for date, row in self.days.items()
            if self.state(row) is None
            and not row.is_late(self.at)
            and not all(self.is_settled(person.pk, date) for person in self.beneficiaries)
        ]

    def skips(self, date: dt.date) -> str:
        """Whom the live total leaves out that day: `12` whatever the slot, `12/3` in slot 3 (static/js/calendar.js)."""
        words = []
        full = self.full_slots(date)
        booked = {row.beneficiary_id for row in self.rows(date)}
        if self._fits_all and not booked and not full:
            return ""
        for person in self._people:
            taken = full | self.taken_slots(person, date) if person in booked else full
            if self.unfit(person, date) or (taken and taken >= self._all_slots):
                words.append(str(person))
            else:
                words += [f"{person}/{slot}" for slot in sorted(taken)]
        return " ".join(words)

    def words(self, rows: Iterable[Had], names: Mapping[int, str] | None = None) -> str:
        """`déjà réservé : Louane (par Julien) ; dans le panier : Théo`; without `names`, without saying who."""
        found: dict[str, list[str]] = {}
        for row in rows:
            told = []
            if names is not None:
                told.append(names[row.beneficiary_id])
            if len(self.slots) > 1:
                told.append(row.slot)
            text = ", ".join(told)
            if row.made_by_id != self.user.pk:
                text = f"{text} {_('(par %s)') % row.made_by}".strip()
            found.setdefault(self._status(row), []).append(text)
        parts = []
        for label, items in found.items():
            listed = ", ".join(filter(None, items))
            parts.append(f"{label}\u00a0: {listed}" if listed else label)
        return "\u00a0; ".join(parts)

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {"booked": _("déjà réservé"), "offered": _("place proposée"), "held": _("dans le panier")}

    def _status(self, row: Had) -> str:
        if row.status == Booking.Status.BOOKED:
            return self._labels["booked"]
        return self._labels["offered" if row.offered else "held"]

    def _kept_from(self, had: Had) -> frozenset[int]:
        """The slots that whoever has this place cannot have beside it."""
        if had.slot_id not in self._beside:
            self._beside[had.slot_id] = frozenset(
                slot.pk
                for slot in self.slots
                if slot.pk == had.slot_id or (not self.activity.may_overlap and _meet(had, slot))
            )
        return self._beside[had.slot_id]


def _position(number: int) -> str:
    return _("(1re)") if number == 1 else _("(%de)") % number


def _meet(one: Had, other: Slot) -> bool:
    """Whether the hours of two slots overlap; what has no hours keeps nobody from anything."""
    if one.starts_at is None or one.ends_at is None or other.starts_at is None or other.ends_at is None:
        return False
    return one.starts_at < other.ends_at and other.starts_at < one.ends_at
