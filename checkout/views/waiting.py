"""Waiting lists for parents: joining from a full day, « Mes listes d’attente », taking or leaving an offered place."""

import datetime as dt
import itertools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from accounts.views import current_user
from bookings.actions import some
from bookings.agenda import Family
from bookings.waiting.actions import join, leave, rule
from bookings.waiting.models import WaitingListEntry
from checkout.actions import pay_offer, take_offer
from checkout.actions.offers import Standing, offer_rows, quote
from checkout.forms import amount, keys
from checkout.models import CartLine
from checkout.waiting_form import WaitingForm, full_slots
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros
from portal.common.money import ZERO
from services.models import Activity, OpenDay, Subscription
from services.pricing import PriceGrid
from wallet.actions import wallet_of

ENDED_SHOWN = 20
ENDED_FOR = dt.timedelta(days=60)


@dataclass(frozen=True)
class Party:
    """Entries that are offered places together: who, when, which position or which limit, for how many euros.

    `standing` is what is known of the person's means once a place is offered; `in_cart` says that it waits there to be paid.
    """

    entries: list[WaitingListEntry]
    total: Decimal | None = None
    marks: list[tuple[str, int]] = field(default_factory=list)
    standing: Standing | None = None
    in_cart: bool = False

    @property
    def first(self) -> WaitingListEntry:
        return self.entries[0]

    @property
    def names(self) -> str:
        return enumeration(row.beneficiary.first_name for row in self.entries)

    @property
    def limit(self) -> dt.datetime | None:
        booking = self.first.booking
        return booking.hold.expires_at if booking else None

    @property
    def is_payable(self) -> bool:
        """Whether one press orders and pays it from the wallet."""
        return self.standing is not None and self.standing.pays(self.total)

    @property
    def left(self) -> Decimal:
        """Euros that the wallet would still hold; less than zero when it does not suffice."""
        return (self.standing.balance if self.standing else ZERO) - (self.total or ZERO)

    @property
    def lacking(self) -> Decimal:
        """Euros that the wallet lacks."""
        return max(-self.left, ZERO)


# --- Joining -----------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def waiting_join(request: HttpRequest, service: str, slug: str) -> HttpResponse:
    """Wait for a full day, for several, or for every full day of a weekday (fields `dates` name those asked for)."""
    user = current_user(request)
    activity = get_object_or_404(
        Activity.objects.open().filter(waiting_list=True).select_related("service__commune", "service__category"),
        service__slug=service,
        slug=slug,
    )
    accesses = list(
        Subscription.objects.of(user)
        .approved()
        .filter(profile__service=activity.service_id)
        .select_related("profile")
        .order_by("pk")
    )
    if not accesses:
        messages.info(request, _("Pour réserver ici, demandez d’abord l’accès à ce service."))
        return redirect(activity.service)
    # Full for who comes alone, or for all the children that were chosen on the calendar.
    needed = max(1, len(set(request.GET.getlist("people"))))
    coming = list(OpenDay.objects.bookable(at=timezone.now()).filter(activity=activity))
    people = [row.beneficiary for row in Filiation.objects.of(user).select_related("beneficiary")]
    slots = list(activity.slots.filter(is_active=True))
    full = full_slots(coming, slots, needed=needed)
    form = WaitingForm(
        request.POST if request.method == "POST" else None,
        asked=request.GET,
        full=full,
        slots=slots,
        people=people,
        accesses=accesses,
        grid=PriceGrid(profiles=[row.profile for row in accesses], slots=slots),
    )
    if form.is_valid():
        try:
            joined = join(
                user=user,
                activity=activity,
                slot=form.slot,
                subscription=form.access,
                wishes=form.wishes,
                together=form.cleaned_data["together"],
            )
        except Refused as refusal:
            for text in refusal.messages:
                form.add_error(None, text)
        else:
            messages.success(request, _said(len({row.open_day_id for row in joined.entries})))
            if joined.left_out:
                messages.info(request, _("Laissé de côté : %s.") % some(joined.left_out))
            return redirect("waiting_lists")
    context = {
        "activity": activity,
        "univers": activity.service.category.slug,
        "form": form,
        "people": people,
        "rule": rule(activity),
        "hours": activity.offer_hours,
    }
    return render(request, "checkout/waiting_join.html", context, status=422 if form.errors else 200)


def _said(days: int) -> str:
    return ngettext(
        "Vous êtes sur la liste d’attente. Un courriel vous prévient dès qu’une place vous est proposée.",
        "Vous êtes sur la liste d’attente de %d jours. Un courriel vous prévient dès qu’une place vous est proposée.",
        days,
    ) % ({} if days == 1 else days)


# --- « Mes listes d’attente » ------------------------------------------------------------------------------------------


