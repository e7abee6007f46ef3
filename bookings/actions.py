"""Taking, keeping and giving back places. Every rule of a booking is checked here, whatever a form said.

Lock order, everywhere: cart, order, payment, beneficiaries, activities that have a stock, open days, bookings, tickets,
wallets; each kind by ascending key.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from psycopg.types.range import TimestamptzRange

from accounts.models import User
from bookings.closures.pupils import ClosedSchools
from bookings.models import Booking, Hold
from bookings.places import lock_days, lock_days_where, new_booking, overlap, rivals, slot_room
from bookings.waiting import offers
from bookings.waiting.models import WaitingListEntry
from families.limits import Limits
from families.models import Beneficiary
from portal.common.errors import Refused, within
from portal.common.formats import dated, enumeration, moment
from services.models import Activity, OpenDay, Slot

# A hold that has just run out is left to its owner for a moment: who presses « Payer » in the last second does not
# race against whoever wants the place (see release_expired_holds and confirm).
GRACE = dt.timedelta(seconds=60)

SENTENCES = {
    "one_place_at_a_time": gettext_lazy(
        "Un de ces bénéficiaires a déjà une réservation à la même heure. Rien n’a été ajouté et rien n’a été débité."
    ),
    "booked_once": gettext_lazy(
        "Une de ces dates vient d’être réservée pour le même bénéficiaire. Rien n’a été ajouté."
    ),
    "booking_keeps_the_ages": gettext_lazy(
        "Un de ces enfants n’a pas l’âge de cette activité à l’une des dates. Rien n’a été ajouté et rien n’a été débité."
    ),
    "slots_are_not_oversold": gettext_lazy(
        "Ce type de prestation vient d’être complet à l’une des dates. Rien n’a été ajouté et rien n’a été débité."
    ),
    "booking_of_an_open_school": gettext_lazy(
        "L’école de l’un de ces enfants vient d’être fermée à l’une des dates. Rien n’a été ajouté et rien n’a été débité."
    ),
    "places_are_not_oversold": gettext_lazy(
        "Une de ces dates vient d’être complète. Rien n’a été ajouté et rien n’a été débité."
    ),
}


@dataclass(frozen=True, order=True)
class Wish:
    """One place asked for: who (their key) and when."""

    beneficiary_id: int
    date: dt.date


@dataclass
class Held:
    """What hold_places did: the rows it made, in the order of their dates, and the wishes that were booked before."""

    bookings: list[Booking]
    already: list[Booking] = field(default_factory=list)


def hold_places(
    *,
    user: User,
    activity: Activity,
    slot: Slot,
    wishes: Collection[Wish],
    hold: Hold,
) -> Held:
    """Take places for some beneficiaries on some days of an activity, all or none. Runs in the caller's transaction.

    A wish that is already booked or held in the same slot is left out and returned in `already`. Who waits is served
    first: what is free is theirs before it is anybody's. Raises Refused with a sentence that names the days that are
    unknown, closed, past their deadline or full, and the beneficiaries who are somebody else's, too young or of another
    school, or already elsewhere at that time.
    """
    if not wishes:
        raise Refused(_("Choisissez au moins une date et un bénéficiaire."), code="nothing_chosen")
    beneficiaries = lock_beneficiaries(user, {wish.beneficiary_id for wish in wishes})
    dates = {wish.date for wish in wishes}
    others = live_bookings(beneficiaries, dates)
    stale = [row.open_day_id for row in others if row.status == Booking.Status.HELD and is_stale(row.hold)]
    # Days of other activities are locked only to free a stale hold of one of these beneficiaries.
    locked = lock_days_where(Q(activity=activity, date__in=dates) | Q(pk__in=stale))
    crowded = _crowded(wishes, _by_date(activity, locked), slot)
    moved = (stale or crowded) and _expire(locked)
    if not moved and any(row.waited_for for row in locked.values()):
        moved = offers.offer(locked)
    if moved:
        locked = lock_days(locked)
        others = live_bookings(beneficiaries, dates)
    days = _by_date(activity, locked)
    now = timezone.now()
    check_bookable(dates, days, now)
    check_limits(activity, beneficiaries, wishes)
    check_schools(activity, days.values(), beneficiaries, wishes)

    before = {Wish(row.beneficiary_id, row.open_day.date): row for row in others if row.slot_id == slot.pk}
    already = [before[wish] for wish in wishes if wish in before]
    _check_not_offered(already)
    new = [wish for wish in wishes if wish not in before]
    check_places(new, days, slot)
    rows = [
        new_booking(user=user, beneficiary_id=wish.beneficiary_id, open_day=days[wish.date], slot=slot, at=now)
        for wish in new
    ]
    for row in rows:
        row.hold = hold
    if not activity.may_overlap:
        check_overlaps(rows, [row for row in others if not row.may_overlap], beneficiaries)
    # The rows go in by beneficiary and time, so that two transactions meet in the exclusion index in one order.
    rows.sort(key=lambda row: (row.beneficiary_id, row.period.lower))
    Booking.objects.bulk_create(rows)
    for row in [*rows, *already]:
        row.beneficiary = beneficiaries[row.beneficiary_id]
    return Held(bookings=rows, already=already)


def retake_places(*, bookings: Sequence[Booking], at: dt.datetime) -> list[Booking]:
    """Hold expired bookings again where that is still possible; returns those that could not, which know `why_lost`.

    For a cart that its owner comes back to, and for a card payment that was confirmed after its hold ran out; the
    booking deadline counts at `at`, the moment the parent acted. Runs in the caller's transaction.
    """
    expired = [row for row in bookings if row.status == Booking.Status.EXPIRED]
    if not expired:
        return []
    list(locked_beneficiaries({row.beneficiary_id for row in expired}))
    days = lock_days({row.open_day_id for row in expired})
    if not _expire(days):
        offers.offer(days)
    days |= lock_days(days.keys())
    free = {pk: row.free for pk, row in days.items()}
    others = list(
        Booking.objects.live()
        .filter(beneficiary__in={row.beneficiary_id for row in expired}, period__overlap=_span(expired))
        .only("beneficiary_id", "period", "may_overlap", "open_day_id", "slot_id")
    )
    closed = _closed_schools(expired, days)
    room = slot_room(Slot.objects.filter(pk__in={row.slot_id for row in expired}), days.values())
    back, lost = [], []
    for row in sorted(expired, key=lambda row: row.open_day_id):
        open_day = days[row.open_day_id]
        row.why_lost = _why_lost(row, open_day, at)
        if not row.why_lost and row.pk in closed:
            row.why_lost = _("son école est fermée")
        if not row.why_lost and rivals(row, others):
            row.why_lost = _("une autre réservation à la même heure")
        if not row.why_lost and min(free[open_day.pk], room.get((open_day.pk, row.slot_id), 1)) < 1:
            row.why_lost, row.lost_full = _("complet"), True
        if row.why_lost:
            lost.append(row)
            continue
        free[open_day.pk] -= 1
        if (open_day.pk, row.slot_id) in room:
            room[open_day.pk, row.slot_id] -= 1
        others.append(row)
        back.append(row)
    Booking.objects.filter(pk__in=[row.pk for row in back], status=Booking.Status.EXPIRED).update(
        status=Booking.Status.HELD, ended_at=None, ended_reason=""
    )
    for row in back:
        row.status, row.ended_at = Booking.Status.HELD, None
    return lost


def _why_lost(row: Booking, open_day: OpenDay, at: dt.datetime) -> str:
    """Why a place cannot be booked again on its day, whoever else comes; empty when it can."""
    if not open_day.is_open:
        return _("fermé, %s") % open_day.closed_reason
    if open_day.book_from is not None and at < open_day.book_from:
        return _("réservable à partir du %s") % moment(open_day.book_from)
    # The bank may speak days later: nobody is expected on a day that is over.
    if row.period.lower <= timezone.now() and open_day.last_moment <= timezone.now():
        return _("c’est déjà passé")
    if open_day.last_moment <= at:
        return _("trop tard, c’était possible jusqu’au %s") % moment(open_day.last_moment)
    if open_day.is_late(at) != row.is_late:
        return _("son prix a changé, vous pouvez la réserver de nouveau")
    return ""


def _closed_schools(rows: Sequence[Booking], days: dict[int, OpenDay]) -> set[int]:
    """The bookings whose child's school or class is closed on their day."""
    found: set[int] = set()
    touched = [pk for pk, row in days.items() if row.school_closed]
    if not touched:
        return found
    for activity in Activity.objects.filter(open_days__in=touched).select_related("service").distinct():
        theirs = [row for row in rows if days[row.open_day_id].activity_id == activity.pk]
        dates = {days[row.open_day_id].date for row in theirs}
        closed = ClosedSchools(activity, [row.beneficiary for row in theirs], dates)
        if closed.closures:
            found |= {row.pk for row in theirs if closed.why_not(row.beneficiary, days[row.open_day_id].date)}
    return found


