"""What places cost a family: the fares of services, its own situation, and what its children have already booked."""

import datetime as dt
import functools
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from accounts.models import User
from bookings.models import Booking
from families.household import Household
from families.models import Beneficiary
from services.models import AccessProfile, Deadline, Slot
from services.pricing import Price, PriceGrid, RankBasis, Situation
from services.school_calendar import school_year

NOTHING: Mapping[str, int] = MappingProxyType({})


class Place(NamedTuple):
    """One place to be priced: for whom, in which slot, when, and whether it is booked after its deadline."""

    member: int
    slot_id: int
    date: dt.date
    is_late: bool = False


class Taken(NamedTuple):
    """A live place that the family had before."""

    member: int
    activity_id: int
    service_id: int
    date: dt.date
    is_late: bool


class Pricer:
    """The prices of a choice of places, from three queries at most whatever their number.

    `slots` come with their activities, and with these their deadlines where a place is late; `holds` are the keys
    of the holds that the choice already has (a cart's, an offer's): their places do not count as booked before. Only what
    the fares ask for is read: the family when they depend on ranks or quotients, its bookings when ranks are counted among
    those enrolled or present, or when the first late bookings are free; a page that knows these already gives them.
    """

    def __init__(
        self,
        *,
        user: User,
        profiles: Collection[AccessProfile],
        slots: Collection[Slot],
        beneficiaries: Collection[Beneficiary],
        choice: Collection[Place],
        holds: Collection[int] = (),
        household: Household | None = None,
        taken: Sequence[Taken] | None = None,
    ) -> None:
        self.user, self.holds, self.choice = user, holds, choice
        self._known_household, self._known_taken = household, taken
        self.grid = PriceGrid(profiles=profiles, slots=slots)
        self.slots = {slot.pk: slot for slot in slots}
        self.beneficiaries = {row.pk: row for row in beneficiaries}
        self.bases = self.grid.bases()

    def depends_on_others(self, *, is_late: bool) -> bool:
        """Whether the price of a place, a late one or not, may change with what else is chosen or booked."""
        if self.bases & {RankBasis.ENROLLED, RankBasis.PRESENT}:
            return True
        return is_late and any(slot.activity.booking_rule.free_times for slot in self.slots.values())

    def circumstances(self, date: dt.date) -> tuple[object, ...]:
        """What a day has to do with prices: as long as it stays the same, so does the price of a rank."""
        return (
            self.grid.stretch(date),
            self._household.quotient_on(date) if self._asks_for_quotient else None,
            tuple(row.age_on(date) for row in self.beneficiaries.values()) if self._asks_for_age else (),
        )

    @property
    def depends_on_member(self) -> bool:
        """Whether two members of the same ranks among those who come may pay something else the same day."""
        return self._asks_for_age or RankBasis.DECLARED in self.bases

    def price(self, *, profile_id: int, place: Place) -> Price | None:
        """The price of one place of the choice, or None when it is not sold to this situation that day."""
        situation = self._situation(place)
        found = self.grid.price(profile_id=profile_id, slot_id=place.slot_id, date=place.date, situation=situation)
        if found is None or not place.is_late:
            return found
        return found.late(self.slots[place.slot_id].activity.booking_rule, is_free=self.is_late_for_free(place))

    def ranked(self, *, profile_id: int, place: Place, ranks: Mapping[str, int]) -> tuple[Decimal, Decimal] | None:
        """What a place would cost in time and late, were its member of these ranks whoever else comes; None: not sold."""
        found = self.grid.price(
            profile_id=profile_id, slot_id=place.slot_id, date=place.date, situation=self._situation(place, ranks)
        )
        if found is None:
            return None
        return found.base, found.late(self.slots[place.slot_id].activity.booking_rule).amount

    def enrolled(self, year: dt.date, service_id: int) -> set[int]:
        """Who had a place in a service before, in the school year that begins on a date."""
        return {row.member for row in self._taken if (row.service_id, school_year(row.date)[0]) == (service_id, year)}

    def late_before(self, activity_id: int) -> list[Taken]:
        """The late places that the family had in an activity before."""
        return [row for row in self._taken if row.is_late and row.activity_id == activity_id]

    def _situation(self, place: Place, ranks: Mapping[str, int] = NOTHING) -> Situation:
        return Situation(
            ranks={basis: ranks.get(basis) or self.rank(basis, place) for basis in self.bases},
            quotient=self._household.quotient_on(place.date) if self._asks_for_quotient else None,
            age=self.beneficiaries[place.member].age_on(place.date) if self._asks_for_age else None,
        )

    def rank(self, basis: str, place: Place) -> int:
        """The place of a member among siblings, counted in one of the ways of RankBasis, given what is chosen and booked."""
        household = self._household
        activity = self.slots[place.slot_id].activity
        if basis == RankBasis.DECLARED:
            return household.rank(place.member, household.members)
        if basis == RankBasis.ENROLLED:
            year = school_year(place.date)[0]
            return household.rank(place.member, self._enrolled.get((activity.service_id, year), set()))
        # Who was booked before keeps the rank that was paid for; those chosen now come after, the eldest first.
        before = self._present.get((activity.pk, place.date), set()) - {place.member}
        return len(before) + household.rank(place.member, self._together.get((activity.pk, place.date), set()) - before)

    def is_late_for_free(self, place: Place) -> bool:
        """Whether this late place is among the first of its month or school year, which cost nothing more."""
        rule = self.slots[place.slot_id].activity.booking_rule
        if not rule.free_times:
            return False
        activity_id = self.slots[place.slot_id].activity_id
        first, last = counted_period(rule, place.date)
        before = sum(
            row.is_late and row.member == place.member and row.activity_id == activity_id and first <= row.date <= last
            for row in self._taken
        )
        chosen = sum(
            other.is_late
            and other.member == place.member
            and self.slots[other.slot_id].activity_id == activity_id
            and first <= other.date < place.date
            for other in self.choice
        )
        return before + chosen < rule.free_times

    @functools.cached_property
    def _asks_for_quotient(self) -> bool:
        return self.grid.asks_for("quotient")

    @functools.cached_property
    def _asks_for_age(self) -> bool:
        return self.grid.asks_for("age")

    def seniority(self) -> list[int]:
        """The family's members in the order in which they are ranked, the eldest first."""
        return list(self._household.members)

    @functools.cached_property
    def _household(self) -> Household:
        return self._known_household or Household.of(self.user)

    @functools.cached_property
    def _together(self) -> dict[tuple[int, dt.date], set[int]]:
        """Who is chosen for an activity on a date."""
        found: dict[tuple[int, dt.date], set[int]] = {}
        for place in self.choice:
            found.setdefault((self.slots[place.slot_id].activity_id, place.date), set()).add(place.member)
        return found

    @functools.cached_property
    def _present(self) -> dict[tuple[int, dt.date], set[int]]:
        """Who was booked before in an activity on a date."""
        found: dict[tuple[int, dt.date], set[int]] = {}
        for row in self._taken:
            found.setdefault((row.activity_id, row.date), set()).add(row.member)
        return found

    @functools.cached_property
    def _enrolled(self) -> dict[tuple[int, dt.date], set[int]]:
        """Who has a place in a service in the school year that begins on a date, this choice included."""
        found: dict[tuple[int, dt.date], set[int]] = {}
        for row in self._taken:
            found.setdefault((row.service_id, school_year(row.date)[0]), set()).add(row.member)
        for place in self.choice:
            service_id = self.slots[place.slot_id].activity.service_id
            found.setdefault((service_id, school_year(place.date)[0]), set()).add(place.member)
        return found

    @functools.cached_property
    def _taken(self) -> Sequence[Taken]:
        """The family's live places in these services, in the school years of the choice."""
        if self._known_taken is not None:
            return self._known_taken
        if not self.choice:
            return []
        dates = [place.date for place in self.choice]
        rows = Booking.objects.live().filter(
            beneficiary__in=Beneficiary.objects.of(self.user),
            open_day__activity__service__in={slot.activity.service_id for slot in self.slots.values()},
            open_day__date__range=(school_year(min(dates))[0], school_year(max(dates))[1]),
        )
        if self.holds:
            rows = rows.exclude(hold__in=self.holds)
        return [
            Taken(*row)
            for row in rows.values_list(
                "beneficiary_id",
                "open_day__activity_id",
                "open_day__activity__service_id",
                "open_day__date",
                "is_late",
            )
        ]


def counted_period(rule: Deadline, date: dt.date) -> tuple[dt.date, dt.date]:
    """The first and last date of the month or school year in which late bookings are counted."""
    if rule.free_period == Deadline.Period.YEAR:
        return school_year(date)
    after = (date.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
    return date.replace(day=1), after - dt.timedelta(days=1)
