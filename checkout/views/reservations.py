"""« Mes réservations » : the month of all children, the list, and cancelling."""

import datetime as dt

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from bookings.agenda import month_of, upcoming
from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.models import OrderLine
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, euros
from portal.common.money import ZERO

PAGE_SIZE = 30


@require_safe
def reservations(request: HttpRequest) -> HttpResponse:
    """One month as a calendar with every child, then what is to come as a list."""
    today = timezone.localdate()
    try:
        year, number = (int(part) for part in request.GET.get("mois", f"{today:%Y-%m}").split("-"))
        first = dt.date(year, number, 1)
    except ValueError:
        first = today.replace(day=1)
    people = [row.beneficiary for row in Filiation.objects.of(request.user).select_related("beneficiary")]
    agenda = month_of(first=first, beneficiaries=people)
    page = Paginator(upcoming(beneficiaries=people, since=today), PAGE_SIZE).get_page(request.GET.get("page"))
    now = timezone.now()
    rows = [(row, row.made_by_id == request.user.pk and row.open_day.cancel_until > now) for row in page.object_list]
    context = {"agenda": agenda, "people": people, "page": page, "rows": rows, "weekday_names": WEEKDAYS}
    return render(request, "checkout/reservations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest) -> HttpResponse:
    """Say what goes back to the wallet (GET, fields `r`), then cancel (POST)."""
    sent = request.POST if request.method == "POST" else request.GET
    ids = {int(text) for text in sent.getlist("r") if text.isdigit()}
    if request.method == "POST":
        try:
            total = cancel_bookings(ids=ids, by=request.user)
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
            return redirect("reservations")
        messages.success(
            request,
            ngettext(
                "Réservation annulée. %(total)s sont revenus dans votre porte-monnaie.",
                "%(count)d réservations annulées. %(total)s sont revenus dans votre porte-monnaie.",
                len(ids),
            )
            % {"count": len(ids), "total": euros(total)},
        )
        return redirect("reservations")
    rows = list(
        Booking.objects.booked()
        .filter(pk__in=ids, made_by=request.user)
        .select_related("beneficiary", "slot", "open_day__activity__service")
        .order_by("period")
    )
    if not rows:
        if ids:
            raise Http404
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
