"""Reading the file of what a provider paid over, matching it line by line, and posting what matches."""

import csv
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import Payment, Refund
from checkout.providers import provider_name
from checkout.regie.models import Commissions, Settlement, SettlementNote, is_unusual_fee
from portal.common.db import one_at_a_time, refusing
from portal.common.errors import Refused, within
from portal.common.formats import sort_key
from portal.common.money import ZERO, read_amount
from wallet import actions as ledger
from wallet.models import Movement

# The session carries the file from its preview to its import.
MOST_BYTES = 1_500_000
MOST_LINES = 5_000

# What each provider calls its columns, in its own export; the names are compared without accents and case. Of a line's
# references the first that is known here counts. Stripe's reports name its own objects (`source_id`: a refund is known by
# it, a charge is not), and what we wrote on the payment when « reference » is among the columns of metadata asked for.
REFERENCE, GROSS, FEE, NET = "reference", "gross", "fee", "net"
RETURNED = ":returned"
# What a line that agrees is about.
PAYMENT, REFUND, RETURN = "payment", "refund", "return"
COLUMNS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "stripe": {
        REFERENCE: ("client_reference_id", "payment_metadata[reference]", "reference (metadata)", "source_id"),
        GROSS: ("gross", "amount"),
        FEE: ("fee",),
        NET: ("net",),
    },
    "paybox": {REFERENCE: ("reference", "reference commande", "ref cmd"), GROSS: ("montant",), FEE: ("commission",)},
    "payfip": {REFERENCE: ("refdet", "reference de la dette"), GROSS: ("montant",), FEE: ("commission",)},
}
ANY: Mapping[str, Sequence[str]] = {
    REFERENCE: ("reference", "reference commande", "id", "numero"),
    GROSS: ("montant brut", "brut", "montant", "gross", "amount"),
    FEE: ("commission", "frais", "fee"),
    NET: ("net", "montant net"),
}
# A minus before a fee is what was given back for some, and how a deduction is written for others. Where the file has a net,
# gross less fee is that net, and it tells which; without one, the minus of a refund's fee is believed of these providers
# only, and every other fee was taken. A charge never brings more than its gross, whoever writes it.
SIGNED = {"stripe"}


@dataclass
class Line:
    """One line of the file and what it was matched to; `problem` says why it is not posted."""

    number: int
    reference: str
    gross: Decimal
    fee: Decimal  # below zero: given back
    references: Sequence[str] = ()
    payment: Payment | None = None
    refund: Refund | None = None
    is_return: bool = False  # of the refund, whose card has sent it back
    problem: str = ""
    written: str = ""  # an amount that nobody can read, in the file's own words

    @property
    def net(self) -> Decimal:
        return self.gross - self.fee

    @property
    def shown(self) -> dict[str, object]:
        """What a line that agrees says, and of which règlement."""
        assert self.payment is not None
        nature = RETURN if self.is_return else REFUND if self.refund else PAYMENT
        return {
            "line": self.number,
            "reference": self.reference,
            "order": self.payment.order.number,
            "payment": self.payment.pk,
            "nature": nature,
            "gross": self.gross,
            "fee": self.fee,
        }

    @property
    def named(self) -> dict[str, object]:
        """The règlement that a line names, and what it brought here or its refund gave back, in euros, if either is known."""
        if self.payment is None:
            return {}
        named: dict[str, object] = {"order": self.payment.order.number, "payment": self.payment.pk}
        if self.refund is not None:
            named["ours"] = self.refund.amount if self.is_return else -self.refund.amount
        elif self.gross > 0:
            named["ours"] = self.payment.amount
        return named


@dataclass
class Reading:
    """A file as it was understood."""

    sha256: str
    lines: list[Line] = field(default_factory=list)

    @property
    def good(self) -> list[Line]:
        return [line for line in self.lines if not line.problem]

    @property
    def wrong(self) -> list[Line]:
        return [line for line in self.lines if line.problem]

    @property
    def shown_right(self) -> list[dict[str, object]]:
        """The lines that will be posted, as a settlement keeps them."""
        return [line.shown for line in self.good]

    @property
    def shown_unusual(self) -> list[dict[str, object]]:
        """Those of them whose commission is to be looked at."""
        return [line.shown for line in self.good if is_unusual_fee(line.gross, line.fee)]

    @property
    def unusual(self) -> Commissions:
        """What is to be accepted before any line of the file is posted."""
        return Commissions.of(self.shown_unusual)

    @property
    def shown_wrong(self) -> list[dict[str, object]]:
        """The lines that will not be posted, as a settlement keeps them: with the règlement that they name, where we know it."""
        return [
            {
                "line": line.number,
                "reference": line.reference,
                "amount": line.gross,
                "written": line.written,
                "problem": line.problem,
                **line.named,
            }
            for line in self.wrong
        ]

    @property
    def gross(self) -> Decimal:
        return sum((line.gross for line in self.good), ZERO)

    @property
    def fees(self) -> Decimal:
        return sum((line.fee for line in self.good), ZERO)

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees


