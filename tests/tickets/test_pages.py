"""The pages of tickets over HTTP, as a browser without JavaScript goes through them, and what they cost."""

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Hold
from bookings.tickets.models import Ticket
from bookings.tickets.words import note
from checkout.actions import Means, cancel_ticket
from checkout.models import CartLine, Order
from checkout.vouchers.actions import enter_code
from families.models import Filiation
from portal.common.formats import long_date, moment, today
from portal.outbox.models import Email
from services import absences
from services.models import Activity, Slot, Subscription
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import steps, text
from tests.factories import (
    AccessProfileFactory,
    BusStopFactory,
    EntriesFactory,
    FiliationFactory,
    PassFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
)
from tests.shop import Shop, family
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take
from tests.vouchers.making import voucher

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]


def form(shop: Shop, **changes: Any) -> dict[str, Any]:
    return {"slot": shop.slot.pk, "people": [child.pk for child in shop.children]} | changes


def day(date: dt.date) -> dict[str, Any]:
    return {"first_day_day": date.day, "first_day_month": date.month, "first_day_year": date.year}


class TestBuying:
    def test_from_the_product_to_the_code(self, browse: Browse) -> None:
        TermsFactory()
        shop = kiosk(EntriesFactory(name="Carte 10 entrées", entries=10, validity=24), price="48")
        client = browse(shop)
        page = text(client.get(shop.activity.get_absolute_url()))
        assert "Carte 10 entrées" in page and "valable 2 ans" in page and "48,00 €" in page
        answer = client.post(shop.activity.get_absolute_url(), form(shop, quantity="2"))
        assert answer["Location"] == "/panier/"
        cart = text(client.get("/panier/"))
        assert "Produit ajouté au panier avec succès" in cart and "96,00 €" in cart and "Valable du " in cart
        assert "Panier : 2 produits" in cart
        steps(client)
        line = CartLine.objects.first()
        assert line is not None
        paid = client.post(
            "/commande/paiement/", {"cart": line.cart_id, "total": "96.00", "means": "wallet"}, follow=True
        )
        assert "Commande payée, e-billets prêts" in text(paid) and "Mes e-billets" in text(paid)
        mine = text(client.get("/mon-compte/e-billets/"))
        assert mine.count("Montrer le code") == 2 and "Il reste 10 entrées" in mine
        ticket = Ticket.objects.earliest("pk")
        one = client.get(ticket.get_absolute_url())
        assert ticket.typed_code in text(one) and "<svg" in one.content.decode()

    @pytest.mark.parametrize(
        "changes, sentence",
        [
            ({"slot": ""}, "Choisissez une formule."),
            ({"slot": "²"}, "Cette formule n’est pas proposée ici"),
            ({"people": []}, "Choisissez au moins un bénéficiaire."),
            ({"people": ["999999"]}, "ne fait pas partie de vos filiations"),
            ({"quantity": "0"}, "Choisissez un nombre de la liste."),
            ({"quantity": "99999999999999999999"}, "Choisissez un nombre de la liste."),
        ],
    )
    def test_bad_input_is_one_sentence(self, browse: Browse, changes: dict[str, Any], sentence: str) -> None:
        shop = kiosk()
        answer = browse(shop).post(shop.activity.get_absolute_url(), {**form(shop, quantity="1"), **changes})
        assert answer.status_code == 422 and sentence in text(answer)
        assert not CartLine.objects.exists()

    def test_a_refusal_is_said_on_the_page(self, browse: Browse) -> None:
        shop = bikes(1)
        buy(family(shop.tariff, credit="100"))
        client = browse(shop)
        assert "tout est pris aujourd’hui" in text(client.get(shop.activity.get_absolute_url()))
        answer = client.post(shop.activity.get_absolute_url(), form(shop, **day(today())))
        assert answer.status_code == 409 and "Tout est pris du" in text(answer)
        far = client.post(shop.activity.get_absolute_url(), form(shop, **day(today() + dt.timedelta(days=400))))
        assert "Choisissez un premier jour avant le" in text(far)
        wrong = client.post(
            shop.activity.get_absolute_url(), form(shop) | {"first_day_day": "31", "first_day_month": "2"}
        )
        assert wrong.status_code == 422 and "La date doit comporter" in text(wrong)

    def test_a_bus_has_stops_and_times(self, browse: Browse) -> None:
        shop = kiosk(PassFactory(validity=1, validity_unit=Slot.Unit.SCHOOL_YEAR), price="90")
        stop = BusStopFactory(line__activity=shop.activity, line__name="Ligne 12", name="Mairie")
        client = browse(shop)
        page = text(client.get(shop.activity.get_absolute_url()))
        assert "Mairie – 7 h 10, retour 17 h 50" in page and "Premier jour" not in page
        missing = client.post(shop.activity.get_absolute_url(), form(shop))
        assert "Choisissez l’arrêt où le car s’arrêtera." in text(missing)
        client.post(shop.activity.get_absolute_url(), form(shop, stop=stop.pk))
        assert "arrêt Mairie (Ligne 12)" in text(client.get("/panier/"))

    def test_the_prices_are_those_of_the_situation_asked_for(self, browse: Browse) -> None:
        shop = kiosk()
        reduced = AccessProfileFactory(service=shop.activity.service, label="Tarif réduit")
        TariffFactory(slot=shop.slot, profile=reduced, price=Decimal("4.20"))
        access = SubscriptionFactory(user=shop.user, profile=reduced)
        client = browse(shop)
        assert "4,20 €" in text(client.get(shop.activity.get_absolute_url(), {"profile": access.pk}))
        client.post(shop.activity.get_absolute_url(), form(shop, quantity="1", profile=access.pk))
        assert CartLine.objects.get().unit_price == Decimal("4.20")

    def test_one_ticket_of_several_leaves_the_cart(self, browse: Browse) -> None:
        shop = kiosk(children=2)
        take(shop)
        client = browse(shop)
        assert "Retirer certains billets" in text(client.get("/panier/"))
        line = CartLine.objects.earliest("pk")
        assert "Rien" not in text(client.post("/panier/retirer/", {"line": line.pk}, follow=True))
        assert CartLine.objects.count() == 1

    def test_expired_they_are_taken_again(self, browse: Browse) -> None:
        shop = kiosk()
        take(shop)
        Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        from bookings.tasks import release_expired_holds

        release_expired_holds()
        client = browse(shop)
        assert "Des places ne sont plus gardées" in text(client.get("/panier/"))
        client.post("/panier/reprendre/")
        assert Ticket.objects.get().status == "held"


