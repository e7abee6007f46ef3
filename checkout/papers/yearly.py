"""The yearly papers: what was paid in a year, and what of it is childcare in the sense of the tax law.

The tax certificate follows article 200 quater B of the Code général des impôts and its official commentary
(BOI-IR-RICI-300): children under six on 1 January of the year; care outside the home alone, without meals nor exceptional
supplements; sums really borne, so less what was given back; settled for good for care that was given: what is paid ahead
counts in the year in which the care takes place, what is paid late in the year of its payment.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from checkout.counter.models import Means
from checkout.models import PAID, DeclarationCorrection, Order, OrderLine, Payment
from checkout.papers.actions import cancel, issue, live
from checkout.papers.content import Block, Content, facts, sums, table, text, total
from checkout.papers.invoices import moments, subject_of
from checkout.papers.models import Document, Kind
from families.models import Beneficiary
from portal.common.db import one_at_a_time
from portal.common.errors import Refused
from portal.common.formats import euros, long_date, of, short_date, today
from portal.common.money import ZERO, round_cents
from services.models import Slot
from services.models.catalogue import AGGLOMERATION

UNDER = 6  # years old on 1 January
UNDECLARED = gettext_lazy("nature non déclarée : non comptée")


def period(year: int) -> tuple[dt.date, dt.date]:
    """The year's days so far: until today for the one that runs."""
    return dt.date(year, 1, 1), min(dt.date(year, 12, 31), today())


def years_of(user: User) -> list[int]:
    """The years in which the person paid something, newest first."""
    paid = Order.objects.of(user).filter(status=Order.Status.PAID)
    return [moment.year for moment in paid.datetimes("paid_at", "year", order="DESC")]


# --- What was paid -----------------------------------------------------------------------------------------------------


@dataclass
class Paid:
    """What one person paid for one beneficiary at one service, in euros."""

    service: str
    name: str
    paid: Decimal = ZERO
    back: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        return self.paid - self.back


def paid_in(user: User, first: dt.date, last: dt.date) -> list[Paid]:
    """Orders paid in these days, less what was given back in them, by service and beneficiary.

    Deposits are not counted: their money is when it pays something.
    """
    start, end = moments(first, last)
    rows: dict[tuple[str, str], Paid] = {}
    sold = OrderLine.objects.filter(
        order__user=user, order__status=Order.Status.PAID, kind__in=[OrderLine.Kind.BOOKING, OrderLine.Kind.TICKET]
    ).exclude(cancelled_at=F("order__paid_at"))  # gone before it was paid: neither paid nor given back
    for name, found in (
        ("paid", sold.filter(order__paid_at__gte=start, order__paid_at__lt=end)),
        ("back", sold.filter(refund__isnull=False, cancelled_at__gte=start, cancelled_at__lt=end)),
    ):
        for service, who, amount in (
            found.values(where=SERVICE, who=F("beneficiary_name"))
            .annotate(sum=Sum(PAID))
            .values_list("where", "who", "sum")
        ):
            row = rows.setdefault((service or "", who), Paid(service or str(AGGLOMERATION), who))
            setattr(row, name, amount)
    return [rows[key] for key in sorted(rows)]


SERVICE = Coalesce("booking__open_day__activity__service__name", "ticket__activity__service__name")


