"""« Bons de réduction » over HTTP: the cart, the five steps, the order, the e-mail, « Mes bons de réduction »."""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, cancel_bookings, remove_lines
from checkout.models import Order
from checkout.vouchers.actions import enter_code
from checkout.vouchers.models import Voucher
from portal.outbox.models import Email
from tests.checkout.http import follow, form, page, steps, text
from tests.factories import AddressFactory, FiliationFactory, TermsFactory
from tests.shop import Shop, family, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]


def enter(client: Client, code: str, back: str = "/commande/recapitulatif/") -> Any:
    return client.post("/panier/bons/", {"code": code, "back": back}, follow=True)


class TestSteps:
    def test_from_the_code_to_the_paid_order(self, browse: Browse) -> None:
        shop = open_shop(credit="50")
        TermsFactory(kind=Terms.Kind.SALE)
        voucher()
        client = browse(shop)
        client.post(page(shop), form(shop))
        response = enter(client, "rentree10")
        assert response.redirect_chain[-1][0] == "/commande/recapitulatif/"
        said = text(response)
        assert "Bon RENTREE10 ajouté : 3,16 € de moins." in said
        assert "Bon RENTREE10 Rentrée −3,16 €" in said and "Total produits 31,60 €" in said
        assert "Total 28,44 €" in said
        steps(client)
        payment = client.get("/commande/paiement/")
        assert 'name="total" value="28.44"' in payment.content.decode() and "−3,16 €" in text(payment)
        paid = client.post("/commande/paiement/", {"cart": shop.cart.pk, "total": "28.44", "means": "wallet"})
        order = text(client.get(paid["Location"]))
        assert "Bon RENTREE10 Rentrée −3,16 €" in order and "28,44 €" in order
        mail = Email.objects.get(key=f"order:{Order.objects.get().pk}:paid")
        assert "Bon RENTREE10 (Rentrée) : −3,16\u00a0€" in mail.body and "Total : 28,44\u00a0€" in mail.body

    def test_beside_an_order_that_waits_the_cart_counts_as_the_steps_do(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        voucher()
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        shop.pay(Means.CARD, "14.22")
        said = text(browse(shop).get("/panier/"))
        assert "Quantité 2 Total produits 15,80 € Bon RENTREE10 −1,58 € Total 14,22 €" in said

    def test_a_reason_has_no_plain_space_before_its_colon(self, browse: Browse) -> None:
        shop = open_shop(days=2)
        voucher(minimum=Decimal(20))
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        assert "20,00\u00a0€\u00a0: il manque" in browse(shop).get("/panier/").content.decode()

    def test_an_order_that_costs_nothing_is_confirmed_without_a_means(self, browse: Browse) -> None:
        shop = open_shop(days=1)
        voucher(percent=Decimal(100))
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        cart = shop.answer_steps()
        client = browse(shop)
        said = text(client.get("/commande/paiement/"))
        assert "Rien à payer" in said and "Carte bancaire" not in said and "Porte-monnaie" not in said
        paid = client.post("/commande/paiement/", {"cart": cart.pk, "total": "0.00", "means": "wallet"})
        assert "Commande payée" in text(client.get(paid["Location"]))
        assert Order.objects.get().status == "paid"

    @pytest.mark.parametrize(
        "back, at",
        [
            ("/panier/", "/panier/"),
            ("/commande/recapitulatif/", "/commande/recapitulatif/"),
            ("/mon-compte/", "/panier/"),
            ("//x", "/panier/"),
        ],
    )
    def test_what_was_refused_is_said_where_it_was_typed(self, browse: Browse, back: str, at: str) -> None:
        shop = open_shop()
        shop.add()
        response = enter(browse(shop), "INCONNU", back)
        assert response.redirect_chain[-1][0] == f"{at}?bon=INCONNU#voucher-code"
        assert text(response).count("n’est pas connu : vérifiez chaque lettre.") == 1
        page = response.content.decode()
        field = re.search(r'<input[^>]*id="voucher-code"[^>]*>', page)
        assert field and 'value="INCONNU"' in field[0] and 'aria-invalid="true"' in field[0]
        assert 'aria-describedby="voucher-code_error"' in field[0] and 'id="voucher-code_error"' in page
        assert "<title>Erreur" in page and 'role="alert"' not in page  # once, beside the field
        again = text(browse(shop).get(f"{at}?bon=INCONNU"))
        assert "n’est pas connu" not in again

    def test_a_page_without_the_field_says_it_on_top(self, browse: Browse) -> None:
        shop = open_shop()
        shop.add()
        remove_lines(user=shop.user, ids=list(shop.cart.lines.values_list("pk", flat=True)))
        response = enter(browse(shop), "INCONNU", "/panier/")
        assert text(response).count("n’est pas connu") == 1 and 'role="alert"' in response.content.decode()

    def test_on_a_cart_whose_time_is_over_it_stays_in_sight(self, browse: Browse) -> None:
        shop = open_shop()
        voucher()
        shop.add()
        client = browse(shop)
        enter(client, "RENTREE10")
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()
        said = text(client.get("/panier/"))
        assert "Bon RENTREE10 , non appliqué Il attend que vos places soient reprises." in said
        assert "n’est pas connu" in text(enter(client, "INCONNU", "/panier/"))
        assert "−3,16 €" in text(client.post("/panier/reprendre/", follow=True))

    def test_taken_out_again(self, browse: Browse) -> None:
        shop = open_shop()
        voucher()
        shop.add()
        client = browse(shop)
        enter(client, "RENTREE10")
        data = {"code": "RENTREE10", "back": "/panier/"}
        assert "retiré de votre panier" in text(client.post("/panier/bons/retirer/", data, follow=True))
        assert "n’est plus dans votre panier" in text(client.post("/panier/bons/retirer/", data, follow=True))

    def test_one_that_does_not_apply_any_more_says_why_and_the_total_is_full(self, browse: Browse) -> None:
        shop = open_shop()
        row = voucher()
        shop.add()
        client = browse(shop)
        enter(client, "RENTREE10")
        row.is_active = False
        row.save()
        for address in ("/panier/", "/commande/recapitulatif/"):
            said = text(client.get(address))
            assert "Bon RENTREE10 , non appliqué Ce bon n’est plus en service." in said
            assert "Total 31,60 €" in said and "−3,16" not in said

    def test_waiting_for_its_payment_the_order_shows_what_was_frozen(self, browse: Browse) -> None:
        shop = open_shop()
        voucher()
        order_with(shop, "RENTREE10", total="28.44", means=Means.CARD)
        said = text(browse(shop).get("/panier/"))
        assert "−3,16 €" in said and "Total 28,44 €" in said and "Code du bon" not in said

    def test_codes_as_nobody_types_them(self, browse: Browse) -> None:
        shop = open_shop()
        shop.add()
        client = browse(shop)
        for code in ("", " ", "é" * 5000, "' OR 1=1 --", "\x00", "<b>"):
            response = enter(client, code)
            assert response.status_code == 200 and "<b>" not in text(response).replace("< b >", "")

    def test_one_for_other_products_says_which_and_that_it_is_kept(self, browse: Browse, at_most: Any) -> None:
        shop, other = open_shop(), open_shop(days=1)
        voucher("AILLEURS", only_activity=other.activity, stackable=True)
        shop.add()
        why = f"e bon ne concerne aucun des produits de votre panier. Pour {other.activity.service} – {other.activity}."
        client = browse(shop)
        said = text(enter(client, "AILLEURS", "/panier/"))
        assert f"Bon AILLEURS gardé dans votre panier, non appliqué pour l’instant. C{why}" in said
        assert f"Bon AILLEURS , non appliqué C{why}" in said
        with at_most(14):
            client.get("/panier/")
        for code in ("SEUL", "TROP"):
            voucher(code)
            said = text(enter(client, code, "/panier/"))
        assert "TROP : ce bon ne se cumule pas avec SEUL" in said

    def test_the_payment_step_counts_as_the_steps_before(self, browse: Browse) -> None:
        shop = open_shop()
        voucher()
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        shop.answer_steps()
        for address in ("/commande/recapitulatif/", "/commande/conditions/", "/commande/paiement/"):
            panel = text(browse(shop).get(address)).rpartition("Votre commande")[2]
            assert "Total produits 31,60 € Bon RENTREE10 −3,16 € Total 28,44 €" in panel, address

    @pytest.mark.parametrize("days", [4, 120])
    @pytest.mark.parametrize("address", ["/panier/", "/commande/recapitulatif/", "/commande/paiement/"])
    def test_cost(self, browse: Browse, at_most: Any, address: str, days: int) -> None:
        shop = open_shop(days=days)
        voucher()
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        shop.answer_steps()
        client = browse(shop)
        with at_most(14):
            assert client.get(address).status_code == 200


class TestMine:
    def test_ones_own_those_entered_and_those_used(self, browse: Browse, at_most: Any) -> None:
        shop = open_shop(days=2, credit="50")
        voucher("PUBLIC", label="Pour tous", stackable=True)
        voucher("AMOI", label="Coup de pouce", amount=5, user=shop.user, only_service=shop.activity.service)
        voucher("CACHE", label="Personne ne le voit")
        order = order_with(shop, "PUBLIC", total="14.22")
        client = browse(shop)
        with at_most(12):
            response = client.get("/mon-compte/bons-de-reduction/")
        said = text(response)
        assert "−5,00 € Coup de pouce AMOI À utiliser" in said and f"Pour {shop.activity.service}." in said
        assert "PUBLIC" in said and order.number in said and "−1,58 €" in said
        assert "CACHE" not in said

    def test_one_that_came_back_can_be_put_in_the_cart_again(self, browse: Browse) -> None:
        """Its order is over: it stands among those to use, though it is everybody's."""
        shop = open_shop(days=2, credit="50")
        row = voucher("BIENVENUE")
        order_with(shop, "BIENVENUE", total="14.22")
        client = browse(shop)
        assert "Mettre dans mon panier" not in text(client.get("/mon-compte/bons-de-reduction/"))
        cancel_bookings(ids=list(Booking.objects.booked().values_list("pk", flat=True)), by=shop.user)
        said = text(client.get("/mon-compte/bons-de-reduction/"))
        assert "BIENVENUE À utiliser" in said and "Mettre dans mon panier BIENVENUE" in said and "Rendu" in said
        row.is_active = False
        row.save()
        said = text(client.get("/mon-compte/bons-de-reduction/"))
        assert "Mettre dans mon panier" not in said and "Plus en service" not in said and "Rendu" in said

    def test_without_any(self, browse: Browse) -> None:
        assert "Aucun bon à votre nom" in text(browse(open_shop()).get("/mon-compte/bons-de-reduction/"))

    @pytest.mark.parametrize(
        "fields, words",
        [
            ({"is_active": False}, "Plus en service"),
            ({"valid_until": "2020-01-01"}, "Expiré"),
            ({"valid_from": "2120-01-01"}, "Pas encore valable"),
            ({"uses_per_family": 3}, "Encore 3 fois"),
            ({"percent": Decimal("12.50")}, "−12,5 %"),
            ({"minimum": Decimal(20)}, "À partir de 20,00 € de commande."),
        ],
    )
    def test_how_each_stands(self, browse: Browse, fields: dict[str, Any], words: str) -> None:
        shop = open_shop()
        voucher(user=shop.user, **fields)
        assert words in text(browse(shop).get("/mon-compte/bons-de-reduction/"))

    def test_it_is_put_into_the_cart_from_there(self, browse: Browse) -> None:
        shop = open_shop()
        voucher(user=shop.user)
        shop.add()
        client = browse(shop)
        assert "/mon-compte/bons-de-reduction/" in client.get("/mon-compte/").content.decode()
        assert "3,16 € de moins" in text(enter(client, Voucher.objects.get().code, "/panier/"))
        assert "Dans votre panier" in text(client.get("/mon-compte/bons-de-reduction/"))
        assert follow(client, "/panier/") == "/panier/"


@pytest.mark.parametrize(
    "fields, lost",
    [({}, "12,10 €"), ({"uses_per_family": None, "max_uses": None}, ""), ({"amount": Decimal("7.90")}, "")],
)
def test_what_is_lost_of_a_voucher_is_said_before_the_order(browse: Browse, fields: dict[str, Any], lost: str) -> None:
    """Where it is entered, in the cart, on the summary, at the payment; one that is good for any number loses nothing."""
    shop = open_shop(days=1)
    voucher("COUPDEPOUCE", user=shop.user, **{"amount": 20} | fields)
    shop.add()
    shop.answer_steps()
    client = browse(shop)
    said = f"Ce bon vaut 20,00 € et ne rend pas la monnaie : {lost} sont perdus avec cette commande."
    assert "Ne rend pas la monnaie" in text(client.get("/mon-compte/bons-de-reduction/"))
    pages = [enter(client, "COUPDEPOUCE"), *(client.get(at) for at in ("/panier/", "/commande/paiement/"))]
    for answer in pages:
        assert (said in text(answer)) == bool(lost) and ("sont perdus" in text(answer)) == bool(lost)


def test_a_voucher_kept_in_an_emptied_cart_is_said_there(browse: Browse) -> None:
    """It would take something off the next order unasked, and keep another one out."""
    shop = open_shop(days=2)
    voucher("BIENVENUE", amount=5)
    shop.add(days=shop.days[:1])
    client = browse(shop)
    enter(client, "BIENVENUE", "/panier/")
    said = text(client.post("/panier/retirer/", {"line": shop.cart.lines.get().pk}, follow=True))
    assert "Le bon BIENVENUE reste dans votre panier : il servira à ce que vous y mettrez." in said
    said = text(client.get("/panier/"))
    assert "Votre panier est vide" in said and "Bon BIENVENUE , non appliqué" in said and "Retirer BIENVENUE" in said
    client.post("/panier/bons/retirer/", {"code": "BIENVENUE"})
    assert "BIENVENUE" not in text(client.get("/panier/")).replace("Bon BIENVENUE retiré de votre panier.", "")


def test_one_that_came_back_is_not_offered_once_the_other_parent_has_used_it(browse: Browse) -> None:
    shop = open_shop(days=2, credit="50")
    voucher()
    other = family(shop.tariff, days=shop.days[1:], credit="50")
    other.children = [FiliationFactory(user=other.user, beneficiary=shop.children[0]).beneficiary]
    shop.days = shop.days[:1]
    order_with(shop, "RENTREE10", total="7.11")
    cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
    page = "/mon-compte/bons-de-reduction/"
    assert "Mettre dans mon panier" in text(browse(shop).get(page))
    order_with(other, "RENTREE10", total="7.11")
    said = text(browse(shop).get(page))
    assert "À utiliser" not in said and "Mettre dans mon panier" not in said


def test_a_voucher_that_no_longer_applies_is_named_when_lines_leave_and_before_paying(browse: Browse) -> None:
    shop = open_shop(days=2)
    voucher(stackable=True)
    voucher("BIENVENUE", amount=5, minimum=Decimal(10), stackable=True)
    shop.add()
    shop.answer_steps()
    client = browse(shop)
    for code in ("RENTREE10", "BIENVENUE"):
        enter(client, code, "/panier/")
    line = shop.cart.lines.order_by("pk").first()
    assert line is not None and "n’est pas appliqué" not in text(client.get("/commande/paiement/"))
    said = text(client.post("/panier/retirer/", {"line": line.pk}, follow=True))
    assert "Le bon BIENVENUE n’est plus appliqué. Ce bon demande une commande d’au moins 10,00 €" in said
    assert "RENTREE10 n’est plus" not in said
    assert "Le bon BIENVENUE n’est pas appliqué. Ce bon demande" in text(client.get("/commande/paiement/"))
    left = shop.cart.lines.get()
    assert "n’est plus appliqué" not in text(client.post("/panier/retirer/", {"line": left.pk}, follow=True))


def test_the_summary_takes_out_lines_and_comes_back(browse: Browse) -> None:
    shop = open_shop(days=3)
    AddressFactory(user=shop.user)
    shop.add()
    client = browse(shop)
    line = shop.cart.lines.order_by("pk").first()
    assert line is not None
    gone = client.post("/panier/retirer/", {"line": line.pk, "back": "/commande/recapitulatif/"}, follow=True)
    assert gone.redirect_chain == [("/commande/recapitulatif/", 302)]
    assert "1 réservation a quitté votre panier." in text(gone) and "(2 produits)" in text(gone)
