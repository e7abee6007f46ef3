"""From the cart to the paid order, what providers told us, and the tables of the parts (counter, papers, refunds…)."""

from checkout.counter.models import CounterReceipt, TillDeposit
from checkout.means.models import ProviderCheck
from checkout.models.cart import Cart, CartLine
from checkout.models.declarations import DeclarationCorrection
from checkout.models.events import ProviderEvent
from checkout.models.orders import (
    FORGET_AFTER,
    GIVE_UP_AFTER,
    PAGE_LIVES,
    PAID,
    Order,
    OrderLine,
    Payment,
    new_reference,
)
from checkout.papers.models import Document, InvoiceRun, Regie, Series
from checkout.refunds.models import Refund

__all__ = [
    "FORGET_AFTER",
    "GIVE_UP_AFTER",
    "PAGE_LIVES",
    "PAID",
    "Cart",
    "CartLine",
    "CounterReceipt",
    "DeclarationCorrection",
    "Document",
    "InvoiceRun",
    "Order",
    "OrderLine",
    "Payment",
    "ProviderCheck",
    "ProviderEvent",
    "Refund",
    "Regie",
    "Series",
    "TillDeposit",
    "new_reference",
]
