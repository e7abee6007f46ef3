"""The statement of a wallet: its movements on paper. Not a piece of the régie: it has no number and is made anew each time."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import Order
from checkout.papers.actions import the_regie
from checkout.papers.content import Content, facts, printed, table, text
from checkout.papers.models import Kind
from checkout.papers.paper import print_paper
from portal.common.formats import euros, long_date, short_date, today
from portal.common.money import ZERO
from wallet.models import Entry, Wallet

Shown = tuple[Entry, dt.date, Order | None]


@dataclass(frozen=True)
class Span:
    """The days that a statement is about, and what the wallet held before the first and after the last, in euros."""

    first: dt.date
    last: dt.date
    opening: Decimal
    closing: Decimal


def span(wallet: Wallet, month: tuple[dt.date, dt.date] | None, shown: Sequence[Shown], *, is_cut: bool) -> Span:
    """Those of a month so far, or of the wallet's whole life until today; of what is shown when it is not all."""
    entries = Entry.objects.of_wallet(wallet)
    if month is not None:
        first, last = month
        return Span(
            first,
            min(last, today()),
            opening=entries.balance_before(first),
            closing=entries.balance_before(last + dt.timedelta(days=1)),
        )
    oldest = shown[-1][0] if is_cut else entries.order_by("pk").first()
    if oldest is None:
        return Span(today(), today(), opening=ZERO, closing=ZERO)
    return Span(
        timezone.localdate(oldest.movement.at),
        today(),
        opening=(oldest.balance_after or ZERO) - oldest.amount,
        closing=wallet.balance,
    )


def statement(*, user: User, shown: Sequence[Shown], span: Span, chosen: str, notes: Sequence[str] = ()) -> bytes:
    """The PDF/UA-1 of these movements, newest first; `chosen` says in words which they are, `notes` what is left out."""
    now = timezone.now()
    spent = sum((entry.amount for entry, _date, _order in shown if entry.amount < 0), ZERO)
    received = sum((entry.amount for entry, _date, _order in shown if entry.amount > 0), ZERO)
    rows = [
        [
            short_date(date),
            order.number if order else "",
            entry.movement.label,
            euros(entry.amount),
            euros(entry.balance_after),
        ]
        for entry, date, order in shown
    ]
    days = {"first": short_date(span.first), "last": short_date(span.last)}
    content = Content(
        kind=Kind.INVOICE,  # not kept: no series is asked for a number
        user=user,
        subject="",
        amount=ZERO,
        title=_("Relevé du porte-monnaie"),
        subtitle=chosen,
        blocks=[
            facts(
                [
                    (_("Période"), _("du %(first)s au %(last)s") % days),
                    (_("Solde au début"), euros(span.opening)),
                    (_("Entrées"), euros(received)),
                    (_("Sorties"), euros(spent)),
                    (_("Solde à la fin"), euros(span.closing)),
                ]
            ),
            *(text(note) for note in notes),
            table(
                _("Mouvements"),
                [_("Date"), _("Commande"), _("Libellé"), _("Montant"), _("Solde")],
                rows or [["–", "", _("Aucun mouvement"), "", euros(span.closing)]],
                numbers=2,
                narrow=2,
            ),
        ],
    )
    data = printed(content, the_regie(), "", now) | {"issued": _("Édité le %s") % long_date(timezone.localdate(now))}
    return print_paper(data, now)
