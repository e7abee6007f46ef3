"""Payments that nobody finished telling us about: the provider is asked over HTTP, and the end is told."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from checkout import tasks
from checkout.actions import Means, abandon_order, apply_message, completion, pay
from checkout.actions.completion import end_payment
from checkout.actions.events import mark_seen
from checkout.actions.payment import close_forgotten
from checkout.models import FORGET_AFTER, GIVE_UP_AFTER, PAGE_LIVES, Order, OrderLine, Payment, ProviderEvent
from checkout.overdue import overdue
from checkout.providers.base import Message, Outcome
from checkout.providers.demo import DemoProvider
from checkout.tasks import (
    ASK_AFTER,
    ASK_AGAIN_AFTER,
    ASK_FOR,
    ask_again,
    close_forgotten_orders,
    reconcile_payments,
    verify_ledger,
)
from portal.demo.models import BankPayment
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db(transaction=True)


def bank_says(outcome: str, amount: str = "31.60") -> None:
    BankPayment.objects.create(
        reference=Payment.objects.get().reference,
        amount=Decimal(amount),
        label="x",
        return_url="http://127.0.0.1/",
        notify_url="http://127.0.0.1/",
        outcome=outcome,
    )


def wait(ago: dt.timedelta) -> None:
    Payment.objects.update(created_at=timezone.now() - ago - dt.timedelta(seconds=1))


@pytest.mark.usefixtures("shop")
class TestReconciliation:
    def test_what_cannot_be_ended_in_its_time_is_told(self) -> None:
        wait(GIVE_UP_AFTER + dt.timedelta(minutes=59))
        assert list(overdue()) == []
        wait(GIVE_UP_AFTER + dt.timedelta(minutes=61))
        (said,) = overdue()
        assert "pressez «\u00a0Demander au prestataire\u00a0»" in said
        assert said.startswith(
            f"Commande {Order.objects.get().number}\u00a0: le règlement de 31,60\u00a0€ commencé le "
        )

    def test_a_payment_that_nobody_told_us_about_is_found(self) -> None:
        bank_says("captured")
        wait(ASK_AFTER)
        assert reconcile_payments() == 1
        assert Order.objects.get().status == "paid"
        assert ProviderEvent.objects.get().source == "query"
        assert reconcile_payments() == 0

    def test_a_recent_payment_is_left_alone(self) -> None:
        bank_says("captured")
        assert reconcile_payments() == 0 and Order.objects.get().status == "pending"

    def test_a_refusal_is_found(self) -> None:
        bank_says("refused")
        wait(ASK_AFTER)
        reconcile_payments()
        assert Payment.objects.get().status == "refused" and Order.objects.get().status == "pending"

    def test_another_amount_is_not_believed(self) -> None:
        bank_says("captured", "3.16")
        wait(ASK_AFTER)
        reconcile_payments()
        assert Order.objects.get().status == "pending"
        assert ProviderEvent.objects.get().outcome == ProviderEvent.Outcome.REJECTED

    def test_a_bank_that_knows_nothing_is_asked_again_then_given_up(self) -> None:
        wait(ASK_AFTER)
        assert reconcile_payments() == 0 and Payment.objects.get().checked_at
        wait(GIVE_UP_AFTER)
        assert reconcile_payments() == 1 and Payment.objects.get().status == "abandoned"

    def test_one_that_ended_meanwhile_is_not_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ask(payment: Payment) -> None:
            end_payment(payment_id=payment.pk, status=Payment.Status.REFUSED)  # as its notification does

        monkeypatch.setattr(tasks, "ask_provider", ask)
        wait(GIVE_UP_AFTER)
        assert reconcile_payments() == 0 and Payment.objects.get().status == "refused"

    def test_a_bank_that_is_down_is_asked_again(self, settings: Any) -> None:
        settings.SITE_URL = "http://127.0.0.1:1"
        wait(ASK_AFTER)
        assert reconcile_payments() == 0 and Payment.objects.get().status == "started"

    def test_a_run_that_has_no_more_time_leaves_the_rest_to_the_next(self, shop: Shop) -> None:
        """A bank that is down must not keep the others' payments waiting, nor a worker beyond its time limit."""
        other = family(shop.tariff, days=shop.days)
        other.add()
        other.pay(Means.CARD, "31.60")
        wait(ASK_AFTER)
        asked = []
        for _run in range(3):
            reconcile_payments(seconds=0)
            asked.append(list(Payment.objects.order_by("pk").values_list("checked_at", flat=True)))
        first, second, third = asked
        assert first[0] and first[1] is None
        assert second[0] == first[0] and second[1]
        assert third[0] > second[0] and third[1] == second[1]


