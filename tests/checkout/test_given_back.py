"""What an order's page and its e-mails say of what came back: every cent of the price, and where it is."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, apply_message, cancel_bookings, start_top_up
from checkout.models import Order, Payment, ProviderEvent, Refund
from checkout.providers.base import Message, Outcome
from checkout.vouchers.models import Voucher
from portal.common.formats import long_date, today
from portal.outbox.models import Email
from tests.checkout.http import text
from tests.factories import regie
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]


def captured(order: Order) -> None:
    """The bank says that the card has paid."""
    payment = order.payments.get(status="started")
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="x")
    message = Message(payment.reference, Outcome.CAPTURED, payment.amount, "B1")
    apply_message(message=message, provider="demo", event=event)


def cancelled(shop: Shop, number: int, *, to_card: bool = False) -> None:
    """The first so many of the shop's bookings are given back by the family."""
    ids = Booking.objects.booked().order_by("period").values_list("pk", flat=True)[:number]
    cancel_bookings(ids=list(ids), by=shop.user, to_card=to_card)


def mail(start: str) -> str:
    return " ".join(Email.objects.filter(key__startswith=start).latest("pk").body.split())


def read(browse: Browse, shop: Shop, order: Order) -> str:
    return text(browse(shop).get(order.get_absolute_url()))


class TestVouchers:
    """31,60 € with ten percent and five euros off: 23,44 € were paid, 5,86 € for each of the four dates."""

    def bought(self, means: Means = Means.WALLET) -> tuple[Shop, Order]:
        shop = open_shop(credit="50" if means == Means.WALLET else "0")
        voucher(stackable=True)
        voucher("BIENVENUE", amount=5, stackable=True)
        order = order_with(shop, "RENTREE10", "BIENVENUE", total="23.44", means=means)
        if means == Means.CARD:
            captured(order)
        return shop, order

    def test_before_anything_is_cancelled(self, browse: Browse) -> None:
        shop, order = self.bought()
        assert "Une date annulée vous rend 5,86 € (bons déduits)." in read(browse, shop, order)
        assert "Une date annulée vous rend 5,86 € (bons déduits)." in mail("order:") and "prix revient" not in mail(
            "order:"
        )

    def test_the_part_of_the_vouchers_stands_between_price_and_what_came_back(self, browse: Browse) -> None:
        shop, order = self.bought()
        before = shop.balance
        cancelled(shop, 3)
        words = read(browse, shop, order)
        assert shop.balance - before == Decimal("17.58")
        assert "Total produits 23,70 € Part des bons de réduction −6,12 € Rendu 17,58 €" in words
        assert "Rendu à votre porte-monnaie 17,58 €" in words and "Payée 3 dates annulées" in words
        assert "Prix : 23,70 €, dont part des bons de réduction : 6,12 €, qui n’est pas rendue en argent." in mail(
            "cancel"
        )

    def test_the_page_of_cancelling_says_it_before(self, browse: Browse) -> None:
        shop, _order = self.bought()
        first = Booking.objects.booked().order_by("period")[0]
        words = text(browse(shop).get(f"/mon-compte/reservations/annuler/?r={first.pk}"))
        assert (
            "recevra aussitôt 5,86 €" in words and "en avaient payé 2,04 €, qui ne sont pas rendus en argent" in words
        )

    def test_a_part_leaves_the_vouchers_used_and_all_of_it_gives_them_back(self, browse: Browse) -> None:
        """On the page before, in the message, in the e-mail and on the order's page."""
        shop, order = self.bought()
        client, page = browse(shop), "/mon-compte/reservations/annuler/"
        ids = list(Booking.objects.booked().order_by("period").values_list("pk", flat=True))
        used = "Les bons RENTREE10 et BIENVENUE restent utilisés : une partie de leur commande est gardée."
        back = "Les bons RENTREE10 et BIENVENUE pourront resservir."
        assert used in text(client.get(page, {"r": ids[:3]}))
        assert used in text(client.post(page, {"r": ids[:3]}, follow=True)) and used in mail("cancel")
        assert used in read(browse, shop, order)
        assert back in text(client.get(page, {"r": ids[3:]}))
        assert back in text(client.post(page, {"r": ids[3:]}, follow=True)) and back in mail("cancel")
        words = read(browse, shop, order)
        assert "Les bons RENTREE10 et BIENVENUE vous ont été rendus, pour une autre commande." in words
        assert used not in words

    def test_a_voucher_out_of_date_does_not_come_back_in_words(self, browse: Browse) -> None:
        shop, _order = self.bought()
        Voucher.objects.filter(code="BIENVENUE").update(valid_until=today() - dt.timedelta(days=1))
        ids = list(Booking.objects.booked().values_list("pk", flat=True))
        words = text(browse(shop).get("/mon-compte/reservations/annuler/", {"r": ids}))
        assert "Le bon RENTREE10 pourra resservir." in words and "BIENVENUE" not in words

    def test_without_a_voucher_nothing_is_said_of_them(self, browse: Browse) -> None:
        shop = open_shop(credit="50")
        order = order_with(shop, total="31.60")
        cancelled(shop, 1)
        words = read(browse, shop, order)
        assert (
            "Part des bons" not in words and "Rendu 7,90 €" in words and "Rendu à votre porte-monnaie 7,90 €" in words
        )
        assert "bons de réduction" not in mail("cancel")


