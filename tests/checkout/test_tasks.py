"""Payments that nobody finished telling us about: the provider is asked over HTTP, and the end is told."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from checkout.actions import Means
from checkout.models import Order, Payment, ProviderEvent
from checkout.tasks import ASK_AFTER, GIVE_UP_AFTER, reconcile_payments, verify_ledger
from portal.demo.models import BankPayment
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(live_server: LiveServer, settings: Any) -> Shop:
    settings.SITE_URL = live_server.url
    shop = open_shop()
    shop.add()
    shop.pay(Means.CARD, "31.60")
    return shop


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

    def test_a_bank_that_is_down_is_asked_again(self, settings: Any) -> None:
        settings.SITE_URL = "http://127.0.0.1:1"
        wait(ASK_AFTER)
        assert reconcile_payments() == 0 and Payment.objects.get().status == "started"


def test_the_nightly_verification_finds_nothing_wrong() -> None:
    shop = open_shop(credit="50")
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    assert verify_ledger() == 0
