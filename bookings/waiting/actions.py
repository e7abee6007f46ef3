"""Joining and leaving a waiting list, closing it, and moving somebody in it. Lock order: beneficiaries, then open days."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Max, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import User
from bookings.actions import Wish, check_bookable, check_limits, check_offered, check_schools, lock_beneficiaries, some
from bookings.closures.models import Closure
from bookings.models import Booking
from bookings.places import lock_days, lock_days_where, new_booking, rivals, slot_room
from bookings.waiting import offers
from bookings.waiting.models import WaitingListEntry
from families.models import Beneficiary
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused, within
from portal.common.formats import dated
from portal.outbox.actions import queue_email
from services.actions import check_offer
from services.models import Activity, OpenDay, Slot, Subscription

Status = WaitingListEntry.Status
ALREADY = {
    "waits_once": gettext_lazy("Un de ces enfants vient d’être inscrit sur cette liste d’attente. Rien n’a été ajouté.")
}


@dataclass(frozen=True)
class Joined:
    """The entries made, and why other wishes were left out (« Louane attend déjà une place mercredi 9 décembre »)."""

    entries: list[WaitingListEntry]
    left_out: list[str]


@retry_on_deadlock
def join(
    *,
    user: User,
    activity: Activity,
    slot: Slot,
    subscription: Subscription,
    wishes: Collection[Wish],
    together: bool = False,
) -> Joined:
    """Wait for places on full days, all or none; those asked for at once are one series.

    With `together` the children of a day are offered places together or not at all. A child who waits for that place
    already, or is elsewhere at that time, is left out of that day. Raises Refused with a sentence: no access, no waiting
    list here, a day that is closed, past its deadline or not full, a child who is somebody else's or whom the activity
    is not for, nobody left.
    """
    if not wishes:
        raise Refused(_("Choisissez au moins une date complète et un bénéficiaire."), code="nothing_chosen")
    with refusing({name: str(text) for name, text in ALREADY.items()}):
        dates = {wish.date for wish in wishes}
        check_offer(user=user, activity=activity, slot=slot, subscription=subscription, dates=dates)
        if not activity.waiting_list:
            raise Refused(_("Cette activité n’a pas de liste d’attente."), code="no_list")
        people = lock_beneficiaries(user, {wish.beneficiary_id for wish in wishes})
        locked = lock_days_where(Q(activity=activity, date__in=dates))
        days = {row.date: row for row in locked.values()}
        undone = _("Rien n’a été ajouté à la liste d’attente.")
        check_bookable(dates, days, timezone.now(), undone=undone)
        check_limits(activity, people, wishes, undone=undone)
        check_schools(activity, days.values(), people, wishes, undone=undone)
        left = _already_waiting(locked, people, slot, wishes, days) | _elsewhere(user, wishes, days, slot, people)
        new = [wish for wish in wishes if wish not in left]
        sentences = [left[wish] for wish in sorted(left, key=lambda wish: wish.date)]
        if not new:
            raise Refused(f"{some(sentences)}.", _("Rien n’a été ajouté à la liste d’attente."), code="already")
        _check_full(new, days, slot, together=together)
        entries = _entries(user, activity, slot, subscription, new, days, together=together)
        WaitingListEntry.objects.bulk_create(entries)
    for entry in entries:
        entry.beneficiary = people[entry.beneficiary_id]
    return Joined(entries, sentences)


@retry_on_deadlock
@transaction.atomic
def leave(*, user: User, ids: Collection[int]) -> int:
    """Leave lists, or decline offers, with all who were to come together; returns how many entries ended.

    An offered place goes to the next at once. Entries that are somebody else's or over already are passed over.
    """
    mine = WaitingListEntry.objects.of(user)
    parties = set(mine.filter(pk__in=ids).values_list("party", flat=True))
    rows = mine.live().filter(party__in=parties)
    days = lock_days(set(rows.values_list("open_day", flat=True)))
    found = list(rows.order_by("pk"))
    if not found:
        return 0
    if offers.end(found, Status.LEFT, by=user, reason=_("Quittée par la famille")):
        offers.offer(days)
    return len(found)


@transaction.atomic
def withdraw(*, days: Collection[int], reason: str, by: User | None, offered_to: Iterable[int] | None = None) -> int:
    """Close the waiting lists of some days (None: by the house): offers are taken back, families are told why.

    For a day that closes, and for one whose booking deadline is past; or, where only some stay away, just the offers made
    for these beneficiaries (`offered_to`). Returns how many entries ended. Raises Refused without a reason.
    """
    rows = end_lists(days=days, reason=reason, by=by, offered_to=offered_to)
    for user, theirs in offers.by_user(rows):
        queue_email(
            key=f"waiting:{theirs[0].pk}:withdrawn",
            to=user.email,
            template="waiting_closed",
            context={"user": user, "entries": theirs, "reason": reason.strip()},
        )
    return len(rows)


def end_lists(
    *, days: Collection[int], reason: str, by: User | None, offered_to: Iterable[int] | None = None
) -> list[WaitingListEntry]:
    """The same for a caller that tells the families itself, among other things; returns the entries that ended."""
    reason = within(reason, 200)
    if not reason:
        raise Refused(_("Écrivez pourquoi la liste se ferme : les familles le liront."), code="reason_missing")
    lock_days(days)
    live = WaitingListEntry.objects.live().on_days(days)
    if offered_to is not None:
        live = live.offered().filter(beneficiary__in=offered_to)
    rows = list(live.select_related("user", "beneficiary", "slot", "open_day__activity__service").order_by("pk"))
    if rows:
        offers.end(rows, Status.WITHDRAWN, by=by, reason=reason)
    return rows


@transaction.atomic
def move(*, entry: WaitingListEntry, position: int, reason: str, by: User) -> None:
    """Give somebody who waits another position on their day (1: next), with all who are to come together.

    Only staff of the activity's commune, and only with a reason, which stays with the entry and in its history. Raises
    Refused otherwise, and when the entry no longer waits.
    """
    reason = within(reason, 200)
    if not reason:
        raise Refused(_("Écrivez le motif : il reste dans l’historique de la liste."), code="reason_missing")
    if not WaitingListEntry.objects.visible_to(by).filter(pk=entry.pk).exists() or not by.is_staff:
        raise Refused(_("Cette liste d’attente dépend d’une autre commune."), code="out_of_scope")
    lock_days([entry.open_day_id])
    rows = list(WaitingListEntry.objects.waiting().on_days([entry.open_day_id]).in_order())
    places = {row.party: (row.priority, row.rank) for row in rows}  # in order, each party once
    if entry.party not in places:
        raise Refused(_("Cette personne n’attend plus : la liste n’a pas changé."), code="not_waiting")
    before = places.pop(entry.party)
    others = list(places.values())
    if not 1 <= position <= len(others) + 1:
        raise Refused(
            ngettext(
                "La liste de ce jour a %d place : choisissez-la.",
                "La liste de ce jour a %d rangs : choisissez-en un, de 1 au dernier.",
                len(others) + 1,
            )
            % (len(others) + 1),
            code="no_such_position",
        )
    after = _between(others[position - 2] if position > 1 else None, others[position - 1 : position])
    if sum(place < before for place in others) == position - 1:
        raise Refused(_("C’est déjà son rang : la liste n’a pas changé."), code="same_position")
    WaitingListEntry.objects.waiting().filter(party=entry.party, open_day=entry.open_day_id).update(
        priority=after[0], rank=after[1], moved_at=timezone.now(), moved_by=by, moved_reason=reason
    )


def sweep(*, limit: int = 200) -> int:
    """What the lists need by themselves: close those that are over, offer what came free otherwise (a capacity that
    was raised, a day that opened again). One short transaction a day; returns how many entries ended or got an offer."""
    now = timezone.now()
    waited_for = OpenDay.objects.filter(waiting__status=Status.WAITING).distinct()
    concerned = OpenDay.objects.filter(waiting__ended_at=None, waiting__isnull=False).distinct()
    # A closure that can still be taken back closes no list: it does so itself when its e-mails leave.
    concerned = concerned.exclude(closed_by__closure__status=Closure.Status.CONFIRMED)
    over = concerned.filter(Q(is_open=False) | Q(book_until__lte=now, late_until=None) | Q(late_until__lte=now))
    free = waited_for.bookable(at=now).filter(taken__lt=F("capacity"))
    return sum(_close(row, now) for row in over.order_by("date")[:limit]) + sum(
        _offer_on(row) for row in free.order_by("date")[:limit]
    )


@retry_on_deadlock
def _offer_on(row: OpenDay) -> int:
    with transaction.atomic():
        return offers.offer(lock_days([row.pk]))


@retry_on_deadlock
def _close(row: OpenDay, now: dt.datetime) -> int:
    with transaction.atomic():
        today = lock_days([row.pk])[row.pk]
        if today.is_bookable(now):  # opened again since we looked
            return 0
        reason = today.closed_reason if not today.is_open else _("La limite de réservation est passée")
        return withdraw(days=[row.pk], reason=reason, by=None)


def _between(before: tuple[int, float] | None, after: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """A priority and a rank that stand between two neighbours of a list."""
    if not after:
        assert before is not None  # somebody else waits, or the position is the one already had
        return before[0], before[1] + 1
    priority, rank = after[0]
    if before is None or before[0] != priority:
        return priority, rank - 1
    return priority, (before[1] + rank) / 2


def _already_waiting(
    locked: Collection[int],
    people: dict[int, Beneficiary],
    slot: Slot,
    wishes: Collection[Wish],
    days: dict[dt.date, OpenDay],
) -> dict[Wish, str]:
    """The wishes of who waits for that place already, each with a sentence's beginning."""
    rows = WaitingListEntry.objects.live().on_days(locked).filter(beneficiary__in=people, slot=slot)
    known = set(rows.values_list("beneficiary", "open_day"))
    return {
        wish: _("%(child)s attend déjà une place %(day)s")
        % {"child": people[wish.beneficiary_id].first_name, "day": dated(wish.date)}
        for wish in wishes
        if (wish.beneficiary_id, days[wish.date].pk) in known
    }


