"""What came back of an order, and where each euro of it is: what its page and its e-mails say of a cancellation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from checkout.models import OrderLine, Refund
from portal.common.formats import euros
from portal.common.money import CENT, ZERO


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
    """What a family gets back for one of these dates where vouchers paid a part: `5,86 €`, `5,85 € ou 5,86 €`.

    Nothing where there was no voucher: the price that stands beside the date is what comes back.
    """
    rows = [line for line in lines if line.kind == OrderLine.Kind.BOOKING]
    if not any(row.discount for row in rows):
        return ""
    least, most = min(row.paid for row in rows), max(row.paid for row in rows)
    if least == most:
        return euros(least)
    # A voucher's cents do not always share out evenly.
    words = _("%(least)s ou %(most)s") if most - least == CENT else _("entre %(least)s et %(most)s")
    return words % {"least": euros(least), "most": euros(most)}
