"""A declaration that was a mistake is set right for what was ordered with it.

A line keeps what its slot declared when it was ordered, for the meals of the next year are not those of the last. Nothing tells
a change from a mistake but somebody who says so: what was to be declared, for what was ordered on which days, and why.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.models import Booking, Ticket
from checkout.models import DeclarationCorrection, Document, Order, OrderLine
from checkout.papers.models import Kind
from portal.common.db import retry_on_deadlock
from portal.common.errors import Refused, within
from portal.common.formats import PARIS, euros, today
from services.models import Slot

# What a slot declares: its nature, and the meal's part of « Garde et repas ».
Declared = tuple[str, Decimal | None]


@dataclass(frozen=True)
class Days:
    """The days (Europe/Paris) of the orders that a correction is about; `until` None: until now."""

    since: dt.date
    until: dt.date | None = None


Groups = Iterable[tuple[Declared, int]]  # what lines say, and how many say it


@dataclass(frozen=True)
class Concerned:
    """What a correction would rewrite: how many lines of how many families, what they say, and what was issued of them."""

    lines: int
    families: int
    before: Sequence[tuple[Declared, int]]  # the most first
    certificates: int
    dearest: Decimal | None  # the highest price of these lines, in euros; None without any

    @property
    def token(self) -> str:
        """What the button sends back: the very lines that stood beside it."""
        return _token(self.before)


def _token(groups: Groups) -> str:
    return ";".join(sorted(f"{nature}:{meal_price}:{count}" for (nature, meal_price), count in groups))


def _ordered(days: Days, upto: dt.datetime) -> Q:
    """The lines of orders of these days, until a moment."""
    start = dt.datetime.combine(days.since, dt.time(), tzinfo=PARIS)
    found = Q(order__created_at__gte=start, order__created_at__lte=upto)
    if days.until:
        found &= Q(order__created_at__lte=dt.datetime.combine(days.until, dt.time.max, tzinfo=PARIS))
    return found


def said_otherwise(slot: Slot, declared: Declared, days: Days | None = None) -> QuerySet[OrderLine]:
    """The lines of this slot that say something else, ordered on these days (or ever) and neither cancelled nor given up."""
    # Two ways to a slot, of which each slot has one: an OR of both would read every line.
    rows = OrderLine.objects.filter(cancelled_at=None)
    if slot.starts_at is None:
        rows = rows.filter(ticket__in=Ticket.objects.filter(slot=slot))
    else:
        rows = rows.filter(booking__in=Booking.objects.filter(slot=slot))
    if days:
        rows = rows.filter(_ordered(days, timezone.now()))
    nature, meal_price = declared
    kept = Order.objects.exclude(status=Order.Status.CANCELLED)
    return rows.filter(order__in=kept).exclude(nature=nature, meal_price=meal_price)


def contradicted() -> Iterator[tuple[DeclarationCorrection, int]]:
    """The corrections of which lines say something else, and how many: each line is judged by the last one of its day."""
    later: dict[int, Q] = {}  # by slot: what the corrections that came after are about
    for row in DeclarationCorrection.objects.select_related("slot__activity__service").order_by("-pk"):
        of_it = _ordered(Days(row.since, row.until), row.made_at)
        lines = said_otherwise(row.slot, (row.nature, row.meal_price)).filter(of_it)
        if row.slot_id in later:
            lines = lines.exclude(later[row.slot_id])
        if count := lines.count():
            yield row, count
        later[row.slot_id] = later.get(row.slot_id, Q()) | of_it


def concerned(slot: Slot, declared: Declared, days: Days) -> Concerned:
    """What `correct_declaration` would rewrite, in three statements."""
    lines = said_otherwise(slot, declared, days)
    groups = lines.order_by().values_list("nature", "meal_price").annotate(count=Count("pk")).order_by("-count")
    before = [((nature, meal_price), count) for nature, meal_price, count in groups]
    issued = Document.objects.live().filter(
        Exists(lines.filter(order__user=OuterRef("user"), date__range=(OuterRef("first_day"), OuterRef("last_day")))),
        kind=Kind.CHILDCARE,
    )
    sums = lines.aggregate(families=Count("order__user", distinct=True), dearest=Max("unit_price"))
    return Concerned(
        lines=sum(count for _declared, count in before),
        before=before,
        certificates=issued.count(),
        **sums,
    )


@retry_on_deadlock
@transaction.atomic
def correct_declaration(
    *, slot: Slot, declared: Declared, days: Days, reason: str, shown: str, by: User
) -> DeclarationCorrection:
    """What was to be declared holds for what was ordered on these days; returns what is kept of it.

    `shown`: the lines that the person saw, as `Concerned.token` writes them. Locks the slot, so that of two corrections one
    waits for the other, then its lines by their keys: behind bookings and before vouchers in the order of locks, and nothing
    else is locked. What the slot declares for what is ordered from now on stays. Certificates that were issued stay as they
    are; asked for again, they are ended by another paper and issued anew (checkout.papers.yearly).
    Raises Refused for another commune's slot, without a reason, for days to come or that end before they begin, when the slot
    declares nothing, for a meal's part that does not fit or is above every price of these lines, when no line says anything else, and when these are other lines than
    were shown: somebody has ordered or corrected meanwhile.
    """
    current = Slot.objects.visible_to(by).filter(pk__in=[slot.pk]).select_for_update(no_key=True, of=("self",)).first()
    if current is None:
        raise Refused(_("Cette prestation est d’une autre commune."), code="out_of_scope")
    reason = within(reason, 200)
    if not reason:
        raise Refused(_("Écrivez le motif de la correction\u00a0: il est gardé avec elle."), code="reason_missing")
    check_asked(current, declared, days)
    lines = said_otherwise(current, declared, days).order_by("pk").select_for_update(no_key=True, of=("self",))
    found = list(lines.values_list("pk", "nature", "meal_price", "order__user", "unit_price"))
    check_found(max((row[4] for row in found), default=None), declared)
    said = Counter((row[1], row[2]) for row in found)
    if _token(said.items()) != shown:
        raise Refused(
            _("Ce qui est commandé a changé depuis votre vérification\u00a0: rien n’est corrigé. Vérifiez de nouveau."),
            code="changed_meanwhile",
        )
    nature, meal_price = declared
    # Written before the lines: they become nothing but what a correction says.
    correction = DeclarationCorrection.objects.create(
        slot=current,
        since=days.since,
        until=days.until,
        nature=nature,
        meal_price=meal_price,
        before=[
            {"nature": nature, "meal_price": None if price is None else str(price), "lines": lines_of}
            for (nature, price), lines_of in said.most_common()
        ],
        lines=len(found),
        families=len({row[3] for row in found}),
        reason=reason,
        by=by,
    )
    OrderLine.objects.filter(pk__in=[row[0] for row in found]).update(nature=nature, meal_price=meal_price)
    return correction


def check_asked(slot: Slot, declared: Declared, days: Days) -> None:
    """Raises Refused for a slot that declares nothing, for what is no declaration and for days that cannot be."""
    if not slot.nature:
        raise Refused(
            _("Cette prestation ne déclare rien\u00a0: déclarez d’abord ce que son prix paie."), code="not_declared"
        )
    nature, meal_price = declared
    if nature not in Slot.Nature.values:
        raise Refused(_("Choisissez ce que la prestation devait déclarer."), code="nature")
    if nature == Slot.Nature.BOTH and not (meal_price and meal_price > 0):
        raise Refused(_("Écrivez la part du repas dans le prix de «\u00a0Garde et repas\u00a0»."), code="meal_price")
    if nature != Slot.Nature.BOTH and meal_price is not None:
        raise Refused(_("Seule une prestation «\u00a0Garde et repas\u00a0» a une part de repas."), code="meal_price")
    for code, day in (("since", days.since), ("until", days.until)):
        if day and day > today():
            raise Refused(_("Choisissez un jour jusqu’à aujourd’hui."), code=code)
        if day and day.year < 2000:
            raise Refused(_("Vérifiez l’année\u00a0: elle s’écrit avec quatre chiffres, par exemple 2026."), code=code)
    if days.until and days.until < days.since:
        raise Refused(_("Le dernier jour vient avant le premier\u00a0: vérifiez les deux."), code="until")


def check_found(dearest: Decimal | None, declared: Declared) -> None:
    """Raises Refused when no line is to be corrected, and for a meal's part above the `dearest` of their prices, in euros."""
    if dearest is None:
        raise Refused(
            _("Ce qui est commandé ces jours-là dit déjà la même chose\u00a0: rien n’est à corriger."),
            code="nothing_to_correct",
        )
    _nature, meal_price = declared
    if meal_price is not None and meal_price > dearest:
        raise Refused(
            _(
                "La part du repas (%(meal)s) dépasse le prix le plus haut de ces commandes (%(price)s)\u00a0: vérifiez-la."
            )
            % {"meal": euros(meal_price), "price": euros(dearest)},
            code="meal_price",
        )
