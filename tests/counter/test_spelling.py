"""The number of a receipt or a slip has one spelling, and nothing is taken or brought twice under it."""

import importlib
from decimal import Decimal

import pgtrigger
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.urls import reverse

from accounts.models import User
from checkout.counter import actions as counter
from checkout.counter.actions import deposit_till, take_top_up
from checkout.counter.models import CounterReceipt, Means, TillDeposit
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.counter.test_counter import paper, refused
from tests.factories import UserFactory, agent_of
from tests.guards import sql
from wallet.actions import wallet_of
from wallet.corrections import actions as corrections

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return UserFactory()


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Groß-7", "Groß-7"),
        ("é\u2009\u30007", "é 7"),
        ("\ufeffq\u00ad-7", "q-7"),
        ("ﬁ\t7\x1f", "ﬁ 7"),
        ("e\u0301\u00857", "e\u0301 7"),
        ("q\u200b7", "q7"),
    ],
)
def test_a_number_is_the_same_in_whatever_letters_and_blanks(user: User, operator: User, typed: str, kept: str) -> None:
    """One rule says it, PostgreSQL's, of what a keyboard or a copy brought; what was typed and is seen is what is kept."""
    taken = {"user": user, "amount": Decimal(90), "commune": None, "by": operator, "paper": paper(typed)}
    brought = {"means": Means.CASH, "amount": Decimal(9), "number": typed, "by": operator}
    now = counter.spelled(typed)
    assert now == counter.spelled(now) and now in {"GROSS7", "É7", "Q7", "FI7"}
    take_top_up(**taken)
    assert CounterReceipt.objects.get().number == deposit_till(**brought).number == kept
    for again in (typed, now, now.lower()):
        refused("receipt_number_once", take_top_up, **taken | {"paper": paper(again)})
        refused("deposit_slip_once", deposit_till, **brought | {"number": again})
    assert wallet_of(user).balance == 90


HYPHENS = ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\ufe63", "\uff0d", "-\ufe0f", ".", "/", " ", ""]


@pytest.mark.parametrize("hyphen", HYPHENS)
def test_a_number_is_the_same_with_any_hyphen_or_none(user: User, operator: User, hyphen: str) -> None:
    taken = {"user": user, "amount": Decimal(90), "commune": None, "by": operator}
    take_top_up(paper=paper("BORD-77"), **taken)
    deposit_till(means=Means.CASH, amount=Decimal(9), number="BORD-77", by=operator)
    for typed in (f"BORD{hyphen}77", f"bord{hyphen}77"):
        refused("receipt_number_once", take_top_up, paper=paper(typed), **taken)
        refused("deposit_slip_once", deposit_till, means=Means.CASH, amount=Decimal(9), number=typed, by=operator)
    assert wallet_of(user).balance == 90
    take_top_up(paper=paper("BORD-7"), **taken)  # another number, nearly


@pytest.mark.parametrize(
    "typed", ["Q 2026 001", "q2026-001", "Q\u20112026/001", "Q-20\u200b26-001", "(Q) 2026.001", "Q-2026\u00ad-001"]
)
def test_its_digits_stand_in_groups(user: User, operator: User, typed: str) -> None:
    assert counter.spelled(typed) == counter.spelled("Q-2026-001") == "Q2026-001"


def test_two_receipt_books_have_numbers_of_their_own(user: User, operator: User) -> None:
    """The third of book 12 is not the twenty-third of book 1."""
    for number in ("12/3", "1/23", "123", "2026-1-12", "2026-11-2"):
        take_top_up(user=user, amount=Decimal(9), paper=paper(number), commune=None, by=operator)
    assert wallet_of(user).balance == 45


def test_what_was_typed_is_said_when_it_is_kept(user: User, operator: User) -> None:
    data = {"what": "top_up", "amount": "30,00", "means": "cash", "number": " q 2026 033 "}
    client, address = client_of(operator), reverse("admin:checkout_counterreceipt_take")
    said = text(client.post(f"{address}?usager={user.pk}", data, follow=True))
    assert CounterReceipt.objects.get().number == "q 2026 033" and "quittance q 2026 033." in said


def test_a_number_keeps_no_line_end_and_nothing_that_is_not_seen(user: User, operator: User) -> None:
    """A mark of direction would show other digits than those that are compared."""
    data = {"what": "top_up", "amount": "30,00", "means": "cash", "number": "Q\r\n\t7\u202e8"}
    address = reverse("admin:checkout_counterreceipt_take")
    client_of(operator).post(f"{address}?usager={user.pk}", data, follow=True)
    assert CounterReceipt.objects.get().number == "Q 78"


@pytest.mark.parametrize(
    "char", [chr(code) for code in (*range(1, 0x30), 0x600, *range(0x2000, 0x2070), 0xFE0F, 0xE0041)]
)
def test_what_is_kept_is_compared_as_what_was_typed(char: str) -> None:
    typed = f"q 1{char}2"
    assert counter.spelled(counter.legible(typed)) == counter.spelled(typed)


