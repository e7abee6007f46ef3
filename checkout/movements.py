"""From the ledger back to what it pays for: the order behind each movement."""

from collections.abc import Iterable, Sequence

from checkout.models import Order, OrderLine, Payment, Refund
from wallet.models import Movement


def orders_behind(movements: Sequence[Movement]) -> dict[int, Order]:
    """The order that each movement comes from, by the movement's key in the table; four queries at most.

    Its own key names an order, a payment or a refund to a card; or lines of an order were paid back by it.
    """
    by_order: dict[int, int] = {}
    named: dict[str, dict[str, list[int]]] = {"payment": {}, "refund": {}}
    left = []
    for movement in movements:
        what, _sep, rest = movement.key.partition(":")
        name = rest.partition(":")[0]
        if what == "order" and name.isdecimal():
            by_order[movement.pk] = int(name)
        elif what in named:
            named[what].setdefault(name, []).append(movement.pk)
        else:
            left.append(movement.pk)
    found: list[tuple[str, str, int]] = []
    if named["payment"]:
        rows = Payment.objects.filter(reference__in=named["payment"]).values_list("reference", "order")
        found += [("payment", reference, order) for reference, order in rows]
    if named["refund"]:
        backs = Refund.objects.filter(reference__in=named["refund"]).values_list("reference", "payment__order")
        found += [("refund", reference, order) for reference, order in backs]
    for what, reference, order in found:
        by_order |= dict.fromkeys(named[what][reference], order)
    if left:
        lines: Iterable[tuple[int, int]] = OrderLine.objects.filter(refund__in=left).values_list("refund", "order")
        by_order |= dict(lines)
    orders = Order.objects.in_bulk(set(by_order.values())) if by_order else {}
    return {movement: orders[order] for movement, order in by_order.items() if order in orders}
