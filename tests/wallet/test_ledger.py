"""The ledger: it balances, it is append-only, a wallet follows it and is never overdrawn."""

from decimal import Decimal

import pgtrigger
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.money import round_cents
from tests.factories import CommuneFactory, UserFactory, agent_of
from wallet import actions
from wallet.models import Account, Entry, Movement, Wallet

pytestmark = pytest.mark.django_db


def post(key: str = "k", **amounts: str) -> int:
    return actions.post(
        kind=Movement.Kind.COUNTER,
        key=key,
        label="Essai",
        amounts={code.replace("__", ":"): Decimal(amount) for code, amount in amounts.items()},
        by=None,
    )


def credit(user: object, amount: str, key: str = "credit") -> None:
    actions.adjust(user=user, amount=Decimal(amount), reason="Dépôt en mairie", key=key, by=agent_of())  # type: ignore[arg-type]


def fire_deferred() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_movement_credits_the_wallet_and_says_the_balance_after() -> None:
    user = UserFactory()
    credit(user, "50.00")
    credit(user, "-8.50", key="debit")
    assert actions.wallet_of(user).balance == Decimal("41.50")
    assert list(Entry.objects.of_wallet(actions.wallet_of(user)).values_list("balance_after", flat=True)) == [
        Decimal("41.50"),
        Decimal("50.00"),
    ]
    assert Account.objects.get(code="adjustment").balance() == Decimal("-41.50")


def test_the_same_key_is_posted_once() -> None:
    assert post(key="once", fees="1.00", adjustment="-1.00") == post(key="once", fees="1.00", adjustment="-1.00")
    assert Entry.objects.count() == 2


def test_a_repeated_debit_returns_the_first_movement_though_the_money_is_gone() -> None:
    user, operator = UserFactory(), agent_of()
    credit(user, "10.00")

    def debit(amount: str, key: str) -> int:
        return actions.post(
            kind=Movement.Kind.COUNTER,
            key=key,
            label="Retrait",
            amounts={actions.wallet_code(user): -Decimal(amount), actions.ADJUSTMENT: Decimal(amount)},
            by=operator,
        )

    assert debit("8.00", "once") == debit("8.00", "once")
    assert actions.wallet_of(user).balance == Decimal("2.00")
    with pytest.raises(Refused):
        debit("8.00", "another")


def test_a_movement_that_does_not_balance_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="does not sum to zero"):
        post(fees="1.00", adjustment="-0.99")


def test_the_database_refuses_a_movement_that_does_not_balance() -> None:
    accounts = [Account.objects.create(code=code, kind="fees") for code in ("a", "b")]
    movement = Movement.objects.create(kind="counter", key="x", label="x")
    Entry.objects.create(movement=movement, account=accounts[0], amount=Decimal("1.00"))
    Entry.objects.create(movement=movement, account=accounts[1], amount=Decimal("-0.99"))
    with pytest.raises(IntegrityError, match="does not sum to zero"), transaction.atomic():
        fire_deferred()
    with pgtrigger.ignore("wallet.Entry:movement_sums_to_zero"):  # the fault with the guard off
        fire_deferred()
    assert any("0,01" in sentence for sentence in verify())


def test_the_database_refuses_a_movement_without_entries() -> None:
    with pytest.raises(IntegrityError, match="fewer than two entries"), transaction.atomic():
        Movement.objects.create(kind="reserve", key="empty", label="x")
        fire_deferred()
    with transaction.atomic():
        Movement.objects.create(kind="reserve", key="empty", label="x")
        with pgtrigger.ignore("wallet.Movement:movement_has_entries"):  # the fault with the guard off
            fire_deferred()
        assert len(list(verify())) == 1
        transaction.set_rollback(True)


def test_a_balance_moves_only_with_its_entries() -> None:
    user = UserFactory()
    credit(user, "10.00")
    with pytest.raises(Exception, match="moves only with its entries"), transaction.atomic():
        Wallet.objects.update(balance=Decimal("99.00"))
    with pgtrigger.ignore("wallet.Wallet:balance_follows_entries"):  # the fault with the guard off
        Wallet.objects.update(balance=Decimal("99.00"))
    assert any(str(user) in sentence for sentence in verify())


def test_a_wallet_cannot_be_opened_with_money() -> None:
    account = Account.objects.create(code="wallet:0", kind="wallet")
    with pytest.raises(Exception, match="starts empty"), transaction.atomic():
        Wallet.objects.create(user=UserFactory(), account=account, balance=Decimal("5.00"))


def test_a_wallet_is_never_overdrawn() -> None:
    user = UserFactory()
    credit(user, "10.00")
    with pytest.raises(Refused) as refusal:
        credit(user, "-10.01", key="too much")
    assert refusal.value.code == "wallet_is_not_overdrawn"
    assert "Rien n’a été débité" in str(refusal.value)


def test_the_database_refuses_an_overdrawn_wallet() -> None:
    wallet = actions.wallet_of(UserFactory())
    with pytest.raises(IntegrityError, match="wallet_is_not_overdrawn"), transaction.atomic():
        movement = Movement.objects.create(kind="counter", key="x", label="x")
        Entry.objects.create(movement=movement, account=wallet.account, amount=Decimal("-0.01"))


def test_an_adjustment_needs_a_reason() -> None:
    with pytest.raises(Refused):
        actions.adjust(user=UserFactory(), amount=Decimal(1), reason=" ", key="k", by=agent_of())


def test_revenue_is_owed_to_the_commune_that_earned_it() -> None:
    commune = CommuneFactory()
    actions.post(
        kind=Movement.Kind.ORDER,
        key="o",
        label="Commande",
        amounts={actions.clearing_code("demo"): Decimal("-3.80"), actions.revenue_code(commune): Decimal("3.80")},
        by=None,
    )
    account = Account.objects.get(commune=commune)
    assert (account.kind, account.balance()) == (Account.Kind.REVENUE, Decimal("3.80"))


def test_verify_ledger_exits_non_zero_on_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    credit(UserFactory(), "10.00")
    call_command("verify_ledger")
    assert "est juste" in capsys.readouterr().out
    with pgtrigger.ignore("wallet.Wallet:balance_follows_entries"):
        Wallet.objects.update(balance=Decimal("9.99"))
    with pytest.raises(CommandError):
        call_command("verify_ledger")


@pytest.mark.parametrize(
    "amount, rounded", [("0.005", "0.01"), ("0.004", "0.00"), ("-0.005", "-0.01"), ("2.675", "2.68"), ("1", "1.00")]
)
def test_one_rounding(amount: str, rounded: str) -> None:
    assert str(round_cents(Decimal(amount))) == rounded
