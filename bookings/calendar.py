"""The booking page's calendar: what each day of a school year is for this family, in words that a screen can say."""

import calendar
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.models import Booking
from bookings.places import slot_room
from bookings.waiting.models import WaitingListEntry
from families.models import Beneficiary
from portal.common.formats import WEEKDAYS, enumeration, long_date, moment, month
from services.models import Activity, OpenDay, Slot
from services.patterns import Pattern
from services.school_calendar import SchoolCalendar

FEW_PLACES = 5
SHORT_WEEKDAYS = tuple(name[:3] for name in WEEKDAYS)


@dataclass(slots=True)
class Cell:
    """One day. `iso` is set when it can be ticked; otherwise `kind` and `reason` say why not."""

    day: int
    iso: str = ""
    label: str = ""
    checked: bool = False
    kind: str = ""
    reason: str = ""
    letters: str = ""
    skip: str = ""
    wait: str = ""  # address of the waiting list of a full day


@dataclass(slots=True)
class Weekday:
    """A column's head: its names, and the button that ticks the column (`pick` empty: nothing to tick)."""

    short: str
    name: str
    pick: str = ""
    pick_label: str = ""


@dataclass(slots=True)
class Month:
    """`closed` says which days that would be open are not: (« vacances scolaires », « 23 et 30 »)."""

    title: str
    weekdays: list[Weekday]
    weeks: list[list[Cell | None]]
    anchor: str
    closed: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class YearCalendar:
    """The months that have at least one day of the activity, and what can be ticked in them."""

    months: list[Month]
    tickable: list[dt.date]

    def weekdays(self) -> list[tuple[int, str]]:
        """The weekdays that can be ticked all at once, as (1 for Monday …, name)."""
        present = {date.weekday() for date in self.tickable}
        return [(number + 1, WEEKDAYS[number]) for number in sorted(present)]


def family_bookings(
    *, beneficiaries: Collection[Beneficiary], activity: Activity, first: dt.date, last: dt.date
) -> dict[dt.date, list[Booking]]:
    """What these beneficiaries have in an activity between two dates, by date; stale holds of a cart count as held."""
    found: dict[dt.date, list[Booking]] = {}
    rows = (
        Booking.objects.live()
        .filter(beneficiary__in=beneficiaries, open_day__activity=activity, open_day__date__range=(first, last))
        .annotate(offered=Exists(WaitingListEntry.objects.offered().filter(booking=OuterRef("pk"))))
        .select_related("open_day")
        .only("beneficiary_id", "status", "slot_id", "open_day__date")
    )
    for row in rows:
        found.setdefault(row.open_day.date, []).append(row)
    return found


def initials(beneficiaries: Iterable[Beneficiary]) -> dict[int, str]:
    """What stands for each child in a square: `L`, or as many letters as tell them apart: `Al` and `An`, `Lo` and `L2`.

    No two are alike within a family: the colour beside it only repeats what the letters say.
    """
    rows = list(beneficiaries)
    names = [row.first_name.capitalize() for row in rows]
    found: dict[int, str] = {}
    taken: set[str] = set()
    for row, name in zip(rows, names, strict=True):
        alike = [other for other in names if other[:1] == name[:1]]
        mark = name[:1] if len(alike) == 1 else name[:2]
        for number in range(2, len(rows) + 2):
            if mark not in taken:
                break
            mark = f"{name[:1]}{number}"
        found[row.pk] = mark
        taken.add(mark)
    return found


def build(
    *,
    activity: Activity,
    days: Sequence[OpenDay],
    booked: Mapping[dt.date, Sequence[Booking]],
    beneficiaries: Sequence[Beneficiary],
    ticked: Collection[dt.date],
    slots: Collection[Slot] = (),
) -> YearCalendar:
    """Lay out the open days of an activity by month for a family; `ticked` are the dates that come ticked.

    A date on which every one of the `slots` is full is full; where some are, it says which.
    """
    now = timezone.now()
    by_date = {row.date: row for row in days}
    if not by_date:
        return YearCalendar([], [])
    first, last = min(by_date), max(by_date)
    pattern = Pattern.of(activity, SchoolCalendar.around(first, last))
    room = slot_room(slots, [row.pk for row in days])
    letters = initials(beneficiaries)
    names = {row.pk: row.first_name for row in beneficiaries}
    tickable: list[dt.date] = []
    months = []
    for year, number in _months(first, last):
        closed: dict[str, list[str]] = {}
        weeks: list[list[Cell | None]] = []
        for week in calendar.Calendar().monthdatescalendar(year, number):
            cells: list[Cell | None] = []
            for date in week:
                if date.month != number:
                    cells.append(None)
                    continue
                open_day = by_date.get(date)
                if open_day is None:
                    cell = Cell(date.day, kind="c", reason=pattern.why_closed(date))
                else:
                    full = [slot.name for slot in slots if room.get((open_day.pk, slot.pk), 1) < 1]
                    if full and len(full) == len(slots):  # for this page: the row is read, not written
                        open_day.taken = max(open_day.taken, open_day.capacity)
                    cell = _cell(open_day, now, booked.get(date, ()), letters, names, full)
                    if activity.waiting_list and open_day.free <= 0 and not cell.iso and open_day.is_bookable(now):
                        cell.wait = f"liste-d-attente/?dates={date}" if len(booked.get(date, ())) < len(names) else ""
                        cell.label = long_date(date)
                    cell.checked = bool(cell.iso) and date in ticked
                if cell.kind == "c" and (open_day or date.weekday() in pattern.weekdays):
                    closed.setdefault(cell.reason, []).append(str(date.day))
                cells.append(cell)
            weeks.append(cells)
        dates = [dt.date.fromisoformat(c.iso) for w in weeks for c in w if c is not None and c.iso]
        tickable += dates
        why = [(reason, enumeration(numbers)) for reason, numbers in closed.items()]
        months.append(_month(year, number, weeks, dates, why))
    return YearCalendar(months, tickable)


