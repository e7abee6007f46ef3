"""What is printed on a paper, as blocks of ready French text: the same for the PDF, for the preview on a page and for ever.

Figures come in as Decimals and leave as text here; the paper's own `amount` keeps the one that counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Address, User
from checkout.models import Payment
from checkout.papers.models import Document, Kind, Regie
from portal.common.formats import NBSP, euros, long_date

Block = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """A paper before it has a number: for whom, what it says, the amount (euros) that it states."""

    kind: Kind
    user: User
    subject: str
    amount: Decimal
    title: str
    subtitle: str = ""
    blocks: Sequence[Block] = ()
    address: str = ""
    links: dict[str, Any] = field(default_factory=dict)  # order, movement, first_day, last_day, cancels, reason
    seen: dict[str, Any] = field(
        default_factory=dict
    )  # not printed: what its figures know of, kept to compare with later


def facts(rows: Iterable[tuple[str, str]], title: str = "") -> Block:
    """Lines of « label : value »; those without a value are left out."""
    return {"kind": "facts", "title": title, "rows": [list(row) for row in rows if row[1]]}


def text(words: str, title: str = "") -> Block:
    """Paragraphs."""
    return {"kind": "text", "title": title, "text": words}


def total(label: str, amount: Decimal) -> Block:
    """The amount that the reader looks for."""
    return {"kind": "total", "title": "", "label": label, "value": euros(amount)}


def notice(title: str, words: str) -> Block:
    """What whoever holds the paper must not miss, framed: that it is worth nothing any more, and what is instead."""
    return {"kind": "notice", "title": "", "heading": title, "text": words}


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    sums: Sequence[str] = (),
    *,
    numbers: int = 1,
    narrow: int = 0,
) -> Block:
    """A table whose last `numbers` columns are figures and whose first `narrow` ones short words; `sums` is its last line."""
    return {
        "kind": "table",
        "title": title,
        "columns": list(columns),
        "numbers": list(range(len(columns) - numbers, len(columns))),
        "narrow": narrow,
        "rows": [list(row) for row in rows],
        "total": list(sums),
    }


def printed(content: Content, regie: Regie, number: str, issued_at: Any) -> dict[str, Any]:
    """All that stands on the paper."""
    return {
        "title": content.title,
        "subtitle": content.subtitle,
        "reference": number,
        "issued": _("du %s") % long_date(timezone.localdate(issued_at)),
        "issuer": {
            "authority": regie.authority,
            "name": regie.name,
            "address": regie.address.splitlines(),
            "siret": " ".join((regie.siret[:3], regie.siret[3:6], regie.siret[6:9], regie.siret[9:])).strip(),
            "officer": regie.officer,
            "legal": regie.legal,
        },
        "recipient": recipient(content.user, content.address),
        "blocks": list(content.blocks),
        **content.seen,
    }


def sums(blocks: Iterable[Block]) -> list[str]:
    """The figures in the last lines of the tables, in their order, without what stands around them: `31,60`."""
    return [
        "".join(sign for sign in block["total"][column] if sign.isdigit() or sign in ",-−")
        for block in blocks
        if block["kind"] == "table" and block["total"]
        for column in block["numbers"]
        if block["total"][column]
    ]


def recipient(user: User, address: str = "") -> list[str]:
    """Name and address, line by line: the one given (an order's), or else the person's main one."""
    lines = [" ".join(part for part in (user.get_title_display() if user.title else "", str(user)) if part)]
    if user.company:
        lines.append(user.company)
    if not address:
        main = Address.objects.of(user).first()
        address = str(main) if main else ""
    return lines + [part for part in address.split(", ") if part]


def means(payment: Payment) -> str:
    """How a part of an order was paid, as its payer calls it; at a counter with the number of the receipt given there."""
    if payment.provider in Payment.COUNTER and payment.provider_reference:
        return _("%(means)s, quittance n° %(number)s") % {
            "means": payment.means_name,
            "number": payment.provider_reference,
        }
    return payment.means_name


def price_times(count: int, price: Decimal) -> str:
    """`4 × 7,90 €`."""
    return f"{count}{NBSP}×{NBSP}{euros(price)}"


def cancellation(document: Document, reason: str) -> Content:
    """The paper that ends another one."""
    of = document.data
    return Content(
        kind=Kind.CANCELLATION,
        user=document.user,
        subject=f"document:{document.pk}",
        amount=-document.amount,
        title=_("Annulation d’une pièce"),
        subtitle=_("%(title)s n° %(number)s") % {"title": of["title"], "number": document.reference},
        blocks=[
            text(
                _(
                    "La pièce désignée ci-dessous est annulée et ne doit plus être produite. Aucune somme ne change de mains."
                )
            ),
            facts(
                [
                    (_("Pièce annulée"), f"{of['title']} {document.reference}"),
                    (_("Éditée le"), long_date(timezone.localdate(document.issued_at))),
                    (_("Montant de la pièce annulée"), euros(document.amount)),
                    (_("Motif"), reason),
                ]
            ),
        ],
        address=", ".join(of["recipient"][1:]),
        links={"cancels": document, "reason": reason},
    )
