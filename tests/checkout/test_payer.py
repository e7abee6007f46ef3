"""What a provider is told about who pays: by those that want it alone, and what it costs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Address
from checkout.actions import Means, fee_of, start_top_up
from checkout.actions.payer import payer_of
from checkout.models import Order
from checkout.providers.base import Payer
from tests.factories import CommuneFactory
from tests.faults.bank import Bank
from tests.faults.paybox import PayboxBank
from tests.faults.payfip import PayfipBank
from tests.shop import open_shop

pytestmark = pytest.mark.django_db


@contextmanager
def using(bank: Bank, settings: Any) -> Iterator[None]:
    with bank:
        for name, value in bank.settings.items():
            setattr(settings, name, value)
        settings.CARD_PROVIDERS = [bank.slug]
        yield


def statements(run: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as context:
        run()
    return len([row for row in context.captured_queries if "SAVEPOINT" not in row["sql"]])


def test_only_who_wants_it_is_told_and_it_costs_a_statement(settings: Any) -> None:
    costs = {}
    for bank in (PayboxBank("http://unused.example"), PayfipBank("http://unused.example")):
        shop = open_shop()
        shop.add()
        shop.answer_steps()
        with using(bank, settings):
            costs[bank.slug] = statements(lambda shop=shop: shop.pay(Means.CARD, "31.60"))  # type: ignore[misc]
    # PayFiP's own number is written down, Paybox is told how many articles; the order's address is at hand already.
    assert costs["paybox"] == costs["payfip"] <= 18


def test_the_orders_address_comes_first_then_ones_own_then_the_commune() -> None:
    shop = open_shop()
    shop.add()
    order = shop.pay(Means.CARD, "31.60").order
    cart = order.cart
    assert cart is not None and cart.address is not None
    name = (shop.user.first_name, shop.user.last_name)
    address = cart.address
    assert payer_of(order, shop.user) == Payer(*name, address.line1, address.postal_code, address.city)

    amount = shop.tariff.price + 20
    deposit = start_top_up(user=shop.user, amount=amount, shown_total=amount + fee_of(amount)).order
    own = Address.objects.of(shop.user)[0]
    assert payer_of(deposit, shop.user) == Payer(*name, own.line1, own.postal_code, own.city)

    Address.objects.all().delete()
    deposit = Order.objects.get(pk=deposit.pk)
    commune = shop.user.commune = CommuneFactory()
    assert payer_of(deposit, shop.user) == Payer(*name, commune.name, commune.postal_code, commune.name)
    shop.user.commune = None
    assert payer_of(deposit, shop.user) is None
