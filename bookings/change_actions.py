"""Giving up one place for another in one go: the old one is kept unless the new one is had."""

import datetime as dt
from collections.abc import Iterable, Sequence

from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions
from bookings.changes import Change
from bookings.closures.pupils import ClosedSchools
from bookings.models import Booking, Hold
from bookings.places import days_where, lock_days_where, new_booking, rivals, slot_room
from bookings.waiting import offers
from families.limits import Limits
from families.models import Beneficiary
from portal.common.errors import Refused
from portal.common.formats import dated, moment
from services.models import OpenDay, Slot


def exchange(*, booking: Booking, slot: Slot, open_day: OpenDay, by: User) -> Booking:
    """End a booked place and hold the other one of the same child; returns it, held. Runs in the caller's transaction.

    Both deadlines count: the cancellation's of the old day and the booking's of the new one; a change is not booked late.
    On another day the place is had as any other, after those who wait for it; within one day the family keeps its own place,
    whoever waits for another. Raises Refused, and the caller's transaction is then undone: the old place was never given up.
    """
    unchanged = _("Votre réservation n’a pas changé.")
    actions.lock_beneficiaries(by, {booking.beneficiary_id})
    days = lock_days_where(Q(pk__in={booking.open_day_id, open_day.pk}))
    (old,), _days = actions.lock_cancellable(ids=[booking.pk], by=by)
    day, now = days[open_day.pk], timezone.now()
    _check_day(booking, slot, day)
    actions.end_booked(
        [old], by=by, reason=_("Remplacée par %(day)s, %(slot)s") % {"day": dated(day.date), "slot": slot}
    )
    hold = Hold.objects.create(user=by, expires_at=now + actions.GRACE)
    if day.pk == old.open_day_id:
        return _within_the_day(old, slot, day, hold, by)
    try:
        held = actions.hold_places(
            user=by,
            activity=slot.activity,
            slot=slot,
            wishes=[actions.Wish(old.beneficiary_id, day.date)],
            hold=hold,
        )
    except Refused as refusal:
        raise Refused(refusal.messages[0], unchanged, code=refusal.code) from refusal
    if not held.bookings:
        raise _already(day)
    offers.offer([old.open_day_id])
    return held.bookings[0]


def _within_the_day(old: Booking, slot: Slot, day: OpenDay, hold: Hold, by: User) -> Booking:
    """The place that the family has just left on this day, in another slot: nobody else is served between the two."""
    new = new_booking(user=by, beneficiary_id=old.beneficiary_id, open_day=day, slot=slot, at=timezone.now())
    new.hold = hold
    others = Booking.objects.live().filter(beneficiary=old.beneficiary_id, open_day__date=day.date)
    _check_alone(new, others.select_related("open_day__activity", "slot"), old.beneficiary)
    new.save(force_insert=True)
    new.beneficiary = old.beneficiary
    return new


def check_exchange(*, booking: Booking, slot: Slot, open_day: OpenDay) -> None:
    """Raise Refused with what `exchange` would refuse as things stand, in its words; reads only and promises nothing."""
    unchanged = _("Votre réservation n’a pas changé.")
    actions.check_in_time_to_cancel([(booking, booking.open_day)])
    day = days_where(Q(pk=open_day.pk)).get()
    _check_day(booking, slot, day)
    new = new_booking(
        user=booking.made_by, beneficiary_id=booking.beneficiary_id, open_day=day, slot=slot, at=timezone.now()
    )
    others = [row for row in actions.live_bookings({booking.beneficiary_id}, {day.date}) if row.pk != booking.pk]
    if day.pk == booking.open_day_id:
        if slot_room([slot], [day]).get((day.pk, slot.pk), 1) < 1:
            raise Refused(_("Cette date est complète pour « %s ».") % slot, unchanged, code="slots_are_not_oversold")
        _check_alone(new, others, booking.beneficiary)
        return
    if any((row.open_day_id, row.slot_id) == (day.pk, slot.pk) for row in others):
        raise _already(day)
    try:
        actions.check_places([actions.Wish(booking.beneficiary_id, day.date)], {day.date: day}, slot)
    except Refused as refusal:
        raise Refused(refusal.messages[0], unchanged, code=refusal.code) from refusal
    _check_alone(new, others, booking.beneficiary)


