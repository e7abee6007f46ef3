"""What a deadline says before it is saved: the parents' sentence, and the exact moments for a few telling dates."""

import datetime as dt
from dataclasses import dataclass

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from portal.common.errors import Refused
from portal.common.formats import long_date, moment, today
from services.deadlines import late_limit_for, moment_for, opening_for, sentence
from services.models import Deadline
from services.school_calendar import SchoolCalendar, end_of_next_school_year

SOON = dt.timedelta(days=7)
ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Example:
    """One date: why it is telling, and its moments in words."""

    kind: str
    date: str
    opens: str
    until: str
    late: str


@dataclass(frozen=True)
class Preview:
    """The sentence, the examples, and which columns some example fills."""

    sentence: str
    examples: list[Example]

    @property
    def opens(self) -> bool:
        return any(row.opens for row in self.examples)

    @property
    def late(self) -> bool:
        return any(row.late for row in self.examples)


def preview(deadline: Deadline) -> Preview:
    """Of a rule whose own fields are right; it need not be saved. One query."""
    first = today() + SOON
    calendar = SchoolCalendar.around(first, end_of_next_school_year(first))
    return Preview(
        capfirst(_("réservable %s.") % sentence(deadline)),
        [_example(deadline, kind, date, calendar) for kind, date in _telling_dates(first, calendar)],
    )


def _example(deadline: Deadline, kind: str, date: dt.date, calendar: SchoolCalendar) -> Example:
    try:
        until = moment(moment_for(deadline, date, calendar=calendar))
    except Refused:
        return Example(kind, long_date(date), "", _("pas de limite fixée\u00a0: on ne peut pas ouvrir ce jour"), "")
    opens = opening_for(deadline, date, calendar=calendar)
    late = late_limit_for(deadline, date, calendar=calendar)
    return Example(kind, long_date(date), moment(opens) if opens else "", until, moment(late) if late else "")


def _telling_dates(first: dt.date, calendar: SchoolCalendar) -> list[tuple[str, dt.date]]:
    """A Monday, a Thursday, the day after a public holiday, the first day after holidays, a day of them: those there are."""
    days = [first + dt.timedelta(days=offset) for offset in range(300)]
    school = [day for day in days if calendar.holidays_of(day) is None and day not in calendar.public_holidays]
    found = [
        (_("Un lundi"), (day for day in school if day.weekday() == 0)),
        (_("Un jeudi"), (day for day in school if day.weekday() == 3)),
        (
            _("Au lendemain d’un jour férié"),
            (day for day in school if day.weekday() < 5 and day - ONE_DAY in calendar.public_holidays),
        ),
    ]
    coming = next((row for row in calendar.breaks if row.first_day > first), None)
    if coming is not None:
        holidays = coming.name[:1].lower() + coming.name[1:]
        inside = (day for day in days if coming.first_day <= day <= coming.last_day and day.weekday() == 0)
        after = (day for day in school if day > coming.last_day and day.weekday() < 5)
        found += [
            (_("Pendant les %s") % holidays, inside),
            (_("À la rentrée après les %s") % holidays, after),
        ]
    return [(kind, date) for kind, dates in found if (date := next(dates, None)) is not None]
