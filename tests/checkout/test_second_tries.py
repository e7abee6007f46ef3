"""Payments tried again while the bank is silent: nothing stays set aside, nobody is told the contrary of what happened."""

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.test import Client
from django.utils import timezone

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout import tasks
from checkout.actions import Means, abandon_order, apply_message, completion, pay, payment, reconciliation, start_top_up
from checkout.actions.payment import Started, close_forgotten
from checkout.models import FORGET_AFTER, GIVE_UP_AFTER, Order, Payment, ProviderEvent
from checkout.providers.base import Arrival, Departure, Health, Known, Message, Outcome, Provider, Request, Unreachable
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox.models import Call
from services.models import OpenDay, Subscription
from tests.checkout.http import text
from tests.factories import AccessProfileFactory, SubscriptionFactory
from tests.guards import in_the_way
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db


class Bank(Provider):
    """A provider that says what it is told to say, one answer after the other; silent when there is none left."""

    slug, label = "demo", "Banque"

    def __init__(self) -> None:
        self.is_down = False
        self.answers: dict[str, list[Message | None]] = {}
        self.asked: list[str] = []

    def start(self, request: Request) -> Departure:
        if self.is_down:
            raise Unreachable("down")
        return Departure("https://banque.exemple/")

    def read(self, arrival: Arrival) -> Message:
        raise AssertionError("it sends nothing")

    def health(self) -> Health:
        return Health(True, not self.is_down, "")

    def query(self, known: Known) -> Message:
        reference = known.reference
        self.asked.append(reference)
        answers = self.answers.get(reference) or [None]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            raise Unreachable("down")
        return answer


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """The bank; after the test the books are right."""
    bank = Bank()
    monkeypatch.setattr(payment, "default_provider", lambda: bank)
    monkeypatch.setattr(payment, "find_provider", lambda _slug: bank)
    monkeypatch.setattr(reconciliation, "find_provider", lambda _slug: bank)
    yield bank
    assert list(verify()) == []


def tell(which: Payment, outcome: Outcome = Outcome.CAPTURED) -> None:
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
    apply_message(message=Message(which.reference, outcome, which.amount, "B-1"), provider="demo", event=event)


def again(shop: Shop, means: Means, total: str = "31.60") -> Started:
    return pay(user=shop.user, cart_id=shop.cart.pk, means=means, shown_total=Decimal(total))


def run_out(shop: Shop) -> None:
    Hold.objects.filter(user=shop.user).update(expires_at=timezone.now() - dt.timedelta(minutes=5))
    release_expired_holds()


def age(by: dt.timedelta) -> None:
    Payment.objects.update(created_at=timezone.now() - by)
    with pgtrigger.ignore("checkout.Order:order_is_frozen"):
        Order.objects.update(created_at=timezone.now() - by)


@pytest.fixture
def trying(bank: Bank) -> Callable[..., Shop]:
    """A parent sent to the bank."""

    def start(means: Means = Means.CARD, **options: Any) -> Shop:
        shop = open_shop(**options)
        shop.add()
        shop.pay(means, str(Decimal("7.90") * len(shop.days)))
        return shop

    return start


def test_what_a_second_try_set_aside_comes_back_when_the_first_is_paid(trying: Callable[..., Shop]) -> None:
    shop = trying(credit="10")
    first = Payment.objects.get()
    again(shop, Means.BOTH)
    second = Payment.objects.get(status="started")
    tell(first)
    assert Order.objects.get().status == "paid" and shop.balance == 10
    tell(second)
    assert shop.balance == Decimal("31.60") and not Payment.objects.filter(status="reserved").exists()