def payments_certificate(user: User, year: int, last: dt.date | None = None) -> Content:
    """« Attestation de règlements » of a year, or of its days so far, or until the day `last`.

    It is of the year (« Année 2026 ») once that is over: until midnight of its last day there may be more to pay.
    """
    first, so_far = period(year)
    last = last or so_far
    rows = paid_in(user, first, last)
    amount = sum((row.net for row in rows), ZERO)
    return Content(
        kind=Kind.PAYMENTS,
        user=user,
        subject=subject_of(first, last),
        amount=amount,
        title=_("Attestation de règlements"),
        subtitle=_("Année %d") % year if last == dt.date(year, 12, 31) < today() else _since(first, last),
        blocks=[
            text(
                _(
                    "La régie atteste avoir encaissé %(of_name)s, du %(first)s au %(last)s, les sommes suivantes, porte-monnaie "
                    "compris, déduction faite de ce qui a été rendu."
                )
                % {"of_name": of(str(user)), "first": short_date(first), "last": short_date(last)}
            ),
            table(
                _("Sommes réglées par service"),
                [_("Service"), _("Pour"), _("Réglé"), _("Rendu"), _("Net")],
                [(row.service, row.name, euros(row.paid), euros(row.back), euros(row.net)) for row in rows],
                [
                    _("Total"),
                    "",
                    euros(sum((row.paid for row in rows), ZERO)),
                    euros(sum((row.back for row in rows), ZERO)),
                    euros(amount),
                ],
                numbers=3,
            ),
            total(_("Total réglé"), amount),
            text(_("Les dépôts sur le porte-monnaie ne sont comptés que lorsqu’ils paient une prestation.")),
        ],
        links={"first_day": first, "last_day": last},
    )


def _since(first: dt.date, last: dt.date) -> str:
    return _("Du %(first)s au %(last)s") % {"first": short_date(first), "last": short_date(last)}


# --- Childcare ---------------------------------------------------------------------------------------------------------


@dataclass
class Care:
    """What was paid for one child's dates of one way to attend, in euros, and what of it is care."""

    child: Beneficiary
    service: str
    provider: str
    what: str
    nature: str
    dates: int = 0
    paid: Decimal = ZERO
    meals: Decimal = ZERO
    extras: Decimal = ZERO

    @property
    def care(self) -> Decimal:
        counted = self.nature in (Slot.Nature.CARE, Slot.Nature.BOTH)
        return self.paid - self.meals - self.extras if counted else ZERO


def childcare_of(user: User, year: int) -> list[Care]:
    """The care of a year of this person's payments, by child and way to attend.

    For the children under six on 1 January, whose date of birth is known; dates that were cancelled are left out. The
    meal's part is what the commune declared of the slot when it was ordered (or set right since), at most the price; where
    she had declared nothing yet, what she says today. A late booking's surcharge is a supplement. What vouchers took off
    was not borne by the family: each part is less in proportion.
    """
    rows = (
        _lines_of_care(user, year)
        .values(
            "label",
            "detail",
            "unit_price",
            "surcharge",
            "discount",
            child=F("booking__beneficiary"),
            declared=Case(When(nature="", then=F("booking__slot__nature")), default=F("nature")),
            meal=Case(When(nature="", then=F("booking__slot__meal_price")), default=F("meal_price")),
            service=F("booking__open_day__activity__service__name"),
            commune_name=F("commune__name"),
            postal_code=F("commune__postal_code"),
            address=F("booking__open_day__activity__service__address"),
        )
        .annotate(count=Count("pk"))
        .order_by("child", "service", "label", "detail")
    )
    children = {child.pk: child for child in Beneficiary.objects.filter(pk__in={row["child"] for row in rows})}
    found: dict[tuple[object, ...], Care] = {}
    for row in rows:
        child = children[row["child"]]
        what = ", ".join(part for part in (row["label"], row["detail"]) if part)
        nature = row["declared"]
        key = (child.birth_date, child.first_name, child.pk, row["service"], what, nature)
        care = found.setdefault(key, Care(child, row["service"], _provider(row), what, nature))
        times = row["count"]
        care.dates += times
        price, discount = row["unit_price"], row["discount"]
        borne = (price - discount) / price if discount else Decimal(1)  # the family's part of each euro
        extras = round_cents(row["surcharge"] * borne)
        care.paid += times * (price - discount)
        care.extras += times * extras
        if nature == Slot.Nature.BOTH:
            care.meals += times * min(round_cents(row["meal"] * borne), price - discount - extras)
        elif nature == Slot.Nature.MEAL:
            care.meals += times * (price - discount - extras)
    return [found[key] for key in sorted(found, key=str)]


