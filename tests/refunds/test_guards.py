"""What the database refuses of refunds: first the fault with the guard off, then the refusal."""

from decimal import Decimal

import pytest
from django.utils import timezone

from checkout.models import Order, Payment, Refund
from checkout.papers.actions import issue
from checkout.papers.content import Content
from checkout.papers.models import Document, Kind
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
    return Refund.objects.create(
        payment=payment, amount=Decimal(amount), reason="x", by=UserFactory(), movement_id=movement(f"r{count}"), **more
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


def given_back(payment: Payment, amount: str = "6", kind: Movement.Kind = Movement.Kind.CANCELLATION) -> int:
    """A movement that has put so much into the payer's wallet."""
    ledger.wallet_of(payment.order.user)
    wallet = ledger.wallet_code(payment.order.user)
    amounts = {wallet: Decimal(amount), "adjustment": -Decimal(amount)}
    return ledger.post(kind=kind, key=f"g{Movement.objects.count()}", label="x", amounts=amounts, by=None)


def test_no_more_than_its_cancellation_gave(payment: Payment) -> None:
    movement = given_back(payment)
    refund(payment, "4", cancellation_id=movement, status="failed", ended_at=timezone.now())
    guarded(
        "checkout.Refund:refund_is_within_its_cancellation",
        lambda: refund(payment, "2.01", cancellation_id=movement),
        "gave its payer less",
        lambda: Refund.objects.count() == 2,
    )
    refund(payment, "2", cancellation_id=movement)


@pytest.mark.parametrize("fault", ["of another person", "no cancellation"])
def test_its_cancellation_is_one_of_its_payer(payment: Payment, fault: str) -> None:
    other = Payment.objects.create(
        order=Order.objects.create(user=UserFactory(), kind="top_up", total=Decimal(10)),
        provider="demo",
        amount=Decimal(10),
        status="credited",
        ended_at=timezone.now(),
    )
    movement = given_back(other) if fault == "of another person" else given_back(payment, kind=Movement.Kind.TOP_UP)
    guarded(
        "checkout.Refund:refund_is_within_its_cancellation",
        lambda: refund(payment, cancellation_id=movement),
        "gave its payer less",
        lambda: Refund.objects.exists(),
    )


def test_its_cancellation_stays(payment: Payment) -> None:
    refund(payment)
    movement = given_back(payment)
    guarded(
        "checkout.Refund:refund_is_frozen",
        lambda: Refund.objects.update(cancellation=movement),
        "Cannot update",
        lambda: Refund.objects.filter(cancellation=movement).exists(),
    )


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


def note(refund: Refund, movement: int) -> Document:
    user = refund.payment.order.user
    content = Content(
        kind=Kind.REFUND,
        user=user,
        subject=f"movement:{movement}",
        amount=refund.amount,
        title="Note",
        links={"movement": Movement.objects.get(pk=movement)},
    )
    return issue(content=content, by=None)


def test_what_a_cancellation_sent_to_a_card_has_no_second_note(payment: Payment) -> None:
    cancellation = given_back(payment)
    made = refund(payment, cancellation_id=cancellation, status="done", ended_at=timezone.now())
    guarded(
        "checkout.Document:document_tells_of_a_refund_once",
        lambda: note(made, made.movement_id),
        "tells of its refunds to cards",
        lambda: Document.objects.exists(),
    )
    note(made, cancellation)


def test_a_note_waits_for_what_is_on_its_way_to_a_card(payment: Payment) -> None:
    cancellation = given_back(payment)
    made = refund(payment, cancellation_id=cancellation)
    guarded(
        "checkout.Document:document_tells_of_a_refund_once",
        lambda: note(made, cancellation),
        "waits for the refunds",
        lambda: Document.objects.exists(),
    )
    Refund.objects.update(status="failed", ended_at=timezone.now())
    note(made, cancellation)
