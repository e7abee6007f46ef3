"""An order's page in the administration: its vouchers, what of it was cancelled, and where the money is."""

from decimal import Decimal
from typing import Any

import pytest

from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.models import Order
from tests.admin.world import client_of, url
from tests.checkout.http import text
from tests.factories import agent_of
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db


@pytest.fixture
def order() -> Order:
    """Two mornings at 7,90 €, ten percent off by the commune and one euro by the agglomération, one of them cancelled."""
    shop = open_shop(days=2, credit="50")
    voucher(commune=shop.activity.service.commune, stackable=True)
    voucher("BIENVENUE", amount=1, stackable=True)
    found = order_with(shop, "RENTREE10", "BIENVENUE", total="13.22")
    cancelled(shop, 1)
    return found


def cancelled(shop: Shop, number: int) -> None:
    ids = Booking.objects.booked().order_by("period").values_list("pk", flat=True)[:number]
    cancel_bookings(ids=list(ids), by=shop.user)


def read(order: Order, user: Any) -> str:
    return text(client_of(user).get(url("checkout.order", "change", order.pk)))


def test_the_regie_reads_codes_what_is_cancelled_and_where_it_went(order: Order) -> None:
    words = read(order, agent_of())
    assert "RENTREE10 : 1,58 € (utilisé) et BIENVENUE : 1,00 € (utilisé)" in words
    assert "Payée, 1 ligne annulée" in words and "6,61 € au porte-monnaie et 1,29 € à qui paie les bons" in words
    assert "Porte-monnaie" in words and "wallet" not in words and "None" not in words


def test_a_mairie_reads_its_own_vouchers_alone(order: Order) -> None:
    line = order.lines.select_related("commune")[0]
    words = read(order, agent_of(line.commune))
    assert "RENTREE10" in words and "BIENVENUE" not in words and "Payée, 1 ligne annulée" in words
    assert "à qui paie les bons" not in words


def test_wholly_cancelled_it_is_not_simply_paid(order: Order) -> None:
    ids = list(Booking.objects.booked().values_list("pk", flat=True))
    cancel_bookings(ids=ids, by=order.user)
    words = read(order, agent_of())
    assert "Payée, puis annulée" in words and "RENTREE10 : 1,58 € (rendu)" in words
    assert "13,22 € au porte-monnaie" in words and Decimal("13.22") == order.total


def test_the_page_costs_no_more_with_more_vouchers(order: Order, django_assert_max_num_queries: Any) -> None:
    client, address = client_of(agent_of()), url("checkout.order", "change", order.pk)
    client.get(address)
    with django_assert_max_num_queries(16):
        client.get(address)
