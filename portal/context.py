"""What every page's header and menu show: the univers, what the cart holds, the wallet's balance, places offered."""

import functools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest

from services.models import Category


def site(request: HttpRequest) -> dict[str, Any]:
    """The header's context.

    Each value is a function that reads the database when a template first names it, so that fragments and error pages
    pay nothing. All come in one query.
    """
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated and user.is_approved

    @functools.cache
    def header() -> Header:
        return _header(user.pk) if user and known else Header(list(Category.objects.all()))

    return {
        "demo": settings.DEMO,
        "nav_categories": lambda: header().categories,
        # A visitor has neither: naming them reads nothing.
        "cart_count": lambda: header().cart_counts[0] if known else 0,
        "cart_lapsed": lambda: header().cart_counts[1] if known else 0,
        "wallet_balance": lambda: header().wallet_balance if known else None,
        "places_offered": lambda: header().places_offered if known else 0,
        "opens_doors": lambda: header().opens_doors if known else False,
    }


class Header(NamedTuple):
    """What the header shows of the site and of the person, in euros."""

    categories: list[Category]
    cart_counts: Sequence[int] = (0, 0)  # products held, and to be taken again since their time ran out
    wallet_balance: Decimal | None = None
    places_offered: int = 0
    opens_doors: bool = False


# Written out, since every page of the site reads it: Django takes longer to compose this statement than PostgreSQL takes
# to answer it. The figures are computed once and stand beside each univers. The planner knows too little of
# carts in the minute after a rush: OFFSET 0 makes it start with this one, and each line look up its own booking.
HEADER = """
    SELECT category.*,
           (SELECT array[count(*) FILTER (WHERE item.status = 'held'), count(*) FILTER (WHERE item.status = 'expired')]
            FROM checkout_cart cart
            CROSS JOIN LATERAL (SELECT booking_id, ticket_id FROM checkout_cartline WHERE cart_id = cart.id OFFSET 0) line
            CROSS JOIN LATERAL (SELECT coalesce(
                (SELECT booking.status FROM bookings_booking booking WHERE booking.id = line.booking_id),
                (SELECT ticket.status FROM bookings_ticket ticket WHERE ticket.id = line.ticket_id)
            ) AS status) item
            WHERE cart.user_id = %(user)s AND cart.status IN ('open', 'paying')
           ) AS cart_counts,
           (SELECT wallet.balance FROM wallet_wallet wallet WHERE wallet.user_id = %(user)s) AS wallet_balance,
           EXISTS (SELECT FROM bookings_controller controller WHERE controller.user_id = %(user)s) AS opens_doors,
           (SELECT count(*) FROM bookings_waitinglistentry entry
            WHERE entry.user_id = %(user)s AND entry.ended_at IS NULL AND entry.status = 'offered') AS places_offered
    FROM (SELECT 1) AS one_row
    LEFT JOIN services_category category ON true
    ORDER BY category.position, category.name
"""


def _header(user_id: int) -> Header:
    rows = list(Category.objects.raw(HEADER, {"user": user_id}))
    # Without any univers one row of nothing carries the figures.
    figures: Any = rows[0]
    return Header(
        [row for row in rows if row.pk],
        figures.cart_counts,
        figures.wallet_balance,
        figures.places_offered,
        figures.opens_doors,
    )
