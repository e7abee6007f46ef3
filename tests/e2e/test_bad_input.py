"""What a browser may do to the platform, from a nervous finger to forged fields: a sentence, nothing lost, no 500."""

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from checkout.models import Cart, CartLine
from families.models import Beneficiary
from portal.common.formats import day as day_of
from services.models import OpenDay, Slot
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.steps import Visitor

Visit = Callable[..., Visitor]

both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["avec JavaScript", "sans JavaScript"])
CHOOSE = "Choisissez votre moyen de paiement (4 produits)"
WITH_WALLET, BY_CARD = "Payer avec mon porte-monnaie", "Payer par carte"


def at_the_till(visit: Visit, **browser: object) -> Visitor:
    """The parent in front of 05 Paiement, four mornings in the cart."""
    baskets.fill_cart()
    who = visit(user=PARENT, **browser)
    who.open(PAYMENT_PAGE)
    who.on(CHOOSE)
    return who


# --- Twice -----------------------------------------------------------------------------------------------------------


@both_ways
def test_a_double_click_on_pay_orders_once(visit: Visit, javascript: bool) -> None:
    who = at_the_till(visit, javascript=javascript)
    who.page.get_by_role("button", name=WITH_WALLET).dblclick()
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once()


@both_ways
def test_a_double_click_at_the_bank_pays_once(visit: Visit, javascript: bool) -> None:
    who = at_the_till(visit, javascript=javascript)
    who.press(BY_CARD)
    who.on("Payer 31,60 €")
    who.page.get_by_role("button", name="Payer", exact=True).dblclick()
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")


def test_back_after_paying_by_card_and_paying_again(visit: Visit) -> None:
    who = at_the_till(visit)
    who.press(BY_CARD)
    steps.pay_at_the_bank(who, "31,60 €")
    steps.order_is_paid(who, "31,60 €")
    who.page.go_back()
    who.on("Payer 31,60 €")
    who.reads("Cette banque connaît déjà ce paiement : payé.")
    who.press("Payer")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")


@pytest.mark.parametrize("again", [WITH_WALLET, BY_CARD])
def test_a_second_window_still_shows_the_till_and_pays_again(visit: Visit, again: str) -> None:
    """What « back after paying » shows where the browser keeps the page: the form of a cart that is paid."""
    who = at_the_till(visit)
    other = Visitor(who.page.context.new_page())
    other.open(PAYMENT_PAGE)
    other.on(CHOOSE)
    who.press(WITH_WALLET)
    steps.order_is_paid(who, "31,60 €")
    other.press(again)
    other.on(re.compile("^Commande "))
    steps.paid(other)
    assert baskets.paid_once()


def test_back_after_paying_with_the_wallet(visit: Visit) -> None:
    who = at_the_till(visit)
    who.press(WITH_WALLET)
    steps.order_is_paid(who, "31,60 €")
    who.page.go_back()
    who.on(re.compile("^Commande "))
    who.reads("Cette commande est déjà payée : rien ne sera débité une seconde fois.")
    assert baskets.paid_once()


def test_the_bank_in_one_window_the_wallet_in_the_other(visit: Visit) -> None:
    """Both go through: the order is paid by the first, and the card's money is in the wallet, not lost."""
    who = at_the_till(visit)
    other = Visitor(who.page.context.new_page())
    other.open(PAYMENT_PAGE)
    other.on(CHOOSE)
    who.press(BY_CARD)
    who.on("Payer 31,60 €")
    other.press(WITH_WALLET)
    steps.order_is_paid(other, "31,60 €")
    who.press("Payer")
    who.on(re.compile("^Commande "))
    who.reads("Votre carte a été débitée, mais la commande n’attendait plus ce règlement")
    steps.wallet_holds(who, "50,00 €")  # 31,60 € went to the order, 31,60 € came from the card
    assert baskets.orders().count() == 1 and baskets.booked() == 4


# --- Two windows -----------------------------------------------------------------------------------------------------


def at_the_till_and_at_the_cart(visit: Visit) -> tuple[Visitor, Visitor]:
    """The same parent in two windows."""
    who = at_the_till(visit)
    other = Visitor(who.page.context.new_page())
    other.open("/panier/")
    other.on("Mon panier")
    return who, other


def test_the_cart_changed_in_another_window(visit: Visit) -> None:
    who = at_the_till(visit)
    CartLine.objects.filter(cart__user=baskets.parent()).latest("pk").delete()
    who.press(WITH_WALLET)
    who.on("Mon panier")
    who.reads("Votre panier a changé : il vaut maintenant 23,70 € au lieu de 31,60 €.", "rien n’a été débité")
    assert baskets.nothing_happened()