def _check_full(wishes: Iterable[Wish], days: dict[dt.date, OpenDay], slot: Slot, *, together: bool) -> None:
    """One waits for what one cannot have: where a place is free, it is booked."""
    asked = Counter(wish.date for wish in wishes)
    check_offered([days[date] for date in asked], slot)
    room = slot_room([slot], days.values())
    left = {date: min(row.free, room.get((row.pk, slot.pk), row.free)) for date, row in days.items()}
    free = [date for date, count in asked.items() if left[date] >= (count if together else 1)]
    if free:
        raise Refused(
            ngettext(
                "Il reste de la place %s : réservez directement.",
                "Il reste de la place %s : réservez directement ces jours-là.",
                len(free),
            )
            % some(dated(date) for date in sorted(free)),
            _("Rien n’a été ajouté à la liste d’attente."),
            code="not_full",
        )


def _elsewhere(
    user: User, wishes: Collection[Wish], days: dict[dt.date, OpenDay], slot: Slot, people: dict[int, Beneficiary]
) -> dict[Wish, str]:
    """The wishes of who is somewhere at that time, and could not be offered the place; each with a sentence's beginning."""
    found = (
        Booking.objects.live()
        .filter(beneficiary__in=people, open_day__date__in={wish.date for wish in wishes})
        .select_related("open_day__activity", "slot")
    )
    by_date: dict[dt.date, list[Booking]] = {}
    for row in found:
        by_date.setdefault(row.open_day.date, []).append(row)
    now = timezone.now()
    clashes: dict[Wish, str] = {}
    for wish in wishes:
        place = new_booking(user=user, beneficiary_id=wish.beneficiary_id, open_day=days[wish.date], slot=slot, at=now)
        for other in rivals(place, by_date.get(wish.date, ())):
            clashes[wish] = _("%(child)s a déjà « %(activity)s, %(slot)s » %(day)s à la même heure") % {
                "child": people[wish.beneficiary_id].first_name,
                "activity": other.open_day.activity,
                "slot": other.slot,
                "day": dated(wish.date),
            }
    return clashes


