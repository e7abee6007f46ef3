"""The number of a receipt or a slip has one spelling, and nothing is taken or brought twice under it."""

import importlib
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from checkout.counter import actions as counter
from checkout.counter.actions import deposit_till, take_top_up
from checkout.counter.models import Means, TillDeposit
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
    "before", ["Groß-7", "é\u2009\u30007", "\ufeffq\u00ad-7", "ﬁ\t7\x1f", "e\u0301\u00857", "q\u200b7"]
)
def test_a_number_of_before_is_spelled_as_the_same_number_now(
    user: User, operator: User, monkeypatch: Any, before: str
) -> None:
    """One rule says it, PostgreSQL's, in whatever letters and blanks a keyboard or a copy brought."""
    taken = {"user": user, "amount": Decimal(90), "commune": None, "by": operator, "paper": paper(before)}
    brought = {"means": Means.CASH, "amount": Decimal(9), "number": before, "by": operator}
    now = counter.spelled(before)
    assert now == counter.spelled(now) and now in {"GROSS-7", "É 7", "Q-7", "FI 7", "Q7"}
    with monkeypatch.context() as earlier:
        earlier.setattr(counter, "spelled", str)  # rows stand as they were typed
        take_top_up(**taken)
        deposit_till(**brought)
    for typed in (before, now, now.lower()):
        refused("receipt_number_once", take_top_up, **taken | {"paper": paper(typed)})
        refused("deposit_slip_once", deposit_till, **brought | {"number": typed})
    assert wallet_of(user).balance == 90


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
