"""What every page's header shows: the univers, the cart's count, the wallet's balance."""

import functools
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.models import User
from bookings.models import Booking
from checkout.models import CartLine
from services.models import Category
from wallet.models import Wallet


def site(request: HttpRequest) -> dict[str, Any]:
    """The header's context.

    Each value is a function that reads the database when a template first names it, so that fragments and error pages
    pay nothing. All three come in one query.
    """
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated and user.is_approved

    @functools.cache
    def header() -> Header:
        return _header(user) if known else Header(list(Category.objects.all()))

    return {
        "demo": settings.DEMO,
        "nav_categories": lambda: header().categories,
        "cart_count": lambda: header().cart_count if known else 0,
        "wallet_balance": lambda: header().wallet_balance if known else None,
    }


class Header(NamedTuple):
    """What the header shows of the site and of the person, in euros."""

    categories: list[Category]
    cart_count: int = 0
    wallet_balance: Decimal | None = None


def _header(user: User) -> Header:
    lines = CartLine.objects.filter(
        cart__user=user, cart__status__in=["open", "paying"], booking__status=Booking.Status.HELD
    )
    count = lines.order_by().values("cart__user").annotate(lines=Count("pk")).values("lines")
    balance = Wallet.objects.filter(user=user).order_by().values("balance")
    # PostgreSQL computes the two figures once and puts them beside each univers: one trip for every page of the site.
    rows = list(Category.objects.annotate(cart_count=Coalesce(Subquery(count), 0), wallet_balance=Subquery(balance)))
    if rows:
        return Header(rows, rows[0].cart_count, rows[0].wallet_balance)  # type: ignore[attr-defined]
    return Header([], lines.count(), balance.values_list("balance", flat=True).first())
