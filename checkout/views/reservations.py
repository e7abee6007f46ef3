"""« Mes réservations » : the month of all children, the list, and cancelling."""

import datetime as dt
import itertools
from collections.abc import Mapping

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from accounts.views import current_user
from bookings.agenda import Day, Family, month_of
from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.forms import keys
from checkout.models import OrderLine
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, enumeration, euros
from portal.common.money import ZERO

PAGE_SIZE = 30
YEARS_SHOWN = 5


@require_safe
def reservations(request: HttpRequest) -> HttpResponse:
    """One month as a calendar with every child, then a list by day: all that is to come, or the month asked for."""
    today = timezone.localdate()
    asked = request.GET.get("mois", "")
    try:
        year, number = (int(part) for part in (asked or f"{today:%Y-%m}").split("-"))
        first = dt.date(year, number, 1)
        if not 2000 < year < 2200:  # the months around it must be dates too
            raise ValueError
    except ValueError:
        asked, first = "", today.replace(day=1)
    family = Family(current_user(request))
    page = None
    if not asked:
        upcoming = family.bookings().filter(open_day__date__gte=today)
        page = Paginator(upcoming, PAGE_SIZE).get_page(request.GET.get("page"))
        rows = list(page.object_list)
        if rows:  # the month in which the list below begins
            first = rows[0].open_day.date.replace(day=1)
    agenda = month_of(first=first, family=family)
    if asked:
        rows = [row for week in agenda.weeks for day in week if day.in_month for row, _letter, _hue in day.bookings]
    former = {row.beneficiary for row in rows} - set(family.current)
    people = [*family.current, *(row for row in family.former if row in former)]
    context = {
        "agenda": agenda,
        "weeks": [[(day, _by_slot(day)) for day in week] for week in agenda.weeks],
        "asked": asked,
        "today": today,
        "people": [(row, *family.marks[row.pk]) for row in people],
        "page": page,
        "days": [
            (date, [_line(request, row, family.marks) for row in on_date])
            for date, on_date in itertools.groupby(rows, key=lambda row: row.open_day.date)
        ],
        "may_cancel": any(_may_cancel(request, row) for row in rows),
        "weekday_names": WEEKDAYS,
    }
    return render(request, "checkout/reservations.html", context)


def _by_slot(day: Day) -> list[tuple[Booking, list[tuple[str, int]], str]]:
    """The bookings of a square, those of one slot together: one of them, whose marks, and all first names."""
    found: dict[int, list[tuple[Booking, str, int]]] = {}
    for booking, letter, hue in day.bookings:
        found.setdefault(booking.slot_id, []).append((booking, letter, hue))
    return [
        (
            rows[0][0],
            [(letter, hue) for _booking, letter, hue in rows],
            enumeration(booking.beneficiary.first_name for booking, _letter, _hue in rows),
        )
        for rows in found.values()
    ]


def _line(
    request: HttpRequest, booking: Booking, known: Mapping[int, tuple[str, int]]
) -> tuple[Booking, str, int, bool]:
    return booking, *known[booking.beneficiary_id], _may_cancel(request, booking)


def _may_cancel(request: HttpRequest, booking: Booking) -> bool:
    return booking.made_by_id == current_user(request).pk and booking.open_day.cancel_until > timezone.now()


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest) -> HttpResponse:
    """Say what goes back to the wallet (GET, fields `r`), then cancel (POST)."""
    sent = request.POST if request.method == "POST" else request.GET
    ids = keys(sent.getlist("r"))
    if request.method == "POST":
        try:
            total = cancel_bookings(ids=ids, by=current_user(request))
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
            return redirect("reservations")
        messages.success(
            request,
            ngettext(
                "Réservation annulée. Votre porte-monnaie a reçu %(total)s.",
                "%(count)d réservations annulées. Votre porte-monnaie a reçu %(total)s.",
                len(ids),
            )
            % {"count": len(ids), "total": euros(total)},
        )
        return redirect("reservations")
    rows = list(
        Booking.objects.booked()
        .filter(pk__in=ids, made_by=current_user(request))
        .select_related("beneficiary", "slot", "open_day__activity__service")
        .order_by("period")
    )
    if not rows:
        if ids and not Booking.objects.filter(pk__in=ids, made_by=current_user(request)).exists():
            raise Http404
        if ids:
            messages.info(request, _("Ces réservations ne sont plus à annuler : elles l’ont déjà été."))
            return redirect("reservations")
        messages.info(request, _("Cochez d’abord les réservations à annuler."))
        return redirect("reservations")
    lines = OrderLine.objects.filter(booking__in=rows, cancelled_at=None, order__status="paid")
    late = [row for row in rows if row.open_day.cancel_until <= timezone.now()]
    context = {
        "rows": [row for row in rows if row not in late],
        "late": late,
        "total": sum((line.unit_price for line in lines if line.booking_id not in {row.pk for row in late}), ZERO),
    }
    return render(request, "checkout/cancel.html", context)
