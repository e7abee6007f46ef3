"""The booking page's year: months of squares (the calendar), or of rows that tell the days of each person (the grid)."""

import calendar
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.actions import Wish
from bookings.availability import Availability, State
from bookings.selection import WHOLE_WEEK
from families.models import Beneficiary
from portal.common.formats import NBSP, WEEKDAYS, enumeration, long_date, month
from services.models import OpenDay
from services.patterns import Pattern

FEW_PLACES = 5
SHORT_WEEKDAYS = tuple(name[:3] for name in WEEKDAYS)


@dataclass(slots=True)
class Cell:
    """One day, or one day of one person. `value` is set when it can be ticked; else `kind` and `reason` say why not.

    `few` are the free places when they are few, `price` what the day costs when that is not what the others cost, `late`
    says that it is booked at the late price, `letters` who is booked already, `wait` leads to a full day's waiting list.
    """

    day: int
    value: str = ""
    label: str = ""
    checked: bool = False
    kind: str = ""
    reason: str = ""
    letters: str = ""
    skip: str = ""
    few: int = 0
    price: str = ""
    late: bool = False
    wait: str = ""


@dataclass(slots=True)
class Column:
    """A column's head: its names, and the button that ticks the column (`pick` empty: nothing to tick)."""

    short: str
    name: str
    pick: str = ""
    pick_label: str = ""
    hue: int = 0


@dataclass(slots=True)
class Month:
    """`closed` says which days that would be open are not: (« vacances scolaires », « 23 et 30 »)."""

    title: str
    columns: list[Column]
    weeks: list[list[Cell | None]]
    anchor: str
    closed: list[tuple[str, str]] = field(default_factory=list)
    pick: str = ""


@dataclass(slots=True)
class Row:
    """One open day of the grid: `lun. 7`, then a cell for each person; `starts_week` parts it from the week before."""

    name: str
    label: str
    cells: list[Cell]
    starts_week: bool


@dataclass(slots=True)
class GridMonth:
    """One month of the grid; its columns are people."""

    title: str
    columns: list[Column]
    rows: list[Row]
    anchor: str
    closed: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class YearCalendar:
    """The months that have at least one day of the activity."""

    months: Sequence[Month | GridMonth]
    has_choices: bool
    has_few: bool = False
    has_late: bool = False


@dataclass(frozen=True)
class Marks:
    """What the squares say beside the availability: what is ticked, and the prices that stand out, by date."""

    ticked: Collection[dt.date] | Collection[Wish]
    prices: Mapping[dt.date, str]


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


def build(availability: Availability, marks: Marks) -> YearCalendar:
    """Lay out the open days of an activity by month; `marks.ticked` are dates."""
    days = availability.days
    if not days:
        return YearCalendar([], has_choices=False)
    writer = _Writer(availability, marks)
    quick = set(availability.quick_dates)
    months = []
    for year, number in _months(min(days), max(days)):
        closed = _Closed(writer.pattern)
        weeks: list[list[Cell | None]] = []
        for week in calendar.Calendar().monthdatescalendar(year, number):
            cells: list[Cell | None] = []
            for date in week:
                if date.month != number:
                    cells.append(None)
                    continue
                open_day = days.get(date)
                if open_day is None:
                    cell = Cell(date.day, kind="c", reason=writer.pattern.why_closed(date))
                else:
                    cell = writer.square(open_day)
                if cell.kind == "c":
                    closed.add(date, cell.reason, expected=open_day is not None)
                cells.append(cell)
            weeks.append(cells)
        months.append(_month(year, number, weeks, quick, closed.listed))
    return writer.year(months)


