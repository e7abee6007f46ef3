"""What the database refuses of refunds: first the fault with the guard off, then the refusal."""

from decimal import Decimal

import pytest
from django.utils import timezone

from checkout.models import Order, Payment, Refund
from tests.factories import UserFactory
from tests.guards import guarded
from wallet import actions as ledger
from wallet.models import Movement

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment() -> Payment:
    order = Order.objects.create(user=UserFactory(), kind="top_up", total=Decimal(10))
    return Payment.objects.create(
        order=order, provider="demo", amount=Decimal(10), status="credited", ended_at=timezone.now()
    )


def movement(key: str) -> int:
    return ledger.post(
        kind=Movement.Kind.COUNTER,
        key=key,
        label="x",
        amounts={"fees": Decimal(1), "adjustment": Decimal(-1)},
        by=None,
    )


def refund(payment: Payment, amount: str = "6", **more: object) -> Refund:
    count = Refund.objects.count()
    by = payment.order.user
    return Refund.objects.create(
        payment=payment, amount=Decimal(amount), reason="x", by=by, movement_id=movement(f"r{count}"), **more
    )


def test_no_more_than_the_payment(payment: Payment) -> None:
    refund(payment)
    guarded(
        "checkout.Refund:refund_is_within_its_payment",
        lambda: refund(payment, "4.01"),
        "more than it took",
        lambda: Refund.objects.count() == 2,
    )
    refund(payment, "4")


def test_what_failed_can_be_asked_again(payment: Payment) -> None:
    refund(payment, status="failed", ended_at=timezone.now())
    refund(payment, "10")


def test_only_of_what_was_paid(payment: Payment) -> None:
    running = Payment.objects.create(order=payment.order, provider="demo", amount=Decimal(10), status="started")
    guarded(
        "checkout.Refund:refund_is_within_its_payment",
        lambda: refund(running),
        "holds no money",
        lambda: Refund.objects.filter(payment=running).exists(),
    )


@pytest.mark.parametrize("change", [{"amount": Decimal(1)}, {"reason": "autre"}, {"reference": "Z"}])
def test_what_was_decided_stays(payment: Payment, change: dict[str, object]) -> None:
    refund(payment)
    guarded(
        "checkout.Refund:refund_is_frozen",
        lambda: Refund.objects.update(**change),
        "Cannot update",
        lambda: Refund.objects.filter(**change).exists(),
    )


def test_what_has_ended_stays_ended(payment: Payment) -> None:
    refund(payment, status="done", ended_at=timezone.now())
    guarded(
        "checkout.Refund:refund_transitions",
        lambda: Refund.objects.update(status="requested", ended_at=None),
        "Invalid transition",
        lambda: Refund.objects.filter(status="requested").exists(),
    )


def test_refunds_are_kept(payment: Payment) -> None:
    refund(payment)
    guarded(
        "checkout.Refund:refunds_are_kept",
        lambda: Refund.objects.all().delete(),
        "Cannot delete",
        lambda: not Refund.objects.exists(),
    )
