"""A certificate that was issued, and perhaps declared: only the money that it states ends it."""

import datetime as dt
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from accounts.models import Commune, User
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import OrderLine
from checkout.papers import views, yearly
from checkout.papers.models import Document, Kind
from checkout.papers.yearly import certificate, issue_certificate
from portal.common.formats import today
from services.models import Service, Slot
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.guards import off, sql
from tests.papers.reading import plain, words
from tests.papers.test_periods import born, ordered, same_year
from tests.shop import open_shop

pytestmark = pytest.mark.django_db
before = import_module("checkout.migrations.0039_lines_of_before_say_it")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What asks for the certificate of a year that is over: four days of care with a meal, 16,80 € of care."""
    shop = same_year(ordered(nature="both", includes_meal=True, meal_price=Decimal("3.70")))
    year = shop.days[0].date.year
    born(shop, dt.date(year - 4, 5, 1))
    for module in (yearly, views):
        monkeypatch.setattr(module, "today", lambda: dt.date(year + 1, 3, 1))
    return {"kind": Kind.CHILDCARE, "user": shop.user, "year": year, "by": shop.user}


def written_before() -> None:
    """The lines were written before they kept what their price pays for."""
    with off("checkout.OrderLine:line_is_frozen"):
        OrderLine.objects.update(nature="", meal_price=None)


@pytest.mark.parametrize("lines_of_before", [False, True])
@pytest.mark.parametrize(
    "slot",
    [
        {"meal_price": Decimal("4.20")},
        {"meal_price": Decimal("7.90")},
        {"nature": "care", "includes_meal": False, "meal_price": None},
        {"nature": "", "meal_price": None},
    ],
    ids=["next year's meals", "all is meals", "declared otherwise", "declared no longer"],
)
def test_what_a_commune_declares_later_ends_none(
    slot: dict[str, Any], lines_of_before: bool, asked: dict[str, Any]
) -> None:
    if lines_of_before:
        written_before()
    paper = issue_certificate(**asked)
    Slot.objects.update(**slot)
    assert paper.amount == Decimal("16.80") and issue_certificate(**asked) == paper
    assert lines_of_before or certificate(Kind.CHILDCARE, asked["user"], asked["year"]).amount == paper.amount
    answer = client_of(asked["user"]).get(f"/mon-compte/factures/attestation/frais-de-garde/{asked['year']}/")
    said = text(answer)
    assert "Cette attestation est éditée" in said and "rien à attester" not in said and "n’est plus à jour" not in said
    assert answer.context["content"].blocks == paper.data["blocks"]  # what it says, not what it would say today


def test_a_name_or_an_address_ends_none(asked: dict[str, Any]) -> None:
    papers = [issue_certificate(**asked | {"kind": kind}) for kind in (Kind.CHILDCARE, Kind.PAYMENTS)]
    Service.objects.update(name="Accueil des Sources", address="2 rue du Rocher, 43000 Aiguilhe")
    Commune.objects.filter(services__isnull=False).update(name="Autre", postal_code="43999")
    User.objects.filter(pk=asked["user"].pk).update(last_name="Autre")
    asked["user"].refresh_from_db()
    assert [issue_certificate(**asked | {"kind": paper.kind}) for paper in papers] == papers


def test_the_next_one_keeps_what_was_declared_when_it_was_ordered(asked: dict[str, Any]) -> None:
    early = issue_certificate(**asked)
    Slot.objects.update(meal_price=Decimal("4.20"))
    cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=asked["user"])
    paper = issue_certificate(**asked)
    assert (paper.amount, paper.edition) == (Decimal("12.60"), 2)
    assert plain("de 12,60 €, au lieu de 16,80 €") in words(Document.objects.get(cancels=early))


def test_what_was_not_declared_yet_follows_the_slot(asked: dict[str, Any]) -> None:
    written_before()
    Slot.objects.update(meal_price=Decimal("4.90"))
    assert issue_certificate(**asked).amount == Decimal("12.00")


def test_the_same_sum_for_something_else_ends_it() -> None:
    """Given back and paid again on the day of its issue: what it states as paid and as given back is another."""
    shop = open_shop(days=2, credit="50")
    issued = {"kind": Kind.PAYMENTS, "user": shop.user, "year": today().year, "by": shop.user}
    shop.add(days=shop.days[:1])
    shop.pay(Means.WALLET, "7.90")
    early = issue_certificate(**issued)
    cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
    shop.add(days=shop.days[1:])
    shop.pay(Means.WALLET, "7.90")
    paper = issue_certificate(**issued)
    assert paper.amount == early.amount and Document.objects.live().get() == paper
    assert Document.objects.get(cancels=early).reason == "Remplacée par une attestation à jour"


def test_lines_of_before_say_what_was_declared_when_they_were_ordered(asked: dict[str, Any]) -> None:
    """By the history of their slot, in which the meals of the next year come later."""
    Slot.objects.update(meal_price=Decimal("4.20"))
    written_before()
    with off("services.SlotEvent:append_only", "checkout.OrderLine:line_is_frozen"):
        sql("UPDATE services_slotevent SET pgh_created_at = now() + interval '1 day' WHERE meal_price = 4.20")
        with connection.schema_editor() as editor:
            before.fill(None, editor)
    assert set(OrderLine.objects.values_list("nature", "meal_price")) == {("both", Decimal("3.70"))}
