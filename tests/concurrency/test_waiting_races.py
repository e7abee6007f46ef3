"""Waiting lists under real threads: nothing oversold, nobody passed, whoever else wants the place at that moment."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bookings import actions as bookings
from bookings.models import Booking, Hold
from bookings.waiting import actions, offers
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means, cancel_bookings, pay_offer, take_offer
from checkout.verification import verify
from portal.common.errors import Refused
from services.models import OpenDay
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import FiliationFactory
from tests.shop import Shop
from tests.waiting import entries, full_shop, neighbour, party, settled, statuses, wait

pytestmark = pytest.mark.django_db(transaction=True)
Without = Callable[[str, str], AbstractContextManager[None]]
Meet = Callable[[Any, str, int], None]


def cancelling(shop: Shop) -> Callable[[], Any]:
    ids = list(Booking.objects.booked().filter(made_by=shop.user).values_list("pk", flat=True)[:1])
    return lambda: cancel_bookings(ids=ids, by=shop.user)


class TestTheFreedPlace:
    def test_it_goes_to_who_waits_while_twelve_others_want_it(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        others = [neighbour(shop) for _other in range(12)]
        outcomes = race([cancelling(shop), *(other.add for other in others)])
        assert codes(outcomes[1:]) == {"full": 12}
        assert statuses(who) == ["offered"] and shop.fresh().taken == 1
        assert list(verify()) == []

    def test_with_the_offer_made_after_the_commit_a_third_snatches_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The guard is that the place is offered where it comes free: without it, first pressed is first served."""
        shop = full_shop()
        who, third = neighbour(shop), neighbour(shop)
        wait(who)
        with monkeypatch.context() as off:
            off.setattr(offers, "offer", lambda days: 0)
            cancelling(shop)()
            third.add()
        assert actions.sweep() == 0 and statuses(who) == ["waiting"]

    def test_two_places_come_free_at_once_and_go_to_two(self) -> None:
        shop = full_shop(capacity=2)
        families = [neighbour(shop) for _family in range(3)]
        for who in families:
            wait(who)
        first, second = Booking.objects.booked().values_list("pk", flat=True)
        race([lambda pk=pk: cancel_bookings(ids=[pk], by=shop.user) for pk in (first, second)])  # type: ignore[misc]
        assert [statuses(who) for who in families] == [["offered"], ["offered"], ["waiting"]]
        assert OpenDay.objects.get().taken == 2

    def test_one_free_place_is_offered_once_by_many_sweeps(self) -> None:
        shop = full_shop()
        families = [neighbour(shop) for _family in range(6)]
        for who in families:
            wait(who)
        OpenDay.objects.update(capacity=2)
        assert sum(race([actions.sweep] * 6)) == 1
        assert WaitingListEntry.objects.offered().count() == 1 and OpenDay.objects.get().taken == 2

    @pytest.fixture
    def blind(self, no_locks: None, meet: Meet, monkeypatch: pytest.MonkeyPatch) -> Shop:
        """Two sweeps without a lock see the same free place, and each finds another family for it."""
        shop = full_shop()
        families = [neighbour(shop) for _family in range(2)]
        for who in families:
            wait(who)
        OpenDay.objects.update(capacity=2)
        original, turns = offers._who_fits, iter(families)

        def one_each(waiting: Any, now: Any) -> Any:
            theirs = next(turns).user.pk
            return original([row for row in waiting if row.user_id == theirs], now)

        monkeypatch.setattr(offers, "_who_fits", one_each)
        meet(offers, "_who_fits", 2)
        return shop

    def test_with_the_guards_off_it_is_offered_twice(self, blind: Shop, without_constraint: Without) -> None:
        with without_constraint("services_openday", "places_are_not_oversold"):
            race([actions.sweep] * 2)
        assert WaitingListEntry.objects.offered().count() == 2
        assert blind.fresh().taken == 3 > blind.fresh().capacity

    def test_with_the_lock_alone_off_the_database_refuses(self, blind: Shop) -> None:
        race([actions.sweep] * 2)
        assert WaitingListEntry.objects.offered().count() == 1
        assert blind.fresh().taken == 2 == blind.fresh().capacity


class TestJoining:
    def parents(self) -> tuple[Shop, Shop]:
        shop = full_shop()
        one, other = neighbour(shop), neighbour(shop, children=0)
        FiliationFactory(user=other.user, beneficiary=one.children[0])
        other.children = one.children
        return one, other

    def test_two_parents_of_one_child_wait_once(self) -> None:
        one, other = self.parents()
        assert codes(race([lambda: wait(one), lambda: wait(other)])) == {"Joined": 1, "already": 1}

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        one, other = self.parents()
        meet(actions, "_check_full", 2)
        assert codes(race([lambda: wait(one), lambda: wait(other)])) == {"Joined": 1, "waits_once": 1}

    def test_with_the_guards_off_the_child_waits_twice(self, no_locks: None, meet: Meet) -> None:
        one, other = self.parents()
        meet(actions, "_check_full", 2)
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX waits_once")
            try:
                race([lambda: wait(one), lambda: wait(other)])
                assert WaitingListEntry.objects.count() == 2
            finally:
                WaitingListEntry.objects.all()._raw_delete("default")
                cursor.execute(
                    "CREATE UNIQUE INDEX waits_once ON bookings_waitinglistentry (open_day_id, beneficiary_id, slot_id) "
                    "WHERE ended_at IS NULL"
                )