def test_the_cart_emptied_in_another_window(visit: Visit) -> None:
    who, other = at_the_till_and_at_the_cart(visit)
    other.press("Retirer Inscription Accueil Périscolaire (mercredis) Matin")
    other.reads("4 réservations ont quitté votre panier.", "Votre panier est vide")
    who.press(WITH_WALLET)
    who.on("Mon panier")
    who.reads("Votre panier est vide.")
    assert baskets.nothing_happened()


def test_the_cart_being_paid_cannot_change_in_another_window(visit: Visit) -> None:
    who, other = at_the_till_and_at_the_cart(visit)
    who.press(BY_CARD)
    who.on("Payer 31,60 €")
    other.press("Retirer Inscription Accueil Périscolaire (mercredis) Matin")
    other.reads("Une commande attend son règlement : terminez-le, ou abandonnez-le depuis votre panier")
    who.press("Payer")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once(by="demo")


# --- Too late --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True], ids=["before the sweeper", "after the sweeper"])
def test_paying_after_the_hold_ran_out_when_the_places_are_still_free(visit: Visit, swept: bool) -> None:
    who = at_the_till(visit)
    baskets.let_the_time_run_out(swept=swept)
    who.press(WITH_WALLET)
    steps.order_is_paid(who, "31,60 €")
    assert baskets.paid_once()


def test_paying_after_the_hold_ran_out_when_a_place_is_gone(visit: Visit) -> None:
    days = baskets.fill_cart()
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.on(CHOOSE)
    baskets.let_the_time_run_out(swept=True)
    baskets.others_take(days[1])
    who.press(WITH_WALLET)
    who.on("Mon panier")
    who.reads("Des places de votre panier ont expiré et ne sont plus libres : vérifiez votre panier.")
    who.reads("Rien n’a été débité.")
    assert baskets.nothing_happened()
    # What is left of the cart can be had again, and says which place is gone.
    who.press("Reprendre mes places")
    who.reads(
        "Ces places n’ont pas pu être reprises et ont quitté votre panier : Louane, ",
        f"{day_of(days[1].date)} {days[1].date.year} : complet",
    )
    who.reads("Il y a 3 produits dans votre panier")
    who.follow("Commander")
    who.on("Récapitulatif de la commande (3 produits)")


def test_the_countdown_of_a_hold_that_ran_out(visit: Visit) -> None:
    """Coming back to the cart later: what happened, and the way on."""
    baskets.fill_cart()
    baskets.let_the_time_run_out(swept=True)
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.on("Mon panier")
    who.reads("Des places ne sont plus gardées")
    who.press("Reprendre mes places")
    who.reads("Vos places sont de nouveau gardées.", "Il y a 4 produits dans votre panier")
    assert baskets.nothing_happened()


# --- Forged fields ---------------------------------------------------------------------------------------------------


def forge(page: Page, name: str, value: str) -> None:
    """Change what a field of the form will send; a box is ticked, whatever it stood for."""
    page.evaluate(
        """([name, value]) => {
            const field = document.querySelector(`main form [name="${name}"]`);
            field.value = value;
            if (field.type === "checkbox" || field.type === "radio") { field.disabled = false; field.checked = true; }
        }""",
        [name, value],
    )


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("total", "0.01", "Votre panier a changé : il vaut maintenant 31,60 € au lieu de 0,01 €."),
        ("total", "-31.60", "Votre panier a changé : il vaut maintenant 31,60 €"),
        ("total", "gratuit", "Cette page n’était plus à jour"),
        ("cart", "999999", "Ce panier n’existe pas."),
        ("cart", "9" * 30, "Ce panier n’existe pas."),
        ("cart", "x", "Cette page n’était plus à jour"),
    ],
)
def test_forged_fields_of_the_payment(visit: Visit, name: str, value: str, sentence: str) -> None:
    who = at_the_till(visit)
    forge(who.page, name, value)
    who.press(WITH_WALLET)
    who.reads(sentence)
    assert baskets.nothing_happened()


def test_forged_means_of_payment(visit: Visit) -> None:
    who = at_the_till(visit)
    who.page.get_by_role("button", name=WITH_WALLET).evaluate("(button) => { button.value = 'cheque'; }")
    who.press(WITH_WALLET)
    who.reads("Ce moyen de paiement n’existe pas : choisissez-en un autre.")
    assert baskets.nothing_happened()


def test_somebody_elses_cart(visit: Visit) -> None:
    baskets.fill_cart()
    cart = Cart.objects.live().get(user=baskets.parent())
    stranger = visit(user="famille2@demo.example")
    stranger.open("/mon-compte/porte-monnaie/")
    stranger.on("Mon porte-monnaie")
    token = stranger.page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    fields = {"csrfmiddlewaretoken": token, "cart": str(cart.pk), "total": "31.60", "means": "wallet"}
    answer = stranger.page.request.post(PAYMENT_PAGE, form=fields)
    assert answer.ok and "Ce panier n’existe pas." in answer.text()
    assert baskets.nothing_happened()