class TestCards:
    def by_card(self) -> tuple[Shop, Order, Refund]:
        shop = open_shop()
        order = order_with(shop, total="31.60", means=Means.CARD)
        captured(order)
        cancelled(shop, 3, to_card=True)
        return shop, order, Refund.objects.get()

    def test_a_refund_on_its_way_is_no_money_of_the_wallet(self, browse: Browse) -> None:
        regie(card_refunds=True)
        shop, order, _refund = self.by_card()
        words = read(browse, shop, order)
        # Nor does the e-mail lead there.
        assert "/mon-compte/commandes/" in mail("cancel") and "porte-monnaie" not in mail("cancel")
        assert f"Rendu sur votre carte 23,70 €, demandé le {long_date(today())} ; 3 à 10 jours" in words
        assert "Rendu à votre porte-monnaie" not in words and shop.balance == 0

    @pytest.mark.parametrize(
        "status, says, wallet",
        [
            ("done", "Rendu sur votre carte 23,70 €, fait le", False),
            ("failed", "Rendu sur votre carte impossible", True),
        ],
    )
    def test_what_became_of_it(self, status: str, says: str, wallet: bool, browse: Browse) -> None:
        regie(card_refunds=True)
        shop, order, _refund = self.by_card()
        Refund.objects.update(status=status, ended_at=timezone.now())
        words = read(browse, shop, order)
        assert says in words and ("Rendu à votre porte-monnaie 23,70 €" in words) == wallet

    def test_the_wallets_part_stands_alone_beside_it(self, browse: Browse) -> None:
        regie(card_refunds=True)
        shop = open_shop(credit="10")
        order = order_with(shop, total="31.60", means=Means.BOTH)
        captured(order)
        ids = list(Booking.objects.values_list("pk", flat=True))
        words = text(browse(shop).get("/mon-compte/reservations/annuler/", {"r": ids}))
        # Wherever it came from: it may have been cash at a counter.
        assert "Le reste, 10,00 €, va aussitôt dans votre porte-monnaie." in words
        cancelled(shop, 4, to_card=True)
        assert order.number in mail("cancel") and order.get_absolute_url() in mail("cancel")
        assert "/mon-compte/porte-monnaie/" in mail("cancel")
        words = read(browse, shop, order)
        assert "Rendu sur votre carte 21,60 €" in words and "Rendu à votre porte-monnaie 10,00 €" in words


def test_an_order_of_which_nothing_is_left_is_not_simply_paid(browse: Browse) -> None:
    shop = open_shop(credit="50")
    order = order_with(shop, total="31.60")
    cancelled(shop, 4)
    assert "Payée, puis annulée" in read(browse, shop, order)
    assert "Payée, puis annulée" in text(browse(shop).get("/mon-compte/commandes/"))


def test_a_custom_deposit_says_what_the_wallet_got(browse: Browse) -> None:
    shop = open_shop()
    order = start_top_up(user=shop.user, amount=Decimal("7.50"), shown_total=Decimal("7.51")).order
    captured(order)
    words = read(browse, shop, order)
    assert shop.balance == Decimal("7.50") and Payment.objects.get().amount == Decimal("7.51")
    assert "Votre porte-monnaie est crédité 7,50 €" in words and "Frais de montant personnalisé" in words
    assert "crédité de 7,50 €" in mail("order:")


def test_a_card_that_paid_twice_is_shown_twice(browse: Browse) -> None:
    shop = open_shop()
    order = order_with(shop, total="31.60", means=Means.CARD)
    second = Payment.objects.get()
    captured(order)
    second.pk, second.reference, second.status, second.ended_at = None, "S" * 20, "started", None
    second.save(force_insert=True)
    captured(order)
    words = read(browse, shop, order)
    assert shop.balance == Decimal("31.60")
    assert "Carte bancaire 31,60 € Carte bancaire 31,60 €, débités une seconde fois" in words
    assert "Rendu à votre porte-monnaie 31,60 €" in words


def test_the_page_costs_no_more_with_more_that_came_back(browse: Browse, at_most: Callable) -> None:
    shop = open_shop(credit="50")
    order = order_with(shop, total="31.60")
    client = browse(shop)
    with at_most(12):
        client.get(order.get_absolute_url())
    cancelled(shop, 4)
    with at_most(12):
        client.get(order.get_absolute_url())
