"""Asking a provider how a payment stands, before it is given up and when nobody told us its end; closing its page after."""

import json
import logging
import time
from collections import defaultdict

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from checkout.actions.completion import WITHDRAW, apply_message
from checkout.models import PAGE_LIVES, Order, Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import Forged, Impossible, Known, Outcome, Unreachable
from portal.common.errors import Refused
from portal.outbox.calls import Later, handles

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0
UNANSWERED = (Unreachable, Forged, KeyError)  # the last of a provider that is no longer used here


def known(payment: Payment) -> Known:
    """The payment as its provider knows it."""
    return Known(payment.reference, payment.provider_reference, payment.amount, payment.created_at)


def ask_provider(payment: Payment) -> bool | None:
    """Ask how a payment stands and apply the answer: True when the provider states its end, False when there is none yet.

    None when it has no answer. Not within a transaction: the provider may take its time, and what it says is stored before
    it is applied. Raises Refused when that fails by a mistake of ours: nobody pays or gives up meanwhile what the provider may
    have taken.
    """
    now = timezone.now()
    Payment.objects.filter(pk=payment.pk).update(checked_at=now)
    try:
        message = find_provider(payment.provider).query(known(payment))
    except UNANSWERED as error:
        logger.warning("Payment %s: the provider %s has no answer: %s", payment.pk, payment.provider, error)
        return None
    if message.outcome == Outcome.PENDING:
        return False
    if payment.status in Payment.WITHOUT_MONEY and payment.status == message.outcome and now < payment.page_closes_at:
        return True  # as we have it; another card may still follow, so that it is no last word to be kept either
    event = ProviderEvent.objects.create(
        provider=payment.provider,
        payment=payment,
        source=ProviderEvent.QUERY,
        raw=json.dumps({"outcome": message.outcome, "amount": str(message.amount)}),
    )
    try:
        apply_message(message=message, provider=payment.provider, event=event)
    except Exception as error:
        # Whatever it was: what is stated is kept, asked about again, and told by the nightly check (checkout.overdue).
        logger.exception("Payment %s: what the provider %s states could not be applied", payment.pk, payment.provider)
        raise Refused(
            _(
                "La banque a répondu, mais sa réponse n’a pas pu être enregistrée. Ne payez pas une seconde fois\u00a0: ce qui a été débité n’est pas perdu, et nous le vérifions chaque heure. Rien n’a été changé."
            ),
            code="unapplied",
        ) from error
    return event.outcome in {ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED}


def ask_about(orders: QuerySet[Order]) -> None:
    """Ask about the card payments of pending orders that are about to be given up or paid anew: one may be paid by now.

    Also about those that ended without money while somebody may still pay at their page. Who pays waits for it: a provider
    that has let PATIENCE_SECONDS pass without an answer is not asked about the others. One that says at once that it does
    not know a payment may know the next.
    """
    of_these = Payment.objects.filter(order__in=orders, order__status=Order.Status.PENDING)
    lately = of_these.may_still_be_paid().filter(created_at__gt=timezone.now() - PAGE_LIVES)
    waited: dict[str, float] = defaultdict(float)
    for payment in (of_these.awaiting_provider() | lately).order_by("-pk"):
        if waited[payment.provider] >= PATIENCE_SECONDS:
            continue
        began = time.monotonic()
        if ask_provider(payment) is None:
            waited[payment.provider] += time.monotonic() - began


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
