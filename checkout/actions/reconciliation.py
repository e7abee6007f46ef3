"""Asking a provider how a payment stands, before it is given up and when nobody told us its end; closing its page after."""

import json
import logging

from django.db.models import QuerySet
from django.utils import timezone

from checkout.actions.completion import WITHDRAW, apply_message
from checkout.models import PAGE_LIVES, Order, Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import Forged, Impossible, Known, Outcome, Unreachable
from portal.outbox.calls import Later, handles

logger = logging.getLogger(__name__)

UNANSWERED = (Unreachable, Forged, KeyError)  # the last of a provider that is no longer used here


def known(payment: Payment) -> Known:
    """The payment as its provider knows it."""
    return Known(payment.reference, payment.provider_reference, payment.amount, payment.created_at)


def ask_provider(payment: Payment) -> bool:
    """Ask how a payment stands and apply the answer; returns whether the provider stated its end.

    Not within a transaction: the provider may take its time, and what it says is stored before it is applied.
    """
    try:
        return _ask(payment)
    except UNANSWERED as error:
        logger.warning("Payment %s: the provider %s has no answer: %s", payment.pk, payment.provider, error)
        return False


def _ask(payment: Payment) -> bool:
    Payment.objects.filter(pk=payment.pk).update(checked_at=timezone.now())
    message = find_provider(payment.provider).query(known(payment))
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
    """Ask about the card payments of pending orders that are about to be given up or paid anew: one may be paid by now.

    Also about those that ended without money while somebody may still pay at their page. A provider that does not answer
    is asked once: who pays waits for it.
    """
    of_these = Payment.objects.filter(order__in=orders, order__status=Order.Status.PENDING)
    lately = of_these.may_still_be_paid().filter(created_at__gt=timezone.now() - PAGE_LIVES)
    silent: set[str] = set()
    for payment in (of_these.awaiting_provider() | lately).order_by("-pk"):
        if payment.provider in silent:
            continue
        try:
            _ask(payment)
        except UNANSWERED as error:
            silent.add(payment.provider)
            logger.warning("Payment %s: the provider %s has no answer: %s", payment.pk, payment.provider, error)


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