def days_to_change_to(*, booking: Booking, slots: Sequence[Slot], most: int) -> list[tuple[OpenDay, list[Slot]]]:
    """The next days that a booking may be moved to, at most so many, each with the slots that can be had there; its own
    day among them, where one of its other slots can be. Five queries however many; reads only and promises nothing."""
    now = timezone.now()
    activity, child = booking.open_day.activity, booking.beneficiary
    rows = OpenDay.objects.filter(activity=activity).bookable(at=now).filter(book_until__gt=now)
    rows = rows.filter(Q(pk=booking.open_day_id) | Q(taken__lt=F("capacity")))
    days = list(rows.order_by("date")[:most])
    if not days:
        return []
    room = slot_room(slots, days)
    limits, closed = Limits(activity, [child]), ClosedSchools(activity, [child], {row.date for row in days})
    by_date: dict[dt.date, list[Booking]] = {}
    for other in actions.live_bookings({child.pk}, {row.date for row in days}):
        if other.pk != booking.pk:
            by_date.setdefault(other.open_day.date, []).append(other)
    found = []
    for day in days:
        if limits.why_not(child, day.date) or closed.why_not(child, day.date):
            continue
        had = [
            slot
            for slot in slots
            if (day.pk, slot.pk) != (booking.open_day_id, booking.slot_id)
            and room.get((day.pk, slot.pk), 1) > 0
            and not rivals(
                new_booking(user=booking.made_by, beneficiary_id=child.pk, open_day=day, slot=slot, at=now),
                by_date.get(day.date, ()),
            )
        ]
        if had:
            found.append((day, had))
    return found


def _check_day(booking: Booking, slot: Slot, day: OpenDay) -> None:
    """Raise Refused unless the child may be booked on this day, and not late."""
    unchanged = _("Votre réservation n’a pas changé.")
    now = timezone.now()
    actions.check_bookable({day.date}, {day.date: day}, now, undone=unchanged)
    child = {booking.beneficiary_id: booking.beneficiary}
    wishes = [actions.Wish(booking.beneficiary_id, day.date)]
    actions.check_limits(slot.activity, child, wishes, undone=unchanged)
    actions.check_schools(slot.activity, [day], child, wishes, undone=unchanged)
    actions.check_offered([day], slot, undone=unchanged)
    if day.is_late(now):
        raise Refused(
            _("Trop tard pour prendre %(day)s par un changement : c’était possible jusqu’au %(limit)s.")
            % {"day": dated(day.date), "limit": moment(day.book_until)},
            unchanged,
            code="too_late",
        )


def _check_alone(new: Booking, others: Iterable[Booking], child: Beneficiary) -> None:
    """Raise Refused when the child is elsewhere at the time of the new place."""
    for other in rivals(new, others):
        raise Refused(
            _("%(child)s a déjà « %(activity)s, %(slot)s » %(day)s à la même heure.")
            % {
                "child": child.first_name,
                "activity": other.open_day.activity,
                "slot": other.slot,
                "day": dated(new.date),
            },
            _("Votre réservation n’a pas changé."),
            code="one_place_at_a_time",
        )


def _already(day: OpenDay) -> Refused:
    return Refused(
        _("%(day)s est déjà réservé ou dans votre panier pour le même enfant.") % {"day": dated(day.date).capitalize()},
        _("Votre réservation n’a pas changé."),
        code="already",
    )


def note_change(*, before: Booking, after: Booking, by: User) -> Change:
    """Keep which booking took the place of which."""
    return Change.objects.create(before=before, after=after, by=by)
