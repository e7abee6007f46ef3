"""What the checkout does by itself: asking providers about payments that nobody finished telling us about."""

import datetime as dt
import json
import logging

from celery import shared_task
from django.utils import timezone

from checkout.actions.completion import apply_message, end_payment
from checkout.models import Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import Forged, Outcome, Unreachable
from checkout.verification import verify

logger = logging.getLogger(__name__)

ASK_AFTER = dt.timedelta(minutes=2)
GIVE_UP_AFTER = dt.timedelta(hours=6)


@shared_task(name="checkout.reconcile_payments")
def reconcile_payments(limit: int = 200) -> int:
    """Ask the provider about each payment that started a while ago; returns how many came to an end.

    A browser that never came back and a notification that never came end here. A payment that the provider still
    knows nothing of after GIVE_UP_AFTER is abandoned; should money come later all the same, it goes to the wallet.
    """
    now = timezone.now()
    ended = 0
    waiting = Payment.objects.awaiting_provider().filter(created_at__lt=now - ASK_AFTER).order_by("checked_at", "pk")
    for payment in waiting[:limit]:
        Payment.objects.filter(pk=payment.pk).update(checked_at=now)
        try:
            message = find_provider(payment.provider).query(payment.reference)
        except (Unreachable, Forged, KeyError) as error:
            logger.warning("Payment %s: the provider %s has no answer: %s", payment.pk, payment.provider, error)
            message = None
        if message is not None and message.outcome != Outcome.PENDING:
            event = ProviderEvent.objects.create(
                provider=payment.provider,
                source="query",
                raw=json.dumps({"outcome": message.outcome, "amount": str(message.amount)}),
            )
            apply_message(message=message, provider=payment.provider, event=event)
            ended += 1
        elif payment.created_at < now - GIVE_UP_AFTER:
            end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
            ended += 1
    return ended


@shared_task(name="checkout.verify_ledger")
def verify_ledger() -> int:
    """Recompute ledger, orders and places each night; every difference is an error in the log. Returns how many."""
    differences = list(verify())
    for sentence in differences:
        logger.error("%s", sentence)
    return len(differences)