class TestSituations:
    """Somebody with several situations: each has its prices, and nothing chosen is lost on the way to them."""

    @staticmethod
    def several(*prices: str | None, children: int = 1) -> tuple[Shop, list[Subscription]]:
        """The accesses of somebody at a kiosk, by name; None: the formula is not sold to that situation."""
        shop = kiosk(price=prices[0] or "1", children=children)
        names = ["Tarif A", "Tarif B", "Tarif C"]
        type(shop.tariff.profile).objects.filter(pk=shop.tariff.profile.pk).update(label=names[0])
        accesses = [shop.subscription]
        if prices[0] is None:
            TariffFactory(slot=EntriesFactory(activity__service=shop.activity.service), profile=shop.tariff.profile)
            type(shop.tariff).objects.filter(pk=shop.tariff.pk).delete()
        for name, price in zip(names[1:], prices[1:], strict=False):
            profile = AccessProfileFactory(service=shop.activity.service, label=name)
            if price is not None:
                TariffFactory(slot=shop.slot, profile=profile, price=Decimal(price))
            accesses.append(SubscriptionFactory(user=shop.user, profile=profile))
        return shop, accesses

    @pytest.mark.parametrize("prices", [(None, "4.20", None), (None, None, "4.20"), ("4.20", None, None)])
    def test_the_page_opens_on_one_that_has_a_price(self, browse: Browse, prices: tuple[str | None, ...]) -> None:
        shop, accesses = self.several(*prices)
        page = browse(shop).get(shop.activity.get_absolute_url())
        assert page.context["access"] == accesses[prices.index("4.20")]
        assert "disabled" not in page.content.decode()

    def test_a_formula_is_locked_only_when_it_is_sold_to_none(self, browse: Browse) -> None:
        shop, accesses = self.several(None, "4.20")
        client, address = browse(shop), shop.activity.get_absolute_url()
        page = client.get(address, {"profile": accesses[0].pk})
        assert "pas de tarif pour votre situation" in text(page) and "disabled" not in page.content.decode()
        client.post(address, form(shop, quantity="1", profile=accesses[1].pk))
        assert CartLine.objects.get().unit_price == Decimal("4.20")
        unsold, _one = self.several(None)
        page = browse(unsold).get(unsold.activity.get_absolute_url())
        assert "disabled" in page.content.decode()

    def test_the_page_knows_the_prices_of_all(self, browse: Browse) -> None:
        shop, accesses = self.several("5.50", "4.20", None)
        child = shop.children[0].pk
        (formula,) = browse(shop).get(shop.activity.get_absolute_url()).context["slots"]
        assert json.loads(formula.prices) == {
            str(accesses[0].pk): {str(child): "5.50"},
            str(accesses[1].pk): {str(child): "4.20"},
            str(accesses[2].pk): {},
        }

    def test_other_prices_keep_what_was_chosen(self, browse: Browse) -> None:
        shop, accesses = self.several("5.50", "4.20", "3.10", children=2)
        client, address = browse(shop), shop.activity.get_absolute_url()
        assert "Actualiser les prix et le total" in text(client.get(address))
        chosen = {"profile": accesses[2].pk, "people": [shop.children[1].pk], "quantity": "3", "pick": "show"}
        page = client.post(address, form(shop, **chosen))
        said = text(page)
        assert page.status_code == 200 and not CartLine.objects.exists()
        assert page.context["access"] == accesses[2] and page.context["form"]["quantity"].value() == "3"
        assert [person for person, checked in page.context["people"] if checked] == [shop.children[1]]
        assert "3 billets 9,30 €" in said and "Les prix affichés sont ceux de « Tarif C »" in said

    def test_a_first_day_that_is_no_date_comes_back_as_it_was_typed(self, browse: Browse) -> None:
        shop = bikes(3)
        typed = {"first_day_day": "31", "first_day_month": "2", "first_day_year": "2027"}
        page = browse(shop).post(shop.activity.get_absolute_url(), form(shop, pick="show", **typed))
        assert page.status_code == 200 and page.content.decode().count('value="31"') == 1
        assert "Erreur" not in text(page)

    def test_no_sum_is_said_of_what_nobody_has_chosen(self, browse: Browse) -> None:
        shop, accesses = self.several("5.50", None, children=2)
        client, address = browse(shop), shop.activity.get_absolute_url()
        for page in (
            client.get(address),
            client.post(address, form(shop, people=[], pick="show")),
            client.post(address, form(shop, profile=accesses[1].pk, pick="show")),
        ):
            assert page.context["cost"] is None

    def test_a_page_costs_the_same_with_three_situations(self, browse: Browse, at_most: MaxQueries) -> None:
        shop, _accesses = self.several("5.50", "4.20", "3.10", children=3)
        client = browse(shop)
        with at_most(12):
            client.get(shop.activity.get_absolute_url())


