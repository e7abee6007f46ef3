"""A declaration that was a mistake is set right for what was ordered with it.

A line keeps what its slot declared when it was ordered, for the meals of the next year are not those of the last. Nothing tells
a change from a mistake but somebody who says so: what the slot declares now also holds since a day, and why.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.models import Booking, Ticket
from checkout.models import DeclarationCorrection, Document, Order, OrderLine
from checkout.papers.models import Kind
from portal.common.db import retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from services.models import Slot

# What a slot declares: its nature, and the meal's part of « Garde et repas ».
Declared = tuple[str, Decimal | None]


@dataclass(frozen=True)
class Concerned:
    """What a correction would rewrite: how many lines of how many families, what they say, and what was issued of them."""

    lines: int
    families: int
    before: Sequence[tuple[Declared, int]]  # what they say, and how many lines do; the most first
    certificates: int


def said_otherwise(slot: Slot, since: dt.date | None = None) -> QuerySet[OrderLine]:
    """The lines of this slot, ordered since this day (or ever) and neither cancelled nor given up, that say something else than it."""
    # Two ways to a slot, of which each slot has one: an OR of both would read every line.
    rows = OrderLine.objects.filter(cancelled_at=None)
    if slot.starts_at is None:
        rows = rows.filter(ticket__in=Ticket.objects.filter(slot=slot))
    else:
        rows = rows.filter(booking__in=Booking.objects.filter(slot=slot))
    orders = Order.objects.exclude(status=Order.Status.CANCELLED)
    if since:
        orders = orders.filter(created_at__gte=dt.datetime.combine(since, dt.time(), tzinfo=PARIS))
    return rows.filter(order__in=orders).exclude(nature=slot.nature, meal_price=slot.meal_price)


def concerned(slot: Slot, since: dt.date) -> Concerned:
    """What `correct_declaration` would rewrite, in three statements."""
    lines = said_otherwise(slot, since)
    groups = lines.order_by().values_list("nature", "meal_price").annotate(count=Count("pk")).order_by("-count")
    before = [((nature, meal_price), count) for nature, meal_price, count in groups]
    issued = Document.objects.live().filter(
        Exists(lines.filter(order__user=OuterRef("user"), date__range=(OuterRef("first_day"), OuterRef("last_day")))),
        kind=Kind.CHILDCARE,
    )
    return Concerned(
        lines=sum(count for _declared, count in before),
        families=lines.aggregate(count=Count("order__user", distinct=True))["count"],
        before=before,
        certificates=issued.count(),
    )


@retry_on_deadlock
@transaction.atomic
def correct_declaration(*, slot: Slot, since: dt.date, reason: str, shown: Declared, by: User) -> DeclarationCorrection:
    """What the slot declares now also holds for what was ordered since this day; returns what is kept of it.

    `shown`: what the person saw it declare. Locks the slot, so that it declares the same until the end, then its lines by
    their keys: behind bookings and before vouchers in the order of locks, and nothing else is locked. Certificates that were
    issued stay as they are; asked for again, they are ended by another paper and issued anew (checkout.papers.yearly).
    Raises Refused for another commune's slot, without a reason, for a day to come, when the slot declares nothing or something
    else than was shown, and when no line says anything else.
    """
    current = Slot.objects.visible_to(by).filter(pk__in=[slot.pk]).select_for_update(no_key=True, of=("self",)).first()
    _check(current, since, reason.strip(), shown)
    assert current is not None
    lines = said_otherwise(current, since).order_by("pk").select_for_update(no_key=True)
    found = list(lines.values_list("pk", "nature", "meal_price", "order"))
    if not found:
        raise _nothing_to_correct()
    count = OrderLine.objects.filter(pk__in=[row[0] for row in found]).update(
        nature=current.nature, meal_price=current.meal_price
    )
    orders = Order.objects.filter(pk__in={row[3] for row in found})
    said = Counter((nature, meal_price) for _pk, nature, meal_price, _order in found)
    return DeclarationCorrection.objects.create(
        slot=current,
        since=since,
        nature=current.nature,
        meal_price=current.meal_price,
        before=[
            {"nature": nature, "meal_price": None if price is None else str(price), "lines": lines_of}
            for (nature, price), lines_of in said.most_common()
        ],
        lines=count,
        families=orders.aggregate(count=Count("user", distinct=True))["count"],
        reason=reason.strip(),
        by=by,
    )


def check_correction(slot: Slot, since: dt.date, found: Concerned) -> None:
    """Raises Refused where nothing can be corrected, whatever the reason: what would be refused after one was typed."""
    _check_slot(slot, since)
    if not found.lines:
        raise _nothing_to_correct()


def _nothing_to_correct() -> Refused:
    return Refused(
        _("Ce qui est commandé depuis ce jour dit déjà la même chose\u00a0: rien n’est à corriger."),
        code="nothing_to_correct",
    )


def _check_slot(slot: Slot, since: dt.date) -> None:
    if not slot.nature:
        raise Refused(
            _("Cette prestation ne déclare rien\u00a0: déclarez d’abord ce que son prix paie."), code="not_declared"
        )
    if since > today():
        raise Refused(_("Choisissez un jour jusqu’à aujourd’hui."), code="to_come")


def _check(slot: Slot | None, since: dt.date, reason: str, shown: Declared) -> None:
    if slot is None:
        raise Refused(_("Cette prestation est d’une autre commune."), code="out_of_scope")
    if not reason:
        raise Refused(_("Écrivez le motif de la correction\u00a0: il est gardé avec elle."), code="reason_missing")
    _check_slot(slot, since)
    if (slot.nature, slot.meal_price) != shown:
        raise Refused(
            _("Quelqu’un vient de changer cette déclaration\u00a0: rien n’est corrigé. Vérifiez de nouveau."),
            code="declared_otherwise",
        )
