"""« Mes commandes » : list, detail, on paper."""

import datetime as dt

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.views import current_user
from checkout.given_back import GivenBack, paid_each
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.papers.models import Document
from checkout.summary import order_groups
from checkout.vouchers.reading import uses_of
from checkout.vouchers.rules import Reduction
from checkout.vouchers.words import Fates
from portal.common.money import ZERO

PAGE_SIZE = 20
# How long an order's page opens with « c'est payé » and what happens next, before it is a record among others.
JUST_PAID = dt.timedelta(minutes=30)


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The person's orders, newest first."""
    mine = Order.objects.of(current_user(request))
    rows = mine.annotate(
        cancelled_count=Count("lines", filter=Q(lines__cancelled_at__isnull=False)), line_count=Count("lines")
    ).order_by("-created_at")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    listed = [(row, timezone.localdate(row.created_at)) for row in page.object_list]
    return render(request, "checkout/orders.html", {"page": page, "listed": listed})


@require_safe
def order(request: HttpRequest, reference: str) -> HttpResponse:
    """One order with its lines, payments and what was cancelled; prints as a receipt."""
    found = get_object_or_404(Order.objects.of(current_user(request)).select_related("terms"), reference=reference)
    lines = list(OrderLine.objects.filter(order=found).order_by("date", "pk"))
    payments = list(Payment.objects.filter(order=found))
    cancelled = [line for line in lines if line.cancelled_at and line.cancelled_at != found.paid_at]
    # Gone when the bank's answer came: given back in the same moment as the order was paid.
    lost = [line for line in lines if line.cancelled_at and line.cancelled_at == found.paid_at]
    kept = [line for line in lines if not line.cancelled_at]
    sold = [line for line in lines if line not in lost] if lost else lines
    back = GivenBack(
        cancelled + lost,
        list(Refund.objects.filter(payment__order=found).order_by("pk")) if payments else [],
        sum((row.amount for row in payments if row.status == Payment.Status.CREDITED), ZERO),
    )
    uses = uses_of(found.pk) if any(line.discount for line in lines) else []
    papers = Document.objects.filter(order=found).with_state().defer("data") if found.paid_at else []
    context = {
        "order": found,
        "receipt": next((paper for paper in papers if not paper.is_cancelled), None),
        "ordered_on": timezone.localdate(found.created_at),
        "paid_on": timezone.localdate(found.paid_at) if found.paid_at else None,
        "just_paid": found.paid_at is not None and timezone.now() - found.paid_at < JUST_PAID and not cancelled,
        "kept": kept,
        "has_dates": any(line.kind == OrderLine.Kind.BOOKING for line in sold),
        "has_tickets": any(line.kind == OrderLine.Kind.TICKET for line in sold),
        "lost": order_groups(lost),
        "lost_back": GivenBack(lost),
        "groups": order_groups(sold, gone=lost),
        "subtotal": sum((line.unit_price for line in lines), ZERO),
        "reductions": [Reduction(use.voucher, use.amount) for use in uses],
        "vouchers": Fates.of(uses),
        "cancelled": order_groups(cancelled),
        "cancelled_count": len(cancelled),
        "cancelled_back": GivenBack(cancelled),
        "back": back,
        "paid_each": paid_each(kept),
        "credits": sum((line.unit_price for line in lines if line.kind == OrderLine.Kind.CREDIT), ZERO),
        "payments": [row for row in payments if row.status == Payment.Status.CAPTURED],
        "credited": [row for row in payments if row.status == Payment.Status.CREDITED],
        "unheard": any(row.status == Payment.Status.ABANDONED and not row.is_wallet for row in payments),
        "waiting": any(row.status == Payment.Status.STARTED for row in payments),
    }
    return render(request, "checkout/order.html", context)