def unknown_date() -> str:
    return str(timezone.localdate() + dt.timedelta(days=5000))


def past_date() -> str:
    return str(timezone.localdate() - dt.timedelta(days=30))


def sunday() -> str:
    today = timezone.localdate()
    return str(today + dt.timedelta(days=6 - today.weekday() + 14))


def full_day() -> str:
    day = baskets.free_days(1)[0]
    baskets.others_take(day)
    return str(day.date)


def closed_day() -> str:
    day = next(day for day in baskets.free_days(30) if not day.taken)  # a booked one is closed by a closure
    OpenDay.objects.filter(pk=day.pk).update(is_open=False, closed_reason="Grève des agents", by_hand=True)
    return str(day.date)


def too_late() -> str:
    day = baskets.free_days(1)[0]
    OpenDay.objects.filter(pk=day.pk).update(book_until=timezone.now() - dt.timedelta(minutes=1), by_hand=True)
    return str(day.date)


def somebody_elses_child() -> str:
    return str(Beneficiary.objects.get(first_name="Hugo", last_name="Roche").pk)


def slot_of_another_activity() -> str:
    return str(Slot.objects.get(name="Repas", activity__service__slug="aiguilhe-restauration-scolaire").pk)


def itself(value: str) -> Callable[[], str]:
    return lambda: value


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("dates", unknown_date, "(pas de service ce jour-là)"),
        ("dates", past_date, "Rien n’a été ajouté au panier."),
        ("dates", sunday, "(pas de service ce jour-là)"),
        ("dates", full_day, "Cette date est complète"),
        ("dates", closed_day, "(Grève des agents)"),
        ("dates", too_late, "Trop tard pour réserver"),
        ("dates", itself("2026-02-30"), "Une des dates n’est pas lisible : choisissez-la dans le calendrier."),
        ("dates", itself("demain"), "Une des dates n’est pas lisible : choisissez-la dans le calendrier."),
        ("people", somebody_elses_child, "Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
        ("people", itself("9" * 30), "Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
        ("slot", slot_of_another_activity, "Ce type de prestation n’est pas proposé ici : choisissez-en un autre."),
        ("slot", itself("²"), "Ce type de prestation n’est pas proposé ici : choisissez-en un autre."),
    ],
)
def test_forged_fields_of_a_booking(visit: Visit, name: str, value: Callable[[], str], sentence: str) -> None:
    """The page was opened before; what it sends is not what it showed."""
    who = visit(user=PARENT)
    who.open("/services/rosieres-accueil-de-loisirs/mercredis/")
    who.choose(re.compile("^Matin 7 h 30"))
    who.tick(re.compile("^Louane Dupont"))
    steps.tick_dates(who, 2, weekdays=(2,))
    forge(who.page, name, value())
    who.press("Ajouter au panier")
    alert = who.page.get_by_role("alert")
    expect(alert).to_contain_text("Il y a un problème")
    expect(alert).to_contain_text(sentence)
    expect(who.page.get_by_role("radio", name=re.compile("^Matin"), checked=True)).to_have_count(1)
    assert baskets.nothing_happened()
    assert not CartLine.objects.filter(cart__user=baskets.parent()).exists()


def test_two_hundred_dates_and_too_many(visit: Visit) -> None:
    """A form may send a whole year; what is no year at all is refused in a sentence."""
    who = visit(user=PARENT)
    who.open("/services/rosieres-accueil-de-loisirs/mercredis/")
    who.tick(re.compile("^Louane Dupont"))
    steps.tick_dates(who, 1, weekdays=(2,))
    add = """(count) => {
        const form = document.querySelector("form.book");
        for (let n = 0; n < count; n += 1) {
            const day = new Date(Date.UTC(2026, 8, 1 + n)).toISOString().slice(0, 10);
            form.insertAdjacentHTML("beforeend", `<input type="hidden" name="dates" value="${day}">`);
        }
    }"""
    who.page.evaluate(add, 200)
    who.press("Ajouter au panier")
    expect(who.page.get_by_role("alert")).to_contain_text("Rien n’a été ajouté au panier.")
    who.page.evaluate(add, 401)
    who.press("Ajouter au panier")
    expect(who.page.get_by_role("alert")).to_contain_text("Choisissez 400 dates au plus à la fois.")
    assert not CartLine.objects.filter(cart__user=baskets.parent()).exists()


def test_an_unsubscribed_service(visit: Visit) -> None:
    who = visit(user=PARENT)
    who.open("/services/bains-restauration-scolaire/repas/")
    who.on("Mairie de Bains – Restauration scolaire")
    who.reads("Pour réserver ici, demandez d’abord l’accès à ce service.")
    assert baskets.nothing_happened()


