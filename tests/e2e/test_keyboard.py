"""Booking and paying without a mouse: every stop of the Tab key shows where it is, and nothing lies over it."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Locator, expect

from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor, how_many

Visit = Callable[..., Visitor]

BOOKING = "/services/rosieres-accueil-de-loisirs/mercredis/"

# What is wrong with the element that has the focus, or nothing.
LOOK_AT_FOCUS = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) return "nothing has the focus";
    const label = element.closest("label");
    const drawn = [element, label, element.closest("td"), element.closest("li")].filter(Boolean);
    const ring = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const name = element.getAttribute("aria-label") || element.textContent.trim() || element.outerHTML;
    if (!drawn.some((part) => ring(getComputedStyle(part)) || ring(getComputedStyle(part, "::after"))))
        return `the focus does not show on « ${name} »`;
    const box = (label ?? element).getClientRects()[0];
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    if (y < 0 || y > innerHeight || x < 0 || x > innerWidth) return `« ${name} » has the focus out of the window`;
    const top = document.elementFromPoint(x, y);
    if (top !== element && !element.contains(top) && !(label && label.contains(top)))
        return `« ${name} » has the focus under ${top.outerHTML.slice(0, 80)}`;
    return "";
}"""


class Keyboard:
    """Somebody who only has Tab, Space, Enter and the arrows; looks at the focus at every stop."""

    def __init__(self, who: Visitor) -> None:
        self.who = who
        self.faults: list[str] = []

    def press(self, key: str) -> None:
        self.who.page.keyboard.press(key)

    def skip_to_content(self) -> None:
        """The first stop of every page leads past its header."""
        self.press("Tab")
        skip = self.who.page.get_by_role("link", name="Aller au contenu")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        self.press("Enter")
        expect(self.who.page.get_by_role("main")).to_be_focused()

    def is_in_content(self) -> None:
        """A form that was sent from below the skip link's target: browsers keep the fragment through the redirect."""
        expect(self.who.page).to_have_url(re.compile("#contenu$"))

    def tab_to(self, target: Locator, most: int = 150) -> None:
        expect(target).to_be_visible()
        for _stop in range(most):
            self.press("Tab")
            fault = self.who.page.evaluate(LOOK_AT_FOCUS)
            if fault:
                self.faults.append(fault)
            if target.evaluate("(element) => element === document.activeElement"):
                return
        pytest.fail(f"{most} times Tab do not lead to {target}")

    def enter(self, role: Literal["link", "button"], name: str) -> None:
        """Tab to a link or button and press Enter."""
        self.tab_to(self.who.page.get_by_role("main").get_by_role(role, name=name, exact=True).first)
        self.press("Enter")


