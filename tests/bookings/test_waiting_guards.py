"""What PostgreSQL refuses of a waiting list whatever code asks: each fault is shown first, with its guard off."""

from typing import Any

import pgtrigger
import pytest
from django.db import Error, IntegrityError, transaction
from django.utils import timezone

from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from tests.bookings.test_waiting import give_back
from tests.factories import AccessProfileFactory, BeneficiaryFactory, OpenDayFactory, SlotFactory, UserFactory, agent_of
from tests.guards import guarded, sql, undone
from tests.shop import Shop
from tests.waiting import entries, full_shop, neighbour, wait

pytestmark = pytest.mark.django_db
Rows = WaitingListEntry.objects


def waiting() -> Shop:
    who = neighbour(full_shop())
    wait(who)
    return who


def offered() -> Shop:
    shop = full_shop()
    who = neighbour(shop)
    wait(who)
    give_back(shop)
    return who


def test_one_waits_once_for_one_place() -> None:
    who = waiting()
    twin = entries(who)[0]
    twin.pk, twin._state.adding = None, True
    with undone():
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("DROP INDEX waits_once")
        twin.save()
        assert Rows.count() == 2
    twin.pk, twin._state.adding = None, True
    with pytest.raises(IntegrityError, match="waits_once"), transaction.atomic():
        twin.save()


@pytest.mark.parametrize("field", ["user", "beneficiary", "open_day", "slot", "profile", "party"])
def test_who_waits_for_what_stays(field: str) -> None:
    who = waiting()
    value: Any = {
        "user": UserFactory,
        "beneficiary": BeneficiaryFactory,
        "open_day": OpenDayFactory,
        "slot": SlotFactory,
        "profile": AccessProfileFactory,
        "party": lambda: who.user and "6f9d0a52-9c7c-4d6b-9c45-0d5a0e4f4a11",
    }[field]()
    guarded(
        "bookings.WaitingListEntry:waiting_is_frozen",
        lambda: Rows.update(**{field: value}),
        "Cannot update",
        lambda: Rows.filter(**{field: value}).exists(),
    )


@pytest.mark.parametrize("field", ["slot", "profile"])
def test_an_entry_fits_its_day(field: str) -> None:
    who = waiting()
    row = entries(who)[0]
    row.pk, row._state.adding, row.beneficiary = None, True, BeneficiaryFactory()
    setattr(row, field, {"slot": SlotFactory, "profile": AccessProfileFactory}[field]())
    guarded(
        "bookings.WaitingListEntry:waiting_fits_its_day",
        lambda: Rows.bulk_create([row]),
        "belong to the activity of the day",
        lambda: Rows.count() == 2,
    )


@pytest.mark.parametrize("change", [{"rank": 0.5}, {"priority": 3}])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "without a word"])
def test_nobody_is_moved_without_a_reason(change: dict[str, Any], signed: bool) -> None:
    waiting()
    by = {"moved_by": agent_of(), "moved_at": timezone.now()} if signed else {}
    guarded(
        "bookings.WaitingListEntry:reordering_says_why",
        lambda: Rows.update(**change, **by),
        "changes with a reason",
        lambda: Rows.filter(**change).exists(),
    )


def test_an_old_reason_does_not_move_anybody_again() -> None:
    waiting()
    Rows.update(rank=2, moved_by=agent_of(), moved_at=timezone.now(), moved_reason="Urgence")
    guarded(
        "bookings.WaitingListEntry:reordering_says_why",
        lambda: Rows.update(rank=3),
        "changes with a reason",
        lambda: Rows.filter(rank=3).exists(),
    )


def test_a_move_is_kept_in_the_history() -> None:
    waiting()
    events: Any = WaitingListEntry.pgh_event_model  # type: ignore[attr-defined]
    Rows.update(rank=2, moved_by=agent_of(), moved_at=timezone.now(), moved_reason="Urgence")
    assert events.objects.get().rank == 1


@pytest.mark.parametrize("case", ["nobody's", "another child's", "given back"])
def test_an_offer_holds_the_place_that_it_offers(case: str) -> None:
    who = waiting()
    other = offered()
    place = Booking.objects.held().get(made_by=other.user)
    row = Rows.get(user=who.user)
    if case == "given back":
        Rows.filter(user=other.user).update(status="left", ended_at=timezone.now())
        Booking.objects.filter(pk=place.pk).update(status="expired", ended_at=timezone.now())
        row = Rows.get(user=other.user)
        with pgtrigger.ignore("bookings.WaitingListEntry:waiting_transitions"):
            Rows.filter(pk=row.pk).update(status="waiting", ended_at=None, booking=None, offered_at=None)
    if case == "another child's":
        Rows.filter(user=other.user).update(status="left", ended_at=timezone.now(), booking=None)
    booking = Booking.objects.booked().first() if case == "nobody's" else place
    guarded(
        "bookings.WaitingListEntry:offer_holds_its_place",
        lambda: Rows.filter(pk=row.pk).update(status="offered", booking=booking, offered_at=timezone.now()),
        "an offer holds the place",
        lambda: Rows.filter(pk=row.pk, status="offered").exists(),
    )


@pytest.mark.parametrize("status", ["expired", "booked"])
def test_an_offered_place_is_not_given_away_while_the_offer_stands(status: str) -> None:
    offered()
    now = timezone.now()
    dates = {"ended_at": now} if status == "expired" else {"booked_at": now}
    guarded(
        "bookings.Booking:offer_ends_first",
        lambda: Booking.objects.held().update(status=status, **dates),
        "the offer ends first",
        lambda: Rows.offered().exists() and not Booking.objects.held().exists(),
    )


@pytest.mark.parametrize(
    "start, end", [("taken", "offered"), ("left", "waiting"), ("withdrawn", "waiting"), ("expired", "taken")]
)
def test_what_is_over_stays_over(start: str, end: str) -> None:
    who = offered()
    ended = {"ended_at": timezone.now(), "ended_reason": "x"}
    Rows.filter(user=who.user).update(status=start, **ended)
    change: dict[str, Any] = {"status": end} | ({} if end in ("taken", "expired") else {"ended_at": None})
    change |= {"booking": None, "offered_at": None} if end == "waiting" else {}
    guarded(
        "bookings.WaitingListEntry:waiting_transitions",
        lambda: Rows.filter(user=who.user).update(**change),
        "Invalid transition",
        lambda: Rows.filter(user=who.user, status=end).exists(),
    )


@pytest.mark.parametrize(
    "constraint, change",
    [
        ("waiting_status_is_dated", {"status": "left"}),
        ("waiting_status_is_dated", {"ended_at": timezone.now()}),
        ("withdrawal_says_why", {"status": "withdrawn", "ended_at": timezone.now()}),
    ],
)
def test_a_status_is_dated_and_a_withdrawal_says_why(constraint: str, change: dict[str, Any]) -> None:
    waiting()
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with undone():
        sql(f"ALTER TABLE bookings_waitinglistentry DROP CONSTRAINT {constraint}")
        Rows.update(**change)
    with pytest.raises(Error, match=constraint), transaction.atomic():
        Rows.update(**change)
