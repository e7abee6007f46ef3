"""Tickets and passes: choosing one, « Mes e-billets », the code to show, on paper, given back."""

import json
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.views import current_user
from bookings.pricing import Place, Pricer
from bookings.tickets.actions import GivingBack, dates_of, giving_back, units_left
from bookings.tickets.models import Ticket
from bookings.tickets.paper import pdf, qr_svg
from bookings.tickets.views import worker_script
from bookings.tickets.words import note
from checkout.actions import add_tickets_to_cart, cancel_ticket
from checkout.models import OrderLine
from checkout.refunds.actions import back_to
from checkout.ticket_forms import TicketForm
from checkout.views.cancelling import where
from checkout.vouchers.reading import fates_without
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import euros, today
from services.formulas import SCHOOL_YEAR
from services.models import Activity, BusStop, Slot, Subscription

PAGE_SIZE = 20


class Formula(NamedTuple):
    """A formula on the page: `prices` says what it costs each beneficiary, for the total that follows the choice."""

    slot: Slot
    price: str
    prices: str
    words: str
    left: int | None
    chosen: bool


class TicketPage:
    """One request for the page of a ticket or pass, and what the person had chosen in it."""

    def __init__(self, request: HttpRequest, activity: Activity, accesses: list[Subscription]) -> None:
        self.request = request
        self.activity = activity
        self.accesses = accesses
        self.slots = list(activity.slots.filter(is_active=True))
        links = list(Filiation.objects.of(current_user(request)).select_related("beneficiary"))
        self.people = [row.beneficiary for row in links]
        self.has_self = any(row.kind == Filiation.Kind.SELF for row in links)
        self.stops = list(BusStop.objects.offered().filter(line__activity=activity).select_related("line"))
        data = request.POST if request.method == "POST" else request.GET
        self.form = TicketForm(
            request.POST if request.method == "POST" else None,
            activity=activity,
            slots=self.slots,
            people=self.people,
            accesses=accesses,
            stops=self.stops,
        )
        self.access = next((row for row in accesses if str(row.pk) == data.get("profile")), accesses[0])
        self.slot = next((row for row in self.slots if str(row.pk) == data.get("slot")), next(iter(self.slots), None))
        only = {str(self.people[0].pk)} if len(self.people) == 1 else set()
        self.chosen_people = set(data.getlist("people")) or only
        self.form.initial["first_day"] = today()

    def add(self) -> HttpResponse:
        """Put the choice into the cart and show the cart, or the page again with what was wrong."""
        if not self.form.is_valid():
            return self.render(status=422)
        assert self.slot is not None
        try:
            quantity, total = add_tickets_to_cart(
                user=current_user(self.request),
                activity=self.activity,
                slot=self.slot,
                subscription=self.access,
                wish=self.form.wish,
            )
        except Refused as refusal:
            for text in refusal.messages:
                self.form.add_error(None, text)
            return self.render(status=409)
        words = {"activity": self.activity, "slot": self.slot, "quantity": quantity, "total": total}
        confirmation = render_to_string("checkout/_added.html", words)
        messages.success(self.request, confirmation, extra_tags="added")
        return redirect("cart")

    def render(self, status: int = 200) -> HttpResponse:
        """The page, with the person's choices as they stand."""
        opens_on = self.activity.booking_opens_on
        details = [self.form[name] for name in ("stop", "first_day", "quantity") if name in self.form.fields]
        context: dict[str, Any] = {
            "activity": self.activity,
            "service": self.activity.service,
            "univers": self.activity.service.category.slug,
            "form": self.form,
            "accesses": self.accesses,
            "access": self.access,
            "slots": self._formulas(),
            "people": [(row, str(row.pk) in self.chosen_people) for row in self.people],
            "has_self": self.has_self,
            "details": details,
            "details_title": self._details_title(),
            "opens_on": opens_on if opens_on and opens_on > timezone.localdate() else None,
            "hold_minutes": settings.HOLD_MINUTES,
        }
        return render(self.request, "checkout/ticket_form.html", context, status=status)

    def _details_title(self) -> str:
        if self.stops:
            return _("Trajet")
        return _("Quantité") if self.activity.kind == Activity.Kind.TICKET else _("Période")

    def _formulas(self) -> list[Formula]:
        """Each formula with its prices, its dates and units left from today, and whether it is chosen."""
        for slot in self.slots:
            slot.activity = self.activity
        pricer = Pricer(
            user=current_user(self.request),
            profiles=[self.access.profile],
            slots=self.slots,
            beneficiaries=self.people,
            choice=[],
        )
        found = []
        for slot in self.slots:
            valid = dates_of(slot, None)
            assert valid.lower is not None
            places = [Place(person.pk, slot.pk, valid.lower) for person in self.people]
            prices = {
                place.member: price.amount
                for place in places
                if (price := pricer.price(profile_id=self.access.profile_id, place=place)) is not None
            }
            words = note(valid) if slot.validity_unit == SCHOOL_YEAR else slot.hours
            left = units_left(activity=self.activity, slot=slot, first_day=valid.lower)
            each = {str(person): str(price) for person, price in prices.items()}
            found.append(Formula(slot, _span(set(prices.values())), json.dumps(each), words, left, slot == self.slot))
        return found


