"""What no bank can read: one request must not keep all the others from their transfer with an error that names nobody.

And what an order leaves behind: on the requests that it carried once, and of what the bank sent back.
"""

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
from tests.regie.ledger import due
from tests.wallet.test_withdrawals import BANK_DAY, DEBTOR, IBAN, UNREADABLE, balance, fresh, refused
from wallet import actions as ledger
from wallet.transfers import Debtor, Transfer, sepa_file
from wallet.withdrawals.actions import (
    approve_withdrawal,
    ask_withdrawal,
    cancel_order,
    make_transfer_order,
    mark_paid,
    mark_returned,
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


def prepared(operator: User) -> TransferOrder:
    return make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)


def test_a_request_tells_each_order_that_carried_it(operator: User) -> None:
    row = granted(operator, "Ada")
    for reason in ("Mauvaise date", "Fichier perdu"):
        cancel_order(order=prepared(operator), reason=reason, by=operator)
    later = granted(operator, "Bea", 1)
    last = prepared(operator)
    client = client_of(operator)
    shown = text(client.get(reverse("admin:wallet_withdrawal_change", args=[row.pk])))
    for order in TransferOrder.objects.all():
        assert f"Mis dans l’ordre de virement {order.pk}." in shown
        assert (f"Ordre de virement {order.pk} annulé : {order.reason}" in shown) is (order != last)
    shown = text(client.get(reverse("admin:wallet_withdrawal_history", args=[later.pk])))
    assert f"Mis dans l’ordre de virement {last.pk}." in shown and "annulé" not in shown


@pytest.mark.parametrize("paid_first", [True, False])
def test_an_order_says_what_the_bank_sent_back(operator: User, paid_first: bool) -> None:
    row = granted(operator, "Ada")
    granted(operator, "Bea", 1)
    order = due(prepared(operator))
    client, page = client_of(operator), reverse("admin:wallet_transferorder_change", args=[order.pk])
    file = reverse("admin:wallet_transferorder_file", args=[order.pk])
    assert file in client.get(page).content.decode()
    if paid_first:
        mark_paid(order=order, by=operator)
    mark_returned(withdrawal=row, reason="Compte clôturé", by=operator)
    shown = client.get(page)
    assert "La banque a rejeté 30,00 €" in text(shown) and file not in shown.content.decode()
    assert reverse("admin:wallet_transferorder_cancel", args=[order.pk]) not in shown.content.decode()
    if not paid_first:
        assert "les autres virements, 30,00 €" in text(shown)
        assert "à constater, 30,00 € rejetés" in text(client.get("/admin/wallet/transferorder/"))
        pressed = client.post(reverse("admin:wallet_transferorder_paid", args=[order.pk]), follow=True)
        assert "marqués comme exécutés : 30,00 €" in text(pressed)  # the other one
    assert "Elle a viré 30,00 €" in text(client.get(page)) and "Rejeté par la banque : 30,00 €" in text(
        client.get(page)
    )
    listed = text(client.get("/admin/wallet/transferorder/"))
    assert "exécuté le" in listed and "30,00 € rejetés" in listed
    told = text(client.get(reverse("admin:wallet_transferorder_history", args=[order.pk])))
    assert f"Virement de 30,00 € à {row.user} rejeté par la banque : Compte clôturé" in told
