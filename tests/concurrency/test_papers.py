"""Twenty at once are numbered 1 to 20 without a gap, whatever fails among them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from checkout.models import Order
from checkout.papers import actions
from checkout.papers.actions import cancel, issue
from checkout.papers.content import Content
from checkout.papers.models import Document, Kind, Series
from checkout.papers.receipts import issue_receipt
from checkout.papers.verification import verify_papers
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import UserFactory, agent_of
from tests.guards import bought

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
