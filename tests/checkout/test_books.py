"""What the state machine asserts can fail: with a guard off, a short story ends in what it does not accept."""

from collections.abc import Iterator
from decimal import Decimal

import pgtrigger
import pytest
from django.utils import timezone

from checkout.models import CartLine, Order
from checkout.providers.base import Outcome
from services.models import OpenDay
from tests.checkout import books
from tests.checkout.test_machine import Money
from wallet.models import Account, Entry, Movement, Wallet

pytestmark = pytest.mark.django_db


@pytest.fixture
def story() -> Iterator[Money]:
    told = Money()
    told.once_upon_a_time("paid back", "bank", 0)
    told.everything_is_accounted_for()
    yield told
    told.teardown()


def test_money_that_nobody_moved(story: Money) -> None:
    with pgtrigger.ignore("wallet.Wallet:balance_follows_entries"):
        Wallet.objects.filter(user=story.user(0)).update(balance=Decimal(99))
    with pytest.raises(AssertionError):
        books.no_wallet_is_below_zero()


def test_an_entry_that_has_no_other_side(story: Money) -> None:
    movement, account = Movement.objects.latest("pk"), Account.objects.get(code="clearing:demo")
    Entry.objects.create(movement=movement, account=account, amount=1)
    with pytest.raises(AssertionError):
        books.entries_sum_to_zero()


@pytest.mark.parametrize("status", ["paid", "cancelled"])
def test_an_order_that_its_payments_do_not_pay(story: Money, status: str) -> None:
    row = Order.objects.get(user=story.user(1))
    dates = {"paid": {"paid_at": timezone.now()}, "cancelled": {"cancelled_at": timezone.now()}}
    with pgtrigger.ignore("checkout.Order:paid_order_has_its_payments"):
        Order.objects.filter(pk=row.pk).update(status=status, **dates[status])
    with pytest.raises(AssertionError):
        books.paid_is_captured()


def test_a_place_that_is_counted_twice(story: Money) -> None:
    with pgtrigger.ignore("services.OpenDay:taken_is_counted"):
        OpenDay.objects.filter(pk=story.town.days[2].pk).update(taken=2)
    with pytest.raises(AssertionError):
        books.places_taken_are_live(story.town)


def test_a_place_that_nobody_has_in_a_cart(story: Money) -> None:
    CartLine.objects.filter(cart__user=story.user(1)).delete()
    with pytest.raises(AssertionError):
        books.places_taken_are_live(story.town)


def test_a_refund_that_the_bank_made_twice(story: Money) -> None:
    story.bank.back["twice"] = Decimal("7.90")
    with pytest.raises(LookupError):
        books.the_banks_books_are_ours(story.town)


def test_a_line_that_was_not_posted(story: Money) -> None:
    story.the_bank_pays_over(again=False)
    books.the_banks_books_are_ours(story.town)
    story.town.settled.popitem()
    with pytest.raises(AssertionError):
        books.the_banks_books_are_ours(story.town)


def test_an_amount_that_was_not_asked_for_pays_nothing(story: Money) -> None:
    reference = story.page(0)
    story.bank.decide(reference, Outcome.CAPTURED)
    story.the_bank_says_it_again(0, 1, short=True)
    assert Order.objects.get(user=story.user(1)).status == "pending"