@pytest.mark.parametrize(
    "width, means", [(390, "Payer avec mon porte-monnaie"), (1280, "Payer par carte")], ids=["phone", "screen"]
)
def test_book_and_pay_with_the_keyboard_alone(visit: Visit, width: int, means: str) -> None:
    who = visit(user=PARENT, width=width)
    keys = Keyboard(who)
    who.open("/services/rosieres-accueil-de-loisirs/")
    keys.skip_to_content()
    keys.enter("link", "Personnaliser Inscription Accueil Périscolaire (mercredis)")

    who.on("Inscription Accueil Périscolaire (mercredis)")
    keys.skip_to_content()
    morning = who.page.get_by_role("radio", name=re.compile("^Matin 7 h 30"))
    keys.tab_to(morning)
    keys.press("ArrowDown")
    expect(who.page.get_by_role("radio", name=re.compile(r"^Matin \+ Repas"))).to_be_checked()
    keys.press("ArrowUp")
    expect(morning).to_be_checked()
    child = who.page.get_by_role("checkbox", name=re.compile("^Louane Dupont"))
    keys.tab_to(child)
    keys.press("Space")
    expect(child).to_be_checked()
    days = who.page.get_by_role("checkbox", name=re.compile(r"^mercredi \S+ \S+ \d{4}$"))
    if how_many(days) < 6:  # late in the school year: the next one, a button further
        keys.tab_to(
            who.group("Date de réservation").place.get_by_role("button", name=re.compile(r"^\d{4}-\d{4}$")).last
        )
        keys.press("Enter")
        expect(days.nth(5)).to_be_visible()
    for index in range(2, 6):
        keys.tab_to(days.nth(index))
        keys.press("Space")
        expect(days.nth(index)).to_be_checked()
    expect(who.page.get_by_role("complementary").get_by_role("status")).to_have_text("31,60 €")
    keys.enter("button", "Ajouter au panier")

    who.on("Mon panier")
    # What was added is said at once, and the way on is the next stop.
    expect(who.page.get_by_role("status").filter(has_text="Produit ajouté au panier avec succès")).to_be_focused()
    keys.enter("link", "Commander")
    who.on("Récapitulatif de la commande (4 produits)")
    keys.skip_to_content()
    keys.enter("link", "Commander")
    who.on("Conditions générales de vente")
    keys.skip_to_content()
    keys.tab_to(who.page.get_by_role("checkbox", name=re.compile("J’ai lu les conditions générales")))
    keys.press("Space")
    keys.enter("button", "Commander")
    who.on("Choisissez votre moyen de paiement (4 produits)")
    keys.is_in_content()
    # The address is known; it can be changed from here, and one comes back here.
    keys.enter("link", "Modifier l’adresse")
    who.on("Votre adresse")
    keys.skip_to_content()
    keys.enter("button", "Continuer")
    who.on("Choisissez votre moyen de paiement (4 produits)")
    keys.is_in_content()
    keys.enter("button", means)
    if means == "Payer par carte":
        who.on("Payer 31,60 €")
        keys.is_in_content()
        keys.enter("button", "Payer")
    steps.order_is_paid(who, "31,60 €")
    assert baskets.orders().count() == 1 and baskets.booked() == 4
    assert not keys.faults, "\n".join(keys.faults)


@pytest.mark.parametrize(
    "address, button, sentence, group",
    [
        (BOOKING, "Ajouter au panier", "Choisissez au moins un bénéficiaire.", "Bénéficiaire"),
        ("/mon-compte/porte-monnaie/", "Effectuer un dépôt", "Choisissez un pack", "Choisissez un pack de crédits"),
    ],
    ids=["booking", "wallet"],
)
def test_an_error_takes_the_focus_and_leads_to_its_field(
    visit: Visit, address: str, button: str, sentence: str, group: str
) -> None:
    who = visit(user=PARENT, width=390)
    keys = Keyboard(who)
    who.open(address)
    keys.skip_to_content()
    keys.tab_to(who.page.get_by_role("button", name=button, exact=True))
    keys.press("Enter")
    alert = who.page.get_by_role("alert")
    expect(alert).to_be_focused()
    keys.tab_to(alert.get_by_role("link", name=sentence))
    keys.press("Enter")
    first = who.group(group).place.locator("input:enabled").first
    expect(first).to_be_focused()
    expect(first).to_be_in_viewport()
    assert not keys.faults, "\n".join(keys.faults)


def test_the_watch_on_the_focus_sees_a_fault(visit: Visit) -> None:
    """Shown first what it must find: a ring taken away, and something laid over the page."""
    who = visit(user=PARENT, width=390)
    keys = Keyboard(who)
    who.open("/mon-compte/services/")
    who.page.evaluate("document.adoptedStyleSheets = [new CSSStyleSheet()]")
    who.page.evaluate("document.adoptedStyleSheets[0].replaceSync(':focus-visible { outline: 0 !important }')")
    keys.press("Tab")
    assert "does not show" in who.page.evaluate(LOOK_AT_FOCUS)
    cover = "body::after { content: ''; position: fixed; inset: 0; z-index: 99 }"
    who.page.evaluate("(css) => document.adoptedStyleSheets[0].replaceSync(css)", cover)
    keys.press("Tab")
    assert "has the focus under" in who.page.evaluate(LOOK_AT_FOCUS)
