"""A declaration that was a mistake, set right for what was ordered with it: the rules, what is kept, and its pages."""

import contextlib
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from checkout.actions import Means, cancel_bookings, correct_declaration
from checkout.actions.declarations import Days, Declared, check_asked, concerned
from checkout.models import DeclarationCorrection, Order, OrderLine
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import today
from services.models import Slot
from tests.admin.world import client_of, form_values, texts, url
from tests.checkout.http import text
from tests.factories import CommuneFactory, SlotFactory, UserFactory, agent_of
from tests.guards import guarded, off, sql
from tests.shop import Shop, family, open_shop
from tests.tickets.kiosk import buy, kiosk

pytestmark = pytest.mark.django_db
WRONG, RIGHT, DEARER = Decimal("0.37"), Decimal("3.70"), Decimal("4.20")
DAY = dt.timedelta(days=1)
CHANGED = "Ce qui est commandé a changé depuis votre vérification"
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
    asked = {
        "slot": shop.slot,
        "declared": MEALS,
        "days": Days(today()),
        "reason": "Erreur de saisie",
        "by": by,
    } | other
    if "shown" not in asked:
        asked["shown"] = shown_of(asked["slot"], asked["declared"], asked["days"])
    return correct_declaration(**asked)


def shown_of(slot: Slot, declared: Declared, days: Days) -> str:
    """What the check page says of it; nothing where it says nothing."""
    with contextlib.suppress(Refused):
        check_asked(slot, declared, days)
        return concerned(slot, declared, days).token
    return ""


def ordered_earlier(order: Order, days: int) -> None:
    with off("checkout.Order:order_is_frozen"):
        Order.objects.filter(pk=order.pk).update(created_at=order.created_at - days * DAY)


def said() -> set[tuple[str, Decimal | None]]:
    return set(OrderLine.objects.values_list("nature", "meal_price"))


def test_what_the_slot_declares_holds_for_what_was_ordered(shop: Shop, agent: User) -> None:
    with CaptureQueriesContext(connection) as queries:
        row = correct(shop, agent, shown="both:0.37:4")
    assert said() == {MEALS}
    assert (row.lines, row.families, row.since, row.by) == (4, 2, today(), agent)
    assert row.before == [{"nature": "both", "meal_price": "0.37", "lines": 4}]
    assert (row.nature, row.meal_price, row.reason) == (*MEALS, "Erreur de saisie")
    assert sum(query["sql"].startswith("UPDATE") for query in queries) == 1 and len(queries) <= 8


def test_what_was_ordered_before_cancelled_or_given_up_stays(shop: Shop, agent: User) -> None:
    early, cancelled, given_up = OrderLine.objects.order_by("pk")[:3]
    ordered_earlier(early.order, days=2)
    cancel_bookings(ids=[given_up.booking_id], by=given_up.order.user)
    assert cancelled.order_id == early.order_id
    assert correct(shop, agent).lines == 1
    assert OrderLine.objects.filter(meal_price=WRONG).count() == 3


def test_the_preview_says_what_is_done(shop: Shop, agent: User) -> None:
    cancel_bookings(ids=[OrderLine.objects.earliest("pk").booking_id], by=shop.user)
    found = concerned(shop.slot, MEALS, Days(today()))
    row = correct(shop, agent)
    assert (found.lines, found.families) == (row.lines, row.families) == (3, 2)
    assert list(found.before) == [(("both", WRONG), 3)]
    assert concerned(shop.slot, MEALS, Days(today())).lines == 0


def test_a_mistake_of_last_year_is_set_right_though_meals_cost_more_now(shop: Shop, agent: User) -> None:
    """0,37 € was typed for 3,70 €; since then the meals cost 4,20 €: what is ordered now keeps that."""
    early, late = Order.objects.order_by("pk")
    ordered_earlier(early, days=30)
    declare(shop.slot, "both", DEARER)
    with off("checkout.OrderLine:line_says_what_is_declared"):
        late.lines.update(meal_price=DEARER)
    shop.slot.refresh_from_db()
    row = correct(shop, agent, days=Days(today() - 40 * DAY, today() - 20 * DAY))
    assert (row.lines, row.families) == (2, 1)
    assert set(early.lines.values_list("meal_price", flat=True)) == {RIGHT}
    assert set(late.lines.values_list("meal_price", flat=True)) == {DEARER}
    shop.slot.refresh_from_db()
    assert shop.slot.meal_price == DEARER


