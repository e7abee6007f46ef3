"""The activity's page: type de prestation, bénéficiaires, the calendar of the school year, « Ajouter au panier »."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from bookings.calendar import build, family_bookings, picked
from checkout.actions import add_to_cart
from checkout.forms import BookingForm
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros
from portal.common.money import ZERO
from services.calendars import school_year
from services.deadlines import sentence
from services.models import Activity, OpenDay, Subscription
from services.pricing import PriceGrid


@require_http_methods(["GET", "POST"])
def activity(request: HttpRequest, service: str, slug: str) -> HttpResponse:
    """Choose and add. A quick-choice button answers the same page with its dates ticked; nothing is written then."""
    found = get_object_or_404(
        Activity.objects.open().select_related(
            "service__commune", "service__category", "booking_deadline", "cancel_deadline"
        ),
        service__slug=service,
        slug=slug,
    )
    accesses = list(
        Subscription.objects.of(request.user)
        .approved()
        .filter(profile__service=found.service_id)
        .select_related("profile")
    )
    if not accesses:
        messages.info(request, _("Pour réserver ici, demandez d’abord l’accès à ce service."))
        return redirect(found.service)
    page = BookingPage(request, found, accesses)
    if request.method == "POST" and "pick" not in request.POST:
        return page.add()
    return page.render()


class BookingPage:
    """One request for the activity's page, and what the person had chosen in it."""

    def __init__(self, request: HttpRequest, activity: Activity, accesses: list[Subscription]) -> None:
        self.request = request
        self.activity = activity
        self.accesses = accesses
        self.slots = list(activity.slots.filter(is_active=True))  # type: ignore[attr-defined]
        self.people = [row.beneficiary for row in Filiation.objects.of(request.user).select_related("beneficiary")]
        data = request.POST if request.method == "POST" else request.GET
        self.form = BookingForm(data or None, slots=self.slots, people=self.people, profiles=accesses)
        self.access = next((row for row in accesses if str(row.pk) == data.get("profile")), accesses[0])
        self.chosen_slot = next(
            (row for row in self.slots if str(row.pk) == data.get("slot")), next(iter(self.slots), None)
        )
        self.chosen_people = set(data.getlist("people")) or (
            {str(self.people[0].pk)} if len(self.people) == 1 else set()
        )

    def add(self) -> HttpResponse:
        """Put the choice into the cart and show the cart, or the page again with what was wrong."""
        form = self.form
        if not form.is_valid():
            return self.render(status=422)
        assert self.chosen_slot is not None
        try:
            added = add_to_cart(
                user=self.request.user,
                activity=self.activity,
                slot=self.chosen_slot,
                subscription=self.access,
                wishes=form.wishes,
            )
        except Refused as refusal:
            for text in refusal.messages:
                form.add_error(None, text)
            return self.render(status=409)
        messages.success(
            self.request,
            _("Produit ajouté au panier avec succès. Quantité : %(quantity)d. Total : %(total)s.")
            % {"quantity": added.quantity, "total": euros(added.total)},
            extra_tags="added",
        )
        if added.already:
            left = enumeration(
                added.already[:5] + ([_("%d autres") % (len(added.already) - 5)] if len(added.already) > 5 else [])
            )
            messages.info(
                self.request,
                ngettext(
                    "Déjà réservée et donc laissée de côté : %s.",
                    "Déjà réservées et donc laissées de côté : %s.",
                    len(added.already),
                )
                % left,
            )
        return redirect("cart")

    def render(self, status: int = 200) -> HttpResponse:
        """The page, with the person's ticks as they stand."""
        first, last, years = self._range()
        days = list(OpenDay.objects.filter(activity=self.activity, date__range=(first, last)))
        booked = family_bookings(beneficiaries=self.people, activity=self.activity, first=first, last=last)
        calendar = build(days=days, booked=booked, beneficiaries=self.people, ticked=self._ticked(days))
        prices = self._prices(calendar.tickable or [first])
        base = prices.get(self.chosen_slot.pk) if self.chosen_slot else None
        quantity, total = self._total(calendar, booked, base)
        upcoming = next((row for row in days if row.is_open and row.book_until > timezone.now()), None)
        context: dict[str, Any] = {
            "activity": self.activity,
            "service": self.activity.service,
            "univers": self.activity.service.category.slug,
            "form": self.form,
            "accesses": self.accesses,
            "access": self.access,
            "slots": [(row, prices.get(row.pk), row == self.chosen_slot) for row in self.slots],
            "people": [
                {
                    "row": row,
                    "letter": row.first_name[:1].upper(),
                    "hue": index % 6 + 1,
                    "checked": str(row.pk) in self.chosen_people,
                }
                for index, row in enumerate(self.people)
            ],
            "price": base,
            "cents": " ".join(f"{pk}:{round(price * 100)}" for pk, price in prices.items() if price is not None),
            "calendar": calendar,
            "years": years,
            "first": first,
            "booking_rule": sentence(self.activity.booking_deadline),
            "cancel_rule": sentence(self.activity.cancel_deadline),
            "next_deadline": upcoming,
            "quantity": quantity,
            "dates_count": sum(
                cell.checked for m in calendar.months for w in m.weeks for cell in w if cell is not None
            ),
            "total": total,
        }
        return render(self.request, "checkout/activity.html", context, status=status)

    def _range(self) -> tuple[dt.date, dt.date, list[tuple[int, str, bool]]]:
        """The school year on screen (from this month on), and the years that can be chosen."""
        today = timezone.localdate()
        current = school_year(today)[0].year
        asked = self.request.GET.get("annee", "")
        shown = int(asked) if asked in {str(current), str(current + 1)} else current
        first, last = dt.date(shown, 9, 1), dt.date(shown + 1, 8, 31)
        years = [(year, f"{year}-{year + 1}", year == shown) for year in (current, current + 1)]
        return max(first, today.replace(day=1)), last, years

    def _ticked(self, days: list[OpenDay]) -> set[dt.date]:
        """The dates that come ticked: those sent, with what a quick-choice button adds or takes away."""
        sent = set()
        for text in self.request.POST.getlist("dates"):
            try:
                sent.add(dt.date.fromisoformat(text))
            except ValueError:
                continue
        pick = self.request.POST.get("pick", "")
        if pick == "none":
            return set()
        if pick:
            now = timezone.now()
            dates = picked((row.date for row in days if row.is_open and row.book_until > now and row.free > 0), pick)
            return sent - dates if dates <= sent else sent | dates
        return sent

    def _prices(self, dates: list[dt.date]) -> dict[int, Decimal | None]:
        """The price of each slot on the first date that can be booked."""
        grid = PriceGrid(profile=self.access.profile, slots=self.slots)
        found = {row.pk: grid.tariff(row.pk, min(dates)) for row in self.slots}
        return {pk: tariff.price if tariff else None for pk, tariff in found.items()}

    def _total(self, calendar: Any, booked: Any, price: Decimal | None) -> tuple[int, Decimal]:
        ticked = [c for m in calendar.months for w in m.weeks for c in w if c is not None and c.checked]
        quantity = sum(len(self.chosen_people - set(cell.skip.split())) for cell in ticked)
        return quantity, (price or ZERO) * quantity
