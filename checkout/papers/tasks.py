"""The papers that nobody asks for: receipts and refund notes soon after, invoices from the first of the month on."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from functools import partial

from celery import shared_task
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from checkout.models import Order, OrderLine, Refund
from checkout.papers.models import Document
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.papers.runs import due, issue_month
from checkout.papers.transfers import end_transfer_note, issue_transfer_note, with_wrong_note, without_note
from wallet.models import Movement

logger = logging.getLogger(__name__)

# What is older than this was there before papers were issued, or has its failure in the log each ten minutes since.
LOOK_BACK = dt.timedelta(days=7)
# The e-mail of an order issues its receipt; the sweep takes up what the e-mail could not.
WAIT = dt.timedelta(minutes=2)
MOST_AT_ONCE = 200
# Of the tasks' five minutes; what is left is taken up ten minutes later.
SECONDS = 200


@shared_task(name="checkout.issue_papers")
def issue_papers() -> int:
    """Issue the receipts of paid orders and the notes of refunds and transfers that have none yet, the oldest first.

    The note of a transfer that the bank has sent back is ended by another paper. Returns how many papers were issued.
    """
    now = timezone.now()
    made = 0
    receipts = Document.objects.filter(order=OuterRef("pk"))
    orders = Order.objects.filter(~Exists(receipts), paid_at__gt=now - LOOK_BACK, paid_at__lt=now - WAIT)
    for order in orders.select_related("user").order_by("paid_at", "pk")[:MOST_AT_ONCE]:
        made += _made(partial(issue_receipt, order=order), f"order {order.pk}")
    notes = Document.objects.filter(movement=OuterRef("pk"))
    lines = OrderLine.objects.filter(refund=OuterRef("pk"), cancelled_at__gt=F("order__paid_at"))
    done = Refund.objects.filter(movement=OuterRef("pk"), status=Refund.Status.DONE)
    movements = Movement.objects.filter(
        ~Exists(notes),
        Q(kind=Movement.Kind.CANCELLATION) & Exists(lines) | Q(kind=Movement.Kind.REFUND) & Exists(done),
        at__gt=now - LOOK_BACK,
        at__lt=now - WAIT,
    )
    for movement in movements.order_by("pk")[:MOST_AT_ONCE]:
        made += _made(partial(issue_refund_note, movement=movement), f"movement {movement.pk}")
    ended = Q(ended_at__gt=now - LOOK_BACK, ended_at__lt=now - WAIT)
    for row in without_note().filter(ended).order_by("pk")[:MOST_AT_ONCE]:
        made += _made(partial(issue_transfer_note, withdrawal=row), f"withdrawal {row.pk}")
    for row in with_wrong_note().filter(ended).select_related("user").order_by("pk")[:MOST_AT_ONCE]:
        made += _made(partial(end_transfer_note, withdrawal=row), f"withdrawal {row.pk}, sent back")
    return made


def _made(make: Callable[[], Document | None], what: str) -> int:
    try:
        return make() is not None
    except Exception:  # the next one has nothing to do with it
        logger.exception("The paper of %s cannot be issued", what)
        return 0


@shared_task(name="checkout.issue_invoices")
def issue_invoices(seconds: float = SECONDS) -> int:
    """Issue the invoices of every month that is over and still wants some, as many as fit into `seconds`; returns how many.

    A month that no worker saw, or where a family failed to its last day, is taken up with the others.
    """
    until = time.monotonic() + seconds
    return sum(issue_month(run=run, until=until) for run in due())
