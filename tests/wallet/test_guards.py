"""What anybody with a psql prompt could do to the ledger, and PostgreSQL refuses; each fault is shown first, its guard off."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, transaction

from checkout.verification import verify
from tests.factories import (
    UserFactory,
)
from tests.guards import bought, guarded, sql
from wallet import actions as ledger
from wallet.models import Account, Entry, Movement, Wallet
from wallet.verification import verify as verify_entries

pytestmark = pytest.mark.django_db


class TestLedger:
    @pytest.mark.parametrize(
        "guard, model, change",
        [
            ("wallet.Entry:entries_are_append_only", Entry, {"amount": Decimal("2.00")}),
            ("wallet.Movement:movements_are_append_only", Movement, {"label": "Autre"}),
        ],
    )
    def test_what_is_written_is_not_rewritten(self, guard: str, model: Any, change: dict[str, object]) -> None:
        ledger.post(kind=Movement.Kind.RESERVE, key="k", label="Essai", amounts=mirror("1.00"), by=None)
        guarded(
            guard,
            lambda: model.objects.update(**change),
            "Cannot update or delete",
            lambda: model.objects.filter(**change).exists(),
        )

    @pytest.mark.parametrize("model", [Entry, Movement])
    def test_what_is_written_is_not_deleted(self, model: Any) -> None:
        ledger.post(kind=Movement.Kind.RESERVE, key="k", label="Essai", amounts=mirror("1.00"), by=None)
        name = {Entry: "entries_are_append_only", Movement: "movements_are_append_only"}[model]
        guarded(
            f"wallet.{model.__name__}:{name}",
            lambda: model.objects.all()._raw_delete("default"),
            "Cannot update or delete",
            lambda: not model.objects.exists(),
        )

    def test_a_code_of_an_account_stays(self) -> None:
        account = Account.objects.create(code="revenue:agglo", kind=Account.Kind.REVENUE)
        guarded(
            "wallet.Account:account_is_frozen",
            lambda: Account.objects.update(code="fees"),
            "Cannot update",
            lambda: Account.objects.get(pk=account.pk).code == "fees",
        )

    @pytest.mark.parametrize("field", ["user", "account"])
    def test_a_wallet_stays_its_owners(self, field: str) -> None:
        wallet = ledger.wallet_of(bought().user)
        other = UserFactory() if field == "user" else Account.objects.create(code="wallet:0", kind="wallet")
        guarded(
            "wallet.Wallet:wallet_is_frozen",
            lambda: Wallet.objects.filter(pk=wallet.pk).update(**{field: other}),
            "Cannot update",
            lambda: Wallet.objects.filter(pk=wallet.pk, **{field: other}).exists(),
        )

    def test_a_used_wallet_is_kept(self) -> None:
        wallet = ledger.wallet_of(bought().user)
        guarded(
            "wallet.Wallet:used_wallet_is_kept",
            lambda: Wallet.objects.filter(pk=wallet.pk)._raw_delete("default"),
            "a wallet that has entries is kept",
            lambda: any(f"Compte wallet:{wallet.user_id} : son porte-monnaie manque" in line for line in verify()),
        )
        Wallet.objects.filter(pk=ledger.wallet_of(UserFactory()).pk)._raw_delete("default")  # never used: it may go

    def test_a_wallet_is_not_opened_over_entries(self) -> None:
        """Its balance would start at zero above money that is there."""
        ledger.post(kind=Movement.Kind.RESERVE, key="k", label="Essai", amounts=mirror("5.00"), by=None)
        account, user = Account.objects.get(code="expired"), UserFactory()
        guarded(
            "wallet.Wallet:wallet_starts_empty",
            lambda: Wallet.objects.create(user=user, account=account),
            "a wallet starts empty",
            lambda: any(str(user) in line for line in verify()),
        )

    def test_money_does_not_go_to_a_wallet_that_is_not_open(self) -> None:
        with pytest.raises(Error, match="its wallet is not open"), transaction.atomic():
            ledger.post(
                kind=Movement.Kind.COUNTER,
                key="k",
                label="Essai",
                amounts={"wallet:987654": Decimal(1), "expired": Decimal(-1)},
                by=None,
            )
        assert not Entry.objects.exists()


def mirror(amount: str) -> dict[str, Decimal]:
    """Between two accounts that no orders explain: what recomputes the ledger alone looks at the fault alone."""
    return {"expired": Decimal(amount), ledger.ADJUSTMENT: -Decimal(amount)}


@pytest.mark.django_db(transaction=True)
class TestClosedMovement:
    """Entries come in the transaction of their movement; these tests commit, since that is what closes it."""

    def add_entries(self, movement: Movement) -> None:
        """Two more, that sum to zero: money out of nowhere into the first account."""
        Entry.objects.bulk_create(
            [
                Entry(movement=movement, account=Account.objects.get(code=code), amount=amount)
                for code, amount in mirror("500.00").items()
            ]
        )

    def test_an_old_movement_takes_no_more_entries(self) -> None:
        ledger_post_committed()
        movement = Movement.objects.get()
        guarded(
            "wallet.Entry:entry_comes_with_its_movement",
            lambda: self.add_entries(movement),
            "is closed: its entries come in its own transaction",
            lambda: Entry.objects.count() == 4,
        )

    def test_neither_after_other_transactions_nor_from_a_savepoint(self) -> None:
        ledger_post_committed()
        movement = Movement.objects.get(key="k")
        ledger_post_committed("other")
        with transaction.atomic():
            sql("SELECT pg_current_xact_id()")
            with transaction.atomic():
                Movement.objects.create(kind="reserve", key="mine", label="x")
                with pytest.raises(Error, match="is closed"), transaction.atomic():
                    self.add_entries(movement)
            transaction.set_rollback(True)

    def test_a_savepoint_is_the_same_transaction(self) -> None:
        ledger_post_committed()
        with transaction.atomic():
            UserFactory()
            with transaction.atomic():
                UserFactory()
                with transaction.atomic():
                    movement = Movement.objects.create(kind="reserve", key="deep", label="x")
                self.add_entries(movement)
            with transaction.atomic():
                self.add_entries(movement)
            self.add_entries(movement)
        assert Entry.objects.filter(movement=movement).count() == 6 and list(verify_entries()) == []

    def test_a_movement_that_somebody_wrote_while_we_were_busy_is_closed(self) -> None:
        """Its transaction is younger than ours, and over."""
        from tests.concurrency.conftest import race

        ledger_post_committed("before")
        with transaction.atomic():
            sql("SELECT pg_current_xact_id()")
            assert race([lambda: ledger_post_committed("meanwhile")]) == [None]
            with pytest.raises(Error, match="is closed"), transaction.atomic():
                self.add_entries(Movement.objects.get(key="meanwhile"))


def ledger_post_committed(key: str = "k") -> None:
    with transaction.atomic():
        ledger.post(kind=Movement.Kind.RESERVE, key=key, label="Essai", amounts=mirror("1.00"), by=None)
