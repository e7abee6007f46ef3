"""What a parent reads around a payment: bank, wallet, conditions, orders that went another way than planned."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pgtrigger
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Address, Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, apply_message, cancel_bookings, choose_address, start_top_up
from checkout.models import CartLine, Order, Payment, ProviderEvent
from checkout.providers.base import Message, Outcome
from checkout.providers.demo import sign, verify
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from portal.outbox.models import Email
from services.models import OpenDay
from tests.checkout.http import form, page, text
from tests.factories import (
    AddressFactory,
    TermsFactory,
    agent_of,
)
from tests.shop import Shop, family, open_shop
from wallet.models import TopUpPack

pytestmark = pytest.mark.django_db


def back(payment: Payment) -> str:
    return f"/paiement/demo/retour/{payment.reference}/"


class TestBank:
    def start(self, client: Client, shop: Shop) -> tuple[Payment, dict[str, str]]:
        shop.add()
        cart = shop.answer_steps()
        response = client.post("/commande/paiement/", {"cart": cart.pk, "total": "31.60", "means": "card"})
        fields = verify(dict(parse_qsl(urlsplit(response["Location"]).query)))
        return Payment.objects.get(), fields

    def statement(self, payment: Payment, outcome: str = "captured", **changes: str) -> dict[str, str]:
        return sign({"reference": payment.reference, "outcome": outcome, "amount": str(payment.amount)} | changes)

    def test_the_browser_comes_back_paid(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, fields = self.start(client, shop)
        assert fields["amount"] == "31.60" and fields["return_url"].endswith(back(payment))
        response = client.get(back(payment), self.statement(payment))
        order = Order.objects.get()
        assert response["Location"] == order.get_absolute_url() and order.status == "paid"

    @pytest.mark.parametrize("outcome, words", [("refused", "a refusé"), ("abandoned", "abandonné")])
    def test_the_browser_comes_back_unpaid(self, browse: Callable[[Shop], Client], outcome: str, words: str) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, _fields = self.start(client, shop)
        response = client.get(back(payment), self.statement(payment, outcome), follow=True)
        assert words in text(response) and "Rien n’a été débité" in text(response)
        assert response.redirect_chain[-1][0] == "/commande/paiement/" and shop.fresh().taken == 1

    def test_a_forged_return_is_never_a_payment(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, _fields = self.start(client, shop)
        forged = self.statement(payment, "refused") | {"outcome": "captured"}
        response = client.get(back(payment), forged, follow=True)
        assert "rien n’est perdu" in text(response) and Order.objects.get().status == "pending"

    def test_a_smaller_amount_is_never_a_payment(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, _fields = self.start(client, shop)
        client.post("/paiement/demo/notification/", self.statement(payment, amount="0.01"))
        assert Order.objects.get().status == "pending"

    def test_an_unknown_provider_is_not_there(self, client: Client) -> None:
        assert client.post("/paiement/stripe/notification/").status_code == 404
        assert client.get("/paiement/demo/notification/").status_code == 405

    def test_the_bank_charges_a_reference_once(self, browse: Callable[[Shop], Client], client: Client) -> None:
        shop = open_shop()
        shopper = browse(shop)
        shop.add()
        cart = shop.answer_steps()
        location = shopper.post("/commande/paiement/", {"cart": cart.pk, "total": "31.60", "means": "card"})["Location"]
        path = location.removeprefix("http://127.0.0.1:8000")
        first = client.post(path, {"outcome": "captured", "notification": "never"})
        again = client.post(path, {"outcome": "refused", "notification": "never"})
        assert "outcome=captured" in first["Location"] and "outcome=captured" in again["Location"]
        reference = Payment.objects.get().reference
        assert client.get(f"/demo/banque/etat/{reference}/").json()["outcome"] == "captured"
        assert client.get("/demo/banque/etat/UNKNOWN/").status_code == 404
        assert client.get("/demo/banque/?reference=x&signature=y").status_code == 404

    def test_a_refused_deposit_says_so_and_leads_on(self, browse: Callable[[Shop], Client]) -> None:
        """Everywhere else than one that was given up: `Commande abandonnée` would be nobody's doing."""
        shop = open_shop()
        TopUpPack.objects.get_or_create(amount=Decimal("5.00"))
        client = browse(shop)
        order = start_top_up(user=shop.user, amount=Decimal("5"), shown_total=Decimal("5")).order
        payment = order.payments.get()
        response = client.get(back(payment), self.statement(payment, "refused"), follow=True)
        page = text(response)
        assert "La banque a refusé le paiement" in page and "bandonnée" not in page and "Rien n’a été débité" in page
        assert 'href="/mon-compte/porte-monnaie/depot/?montant=5.00"' in response.content.decode()
        again = text(client.get("/mon-compte/porte-monnaie/depot/?montant=5.00"))
        assert "Payer 5,00" in again and "Frais" not in again
        assert "Refusée par la banque" in text(client.get("/mon-compte/commandes/"))
        other = start_top_up(user=shop.user, amount=Decimal("5"), shown_total=Decimal("5")).order
        client.post(f"/commande/{other.reference}/abandonner/")
        assert "Commande abandonnée" in text(client.get(other.get_absolute_url()))
        assert "Recommencer ce dépôt" in text(client.get(other.get_absolute_url()))


