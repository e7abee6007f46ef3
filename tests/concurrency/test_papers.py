"""Twenty at once are numbered 1 to 20 without a gap, whatever fails among them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from checkout.actions import Means
from checkout.models import Order
from checkout.papers import actions, yearly
from checkout.papers.actions import cancel, issue
from checkout.papers.content import Content
from checkout.papers.models import Document, Kind, Series
from checkout.papers.receipts import issue_receipt
from checkout.papers.verification import verify_papers
from checkout.papers.yearly import issue_certificate
from portal.common.formats import today
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import UserFactory, agent_of
from tests.guards import bought
from tests.shop import open_shop

pytestmark = pytest.mark.django_db(transaction=True)
Meet = Callable[[Any, str, int], None]


def note(number: int) -> Content:
    """A paper about an order of its own."""
    user = UserFactory()
    order = Order.objects.create(user=user, total=Decimal(number))
    return Content(
        kind=Kind.RECEIPT,
        user=user,
        subject=f"order:{order.pk}",
        amount=order.total,
        title="Reçu",
        links={"order": order},
    )


def numbers() -> list[int]:
    return sorted(Document.objects.values_list("number", flat=True))


class Failed(Exception):
    pass


def test_twenty_threads_and_one_that_fails_leave_no_gap() -> None:
    contents = [note(number) for number in range(1, 22)]

    def fails() -> None:
        with transaction.atomic():
            issue(content=contents[20], by=None)
            raise Failed  # after its number was taken

    outcomes = race([*(lambda content=content: issue(content=content, by=None) for content in contents[:20]), fails])
    assert codes(outcomes) == {"Document": 20, "Failed": 1}
    assert numbers() == list(range(1, 21)) and Series.objects.get().last == 20
    issue(content=contents[20], by=None)
    assert numbers() == list(range(1, 22))
    assert list(verify_papers()) == []


def test_with_the_lock_off_the_database_gives_no_number_twice(no_locks: None, meet: Meet) -> None:
    issue(content=note(9), by=None)  # the series is there: nobody waits for its making
    contents = [note(1), note(2)]
    meet(actions, "live", 2)
    outcomes = race([lambda content=content: issue(content=content, by=None) for content in contents])  # type: ignore[misc]
    assert codes(outcomes) == {"Document": 1, "IntegrityError": 1}
    assert numbers() == [1, 2]


def test_one_order_asked_for_by_eight_has_one_receipt() -> None:
    order = Order.objects.get(user=bought().user)
    papers = race([lambda: issue_receipt(order=order)] * 8)
    assert {paper.pk for paper in papers} == {Document.objects.get().pk}


def test_a_paper_ended_by_four_is_ended_once() -> None:
    paper = issue_receipt(order=Order.objects.get(user=bought().user))
    operators = [agent_of() for _operator in range(4)]
    outcomes = race([lambda by=by: cancel(document=paper, reason="Erreur", by=by) for by in operators])  # type: ignore[misc]
    assert codes(outcomes) == {"Document": 1, "cancelled": 3}
    assert Document.objects.filter(cancels=paper).count() == 1


def outdated() -> dict[str, Any]:
    """What asks for a certificate whose figures have changed since it was issued."""
    shop = open_shop(days=2, credit="50")
    shop.add(days=shop.days[:1])
    shop.pay(Means.WALLET, "7.90")
    asked = {"kind": Kind.PAYMENTS, "user": shop.user, "year": today().year, "by": shop.user}
    issue_certificate(**asked)
    shop.add(days=shop.days[1:])
    shop.pay(Means.WALLET, "7.90")
    return asked


def test_two_tabs_replace_a_certificate_once() -> None:
    asked = outdated()
    papers = race([lambda: issue_certificate(**asked)] * 4)
    assert {paper.pk for paper in papers} == {Document.objects.live().get(kind=Kind.PAYMENTS).pk}
    assert sorted(Document.objects.values_list("kind", "number")) == [
        ("cancellation", 1), ("payments", 1), ("payments", 2),
    ]  # fmt: skip
    assert list(verify_papers()) == []


def test_without_the_lock_of_the_year_the_second_tab_is_refused(monkeypatch: pytest.MonkeyPatch, meet: Meet) -> None:
    asked = outdated()
    monkeypatch.setattr(yearly, "lock_year", lambda *_year: None)
    meet(yearly, "_untrue", 2)
    assert codes(race([lambda: issue_certificate(**asked)] * 2)) == {"Document": 1, "cancelled": 1}
    assert list(verify_papers()) == []


def test_a_certificate_is_replaced_and_cancelled_at_once() -> None:
    """Its family and an operator: whoever comes second finds it ended, and nobody waits for the other for ever."""
    asked = outdated()
    paper, agents = Document.objects.get(), [agent_of() for _operator in range(2)]
    race([
        *(lambda by=by: cancel(document=paper, reason="Erreur", by=by) for by in agents),
        *[lambda: issue_certificate(**asked)] * 2,
    ])  # fmt: skip
    assert issue_certificate(**asked) == Document.objects.live().get()
    assert Document.objects.filter(cancels=paper).count() == 1 and list(verify_papers()) == []
