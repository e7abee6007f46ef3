"""When the wallet runs low: how much a family spends in a month, and the pack that would do."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from checkout.models import Order, OrderLine, Payment, Refund
from portal.common.money import ZERO, MoneyField, round_cents
from wallet.models import TopUpPack, Wallet

LOOKS_BACK = dt.timedelta(days=90)
MONTHS = 3
# The places that a person gave up for others since a moment, change after change, of which the last one is still booked.
MOVED_ON = """
    WITH RECURSIVE moved (first, last) AS (
        SELECT before_id, after_id FROM bookings_change WHERE by_id = %s AND at >= %s
        UNION ALL
        SELECT moved.first, next.after_id FROM moved JOIN bookings_change next ON next.before_id = moved.last
    )
    SELECT moved.first FROM moved JOIN bookings_booking booking ON booking.id = moved.last WHERE booking.status = 'booked'
"""
# Below a week of what it spends (and never above this), a wallet is low.
WEEKS = 4


@dataclass(frozen=True)
class Suggestion:
    """The mean of a month in euros, and the pack that covers the next one as far as packs go."""

    monthly: Decimal
    pack: TopUpPack


def suggestion(wallet: Wallet, packs: list[TopUpPack]) -> Suggestion | None:
    """What to put in when the wallet holds less than a week of what its owner spends; None while it holds more. One query."""
    if not packs:
        return None
    monthly = round_cents(_spent(wallet) / MONTHS)
    if monthly <= 0 or wallet.balance >= monthly / WEEKS:
        return None
    wanted = monthly - wallet.balance
    return Suggestion(monthly, next((pack for pack in packs if pack.amount >= wanted), packs[-1]))


def _spent(wallet: Wallet) -> Decimal:
    """What the wallet has paid of the orders of the last 90 days, less what came back to it of each; one query.

    By order, and never below zero: of an order that a card has paid, what was cancelled is money put into the wallet, not
    less spent from it; and what only passed through the wallet on its way to the card is neither. A date that was changed
    for another is spent once, where it was first paid and by what paid it then, until the last of its places is cancelled.
    """
    since = timezone.now() - LOOKS_BACK
    moved_on = RawSQL(MOVED_ON, [wallet.user_id, since])  # noqa: S611  no text of anybody's
    by_change = OrderLine.objects.filter(order=OuterRef("pk"), booking__changed_from__isnull=False)
    paid = Order.objects.filter(~Exists(by_change), user=wallet.user_id, status=Order.Status.PAID, paid_at__gte=since)
    captured = Payment.objects.filter(status=Payment.Status.CAPTURED)
    sent_on = Refund.objects.filter(payment__status=Payment.Status.CAPTURED, payment__order=OuterRef("pk"))
    ended = OrderLine.objects.filter(order=OuterRef("pk"), cancelled_at__isnull=False)
    given_back = ended.exclude(booking__in=moved_on)
    orders = paid.annotate(
        taken=_sum(captured.filter(order=OuterRef("pk"), provider=Payment.WALLET), "amount"),
        back=_sum(given_back, F("unit_price") - F("discount")),
        on_cards=_sum(sent_on.filter(~Q(status=Refund.Status.FAILED)), "amount"),
    )
    kept = Greatest(F("taken") - Greatest(F("back") - F("on_cards"), ZERO), ZERO, output_field=MoneyField())
    return orders.aggregate(sum=Sum(kept))["sum"] or ZERO


def _sum(rows: QuerySet, what: object) -> Coalesce:
    """The sum of a column of rows of an order, in euros."""
    one = rows.order_by().values(_one=OuterRef("pk")).annotate(_sum=Sum(what)).values("_sum")
    return Coalesce(Subquery(one), ZERO, output_field=MoneyField())
