"""The activity's page: type de prestation, bénéficiaires, the calendar of the school year, « Ajouter au panier »."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.views import current_user
from bookings.calendar import YearCalendar, build, family_bookings, initials, picked
from bookings.closures.pupils import ClosedSchools
from checkout.actions import add_to_cart
from checkout.forms import BookingForm
from checkout.views.tickets import TicketPage
from checkout.waiting_form import waiting_url
from families.limits import Limits
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros, long_date
from portal.common.money import ZERO
from services.deadlines import sentence
from services.models import Activity, OpenDay, Slot, Subscription
from services.pricing import PriceGrid
from services.school_calendar import school_year


@require_http_methods(["GET", "POST"])
def activity(request: HttpRequest, service: str, slug: str) -> HttpResponse:
    """Choose and add. A quick-choice button answers the same page with its dates ticked; nothing is written then."""
    found = get_object_or_404(
        Activity.objects.open().with_deadlines().with_limits().select_related("service__commune", "service__category"),
        service__slug=service,
        slug=slug,
    )
    accesses = list(
        Subscription.objects.of(current_user(request))
        .approved()
        .filter(profile__service=found.service_id)
        .select_related("profile")
    )
    if not accesses:
        messages.info(request, _("Pour réserver ici, demandez d’abord l’accès à ce service."))
        return redirect(found.service)
    if found.kind != Activity.Kind.CALENDAR:
        tickets = TicketPage(request, found, accesses)
        return tickets.add() if request.method == "POST" else tickets.render()
    page = BookingPage(request, found, accesses)
    if request.method == "POST" and "pick" not in request.POST:
        return page.add()
    return page.render()


class BookingPage:
    """One request for the activity's page, and what the person had chosen in it."""

    def __init__(self, request: HttpRequest, activity: Activity, accesses: list[Subscription]) -> None:
        self.request = request
        self.activity = activity
        self.waiting_url = ""  # set when what was asked for is full
        self.accesses = accesses
        self.slots = list(activity.slots.filter(is_active=True))
        self.people = [
            row.beneficiary for row in Filiation.objects.of(current_user(request)).select_related("beneficiary")
        ]
        data = request.POST if request.method == "POST" else request.GET
        # Only « Ajouter au panier » is checked: a quick choice is made before the rest is chosen.
        adding = request.method == "POST" and "pick" not in request.POST
        self.form = BookingForm(
            request.POST if adding else None, slots=self.slots, people=self.people, profiles=accesses
        )
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
                user=current_user(self.request),
                activity=self.activity,
                slot=self.chosen_slot,
                subscription=self.access,
                wishes=form.wishes,
            )
        except Refused as refusal:
            for text in refusal.messages:
                form.add_error(None, text)
            if refusal.code == "full" and self.activity.waiting_list:
                self.waiting_url = waiting_url(self.activity, form, self.request.POST)
            return self.render(status=409)
        # What was added, and both next actions: the cart shows it on top (base.html draws every message).
        confirmation = render_to_string(
            "checkout/_added.html",
            {"activity": self.activity, "slot": self.chosen_slot, "quantity": added.quantity, "total": added.total},
        )
        messages.success(self.request, mark_safe(confirmation), extra_tags="added")  # noqa: S308 - a template's output
        if added.already:
            left = added.already[:5]
            if more := len(added.already) - len(left):
                left.append(ngettext("%d autre", "%d autres", more) % more)
            messages.info(
                self.request,
                ngettext(
                    "Déjà réservée, donc laissée de côté\u00a0: %s.",
                    "Déjà réservées, donc laissées de côté\u00a0: %s.",
                    len(added.already),
                )
                % "\u00a0; ".join(left),
            )
        return redirect("cart")

    def render(self, status: int = 200) -> HttpResponse:
        """The page, with the person's choices as they stand."""
        year, first, last, days = self._year()
        ticked = self._ticked(days)
        # Dates ticked in the school year that is not on screen stay chosen, and stay counted.
        today = timezone.localdate()
        end = school_year(today + dt.timedelta(days=366))[1]
        elsewhere = sorted(date for date in ticked if not first <= date <= last and today <= date <= end)
        booked = family_bookings(
            beneficiaries=self.people,
            activity=self.activity,
            first=min([first, *elsewhere]),
            last=max([last, *elsewhere]),
        )
        calendar = build(
            activity=self.activity,
            days=days,
            booked=booked,
            beneficiaries=self.people,
            ticked=ticked - {*elsewhere},
            slots=self.slots,
        )
        limits = Limits(self.activity, self.people)
        # Why somebody may come on none of the dates; they are not counted, whatever was ticked.
        closed = ClosedSchools(self.activity, self.people, calendar.tickable)
        never = {str(row.pk): limits.why_never(row, calendar.tickable) for row in self.people}
        self.chosen_people -= {key for key, reason in never.items() if reason}
        prices = Prices(self.accesses, self.slots, [*calendar.tickable, *elsewhere] or [first])
        chosen = self._chosen(calendar, elsewhere, booked)
        letters = initials(self.people)
        upcoming = next((row for row in days if row.is_open and row.book_until > timezone.now()), None)
        opens_on = self.activity.booking_opens_on
        context: dict[str, Any] = {
            "activity": self.activity,
            "service": self.activity.service,
            "univers": self.activity.service.category.slug,
            "form": self.form,
            "waiting_url": self.waiting_url,
            "accesses": self.accesses,
            "access": self.access,
            "slots": [
                (row, prices.first(self.access, row), prices.later(self.access, row), row == self.chosen_slot)
                for row in self.slots
            ],
            "people": [
                {
                    "row": row,
                    "letter": letters[row.pk],
                    "hue": index % 6 + 1,
                    "checked": str(row.pk) in self.chosen_people,
                    "never": never[str(row.pk)],
                    "closed": closed.sentences(row),
                }
                for index, row in enumerate(self.people)
            ],
            "limits": limits.sentence,
            "price": prices.first(self.access, self.chosen_slot) if self.chosen_slot else None,
            "cents": prices.cents,
            "calendar": calendar,
            "elsewhere": [(date, " ".join(sorted(_booked_people(booked, date)))) for date in elsewhere],
            "years": [(each, f"{each}-{each + 1}", each == year) for each in self._years()],
            # A year that was chosen and has no day (any more) is told as such, with the way to the other one.
            "published": bool(days) or "annee" in self.request.GET,
            "booking_rule": sentence(self.activity.booking_rule),
            "cancel_rule": sentence(self.activity.cancel_rule),
            "next_deadline": upcoming,
            "opens_on": opens_on if opens_on and opens_on > timezone.localdate() else None,
            "quantity": sum(count for _date, count in chosen),
            "dates_count": len(chosen),
            "total": sum(
                (prices.on(self.access, self.chosen_slot, date) * count for date, count in chosen if self.chosen_slot),
                ZERO,
            ),
            "hold_minutes": settings.HOLD_MINUTES,
        }
        return render(self.request, "checkout/activity.html", context, status=status)

    def _years(self) -> tuple[int, int]:
        """The school years that can be chosen, by the year they begin in."""
        current = school_year(timezone.localdate())[0].year
        return current, current + 1

    def _year(self) -> tuple[int, dt.date, dt.date, list[OpenDay]]:
        """The school year on screen, its first date (from this month on) and its last, and its open days.

        It is the one asked for, or else the first that still has a day to book: in July and August, the next one.
        """
        asked = self.request.GET.get("annee", "")
        years = [year for year in self._years() if asked == str(year)] or self._years()
        now, this_month = timezone.now(), timezone.localdate().replace(day=1)
        found = []
        for year in years:
            first, last = max(dt.date(year, 9, 1), this_month), dt.date(year + 1, 8, 31)
            days = list(OpenDay.objects.filter(activity=self.activity, date__range=(first, last)))
            found.append((year, first, last, days))
            if any(row.is_open and row.book_until > now for row in days):
                return found[-1]
        return found[0]

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

    def _chosen(self, calendar: YearCalendar, elsewhere: list[dt.date], booked: Any) -> list[tuple[dt.date, int]]:
        """Each chosen date with how many of the chosen beneficiaries it counts for."""
        dates = [
            dt.date.fromisoformat(cell.iso)
            for month in calendar.months
            for week in month.weeks
            for cell in week
            if cell is not None and cell.checked
        ]
        return [(date, len(self.chosen_people - _booked_people(booked, date))) for date in dates + elsewhere]


