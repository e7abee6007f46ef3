"""Cancelling booked places: the money goes back to the wallet of the person who paid."""

from collections.abc import Collection
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from bookings import actions as bookings
from checkout.models import Order, OrderLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.formats import day
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.models import Movement


@retry_on_deadlock
def cancel_bookings(*, ids: Collection[int], by: User) -> Decimal:
    """Cancel booked places before their deadline, all or none; returns the euros that went back to the wallet.

    Raises Refused as bookings.actions.cancel does.
    """
    with refusing({}):
        ledger.wallet_of(by)
        rows = bookings.cancel(ids=ids, by=by)
        lines = list(
            OrderLine.objects.filter(
                booking__in=rows, order__status=Order.Status.PAID, order__user=by, cancelled_at=None
            ).select_for_update(of=("self",))
        )
        amounts: dict[str, Decimal] = {}
        for line in lines:
            code = ledger.revenue_code(line.commune_id)
            amounts[code] = amounts.get(code, ZERO) - line.unit_price
        total = -sum(amounts.values(), ZERO)
        movement = None
        first = min(rows, key=lambda row: row.open_day.date)
        if total:
            amounts[ledger.wallet_code(by)] = total
            what = f"{first.open_day.activity}, {day(first.open_day.date)}"
            more = len(rows) - 1
            rest = ngettext(" et %d autre date", " et %d autres dates", more) % more if more else ""
            movement = ledger.post(
                kind=Movement.Kind.CANCELLATION,
                key=f"cancellation:{min(row.pk for row in rows)}",
                label=_("Annulation\u00a0: %s") % what + rest,
                amounts=amounts,
                by=by,
            )
        OrderLine.objects.filter(pk__in=[line.pk for line in lines]).update(
            cancelled_at=timezone.now(), refund=movement
        )
        queue_email(
            key=f"cancellation:{min(row.pk for row in rows)}",
            to=by.email,
            template="bookings_cancelled",
            context={"user": by, "bookings": rows, "total": total},
        )
    return total
