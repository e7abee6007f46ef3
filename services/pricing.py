"""The price of a slot for somebody on a date, from the fares in force, and the line that explains it."""

import bisect
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils.translation import gettext as _

from portal.common.formats import NBSP, euros, thousands
from portal.common.money import ZERO, round_cents
from services.deadlines import surcharge_words, surcharged
from services.models import AccessProfile, Deadline, Slot, Tariff, TariffGrid

RankBasis = TariffGrid.RankBasis


@dataclass(frozen=True)
class Situation:
    """What a fare depends on besides slot, profile and date: ranks among siblings by basis, quotient (euros), age (years).

    What is not known never makes it cheaper: the first rank, the highest band of quotients, the dearest age.
    """

    ranks: Mapping[str, int] = field(default_factory=dict)
    quotient: int | None = None
    age: int | None = None


NOBODY_KNOWN = Situation()


@dataclass(frozen=True)
class Price:
    """What one place costs, in euros, under which fare, and why in one line."""

    tariff: Tariff
    base: Decimal
    words: str
    surcharge: Decimal = ZERO

    @property
    def amount(self) -> Decimal:
        """The price with its surcharge."""
        return self.base + self.surcharge

    def late(self, rule: Deadline, *, is_free: bool = False) -> "Price":
        """The same place booked after its deadline under the rule that allows it; `is_free`: one of the first ones."""
        amount = self.base if is_free else surcharged(rule, self.base)
        if amount == self.base:
            return Price(self.tariff, self.base, _("%s ; réservation tardive, sans majoration") % self.words)
        words = _("%(words)s ; réservation tardive %(how)s : %(price)s") % {
            "words": self.words,
            "how": surcharge_words(rule),
            "price": euros(amount),
        }
        return Price(self.tariff, self.base, words, amount - self.base)


class PriceGrid:
    """The fares of some slots for some situations, read in one query."""

    def __init__(self, *, profiles: Iterable[AccessProfile], slots: Iterable[Slot]) -> None:
        rows = Tariff.objects.filter(profile__in=profiles, slot__in=slots).select_related("grid", "slot", "profile")
        self._tariffs: dict[tuple[int, int], list[Tariff]] = {}
        # A year of days has one price or two in a situation: each is worked out, and put into words, once.
        self._prices: dict[tuple[object, ...], Price | None] = {}
        changes: set[dt.date] = set()
        for tariff in rows.order_by("pk"):
            self._tariffs.setdefault((tariff.profile_id, tariff.slot_id), []).append(tariff)
            changes |= {tariff.valid.lower, tariff.valid.upper} - {None}
        self._changes = sorted(changes)

    def bases(self) -> set[str]:
        """The ways in which siblings are counted by these grids."""
        return {row.grid.rank_basis for rows in self._tariffs.values() for row in rows} - {RankBasis.NONE}

    def asks_for(self, name: str) -> bool:
        """Whether any fare depends on `quotient`, `age` or `rank`."""
        return any(
            is_banded(row, name) or (name == "quotient" and row.price is None)
            for rows in self._tariffs.values()
            for row in rows
        )

    def price(
        self, *, profile_id: int, slot_id: int, date: dt.date, situation: Situation = NOBODY_KNOWN
    ) -> Price | None:
        """The price in force that day (the database forbids a second), or None: not sold to this situation."""
        ranks = tuple(sorted(situation.ranks.items()))
        key = (profile_id, slot_id, self.stretch(date), ranks, situation.quotient, situation.age)
        if key not in self._prices:
            self._prices[key] = self._price(profile_id, slot_id, date, situation)
        return self._prices[key]

    def stretch(self, date: dt.date) -> int:
        """Which of the stretches of time that a date lies in between which no fare begins or ends."""
        return bisect.bisect_right(self._changes, date)

    def _price(self, profile_id: int, slot_id: int, date: dt.date, situation: Situation) -> Price | None:
        rows = [row for row in self._tariffs.get((profile_id, slot_id), ()) if row.holds_on(date)]
        for narrow in (_of_rank, _of_quotient, _of_age):
            rows = narrow(rows, situation)
        if not rows:
            return None
        tariff = max(rows, key=lambda row: row.amount(situation.quotient))
        return Price(tariff, tariff.amount(situation.quotient), explained(tariff, situation))


def is_banded(tariff: Tariff, name: str) -> bool:
    """Whether a fare is for some ranks, quotients or ages only."""
    band = getattr(tariff, name)
    return band.lower is not None or band.upper is not None


def _holds(tariff: Tariff, name: str, value: int) -> bool:
    band = getattr(tariff, name)
    return (band.lower is None or band.lower <= value) and (band.upper is None or value < band.upper)


