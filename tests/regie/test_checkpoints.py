"""A balance is its checkpoint and what came after: right whatever was posted meanwhile, at the cost of the new entries."""

import threading
from decimal import Decimal

import pytest
from django.db import Error, connection, transaction

from checkout.regie import verifications
from checkout.verification import verify
from tests.concurrency.conftest import race
from tests.factories import agent_of
from tests.guards import bought, guarded, sql
from tests.regie.ledger import corrected, days_ago
from tests.regie.test_closings import somebody_waits
from wallet import actions as ledger
from wallet.closings.actions import close_days, write_checkpoints
from wallet.closings.models import Closing
from wallet.models import LOADED, Account, Checkpoint, Movement, Wallet

pytestmark = pytest.mark.django_db


def cash(key: str, amount: str = "10.00") -> None:
    """A loaded balance: it explains itself to the nightly check."""
    with transaction.atomic():
        sql("SELECT set_config('wallet.loading', 'on', true)")
        ledger.post(
            kind=Movement.Kind.ADJUSTMENT, key=LOADED + key, label="x",
            amounts={"fees": Decimal(amount), "clearing:demo": -Decimal(amount)}, by=None,
        )  # fmt: skip


def balances() -> dict[str, Decimal]:
    return {row.code: row.total for row in Account.objects.with_totals()}


def test_balances_are_the_same_before_and_after_and_go_on() -> None:
    shop = bought()
    cash("a")
    before = balances()
    assert before[ledger.wallet_code(shop.user)] == Decimal("42.10") and before["clearing:demo"] == -10
    assert write_checkpoints() == Account.objects.exclude(kind="wallet").count()
    assert balances() == before and Checkpoint.objects.get(account__code="fees").balance == 10
    cash("b", "2.50")
    assert balances()["fees"] == Account.objects.get(code="fees").balance() == Decimal("12.50")
    write_checkpoints()
    assert balances()["fees"] == Decimal("12.50") and list(verify()) == []


def test_the_database_sums_it_and_it_only_goes_forward() -> None:
    cash("a")
    write_checkpoints()
    guarded(
        "wallet.Checkpoint:checkpoint_is_summed",
        lambda: Checkpoint.objects.filter(account__code="fees").update(balance=99, upto=0),
        "only goes forward",
        lambda: Checkpoint.objects.filter(balance=99).exists() and any("99,00" in line for line in verify()),
    )
    Checkpoint.objects.filter(account__code="fees").update(balance=99)
    assert Checkpoint.objects.get(account__code="fees").balance == 10  # what anybody wrote is summed again


def test_the_night_writes_them_unless_something_is_wrong() -> None:
    cash("a")
    with transaction.atomic():
        bought()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        sql("ALTER TABLE wallet_wallet DISABLE TRIGGER USER")
        Wallet.objects.update(balance=1)
        assert verifications.run(by=None).count > 0 and not Checkpoint.objects.exists()  # type: ignore[union-attr]
        transaction.set_rollback(True)
    assert verifications.run(by=None).count == 0 and Checkpoint.objects.exists()  # type: ignore[union-attr]


def test_a_closing_that_the_ledger_contradicts_is_found() -> None:
    corrected(days_ago(2), "a", revenue__agglo="12.00", clearing__demo="-12.00")
    close_days(until=days_ago(1), by=agent_of())
    assert list(verify()) == []
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("ALTER TABLE wallet_closing DISABLE TRIGGER USER")
    sql("UPDATE wallet_closing SET totals = jsonb_set(totals, '{accounts,0,credit}', '\"11.00\"') WHERE movements > 0")
    assert any("gardés" in line and "12,00" in line for line in verify())
    assert Closing.objects.count() == 2


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_it_waits_for_what_is_being_posted(self) -> None:
        """An entry of a lower number that commits later would be missed by every balance after."""
        cash("first")
        written, summed = threading.Event(), threading.Event()

        def late() -> None:
            with transaction.atomic():
                cash("late")
                written.set()
                while not summed.is_set() and not somebody_waits():
                    pass

        def checkpoint() -> None:
            assert written.wait(timeout=30)
            write_checkpoints()
            summed.set()

        assert race([late, checkpoint]) == [None, None]
        assert balances()["fees"] == 20 and list(verify()) == []

    def test_the_lock_is_the_databases_own(self) -> None:
        cash("first")
        with transaction.atomic():
            cash("late")

            def write() -> None:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '100ms'")
                    account = Account.objects.get(code="fees")
                    Checkpoint.objects.create(account=account, upto=10**9)

            (outcome,) = race([write])
        assert isinstance(outcome, Error) and "lock timeout" in str(outcome)