def read(*, provider: str, content: bytes) -> Reading:
    """Read and match a provider's file; nothing is written. Five statements, however many lines.

    Refunds are lines below zero; one that its card has sent back is a second line, above. Raises Refused for a file that
    is empty, too large, no text, without the columns that are needed, or imported before.
    """
    if not content.strip():
        raise Refused(_("Ce fichier est vide\u00a0: exportez-le de nouveau. Rien n’a été importé."), code="empty")
    if len(content) > MOST_BYTES:
        raise Refused(_("Ce fichier dépasse 1,5 Mo\u00a0: coupez-le. Rien n’a été importé."), code="too_large")
    digest = hashlib.sha256(content).hexdigest()
    if Settlement.objects.filter(provider=provider, sha256=digest).exists():
        raise Refused(_("Ce fichier a déjà été importé. Rien n’a été changé."), code="imported_before")
    reading = Reading(digest, _lines(provider, _text(content)))
    if not reading.lines:
        raise Refused(_("Ce fichier ne contient aucune ligne sous ses titres. Rien n’a été importé."), code="empty")
    _match(provider, reading.lines)
    return reading


@transaction.atomic
def post(*, provider: str, name: str, content: bytes, by: User, accepted: Commissions | None = None) -> Settlement:
    """Import a file and post each line that matches: from the provider to the bank, its fee apart.

    A line is posted once, whatever file it comes in. A file of which no line matches is kept too, and posts nothing: its
    differences wait to be explained. `accepted` are the unusual commissions that `by` has seen and answers for. Raises
    Refused as `read` does, and for commissions that are unusual and not, or no longer, the accepted ones.
    """
    one_at_a_time(f"settlement:{provider}")  # a line of two files at once is posted of one, and told of the other
    reading = read(provider=provider, content=content)
    unusual = reading.unusual
    if unusual and accepted != unusual:
        raise Refused(
            _(
                "Des commissions sont à regarder\u00a0: %s. Cochez que vous les acceptez, ou corrigez le fichier. Rien n’a été importé."
            )
            % unusual.words,
            code="commissions_to_accept",
        )
    with refusing({"file_imported_once": _("Ce fichier a déjà été importé. Rien n’a été changé.")}):
        row = Settlement.objects.create(
            provider=provider,
            name=name[:120],
            sha256=reading.sha256,
            gross=reading.gross,
            fees=reading.fees,
            lines=len(reading.lines),
            differences=_kept(reading.shown_wrong),
            matched=_kept(reading.shown_right),
            accepted_lines=unusual.lines,
            accepted_fees=unusual.fees,
            accepted_gross=unusual.gross,
            accepted_by=by if unusual else None,
            imported_by=by,
        )
    for line in reading.good:
        ledger.post(
            kind=Movement.Kind.SETTLEMENT,
            key=_key(provider, line),
            label=_("Versement %(provider)s, %(reference)s")
            % {"provider": provider_name(provider), "reference": line.reference},
            amounts={
                ledger.clearing_code(provider): line.gross,
                ledger.BANK: -line.net,
                ledger.BANK_FEES: -line.fee,
            },
            by=by,
        )
    return row


