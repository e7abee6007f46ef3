"""Cancelling booked places, by the family or by staff: the money goes back to the wallet of the person who paid."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Booking
from checkout.models import Order, OrderLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.formats import day
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.models import Movement


@dataclass(frozen=True)
class Refund:
    """What one person gets back, in euros, for which of their bookings."""

    payer: User
    bookings: Sequence[Booking]
    total: Decimal


@retry_on_deadlock
def cancel_bookings(*, ids: Collection[int], by: User) -> Decimal:
    """Cancel booked places before their deadline, all or none; returns the euros that went back to the wallet.

    Raises Refused as bookings.actions.cancel does.
    """
    with refusing({}):
        ledger.wallet_of(by)
        rows = bookings.cancel(ids=ids, by=by)
        total = sum((refund.total for refund in give_back(rows, by=by, reason=_("Annulation"))), ZERO)
        queue_email(
            key=f"cancellation:{min(row.pk for row in rows)}",
            to=by.email,
            template="bookings_cancelled",
            context={"user": by, "bookings": rows, "total": total},
        )
    return total


@retry_on_deadlock
def cancel_for(*, ids: Collection[int], by: User, reason: str) -> list[Refund]:
    """Cancel families' places (a closure, a mistake at the counter) and pay back whoever paid; returns who got what.

    Deadlines do not count: the family has not asked for it. Each payer gets one e-mail with the reason. What has ended
    meanwhile is left alone, so that a second call cancels nothing and pays nothing. Raises Refused as
    bookings.actions.cancel_by_staff does.
    """
    with refusing({}):
        rows = bookings.cancel_by_staff(ids=ids, by=by, reason=reason)
        refunds = give_back(rows, by=by, reason=_("Annulation par le service"))
        for refund in refunds:
            queue_email(
                key=f"cancellation:{min(row.pk for row in refund.bookings)}",
                to=refund.payer.email,
                template="bookings_cancelled_by_staff",
                context={
                    "user": refund.payer,
                    "bookings": refund.bookings,
                    "total": refund.total,
                    "reason": reason.strip(),
                },
            )
    return refunds


def give_back(
    rows: Sequence[Booking], *, by: User, reason: str, kind: Movement.Kind = Movement.Kind.CANCELLATION
) -> list[Refund]:
    """Post what these bookings cost back to whoever paid them, and end their lines; one movement for each payer.

    Under the locks of the bookings, in the caller's transaction. The commune's revenue goes down by as much. A booking is
    paid back once: its line keeps the movement, and a line that has ended is not found again.
    """
    lines: dict[int, list[OrderLine]] = {}
    paid = OrderLine.objects.filter(booking__in=rows, order__status=Order.Status.PAID, cancelled_at=None)
    for line in paid.select_related("order__user").order_by("pk").select_for_update(of=("self",)):
        lines.setdefault(line.order.user_id, []).append(line)
    by_pk = {row.pk: row for row in rows}
    # Wallets one after the other in the order of their keys, as everywhere.
    payers = sorted((theirs[0].order.user for theirs in lines.values()), key=lambda user: ledger.wallet_of(user).pk)
    found = []
    for payer in payers:
        theirs = lines[payer.pk]
        booked = sorted((by_pk[line.booking_id] for line in theirs if line.booking_id), key=lambda row: row.date)
        total = sum((line.unit_price for line in theirs), ZERO)
        movement = _post(theirs, booked, payer, by, f"{reason}\u00a0: {_named(booked)}", kind) if total else None
        OrderLine.objects.filter(pk__in=[line.pk for line in theirs]).update(
            cancelled_at=timezone.now(), refund=movement
        )
        found.append(Refund(payer, booked, total))
    return found


def _post(
    lines: Sequence[OrderLine], booked: Sequence[Booking], payer: User, by: User, label: str, kind: Movement.Kind
) -> int:
    amounts: dict[str, Decimal] = {}
    for line in lines:
        code = ledger.revenue_code(line.commune_id)
        amounts[code] = amounts.get(code, ZERO) - line.unit_price
    amounts[ledger.wallet_code(payer)] = -sum(amounts.values(), ZERO)
    return ledger.post(
        kind=kind, key=f"cancellation:{min(row.pk for row in booked)}", label=label, amounts=amounts, by=by
    )


def _named(booked: Sequence[Booking]) -> str:
    """`Restauration scolaire, mardi 8 décembre et 2 autres dates (2 enfants)`: a date is one, whoever comes."""
    what = f"{booked[0].open_day.activity}, {day(booked[0].date)}"
    more = len({row.date for row in booked}) - 1
    children = len({row.beneficiary_id for row in booked})
    what += ngettext(" et %d autre date", " et %d autres dates", more) % more if more else ""
    return what + (_(" (%d enfants)") % children if children > 1 else "")
