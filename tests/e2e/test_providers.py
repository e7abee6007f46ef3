"""Paying at Paybox and at PayFiP in a browser: their own servers over real HTTP (tests/faults), our own policy of content.

Whatever they and the network do otherwise is in tests/faults, without a browser; here it is what a person sees.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect

from checkout.models import Payment
from checkout.tasks import reconcile_payments
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.steps import Visitor
from tests.e2e.test_bank import open_order, two_minutes_later
from tests.faults.paybox import PayboxBank
from tests.faults.payfip import PayfipBank

Visit = Callable[..., Visitor]

LEAVING, AT_PAYBOX, AT_PAYFIP = "Vers le site de la banque", "Paiement sécurisé", "Paiement en ligne PayFiP"
CHOOSING = "Choisissez votre moyen de paiement (4 produits)"


def use(settings: Any, bank: PayboxBank | PayfipBank) -> None:
    for name, value in bank.settings.items():
        setattr(settings, name, value)
    settings.CARD_PROVIDERS = [bank.slug]


@pytest.fixture
def paybox(site: str, settings: Any) -> Iterator[PayboxBank]:
    with PayboxBank(site) as bank:
        use(settings, bank)
        yield bank


@pytest.fixture
def payfip(site: str, settings: Any) -> Iterator[PayfipBank]:
    with PayfipBank(site) as bank:
        use(settings, bank)
        yield bank


def payment() -> Payment:
    """The only one of the parent."""
    return Payment.objects.get(order__in=baskets.orders())


def choose(visit: Visit, button: str, **options: Any) -> Visitor:
    """The parent presses a way to pay."""
    baskets.fill_cart(4)
    who = visit(user=PARENT, **options)
    who.open(PAYMENT_PAGE)
    who.press(button)
    return who


def at_paybox(visit: Visit, card: str = "Carte CB", **options: Any) -> Visitor:
    who = choose(visit, f"Payer par carte {card}", **options)
    if not who.javascript:
        who.on(LEAVING)
        who.reads("Rien n’est débité avant votre accord.")
        who.press("Continuer vers la banque")
    who.on(AT_PAYBOX)
    return who


class TestPaybox:
    @pytest.mark.parametrize("javascript", [True, False])
    @pytest.mark.parametrize("card, code", [("Carte Visa", "VISA"), ("e-Carte Bleue", "E_CARD")])
    def test_the_chosen_card_is_paid_with(
        self, visit: Visit, paybox: PayboxBank, javascript: bool, card: str, code: str
    ) -> None:
        who = at_paybox(visit, card, javascript=javascript)
        who.reads(f"31.60 EUR, {code}")
        who.press("Valider")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="paybox") and paybox.taken() == Decimal("31.60")
        (form,) = paybox.books.forms.values()
        assert "<totalQuantity>4</totalQuantity>" in form["PBX_SHOPPINGCART"]
        assert "<LastName>DUPONT</LastName>" in form["PBX_BILLING"]

    def test_the_back_button_does_not_leave_again(self, visit: Visit, paybox: PayboxBank) -> None:
        """Without JavaScript the way to the bank is a page in the browser's history."""
        who = at_paybox(visit, javascript=False)
        who.page.go_back()
        who.on(LEAVING)
        who.page.reload()
        who.on(LEAVING)
        assert baskets.orders().count() == len(baskets.payments()) == len(paybox.books.forms) == 1
        who.press("Continuer vers la banque")
        who.on(AT_PAYBOX)
        who.press("Valider")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="paybox")
        # Nor is there anything left to send once it is paid.
        who.page.go_back()
        who.page.go_back()
        who.page.reload()
        steps.order_is_paid(who, "31,60 €")

    def test_the_back_button_leads_to_the_choice_and_a_second_try_pays_once(
        self, visit: Visit, paybox: PayboxBank
    ) -> None:
        """With JavaScript the page that leads to the bank leaves no trace in the history: « Payer » is not sent again."""
        who = at_paybox(visit)
        who.page.go_back()
        who.on(CHOOSING)
        who.page.reload()
        who.on(CHOOSING)
        assert baskets.orders().count() == len(baskets.payments()) == len(paybox.books.forms) == 1
        who.press("Payer par carte Carte Visa")
        who.on(AT_PAYBOX)
        assert baskets.payments() == [("paybox", "abandoned"), ("paybox", "started")]
        who.press("Valider")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="paybox")

    def test_refused_then_paid_with_another_card(self, visit: Visit, paybox: PayboxBank) -> None:
        who = at_paybox(visit)
        who.press("Carte refusée")
        who.on(CHOOSING)
        expect(who.page.get_by_role("alert")).to_have_text("La banque a refusé le paiement. Rien n’a été débité.")
        who.press("Payer par carte Carte Mastercard")
        who.on(AT_PAYBOX)
        who.press("Valider")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="paybox")

    def test_given_up_at_the_bank(self, visit: Visit, paybox: PayboxBank) -> None:
        who = at_paybox(visit)
        who.press("Retour boutique")
        who.on(CHOOSING)
        expect(who.page.get_by_role("alert")).to_have_text("Vous avez abandonné le paiement. Rien n’a été débité.")

    def test_the_return_asks_when_no_message_came(self, visit: Visit, paybox: PayboxBank) -> None:
        paybox.tells = False
        who = at_paybox(visit)
        who.press("Valider")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="paybox")

    def test_the_return_by_itself_is_never_believed(self, visit: Visit, paybox: PayboxBank, settings: Any) -> None:
        """Signed by the bank and all: without a message and without Paybox Direct the order waits."""
        settings.PAYBOX_DIRECT_KEY, settings.PAYBOX_MODE = "", "test"
        paybox.tells = False
        who = at_paybox(visit)
        who.press("Valider")
        who.reads("En attente de règlement")
        assert (baskets.booked(), baskets.payments()) == (0, [("paybox", "started")])
        paid = payment()
        assert paybox.deliver(paybox.notification(paid)) == 200  # late
        open_order(who)
        steps.order_is_paid(who, "31,60 €")

    def test_the_browser_never_comes_back(self, visit: Visit, paybox: PayboxBank) -> None:
        who = at_paybox(visit)
        paid = payment()
        who.page.close()
        paybox.pay(paid)
        two_minutes_later()
        assert reconcile_payments() == 1
        assert baskets.paid_once(by="paybox")

    def test_a_bank_that_is_down_is_told(self, visit: Visit, paybox: PayboxBank) -> None:
        with paybox.down():
            who = choose(visit, "Payer par carte Carte CB")
            who.on(CHOOSING)
        expect(who.page.get_by_role("alert")).to_contain_text("vos places restent gardées")
        assert baskets.booked() == 0

    def test_a_deposit_is_paid_without_an_address(self, visit: Visit, paybox: PayboxBank) -> None:
        """A bank's strong authentication wants a place: the commune is the one we know."""
        baskets.parent().addresses.all().delete()
        who = visit(user=PARENT)
        who.open("/mon-compte/porte-monnaie/")
        who.choose("25,00 €")
        who.press("Effectuer un dépôt Carte CB")
        who.on(AT_PAYBOX)
        (form,) = paybox.books.forms.values()
        commune = baskets.parent().commune
        assert commune is not None and f"<ZipCode>{commune.postal_code}</ZipCode>" in form["PBX_BILLING"]
        who.press("Valider")
        steps.wallet_holds(who, "75,00 €")


