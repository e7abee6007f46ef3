"""A declaration that was a mistake, set right for what was ordered with it: the rules, what is kept, and its pages."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from checkout.actions import Means, cancel_bookings, correct_declaration
from checkout.actions.declarations import concerned
from checkout.models import DeclarationCorrection, Order, OrderLine
from portal.common.errors import Refused
from portal.common.formats import today
from services.models import Slot
from tests.admin.world import client_of, form_values, texts, url
from tests.checkout.http import text
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.guards import guarded, off, sql
from tests.shop import Shop, family, open_shop
from tests.tickets.kiosk import buy, kiosk

pytestmark = pytest.mark.django_db
WRONG, RIGHT = Decimal("0.37"), Decimal("3.70")
MEALS = ("both", RIGHT)


def declare(slot: Slot, nature: str, meal_price: Decimal | None = None) -> None:
    Slot.objects.filter(pk=slot.pk).update(
        nature=nature, meal_price=meal_price, includes_meal=nature in ("both", "meal")
    )
    slot.refresh_from_db()


@pytest.fixture
def shop() -> Shop:
    """Two families have ordered two days each while 0,37 € stood for 3,70 €, which the slot declares now."""
    shop = open_shop(days=2, credit="50")
    declare(shop.slot, "both", WRONG)
    for each in (shop, family(shop.tariff, credit="50", days=shop.days)):
        each.add()
        each.pay(Means.WALLET, "15.80")
    declare(shop.slot, *MEALS)
    return shop


@pytest.fixture
def agent(shop: Shop) -> User:
    return agent_of(shop.activity.service.commune)


def correct(shop: Shop, by: User, **other: Any) -> DeclarationCorrection:
    asked = {"slot": shop.slot, "since": today(), "reason": "Erreur de saisie", "shown": MEALS, "by": by}
    return correct_declaration(**asked | other)


def said() -> set[tuple[str, Decimal | None]]:
    return set(OrderLine.objects.values_list("nature", "meal_price"))


def test_what_the_slot_declares_holds_for_what_was_ordered(shop: Shop, agent: User) -> None:
    with CaptureQueriesContext(connection) as queries:
        row = correct(shop, agent)
    assert said() == {MEALS}
    assert (row.lines, row.families, row.since, row.by) == (4, 2, today(), agent)
    assert row.before == [{"nature": "both", "meal_price": "0.37", "lines": 4}]
    assert (row.nature, row.meal_price, row.reason) == (*MEALS, "Erreur de saisie")
    assert sum(query["sql"].startswith("UPDATE") for query in queries) == 1 and len(queries) <= 8


def test_what_was_ordered_before_cancelled_or_given_up_stays(shop: Shop, agent: User) -> None:
    early, cancelled, given_up = OrderLine.objects.order_by("pk")[:3]
    with off("checkout.Order:order_is_frozen"):
        Order.objects.filter(pk=early.order_id).update(created_at=early.order.created_at - dt.timedelta(days=2))
    cancel_bookings(ids=[given_up.booking_id], by=given_up.order.user)
    assert cancelled.order_id == early.order_id
    assert correct(shop, agent).lines == 1
    assert OrderLine.objects.filter(meal_price=WRONG).count() == 3


def test_the_preview_says_what_is_done(shop: Shop, agent: User) -> None:
    OrderLine.objects.order_by("pk").filter(pk=OrderLine.objects.earliest("pk").pk).update(meal_price=RIGHT)
    found = concerned(shop.slot, today())
    row = correct(shop, agent)
    assert (found.lines, found.families) == (row.lines, row.families) == (3, 2)
    assert list(found.before) == [(("both", WRONG), 3)]
    assert concerned(shop.slot, today()).lines == 0


def test_a_ticket_too() -> None:
    ticket = buy(kiosk())
    declare(ticket.slot, "other")
    row = correct_declaration(slot=ticket.slot, since=today(), reason="x", shown=("other", None), by=agent_of())
    assert row.before == [{"nature": "", "meal_price": None, "lines": 1}] and said() == {("other", None)}


@pytest.mark.parametrize(
    "other, code",
    [
        ({"reason": " "}, "reason_missing"),
        ({"since": dt.date.max}, "to_come"),
        ({"shown": ("both", WRONG)}, "declared_otherwise"),
        ({"shown": ("care", None)}, "declared_otherwise"),
    ],
)
def test_what_cannot_be_corrected_says_why(shop: Shop, agent: User, other: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        correct(shop, agent, **other)
    assert refused.value.code == code and said() == {("both", WRONG)} and not DeclarationCorrection.objects.exists()


def test_nothing_declared_and_nothing_to_correct_are_refused(shop: Shop, agent: User) -> None:
    declare(shop.slot, "")
    with pytest.raises(Refused, match="déclarez d’abord"):
        correct(shop, agent, shown=("", None))
    declare(shop.slot, "both", WRONG)
    with pytest.raises(Refused, match="dit déjà la même chose"):
        correct(shop, agent, shown=("both", WRONG))


def test_it_belongs_to_who_may_declare(shop: Shop) -> None:
    for stranger in (UserFactory(), agent_of(CommuneFactory()), shop.user):
        with pytest.raises(Refused) as refused:
            correct(shop, stranger)
        assert refused.value.code == "out_of_scope"
    assert correct(shop, agent_of()).lines == 4


@pytest.mark.parametrize("nature, price", [("both", "0.01"), ("both", "0.37"), ("care", None), ("", None)])
def test_a_line_becomes_nothing_but_what_its_slot_declares(shop: Shop, nature: str, price: str | None) -> None:
    line = OrderLine.objects.earliest("pk")
    OrderLine.objects.filter(pk=line.pk).update(meal_price=RIGHT)  # as it is declared
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    wrong = {"nature": nature, "meal_price": price and Decimal(price)}
    rows = OrderLine.objects.filter(pk=line.pk)
    guarded(
        "checkout.OrderLine:line_says_what_is_declared",
        lambda: rows.update(**wrong),
        "does not declare that",
        lambda: rows.filter(**wrong).exists(),
    )


# --- Its pages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(agent: User) -> Client:
    return client_of(agent)


def page_of(shop: Shop) -> str:
    return url("services.slot", "correct", shop.slot.pk)


def asked(**other: str) -> dict[str, str]:
    return {"since": today().isoformat(), "reason": "0,37 € saisi au lieu de 3,70 €", **other}


def hidden(response: Any) -> dict[str, Any]:
    form = response.context["form"]
    return {field.html_name: field.value() or "" for field in form}


def test_asked_shown_and_done(shop: Shop, client: Client) -> None:
    slot = url("services.slot", "change", shop.slot.pk)
    assert f'href="{page_of(shop)}"' in client.get(slot).content.decode()
    assert "Garde et repas, dont repas 3,70\u00a0€" in client.get(page_of(shop)).content.decode()
    with CaptureQueriesContext(connection) as queries:
        shown = client.post(page_of(shop), asked())
    assert len(queries) <= 12
    words = text(shown)
    for part in ("4 lignes de commande de 2 familles", "dont repas 0,37", "dont repas 3,70", "Aucun prix ne change"):
        assert part in words, part
    assert said() == {("both", WRONG)} and not DeclarationCorrection.objects.exists()
    done = client.post(page_of(shop), hidden(shown), follow=True)
    row = DeclarationCorrection.objects.get()
    assert said() == {MEALS} and row.reason == asked()["reason"]
    assert "4 lignes de commande" in texts(done)[0] and "dont repas 0,37" in text(done)
    for table, pk in (("services.slot", shop.slot.pk), ("checkout.declarationcorrection", row.pk)):
        assert "Corrigé pour ce qui est commandé" in text(client.get(url(table, "history", pk)))
    again = client.post(page_of(shop), hidden(shown))  # pressed twice
    assert "dit déjà la même chose" in text(again) and DeclarationCorrection.objects.get() == row


def test_what_was_typed_is_kept_on_the_way_back(shop: Shop, client: Client) -> None:
    shown = client.post(page_of(shop), asked())
    back = client.get(shown.context["question"].cancel).content.decode()
    assert f'value="{today().isoformat()}"' in back and "0,37 € saisi au lieu de 3,70 €" in back


@pytest.mark.parametrize(
    "other, says",
    [
        ({"since": ""}, "Choisissez le jour à partir duquel corriger"),
        ({"since": "hier"}, "Écrivez un jour comme"),
        ({"since": "2999-01-01"}, "Choisissez un jour jusqu’à aujourd’hui"),
        ({"reason": ""}, "Écrivez le motif de la correction"),
    ],
)
def test_what_is_wrong_is_said_at_its_box(shop: Shop, client: Client, other: dict[str, str], says: str) -> None:
    assert says in text(client.post(page_of(shop), asked(**other)))


def test_a_declaration_that_changed_meanwhile_is_shown_again(shop: Shop, client: Client) -> None:
    shown = client.post(page_of(shop), asked())
    declare(shop.slot, "both", Decimal("3.80"))
    assert "Quelqu’un vient de changer cette déclaration" in text(client.post(page_of(shop), hidden(shown)))
    assert said() == {("both", WRONG)}


def test_another_communes_agent_finds_none(shop: Shop) -> None:
    stranger = client_of(agent_of(CommuneFactory()))
    assert stranger.get(page_of(shop)).status_code == stranger.post(page_of(shop), asked()).status_code == 404


@pytest.mark.parametrize("table", ["services.slot", "services.activity"])
def test_whoever_changes_a_declaration_is_led_there(shop: Shop, client: Client, table: str) -> None:
    row = shop.slot if table == "services.slot" else shop.activity
    address = url(table, "change", row.pk)
    values = form_values(client.get(address))
    (box,) = [name for name in values if name.endswith("meal_price") and values[name]]
    done = client.post(address, {**values, box: "3,80"}, follow=True)
    assert any(f'href="{page_of(shop)}"' in message for message in texts(done)), texts(done)
    quiet = client.post(address, {**form_values(client.get(address))}, follow=True)
    assert not any("corrigez aussi" in message for message in texts(quiet))


def test_nothing_is_offered_where_nothing_is_declared(shop: Shop, client: Client) -> None:
    declare(shop.slot, "")
    assert page_of(shop) not in client.get(url("services.slot", "change", shop.slot.pk)).content.decode()
    assert "déclarez d’abord" in text(client.post(page_of(shop), asked()))
