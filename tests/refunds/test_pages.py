"""Choosing where the money goes, and the operators' pages."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.models import Payment, Refund
from checkout.refunds.actions import refund_to_card
from checkout.refunds.models import new_refund_reference
from portal.demo.models import BankRefund
from portal.outbox.calls import make_due
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.concurrency.conftest import race
from tests.factories import agent_of, regie
from tests.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)
Order = Callable[..., Shop]
Browse = Callable[[Shop], Client]


def hidden(answer: Any, name: str) -> str:
    """What a hidden field of a page says."""
    page = answer.content.decode()
    return re.findall(rf'name="{name}" value="([^"]*)"', page)[0]


def first(shop: Shop) -> Booking:
    return Booking.objects.booked().filter(made_by=shop.user).order_by("period")[0]


def page_of(shop: Shop) -> str:
    return f"/mon-compte/reservations/annuler/?r={first(shop).pk}"


def test_the_family_chooses(by_card: Order, browse: Browse) -> None:
    shop = by_card()
    client = browse(shop)
    words = text(client.get(page_of(shop)))
    assert "Dans mon porte-monnaie : 7,90 €" in words and "Sur ma carte : 7,90 €" in words
    answer = client.post("/mon-compte/reservations/annuler/", {"r": first(shop).pk, "vers": "carte"}, follow=True)
    assert "7,90 € reviennent sur votre carte" in text(answer)
    order = Payment.objects.get().order
    words = text(client.get(order.get_absolute_url()))
    assert "Rendu sur votre carte 7,90 €, " in words and "Rendu à votre porte-monnaie" not in words
    wallet = text(client.get("/mon-compte/porte-monnaie/"))
    assert "Rendu à la carte, commande" in wallet and shop.balance == 0


@pytest.mark.parametrize("sent", [{}, {"vers": "porte-monnaie"}, {"vers": "²"}])
def test_the_wallet_is_what_happens_by_itself(by_card: Order, browse: Browse, sent: dict[str, str]) -> None:
    shop = by_card()
    browse(shop).post("/mon-compte/reservations/annuler/", {"r": first(shop).pk} | sent)
    assert shop.balance == Decimal("7.90") and not Refund.objects.exists()


def test_no_choice_where_it_is_not_open(by_card: Order, browse: Browse) -> None:
    regie(card_refunds=False)
    shop = by_card()
    client = browse(shop)
    assert "Sur ma carte" not in text(client.get(page_of(shop)))
    answer = client.post("/mon-compte/reservations/annuler/", {"r": first(shop).pk, "vers": "carte"}, follow=True)
    assert "n’est pas ouvert ici. Rien n’a été annulé" in text(answer) and Booking.objects.booked().count() == 4


def test_an_operator_sends_money_to_the_card(by_card: Order) -> None:
    shop = by_card(credit="20")
    payment, operator = Payment.objects.get(), client_of(agent_of())
    detail = reverse("admin:checkout_payment_change", args=[payment.pk])
    address = reverse("admin:checkout_refund_new", args=[payment.pk])
    assert address in operator.get(detail).content.decode()
    page = operator.get(address)
    assert "31,60" in text(page) and 'value="20,00"' in page.content.decode()
    for wrong, words in (
        ({"amount": "", "reason": "x"}, "Écrivez le montant à rendre"),
        ({"amount": "abc", "reason": "x"}, "en chiffres"),
        ({"amount": "32", "reason": "x"}, "peut rendre 31,60"),
        ({"amount": "25", "reason": "x"}, "ne contient pas assez"),
        ({"amount": "5", "reason": " "}, "Écrivez le motif"),
    ):
        assert words in text(operator.post(address, wrong)), wrong
    assert not Refund.objects.exists() and shop.balance == 20
    answer = operator.post(address, {"amount": "12,50", "reason": "Erreur"}, follow=True)
    assert "12,50 € repartent vers la carte" in text(answer) and shop.balance == Decimal("7.50")
    make_due()
    assert "Fait" in text(operator.get(reverse("admin:checkout_refund_change", args=[Refund.objects.get().pk])))


def test_a_page_sends_money_to_the_card_once(by_card: Order) -> None:
    shop = by_card(credit="20")
    payment, operator = Payment.objects.get(), client_of(agent_of())
    address = reverse("admin:checkout_refund_new", args=[payment.pk])
    (reference,) = re.findall(r'name="reference" value="([A-Z0-9]{20})"', operator.get(address).content.decode())
    sent = {"amount": "5,00", "reason": "Erreur", "reference": reference}
    answers = [operator.post(address, sent)["Location"] for _press in range(2)]
    assert answers[0] == answers[1] and shop.balance == 15
    assert "a déjà rendu 5,00 €" in text(operator.post(address, {**sent, "amount": "6"}))
    for again in (sent | {"reference": "x"}, {"amount": "5,00", "reason": "Erreur"}):  # from no page of ours
        operator.post(address, again)
    assert Refund.objects.count() == 3 and shop.balance == 5


def test_of_two_presses_at_once_one_sends(by_card: Order) -> None:
    shop = by_card(credit="20")
    payment, operator, reference = Payment.objects.get(), agent_of(), new_refund_reference()
    press = partial(refund_to_card, payment=payment, amount=Decimal(5), reason="x", by=operator, reference=reference)
    first, second = race([press] * 2)
    assert first == second == Refund.objects.get() and shop.balance == 15


def test_an_operator_reads_where_an_orders_money_is(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=[first(shop).pk], by=shop.user, to_card=True)
    payment, operator = Payment.objects.get(), client_of(agent_of())
    address = reverse("admin:checkout_order_change", args=[payment.order_id])
    words = text(operator.get(address))
    assert "Payée, 1 ligne annulée" in words and "7,90 € sur la carte (demandé)" in words
    assert "démonstration) 31,60 €" in words and " demo " not in words
    make_due()
    words = text(operator.get(reverse("admin:checkout_payment_change", args=[payment.pk])))
    assert "7,90 € à la carte ; reste 23,70 €" in words and "Rendu à la carte" in words
    ids = list(Booking.objects.booked().values_list("pk", flat=True))
    cancel_bookings(ids=ids, by=shop.user)
    words = text(operator.get(address))
    assert "Payée, puis annulée" in words and "7,90 € sur la carte (fait) et 23,70 € au porte-monnaie" in words


def test_an_operator_finds_a_payment_by_the_orders_number(by_card: Order) -> None:
    by_card()
    payment, operator = Payment.objects.get(), client_of(agent_of())
    address = reverse("admin:checkout_payment_changelist")
    assert "Numéro de commande" in text(operator.get(address))
    number = payment.order.number
    for sought, found in (
        (number, 1),
        (f" {number} ", 1),
        (payment.reference, 1),
        (payment.order.reference, 1),
        (f"2020-{payment.order_id:06d}", 0),
        ("2026-", 0),
        ("²-1", 0),
    ):
        assert operator.get(address, {"q": sought}).context["cl"].result_count == found, sought


def test_an_operator_gives_up(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=[first(shop).pk], by=shop.user, to_card=True)
    refund, operator = Refund.objects.get(), client_of(agent_of())
    address = reverse("admin:checkout_refund_give_up", args=[refund.pk])
    assert address in operator.get(reverse("admin:checkout_refund_change", args=[refund.pk])).content.decode()
    seen = {"seen": "requested"}
    assert "c’est la preuve" in text(operator.post(address, {"note": "", **seen}))
    answer = operator.post(address, {"note": "Carte résiliée", **seen}, follow=True)
    assert "de nouveau dans le porte-monnaie" in text(answer) and shop.balance == Decimal("7.90")
    assert "déjà dans le porte-monnaie" in text(operator.post(address, {"note": "encore", **seen}, follow=True))


def test_what_the_provider_did_while_the_page_stood_open_is_not_paid_twice(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=[first(shop).pk], by=shop.user, to_card=True)
    refund, operator = Refund.objects.get(), client_of(agent_of())
    address = reverse("admin:checkout_refund_give_up", args=[refund.pk])
    sent = {"note": "Le prestataire ne répond pas", "seen": hidden(operator.get(address), "seen")}
    assert sent["seen"] == "requested"
    make_due()
    assert Refund.objects.get().status == "done" and BankRefund.objects.get().amount == Decimal("7.90")
    assert "la personne a son argent" in text(operator.post(address, sent)) and shop.balance == 0
    page = operator.get(reverse("admin:checkout_refund_change", args=[refund.pk]))
    assert "Renvoyé par la banque…" in text(page)
    asked = operator.get(address)
    assert "que si la banque l’a renvoyée depuis" in text(asked)
    operator.post(address, {"note": "Carte résiliée", "seen": hidden(asked, "seen")})
    assert Refund.objects.get().status == "failed" and shop.balance == Decimal("7.90")


def test_who_may(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=[first(shop).pk], by=shop.user, to_card=True)
    pages = [
        reverse("admin:checkout_refund_new", args=[Payment.objects.get().pk]),
        reverse("admin:checkout_refund_give_up", args=[Refund.objects.get().pk]),
    ]
    for user in (shop.user, agent_of(shop.activity.service.commune)):
        for address in pages:
            for ask in (client_of(user).get, client_of(user).post):
                assert ask(address).status_code == 404, (user, address)


def test_staff_cancel_to_the_card(by_card: Order) -> None:
    shop = by_card()
    operator = client_of(agent_of())
    data = {"action": "cancel_selected", "_selected_action": [first(shop).pk]}
    address = reverse("admin:bookings_booking_changelist")
    asked = text(operator.post(address, data))
    assert asked.count("7,90 €") == 1 and "la case plus bas l’y renvoie" in asked
    page = reverse("admin:checkout_payment_change", args=[Payment.objects.get().pk])
    before = text(operator.get(page))
    assert "Rien n’a été rendu." in before and "Rendu à la carte" not in before
    assert str(Payment.objects.get().order) in before and str(Payment.objects.get().order).startswith("Commande 20")
    answer = operator.post(address, data | {"confirm": "1", "reason": "Grève", "to_card": "on"}, follow=True)
    assert "1 réservation annulée. 7,90 € repartent vers la carte de qui a payé." in text(answer) and shop.balance == 0
    assert "porte-monnaie de qui a payé" not in text(answer) and "0,00" not in text(answer).partition("repartent")[0]
    assert "Rendu à la carte" in text(operator.get(page))
    mairie = client_of(agent_of(shop.activity.service.commune))
    assert "plus bas" not in text(mairie.post(address, data | {"_selected_action": [first(shop).pk]}))
