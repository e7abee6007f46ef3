"""Holding, selling, cancelling tickets and passes. Every rule of one is checked here, whatever a form said.

Lock order: cart, order, payment, beneficiaries, activities that have a stock, open days, bookings, tickets, wallets; each
kind by ascending key.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg.types.range import DateRange

from accounts.models import User
from bookings.actions import GRACE, lock_beneficiaries
from bookings.models import Hold
from bookings.tickets.models import Ticket, TicketQuerySet
from bookings.tickets.words import note
from portal.common.errors import Refused
from portal.common.formats import PARIS, enumeration, long_date, moment, today
from services.formulas import SCHOOL_YEAR, period
from services.models import Activity, BusStop, Slot

# A pass may begin so many days ahead; at the counter one plans no further either.
FARTHEST = dt.timedelta(days=180)
MOST_TICKETS = 10  # of one formula for one person at once

SENTENCES = {
    "one_unit_one_renter": gettext_lazy(
        "Le dernier exemplaire libre pour cette période vient d’être pris. Rien n’a été ajouté et rien n’a été débité."
    ),
    "one_pass_at_a_time": gettext_lazy(
        "Un de ces bénéficiaires a déjà un billet pour cette période. Rien n’a été ajouté et rien n’a été débité."
    ),
}


@dataclass(frozen=True)
class Wish:
    """What is asked for: for whom (keys), how many each, from which day, at which stop of the bus."""

    people: Collection[int]
    quantity: int = 1
    first_day: dt.date | None = None
    stop: BusStop | None = None


def dates_of(slot: Slot, first_day: dt.date | None) -> DateRange:
    """From when to when a formula is good that is asked for today to begin on `first_day`."""
    first, after = period(count=slot.validity or 1, unit=slot.validity_unit, first=first_day or today())
    return DateRange(first, after, "[)")


def hold_tickets(*, user: User, activity: Activity, slot: Slot, wish: Wish, hold: Hold) -> list[Ticket]:
    """Set tickets of one formula aside for some beneficiaries, all or none. Runs in the caller's transaction.

    Raises Refused with a sentence: nobody chosen, somebody else's beneficiary, a first day past or too far, no stop, no
    unit left for the period, a pass that somebody has already.
    """
    if not wish.people:
        raise Refused(_("Choisissez au moins un bénéficiaire."), code="nothing_chosen")
    quantity = wish.quantity if slot.entries else 1
    if not 1 <= quantity <= MOST_TICKETS:
        raise Refused(_("Choisissez de 1 à %d billets par bénéficiaire.") % MOST_TICKETS, code="quantity")
    _check_stop(activity, wish.stop)
    valid = dates_of(slot, _first_day(activity, slot, wish.first_day))
    people = lock_beneficiaries(user, wish.people)
    locked = _lock_stocks([activity.pk])
    if activity.kind == Activity.Kind.PASS:
        _expire([activity.pk])
        _check_no_pass_yet(activity, people.keys(), valid)
    rows = [
        Ticket(
            beneficiary=person,
            activity=activity,
            slot=slot,
            stop=wish.stop,
            hold=hold,
            valid=valid,
            entries=slot.entries,
            made_by=user,
        )
        for _key, person in sorted(people.items())
        for _copy in range(quantity)
    ]
    if activity.pk in locked:
        _give_units(rows, locked[activity.pk].capacity or 0)
    return Ticket.objects.bulk_create(rows)


def retake_tickets(*, tickets: Sequence[Ticket]) -> list[Ticket]:
    """Hold expired tickets again where that is still possible; returns those that could not, which know `why_lost`.

    A unit that is taken is replaced by a free one. Runs in the caller's transaction, beneficiaries locked.
    """
    expired = sorted((row for row in tickets if row.status == Ticket.Status.EXPIRED), key=lambda row: row.pk)
    if not expired:
        return []
    stocks = _lock_stocks({row.activity_id for row in expired})
    _expire({row.activity_id for row in expired})
    back, lost = [], []
    for row in expired:
        rivals = Ticket.objects.live().filter(activity=row.activity_id, valid__overlap=row.valid)
        if row.last_day < today():
            row.why_lost = _("sa période est passée")
        elif row.entries is None and rivals.filter(beneficiary=row.beneficiary_id, entries=None).exists():
            row.why_lost = _("un autre vaut déjà à ces dates")
        if row.why_lost:
            lost.append(row)
            continue
        unit = None
        if row.activity_id in stocks:
            unit = _free_unit(row, stocks[row.activity_id].capacity or 0)
            if unit is None:
                row.why_lost = _("tout est pris à ces dates")
                lost.append(row)
                continue
        Ticket.objects.filter(pk=row.pk, status=Ticket.Status.EXPIRED).update(
            status=Ticket.Status.HELD, ended_at=None, ended_reason="", unit=unit
        )
        row.status, row.ended_at, row.unit = Ticket.Status.HELD, None, unit
        back.append(row)
    return lost


def is_offered(ticket: Ticket) -> bool:
    """Whether its formula is still sold: neither it, its activity nor its service was withdrawn."""
    return ticket.slot.is_active and ticket.activity.is_active and ticket.activity.service.is_active


def confirm_tickets(*, ids: Collection[int]) -> bool:
    """Turn held tickets into paid ones; False when some are no longer held (the caller retakes)."""
    changed = Ticket.objects.filter(pk__in=ids, status=Ticket.Status.HELD).update(
        status=Ticket.Status.BOOKED, booked_at=timezone.now()
    )
    return changed == len(ids)


def drop_held_tickets(*, ids: Collection[int], by: User | None, reason: str) -> None:
    """Give held tickets back, by their owner or (None) by the house. Runs in the caller's transaction."""
    Ticket.objects.filter(pk__in=ids, status=Ticket.Status.HELD).update(
        status=Ticket.Status.EXPIRED, ended_at=timezone.now(), ended_by=by, ended_reason=reason
    )