class TestWallet:
    def test_a_pack_goes_straight_to_the_bank(self, browse: Callable[[Shop], Client]) -> None:
        TopUpPack.objects.create(amount=Decimal("25.00"))
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"pack": "25.00"})
        assert response["Location"].startswith("http://127.0.0.1:8000/demo/banque/")

    def test_the_fee_of_a_custom_amount_is_said_before_paying(self, browse: Callable[[Shop], Client]) -> None:
        client = browse(open_shop())
        client.post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "30"})
        assert not Order.objects.exists()
        client.post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "30.00", "shown": "30.01"})
        assert Order.objects.get().total == Decimal("30.01")

    def test_an_amount_alone_is_a_custom_amount(self, browse: Callable[[Shop], Client]) -> None:
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"amount": "30"}, follow=True)
        assert "30,01 €" in text(response)

    def test_what_the_hidden_amount_holds_is_no_error_of_a_pack(self, browse: Callable[[Shop], Client]) -> None:
        TopUpPack.objects.create(amount=Decimal("25.00"))
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"pack": "25.00", "amount": "abc"})
        assert response.status_code == 302 and Order.objects.get().total == 25

    @pytest.mark.parametrize(
        "sent, words",
        [
            ({"pack": ""}, "Choisissez un pack"),
            ({"pack": "custom"}, "Écrivez le montant à créditer"),
            ({"amount": "abc"}, "Écrivez le montant en chiffres"),
            ({"pack": "²"}, "Ce pack n’existe pas"),
        ],
    )
    def test_one_fault_is_said_once(self, browse: Callable[[Shop], Client], sent: dict[str, str], words: str) -> None:
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", sent)
        assert response.status_code == 422 and not Order.objects.exists()
        assert response.content.decode().count('<div class="err"') == 1 and words in text(response)

    @pytest.mark.parametrize("amount", ["", "abc", "0", "501", "30,505", "²"])
    def test_a_deposit_that_no_form_of_ours_names_leads_to_the_wallet(
        self, browse: Callable[[Shop], Client], amount: str
    ) -> None:
        response = browse(open_shop()).get("/mon-compte/porte-monnaie/depot/", {"montant": amount})
        assert response["Location"] == "/mon-compte/porte-monnaie/"

    @pytest.mark.parametrize(
        "amount, words",
        [("abc", "Écrivez le montant en chiffres"), ("9999999", "500,00 €"), ("", "Écrivez le montant")],
    )
    def test_and_the_wallet_says_why(self, browse: Callable[[Shop], Client], amount: str, words: str) -> None:
        page = browse(open_shop()).get("/mon-compte/porte-monnaie/depot/", {"montant": amount}, follow=True)
        assert words in text(page)

    def test_a_deposit_can_be_given_up(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        order = start_top_up(user=shop.user, amount=Decimal("30"), shown_total=Decimal("30.01")).order
        client = browse(shop)
        assert "Abandonner ce dépôt" in text(client.get(order.get_absolute_url()))
        response = client.post(f"/commande/{order.reference}/abandonner/", follow=True)
        assert "Le dépôt est abandonné" in text(response)
        order.refresh_from_db()
        assert order.status == "cancelled"


class TestWords:
    """What a parent reads when a payment went another way than planned."""

    def test_places_that_were_gone_are_not_confirmed(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1, capacity=1)
        shop.add()
        order = shop.pay(Means.CARD, "7.90").order
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        family(shop.tariff, days=shop.days).add()
        payment = Payment.objects.get(order=order)
        event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
        message = Message(payment.reference, Outcome.CAPTURED, payment.amount)
        apply_message(message=message, provider="demo", event=event)
        words = text(browse(shop).get(order.get_absolute_url()))
        assert "Une place n’était plus libre" in words and "réservations confirmées" not in words
        mail = Email.objects.get(key=f"order:{order.pk}:paid")
        assert "la somme est dans votre porte-monnaie" in mail.subject and "confirmées" not in mail.body
        assert "places qui n’étaient plus libres" in text(browse(shop).get("/mon-compte/porte-monnaie/"))

    def test_the_mail_says_what_was_bought_once_and_how_it_was_paid(self) -> None:
        shop = open_shop(days=3, children=2, credit="50")
        shop.add()
        shop.pay(Means.WALLET, "47.40")
        body = Email.objects.get(key__startswith="order:").body
        assert body.count(shop.activity.name) == 1 and "6 × 7,90 € = 47,40 €" in body
        assert "(porte-monnaie : 47,40 €)" in body and "peut être annulée jusqu’à sa limite" in body

    def test_what_was_cancelled_since_is_not_announced_as_confirmed(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add()
        order = shop.pay(Means.WALLET, "15.80").order
        client = browse(shop)
        assert "réservations confirmées" in text(client.get(order.get_absolute_url()))
        first, second = Booking.objects.order_by("pk")
        cancel_bookings(ids=[first.pk], by=shop.user)
        assert "réservations confirmées" not in text(client.get(order.get_absolute_url()))
        assert "1 date annulée" in text(client.get("/mon-compte/commandes/"))
        cancel_bookings(ids=[second.pk], by=shop.user)
        assert "Payée, puis annulée" in text(client.get("/mon-compte/commandes/"))
        # Going back to the question says that it is answered.
        page = client.get("/mon-compte/reservations/annuler/", {"r": first.pk}, follow=True)
        assert "elles l’ont déjà été" in text(page)

    def test_the_wallets_part_of_an_open_try_is_counted(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=2, credit="10")
        shop.add()
        shop.pay(Means.BOTH, "15.80")
        client = browse(shop)
        words = text(client.get("/commande/paiement/"))
        assert "Les 10,00 € de votre porte-monnaie, puis 5,80 € par carte." in words
        assert "10,00 € sont déjà réservés pour cette commande" in words
        assert "10,00 € de votre porte-monnaie sont réservés" in text(client.get("/panier/"))

    def test_a_payment_page_of_nobodys_making(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        shop.add()
        shop.answer_steps()
        words = text(browse(shop).post("/commande/paiement/", {"means": "wallet"}, follow=True))
        assert "Cette page n’était plus à jour" in words and "Renseignez" not in words

    def test_anothers_address_is_refused_in_one_sentence(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        shop.add()
        shop.answer_steps()
        words = text(browse(shop).post("/commande/adresse/", {"address": AddressFactory().pk}, follow=True))
        assert "n’est pas une des vôtres" in words and "Renseignez" not in words

    def test_a_child_sent_twice_is_booked_once(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        child = shop.children[0].pk
        assert browse(shop).post(page(shop), form(shop, people=[child, child]))["Location"] == "/panier/"
        assert CartLine.objects.count() == 1

    def test_a_child_of_a_filiation_that_ended_is_not_paid_for(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1, credit="10")
        shop.add()
        cart = shop.answer_steps()
        Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
        data = {"cart": cart.pk, "total": "7.90", "means": "wallet"}
        words = text(browse(shop).post("/commande/paiement/", data, follow=True))
        assert "ne fait plus partie de vos filiations" in words and shop.balance == 10

    def test_an_order_keeps_the_answers_that_it_was_placed_with(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        shop.add()
        order = shop.pay(Means.CARD, "7.90").order
        client, before = browse(shop), Address.objects.count()
        new = {"label": "", "line1": "3 rue des Lilas", "postal_code": "43800", "city": "Rosières"}
        for data in ({"address": AddressFactory(user=shop.user).pk}, new):
            words = text(client.post("/commande/adresse/", data, follow=True))
            assert "Une commande attend son règlement" in words
        assert Address.objects.count() == before + 1  # the second was not even kept
        with pytest.raises(Refused, match="attend son règlement"):
            choose_address(user=shop.user, address=AddressFactory(user=shop.user))
        assert "attend son règlement" in text(client.get("/commande/conditions/", follow=True))
        order.refresh_from_db()
        assert order.cart is not None and str(order.cart.address) == order.billing_address

    @pytest.mark.parametrize(
        "outcome, words",
        [
            (None, "La banque ne nous a pas encore confirmé de paiement."),
            ("refused", "La banque a refusé le dernier paiement : rien n’a été débité."),
            ("abandoned", "Le dernier paiement n’est pas allé à son terme"),
        ],
    )
    def test_a_waiting_order_says_how_the_last_try_ended(
        self, browse: Callable[[Shop], Client], outcome: str | None, words: str
    ) -> None:
        shop = open_shop(days=1)
        shop.add()
        order = shop.pay(Means.CARD, "7.90").order
        if outcome:
            payment = order.payments.get()
            event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
            message = Message(payment.reference, Outcome(outcome), payment.amount)
            apply_message(message=message, provider="demo", event=event)
        client = browse(shop)
        for address in ("/panier/", "/commande/paiement/"):
            assert words in text(client.get(address)), address


class TestConditions:
    def test_the_version_that_was_read_is_the_one_accepted(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        shop.add()
        shop.answer_steps()
        client, read = browse(shop), Terms.objects.get()
        newer = TermsFactory(version="2026-12", published_at=timezone.now())
        response = client.post("/commande/conditions/", {"accept": "on", "terms": read.pk})
        assert response.status_code == 422 and "lisez la nouvelle version" in text(response)
        assert shop.cart.terms == read and f'value="{newer.pk}"' in response.content.decode()
        assert "checked" not in response.content.decode()
        # Neither is an order paid under the old one: the payment leads back to the conditions.
        response = client.post("/commande/paiement/", {"cart": shop.cart.pk, "total": "7.90", "means": "card"})
        assert response["Location"] == "/commande/conditions/"
        client.post("/commande/conditions/", {"accept": "on", "terms": newer.pk})
        assert shop.cart.terms == newer

    def test_before_any_is_published_nothing_can_be_ordered(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        shop.add()
        AddressFactory(user=shop.user)
        choose_address(user=shop.user, address=AddressFactory(user=shop.user))
        response = browse(shop).get("/commande/conditions/")
        assert response.status_code == 409 and "ne sont pas encore publiées" in text(response)


class TestAbandoned:
    def test_an_order_whose_time_is_over_leads_back_to_its_cart(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1, credit="10")
        shop.add()
        shop.pay(Means.CARD, "7.90")
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        client = browse(shop)
        page = client.get("/panier/")
        assert (
            "Le délai de votre commande est passé" in text(page) and "/commande/paiement/" not in page.content.decode()
        )
        assert "terminez-le, ou abandonnez-le" in text(client.post("/panier/reprendre/", follow=True))
        client.post(f"/commande/{Order.objects.get().reference}/abandonner/")
        assert "Vos places sont de nouveau gardées" in text(client.post("/panier/reprendre/", follow=True))


@pytest.mark.django_db
def test_a_payment_captured_under_another_number_alarms_operators() -> None:
    """The signed form of a bank may be sent from two tabs: the second debit is in no book of ours."""
    shop, operator = open_shop(), agent_of()
    shop.add()
    shop.pay(Means.CARD, "31.60")
    payment = Payment.objects.get()
    said = []
    for number in ("111/1", "111/1", "222/2", "222/2"):
        event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
        apply_message(
            message=Message(payment.reference, Outcome.CAPTURED, payment.amount, number), provider="demo", event=event
        )
        said.append((event.outcome, event.note))
    assert said[:2] == [("applied", ""), ("repeated", "")] and said[2] == ("rejected", "captured again, as 222/2")
    letter = Email.objects.get(key__contains=":again:")
    assert letter.to == operator.email and "222/2 au lieu de 111/1" in letter.body
    assert Order.objects.get().status == "paid" and shop.balance == 0


@pytest.mark.django_db
def test_a_word_of_the_bank_that_comes_after_the_day_books_nothing() -> None:
    """Law 1: what cannot be given any more is in the wallet; nobody pays for yesterday's meal."""
    shop = open_shop(days=1)
    shop.add()
    shop.pay(Means.CARD, "7.90")
    payment = Payment.objects.get()
    Hold.objects.update(expires_at=timezone.now() - dt.timedelta(hours=1))
    release_expired_holds()
    with pgtrigger.ignore():
        over = timezone.now() - dt.timedelta(days=1)
        Booking.objects.update(period=(over, over + dt.timedelta(hours=1)))
        Order.objects.update(created_at=timezone.now() - dt.timedelta(days=3))
        OpenDay.objects.update(date=today() - dt.timedelta(days=1), book_until=timezone.now() - dt.timedelta(days=2))
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="{}")
    apply_message(
        message=Message(payment.reference, Outcome.CAPTURED, payment.amount, "B"), provider="demo", event=event
    )
    assert Booking.objects.get().status == "expired" and shop.balance == Decimal("7.90")


def test_the_year_of_an_orders_number_turns_with_paris() -> None:
    at = dt.datetime(2027, 1, 1, 0, 30, tzinfo=PARIS).astimezone(dt.UTC)
    assert Order(pk=7, created_at=at).number == "2027-000007"
