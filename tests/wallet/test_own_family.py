"""Whose family it is leaves to another person what gives money to it: a transfer to its bank account, a correction for it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from checkout.verification import verify
from families.models import Filiation
from portal.common.errors import Refused
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import FiliationFactory, UserFactory, agent_of, regie
from tests.guards import guarded, sql
from tests.regie.ledger import due
from tests.wallet.test_withdrawals import BANK_DAY, DEBTOR, ask, balance
from wallet import actions as ledger
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import Movement
from wallet.withdrawals.actions import (
    approve_withdrawal,
    make_transfer_order,
    mark_paid,
    mark_returned,
    refuse_withdrawal,
)
from wallet.withdrawals.models import Withdrawal

pytestmark = pytest.mark.django_db


@pytest.fixture
def parent() -> User:
    regie(name=DEBTOR.name, iban=DEBTOR.iban)
    parent = UserFactory()
    ledger.adjust(user=parent, amount=Decimal(50), reason="Dépôt", key="start", by=agent_of())
    return parent


@pytest.fixture
def other(parent: User) -> User:
    """An operator who is the other parent of this one's child."""
    operator = agent_of()
    FiliationFactory(user=operator, beneficiary=FiliationFactory(user=parent).beneficiary)
    return operator


def refused(action: Callable[..., object], **arguments: Any) -> None:
    with pytest.raises(Refused, match="votre propre famille") as refusal:
        action(**arguments)
    assert refusal.value.code == "own_family" and list(verify()) == []


def no_longer(other: User) -> None:
    Filiation.objects.filter(user=other).update(ended_at=timezone.now())


class TestTransfers:
    def test_another_grants_and_refuses_it(self, parent: User, other: User) -> None:
        row = ask(parent)
        refused(approve_withdrawal, withdrawal=row, by=other)
        refused(refuse_withdrawal, withdrawal=row, reason="x", by=other)
        approve_withdrawal(withdrawal=row, by=agent_of())
        refused(refuse_withdrawal, withdrawal=row, reason="x", by=other)

    def test_who_answers_for_the_child_no_longer_decides_as_everybody(self, parent: User, other: User) -> None:
        no_longer(other)
        approve_withdrawal(withdrawal=ask(parent), by=other)
        assert Withdrawal.objects.get().status == "approved"

    @pytest.mark.parametrize("paid", [False, True])
    def test_another_says_that_it_came_back(self, parent: User, other: User, paid: bool) -> None:
        row, colleague = ask(parent), agent_of()
        approve_withdrawal(withdrawal=row, by=colleague)
        order = due(make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=colleague))
        if paid:
            mark_paid(order=order, by=other)  # what the bank's statement shows gives them nothing
        refused(mark_returned, withdrawal=row, reason="Compte clôturé", by=other)
        assert balance(parent) == 20
        mark_returned(withdrawal=row, reason="Compte clôturé", by=colleague)
        assert balance(parent) == 50

    def test_the_pages_say_it_first(self, parent: User, other: User) -> None:
        row, client = ask(parent), client_of(other)
        page = reverse("admin:wallet_withdrawal_change", args=[row.pk])
        shown = text(client.get(page))
        assert "C’est une demande de votre propre famille : un autre agent de l’agglomération la décide." in shown
        assert "Accorder 30,00 €" not in shown
        assert "Accorder 30,00 €" in text(client_of(agent_of()).get(page))
        self.sent(row)
        back = client.get(reverse("admin:wallet_withdrawal_returned", args=[row.pk]), follow=True)
        assert "votre propre famille" in text(back)

    def test_postgresql_refuses_it_too(self, parent: User, other: User) -> None:
        ask(parent)
        rows = Withdrawal.objects.filter(user=parent)
        ended = {"decided_by": other, "decided_at": timezone.now()}
        refusal = {"status": "refused", "ended_at": timezone.now(), "reason": "x"}
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        for change in ({"status": "approved"}, refusal):
            guarded(
                "wallet.Withdrawal:withdrawal_is_decided_outside_its_family",
                lambda change=change: rows.update(**change, **ended),
                "nobody decides on a request of their own family",
                lambda: rows.filter(decided_by=other).exists(),
            )

    def test_postgresql_asks_who_gives_it_back(self, parent: User, other: User) -> None:
        row = ask(parent)
        self.sent(row)
        rows = Withdrawal.objects.filter(pk=row.pk)

        def fault() -> None:
            amounts = {ledger.wallet_code(parent): Decimal(30), ledger.TRANSFERS: Decimal(-30)}
            kind, key = Movement.Kind.WITHDRAWAL, f"withdrawal:{row.pk}:back"
            ledger.post(kind=kind, key=key, label="x", amounts=amounts, by=other)
            rows.update(status="returned", ended_at=timezone.now(), reason="x")

        guarded(
            "wallet.Withdrawal:withdrawal_is_returned_by_another",
            fault,
            "nobody says of their own family that a transfer came back",
            lambda: rows.filter(status="returned").exists(),
        )

    def test_what_was_decided_before_goes_on(self, parent: User, other: User) -> None:
        """Whoever granted it is of the family since, or was before it was asked."""
        no_longer(other)
        row = ask(parent)
        self.sent(row, by=other)
        Filiation.objects.update(ended_at=None)
        order = Withdrawal.objects.get().order
        assert order is not None
        mark_paid(order=order, by=agent_of())
        assert Withdrawal.objects.get().status == "paid" and list(verify()) == []

    def sent(self, row: Withdrawal, by: User | None = None) -> None:
        by = by or agent_of()
        approve_withdrawal(withdrawal=row, by=by)
        due(make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=by))


