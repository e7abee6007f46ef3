"""The note of credits transferred by the bank: issued and sent once, ended when the transfer comes back."""

import datetime as dt
from decimal import Decimal

import pytest

from accounts.models import User
from checkout.papers import tasks
from checkout.papers.actions import cancel
from checkout.papers.again import issue_again
from checkout.papers.models import Document, Kind
from checkout.papers.transfers import issue_transfer_note
from portal.common.bank_days import next_bank_day
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of
from tests.papers.reading import words
from tests.regie.ledger import due
from wallet import actions as ledger
from wallet.transfers import Debtor
from wallet.withdrawals import actions
from wallet.withdrawals.models import Withdrawal

pytestmark = pytest.mark.django_db
DEBTOR = Debtor("Régie du Velay", "DE89370400440532013000")
IBAN = "FR76 3000 6000 0112 3456 7890 189"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WAIT", -dt.timedelta(minutes=1))


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def parent(operator: User) -> User:
    parent = UserFactory(first_name="Zoé", last_name="Roche")
    ledger.adjust(user=parent, amount=Decimal("50"), reason="Dépôt", key="start", by=operator)
    return parent


@pytest.fixture
def asked(parent: User) -> Withdrawal:
    return actions.ask_withdrawal(user=parent, amount=Decimal("30"), holder="Zoé Roche", iban=IBAN, debtor=DEBTOR)


def carried_out(row: Withdrawal, operator: User) -> None:
    """The bank has done it, and the régisseur has seen it."""
    actions.approve_withdrawal(withdrawal=row, by=operator)
    order = actions.make_transfer_order(debtor=DEBTOR, execution_date=next_bank_day(today()), by=operator)
    actions.mark_paid(order=due(order), by=operator)


def test_it_says_what_the_bank_has_done_and_is_sent(asked: Withdrawal, parent: User, operator: User) -> None:
    assert tasks.issue_papers() == 0  # asked for is not transferred
    carried_out(asked, operator)
    assert tasks.issue_papers() == 1 and tasks.issue_papers() == 0
    note = Document.objects.get()
    assert (note.kind, note.user, note.amount) == (Kind.REFUND, parent, 30) and note.reference.startswith("RB-")
    said = words(note)
    for part in ("par virement", "Somme virée : 30,00 €", "FR76 … 0189", "Zoé Roche", f"PORTE-MONNAIE-{asked.pk}"):
        assert part in said, part
    assert "1234" not in said
    letter = Email.objects.get(key=f"paper:{note.pk}:issued")
    assert (letter.to, letter.attachment) == (parent.email, f"paper:{note.pk}")
    assert note.reference in text(client_of(parent).get("/mon-compte/factures/"))
    assert issue_transfer_note(withdrawal=asked) == note


def test_its_note_is_issued_again_while_the_bank_has_it(asked: Withdrawal, operator: User) -> None:
    carried_out(asked, operator)
    note = issue_transfer_note(withdrawal=asked)
    assert note is not None
    cancel(document=note, reason="Erreur", by=operator)
    again = issue_again(document=note, by=operator)
    assert (again.edition, again.amount) == (2, 30)
    assert Email.objects.filter(attachment=f"paper:{again.pk}").count() == 1
    cancel(document=again, reason="Erreur", by=operator)
    actions.mark_returned(withdrawal=asked, reason="Compte clôturé", by=operator)
    with pytest.raises(Refused, match="plus rien à attester"):
        issue_again(document=again, by=operator)


def test_what_comes_back_ends_it(asked: Withdrawal, parent: User, operator: User) -> None:
    carried_out(asked, operator)
    tasks.issue_papers()
    actions.mark_returned(withdrawal=asked, reason="Compte clôturé", by=operator)
    assert tasks.issue_papers() == 1 and tasks.issue_papers() == 0
    ending = Document.objects.get(kind=Kind.CANCELLATION)
    assert ending.cancels == Document.objects.get(kind=Kind.REFUND) and ending.reason == "Compte clôturé"
    assert ending.issued_by is None and ledger.wallet_of(parent).balance == 50
    assert issue_transfer_note(withdrawal=asked) is None


def test_a_long_reason_fits_the_paper_that_ends_it(asked: Withdrawal, operator: User) -> None:
    """300 characters are kept of why a transfer came back, 200 of why a paper ends."""
    carried_out(asked, operator)
    tasks.issue_papers()
    actions.mark_returned(withdrawal=asked, reason=("Compte clôturé " * 20).strip(), by=operator)
    assert tasks.issue_papers() == 1
    reason = Document.objects.get(kind=Kind.CANCELLATION).reason
    assert reason.startswith("Compte clôturé") and " … " in reason and len(reason) <= 200


def test_a_transfer_that_is_refused_has_none(asked: Withdrawal, operator: User) -> None:
    actions.refuse_withdrawal(withdrawal=asked, reason="Compte inconnu", by=operator)
    assert tasks.issue_papers() == 0 and not Document.objects.exists()
