"""Cancelling before the deadline: all or none, the money in the wallet of the person who paid."""

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import OrderLine
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox.models import Email
from services.models import OpenDay
from tests.factories import FiliationFactory
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    shop = open_shop(days=4, credit="50")
    shop.add()
    shop.pay(Means.WALLET, "31.60")
    return shop


def ids(shop: Shop) -> list[int]:
    return list(Booking.objects.filter(made_by=shop.user).order_by("period").values_list("pk", flat=True))


def test_the_price_comes_back_to_the_wallet(shop: Shop) -> None:
    assert cancel_bookings(ids=ids(shop)[:2], by=shop.user) == Decimal("15.80")
    assert shop.balance == Decimal("34.20")
    assert [shop.fresh(index).taken for index in range(4)] == [0, 0, 1, 1]
    assert OrderLine.objects.filter(cancelled_at__isnull=False, refund__isnull=False).count() == 2
    assert "15,80" in Email.objects.get(key__startswith="cancellation:").body
    assert list(verify()) == []


def test_twice_is_once(shop: Shop) -> None:
    cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    with pytest.raises(Refused) as refusal:
        cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    assert refusal.value.code == "not_booked" and shop.balance == Decimal("26.30")


def test_past_the_deadline_nothing_is_cancelled(shop: Shop) -> None:
    OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(seconds=1))
    with pytest.raises(Refused, match="Trop tard pour annuler"):
        cancel_bookings(ids=ids(shop)[:2], by=shop.user)
    assert Booking.objects.booked().count() == 4


def test_only_the_person_who_booked_cancels(shop: Shop) -> None:
    other_parent = FiliationFactory(beneficiary=shop.children[0]).user
    with pytest.raises(Refused):
        cancel_bookings(ids=ids(shop), by=other_parent)


def test_a_cancelled_place_can_be_booked_again(shop: Shop) -> None:
    cancel_bookings(ids=ids(shop)[:1], by=shop.user)
    assert shop.add(days=shop.days[:1]).quantity == 1