@pytest.mark.parametrize(
    "address",
    [
        "/mon-compte/reservations/annuler/?r=²",
        f"/mon-compte/reservations/annuler/?r={'9' * 30}",
        "/mon-compte/reservations/annuler/?r=x",
        "/mon-compte/reservations/?mois=9999-12",
        "/mon-compte/reservations/?mois=0001-01",
        "/mon-compte/reservations/?mois=²-²",
        "/mon-compte/reservations/?mois=2026-13",
        "/mon-compte/reservations/?page=²",
        "/mon-compte/reservations/?vue=²&enfant=²&activite=²&etat=²",
        "/mon-compte/reservations/?vue=semaine&semaine=2026-W99",
        f"/mon-compte/reservations/?vue=liste&annee={'9' * 30}",
        "/mon-compte/reservations/annuler/?comme=²",
        f"/mon-compte/reservations/{'9' * 18}/changer/?slot=²&date=9999-99-99",
        "/mon-compte/absences/signaler/?enfant=²&r=²",
        f"/mon-compte/absences/{'9' * 18}/",
        "/agenda/².ics",
        "/mon-compte/commandes/?page=99999999999999999999",
        "/mon-compte/porte-monnaie/?page=-1",
        "/services/rosieres-accueil-de-loisirs/mercredis/?annee=²",
        "/services/rosieres-accueil-de-loisirs/mercredis/?annee=99999",
        "/services/rosieres-accueil-de-loisirs/mercredis/?slot=²&people=²&dates=²&profile=²",
        "/paiement/demo/retour/x/?reference=x&signature=é",
        "/demo/banque/?reference=x",
        "/demo/banque/etat/x/",
        "/demo/courriels/?page=²",
    ],
)
def test_addresses_that_nobody_wrote(visit: Visit, address: str) -> None:
    """A page in French, whatever the address: never an error of the server."""
    who = visit(user=PARENT)
    answer = who.page.goto(address)
    assert answer is not None and answer.status in (200, 404), answer
    expect(who.page.get_by_role("heading", level=1)).not_to_be_empty()
    expect(who.page.locator("html")).to_have_attribute("lang", "fr")


@pytest.mark.parametrize(
    "address, fields",
    [
        ("/panier/retirer/", {"line": "²"}),
        ("/panier/retirer/", {"line": "9" * 30}),
        ("/mon-compte/reservations/annuler/", {"r": "²"}),
        ("/mon-compte/reservations/annuler/", {"r": "9" * 30}),
        ("/mon-compte/absences/signaler/", {"enfant": "²", "r": "9" * 30, "kind": "²"}),
        ("/mon-compte/reservations/agenda/", {"do": "²"}),
        ("/services/rosieres-accueil-de-loisirs/mercredis/", {"pick": "²"}),
        ("/services/rosieres-accueil-de-loisirs/mercredis/", {"pick": "2026-12:" + "9" * 5000}),
        ("/services/rosieres-accueil-de-loisirs/mercredis/", {"pick": "show", "dates": "9999-12-31"}),
        ("/services/rosieres-accueil-de-loisirs/mercredis/", {"profile": "²", "slot": "1", "people": "1"}),
        ("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "NaN"}),
        ("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "1e400"}),
        ("/mon-compte/porte-monnaie/", {"pack": "custom", "amount": "-5", "shown": "-4.99"}),
        ("/mon-compte/porte-monnaie/", {"pack": "0.01"}),
        ("/commande/adresse/", {"address": "²"}),
        (PAYMENT_PAGE, {"cart": "1", "total": "NaN", "means": "wallet"}),
        (PAYMENT_PAGE, {"cart": "1", "total": "31.60", "means": ""}),
    ],
)
def test_forms_that_nobody_showed(visit: Visit, address: str, fields: dict[str, str]) -> None:
    """Straight to the server with the session's cookies and a good CSRF token: a page in French, no 500."""
    baskets.fill_cart()
    who = visit(user=PARENT)
    who.open("/panier/")
    token = who.page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    answer = who.page.request.post(address, form={"csrfmiddlewaretoken": token, **fields})
    assert answer.status < 500, f"{answer.status} {answer.url}"
    assert '<html lang="fr"' in answer.text()
    assert baskets.nothing_happened()


def test_a_form_without_its_token_is_refused_in_french(visit: Visit) -> None:
    who = at_the_till(visit)
    who.page.evaluate("document.querySelectorAll('[name=csrfmiddlewaretoken]').forEach((field) => field.remove())")
    who.press(WITH_WALLET)
    expect(who.page.get_by_role("heading", level=1)).not_to_be_empty()
    expect(who.page.locator("html")).to_have_attribute("lang", "fr")
    assert baskets.nothing_happened()
