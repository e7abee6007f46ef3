"""The papers that nobody asks for: receipts and refund notes soon after, invoices from the first of the month on."""

import datetime as dt
import time

from celery import shared_task
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from checkout.models import Order, Refund
from checkout.papers.files import remove_orphans
from checkout.papers.models import Document
from checkout.papers.receipts import (
    cancellations_without_note,
    card_refunds_with_wrong_note,
    card_refunds_without_note,
    end_card_note,
    issue_receipt,
    issue_refund_note,
)
from checkout.papers.runs import due, issue_month
from checkout.papers.transfers import end_transfer_note, issue_transfer_note, with_wrong_note, without_note
from portal.common.rows import apart

# Each ten minutes; once a night all of the year is looked at, for what could not be issued while it was new.
LOOK_BACK = dt.timedelta(days=7)
# The e-mail of an order issues its receipt; the sweep takes up what the e-mail could not.
WAIT = dt.timedelta(minutes=2)
MOST_AT_ONCE = 200
# Of the tasks' five minutes; what is left is taken up ten minutes later.
SECONDS = 200


@shared_task(name="checkout.issue_papers")
def issue_papers(days: int = LOOK_BACK.days) -> int:
    """Issue, for what happened in the last so many days, the receipts of paid orders and the notes of refunds and transfers that have none yet, the oldest first.

    The note of a refund or transfer that the bank has sent back is ended by another paper; that of a cancellation comes anew.
    Returns how many of all these were written of.
    """
    now = timezone.now()
    since = now - dt.timedelta(days=days)
    made = 0
    receipts = Document.objects.filter(order=OuterRef("pk"))
    orders = Order.objects.filter(~Exists(receipts), paid_at__gt=since, paid_at__lt=now - WAIT)
    for order in orders.select_related("user").order_by("paid_at", "pk")[:MOST_AT_ONCE]:
        with apart(what=f"order {order.pk}"):
            issue_receipt(order=order)
            made += 1
    # By the day on which refunds ended: a provider that was down for a week has its notes too.
    ended = Q(ended_at__gt=since, ended_at__lt=now - WAIT)
    sent_on = Refund.objects.filter(ended, cancellation__isnull=False).values("cancellation")
    for some in (Q(at__gt=since, at__lt=now - WAIT), Q(pk__in=sent_on)):  # each by its own index
        for movement in cancellations_without_note().filter(some).order_by("pk")[:MOST_AT_ONCE]:
            with apart(what=f"movement {movement.pk}"):
                made += issue_refund_note(movement=movement) is not None
    for refund in card_refunds_without_note().filter(ended).select_related("movement").order_by("pk")[:MOST_AT_ONCE]:
        with apart(what=f"refund {refund.pk}"):
            made += issue_refund_note(movement=refund.movement) is not None
    sent_back = (
        card_refunds_with_wrong_note().filter(ended).select_related("payment__order__user", "movement", "cancellation")
    )
    for refund in sent_back.order_by("pk")[:MOST_AT_ONCE]:
        with apart(what=f"refund {refund.pk}, sent back"):
            made += end_card_note(refund=refund) is not None
    for row in without_note().filter(ended).order_by("pk")[:MOST_AT_ONCE]:
        with apart(what=f"withdrawal {row.pk}"):
            made += issue_transfer_note(withdrawal=row) is not None
    for row in with_wrong_note().filter(ended).select_related("user").order_by("pk")[:MOST_AT_ONCE]:
        with apart(what=f"withdrawal {row.pk}, sent back"):
            made += end_transfer_note(withdrawal=row) is not None
    return made


@shared_task(name="checkout.remove_orphaned_papers")
def remove_orphaned_papers() -> int:
    """Remove the files of papers whose transaction failed after they were printed; returns how many."""
    return remove_orphans()


@shared_task(name="checkout.issue_invoices")
def issue_invoices(seconds: float = SECONDS) -> int:
    """Issue the invoices of every month that is over and still wants some, as many as fit into `seconds`; returns how many.

    A month that no worker saw, or where a family failed to its last day, is taken up with the others.
    """
    until = time.monotonic() + seconds
    return sum(issue_month(run=run, until=until) for run in due())
