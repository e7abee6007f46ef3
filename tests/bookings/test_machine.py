"""Whatever families, staff and the clock do in whatever order: places, promises and money stay true after each step.

Hypothesis chooses the steps; a failure prints the shortest story that leads to it.
"""

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bookings import actions as bookings
from bookings.closures import actions as closures
from bookings.closures.models import Closure
from bookings.models import Booking, Hold
from bookings.waiting import actions as waiting
from bookings.waiting import offers
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means, cancel_bookings, cancel_for, recover_places, remove_lines, take_offer
from checkout.actions.closures import apply_closure
from checkout.models import CartLine
from checkout.verification import verify
from portal.common.errors import Refused
from services.models import OpenDay
from tests.factories import agent_of
from tests.shop import Shop, family, open_shop
from tests.waiting import wait
from wallet.models import Movement, Wallet

pytestmark = pytest.mark.django_db

FAMILIES = st.integers(0, 2)
DAYS = st.sets(st.integers(0, 1), min_size=1)
CHILDREN = st.sets(st.integers(0, 1), min_size=1)
DEPOSIT = Decimal(200)


class Places(RuleBasedStateMachine):
    """Three families of two children and two days of two places."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        first = open_shop(days=2, children=2, capacity=2, credit=str(DEPOSIT))
        others = [family(first.tariff, children=2, credit=str(DEPOSIT), days=first.days) for _other in range(2)]
        self.families: list[Shop] = [first, *others]
        self.staff = agent_of()
        self.movements = 0

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undone.__exit__(None, None, None)

    def chosen(self, who: int, days: set[int], children: set[int]) -> tuple[Shop, dict[str, Any]]:
        shop = self.families[who]
        return shop, {
            "days": [shop.days[index] for index in sorted(days)],
            "children": [shop.children[index] for index in sorted(children)],
        }

    # -- What a family does --

    @rule(who=FAMILIES, days=DAYS, children=CHILDREN)
    def book(self, who: int, days: set[int], children: set[int]) -> None:
        shop, choice = self.chosen(who, days, children)
        with contextlib.suppress(Refused):
            shop.add(**choice)

    @rule(who=FAMILIES)
    def pay(self, who: int) -> None:
        shop = self.families[who]
        lines = CartLine.objects.filter(cart__user=shop.user, cart__status="open")
        with contextlib.suppress(Refused):
            if lines:
                shop.pay(Means.WALLET, sum((line.unit_price for line in lines), Decimal(0)))

    @rule(who=FAMILIES)
    def take_back(self, who: int) -> None:
        recover_places(user=self.families[who].user)

    @rule(who=FAMILIES)
    def remove_one(self, who: int) -> None:
        user = self.families[who].user
        remove_lines(user=user, ids=CartLine.objects.filter(cart__user=user).values_list("pk", flat=True)[:1])

    @rule(who=FAMILIES, many=st.integers(1, 4))
    def cancel(self, who: int, many: int) -> None:
        user = self.families[who].user
        ids = list(Booking.objects.booked().filter(made_by=user).order_by("pk").values_list("pk", flat=True)[:many])
        if ids:
            cancel_bookings(ids=ids, by=user)

    @rule(who=FAMILIES, days=DAYS, children=CHILDREN, together=st.booleans())
    def wait(self, who: int, days: set[int], children: set[int], together: bool) -> None:
        shop, choice = self.chosen(who, days, children)
        with contextlib.suppress(Refused):
            wait(shop, together=together, **choice)

    @rule(who=FAMILIES)
    def take_an_offer(self, who: int) -> None:
        user = self.families[who].user
        entry = WaitingListEntry.objects.of(user).offered().first()
        with contextlib.suppress(Refused):
            if entry is not None:
                take_offer(user=user, party=entry.party)

    @rule(who=FAMILIES, many=st.integers(1, 2))
    def leave(self, who: int, many: int) -> None:
        user = self.families[who].user
        ids = WaitingListEntry.objects.of(user).live().order_by("pk").values_list("pk", flat=True)[:many]
        waiting.leave(user=user, ids=list(ids))

    # -- What time and staff do --

    @rule(who=FAMILIES)
    def time_runs_out(self, who: int) -> None:
        past = timezone.now() - bookings.GRACE * 2
        Hold.objects.filter(user=self.families[who].user).update(expires_at=past)

    @rule()
    def beat(self) -> None:
        bookings.release_expired_holds()
        waiting.sweep()

    @rule(day=st.integers(0, 1), more=st.integers(-1, 2))
    def change_capacity(self, day: int, more: int) -> None:
        row = self.families[0].fresh(day)
        OpenDay.objects.filter(pk=row.pk).update(capacity=max(row.capacity + more, row.taken, 1))
        waiting.sweep()

    @rule(day=st.integers(0, 1))
    def cancel_by_staff(self, day: int) -> None:
        rows = Booking.objects.booked().filter(open_day=self.families[0].days[day]).order_by("pk")
        cancel_for(ids=list(rows.values_list("pk", flat=True)[:1]), by=self.staff, reason="Erreur de saisie")

    @rule(day=st.integers(0, 1))
    def close(self, day: int) -> None:
        activity, date = self.families[0].activity, self.families[0].days[day].date
        facts = {"commune": activity.service.commune, "first_day": date, "last_day": date, "reason": "Grève"}
        plan = Closure(scope="activity", activity=activity, **facts)
        with contextlib.suppress(Refused):  # closed already
            closures.decide(closure=plan, seen=closures.fingerprint(plan), by=self.staff)

    @rule()
    def undo_the_closure(self) -> None:
        for closure in Closure.objects.filter(status="confirmed").order_by("-pk")[:1]:
            closures.undo(closure=closure, by=self.staff)
            waiting.sweep()

    @rule()
    def apply_the_closure(self) -> None:
        for closure in Closure.objects.filter(status="confirmed").order_by("pk")[:1]:
            apply_closure(closure=closure, by=self.staff)

    @rule(day=st.integers(0, 1))
    def open_again(self, day: int) -> None:
        OpenDay.objects.filter(pk=self.families[0].days[day].pk).update(is_open=True, closed_reason="")
        waiting.sweep()

    # -- What is true after each step --

    @invariant()
    def the_database_agrees(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")

    @invariant()
    def no_place_is_oversold(self) -> None:
        for day in OpenDay.objects.all():
            assert day.taken == day.bookings.live().count() <= day.capacity

    @invariant()
    def a_child_has_one_place_at_a_time(self) -> None:
        live = list(Booking.objects.live().values_list("beneficiary", "open_day"))
        assert len(live) == len(set(live))

    @invariant()
    def what_is_offered_is_held(self) -> None:
        for entry in WaitingListEntry.objects.live().select_related("booking"):
            held = entry.booking is not None and entry.booking.status == Booking.Status.HELD
            assert held == (entry.status == WaitingListEntry.Status.OFFERED)

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        with transaction.atomic():
            assert offers.offer(list(OpenDay.objects.values_list("pk", flat=True))) == 0
            transaction.set_rollback(True)

    @invariant()
    def the_money_is_where_the_books_say(self) -> None:
        moved = Movement.objects.count()
        if moved == self.movements:
            return  # recomputing every book takes as long as all the rest
        self.movements = moved
        assert list(verify()) == []
        paid = Decimal("7.90") * Booking.objects.booked().count()
        assert sum(wallet.balance for wallet in Wallet.objects.all()) + paid == 3 * DEPOSIT


def test_places_promises_and_money_after_any_story() -> None:
    run_state_machine_as_test(
        Places,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,  # the same stories each time: a red run is a change of ours
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class TestItsTeeth:
    """With a guard off, a short story ends in what the machine does not accept."""

    @pytest.fixture
    def story(self) -> Iterator[Places]:
        told = Places()
        told.book(0, {0}, {0, 1})
        told.pay(0)
        told.wait(1, {0}, {0}, together=False)
        yield told
        told.teardown()

    def test_a_freed_place_that_is_not_offered(self, story: Places, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as off:
            off.setattr(offers, "offer", lambda days: 0)
            story.cancel(0, 1)
        with pytest.raises(AssertionError):
            story.nobody_waits_for_a_place_that_is_free()

    def test_an_offer_whose_place_is_gone(self, story: Places) -> None:
        story.cancel(0, 1)
        story.what_is_offered_is_held()
        with pgtrigger.ignore("bookings.Booking:offer_ends_first"):
            Booking.objects.held().update(status="expired", ended_at=timezone.now())
        with pytest.raises(AssertionError):
            story.what_is_offered_is_held()

    def test_a_place_that_is_booked_and_not_paid(self, story: Places) -> None:
        story.book(2, {1}, {0})
        Booking.objects.held().update(status="booked", booked_at=timezone.now())
        story.movements = 0
        with pytest.raises(AssertionError):
            story.the_money_is_where_the_books_say()
