"""Nobody decides alone about what comes to their own card, or back from it to their own wallet."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for
from checkout.models import Payment, Refund
from checkout.refunds.actions import back_to_wallet, refund_to_card
from checkout.refunds.models import FAILED_KEY
from checkout.verification import verify
from families.models import Filiation
from portal.common.errors import Refused
from portal.outbox.calls import make_due
from tests.admin.test_cancelling import LIST
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.checkout.test_own_family import also_operator, by_another_child, other_parent, payer
from tests.factories import FiliationFactory, agent_of
from tests.guards import guarded
from tests.regie.test_settlements import paid
from tests.shop import Shop, family
from wallet import actions as ledger
from wallet.models import Movement

pytestmark = pytest.mark.django_db(transaction=True)
Order = Callable[..., Shop]
WHO = pytest.mark.parametrize("who", [payer, other_parent])
ANOTHER = "une autre personne du service en décide"


def ids() -> list[int]:
    return list(Booking.objects.booked().values_list("pk", flat=True))


@WHO
def test_the_wallets_money_goes_on_to_no_card_of_ones_own(by_card: Order, who: Callable) -> None:
    shop = by_card()
    operator, payment = also_operator(who(shop)), Payment.objects.get()
    cancel_for(ids=ids(), by=operator, reason="Erreur")
    with pytest.raises(Refused, match=ANOTHER):
        refund_to_card(payment=payment, amount=Decimal("15.80"), reason="Erreur", by=operator)
    page = client_of(operator).get(reverse("admin:checkout_refund_new", args=[payment.pk]), follow=True)
    assert page.redirect_chain and ANOTHER in text(page)
    assert not Refund.objects.exists() and shop.balance == Decimal("31.60")
    refund_to_card(payment=payment, amount=Decimal("15.80"), reason="Erreur", by=agent_of())
    assert shop.balance == Decimal("15.80") and list(verify()) == []


@WHO
def test_nobody_says_alone_that_their_own_cards_refund_came_back(by_card: Order, who: Callable) -> None:
    """The card has its money: in the wallet once more, by one press, it would be theirs twice."""
    shop = by_card()
    operator = also_operator(who(shop))
    cancel_bookings(ids=ids(), by=shop.user, to_card=True)  # as every family may
    make_due()
    refund = Refund.objects.get()
    assert refund.status == "done" and shop.balance == 0
    with pytest.raises(Refused, match=ANOTHER):
        back_to_wallet(refund=refund, note="Compte clos", by=operator, seen=refund.status)
    page = client_of(operator).get(reverse("admin:checkout_refund_give_up", args=[refund.pk]), follow=True)
    assert page.redirect_chain and ANOTHER in text(page)
    assert shop.balance == 0 and Refund.objects.get().status == "done" and list(verify()) == []


def test_nor_the_other_parents_deposit() -> None:
    """Its credits pay the same child's dates: on the card and back in the wallet it would be theirs twice."""
    with transaction.atomic():
        payment = paid("30.00")
    child = FiliationFactory(user=payment.order.user).beneficiary
    operator = also_operator(FiliationFactory(beneficiary=child).user)
    with pytest.raises(Refused, match=ANOTHER):
        refund_to_card(payment=payment, amount=Decimal("30.00"), reason="x", by=operator)
    refund = refund_to_card(payment=payment, amount=Decimal("30.00"), reason="x", by=agent_of())
    with pytest.raises(Refused, match=ANOTHER):
        back_to_wallet(refund=refund, note="x", by=operator, seen="requested")


def answers_for_the_child_alone(shop: Shop) -> User:
    """Who paid answers for the child no longer: of one family by the dates that were paid."""
    adult = other_parent(shop)
    Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
    return adult


@pytest.mark.parametrize("who", [payer, other_parent, answers_for_the_child_alone, by_another_child])
def test_postgresql_refuses_both_too(by_card: Order, who: Callable[[Shop], User]) -> None:
    shop = by_card()
    payment, wallet = Payment.objects.get(), ledger.wallet_code(shop.user)
    cancel_bookings(ids=ids()[:1], by=shop.user)
    adult = who(shop)

    def moved(key: str, amount: str) -> int:
        amounts = {wallet: Decimal(amount), "refunding:demo": -Decimal(amount)}
        return ledger.post(kind=Movement.Kind.REFUND, key=key, label="x", amounts=amounts, by=adult)

    def sent() -> None:
        facts = {"payment": payment, "amount": Decimal("7.90"), "reason": "x", "movement_id": moved("x", "-7.90")}
        Refund.objects.create(by=adult, **facts)

    guarded(
        "checkout.Refund:nobody_refunds_themselves",
        sent,
        "nobody decides on their own card",
        lambda: Refund.objects.exists(),
    )
    refund = refund_to_card(payment=payment, amount=Decimal("7.90"), reason="x", by=agent_of())

    def failed() -> None:
        moved(FAILED_KEY % refund.reference, "7.90")
        Refund.objects.update(status="failed", ended_at=timezone.now())

    guarded(
        "checkout.Refund:nobody_fails_their_own_refund",
        failed,
        "nobody says of their own card that it was not reached",
        lambda: Refund.objects.filter(status="failed").exists(),
    )


def test_a_stranger_decides_of_both(by_card: Order) -> None:
    """An agent who is a parent too, of other children: neither the action nor PostgreSQL takes them for family."""
    shop = by_card()
    cancel_bookings(ids=ids()[:1], by=shop.user)
    operator = also_operator(FiliationFactory().user)
    payment = Payment.objects.get()
    refund = refund_to_card(payment=payment, amount=Decimal("7.90"), reason="x", by=operator)
    back_to_wallet(refund=refund, note="x", by=operator, seen="requested")
    assert shop.balance == Decimal("7.90") and list(verify()) == []


def test_one_own_date_takes_the_card_from_the_others_not_without_a_word(by_card: Order) -> None:
    """Before they are cancelled: whose date it is, and that the others have their card without it."""
    shop = by_card()
    operator = also_operator(shop.user)
    other = family(shop.tariff, credit="40", days=shop.days)
    other.add()
    other.pay(Means.WALLET, "31.60")
    asked = {"action": "cancel_selected", ACTION_CHECKBOX_NAME: ids()}
    said = client_of(operator).post(LIST, asked)
    assert 'name="to_card"' not in said.content.decode()
    assert "sur la carte, une autre personne du service rend la somme" in text(said)
    assert "Laissez ces dates de côté pour rendre les autres sur leur carte." in text(said)
    colleague = client_of(agent_of()).post(LIST, asked)
    assert 'name="to_card"' in colleague.content.decode() and "votre propre famille" not in text(colleague)
