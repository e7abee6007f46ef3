"""How an order stands for who placed it, in the same words in « Mes commandes » and on its own page."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q, Subquery, Sum
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.models import Booking
from checkout.models import Cart, CartLine, Order, OrderLine, Payment
from checkout.models.orders import OrderQuerySet
from portal.common.db import annotated
from portal.common.formats import euros


@dataclass(frozen=True)
class Standing:
    """The words of an order's status with the kind of their tag, what is to be known of its lines beside it, and where to go on."""

    tag: str
    words: str
    notes: Sequence[str] = ()
    ways: Sequence[tuple[str, str]] = ()  # addresses of pages, and what leads there


def with_standing(rows: OrderQuerySet) -> OrderQuerySet:
    """Each order with what `standing` reads; in the same statement."""
    since = Q(lines__cancelled_at__gt=F("paid_at"))
    # Swept when their time was over: their order may still be paid, and will have them if they are free then.
    expired = Q(booking__status=Booking.Status.EXPIRED) | Q(ticket__status=Booking.Status.EXPIRED)
    late = Payment.objects.filter(order=OuterRef("pk"), status=Payment.Status.CREDITED)
    sums = late.order_by().values("order").annotate(sum=Sum("amount")).values("sum")
    return annotated(
        rows,
        line_count=Count("lines"),
        ticket_count=Count("lines", filter=Q(lines__kind=OrderLine.Kind.TICKET)),
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
        # A card's money that came when the order wanted it no more.
        # Alone, without Coalesce, it stands in no GROUP BY: read for the orders of the page, not once for each line of all.
        credited=Subquery(sums),
        in_cart=Exists(CartLine.objects.filter(cart=OuterRef("cart"), cart__status=Cart.Status.OPEN)),
    )


def nature(order: Order) -> str:
    """What an order read by `with_standing` is for."""
    if not order.ticket_count:
        return order.get_kind_display()
    if order.ticket_count < order.line_count:
        return _("Réservations et e-billets")
    return ngettext("E-billet", "E-billets", order.ticket_count)


def standing(order: Order) -> Standing:
    """How an order read by `with_standing` stands."""
    words = order.get_status_display()
    credited = [_("%s portés au porte-monnaie") % euros(order.credited)] if order.credited else []
    if order.status == Order.Status.PENDING:
        expired = [_("Des places n’y sont plus gardées")] if order.has_expired else []
        return Standing(order.status, words, expired + credited, _ways(order))
    if order.status != Order.Status.PAID:
        said = _("Refusée par la banque") if order.was_refused else words
        return Standing(order.status, said, credited, _ways(order))
    lost, dates, tickets = order.lost_count, order.dates_back, order.tickets_back
    if lost and lost == order.line_count:
        return Standing("off", _("Payée, puis rendue"), credited, _ways(order))
    notes = [
        (lost, ngettext("%d place rendue", "%d places rendues", lost)),
        (dates, ngettext("%d date annulée", "%d dates annulées", dates)),
        (tickets, ngettext("%d e-billet annulé", "%d e-billets annulés", tickets)),
    ]
    if dates + tickets and lost + dates + tickets == order.line_count:
        return Standing(
            "off", _("Payée, puis annulée"), [text % n for n, text in notes[:1] if n] + credited, _ways(order)
        )
    return Standing(order.status, words, [text % n for n, text in notes if n] + credited, _ways(order))


def _ways(order: Order) -> Sequence[tuple[str, str]]:
    """To the money that is in the wallet, and from an order that was abandoned to what can be tried again."""
    ways = []
    if order.credited or (order.status == Order.Status.CANCELLED and order.kind == Order.Kind.TOP_UP):
        ways.append((reverse("wallet"), _("Voir mon porte-monnaie")))
    if order.status == Order.Status.CANCELLED and order.in_cart:
        ways.append((reverse("cart"), _("Voir mon panier")))
    return ways
