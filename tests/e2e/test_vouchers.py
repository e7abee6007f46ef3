"""« Bons de réduction » in a browser, with JavaScript and without: entered, refused, taken out, paid; places kept longer."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e import baskets
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.e2e.watch import Looks

Visit = Callable[..., Visitor]
both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
SUMMARY = re.compile("^Récapitulatif de la commande")


def enter(who: Visitor, code: str) -> None:
    who.write("Code du bon", code)
    who.press("OK ajouter ce bon")
    who.on(SUMMARY)


@both_ways
def test_codes_at_the_summary(visit: Visit, javascript: bool) -> None:
    baskets.fill_cart(4)
    who = visit(user=PARENT, javascript=javascript)
    who.looks = Looks() if javascript else None
    who.open("/commande/recapitulatif/")
    who.on(SUMMARY)
    enter(who, "RENTREE11")
    who.reads("Le code « RENTREE11 » n’est pas connu : vérifiez chaque lettre.")
    enter(who, "rentree10")
    who.reads("Bon RENTREE10 ajouté : 3,16\u00a0€ de moins.")
    enter(who, "bienvenue")
    expect(who.page.get_by_role("row", name=re.compile("^Total 23,44"))).to_be_visible()
    who.press("Retirer RENTREE10")
    who.on(SUMMARY)
    expect(who.page.get_by_role("row", name=re.compile("^Total 26,60"))).to_be_visible()
    who.press("Garder mes places 15 minutes de plus")
    who.on(SUMMARY)
    who.reads("Vos places sont gardées jusqu’à")
    expect(who.page.get_by_role("button", name="Garder mes places")).to_have_count(0)
    who.open("/mon-compte/bons-de-reduction/")
    who.on("Mes bons de réduction")
    who.reads("COUPDEPOUCE-DUPONT", "Dans votre panier")
    assert not baskets.orders().exists()
    if who.looks is not None:
        who.looks.assert_fine()