class TestMine:
    def test_good_ones_first_then_the_past(self, browse: Browse) -> None:
        shop = kiosk()
        used, fresh = buy(shop), buy(shop)
        scan(used, controller(used))
        page = browse(shop).get("/mon-compte/e-billets/")
        assert [row.pk for row in page.context["good"]] == [fresh.pk]
        assert [row.pk for row in page.context["page"].object_list] == [used.pk]
        one = text(browse(shop).get(used.get_absolute_url()))
        assert "Toutes ses entrées sont utilisées." in one and "Annuler ce billet" not in one

    def test_each_says_until_when_it_may_be_given_back_or_why_not(self, browse: Browse) -> None:
        shop = kiosk(PassFactory())
        ticket = buy(shop)
        client = browse(shop)
        assert ticket.booked_at is not None
        until = " ".join(moment(ticket.booked_at + dt.timedelta(days=14)).split())
        one = text(client.get(ticket.get_absolute_url()))
        assert f"Il peut être rendu jusqu’au {until}, tant qu’il n’a pas servi." in one
        assert "Annuler ce billet…" in one
        scan(ticket, controller(ticket))
        one = text(client.get(ticket.get_absolute_url()))
        assert "Il a servi : il ne peut plus être rendu." in one and "Annuler ce billet…" not in one
        assert "Il a servi" in text(client.get(f"{ticket.get_absolute_url()}annuler/"))
        other = FiliationFactory(beneficiary=shop.children[0]).user
        client.force_login(other)
        assert "Seul qui l’a acheté peut le rendre." in text(client.get(ticket.get_absolute_url()))

    def test_what_begins_later_says_so(self, browse: Browse) -> None:
        shop = bikes(1)
        ticket = buy(shop, first_day=today() + dt.timedelta(days=10))
        mine = text(browse(shop).get("/mon-compte/e-billets/"))
        assert f"valable du {long_date(ticket.first_day)} au {long_date(ticket.last_day)}" in mine
        assert "Garder mes e-billets sur cet appareil" in mine

    def test_a_second_pass_names_the_first_with_its_years(self, browse: Browse) -> None:
        shop = kiosk(PassFactory(validity=1, validity_unit=Slot.Unit.SCHOOL_YEAR))
        ticket = buy(shop)
        answer = text(browse(shop).post(shop.activity.get_absolute_url(), form(shop)))
        assert f"{shop.children[0].first_name} a déjà un billet {' '.join(note(ticket.valid).split())}." in answer

    def test_giving_back_is_asked_first(self, browse: Browse) -> None:
        shop = kiosk()
        ticket = buy(shop)
        client = browse(shop)
        address = f"{ticket.get_absolute_url()}annuler/"
        assert "Votre porte-monnaie recevra aussitôt 5,50 €" in text(client.get(address))
        assert Ticket.objects.get().status == "booked"  # GET writes nothing
        assert "Billet annulé. Votre porte-monnaie a reçu 5,50 €." in text(client.post(address, follow=True))
        assert "ne peut plus être annulé" in text(client.get(address))
        assert "Ce billet a déjà été annulé" in text(client.post(address, follow=True))
        assert "Ce billet est annulé" in text(client.get(ticket.get_absolute_url()))
        assert client.get(f"{ticket.get_absolute_url()}billet.pdf").status_code == 302

    def test_what_cost_nothing_is_said_in_one_way(self, browse: Browse) -> None:
        """On the page before, in the message and by e-mail: no « 0,00 € »."""
        shop = kiosk(credit="7")
        voucher(percent=Decimal(100))
        take(shop)
        enter_code(user=shop.user, code="RENTREE10")
        shop.pay(Means.WALLET, "0.00")
        ticket, says = Ticket.objects.get(), "Rien n’avait été payé, rien n’est à rendre."
        client, address = browse(shop), f"{ticket.get_absolute_url()}annuler/"
        before = text(client.get(address))
        assert says in before and "0,00" not in before
        assert f"Billet annulé. {says}" in text(client.post(address, follow=True))
        body = Email.objects.get(key=f"ticket:{ticket.pk}:cancelled").body
        assert says in body and "0,00" not in body and "Votre porte-monnaie :" not in body

    def test_the_mail_of_giving_back_leads_to_the_order(self) -> None:
        shop = kiosk()
        ticket = buy(shop)
        cancel_ticket(ticket=ticket, by=shop.user)
        body, order = Email.objects.get(key=f"ticket:{ticket.pk}:cancelled").body, Order.objects.get()
        assert order.number in body and order.get_absolute_url() in body and "/mon-compte/porte-monnaie/" in body

    def test_a_former_filiation_keeps_what_was_bought(self, browse: Browse) -> None:
        shop = kiosk()
        ticket = buy(shop)
        link = shop.user.filiations.get()  # type: ignore[attr-defined]
        assert "e-billet" in text(browse(shop).get(f"/mon-compte/filiations/{link.pk}/retirer/"))
        shop.user.filiations.update(ended_at=timezone.now())  # type: ignore[attr-defined]
        assert browse(shop).get(ticket.get_absolute_url()).status_code == 200

    def test_nothing_yet(self, browse: Browse) -> None:
        assert "Aucun e-billet à utiliser" in text(browse(kiosk()).get("/mon-compte/e-billets/"))


