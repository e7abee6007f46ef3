"""Another date or slot for one booking: choose (GET), check what it comes to (GET), confirm (POST)."""

import datetime as dt
import itertools
from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.views import current_user
from bookings.change_actions import days_to_change_to
from bookings.models import Booking, Change
from checkout.actions.change import change_booking, prices, quote
from checkout.forms import amount, keys
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros, month
from services.models import Slot
from wallet.actions import wallet_of

MOST_DAYS = 120  # a choice that goes further is booked anew


@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """`slot` (key) and `date` (2026-12-16) say what is wanted; `difference` what the person saw before confirming."""
    user = current_user(request)
    mine = Booking.objects.filter(made_by=user, status__in=[Booking.Status.BOOKED, Booking.Status.CANCELLED])
    booking = get_object_or_404(
        mine.select_related("made_by", "beneficiary", "slot", "open_day__activity__service__commune"), pk=pk
    )
    changed = Change.objects.filter(before=booking).first()
    if changed is not None:  # the same form, sent a second time
        messages.info(request, _("C’est déjà fait : voici votre réservation changée."))
        return redirect("reservation", changed.after_id)
    slots = list(Slot.objects.filter(activity=booking.open_day.activity, is_active=True))
    sent = request.POST if request.method == "POST" else request.GET
    slot, date = _wanted(sent, slots)
    context: dict[str, object] = {"booking": booking, "account_section": "reservations"}
    if slot is None or date is None:
        asked = "date" in sent or "slot" in sent
        return _choose(request, booking, slots, [_("Choisissez une prestation et une date.")] if asked else [], context)
    try:
        if request.method == "POST":
            return _confirmed(request, booking, slot, date, user)
        offer = quote(booking=booking, slot=slot, date=date, by=user)
    except Refused as refusal:
        return _choose(request, booking, slots, list(refusal.messages), context | {"slot": slot, "date": date})
    balance = wallet_of(user).balance - offer.difference
    context |= {
        "slot": slot,
        "date": date,
        "offer": offer,
        "returned": -offer.difference,
        "balance": balance,
        "lacking": -balance,
        "choose": f"{reverse('reservation_change', args=[pk])}",
    }
    return render(request, "checkout/change_confirm.html", context)


def _wanted(sent: QueryDict, slots: list[Slot]) -> tuple[Slot | None, dt.date | None]:
    wanted = keys([sent.get("slot", "")])
    slot = next((row for row in slots if row.pk in wanted), None)
    try:
        return slot, dt.date.fromisoformat(sent.get("date", ""))
    except ValueError:
        return slot, None


def _confirmed(request: HttpRequest, booking: Booking, slot: Slot, date: dt.date, user: User) -> HttpResponse:
    shown = amount(request.POST.get("difference", ""))
    new = change_booking(booking=booking, slot=slot, date=date, shown_difference=shown, by=user)
    messages.success(
        request,
        _("Votre réservation est changée. Votre porte-monnaie contient maintenant %s.")
        % euros(wallet_of(user).balance),
    )
    return redirect("reservation", new.pk)


def _choose(
    request: HttpRequest, booking: Booking, slots: list[Slot], errors: list[str], context: dict[str, object]
) -> HttpResponse:
    """The slots with their prices, and the days that can be had, month by month; where only some slots can, they say so."""
    date, slot = context.get("date") or booking.date, context.get("slot") or booking.slot
    assert isinstance(date, dt.date)
    costs = prices(booking=booking, slots=slots, date=date, by=booking.made_by)
    sold = [row for row in slots if row.pk in costs]
    for row in sold:
        row.activity = booking.open_day.activity
    days = days_to_change_to(booking=booking, slots=sold, most=MOST_DAYS)
    context |= {
        "slots": [(row, costs[row.pk]) for row in sold],
        "months": [
            (month(first), [(day, _only(had, sold, is_own=day.pk == booking.open_day_id)) for day, had in rows])
            for first, rows in itertools.groupby(days, key=lambda found: found[0].date.replace(day=1))
        ],
        "errors": errors,
        "chosen_slot": slot,
        "chosen_date": date,
    }
    return render(request, "checkout/change.html", context, status=422 if errors and request.method == "POST" else 200)


def _only(had: Sequence[Slot], sold: Sequence[Slot], *, is_own: bool) -> str:
    """What is said of a day beside its date: that it is the booked one, or which slots alone can be had."""
    if is_own:
        return _("votre date actuelle, pour une autre prestation")
    return "" if len(had) == len(sold) else _("seulement %s") % enumeration(str(slot) for slot in had)
