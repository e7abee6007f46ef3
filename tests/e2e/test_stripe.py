"""Paying at Stripe in a real browser: under our policy the form may lead there, with and without JavaScript."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect

from checkout.models import Payment, ProviderEvent
from checkout.providers.stripe import COMPLETED
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.steps import Visitor
from tests.e2e.worker import Worker
from tests.faults.bank import call
from tests.faults.stripe_server import StripeServer

Visit = Callable[..., Visitor]


@pytest.fixture
def stripe(settings: Any, site: str) -> Iterator[StripeServer]:
    server = StripeServer()
    server.server.start()
    settings.CARD_PROVIDERS = ["stripe"]
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = server.key, server.secret
    settings.STRIPE_API_BASE = settings.STRIPE_CHECKOUT_ORIGIN = server.server.url
    yield server
    server.server.stop()


def at_stripe(
    visit: Visit, stripe: StripeServer, *, dates: int = 4, amount: str = "31,60 €", **browser: Any
) -> Visitor:
    """The parent in front of Stripe's page."""
    baskets.fill_cart(dates)
    who = visit(user=PARENT, **browser)
    who.open(PAYMENT_PAGE)
    who.press("Payer par carte" if dates < 7 else f"Utiliser mon porte-monnaie et payer {amount} par carte")
    who.on(f"Payer {amount}")
    assert who.page.url.startswith(f"{stripe.server.url}/c/pay/cs_test_")
    return who


def webhook(who: Visitor, stripe: StripeServer, site: str) -> int:
    session = Payment.objects.get(provider="stripe").provider_reference
    told = stripe.event(COMPLETED, session)
    return call(f"{site}/paiement/stripe/notification/", told.body, told.headers)


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
def test_paid_and_back(visit: Visit, stripe: StripeServer, site: str, javascript: bool, width: int) -> None:
    """The browser is quicker than the webhook, which changes nothing any more."""
    who = at_stripe(visit, stripe, javascript=javascript, width=width)
    who.press("Payer")
    steps.order_is_paid(who, "31,60 €")
    assert webhook(who, stripe, site) == 200
    assert baskets.paid_once(by="stripe")
    assert list(ProviderEvent.objects.order_by("pk").values_list("source", "outcome")) == [
        ("query", "applied"),
        ("notification", "repeated"),
    ]


def test_the_wallet_and_the_card(visit: Visit, stripe: StripeServer) -> None:
    who = at_stripe(visit, stripe, dates=7, amount="5,30 €")
    who.press("Payer")
    steps.order_is_paid(who, "55,30 €")
    assert baskets.balance() == 0


def test_back_from_the_bank_without_paying_then_paid(visit: Visit, stripe: StripeServer, worker: Worker) -> None:
    who = at_stripe(visit, stripe)
    who.press("Retour")
    who.on(f"Commande {baskets.orders().get().number}")
    expect(who.page.get_by_role("main")).to_contain_text("La banque n’a pas encore confirmé ce paiement")
    who.reads("En attente de règlement")
    assert (baskets.booked(), baskets.balance()) == (0, Decimal("50.00"))
    who.open(PAYMENT_PAGE)
    who.press("Payer par carte")
    who.on("Payer 31,60 €")
    who.press("Payer")
    steps.order_is_paid(who, "31,60 €")
    assert len(stripe.sessions) == 2 and len([row for row in stripe.sessions.values() if row["payment_intent"]]) == 1


def test_the_browser_never_comes_back(visit: Visit, stripe: StripeServer, site: str) -> None:
    who = at_stripe(visit, stripe)
    (session,) = stripe.sessions
    stripe.pay(session)
    assert webhook(who, stripe, site) == 200
    who.open(baskets.orders().get().get_absolute_url())
    steps.order_is_paid(who, "31,60 €")


def test_the_browsers_own_back_button_after_paying(visit: Visit, stripe: StripeServer) -> None:
    """Back over Stripe's page to ours: the order is paid, and nothing is paid twice."""
    who = at_stripe(visit, stripe)
    who.press("Payer")
    steps.order_is_paid(who, "31,60 €")
    who.open(PAYMENT_PAGE)
    who.reads("Cette commande est déjà payée : rien ne sera débité une seconde fois.")
    assert baskets.paid_once(by="stripe")


def test_stripe_is_down(visit: Visit, stripe: StripeServer) -> None:
    baskets.fill_cart()
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    with stripe.server.down():
        who.press("Payer par carte")
        who.on("Choisissez votre moyen de paiement (4 produits)")
        expect(who.page.get_by_role("alert")).to_contain_text("Rien n’a été débité ; vos places restent gardées.")
    who.press("Payer par carte")
    who.on("Payer 31,60 €")
