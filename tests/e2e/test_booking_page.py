"""The booking page in a browser: how few gestures a school year takes, and the grid of each child's days."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Locator, expect

from bookings.models import Booking
from checkout.models import CartLine
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor, how_many
from tests.e2e.watch import Looks

Visit = Callable[..., Visitor]
SERVICE = "/services/aiguilhe-restauration-scolaire/"
PAGE = f"{SERVICE}repas/"

pytestmark = pytest.mark.parametrize("javascript", [True, False], ids=["js", "sans-js"])


@dataclass
class Gestures:
    """Counts what a hand does."""

    made: list[str] = field(default_factory=list)

    def click(self, what: Locator) -> None:
        self.made.append(str(what))
        what.click()


def test_a_school_year_for_two_children_in_five_gestures(visit: Visit, javascript: bool) -> None:
    """Issue: two children, each Monday, Tuesday, Thursday and Friday, from the service page to the cart in at most six."""
    who = visit(PARENT, javascript=javascript)
    who.open(SERVICE)
    page, gestures = who.page, Gestures()
    gestures.click(page.get_by_role("link", name=re.compile("^Personnaliser")))
    for child in ("Louane Dupont", "Théo Dupont"):
        gestures.click(page.get_by_role("checkbox", name=re.compile(child)))
    gestures.click(page.get_by_role("button", name="Toute l’année", exact=True))
    days = page.locator(".months input[name=dates]:checked")
    expect(days.nth(20)).to_be_checked()
    quantity = page.locator("[data-sum=quantity]")
    expect(quantity).to_have_text(str(2 * how_many(days)))
    wanted = int(quantity.inner_text())
    gestures.click(page.get_by_role("button", name="Ajouter au panier").last)
    who.on("Mon panier")
    assert len(gestures.made) <= 6
    lines = CartLine.objects.filter(cart__user__email=PARENT)
    assert lines.count() == wanted
    found = {row.date.isoweekday() for row in Booking.objects.held().filter(made_by__email=PARENT)}
    assert found == {1, 2, 4, 5}


def test_different_days_for_each_child(visit: Visit, javascript: bool) -> None:
    """The grid: Louane on Mondays, Théo on Thursdays and one more day, then the cart has just these."""
    who = visit(PARENT, javascript=javascript, width=320)
    looks = Looks()
    who.open(PAGE)
    page = who.page
    page.get_by_role("button", name="Jours de chacun").click()
    week = page.get_by_role("table", name="Jours de la semaine type")
    for box in ("Louane, lundi", "Théo, jeudi"):
        week.get_by_role("checkbox", name=box, exact=True).check()
    page.get_by_role("button", name="Cocher ces jours").click()
    expect(page.get_by_role("status").filter(has_text=re.compile("jours cochés"))).to_be_visible()
    extra = page.get_by_role("checkbox", name=re.compile(r"^Théo, mardi \S+ \S+ \d{4}$")).nth(2)
    extra.check()
    wanted = how_many(page.locator(".months input[name=days]:checked"))
    if not javascript:
        page.get_by_role("button", name="Actualiser les prix et le total").click()
    expect(page.locator("[data-sum=quantity]")).to_have_text(str(wanted))
    if javascript:  # axe needs it
        looks.at(page)
    page.get_by_role("button", name="Ajouter au panier").last.click()
    who.on("Mon panier")
    rows = list(Booking.objects.held().filter(made_by__email=PARENT).select_related("beneficiary", "open_day"))
    assert len(rows) == wanted
    days = {(row.beneficiary.first_name, row.date.isoweekday()) for row in rows}
    assert days == {("Louane", 1), ("Théo", 4), ("Théo", 2)}
    looks.assert_fine()


def test_choices_go_along_into_the_grid_and_back(visit: Visit, javascript: bool) -> None:
    who = visit(PARENT, javascript=javascript)
    who.open(PAGE)
    page = who.page
    for child in ("Louane Dupont", "Théo Dupont"):
        page.get_by_role("checkbox", name=re.compile(child)).check()
    page.get_by_role("button", name="Tous les lundis", exact=True).click()
    calendar = page.locator(".months input[name=dates]:checked")
    expect(calendar.nth(2)).to_be_checked()
    mondays = how_many(calendar)
    page.get_by_role("button", name="Jours de chacun").click()
    expect(page.locator(".months input[name=days]:checked")).to_have_count(2 * mondays)
    page.get_by_role("button", name="Mêmes jours").click()
    expect(calendar).to_have_count(mondays)
    page.get_by_role("button", name="Jours de chacun").click()
    page.locator(".months input[name=days]:checked").first.uncheck()
    page.get_by_role("button", name="Mêmes jours").click()
    expect(page.get_by_text("la grille les montre personne par personne")).to_be_visible()
    expect(page.locator(".months input[name=days]:checked")).to_have_count(2 * mondays - 1)


def test_quick_choices_tick_the_same_with_and_without_javascript(visit: Visit, javascript: bool) -> None:
    """A month's column, a whole month, and both once more."""
    who = visit(PARENT, javascript=javascript)
    who.open(PAGE)
    page = who.page
    ticked = page.locator(".months input[name=dates]:checked")
    month = page.locator("#id_dates .mon").nth(2)
    inside = month.locator("input[name=dates]")
    whole = inside.count()
    month.locator("button.whole").click()
    expect(ticked).to_have_count(whole)
    month.locator("button.whole").click()
    expect(ticked).to_have_count(0)
    column = month.get_by_role("button", name=re.compile("^Tous les mardis"))
    column.click()
    expect(ticked.first).to_be_checked()
    expect(month.locator("td:nth-child(2) input:checked")).to_have_count(how_many(ticked))
    page.get_by_role("button", name="Tout décocher").click()
    expect(ticked).to_have_count(0)
