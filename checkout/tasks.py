"""What the checkout does by itself: asking providers about payments that nobody finished telling us about."""

import datetime as dt
import logging
import time
from collections.abc import Iterator
from functools import partial

from celery import shared_task
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from checkout.actions.closures import apply_due
from checkout.actions.completion import end_payment
from checkout.actions.payment import close_forgotten
from checkout.actions.reconciliation import ask_provider
from checkout.means.actions import check_used_providers
from checkout.models import FORGET_AFTER, GIVE_UP_AFTER, Order, Payment, ProviderEvent
from checkout.papers.tasks import issue_invoices as issue_invoices  # Celery looks for tasks here
from checkout.papers.tasks import issue_papers as issue_papers
from checkout.papers.tasks import remove_orphaned_papers as remove_orphaned_papers
from checkout.regie import verifications
from portal.common.rows import FAILED_LAST, apart, has_failed

logger = logging.getLogger(__name__)

ASK_AFTER = dt.timedelta(minutes=2)
# What ended without money is asked about for so long, so often, until its provider says so with its page closed.
ASK_FOR = dt.timedelta(days=7)
ASK_AGAIN_AFTER = dt.timedelta(hours=1)
MOST_AT_ONCE = 40
# A provider that does not answer takes its 15 seconds each time: a run ends well within the tasks' time limit, and the next
# one begins with those that were not asked.
SECONDS_OF_A_RUN = 120
NEVER_ASKED_FIRST = F("checked_at").asc(nulls_first=True)


@shared_task(name="checkout.reconcile_payments")
def reconcile_payments(seconds: float = SECONDS_OF_A_RUN) -> int:
    """Ask providers about payments whose end nobody told us, as many as fit into `seconds`; returns how many ended.

    A browser that never came back and a notification that never came end here. A payment that the provider still
    knows nothing of after GIVE_UP_AFTER is abandoned. One whose end it states and we cannot apply is kept, asked about
    again each hour, and told by the nightly check.
    """
    now = timezone.now()
    failed_lately = ProviderEvent.objects.unapplied().filter(
        payment=OuterRef("pk"), received_at__gt=now - ASK_AGAIN_AFTER
    )
    started = Payment.objects.awaiting_provider().filter(
        ~Exists(failed_lately) | Q(created_at__gte=now - GIVE_UP_AFTER), created_at__lt=now - ASK_AFTER
    )
    ended = 0
    for payment in _while_there_is_time(started, seconds):
        if _asked(payment):
            ended += 1
        elif payment.created_at < now - GIVE_UP_AFTER and not _unapplied(payment):
            with apart(what=f"payment {payment.pk}"):
                ended += end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
    return ended


@shared_task(name="checkout.ask_again")
def ask_again(seconds: float = SECONDS_OF_A_RUN) -> int:
    """Ask about payments that may have been paid after their end; returns of how many the provider stated it.

    Their money pays the order that still waits, or goes to the wallet.
    """
    now = timezone.now()
    given_up = Payment.objects.may_still_be_paid().filter(
        Q(checked_at=None) | Q(checked_at__lt=now - ASK_AGAIN_AFTER), created_at__gt=now - ASK_FOR
    )
    return sum(_asked(payment) for payment in _while_there_is_time(given_up, seconds))


def _asked(payment: Payment) -> bool:
    """Whether the provider stated its end."""
    answer = None
    with apart(what=f"payment {payment.pk}"):
        answer = ask_provider(payment)
    return answer is True


def _unapplied(payment: Payment) -> bool:
    """Whether its provider has said that it has the money, which is not in our books."""
    return ProviderEvent.objects.unapplied().filter(payment=payment).exists()


def _while_there_is_time(payments: QuerySet[Payment], seconds: float) -> Iterator[Payment]:
    """The payments that one run asks about, those that wait longest first; at least one."""
    end = time.monotonic() + seconds
    for payment in payments.order_by(NEVER_ASKED_FIRST, "pk")[:MOST_AT_ONCE]:
        yield payment
        if time.monotonic() >= end:
            return


@shared_task(name="checkout.check_providers")
def check_providers(seconds: float = SECONDS_OF_A_RUN) -> int:
    """Ask each hour whether the providers that parents may choose answer, within `seconds`; returns how many do not."""
    return check_used_providers(seconds=seconds)


@shared_task(name="checkout.close_forgotten_orders")
def close_forgotten_orders(limit: int = 500) -> int:
    """End the orders that nobody goes on paying for FORGET_AFTER: their carts open again. Returns how many.

    One that cannot be ended is written down, and comes after the others.
    """
    forgotten = Order.objects.awaiting_nobody().filter(created_at__lt=timezone.now() - FORGET_AFTER)
    ended = 0
    for order in list(forgotten.select_related("user").order_by(FAILED_LAST, "pk")[:limit]):
        with apart(what=f"order {order.pk}", failed=partial(has_failed, order)):
            ended += close_forgotten(order=order)
    return ended


@shared_task(name="checkout.apply_closures")
def apply_closures() -> int:
    """Cancel, pay back and write to the families of closures whose time to be undone is over; returns how many."""
    return apply_due()


# Reading ten million entries takes longer than the other tasks may.
@shared_task(name="checkout.verify_ledger", time_limit=3600)
def verify_ledger(by: int | None = None) -> int:
    """Recompute ledger, orders and places, each night and when an operator (by key) asks for it.

    Every difference, and what is overdue, is kept, told to the operators and an error in the log. Returns how many
    differences.
    """
    found = verifications.run(by=User.objects.filter(pk=by).first() if by else None)
    for sentence in [*found.differences, *found.overdue] if found else []:
        logger.error("%s", sentence)
    return found.count if found else 0