class TestTheOffer:
    def offered(self) -> tuple[Shop, Shop, Shop]:
        shop = full_shop()
        first, second = neighbour(shop, credit="50"), neighbour(shop, credit="50")
        wait(first)
        wait(second)
        cancelling(shop)()
        return shop, first, second

    def paying(self, who: Shop, key: uuid.UUID) -> Callable[[], Any]:
        return lambda: pay_offer(user=who.user, party=key, shown_total=Decimal("7.90"))

    def test_a_double_press_pays_once(self) -> None:
        shop, first, _second = self.offered()
        settled(first)
        before = first.balance
        orders = race([self.paying(first, party(first))] * 4)
        assert len({order.pk for order in orders}) == 1 and first.balance == before - Decimal("7.90")
        assert shop.fresh().taken == 1 and list(verify()) == []

    def test_paid_here_while_the_next_of_the_list_and_a_third_want_it(self) -> None:
        shop, first, second = self.offered()
        third = neighbour(shop)
        settled(first)
        key = party(first)
        outcomes = race([self.paying(first, key), third.add, self.paying(second, key), actions.sweep])
        assert outcomes[0].status == "paid" and codes(outcomes[1:3]) == {"full": 1, "not_yours": 1}
        assert (statuses(first), statuses(second)) == (["taken"], ["waiting"])
        assert shop.fresh().taken == 1 and list(verify()) == []

    def test_from_the_cart_and_in_one_press_at_once_it_is_paid_once(self) -> None:
        shop, first, _second = self.offered()
        settled(first)
        key = party(first)
        take_offer(user=first.user, party=key)
        before = first.balance
        race([self.paying(first, key), lambda: first.pay(Means.WALLET, "7.90")])
        assert first.balance == before - Decimal("7.90") and statuses(first) == ["taken"]
        assert shop.fresh().taken == 1 and list(verify()) == []

    def test_a_double_click_takes_it_once(self) -> None:
        shop, first, _second = self.offered()
        key = party(first)
        outcomes = race([lambda: take_offer(user=first.user, party=key)] * 4)
        assert sorted(outcome.quantity for outcome in outcomes) == [0, 0, 0, 1]
        assert shop.fresh().taken == 1 and Booking.objects.held().count() == 1

    def test_taken_in_the_moment_it_runs_out_it_is_either_taken_or_passed_on(self) -> None:
        shop, first, second = self.offered()
        key = party(first)
        settled(first)
        Hold.objects.filter(user=first.user).update(
            expires_at=timezone.now() - bookings.GRACE + dt.timedelta(milliseconds=20)
        )
        paid, _swept = race([self.paying(first, key), bookings.release_expired_holds])
        if isinstance(paid, Refused):
            bookings.release_expired_holds()
            assert (statuses(first), statuses(second)) == (["expired"], ["offered"])
        else:
            assert (statuses(first), statuses(second)) == (["taken"], ["waiting"])
        assert shop.fresh().taken == 1 and list(verify()) == []

    def test_declined_and_paid_at_once_ends_one_way(self) -> None:
        shop, first, second = self.offered()
        settled(first)
        key, pk = party(first), entries(first)[0].pk
        race([self.paying(first, key), lambda: actions.leave(user=first.user, ids=[pk])])
        assert list(verify()) == []
        assert (statuses(first), statuses(second)) in ((["taken"], ["waiting"]), (["left"], ["offered"]))
        assert shop.fresh().taken == 1


class TestEverythingAtOnce:
    def test_families_join_leave_book_cancel_and_take(self) -> None:
        """Whatever meets whatever: no place oversold, none left while somebody waits who could have it."""
        shop = full_shop(days=2, capacity=3)
        families = [neighbour(shop, children=2) for _family in range(6)]

        def busy(who: Shop, together: bool) -> Callable[[], None]:
            def run() -> None:
                for _round in range(2):
                    for act in (
                        lambda: wait(who, together=together),
                        who.add,
                        lambda: take_offer(user=who.user, party=party(who)),
                        lambda: actions.leave(user=who.user, ids=[row.pk for row in entries(who)][:1]),
                        bookings.release_expired_holds,
                        actions.sweep,
                    ):
                        with contextlib.suppress(Refused, IndexError):
                            act()

            return run

        booked = list(Booking.objects.booked().values_list("pk", flat=True))

        def cancel_all() -> None:
            for pk in booked:
                cancel_bookings(ids=[pk], by=shop.user)

        outcomes = race([cancel_all, *(busy(who, index % 2 == 0) for index, who in enumerate(families))])
        assert [outcome for outcome in outcomes if outcome is not None] == []
        actions.sweep()
        for day in OpenDay.objects.all():
            assert day.taken == day.bookings.live().count() <= day.capacity
            parties = WaitingListEntry.objects.waiting().filter(open_day=day).values_list("party", flat=True)
            assert day.free < min([list(parties).count(each) for each in parties], default=99)
        assert list(verify()) == []
