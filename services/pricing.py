"""The price of a slot for a situation on a date, from the tariffs in force."""

import datetime as dt
from collections.abc import Iterable

from services.models import AccessProfile, Slot, Tariff


class PriceGrid:
    """The tariffs of some slots for one situation, read in one query."""

    def __init__(self, *, profile: AccessProfile, slots: Iterable[Slot | int]) -> None:
        self._tariffs: dict[int, list[Tariff]] = {}
        for tariff in Tariff.objects.filter(profile=profile, slot__in=slots).only("slot_id", "price", "valid"):
            self._tariffs.setdefault(tariff.slot_id, []).append(tariff)

    def tariff(self, slot_id: int, date: dt.date) -> Tariff | None:
        """The one tariff in force that day (the database forbids a second), or None: not sold to this situation."""
        for tariff in self._tariffs.get(slot_id, ()):
            valid = tariff.valid
            if (valid.lower is None or valid.lower <= date) and (valid.upper is None or date < valid.upper):
                return tariff
        return None