def _booked_people(booked: Any, date: dt.date) -> set[str]:
    return {str(row.beneficiary_id) for row in booked.get(date, ())}


class Prices:
    """The prices of the slots on some dates, for each situation of the person; the browser gets them in cents."""

    def __init__(self, accesses: list[Subscription], slots: list[Slot], dates: list[dt.date]) -> None:
        self.steps: dict[tuple[int, int], list[tuple[dt.date, Decimal | None]]] = {}
        ordered = sorted(dates)
        grid = PriceGrid(profiles=[access.profile for access in accesses], slots=slots)
        for access in accesses:
            for slot in slots:
                steps: list[tuple[dt.date, Decimal | None]] = []
                for date in ordered:
                    found = grid.price(profile_id=access.profile_id, slot_id=slot.pk, date=date)
                    price = found.amount if found else None
                    if not steps or steps[-1][1] != price:
                        steps.append((date, price))
                self.steps[access.pk, slot.pk] = steps

    def first(self, access: Subscription, slot: Slot) -> Decimal | None:
        """The price on the first date that has one; None: the slot is not sold to this situation."""
        return next((price for _date, price in self.steps[access.pk, slot.pk] if price is not None), None)

    def later(self, access: Subscription, slot: Slot) -> str:
        """`puis 8,10 € à partir du vendredi 1er janvier 2027`, when the price changes within the year on screen."""
        priced = [(date, price) for date, price in self.steps[access.pk, slot.pk] if price is not None]
        return enumeration(
            _("puis %(price)s à partir du %(date)s") % {"price": euros(price), "date": long_date(date)}
            for date, price in priced[1:]
        )

    def on(self, access: Subscription, slot: Slot, date: dt.date) -> Decimal:
        """The price on one of the dates, nothing where there is none."""
        found = ZERO
        for since, price in self.steps[access.pk, slot.pk]:
            if since <= date:
                found = price or ZERO
        return found

    @property
    def cents(self) -> str:
        """`12:790 15:1190`, `7/12:790` for one of several situations, `12@2027-01-04:810` from a date on (calendar.js)."""
        several = len({access for access, _slot in self.steps}) > 1
        return " ".join(
            (f"{access}/" if several else "")
            + f"{slot}{f'@{since}' if index else ''}:{'' if price is None else round(price * 100)}"
            for (access, slot), steps in self.steps.items()
            for index, (since, price) in enumerate(steps)
        )
