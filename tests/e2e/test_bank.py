"""The demonstration's bank and its moods, over real HTTP: refused, abandoned, silent, late, doubled, forged.

Whatever the bank and the browser do, the order is paid once, or its money is in the wallet, or nothing was debited; and
the page says which.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from checkout.models import GIVE_UP_AFTER, Payment, ProviderEvent
from checkout.providers.demo import sign
from checkout.tasks import reconcile_payments
from portal.demo.bank import statement
from portal.demo.models import BankPayment, Mail
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.steps import Visitor
from tests.e2e.worker import Worker

Visit = Callable[..., Visitor]

NOTIFICATION = "Notification de la banque à la plateforme"
AT_ONCE, LATE, TWICE, NEVER = "tout de suite", "30 secondes plus tard", "deux fois", "jamais"


def at_the_bank(visit: Visit, dates: int = 4, amount: str = "31,60 €") -> Visitor:
    """The parent in front of the bank's page."""
    baskets.fill_cart(dates)
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.press("Payer par carte")
    who.on(f"Payer {amount}")
    return who


def pay(who: Visitor, notification: str = AT_ONCE, *, come_back: bool = True, button: str = "Payer") -> None:
    who.pick(NOTIFICATION, notification)
    if not come_back:
        who.tick("Fermer le navigateur : ne pas revenir sur la plateforme")
    who.press(button)
    if not come_back:
        who.on("Le navigateur ne revient pas")


def open_order(who: Visitor) -> None:
    order = baskets.orders().get()
    who.open(order.get_absolute_url())
    who.on(f"Commande {order.number}")


def two_minutes_later() -> None:
    """The payment is old enough for the task that asks the bank."""
    past = timezone.now() - dt.timedelta(minutes=3)
    Payment.objects.filter(order__user=baskets.parent()).update(created_at=past)


def outcomes() -> Counter[str]:
    return Counter(ProviderEvent.objects.values_list("outcome", flat=True))


def subjects() -> list[str]:
    return list(Mail.objects.filter(to=PARENT).order_by("pk").values_list("subject", flat=True))


def post(who: Visitor, fields: Mapping[str, str]) -> int:
    """What anybody may send to the address of the notifications."""
    return who.page.request.post("/paiement/demo/notification/", form=dict(fields)).status


# --- No ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "button, sentence",
    [
        ("Refuser le paiement", "La banque a refusé le paiement. Rien n’a été débité."),
        ("Abandonner", "Vous avez abandonné le paiement. Rien n’a été débité."),
    ],
)
@pytest.mark.parametrize("then", ["Payer avec mon porte-monnaie", "Payer par carte"])
def test_refused_or_abandoned_then_paid(visit: Visit, worker: Worker, button: str, sentence: str, then: str) -> None:
    who = at_the_bank(visit)
    pay(who, button=button)
    who.on("Choisissez votre moyen de paiement (4 produits)")
    expect(who.page.get_by_role("alert")).to_have_text(sentence)
    assert worker.deliver_notifications() == [200]
    assert (baskets.booked(), baskets.balance()) == (0, Decimal("50.00"))
    who.press(then)
    if then == "Payer par carte":
        pay(who)
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo" if then == "Payer par carte" else "wallet")


def test_a_refused_card_gives_the_wallets_part_back(visit: Visit) -> None:
    """Seven mornings, 55,30 €: 50,00 € of the wallet and 5,30 € by card."""
    baskets.fill_cart(7)
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.press("Utiliser mon porte-monnaie et payer 5,30 € par carte")
    who.on("Payer 5,30 €")
    assert baskets.balance() == 0
    pay(who, button="Refuser le paiement")
    who.on("Choisissez votre moyen de paiement (7 produits)")
    assert (baskets.balance(), baskets.booked()) == (Decimal("50.00"), 0)
    who.press("Utiliser mon porte-monnaie et payer 5,30 € par carte")
    pay(who)
    steps.order_is_paid(who, "55,30 €")
    assert (baskets.balance(), baskets.booked()) == (0, 7)


# --- The browser that does not come back ---------------------------------------------------------------------------


def test_paid_and_the_browser_never_returns(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, come_back=False)
    who.open("/panier/")
    who.on("Mon panier")
    who.reads("Cette commande attend son règlement")
    open_order(who)
    who.reads("En attente de règlement")
    assert worker.deliver_notifications() == [200]
    who.follow("Actualiser")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")


def test_the_waiting_page_changes_when_the_notification_arrives(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, come_back=False)
    who.page.clock.install()
    open_order(who)
    who.reads("En attente de règlement", "Cette page change d’elle-même quand le paiement arrive")
    assert worker.deliver_notifications() == [200]
    who.page.clock.fast_forward(6_000)  # it asks every five seconds
    steps.order_is_paid(who, "31,60 €")


def test_the_notification_overtakes_the_browser(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, come_back=False)
    assert worker.deliver_notifications() == [200]
    paid = BankPayment.objects.get()
    who.open(f"{paid.return_url}?{urlencode(statement(paid))}")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")
    assert outcomes() == {"applied": 1, "repeated": 1}


# --- The notification: doubled, late, missing ----------------------------------------------------------------------


def test_the_notification_comes_twice(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, TWICE)
    steps.order_is_paid(who, "31,60 €")
    assert worker.deliver_notifications() == [200, 200]
    worker.send_the_mail()
    assert baskets.paid_once(by="demo")
    assert outcomes() == {"applied": 1, "repeated": 2}
    assert len([subject for subject in subjects() if subject.endswith("est payée")]) == 1


