"""What the booking page says of prices before anything is bought: in its squares, beside people and slots, in its total.

The browser adds up by itself (static/js/calendar.js): it gets the price of every rank that somebody may have among those
who come, and who is there already. Both sides say the same; what the cart says is what counts (checkout.actions.cart).
"""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from django.utils.translation import gettext as _

from accounts.models import User
from bookings.pricing import Place, Pricer, Taken, counted_period
from families.household import Household
from families.models import Beneficiary
from portal.common.formats import enumeration, euros, long_date
from services.models import Activity, Slot, Subscription
from services.pricing import RankBasis
from services.school_calendar import school_year

# Ranks that change with who else comes; that among those declared is each member's own, whatever is chosen.
AMONG_OTHERS = (RankBasis.ENROLLED, RankBasis.PRESENT)


class Step(NamedTuple):
    """From a date on, what a place costs when it is booked in time, and late; None: not sold."""

    since: dt.date
    price: Decimal | None
    late: Decimal | None


class Prices:
    """What each day costs each person, in each slot and situation of the family; the browser gets it in cents.

    `choice` are the places ticked: siblings and late bookings among them may change each other's price.
    """

    def __init__(
        self,
        *,
        user: User,
        activity: Activity,
        accesses: Sequence[Subscription],
        slots: Sequence[Slot],
        people: Sequence[Beneficiary],
        dates: Mapping[dt.date, bool],
        choice: Collection[Place],
        household: Household,
        taken: Sequence[Taken],
    ) -> None:
        """`dates` are those that can be booked, and whether each is late by now; `taken` what the family has in the service
        in the school years of these dates."""
        for slot in slots:
            slot.activity = activity
        self._activity, self._accesses, self._slots = activity, accesses, slots
        self._by_key = {slot.pk: slot for slot in slots}
        self._dates = dict(sorted(dates.items()))
        self._pricer = Pricer(
            user=user,
            profiles=[access.profile for access in accesses],
            slots=slots,
            beneficiaries=people,
            choice=choice,
            household=household,
            taken=taken,
        )
        self._has_late = any(dates.values())
        self._together = self._pricer.depends_on_others(is_late=self._has_late)
        self.bases = [basis for basis in AMONG_OTHERS if basis in self._pricer.bases]
        self._people = [person.pk for person in people]
        self._ranks = list(itertools.product(range(1, len(people) + 1), repeat=len(self.bases)))
        self._turns = self._turning_dates()
        self._steps: dict[tuple[int, int, int, tuple[int, ...]], list[Step]] = {}

    def _turning_dates(self) -> list[dt.date]:
        """The dates on which a price may begin."""
        return [next(dates) for _same, dates in itertools.groupby(self._dates, self._pricer.circumstances)]

    def _of(self, person: int, access: Subscription, slot: Slot, ranks: tuple[int, ...]) -> list[Step]:
        """The steps of a price through the year."""
        if not self._pricer.depends_on_member and self._people:
            person = self._people[0]
        key = person, access.pk, slot.pk, ranks
        if key not in self._steps:
            self._steps[key] = list(self._priced(person, access.profile_id, slot.pk, ranks))
        return self._steps[key]

    def _priced(self, person: int, profile_id: int, slot_id: int, ranks: tuple[int, ...]) -> Iterator[Step]:
        among: dict[str, int] = dict(zip(self.bases, ranks, strict=True))
        before = None
        for date in self._turns:
            found = self._pricer.ranked(profile_id=profile_id, place=Place(person, slot_id, date), ranks=among)
            prices = found or (None, None)
            if prices != before:
                yield Step(date, *prices)
            before = prices

    def usual(self, access: Subscription, slot: Slot, person: int | None = None) -> Decimal | None:
        """The price on the first date that has one, in time, with no other chosen; None: not sold to this situation."""
        person = self._first if person is None else person
        return self._first_price(self._of(person, access, slot, self.alone(person)))

    def with_others(self, access: Subscription, slot: Slot, person: int, others: Collection[int]) -> Decimal | None:
        """The same when these others come, too."""
        return self._first_price(self._of(person, access, slot, self._rank_with(person, others)))

    @staticmethod
    def _first_price(steps: Sequence[Step]) -> Decimal | None:
        return next((step.price for step in steps if step.price is not None), None)

    @property
    def _first(self) -> int:
        return self._people[0] if self._people else 0

    def later(self, access: Subscription, slot: Slot) -> str:
        """`puis 8,10 € à partir du vendredi 1er janvier 2027`, when the price changes within the year on screen."""
        steps = [row for row in self._of(self._first, access, slot, self.alone(self._first)) if row.price is not None]
        return enumeration(
            _("puis %(price)s à partir du %(date)s") % {"price": euros(step.price), "date": long_date(step.since)}
            for step in steps[1:]
        )

    def of_place(self, access: Subscription, place: Place) -> Decimal | None:
        """The price of one place among those chosen, chosen itself or not, as the cart will say it; None: not sold."""
        slot = self._by_key[place.slot_id]
        ranks = tuple(self._pricer.rank(basis, place) for basis in self.bases)
        steps = self._of(place.member, access, slot, ranks)
        step = next((row for row in reversed(steps) if row.since <= place.date), steps[0])
        return step.late if place.is_late and not self._pricer.is_late_for_free(place) else step.price

    @property
    def tells_people_apart(self) -> bool:
        """Whether a day may cost one person something else than another."""
        return self._together or self._pricer.depends_on_member

    # Ranks as somebody would have them, one for each of `bases`.

    def alone(self, person: int) -> tuple[int, ...]:
        """With nobody chosen beside this person: who is enrolled already counts, on the year that begins with the first date."""
        return self._rank_with(person, ())

    def _rank_with(self, person: int, others: Collection[int]) -> tuple[int, ...]:
        among = {RankBasis.PRESENT: {*others}}
        if RankBasis.ENROLLED in self.bases:
            year = school_year(min(self._dates))[0]
            among[RankBasis.ENROLLED] = {*others, *self._enrolled[year]}
        return tuple(self._place_among(person, among[basis]) for basis in self.bases)

    def _place_among(self, person: int, others: Collection[int]) -> int:
        order = self._order
        return 1 + sum(order.index(pk) < order.index(person) for pk in others if pk != person and pk in order)

    def elders(self, person: int, among: Collection[int]) -> list[int]:
        """Those of some members who come before this one in the order of ranks; none where siblings are not counted."""
        if not self.bases:
            return []
        order = self._order
        return [pk for pk in among if order.index(pk) < order.index(person)]

    @cached_property
    def _order(self) -> list[int]:
        order = self._pricer.seniority()
        return order + [pk for pk in self._people if pk not in order]

    @cached_property
    def _enrolled(self) -> Mapping[dt.date, Collection[int]]:
        """Who had a place in the service before, by the first day of each school year that is counted."""
        years = {school_year(date)[0] for date in self._dates}
        return {year: self._pricer.enrolled(year, self._activity.service_id) for year in years}

    # What the browser needs to add up.

    @property
    def form_data(self) -> dict[str, str]:
        """For the whole form: how siblings are counted, and how many late places cost nothing more (calendar.js)."""
        found = {}
        if self.bases:
            found["ranks"] = " ".join(self.bases)
        if self._counts_late:
            rule = self._activity.booking_rule
            found["free"] = f"{rule.free_times} {rule.free_period}"
        return found

    @property
    def _counts_late(self) -> bool:
        return self._has_late and bool(self._activity.booking_rule.free_times)

    def person_data(self, person: int, others: Collection[int]) -> dict[str, str]:
        """For one person: every price; the place among siblings, where they count; late places had before."""
        found = {"cents": self._cents(person)}
        if self.bases:
            found["place"] = f"{self._order.index(person)}"
            found["alone"] = ".".join(map(str, self.alone(person)))
            found["beside"] = ".".join(map(str, self._rank_with(person, others)))
        if RankBasis.ENROLLED in self.bases:
            found["enrolled"] = " ".join(f"{year.year}" for year, who in self._enrolled.items() if person in who)
        if self._counts_late:
            rule = self._activity.booking_rule
            rows = [row for row in self._pricer.late_before(self._activity.pk) if row.member == person]
            counted = Counter(counted_period(rule, row.date)[0] for row in rows)
            found["lates"] = " ".join(f"{first:%Y-%m}:{count}" for first, count in counted.items())
        return found

    def _cents(self, person: int) -> str:
        """`12:790 15:1190`, `7/12:790` for one of several situations, `12#2:690` for a second rank, `12@2027-01-04:810`
        from a date on, `12:790~1580` in time and late (calendar.js)."""
        words = []
        for access, slot, ranks in itertools.product(self._accesses, self._slots, self._ranks):
            key = f"{access.pk}/{slot.pk}" if len(self._accesses) > 1 else f"{slot.pk}"
            key += "#" + ".".join(map(str, ranks)) if ranks else ""
            for index, step in enumerate(self._of(person, access, slot, ranks)):
                late = f"~{_in_cents(step.late)}" if self._has_late else ""
                words.append(f"{key}{f'@{step.since}' if index else ''}:{_in_cents(step.price)}{late}")
        return " ".join(words)


def _in_cents(price: Decimal | None) -> str:
    return "" if price is None else f"{round(price * 100)}"
