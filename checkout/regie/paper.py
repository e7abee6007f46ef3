"""A statement on paper, for the commune's accountant: the same figures as its page, in an accessible PDF."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from checkout.papers.content import Block, Content, facts, notice, printed, table, total
from checkout.papers.models import Kind, Regie
from checkout.papers.paper import print_paper
from checkout.regie.models import Statement
from portal.common.formats import euros, long_date, of, period_words


def statement_pdf(statement: Statement) -> bytes:
    """The PDF/UA-1 of a statement; made anew each time, a cancelled or paid one says so."""
    rows = [
        [
            " – ".join(part for part in (line["service"], line["activity"], line["detail"]) if part),
            str(line["sold"]),
            euros(line["gross"]),
            str(line["returned"]),
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
        title=_("Relevé de reversement annulé") if statement.cancelled_at else _("Relevé de reversement"),
        subtitle=f"{statement.holder}, {period_words(statement.period)}",
        address="–",
        blocks=[
            *_ended(statement),
            facts(
                [
                    # The period stands under the title; why it is cancelled, in the frame above.
                    *([] if statement.cancelled_at else [(_("État"), statement.state_words)]),
                    (_("Recettes"), euros(statement.gross)),
                    (_("Annulations et remboursements"), euros(statement.cancelled)),
                    (_("Remises à la charge de la commune"), euros(statement.vouchers)),
                    (_("Part des commissions bancaires"), euros(statement.fees)),
                ]
            ),
            _net(statement),
            table(
                _("Par service et par activité"),
                [_("Activité"), _("Vendues"), _("Recettes"), _("Rendues"), _("Annulations"), _("Reste")],
                rows or [[_("Aucune vente"), "", "", "", "", ""]],
                [
                    _("Ensemble"),
                    str(statement.sold),
                    euros(statement.gross),
                    str(statement.returned),
                    euros(statement.cancelled),
                    euros(statement.earned),
                ],
                numbers=5,
            ),
        ],
    )
    regie = Regie.objects.current()
    data: dict[str, Any] = printed(content, regie, statement.number, statement.issued_at)
    # A régie that nobody has described yet is made of defaults that are translated when they are read.
    data["issuer"] = {name: row if isinstance(row, list) else str(row) for name, row in data["issuer"].items()}
    data["issuer"]["legal"] = ""  # why no VAT is asked of families: nothing is sold here
    data["recipient"] = _recipient(statement, regie)
    return print_paper(data, timezone.now())


def _ended(statement: Statement) -> list[Block]:
    """Said before any figure: that a cancelled statement is worth nothing any more, since when, and why."""
    if statement.cancelled_at is None:
        return []
    words = {"date": long_date(timezone.localdate(statement.cancelled_at)), "reason": statement.reason}
    return [
        notice(
            _("Relevé annulé le %(date)s\u00a0: %(reason)s") % words,
            _("Rien n’est à virer sur ce relevé\u00a0: sa période est de nouveau due."),
        )
    ]


def _net(statement: Statement) -> Block:
    """The amount that the reader looks for; of a cancelled statement it is a fact like another."""
    if statement.cancelled_at:
        return facts([(statement.net_words, euros(statement.net))])
    return total(statement.net_words, statement.net)


def _recipient(statement: Statement, regie: Regie) -> list[str]:
    """Whom it is for, as a letter is addressed; a town hall is found by its town and post code."""
    if statement.commune is None:
        return [str(regie.authority), *regie.address.splitlines()]
    name = statement.commune.name
    return [_("Mairie %s") % of(name), f"{statement.commune.postal_code} {name.upper()}"]
