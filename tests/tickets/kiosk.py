"""Formulas for sale beside a family's calendar, and what tests do with them."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from accounts.models import User
from bookings.tickets.actions import Wish
from bookings.tickets.control import Passage, Result, let_in
from bookings.tickets.models import Ticket
from checkout.actions import Means, add_tickets_to_cart
from families.models import Beneficiary
from services.models import BusStop, Slot, Tariff
from tests.factories import EntriesFactory, PassActivityFactory, PassFactory, TariffFactory, agent_of
from tests.shop import Shop, family


def kiosk(slot: Slot | None = None, *, price: str = "5.50", children: int = 1, credit: str = "100") -> Shop:
    """A family that may buy a formula (one pool entry unless another is given)."""
    tariff: Tariff = TariffFactory(slot=slot or EntriesFactory(), price=Decimal(price))
    return family(tariff, children=children, credit=credit)


def bikes(stock: int, **options: Any) -> Shop:
    """A family that may rent one of so many bikes by the month."""
    return kiosk(PassFactory(activity=PassActivityFactory(capacity=stock)), price="35", **options)


def take(
    shop: Shop,
    *,
    people: list[Beneficiary] | None = None,
    quantity: int = 1,
    first_day: dt.date | None = None,
    stop: BusStop | None = None,
) -> tuple[int, Decimal]:
    """Put tickets of the shop's formula into its cart."""
    chosen = {child.pk for child in (shop.children if people is None else people)}
    return add_tickets_to_cart(
        user=shop.user,
        activity=shop.activity,
        slot=shop.slot,
        subscription=shop.subscription,
        wish=Wish(chosen, quantity=quantity, first_day=first_day, stop=stop),
    )


def buy(shop: Shop, **options: Any) -> Ticket:
    """Buy from the wallet; the newest ticket."""
    _quantity, total = take(shop, **options)
    shop.pay(Means.WALLET, total)
    return Ticket.objects.select_related("activity__service").latest("pk")


def buy_ticket(shop: Shop) -> Ticket:
    """A pool entry of the same service for a family that already has another shop."""
    entry = EntriesFactory(activity__service=shop.activity.service)
    tariff = TariffFactory(slot=entry, profile=shop.tariff.profile, price=Decimal("5.50"))
    return buy(Shop(tariff, shop.user, shop.children, shop.subscription))


def controller(ticket: Ticket) -> User:
    """An agent of the commune whose ticket it is."""
    commune = ticket.activity.service.commune
    assert commune is not None
    return agent_of(commune)


def scan(ticket: Ticket, by: User, **options: Any) -> Result:
    """Let somebody in with a ticket's code."""
    passage = Passage(**{"text": ticket.code, "client_id": uuid.uuid4(), **options})
    return let_in(activity=ticket.activity, passage=passage, by=by)
