"""When the wallet runs low: how much a family spends in a month, and the pack that would do."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Max, Subquery, Sum
from django.utils import timezone

from checkout.models import Payment
from portal.common.money import ZERO, round_cents
from wallet.models import Entry, Movement, TopUpPack, Wallet

LOOKS_BACK = dt.timedelta(days=90)
MONTHS = 3
# Below a week of what it spends (and never above this), a wallet is low.
WEEKS = 4
SPENDS = [Movement.Kind.ORDER, Movement.Kind.RESERVE, Movement.Kind.RELEASE, Movement.Kind.CANCELLATION]


@dataclass(frozen=True)
class Suggestion:
    """The mean of a month in euros, and the pack that covers the next one as far as packs go."""

    monthly: Decimal
    pack: TopUpPack


def suggestion(wallet: Wallet, packs: list[TopUpPack]) -> Suggestion | None:
    """What to put in when the wallet holds less than a week of what its owner spends; None while it holds more.

    Spent: orders of the last 90 days from the wallet, less what was cancelled; not what waits beside a card that has not paid
    yet. One query.
    """
    if not packs:
        return None
    since = timezone.now() - LOOKS_BACK
    entries = Entry.objects.filter(account=wallet.account_id, movement__at__gte=since, movement__kind__in=SPENDS)
    waiting = Payment.objects.filter(order__user=wallet.user_id, status=Payment.Status.RESERVED)
    aside = waiting.order_by().values("order__user").annotate(sum=Sum("amount")).values("sum")
    found = entries.aggregate(sum=Sum("amount"), aside=Max(Subquery(aside)))
    spent = -(found["sum"] or ZERO) - (found["aside"] or ZERO)
    monthly = round_cents(spent / MONTHS)
    if monthly <= 0 or wallet.balance >= monthly / WEEKS:
        return None
    wanted = monthly - wallet.balance
    return Suggestion(monthly, next((pack for pack in packs if pack.amount >= wanted), packs[-1]))
