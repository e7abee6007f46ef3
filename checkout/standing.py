"""How an order stands for who placed it, in the same words in « Mes commandes » and on its own page."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.models import Booking
from checkout.models import Order, OrderLine, Payment
from checkout.models.orders import OrderQuerySet
from portal.common.db import annotated


@dataclass(frozen=True)
class Standing:
    """The words of an order's status with the kind of their tag, and what is to be known of its lines beside it."""

    tag: str
    words: str
    notes: Sequence[str] = ()


def with_standing(rows: OrderQuerySet) -> OrderQuerySet:
    """Each order with what `standing` reads; in the same statement."""
    since = Q(lines__cancelled_at__gt=F("paid_at"))
    # Swept when their time was over: their order may still be paid, and will have them if they are free then.
    expired = Q(booking__status=Booking.Status.EXPIRED) | Q(ticket__status=Booking.Status.EXPIRED)
    return annotated(
        rows,
        line_count=Count("lines"),
        # Gone when the bank's answer came: given back in the same moment as the order was paid.
        lost_count=Count("lines", filter=Q(lines__cancelled_at=F("paid_at"))),
        dates_back=Count("lines", filter=since & Q(lines__kind=OrderLine.Kind.BOOKING)),
        tickets_back=Count("lines", filter=since & Q(lines__kind=OrderLine.Kind.TICKET)),
        has_expired=Exists(OrderLine.objects.filter(expired, order=OuterRef("pk"))),
        # A deposit ends with its only try: it was not given up by who made it. A cart's order can be paid again.
        was_refused=Exists(
            Payment.objects.filter(
                order=OuterRef("pk"),
                order__kind=Order.Kind.TOP_UP,
                order__status=Order.Status.CANCELLED,
                status=Payment.Status.REFUSED,
            )
        ),
    )


def standing(order: Order) -> Standing:
    """How an order read by `with_standing` stands."""
    words = order.get_status_display()
    if order.status == Order.Status.PENDING:
        return Standing(order.status, words, [_("Des places n’y sont plus gardées")] if order.has_expired else [])
    if order.status != Order.Status.PAID:
        return Standing(order.status, _("Refusée par la banque") if order.was_refused else words)
    lost, dates, tickets = order.lost_count, order.dates_back, order.tickets_back
    if lost and lost == order.line_count:
        return Standing("off", _("Payée, puis rendue"))
    notes = [
        (lost, ngettext("%d place rendue", "%d places rendues", lost)),
        (dates, ngettext("%d date annulée", "%d dates annulées", dates)),
        (tickets, ngettext("%d e-billet annulé", "%d e-billets annulés", tickets)),
    ]
    if dates + tickets and lost + dates + tickets == order.line_count:
        return Standing("off", _("Payée, puis annulée"), [text % n for n, text in notes[:1] if n])
    return Standing(order.status, words, [text % n for n, text in notes if n])