def confirm(*, ids: Collection[int]) -> bool:
    """Turn held bookings into booked ones; False when some are no longer held (the caller rolls back or retakes).

    A place that the waiting list offers is thereby taken: its offer ends here, under the lock of its day, and no sooner,
    so that until then it is kept for exactly as long as was promised.
    """
    offered = WaitingListEntry.objects.offered().filter(booking__in=ids)
    days = set(offered.values_list("open_day", flat=True))
    if days:
        lock_days(days)
        offers.take(offered)
    changed = Booking.objects.filter(pk__in=ids, status=Booking.Status.HELD).update(
        status=Booking.Status.BOOKED, booked_at=timezone.now()
    )
    return changed == len(ids)


def drop_held(*, ids: Collection[int], by: User | None, reason: str) -> None:
    """Give back held places, by their owner or (None) by the house; who waits for them is offered them.

    A place that the waiting list offers stays with its offer, which its owner declines or lets pass. Runs in the caller's
    transaction.
    """
    rows = Booking.objects.held().filter(pk__in=ids).exclude(waiting_entry__status=WaitingListEntry.Status.OFFERED)
    days = lock_days(set(rows.values_list("open_day", flat=True)))
    if rows.update(status=Booking.Status.EXPIRED, ended_at=timezone.now(), ended_by=by, ended_reason=reason):
        offers.offer(days)