@pytest.mark.parametrize("words", ["BORD-77", "bord77", "  Bord\u201177", "ord 7"])
def test_a_number_is_found_in_any_spelling(user: User, operator: User, words: str) -> None:
    taken = {"user": user, "commune": None, "by": operator}
    take_top_up(amount=Decimal(90), paper=paper("bord 77"), **taken)
    take_top_up(amount=Decimal(9), paper=paper("bord 78 a"), **taken)
    deposit_till(means=Means.CASH, amount=Decimal(9), number="bord 77", by=operator)
    for what, all_of in (("counterreceipt", CounterReceipt), ("tilldeposit", TillDeposit)):
        page = client_of(operator).get(reverse(f"admin:checkout_{what}_changelist"), {"q": words})
        found = sorted(row.number for row in page.context["cl"].result_list)
        as_parts = [row.number for row in all_of.objects.order_by("number")]  # « ord » and « 7 » stand in both
        assert found == (as_parts if words == "ord 7" else ["bord 77"])


def test_numbers_of_before_that_are_one_today_stand_and_are_not_taken_again(user: User, operator: User) -> None:
    """A deployment finds two rows of which one would be refused now: it goes on, and so does the till."""
    taken = {"user": user, "amount": Decimal(90), "commune": None, "by": operator}
    brought = {"means": Means.CASH, "amount": Decimal(9), "by": operator}
    guards = ("checkout.CounterReceipt:receipt_number_in_any_spelling", "checkout.TillDeposit:slip_stands_once")
    take_top_up(paper=paper("BORD-77"), **taken)
    deposit_till(number="BORD-77", **brought)
    with pgtrigger.ignore(*guards), pytest.MonkeyPatch.context() as earlier:
        earlier.setattr(counter, "spelled", str)  # the version before thought of two numbers
        take_top_up(paper=paper("BORD 77"), **taken)
        deposit_till(number="BORD 77", **brought)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    loader, name = MigrationLoader(connection), ("checkout", "0050_numbers_by_letters_and_digits")
    for way in ("unapply", "apply"):
        with connection.schema_editor() as editor:
            getattr(loader.get_migration(*name), way)(loader.project_state(name, at_end=False), editor)
    sql("SET CONSTRAINTS ALL DEFERRED")
    assert CounterReceipt.objects.count() == TillDeposit.objects.count() == 2
    refused("receipt_number_once", take_top_up, paper=paper("bord77"), **taken)
    refused("deposit_slip_once", deposit_till, number="bord77", **brought)


def test_the_version_before_runs_on_a_slip_with_two_editions(user: User, operator: User) -> None:
    """Migration 0037 backwards and forwards again: nothing is lost, and the slip is bound whichever version runs."""
    steps = importlib.import_module("checkout.migrations.0037_slips_written_again")
    take_top_up(user=user, amount=Decimal(90), paper=paper(), commune=None, by=operator)
    brought = {"means": Means.CASH, "number": "B-1", "by": operator}
    wrong = deposit_till(amount=Decimal(90), **brought)
    back = corrections.propose_reversal(movement=wrong.movement, reason="9, non 90", by=operator)
    corrections.approve(correction=back, by=agent_of())
    deposit_till(amount=Decimal(9), **brought)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("ALTER TABLE checkout_tilldeposit DROP COLUMN edition")
    sql(steps.SLIP_IS_BOUND_AGAIN)
    sql("ALTER TABLE checkout_tilldeposit DISABLE TRIGGER USER")
    again = "INSERT INTO checkout_tilldeposit (means, number, amount, movement_id, by_id, at) "
    copied = f"{again} SELECT means, %s, amount, {wrong.movement.reversed_by.pk}, by_id, at FROM checkout_tilldeposit LIMIT 1"
    with pytest.raises(IntegrityError, match="deposit_slip_once"), transaction.atomic():
        sql(copied, "B-1")
    sql(copied, "B-2")
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(steps.SLIP_LEAVES_ITS_BOUND)
    sql("ALTER TABLE checkout_tilldeposit ADD COLUMN edition smallint NOT NULL DEFAULT 1")
    sql(steps.EDITIONS_OF_BEFORE)
    rows = TillDeposit.objects.order_by("pk").values_list("number", "edition")
    assert list(rows) == [("B-1", 1), ("B-1", 2), ("B-2", 1)]


def test_a_number_that_nobody_sees_is_none(user: User, operator: User) -> None:
    unseen = paper("\u200b\u00a0")
    refused("number_missing", take_top_up, user=user, amount=Decimal(9), paper=unseen, commune=None, by=operator)
    refused("number_missing", deposit_till, means=Means.CASH, amount=Decimal(9), number="\u200b", by=operator)


@pytest.mark.parametrize("number", ["–", "- / -", "°", "*" * 200])
def test_a_number_of_no_letter_and_no_digit_is_refused_in_words(user: User, operator: User, number: str) -> None:
    taken = {"user": user, "amount": Decimal(9), "paper": paper(number), "commune": None, "by": operator}
    assert "au moins une lettre ou un chiffre" in refused("number_missing", take_top_up, **taken)
    brought = {"means": Means.CASH, "amount": Decimal(9), "number": number, "by": operator}
    assert "au moins une lettre ou un chiffre" in refused("number_missing", deposit_till, **brought)