def release_expired_tickets(*, limit: int = 1000) -> int:
    """Give back the tickets of holds that ran out; returns how many. Swept each minute, nobody waits for it."""
    stale = _stale().order_by("pk").values_list("pk", flat=True)[:limit]
    return _end(Ticket.objects.filter(pk__in=list(stale), status=Ticket.Status.HELD))


@dataclass(frozen=True)
class GivingBack:
    """Whether a ticket may be given back now: until when, or why not, in a sentence."""

    until: dt.datetime | None = None
    why_not: str = ""


def giving_back(ticket: Ticket) -> GivingBack:
    """Whether and until when its buyer may give a paid ticket back (docs/adr/0008).

    Until it is used, for so many days after it was bought as its activity says: a pass that begins at once has them too. What
    is lent (it has a number) is given back before its first day, since nobody knows of its use; nothing is after its last.
    """
    days = ticket.activity.refund_days
    if ticket.status != Ticket.Status.BOOKED or ticket.booked_at is None:
        return GivingBack(why_not=_("Il l’a déjà été."))
    if not days:
        return GivingBack(why_not=_("Ce billet ne se rend pas."))
    if ticket.used:
        return GivingBack(why_not=_("Il a servi : il ne peut plus être rendu."))
    last = ticket.first_day if ticket.unit is not None else ticket.valid.upper
    end = dt.datetime.combine(last, dt.time(), tzinfo=PARIS)
    until = min(ticket.booked_at + dt.timedelta(days=days), end)
    if until > timezone.now():
        return GivingBack(until)
    if ticket.unit is not None and until == end:
        return GivingBack(why_not=_("Sa période a commencé : il ne peut plus être rendu."))
    return GivingBack(why_not=_("Il pouvait être rendu jusqu’au %s.") % moment(until))


def cancel_booked(*, ticket_id: int, by: User) -> Ticket:
    """Cancel a paid ticket that has not been used, for the person who bought it; the caller refunds.

    Raises Refused when it is somebody else's, cancelled, used, begun, or its time to be given back is over.
    """
    row = (
        Ticket.objects.filter(pk=ticket_id, made_by=by)
        .select_related("activity", "slot", "beneficiary")
        .select_for_update(of=("self",))
        .first()
    )
    if row is None or row.status != Ticket.Status.BOOKED:
        raise Refused(_("Ce billet a déjà été annulé, ou n’est pas le vôtre. Rien n’a été changé."), code="not_booked")
    if why_not := giving_back(row).why_not:
        raise Refused(_("Ce billet ne peut pas être rendu."), why_not, _("Rien n’a été changé."), code="too_late")
    now = timezone.now()
    Ticket.objects.filter(pk=row.pk).update(
        status=Ticket.Status.CANCELLED, ended_at=now, ended_by=by, ended_reason=_("Annulé par la famille")
    )
    row.status, row.ended_at = Ticket.Status.CANCELLED, now
    return row


