"""Races: with its guards off each shows its fault; with them on, nothing is oversold, doubled or lost."""

import itertools
import threading
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pgtrigger
import pytest
from django.core import mail
from django.db import connection, transaction
from pytest_django.live_server_helper import LiveServer

from bookings import actions as bookings
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for, completion, pay
from checkout.models import Cart, CartLine, Order, Payment, ProviderEvent
from checkout.providers.demo import sign
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox import actions as outbox
from portal.outbox.models import Email
from services.models import OpenDay, Slot
from tests.concurrency.conftest import race
from tests.factories import FiliationFactory, SubscriptionFactory, agent_of
from tests.guards import sql
from tests.shop import Shop, family, open_shop
from wallet import actions as ledger
from wallet.models import LOADED, Movement

pytestmark = pytest.mark.django_db(transaction=True)
Without = Callable[[str, str], AbstractContextManager[None]]
Meet = Callable[[Any, str, int], None]


def codes(outcomes: list[Any]) -> Counter[str]:
    return Counter(outcome.code if isinstance(outcome, Refused) else type(outcome).__name__ for outcome in outcomes)


def two_parents_of_one_child() -> tuple[Shop, Shop]:
    first = open_shop(days=1)
    user = FiliationFactory(beneficiary=first.children[0]).user
    access = SubscriptionFactory(user=user, profile=first.tariff.profile)
    return first, Shop(first.tariff, user, first.children, access, first.days)


