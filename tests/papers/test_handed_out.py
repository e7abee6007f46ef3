"""A certificate that was issued, and perhaps declared: only the money that it states ends it."""

import datetime as dt
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from accounts.models import Commune, User
from bookings.models import Booking
from checkout.actions import Means, add_to_cart, cancel_bookings, correct_declaration
from checkout.actions.declarations import Days, concerned
from checkout.models import DeclarationCorrection, OrderLine
from checkout.papers import views, yearly
from checkout.papers.actions import cancel
from checkout.papers.again import issue_again
from checkout.papers.models import Document, Kind
from checkout.papers.yearly import certificate, issue_certificate
from portal.common.formats import today
from services.models import Service, Slot
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import SlotFactory, TariffFactory, agent_of
from tests.guards import off, sql
from tests.papers.reading import plain, words
from tests.papers.test_periods import born, ordered, same_year
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)
before = import_module("checkout.migrations.0039_lines_of_before_say_it")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What asks for the certificate of a year that is over: four days of care with a meal, 16,80 € of care."""
    return with_meals(monkeypatch, days=4, meal_price="3.70")


def with_meals(monkeypatch: pytest.MonkeyPatch, *, days: int, meal_price: str) -> dict[str, Any]:
    shop = same_year(ordered(days=days, nature="both", includes_meal=True, meal_price=Decimal(meal_price)))
    return once_over(shop, monkeypatch)


def once_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What asks for the certificate of the year of the shop's days, once that is over; the child was three."""
    year = shop.days[0].date.year
    born(shop, dt.date(year - 4, 5, 1))
    for module in (yearly, views):
        monkeypatch.setattr(module, "today", lambda: dt.date(year + 1, 3, 1))
    return {"kind": Kind.CHILDCARE, "user": shop.user, "year": year, "by": shop.user}


def written_before() -> None:
    """The lines were written before they kept what their price pays for."""
    with off("checkout.OrderLine:line_says_what_is_declared"):
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


def test_lines_of_before_say_what_their_slot_declares(asked: dict[str, Any]) -> None:
    """As certificates did until then: a mistake that was set right after the order does not come back with its history."""
    Slot.objects.update(meal_price=Decimal("0.37"))
    Slot.objects.update(meal_price=Decimal("4.20"))
    written_before()
    with off("services.SlotEvent:append_only"):
        sql("UPDATE services_slotevent SET pgh_created_at = now() + interval '1 day' WHERE meal_price = 4.20")
    # The guard of what lines say came with the next migration.
    with off("checkout.OrderLine:line_says_what_is_declared"), connection.schema_editor() as editor:
        before.fill(None, editor)
    assert set(OrderLine.objects.values_list("nature", "meal_price")) == {("both", Decimal("4.20"))}


# --- A declaration that was a mistake ----------------------------------------------------------------------------------


