"""« Mes listes »: what is saved, under which name; applied through the booking page, which shows what can be had and why not."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.contrib import messages
from django.db.models.functions import TruncMonth
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.views import current_user
from bookings.list_actions import LONGEST_NAME, change_list, delete_list, save_list
from bookings.lists import SavedList
from bookings.models import Booking
from checkout.forms import keys
from checkout.models import Cart, CartLine
from families.models import Beneficiary
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, month
from services.models import AccessProfile, OpenDay


@require_safe
def saved_lists(request: HttpRequest) -> HttpResponse:
    """Every list with its days and the months it can be applied to, and what of the cart can be made into one."""
    user = current_user(request)
    found = list(SavedList.objects.of(user).with_rows())
    months = _months({row.slot.activity_id for row in found})
    context = {
        "lists": [(row, months.get(row.slot.activity_id, [])) for row in found],
        "in_cart": [lines[0] for lines in _cart_groups(request).values()],
        "longest": LONGEST_NAME,
    }
    return render(request, "checkout/saved_lists.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def saved_list(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a list: its name, and the weekdays of each child."""
    user = current_user(request)
    found = get_object_or_404(SavedList.objects.of(user).with_rows(), pk=pk)
    problems: list[str] = []
    days = {row.beneficiary_id: set(row.weekdays) for row in found.rows.all()}
    name = found.name
    if request.method == "POST":
        name, days = request.POST.get("name", ""), _sent_days(request.POST)
        try:
            change_list(saved=found, name=name, days=days, by=user)
        except Refused as refusal:
            problems = list(refusal.messages)
        else:
            messages.success(request, _("Votre liste est enregistrée."))
            return redirect("saved_lists")
    open_on = {number for period in found.slot.activity.periods.all() for number in period.weekdays}
    weekdays = sorted(open_on.union(*days.values()))
    context = {
        "saved": found,
        "name": name,
        "problems": problems,
        "longest": LONGEST_NAME,
        "weekdays": [(WEEKDAYS[number], WEEKDAYS[number][:3]) for number in weekdays],
        "rows": [
            (
                person,
                [(f"{person.pk}:{number}", WEEKDAYS[number], number in days.get(person.pk, ())) for number in weekdays],
            )
            for person in Beneficiary.objects.of(user).order_by("pk")
        ],
        "account_section": "saved_lists",
    }
    return render(request, "checkout/saved_list.html", context, status=422 if problems else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def saved_list_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask, then delete a list."""
    user = current_user(request)
    found = get_object_or_404(SavedList.objects.of(user), pk=pk)
    if request.method == "POST":
        delete_list(saved=found, by=user)
        messages.success(request, _("La liste « %s » est supprimée. Vos réservations n’ont pas changé.") % found)
        return redirect("saved_lists")
    return render(request, "checkout/saved_list_delete.html", {"saved": found, "account_section": "saved_lists"})


@require_POST
def saved_list_from_cart(request: HttpRequest) -> HttpResponse:
    """Keep the weekdays of one product of the cart (field `slot`) under a name."""
    groups = {f"{slot}-{profile}": lines for (slot, profile), lines in _cart_groups(request).items()}
    lines = groups.get(request.POST.get("what", ""))
    if not lines:
        messages.info(request, _("Ces dates ne sont plus dans votre panier : rien n’a été enregistré."))
        return redirect("saved_lists")
    days: dict[int, set[int]] = {}
    for line in lines:
        days.setdefault(line.booking.beneficiary_id, set()).add(line.booking.date.weekday())
    user = current_user(request)
    try:
        saved = save_list(
            user=user,
            name=request.POST.get("name", ""),
            slot=lines[0].booking.slot,
            profile=lines[0].profile,
            days=days,
            by=user,
        )
    except Refused as refusal:
        for text in refusal.messages:
            messages.error(request, text)
    else:
        messages.success(request, _("La liste « %s » est enregistrée.") % saved)
    return redirect("saved_lists")


def _sent_days(data: QueryDict) -> dict[int, set[int]]:
    """`12:0`: beneficiary 12 on Mondays; what cannot have been sent is left out."""
    found: dict[int, set[int]] = {}
    for text in data.getlist("days"):
        person, _sep, weekday = text.partition(":")
        for key in keys([person]):
            found.setdefault(key, set()).update(number for number in keys([weekday]) if number <= 6)
    return found


def _months(activities: Iterable[int]) -> Mapping[int, list[tuple[str, str]]]:
    """The months of each activity that still have a day to book, as (« 2026-12 », « Décembre 2026 »). One query."""
    rows = (
        OpenDay.objects.bookable(at=timezone.now())
        .filter(activity__in=set(activities))
        .annotate(month=TruncMonth("date"))
        .values_list("activity", "month")
        .distinct()
        .order_by("month")
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for activity, first in rows:
        found.setdefault(activity, []).append((f"{first:%Y-%m}", month(first)))
    return found


class InCart(NamedTuple):
    """A place of the cart, and the situation it is bought in."""

    booking: Booking
    profile: AccessProfile


def _cart_groups(request: HttpRequest) -> dict[tuple[int, int], list[InCart]]:
    """The places of the person's cart by slot and situation."""
    lines = (
        CartLine.objects.filter(cart__in=Cart.objects.live().filter(user=current_user(request)))
        .select_related("booking__open_day", "booking__slot__activity__service", "tariff__profile")
        .order_by("pk")
    )
    found: dict[tuple[int, int], list[InCart]] = {}
    for line in lines:
        if line.booking is not None:  # a ticket has no days to keep
            place = InCart(line.booking, line.tariff.profile)
            found.setdefault((place.booking.slot_id, place.profile.pk), []).append(place)
    return found


def asked_month(text: str) -> dt.date | None:
    """The first day of the month that an address names (`2026-12`), or None."""
    try:
        first = dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
    return first if 2000 < first.year < 2200 else None