def _of_rank(rows: list[Tariff], situation: Situation) -> list[Tariff]:
    return [row for row in rows if _holds(row, "rank", situation.ranks.get(row.grid.rank_basis, 1))]


def _of_quotient(rows: list[Tariff], situation: Situation) -> list[Tariff]:
    if situation.quotient is not None:
        return [row for row in rows if _holds(row, "quotient", situation.quotient)]
    top = max((row.quotient.lower or 0 for row in rows), default=0)  # no quotient: the highest band
    return [row for row in rows if (row.quotient.lower or 0) == top]


def _of_age(rows: list[Tariff], situation: Situation) -> list[Tariff]:
    if situation.age is None:
        return rows
    return [row for row in rows if _holds(row, "age", situation.age)]


def explained(tariff: Tariff, situation: Situation) -> str:
    """« Pourquoi ce prix ? » : `Matin, résident, 2e enfant présent, QF de 0 à 1 000 : 1,30 € (délibération n° …)`."""
    parts = [str(tariff.slot), str(tariff.profile)]
    if is_banded(tariff, "rank"):
        parts.append(rank_words(tariff))
    if is_banded(tariff, "quotient"):
        parts.append(band_words(tariff, "quotient"))
        if situation.quotient is None:
            parts.append(_("quotient familial non connu"))
    if is_banded(tariff, "age"):
        parts.append(band_words(tariff, "age"))
    text = _("%(who)s : %(price)s") % {"who": ", ".join(parts), "price": _calculation(tariff, situation.quotient)}
    return f"{text} ({tariff.grid.voted})" if tariff.grid.voted else text


def _calculation(tariff: Tariff, quotient: int | None) -> str:
    if tariff.price is not None:
        return euros(tariff.price)
    amount = euros(tariff.amount(quotient))
    if quotient is None:
        return _("%(price)s, plafond de : %(rule)s (quotient familial non connu)") % {
            "price": amount,
            "rule": tariff.words,
        }
    assert tariff.rate is not None
    exact = round_cents(tariff.rate * quotient)
    words = {
        "quotient": thousands(quotient),
        "rate": tariff.rate_words,
        "exact": euros(exact),
        "price": amount,
        "floor": euros(tariff.floor or ZERO),
        "ceiling": euros(tariff.ceiling or ZERO),
    }
    if exact > tariff.amount(quotient):
        return _("quotient %(quotient)s × %(rate)s = %(exact)s, ramené au plafond de %(price)s") % words
    if exact < tariff.amount(quotient):
        return _("quotient %(quotient)s × %(rate)s = %(exact)s, relevé au plancher de %(price)s") % words
    return _("quotient %(quotient)s × %(rate)s = %(price)s (de %(floor)s à %(ceiling)s)") % words


RANKS: Mapping[str, Callable[[], str]] = {
    RankBasis.DECLARED: lambda: _("enfant déclaré"),
    RankBasis.ENROLLED: lambda: _("enfant inscrit"),
    RankBasis.PRESENT: lambda: _("enfant présent le même jour"),
}


def rank_words(tariff: Tariff) -> str:
    """`1er enfant inscrit`, `2e enfant présent le même jour et les suivants`."""
    first, last = tariff.rank.lower or 1, tariff.rank.upper and tariff.rank.upper - 1
    who = RANKS.get(tariff.grid.rank_basis, lambda: _("enfant"))()
    if last == first:
        return f"{ordinal(first)}{NBSP}{who}"
    if last is None:
        return _("%(first)s %(who)s et les suivants") % {"first": ordinal(first), "who": who}
    return _("%(first)s au %(last)s %(who)s") % {"first": ordinal(first), "last": ordinal(last), "who": who}


def band_words(tariff: Tariff, name: str) -> str:
    """`quotient familial de 0 à 1 000`, `3 à 5 ans`, `plus de 1 500`; empty when everybody is meant."""
    return range_words(name, getattr(tariff, name).lower, getattr(tariff, name).upper)


def range_words(name: str, lower: int | None, upper: int | None) -> str:
    """The words of a band of `rank`, `quotient` or `age`, its upper bound excluded."""
    last = None if upper is None else upper - 1
    unit, label = {
        "rank": ("", _("rang ")),
        "quotient": ("", _("quotient familial ")),
        "age": (_(" ans"), ""),
    }[name]
    if last is None:
        return label + _("à partir de %s") % thousands(lower or 0) + unit
    if lower == last:
        return label + thousands(last) + unit
    if lower is None:
        return label + _("jusqu’à %s") % thousands(last) + unit
    return label + _("de %(first)s à %(last)s") % {"first": thousands(lower), "last": thousands(last)} + unit


def ordinal(number: int) -> str:
    """`1er`, `2e`."""
    return "1er" if number == 1 else f"{number}e"
