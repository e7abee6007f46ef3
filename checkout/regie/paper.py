"""A statement on paper, for the commune's accountant: the same figures as its page, in an accessible PDF."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from checkout.papers.content import Content, facts, printed, table, total
from checkout.papers.models import Kind, Regie
from checkout.papers.paper import print_paper
from checkout.regie.models import Statement
from portal.common.formats import euros, long_date, period_words


def statement_pdf(statement: Statement) -> bytes:
    """The PDF/UA-1 of a statement; made anew each time, a cancelled or paid one says so."""
    rows = [
        [
            " – ".join(part for part in (line["service"], line["activity"], line["detail"]) if part),
            str(line["sold"]),
            euros(line["gross"]),
            euros(line["cancelled"]),
            euros(line["net"]),
        ]
        for line in statement.lines
    ]
    content = Content(
        kind=Kind.INVOICE,  # not kept: no series is asked for a number
        user=statement.issued_by,
        subject="",
        amount=statement.net,
        title=_("Relevé de reversement"),
        subtitle=f"{statement.holder}, {period_words(statement.period)}",
        address="–",
        blocks=[
            facts(
                [
                    (_("Période"), period_words(statement.period)),
                    (_("État"), state_of(statement)),
                    (_("Recettes"), euros(statement.gross)),
                    (_("Annulations et remboursements"), euros(statement.cancelled)),
                    (_("Remises à la charge de la commune"), euros(statement.vouchers)),
                    (_("Part des commissions bancaires"), euros(statement.fees)),
                ]
            ),
            total(statement.net_words, statement.net),
            table(
                _("Par service et par activité"),
                [_("Activité"), _("Vendues"), _("Recettes"), _("Annulations"), _("Reste")],
                rows or [[_("Aucune vente"), "", "", "", ""]],
                [
                    _("Ensemble"),
                    str(statement.sold),
                    euros(statement.gross),
                    euros(statement.cancelled),
                    euros(statement.earned),
                ],
                numbers=4,
            ),
        ],
    )
    data: dict[str, Any] = printed(content, Regie.objects.current(), statement.number, statement.issued_at)
    # A régie that nobody has described yet is made of defaults that are translated when they are read.
    data["issuer"] = {name: row if isinstance(row, list) else str(row) for name, row in data["issuer"].items()}
    data["recipient"] = [_("Mairie – %s") % statement.holder if statement.commune else statement.holder]
    return print_paper(data, timezone.now())


def state_of(statement: Statement) -> str:
    """Where its money is, in words."""
    if statement.cancelled_at:
        return _("annulé le %s") % long_date(timezone.localdate(statement.cancelled_at))
    return _("viré le %s") % long_date(statement.paid_on) if statement.paid_on else _("à virer")