def cancel(*, ids: Collection[int], by: User) -> list[Booking]:
    """Cancel booked places before their deadline, all or none, and return them with their days.

    The caller refunds in the same transaction. Raises Refused as lock_cancellable does.
    """
    bookings, days = lock_cancellable(ids=ids, by=by)
    end_booked(bookings, by=by, reason=_("Annulé par la famille"))
    offers.offer(days)
    return bookings


def lock_cancellable(*, ids: Collection[int], by: User) -> tuple[list[Booking], dict[int, OpenDay]]:
    """Lock booked places, and first their days, that this person may cancel at this moment.

    Only the person who booked may: the money goes back to where it came from. Raises Refused with the days that can no
    longer be cancelled.
    """
    rows = Booking.objects.filter(pk__in=ids, made_by=by)
    days = lock_days(set(rows.values_list("open_day", flat=True)))
    bookings = list(
        rows.filter(status=Booking.Status.BOOKED)
        .select_related("beneficiary", "slot", "open_day__activity")
        .order_by("pk")
        .select_for_update(of=("self",))
    )
    if not bookings or len(bookings) != len(set(ids)):
        raise Refused(
            _("Cette réservation a déjà été annulée, ou n’est pas la vôtre. Rien n’a été changé."), code="not_booked"
        )
    check_in_time_to_cancel([(row, days[row.open_day_id]) for row in bookings])
    return bookings, days


def check_in_time_to_cancel(bookings: Iterable[tuple[Booking, OpenDay]]) -> None:
    """Raise Refused with the bookings, each with its day, that can no longer be cancelled."""
    now = timezone.now()
    late = [(row, open_day) for row, open_day in bookings if open_day.cancel_until <= now]
    if late:
        raise Refused(
            _("Trop tard pour annuler %s. Rien n’a été changé.")
            % some(
                _("%(day)s (c’était possible jusqu’au %(limit)s)")
                % {"day": dated(row.date), "limit": moment(open_day.cancel_until)}
                for row, open_day in late
            ),
            code="too_late",
        )


