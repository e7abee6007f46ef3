"""What happened to one booking, for the family: who took it, changed it, cancelled it, and when."""

import datetime as dt
from dataclasses import dataclass

from django.utils.translation import gettext as _

from accounts.models import User
from bookings.absences import AbsenceDay
from bookings.changes import Change
from bookings.models import Booking
from families.models import Filiation
from portal.common.formats import long_date


@dataclass(frozen=True)
class Happening:
    """One line: the moment, who acted (as the reader may know them) and what was done."""

    when: dt.datetime
    who: str
    what: str


def history_of(booking: Booking, reader: User) -> list[Happening]:
    """The newest first; four queries. Adults of the child are named, whoever works for the service is only « le service »."""
    facts: list[tuple[dt.datetime | None, int | None, str]] = [
        (booking.created_at, booking.made_by_id, _("Place choisie, mise dans le panier")),
        (booking.booked_at, booking.made_by_id, _("Réservation confirmée")),
        (booking.ended_at, booking.ended_by_id, ended_words(booking)),
    ]
    changed = Change.objects.filter(after=booking).select_related("before__open_day", "before__slot").first()
    if changed is not None:
        replaced = _("Remplace %(day)s, %(slot)s") % {
            "day": long_date(changed.before.date),
            "slot": changed.before.slot,
        }
        facts = [(changed.at, changed.by_id, replaced), facts[-1]]
    for day in AbsenceDay.objects.filter(booking=booking).select_related("absence"):
        absence = day.absence
        facts.append((absence.reported_at, absence.reported_by_id, _("Absence signalée")))
        decided = absence.get_status_display().lower()
        facts.append((absence.decided_at, absence.decided_by_id, _("Absence\u00a0: %s") % decided))
    happened = [(when, who, what) for when, who, what in facts if when is not None]
    names = _names(booking, reader, {who for _when, who, _what in happened if who is not None})
    lines = [Happening(when, names[who] if who else _("la plateforme"), what) for when, who, what in happened]
    return sorted(lines, key=lambda line: line.when, reverse=True)


def ended_words(booking: Booking) -> str:
    """`Annulée par la famille`, `Annulée : Grève`: how a booking ended, and why."""
    if booking.ended_reason == _("Annulé par la famille"):  # bookings.actions.cancel
        return _("Annulée par la famille")
    what = _("Annulée") if booking.status == Booking.Status.CANCELLED else _("Place rendue")
    return f"{what}\u00a0: {booking.ended_reason}" if booking.ended_reason else what


def _names(booking: Booking, reader: User, people: set[int]) -> dict[int, str]:
    adults = set(Filiation.objects.filter(beneficiary=booking.beneficiary_id).values_list("user", flat=True))
    adults |= {booking.made_by_id, reader.pk}
    names = {row.pk: str(row) for row in User.objects.filter(pk__in=people & adults)}
    return {pk: _("vous") if pk == reader.pk else names.get(pk, _("le service")) for pk in people}
