"""Families around a full day, for the tests of its waiting list."""

import datetime as dt
import uuid
from collections.abc import Sequence

from accounts.models import Address
from bookings.waiting.actions import Joined, join
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means
from families.models import Beneficiary
from services.models import OpenDay
from tests.factories import OpenDayFactory
from tests.shop import Shop, family, open_shop

Status = WaitingListEntry.Status


def full_shop(*, days: int = 1, capacity: int = 1, **options: object) -> Shop:
    """A shop whose days are full: its own family has booked and paid the places."""
    price = "7.90"
    shop = open_shop(days=days, children=capacity, capacity=capacity, credit="5000", price=price, **options)
    shop.add()
    shop.pay(Means.WALLET, f"{days * capacity * 7.90:.2f}")
    return shop


def neighbour(shop: Shop, *, children: int = 1, credit: str = "0") -> Shop:
    """Another family with access to the same days."""
    return family(shop.tariff, children=children, days=shop.days, credit=credit)


def wait(
    who: Shop,
    *,
    days: Sequence[OpenDay] | None = None,
    children: Sequence[Beneficiary] | None = None,
    together: bool = False,
) -> Joined:
    return join(
        user=who.user,
        activity=who.activity,
        slot=who.slot,
        subscription=who.subscription,
        wishes=who.wishes(days, children),
        together=together,
    )


def entries(who: Shop) -> list[WaitingListEntry]:
    return list(WaitingListEntry.objects.of(who.user).with_position().order_by("open_day__date", "pk"))


def statuses(who: Shop) -> list[str]:
    return [row.status for row in entries(who)]


def party(who: Shop) -> uuid.UUID:
    return entries(who)[0].party


def settled(who: Shop) -> Shop:
    """A family that has an address and has paid an order under the conditions in force."""
    day = OpenDayFactory(activity=who.activity, date=who.days[-1].date + dt.timedelta(days=40))
    Shop(who.tariff, who.user, who.children[:1], who.subscription, [day]).add()
    who.pay(Means.WALLET, "7.90")
    Address.objects.filter(user=who.user).update(is_default=True)
    return who
