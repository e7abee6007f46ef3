"""A family's bookings and passes as an iCalendar file (RFC 5545), and nothing that a calendar does not need.

First name, activity, slot and hours; no surname, no place, no price: the address is a secret, but it lies in a phone.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

from django.db.models import Q
from django.utils.translation import gettext as _
from icalendar import Calendar, Event

from accounts.models import User
from bookings.agenda import Family
from bookings.models import Booking, Ticket
from portal.common.formats import PARIS, today

PAST = dt.timedelta(days=31)
REFRESH = dt.timedelta(hours=4)
ONE_DAY = dt.timedelta(days=1)
# A slot that fills its day has no hours of its own.
DAY_STARTS, DAY_ENDS = dt.time(0), dt.time(23, 59)
# A pass of a year would lie over every day of the calendar: beyond this its last day alone is shown.
LONGEST = dt.timedelta(days=31)


@dataclass(frozen=True)
class Entry:
    """One event: timed (two moments in Paris time) or of whole days (two dates, the second excluded)."""

    uid: str
    stamp: dt.datetime
    start: dt.date
    end: dt.date
    summary: str


def entries_of(user: User) -> list[Entry]:
    """What the family has booked and bought, from a month ago on; three queries."""
    family = Family(user)
    return [*_bookings(family), *_tickets(family)]


def _bookings(family: Family) -> Iterator[Entry]:
    rows = family.bookings().filter(open_day__date__gte=today() - PAST).select_related(None)
    rows = rows.select_related("beneficiary", "slot", "open_day__activity").only(
        *("period", "booked_at", "beneficiary__first_name", "slot__name", "slot__starts_at", "slot__ends_at"),
        *("open_day__date", "open_day__activity__name"),
    )
    for row in rows:
        assert row.booked_at is not None  # confirmed_booking_is_dated
        start, end = row.period.lower.astimezone(PARIS), row.period.upper.astimezone(PARIS)
        if start.time() == DAY_STARTS and end.time() >= DAY_ENDS:
            start, end = row.date, row.date + ONE_DAY
        what = f"{row.open_day.activity.name} ({row.slot.name})"
        if row.absence_status:
            what = _("%s, absence signalée") % what
        yield Entry(f"reservation-{row.pk}", row.booked_at, start, end, _summary(row, what))


def _tickets(family: Family) -> Iterator[Entry]:
    rows = Ticket.objects.booked().filter(
        Q(beneficiary__in=family.current) | Q(beneficiary__in=family.former, made_by=family.user),
        valid__endswith__gt=today() - PAST,
    )
    rows = rows.select_related("beneficiary", "slot", "activity").order_by("valid", "pk")
    for row in rows:
        assert row.booked_at is not None  # confirmed_ticket_is_dated
        what, start = f"{row.activity.name} ({row.slot.name})", row.first_day
        if row.last_day - row.first_day >= LONGEST:
            what, start = _("%s, dernier jour") % what, row.last_day
        yield Entry(f"billet-{row.pk}", row.booked_at, start, row.last_day + ONE_DAY, _summary(row, what))


def _summary(row: Booking | Ticket, what: str) -> str:
    return f"{row.beneficiary.first_name}\u00a0: {what}"


def fingerprint(entries: Sequence[Entry]) -> str:
    """The same for the same file: a program that asks each hour is answered « nothing new »."""
    digest = hashlib.sha256(b"1")
    for entry in entries:
        digest.update(("\x1f".join(str(part) for part in astuple(entry)) + "\x1e").encode())
    return digest.hexdigest()[:32]


def calendar_file(entries: Sequence[Entry], *, host: str) -> bytes:
    """The file; `host` makes its events' names unique in the world."""
    calendar = Calendar()
    calendar.add("prodid", f"-//{host}//Plateforme citoyenne//FR")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", _("Réservations des enfants"))
    calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT4H")
    for entry in entries:
        calendar.add_component(_event(entry, host))
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical())


def _event(entry: Entry, host: str) -> Event:
    event = Event()
    event.add("uid", f"{entry.uid}@{host}")
    event.add("dtstamp", entry.stamp)
    event.add("dtstart", entry.start)
    event.add("dtend", entry.end)
    event.add("summary", entry.summary)
    event.add("class", "PRIVATE")
    event.add("transp", "TRANSPARENT")  # the child is busy, not the parent
    return event
