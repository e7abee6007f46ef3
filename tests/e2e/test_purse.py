"""The money of a family: wallet, credits taken back, papers, a cancelled order, a cart that ran out, as four readers see them."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone
from playwright.sync_api import Page

from accounts.models import Commune, User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, pay
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means as AtCounter
from checkout.models import Order, OrderLine
from checkout.papers.receipts import issue_receipt
from families.models import Beneficiary
from tests.e2e import baskets
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.e2e.watch import Looks
from wallet.withdrawals.models import Withdrawal

Visit = Callable[..., Visitor]
both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
WALLET = "/mon-compte/porte-monnaie/"
PAPERS = "/mon-compte/factures/"
# A word of a cell that is broken after each letter: the cell is narrower than a few of them.
NARROW = """() => [...document.querySelectorAll("main :is(tbody, tfoot) :is(td, th)")]
    .filter((cell) => cell.offsetParent && cell.innerText.trim().length > 6 && cell.offsetWidth < 70)
    .map((cell) => `${cell.innerText} (${cell.offsetWidth} px)`)"""


def bought(count: int = 4) -> Order:
    """Louane's mornings, paid from the wallet: 31,60 € of its 50,00 €."""
    baskets.fill_cart(count)
    user = baskets.parent()
    cart = user.carts.get(status="open")
    return pay(user=user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("7.90") * count).order


def at_the_counter() -> None:
    take_top_up(
        user=baskets.parent(),
        amount=Decimal(30),
        paper=Paper(AtCounter.CASH, "Q-2026-901"),
        commune=Commune.objects.get(name="Aiguilhe"),
        by=User.objects.get(email="agglo@demo.example"),
    )


@contextmanager
def cared_for_this_year() -> Iterator[None]:
    """The mornings were in this year's past, for a child of four; afterwards they are what they were."""

    def move(dates: dict[int, dt.date | None]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for pk, date in dates.items():
                OrderLine.objects.filter(pk=pk).update(date=date)

    year = timezone.localdate().year
    Beneficiary.objects.filter(pk=baskets.louane().pk).update(birth_date=dt.date(year - 4, 5, 10))
    kept = dict(OrderLine.objects.filter(order__user=baskets.parent()).values_list("pk", "date"))
    move(dict.fromkeys(kept, dt.date(year, 1, 1)))
    try:
        yield
    finally:
        move(kept)


def is_readable(page: Page) -> None:
    """On the narrowest phone no cell is a column of letters."""
    before = page.viewport_size
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate(NARROW) == []
    assert before is not None
    page.set_viewport_size(before)


@both_ways
def test_credits_are_taken_back(visit: Visit, javascript: bool) -> None:
    """Back and reloading show the page that was there, the IBAN stands in no address, two presses ask once."""
    who = visit(user=PARENT, javascript=javascript, width=390)
    who.looks = Looks() if javascript else None
    who.open(WALLET)
    who.on("Mon porte-monnaie")
    who.follow("Demander un remboursement")
    who.on("Reprendre mes crédits")
    who.write("IBAN", "FR76 3000 6000 0112 3456 7890 188")
    who.press("Vérifier ma demande")
    who.reads("Cet IBAN n’est pas juste")
    who.write("IBAN", "fr76 3000 6000 0112 3456 7890 189")
    who.write("Montant à reprendre, en euros", "20")
    who.press("Vérifier ma demande")
    who.on("Vérifiez votre demande")
    who.reads("20,00\u00a0€", "FR76 3000 6000 0112 3456 7890 189")
    assert "3000" not in who.page.url
    who.page.reload()
    who.on("Vérifiez votre demande")
    who.follow("Corriger")
    who.on("Reprendre mes crédits")
    who.page.go_back()
    who.on("Vérifiez votre demande")
    who.page.get_by_role("button", name="Envoyer ma demande").dblclick()
    who.on("Mon porte-monnaie")
    who.reads("FR76 … 0189\u00a0: en attente d’accord")
    who.page.go_back()
    who.on(re.compile("Mon porte-monnaie|Reprendre mes crédits|Vérifiez votre demande"))
    assert baskets.balance() == 30 and Withdrawal.objects.count() == 1
    who.open(f"{WALLET}remboursement/verifier/")
    who.on("Mon porte-monnaie")
    who.reads("Une demande de remboursement est déjà en cours.")
    who.press("Retirer ma demande")
    who.reads("Demande retirée")
    assert baskets.balance() == 50
    if who.looks is not None:
        who.looks.assert_fine()


def test_every_page_of_the_purse(visit: Visit) -> None:
    order = bought()
    at_the_counter()
    issue_receipt(order=order)
    cancel_bookings(ids=[Booking.objects.booked().filter(made_by=order.user).earliest("pk").pk], by=order.user)
    who, looks = visit(user=PARENT), Looks()
    who.looks = looks
    for address, title in (
        (f"{WALLET}?mois=2026-13", "Mon porte-monnaie"),
        (f"{WALLET}depot/?montant=7,50", "Vérifiez votre dépôt"),
        (PAPERS, "Mes factures et attestations"),
        ("/mon-compte/commandes/", "Mes commandes"),
        (order.get_absolute_url(), re.compile("Commande")),
        ("/mon-compte/bons-de-reduction/", "Mes bons de réduction"),
    ):
        who.open(address)
        who.on(title)
        is_readable(who.page)
    who.open(WALLET)
    who.reads("Dépôt au guichet d’Aiguilhe, espèces, quittance n°\u00a0Q-2026-901")
    who.open(PAPERS)
    who.reads(f"Commande {order.number}\u00a0: {baskets.mercredis().name}")
    looks.assert_fine()


def test_certificates(visit: Visit) -> None:
    bought()
    year = timezone.localdate().year
    with cared_for_this_year():
        who, looks = visit(user=PARENT), Looks()
        who.looks = looks
        for name, title, amount in (
            ("reglements", "Attestation de règlements", "31,60"),
            ("frais-de-garde", "Attestation fiscale de frais de garde", "31,60"),
        ):
            who.open(f"{PAPERS}attestation/{name}/{year}/")
            who.on(title)
            who.reads(amount)
            is_readable(who.page)
        looks.assert_fine()


def test_a_cart_that_ran_out(visit: Visit) -> None:
    baskets.fill_cart(3)
    baskets.let_the_time_run_out(swept=True)
    who, looks = visit(user=PARENT), Looks()
    for address in ("/panier/", "/commande/recapitulatif/", "/"):
        who.open(address)
        looks.at(who.page)
        is_readable(who.page)
    looks.assert_fine()
