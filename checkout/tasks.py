"""What the checkout does by itself: asking providers about payments that nobody finished telling us about."""

import datetime as dt
import logging

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from checkout.actions.completion import end_payment
from checkout.actions.payment import abandon_order
from checkout.actions.reconciliation import ask_provider
from checkout.models import Order, Payment
from checkout.verification import verify

logger = logging.getLogger(__name__)

ASK_AFTER = dt.timedelta(minutes=2)
GIVE_UP_AFTER = dt.timedelta(hours=6)
# What we gave up without a word of the provider is asked about for so long, so often: its money may still come.
ASK_FOR = dt.timedelta(days=7)
ASK_AGAIN_AFTER = dt.timedelta(hours=1)
FORGET_AFTER = dt.timedelta(hours=24)


@shared_task(name="checkout.reconcile_payments")
def reconcile_payments(limit: int = 200) -> int:
    """Ask providers about payments whose end nobody told us; returns how many came to an end.

    A browser that never came back and a notification that never came end here. A payment that the provider still
    knows nothing of after GIVE_UP_AFTER is abandoned, and asked about less often: should it be captured all the same,
    its money goes to the wallet. An order that nobody goes on paying ends after FORGET_AFTER.
    """
    now = timezone.now()
    started = Payment.objects.awaiting_provider().filter(created_at__lt=now - ASK_AFTER)
    ended = 0
    for payment in started.order_by("checked_at", "pk")[:limit]:
        if ask_provider(payment):
            ended += 1
        elif payment.created_at < now - GIVE_UP_AFTER:
            end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
            ended += 1
    given_up = Payment.objects.given_up_unheard().filter(
        Q(checked_at=None) | Q(checked_at__lt=now - ASK_AGAIN_AFTER), created_at__gt=now - ASK_FOR
    )
    ended += sum(ask_provider(payment) for payment in given_up.order_by("checked_at", "pk")[:limit])
    forgotten = Order.objects.awaiting_nobody().filter(created_at__lt=now - FORGET_AFTER).select_related("user")
    for order in forgotten.order_by("pk")[:limit]:
        abandon_order(user=order.user, order=order)
    return ended


@shared_task(name="checkout.verify_ledger")
def verify_ledger() -> int:
    """Recompute ledger, orders and places each night; every difference is an error in the log. Returns how many."""
    differences = list(verify())
    for sentence in differences:
        logger.error("%s", sentence)
    return len(differences)