def _lines_of_care(user: User, year: int) -> QuerySet[OrderLine]:
    january = dt.date(year, 1, 1)
    start, end = moments(january, dt.date(year, 12, 31))
    given = Q(date__year=year, order__paid_at__lt=end) | Q(date__lt=january, order__paid_at__gte=start)
    return (
        OrderLine.objects.filter(given & Q(order__paid_at__lt=end), order__user=user, order__status=Order.Status.PAID)
        .filter(kind=OrderLine.Kind.BOOKING, cancelled_at=None, date__lte=today())
        .filter(booking__beneficiary__birth_date__gt=dt.date(year - UNDER, 1, 1))
    )


def _provider(row: Mapping[str, str]) -> str:
    """Who gave the care, and where: the tax office asks for its name and address."""
    name = _("Mairie %s") % of(row["commune_name"]) if row["commune_name"] else str(AGGLOMERATION)
    where = row["address"] or " ".join(part for part in (row["postal_code"], row["commune_name"]) if part)
    return f"{name}, {where}" if where else name


def childcare_certificate(user: User, year: int) -> Content:
    """« Attestation fiscale » of a year: the amount for each child, how it is found, who gave the care."""
    corrections = corrections_of(user, year)  # before the figures: what they know of more is no harm
    rows = childcare_of(user, year)
    by_child: dict[Beneficiary, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        by_child[row.child] += row.care
    amount = sum(by_child.values(), ZERO)
    by_voucher = cesu_of(user, year)
    counted = [row for row in rows if row.nature in (Slot.Nature.CARE, Slot.Nature.BOTH)]
    blocks = [
        text(
            _(
                "La régie atteste avoir encaissé %(of_name)s, au titre de l’année %(year)d, les sommes suivantes pour la garde de ses "
                "enfants âgés de moins de six ans au 1er janvier %(year)d, porte-monnaie compris, déduction faite de ce qui a été rendu."
            )
            % {"of_name": of(str(user)), "year": year}
        ),
        table(
            _("Frais de garde par enfant"),
            [_("Enfant"), _("Date de naissance"), _("Frais de garde")],
            [(str(child), _born(child), euros(sum_of)) for child, sum_of in by_child.items()],
            [_("Total"), "", euros(amount)],
        ),
        total(_("Frais de garde, sans repas ni suppléments"), amount),
        facts([(_("Dont réglé par CESU"), euros(by_voucher) if by_voucher else "")]),
        table(
            _("Comment ces sommes sont calculées"),
            [_("Enfant"), _("Prestation"), _("Jours"), _("Payé"), _("Repas"), _("Suppléments"), _("Garde")],
            [
                (
                    row.child.first_name,
                    f"{row.service}\n{row.what}" + ("" if row.nature else f"\n{UNDECLARED}"),
                    str(row.dates),
                    euros(row.paid),
                    euros(row.meals),
                    euros(row.extras),
                    euros(row.care),
                )
                for row in rows
            ],
            [_("Total"), "", "", *_sums(rows)],
            numbers=5,
            narrow=1,
        ),
        table(
            _("Qui a assuré la garde"),
            [_("Service"), _("Prestataire")],
            dict.fromkeys((row.service, row.provider) for row in counted),
            numbers=0,
        ),
        text(
            _(
                "Article 200 quater B du code général des impôts : seules comptent les sommes définitivement réglées pour une garde qui a eu "
                "lieu ; ce qui est payé d’avance compte l’année de la garde. Les repas (part déclarée par la commune dans le prix) et les "
                "suppléments pour réservation tardive n’y entrent pas."
            )
            + "\n"
            + (
                _("La part d’un CESU qu’un employeur a prise en charge est à déduire par vos soins.")
                if by_voucher
                else _("Aucune de ces sommes n’a été réglée par CESU.")
            )
        ),
    ]
    return Content(
        kind=Kind.CHILDCARE,
        user=user,
        subject=subject_of(dt.date(year, 1, 1), dt.date(year, 12, 31)),
        amount=amount,
        title=_("Attestation fiscale de frais de garde"),
        subtitle=_("Année %d") % year,
        blocks=blocks,
        links={"first_day": dt.date(year, 1, 1), "last_day": dt.date(year, 12, 31)},
        seen={"corrections": corrections},
    )


def _born(child: Beneficiary) -> str:
    return short_date(child.birth_date) if child.birth_date else ""


def _sums(rows: Iterable[Care]) -> Sequence[str]:
    found = list(rows)
    return [euros(sum((getattr(row, name) for row in found), ZERO)) for name in ("paid", "meals", "extras", "care")]


def cesu_of(user: User, year: int) -> Decimal:
    """How many euros of CESU the person brought to the counter in the year, for an order or into the wallet."""
    start, end = moments(dt.date(year, 1, 1), dt.date(year, 12, 31))
    brought = Payment.objects.filter(
        order__user=user,
        provider=Means.CESU,
        status=Payment.Status.CAPTURED,
        ended_at__gte=start,
        ended_at__lt=end,
    )
    return brought.aggregate(sum=Sum("amount"))["sum"] or ZERO


# --- Issuing -----------------------------------------------------------------------------------------------------------


def certificate(kind: Kind, user: User, year: int) -> Content:
    """What the certificate of a year would say if it were issued now."""
    return (childcare_certificate if kind == Kind.CHILDCARE else payments_certificate)(user, year)


def obstacle(content: Content) -> str:
    """Why this certificate is not to be issued, in a sentence; an empty text when nothing stands against it."""
    if not content.amount and content.kind == Kind.CHILDCARE:
        return _(
            "Il n’y a rien à attester pour cette année : aucune garde d’un enfant de moins de six ans n’y a eu lieu. Ce qui est réservé "
            "pour plus tard comptera l’année de la garde."
        )
    if not content.amount:
        return _("Il n’y a rien à attester pour cette année : aucune prestation n’a été réglée.")
    if content.kind == Kind.CHILDCARE and content.links["last_day"] >= today():
        opens = long_date(content.links["last_day"] + dt.timedelta(days=1))
        return (
            _("L’année n’est pas finie : cette attestation sera éditée à partir du %s. Ces chiffres sont provisoires.")
            % opens
        )
    return ""


def lock_year(kind: str, user: int, year: int) -> None:
    """Wait until nobody else issues this person's certificate of this year; before any lock of a paper."""
    one_at_a_time(f"certificate:{kind}:{user}:{year}")


@transaction.atomic
def issue_certificate(*, kind: Kind, user: User, year: int, by: User) -> Document:
    """The certificate of a year: the one that stands while its money is what it was, else a new one with today's figures.

    What stands and whose money is another since (its care was paid back, something was paid later on its last day) is ended
    by another paper first; when nothing is left to attest that one is returned. Raises Refused while there is nothing to
    attest.
    """
    lock_year(kind, user.pk, year)  # of two tabs the second reads the figures after the first
    content = certificate(kind, user, year)
    ended = [cancel(document=paper, reason=reason, by=by) for paper, reason in _untrue(content)]
    if standing := live(kind, user, content.subject):
        return standing
    if not (sentence := obstacle(content)):
        return issue(content=content, by=by)
    if not ended:
        raise Refused(sentence, code="nothing_to_attest")
    return ended[0]


# Where the sums stand that orders alone decide, among those in the last lines of the tables: what was paid and given back
# of the payments; what was paid of the care, whose parts are declared.
MONEY = {Kind.PAYMENTS: slice(0, 2), Kind.CHILDCARE: slice(1, 2)}


def is_true(paper: Document, now: Content) -> bool:
    """Whether a certificate that was issued stands beside what it would say `now`.

    It was handed out, and perhaps declared: only money ends it. A name or an address, what a commune declares of a slot
    and our own wording are of the day of its issue. Three exceptions: of a year that was not over it said « du… au… »; what
    it counted was declared by mistake, as the commune has said since; it left out for want of a declaration what is counted now.
    """
    if _was_so_far(paper) and now.subtitle != paper.data["subtitle"]:
        return False
    part = MONEY[Kind(paper.kind)]
    said, says = sums(paper.data["blocks"]), sums(now.blocks)
    if said[part] != says[part]:
        return False
    if paper.kind != Kind.CHILDCARE or said == says:
        return True
    return not (_declared_since(paper, now) or _set_right_since(paper, now))


def _declared_since(paper: Document, now: Content) -> bool:
    """Whether less of it is undeclared than it said, and the family would have more to declare."""
    return _undeclared(now.blocks) < _undeclared(paper.data["blocks"]) and now.amount > paper.amount


def _undeclared(blocks: Iterable[Block]) -> int:
    cells = [cell for block in blocks if block["kind"] == "table" for row in block["rows"] for cell in row]
    return sum(cell.endswith(str(UNDECLARED)) for cell in cells)


def corrections_of(user: User, year: int) -> Sequence[int]:
    """The keys of the corrections (checkout.actions.declarations) of what this person's certificate counts."""
    of_it = _lines_of_care(user, year).filter(
        booking__slot=OuterRef("slot"),
        order__created_at__lte=OuterRef("made_at"),
        order__created_at__date__range=(OuterRef("since"), Coalesce(OuterRef("until"), today())),
    )
    rows = DeclarationCorrection.objects.filter(Exists(of_it)).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def _set_right_since(paper: Document, now: Content) -> bool:
    """Whether a declaration of what it counts was set right since its figures were read. No clock tells: between its reading
    and its number it may wait."""
    known = paper.data.get("corrections")
    if known is None:  # issued before certificates kept them
        made = DeclarationCorrection.objects.filter(pk__in=now.seen["corrections"], made_at__gt=paper.issued_at)
        return made.exists()
    return bool(set(now.seen["corrections"]) - set(known))


def as_issued(paper: Document, content: Content) -> Content:
    """What a certificate that stands says: a page shows this and not today's names."""
    said = {name: paper.data[name] for name in ("title", "subtitle", "blocks")}
    return replace(content, amount=paper.amount, **said)


def _was_so_far(paper: Document) -> bool:
    """Whether it was issued on the last day of its year, which was not over: by what it says, for that stays."""
    first, last = paper.first_day, paper.last_day
    if first is None or last is None or last < dt.date(first.year, 12, 31):
        return False
    said: str = paper.data["subtitle"]
    return said == _since(first, last)


def _untrue(content: Content) -> list[tuple[Document, str]]:
    """The papers that stand about this year and are true no longer, each with why it ends."""
    standing = Document.objects.live().filter(
        kind=content.kind, user=content.user, first_day=content.links["first_day"]
    )
    compared = _care_compared if content.kind == Kind.CHILDCARE else _payments_compared
    return [(paper, _why(paper, now)) for paper, now in compared(standing, content) if not is_true(paper, now)]


Compared = Iterable[tuple[Document, Content]]


def _care_compared(standing: QuerySet[Document], content: Content) -> Compared:
    """There is one of a year, which is over: all that stand are about the same days."""
    return [(paper, content) for paper in standing]


def _payments_compared(standing: QuerySet[Document], content: Content) -> Compared:
    """Of a running year there may be one for each day on which it was asked for, each beside the figures until its day.

    What was paid and given back in days that are over stays so: each is looked at once after its last day, when the next
    one is issued.
    """
    first: dt.date = content.links["first_day"]
    for paper in standing.order_by("-last_day")[:2]:
        same = paper.subject == content.subject
        yield paper, content if same else payments_certificate(content.user, first.year, paper.last_day)


def _why(paper: Document, true: Content) -> str:
    if paper.amount == true.amount:
        return _("Remplacée par une attestation à jour")
    return _("La somme à attester est maintenant de %(now)s, au lieu de %(before)s") % {
        "now": euros(true.amount),
        "before": euros(paper.amount),
    }
