"""A voucher used twice at the same moment is used as often as it may be; with its guards off it is used too often."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, pay
from checkout.models import Order
from checkout.verification import verify
from checkout.vouchers import settling
from checkout.vouchers.actions import enter_code
from checkout.vouchers.models import Voucher, VoucherUse
from portal.common.errors import Refused
from tests.concurrency.conftest import race
from tests.factories import FiliationFactory
from tests.shop import Shop, family, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db(transaction=True)
Without = Callable[[str, str], AbstractContextManager[None]]
Meet = Callable[[Any, str, int], None]


def codes(outcomes: list[Any]) -> Counter[str]:
    return Counter(outcome.code if isinstance(outcome, Refused) else type(outcome).__name__ for outcome in outcomes)


def ready(count: int, **fields: Any) -> list[Callable[[], Order]]:
    """Families whose carts hold the same voucher, each about to press « Payer »."""
    first = open_shop(days=1, capacity=50, credit="20")
    shops = [first] + [family(first.tariff, days=first.days, credit="20") for _other in range(count - 1)]
    voucher(**fields)

    return [payer(shop) for shop in shops]


def payer(shop: Shop) -> Callable[[], Order]:
    shop.add()
    enter_code(user=shop.user, code="RENTREE10")
    cart = shop.answer_steps()
    return lambda: pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("7.11")).order


def both_parents() -> list[Callable[[], Order]]:
    """Two accounts of the same child, a day of it in each cart with the same voucher, once per family."""
    first = open_shop(days=2, credit="20")
    other = family(first.tariff, children=0, credit="20")
    FiliationFactory(user=other.user, beneficiary=first.children[0])
    other.children, other.days, first.days = first.children, first.days[1:], first.days[:1]
    voucher()
    return [payer(first), payer(other)]


def test_one_use_is_used_once_by_eight() -> None:
    assert codes(race(ready(8, max_uses=1))) == {"Order": 1, "changed": 7}
    assert Voucher.objects.get().used == 1 and VoucherUse.objects.count() == 1
    assert Order.objects.count() == 1 and list(verify()) == []


def test_with_the_guards_off_it_is_used_twice(no_locks: None, without_constraint: Without, meet: Meet) -> None:
    payers = ready(2, max_uses=1)
    meet(settling, "known", 2)
    with without_constraint("checkout_voucher", "voucher_is_not_overused"):
        assert codes(race(payers)) == {"Order": 2}
        assert Voucher.objects.get().used == 2


def test_with_the_lock_alone_off_the_database_refuses(no_locks: None, meet: Meet) -> None:
    payers = ready(2, max_uses=1)
    meet(settling, "known", 2)
    assert codes(race(payers)) == {"Order": 1, "voucher_is_not_overused": 1}
    assert Voucher.objects.get().used == 1 and list(verify()) == []


def test_two_parents_use_it_once() -> None:
    assert codes(race(both_parents())) == {"Order": 1, "changed": 1}
    assert VoucherUse.objects.count() == 1 and list(verify()) == []


def test_two_parents_use_it_twice_with_the_guards_off(no_locks: None, meet: Meet) -> None:
    payers = both_parents()
    meet(settling, "known", 2)

    def unguarded(pay: Callable[[], Order]) -> Order:
        with pgtrigger.ignore("checkout.VoucherUse:parents_share_the_limit"):
            return pay()

    assert codes(race([lambda pay=pay: unguarded(pay) for pay in payers])) == {"Order": 2}  # type: ignore[misc]
    assert Voucher.objects.get().used == 2


def test_two_parents_without_the_lock_are_told_by_the_database(no_locks: None, meet: Meet) -> None:
    payers = both_parents()
    meet(settling, "known", 2)
    assert codes(race(payers)) == {"Order": 1, "voucher_within_the_familys_limit": 1}
    assert VoucherUse.objects.count() == 1 and list(verify()) == []


def test_both_last_lines_cancelled_at_once_give_the_voucher_back() -> None:
    shop = open_shop(days=2, credit="50")
    voucher()
    order_with(shop, "RENTREE10", total="14.22")
    keys = list(Booking.objects.values_list("pk", flat=True))
    race([lambda key=key: cancel_bookings(ids=[key], by=shop.user) for key in keys])  # type: ignore[misc]
    assert VoucherUse.objects.get().status == "given_back" and Voucher.objects.get().used == 0
    assert shop.balance == 50 and list(verify()) == []


def test_two_windows_prolong_once() -> None:
    from checkout.actions import prolong_hold

    shop = open_shop(days=1)
    shop.add()
    assert codes(race([lambda: prolong_hold(user=shop.user)] * 4)) == {"datetime": 1, "prolonged": 3}