def picked(calendar_dates: Iterable[dt.date], pick: str) -> set[dt.date]:
    """The dates that a quick-choice button stands for: `3` every Wednesday, `2026-12:3` those of December 2026."""
    period, _sep, number = pick.rpartition(":")
    return {
        date
        for date in calendar_dates
        if str(date.isoweekday()) == number and (not period or f"{date:%Y-%m}" == period)
    }


def _months(first: dt.date, last: dt.date) -> Iterable[tuple[int, int]]:
    for index in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield index // 12, index % 12 + 1


def _month(
    year: int,
    number: int,
    weeks: list[list[Cell | None]],
    tickable: Sequence[dt.date],
    closed: list[tuple[str, str]],
) -> Month:
    title = month(dt.date(year, number, 1))
    present = {date.weekday() for date in tickable}
    weekdays = [
        Weekday(
            short=SHORT_WEEKDAYS[index],
            name=WEEKDAYS[index],
            pick=f"{year}-{number:02}:{index + 1}" if index in present else "",
            pick_label=_("Tous les %(weekday)s de %(month)s")
            % {"weekday": WEEKDAYS[index] + "s", "month": title.lower()},
        )
        for index in range(7)
    ]
    return Month(title, weekdays, weeks, f"mois-{year}-{number:02}", closed)


def _cell(
    open_day: OpenDay,
    now: dt.datetime,
    booked: Sequence[Booking],
    letters: Mapping[int, str],
    names: Mapping[int, str],
    full: Sequence[str] = (),
) -> Cell:
    date = open_day.date
    who = sorted({row.beneficiary_id for row in booked}, key=list(names).index)
    # More than three children do not fit under the number; the label names them all.
    shown = [letters[pk] for pk in (who if len(who) <= 3 else who[:2])]
    cell = Cell(date.day, letters="".join(shown) + (f"+{len(who) - 2}" if len(who) > 3 else ""))
    words = _("déjà réservé\u00a0: %s")
    if any(row.status == Booking.Status.HELD for row in booked):
        offered = any(row.offered for row in booked)  # type: ignore[attr-defined]
        words = _("place proposée\u00a0: %s") if offered else _("dans le panier\u00a0: %s")
    if not open_day.is_open:
        cell.kind, cell.reason = "c", open_day.closed_reason
    elif who and len(who) == len(names):
        cell.kind = "m"
        cell.reason = words % ", ".join(names[pk] for pk in who)
    elif open_day.book_from and open_day.book_from > now:
        cell.kind, cell.reason = "n", _("réservable à partir du %s") % moment(open_day.book_from)
    elif open_day.book_until <= now:
        cell.kind = "m" if who else "l"
        cell.reason = (
            _("déjà réservé\u00a0: %s") % ", ".join(names[pk] for pk in who)
            if who
            else _("délai passé (%s)") % moment(open_day.book_until)
        )
    elif open_day.free <= 0:
        cell.kind = "m" if who else "f"
        cell.reason = (
            (_("complet\u00a0; déjà réservé\u00a0: %s") % ", ".join(names[pk] for pk in who)) if who else _("complet")
        )
    else:
        parts = [long_date(date)]
        if who:
            parts.append(_("déjà réservé\u00a0: %s") % ", ".join(names[pk] for pk in who))
        if open_day.free <= FEW_PLACES:
            parts.append(ngettext("%d place libre", "%d places libres", open_day.free) % open_day.free)
        if full:
            parts.append(_("complet pour %s") % enumeration(full))
        cell.iso = date.isoformat()
        cell.label = ", ".join(parts)
        cell.skip = " ".join(str(pk) for pk in who)
    return cell
