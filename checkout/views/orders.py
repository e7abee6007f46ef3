"""« Mes commandes » : list, detail, on paper."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.views import current_user
from checkout.given_back import GivenBack, elsewhere, paid_each
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.papers.models import Document, Kind
from checkout.standing import nature, standing, with_standing
from checkout.summary import order_groups
from checkout.vouchers.reading import uses_of
from checkout.vouchers.rules import Reduction
from checkout.vouchers.words import Fates
from portal.common.formats import dated, enumeration
from portal.common.money import ZERO
from services.models import OpenDay

PAGE_SIZE = 20
# How long an order's page opens with « c'est payé » and what happens next, before it is a record among others.
JUST_PAID = dt.timedelta(minutes=30)


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The person's orders, newest first."""
    mine = Order.objects.of(current_user(request)).order_by("-created_at")
    page = Paginator(mine, PAGE_SIZE).get_page(request.GET.get("page"))  # they are counted without their lines
    rows = with_standing(mine[page.start_index() - 1 : page.end_index()]) if page.paginator.count else []
    listed = [(row, timezone.localdate(row.created_at), nature(row), standing(row)) for row in rows]
    return render(request, "checkout/orders.html", {"page": page, "listed": listed})


@require_safe
def order(request: HttpRequest, reference: str) -> HttpResponse:
    """One order with its lines, payments and what was cancelled; prints as a receipt."""
    mine = with_standing(Order.objects.of(current_user(request)).select_related("terms"))
    found = get_object_or_404(mine, reference=reference)
    lines = list(OrderLine.objects.filter(order=found).with_places().order_by("date", "pk"))
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
    papers = _papers(found, lines, back.cards) if found.paid_at else []
    context = {
        "order": found,
        "standing": standing(found),
        "receipt": next((paper for paper in papers if paper.kind == Kind.RECEIPT), None),
        "refund_notes": [paper for paper in papers if paper.kind == Kind.REFUND],
        "ordered_on": timezone.localdate(found.created_at),
        "paid_on": timezone.localdate(found.paid_at) if found.paid_at else None,
        "just_paid": found.paid_at is not None and timezone.now() - found.paid_at < JUST_PAID and not cancelled,
        "kept": kept,
        "has_dates": any(line.kind == OrderLine.Kind.BOOKING for line in sold),
        "has_tickets": any(line.kind == OrderLine.Kind.TICKET for line in sold),
        "lost": order_groups(lost),
        "lost_back": GivenBack(lost),
        **(_of_lost(lost) if lost else {}),
        "groups": order_groups(sold, gone=lost),
        "subtotal": sum((line.unit_price for line in lines), ZERO),
        "reductions": [Reduction(use.voucher, use.amount) for use in uses],
        "vouchers": Fates.of(uses),
        "cancelled": order_groups(cancelled),
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


def _papers(order: Order, lines: Sequence[OrderLine], cards: Sequence[Refund]) -> list[Document]:
    """The receipt of an order and the notes of what came back of it that no other paper has ended; one query."""
    movements = {line.refund_id for line in lines} | {refund.movement_id for refund in cards}
    notes = Q(kind=Kind.REFUND, movement__in=movements - {None}, user=order.user_id)
    rows = Document.objects.filter(Q(order=order) | notes).with_state().defer("data").order_by("pk")
    return [row for row in rows if not row.is_cancelled]


def _of_lost(lost: Sequence[OrderLine]) -> dict[str, Any]:
    """Where another date can be found instead of what was gone, and which of its days were closed; two queries."""
    places = [line.booking_id for line in lost if line.booking_id]
    closed = OpenDay.objects.filter(bookings__in=places, is_open=False).order_by("date")
    return {
        "elsewhere": elsewhere(lost),
        "lost_closed": enumeration(dict.fromkeys(dated(row.date) for row in closed)),
    }
