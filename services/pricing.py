"""The price of a slot for a situation on a date, from the tariffs in force."""

import datetime as dt
from collections.abc import Iterable

from services.models import AccessProfile, Slot, Tariff


class PriceGrid:
    """The tariffs of some slots for some situations, read in one query."""

    def __init__(self, *, profiles: Iterable[AccessProfile], slots: Iterable[Slot]) -> None:
        self._tariffs: dict[tuple[int, int], list[Tariff]] = {}
        rows = Tariff.objects.filter(profile__in=profiles, slot__in=slots)
        for tariff in rows.only("profile_id", "slot_id", "price", "valid"):
            self._tariffs.setdefault((tariff.profile_id, tariff.slot_id), []).append(tariff)

    def tariff(self, *, profile_id: int, slot_id: int, date: dt.date) -> Tariff | None:
        """The one tariff in force that day (the database forbids a second), or None: not sold to this situation."""
        for tariff in self._tariffs.get((profile_id, slot_id), ()):
            valid = tariff.valid
            if (valid.lower is None or valid.lower <= date) and (valid.upper is None or date < valid.upper):
                return tariff
        return None
