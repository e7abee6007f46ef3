"""What came back of an order, and where each euro of it is: what its page and its e-mails say of a cancellation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q
from django.utils.translation import gettext as _

from bookings.models import Ticket
from checkout.models import OrderLine, Refund
from portal.common.formats import enumeration, euros
from portal.common.money import CENT, ZERO
from services.models import Activity, OpenDay


@dataclass(frozen=True)
class GivenBack:
    """The price of lines that have ended, what vouchers had paid of it, and what came back, in euros.

    `cards` are the refunds to the cards of the order, whatever became of them; `credited` is a card's money that went to
    the wallet as a whole, the order being gone.
    """

    lines: Sequence[OrderLine]
    cards: Sequence[Refund] = ()
    credited: Decimal = ZERO

    @property
    def price(self) -> Decimal:
        return sum((line.unit_price for line in self.lines), ZERO)

    @property
    def off(self) -> Decimal:
        """The part that vouchers had paid: it goes back to whoever bears them."""
        return sum((line.discount for line in self.lines), ZERO)

    @property
    def total(self) -> Decimal:
        return self.price - self.off

    @property
    def to_wallet(self) -> Decimal:
        """What the wallet has of it: all but what has reached a card, or will."""
        on_cards = sum((row.amount for row in self.cards if row.status != Refund.Status.FAILED), ZERO)
        return max(self.total + self.credited - on_cards, ZERO)


def paid_each(lines: Iterable[OrderLine]) -> str:
    """What cancelling gives a family back where vouchers paid a part, as a sentence: of one date, or product by product.

    `Une date annulée vous rend 5,85 € ou 5,86 € (bons déduits).` Nothing where there was no voucher (the price that stands
    beside the date is what comes back), nor where vouchers paid everything.
    """
    rows = [line for line in lines if line.kind in (OrderLine.Kind.BOOKING, OrderLine.Kind.TICKET)]
    if not any(row.discount for row in rows) or not any(row.paid for row in rows):
        return ""
    # By price too: of one product, the second child's dates may cost less.
    groups: dict[tuple[str, str, Decimal], list[OrderLine]] = {}
    for row in rows:
        groups.setdefault((row.kind, ", ".join(filter(None, (row.label, row.detail))), row.unit_price), []).append(row)
    if len({kind for kind, _what, _price in groups}) == len({_span(each) for each in groups.values()}) == 1:
        words = {
            OrderLine.Kind.BOOKING: _("Une date annulée vous rend %s (bons déduits)."),
            OrderLine.Kind.TICKET: _("Un e-billet annulé vous rend %s (bons déduits)."),
        }
        return words[OrderLine.Kind(rows[0].kind)] % _span(rows)
    prices: dict[tuple[str, str], int] = {}
    for kind, what, _price in groups:
        prices[kind, what] = prices.get((kind, what), 0) + 1
    found = []
    for (kind, what, price), each in groups.items():
        words_of = {
            OrderLine.Kind.BOOKING: _("%(amount)s par date de «\u00a0%(what)s\u00a0»"),
            OrderLine.Kind.TICKET: _("%(amount)s par e-billet «\u00a0%(what)s\u00a0»"),
        }
        text = words_of[OrderLine.Kind(kind)] % {"amount": _span(each), "what": what}
        found.append(text + (_(" à %s") % euros(price) if prices[kind, what] > 1 else ""))
    return _("Une annulation vous rend, bons déduits\u00a0: %s.") % enumeration(found)


def _span(lines: Sequence[OrderLine]) -> str:
    """What one of these lines gives back: `5,86 €`, `5,85 € ou 5,86 €`."""
    least, most = min(row.paid for row in lines), max(row.paid for row in lines)
    if least == most:
        return euros(least)
    # A voucher's cents do not always share out evenly.
    words = _("%(least)s ou %(most)s") if most - least == CENT else _("entre %(least)s et %(most)s")
    return words % {"least": euros(least), "most": euros(most)}


def elsewhere(lost: Iterable[OrderLine]) -> Sequence[Activity]:
    """The activities, still offered, of lines whose places were no longer free, where other dates are chosen or waited for; one query."""
    rows = list(lost)
    # Each by its own key: one join of both would read the whole town's bookings.
    days = OpenDay.objects.filter(bookings__in=[row.booking_id for row in rows if row.booking_id])
    tickets = Ticket.objects.filter(pk__in=[row.ticket_id for row in rows if row.ticket_id])
    sold = Q(pk__in=days.values("activity")) | Q(pk__in=tickets.values("activity"))
    return list(Activity.objects.open().filter(sold).select_related("service").order_by("name", "pk"))
