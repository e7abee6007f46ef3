"""« Mes réservations » : a month, a week or the list of all children, and one booking with what happened to it."""

import datetime as dt
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import User
from accounts.views import current_user
from bookings.absence_actions import reportable
from bookings.agenda import Day, Family, Filters, State, month_of, week_of
from bookings.history import history_of
from bookings.models import Booking, BookingQuerySet
from checkout.forms import keys
from checkout.models import Order, OrderLine
from portal.common.formats import WEEKDAYS, enumeration, long_date

PAGE_SIZE = 30
FIRST_YEAR, LAST_YEAR = 2001, 2199  # the months, weeks and years around one must be dates too
SEPTEMBER = 9  # when a school year begins


@dataclass(frozen=True)
class Line:
    """One booking of the list, with the child's initials and colour, and whether its reader may cancel it now."""

    booking: Booking
    letter: str
    hue: int
    may_cancel: bool


@require_safe
def reservations(request: HttpRequest) -> HttpResponse:
    """All children's bookings: `vue` is mois (with all that is to come below it), semaine or liste.

    `mois` (2026-12), `semaine` (2026-W50) and `annee` (2026: from its September) say which one, `enfant`, `activite` (`s12`:
    of a whole service) and `etat` narrow it. What cannot be read is passed over.
    """
    family = Family(current_user(request))
    filters = _filters(request.GET)
    match request.GET.get("vue"):
        case "semaine":
            context = _week(request, family, filters)
        case "liste":
            context = _list(request, family, filters)
        case _:
            context = _month(request, family, filters)
    rows: list[Booking] = context["rows"]
    lines = [_line(family, row) for row in rows]
    seen = {line.booking.beneficiary_id for line in lines} | {filters.beneficiary}
    people = [*family.current, *(row for row in family.former if row.pk in seen)]
    context |= {
        "today": timezone.localdate(),
        "shown_week": context.get("shown_week"),
        "people": [(row, *family.marks[row.pk]) for row in people],
        "days": _by_day(lines),
        "listed": {row.date for row in rows},
        "may_cancel": any(line.may_cancel for line in lines),
        "filters": filters,
        "services": [
            (service, list(activities))
            for service, activities in itertools.groupby(family.activities(), key=lambda row: row.service)
        ],
        "states": State.choices,
    }
    return render(request, "checkout/reservations.html", context)


def shown(family: Family, asked: QueryDict) -> BookingQuerySet:
    """All bookings that an address of « Mes réservations » stands for, on however many pages: of its filters, in the month,
    week or school year that it names, or from today on."""
    rows = family.bookings(_filters(asked))
    first, last = _span(asked)
    return rows.filter(open_day__date__gte=first, open_day__date__lte=last)