def end_booked(bookings: Collection[Booking], *, by: User, reason: str) -> None:
    """Cancel booked places under their locks and those of their days; what comes free is not offered to anybody yet."""
    Booking.objects.filter(pk__in=[row.pk for row in bookings]).update(
        status=Booking.Status.CANCELLED, ended_at=timezone.now(), ended_by=by, ended_reason=reason[:200]
    )


def cancel_by_staff(*, ids: Collection[int], by: User, reason: str, override: bool = False) -> list[Booking]:
    """Cancel booked places for a reason that families read; returns those that were cancelled.

    `override`: also those whose deadline has passed, or that were given already. What has ended meanwhile is left out: a
    family that cancelled in the same minute does not stop the others. The caller refunds in the same transaction. Raises
    Refused without a reason, for bookings that this member of staff may not reach and, without `override`, with those
    that are late.
    """
    reason = within(reason, 200)
    if not reason:
        raise Refused(_("Écrivez le motif de l’annulation : les familles le liront."), code="reason_missing")
    wanted = set(ids)
    rows = Booking.objects.visible_to(by).filter(pk__in=wanted)
    found = dict(rows.values_list("pk", "open_day"))
    if len(found) != len(wanted):
        raise Refused(
            _("Une de ces réservations concerne un service d’une autre commune. Rien n’a été annulé."),
            code="out_of_scope",
        )
    days = lock_days(set(found.values()))
    bookings = list(
        Booking.objects.booked()
        .filter(pk__in=found)
        .select_related("beneficiary", "slot", "open_day__activity__service", "made_by")
        .order_by("pk")
        .select_for_update(of=("self",))
    )
    if not override:
        _check_no_override_is_needed([(row, days[row.open_day_id]) for row in bookings])
    end_booked(bookings, by=by, reason=reason)
    offers.offer(days)
    return bookings


def _check_no_override_is_needed(bookings: Iterable[tuple[Booking, OpenDay]]) -> None:
    now = timezone.now()
    late = [row for row, open_day in bookings if open_day.cancel_until <= now]
    if late:
        raise Refused(
            _(
                "La limite d’annulation est passée pour %s. Cochez «\u00a0Annuler malgré la limite passée\u00a0» pour continuer."
            )
            % some(f"{row.beneficiary} ({dated(row.date)})" for row in late),
            _("Rien n’a été annulé ni remboursé."),
            code="too_late",
        )


@transaction.atomic
def release_expired_holds(*, limit: int = 1000) -> int:
    """Give back the places of holds that ran out; returns how many. Swept each minute, nobody waits for it."""
    stale = Booking.objects.held().filter(hold__expires_at__lt=timezone.now() - GRACE)
    days = set(stale.order_by("pk").values_list("open_day", flat=True)[:limit])
    if not days:
        return 0
    lock_days(days)
    return _expire(days)


def _expire(days: Collection[int]) -> int:
    """End the stale holds on days that the caller has locked, and offer the places to who waits for them.

    Returns how many holds ended: with any, the days are no longer as they were.
    """
    now = timezone.now()
    lapsed = offers.lapse(days, before=now - GRACE)
    ended = (
        Booking.objects.held()
        .filter(open_day__in=days, hold__expires_at__lt=now - GRACE)
        .update(status=Booking.Status.EXPIRED, ended_at=now, ended_reason=_("Délai du panier dépassé"))
    )
    if lapsed or ended:
        offers.offer(days)
    return lapsed + ended


def is_stale(hold: Hold) -> bool:
    """Whether its time has run out, and its owner's last minute too."""
    return hold.expires_at < timezone.now() - GRACE


def locked_beneficiaries(ids: Collection[int]) -> Iterable[Beneficiary]:
    """Beneficiaries, whoever's they are, locked by ascending key as they are read."""
    return Beneficiary.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)


