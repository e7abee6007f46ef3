"""Giving up one place for another in one go: the old one is kept unless the new one is had."""

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions
from bookings.changes import Change
from bookings.models import Booking, Hold
from bookings.places import lock_days_where, new_booking, rivals
from bookings.waiting import offers
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
    actions.check_bookable({day.date}, {day.date: day}, now, undone=unchanged)
    child = {booking.beneficiary_id: booking.beneficiary}
    wishes = [actions.Wish(booking.beneficiary_id, day.date)]
    actions.check_limits(slot.activity, child, wishes, undone=unchanged)
    actions.check_schools(slot.activity, [day], child, wishes, undone=unchanged)
    if day.is_late(now):
        raise Refused(
            _("Trop tard pour prendre %(day)s par un changement : c’était possible jusqu’au %(limit)s.")
            % {"day": dated(day.date), "limit": moment(day.book_until)},
            unchanged,
            code="too_late",
        )
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
        raise Refused(
            _("%(day)s est déjà réservé ou dans votre panier pour le même enfant.")
            % {"day": dated(day.date).capitalize()},
            unchanged,
            code="already",
        )
    offers.offer([old.open_day_id])
    return held.bookings[0]


def _within_the_day(old: Booking, slot: Slot, day: OpenDay, hold: Hold, by: User) -> Booking:
    """The place that the family has just left on this day, in another slot: nobody else is served between the two."""
    new = new_booking(user=by, beneficiary_id=old.beneficiary_id, open_day=day, slot=slot, at=timezone.now())
    new.hold = hold
    others = Booking.objects.live().filter(beneficiary=old.beneficiary_id, open_day__date=day.date)
    clashes = rivals(new, others.select_related("open_day__activity", "slot"))
    if clashes:
        other = clashes[0]
        raise Refused(
            _("%(child)s a déjà « %(activity)s, %(slot)s » %(day)s à la même heure.")
            % {
                "child": old.beneficiary.first_name,
                "activity": other.open_day.activity,
                "slot": other.slot,
                "day": dated(day.date),
            },
            _("Votre réservation n’a pas changé."),
            code="one_place_at_a_time",
        )
    new.save(force_insert=True)
    new.beneficiary = old.beneficiary
    return new


def note_change(*, before: Booking, after: Booking, by: User) -> Change:
    """Keep which booking took the place of which."""
    return Change.objects.create(before=before, after=after, by=by)