def _span(asked: QueryDict) -> tuple[dt.date, dt.date]:
    match asked.get("vue"):
        case "semaine" if monday := _asked_week(asked.get("semaine", "")):
            return monday, monday + dt.timedelta(days=6)
        case "liste" if year := _asked_year(asked.get("annee", "")):
            return dt.date(year, SEPTEMBER, 1), dt.date(year + 1, SEPTEMBER - 1, 31)
        case None | "mois" if month := _asked_month(asked.get("mois", "")):
            return month, (month + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    return timezone.localdate(), dt.date.max


@require_safe
def reservation(request: HttpRequest, pk: int) -> HttpResponse:
    """One booking: what it is, what may still be done with it, and who did what; its price to whoever paid it."""
    user = current_user(request)
    family = Family(user)
    row = get_object_or_404(family.bookings(Filters(state=State.ALL)), pk=pk)
    paid = OrderLine.objects.filter(booking=row, order__user=user, order__status=Order.Status.PAID)
    alike = family.alike(row).filter(made_by=user, open_day__cancel_until__gt=timezone.now()).count()
    context = {
        "booking": row,
        "line": _line(family, row),
        "paid": paid.select_related("order").order_by("-pk").first(),
        "alike": alike,
        "may_report": row.beneficiary in family.current and reportable(user, row.beneficiary).filter(pk=pk).exists(),
        "history": history_of(row, user),
        "account_section": "reservations",
    }
    return render(request, "checkout/reservation.html", context)


def _filters(asked: QueryDict) -> Filters:
    def key(text: str) -> int | None:
        return next(iter(keys([text])), None)

    what, state = asked.get("activite", ""), asked.get("etat", "")
    return Filters(
        beneficiary=key(asked.get("enfant", "")),
        service=key(what.removeprefix("s")) if what.startswith("s") else None,
        activity=key(what),
        state=State(state) if state in State.values else State.BOOKED,
    )


# --- The three views -------------------------------------------------------------------------------------------------


def _month(request: HttpRequest, family: Family, filters: Filters) -> dict[str, Any]:
    """A month as a grid; below it its days, or all that is to come when no month was asked for."""
    first = _asked_month(request.GET.get("mois", ""))
    page = None
    rows: list[Booking] = []
    asked = first is not None
    if first is None:
        first = timezone.localdate().replace(day=1)
        page = _paged(request, family.bookings(filters).filter(open_day__date__gte=timezone.localdate()))
        rows = list(page.object_list)
        if rows:  # the month in which the list below begins
            first = rows[0].date.replace(day=1)
    agenda = month_of(first=first, family=family, filters=filters)
    if asked:
        rows = [row for week in agenda.weeks for day in week if day.in_month for row, _letter, _hue in day.bookings]
    return {
        "view": "mois",
        "agenda": agenda,
        "weeks": [[(day, _by_slot(day)) for day in week] for week in agenda.weeks],
        "weekday_names": WEEKDAYS,
        "asked": asked,
        "page": page,
        "rows": rows,
    }


def _week(request: HttpRequest, family: Family, filters: Filters) -> dict[str, Any]:
    """Seven days with their hours; the week of the next booking when none was asked for."""
    monday = _asked_week(request.GET.get("semaine", ""))
    if monday is None:
        today = timezone.localdate()
        coming = family.bookings(filters).filter(open_day__date__gte=today)
        next_date = coming.values_list("open_day__date", flat=True).first() or today
        monday = next_date - dt.timedelta(days=next_date.weekday())
    days = week_of(monday=monday, family=family, filters=filters)
    week = dt.timedelta(days=7)
    return {
        "view": "semaine",
        "title": _("Semaine du %s") % long_date(monday).partition(" ")[2],
        "week": [(day, _by_slot(day)) for day in days],
        "shown_week": _iso_week(monday),
        "previous": (monday - week, _iso_week(monday - week)),
        "next": (monday + week, _iso_week(monday + week)),
        "asked": True,
        "page": None,
        "rows": [row for day in days for row, _letter, _hue in day.bookings],
    }


def _list(request: HttpRequest, family: Family, filters: Filters) -> dict[str, Any]:
    """All that is to come, or a whole school year (September to August), page by page."""
    year = _asked_year(request.GET.get("annee", ""))
    today = timezone.localdate()
    rows = family.bookings(filters)
    if year is None:
        rows = rows.filter(open_day__date__gte=today)
    else:
        rows = rows.filter(open_day__date__range=(dt.date(year, SEPTEMBER, 1), dt.date(year + 1, SEPTEMBER - 1, 31)))
    page = _paged(request, rows)
    this_year = today.year - (today.month < SEPTEMBER)
    return {
        "view": "liste",
        "title": _("Année scolaire %(first)d-%(last)d") % {"first": year, "last": year + 1} if year else _("À venir"),
        "year": year,
        "this_year": this_year,
        "previous": (year or this_year) - 1,
        "next": (year or this_year) + 1,
        "asked": year is not None,
        "page": page,
        "rows": list(page.object_list),
    }


def _paged(request: HttpRequest, rows: BookingQuerySet) -> Page[Booking]:
    return Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))


def _asked_month(text: str) -> dt.date | None:
    try:
        year, number = (int(part) for part in text.split("-"))
        return dt.date(year, number, 1) if FIRST_YEAR <= year <= LAST_YEAR else None
    except ValueError:
        return None


def _asked_week(text: str) -> dt.date | None:
    """The Monday of `2026-W50`, as browsers and ISO 8601 write a week."""
    try:
        year, number = (int(part) for part in text.split("-W"))
        return dt.date.fromisocalendar(year, number, 1) if FIRST_YEAR <= year <= LAST_YEAR else None
    except ValueError:
        return None


def _asked_year(text: str) -> int | None:
    found = next(iter(keys([text])), 0)
    return found if FIRST_YEAR <= found <= LAST_YEAR else None


def _iso_week(day: dt.date) -> str:
    year, number, _weekday = day.isocalendar()
    return f"{year}-W{number:02}"


# --- Lines and squares -----------------------------------------------------------------------------------------------


def may_cancel(user: User, booking: Booking) -> bool:
    """Whether this adult may cancel the booking at this moment (bookings.actions.cancel decides)."""
    return (
        booking.status == Booking.Status.BOOKED
        and booking.made_by_id == user.pk
        and booking.open_day.cancel_until > timezone.now()
    )


def _line(family: Family, booking: Booking) -> Line:
    return Line(booking, *family.marks[booking.beneficiary_id], may_cancel(family.user, booking))


def _by_day(lines: Iterable[Line]) -> list[tuple[dt.date, list[Line]]]:
    return [(date, list(found)) for date, found in itertools.groupby(lines, key=lambda line: line.booking.date)]


def _by_slot(day: Day) -> list[tuple[Booking, list[tuple[str, int]], str]]:
    """The bookings of a square, those of one slot and state together: one of them, whose marks, and all first names."""
    found: dict[tuple[int, str], list[tuple[Booking, str, int]]] = {}
    for booking, letter, hue in day.bookings:
        found.setdefault((booking.slot_id, booking.status), []).append((booking, letter, hue))
    return [
        (
            rows[0][0],
            [(letter, hue) for _booking, letter, hue in rows],
            enumeration(booking.beneficiary.first_name for booking, _letter, _hue in rows),
        )
        for rows in found.values()
    ]