def lock_beneficiaries(user: User, ids: Collection[int]) -> dict[int, Beneficiary]:
    """Lock a person's beneficiaries, so that two parents booking one child go one after the other. Raises Refused."""
    rows = Beneficiary.objects.of(user).filter(pk__in=ids).order_by("pk")
    found = {row.pk: row for row in rows.select_for_update(no_key=True, of=("self",))}
    if len(found) != len(set(ids)):
        raise Refused(
            _("Un des bénéficiaires choisis ne fait pas partie de vos filiations. Rien n’a été ajouté."),
            code="not_yours",
        )
    return found


def _by_date(activity: Activity, days: dict[int, OpenDay]) -> dict[dt.date, OpenDay]:
    return {row.date: row for row in days.values() if row.activity_id == activity.pk}


def _crowded(wishes: Collection[Wish], days: dict[dt.date, OpenDay], slot: Slot) -> list[tuple[OpenDay, int]]:
    """The days that have fewer free places for this slot than are asked for, by date, with how many they have."""
    asked = Counter(wish.date for wish in wishes)
    room = slot_room([slot], days.values())
    free = {date: min(row.free, room.get((row.pk, slot.pk), row.free)) for date, row in days.items()}
    return [(days[date], free[date]) for date in sorted(asked) if date in days and free[date] < asked[date]]


def live_bookings(beneficiaries: Collection[int], dates: Collection[dt.date]) -> list[Booking]:
    """What these beneficiaries have on these dates, in any activity."""
    return list(
        Booking.objects.live()
        .filter(beneficiary__in=beneficiaries, open_day__date__in=dates)
        .select_related("hold", "open_day__activity", "slot")
    )


def check_bookable(
    dates: Collection[dt.date], days: dict[dt.date, OpenDay], now: dt.datetime, *, undone: str = ""
) -> None:
    """Raise Refused with the days that are unknown, closed, not open yet or past their deadline.

    `undone` says what has not happened, when that is not « nothing entered the cart ».
    """
    rows = [days[date] for date in sorted(dates) if date in days]
    unknown = [_("%s (pas de service ce jour-là)") % dated(date) for date in sorted(dates) if date not in days]
    closed = unknown + [f"{dated(row.date)} ({row.closed_reason})" for row in rows if not row.is_open]
    early = [row for row in rows if row.is_open and row.book_from and row.book_from > now]
    late = [row for row in rows if row.is_open and row.last_moment <= now]
    sentences = []
    if closed:
        sentences.append(ngettext("Fermé : %s.", "Fermés : %s.", len(closed)) % some(closed))
    if late:
        sentences.append(
            _("Trop tard pour réserver : %s.")
            % some(
                _("%(day)s (c’était possible jusqu’au %(limit)s)")
                % {"day": dated(row.date), "limit": moment(row.last_moment)}
                for row in late
            )
        )
    if early:
        sentences.append(
            _("Pas encore réservable : %s.")
            % some(
                _("%(day)s (à partir du %(opening)s)") % {"day": dated(row.date), "opening": moment(row.book_from)}
                for row in early
                if row.book_from
            )
        )
    if sentences:
        raise Refused(*sentences, undone or _("Rien n’a été ajouté au panier."), code="not_bookable")


def _check_not_offered(already: Collection[Booking]) -> None:
    """What the waiting list offers is taken from its page: held already, it would pass for booked before."""
    entries = WaitingListEntry.objects.offered().filter(booking__in=[row.pk for row in already])
    offered = list(entries.select_related("open_day")) if already else []
    if offered:
        raise Refused(
            ngettext(
                "Une place vous est déjà proposée : %s. Prenez-la depuis « Mes listes d’attente ».",
                "Des places vous sont déjà proposées : %s. Prenez-les depuis « Mes listes d’attente ».",
                len(offered),
            )
            % some(dict.fromkeys(dated(row.open_day.date) for row in offered)),
            _("Rien n’a été ajouté au panier."),
            code="offered",
        )


def check_limits(
    activity: Activity, beneficiaries: dict[int, Beneficiary], wishes: Collection[Wish], *, undone: str = ""
) -> None:
    """Raise Refused with the children whom the activity is not for, each with the first of such dates; see check_bookable."""
    limits = Limits(activity, beneficiaries.values())
    reasons: dict[int, str] = {}
    for wish in sorted(wishes):
        if wish.beneficiary_id not in reasons:
            reason = limits.why_not(beneficiaries[wish.beneficiary_id], wish.date)
            if reason:
                reasons[wish.beneficiary_id] = reason
    if reasons:
        raise Refused(*reasons.values(), undone or _("Rien n’a été ajouté au panier."), code="not_for_this_child")