class TestWhatCannotBeApplied:
    """The bank states that it took 31,60 €, and a mistake of ours lets applying it fail (laws 4 and 9)."""

    @pytest.fixture
    def broken(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        def fails(*_args: object) -> None:
            raise ZeroDivisionError

        bank_says("captured")
        monkeypatch.setattr(completion, "_capture", fails)
        return monkeypatch

    @staticmethod
    def an_hour_passes() -> None:
        with pgtrigger.ignore("checkout.ProviderEvent:event_is_kept_raw"):
            ProviderEvent.objects.update(received_at=F("received_at") - dt.timedelta(minutes=61))

    def test_it_is_not_given_up_and_asked_about_each_hour_until_it_can_be(self, broken: pytest.MonkeyPatch) -> None:
        wait(GIVE_UP_AFTER)
        for _run in range(2):
            assert reconcile_payments() == 0 and Payment.objects.get().status == "started"
        assert ProviderEvent.objects.count() == 1
        assert list(overdue()) == []
        self.an_hour_passes()
        wait(GIVE_UP_AFTER + dt.timedelta(hours=2))
        (said,) = overdue()
        assert said.startswith(f"Commande {Order.objects.get().number}\u00a0: ce que le prestataire (demo) a dit le ")
        broken.undo()
        assert reconcile_payments() == 1
        assert Order.objects.get().status == "paid" and list(overdue()) == []

    def test_what_was_given_up_before_is_told_until_the_bank_is_heard(
        self, shop: Shop, broken: pytest.MonkeyPatch
    ) -> None:
        payment = Payment.objects.get()
        end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
        for _copy in range(2):
            event = ProviderEvent.objects.create(provider="demo", source="notification", raw="{}")
            message = Message(payment.reference, Outcome.CAPTURED, payment.amount)
            with pytest.raises(ZeroDivisionError):
                apply_message(message=message, provider="demo", event=event)
        wait(ASK_FOR)
        assert list(overdue()) == []
        self.an_hour_passes()
        assert len(list(overdue())) == 1
        broken.undo()
        wait(GIVE_UP_AFTER)
        assert ask_again() == 1 and Order.objects.get().status == "paid" and list(overdue()) == []

    def test_a_message_that_nobody_could_read_is_told_until_somebody_has_seen_it(
        self, broken: pytest.MonkeyPatch
    ) -> None:
        def fails(*_args: object) -> None:
            raise ZeroDivisionError

        broken.setattr(DemoProvider, "read", fails)
        ProviderEvent.objects.create(provider="demo", source="notification", raw="x")  # its process was killed
        for _copy in range(2):
            Client(raise_request_exception=False).post(reverse("payment_notification", args=["demo"]), {"x": "1"})
        assert list(overdue()) == []
        self.an_hour_passes()
        (said,) = overdue()
        assert said.startswith("Prestataire demo\u00a0: 2 messages reçus depuis le ")
        with pgtrigger.ignore("checkout.ProviderEvent:event_is_kept_raw"):
            ProviderEvent.objects.update(received_at=F("received_at") - dt.timedelta(days=30))
        (later,) = overdue()
        assert (
            later.startswith("Prestataire demo\u00a0: 2 messages reçus depuis le ") and "marquez-les comme vus" in later
        )
        ids = list(ProviderEvent.objects.values_list("pk", flat=True))
        assert mark_seen(ids=ids, note="Refusé, vu chez la banque", by=agent_of()) == 2
        assert list(overdue()) == []

    def test_a_message_that_is_read_the_second_time_is_told_no_more(self, broken: pytest.MonkeyPatch) -> None:
        def fails(*_args: object) -> None:
            raise ZeroDivisionError

        address = reverse("payment_notification", args=["demo"])
        with broken.context() as unread:
            unread.setattr(DemoProvider, "read", fails)
            Client(raise_request_exception=False).post(address, {"x": "1"})
        self.an_hour_passes()
        assert len(list(overdue())) == 1
        assert Client().post(address, {"x": "1"}).status_code == 400  # of nobody, as it is read now
        assert list(overdue()) == []


class TestGivenUp:
    """What we gave up without the bank's word may be paid all the same (laws 4 and 9)."""

    def test_the_bank_is_asked_before_an_order_is_abandoned(self, shop: Shop) -> None:
        bank_says("captured")
        assert not abandon_order(user=shop.user, order=Order.objects.get())
        assert Order.objects.get().status == "paid" and shop.balance == 0

    def test_the_bank_is_asked_before_another_try(self, shop: Shop) -> None:
        shop.credit("50")
        bank_says("captured")
        cart = shop.cart
        again = pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("31.60"))
        assert again.order.status == "paid" and not again.departure
        assert shop.balance == 50 and Payment.objects.get().status == "captured"

    def test_money_of_a_payment_given_up_while_the_bank_was_down_goes_to_the_wallet(
        self, shop: Shop, settings: Any
    ) -> None:
        address, settings.SITE_URL = settings.SITE_URL, "http://127.0.0.1:1"
        assert abandon_order(user=shop.user, order=Order.objects.get())
        settings.SITE_URL = address
        bank_says("captured")
        Payment.objects.update(checked_at=timezone.now() - ASK_AGAIN_AFTER - dt.timedelta(seconds=1))
        assert ask_again() == 1
        assert Payment.objects.get().status == "credited" and shop.balance == Decimal("31.60")
        assert ask_again() == 0

    def test_it_is_asked_about_each_hour_for_a_week(self, shop: Shop) -> None:
        abandon_order(user=shop.user, order=Order.objects.get())
        asked = Payment.objects.get().checked_at
        ask_again()
        assert Payment.objects.get().checked_at == asked
        long_ago = timezone.now() - ASK_AGAIN_AFTER - dt.timedelta(seconds=1)
        Payment.objects.update(checked_at=long_ago)
        ask_again()
        assert Payment.objects.get().checked_at != long_ago
        Payment.objects.update(checked_at=long_ago)
        wait(ASK_FOR)
        ask_again()
        assert Payment.objects.get().checked_at == long_ago

    def test_what_the_bank_has_ended_is_asked_about_until_its_page_is_closed(self, shop: Shop) -> None:
        bank_says("abandoned")
        wait(ASK_AFTER)
        assert reconcile_payments() == 1
        long_ago = timezone.now() - ASK_AGAIN_AFTER - dt.timedelta(seconds=1)
        Payment.objects.update(checked_at=long_ago)
        assert ask_again() == 1  # another card might have paid on the same page
        wait(PAGE_LIVES)  # after which the bank has said so by now
        Payment.objects.update(checked_at=long_ago)
        assert ask_again() == 0 and Payment.objects.get().checked_at == long_ago

    def test_an_operator_asks_from_the_payments_page(self, shop: Shop) -> None:
        """Its settlement says that it was paid, and we heard nothing: nobody waits for an hour to pass."""
        assert abandon_order(user=shop.user, order=Order.objects.get())
        payment = Payment.objects.get()
        page, asking = (reverse(f"admin:checkout_payment_{name}", args=[payment.pk]) for name in ("change", "ask"))
        client = client_of(agent_of())
        assert asking in client.get(page).content.decode()
        client.get(asking)
        assert Payment.objects.get().checked_at == payment.checked_at  # a link asks nobody
        assert "n’a pas de réponse" in text(client.post(asking, follow=True))
        bank_says("captured")
        assert "règlement porté au porte-monnaie" in text(client.post(asking, follow=True))
        assert shop.balance == Decimal("31.60") and asking not in client.get(page).content.decode()
        assert "Le prestataire" not in text(client.post(asking, follow=True))
        assert client_of(agent_of(CommuneFactory())).post(asking).status_code in {403, 404}

    def test_a_pending_answer_is_no_end(self, shop: Shop) -> None:
        abandon_order(user=shop.user, order=Order.objects.get())
        payment = Payment.objects.get()
        event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
        apply_message(message=Message(payment.reference, Outcome.PENDING, payment.amount), provider="demo", event=event)
        assert Payment.objects.may_still_be_paid().get() == payment

    def test_an_order_that_nobody_pays_ends(self, shop: Shop) -> None:
        bank_says("refused")
        wait(ASK_AFTER)
        reconcile_payments()
        assert Order.objects.get().status == "pending"
        with pgtrigger.ignore("checkout.Order:order_is_frozen"):
            Order.objects.update(created_at=timezone.now() - FORGET_AFTER - dt.timedelta(seconds=1))
        assert close_forgotten_orders() == 1
        assert Order.objects.get().status == "cancelled" and shop.cart.status == "open"


