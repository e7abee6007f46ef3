"""The pages over HTTP: what they cost, what they say to bad input, who may see what."""

import datetime as dt
import html
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, apply_message, cancel_bookings, choose_address, start_top_up
from checkout.models import Cart, CartLine, Order, Payment, ProviderEvent
from checkout.providers.base import Message, Outcome
from checkout.providers.demo import sign, verify
from checkout.verification import verify as verify_books
from portal.outbox.models import Email
from services.models import OpenDay
from tests.factories import (
    AddressFactory,
    BeneficiaryFactory,
    FiliationFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
    UserFactory,
)
from tests.shop import Shop, family, open_shop
from wallet.models import TopUpPack

pytestmark = pytest.mark.django_db
MaxQueries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture
def at_most() -> MaxQueries:
    """At most so many statements; the savepoints by which a test undoes itself are not counted."""

    @contextmanager
    def limit(number: int) -> Iterator[None]:
        with CaptureQueriesContext(connection) as context:
            yield
        statements = [row["sql"] for row in context.captured_queries if "SAVEPOINT" not in row["sql"]]
        assert len(statements) <= number, "\n".join(
            [f"{len(statements)} > {number}", *(sql[:120] for sql in statements)]
        )

    return limit


@pytest.fixture
def browse() -> Callable[[Shop], Client]:
    def signed_in(shop: Shop) -> Client:
        client = Client()
        client.force_login(shop.user)
        client.get("/")  # the session's first write of the minute is not the page's cost
        return client

    return signed_in