def check_schools(
    activity: Activity,
    days: Collection[OpenDay],
    beneficiaries: dict[int, Beneficiary],
    wishes: Collection[Wish],
    *,
    undone: str = "",
) -> None:
    """Raise Refused with the children whose school or class is closed on one of these days, which the caller has locked.

    Reads nothing unless a day says that a school of its commune is closed. See check_bookable.
    """
    if not any(row.school_closed for row in days):
        return
    closed = ClosedSchools(activity, beneficiaries.values(), {wish.date for wish in wishes})
    reasons = (closed.why_not(beneficiaries[wish.beneficiary_id], wish.date) for wish in sorted(wishes))
    told = list(dict.fromkeys(filter(None, reasons)))
    if told:
        raise Refused(*told[:5], undone or _("Rien n’a été ajouté au panier."), code="school_closed")


def check_offered(days: Iterable[OpenDay], slot: Slot, *, undone: str = "") -> None:
    """Raise Refused with the days that do not offer this slot; `undone` as in check_bookable."""
    without = [dated(row.date) for row in days if not row.offers(slot)]
    if without:
        raise Refused(
            _("«\u00a0%(slot)s\u00a0» n’est pas proposé %(days)s.") % {"slot": slot, "days": some(without)},
            undone or _("Rien n’a été ajouté\u00a0: choisissez une autre prestation ou d’autres jours."),
            code="slot_not_offered",
        )


def check_places(wishes: Collection[Wish], days: dict[dt.date, OpenDay], slot: Slot) -> None:
    """Raise Refused with the days that have fewer free places for this slot than are wished for."""
    full = _crowded(wishes, days, slot)
    check_offered([row for row, _free in full], slot)
    if full:
        raise Refused(
            ngettext("Cette date est complète : %s.", "Ces dates sont complètes : %s.", len(full))
            % enumeration(
                _("%(day)s (pour « %(slot)s »)") % {"day": dated(row.date), "slot": slot}
                if free <= 0 < row.free
                else dated(row.date)
                if free <= 0
                else ngettext("%(day)s (il reste %(free)d place)", "%(day)s (il reste %(free)d places)", free)
                % {"day": dated(row.date), "free": free}
                for row, free in full
            ),
            ngettext(
                "Rien n’a été ajouté au panier : retirez-la de votre choix et recommencez.",
                "Rien n’a été ajouté au panier : retirez-les de votre choix et recommencez.",
                len(full),
            ),
            code="full",
        )


def some(items: Iterable[str], most: int = 5) -> str:
    """The first few of many, and how many more there are."""
    words = list(items)
    rest = len(words) - most
    return enumeration([*words[:most], _("%d autres") % rest] if rest > 1 else words)


def check_overlaps(rows: Sequence[Booking], others: Sequence[Booking], beneficiaries: dict[int, Beneficiary]) -> None:
    """Raise Refused with the beneficiaries who are elsewhere at the time of one of these rows."""
    by_child: dict[int, list[Booking]] = {}
    for other in others:
        by_child.setdefault(other.beneficiary_id, []).append(other)
    clashes = [
        _("%(child)s a déjà « %(activity)s, %(slot)s » %(day)s à la même heure")
        % {
            "child": beneficiaries[row.beneficiary_id].first_name,
            "activity": other.open_day.activity,
            "slot": other.slot,
            "day": dated(other.open_day.date),
        }
        for row in rows
        for other in by_child.get(row.beneficiary_id, ())
        if overlap(row, other)
    ]
    if clashes:
        raise Refused(
            f"{some(clashes)}.", _("Rien n’a été ajouté au panier : décochez ces dates."), code="one_place_at_a_time"
        )


def _span(bookings: Sequence[Booking]) -> TimestamptzRange:
    return TimestamptzRange(min(row.period.lower for row in bookings), max(row.period.upper for row in bookings))
