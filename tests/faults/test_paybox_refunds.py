"""Paybox has no keys for refunds: it is asked whether one is done, and then told to do it. Between the two stands our lock."""

import contextlib
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import QuerySet

from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.providers.paybox import PayboxProvider
from checkout.refunds.actions import make, refund_to_card
from checkout.refunds.models import Refund
from portal.outbox.calls import Later
from tests.concurrency.conftest import race
from tests.factories import agent_of
from tests.faults.bank import Bank
from tests.faults.scene import TOTAL, at_the_bank

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("bank", ["paybox"], indirect=True)]

PART = Decimal("7.90")


@pytest.fixture
def two_at_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Two workers make one refund of a part, and wait for each other once the bank has said that it is not done yet."""
    scene = at_the_bank(bank)
    bank.pay(scene.payment)
    scene.tell()
    cancel_bookings(ids=list(Booking.objects.values_list("pk", flat=True)), by=scene.shop.user)
    scene.payment.refresh_from_db()
    refund = refund_to_card(payment=scene.payment, amount=PART, reason="Annulation", by=agent_of())
    ask, barrier = PayboxProvider._find, threading.Barrier(2)

    def ask_and_wait(*args: Any) -> Any:
        answer = ask(*args)
        # Broken when the other is held back: that is the guard at work.
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=3)
        return answer

    monkeypatch.setattr(PayboxProvider, "_find", ask_and_wait)
    return lambda: race([lambda: make(refund=refund.pk)] * 2)


def test_two_workers_at_once_pay_back_once(bank: Bank, two_at_once: Callable[[], list[Any]]) -> None:
    assert {type(outcome) for outcome in two_at_once()} == {type(None), Later}
    assert bank.taken() == TOTAL - PART
    assert Refund.objects.get().status == Refund.Status.DONE


def test_with_the_lock_off_the_card_is_paid_back_twice(
    bank: Bank, two_at_once: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(self: QuerySet[Any], **_options: Any) -> QuerySet[Any]:
        return self

    monkeypatch.setattr(QuerySet, "select_for_update", plain)
    two_at_once()
    assert bank.taken() == TOTAL - 2 * PART
