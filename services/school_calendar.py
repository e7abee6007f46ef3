"""What the calendar of a school year is made of: public holidays, and the school holidays of zone A."""

import datetime as dt
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import holidays
from django.db import transaction
from vacances_scolaires_france import SchoolHolidayDates, UnsupportedYearException

from portal.common.formats import today
from services.models import SchoolHoliday

ZONE = "A"  # académie de Clermont-Ferrand


@dataclass(frozen=True)
class SchoolCalendar:
    """Public holidays by date, and school holidays, over a stretch of time: what rules count days with."""

    public_holidays: Mapping[dt.date, str]
    breaks: Sequence[SchoolHoliday]

    @classmethod
    def around(cls, first: dt.date, last: dt.date) -> Self:
        """All that a rule may look at for a day between two dates: a year before it too. One query."""
        since = first - dt.timedelta(days=366)
        breaks = SchoolHoliday.objects.filter(first_day__lte=last, last_day__gte=since).order_by("first_day")
        return cls(public_holidays(since, last), list(breaks))

    def holidays_of(self, date: dt.date) -> SchoolHoliday | None:
        """The school holidays that a date lies in, if it does."""
        return next((row for row in self.breaks if row.first_day <= date <= row.last_day), None)


def is_summer(holidays: SchoolHoliday) -> bool:
    """Whether these are the long holidays, whatever an operator calls them: the first of August lies in them."""
    return holidays.first_day <= dt.date(holidays.last_day.year, 8, 1) <= holidays.last_day


def public_holidays(first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """French public holidays between two dates, by date."""
    return dict(_public_holidays(first.year, last.year))


@functools.lru_cache(maxsize=32)
def _public_holidays(first_year: int, last_year: int) -> dict[dt.date, str]:
    # Computed once for each span of years: the package takes as long as rendering a month of the calendar.
    found = holidays.country_holidays("FR", years=range(first_year, last_year + 1), language="fr")
    return {date: name.replace("'", "’") for date, name in found.items()}


def school_year(date: dt.date) -> tuple[dt.date, dt.date]:
    """The first and last date of the school year around a date: 1 September to 31 August."""
    start = date.year if date.month >= 9 else date.year - 1
    return dt.date(start, 9, 1), dt.date(start + 1, 8, 31)


def years_to_declare() -> list[int]:
    """This school year and the next, by the year they begin in: in July and August, the coming one is the first."""
    first = school_year(today() + dt.timedelta(days=62))[0].year
    return [first, first + 1]


def end_of_next_school_year(date: dt.date) -> dt.date:
    """Up to when calendars are made unless somebody says otherwise."""
    return school_year(school_year(date)[1] + dt.timedelta(days=1))[1]


@transaction.atomic
def import_school_holidays(first_year: int, last_year: int) -> int:
    """Fill the editable table from the packaged calendar of zone A; rows that exist are left as an agent set them.

    Returns how many were added. Years that the package does not know yet are passed over.
    """
    wanted = [
        SchoolHoliday(name=name, first_day=first, last_day=last)
        for name, first, last in packaged_holidays(first_year, last_year)
        if not SchoolHoliday.objects.filter(first_day__lte=last, last_day__gte=first).exists()
    ]
    return len(SchoolHoliday.objects.bulk_create(wanted))


def packaged_holidays(first_year: int, last_year: int) -> Iterator[tuple[str, dt.date, dt.date]]:
    """The school holidays of zone A as (name, first day, last day), of the years that the package knows."""
    days: dict[dt.date, str] = {}
    for year in range(first_year, last_year + 1):
        try:
            rows = SchoolHolidayDates().holidays_for_year_and_zone(year, ZONE)
        except UnsupportedYearException:
            continue
        days |= {date: row["nom_vacances"] for date, row in rows.items()}
    run: list[dt.date] = []
    for date in sorted(days):
        if run and (date - run[-1] > dt.timedelta(days=1) or days[date] != days[run[-1]]):
            yield days[run[-1]].replace("'", "’"), run[0], run[-1]
            run = []
        run.append(date)
    if run:
        yield days[run[-1]].replace("'", "’"), run[0], run[-1]
