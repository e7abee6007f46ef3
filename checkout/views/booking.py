"""The activity's page: type de prestation, bénéficiaires, the calendar of the school year, « Ajouter au panier »."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.views import current_user
from bookings.availability import Availability, family_bookings
from bookings.calendar import Marks, build, build_grid, initials
from bookings.closures.pupils import ClosedSchools
from bookings.list_actions import save_list
from bookings.lists import SavedList
from bookings.pricing import Place, Pricer
from bookings.selection import WEEK, LastWeek, Selection, last_week, monday_of
from checkout.actions import add_to_cart
from checkout.forms import BookingForm, keys, wish
from checkout.views.lists import asked_month
from checkout.views.quick import Notice, QuickChoices, choices
from checkout.views.tickets import TicketPage
from checkout.waiting_form import waiting_url
from families.limits import Limits
from families.models import Beneficiary, Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros, long_date
from portal.common.money import ZERO
from services.deadlines import cancel_sentence, know_deadlines, sentence
from services.models import Activity, OpenDay, Slot, Subscription
from services.school_calendar import school_year

GRID = "grille"
REMEMBERED = (
    6 * WEEK
)  # how far back « Comme la semaine dernière » looks: over the longest holidays within a school year


@require_http_methods(["GET", "POST"])
def activity(request: HttpRequest, service: str, slug: str) -> HttpResponse:
    """Choose and add. A quick-choice button answers the same page with its dates ticked, and writes nothing; « Enregistrer
    la liste » keeps the ticked weekdays under a name, and answers the same page too: the choice goes on.

    An address with `liste` and `mois` comes with the days of that list ticked.
    """
    found = get_object_or_404(
        Activity.objects.open().with_limits().select_related("service__commune", "service__category"),
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


class Year(NamedTuple):
    """The school year on screen: the year it begins in, its first date (from this month on), its last, its open days."""

    number: int
    first: dt.date
    last: dt.date
    days: list[OpenDay]


class BookingPage:
    """One request for the activity's page, and what the person had chosen in it."""

    def __init__(self, request: HttpRequest, activity: Activity, accesses: list[Subscription]) -> None:
        self.request = request
        self.user = current_user(request)
        self.activity = activity
        self.waiting_url = ""  # set when what was asked for is full
        self.accesses = accesses
        self.slots = list(activity.slots.filter(is_active=True))
        self.people = [row.beneficiary for row in Filiation.objects.of(self.user).select_related("beneficiary")]
        self.data = request.POST if request.method == "POST" else request.GET
        # Only « Ajouter au panier » is checked: a quick choice is made before the rest is chosen.
        adding = request.method == "POST" and "pick" not in request.POST
        self.selection = self._sent()
        self.form = BookingForm(
            request.POST if adding else None,
            slots=self.slots,
            people=self.people,
            profiles=accesses,
            by_person=self.selection.by_person,
        )
        self.access = next((row for row in accesses if str(row.pk) == self.data.get("profile")), accesses[0])
        self.chosen_slot = next(
            (row for row in self.slots if str(row.pk) == self.data.get("slot")), next(iter(self.slots), None)
        )
        self.notices: list[Notice] = []
        self.list_notices: list[Notice] = []
        self.saved = self._asked_list()

    def _asked_list(self) -> tuple[SavedList, dt.date] | None:
        """The list that the address names, with the month to apply it to; a stranger's is none."""
        (pk, *_more) = keys([self.request.GET.get("liste", "")]) or {0}
        first = asked_month(self.request.GET.get("mois", ""))
        if self.request.method == "POST" or not pk or first is None:
            return None
        found = SavedList.objects.of(self.user).with_rows().filter(pk=pk, slot__activity=self.activity).first()
        if found is None:
            raise Http404
        self.access = next((row for row in self.accesses if row.profile_id == found.profile_id), self.access)
        return found, first

    def _save_list(self) -> list[Notice]:
        """Keep the weekdays of what is ticked under the name that was typed."""
        days: dict[int, set[int]] = {}
        for each in self.selection.wishes:
            days.setdefault(each.beneficiary_id, set()).add(each.date.weekday())
        if self.chosen_slot is None:
            return []
        try:
            saved = save_list(
                user=self.user,
                name=self.data.get("liste_nom", ""),
                slot=self.chosen_slot,
                profile=self.access.profile,
                days=days,
                by=self.user,
            )
        except Refused as refusal:
            return [Notice("error", text) for text in refusal.messages]
        text = _("La liste «\u00a0%s\u00a0» est enregistrée. Vos jours restent cochés\u00a0: continuez.")
        return [Notice("success", text % saved)]

    def _sent(self) -> Selection:
        """What was ticked in the page that was sent. What cannot be read is left out: only adding says what is wrong."""
        own = {row.pk for row in self.people}
        people = {pk for pk in own if str(pk) in self.data.getlist("people")} or (own if len(own) == 1 else set())
        dates = set()
        for text in self.data.getlist("dates"):
            try:
                dates.add(dt.date.fromisoformat(text))
            except ValueError:
                continue
        days = {found for text in self.data.getlist("days") if (found := wish(text)) and found.beneficiary_id in own}
        by_person = self.data.get("vue") == GRID and len(own) > 1
        return Selection(people, dates, days, by_person)

    def add(self) -> HttpResponse:
        """Put the choice into the cart and show the cart, or the page again with what was wrong."""
        form = self.form
        if not form.is_valid():
            return self.render(status=422)
        assert self.chosen_slot is not None
        try:
            added = add_to_cart(
                user=self.user,
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
        messages.success(self.request, confirmation, extra_tags="added")
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
        know_deadlines([self.activity])
        year = self._year()
        today = timezone.localdate()
        # Dates ticked in the school year that is not on screen stay chosen, and stay counted.
        end = school_year(today + dt.timedelta(days=366))[1]
        away = [
            date for date in self.selection.all_dates if not year.first <= date <= year.last and today <= date <= end
        ]
        booked = family_bookings(
            beneficiaries=self.people,
            activity=self.activity,
            first=min([year.first, monday_of(today) - REMEMBERED, *away]),
            last=max([year.last, *away]),
        )
        availability = Availability(
            activity=self.activity,
            slots=self.slots,
            days=year.days,
            booked=booked,
            beneficiaries=self.people,
            user=self.user,
            at=timezone.now(),
            limits=Limits(self.activity, self.people),
            closed=ClosedSchools(self.activity, self.people, [row.date for row in year.days if row.is_open]),
        )
        # Who may come on none of the dates is not counted, whatever was ticked.
        never = {row.pk for row in self.people if availability.limits.why_never(row, availability.quick_dates)}
        self.selection.people -= never
        past = last_week(booked, today)
        quick = QuickChoices(self.data, availability, self.selection, self.chosen_slot, past)
        if self.saved:
            self.notices += quick.apply_list(*self.saved)
        elif self.data.get("pick") == "liste":
            self.list_notices += self._save_list()
        elif self.request.method == "POST":
            self.notices += quick.apply(self.data.get("pick", ""))
        self.chosen_slot = quick.slot
        context = self._context(year, availability, sorted(set(away) & self.selection.all_dates), past)
        return render(self.request, "checkout/activity.html", context, status=status)

    def _context(
        self, year: Year, availability: Availability, away: Sequence[dt.date], past: LastWeek | None
    ) -> dict[str, Any]:
        selection = self.selection
        now = availability.at
        free = [date for date, row in availability.days.items() if availability.state(row) is None]
        dates = {date: availability.days[date].is_late(now) for date in free} | dict.fromkeys(away, False)
        counted = self._counted(availability, dates)
        prices = Prices(
            user=self.user,
            activity=self.activity,
            accesses=self.accesses,
            slots=self.slots,
            people=self.people,
            dates=dates or {year.first: False},
            choice=counted,
        )
        usual = prices.first(self.access, self.chosen_slot) if self.chosen_slot else None
        marks = Marks(selection.days if selection.by_person else selection.dates, self._unusual(prices, usual, dates))
        calendar = (build_grid if selection.by_person else build)(availability, marks)
        lines = self._lines(prices, availability, counted)
        upcoming = next((row for row in year.days if row.is_open and row.book_until > availability.at), None)
        opens_on = self.activity.booking_opens_on
        return {
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
            "people": lines,
            # Where an error about the beneficiaries leads: a box that may not be ticked takes no focus.
            "first_choice": next((line["row"].pk for line in lines if not line["never"]), None),
            "limits": availability.limits.sentence,
            "asks": prices.depends_on_others,
            "calendar": calendar,
            "by_person": selection.by_person,
            "hidden": self._hidden(away, availability),
            "away_count": len(away),
            "quick": choices(self.data, availability, lines=lines, past=past),
            "notices": self.notices,
            "list_notices": self.list_notices,
            "list_name": self.data.get("liste_nom", ""),
            "years": [(each, f"{each}-{each + 1}", each == year.number) for each in self._years()],
            # A year that was chosen and has no day (any more) is told as such, with the way to the other one.
            "published": bool(year.days) or "annee" in self.request.GET,
            "booking_rule": sentence(self.activity.booking_rule),
            "cancel_rule": cancel_sentence(self.activity.cancel_rule),
            "next_deadline": upcoming,
            "opens_on": opens_on if opens_on and opens_on > timezone.localdate() else None,
            "quantity": sum(line["count"] for line in lines),
            "dates_count": len(selection.all_dates & {*free, *away}),
            "total": sum((line["total"] for line in lines), ZERO),
            "hold_minutes": settings.HOLD_MINUTES,
        }

    def _years(self) -> tuple[int, int]:
        """The school years that can be chosen, by the year they begin in."""
        current = school_year(timezone.localdate())[0].year
        return current, current + 1

    def _year(self) -> Year:
        """The school year asked for, or else the first that still has a day to book: in July and August, the next one."""
        asked = str(school_year(self.saved[1])[0].year) if self.saved else self.request.GET.get("annee", "")
        years = [year for year in self._years() if asked == str(year)] or self._years()
        now, this_month = timezone.now(), timezone.localdate().replace(day=1)
        found = []
        for year in years:
            first, last = max(dt.date(year, 9, 1), this_month), dt.date(year + 1, 8, 31)
            days = list(OpenDay.objects.filter(activity=self.activity, date__range=(first, last)))
            found.append(Year(year, first, last, days))
            if any(row.is_bookable(now) for row in days):
                return found[-1]
        return found[0]

    def _unusual(self, prices: "Prices", usual: Decimal | None, dates: Collection[dt.date]) -> Mapping[dt.date, str]:
        """The dates that cost something else than the price written beside the slot, and what."""
        slot = self.chosen_slot
        if slot is None or usual is None:
            return {}
        found = {date: prices.alone(self.access, slot, date) for date in dates}
        return {date: euros(price) for date, price in found.items() if price not in (None, usual)}

    def _counted(self, availability: Availability, dates: Mapping[dt.date, bool]) -> list[Place]:
        """The ticked places that can be had in the chosen slot, as far as the page knows: what the total counts."""
        slot = self.chosen_slot
        if slot is None:
            return []
        return [
            Place(each.beneficiary_id, slot.pk, each.date, dates[each.date])
            for each in sorted(self.selection.wishes)
            if each.date in dates and availability.may_have(each.beneficiary_id, each.date, slot)
        ]

    def _lines(self, prices: "Prices", availability: Availability, counted: Sequence[Place]) -> list[dict[str, Any]]:
        """Each person: their mark, whether they are chosen, how many of the ticked days count for them, for how much."""
        slot = self.chosen_slot
        letters = initials(self.people)
        lines = []
        for index, person in enumerate(self.people):
            dates = [place.date for place in counted if place.member == person.pk]
            lines.append(
                {
                    "row": person,
                    "letter": letters[person.pk],
                    "hue": index % 6 + 1,
                    "checked": person.pk in self.selection.people,
                    "closed": availability.closed.sentences(person),
                    "never": availability.limits.why_never(person, availability.quick_dates),
                    "price": prices.first(self.access, slot, person.pk) if slot else None,
                    "cents": prices.cents(person.pk),
                    "count": len(dates),
                    "total": sum(
                        (prices.of_choice(self.access, slot, date, person.pk) for date in dates if slot), ZERO
                    ),
                }
            )
        return lines

    def _hidden(self, away: Sequence[dt.date], availability: Availability) -> list[tuple[str, str]]:
        """The values of what is chosen in the other school year, and whom the live total leaves out (calendar.js)."""
        if self.selection.by_person:
            chosen = sorted(each for each in self.selection.days if each.date in away)
            return [(f"{each.beneficiary_id}:{each.date}", availability.skips(each.date)) for each in chosen]
        return [(f"{date}", availability.skips(date)) for date in away]


class Prices:
    """What each day costs each person, in each slot and situation of the family; the browser gets it in cents.

    `choice` are the places ticked: siblings and late bookings among them may change each other's price. What the browser
    gets is the price of a place alone; where it may be another (`depends_on_others`), it asks the server for the total.
    """

    def __init__(
        self,
        *,
        user: User,
        activity: Activity,
        accesses: Sequence[Subscription],
        slots: Sequence[Slot],
        people: Sequence[Beneficiary],
        dates: Mapping[dt.date, bool],
        choice: Collection[Place],
    ) -> None:
        """`dates` are those that can be booked, and whether each is late by now."""
        for slot in slots:
            slot.activity = activity
        priced: dict[str, Any] = {
            "user": user,
            "profiles": [access.profile for access in accesses],
            "slots": slots,
            "beneficiaries": people,
        }
        alone = Pricer(**priced, choice=())
        self.depends_on_others = alone.depends_on_others(is_late=any(dates.values()))
        # What is ticked is priced together only where that makes a difference.
        self._together = Pricer(**priced, choice=choice) if self.depends_on_others and choice else alone
        self._dates = dict(sorted(dates.items()))
        # The same for all, unless a fare or a rule looks at who it is.
        self._tells_people_apart = bool(alone.bases or alone.grid.asks_for("age") or activity.booking_rule.free_times)
        self._people = [person.pk for person in people]
        self._steps: dict[tuple[int, int, int], list[tuple[dt.date, Decimal | None]]] = {}
        for person in self._people if self._tells_people_apart else self._people[:1]:
            for access in accesses:
                for slot in slots:
                    self._steps[person, access.pk, slot.pk] = self._priced(alone, person, access.profile_id, slot.pk)

    def _priced(self, pricer: Pricer, person: int, profile: int, slot: int) -> list[tuple[dt.date, Decimal | None]]:
        steps: list[tuple[dt.date, Decimal | None]] = []
        before = None
        for date, is_late in self._dates.items():
            stretch = pricer.grid.stretch(date), is_late
            if stretch == before and not pricer.depends_on_dates:
                continue
            before = stretch
            found = pricer.price(profile_id=profile, place=Place(person, slot, date, is_late))
            price = found.amount if found else None
            if not steps or steps[-1][1] != price:
                steps.append((date, price))
        return steps

    def _of(self, access: Subscription, slot: Slot, person: int | None) -> list[tuple[dt.date, Decimal | None]]:
        if person is None or not self._tells_people_apart:
            person = self._people[0] if self._people else 0
        return self._steps.get((person, access.pk, slot.pk), [])

    def first(self, access: Subscription, slot: Slot, person: int | None = None) -> Decimal | None:
        """The price on the first date in time that has one; None: the slot is not sold to this situation."""
        steps = self._of(access, slot, person)
        usual = [(date, price) for date, price in steps if price is not None and not self._dates[date]]
        return next((price for _date, price in usual or steps if price is not None), None)

    def later(self, access: Subscription, slot: Slot) -> str:
        """`puis 8,10 € à partir du vendredi 1er janvier 2027`, when the price changes within the year on screen."""
        steps = [(date, price) for date, price in self._of(access, slot, None) if price is not None]
        priced = [(date, price) for date, price in steps if not self._dates[date]]
        return enumeration(
            _("puis %(price)s à partir du %(date)s") % {"price": euros(price), "date": long_date(date)}
            for date, price in priced[1:]
        )

    def alone(self, access: Subscription, slot: Slot, date: dt.date, person: int | None = None) -> Decimal | None:
        """The price of one place with no other chosen."""
        found = None
        for since, price in self._of(access, slot, person):
            if since <= date:
                found = price
        return found

    def of_choice(self, access: Subscription, slot: Slot, date: dt.date, person: int) -> Decimal:
        """The price of one place of the choice, as the cart will say it; nothing where there is none."""
        if not self.depends_on_others:
            return self.alone(access, slot, date, person) or ZERO
        place = Place(person, slot.pk, date, self._dates.get(date, False))
        found = self._together.price(profile_id=access.profile_id, place=place)
        return found.amount if found else ZERO

    def cents(self, person: int) -> str:
        """`12:790 15:1190`, `7/12:790` for one of several situations, `12@2027-01-04:810` from a date on (calendar.js)."""
        if not self._tells_people_apart:
            person = self._people[0]
        steps = {(access, slot): found for (who, access, slot), found in self._steps.items() if who == person}
        several = len({access for access, _slot in steps}) > 1
        return " ".join(
            (f"{access}/" if several else "")
            + f"{slot}{f'@{since}' if index else ''}:{'' if price is None else round(price * 100)}"
            for (access, slot), found in steps.items()
            for index, (since, price) in enumerate(found)
        )
