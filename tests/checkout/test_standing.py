"""Orders that went another way than planned: the same words in « Mes commandes », on their page and in the e-mail."""

import datetime as dt
import json
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, abandon_order, apply_message, cancel_bookings, remove_lines, start_top_up
from checkout.actions.completion import end_payment
from checkout.given_back import elsewhere, paid_each
from checkout.models import Order, OrderLine, Payment, ProviderEvent
from checkout.papers.models import Document, Kind
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.providers.base import Message, Outcome
from checkout.verification import verify
from checkout.vouchers.actions import enter_code
from portal.common.formats import dated, long_date
from portal.outbox.models import Email
from services.models import Activity, OpenDay
from tests.checkout.http import text
from tests.checkout.test_given_back import captured, mail, read
from tests.factories import EntriesFactory, TariffFactory
from tests.papers.reading import plain
from tests.papers.reading import words as words_of
from tests.shop import Shop, open_shop
from tests.tickets.kiosk import kiosk, take
from tests.vouchers.making import order_with, voucher
from wallet.actions import adjust
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


def told(payment: Payment) -> None:
    """The bank confirms, whatever became of the payment meanwhile."""
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="x")
    message = Message(payment.reference, Outcome.CAPTURED, payment.amount, "B7")
    apply_message(message=message, provider="demo", event=event)


def full(days: Collection[OpenDay]) -> None:
    OpenDay.objects.filter(pk__in=[day.pk for day in days]).update(capacity=0)


def receipt(order: Order) -> str:
    order.refresh_from_db()
    return words_of(issue_receipt(order=order))


def read_by(plan: dict[str, Any]) -> int:
    """How many rows the widest step of a plan has read."""
    return max(plan["Actual Rows"] * plan["Actual Loops"], *map(read_by, plan.get("Plans", [])), 0)


def loops(plan: dict[str, Any], table: str) -> int:
    """How often a plan has gone to a table."""
    here = plan["Actual Loops"] if plan.get("Relation Name") == table else 0
    return here + sum(loops(step, table) for step in plan.get("Plans", []))


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

    def test_nobody_is_led_to_what_is_no_longer_offered(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        order = late(shop)
        full(shop.days)
        captured(order)
        Activity.objects.filter(pk=shop.activity.pk).update(is_active=False)
        assert "choisir d’autres dates" not in read(browse, shop, order)

    def test_where_else_to_go_is_found_by_ones_own_places(self, browse: Browse) -> None:
        """An order of which a date and a ticket were lost, beside 60 days and 240 bookings of others."""
        shop = open_shop(days=60, children=4, credit="5000")
        order_with(shop, total="1896.00")
        lost = [OrderLine(booking=Booking.objects.earliest("pk")), OrderLine(ticket_id=1)]
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE bookings_booking, services_openday, services_activity, bookings_ticket")
            with CaptureQueriesContext(connection) as asked:
                assert elsewhere(lost) == [shop.activity]
            for other in ("seqscan", "hashjoin", "mergejoin"):  # so few rows are read whole: can its indexes serve it?
                cursor.execute(f"SET LOCAL enable_{other} = off")
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + asked[0]["sql"])
            ((found,),) = cursor.fetchall()
        (plan,) = found if isinstance(found, list) else json.loads(found)
        assert read_by(plan["Plan"]) < 20

    def test_its_e_mail_begins_with_what_happened(self) -> None:
        shop = open_shop(days=1)
        order = late(shop)
        full(shop.days)
        captured(order)
        body = mail("order:")
        told = "rien n’est réservé, et la somme payée, 7,90 €, est dans votre porte-monnaie."
        assert told in body and body.index(told) < body.index(shop.activity.name)
        assert "D’autres dates, ou attendre qu’une place se libère" in body and reverse("subscriptions") not in body
        assert shop.activity.get_absolute_url() in body
        assert "Cette place n’était plus libre" in body and "La somme payée pour elle, 7,90 €" in body

    @pytest.mark.parametrize(
        "number, says, pronoun",
        [(1, "Une place n’était plus libre", "elle"), (2, "Des places n’étaient plus libres", "elles")],
    )
    def test_one_place_is_not_spoken_of_as_several(self, number: int, says: str, pronoun: str, browse: Browse) -> None:
        shop = open_shop(days=3)
        order = late(shop)
        full(shop.days[:number])
        captured(order)
        words = read(browse, shop, order)
        assert says in words and f"payée pour {pronoun}," in words and f"payée pour {pronoun}," in mail("order:")

    def test_the_receipt_marks_what_was_no_longer_free(self) -> None:
        shop = open_shop(days=2)
        order = late(shop)
        full(shop.days[:1])
        captured(order)
        words = receipt(order)
        assert words.count(plain("plus libre, voir plus bas")) == 1 and plain("Total payé : 15,80 €") in words

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


