"""A card's money on its way back, with the bank down, the answer lost, or the news of the payment coming again."""

from decimal import Decimal

import pytest

from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.models import Refund
from checkout.refunds.actions import make, refund_to_card
from portal.outbox.calls import Later, make_due
from portal.outbox.models import Call
from tests.concurrency.conftest import race
from tests.factories import agent_of, regie
from tests.faults.bank import REFUNDING, Bank
from tests.faults.scene import TOTAL, Scene, at_the_bank, outcomes
from wallet import actions as ledger
from wallet.models import Account, Movement

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("right_in_the_end"),
    pytest.mark.parametrize("bank", REFUNDING, indirect=True),
]


@pytest.fixture(autouse=True)
def _families_may_choose_the_card(db: None) -> None:
    regie(card_refunds=True)


def cancelled(bank: Bank) -> Scene:
    """Paid by card, and cancelled for the card to have its money back; the bank has not been asked yet."""
    scene = at_the_bank(bank)
    bank.pay(scene.payment)
    assert scene.tell() == 200
    cancel_bookings(ids=list(Booking.objects.values_list("pk", flat=True)), by=scene.shop.user, to_card=True)
    assert Refund.objects.get().status == Refund.Status.REQUESTED
    assert (scene.shop.balance, bank.taken(), refunding(bank)) == (0, TOTAL, TOTAL)
    return scene


def refunding(bank: Bank) -> Decimal:
    """The euros that are decided and not made, in our books."""
    return Account.objects.get(code=ledger.refunding_code(bank.slug)).balance()


def back_on_the_card(bank: Bank) -> bool:
    assert Refund.objects.get().status == Refund.Status.DONE
    assert (bank.taken(), refunding(bank)) == (0, 0)
    return True


def test_the_bank_pays_back(bank: Bank) -> None:
    cancelled(bank)
    assert make_due() >= 1
    assert back_on_the_card(bank)


@pytest.mark.parametrize("mood", ["down", "slow"])
def test_a_bank_that_does_not_answer_is_called_again(bank: Bank, mood: str) -> None:
    cancelled(bank)
    with getattr(bank, mood)():
        make_due()
    call = Call.objects.get(name="checkout.refund")
    assert (call.status, call.attempts) == (Call.Status.WAITING, 1)
    assert (bank.taken(), refunding(bank)) == (TOTAL, TOTAL)
    Call.objects.update(next_attempt_at=call.created_at)
    make_due()
    assert back_on_the_card(bank)


def test_called_by_five_workers_at_once_it_pays_back_once(bank: Bank) -> None:
    cancelled(bank)
    refund = Refund.objects.get()

    def call() -> None:
        make(refund=refund.pk)

    # A bank may say « I am at it » to the others: they would come again.
    assert {type(outcome) for outcome in race([call] * 5)} <= {type(None), Later}
    make(refund=refund.pk)
    assert back_on_the_card(bank)


def test_the_news_of_the_payment_coming_again_changes_nothing(bank: Bank) -> None:
    """« An already refunded order »: its notification is known, its money gone, and neither moves again."""
    scene = cancelled(bank)
    make_due()
    before = Movement.objects.count(), len(scene.written())
    for _copy in range(3):
        assert scene.tell() == 200
        scene.come_back()
    assert (Movement.objects.count(), len(scene.written()), scene.shop.balance) == (*before, 0)
    assert set(outcomes()[1:]) == {"repeated"}
    assert back_on_the_card(bank)


def test_in_parts_and_never_more_than_was_paid(bank: Bank) -> None:
    scene = at_the_bank(bank)
    bank.pay(scene.payment)
    scene.tell()
    cancel_bookings(ids=list(Booking.objects.values_list("pk", flat=True)), by=scene.shop.user)
    scene.payment.refresh_from_db()
    for part in (Decimal("7.90"), Decimal("23.70")):
        refund_to_card(payment=scene.payment, amount=part, reason="Annulation", by=agent_of())
    make_due()
    assert set(Refund.objects.values_list("status", flat=True)) == {Refund.Status.DONE}
    assert (bank.taken(), scene.shop.balance) == (0, 0)
