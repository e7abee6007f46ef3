"""The booking page's year: months of squares (the calendar), or of rows that tell the days of each person (the grid)."""

import calendar
import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.actions import Wish
from bookings.availability import Availability, Had, State
from bookings.models import Booking
from bookings.selection import WHOLE_WEEK
from families.models import Beneficiary
from portal.common.formats import NBSP, WEEKDAYS, enumeration, long_date, moment, month, of_month
from services.models import OpenDay
from services.patterns import Pattern

FEW_PLACES = 5
SHORT_WEEKDAYS = tuple(name[:3] for name in WEEKDAYS)


@dataclass(slots=True)
class Cell:
    """One day, or one day of one person. `value` is set when it can be ticked; else `kind` and `reason` say why not.

    `kind` is a State's, or "m" booked already, "h" in the cart, "q" waited for. `word` is what the square shows of it,
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
    here: str = ""
    few: int = 0
    price: str = ""
    late: bool = False
    wait: str = ""
    word: str = ""


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
    """`closed` says which days that would be open are not: (« vacances scolaires », « 23 et 30 »); `until`, of those that
    can be ticked, up to when: (« lun. 7 et mar. 8 », « jeudi 3 décembre à 10 h »). `before` stands for the months before it
    that have no open day.
    """

    title: str
    columns: list[Column]
    weeks: list[list[Cell | None]]
    anchor: str
    closed: list[tuple[str, str]] = field(default_factory=list)
    until: list[tuple[str, str]] = field(default_factory=list)
    pick: str = ""
    before: str = ""


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
    until: list[tuple[str, str]] = field(default_factory=list)
    before: str = ""


@dataclass
class YearCalendar:
    """The months that have an open day; `seen` are what the legend has to explain: "choices" (days that can be ticked),
    "few" places, "late" days, days "held" in the cart, "waits". `after` stands for the months after the last of them.
    """

    months: Sequence[Month | GridMonth]
    seen: Collection[str] = ()
    after: str = ""


@dataclass
class Past:
    """The months of the school year that are over: `De septembre à octobre 2026 : 6 jours réservés`."""

    title: str
    months: Sequence[Month]


@dataclass(frozen=True)
class Marks:
    """What the squares say beside the availability: what is ticked, and prices that stand out.

    `price` is asked with a beneficiary (None in the calendar) and an open day; `tells_who`: the live total has to know
    who is there already; `lists_url`: where a family sees what it waits for; `never`: who may come on no date, which is said
    beside the name.
    """

    ticked: Collection[dt.date] | Collection[Wish]
    price: Callable[[int | None, OpenDay], str] = lambda _person, _day: ""
    tells_who: bool = False
    lists_url: str = ""
    never: Collection[int] = ()


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


def build(availability: Availability, marks: Marks, *, first: dt.date, last: dt.date) -> YearCalendar:
    """Lay out the open days of an activity by month, from `first` to `last`; `marks.ticked` are dates."""
    days = availability.days
    if not days:
        return YearCalendar([])
    writer = _Writer(availability, marks)
    quick = set(availability.quick_dates)
    months = []
    opened, after = _opened(days, first, last)
    for year, number, before in opened:
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
                if open_day is None or not open_day.is_open:
                    closed.add(date, cell.reason, expected=open_day is not None)
                cells.append(cell)
            weeks.append(cells)
        months.append(_month(year, number, weeks, quick, closed.listed, writer.take_until()))
        months[-1].before = before
    return writer.year(months, after)


def build_grid(availability: Availability, marks: Marks, *, first: dt.date, last: dt.date) -> YearCalendar:
    """Lay out the same days with a column for each person; `marks.ticked` are wishes.

    Days that are over are left out, days closed to all are only named under their month.
    """
    days = availability.days
    today = timezone.localdate(availability.at)
    if not days:
        return YearCalendar([])
    writer = _Writer(availability, marks)
    quick = set(availability.quick_dates)
    months = []
    opened, after = _opened(days, first, last)
    for year, number, before in opened:
        closed = _Closed(writer.pattern)
        rows: list[Row] = []
        week_before = None
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
                    _day_name(date),
                    long_date(date),
                    writer.person_cells(open_day),
                    starts_week=week_before not in (None, week),
                )
            )
            week_before = week
        until = writer.take_until()
        months.append(_grid_month(year, number, rows, availability, writer.letters, quick, closed.listed, until))
        months[-1].before = before
    return writer.year(months, after)


def build_past(availability: Availability, first: dt.date, end: dt.date) -> Past | None:
    """The months from a date until another (itself left out), with what was booked in them and nothing to tick.

    None when there is no such month. Nothing more is read: days that were not booked are told by their number alone.
    """
    if first >= end:
        return None
    last = end - dt.timedelta(days=1)
    writer = _Writer(availability, Marks(()))
    months = []
    for year, number in _months(first, last):
        weeks: list[list[Cell | None]] = [
            [writer.past(date) if date.month == number else None for date in week]
            for week in calendar.Calendar().monthdatescalendar(year, number)
        ]
        months.append(_month(year, number, weeks, (), [], []))
    count = sum(cell is not None and cell.kind == "m" for row in months for week in row.weeks for cell in week)
    words = ngettext("mois passé", "mois passés", len(months))
    if count:
        words = ngettext("%d jour réservé", "%d jours réservés", count) % count
    return Past(f"{_span(first, last)}\u00a0: {words}", months)


def _opened(days: Mapping[dt.date, OpenDay], first: dt.date, last: dt.date) -> tuple[list[tuple[int, int, str]], str]:
    """The months with a day that is open, each with what is said of those before it that have none; what is said of the last."""
    known = {(date.year, date.month) for date, day in days.items() if day.is_open}
    found = []
    empty: list[dt.date] = []
    for year, number in _months(first, last):
        if (year, number) in known:
            found.append((year, number, _nothing_in(empty)))
            empty = []
        else:
            empty.append(dt.date(year, number, 1))
    return found, _nothing_in(empty)


def _nothing_in(months: Sequence[dt.date]) -> str:
    """`De novembre 2026 à janvier 2027 : aucun jour ouvert`; empty when there is no such month."""
    return _("%s\u00a0: aucun jour ouvert") % _span(months[0], months[-1]) if months else ""


def _span(first: dt.date, last: dt.date) -> str:
    """The months from one to another: `Mars 2027`, `De septembre à octobre 2026`, `D’octobre 2026 à janvier 2027`."""
    if (first.year, first.month) == (last.year, last.month):
        return month(first)
    start = of_month(first, year=first.year != last.year)
    return _("%(from)s à %(last)s") % {"from": capfirst(start), "last": month(last).lower()}


def _months(first: dt.date, last: dt.date) -> Iterable[tuple[int, int]]:
    for index in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield index // 12, index % 12 + 1


def _month(
    year: int,
    number: int,
    weeks: list[list[Cell | None]],
    quick: Collection[dt.date],
    closed: list[tuple[str, str]],
    until: list[tuple[str, str]],
) -> Month:
    first = dt.date(year, number, 1)
    title = month(first)
    code = f"{year}-{number:02}"
    present = {date.weekday() for date in quick if (date.year, date.month) == (year, number)}
    columns = [
        Column(
            short=SHORT_WEEKDAYS[index],
            name=WEEKDAYS[index],
            pick=f"{code}:{index + 1}" if index in present else "",
            pick_label=_("Tous les %(weekday)s %(of_month)s")
            % {"weekday": WEEKDAYS[index] + "s", "of_month": of_month(first)},
        )
        for index in range(7)
    ]
    return Month(title, columns, weeks, f"mois-{code}", closed, until, pick=f"{code}:{WHOLE_WEEK}" if present else "")


def _grid_month(
    year: int,
    number: int,
    rows: list[Row],
    availability: Availability,
    letters: Mapping[int, str],
    quick: Collection[dt.date],
    closed: list[tuple[str, str]],
    until: list[tuple[str, str]],
) -> GridMonth:
    first = dt.date(year, number, 1)
    title = month(first)
    code = f"{year}-{number:02}"
    within = [date for date in quick if (date.year, date.month) == (year, number)]
    columns = [
        Column(
            short=letters[person.pk],
            name=person.first_name,
            pick=f"{code}:{WHOLE_WEEK}/{person.pk}"
            if any(
                not (availability.is_settled(person.pk, date) or availability.unfit(person.pk, date)) for date in within
            )
            else "",
            pick_label=_("Tous les jours %(of_month)s pour %(name)s")
            % {"of_month": of_month(first), "name": person.first_name},
            hue=index % 6 + 1,
        )
        for index, person in enumerate(availability.beneficiaries)
    ]
    return GridMonth(title, columns, rows, f"mois-{code}", closed, until)


def _day_name(date: dt.date) -> str:
    """`lun. 7`."""
    return f"{SHORT_WEEKDAYS[date.weekday()]}.{NBSP}{date.day}"


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
        self._seen: set[str] = set()
        # Up to when the days of the month that is being written can be booked late or in time, and cancelled.
        self._until: dict[tuple[dt.datetime, dt.datetime | None, dt.datetime], list[str]] = {}
        self._soon: dict[str, list[str]] = {}
        self._last: OpenDay | None = None

    def year(self, months: Sequence[Month | GridMonth], after: str) -> YearCalendar:
        """The months written, with what the legend has to explain."""
        return YearCalendar(months, self._seen, after)

    def take_until(self) -> list[tuple[str, str]]:
        """Up to when the days written since the last time can be booked and cancelled, those of one moment together."""
        found, self._until = self._until, {}
        soon, self._soon = self._soon, {}
        told = [(enumeration(days), self._until_words(*moments)) for moments, days in found.items()]
        return [*((enumeration(days), reason) for reason, days in soon.items()), *told]

    def _until_words(self, book: dt.datetime, late: dt.datetime | None, cancel: dt.datetime) -> str:
        at = self.availability.at
        if late is None and book == cancel:
            return moment(book)
        parts = [_("réserver jusqu’au %s") % moment(book)] if book > at else []
        if late is not None:
            late_words = _("tardivement jusqu’au %s") if parts else _("réserver tardivement jusqu’au %s")
            parts.append(late_words % moment(late))
        parts.append(_("annuler jusqu’au %s") % moment(cancel) if cancel > at else _("ne s’annule plus"))
        return ", ".join(parts)

    def past(self, date: dt.date) -> Cell:
        """One day that is over, with who was booked."""
        rows = [row for row in self.availability.rows(date) if row.status == Booking.Status.BOOKED]
        cell = Cell(date.day)
        if rows:
            cell.kind, cell.reason = "m", self.availability.words(rows, self.names)
            cell.letters = self._letters(row.beneficiary_id for row in rows)
        return cell

    def _letters(self, people: Iterable[int]) -> str:
        """`LT`; more than three people do not fit under the number, and the label names them all."""
        who = sorted(set(people), key=self._order.index)
        shown = [self.letters[pk] for pk in (who if len(who) <= 3 else who[:2])]
        return "".join(shown) + (f"+{len(who) - 2}" if len(who) > 3 else "")

    def square(self, open_day: OpenDay) -> Cell:
        """One day of the calendar, for whoever is chosen."""
        date = open_day.date
        rows = self.availability.rows(date)
        who = {row.beneficiary_id for row in rows}
        cell = Cell(date.day, letters=self._letters(who) if who else "")
        state = self.availability.state(open_day)
        settled = bool(who) and all(self.availability.is_settled(pk, date) for pk in self._order)
        taken = self.availability.words(rows, self.names) if who else ""
        if state and state.kind == "c":
            cell.kind, cell.reason = state.kind, state.reason
        elif settled or (state and who and state.kind != "n"):
            self._mark_taken(cell, rows)
            full = state and state.kind == "f" and not settled
            cell.reason = _("complet\u00a0; %s") % taken if full else taken
        elif state:
            cell.kind, cell.reason = state.kind, state.reason
            self._note_soon(open_day, state)
        elif (unfit := self._unfit(date)) and len(unfit) == len(self._order):
            cell.kind, cell.reason = "c", next(iter(unfit.values()))
        else:
            names = [self.names[pk] for pk in unfit if pk not in self.marks.never]
            parts = [long_date(date), *([_("pas pour %s") % enumeration(names)] if names else [])]
            self._tickable(cell, open_day, None, parts, taken)
            self._mark_held(cell, rows)
            cell.value = date.isoformat()
            cell.checked = date in self.marks.ticked
            cell.skip = self.availability.skips(date)
        if not settled and (wait := self.availability.waiting_list(open_day, state)):
            cell.wait, cell.label = wait, long_date(date)
            if waits := self.availability.waits(date):
                words = self.availability.waiting_words(waits, self.names)
                self._mark_waited(cell, f"{cell.reason}\u00a0; {words}" if who else words)
                cell.letters = self._letters({*who, *(row.beneficiary_id for row in waits)})
        return cell

    def _unfit(self, date: dt.date) -> dict[int, str]:
        """Whom the activity is not for that day, and why."""
        found = {pk: self.availability.unfit(pk, date) for pk in self._order}
        return {pk: why for pk, why in found.items() if why}

    def _mark_taken(self, cell: Cell, rows: Sequence[Had]) -> None:
        """What the family has that day; a place that is not paid for yet is told apart from a booking."""
        cell.kind = "m"
        if any(self.availability.is_in_cart(row) for row in rows):
            self._seen.add("held")
            cell.kind, cell.word = "h", _("panier")

    def _note_soon(self, open_day: OpenDay, state: State) -> None:
        """A day that is not open yet is told from one that is closed, and from when it can be booked is told under its month."""
        name = _day_name(open_day.date)
        if state.kind == "n" and name not in self._soon.setdefault(state.reason, []):
            self._seen.add("soon")
            self._soon[state.reason].append(name)

    def _mark_held(self, cell: Cell, rows: Sequence[Had]) -> None:
        """A day that can still be ticked, for another child or slot, tells what waits in the cart to be paid."""
        if any(self.availability.is_in_cart(row) for row in rows):
            self._seen.add("held")
            cell.word = _("panier")

    def _mark_waited(self, cell: Cell, reason: str) -> None:
        self._seen.add("waits")
        cell.kind, cell.reason, cell.word, cell.wait = "q", reason, _("attente"), self.marks.lists_url

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
            self._mark_taken(cell, rows)
            cell.reason = taken
        elif state:
            cell.kind, cell.reason = state.kind, state.reason
            self._note_soon(open_day, state)
        elif unfit := self.availability.unfit(person, date):
            cell.kind, cell.reason = "c", unfit
        else:
            self._tickable(cell, open_day, person, [name, long_date(date)], taken)
            self._mark_held(cell, rows)
            cell.value = f"{person}:{date.isoformat()}"
            cell.checked = Wish(person, date) in self.marks.ticked
            cell.skip = self.availability.skips(date)
        if not rows and (wait := self.availability.waiting_list(open_day, state)):
            cell.wait, cell.label = f"{wait}&people={person}", f"{name}, {long_date(date)}"
            if waits := self.availability.waits(date, person):
                self._mark_waited(cell, self.availability.waiting_words(waits))
        return cell

    def _tickable(self, cell: Cell, open_day: OpenDay, person: int | None, parts: list[str], taken: str) -> None:
        self._seen.add("choices")
        if open_day is not self._last:  # once a day, not for each person
            self._last = open_day
            moments = open_day.book_until, open_day.late_until, open_day.cancel_until
            self._until.setdefault(moments, []).append(_day_name(open_day.date))
        if taken:
            parts.append(taken)
        cell.price = self.marks.price(person, open_day)
        if cell.price:
            parts.append(cell.price)
        cell.late = open_day.is_late(self.availability.at)
        if cell.late:
            self._seen.add("late")
            parts.append(_("réservation tardive"))
        if (free := self.availability.free(open_day)) <= FEW_PLACES:
            self._seen.add("few")
            cell.few = free
            parts.append(ngettext("%d place libre", "%d places libres", free) % free)
        for slot, left in self.availability.scarce(open_day, FEW_PLACES):
            words = ngettext("%(n)d place libre pour %(slot)s", "%(n)d places libres pour %(slot)s", left)
            parts.append(words % {"n": left, "slot": slot})
        if full := self.availability.full_slots(open_day.date):
            slots = [slot for slot in self.availability.slots if slot.pk in full]
            if names := [slot.name for slot in slots if open_day.offers(slot)]:
                parts.append(_("complet pour %s") % enumeration(names))
            if names := [slot.name for slot in slots if not open_day.offers(slot)]:
                parts.append(_("sans %s") % enumeration(names))
        if self.marks.tells_who:
            cell.here = " ".join(map(str, self.availability.there(open_day.date)))
        cell.label = ", ".join(parts)
