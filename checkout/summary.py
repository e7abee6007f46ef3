"""How the lines of a cart or an order are shown: one group per product and price, its beneficiaries and dates."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from checkout.models import Cart, CartLine, Order, OrderLine
from portal.common.money import ZERO


@dataclass
class Person:
    """The dates of one beneficiary within a group."""

    name: str
    dates: list[dt.date] = field(default_factory=list)


@dataclass
class Group:
    """Lines of one product, slot and unit price (euros)."""

    label: str
    detail: str
    unit_price: Decimal
    people: list[Person] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    @property
    def quantity(self) -> int:
        return len(self.ids)

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity

    def shared(self) -> list[tuple[str, list[dt.date]]]:
        """Beneficiaries with the same dates together: (« Louane Dupont, Théo Dupont », their dates)."""
        found: dict[tuple[dt.date, ...], list[str]] = {}
        for person in self.people:
            found.setdefault(tuple(sorted(person.dates)), []).append(person.name)
        return [(", ".join(names), list(dates)) for dates, names in found.items()]


def _group(rows: Iterable[tuple[int, str, str, Decimal, str, dt.date | None]]) -> list[Group]:
    groups: dict[tuple[str, str, Decimal], Group] = {}
    people: dict[tuple[int, str], Person] = {}
    for pk, label, detail, price, name, date in rows:
        group = groups.setdefault((label, detail, price), Group(label, detail, price))
        group.ids.append(pk)
        if name and date:
            key = (id(group), name)
            if key not in people:
                people[key] = Person(name)
                group.people.append(people[key])
            people[key].dates.append(date)
    return list(groups.values())


def order_groups(lines: Iterable[OrderLine]) -> list[Group]:
    """The groups of an order's lines."""
    return _group(
        (line.pk, line.label, line.detail, line.unit_price, line.beneficiary_name, line.date) for line in lines
    )


@dataclass
class CartSummary:
    """A live cart as a page shows it."""

    cart: Cart
    groups: list[Group]
    expired: list[Group]
    total: Decimal
    pending: Order | None

    @classmethod
    def of(cls, user: User) -> "CartSummary | None":
        """The person's live cart with its lines, or None; at most three queries."""
        cart = Cart.objects.live().filter(user=user).select_related("hold", "address", "terms").first()
        if cart is None:
            return None
        rows = list(
            CartLine.objects.filter(cart=cart)
            .order_by("booking__open_day__date", "pk")
            .values_list(
                "pk",
                "booking__open_day__activity__name",
                "booking__slot__name",
                "unit_price",
                "booking__beneficiary__first_name",
                "booking__beneficiary__last_name",
                "booking__open_day__date",
                "booking__status",
            )
        )
        shaped = [
            ((pk, label, slot, price, f"{first} {last}", date), status)
            for pk, label, slot, price, first, last, date, status in rows
        ]
        held = [row for row, status in shaped if status == Booking.Status.HELD]
        gone = [row for row, status in shaped if status != Booking.Status.HELD]
        pending = None
        if cart.status == Cart.Status.PAYING:
            pending = Order.objects.filter(cart=cart, status=Order.Status.PENDING).first()
        total = sum((row[3] for row in held), ZERO)
        return cls(cart, _group(held), _group(gone), total, pending)

    @property
    def quantity(self) -> int:
        return sum(group.quantity for group in self.groups)

    @property
    def is_empty(self) -> bool:
        return not self.groups and not self.expired

    @property
    def is_late(self) -> bool:
        """Whether the places are no longer kept (though nobody may have taken them yet)."""
        return bool(self.expired) or self.cart.hold.expires_at <= timezone.now()
