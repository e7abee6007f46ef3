"""Deciding a closure, taking it back, and ending its bookings. What is paid back is checkout.actions.closures' part."""

import datetime as dt
import hashlib
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.actions import drop_held, end_booked
from bookings.closures.models import ClosedBooking, ClosedDay, Closure
from bookings.models import Booking, BookingQuerySet
from bookings.places import lock_days
from bookings.waiting import offers
from bookings.waiting.actions import end_lists, withdraw
from bookings.waiting.models import WaitingListEntry
from portal.common.db import one_at_a_time
from portal.common.errors import Refused
from portal.common.formats import today
from services.models import Activity, Classroom, OpenDay, School, Service
from services.moments import CALENDARS, recompute_limits
from services.school_calendar import school_year

# How long a closure can be taken back: the e-mails leave then.
DELAY = dt.timedelta(minutes=15)


def touched(closure: Closure) -> BookingQuerySet:
    """The booked places that a closure ends, or would end; it may not be written yet."""
    rows = Booking.objects.booked().filter(open_day__in=closure.open_days())
    return rows.filter(beneficiary__in=closure.pupils().values("beneficiary")) if closure.of_pupils else rows


def unsure(closure: Closure) -> BookingQuerySet:
    """The booked places of the same days that a closure of pupils leaves alone though nobody knows whether it concerns them:
    no school is declared. Staff look at them one by one."""
    if not closure.of_pupils:
        return Booking.objects.none()
    return Booking.objects.booked().filter(closure.may_be_pupils(), open_day__in=closure.open_days())


def fingerprint(closure: Closure) -> str:
    """What staff were shown, in a few letters: another list of bookings has another one."""
    keys = ",".join(map(str, touched(closure).order_by("pk").values_list("pk", flat=True)))
    return hashlib.sha256(keys.encode()).hexdigest()[:16]


def check(closure: Closure, *, by: User) -> None:
    """Raise Refused when a closure cannot be decided by this member of staff, or closes nothing."""
    targets: list[tuple[Any, int | None]] = [
        (School, closure.school_id),
        (Classroom, closure.classroom_id),
        (Activity, closure.activity_id),
        (Service, closure.service_id),
    ]
    mine = all(model.objects.visible_to(by).filter(pk=key).exists() for model, key in targets if key)
    if not mine or not (by.is_operator or closure.commune_id in by.commune_ids):
        raise Refused(_("Cette fermeture concerne une autre commune. Rien n’a été fermé."), code="out_of_scope")
    if not closure.reason.strip():
        raise Refused(_("Écrivez le motif\u00a0: les familles le liront."), code="reason_missing")
    if closure.first_day < today():
        raise Refused(_("Une fermeture commence aujourd’hui au plus tôt."), code="past")
    if closure.last_day < closure.first_day:
        raise Refused(_("Le dernier jour est avant le premier."), code="dates_reversed")
    if closure.last_day > school_year(closure.first_day)[1]:
        raise Refused(_("Une fermeture ne dépasse pas l’année scolaire\u00a0: faites-en deux."), code="two_years")
    if closure.classroom is not None and closure.classroom.year != school_year(closure.first_day)[0].year:
        raise Refused(
            _("La classe «\u00a0%s\u00a0» est celle d’une autre année scolaire\u00a0: choisissez celle de cette date.")
            % closure.classroom,
            code="other_year",
        )


@transaction.atomic
def decide(*, closure: Closure, seen: str, by: User) -> Closure:
    """Confirm a closure that is not written yet: from now on nobody books what it closes.

    Carts lose the places that it closes; their owners are told when they come back to them. What is booked stays booked
    until the e-mails leave (`leaves_at`). `seen` is the fingerprint of what was shown. Raises Refused when the bookings have
    changed since, and as `check` does.
    """
    one_at_a_time(CALENDARS)  # a calendar that is being generated is finished first, and its days are found
    closure.reason = closure.reason.strip()
    check(closure, by=by)
    days = lock_days(set(closure.open_days().values_list("pk", flat=True)))
    if fingerprint(closure) != seen:
        raise Refused(
            _("Des réservations ont changé entre-temps\u00a0: vérifiez de nouveau qui est touché. Rien n’a été fermé."),
            code="changed",
        )
    if ClosedDay.objects.filter(open_day__in=days, closure__status=Closure.Status.CONFIRMED).exists():
        raise Refused(
            _(
                "Une autre fermeture d’un de ces jours attend encore ses courriels\u00a0: appliquez-la ou annulez-la d’abord."
            ),
            code="another",
        )
    if not any(row.is_open for row in days.values()):
        raise Refused(_("Aucun jour n’est ouvert à ces dates\u00a0: il n’y a rien à fermer."), code="nothing_open")
    closure.made_by, closure.leaves_at = by, timezone.now() + DELAY
    closure.status = Closure.Status.CONFIRMED
    closure.save(force_insert=True)
    ClosedBooking.objects.bulk_create(ClosedBooking(closure=closure, booking=row) for row in touched(closure))
    held = Booking.objects.held().filter(open_day__in=days, waiting_entry=None)
    if closure.of_pupils:
        pupils = closure.pupils().values_list("beneficiary", flat=True)
        held = held.filter(beneficiary__in=pupils)
        # A day that closes keeps its list until the e-mails leave; this one stays open, and the place is another's.
        if withdraw(days=days, reason=closure.reason, by=by, offered_to=pupils):
            offers.offer(days)
    else:
        _close(closure, days)
    drop_held(
        ids=list(held.values_list("pk", flat=True)), by=None, reason=(_("Fermeture\u00a0: %s") % closure.reason)[:200]
    )
    return closure