def forgotten(hours: int = 0) -> Order:
    order = Order.objects.create(user=UserFactory(), kind="top_up", total=5)
    OrderLine.objects.create(order=order, kind="credit", label="Crédits", unit_price=5)
    with pgtrigger.ignore("checkout.Order:order_is_frozen"):
        Order.objects.filter(pk=order.pk).update(
            created_at=timezone.now() - FORGET_AFTER - dt.timedelta(hours=hours, seconds=1)
        )
    return Order.objects.get(pk=order.pk)


class TestForgottenOrders:
    def test_one_that_is_not_ended_in_its_time_is_told(self) -> None:
        order = forgotten()
        assert list(overdue()) == []
        late = forgotten(hours=1)
        (said,) = overdue()
        assert "la famille peut l’abandonner elle-même" in said
        assert said.startswith(f"Commande {late.number}, sans règlement depuis le ")
        Payment.objects.create(
            order=late, provider="demo", amount=5, status="abandoned", ended_at=timezone.now()
        )  # somebody tried again until now
        assert list(overdue()) == []
        assert close_forgotten_orders() == 2 and Order.objects.get(pk=order.pk).status == "cancelled"

    def test_one_that_cannot_be_ended_comes_after_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stuck, other = forgotten(), forgotten()

        def close(*, order: Order) -> bool:
            if order == stuck:
                raise ZeroDivisionError
            return close_forgotten(order=order)

        monkeypatch.setattr(tasks, "close_forgotten", close)
        assert [close_forgotten_orders(limit=1) for _run in range(3)] == [0, 1, 0]
        assert Order.objects.get(status="pending") == stuck and Order.objects.get(status="cancelled") == other


def test_the_nightly_verification_finds_nothing_wrong() -> None:
    shop = open_shop(credit="50")
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    assert verify_ledger() == 0
