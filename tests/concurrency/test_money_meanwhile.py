"""What somebody does to the money between two looks of somebody else."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test import Client

from checkout.actions import Means, completion
from checkout.counter import actions as counter
from checkout.counter.actions import Paper, take_top_up
from checkout.models import Payment
from checkout.providers.demo import sign
from checkout.regie import settlements, verifications
from checkout.regie.models import Settlement
from checkout.verification import verify
from tests.concurrency.conftest import race
from tests.factories import agent_of
from tests.guards import sql
from tests.regie.test_settlements import paid
from tests.shop import open_shop
from wallet import actions as ledger
from wallet.models import LOADED, Account, Movement

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(act: Callable[[], object]) -> None:
    """Do it in a session of its own, to its end."""

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.parametrize("of_one_moment", [True, False])
def test_the_nightly_check_compares_figures_of_one_moment(of_one_moment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent sets twelve euros of the wallet aside between the two statements that count them."""
    shop = open_shop(credit="12")
    shop.add()
    shop.answer_steps()
    done: list[bool] = []

    def meanwhile(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found = execute(sql, params, many, context)
        if not done and "SUM" in sql and "checkout_payment" in sql and "reserved" in (params or ()):
            done.append(True)
            elsewhere(lambda: shop.pay(Means.BOTH, "31.60"))
        return found

    if not of_one_moment:  # what it would say of books that are right
        monkeypatch.setattr(verifications, "one_moment", transaction.atomic)
    with connection.execute_wrapper(meanwhile):
        row = verifications.run(by=None)
    assert done and row is not None
    assert bool(row.count) is not of_one_moment, row.differences
    assert list(verify()) == []


def test_a_wallet_spent_while_its_card_is_captured_keeps_the_cards_money(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wallet's lock comes last: between the look at its balance and the posting, somebody else may spend it."""
    shop = open_shop(credit="12")
    shop.add()
    shop.pay(Means.BOTH, "31.60")
    first = Payment.objects.get(provider="demo")
    shop.pay(Means.CARD, "31.60")  # tried again: the wallet's part came back
    looked = completion._wallet_covers_the_rest

    def spent(order: Any, payment: Any) -> bool:
        enough = looked(order, payment)
        entries = {ledger.wallet_code(shop.user): Decimal(-12), "expired": Decimal(12)}

        def spend() -> None:
            with transaction.atomic():
                sql("SELECT set_config('wallet.loading', 'on', true)")  # nothing has to explain it
                ledger.post(kind=Movement.Kind.ADJUSTMENT, key=f"{LOADED}spent", label="x", amounts=entries, by=None)

        elsewhere(spend)
        return enough

    monkeypatch.setattr(completion, "_wallet_covers_the_rest", spent)
    fields = sign({"reference": first.reference, "outcome": "captured", "amount": str(first.amount)})
    form = "application/x-www-form-urlencoded"
    answer = Client().post("/paiement/demo/notification/", urlencode(fields), content_type=form)
    first.refresh_from_db()
    assert (answer.status_code, first.status, shop.balance) == (200, "credited", Decimal("19.60"))
    assert first.order.status == "pending" and list(verify()) == []


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_line_of_two_files_is_paid_over_by_one(
    in_turn: bool, meet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export of the week and that of the month, imported at the same moment."""
    with transaction.atomic():
        payment, operator = paid(), agent_of()
    files = [f"reference,gross,fee\n{payment.reference},10.00,0.25\n{end}".encode() for end in ("", "\n")]
    if not in_turn:
        monkeypatch.setattr(settlements, "one_at_a_time", lambda _name: None)
        meet(settlements, "read", 2)
    race(
        [
            lambda content=content: settlements.post(provider="demo", name="a", content=content, by=operator)
            for content in files
        ]
    )
    said = sum(row.net for row in Settlement.objects.all())
    assert Account.objects.get(code="bank").balance() == Decimal("-9.75")
    assert said == (Decimal("9.75") if in_turn else Decimal("19.50"))
    assert Settlement.objects.exclude(differences=[]).count() == in_turn


@pytest.mark.parametrize("guard", [True, False])
def test_the_till_gives_no_more_than_it_holds(
    guard: bool, meet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deposits of all that lies there, each looked at before the other is posted: PostgreSQL lets one through."""
    shop, operator = open_shop(), agent_of()
    take_top_up(user=shop.user, amount=Decimal(100), paper=Paper(counter.Means.CASH, "Q-1"), commune=None, by=operator)
    monkeypatch.setattr(counter, "one_at_a_time", lambda _name: None)
    meet(counter, "in_the_till", 2)
    both = [
        lambda number=number: counter.deposit_till(
            means=counter.Means.CASH, amount=Decimal(100), number=f"B-{number}", by=operator
        )
        for number in range(2)
    ]
    if guard:
        race(both)
        assert counter.in_the_till(counter.Means.CASH) == 0 and list(verify()) == []
        return
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE checkout_tilldeposit DISABLE TRIGGER USER")
        try:
            race(both)
        finally:
            cursor.execute("ALTER TABLE checkout_tilldeposit ENABLE TRIGGER USER")
    assert counter.in_the_till(counter.Means.CASH) == -100
