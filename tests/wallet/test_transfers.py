"""What no bank can read: one request must not keep all the others from their transfer with an error that names nobody."""

from dataclasses import replace
from decimal import Decimal

import pgtrigger
import pytest
from django.urls import reverse

from accounts.models import User
from portal.common.errors import Refused
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of, regie
from tests.wallet.test_withdrawals import BANK_DAY, DEBTOR, IBAN, UNREADABLE, balance, fresh, refused
from wallet import actions as ledger
from wallet.transfers import Debtor, Transfer, sepa_file
from wallet.withdrawals.actions import (
    approve_withdrawal,
    ask_withdrawal,
    make_transfer_order,
    read_iban,
    refuse_withdrawal,
)
from wallet.withdrawals.models import TransferOrder, Withdrawal

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    regie(name=DEBTOR.name, iban=DEBTOR.iban)
    return agent_of()


def granted(operator: User, holder: str, number: int = 0) -> Withdrawal:
    """As it was asked for before names were looked at."""
    user = UserFactory(first_name="Ada", last_name=f"Roy {number}")
    ledger.adjust(user=user, amount=Decimal("50"), reason="Dépôt", key=f"start:{number}", by=operator)
    row = ask_withdrawal(user=user, amount=Decimal("30"), holder="Ada", iban=IBAN, debtor=DEBTOR)
    with pgtrigger.ignore("wallet.Withdrawal:withdrawal_is_frozen"):
        Withdrawal.objects.filter(pk=row.pk).update(holder=holder)
    approve_withdrawal(withdrawal=row, by=operator)
    return row


@pytest.mark.parametrize("holder", UNREADABLE)
def test_it_is_named_and_the_others_leave_without_it(operator: User, holder: str) -> None:
    granted(operator, "Zoé Lœb")
    row = granted(operator, holder, 1)
    said = refused("unreadable", make_transfer_order, debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    assert f"la demande de {row.user} (30,00\u00a0€)" in said and "Roy 0" not in said
    assert not TransferOrder.objects.exists() and fresh(row).status == "approved"
    refuse_withdrawal(withdrawal=row, reason="Écrivez le nom du titulaire en lettres", by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    assert order.count == 1 and balance(row.user) == 50


def test_all_of_them_are_named_on_the_page(operator: User) -> None:
    rows = [granted(operator, "🙂", number) for number in (1, 2)]
    address = reverse("admin:wallet_transferorder_new")
    said = text(client_of(operator).post(address, {"execution_date": BANK_DAY.isoformat()}, follow=True))
    assert "les demandes de" in said and all(str(row.user) in said for row in rows)
    assert "Rien n’a été préparé" in said and not TransferOrder.objects.exists()


@pytest.mark.parametrize("before", [0, 1])
def test_whatever_else_the_scheme_refuses_names_its_request(before: int) -> None:
    good = Transfer("Zoé", "Zoé", "FR7630006000011234567890189", Decimal(1), "x", "R")
    bad = replace(good, asked_by="Ada Roy", reference="R" * 36)
    rows = [good] * before + [bad]
    assert "Ada Roy" in refused("unreadable", sepa_file, debtor=DEBTOR, transfers=rows, execution_date=BANK_DAY)


@pytest.mark.parametrize("debtor", [replace(DEBTOR, name="🙂"), replace(DEBTOR, bic="X")])
def test_the_regies_own_name_is_no_request(operator: User, debtor: Debtor) -> None:
    granted(operator, "Zoé Lœb")
    said = refused("regie_unreadable", make_transfer_order, debtor=debtor, execution_date=BANK_DAY, by=operator)
    assert "de la régie" in said and "Roy" not in said


def test_no_file_pays_the_regie_itself(operator: User) -> None:
    """Its account was written, or changed, after the family had asked."""
    granted(operator, "Zoé Lœb")
    debtor = replace(DEBTOR, iban=IBAN.replace(" ", ""))
    said = refused("own_account", make_transfer_order, debtor=debtor, execution_date=BANK_DAY, by=operator)
    assert str(Withdrawal.objects.get().user) in said and "Rien n’a été préparé" in said
    assert not TransferOrder.objects.exists()


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "FR76",
        "FR76 3000 6000 0112 3456 7890 188",
        "é" * 27,
        "SC18SSCB11010000000000001497USD",
    ],
)
def test_an_iban_that_no_transfer_reaches(typed: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_iban(typed)
    assert refusal.value.code == "iban"
