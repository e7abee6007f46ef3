"""Reading the ledger by day: what moved, on which accounts, for which orders, and what every account now holds."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.urls import reverse
from django.utils.translation import gettext as _

from checkout.movements import orders_behind
from portal.common.exports import Cell
from portal.common.formats import PARIS, day, euros, month, today
from portal.common.money import ZERO
from wallet.closings import actions as closings
from wallet.models import Account, Entry, Movement
from wallet.words import account_name, meaning

PER_PAGE = 50


@dataclass(frozen=True)
class Line:
    """One movement as the journal shows it: its entries by name, and the order that it comes from."""

    movement: Movement
    entries: Sequence[tuple[str, Decimal, Decimal]]  # account, debit, credit
    order: str = ""
    order_url: str = ""


@dataclass(frozen=True)
class Balance:
    """What an account holds, and what that means."""

    account: Account | None
    name: str
    meaning: str
    total: Decimal


def movements_of(date: dt.date) -> Any:
    """The movements of a day in Paris, in the order in which they were written."""
    rows = Movement.objects.filter(
        at__gte=closings.midnight(date), at__lt=closings.midnight(date + dt.timedelta(days=1))
    )
    entries = Entry.objects.select_related("account__commune", "account__wallet__user").order_by("pk")
    return rows.select_related("by").prefetch_related(Prefetch("entries", entries)).order_by("at", "pk")


def page_of(date: dt.date, number: str) -> tuple[Any, list["Line"]]:
    """A page of the day's movements, and its lines; five queries, however many there are."""
    page = Paginator(movements_of(date), PER_PAGE).get_page(number)
    return page, lines_of(list(page.object_list))


def lines_of(movements: Sequence[Movement]) -> list[Line]:
    """The movements with their entries and orders; two queries."""
    orders = _orders_of(movements)
    return [
        Line(
            movement,
            [
                (account_name(entry.account), max(-entry.amount, ZERO), max(entry.amount, ZERO))
                for entry in movement.entries.all()
            ],
            *orders.get(movement.pk, ("", "")),
        )
        for movement in movements
    ]


def _orders_of(movements: Sequence[Movement]) -> dict[int, tuple[str, str]]:
    """The number and the page of the order behind each movement."""
    return {
        movement: (order.number, reverse("admin:checkout_order_change", args=[order.pk]))
        for movement, order in orders_behind(movements).items()
    }


def export_rows(date: dt.date) -> tuple[list[str], list[list[Cell]]]:
    """Heads and rows of a day's journal, one row for each entry, and their totals."""
    heads = [_("Date"), _("Heure"), _("N° de mouvement"), _("Nature"), _("Libellé"), _("Commande"), _("Compte"),
             _("Code du compte"), _("Débit"), _("Crédit"), _("Par")]  # fmt: skip
    rows: list[list[Cell]] = []
    debits, credits = ZERO, ZERO
    for line in lines_of(list(movements_of(date))):
        written = line.movement.at.astimezone(PARIS)
        at = written.time().replace(microsecond=0)
        for entry, (name, debit, credit) in zip(line.movement.entries.all(), line.entries, strict=True):
            rows.append(
                [written.date(), at, line.movement.pk, line.movement.get_kind_display(),
                 line.movement.label, line.order, name, entry.account.code, debit or None, credit or None,
                 str(line.movement.by or "")]
            )  # fmt: skip
            debits, credits = debits + debit, credits + credit
    rows.append([_("Total"), None, None, "", "", "", "", "", debits, credits, ""])
    return heads, rows


def balances() -> list[Balance]:
    """Every account of the régie, the families' wallets as one line; what they hold sums to zero."""
    system = Account.objects.exclude(kind=Account.Kind.WALLET).select_related("commune").with_totals()
    order = list(Account.Kind.values)
    rows = [Balance(row, account_name(row), meaning(row.kind, row.total), row.total) for row in system]
    rows.sort(key=lambda row: (order.index(row.account.kind) if row.account else -1, row.name))
    wallets = Account.objects.wallets_total()
    name = _("Porte-monnaie des familles")
    return [Balance(None, name, meaning(Account.Kind.WALLET, wallets), wallets), *rows]


@dataclass(frozen=True)
class Bar:
    """A day of the month's chart, in the units of its picture."""

    date: dt.date
    amount: Decimal
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return round(self.x + self.width / 2, 1)

    @property
    def label(self) -> str:
        return f"{day(self.date)}\u00a0: {euros(self.amount)}"


@dataclass(frozen=True)
class Chart:
    """What came in each day of a month, as bars between zero and `top`."""

    title: str
    bars: Sequence[Bar]
    top: Decimal
    total: Decimal
    WIDTH = 620
    HEIGHT = 160


def receipts_chart(date: dt.date) -> Chart:
    """The receipts of the month of a day: those of closed days as they were kept, the others summed."""
    first = date.replace(day=1)
    end = min(closings.end_of_month(first), max(today(), first))
    amounts = closings.receipts_by_day(first, end)
    days = [first + dt.timedelta(days=index) for index in range((closings.end_of_month(first) - first).days + 1)]
    top = _round_up(max(amounts.values(), default=ZERO))
    step = Chart.WIDTH / len(days)
    bars = []
    for index, each in enumerate(days):
        amount = amounts.get(each, ZERO)
        height = round(float(amount / top) * Chart.HEIGHT, 1) if top else 0.0
        bars.append(
            Bar(each, amount, round(index * step + 2, 1), round(Chart.HEIGHT - height, 1), round(step - 4, 1), height)
        )
    return Chart(month(first), bars, top, sum(amounts.values(), ZERO))


def _round_up(amount: Decimal) -> Decimal:
    """The next of 1, 2, 5, 10, 20, 50… that is no smaller: a scale that people read."""
    scale = Decimal(1)
    while True:
        for factor in (1, 2, 5):
            if scale * factor >= amount:
                return scale * factor
        scale *= 10
