"""Orders that went another way than planned: the same words in « Mes commandes », on their page and in the e-mail."""

import datetime as dt
from collections.abc import Callable, Collection
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, cancel_bookings
from checkout.models import Order
from checkout.papers.models import Document, Kind
from checkout.papers.receipts import issue_refund_note
from checkout.verification import verify
from portal.common.formats import dated, long_date
from portal.outbox.models import Email
from services.models import OpenDay
from tests.checkout.http import text
from tests.checkout.test_given_back import captured, mail, read
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher
from wallet.models import Movement

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]
ORDERS = "/mon-compte/commandes/"


def late(shop: Shop) -> Order:
    """An order for all days by a card of which nothing was heard in time: its places are no longer kept."""
    order = order_with(shop, total=str(Decimal("7.90") * len(shop.days)), means=Means.CARD)
    Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
    release_expired_holds()
    return order


def full(days: Collection[OpenDay]) -> None:
    OpenDay.objects.filter(pk__in=[day.pk for day in days]).update(capacity=0)


def listed(browse: Browse, shop: Shop) -> str:
    return text(browse(shop).get(ORDERS))


class TestLost:
    def test_an_order_of_which_nothing_was_free_is_given_back_everywhere(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        order = late(shop)
        full(shop.days)
        captured(order)
        page = browse(shop).get(order.get_absolute_url())
        for words in (text(page), listed(browse, shop)):
            assert "Payée, puis rendue" in words and "puis annulée" not in words
        assert f"{shop.activity} : choisir d’autres dates, ou attendre une place" in text(page)
        assert f'href="{shop.activity.get_absolute_url()}"' in page.content.decode()
        assert list(verify()) == []

    def test_its_e_mail_begins_with_what_happened(self) -> None:
        shop = open_shop(days=1)
        order = late(shop)
        full(shop.days)
        captured(order)
        body = mail("order:")
        told = "rien n’est réservé, et la somme payée, 7,90 €, est dans votre porte-monnaie."
        assert told in body and body.index(told) < body.index(shop.activity.name)
        assert "D’autres dates, ou attendre qu’une place se libère" in body and reverse("subscriptions") in body

    def test_a_part_is_in_the_subject_and_no_date_that_was_cancelled(self, browse: Browse) -> None:
        shop = open_shop(days=3)
        order = late(shop)
        full(shop.days[:1])
        captured(order)
        subject = Email.objects.get(key=f"order:{order.pk}:paid").subject
        assert subject == f"Commande {order.number} payée, une partie n’était plus libre"
        for words in (read(browse, shop, order), listed(browse, shop)):
            assert "Payée 1 place rendue" in words and "annulée" not in words.replace("peut être annulée", "")
        cancel_bookings(ids=[Booking.objects.booked().earliest("pk").pk], by=shop.user)
        for words in (read(browse, shop, order), listed(browse, shop)):
            assert "Payée 1 place rendue 1 date annulée" in words
        cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
        for words in (read(browse, shop, order), listed(browse, shop)):
            assert "Payée, puis annulée 1 place rendue" in words

    def test_nobody_is_said_to_have_taken_a_day_that_was_closed(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        order = late(shop)
        full(shop.days[1:])
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Neige")
        captured(order)
        words = read(browse, shop, order)
        assert f"Fermé depuis : {dated(shop.days[0].date)}." in words and "avaient été prises" not in words

    def test_in_the_wallet_it_is_no_payment_of_an_order(self, browse: Browse) -> None:
        """Its movement stays that of the order; what the owner reads, filters and downloads says what it was."""
        shop = open_shop(days=4, credit="50")
        shop.days, others = shop.days[:2], shop.days[2:]
        order_with(shop, total="15.80")
        shop.days = others
        order = late(shop)
        full(shop.days[:1])
        captured(order)
        client, page = browse(shop), "/mon-compte/porte-monnaie/"
        file = client.get(f"{page}mouvements.csv").content.decode()
        assert "Règlement reçu trop tard, porté au porte-monnaie" in file and file.count("Règlement de commande") == 1
        of_late = text(client.get(page, {"nature": "late_payment"}))
        of_orders = text(client.get(page, {"nature": "order"}))
        assert "places qui n’étaient plus libres" in of_late and "−15,80 €" not in of_late
        assert "places qui n’étaient plus libres" not in of_orders and "−15,80 €" in of_orders


class TestWaiting:
    def test_places_no_longer_kept_are_said_in_the_list_and_on_the_page(self, browse: Browse) -> None:
        shop = open_shop(days=1)
        order = order_with(shop, total="7.90", means=Means.CARD)
        assert "plus gardées" not in listed(browse, shop) + read(browse, shop, order)
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        assert "En attente de règlement Des places n’y sont plus gardées" in listed(browse, shop)
        assert "Des places de cette commande ne sont plus gardées" in read(browse, shop, order)

    def test_before_the_sweep_the_cart_says_one_thing(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        order_with(shop, total="15.80", means=Means.CARD)
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=30))
        for _sweep in range(2):
            words = text(browse(shop).get("/panier/"))
            assert "Vos places ne sont plus gardées" in words and "encore gardées" not in words
            assert words.count("Places à reprendre") == 1 and "15,80 €" in words
            Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
            release_expired_holds()


def test_an_order_leads_to_the_note_of_what_came_back(browse: Browse) -> None:
    shop = open_shop(days=2, credit="50")
    order = order_with(shop, total="15.80")
    cancel_bookings(ids=[Booking.objects.earliest("pk").pk], by=shop.user)
    movement = Movement.objects.latest("pk")
    assert "Note de remboursement" not in read(browse, shop, order)
    note = issue_refund_note(movement=movement)
    assert note is not None
    page = browse(shop).get(order.get_absolute_url())
    assert f"Note de remboursement {note.reference} (PDF)" in text(page)
    assert f'href="{note.get_absolute_url()}"' in page.content.decode()
    assert Document.objects.get(kind=Kind.REFUND) == note


def test_what_a_date_gives_back_reads_as_a_sentence(browse: Browse) -> None:
    """A cent more or less, where the voucher's do not share out evenly."""
    shop = open_shop(days=3, credit="50")
    voucher(amount=5)
    order = order_with(shop, "RENTREE10", total="18.70")
    for words in (read(browse, shop, order), mail("order:")):
        assert "Une date annulée vous rend 6,23 € ou 6,24 € (bons déduits)." in words


def test_a_movement_says_whose_date_of_which_year_came_back() -> None:
    shop = open_shop(days=1, children=2, credit="50")
    order_with(shop, total="15.80")
    for booking in Booking.objects.order_by("pk"):
        cancel_bookings(ids=[booking.pk], by=shop.user)
    date = shop.days[0].date
    assert [row.label for row in Movement.objects.filter(kind="cancellation").order_by("pk")] == [
        f"Annulation\u00a0: {shop.activity}, {long_date(date)} ({child.first_name})" for child in shop.children
    ]
