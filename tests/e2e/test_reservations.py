"""« Mes réservations » in a browser: the three views, a change, an absence with its certificate, the calendar's address.

Each with JavaScript and without; with it, every page on the way is looked at as four readers see it.
"""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pikepdf
import pytest
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import User
from bookings.absences import Absence
from bookings.models import Booking
from checkout.actions import Means, justify_absence, pay
from checkout.models import Cart
from portal.common.formats import day, long_date, month
from services.models import OpenDay
from tests.e2e import baskets
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.e2e.watch import Looks

Visit = Callable[..., Visitor]
both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
PAGE = "/mon-compte/reservations/"


def paid_wednesdays(count: int = 4) -> list[OpenDay]:
    """Louane's mornings of that many Wednesdays, paid with the wallet: 18,40 € are left of 50,00 €."""
    days = baskets.fill_cart(count)
    cart = Cart.objects.get(user=baskets.parent())
    pay(user=baskets.parent(), cart_id=cart.pk, means=Means.WALLET, shown_total=count * Decimal("7.90"))
    return days


def somebody(visit: Visit, javascript: bool) -> Visitor:
    who = visit(user=PARENT, javascript=javascript)
    who.looks = Looks() if javascript else None
    return who


def fine(who: Visitor) -> None:
    if who.looks is not None:
        who.looks.assert_fine()


@both_ways
def test_month_week_list_and_filters(visit: Visit, javascript: bool) -> None:
    days = paid_wednesdays()
    who = somebody(visit, javascript)
    who.open(PAGE)
    who.on("Mes réservations")
    expect(who.page.get_by_role("table", name=re.compile(f"^{month(days[0].date).lower()}, "))).to_be_visible()
    who.follow("Semaine")
    who.on("Mes réservations")
    monday = days[0].date - dt.timedelta(days=days[0].date.weekday())
    week = who.page.get_by_role("table", name=f"Semaine du {day(monday).partition(' ')[2]} {monday.year}")
    expect(week).to_contain_text("7 h 30")
    who.follow("Liste")
    who.on("Mes réservations")
    for each in days:
        expect(who.page.get_by_role("heading", name=long_date(each.date))).to_be_visible()
    who.page.get_by_text("Filtrer", exact=True).click()
    who.pick("Bénéficiaire", "Théo Dupont")
    who.press("Afficher")
    who.on("Mes réservations")
    who.reads("Aucune réservation ne correspond à ces filtres.")
    who.follow("Effacer les filtres")
    who.on("Mes réservations")
    expect(who.page.get_by_role("checkbox", name=re.compile("^Louane"))).to_have_count(len(days))
    fine(who)


@both_ways
def test_all_of_a_kind_is_cancelled_in_one_go(visit: Visit, javascript: bool) -> None:
    days = paid_wednesdays()
    who = somebody(visit, javascript)
    who.open(f"{PAGE}{Booking.objects.booked().filter(open_day=days[0], made_by=baskets.parent()).get().pk}/")
    who.on(f"LLouane, {long_date(days[0].date)}")
    who.follow("Annuler les 4 à venir de Louane…")
    who.on("Annuler ces 4 réservations ?")
    who.reads(*(long_date(each.date) for each in days))
    who.press("Confirmer l’annulation")
    who.on("Mes réservations")
    who.reads("4 réservations annulées. Votre porte-monnaie a reçu 31,60 €.")
    assert baskets.booked() == 0 and baskets.balance() == 50
    fine(who)


@both_ways
def test_another_date_and_slot(visit: Visit, javascript: bool) -> None:
    days = paid_wednesdays(1)
    free = baskets.free_days(3)[-1]
    who = somebody(visit, javascript)
    who.open(PAGE)
    who.follow(f"Détails : Louane, {long_date(days[0].date)}, Matin")
    who.follow("Changer de date ou de prestation…")
    who.on("Changer de date ou de prestation")
    who.choose(re.compile("^Journée 7 h 30"))
    who.pick("Date", long_date(free.date))
    who.press("Continuer")
    who.on("Vérifiez le changement")
    who.reads(long_date(free.date), "6,00 €")
    who.press("Confirmer le changement")
    who.on(f"LLouane, {long_date(free.date)}")
    who.reads("Votre réservation est changée.", f"Remplace {long_date(days[0].date)}, Matin")
    assert baskets.booked() == 1 and baskets.balance() == Decimal("36.10")
    fine(who)


@both_ways
def test_an_absence_and_its_certificate(visit: Visit, javascript: bool, tmp_path: Path) -> None:
    days = paid_wednesdays(4)
    OpenDay.objects.filter(pk__in=[each.pk for each in days]).update(cancel_until=timezone.now())
    certificate = tmp_path / "certificat.pdf"
    with pikepdf.new() as document:
        document.add_blank_page(page_size=(200, 200))
        document.save(certificate)
    who = somebody(visit, javascript)
    who.open(PAGE)
    who.follow("Signaler une absence")
    who.on("Signaler une absence")
    who.choose("Louane Dupont")
    who.press("Continuer")
    who.on("Jours d’absence de Louane")
    for each in days:
        who.tick(re.compile(f"^{long_date(each.date)}"))
    who.press("Continuer")
    who.on("Vérifiez l’absence de Louane")
    who.reads("Le jour de l’absence et les deux suivants ne sont pas remboursés", "non remboursé", "23,70 €")
    who.press("Signaler l’absence")
    who.on("Vérifiez l’absence de Louane")
    who.reads("Dites pourquoi : maladie, raison familiale…")
    who.choose("Maladie")
    who.page.get_by_label("Certificat ou justificatif").set_input_files(certificate)
    who.press("Signaler l’absence")
    who.on("Absence de Louane")
    who.reads("L’absence de Louane est signalée : le service est prévenu.", "certificat.pdf")
    justify_absence(absence=Absence.objects.get(), by=User.objects.get(email="rosieres@demo.example"))
    who.page.reload()
    who.on("Absence de Louane")
    who.reads("Justifiée", "23,70 € sont revenus dans votre porte-monnaie.")
    assert baskets.balance() == Decimal("42.10")
    fine(who)


@both_ways
def test_the_calendars_address(visit: Visit, javascript: bool) -> None:
    paid_wednesdays(2)
    who = somebody(visit, javascript)
    who.open(PAGE)
    who.follow("Dans mon agenda")
    who.on("Vos réservations dans votre agenda")
    who.press("Créer mon adresse d’agenda")
    who.on("Vos réservations dans votre agenda")
    address = who.page.get_by_label("Adresse à coller dans votre agenda").input_value()
    stranger = visit(javascript=javascript)
    assert stranger.page.request.get(address).text().count("BEGIN:VEVENT") == 2
    who.press("Retirer l’adresse")
    who.on("Vos réservations dans votre agenda")
    assert stranger.page.request.get(address).status == 404
    fine(who)
