"""« Simulation des tarifs » (seed 004): what some children's usual days cost, month by month, before anything is booked."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils.translation import gettext as _

from portal.common.formats import month
from portal.common.money import ZERO, round_cents
from services.models import AccessProfile, OpenDay, Slot, Tariff, TariffGrid
from services.pricing import PriceGrid, Situation

RankBasis = TariffGrid.RankBasis


@dataclass(frozen=True)
class Child:
    """Who is imagined to come: a name for the screen, an age in years, the weekdays (0 = Monday), and why they may not."""

    name: str
    age: int | None
    weekdays: Collection[int]
    why_not: str = ""


@dataclass
class Explained:
    """How many places of one child have one price, and why."""

    words: str
    price: Decimal
    count: int = 0

    @property
    def total(self) -> Decimal:
        return self.price * self.count


@dataclass
class Bill:
    """What comes to one child in the year."""

    child: Child
    prices: list[Explained] = field(default_factory=list)
    unpriced: int = 0  # places that nothing is sold for

    @property
    def count(self) -> int:
        return sum(row.count for row in self.prices)

    @property
    def total(self) -> Decimal:
        return sum((row.total for row in self.prices), ZERO)


@dataclass
class Month:
    """One month of the year: its places and euros, and its bar, in percent of the dearest month's."""

    name: str
    count: int = 0
    total: Decimal = ZERO
    share: int = 0


@dataclass
class Simulation:
    """The answer: children, months, and the sums of the year."""

    bills: list[Bill]
    months: list[Month]

    @property
    def count(self) -> int:
        return sum(row.count for row in self.bills)

    @property
    def total(self) -> Decimal:
        return sum((row.total for row in self.bills), ZERO)

    @property
    def average(self) -> Decimal:
        """Euros a month, over the months that have places."""
        used = sum(row.count > 0 for row in self.months)
        return round_cents(self.total / used) if used else ZERO


def simulate(
    *,
    slot: Slot,
    profile: AccessProfile,
    children: Sequence[Child],
    quotient: int | None,
    first: dt.date,
    last: dt.date,
) -> Simulation:
    """Price every open day between two dates on the children's weekdays, with the fares in force. Two queries.

    Ranks are counted among the imagined children, the eldest first: among all of them where the grid counts those declared,
    among those who come at all or on that day where it counts these. Who may not come is not priced.
    """
    dates = list(
        OpenDay.objects.filter(activity=slot.activity_id, date__range=(first, last), is_open=True)
        .order_by("date")
        .values_list("date", flat=True)
    )
    grid = PriceGrid(profiles=[profile], slots=[slot])
    eldest_first = sorted(children, key=lambda child: -(child.age or 0))
    coming = [child for child in eldest_first if child.weekdays and not child.why_not]
    bills = {id(child): Bill(child) for child in children if child.weekdays}
    months: dict[tuple[int, int], Month] = {}
    for date in dates:
        shown = months.setdefault((date.year, date.month), Month(month(date)))
        present = [child for child in coming if date.weekday() in child.weekdays]
        for place, child in enumerate(present, start=1):
            ranks: dict[str, int] = {
                RankBasis.DECLARED: eldest_first.index(child) + 1,
                RankBasis.ENROLLED: coming.index(child) + 1,
                RankBasis.PRESENT: place,
            }
            price = grid.price(
                profile_id=profile.pk, slot_id=slot.pk, date=date, situation=Situation(ranks, quotient, child.age)
            )
            bill = bills[id(child)]
            if price is None:
                bill.unpriced += 1
                continue
            _line(bill, price.words, price.amount).count += 1
            shown.count += 1
            shown.total += price.amount
    dearest = max((row.total for row in months.values()), default=ZERO)
    for row in months.values():
        row.share = int(row.total * 100 / dearest) if dearest else 0
    return Simulation(list(bills.values()), list(months.values()))


def _line(bill: Bill, words: str, price: Decimal) -> Explained:
    for row in bill.prices:
        if row.words == words:
            return row
    bill.prices.append(Explained(words, price))
    return bill.prices[-1]


@dataclass(frozen=True)
class Offer:
    """What one formula of a ticket or a pass costs in one situation, in words: a price, or the least of several."""

    slot: Slot
    profile: AccessProfile
    price: str


def formula_prices(*, slots: Sequence[Slot], profiles: Sequence[AccessProfile], date: dt.date) -> list[Offer]:
    """The fares in force on a date, in the order of the formulas and the situations. One query."""
    fares = Tariff.objects.filter(slot__in=slots, profile__in=profiles, valid__contains=date).order_by("pk")
    found: dict[tuple[int, int], list[Tariff]] = {}
    for fare in fares:
        found.setdefault((fare.slot_id, fare.profile_id), []).append(fare)
    offers = []
    for slot in slots:
        for profile in profiles:
            rows = found.get((slot.pk, profile.pk))
            if rows:
                least = min(rows, key=lambda row: row.dearest)
                words = least.words if len({row.words for row in rows}) == 1 else _("à partir de %s") % least.words
                offers.append(Offer(slot, profile, words))
    return offers
