"""What every page's header shows: the univers, the cart's count, the wallet's balance."""

import functools
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from bookings.models import Booking
from checkout.models import CartLine
from services.models import Category
from wallet.models import Wallet


def site(request: HttpRequest) -> dict[str, Any]:
    """The header's context.

    Each value is a function that reads the database when a template first names it, so that fragments and error pages
    pay nothing: one query for a visitor, three for a person who is signed in.
    """
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated and user.is_approved

    @functools.cache
    def nav_categories() -> list[Category]:
        return list(Category.objects.all())

    @functools.cache
    def cart_count() -> int:
        if not known:
            return 0
        return CartLine.objects.filter(
            cart__user=user, cart__status__in=["open", "paying"], booking__status=Booking.Status.HELD
        ).count()

    @functools.cache
    def wallet_balance() -> Decimal | None:
        if not known:
            return None
        return Wallet.objects.filter(user=user).values_list("balance", flat=True).first()

    return {
        "demo": settings.DEMO,
        "nav_categories": nav_categories,
        "cart_count": cart_count,
        "wallet_balance": wallet_balance,
    }