def _span(prices: set[Decimal]) -> str:
    """`5,50 €`, or what the beneficiaries of a family pay: `de 4,20 € à 5,50 €`; empty when it is not sold."""
    if len(prices) < 2:
        return "".join(euros(price) for price in prices)
    return _("de %(least)s à %(most)s") % {"least": euros(min(prices)), "most": euros(max(prices))}


@require_safe
def tickets(request: HttpRequest) -> HttpResponse:
    """« Mes e-billets » : those that are good first, then what was used, is over or was given back."""
    user = current_user(request)
    mine = (
        Ticket.objects.of(user)
        .filter(status__in=[Ticket.Status.BOOKED, Ticket.Status.CANCELLED])
        .select_related("activity__service", "slot", "beneficiary", "stop__line")
    )
    good = list(mine.usable(on=today()).order_by("valid", "pk"))
    past = mine.exclude(pk__in=[row.pk for row in good]).order_by("-booked_at", "-pk")
    page = Paginator(past, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "checkout/tickets.html", {"good": good, "page": page})


@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """The service worker that keeps the pages of tickets for when there is no network, on a device that was told to."""
    return worker_script()


def _ticket(request: HttpRequest, pk: int) -> Ticket:
    rows = Ticket.objects.of(current_user(request)).filter(status__in=[Ticket.Status.BOOKED, Ticket.Status.CANCELLED])
    return get_object_or_404(
        rows.select_related("activity__service", "slot", "beneficiary", "stop__line", "made_by"), pk=pk
    )


@require_safe
def ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """One ticket: the code to show, what it is good for, when it was used."""
    found = _ticket(request, pk)
    mine = found.made_by_id == current_user(request).pk
    context = {
        "ticket": found,
        "note": note(found.valid, found.stop),
        "qr": mark_safe(qr_svg(found)),  # noqa: S308 - drawn by segno from our own characters
        "uses": found.uses.filter(problem="").order_by("-at")[:50],
        "giving_back": giving_back(found) if mine else GivingBack(why_not=_("Seul qui l’a acheté peut le rendre.")),
    }
    return render(request, "checkout/ticket.html", context)


@require_safe
def ticket_pdf(request: HttpRequest, pk: int) -> HttpResponse:
    """The ticket on paper."""
    found = _ticket(request, pk)
    if found.status != Ticket.Status.BOOKED:
        messages.info(request, _("Ce billet a été annulé : il n’a plus de code."))
        return redirect(found)
    response = HttpResponse(pdf(found), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="e-billet-{found.typed_code}.pdf"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def ticket_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what goes back to the wallet (GET), then give the ticket back (POST)."""
    found = get_object_or_404(
        Ticket.objects.filter(made_by=current_user(request), status__in=["booked", "cancelled"]).select_related(
            "activity", "slot", "beneficiary"
        ),
        pk=pk,
    )
    if request.method == "POST":
        try:
            to_card = request.POST.get("vers") == "carte"
            returned = cancel_ticket(ticket=found, by=current_user(request), to_card=to_card)
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
        else:
            messages.success(request, f"{_('Billet annulé.')} {where(returned)}")
        return redirect("tickets")
    line = OrderLine.objects.filter(ticket=found, cancelled_at=None, order__status="paid").first()
    context = {
        "ticket": found,
        "note": note(found.valid),
        "giving_back": giving_back(found),
        **back_to([line] if line else [], by_family=True),
        "vouchers": fates_without([line] if line else []),
    }
    return render(request, "checkout/ticket_cancel.html", context)