def build_grid(availability: Availability, marks: Marks) -> YearCalendar:
    """Lay out the same days with a column for each person; `marks.ticked` are wishes.

    Days that are over are left out, days closed to all are only named under their month.
    """
    days = availability.days
    today = timezone.localdate(availability.at)
    if not days:
        return YearCalendar([], has_choices=False)
    writer = _Writer(availability, marks)
    quick = set(availability.quick_dates)
    months = []
    for year, number in _months(min(days), max(days)):
        closed = _Closed(writer.pattern)
        rows: list[Row] = []
        last = None
        for day in range(1, calendar.monthrange(year, number)[1] + 1):
            date = dt.date(year, number, day)
            open_day = days.get(date)
            if date < today:
                continue
            if open_day is None or not open_day.is_open:
                reason = writer.pattern.why_closed(date) if open_day is None else open_day.closed_reason
                closed.add(date, reason, expected=open_day is not None)
                continue
            week = date.isocalendar()[:2]
            rows.append(
                Row(
                    f"{SHORT_WEEKDAYS[date.weekday()]}.{NBSP}{day}",
                    long_date(date),
                    writer.person_cells(open_day),
                    starts_week=last not in (None, week),
                )
            )
            last = week
        months.append(_grid_month(year, number, rows, availability, writer.letters, quick, closed.listed))
    return writer.year(months)


def _months(first: dt.date, last: dt.date) -> Iterable[tuple[int, int]]:
    for index in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield index // 12, index % 12 + 1


def _month(
    year: int,
    number: int,
    weeks: list[list[Cell | None]],
    quick: Collection[dt.date],
    closed: list[tuple[str, str]],
) -> Month:
    title = month(dt.date(year, number, 1))
    code = f"{year}-{number:02}"
    present = {date.weekday() for date in quick if (date.year, date.month) == (year, number)}
    columns = [
        Column(
            short=SHORT_WEEKDAYS[index],
            name=WEEKDAYS[index],
            pick=f"{code}:{index + 1}" if index in present else "",
            pick_label=_("Tous les %(weekday)s de %(month)s")
            % {"weekday": WEEKDAYS[index] + "s", "month": title.lower()},
        )
        for index in range(7)
    ]
    return Month(title, columns, weeks, f"mois-{code}", closed, pick=f"{code}:{WHOLE_WEEK}" if present else "")


def _grid_month(
    year: int,
    number: int,
    rows: list[Row],
    availability: Availability,
    letters: Mapping[int, str],
    quick: Collection[dt.date],
    closed: list[tuple[str, str]],
) -> GridMonth:
    title = month(dt.date(year, number, 1))
    code = f"{year}-{number:02}"
    within = [date for date in quick if (date.year, date.month) == (year, number)]
    columns = [
        Column(
            short=letters[person.pk],
            name=person.first_name,
            pick=f"{code}:{WHOLE_WEEK}/{person.pk}"
            if any(not availability.is_settled(person.pk, date) for date in within)
            else "",
            pick_label=_("Tous les jours de %(month)s pour %(name)s")
            % {"month": title.lower(), "name": person.first_name},
            hue=index % 6 + 1,
        )
        for index, person in enumerate(availability.beneficiaries)
    ]
    return GridMonth(title, columns, rows, f"mois-{code}", closed)