def test_the_page_of_a_second_try_is_closed_when_the_first_is_paid(
    trying: Callable[..., Shop], bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = trying()
    first = Payment.objects.get()
    again(shop, Means.CARD)
    second = Payment.objects.exclude(pk=first.pk).get()
    Payment.objects.filter(pk=second.pk).update(provider_reference="S-2")
    monkeypatch.setattr(Bank, "can_withdraw", True)
    monkeypatch.setattr(completion, "find_provider", lambda _slug: bank)
    tell(first)
    second.refresh_from_db()
    assert (Order.objects.get().status, second.status) == ("paid", "abandoned")
    assert Call.objects.get(name=completion.WITHDRAW).payload == {"payment": second.pk}
    tell(second)  # paid in the very moment: kept in the wallet, as ever
    assert shop.balance == Decimal("31.60")


def test_one_payment_that_cannot_be_asked_about_ends_no_run(
    trying: Callable[..., Shop], bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _family in range(2):
        trying()
    age(dt.timedelta(minutes=10))
    broken, other = Payment.objects.order_by("pk")
    bank.answers[other.reference] = [Message(other.reference, Outcome.CAPTURED, other.amount, "B-1")]
    query = bank.query

    def fails(known: Known) -> Message:
        if known.reference == broken.reference:
            raise ZeroDivisionError
        return query(known)

    monkeypatch.setattr(bank, "query", fails)
    assert tasks.reconcile_payments() == 1
    assert Order.objects.get(payments=other).status == "paid"


def test_verification_sees_what_stays_set_aside(trying: Callable[..., Shop]) -> None:
    shop = trying(Means.BOTH, credit="10")
    order = Order.objects.get()
    with pgtrigger.ignore():
        Order.objects.update(status="cancelled", cancelled_at=timezone.now())
    assert any("restent réservés" in sentence for sentence in verify())
    with pgtrigger.ignore():
        Order.objects.update(status="pending", cancelled_at=None)
    abandon_order(user=shop.user, order=order)


def test_an_order_that_is_paid_between_two_questions_is_paid(bank: Bank, trying: Callable[..., Shop]) -> None:
    shop = trying(days=1)
    card = Payment.objects.get()
    run_out(shop)
    OpenDay.objects.update(is_open=False, closed_reason="Grève")
    bank.answers[card.reference] = [None, Message(card.reference, Outcome.CAPTURED, card.amount, "B-1")]
    started = again(shop, Means.CARD, "7.90")
    started.order.refresh_from_db()
    assert started.order.status == "paid" and not started.departure and shop.balance == Decimal("7.90")


def test_the_sweep_leaves_a_try_that_just_began_alone(trying: Callable[..., Shop]) -> None:
    shop = trying()
    tell(Payment.objects.get(), Outcome.REFUSED)
    age(dt.timedelta(hours=25))
    forgotten = Order.objects.awaiting_nobody().get()
    again(shop, Means.CARD)
    close_forgotten(order=forgotten)
    assert Payment.objects.filter(status="started").exists() and Order.objects.get().status == "pending"


def test_an_order_that_cannot_be_ended_does_not_keep_the_others() -> None:
    orders = [Order.objects.create(user=open_shop().user, total=5) for _index in range(3)]
    age(FORGET_AFTER + dt.timedelta(hours=1))
    in_the_way("checkout_order", f"id <> {orders[0].pk} OR status <> 'cancelled'")
    assert tasks.close_forgotten_orders() == 2
    assert list(Order.objects.order_by("pk").values_list("status", flat=True)) == ["pending", "cancelled", "cancelled"]


def test_whom_nobody_asked_about_comes_first(
    bank: Bank, trying: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    trying()
    trying()
    age(dt.timedelta(minutes=5))
    asked, fresh = Payment.objects.order_by("pk")
    Payment.objects.filter(pk=asked.pk).update(checked_at=timezone.now() - dt.timedelta(minutes=1))
    monkeypatch.setattr(tasks, "MOST_AT_ONCE", 1)
    tasks.reconcile_payments()
    assert bank.asked == [fresh.reference]


def test_another_amount_is_no_end_and_is_given_up(bank: Bank, trying: Callable[..., Shop]) -> None:
    shop = trying(Means.BOTH, credit="10")
    card = Payment.objects.get(status="started")
    bank.answers[card.reference] = [Message(card.reference, Outcome.CAPTURED, Decimal("3.16"), "")]
    age(GIVE_UP_AFTER * 2)
    tasks.reconcile_payments()
    card.refresh_from_db()
    assert card.status == "abandoned" and shop.balance == 10


def test_a_deposit_that_cannot_start_speaks_of_no_places(bank: Bank) -> None:
    bank.is_down = True
    with pytest.raises(Refused) as refusal:
        start_top_up(user=open_shop().user, amount=Decimal("10.00"), shown_total=Decimal("10.01"))
    assert "places" not in str(refusal.value) and Order.objects.get().status == "cancelled"


def test_giving_up_twice_says_where_the_money_is(client: Client, trying: Callable[..., Shop]) -> None:
    shop = trying()
    order = Order.objects.get()
    abandon_order(user=shop.user, order=order)
    tell(Payment.objects.get())
    client.force_login(shop.user)
    page = client.post(f"/commande/{order.reference}/abandonner/", follow=True).content.decode()
    assert "la somme entière est dans votre porte-monnaie" in page and "aucun débit" not in page


def test_a_place_that_a_closed_day_took_away_says_so(trying: Callable[..., Shop]) -> None:
    shop = trying()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
    tell(Payment.objects.get())
    gone = Booking.objects.get(open_day=shop.days[0])
    assert (gone.ended_reason, gone.ended_by) == ("Jour fermé avant le règlement", None)


def test_a_waiting_order_with_a_closed_day_opens_its_cart(trying: Callable[..., Shop]) -> None:
    shop = trying()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
    with pytest.raises(Refused) as refusal:
        again(shop, Means.CARD)
    assert refusal.value.code == "closed" and shop.cart.status == "open"


@pytest.mark.parametrize(
    "first, words",
    [
        (Means.CARD, "votre porte-monnaie n’a pas été débité."),
        (Means.BOTH, "rien n’est débité une seconde fois."),
    ],
)
def test_who_pays_by_the_wallet_what_the_card_had_paid_is_told(
    trying: Callable[..., Shop], bank: Bank, browse: Callable[[Shop], Client], first: Means, words: str
) -> None:
    shop = trying(first, days=1, credit="5")
    card = Payment.objects.get(status="started")
    bank.answers[card.reference] = [Message(card.reference, Outcome.CAPTURED, card.amount, "B-1")]
    sent = {"cart": shop.cart.pk, "total": "7.90", "means": "wallet"}
    client = browse(shop)
    paid = client.post("/commande/paiement/", sent, follow=True)
    assert f"Votre carte avait déjà payé cette commande : {words}" in text(paid)
    assert "Commande payée" in text(paid) and shop.balance == (5 if first == Means.CARD else 0)


def test_who_presses_twice_reads_nothing_of_a_card(browse: Callable[[Shop], Client]) -> None:
    shop = open_shop(days=1, credit="50")
    shop.add()
    cart = shop.answer_steps()
    client = browse(shop)
    for _press in range(2):
        paid = client.post("/commande/paiement/", {"cart": cart.pk, "total": "7.90", "means": "wallet"}, follow=True)
        assert "Commande payée" in text(paid) and "avait déjà payé" not in text(paid)


def test_the_price_of_a_withdrawn_situation_is_not_sold(bank: Bank) -> None:
    shop = open_shop(credit="50")
    shop.add()
    Subscription.objects.update(status="refused", reason="Déménagement")
    SubscriptionFactory(user=shop.user, profile=AccessProfileFactory(service=shop.activity.service))
    with pytest.raises(Refused) as refusal:
        shop.pay(Means.WALLET, "31.60")
    assert refusal.value.code == "no_access"


def test_a_second_try_costs_the_same_for_many_dates(
    trying: Callable[..., Shop], django_assert_max_num_queries: Any
) -> None:
    shop = trying(days=40)
    tell(Payment.objects.get(), Outcome.REFUSED)
    with django_assert_max_num_queries(25):
        again(shop, Means.CARD, "316.00")