class TestCorrections:
    def test_another_proposes_and_another_agrees_to_a_credit(self, parent: User, other: User) -> None:
        credit: dict[str, Any] = {"user": parent, "amount": Decimal(10), "reason": "x"}
        refused(corrections.propose, by=other, **credit)
        row = corrections.propose(by=agent_of(), **credit)
        refused(corrections.approve, correction=row, by=other)
        corrections.approve(correction=row, by=agent_of())
        assert balance(parent) == 60

    def test_what_was_taken_is_given_back_by_others(self, parent: User, other: User) -> None:
        taken = corrections.propose(user=parent, amount=Decimal(-4), reason="x", by=other)  # is in nobody's favour
        movement = corrections.approve(correction=taken, by=agent_of())
        refused(corrections.propose_reversal, movement=movement, reason="x", by=other)
        back = corrections.propose_reversal(movement=movement, reason="x", by=agent_of())
        refused(corrections.approve, correction=back, by=other)
        assert balance(parent) == 46
        corrections.refuse(correction=back, note="x", by=other)

    def test_the_page_says_it_before_anything_is_proposed(self, parent: User, other: User) -> None:
        values = {"adresse": parent.email, "montant": "10,00", "motif": "Erreur"}
        said = "C’est un porte-monnaie de votre propre famille"
        assert said in self.asked(client_of(other), values) and not Correction.objects.exists()
        assert said not in self.asked(client_of(agent_of()), values)

    def asked(self, client: Client, values: dict[str, str]) -> str:
        return text(client.post(reverse("admin:wallet_correction_new"), values, follow=True))

    def test_postgresql_refuses_it_too(self, parent: User, other: User) -> None:
        row = corrections.propose(user=parent, amount=Decimal(10), reason="x", by=agent_of())
        taken = corrections.propose(user=parent, amount=Decimal(-4), reason="x", by=agent_of())
        movement = corrections.approve(correction=taken, by=agent_of())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        credit = Correction(kind="wallet", wallet=row.wallet, amount=5, reason="x", proposed_by=other)
        reversal = Correction(kind="reversal", reverses=movement, reason="x", proposed_by=other)
        for proposed in (credit, reversal):
            guarded(
                "wallet.Correction:nobody_credits_themselves",
                lambda proposed=proposed: Correction.objects.bulk_create([proposed]),
                "nobody credits their own wallet or their family's",
                lambda: Correction.objects.filter(proposed_by=other).exists(),
            )
            proposed.pk = None
        sql("SET CONSTRAINTS ALL DEFERRED")
        decided = {"status": "approved", "decided_by": other, "decided_at": timezone.now()}
        guarded(
            "wallet.Correction:nobody_credits_themselves",
            lambda: Correction.objects.filter(pk=row.pk).update(**decided),
            "nobody credits their own wallet or their family's",
            lambda: Correction.objects.filter(decided_by=other).exists(),
        )
