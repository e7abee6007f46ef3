"""What prices ask of a family: its children from the eldest on, and its quotient on a date."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef
from django.db.models.functions import JSONObject

from accounts.models import User
from families.models import Beneficiary, Filiation, IncomeQuotient


@dataclass(frozen=True)
class Household:
    """The keys of an adult's beneficiaries, eldest first and the adult last, and the validated quotients."""

    members: Sequence[int]
    quotients: Sequence[tuple[dt.date, dt.date | None, int]]  # first day, the day after the last, euros

    @classmethod
    def of(cls, user: User) -> Self:
        """One query."""
        return cls._made(list(_links(user).values_list("beneficiary_id", "kind", "found")))

    @classmethod
    def with_people(cls, user: User) -> tuple[Self, list[Beneficiary]]:
        """The same, and the beneficiaries themselves in the order of Filiation; one query."""
        rows = list(_links(user).select_related("beneficiary"))
        return cls._made([(row.beneficiary_id, row.kind, row.found) for row in rows]), [row.beneficiary for row in rows]

    @classmethod
    def _made(cls, rows: Sequence[tuple[int, str, Any]]) -> Self:
        children = [pk for pk, kind, _found in rows if kind != Filiation.Kind.SELF]
        adults = [pk for pk, kind, _found in rows if kind == Filiation.Kind.SELF]
        return cls(children + adults, [_period(row) for row in (rows[0][2] if rows else [])])

    def quotient_on(self, date: dt.date) -> int | None:
        """The quotient in force that day, in euros; None when none was validated for it."""
        for first, after, value in self.quotients:
            if first <= date and (after is None or date < after):
                return value
        return None

    def rank(self, member: int, among: Collection[int]) -> int:
        """The place of a member, from 1, among some members (itself counted whether it is named or not)."""
        ordered = [pk for pk in self.members if pk in among or pk == member]
        return ordered.index(member) + 1 if member in ordered else 1


def _links(user: User) -> Any:  # a QuerySet of Filiation, and what the annotation adds to it
    """The living links of an adult, eldest child first, each with the validated quotients."""
    quotients = IncomeQuotient.objects.filter(user=OuterRef("user"), status=IncomeQuotient.Status.VALIDATED).values(
        found=JSONObject(value="value", first="valid__startswith", after="valid__endswith")
    )
    return Filiation.objects.of(user).annotate(found=ArraySubquery(quotients))


def _period(row: dict[str, Any]) -> tuple[dt.date, dt.date | None, int]:
    after = row["after"]
    return dt.date.fromisoformat(row["first"]), dt.date.fromisoformat(after) if after else None, row["value"]