def test_a_correction_that_was_itself_wrong_is_taken_back(shop: Shop, agent: User) -> None:
    correct(shop, agent, declared=("both", DEARER))
    second = correct(shop, agent)
    assert said() == {MEALS} and second.before == [{"nature": "both", "meal_price": "4.20", "lines": 4}]


def test_a_ticket_too() -> None:
    ticket = buy(kiosk())
    declare(ticket.slot, "other")
    asked = {"slot": ticket.slot, "declared": ("other", None), "days": Days(today())}
    row = correct_declaration(**asked, shown=shown_of(**asked), reason="x", by=agent_of())
    assert row.before == [{"nature": "", "meal_price": None, "lines": 1}] and said() == {("other", None)}


@pytest.mark.parametrize(
    "other, code",
    [
        ({"reason": " "}, "reason_missing"),
        ({"days": Days(dt.date.max)}, "since"),
        ({"days": Days(dt.date(2026, 1, 1), dt.date.max)}, "until"),
        ({"days": Days(dt.date(2026, 1, 2), dt.date(2026, 1, 1))}, "until"),
        ({"shown": "both:0.37:3"}, "changed_meanwhile"),
        ({"shown": ""}, "changed_meanwhile"),
        ({"declared": ("", None)}, "nature"),
        ({"declared": ("both", None)}, "meal_price"),
        ({"declared": ("both", Decimal(0))}, "meal_price"),
        ({"declared": ("care", RIGHT)}, "meal_price"),
        ({"declared": ("both", Decimal("7.91"))}, "meal_price"),
        ({"days": Days(dt.date.min)}, "since"),
    ],
)
def test_what_cannot_be_corrected_says_why(shop: Shop, agent: User, other: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        correct(shop, agent, **other)
    assert refused.value.code == code and said() == {("both", WRONG)} and not DeclarationCorrection.objects.exists()


def test_nothing_declared_and_nothing_to_correct_are_refused(shop: Shop, agent: User) -> None:
    declare(shop.slot, "")
    with pytest.raises(Refused, match="déclarez d’abord"):
        correct(shop, agent)
    declare(shop.slot, "both", WRONG)
    with pytest.raises(Refused, match="dit déjà la même chose"):
        correct(shop, agent, declared=("both", WRONG))


def test_it_belongs_to_who_may_declare(shop: Shop) -> None:
    for stranger in (UserFactory(), agent_of(CommuneFactory()), shop.user):
        with pytest.raises(Refused) as refused:
            correct(shop, stranger)
        assert refused.value.code == "out_of_scope"
    assert correct(shop, agent_of()).lines == 4


@pytest.mark.parametrize("nature, price", [("both", "0.01"), ("both", "0.37"), ("care", None), ("", None)])
def test_a_line_becomes_nothing_but_what_a_correction_says(
    shop: Shop, agent: User, nature: str, price: str | None
) -> None:
    correct(shop, agent)
    becomes_refused(OrderLine.objects.earliest("pk"), {"nature": nature, "meal_price": price and Decimal(price)})


@pytest.mark.parametrize(
    "correction",
    [
        None,  # none at all: what the slot declares is not enough
        {"since": 1},
        {"since": -9, "until": -5},
        {"meal_price": "3.80"},
        {"other_slot": True},
        {"corrected_again": "3.80"},
    ],
)
def test_a_line_becomes_what_the_correction_of_its_slot_and_day_says(
    shop: Shop, agent: User, correction: dict[str, Any] | None
) -> None:
    if correction is not None:
        kept = {"before": [], "lines": 1, "families": 1, "reason": "x", "by": agent, "nature": "both"}
        until = correction.get("until")
        row = DeclarationCorrection.objects.create(
            slot=SlotFactory() if "other_slot" in correction else shop.slot,
            since=today() + correction.get("since", 0) * DAY,
            until=until and today() + until * DAY,
            meal_price=Decimal(correction.get("meal_price", "3.70")),
            **kept,
        )
        if again := correction.get("corrected_again"):
            DeclarationCorrection.objects.create(slot=row.slot, since=today(), meal_price=Decimal(again), **kept)
    becomes_refused(OrderLine.objects.earliest("pk"), {"nature": "both", "meal_price": RIGHT})


def test_what_is_ordered_after_a_correction_is_not_of_it(shop: Shop, agent: User) -> None:
    correct(shop, agent)
    declare(shop.slot, "both", DEARER)
    late = family(shop.tariff, credit="50", days=shop.days)
    late.add()
    late.pay(Means.WALLET, "15.80")
    becomes_refused(OrderLine.objects.latest("pk"), {"nature": "both", "meal_price": RIGHT})


def becomes_refused(line: OrderLine, wrong: dict[str, Any]) -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    rows = OrderLine.objects.filter(pk=line.pk)
    guarded(
        "checkout.OrderLine:line_says_what_is_declared",
        lambda: rows.update(**wrong),
        "no correction says that",
        lambda: rows.filter(**wrong).exists(),
    )


def test_the_nightly_check_judges_each_line_by_the_last_correction_of_its_day(shop: Shop, agent: User) -> None:
    early = Order.objects.earliest("pk")
    ordered_earlier(early, days=30)
    correct(shop, agent, days=Days(today() - 40 * DAY))
    with off("checkout.OrderLine:line_says_what_is_declared"):
        OrderLine.objects.filter(pk=early.lines.earliest("pk").pk).update(meal_price=WRONG)
    correct(shop, agent, declared=("both", DEARER))  # of today alone: two lines of another family say it now
    (found,) = [line for line in verify() if "correction" in line]
    assert "1 ligne de commande" in found


def test_the_nightly_check_sees_a_line_that_contradicts_its_correction(shop: Shop, agent: User) -> None:
    assert not [line for line in verify() if "correction" in line]
    correct(shop, agent)
    assert not [line for line in verify() if "correction" in line]
    with off("checkout.OrderLine:line_says_what_is_declared"):
        OrderLine.objects.filter(pk=OrderLine.objects.earliest("pk").pk).update(meal_price=WRONG)
    (found,) = [line for line in verify() if "correction" in line]
    assert f"{shop.slot}\u00a0: 1 ligne de commande ne dit pas ce que dit la correction du" in found


# --- Its pages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(agent: User) -> Client:
    return client_of(agent)


def page_of(shop: Shop) -> str:
    return url("services.slot", "correct", shop.slot.pk)


def asked(**other: str) -> dict[str, str]:
    typed = {
        "nature": "both",
        "meal_price": "3,70",
        "since": today().isoformat(),
        "reason": "0,37 € saisi au lieu de 3,70 €",
    }
    return typed | other


def hidden(response: Any) -> dict[str, Any]:
    form = response.context["form"]
    return {field.html_name: "" if field.value() is None else field.value() for field in form}


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
    shown = client.post(page_of(shop), asked(meal_price="4,20"))
    back = client.get(shown.context["question"].cancel).content.decode()
    for value in (today().isoformat(), "0,37 € saisi au lieu de 3,70 €", "4,20"):
        assert f'value="{value}"' in back, value


@pytest.mark.parametrize(
    "other, says",
    [
        ({"since": ""}, "Choisissez le jour à partir duquel corriger"),
        ({"since": "hier"}, "Écrivez un jour comme"),
        ({"since": "2999-01-01"}, "Choisissez un jour jusqu’à aujourd’hui"),
        ({"reason": ""}, "Écrivez le motif de la correction"),
        ({"until": "hier"}, "Écrivez un jour comme"),
        ({"until": "2999-01-01"}, "Choisissez un jour jusqu’à aujourd’hui"),
        ({"until": "9999-12-31"}, "Choisissez un jour jusqu’à aujourd’hui"),
        ({"since": "0001-01-01", "until": "0001-01-01"}, "Vérifiez l’année"),
        ({"since": "2000-01-01", "until": "2000-01-02"}, "dit déjà la même chose"),
        ({"meal_price": "37"}, "La part du repas (37,00 €) dépasse le prix le plus haut de ces commandes (7,90 €)"),
        ({"until": "2020-01-01"}, "Le dernier jour vient avant le premier"),
        ({"meal_price": ""}, "Écrivez la part du repas"),
        ({"meal_price": "trois"}, "Écrivez un montant"),
        ({"nature": "care"}, "Seule une prestation « Garde et repas » a une part de repas"),
        ({"nature": ""}, "À déclarer"),
    ],
)
def test_what_is_wrong_is_said_at_its_box(shop: Shop, client: Client, other: dict[str, str], says: str) -> None:
    assert says in text(client.post(page_of(shop), asked(**other)))


def test_what_somebody_else_corrects_meanwhile_is_shown_again(shop: Shop, client: Client, agent: User) -> None:
    shown = client.post(page_of(shop), asked())
    correct(shop, agent, declared=("both", DEARER))
    again = client.post(page_of(shop), hidden(shown))
    assert CHANGED in text(again) and said() == {("both", DEARER)}
    client.post(page_of(shop), hidden(again))  # the button of the page that shows what is now
    assert said() == {MEALS}


def test_what_is_ordered_after_the_check_is_not_rewritten_unseen(shop: Shop, client: Client) -> None:
    """The page stands open while the commune declares the meals of the next year, rightly, and another family orders."""
    declare(shop.slot, "both", WRONG)
    shown = client.post(page_of(shop), asked())
    declare(shop.slot, "both", DEARER)
    late = family(shop.tariff, credit="50", days=shop.days)
    late.add()
    late.pay(Means.WALLET, "15.80")
    again = text(client.post(page_of(shop), hidden(shown)))
    assert CHANGED in again and "6 lignes de commande de 3 familles" in again
    assert said() == {("both", WRONG), ("both", DEARER)}


@pytest.mark.parametrize("fault", [{"shown": "x"}, {"since": ""}, {"nature": "none"}, {"until": "9999-12-31"}])
def test_a_checked_form_that_was_changed_on_its_way_writes_nothing(
    shop: Shop, client: Client, fault: dict[str, str]
) -> None:
    shown = client.post(page_of(shop), asked())
    assert client.post(page_of(shop), hidden(shown) | fault).status_code == 200
    assert said() == {("both", WRONG)}


def test_lines_that_say_several_things_are_pointed_out(shop: Shop, client: Client) -> None:
    assert "toutes la même chose" not in text(client.post(page_of(shop), asked()))
    with off("checkout.OrderLine:line_says_what_is_declared"):
        OrderLine.objects.filter(pk=OrderLine.objects.earliest("pk").pk).update(meal_price=DEARER)
    assert "Ces commandes ne déclarent pas toutes la même chose" in text(client.post(page_of(shop), asked()))


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


@pytest.mark.parametrize("table", ["services.slot", "services.activity"])
def test_a_meal_that_costs_more_than_the_whole_is_refused(shop: Shop, client: Client, table: str) -> None:
    row = shop.slot if table == "services.slot" else shop.activity
    address = url(table, "change", row.pk)
    values = form_values(client.get(address))
    (box,) = [name for name in values if name.endswith("meal_price") and values[name]]
    words = text(client.post(address, {**values, box: "37"}))
    assert "La part du repas (37,00 €) dépasse le prix le plus haut de cette prestation (7,90 €)" in words
    shop.slot.refresh_from_db()
    assert shop.slot.meal_price == RIGHT
    client.post(address, {**values, box: "7,90"})  # all of it is the meal
    shop.slot.refresh_from_db()
    assert shop.slot.meal_price == Decimal("7.90")


def test_nothing_is_offered_where_nothing_is_declared(shop: Shop, client: Client) -> None:
    declare(shop.slot, "")
    assert page_of(shop) not in client.get(url("services.slot", "change", shop.slot.pk)).content.decode()
    assert "déclarez d’abord" in text(client.post(page_of(shop), asked()))