def _entries(
    user: User,
    activity: Activity,
    slot: Slot,
    subscription: Subscription,
    wishes: Sequence[Wish],
    days: dict[dt.date, OpenDay],
    *,
    together: bool,
) -> list[WaitingListEntry]:
    series = uuid.uuid4()
    last = _last_ranks(days)
    classes = _priorities(user, activity, wishes, days)
    parties: dict[dt.date, uuid.UUID] = {}
    entries = []
    for wish in sorted(wishes, key=lambda wish: (wish.date, wish.beneficiary_id)):
        alone = wish.date not in parties or not together
        if alone:
            parties[wish.date] = uuid.uuid4()
            last[wish.date] = last.get(wish.date, 0.0) + 1
        entries.append(
            WaitingListEntry(
                user=user,
                beneficiary_id=wish.beneficiary_id,
                open_day=days[wish.date],
                slot=slot,
                profile_id=subscription.profile_id,
                party=parties[wish.date],
                series=series,
                priority=classes[wish.date],
                rank=last[wish.date],
            )
        )
    return entries


def _last_ranks(days: dict[dt.date, OpenDay]) -> dict[dt.date, float]:
    """The last rank that was ever given on each day: a later comer gets one behind it."""
    rows = WaitingListEntry.objects.on_days([row.pk for row in days.values()])
    return dict(rows.order_by().values_list("open_day__date").annotate(Max("rank")))


def _priorities(
    user: User, activity: Activity, wishes: Collection[Wish], days: dict[dt.date, OpenDay]
) -> dict[dt.date, int]:
    """The class of this family on each date by the activity's stated order, 0 being first; it stays as it is today."""
    priorities = list(activity.waiting_order)
    present: set[dt.date] = set()
    if Activity.Priority.SIBLING in priorities:
        siblings = (
            Booking.objects.booked()
            .filter(open_day__in=[row.pk for row in days.values()], beneficiary__in=Beneficiary.objects.of(user))
            .exclude(beneficiary__in={wish.beneficiary_id for wish in wishes})
        )
        present = set(siblings.values_list("open_day__date", flat=True))
    commune = activity.service.commune_id
    resident = user.commune_id is not None and commune in (None, user.commune_id)
    classes = {}
    for date in {wish.date for wish in wishes}:
        met = {Activity.Priority.RESIDENT: resident, Activity.Priority.SIBLING: date in present}
        number = 0
        for priority in priorities:
            number = number * 2 + (not met[Activity.Priority(priority)])
        classes[date] = number
    return classes


def rule(activity: Activity) -> str:
    """In which order places are offered, in one sentence for the parent."""
    first = [_("aux %s") % Activity.Priority(each).label for each in activity.waiting_order]
    if not first:
        return _("Les places sont proposées dans l’ordre d’inscription.")
    return _("Les places vont d’abord %s, puis dans l’ordre d’inscription.") % _(", puis ").join(first)