def text(response: Any) -> str:
    """What a person reads: without tags, spaces folded."""
    body = re.sub(r"<(script|style|svg).*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(body).split())


def page(shop: Shop) -> str:
    return shop.activity.get_absolute_url()


def form(shop: Shop, **changes: Any) -> dict[str, Any]:
    return {
        "slot": shop.slot.pk,
        "people": [child.pk for child in shop.children],
        "dates": [day.date.isoformat() for day in shop.days],
    } | changes


ADDRESS = {"label": "Domicile", "line1": "1 rue Haute", "postal_code": "43000", "city": "Le Puy-en-Velay"}


def follow(client: Client, address: str) -> str:
    """Open a page as the browser of a person does, going along where it leads; returns where it ended."""
    response = client.get(address)
    while response.status_code == 302:
        address = response["Location"]
        response = client.get(address)
    assert response.status_code == 200
    return address


def steps(client: Client) -> None:
    """From the cart to 05 Paiement over HTTP, page by page."""
    follow(client, "/panier/")
    follow(client, "/commande/recapitulatif/")
    at = follow(client, "/commande/connexion/")
    if at == "/commande/adresse/":
        at = client.post(at, ADDRESS)["Location"]
        follow(client, at)
    read = client.get(at).context["terms"]
    at = client.post(at, {"accept": "on", "terms": read.pk})["Location"]
    assert follow(client, at) == "/commande/paiement/"


class TestCost:
    """Constant SQL, whether 4 dates or 300, 1 child or 6 (issue 2, section 7)."""

    @pytest.mark.parametrize("days, children", [(4, 1), (300, 6)])
    def test_activity_page(
        self,
        browse: Callable[[Shop], Client],
        at_most: MaxQueries,
        days: int,
        children: int,
    ) -> None:
        shop = open_shop(days=days, children=children)
        client = browse(shop)
        for _situation in range(3):
            SubscriptionFactory(user=shop.user, profile=TariffFactory(slot=shop.slot).profile)
        with at_most(12):
            assert client.get(page(shop)).status_code == 200

    @pytest.mark.parametrize(
        "days, children, known", [(4, 1, False), (4, 1, True), (300, 1, True), (140, 2, True), (46, 6, True)]
    )
    def test_whole_journey(
        self,
        browse: Callable[[Shop], Client],
        at_most: MaxQueries,
        days: int,
        children: int,
        known: bool,
    ) -> None:
        """Every page of it, on the first order, which asks for the address, and on those after it."""
        shop = open_shop(days=days, children=children, credit="5000", price="3.80")
        TermsFactory(kind=Terms.Kind.SALE)
        if known:
            AddressFactory(user=shop.user, is_default=True)
        client = browse(shop)
        total = Decimal("3.80") * days * children
        with at_most(80):
            client.get(shop.activity.service.get_absolute_url())
            client.get(page(shop))
            with at_most(15):
                assert client.post(page(shop), form(shop)).status_code == 302
            steps(client)
            cart = Cart.objects.get(user=shop.user)
            with at_most(25):
                paid = client.post("/commande/paiement/", {"cart": cart.pk, "total": str(total), "means": "wallet"})
            assert client.get(paid["Location"]).status_code == 200
        assert Order.objects.get().status == "paid" and Booking.objects.booked().count() == days * children

    @pytest.mark.parametrize("days", [2, 60])
    @pytest.mark.parametrize(
        "address, most",
        [
            ("/", 5),
            ("/panier/", 8),
            ("/mon-compte/reservations/", 10),
            ("/mon-compte/commandes/", 9),
            ("/mon-compte/porte-monnaie/", 9),
        ],
    )
    def test_a_page_does_not_cost_more_with_more_in_it(
        self,
        browse: Callable[[Shop], Client],
        at_most: MaxQueries,
        address: str,
        most: int,
        days: int,
    ) -> None:
        shop = open_shop(days=days, credit="5000")
        shop.add()
        shop.pay(means_wallet(), Decimal("7.90") * days)
        client = browse(shop)
        with at_most(most):
            assert client.get(address).status_code == 200

    def test_catalogue(self, at_most: MaxQueries) -> None:
        shop = open_shop()
        with at_most(5):
            assert Client().get(shop.activity.service.category.get_absolute_url()).status_code == 200
        with at_most(6):
            assert Client().get(shop.activity.service.get_absolute_url()).status_code == 200


def means_wallet() -> Any:
    from checkout.actions import Means

    return Means.WALLET


class TestActivityPage:
    def test_says_who_when_and_how_much(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=2)
        response = browse(shop).get(page(shop))
        assert re.search(rf"{shop.children[0]} \( ?7,90 € ?\)", text(response))
        body = response.content.decode()
        from portal.common.formats import long_date

        for day in shop.days:
            assert f'aria-label="{long_date(day.date)}' in body

    def test_days_that_cannot_be_chosen_say_why(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=5)
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Travaux dans la cuisine")
        OpenDay.objects.filter(pk=shop.days[1].pk).update(book_until=timezone.now() - dt.timedelta(hours=1))
        OpenDay.objects.filter(pk=shop.days[2].pk).update(capacity=1)
        family(shop.tariff, days=[shop.days[2]]).add()
        shop.add(days=[shop.days[3]])
        words = text(browse(shop).get(page(shop)))
        for reason in (
            "Travaux dans la cuisine",
            "délai passé",
            "complet",
            f"dans le panier : {shop.children[0].first_name}",
        ):
            assert reason in words
        assert f"{shop.days[0].date.day} (Travaux dans la cuisine)" in words

    def test_quick_choice_ticks_and_writes_nothing(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=21)
        weekday = shop.days[0].date.isoweekday()
        response = browse(shop).post(page(shop), form(shop, dates=[], pick=str(weekday)))
        ticked = set(re.findall(r'value="(\d{4}-\d\d-\d\d)"[^>]* checked', response.content.decode()))
        assert ticked == {d.date.isoformat() for d in shop.days if d.date.isoweekday() == weekday}
        assert "23,70 €" in text(response) and not Booking.objects.exists()

    def test_a_second_press_takes_the_choice_back(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=7)
        response = browse(shop).post(page(shop), form(shop, pick=str(shop.days[0].date.isoweekday())))
        assert response.content.decode().count(" checked") >= 6
        assert f'value="{shop.days[0].date}" aria-label' in response.content.decode()
        assert "Quantité 6" in text(response)

    def test_the_other_situation_has_its_own_prices(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        cheap = TariffFactory(slot=shop.slot, price=Decimal("2.00"))
        access = SubscriptionFactory(user=shop.user, profile=cheap.profile)
        client = browse(shop)
        assert "2,00 €" in text(client.post(page(shop), form(shop, profile=access.pk, pick="show")))
        client.post(page(shop), form(shop, profile=access.pk))
        assert set(CartLine.objects.values_list("unit_price", flat=True)) == {Decimal("2.00")}

    def test_without_access_it_leads_to_the_service(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        stranger = UserFactory()
        client = Client()
        client.force_login(stranger)
        assert client.get(page(shop))["Location"] == shop.activity.service.get_absolute_url()

    @pytest.mark.parametrize("field", ["activity", "service"])
    def test_what_is_closed_to_the_public_is_not_there(self, browse: Callable[[Shop], Client], field: str) -> None:
        shop = open_shop()
        target = shop.activity if field == "activity" else shop.activity.service
        target.is_active = False
        target.save()
        assert browse(shop).get(page(shop)).status_code == 404


class TestBadInput:
    """Each gets a French sentence; nothing is written, nothing breaks."""

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"dates": []}, "Choisissez au moins une date"),
            ({"dates": ["2026-13-45"]}, "Une des dates n’est pas lisible"),
            ({"dates": ["mercredi"]}, "Une des dates n’est pas lisible"),
            ({"dates": ["1999-01-01"]}, "pas de service ce jour-là"),
            ({"dates": [f"2027-01-{d:02}T{h:02}" for d in range(1, 29) for h in range(20)]}, "400 dates au plus"),
            ({"people": []}, "Choisissez au moins un bénéficiaire"),
            ({"people": ["999999"]}, "ne fait pas partie de vos filiations"),
            ({"people": ["'; DROP TABLE"]}, "ne fait pas partie de vos filiations"),
            ({"slot": ""}, "Choisissez un type de prestation"),
            ({"slot": "999999"}, "n’est pas proposé ici"),
            ({"slot": "-1 OR 1=1"}, "n’est pas proposé ici"),
        ],
    )
    def test_booking(self, browse: Callable[[Shop], Client], changes: dict[str, Any], words: str) -> None:
        shop = open_shop()
        response = browse(shop).post(page(shop), form(shop, **changes))
        assert response.status_code in {409, 422} and words in text(response)
        assert not Booking.objects.exists()

    def test_another_familys_child(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        other = FiliationFactory().beneficiary
        response = browse(shop).post(page(shop), form(shop, people=[other.pk]))
        assert response.status_code == 422 and not Booking.objects.exists()

    def test_a_price_or_quantity_from_the_browser_counts_for_nothing(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        browse(shop).post(page(shop), form(shop, price="0.01", unit_price="0.01", quantity="1", total="0.01"))
        assert CartLine.objects.get().unit_price == Decimal("7.90")

    def test_two_hundred_dates_at_once(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=200, children=2)
        assert browse(shop).post(page(shop), form(shop))["Location"] == "/panier/"
        assert CartLine.objects.count() == 400

    def test_more_boxes_than_a_request_may_hold(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1)
        response = browse(shop).post(page(shop), form(shop, dates=["2026-12-09"] * 5001))
        assert response.status_code == 400 and "plus de cases que le serveur n’en lit" in text(response)

    @pytest.mark.parametrize(
        "changes",
        [
            {"cart": "x"},
            {"cart": "99999999999999999999"},
            {"total": "abc"},
            {"total": "NaN"},
            {"means": "gold"},
            {"means": ""},
            {"total": "0.01"},
            {"cart": "0"},
        ],
    )
    def test_payment(self, browse: Callable[[Shop], Client], changes: dict[str, str]) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        cart = shop.answer_steps()
        client = browse(shop)
        data = {"cart": cart.pk, "total": "7.90", "means": "wallet"} | changes
        response = client.post("/commande/paiement/", data, follow=True)
        assert response.status_code in {200, 422} and not Order.objects.exists() and shop.balance == 50

    def test_anothers_cart_cannot_be_paid(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        cart = shop.answer_steps()
        other = family(shop.tariff, credit="50")
        browse(other).post("/commande/paiement/", {"cart": cart.pk, "total": "7.90", "means": "wallet"})
        assert not Order.objects.exists() and other.balance == 50

    @pytest.mark.parametrize("lines", [[], ["x"], ["99999999999999999999999"], ["1", "-1"]])
    def test_removing(self, browse: Callable[[Shop], Client], lines: list[str]) -> None:
        shop = open_shop()
        shop.add()
        assert browse(shop).post("/panier/retirer/", {"line": lines}).status_code == 302

    def test_removing_nothing_says_what_to_do(self, browse: Callable[[Shop], Client]) -> None:
        assert "Cochez d’abord les dates à retirer." in text(browse(open_shop()).post("/panier/retirer/", follow=True))

    @pytest.mark.parametrize("rows", ["", "r=x", "r=99999999999999999999999", "r=-4"])
    def test_cancelling(self, browse: Callable[[Shop], Client], rows: str) -> None:
        client = browse(open_shop())
        assert client.get(f"/mon-compte/reservations/annuler/?{rows}").status_code in {302, 404}
        assert client.post("/mon-compte/reservations/annuler/", dict(parse_qsl(rows))).status_code == 302

    @pytest.mark.parametrize("month", ["2026-13", "0000-01", "abc", "2026", "99999-01", "9999-12", "0001-01"])
    def test_month_of_reservations(self, browse: Callable[[Shop], Client], month: str) -> None:
        assert browse(open_shop()).get("/mon-compte/reservations/", {"mois": month}).status_code == 200

    @pytest.mark.parametrize("amount", ["", "abc", "-5", "0", "1e9", "NaN", "10,005"])
    def test_deposit(self, browse: Callable[[Shop], Client], amount: str) -> None:
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": amount})
        assert response.status_code == 422 and not Order.objects.exists()

    def test_deposit_in_french_digits(self, browse: Callable[[Shop], Client]) -> None:
        response = browse(open_shop()).post(
            "/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "30,50"}, follow=True
        )
        assert "0,01 €" in text(response) and "30,51 €" in text(response)


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
        assert fields["amount"] == "31.60" and fields["return_url"].endswith("/paiement/demo/retour/")
        response = client.get("/paiement/demo/retour/", self.statement(payment))
        order = Order.objects.get()
        assert response["Location"] == order.get_absolute_url() and order.status == "paid"

    @pytest.mark.parametrize("outcome, words", [("refused", "a refusé"), ("abandoned", "abandonné")])
    def test_the_browser_comes_back_unpaid(self, browse: Callable[[Shop], Client], outcome: str, words: str) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, _fields = self.start(client, shop)
        response = client.get("/paiement/demo/retour/", self.statement(payment, outcome), follow=True)
        assert words in text(response) and "Rien n’a été débité" in text(response)
        assert response.redirect_chain[-1][0] == "/commande/paiement/" and shop.fresh().taken == 1

    def test_a_forged_return_is_never_a_payment(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        client = browse(shop)
        payment, _fields = self.start(client, shop)
        forged = self.statement(payment, "refused") | {"outcome": "captured"}
        response = client.get("/paiement/demo/retour/", forged, follow=True)
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


class TestWallet:
    def test_a_pack_goes_straight_to_the_bank(self, browse: Callable[[Shop], Client]) -> None:
        TopUpPack.objects.create(amount=Decimal("25.00"))
        response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"pack": "25.00"})
        assert response["Location"].startswith("http://127.0.0.1:8000/demo/banque/")

    def test_the_fee_of_a_custom_amount_is_said_before_paying(self, browse: Callable[[Shop], Client]) -> None:
        client = browse(open_shop())
        client.post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "30"})
        assert not Order.objects.exists()
        client.post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "30.00", "confirmed": "1"})
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

    def test_a_deposit_can_be_given_up(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        order = start_top_up(user=shop.user, amount=Decimal("30")).order
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
        assert "Des places n’étaient plus libres" in words and "réservations confirmées" not in words
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
        assert "dates toutes annulées" in text(client.get("/mon-compte/commandes/"))
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
        shop.user.filiations.update(ended_at=timezone.now())  # type: ignore[attr-defined]
        data = {"cart": cart.pk, "total": "7.90", "means": "wallet"}
        words = text(browse(shop).post("/commande/paiement/", data, follow=True))
        assert "ne fait plus partie de vos filiations" in words and shop.balance == 10


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


class TestStrangers:
    def test_an_order_of_somebody_else_is_not_there(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(credit="50")
        shop.add()
        order = shop.pay(means_wallet(), "31.60").order
        stranger = family(shop.tariff)
        client = browse(stranger)
        assert client.get(order.get_absolute_url()).status_code == 404
        assert client.post(f"/commande/{order.reference}/abandonner/").status_code == 404
        booking = Booking.objects.first()
        assert client.get(f"/mon-compte/reservations/annuler/?r={booking.pk}").status_code == 404  # type: ignore[union-attr]
        client.post("/mon-compte/reservations/annuler/", {"r": booking.pk})  # type: ignore[union-attr]
        assert Booking.objects.booked().count() == 4

    def test_the_other_parent_sees_the_booking_but_cannot_cancel_it(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        shop.pay(means_wallet(), "7.90")
        other = FiliationFactory(beneficiary=shop.children[0]).user
        client = Client()
        client.force_login(other)
        words = text(client.get("/mon-compte/reservations/"))
        assert f"réservé par {shop.user}" in words


class TestExpiredCart:
    def test_says_so_and_takes_the_places_again(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop()
        shop.add()
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        client = browse(shop)
        assert "ne sont plus gardées" in text(client.get("/panier/"))
        assert client.get("/commande/recapitulatif/")["Location"] == "/panier/"
        assert "de nouveau gardées" in text(client.post("/panier/reprendre/", follow=True))
        assert list(verify_books()) == []


def test_get_never_writes(browse: Callable[[Shop], Client]) -> None:
    """Following every link of a family's pages leaves the tables as they were."""
    shop = open_shop(credit="50")
    shop.add()
    tables = (Booking, CartLine, Cart, Order, Payment, Hold)
    before = [list(model.objects.order_by("pk").values()) for model in tables]  # type: ignore[attr-defined]
    client = browse(shop)
    for address in (
        page(shop),
        "/panier/",
        "/commande/recapitulatif/",
        "/commande/connexion/",
        "/commande/adresse/",
        "/commande/conditions/",
        "/commande/paiement/",
        "/mon-compte/reservations/",
        "/mon-compte/commandes/",
        "/mon-compte/porte-monnaie/",
    ):
        assert client.get(address).status_code in {200, 302}
    for address in ("/panier/retirer/", "/panier/reprendre/"):
        assert client.get(address).status_code == 405
    assert [list(model.objects.order_by("pk").values()) for model in tables] == before  # type: ignore[attr-defined]


def test_people_without_children_and_activities_without_days_are_told(browse: Callable[[Shop], Client]) -> None:
    shop = open_shop(children=0)
    assert "Déclarez d’abord un enfant" in text(browse(shop).get(page(shop)))
    FiliationFactory(user=shop.user, beneficiary=BeneficiaryFactory())
    OpenDay.objects.all().delete()
    assert "Aucun jour n’est ouvert" in text(browse(shop).get(page(shop)))


def test_two_slots_show_two_prices(browse: Callable[[Shop], Client]) -> None:
    shop = open_shop()
    second = SlotFactory(activity=shop.activity, name="Journée", starts_at=dt.time(8), ends_at=dt.time(17))
    TariffFactory(slot=second, profile=shop.tariff.profile, price=Decimal("13.90"))
    words = text(browse(shop).get(page(shop)))
    assert re.search(r"Journée 8 h – 17 h 13,90 €", words), words


class TestGoingBack:
    def test_after_paying_leads_to_the_order(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=4, credit="50")
        client = browse(shop)
        shop.add()
        shop.pay(means_wallet(), "31.60")
        response = client.get("/commande/paiement/", follow=True)
        assert response.redirect_chain[-1][0] == Order.objects.get().get_absolute_url()
        assert "Cette commande est déjà payée : rien ne sera débité une seconde fois." in text(response)

    def test_asks_the_server_again(self, browse: Callable[[Shop], Client]) -> None:
        client = browse(open_shop())
        for address in ("/", "/panier/", "/mon-compte/reservations/"):
            assert client.get(address)["Cache-Control"] == "private, no-store"
        assert "Cache-Control" not in Client().get("/")


@pytest.mark.parametrize(
    "address", ["/mon-compte/commandes/%00/", "/commande/%00/abandonner/", "/demo/banque/etat/%00/"]
)
def test_a_number_that_no_database_can_hold(browse: Callable[[Shop], Client], address: str) -> None:
    assert browse(open_shop()).post(address).status_code == 404


@pytest.mark.parametrize("amount", ["0", "-5", "501", "1000000000000"])
def test_an_amount_out_of_range_says_the_range(browse: Callable[[Shop], Client], amount: str) -> None:
    TopUpPack.objects.get_or_create(amount=5)
    response = browse(open_shop()).post("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": amount})
    assert response.status_code == 422 and "va de 1,00 € à 500,00 €." in text(response)
