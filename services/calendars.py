"""From weekday rules, the zone A school calendar and public holidays to open days."""

import datetime as dt
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import holidays
from django.db import transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from vacances_scolaires_france import SchoolHolidayDates, UnsupportedYearException

from portal.common.errors import Refused
from portal.common.formats import long_date
from services.deadlines import moment_for
from services.models import Activity, OpenDay, SchoolHoliday

ZONE = "A"  # académie de Clermont-Ferrand


@dataclass
class Report:
    """What a generation did, and the days that it left alone because somebody holds a place there."""

    created: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    kept: list[str] = field(default_factory=list)


def public_holidays(first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """French public holidays between two dates, by date."""
    return dict(_public_holidays(first.year, last.year))


@functools.lru_cache(maxsize=32)
def _public_holidays(first_year: int, last_year: int) -> dict[dt.date, str]:
    # Computed once for each span of years: the package takes as long as rendering a month of the calendar.
    return dict(holidays.country_holidays("FR", years=range(first_year, last_year + 1), language="fr"))


def school_year(date: dt.date) -> tuple[dt.date, dt.date]:
    """The first and last date of the school year around a date: 1 September to 31 August."""
    start = date.year if date.month >= 9 else date.year - 1
    return dt.date(start, 9, 1), dt.date(start + 1, 8, 31)


@transaction.atomic
def import_school_holidays(first_year: int, last_year: int) -> int:
    """Fill the editable table from the packaged calendar of zone A; rows that exist are left as an agent set them.

    Returns how many were added. Years that the package does not know yet are passed over.
    """
    wanted = [
        SchoolHoliday(name=name, first_day=first, last_day=last)
        for name, first, last in _packaged_holidays(first_year, last_year)
        if not SchoolHoliday.objects.filter(first_day__lte=last, last_day__gte=first).exists()
    ]
    return len(SchoolHoliday.objects.bulk_create(wanted))


def _packaged_holidays(first_year: int, last_year: int) -> Iterator[tuple[str, dt.date, dt.date]]:
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


@transaction.atomic
def generate_open_days(*, activity: Activity, first: dt.date, last: dt.date) -> Report:
    """Make the calendar of an activity between two dates agree with its rules; running it again changes nothing.

    A day set by hand is left alone. A day on which somebody holds a place stays, loses nothing that its families count
    on (places, time to cancel), and is named in the report. Raises Refused when the school calendar is not known up to `last`.
    """
    known_until = SchoolHoliday.objects.order_by("-last_day").values_list("last_day", flat=True).first()
    if activity.term != Activity.Term.ALWAYS and (known_until is None or known_until < last):
        raise Refused(
            _("Le calendrier scolaire de la zone %(zone)s n’est connu que jusqu’au %(date)s : complétez-le d’abord.")
            % {"zone": ZONE, "date": long_date(known_until) if known_until else "…"},
            code="school_calendar_unknown",
        )
    report = Report()
    wanted = {row.date: row for row in _wanted_days(activity, first, last)}
    existing = OpenDay.objects.filter(activity=activity, date__range=(first, last)).order_by("pk")
    touched: list[OpenDay] = []
    for day in existing.select_for_update(no_key=True):
        rule = wanted.pop(day.date, None)
        if day.by_hand or (rule is None and not day.is_open) or (rule is not None and _facts(day) == _facts(rule)):
            report.unchanged += 1
        elif rule is None:
            _withdraw(day, report)
        elif _adopt(day, rule, report):
            touched.append(day)
        else:
            report.unchanged += 1
    report.updated = len(touched)
    OpenDay.objects.bulk_update(touched, FACTS, batch_size=500)
    report.created = len(OpenDay.objects.bulk_create(wanted.values()))
    return report


FACTS = ["capacity", "book_until", "cancel_until", "is_open", "closed_reason"]


def _facts(day: OpenDay) -> tuple[Any, ...]:
    return tuple(getattr(day, name) for name in FACTS)


def _withdraw(day: OpenDay, report: Report) -> None:
    """Take away a day that the rules no longer open, unless somebody holds a place there."""
    if day.taken:
        report.kept.append(
            ngettext(
                "%(day)s reste ouvert\u00a0: %(taken)d place prise, alors que la règle le fermerait.",
                "%(day)s reste ouvert\u00a0: %(taken)d places prises, alors que la règle le fermerait.",
                day.taken,
            )
            % {"day": long_date(day.date), "taken": day.taken}
        )
        report.unchanged += 1
        return
    try:
        with transaction.atomic():
            day.delete()
    except ProtectedError:  # somebody booked it once and cancelled: the row is part of their history
        day.is_open, day.closed_reason = False, _("Hors calendrier")
        day.save()
    report.removed += 1


def _adopt(day: OpenDay, rule: OpenDay, report: Report) -> bool:
    """Take over the rule's facts; where places are taken, only as far as nobody who booked loses by it.

    Returns whether the day has changed.
    """
    before = _facts(day)
    day.is_open, day.closed_reason = True, ""
    day.capacity = max(rule.capacity, day.taken)
    day.book_until = rule.book_until
    day.cancel_until = max(rule.cancel_until, day.cancel_until) if day.taken else rule.cancel_until
    if day.taken:
        if _facts(day) == _facts(rule):
            text = ngettext(
                "%(day)s\u00a0: la nouvelle règle est appliquée, %(taken)d place prise est gardée.",
                "%(day)s\u00a0: la nouvelle règle est appliquée, %(taken)d places prises sont gardées.",
                day.taken,
            )
        else:
            text = ngettext(
                "%(day)s\u00a0: la nouvelle règle n’est pas toute appliquée, pour ne rien retirer à %(taken)d place prise.",
                "%(day)s\u00a0: la nouvelle règle n’est pas toute appliquée, pour ne rien retirer à %(taken)d places prises.",
                day.taken,
            )
        report.kept.append(text % {"day": long_date(day.date), "taken": day.taken})
    return _facts(day) != before


def _wanted_days(activity: Activity, first: dt.date, last: dt.date) -> Iterator[OpenDay]:
    off = public_holidays(first - dt.timedelta(days=90), last)
    breaks = list(SchoolHoliday.objects.filter(first_day__lte=last, last_day__gte=first))
    for offset in range((last - first).days + 1):
        date = first + dt.timedelta(days=offset)
        if date.weekday() not in activity.weekdays:
            continue
        if date in off and not activity.open_on_public_holidays:
            continue
        in_holidays = any(row.first_day <= date <= row.last_day for row in breaks)
        if activity.term == Activity.Term.SCHOOL and in_holidays:
            continue
        if activity.term == Activity.Term.HOLIDAYS and not in_holidays:
            continue
        yield OpenDay(
            activity=activity,
            date=date,
            capacity=activity.capacity,
            book_until=moment_for(activity.booking_deadline, date, public_holidays=off),
            cancel_until=moment_for(activity.cancel_deadline, date, public_holidays=off),
        )