class TestVouchersOfLost:
    """What vouchers had paid is not given back in money; each voice says what became of the voucher itself."""

    @pytest.mark.parametrize(
        "gone, says",
        [
            (2, "Le bon RENTREE10 vous a été rendu, pour une autre commande."),
            (1, "Le bon RENTREE10 reste utilisé : une partie de sa commande est gardée."),
        ],
    )
    def test_the_page_the_mail_and_the_receipt_say_it(self, gone: int, says: str, browse: Browse) -> None:
        shop = open_shop(days=2)
        voucher()
        order = order_with(shop, "RENTREE10", total="14.22", means=Means.CARD)
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        full(shop.days[:gone])
        captured(order)
        paper = receipt(order)
        assert says in read(browse, shop, order) and says in mail("order:") and plain(says) in paper
        assert plain("qui n’est pas rendu en argent") in paper and "non rendu" not in paper

    def test_the_note_of_the_last_date_says_it(self) -> None:
        shop = open_shop(days=2, credit="50")
        voucher()
        order_with(shop, "RENTREE10", total="14.22")
        for says in ("Le bon RENTREE10 reste utilisé", "Le bon RENTREE10 vous a été rendu, pour une autre commande."):
            cancel_bookings(ids=[Booking.objects.booked().earliest("pk").pk], by=shop.user)
            note = issue_refund_note(movement=Movement.objects.latest("pk"))
            assert note is not None
            words = words_of(note)
            assert plain(says) in words and plain("qui n’est pas rendu en argent : 0,79 €") in words

    def test_a_lost_place_without_a_voucher_of_its_own_says_nothing(self, browse: Browse) -> None:
        shop = open_shop(days=1)
        order = late(shop)
        full(shop.days)
        captured(order)
        for words in (read(browse, shop, order), mail("order:"), receipt(order)):
            assert "Le bon" not in words


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


class TestPaidTooLate:
    """The money is in the wallet: the order's page and « Mes commandes » say so, and lead there and to what is to be had again."""

    WALLET, CART = 'href="/mon-compte/porte-monnaie/"', 'href="/panier/"'

    def pages(self, browse: Browse, shop: Shop, order: Order) -> list[str]:
        client = browse(shop)
        return [
            client.get(address).content.decode().partition("<main")[2].replace("\u00a0", " ")
            for address in (order.get_absolute_url(), ORDERS)
        ]

    def test_an_order_that_was_abandoned(self, browse: Browse) -> None:
        shop = open_shop(days=1)
        order = order_with(shop, total="7.90", means=Means.CARD)
        payment = order.payments.get()
        abandon_order(user=shop.user, order=order)
        for page in self.pages(browse, shop, order):
            assert self.CART in page and "Voir mon porte-monnaie" not in page
        told(payment)
        for page in self.pages(browse, shop, order):
            assert "7,90 € portés au porte-monnaie" in page and self.WALLET in page and self.CART in page
        remove_lines(user=shop.user, ids=[shop.cart.lines.get().pk])
        for page in self.pages(browse, shop, order):
            assert "Voir mon panier" not in page and self.WALLET in page

    def test_a_deposit(self, browse: Browse) -> None:
        shop = open_shop(days=0)
        order = start_top_up(user=shop.user, amount=Decimal(10), shown_total=Decimal("10.01")).order
        payment = order.payments.get()
        abandon_order(user=shop.user, order=order)
        for page in self.pages(browse, shop, order):
            assert self.WALLET in page and "portés" not in page
        assert "Recommencer ce dépôt" in self.pages(browse, shop, order)[0]
        told(payment)
        for page in self.pages(browse, shop, order):
            assert "10,01 € portés au porte-monnaie" in page and self.WALLET in page

    def test_an_order_that_was_paid_twice(self, browse: Browse) -> None:
        shop = open_shop(days=1, credit="20")
        order = order_with(shop, total="7.90", means=Means.CARD)
        payment = order.payments.get()
        shop.pay(Means.WALLET, "7.90")
        told(payment)
        for page in self.pages(browse, shop, order):
            assert "7,90 € portés au porte-monnaie" in page and self.WALLET in page and "Voir mon panier" not in page
        assert "débitée une seconde fois" in self.pages(browse, shop, order)[0]