class _Closed:
    """The days of a month that are closed though one would have expected them to be open, by reason."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._found: dict[str, list[str]] = {}

    def add(self, date: dt.date, reason: str, *, expected: bool) -> None:
        if expected or date.weekday() in self._pattern.weekdays:
            self._found.setdefault(reason, []).append(str(date.day))

    @property
    def listed(self) -> list[tuple[str, str]]:
        return [(reason, enumeration(numbers)) for reason, numbers in self._found.items()]


class _Writer:
    """Writes the cells of a year, and remembers which kinds there were."""

    def __init__(self, availability: Availability, marks: Marks) -> None:
        self.availability = availability
        self.marks = marks
        self.pattern = availability.pattern
        self.letters = initials(availability.beneficiaries)
        self.names = {row.pk: row.first_name for row in availability.beneficiaries}
        self._order = list(self.names)
        self._choices = self._few = self._late = False

    def year(self, months: Sequence[Month | GridMonth]) -> YearCalendar:
        """The months written, with what the legend has to explain."""
        return YearCalendar(months, has_choices=self._choices, has_few=self._few, has_late=self._late)

    def square(self, open_day: OpenDay) -> Cell:
        """One day of the calendar, for whoever is chosen."""
        date = open_day.date
        rows = self.availability.rows(date)
        who = sorted({row.beneficiary_id for row in rows}, key=self._order.index)
        # More than three people do not fit under the number; the label names them all.
        shown = [self.letters[pk] for pk in (who if len(who) <= 3 else who[:2])]
        cell = Cell(date.day, letters="".join(shown) + (f"+{len(who) - 2}" if len(who) > 3 else ""))
        state = self.availability.state(open_day)
        settled = bool(who) and all(self.availability.is_settled(pk, date) for pk in self._order)
        taken = self.availability.words(rows, self.names) if who else ""
        if state and state.kind == "c":
            cell.kind, cell.reason = state.kind, state.reason
        elif settled or (state and who and state.kind != "n"):
            cell.kind = "m"
            full = state and state.kind == "f" and not settled
            cell.reason = _("complet\u00a0; %s") % taken if full else taken
        elif state:
            cell.kind, cell.reason = state.kind, state.reason
        else:
            self._tickable(cell, open_day, [long_date(date)], taken)
            cell.value = date.isoformat()
            cell.checked = date in self.marks.ticked
            cell.skip = self.availability.skips(date)
        if not settled and (wait := self.availability.waiting_list(open_day, state)):
            cell.wait, cell.label = wait, long_date(date)
        return cell

    def person_cells(self, open_day: OpenDay) -> list[Cell]:
        """One day of the grid: a cell for each person."""
        state = self.availability.state(open_day)
        return [self._person_cell(open_day, person, state) for person in self._order]

    def _person_cell(self, open_day: OpenDay, person: int, state: State | None) -> Cell:
        date, name = open_day.date, self.names[person]
        rows = [row for row in self.availability.rows(date) if row.beneficiary_id == person]
        cell = Cell(date.day, letters=self.letters[person] if rows else "")
        taken = self.availability.words(rows) if rows else ""
        if rows and (state or self.availability.is_settled(person, date)):
            cell.kind, cell.reason = "m", taken
        elif state:
            cell.kind, cell.reason = state.kind, state.reason
        elif unfit := self.availability.unfit(person, date):
            cell.kind, cell.reason = "c", unfit
        else:
            self._tickable(cell, open_day, [name, long_date(date)], taken)
            cell.value = f"{person}:{date.isoformat()}"
            cell.checked = Wish(person, date) in self.marks.ticked
            cell.skip = self.availability.skips(date)
        if not rows and (wait := self.availability.waiting_list(open_day, state)):
            cell.wait, cell.label = f"{wait}&people={person}", f"{name}, {long_date(date)}"
        return cell

    def _tickable(self, cell: Cell, open_day: OpenDay, parts: list[str], taken: str) -> None:
        self._choices = True
        if taken:
            parts.append(taken)
        cell.price = self.marks.prices.get(open_day.date, "")
        if cell.price:
            parts.append(cell.price)
        cell.late = open_day.is_late(self.availability.at)
        if cell.late:
            self._late = True
            parts.append(_("réservation tardive"))
        if open_day.free <= FEW_PLACES:
            self._few = True
            cell.few = open_day.free
            parts.append(ngettext("%d place libre", "%d places libres", open_day.free) % open_day.free)
        if full := self.availability.full_slots(open_day.date):
            slots = [slot for slot in self.availability.slots if slot.pk in full]
            if names := [slot.name for slot in slots if open_day.offers(slot)]:
                parts.append(_("complet pour %s") % enumeration(names))
            if names := [slot.name for slot in slots if not open_day.offers(slot)]:
                parts.append(_("sans %s") % enumeration(names))
        cell.label = ", ".join(parts)
