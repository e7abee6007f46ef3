"""What each paper is about, in a few words: what tells ten receipts apart in a list."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db.models import Max, Min
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from checkout.models import OrderLine
from checkout.papers.models import Document, Kind
from portal.common.formats import NBSP, month, short_date

MOST_NAMED = 2  # products of an order


def subjects(documents: Sequence[Document]) -> dict[int, str]:
    """By each paper's key what it is about; one query, whatever they are. Their order, movement and `cancels` are read."""
    orders = {document.order_id for document in documents if document.order_id}
    bought = _bought(orders) if orders else {}
    return {document.pk: _subject(document, bought) for document in documents}


def _subject(document: Document, bought: dict[int, str]) -> str:
    if document.order_id is not None and document.order is not None:
        words = _("Commande %s") % document.order.number
        return f"{words}{NBSP}: {bought[document.order_id]}" if document.order_id in bought else words
    if document.movement is not None:
        return document.movement.label
    if document.cancels is not None:
        return _("Annule la pièce %s") % document.cancels.reference
    if document.first_day is not None and document.last_day is not None:
        if document.kind == Kind.INVOICE:
            return month(document.first_day)
        # One for the tax return is of the year, as it says itself.
        is_over = document.kind == Kind.CHILDCARE or timezone.localdate(document.issued_at) > document.last_day
        return (_year if is_over else _days)(document.first_day, document.last_day)
    return ""


def _bought(orders: Iterable[int]) -> dict[int, str]:
    """The products of each order and the days they are for: « Cantine, du 08/09/2026 au 11/09/2026 »."""
    rows = (
        OrderLine.objects.filter(order__in=orders)
        .exclude(kind=OrderLine.Kind.FEE)
        .values("order", "label")
        .annotate(at=Min("pk"), first=Min("date"), last=Max("date"))
        .order_by("order", "at")
    )
    by_order = defaultdict(list)
    for row in rows:
        by_order[row["order"]].append(row)
    return {order: _products(found) for order, found in by_order.items()}


def _products(rows: Sequence[dict[str, object]]) -> str:
    names = ", ".join(str(row["label"]) for row in rows[:MOST_NAMED])
    more = len(rows) - MOST_NAMED
    if more > 0:
        names = ngettext("%(names)s et %(more)d autre produit", "%(names)s et %(more)d autres produits", more) % {
            "names": names,
            "more": more,
        }
    days = [row[name] for row in rows for name in ("first", "last") if row[name]]
    dates = [day for day in days if isinstance(day, dt.date)]
    return f"{names}, {_days(min(dates), max(dates))}" if dates else names


def _year(first: dt.date, last: dt.date) -> str:
    whole = (first.month, first.day, last.month, last.day) == (1, 1, 12, 31) and first.year == last.year
    return _("année %d") % first.year if whole else _days(first, last)


def _days(first: dt.date, last: dt.date) -> str:
    if first == last:
        return _("le %s") % short_date(first)
    return _("du %(first)s au %(last)s") % {"first": short_date(first), "last": short_date(last)}
