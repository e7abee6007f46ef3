"""Asking a provider how a payment stands, before it is given up and when nobody told us its end; closing its page after."""

import json
import logging

from django.db.models import QuerySet
from django.utils import timezone

from checkout.actions.completion import WITHDRAW, apply_message
from checkout.models import Order, Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import Forged, Impossible, Known, Outcome, Unreachable
from portal.outbox.calls import Later, handles

logger = logging.getLogger(__name__)


def known(payment: Payment) -> Known:
    """The payment as its provider knows it."""
    return Known(payment.reference, payment.provider_reference, payment.amount, payment.created_at)


def ask_provider(payment: Payment) -> bool:
    """Ask how a payment stands and apply the answer; returns whether the provider stated its end.

    Not within a transaction: the provider may take its time, and what it says is stored before it is applied.
    """
    Payment.objects.filter(pk=payment.pk).update(checked_at=timezone.now())
    try:
        message = find_provider(payment.provider).query(known(payment))
    except (Unreachable, Forged, KeyError) as error:
        logger.warning("Payment %s: the provider %s has no answer: %s", payment.pk, payment.provider, error)
        return False
    if message.outcome == Outcome.PENDING:
        return False
    event = ProviderEvent.objects.create(
        provider=payment.provider,
        source="query",
        raw=json.dumps({"outcome": message.outcome, "amount": str(message.amount)}),
    )
    apply_message(message=message, provider=payment.provider, event=event)
    return event.outcome in {ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED}


def ask_about(orders: QuerySet[Order]) -> None:
    """Ask about the card payments of pending orders that are about to be given up: one may be paid by now."""
    running = Payment.objects.filter(order__in=orders, order__status=Order.Status.PENDING)
    for payment in running.filter(status=Payment.Status.STARTED):
        ask_provider(payment)


@handles(WITHDRAW)
def withdraw(*, payment: int) -> None:
    """Close the bank's page of a payment that was given up. Raises Later when the bank does not answer."""
    row = Payment.objects.get(pk=payment)
    if row.status != Payment.Status.ABANDONED:
        return
    try:
        find_provider(row.provider).withdraw(known(row))
    except Unreachable as error:
        raise Later(str(error)) from error
    except (Impossible, KeyError) as error:
        # It has ended there, perhaps paid: checkout.ask_again hears how.
        logger.info("Payment %s could not be withdrawn: %s", row.pk, error)
