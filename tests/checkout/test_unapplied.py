"""What a bank stated and a mistake of ours kept from being applied: not given up, not paid twice, and told at night."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from bookings.models import Booking
from checkout.actions import apply_message, cancel_bookings, completion
from checkout.models import GIVE_UP_AFTER, Order, Payment, ProviderEvent, Refund
from checkout.overdue import overdue
from checkout.providers.base import Message, Outcome, RefundFailed
from checkout.providers.demo import DemoProvider
from checkout.refunds import actions as refunds
from checkout.tasks import ask_again, reconcile_payments
from portal.outbox.calls import make_due
from tests.admin.world import client_of
from tests.checkout.test_tasks import bank_says, wait
from tests.factories import agent_of, regie
from tests.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)


def fails(*_args: object, **_kwargs: object) -> None:
    raise ZeroDivisionError


def minutes_pass(minutes: int = 61) -> None:
    with pgtrigger.ignore("checkout.ProviderEvent:event_is_kept_raw"):
        ProviderEvent.objects.update(received_at=F("received_at") - dt.timedelta(minutes=minutes))


def arrives(outcome: Outcome, number: str = "") -> ProviderEvent:
    payment = Payment.objects.get()
    event = ProviderEvent.objects.create(provider="demo", source="notification", raw="{}")
    apply_message(message=Message(payment.reference, outcome, payment.amount, number), provider="demo", event=event)
    event.refresh_from_db()
    return event


def given_back_to_the_card(shop: Shop) -> Refund:
    """Paid, cancelled, and done by the provider."""
    arrives(Outcome.CAPTURED, "B1")
    regie(card_refunds=True)
    cancel_bookings(ids=list(Booking.objects.booked().values_list("pk", flat=True)), by=shop.user, to_card=True)
    make_due()
    return Refund.objects.get()


def test_a_stated_end_is_not_given_up_while_the_bank_does_not_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The bank said « captured », our mistake kept it from being applied; then the bank is down for one run."""
    with monkeypatch.context() as broken:
        broken.setattr(completion, "_capture", fails)
        with pytest.raises(ZeroDivisionError):
            arrives(Outcome.CAPTURED)
    wait(GIVE_UP_AFTER)
    minutes_pass()
    settings.SITE_URL = "http://127.0.0.1:1"
    reconcile_payments()
    assert Payment.objects.get().status == "started"


@pytest.mark.parametrize("address", ["order_abandon", "pay"])
def test_a_family_whose_order_cannot_be_ended_reads_a_sentence(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Neither paid again nor given up while its money may be at the bank."""
    bank_says("captured")
    monkeypatch.setattr(completion, "_capture", fails)
    wait(GIVE_UP_AFTER * 10)
    reconcile_payments()
    assert Payment.objects.get().status == "started"
    client = Client(raise_request_exception=False)
    client.force_login(shop.user)
    order = Order.objects.get()
    if address == "pay":
        page = client.get("/commande/paiement/")
        answer = client.post("/commande/paiement/", {"means": "card", "total": "31.60", "cart": shop.cart.pk})
        assert page.status_code == 200
    else:
        answer = client.post(reverse("order_abandon", args=[order.reference]))
    assert answer.status_code < 500


def test_a_question_that_we_cannot_ask_is_given_up_as_before(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was stated: the mistake is in asking."""
    monkeypatch.setattr(DemoProvider, "query", fails)
    wait(GIVE_UP_AFTER)
    reconcile_payments()
    assert Payment.objects.get().status == "abandoned"


def test_a_late_copy_of_a_refusal_does_not_settle_a_capture(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """First card refused, second captured (not applied: our mistake), then the first message comes once more."""
    arrives(Outcome.REFUSED)
    bank_says("captured")
    wait(dt.timedelta(minutes=80))
    with monkeypatch.context() as broken:
        broken.setattr(completion, "_capture", fails)
        with pytest.raises(ZeroDivisionError):
            arrives(Outcome.CAPTURED, "B2")
    assert arrives(Outcome.REFUSED).outcome == "repeated"
    minutes_pass()
    wait(dt.timedelta(minutes=145))
    told = list(overdue())
    asked = ask_again()
    assert told or asked, "31,60 € are at the bank: nobody is told, nobody asks any more"


def test_a_copy_whose_process_died_is_no_money_to_look_for(shop: Shop) -> None:
    """Refused, heard and applied late; the second copy's process was killed before it applied it."""
    bank_says("refused")
    wait(dt.timedelta(minutes=80))
    arrives(Outcome.REFUSED)
    ProviderEvent.objects.create(provider="demo", source="notification", raw="{}", payment=Payment.objects.get())
    for _night in range(3):
        minutes_pass()
        Payment.objects.update(
            created_at=F("created_at") - dt.timedelta(minutes=61), checked_at=F("checked_at") - dt.timedelta(minutes=61)
        )
        ask_again()
    assert list(overdue()) == []


def test_a_refunds_failure_that_was_heard_the_second_time_is_not_told_for_a_week(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = given_back_to_the_card(shop)
    monkeypatch.setattr(DemoProvider, "read", lambda *_args: RefundFailed(row.reference, "compte clos"))
    client = Client(raise_request_exception=False)
    address = reverse("payment_notification", args=["demo"])
    with monkeypatch.context() as broken:
        broken.setattr(refunds, "back_to_wallet", fails)
        assert client.post(address, {"x": "1"}).status_code == 500
    assert client.post(address, {"x": "1"}).status_code == 200  # the bank says it again
    row.refresh_from_db()
    assert row.status == "failed" and shop.balance == Decimal("31.60")
    minutes_pass()
    assert list(overdue()) == []


def test_a_refunds_failure_that_nobody_applied_is_told_after_a_week_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """« done » in our books, returned by the bank: no book of ours knows. After seven nights nobody is told any more."""
    row = given_back_to_the_card(shop)
    monkeypatch.setattr(DemoProvider, "read", lambda *_args: RefundFailed(row.reference, "compte clos"))
    monkeypatch.setattr(refunds, "back_to_wallet", fails)
    client = Client(raise_request_exception=False)
    assert client.post(reverse("payment_notification", args=["demo"]), {"x": "1"}).status_code == 500
    minutes_pass(60 * 24 * 8)
    row.refresh_from_db()
    assert row.status != "failed"
    assert list(overdue())


def test_what_operators_are_told_to_press_answers_in_words(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """« pressez « Demander au prestataire » », says the sentence of the night."""
    bank_says("captured")
    monkeypatch.setattr(completion, "_capture", fails)
    client = client_of(agent_of())
    client.raise_request_exception = False
    answer = client.post(reverse("admin:checkout_payment_ask", args=[Payment.objects.get().pk]))
    assert answer.status_code < 500