class TestCosts:
    """A page costs the same with one ticket as with thirty."""

    def test_the_product(self, browse: Browse, at_most: MaxQueries) -> None:
        shop = bikes(30)
        for _slot in range(2):
            TariffFactory(slot=PassFactory(activity=shop.activity), profile=shop.tariff.profile)
        client = browse(shop)
        with at_most(12):
            assert client.get(shop.activity.get_absolute_url()).status_code == 200

    def test_mine(self, browse: Browse, at_most: MaxQueries) -> None:
        shop = kiosk(children=6, credit="400")
        take(shop, quantity=5)
        shop.pay("wallet", "165.00")  # type: ignore[arg-type]
        client = browse(shop)
        with at_most(6):
            assert client.get("/mon-compte/e-billets/").status_code == 200
        with at_most(6):
            client.get(Ticket.objects.latest("pk").get_absolute_url())

    def test_the_cart(self, browse: Browse, at_most: MaxQueries) -> None:
        shop = kiosk(children=6)
        take(shop, quantity=5)
        client = browse(shop)
        with at_most(4):
            client.get("/panier/")

    def test_a_payment(self, at_most: MaxQueries) -> None:
        one, many = kiosk(children=1), kiosk(children=6, credit="400")
        take(one)
        take(many, quantity=5)
        for shop, total in ((one, "5.50"), (many, "165.00")):
            shop.answer_steps()
            with at_most(40):
                shop.pay("wallet", total)  # type: ignore[arg-type]