def _close(closure: Closure, days: dict[int, OpenDay]) -> None:
    closing = [row for row in days.values() if row.is_open]
    ClosedDay.objects.bulk_create(ClosedDay(closure=closure, open_day=row, was_by_hand=row.by_hand) for row in closing)
    OpenDay.objects.filter(pk__in=[row.pk for row in closing]).update(
        is_open=False, closed_reason=closure.reason, by_hand=True
    )


@transaction.atomic
def undo(*, closure: Closure, by: User) -> Closure:
    """Take a closure back before its e-mails leave, or when it could not be applied: its days open again, and nobody has lost
    anything.

    Places that carts had lost are not put back. Raises Refused once it is applied, about to be, or undone, and for another
    commune's.
    """
    one_at_a_time(CALENDARS)
    row = lock(closure, by=by)
    if not row.can_be_undone:
        if row.status == Closure.Status.UNDONE:
            raise Refused(_("Cette fermeture est déjà annulée."), code="undone")
        if row.status == Closure.Status.SENT:
            raise Refused(
                _("Trop tard\u00a0: les familles ont été prévenues et remboursées. Rien n’a changé."), code="too_late"
            )
        raise Refused(
            _(
                "Trop tard\u00a0: son heure est passée, la fermeture s’applique dans les minutes qui viennent. Rien n’a"
                " changé. Si elle n’y parvient pas, revenez ici\u00a0: vous pourrez l’annuler."
            ),
            code="too_late",
        )
    days = list(row.closed_days.all())
    # Made since then, and closed from the first.
    made = row.open_days().filter(is_open=False, by_hand=False, closed_reason=row.reason)
    made_since = [] if row.of_pupils else list(made.values_list("pk", flat=True))
    reopened = lock_days({*(each.open_day_id for each in days), *made_since})
    row.status, row.ended_at, row.ended_by = Closure.Status.UNDONE, timezone.now(), by
    row.save(update_fields=["status", "ended_at", "ended_by"])
    for by_hand in (True, False):
        keys = [each.open_day_id for each in days if each.was_by_hand == by_hand]
        OpenDay.objects.filter(pk__in=keys if by_hand else [*keys, *made_since], closed_reason=row.reason).update(
            is_open=True, closed_reason="", by_hand=by_hand
        )
    # A deadline may have changed meanwhile.
    recompute_limits(activities={day.activity_id for day in reopened.values()}, days=set(reopened))
    return row


def lock(closure: Closure, *, by: User | None) -> Closure:
    """The closure's row under its lock, which comes before all others; Refused for another commune's (None: the house)."""
    rows = Closure.objects.select_for_update(of=("self",)).select_related("made_by")
    row = (rows if by is None else rows.visible_to(by)).filter(pk=closure.pk).first()
    if row is None:
        raise Refused(_("Cette fermeture concerne une autre commune."), code="out_of_scope")
    return row


def end_bookings(closure: Closure) -> tuple[list[Booking], list[WaitingListEntry]]:
    """Under the closure's lock: cancel its bookings that are still booked, end the waiting lists of its days.

    Returns the bookings and the waits that it ended. The caller refunds, and tells each family of both, in the same
    transaction.
    """
    ids = closure.closed_bookings.values("booking")
    days = set(closure.closed_days.values_list("open_day", flat=True))
    locked = lock_days(days | set(Booking.objects.filter(pk__in=ids).values_list("open_day", flat=True)))
    rows = list(
        Booking.objects.booked()
        .filter(pk__in=ids)
        .select_related("beneficiary", "slot", "open_day__activity__service", "made_by")
        .order_by("pk")
        .select_for_update(of=("self",))
    )
    end_booked(rows, by=closure.made_by, reason=_("Fermeture\u00a0: %s") % closure.reason)
    waits = end_lists(days=days, reason=closure.reason, by=closure.made_by)
    offers.offer(locked)  # of a day on which only some pupils stay away, others may have the places
    closure.status, closure.ended_at = Closure.Status.SENT, timezone.now()
    closure.save(update_fields=["status", "ended_at"])
    return rows, waits
