"""Two operators read the same line of the bank's statement: one proposal of it waits."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest

from tests.admin.world import client_of
from tests.checkout.http import text
from tests.concurrency.conftest import race
from tests.factories import agent_of
from tests.regie.test_corrections import code_of, page
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import Account

ONCE = "account_correction_proposed_once"


@pytest.fixture
def ask(db: None) -> Callable[..., Correction]:
    bank = Account.objects.get_or_create(code="bank", defaults={"kind": "bank"})[0]
    return partial(corrections.propose_for_account, account=bank, amount=Decimal("-31.60"), reason="Chèque 1234567")


def test_the_second_is_told_that_it_waits(ask: Callable[..., Correction]) -> None:
    one, two = agent_of(), agent_of()
    row = ask(by=one, reference=(page_of_one := uuid4()))
    assert ask(by=one, reference=page_of_one) == row  # its button pressed again
    assert code_of(ask, by=two, reason="Impayé") == ONCE
    asked = {"account": row.account_id, "amount": "−31,60", "reason": "x", "reference": uuid4()}
    assert "du même montant, attend déjà" in text(client_of(two).post(page("account"), asked))
    assert Correction.objects.get() == row
    ask(by=two, amount=Decimal("31.60"))
    corrections.approve(correction=row, by=two)
    assert ask(by=two).status == "proposed"  # another cheque of as much


@pytest.mark.django_db(transaction=True)
def test_of_six_at_once_one_proposes(ask: Callable[..., Correction]) -> None:
    agents = [agent_of() for _index in range(6)]
    outcomes = race([partial(ask, by=by) for by in agents])
    assert sorted(getattr(each, "code", "done") for each in outcomes) == [ONCE] * 5 + ["done"]


@pytest.mark.django_db(transaction=True)
def test_of_two_presses_at_once_both_find_the_one(ask: Callable[..., Correction]) -> None:
    press = partial(ask, by=agent_of(), reference=uuid4())
    assert race([press] * 6) == [Correction.objects.get()] * 6


def test_its_page_says_while_there_is_no_account(db: None) -> None:
    """Of a régie that has taken cash alone nothing outside has moved."""
    operator, said = client_of(agent_of()), "il n’y a pas de compte à régulariser"
    assert said in text(operator.get(page("account")))
    Account.objects.create(code="bank", kind="bank")
    assert said not in text(operator.get(page("account")))
