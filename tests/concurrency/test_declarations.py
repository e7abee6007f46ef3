"""A declaration is set right while somebody else does the same, and while a certificate waits for its number."""

from decimal import Decimal
from typing import Any

import pytest

from checkout.actions import declarations
from checkout.actions.declarations import Days, correct_declaration
from checkout.models import DeclarationCorrection, OrderLine
from checkout.papers import yearly
from checkout.papers.models import Document, Kind
from checkout.papers.yearly import issue_certificate
from portal.common.formats import today
from services.models import Slot
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import agent_of
from tests.papers.test_handed_out import with_meals

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mistyped(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What asks for a certificate; 0,37 € stood for 3,70 € when its two days were ordered."""
    return with_meals(monkeypatch, days=2, meal_price="0.37")


def set_right(meal_price: str = "3.70") -> DeclarationCorrection:
    asked = {"slot": Slot.objects.get(), "declared": ("both", Decimal(meal_price)), "days": Days(today())}
    return correct_declaration(**asked, shown="both:0.37:2", reason="Erreur", by=agent_of())


def test_of_two_corrections_at_once_the_second_is_refused(mistyped: dict[str, Any]) -> None:
    outcomes = race([lambda: set_right("3.70"), lambda: set_right("4.20")])
    assert codes(outcomes) == {"DeclarationCorrection": 1, "changed_meanwhile": 1}
    kept = DeclarationCorrection.objects.get()
    assert set(OrderLine.objects.values_list("meal_price", flat=True)) == {kept.meal_price}


def test_without_the_lock_of_the_slot_the_second_overwrites_what_it_never_saw(
    mistyped: dict[str, Any], no_locks: None, meet: Any
) -> None:
    meet(declarations, "check_found", 2)
    assert codes(race([lambda: set_right("3.70"), lambda: set_right("4.20")])) == {"DeclarationCorrection": 2}


def test_a_correction_while_a_certificate_waits_for_its_number_is_not_lost(
    mistyped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = yearly.issue

    def issue_late(**content: Any) -> Document:
        """Its figures are read; its number comes once the correction is committed."""
        assert codes(race([set_right])) == {"DeclarationCorrection": 1}
        return issue(**content)

    monkeypatch.setattr(yearly, "issue", issue_late)
    early = issue_certificate(**mistyped)
    monkeypatch.setattr(yearly, "issue", issue)
    assert early.amount == Decimal("15.06") and early.issued_at > DeclarationCorrection.objects.get().made_at
    assert issue_certificate(**mistyped).amount == Decimal("8.40")
    assert Document.objects.get(cancels=early).kind == Kind.CANCELLATION
