"""Tickets and passes: choosing one, « Mes e-billets », the code to show, on paper, given back."""

import datetime as dt
import itertools
import json
from decimal import Decimal
from functools import cached_property
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
from bookings.tickets.actions import MOST_TICKETS, GivingBack, dates_of, giving_back, units_left
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
from portal.common.money import ZERO
from services.formulas import SCHOOL_YEAR
from services.models import Activity, BusStop, Slot, Subscription

PAGE_SIZE = 20
# The button « Réserver aussi pour moi-même » says so by this name: the page it comes back to has oneself ticked.
MYSELF = "moi"


Prices = dict[tuple[int, int], dict[int, Decimal]]


class Cost(NamedTuple):
    """What a formula costs in one of the person's situations; `words` are empty where it is not sold to it."""

    access: Subscription
    words: str


class Formula(NamedTuple):
    """A formula on the page: `prices` says what it costs each beneficiary in each situation, for what follows the choice."""

    slot: Slot
    costs: list[Cost]
    prices: str
    words: str
    left: int | None
    chosen: bool

    @property
    def is_sold(self) -> bool:
        """Whether any of the person's situations has a price for it."""
        return any(cost.words for cost in self.costs)


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
        self.data = data = request.POST if request.method == "POST" else request.GET
        # Only « Ajouter au panier » is checked: the prices of a choice are asked for before all of it is made.
        self.is_adding = request.method == "POST" and "pick" not in request.POST
        self.form = TicketForm(
            request.POST if self.is_adding else None,
            activity=activity,
            slots=self.slots,
            people=self.people,
            accesses=accesses,
            stops=self.stops,
        )
        self.form.initial = {"first_day": today()} | self.form.sent(data)
        asked = next((row for row in accesses if str(row.pk) == data.get("profile")), None)
        self.access = asked or (self._first_sold() if len(accesses) > 1 else accesses[0])
        self.slot = next((row for row in self.slots if str(row.pk) == data.get("slot")), None)
        only = {str(self.people[0].pk)} if len(self.people) == 1 else set()
        self.chosen_people = set(data.getlist("people")) or only
        if MYSELF in data:
            self.chosen_people |= {str(row.beneficiary_id) for row in links if row.kind == Filiation.Kind.SELF}

    def _first_sold(self) -> Subscription:
        """The first situation that has a price for anything, or else the first."""
        sold = (row for row in self.accesses if any(self.prices[row.pk, slot.pk] for slot in self.slots))
        return next(sold, self.accesses[0])

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
            "count": len(self.chosen_people) * self.each,
            "cost": self._cost() if "slot" in self.data else None,
            "myself": MYSELF,
            "details_title": self._details_title(),
            "opens_on": opens_on if opens_on and opens_on > timezone.localdate() else None,
            "hold_minutes": settings.HOLD_MINUTES,
        }
        return render(self.request, "checkout/ticket_form.html", context, status=status)

    def _details_title(self) -> str:
        if self.stops:
            return _("Trajet")
        return _("Quantité") if self.activity.kind == Activity.Kind.TICKET else _("Période")

    @cached_property
    def first_days(self) -> dict[int, dt.date]:
        """The day from which each formula (by its key) would be good today: its prices are those of that day."""
        found = {}
        for slot in self.slots:
            slot.activity = self.activity
            valid = dates_of(slot, None)
            assert valid.lower is not None
            found[slot.pk] = valid.lower
        return found

    @cached_property
    def prices(self) -> Prices:
        """What each formula costs each beneficiary, for every (situation, formula); nothing where it is not sold."""
        first_days = self.first_days
        pricer = Pricer(
            user=current_user(self.request),
            profiles=[access.profile for access in self.accesses],
            slots=self.slots,
            beneficiaries=self.people,
            choice=[],
        )
        found: Prices = {}
        for access, slot in itertools.product(self.accesses, self.slots):
            places = [Place(person.pk, slot.pk, first_days[slot.pk]) for person in self.people]
            found[access.pk, slot.pk] = {
                place.member: price.amount
                for place in places
                if (price := pricer.price(profile_id=access.profile_id, place=place)) is not None
            }
        return found

    @property
    def each(self) -> int:
        """How many are chosen for each beneficiary; what cannot be read counts as one."""
        sent = str(self.data.get("quantity", ""))
        return next((number for number in range(1, MOST_TICKETS + 1) if str(number) == sent), 1)

    def _cost(self) -> Decimal | None:
        """What the choice that was sent comes to, as far as the page knows; None while somebody's price is not known."""
        if self.slot is None or not self.chosen_people:
            return None
        known = {str(person): price for person, price in self.prices[self.access.pk, self.slot.pk].items()}
        if not self.chosen_people <= known.keys():
            return None
        return sum((known[person] for person in self.chosen_people), ZERO) * self.each

    def _formulas(self) -> list[Formula]:
        """Each formula with its prices, its dates and units left from today, and whether it is chosen."""
        sold = (row for row in self.slots if self.prices[self.access.pk, row.pk])
        shown = self.slot or next(sold, next(iter(self.slots), None))
        found = []
        for slot in self.slots:
            prices = {access: self.prices[access.pk, slot.pk] for access in self.accesses}
            first_day = self.first_days[slot.pk]
            found.append(
                Formula(
                    slot,
                    [Cost(access, _span(set(each.values()))) for access, each in prices.items()],
                    json.dumps(
                        {
                            str(access.pk): {str(person): str(price) for person, price in each.items()}
                            for access, each in prices.items()
                        }
                    ),
                    note(dates_of(slot, None)) if slot.validity_unit == SCHOOL_YEAR else slot.hours,
                    units_left(activity=self.activity, slot=slot, first_day=first_day),
                    slot == shown,
                )
            )
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
