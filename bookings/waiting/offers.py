"""Offering freed places to who waits for them. Everything here runs under the locks of the days it is told of.

A place is offered in the transaction that frees it, as a held booking of its own: `OpenDay.taken` counts it, so nobody
else can have it, and what is promised is really there (docs/adr/0006-waiting-lists.md).
"""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.closures.pupils import ClosedSchools
from bookings.models import Booking, Hold
from bookings.places import new_booking, rivals, slot_room
from bookings.waiting.models import WaitingListEntry, WaitingListEntryQuerySet
from families.limits import Limits
from families.models import Filiation
from portal.outbox.actions import queue_email
from services.models import OpenDay, Subscription

Status = WaitingListEntry.Status
Party = list[WaitingListEntry]

# Near the booking deadline a whole day to answer would leave nobody else a chance.
SHORTEST = dt.timedelta(hours=1)


def offer_until(*, open_day: OpenDay, hours: int, at: dt.datetime) -> dt.datetime:
    """Until when a place offered at this moment may be taken: the activity's delay, but at most half of the time left
    before the booking deadline (an hour at least), and never past it."""
    left = open_day.last_moment - at
    return min(at + min(dt.timedelta(hours=hours), max(left / 2, SHORTEST)), open_day.last_moment)


def offer(days: Collection[int]) -> int:
    """Offer the free places of these days in the order of their lists; returns how many places are offered.

    Those who want to come together are offered places together; where fewer are free they keep their rank, and the
    places go to the next who fit. Somebody who cannot have the place today (elsewhere at that time, access withdrawn,
    no longer on the account) is passed over and keeps their rank too.
    """
    now = timezone.now()
    waiting = list(
        WaitingListEntry.objects.waiting()
        .on_days(days)
        .in_order()
        .select_related("user", "beneficiary", "slot__activity__service", "open_day__activity__service")
    )
    waiting = [row for row in waiting if row.open_day.free > 0 and row.open_day.is_bookable(now)]
    if not waiting:
        return 0
    chosen = _who_fits(waiting, now)
    if not chosen:
        return 0
    kept = _hold(chosen, now)
    for user, theirs in itertools.groupby(sorted(kept, key=lambda party: party[0].user_id), key=lambda p: p[0].user):
        _tell(user, list(theirs))
    return sum(map(len, kept))


def lapse(days: Collection[int], *, before: dt.datetime) -> int:
    """End the offers that ran out before a moment, with the places they held; returns how many places came free.

    The caller offers them again. Whoever let an offer pass is told, and may wait anew at the end of the list.
    """
    rows = list(
        WaitingListEntry.objects.offered()
        .on_days(days)
        .filter(booking__hold__expires_at__lt=before)
        .select_related("user", "beneficiary", "slot", "open_day__activity__service")
        .order_by("pk")
    )
    if not rows:
        return 0
    freed = end(rows, Status.EXPIRED, by=None, reason=_("Proposition restée sans réponse"))
    for user, theirs in by_user(rows):
        queue_email(
            key=f"waiting:{theirs[0].pk}:expired",
            to=user.email,
            template="waiting_expired",
            context={"user": user, "entries": theirs},
        )
    return freed


def end(rows: Sequence[WaitingListEntry], status: str, *, by: User | None, reason: str) -> int:
    """End entries, and give back the places that were offered to them; returns how many. The offer ends before its place."""
    now = timezone.now()
    WaitingListEntry.objects.filter(pk__in=[row.pk for row in rows]).update(
        status=status, ended_at=now, ended_by=by, ended_reason=reason
    )
    places = [row.booking_id for row in rows if row.status == Status.OFFERED]
    if not places:
        return 0
    return (
        Booking.objects.held()
        .filter(pk__in=places)
        .update(status=Booking.Status.EXPIRED, ended_at=now, ended_by=by, ended_reason=reason)
    )


def take(entries: WaitingListEntryQuerySet) -> None:
    """Offers whose places are paid for end as taken; their places are booked next, in the caller's transaction."""
    entries.update(status=Status.TAKEN, ended_at=timezone.now(), ended_by=F("user"), ended_reason=_("Place réservée"))


def _who_fits(waiting: Sequence[WaitingListEntry], now: dt.datetime) -> list[Party]:
    """The parties that places are offered to, in order, as far as the free places of each day go; their entries carry
    the rows of their places, which are not written yet."""
    allowed = _allowed(waiting)
    others = _elsewhere(waiting)
    free = {row.open_day_id: row.open_day.free for row in waiting}
    room = slot_room({row.slot for row in waiting}, {row.open_day_id: row.open_day for row in waiting}.values())
    chosen = []
    for (day, _party), rows in itertools.groupby(waiting, key=lambda row: (row.open_day_id, row.party)):
        party = list(rows)
        asked = Counter((day, row.slot_id) for row in party)
        if any(count > room.get(key, count) for key, count in asked.items()):
            continue
        if len(party) > free[day] or not all(row.pk in allowed for row in party):
            continue
        places = [_place(row, now) for row in party]
        if any(rivals(place, others) for place in places):
            continue
        free[day] -= len(party)
        room = {key: left - asked[key] for key, left in room.items()}
        others += places
        for entry, place in zip(party, places, strict=True):
            entry.booking = place
        chosen.append(party)
    return chosen