@require_safe
def waiting_lists(request: HttpRequest) -> HttpResponse:
    """What is offered, with its limit; what one waits for, with one's position; what ended lately, and how."""
    user = current_user(request)
    rows = list(offer_rows(user).live().with_position().order_by("open_day__date", "party", "pk"))
    offered = [row for row in rows if row.status == WaitingListEntry.Status.OFFERED]
    ended = offer_rows(user).filter(ended_at__gte=timezone.now() - ENDED_FOR).order_by("-ended_at", "pk")
    marks = Family(user).marks
    waiting = [
        Party(party.entries, marks=[marks[row.beneficiary_id] for row in party.entries if row.beneficiary_id in marks])
        for party in _parties(row for row in rows if row.status == WaitingListEntry.Status.WAITING)
    ]
    context = {
        "offers": _offered(user, offered),
        "places_offered": len(offered),
        "waiting": waiting,
        "series": _series(waiting),
        "rules": sorted(
            {(str(party.first.open_day.activity), rule(party.first.open_day.activity)) for party in waiting}
        ),
        "ended": _parties(ended[:ENDED_SHOWN]),
    }
    return render(request, "checkout/waiting_lists.html", context)


def _series(waiting: list[Party]) -> list[tuple[Party, int, str]]:
    """What was asked for at once and still waits for several days: one of its parties, how many days, what leaves them all."""
    found: dict[uuid.UUID, list[Party]] = {}
    for party in waiting:
        found.setdefault(party.first.series, []).append(party)
    return [
        (
            parties[0],
            len({row.first.open_day_id for row in parties}),
            urlencode([("e", row.first.pk) for row in parties]),
        )
        for parties in found.values()
        if len({row.first.open_day_id for row in parties}) > 1
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def waiting_offer(request: HttpRequest, party: uuid.UUID) -> HttpResponse:
    """The page that the e-mail leads to: one offered place (GET); into the cart, or (field `total`) paid at once (POST)."""
    user = current_user(request)
    rows = list(offer_rows(user).filter(party=party).order_by("pk"))
    if not rows:
        raise Http404
    if request.method == "POST":
        try:
            return _paid(request, user, party) if "total" in request.POST else _into_cart(request, user, party)
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
            return redirect("waiting_lists")
    stands = rows[0].status == WaitingListEntry.Status.OFFERED
    context = {"offer": _offered(user, rows)[0] if stands else Party(rows), "account_section": "waiting_lists"}
    return render(request, "checkout/waiting_offer.html", context)


def _paid(request: HttpRequest, user: User, party: uuid.UUID) -> HttpResponse:
    order = pay_offer(user=user, party=party, shown_total=amount(request.POST["total"]))
    messages.success(
        request,
        _("C’est réservé et payé. Votre porte-monnaie contient maintenant %s.") % euros(wallet_of(user).balance),
    )
    return redirect(order)


def _into_cart(request: HttpRequest, user: User, party: uuid.UUID) -> HttpResponse:
    added = take_offer(user=user, party=party)
    if not added.quantity:
        messages.info(request, _("Elle est déjà dans votre panier : payez pour la réserver."))
        return redirect("cart")
    messages.success(
        request,
        ngettext(
            "La place est dans votre panier : payez pour la réserver.",
            "Les %d places sont dans votre panier : payez pour les réserver.",
            added.quantity,
        )
        % (() if added.quantity == 1 else added.quantity),
    )
    return redirect("cart")


@require_http_methods(["GET", "HEAD", "POST"])
def waiting_leave(request: HttpRequest) -> HttpResponse:
    """Ask (GET, fields `e`), then leave lists or decline offers (POST)."""
    user = current_user(request)
    sent = request.POST if request.method == "POST" else request.GET
    ids = keys(sent.getlist("e"))
    if request.method == "POST":
        ended = leave(user=user, ids=ids)
        if ended:
            messages.success(
                request,
                ngettext("Vous n’attendez plus cette place.", "Vous n’attendez plus ces %d places.", ended)
                % (() if ended == 1 else ended),
            )
        else:
            messages.info(request, _("Ces attentes étaient déjà terminées : rien n’a changé."))
        return redirect("waiting_lists")
    if not ids:
        messages.info(request, _("Cochez d’abord les jours que vous n’attendez plus."))
        return redirect("waiting_lists")
    chosen = offer_rows(user).filter(pk__in=ids)
    if not chosen.exists():
        raise Http404
    rows = list(
        offer_rows(user).live().filter(party__in=chosen.values("party")).order_by("open_day__date", "party", "pk")
    )
    if not rows:
        messages.info(request, _("Ces attentes étaient déjà terminées : rien n’a changé."))
        return redirect("waiting_lists")
    context = {"parties": _parties(rows), "account_section": "waiting_lists"}
    return render(request, "checkout/waiting_leave.html", context)


def _parties(rows: Iterable[WaitingListEntry]) -> list[Party]:
    return [Party(list(theirs)) for _party, theirs in itertools.groupby(rows, key=lambda row: row.party)]


def _offered(user: User, entries: Iterable[WaitingListEntry]) -> list[Party]:
    """Parties with what their places cost this family today, as the cart counts them, and how they can be paid."""
    rows = list(entries)
    if not rows:
        return []
    standing = Standing.of(user)
    in_cart = set(CartLine.objects.filter(booking__waiting_entry__in=rows).values_list("booking", flat=True))
    return [
        Party(
            offer.entries,
            total=offer.total,
            standing=standing,
            in_cart=any(row.booking_id in in_cart for row in offer.entries),
        )
        for offer in quote(user=user, entries=rows)
    ]