class TestPlaces:
    def test_fifty_buyers_for_twenty_places_buy_exactly_twenty(self) -> None:
        first = open_shop(days=1, capacity=20, credit="10")
        buyers = [first] + [family(first.tariff, days=first.days, credit="10") for _buyer in range(49)]

        def buy(shop: Shop) -> Callable[[], Order]:
            def run() -> Order:
                shop.add()
                return shop.pay(Means.WALLET, "7.90").order

            return run

        outcomes = race([buy(shop) for shop in buyers])
        assert codes(outcomes) == {"Order": 20, "full": 30}
        assert OpenDay.objects.get().taken == 20 == Booking.objects.booked().count()
        assert sum(shop.balance for shop in buyers) == 500 - 20 * Decimal("7.90")
        assert list(verify()) == []

    def test_with_the_guards_off_a_place_is_sold_twice(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        first = open_shop(days=1, capacity=1)
        second = family(first.tariff, days=first.days)
        meet(bookings, "check_places", 2)
        with without_constraint("services_openday", "places_are_not_oversold"):
            race([first.add, second.add])
        assert OpenDay.objects.get().taken == 2

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        first = open_shop(days=1, capacity=1)
        second = family(first.tariff, days=first.days)
        meet(bookings, "check_places", 2)
        assert codes(race([first.add, second.add])) == {"Added": 1, "places_are_not_oversold": 1}
        assert OpenDay.objects.get().taken == 1

    def test_many_days_in_any_order_do_not_deadlock(self) -> None:
        first = open_shop(days=30, children=2, capacity=100)
        shops = [first] + [family(first.tariff, days=first.days, children=2) for _other in range(7)]
        for index, shop in enumerate(shops):
            shop.days = list(reversed(shop.days)) if index % 2 else shop.days
        assert codes(race([shop.add for shop in shops])) == {"Added": 8}
        assert set(OpenDay.objects.values_list("taken", flat=True)) == {16}


class TestOneChild:
    def test_two_parents_book_one_child_once(self) -> None:
        first, second = two_parents_of_one_child()
        assert codes(race([first.add, second.add])) == {"Added": 1, "already": 1}
        assert Booking.objects.live().count() == 1

    def test_with_the_guards_off_the_child_is_booked_twice(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        first, second = two_parents_of_one_child()
        meet(bookings, "check_places", 2)
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX booked_once")
        try:
            with without_constraint("bookings_booking", "one_place_at_a_time"):
                race([first.add, second.add])
                assert Booking.objects.live().count() == 2
        finally:
            with connection.cursor() as cursor:
                cursor.execute(
                    "CREATE UNIQUE INDEX booked_once ON bookings_booking (open_day_id, beneficiary_id, slot_id) "
                    "WHERE ended_at IS NULL"
                )

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        first, second = two_parents_of_one_child()
        meet(bookings, "check_places", 2)
        outcomes = codes(race([first.add, second.add]))
        assert outcomes["Added"] == 1 and Booking.objects.live().count() == 1


class TestMoney:
    def spend(self, shop: Shop, key: str) -> Callable[[], Any]:
        agent = agent_of()

        def run() -> None:
            ledger.adjust(user=shop.user, amount=Decimal("-10"), reason="Retrait", key=key, by=agent)

        return run

    def test_one_wallet_is_spent_once(self) -> None:
        shop = open_shop(credit="10")
        outcomes = race([self.spend(shop, f"s{index}") for index in range(8)])
        assert codes(outcomes) == {"NoneType": 1, "wallet_is_not_overdrawn": 7}
        assert shop.balance == 0 and list(verify()) == []

    def test_with_the_guards_off_it_is_spent_twice(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        shop = open_shop(credit="10")
        racers = [self.spend(shop, f"s{index}") for index in range(2)]
        meet(ledger, "_covers", 2)
        with without_constraint("wallet_wallet", "wallet_is_not_overdrawn"):
            race(racers)
        assert shop.balance == -10

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        shop = open_shop(credit="10")
        racers = [self.spend(shop, f"s{index}") for index in range(2)]
        meet(ledger, "_covers", 2)
        outcomes = codes(race(racers))
        assert outcomes["NoneType"] == 1 and shop.balance == 0

    def test_one_key_debits_once_and_every_copy_gets_the_same_movement(self) -> None:
        """The first takes 8 € of 10: for the others there is not enough, and it is still the same debit."""
        shop = open_shop(credit="10")

        def debit() -> int:
            with transaction.atomic():
                sql("SELECT set_config('wallet.loading', 'on', true)")  # nothing has to explain it
                return ledger.post(
                    kind=Movement.Kind.ADJUSTMENT,
                    key=f"{LOADED}once",
                    label="Retrait",
                    amounts={ledger.wallet_code(shop.user): Decimal(-8), ledger.ADJUSTMENT: Decimal(8)},
                    by=shop.user,
                )

        outcomes = race([debit] * 8)
        assert outcomes == [Movement.objects.get(key=f"{LOADED}once").pk] * 8
        assert shop.balance == 2 and list(verify()) == []

    def test_with_the_lock_alone_off_the_key_debits_once(self, no_locks: None, meet: Meet) -> None:
        shop = open_shop(credit="10")
        meet(ledger, "_covers", 2)
        race([self.spend(shop, "once"), self.spend(shop, "once")])
        assert shop.balance == 0 and Movement.objects.filter(key=f"{LOADED}once").count() == 1

    def test_the_running_balance_follows_the_order_of_the_entries(self) -> None:
        shop = open_shop(credit="100")
        race([self.spend(shop, f"s{index}") for index in range(6)])
        wallet = ledger.wallet_of(shop.user)
        entries = list(wallet.account.entries.order_by("pk"))  # type: ignore[attr-defined]
        assert [entry.balance_after for entry in entries] == list(itertools.accumulate(e.amount for e in entries))

    def test_a_double_click_on_pay_orders_once(self) -> None:
        shop = open_shop(credit="100")
        shop.add()
        cart = shop.answer_steps()

        def click() -> int:
            return pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("31.60")).order.pk

        outcomes = race([click] * 6)
        assert len(set(outcomes)) == 1 and Order.objects.count() == 1
        assert shop.balance == Decimal("68.40") and list(verify()) == []

    def test_with_the_guards_off_a_double_click_orders_twice(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        from checkout.actions import payment

        shop = open_shop(credit="100")
        shop.add()
        cart = shop.answer_steps()
        meet(payment, "_order_lines", 2)
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX cart_ordered_once")
        try:
            race([lambda: pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("31.60"))] * 2)
            assert Order.objects.count() == 2
        finally:
            with connection.cursor() as cursor:
                with pgtrigger.ignore():
                    cursor.execute("TRUNCATE checkout_order CASCADE")
                cursor.execute(
                    "CREATE UNIQUE INDEX cart_ordered_once ON checkout_order (cart_id) "
                    "WHERE status IN ('pending', 'paid')"
                )

    def test_cancelling_twice_at_once_refunds_once(self) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add()
        shop.pay(Means.WALLET, "15.80")
        ids = list(Booking.objects.values_list("pk", flat=True))
        outcomes = race([lambda: cancel_bookings(ids=ids, by=shop.user)] * 5)
        assert codes(outcomes) == {"Returned": 1, "not_booked": 4}
        assert shop.balance == 50 and list(verify()) == []

    def test_the_family_and_the_service_cancel_at_once(self) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add()
        shop.pay(Means.WALLET, "15.80")
        agent = agent_of()
        ids = list(Booking.objects.values_list("pk", flat=True))
        race(
            [lambda: cancel_bookings(ids=ids, by=shop.user), lambda: cancel_for(ids=ids, by=agent, reason="Grève")] * 3
        )
        assert shop.balance == 50 and Booking.objects.live().count() == 0 and list(verify()) == []

    def test_two_tabs_fill_one_cart(self) -> None:
        shop = open_shop(days=8)
        outcomes = race([lambda day=day: shop.add(days=[day]) for day in shop.days])  # type: ignore[misc]
        assert codes(outcomes) == {"Added": 8}
        assert Cart.objects.count() == 1 and CartLine.objects.count() == 8


class TestNotification:
    def statement(self, payment: Payment) -> bytes:
        fields = {"reference": payment.reference, "outcome": "captured", "amount": str(payment.amount)}
        return urlencode(sign(fields)).encode()

    def card(self, shop: Shop) -> Payment:
        shop.add()
        return Payment.objects.get(order=shop.pay(Means.CARD, "31.60").order)

    def test_twenty_copies_at_once_over_http_pay_once(self, live_server: LiveServer) -> None:
        shop = open_shop()
        payment = self.card(shop)
        body = self.statement(payment)

        def deliver() -> int:
            address = f"{live_server.url}/paiement/demo/notification/"
            with urllib.request.urlopen(address, data=body, timeout=30) as response:
                return int(response.status)

        assert race([deliver] * 20) == [200] * 20
        assert Counter(ProviderEvent.objects.values_list("outcome", flat=True)) == {"applied": 1, "repeated": 19}
        assert Movement.objects.filter(kind="order").count() == 1
        payment.refresh_from_db()
        assert payment.status == "captured" and list(verify()) == []

    def test_a_forged_notification_is_refused_over_http(self, live_server: LiveServer) -> None:
        payment = self.card(open_shop())
        body = self.statement(payment).replace(b"31.60", b"31.61")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{live_server.url}/paiement/demo/notification/", data=body, timeout=30)
        assert error.value.code == 400
        payment.refresh_from_db()
        assert payment.status == "started"
        assert ProviderEvent.objects.get().outcome == ProviderEvent.Outcome.REJECTED

    def test_with_the_guards_off_two_copies_pay_twice(
        self, no_locks: None, meet: Meet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop = open_shop()
        payment = self.card(shop)
        original = ledger.post

        def keyless(**kwargs: Any) -> int:
            return original(**{**kwargs, "key": uuid.uuid4().hex})

        monkeypatch.setattr(ledger, "post", keyless)
        meet(completion, "_wallet_covers_the_rest", 2)
        race([lambda: self.apply(payment)] * 2)
        assert Movement.objects.filter(kind="order").count() == 2

    def test_with_the_lock_alone_off_the_key_pays_once(self, no_locks: None, meet: Meet) -> None:
        shop = open_shop()
        payment = self.card(shop)
        meet(completion, "_wallet_covers_the_rest", 2)
        race([lambda: self.apply(payment)] * 2)
        assert Movement.objects.filter(kind="order").count() == 1

    def apply(self, payment: Payment) -> None:
        from checkout.providers.base import Message, Outcome

        event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
        completion.apply_message(
            message=Message(payment.reference, Outcome.CAPTURED, payment.amount), provider="demo", event=event
        )


class TestMail:
    """Law 8: two workers sweep at the same moment, and the reader gets one e-mail."""

    @pytest.fixture(autouse=True)
    def _one_waits(self, settings: Any, meet: Meet) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        Email.objects.create(key="k", to="parent@exemple.fr", subject="Bonjour", body="Texte")
        meet(outbox, "_message_id", 2)  # each has chosen what to send, none has sent it

    def test_two_senders_send_once(self) -> None:
        assert sorted(race([outbox.send_due] * 2)) == [0, 1]
        assert len(mail.outbox) == 1 and Email.objects.get().attempts == 1

    def test_with_the_lock_off_it_is_sent_twice(self, no_locks: None) -> None:
        race([outbox.send_due] * 2)
        assert len(mail.outbox) == 2


class TestHolds:
    def test_paying_while_the_sweep_runs_loses_nothing(self) -> None:
        from django.utils import timezone

        from bookings.models import Hold

        shop = open_shop(days=20, credit="200")
        shop.add()
        cart = shop.answer_steps()
        Hold.objects.update(expires_at=timezone.now() - bookings.GRACE * 2)
        stop = threading.Event()

        def sweep() -> int:
            released = 0
            for _round in range(20):
                released += bookings.release_expired_holds()
                if stop.is_set():
                    break
            return released

        def buy() -> str:
            try:
                return pay(
                    user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("158.00")
                ).order.status
            finally:
                stop.set()

        _released, status = race([sweep, buy])
        assert status == "paid" and Booking.objects.booked().count() == 20
        assert list(verify()) == []


class TestSlots:
    """Places of a slot within a day that has many."""

    def shops(self) -> list[Shop]:
        first = open_shop(days=1, capacity=50)
        Slot.objects.update(capacity=5)
        first.slot.refresh_from_db()
        return [first, *(family(first.tariff, days=first.days) for _other in range(11))]

    def test_twelve_buyers_for_five_places_of_a_slot(self) -> None:
        outcomes = codes(race([shop.add for shop in self.shops()]))
        assert outcomes == {"Added": 5, "full": 7}
        assert OpenDay.objects.get().taken == 5

    def test_with_the_lock_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        shops = self.shops()[:6]
        meet(bookings, "check_places", 6)
        outcomes = codes(race([shop.add for shop in shops]))
        assert outcomes == {"Added": 5, "slots_are_not_oversold": 1}

    def test_with_both_off_it_is_oversold(self, no_locks: None, meet: Meet) -> None:
        shops = self.shops()[:6]
        meet(bookings, "check_places", 6)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE bookings_booking DISABLE TRIGGER USER")
        try:
            assert codes(race([shop.add for shop in shops])) == {"Added": 6}
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE bookings_booking ENABLE TRIGGER USER")
        assert Booking.objects.live().count() == 6