def _place(entry: WaitingListEntry, now: dt.datetime) -> Booking:
    return new_booking(
        user=entry.user, beneficiary_id=entry.beneficiary_id, open_day=entry.open_day, slot=entry.slot, at=now
    )


def _allowed(waiting: Sequence[WaitingListEntry]) -> set[int]:
    """The entries whose owner still answers for the beneficiary, has access, and is still sold the slot, and whose
    beneficiary the activity is still for."""
    users = {row.user_id for row in waiting}
    links = set(Filiation.objects.filter(user__in=users, ended_at=None).values_list("user", "beneficiary"))
    granted = Subscription.objects.covering(max(row.open_day.date for row in waiting)).filter(user__in=users)
    accesses = set(granted.values_list("user", "profile__service"))
    activities = {row.open_day.activity for row in waiting}
    limits = {activity: Limits(activity, [row.beneficiary for row in waiting]) for activity in activities}
    dates = {row.open_day.date for row in waiting}
    closed = {activity: ClosedSchools(activity, [row.beneficiary for row in waiting], dates) for activity in activities}
    return {
        row.pk
        for row in waiting
        if (row.user_id, row.beneficiary_id) in links
        and (row.user_id, row.open_day.activity.service_id) in accesses
        and row.slot.is_active
        and row.open_day.activity.is_active
        and not limits[row.open_day.activity].why_not(row.beneficiary, row.open_day.date)
        and not closed[row.open_day.activity].why_not(row.beneficiary, row.open_day.date)
    }


def _elsewhere(waiting: Sequence[WaitingListEntry]) -> list[Booking]:
    """What the waiting beneficiaries have on these dates, in any activity."""
    return list(
        Booking.objects.live()
        .filter(
            beneficiary__in={row.beneficiary_id for row in waiting},
            open_day__date__in={row.open_day.date for row in waiting},
        )
        .only("beneficiary_id", "period", "may_overlap", "open_day_id", "slot_id")
    )


def _hold(chosen: Sequence[Party], now: dt.datetime) -> list[Party]:
    """Hold the places of the chosen parties, and mark their entries; returns the parties that really got theirs."""
    holds = Hold.objects.bulk_create(Hold(user=party[0].user, expires_at=_limit(party[0], now)) for party in chosen)
    for party, hold in zip(chosen, holds, strict=True):
        for entry in party:
            assert entry.booking is not None
            entry.booking.hold = hold
    kept = list(chosen)
    if not _insert(itertools.chain.from_iterable(chosen)):
        # One of the children got another place at that time since we looked: the others must not suffer from it.
        kept = [party for party in chosen if _insert(party)]
    entries = list(itertools.chain.from_iterable(kept))
    for entry in entries:
        entry.status, entry.offered_at = Status.OFFERED, now
        entry.booking = entry.booking  # which has its key by now
    WaitingListEntry.objects.bulk_update(entries, ["status", "booking", "offered_at"])
    return kept


def _limit(entry: WaitingListEntry, now: dt.datetime) -> dt.datetime:
    return offer_until(open_day=entry.open_day, hours=entry.open_day.activity.offer_hours, at=now)


def _insert(entries: Iterable[WaitingListEntry]) -> bool:
    places = [entry.booking for entry in entries if entry.booking is not None]
    try:
        with transaction.atomic():
            Booking.objects.bulk_create(sorted(places, key=lambda row: (row.beneficiary_id, row.period.lower)))
    except IntegrityError:
        return False
    return True


def _tell(user: User, parties: Sequence[Party]) -> None:
    entries = list(itertools.chain.from_iterable(parties))
    queue_email(
        key=f"waiting:{min(row.pk for row in entries)}:offered",
        to=user.email,
        template="waiting_offered",
        context={
            "user": user,
            "parties": sorted(parties, key=lambda party: party[0].open_day.date),
            "places": len(entries),
        },
    )


def by_user(rows: Iterable[WaitingListEntry]) -> Iterable[tuple[User, list[WaitingListEntry]]]:
    """Whose entries these are, each account with its own, in the order of their keys."""
    ordered = sorted(rows, key=lambda row: (row.user_id, row.pk))
    for user, theirs in itertools.groupby(ordered, key=lambda row: row.user):
        yield user, list(theirs)