def test_the_notification_comes_late(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, LATE)
    steps.order_is_paid(who, "31,60 €")
    assert [seconds for _payment, seconds in worker.notifications] == [30]
    assert worker.deliver_notifications() == [200]
    assert baskets.paid_once(by="demo")


def test_giving_up_what_the_bank_has_already_paid(visit: Visit, worker: Worker) -> None:
    """The notification is late: the bank is asked, and nobody pays for an order that is given up."""
    who = at_the_bank(visit)
    pay(who, LATE, come_back=False)
    who.open("/panier/")
    who.press("Abandonner le règlement et modifier le panier")
    who.reads("La banque vient de confirmer votre paiement : la commande est payée.")
    steps.order_is_paid(who, "31,60 €")
    assert worker.deliver_notifications() == [200]
    worker.send_the_mail()
    steps.wallet_holds(who, "50,00 €")
    assert baskets.paid_once(by="demo") and baskets.booked() == 4


def test_the_notification_comes_when_a_place_is_gone(visit: Visit, worker: Worker) -> None:
    """Three mornings are booked, and the price of the fourth is in the wallet."""
    days = baskets.fill_cart()
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.press("Payer par carte")
    who.on("Payer 31,60 €")
    pay(who, LATE, come_back=False)
    baskets.let_the_time_run_out(swept=True)
    baskets.others_take(days[1])
    assert worker.deliver_notifications() == [200]
    worker.send_the_mail()
    assert (baskets.booked(), baskets.balance()) == (3, Decimal("57.90"))
    open_order(who)
    expect(who.page.get_by_role("main")).to_contain_text("Rendu à votre porte-monnaie")
    steps.open_mail(who, "payée, une partie n’était plus libre", PARENT)
    who.reads("Cette place n’était plus libre quand votre règlement est arrivé")
    steps.wallet_holds(who, "57,90 €")


def test_no_notification_and_no_return_the_task_asks_the_bank(visit: Visit, worker: Worker) -> None:
    who = at_the_bank(visit)
    pay(who, NEVER, come_back=False)
    assert worker.notifications == []
    assert reconcile_payments() == 0, "the bank is given two minutes"
    two_minutes_later()
    assert reconcile_payments() == 1
    assert reconcile_payments() == 0
    open_order(who)
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")


def test_a_refusal_that_nobody_told_the_task_asks_the_bank(visit: Visit) -> None:
    who = at_the_bank(visit)
    pay(who, NEVER, come_back=False, button="Refuser le paiement")
    two_minutes_later()
    assert reconcile_payments() == 1
    open_order(who)
    who.reads("Aucun paiement n’a abouti, rien n’a été débité.")
    who.follow("Revenir au panier")
    who.follow("Choisir un moyen de paiement")
    who.press("Payer avec mon porte-monnaie")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once()


def test_a_payment_that_the_bank_never_hears_of_is_given_up_in_the_end(visit: Visit) -> None:
    """The window was closed in front of the bank's page, before anything was chosen there."""
    who = at_the_bank(visit)
    two_minutes_later()
    assert reconcile_payments() == 0
    assert baskets.payments() == [("demo", "started")]
    Payment.objects.update(created_at=timezone.now() - GIVE_UP_AFTER - dt.timedelta(minutes=1))
    assert reconcile_payments() == 1
    assert baskets.payments() == [("demo", "abandoned")]
    # Should the window still be there, and its owner pay after all, the order is paid and nothing is lost.
    who.press("Payer")
    who.on(re.compile("^Commande "))
    steps.paid(who)
    assert baskets.paid_once(by="demo")


# --- Forged --------------------------------------------------------------------------------------------------------


def test_forged_notifications_change_nothing(visit: Visit) -> None:
    who = at_the_bank(visit)
    pay(who, NEVER, come_back=False, button="Refuser le paiement")
    refused = statement(BankPayment.objects.get())
    assert post(who, {**refused, "outcome": "captured"}) == 400
    assert post(who, {**refused, "amount": "0.01"}) == 400
    assert post(who, {**refused, "signature": "é"}) == 400
    assert post(who, {**refused, "signature": ""}) == 400
    assert post(who, {}) == 400
    assert outcomes() == {"rejected": 5}
    assert baskets.payments() == [("demo", "started")]


def test_the_banks_own_signature_under_another_amount_or_payment_changes_nothing(visit: Visit) -> None:
    """A signed statement that does not fit: kept for the operators, never applied."""
    who = at_the_bank(visit)
    pay(who, NEVER, come_back=False)
    fields = statement(BankPayment.objects.get())
    del fields["signature"]
    post(who, sign({**fields, "amount": "0.01"}))
    post(who, sign({**fields, "reference": "INCONNUE"}))
    assert outcomes() == {"rejected": 2}
    assert baskets.payments() == [("demo", "started")]


def test_a_forged_return_is_answered_in_a_sentence(visit: Visit) -> None:
    who = at_the_bank(visit)
    reference = Payment.objects.get(status="started").reference
    who.open(f"/paiement/demo/retour/{reference}/?reference={reference}&outcome=captured&amount=31.60&signature=0")
    who.on("Mes commandes")
    expect(who.page.get_by_role("alert")).to_contain_text("Nous n’avons pas pu lire la réponse de la banque.")
    assert baskets.payments() == [("demo", "started")]


def test_the_banks_page_cannot_be_opened_with_another_price(visit: Visit) -> None:
    who = at_the_bank(visit)
    answer = who.page.goto(who.page.url.replace("31.60", "0.01"))
    assert answer is not None and answer.status == 404