def test_the_words_of_a_school_year(browse: Browse) -> None:
    shop = kiosk(PassFactory(validity=1, validity_unit=Slot.Unit.SCHOOL_YEAR))
    ticket = buy(shop)
    assert f"valable jusqu’au {long_date(ticket.last_day)}" in text(browse(shop).get("/mon-compte/e-billets/"))


def test_the_product_says_what_is_true_of_giving_back(browse: Browse) -> None:
    for shop, words in (
        (kiosk(PassFactory()), "tant qu’il n’a pas servi."),
        (bikes(1), "tant qu’il n’a pas servi et avant son premier jour."),
    ):
        assert f"Il peut être rendu pendant 14 jours, {words}" in text(
            browse(shop).get(shop.activity.get_absolute_url())
        )


def test_a_service_that_sells_tickets_alone_says_nothing_of_absences(browse: Browse) -> None:
    shop = kiosk()
    client, address = browse(shop), shop.activity.service.get_absolute_url()
    rule = absences.sentence(shop.activity.service.absence_rule)
    assert rule and rule not in text(client.get(address))
    TariffFactory(slot=SlotFactory(activity__service=shop.activity.service), profile=shop.tariff.profile)
    assert rule in text(client.get(address))


def test_beside_a_calendar_the_absences_name_it(browse: Browse) -> None:
    shop = kiosk()
    slot = SlotFactory(activity__service=shop.activity.service, activity__name="Ligne 12")
    TariffFactory(slot=slot, profile=shop.tariff.profile)
    client, address = browse(shop), shop.activity.service.get_absolute_url()
    assert "Cela vaut pour « Ligne 12 »." in text(client.get(address))
    Activity.objects.exclude(pk=slot.activity_id).update(is_active=False)
    assert "Cela vaut pour" not in text(client.get(address))


def test_an_adult_buys_for_themselves_from_the_page_of_the_product(browse: Browse) -> None:
    shop = kiosk()
    client, address = browse(shop), shop.activity.get_absolute_url()
    assert "Réserver aussi pour moi-même" in text(client.get(address))
    answer = client.post("/mon-compte/filiations/moi-meme/", {"back": address})
    assert answer["Location"] == address
    said = text(client.get(address))
    assert str(shop.user) in said and "Réserver aussi pour moi-même" not in said
    for back in (
        "https://ailleurs.example/",
        "//ailleurs.example/",
        "http://testserver//ailleurs.example/",
        "x",
        "http:x",
    ):
        answer = client.post("/mon-compte/filiations/moi-meme/", {"back": back})
        assert answer["Location"] == "/mon-compte/filiations/"


def test_buying_for_oneself_too_keeps_what_was_chosen(browse: Browse) -> None:
    shop = kiosk(EntriesFactory(name="1 entrée"), children=2)
    other = TariffFactory(
        slot=EntriesFactory(activity=shop.activity, name="Carte 10 entrées"), profile=shop.tariff.profile
    )
    client, address = browse(shop), shop.activity.get_absolute_url()
    page = client.get(address).content.decode()
    button = re.search(r'<button[^>]*formaction="/mon-compte/filiations/moi-meme/"[^>]*>', page)
    assert button and 'name="moi"' in button[0] and f'name="back" value="{address}"' in page
    sent = {"slot": other.slot.pk, "people": [shop.children[1].pk], "quantity": "3", "moi": "1", "back": address}
    after = client.post("/mon-compte/filiations/moi-meme/", sent, follow=True)
    assert "csrf" not in after.request["QUERY_STRING"] and "back" not in after.request["QUERY_STRING"]
    assert after.context["form"]["quantity"].value() == "3"
    assert [row.slot.name for row in after.context["slots"] if row.chosen] == ["Carte 10 entrées"]
    ticked = {person.pk for person, checked in after.context["people"] if checked}
    oneself = Filiation.objects.get(user=shop.user, kind="self").beneficiary_id
    assert ticked == {shop.children[1].pk, oneself}


@pytest.mark.parametrize(
    "came_with, leads_to",
    [("?profile=1", "?profile=1&slot=3"), ("?slot=2&profile=1", "?slot=3&profile=1"), ("#jours", "?slot=3#jours")],
)
def test_what_was_chosen_joins_the_query_that_a_page_has(browse: Browse, came_with: str, leads_to: str) -> None:
    shop = kiosk()
    address = shop.activity.get_absolute_url()
    sent = {"back": f"{address}{came_with}", "slot": "3"}
    assert browse(shop).post("/mon-compte/filiations/moi-meme/", sent)["Location"] == f"{address}{leads_to}"
