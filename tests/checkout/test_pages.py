"""The pages over HTTP: what they cost, what they say to bad input, who may see what."""

import datetime as dt
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means as Counter
from checkout.models import Cart, CartLine, Order, Payment
from checkout.verification import verify as verify_books
from services.models import OpenDay
from tests.checkout.http import form, page, steps, text
from tests.factories import (
    AddressFactory,
    BeneficiaryFactory,
    FiliationFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
    UserFactory,
    agent_of,
)
from tests.shop import Shop, family, open_shop
from wallet.models import TopUpPack

pytestmark = pytest.mark.django_db
MaxQueries = Callable[[int], AbstractContextManager[Any]]


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
        with at_most(14):
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

    @pytest.mark.parametrize("days, most", [(2, 20), (140, 25)])
    def test_paying_from_the_wallet(
        self, browse: Callable[[Shop], Client], at_most: MaxQueries, days: int, most: int
    ) -> None:
        """The POST of « Payer » alone, 4 lines and 280, all that its request asks PostgreSQL: who is signed in, cart, lines,
        rules, order, payment, ledger, places, e-mail; BEGIN, COMMIT and the test's own savepoints are not counted. It is not
        the first order of its commune, whose account is opened with it, once for ever.
        """
        shop = open_shop(days=days + 1, children=2, credit="5000")
        shop.add(shop.days[:1])
        shop.pay(means_wallet(), "15.80")
        TermsFactory(kind=Terms.Kind.SALE)
        client = browse(shop)
        client.post(page(shop), form(shop, dates=[day.date.isoformat() for day in shop.days[1:]]))
        steps(client)
        cart = Cart.objects.get(user=shop.user, status=Cart.Status.OPEN)
        total = str(Decimal("7.90") * days * 2)
        with at_most(most):
            client.post("/commande/paiement/", {"cart": cart.pk, "total": total, "means": "wallet"})
        paid = Order.objects.get(cart=cart)
        assert paid.status == Order.Status.PAID and paid.lines.count() == days * 2

    @pytest.mark.parametrize("days", [2, 60])
    @pytest.mark.parametrize(
        "address, most",
        [
            ("/", 5),
            ("/panier/", 8),
            ("/mon-compte/reservations/", 10),
            ("/mon-compte/commandes/", 9),
            ("/mon-compte/porte-monnaie/", 10),
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
        with at_most(6):
            assert Client().get(shop.activity.service.category.get_absolute_url()).status_code == 200
        with at_most(6):
            assert Client().get(shop.activity.service.get_absolute_url()).status_code == 200


def means_wallet() -> Any:

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
        answer = client.get(address)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")
        assert "Rien n’a été changé ni débité" in text(answer)  # a bookmark of it finds its way back
        assert not client.head(address).content
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

    def test_a_cart_whose_places_lapsed_is_no_order_of_a_moment_ago(self, browse: Callable[[Shop], Client]) -> None:
        shop = open_shop(days=4, credit="50")
        client = browse(shop)
        shop.add(days=shop.days[:1])
        shop.pay(means_wallet(), "7.90")
        shop.add(days=shop.days[1:])
        Hold.objects.filter(cart=shop.cart).update(expires_at=timezone.now() - dt.timedelta(hours=1))
        release_expired_holds()
        response = client.get("/commande/paiement/", follow=True)
        assert response.redirect_chain[-1][0] == "/panier/" and "déjà payée" not in text(response)

    def test_back_after_paying_shows_that_order_and_no_deposit(self, browse: Callable[[Shop], Client]) -> None:
        """Money taken at a counter after the order was begun is another order."""
        shop = open_shop(credit="50")
        shop.add()
        order = shop.pay(means_wallet(), "31.60").order
        paper = Paper(Counter.CASH, "Q-1")
        take_top_up(user=shop.user, amount=Decimal(5), paper=paper, commune=None, by=agent_of())
        assert browse(shop).get("/commande/paiement/")["Location"] == order.get_absolute_url()

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
    assert response.status_code == 422 and "va de 1,00 € à 500,00 €, au centime près." in text(response)