@pytest.fixture
def mistyped(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """0,37 € typed for 3,70 €, and set right once two days were ordered: 15,06 € of care instead of 8,40 €."""
    return with_meals(monkeypatch, days=2, meal_price="0.37")


def set_right(**values: Any) -> None:
    """As the commune does: the slot's page, then what is ordered already."""
    Slot.objects.update(**values)
    slot = Slot.objects.get()
    declared = (slot.nature, slot.meal_price)
    asked = {"slot": slot, "declared": declared, "days": Days(today())}
    correct_declaration(**asked, shown=concerned(**asked).token, reason="0,37 € saisi au lieu de 3,70 €", by=agent_of())


def test_a_mistake_is_set_right_before_any_certificate(mistyped: dict[str, Any]) -> None:
    assert certificate(Kind.CHILDCARE, mistyped["user"], mistyped["year"]).amount == Decimal("15.06")
    set_right(meal_price=Decimal("3.70"))
    assert issue_certificate(**mistyped).amount == Decimal("8.40")


def test_a_certificate_of_a_mistake_is_ended_and_issued_anew_by_the_family(mistyped: dict[str, Any]) -> None:
    early = issue_certificate(**mistyped)
    assert early.amount == Decimal("15.06")
    set_right(meal_price=Decimal("3.70"))
    client, address = (
        client_of(mistyped["user"]),
        f"/mon-compte/factures/attestation/frais-de-garde/{mistyped['year']}/",
    )
    assert "n’est plus à jour" in text(client.get(address))
    said = text(client.post(address, follow=True))
    paper = Document.objects.live().get(kind=Kind.CHILDCARE)
    assert (paper.amount, paper.edition) == (Decimal("8.40"), 2) and "La précédente est annulée" in said
    assert plain("de 8,40 €, au lieu de 15,06 €") in words(Document.objects.get(cancels=early))
    Slot.objects.update(meal_price=Decimal("4.20"))  # the meals of the next year
    assert issue_certificate(**mistyped) == paper and "Cette attestation est éditée" in text(client.get(address))


def test_a_certificate_of_a_mistake_is_ended_and_issued_anew_by_the_regie(mistyped: dict[str, Any]) -> None:
    early = issue_certificate(**mistyped)
    set_right(meal_price=Decimal("3.70"))
    cancel(document=early, reason="Part du repas mal déclarée", by=mistyped["user"])
    assert issue_again(document=early, by=agent_of()).amount == Decimal("8.40")


def test_a_correction_of_something_else_ends_none(mistyped: dict[str, Any]) -> None:
    """Of another slot, or of what was ordered later: what the certificate counts is as it was."""
    written_before()
    early = issue_certificate(**mistyped)
    Slot.objects.update(meal_price=Decimal("3.70"))
    kept = {"before": [], "lines": 1, "families": 1, "reason": "x", "by": mistyped["user"], "nature": "care"}
    DeclarationCorrection.objects.create(slot=SlotFactory(), since=today(), **kept)
    DeclarationCorrection.objects.create(slot=OrderLine.objects.all()[0].booking.slot, since=today() + DAY, **kept)
    assert issue_certificate(**mistyped) == early


@pytest.mark.parametrize("of_before", [True, False])
def test_a_correction_of_before_its_issue_ends_none(asked: dict[str, Any], of_before: bool) -> None:
    """Certificates of before kept no list of the corrections that they knew: those made until their issue."""
    Slot.objects.update(meal_price=Decimal("3.80"))
    set_right()
    with off(
        "checkout.OrderLine:line_says_what_is_declared"
    ):  # half of its lines were written before they said anything
        OrderLine.objects.filter(pk=OrderLine.objects.earliest("pk").pk).update(nature="", meal_price=None)
    paper = issue_certificate(**asked)
    if of_before:
        data = {key: value for key, value in paper.data.items() if key != "corrections"}
        with off("checkout.Document:documents_are_frozen"):
            Document.objects.filter(pk=paper.pk).update(data=data)
    Slot.objects.update(meal_price=Decimal("4.20"))  # the meals of the next year
    assert issue_certificate(**asked) == paper


@pytest.mark.parametrize("nature, amount", [("care", "12.90"), ("other", "7.90")])
def test_what_was_undeclared_at_the_issue_is_had_once_it_is_declared(
    nature: str, amount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate says « nature non déclarée : non comptée » of the evening; counted now, it is no longer true."""
    shop = same_year(ordered(days=1, nature="care"))
    evening = SlotFactory(activity=shop.activity, name="Soir", starts_at=dt.time(17), ends_at=dt.time(18))
    TariffFactory(slot=evening, profile=shop.tariff.profile, price=Decimal("5.00"))
    access = {"activity": shop.activity, "subscription": shop.subscription}
    add_to_cart(user=shop.user, slot=evening, wishes=shop.wishes(), **access)
    shop.pay(Means.WALLET, "5.00")
    asked = once_over(shop, monkeypatch)
    early = issue_certificate(**asked)
    assert early.amount == Decimal("7.90")
    Slot.objects.filter(pk=evening.pk).update(nature=nature)
    address = f"/mon-compte/factures/attestation/frais-de-garde/{asked['year']}/"
    assert ("n’est plus à jour" in text(client_of(shop.user).get(address))) == (nature == "care")
    assert issue_certificate(**asked).amount == Decimal(amount)
    Slot.objects.filter(pk=evening.pk).update(nature="other" if nature == "care" else "care")
    assert issue_certificate(**asked).amount == Decimal("12.90")
