"""The statement of a wallet: its movements on paper. Not a piece of the régie: it has no number and is made anew each time."""

import datetime as dt
from collections.abc import Sequence

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import Order
from checkout.papers.actions import the_regie
from checkout.papers.content import Content, facts, printed, table
from checkout.papers.models import Kind
from checkout.papers.paper import print_paper
from portal.common.formats import euros, long_date, short_date
from portal.common.money import ZERO
from wallet.models import Entry

Shown = tuple[Entry, dt.date, Order | None]


def statement(*, user: User, shown: Sequence[Shown], chosen: str) -> bytes:
    """The PDF/UA-1 of these movements, newest first; `chosen` says in words which they are."""
    now = timezone.now()
    spent = sum((entry.amount for entry, _date, _order in shown if entry.amount < 0), ZERO)
    received = sum((entry.amount for entry, _date, _order in shown if entry.amount > 0), ZERO)
    rows = [
        [
            short_date(date),
            entry.movement.label,
            order.number if order else "",
            euros(entry.amount),
            euros(entry.balance_after),
        ]
        for entry, date, order in shown
    ]
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
                    (_("Solde après le dernier de ces mouvements"), euros(shown[0][0].balance_after) if shown else ""),
                    (_("Entrées"), euros(received)),
                    (_("Sorties"), euros(spent)),
                ]
            ),
            table(
                _("Mouvements"),
                [_("Date"), _("Libellé"), _("Commande"), _("Montant"), _("Solde")],
                rows or [["–", _("Aucun mouvement"), "", "", ""]],
                numbers=2,
                narrow=1,
            ),
        ],
    )
    data = printed(content, the_regie(), "", now) | {"issued": _("Édité le %s") % long_date(timezone.localdate(now))}
    return print_paper(data, now)