def _kept(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Rows as JSON holds them: amounts as texts."""
    return [{key: str(value) if isinstance(value, Decimal) else value for key, value in row.items()} for row in rows]


@transaction.atomic
def explain(*, settlement: Settlement, words: str, by: User) -> None:
    """Say what the lines that did not agree were about; they are no open difference any more.

    Raises Refused without words or with too many, when every line agreed, and when it was said before.
    """
    words = within(words, 300)
    if not words:
        raise Refused(_("Écrivez d’où viennent les écarts. Rien n’a été changé."), code="reason_missing")
    row = _locked(settlement)
    if not row.differences:
        raise Refused(_("Toutes les lignes concordent\u00a0: il n’y a rien à expliquer."), code="no_difference")
    if row.explained_at:
        raise Refused(
            _("Ces écarts sont déjà expliqués\u00a0: lisez ce qui en est dit, et complétez-le. Rien n’a été changé."),
            code="explained",
        )
    row.explained_at, row.explained_by, row.explanation = timezone.now(), by, words
    row.save(update_fields=["explained_at", "explained_by", "explanation"])


@transaction.atomic
def complete(*, settlement: Settlement, words: str, by: User) -> None:
    """Add to an explanation; what was said before stays as it was.

    Raises Refused without words or with too many, before there is an explanation, and for what it says already (the second of two clicks).
    """
    words = within(words, 300)
    if not words:
        raise Refused(_("Écrivez ce que vous ajoutez à l’explication. Rien n’a été changé."), code="reason_missing")
    row = _locked(settlement)
    if not row.explained_at:
        raise Refused(
            _("Personne n’a encore expliqué ces écarts\u00a0: expliquez-les d’abord. Rien n’a été changé."),
            code="not_explained",
        )
    if words == row.explanation or row.notes.filter(words=words).exists():
        raise Refused(_("L’explication le dit déjà. Rien n’a été changé."), code="said_before")
    SettlementNote.objects.create(settlement=row, words=words, by=by)


def _locked(settlement: Settlement) -> Settlement:
    return Settlement.objects.select_for_update().defer("matched").get(pk=settlement.pk)


def _key(provider: str, line: Line) -> str:
    if line.refund is not None:
        return _refund_key(provider, line.refund) + (RETURNED if line.is_return else "")
    assert line.payment is not None
    return f"settlement:{provider}:{line.payment.reference}"


def _refund_key(provider: str, refund: Refund) -> str:
    return f"settlement:{provider}:refund:{refund.pk}"


def _posted(keys: Collection[str]) -> set[str]:
    return set(Movement.objects.filter(key__in=keys).values_list("key", flat=True))


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise Refused(_("Ce fichier n’est pas un CSV\u00a0: exportez-le en CSV. Rien n’a été importé."), code="not_text")


def _lines(provider: str, text: str) -> list[Line]:
    first = text.partition("\n")[0]
    delimiter = max(";,\t", key=first.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        heads = [sort_key(head.replace("_", " ")) for head in next(rows, [])]
        places = _places(provider, heads)
        width = max(place for place, head in enumerate(heads, start=1) if head)
        found: list[Line] = []
        for number, row in enumerate(rows, start=2):
            if not any(cell.strip() for cell in row):
                continue
            if len(found) == MOST_LINES:
                raise Refused(
                    _("Ce fichier a plus de 5\u202f000 lignes\u00a0: coupez-le. Rien n’a été importé."), code="too_long"
                )
            found.append(_line(provider, number, row, places, width))
    except csv.Error:
        raise Refused(_("Ce fichier n’est pas un CSV lisible. Rien n’a été importé."), code="not_text") from None
    return found


def _line(provider: str, number: int, row: Sequence[str], places: Mapping[str, Sequence[int]], width: int) -> Line:
    """What a row says. One that is shorter than its titles was cut somewhere: what is missing is not read as zero."""
    cells = {
        name: [row[place].strip() for place in columns if place < len(row) and row[place].strip()]
        for name, columns in places.items()
    }
    of_gross, of_fee, of_net = ((cells[name] or [""])[0] for name in (GROSS, FEE, NET))
    gross, fee, net = read_amount(of_gross), read_amount(of_fee or "0"), read_amount(of_net)
    references = [cell[:80] for cell in cells[REFERENCE]]
    line = Line(number, (references or [""])[0], gross or ZERO, abs(fee or ZERO), references)
    line.written = "" if gross else of_gross[:40]
    if len(row) < width:
        line.problem = _("ligne coupée\u00a0: elle a moins de cellules que de titres")
    elif any(cell.strip() for cell in row[width:]):
        line.problem = _("ligne décalée\u00a0: elle a plus de cellules que de titres")
    elif not gross:
        line.problem = _("montant illisible")
    elif fee is None:
        line.problem = _("commission illisible\u00a0: «\u00a0%s\u00a0»") % of_fee[:40]
    elif not places[NET]:
        line.fee = _fees(provider, gross, fee)[0]
    elif net is None:
        line.problem = _("net illisible\u00a0: «\u00a0%s\u00a0»") % of_net[:40]
    elif gross - net not in _fees(provider, gross, fee):
        line.problem = _("brut et commission ne donnent pas le net\u00a0: «\u00a0%s\u00a0»") % of_net[:40]
    else:
        line.fee = gross - net
    return line


def _fees(provider: str, gross: Decimal, written: Decimal) -> list[Decimal]:
    """What a provider may mean that it keeps of a line (below zero: gives back), in euros, the likeliest first.

    Some write a fee as what is taken off, some as a debit. Of a payment something is kept; of what is paid back it may be
    either, which the net tells. SIGNED ones mean there what they write; of what came back to them, where the net says so.
    """
    if provider in SIGNED:
        return [abs(written), written] if gross > 0 else [written]
    return [abs(written)] if gross > 0 else [abs(written), -abs(written)]


def _places(provider: str, heads: Sequence[str]) -> dict[str, list[int]]:
    """Where the columns of each meaning stand, the one to be believed first before the others."""
    places: dict[str, list[int]] = {}
    for name in (REFERENCE, GROSS, FEE, NET):
        wanted = (*COLUMNS.get(provider, {}).get(name, ()), *ANY[name])
        keys = dict.fromkeys(sort_key(head.replace("_", " ")) for head in wanted)
        places[name] = [heads.index(key) for key in keys if key in heads]
    if not places[REFERENCE] or not places[GROSS]:
        raise Refused(
            _(
                "Il manque une colonne\u00a0: la première ligne nomme « référence » et « montant ». Rien n’a été importé."
            ),
            code="columns_missing",
        )
    return places


def _match(provider: str, lines: Sequence[Line]) -> None:
    """Find what each line is about by our reference or the provider's own, and say what does not agree."""
    wanted = {reference for line in lines for reference in line.references}
    known = Q(reference__in=wanted) | Q(provider_reference__in=wanted)
    named = Refund.objects.filter(known, payment__provider=provider).select_related("payment__order")
    by_refund = {key: row for row in named for key in (row.provider_reference, row.reference) if key}
    payments: dict[str, Payment] = {key: row.payment for key, row in by_refund.items()}
    rows = list(Payment.objects.filter(known, provider=provider).select_related("order"))
    for payment in rows:
        payments[payment.reference] = payments[payment.provider_reference or payment.reference] = payment
    own = {key for payment in rows for key in (payment.reference, payment.provider_reference)}
    refunds: dict[int, list[Refund]] = {}
    of_these = {payment.pk for payment in payments.values()}
    # One that came back after it was done has left the provider too: its line is posted, and the one that brings it back.
    done = Q(status=Refund.Status.DONE) | (Q(status=Refund.Status.FAILED) & ~Q(provider_reference=""))
    gone = list(Refund.objects.filter(done, payment__in=of_these).order_by("pk"))
    posted = _posted({_refund_key(provider, refund) for refund in gone})
    # Of two refunds of one amount, a line means the one that no file has paid over yet.
    for refund in sorted(gone, key=lambda row: _refund_key(provider, row) in posted):
        refunds.setdefault(refund.payment_id, []).append(refund)
    for line in lines:
        first = next((key for key in line.references if key in payments), None)
        if line.problem:  # not believed, but what it names is told all the same
            line.payment = payments[first] if first else None
            continue
        # Stripe names our payment on each line about it: whatever names a refund above zero is that refund's return.
        back = next((by_refund[key] for key in line.references if key in by_refund and key not in own), None)
        line.payment = payments[first] if first else None
        if line.payment is None or first is None:
            line.problem = _("référence inconnue")
        elif line.gross < 0:
            theirs = refunds.get(line.payment.pk, [])
            meant = {by_refund[key] for key in line.references if key in by_refund}
            equal = [row for row in theirs if row.amount == -line.gross]
            line.refund = next(
                (row for row in equal if row in meant or (not meant and row.status == Refund.Status.DONE)), None
            )
            if line.refund is None:
                line.problem = _("aucun remboursement de ce montant")
            else:
                theirs.remove(line.refund)
        elif back:
            line.refund, line.is_return = back, True
            if line.refund.amount != line.gross:
                line.problem = _("montant différent du nôtre")
            elif line.refund.status != Refund.Status.FAILED:
                line.problem = _("remboursement qui n’est pas revenu chez nous")
        elif line.payment.status not in (Payment.Status.CAPTURED, Payment.Status.CREDITED):
            line.problem = _("règlement non encaissé chez nous")
        elif line.payment.amount != line.gross:
            line.problem = _("montant différent du nôtre")
        elif line.fee < 0:
            line.problem = _("net plus élevé que le brut")
    _seen_before(provider, lines)


def _seen_before(provider: str, lines: Sequence[Line]) -> None:
    keys = {_key(provider, line) for line in lines if not line.problem}
    here: set[str] = set()
    posted = _posted({*keys, *(key.removesuffix(RETURNED) for key in keys)})
    for line in lines:
        if line.problem:
            continue
        key = _key(provider, line)
        if key in posted:
            line.problem = _("déjà versé")
        elif key in here:
            line.problem = _("en double dans ce fichier")
        elif line.is_return and key.removesuffix(RETURNED) not in keys | posted:
            line.problem = _("retour d’un remboursement qui n’a pas été déduit")
        here.add(key)