class TestPayfip:
    @pytest.mark.parametrize("javascript", [True, False])
    def test_paid(self, visit: Visit, payfip: PayfipBank, javascript: bool) -> None:
        who = choose(visit, "Payer par carte", javascript=javascript)
        who.on(AT_PAYFIP)
        who.press("Payer par carte")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="payfip") and payfip.taken() == Decimal("31.60")

    def test_given_up_then_paid_from_the_wallet(self, visit: Visit, payfip: PayfipBank) -> None:
        who = choose(visit, "Payer par carte")
        who.on(AT_PAYFIP)
        who.press("Annuler")
        who.on(CHOOSING)
        expect(who.page.get_by_role("alert")).to_have_text("Vous avez abandonné le paiement. Rien n’a été débité.")
        who.press("Payer avec mon porte-monnaie")
        steps.order_is_paid(who, "31,60 €")
        assert baskets.paid_once(by="wallet")

    def test_the_browser_never_comes_back_and_nobody_tells(self, visit: Visit, payfip: PayfipBank) -> None:
        who = choose(visit, "Payer par carte")
        who.on(AT_PAYFIP)
        paid = payment()
        who.page.close()
        payfip.pay(paid)
        two_minutes_later()
        assert reconcile_payments() == 1
        assert baskets.paid_once(by="payfip")

    def test_the_back_button_leads_to_the_order_that_waits(self, visit: Visit, payfip: PayfipBank) -> None:
        who = choose(visit, "Payer par carte")
        who.on(AT_PAYFIP)
        who.page.go_back()
        who.page.reload()
        assert baskets.orders().count() == len(baskets.payments()) == 1
        assert baskets.payments() == [("payfip", "started")]
