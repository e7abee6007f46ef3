"""Applying a closure: its bookings end, whoever paid is paid back, and each family gets one e-mail."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.closures import actions as closures
from bookings.closures.models import Closure
from bookings.models import Booking, BookingQuerySet
from bookings.waiting.models import WaitingListEntry
from bookings.waiting.offers import by_user
from checkout.actions.cancellation import Returned, give_back
from checkout.models import PAID, Order, OrderLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.money import ZERO
from portal.common.rows import FAILED_LAST, apart, has_failed
from portal.outbox.actions import queue_email

MOST_AT_ONCE = 50  # in one run


@dataclass(frozen=True)
class Touched:
    """One line of « qui est touché »: an activity, or all of them (`label` empty)."""

    label: str
    families: int
    children: int
    bookings: int
    total: Decimal


@dataclass(frozen=True)
class Impact:
    """Who a closure touches: each activity, the sum, and each place with its family and its price; how many families wait for
    a place there; and whom it leaves booked because nobody has declared their school."""

    activities: list[Touched]
    all: Touched
    places: list[tuple[Booking, Decimal]]
    unsure: list[Booking]
    waiting_families: int

    @property
    def unsure_children(self) -> int:
        """How many children have no declared school and a place on these days."""
        return len({row.beneficiary_id for row in self.unsure})


def impact(closure: Closure) -> Impact:
    """Who would be touched, or (once decided) who is; five queries whatever their number."""
    rows = Booking.objects.filter(closed_by__closure=closure) if closure.pk else closures.touched(closure)
    places = _listed(rows)
    paid = OrderLine.objects.filter(booking__in=[row.pk for row in places], order__status=Order.Status.PAID)
    if not closure.pk:
        paid = paid.filter(cancelled_at=None)
    prices = dict(paid.values_list("booking").annotate(price=Sum(PAID)))
    priced = [(row, prices.get(row.pk, ZERO)) for row in places]
    groups: dict[str, list[tuple[Booking, Decimal]]] = {}
    for row, price in priced:
        groups.setdefault(f"{row.open_day.activity.service} – {row.open_day.activity}", []).append((row, price))
    unsure = _listed(closures.unsure(closure)) if closure.of_pupils else []
    return Impact(
        [_sum(label, groups[label]) for label in sorted(groups)],
        _sum("", priced),
        priced,
        unsure,
        _waiting_families(closure),
    )


def _waiting_families(closure: Closure) -> int:
    """How many families' waits end with it; a school's closure leaves the lists to the others."""
    if closure.of_pupils or closure.status == Closure.Status.SENT:
        return 0
    waits = WaitingListEntry.objects.live().filter(open_day__in=closure.open_days())
    return waits.order_by().values("user").distinct().count()


def _listed(rows: BookingQuerySet) -> list[Booking]:
    return list(
        rows.select_related("beneficiary", "slot", "open_day__activity__service", "made_by").order_by(
            "open_day__date", "open_day__activity__name", "beneficiary__last_name", "beneficiary__first_name", "pk"
        )
    )


def _sum(label: str, rows: Iterable[tuple[Booking, Decimal]]) -> Touched:
    found = list(rows)
    return Touched(
        label=label,
        families=len({row.made_by_id for row, _price in found}),
        children=len({row.beneficiary_id for row, _price in found}),
        bookings=len(found),
        total=sum((price for _row, price in found), ZERO),
    )


def apply_closure(*, closure: Closure, by: User | None) -> int:
    """End a decided closure's bookings, pay back, write one e-mail to each family; returns how many families.

    `by` applies it before its time (snow at 6 in the morning); the house (None) when the time has come. All or nothing, and
    once: a second call changes nothing. Raises Refused when it was undone (the house leaves it alone), and for another
    commune's closure.
    """
    return _apply(closure, by) or 0


@retry_on_deadlock
def _apply(closure: Closure, by: User | None) -> int | None:
    """The same; None for one that was left alone."""
    with refusing({}):
        row = closures.lock(closure, by=by)
        if row.status == Closure.Status.SENT:
            return None
        if by is None and (row.status == Closure.Status.UNDONE or row.leaves_at > timezone.now()):
            return None
        if row.status == Closure.Status.UNDONE:
            raise Refused(_("Cette fermeture a été annulée\u00a0: rien n’a changé."), code="undone")
        ended, waits = closures.end_bookings(row)
        refunds = give_back(ended, by=row.made_by, reason=_("Fermeture\u00a0: %s") % row.reason)
        told = {refund.payer: refund for refund in refunds}
        waited = dict(by_user(waits))
        families = sorted({*told, *waited}, key=lambda user: user.pk)
        for family in families:
            refund = told.get(family) or Returned(family, [], ZERO)
            queue_email(
                key=f"closure:{row.pk}:{family.pk}",
                to=family.email,
                template="closure",
                context={
                    "user": family,
                    "bookings": refund.bookings,
                    "waits": waited.get(family, []),
                    "closure": row,
                    **refund.words,
                },
            )
    return len(families)


def apply_due() -> int:
    """Apply the closures whose e-mails leave now; returns how many. One that fails is written down, and comes after the others."""
    applied = 0
    for row in list(Closure.objects.due(at=timezone.now()).order_by(FAILED_LAST, "leaves_at")[:MOST_AT_ONCE]):
        with apart(what=f"closure {row.pk}", failed=partial(has_failed, row)):
            applied += _apply(row, None) is not None
    return applied
