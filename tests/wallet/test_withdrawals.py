"""Credits taken back: asked for, granted by another, transferred by a file that the bank accepts, back when it refuses."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from lxml import etree
from sepaxml.validation import ValidationError, try_valid_xml

from accounts.models import User
from checkout.verification import verify
from portal.common.bank_days import is_bank_day, next_bank_day
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import CommuneFactory, UserFactory, agent_of, regie
from tests.guards import guarded, sql
from tests.regie.ledger import due
from wallet import actions as ledger
from wallet.models import Account
from wallet.transfers import Debtor
from wallet.withdrawals.actions import (
    approve_withdrawal,
    ask_withdrawal,
    cancel_order,
    cancel_withdrawal,
    carried,
    make_transfer_order,
    mark_paid,
    mark_returned,
    read_iban,
    refuse_withdrawal,
)
from wallet.withdrawals.models import TransferOrder, Withdrawal

pytestmark = pytest.mark.django_db
IBAN = "FR76 3000 6000 0112 3456 7890 189"
OTHER_IBAN = "BE68 5390 0754 7034"
TOMORROW = dt.timedelta(days=1)
# An emoji, two invisible spaces, a sign of nobody's alphabet, one that is no name, one that is no XML.
UNREADABLE = ["🙂", "\u200b\u200b", "\ue000", "€€", "Zoé\x01"]
BANK_DAY = next_bank_day(today())


DEBTOR = Debtor("Régie du Velay", "DE89370400440532013000")


@pytest.fixture(autouse=True)
def _account(db: None) -> None:
    regie(name=DEBTOR.name, iban=DEBTOR.iban)


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def parent(operator: User) -> User:
    parent = UserFactory(first_name="Zoé", last_name="Lœb-Çelik")
    ledger.adjust(user=parent, amount=Decimal("50"), reason="Dépôt", key="start", by=operator)
    return parent


def balance(user: User) -> Decimal:
    return ledger.wallet_of(user).balance


def held(code: str) -> Decimal:
    return Account.objects.get(code=code).balance() if Account.objects.filter(code=code).exists() else Decimal(0)


def ask(parent: User, amount: str = "30") -> Withdrawal:
    return ask_withdrawal(user=parent, amount=Decimal(amount), holder="Zoé Lœb-Çelik", iban=IBAN, debtor=DEBTOR)


def fresh(row: Withdrawal) -> Withdrawal:
    return Withdrawal.objects.get(pk=row.pk)


def letters(parent: User) -> list[str]:
    return list(Email.objects.filter(to=parent.email).order_by("pk").values_list("key", flat=True))


def test_from_the_request_to_the_bank(parent: User, operator: User) -> None:
    row = ask(parent)
    assert balance(parent) == 20 and held("transfers") == 30 and row.iban == "FR7630006000011234567890189"
    assert list(verify()) == []
    approve_withdrawal(withdrawal=row, by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    assert fresh(row).status == "sent" and (order.total, order.count) == (Decimal(30), 1) and held("transfers") == 30
    assert "dites-le ce jour-là" in refused("too_early", mark_paid, order=order, by=operator)
    mark_paid(order=due(order), by=operator)
    assert fresh(row).status == "paid" and held("transfers") == 0 and held("bank") == 30 and balance(parent) == 20
    assert [key.rpartition(":")[2] for key in letters(parent)] == ["requested", "approved"]
    assert "7890189" not in Email.objects.filter(to=parent.email)[0].body
    assert list(verify()) == []


def test_the_file_is_what_a_bank_reads(parent: User, operator: User) -> None:
    other = UserFactory()
    ledger.adjust(user=other, amount=Decimal("12.34"), reason="Dépôt", key="o", by=operator)
    rows = [
        ask(parent),
        ask_withdrawal(user=other, amount=Decimal("12.34"), holder="O’Neil & Fils", iban=IBAN, debtor=DEBTOR),
    ]
    for row in rows:
        approve_withdrawal(withdrawal=row, by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    root = etree.fromstring(order.file.encode())
    names = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}

    def texts(path: str) -> list[str]:
        return [node.text for node in root.findall(f".//p:{path}", names)]

    assert texts("GrpHdr/p:NbOfTxs") == ["2"] and texts("GrpHdr/p:CtrlSum") == ["42.34"]
    assert texts("InstdAmt") == ["30.00", "12.34"] and texts("ReqdExctnDt/p:Dt") == [BANK_DAY.isoformat()]
    assert texts("DbtrAcct/p:Id/p:IBAN") == ["DE89370400440532013000"]
    assert texts("CdtrAcct/p:Id/p:IBAN") == ["FR7630006000011234567890189"] * 2
    assert texts("Cdtr/p:Nm") == ["Zoe Loeb-Celik", "O'Neil & Fils"]
    assert texts("EndToEndId") == [f"PORTE-MONNAIE-{row.pk}" for row in rows]
    # Without a BIC, the bank is said not to be given; an empty element is turned away.
    assert texts("DbtrAgt/p:FinInstnId/p:Othr/p:Id") == ["NOTPROVIDED"]
    try_valid_xml(order.file.encode(), "pain.001.001.09")
    with pytest.raises(ValidationError):
        try_valid_xml(order.file.replace("NOTPROVIDED", "").encode(), "pain.001.001.09")


def test_the_file_names_the_bank_that_is_known(parent: User, operator: User) -> None:
    debtor = replace(DEBTOR, bic="COBADEFFXXX")
    approve_withdrawal(withdrawal=ask(parent), by=operator)
    file = make_transfer_order(debtor=debtor, execution_date=BANK_DAY, by=operator).file
    assert "<BICFI>COBADEFFXXX</BICFI>" in file and "NOTPROVIDED" not in file


def test_a_date_that_no_bank_keeps_is_refused(parent: User, operator: User) -> None:
    approve_withdrawal(withdrawal=ask(parent), by=operator)
    days = [today() + dt.timedelta(days=days) for days in range(31)]
    closed = [date for date in days if not is_bank_day(date)]
    for date in [*closed, today() - TOMORROW, today() + dt.timedelta(days=31), dt.date.max]:
        refused("date", make_transfer_order, debtor=DEBTOR, execution_date=date, by=operator)
    for date in days:
        if date not in closed:
            order = make_transfer_order(debtor=DEBTOR, execution_date=date, by=operator)
            cancel_order(order=order, reason="Essai", by=operator)


def test_a_cancelled_order_gives_its_requests_back(parent: User, operator: User) -> None:
    row = ask(parent)
    approve_withdrawal(withdrawal=row, by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    refused("reason_missing", cancel_order, order=order, reason=" ", by=operator)
    cancel_order(order=order, reason=" Mauvaise date ", by=operator)
    order.refresh_from_db()
    assert (order.reason, order.cancelled_by) == ("Mauvaise date", operator) and order.cancelled_at
    assert (fresh(row).status, fresh(row).order) == ("approved", None) and held("transfers") == 30
    assert list(carried(order)) == [row]
    refused("cancelled", cancel_order, order=order, reason="x", by=operator)
    refused("cancelled", mark_paid, order=order, by=operator)
    second = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    mark_paid(order=due(second), by=operator)
    refused("paid", cancel_order, order=second, reason="x", by=operator)
    assert fresh(row).order == second and held("bank") == 30 and balance(parent) == 20 and list(verify()) == []


def test_what_the_bank_has_is_not_cancelled(parent: User, operator: User) -> None:
    row = ask(parent)
    approve_withdrawal(withdrawal=row, by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    said = refused("too_early", mark_returned, withdrawal=row, reason="Clos", by=operator)
    assert "annulez l’ordre" in said and balance(parent) == 20  # else it would be paid twice
    page = reverse("admin:wallet_withdrawal_returned", args=[row.pk])
    assert (
        said.split(" : ")[0] in client_of(operator).get(page, follow=True).content.decode()
    )  # before anything is typed
    due(order)
    assert "Motif donné par la banque" in client_of(operator).get(page).content.decode()
    mark_returned(withdrawal=row, reason="Clos", by=operator)
    refused("at_the_bank", cancel_order, order=order, reason="x", by=operator)


def refused(code: str, action: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(Refused) as refusal, transaction.atomic():
        action(**arguments)
    assert refusal.value.code == code
    assert list(verify()) == []
    return str(refusal.value)


def test_what_is_not_there_is_not_taken(parent: User) -> None:
    data = {"user": parent, "holder": "Z", "iban": IBAN, "debtor": DEBTOR}
    refused("wallet_is_not_overdrawn", ask_withdrawal, amount=Decimal("50.01"), **data)
    refused("amount", ask_withdrawal, amount=Decimal("0"), **data)
    refused("amount", ask_withdrawal, amount=Decimal("-5"), **data)
    refused("amount", ask_withdrawal, amount=Decimal("1.001"), **data)
    own = data | {"iban": "de89 3704 0044 0532 0130 00"}
    assert "C’est le compte de la régie" in refused("own_account", ask_withdrawal, amount=Decimal("1"), **own)
    for holder in (" ", *UNREADABLE):
        refused("holder", ask_withdrawal, amount=Decimal("1"), **(data | {"holder": holder}))
    assert balance(parent) == 50 and not Withdrawal.objects.exists()
    assert ask_withdrawal(amount=Decimal("1"), **(data | {"holder": " Zoé\tLœb 🙂\n"})).holder == "Zoé Lœb 🙂"


def test_one_request_at_a_time(parent: User) -> None:
    row = ask(parent, "10")
    assert "déjà en cours" in refused("one_running_withdrawal", ask, parent=parent, amount="10")
    cancel_withdrawal(withdrawal=row, by=parent)
    assert balance(parent) == 50 and ask(parent, "50").status == "requested"


def test_a_refusal_gives_the_money_back(parent: User, operator: User) -> None:
    row = ask(parent)
    refused("reason_missing", refuse_withdrawal, withdrawal=row, reason=" ", by=operator)
    refuse_withdrawal(withdrawal=row, reason="Compte au nom d’un tiers", by=operator)
    assert balance(parent) == 50 and held("transfers") == 0 and fresh(row).status == "refused"
    assert "tiers" in Email.objects.get(key=f"withdrawal:{row.pk}:refused").body
    refused("too_late", approve_withdrawal, withdrawal=row, by=operator)
    refused("too_late", cancel_withdrawal, withdrawal=row, by=parent)


def test_a_granted_request_can_still_be_refused_until_it_leaves(parent: User, operator: User) -> None:
    row = ask(parent)
    approve_withdrawal(withdrawal=row, by=operator)
    refused("too_late", cancel_withdrawal, withdrawal=row, by=parent)
    refuse_withdrawal(withdrawal=row, reason="Doublon", by=operator)
    assert balance(parent) == 50
    refused("empty", make_transfer_order, debtor=DEBTOR, execution_date=BANK_DAY, by=operator)


@pytest.mark.parametrize("paid", [False, True])
def test_a_transfer_that_the_bank_sends_back(parent: User, operator: User, paid: bool) -> None:
    row = ask(parent)
    refused("too_late", mark_returned, withdrawal=row, reason="x", by=operator)
    approve_withdrawal(withdrawal=row, by=operator)
    order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
    due(order)
    if paid:
        mark_paid(order=order, by=operator)
    mark_returned(withdrawal=row, reason="Compte clôturé", by=operator)
    assert balance(parent) == 50 and held("transfers") == 0 and held("bank") == 0
    if not paid:
        mark_paid(order=order, by=operator)
    assert held("bank") == 0 and list(verify()) == []
    refused("paid", mark_paid, order=order, by=operator)
    assert "clôturé" in Email.objects.get(key=f"withdrawal:{row.pk}:returned").body


def test_nobody_grants_their_own_request(parent: User, operator: User) -> None:
    ledger.adjust(user=operator, amount=Decimal("5"), reason="x", key="op", by=agent_of())
    row = ask_withdrawal(user=operator, amount=Decimal("5"), holder="O", iban=IBAN, debtor=DEBTOR)
    refused("own_request", approve_withdrawal, withdrawal=row, by=operator)
    refused("own_request", refuse_withdrawal, withdrawal=row, reason="x", by=operator)
    with pytest.raises(IntegrityError, match="withdrawal_is_decided_by_another"), transaction.atomic():
        Withdrawal.objects.update(status="approved", decided_by=operator, decided_at=timezone.now())


def test_without_an_account_of_the_regie(parent: User, operator: User) -> None:
    approve_withdrawal(withdrawal=ask(parent), by=operator)
    refused("no_account", make_transfer_order, debtor=Debtor("Régie", ""), execution_date=BANK_DAY, by=operator)
    refused("date", make_transfer_order, debtor=DEBTOR, execution_date=today() - TOMORROW, by=operator)


class TestGuards:
    @pytest.mark.parametrize(
        "change", [{"amount": Decimal(49)}, {"iban": "DE89370400440532013000"}, {"holder": "Autre"}]
    )
    def test_what_was_asked_for_stays(self, parent: User, change: dict[str, object]) -> None:
        ask(parent)
        guarded(
            "wallet.Withdrawal:withdrawal_is_frozen",
            lambda: Withdrawal.objects.update(**change),
            "Cannot update",
            lambda: Withdrawal.objects.filter(**change).exists(),
        )

    def test_what_was_refused_stays_so(self, parent: User, operator: User) -> None:
        refuse_withdrawal(withdrawal=ask(parent), reason="x", by=operator)
        guarded(
            "wallet.Withdrawal:withdrawal_transitions",
            lambda: Withdrawal.objects.update(status="approved", ended_at=None),
            "Invalid transition",
            lambda: Withdrawal.objects.filter(status="approved").exists(),
        )

    def test_no_order_for_a_day_without_banks(self, operator: User) -> None:
        saturday = today() + dt.timedelta(days=5 - today().weekday() if today().weekday() < 5 else 6)
        for date in (saturday, today() - TOMORROW, today() + dt.timedelta(days=38 - today().weekday())):
            guarded(
                "wallet.TransferOrder:transfer_order_has_a_bank_day",
                lambda date=date: TransferOrder.objects.create(
                    file="x", total=1, count=1, execution_date=date, created_by=operator
                ),
                "no bank carries it out",
                lambda: TransferOrder.objects.exists(),
            )

    def test_an_order_is_paid_in_time(self, operator: User) -> None:
        TransferOrder.objects.create(file="x", total=1, count=1, execution_date=BANK_DAY, created_by=operator)
        guarded(
            "wallet.TransferOrder:transfer_order_is_paid_in_time",
            lambda: TransferOrder.objects.update(paid_at=timezone.now(), paid_by=operator),
            "it is carried out on",
            lambda: TransferOrder.objects.filter(paid_by=operator).exists(),
        )

    def test_a_cancelled_order_says_why_and_carries_nothing(self, parent: User, operator: User) -> None:
        row = ask(parent)
        approve_withdrawal(withdrawal=row, by=operator)
        order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
        for change in ({"reason": ""}, {"cancelled_by": None}, {"paid_at": timezone.now(), "paid_by": operator}):
            values = {"cancelled_at": timezone.now(), "cancelled_by": operator, "reason": "x"} | change
            says = r"cancelled_transfer_order_says_why|it is carried out"
            with pytest.raises(IntegrityError, match=says), transaction.atomic():
                TransferOrder.objects.update(**values)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "wallet.Withdrawal:withdrawal_leaves_a_cancelled_order",
            lambda: Withdrawal.objects.update(status="approved", order=None),
            "its order is not cancelled",
            lambda: Withdrawal.objects.filter(status="approved").exists(),
        )
        cancelled = {"cancelled_at": timezone.now(), "cancelled_by": operator, "reason": "x"}
        guarded(
            "wallet.TransferOrder:cancelled_transfer_order_is_empty",
            lambda: TransferOrder.objects.update(**cancelled),
            "carries requests",
            lambda: TransferOrder.objects.filter(reason="x").exists(),
        )
        sql("SET CONSTRAINTS ALL DEFERRED")
        cancel_order(order=order, reason="x", by=operator)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "wallet.TransferOrder:paid_transfer_order_stays",
            lambda: TransferOrder.objects.update(cancelled_at=None, cancelled_by=None, reason=""),
            "it stays",
            lambda: TransferOrder.objects.filter(cancelled_at=None).exists(),
        )

    def test_requests_and_orders_are_kept(self, parent: User, operator: User) -> None:
        row = ask(parent)
        guarded(
            "wallet.Withdrawal:withdrawals_are_kept",
            lambda: Withdrawal.objects.all().delete(),
            "Cannot delete",
            lambda: not Withdrawal.objects.exists(),
        )
        approve_withdrawal(withdrawal=row, by=operator)
        order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
        guarded(
            "wallet.TransferOrder:transfer_order_is_frozen",
            lambda: TransferOrder.objects.update(file="<autre/>"),
            "Cannot update",
            lambda: TransferOrder.objects.filter(file="<autre/>").exists(),
        )
        mark_paid(order=due(order), by=operator)
        guarded(
            "wallet.TransferOrder:paid_transfer_order_stays",
            lambda: TransferOrder.objects.update(paid_at=None, paid_by=None),
            "it stays",
            lambda: TransferOrder.objects.filter(paid_at=None).exists(),
        )
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "wallet.Withdrawal:withdrawals_are_not_emptied",
            lambda: sql("TRUNCATE wallet_withdrawal"),
            "never emptied",
            lambda: not Withdrawal.objects.exists(),
        )

    def test_an_order_is_kept(self, operator: User) -> None:
        TransferOrder.objects.create(file="x", total=1, count=1, execution_date=BANK_DAY, created_by=operator)
        guarded(
            "wallet.TransferOrder:transfer_orders_are_kept",
            lambda: TransferOrder.objects.all().delete(),
            "Cannot delete",
            lambda: not TransferOrder.objects.exists(),
        )
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            "wallet.TransferOrder:transfer_orders_are_not_emptied",
            lambda: sql("ALTER TABLE wallet_withdrawal DISABLE TRIGGER ALL; TRUNCATE wallet_transferorder CASCADE"),
            "never emptied",
            lambda: not TransferOrder.objects.exists(),
        )

    def test_one_running_request_for_the_database(self, parent: User) -> None:
        ask(parent, "1")
        with pytest.raises(IntegrityError, match="one_running_withdrawal"), transaction.atomic():
            Withdrawal.objects.create(user=parent, amount=1, holder="x", iban=read_iban(IBAN))


class TestPages:
    PAGE = "/mon-compte/porte-monnaie/remboursement/"
    CHECK = f"{PAGE}verifier/"

    def test_ask_check_and_take_back(self, parent: User) -> None:
        client = client_of(parent)
        assert "Demander un remboursement" in text(client.get("/mon-compte/porte-monnaie/"))
        form = client.get(self.PAGE)
        assert 'value="50,00"' in form.content.decode() and "Zoé Lœb-Çelik" in form.content.decode()
        data = {"amount": "30,00", "holder": "Zoé Lœb-Çelik", "iban": IBAN}
        check = client.post(self.PAGE, data, follow=True)
        assert check.redirect_chain == [(self.CHECK, 302)]  # a page of its own: Back and reloading show it again
        assert "Vérifiez votre demande" in text(check) and "30,00 €" in text(check) and not Withdrawal.objects.exists()
        assert "FR76 3000 6000 0112 3456 7890 189" in text(check) and "qui n’est pas le vôtre" not in text(check)
        assert 'value="30,00"' in client.get(self.PAGE).content.decode()  # « Corriger »
        answer = client.post(self.CHECK, {"seal": check.context["seal"]}, follow=True)
        assert "30,00 € ont quitté votre porte-monnaie" in text(answer) and "FR76 … 0189 : en attente d’accord" in text(
            answer
        )
        assert "7890189" not in str(client.session.items())
        assert "déjà en cours" in text(client.post(self.CHECK, follow=True))  # a second press asks for nothing
        assert Withdrawal.objects.count() == 1
        row = Withdrawal.objects.get()
        stranger = client_of(UserFactory())
        assert stranger.post(f"{self.PAGE}{row.pk}/retirer/").status_code == 404
        answer = client.post(f"{self.PAGE}{row.pk}/retirer/", follow=True)
        assert "Demande retirée" in text(answer) and balance(parent) == 50
        assert "n’a été changé" in text(client.post(f"{self.PAGE}{row.pk}/retirer/", follow=True))

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"amount": ""}, "Écrivez le montant à reprendre"),
            ({"amount": "abc"}, "en chiffres"),
            ({"amount": "1e1"}, "en chiffres"),
            ({"amount": "51"}, "contient 50,00 €"),
            ({"amount": "NaN"}, "en chiffres"),
            ({"amount": "1" * 40}, "en chiffres"),
            ({"iban": "FR76"}, "n’est pas juste"),
            ({"iban": ""}, "Écrivez l’IBAN"),
            ({"holder": ""}, "titulaire"),
            ({"holder": "🙂"}, "en lettres"),
        ],
    )
    def test_bad_input_is_said(self, parent: User, changes: dict[str, str], words: str) -> None:
        data = {"amount": "30", "holder": "Z", "iban": IBAN} | changes
        client = client_of(parent)
        answer = client.post(self.PAGE, data)
        assert answer.status_code == 422 and words in text(answer)
        assert answer.content.decode().count("Erreur&nbsp;: Reprendre") == 1
        assert "<title>Erreur&nbsp;: Reprendre mes crédits – " in answer.content.decode()
        assert client.post(self.CHECK)["Location"] == self.PAGE
        assert balance(parent) == 50

    @pytest.mark.parametrize("changes", [{"amount": "12,50"}, {"holder": "Claude Lœb"}, {"iban": OTHER_IBAN}])
    def test_two_tabs_send_what_was_shown(self, parent: User, changes: dict[str, str]) -> None:
        client = client_of(parent)
        typed = {"amount": "30", "holder": "Zoé Lœb-Çelik", "iban": IBAN}
        first = client.post(self.PAGE, typed, follow=True).context["seal"]
        second = client.post(self.PAGE, typed | changes, follow=True).context["seal"]
        for seal in (first, "", "é"):
            answer = client.post(self.CHECK, {"seal": seal}, follow=True)
            assert answer.redirect_chain == [(self.CHECK, 302)] and answer.context["seal"] == second
            assert "entre-temps" in text(answer) and "Rien n’a été envoyé" in text(answer)
            assert not Withdrawal.objects.exists() and balance(parent) == 50
        client.post(self.CHECK, {"seal": second})
        row = Withdrawal.objects.get()
        asked = {"amount": Decimal(30), "holder": typed["holder"], "iban": read_iban(IBAN)}
        wanted = {"amount": Decimal("12.5"), "holder": "Claude Lœb", "iban": read_iban(OTHER_IBAN)}
        assert {"amount": row.amount, "holder": row.holder, "iban": row.iban} == asked | {
            name: wanted[name] for name in changes
        }

    def test_the_regies_account_is_nobodys(self, parent: User) -> None:
        client = client_of(parent)
        asked = {"amount": "30", "holder": "Zoé Lœb-Çelik", "iban": OTHER_IBAN}
        own = client.post(self.PAGE, asked | {"iban": "DE89 3704 0044 0532 0130 00"})
        assert own.status_code == 422 and "C’est le compte de la régie" in text(own)
        seal = client.post(self.PAGE, asked, follow=True).context["seal"]
        regie(iban=read_iban(OTHER_IBAN))  # written meanwhile
        assert client.post(self.CHECK, {"seal": seal})["Location"] == self.PAGE
        assert balance(parent) == 50 and not Withdrawal.objects.exists()

    def test_what_was_typed_does_not_outlive_the_balance(self, parent: User, operator: User) -> None:
        client = client_of(parent)
        client.post(self.PAGE, {"amount": "30", "holder": "Z", "iban": IBAN})
        ledger.adjust(user=parent, amount=Decimal("-30"), reason="Ailleurs", key="less", by=operator)
        answer = client.post(self.CHECK, follow=True)
        assert answer.redirect_chain == [(self.PAGE, 302)] and "contient 20,00 €" in text(answer)
        ledger.adjust(user=parent, amount=Decimal("-20"), reason="Ailleurs", key="none", by=operator)
        assert "porte-monnaie est vide" in text(client.get(self.CHECK, follow=True))
        assert IBAN not in str(client.session.items()) and not Withdrawal.objects.exists()

    def test_the_regisseurs_way(self, parent: User, operator: User) -> None:
        row = ask(parent)
        client = client_of(operator)
        page = client.get(f"/admin/wallet/withdrawal/{row.pk}/change/")
        assert "Accorder 30,00 €" in text(page) and "1234567890" not in page.content.decode()
        seen = page.context["decision"].seen
        answer = client.post(f"/admin/wallet/withdrawal/{row.pk}/valider/", {"seen": seen}, follow=True)
        assert f"{parent} : c’est accordé" in text(answer) and "Accordée, à virer" in text(answer)
        assert "1 demande accordée, 30,00 €" in text(client.get("/admin/wallet/transferorder/preparer/"))
        answer = client.post(
            "/admin/wallet/transferorder/preparer/", {"execution_date": BANK_DAY.isoformat()}, follow=True
        )
        assert "déposez son fichier à la banque" in text(answer)
        order = TransferOrder.objects.get()
        file = client.get(f"/admin/wallet/transferorder/{order.pk}/fichier/")
        assert file["Content-Type"] == "application/xml" and b"FR7630006000011234567890189" in file.content
        answer = client.post(f"/admin/wallet/transferorder/{order.pk}/execute/", follow=True)
        assert "dites-le ce jour-là" in text(answer) and "La banque l’a exécuté" not in text(answer)
        due(order)
        assert "La banque l’a exécuté" in text(client.get(f"/admin/wallet/transferorder/{order.pk}/change/"))
        answer = client.post(f"/admin/wallet/transferorder/{order.pk}/execute/", follow=True)
        assert "marqués comme exécutés : 30,00 €" in text(answer)
        answer = client.post(f"/admin/wallet/withdrawal/{row.pk}/rejet/", {"reason": "Compte clôturé"}, follow=True)
        assert "de nouveau dans le porte-monnaie" in text(answer) and balance(parent) == 50
        history = text(client.get(f"/admin/wallet/withdrawal/{row.pk}/history/"))
        assert "Virée." in history and "porte-monnaie : Compte clôturé" in history

    def test_a_list_names_its_columns_on_each_card(self, parent: User, operator: User) -> None:
        """Without JavaScript too: three names on a card say nothing of whose they are."""
        ask(parent)
        page = client_of(operator).get("/admin/wallet/withdrawal/").content.decode()
        for head in ("Usager", "Titulaire", "IBAN", "Statut"):
            assert f'<td data-label="{head}"' in page, head
        assert '<td data-label=""' not in page and '<td class="action-checkbox"' in page

    def test_the_decision_has_one_name(self, parent: User, operator: User) -> None:
        row, other = ask(parent), UserFactory()
        ledger.adjust(user=other, amount=Decimal("5"), reason="Dépôt", key="o", by=operator)
        ask(other, "5")
        client, page = client_of(operator), "/admin/wallet/withdrawal/"
        listed = client.get(page)
        assert ("approve_selected", "Accorder") in listed.context["action_form"].fields["action"].choices
        words = text(listed)
        assert "À décider" in words and "Accordée, à virer" in words and "Validée" not in words
        pressed = {"action": "approve_selected", "_selected_action": [row.pk, row.pk + 1]}
        words = text(client.post(page, pressed, follow=True))
        assert "2 remboursements de crédits sont accordés" in words

    def test_the_regisseur_takes_an_order_back(self, parent: User, operator: User) -> None:
        row = ask(parent)
        approve_withdrawal(withdrawal=row, by=operator)
        client = client_of(operator)
        form = client.get("/admin/wallet/transferorder/preparer/")
        assert f'value="{BANK_DAY.isoformat()}"' in form.content.decode()
        far = client.post("/admin/wallet/transferorder/preparer/", {"execution_date": "9999-12-31"})
        assert "trop lointaine" in text(far) and not TransferOrder.objects.exists()
        order = make_transfer_order(debtor=DEBTOR, execution_date=BANK_DAY, by=operator)
        page = f"/admin/wallet/transferorder/{order.pk}"
        assert "deux fois" in text(client.get(f"{page}/annuler/"))
        assert "pourquoi" in text(client.post(f"{page}/annuler/", {"reason": ""})) and fresh(row).status == "sent"
        answer = client.post(f"{page}/annuler/", {"reason": "Mauvaise date"}, follow=True)
        assert "attendent de nouveau leur virement" in text(answer) and "Mauvaise date" in text(answer)
        assert "Zoé Lœb-Çelik" in text(answer) and "Télécharger" not in text(answer)
        assert "n’est plus à déposer" in text(client.get(f"{page}/fichier/", follow=True))
        assert "Annulé : Mauvaise date" in text(client.get(f"{page}/history/"))
        assert "annulé" in text(client.get("/admin/wallet/transferorder/"))

    def test_nobody_else_reaches_an_iban(self, parent: User) -> None:
        row = ask(parent)
        order = TransferOrder.objects.create(file="x", total=1, count=1, execution_date=BANK_DAY, created_by=agent_of())
        addresses = [
            f"/admin/wallet/withdrawal/{row.pk}/rejet/",
            "/admin/wallet/transferorder/preparer/",
            f"/admin/wallet/transferorder/{order.pk}/fichier/",
            f"/admin/wallet/transferorder/{order.pk}/execute/",
            f"/admin/wallet/transferorder/{order.pk}/annuler/",
        ]
        for user in (parent, agent_of(CommuneFactory())):
            for address in addresses:
                for send in (client_of(user).get, client_of(user).post):
                    assert send(address).status_code == 404, (user, address)