def test_an_order_that_still_waits_says_where_its_late_money_is(browse: Browse) -> None:
    """The wallet's part was spent meanwhile: the card's money pays no order, and is not « nothing taken »."""
    shop = open_shop(credit="10")
    shop.add()
    order = shop.pay(Means.BOTH, "31.60").order
    card = Payment.objects.get(provider="demo")
    end_payment(payment_id=card.pk, status=Payment.Status.ABANDONED)
    adjust(user=shop.user, amount=Decimal(-10), reason="Dépensé", key="t:spent", by=shop.user)
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="x")
    apply_message(message=Message(card.reference, Outcome.CAPTURED, card.amount, "B1"), provider="demo", event=event)
    assert Order.objects.get(pk=order.pk).status == "pending" and shop.balance == Decimal("21.60")
    said = text(browse(shop).get(order.get_absolute_url()))
    assert (
        "Votre carte a été débitée trop tard" in said
        and "est dans votre porte-monnaie. La commande reste à payer." in said
    )
    assert "rien n’a été débité" not in said and "Voir mon porte-monnaie" in said
    assert "21,60 € portés au porte-monnaie" in text(browse(shop).get("/mon-compte/commandes/"))


def test_late_money_is_read_once_an_order_and_not_once_a_line(browse: Browse) -> None:
    shop = open_shop(days=10, children=4, credit="500")
    order_with(shop, total="316.00")
    with connection.cursor() as cursor:
        with CaptureQueriesContext(connection) as asked:
            browse(shop).get(ORDERS)
        (page,) = [query["sql"] for query in asked if '"credited"' in query["sql"]]  # they are counted without
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + page)
        ((found,),) = cursor.fetchall()
    (plan,) = found if isinstance(found, list) else json.loads(found)
    assert loops(plan["Plan"], "checkout_payment") <= 3  # its late money, its refusal, and what a planner shares out


def test_an_order_of_tickets_is_no_booking(browse: Browse) -> None:
    shop = kiosk()
    take(shop, quantity=2)
    shop.pay(Means.WALLET, "11.00")
    assert "E-billets Payée" in listed(browse, shop) and "Réservation Payée" not in listed(browse, shop)
    other = open_shop(days=1, credit="50")
    other.add()
    tariff = TariffFactory(
        slot=EntriesFactory(activity__service=other.activity.service),
        profile=other.tariff.profile,
        price=Decimal("5.50"),
    )
    take(Shop(tariff, other.user, other.children, other.subscription))
    other.pay(Means.WALLET, "13.40")
    assert "Réservations et e-billets Payée" in listed(browse, other)


def test_a_page_that_waits_promises_to_change_by_itself_only_where_it_does(browse: Browse) -> None:
    """site.js shows the sentence, and asks; without it the page names its button."""
    shop = open_shop(days=1)
    order = order_with(shop, total="7.90", means=Means.CARD)
    page = browse(shop).get(order.get_absolute_url()).content.decode()
    assert "<span data-await-says hidden>Cette page change d’elle-même" in page
    assert "<noscript>«&nbsp;Actualiser&nbsp;» dit si le paiement est arrivé.</noscript>" in page


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


def test_what_a_date_gives_back_is_said_by_product_and_of_tickets_too(browse: Browse) -> None:
    """« Between 2,75 € and 3,95 € » would tell nobody which date gives what."""
    shop = open_shop(days=2, credit="50")
    voucher("MOITIE", percent=Decimal(50))
    shop.add()
    entry = EntriesFactory(activity__service=shop.activity.service)
    tariff = TariffFactory(slot=entry, profile=shop.tariff.profile, price=Decimal("5.50"))
    take(Shop(tariff, shop.user, shop.children, shop.subscription))
    enter_code(user=shop.user, code="MOITIE")
    order = shop.pay(Means.WALLET, "10.65").order
    says = (
        f"Une annulation vous rend, bons déduits : 3,95 € par date de « {shop.activity}, {shop.slot} » et "
        f"2,75 € par e-billet « {entry.activity}, {entry} »."
    )
    for words in (read(browse, shop, order), mail("order:")):
        assert plain(says) in plain(words)


def test_what_a_date_gives_back_is_said_by_price_where_one_product_has_several() -> None:
    def line(price: str, paid: str) -> OrderLine:
        discount = Decimal(price) - Decimal(paid)
        return OrderLine(
            kind="booking", label="Mercredis", detail="Matin", unit_price=Decimal(price), discount=discount
        )

    assert plain(paid_each([line("7.90", "3.95"), line("6.00", "3.00")])) == (
        "Une annulation vous rend, bons déduits : 3,95 € par date de « Mercredis, Matin » à 7,90 € et "
        "3,00 € par date de « Mercredis, Matin » à 6,00 €."
    )
    assert paid_each([line("7.90", "0.00")]) == "" == paid_each([line("7.90", "7.90")])


def test_a_movement_says_whose_date_of_which_year_came_back() -> None:
    shop = open_shop(days=1, children=2, credit="50")
    order_with(shop, total="15.80")
    for booking in Booking.objects.order_by("pk"):
        cancel_bookings(ids=[booking.pk], by=shop.user)
    date = shop.days[0].date
    assert [row.label for row in Movement.objects.filter(kind="cancellation").order_by("pk")] == [
        f"Annulation\u00a0: {shop.activity}, {long_date(date)} ({child.first_name})" for child in shop.children
    ]