def units_left(*, activity: Activity, slot: Slot, first_day: dt.date) -> int | None:
    """How many units are free for a whole period that begins on this day; None when there is no stock to count."""
    if activity.capacity is None:
        return None
    valid = dates_of(slot, first_day)
    taken = Ticket.objects.live().exclude(pk__in=_stale().values("pk"))
    busy = taken.filter(activity=activity, unit__isnull=False, valid__overlap=valid)
    return max(0, activity.capacity - busy.values("unit").distinct().count())


# --- Within ----------------------------------------------------------------------------------------------------------


def _first_day(activity: Activity, slot: Slot, asked: dt.date | None) -> dt.date:
    """When it begins: entries today, a pass on the day asked for."""
    if activity.kind == Activity.Kind.TICKET or slot.validity_unit == SCHOOL_YEAR or asked is None:
        return today()
    if asked < today():
        raise Refused(_("Le premier jour est passé : choisissez aujourd’hui ou plus tard."), code="past")
    if asked > today() + FARTHEST:
        raise Refused(
            _("Choisissez un premier jour avant le %s.") % long_date(today() + FARTHEST + dt.timedelta(days=1)),
            code="too_far",
        )
    return asked


def _check_stop(activity: Activity, stop: BusStop | None) -> None:
    offered = BusStop.objects.offered().filter(line__activity=activity)
    if stop is None and offered.exists():
        raise Refused(_("Choisissez l’arrêt où le car s’arrêtera."), code="no_stop")
    if stop is not None and not offered.filter(pk=stop.pk).exists():
        raise Refused(_("Cet arrêt n’est plus desservi : choisissez-en un autre."), code="no_stop")


def _check_no_pass_yet(activity: Activity, people: Iterable[int], valid: DateRange) -> None:
    rivals = list(
        Ticket.objects.live()
        .filter(activity=activity, beneficiary__in=people, entries=None, valid__overlap=valid)
        .select_related("beneficiary")
    )
    if rivals:
        raise Refused(
            enumeration(
                _("%(name)s a déjà un billet %(dates)s")
                % {"name": row.beneficiary.first_name, "dates": note(row.valid)}
                for row in rivals
            )
            + ".",
            _("Rien n’a été ajouté au panier : décochez ce bénéficiaire ou choisissez un autre premier jour."),
            code="one_pass_at_a_time",
        )


def _lock_stocks(activities: Collection[int]) -> dict[int, Activity]:
    """Lock the activities whose units are counted, so that two families choosing a bike go one after the other."""
    rows = Activity.objects.filter(pk__in=activities, capacity__isnull=False).order_by("pk")
    return {row.pk: row for row in rows.select_for_update(no_key=True)}


def _busy(row: Ticket) -> set[int]:
    rivals = Ticket.objects.live().filter(activity=row.activity_id, unit__isnull=False, valid__overlap=row.valid)
    return {unit for unit in rivals.values_list("unit", flat=True) if unit is not None}


def _give_units(rows: Sequence[Ticket], stock: int) -> None:
    """A unit for each row of one period, under the activity's lock."""
    busy = _busy(rows[0])
    free = [number for number in range(1, stock + 1) if number not in busy]
    if len(free) < len(rows):
        _refuse_full(rows[0], len(free), stock)
    for row, unit in zip(rows, free, strict=False):
        row.unit = unit


def _refuse_full(row: Ticket, free: int, stock: int) -> None:
    words = {"first": long_date(row.first_day), "last": long_date(row.last_day), "free": free, "stock": stock}
    raise Refused(
        _("Il n’en reste que %(free)d sur %(stock)d du %(first)s au %(last)s.") % words
        if free
        else _("Tout est pris du %(first)s au %(last)s (%(stock)d au total).") % words,
        _("Rien n’a été ajouté au panier : choisissez un autre premier jour ou une durée plus courte."),
        code="full",
    )


def _free_unit(row: Ticket, stock: int) -> int | None:
    """Its own unit when that is still free, or else the first that is."""
    busy = _busy(row)
    wanted = [row.unit] if row.unit is not None and row.unit <= stock else []
    return next((unit for unit in [*wanted, *range(1, stock + 1)] if unit not in busy), None)


def _stale() -> TicketQuerySet:
    return Ticket.objects.held().filter(hold__expires_at__lt=timezone.now() - GRACE)


def _expire(activities: Collection[int]) -> int:
    """End the stale holds on these activities."""
    return _end(_stale().filter(activity__in=activities))


def _end(rows: TicketQuerySet) -> int:
    return rows.update(status=Ticket.Status.EXPIRED, ended_at=timezone.now(), ended_reason=_("Délai du panier dépassé"))
