"""The activity's page: type de prestation, bénéficiaires, the calendar of the school year, « Ajouter au panier »."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.views import current_user
from bookings.actions import Wish
from bookings.availability import Availability, family_bookings, family_waiting
from bookings.calendar import Marks, build, build_grid, build_past, initials
from bookings.closures.pupils import ClosedSchools
from bookings.fitting import fitting
from bookings.list_actions import save_list
from bookings.lists import SavedList
from bookings.pricing import Place, Taken
from bookings.selection import WEEK, LastWeek, Selection, last_week, monday_of
from checkout.actions import Added, add_to_cart
from checkout.forms import BookingForm, keys, wish
from checkout.views.lists import asked_month
from checkout.views.prices import Prices
from checkout.views.quick import Notice, QuickChoices, choices
from checkout.views.tickets import TicketPage
from checkout.waiting_form import waiting_url
from families.household import Household
from families.limits import Limits
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros
from portal.common.money import ZERO
from services.deadlines import cancel_sentence, know_deadlines, sentence
from services.models import Activity, OpenDay, Subscription
from services.pricing import RankBasis
from services.school_calendar import school_year

GRID = "grille"
LIST = "liste"
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
        return tickets.add() if tickets.is_adding else tickets.render()
    page = BookingPage(request, found, accesses)
    if page.is_adding:
        return page.add()
    return page.render()


class Year(NamedTuple):
    """The school year on screen: the year it begins in, its start, its first date from this month on, its last, its open
    days from then on."""

    number: int
    start: dt.date
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
        self.household, self.people = Household.with_people(self.user)
        self.data = request.POST if request.method == "POST" else request.GET
        self.pick = self.data.get("pick", "")
        if "enter" in self.data and self.data.get("liste_nom", "").strip():
            self.pick = LIST  # Enter in the name of a list saves the list
        # Only « Ajouter au panier » is checked: a quick choice is made before the rest is chosen.
        self.is_adding = request.method == "POST" and not self.pick and "pick" not in request.POST
        self.selection = self._sent()
        self.form = BookingForm(
            request.POST if self.is_adding else None,
            slots=self.slots,
            people=self.people,
            profiles=accesses,
            by_person=self.selection.by_person,
        )
        self.access = next((row for row in accesses if str(row.pk) == self.data.get("profile")), accesses[0])
        self.chosen_slot = next(
            (row for row in self.slots if str(row.pk) == self.data.get("slot")), next(iter(self.slots), None)
        )
        self.never: dict[int, str] = {}  # who may come on none of the dates, and why
        self.notices: list[Notice] = []
        self.list_notices: list[Notice] = []
        self.list_name = self.data.get("liste_nom", "")
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
                name=self.list_name,
                slot=self.chosen_slot,
                profile=self.access.profile,
                days=days,
                by=self.user,
            )
        except Refused as refusal:
            return [Notice("error", text) for text in refusal.messages]
        self.list_name = ""
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
            added, left_out = self._added(form.wishes)
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
        for text in left_out:
            messages.info(self.request, text)
        return redirect("cart")

    def _added(self, wishes: Sequence[Wish]) -> tuple[Added, list[str]]:
        """Put places into the cart. Dates ticked for all leave out a child who may not come, whom the page never counted:
        this is said in sentences; days asked for by name are refused as the action says."""
        assert self.chosen_slot is not None
        offer: dict[str, Any] = {
            "user": self.user,
            "activity": self.activity,
            "slot": self.chosen_slot,
            "subscription": self.access,
        }
        try:
            return add_to_cart(**offer, wishes=wishes), []
        except Refused as refusal:
            if self.selection.by_person or refusal.code not in ("not_for_this_child", "school_closed"):
                raise
            fits, left_out = fitting(self.activity, self.people, wishes)
            if not left_out:
                raise
            return add_to_cart(**offer, wishes=fits), left_out

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
            first=min(school_year(min([year.first, *away]))[0], monday_of(today) - REMEMBERED),
            last=school_year(max([year.last, *away]))[1],
        )
        coming = [row for row in year.days if row.date >= today]
        waiting = family_waiting(beneficiaries=self.people, activity=self.activity, slots=self.slots, days=coming)
        availability = Availability(
            activity=self.activity,
            slots=self.slots,
            days=year.days,
            booked=booked.here,
            waiting=waiting,
            beneficiaries=self.people,
            user=self.user,
            at=timezone.now(),
            limits=Limits(self.activity, self.people),
            closed=ClosedSchools(self.activity, self.people, [row.date for row in year.days if row.is_open]),
        )
        # Who may come on none of the dates is not counted, whatever was ticked.
        dates = availability.quick_dates
        self.never = {row.pk: why for row in self.people if (why := availability.limits.why_never(row, dates))}
        self.selection.people -= set(self.never)
        since = monday_of(today) - REMEMBERED
        past = last_week({date: rows for date, rows in booked.here.items() if date >= since}, today)
        quick = QuickChoices(self.data, availability, self.selection, self.chosen_slot, past)
        if self.saved:
            self.notices += quick.apply_list(*self.saved)
        elif self.pick == LIST:
            self.list_notices += self._save_list()
        elif self.request.method == "POST":
            self.notices += quick.apply(self.pick)
        self.chosen_slot = quick.slot
        context = self._context(year, availability, sorted(set(away) & self.selection.all_dates), past, booked.taken)
        return render(self.request, "checkout/activity.html", context, status=status)

    def _context(
        self,
        year: Year,
        availability: Availability,
        away: Sequence[dt.date],
        past: LastWeek | None,
        taken: Sequence[Taken],
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
            household=self.household,
            taken=taken,
        )
        marks = Marks(
            selection.days if selection.by_person else selection.dates,
            self._unusual(prices, availability),
            tells_who=RankBasis.PRESENT in prices.bases,
            lists_url=reverse("waiting_lists"),
            never=self.never,
        )
        calendar = (build_grid if selection.by_person else build)(availability, marks, first=year.first, last=year.last)
        costs = {place: prices.of_place(self.access, place) for place in counted}
        lines = self._lines(prices, availability, costs)
        upcoming = next((row for row in year.days if row.is_open and row.book_until > availability.at), None)
        opens_on = self.activity.booking_opens_on
        nobody = len(self.never) == len(self.people)
        unsold = all(prices.usual(self.access, row) is None for row in self.slots)
        return {
            "activity": self.activity,
            "service": self.activity.service,
            "univers": self.activity.service.category.slug,
            "form": self.form,
            "waiting_url": self.waiting_url,
            "accesses": self.accesses,
            "access": self.access,
            "slots": [
                (row, prices.usual(self.access, row), prices.later(self.access, row), row == self.chosen_slot)
                for row in self.slots
            ],
            "people": lines,
            # Where an error about the beneficiaries leads: a box that may not be ticked takes no focus.
            "first_choice": next((line["row"].pk for line in lines if not line["never"]), None),
            "limits": availability.limits.sentence,
            "data": _data(prices.form_data),
            "calendar": calendar,
            "past": build_past(availability, year.start, year.first),
            "in_cart": availability.in_cart,
            "nobody": nobody,
            "somebody": bool(selection.people),
            "unsold": unsold,
            "by_person": selection.by_person,
            "hidden": self._hidden(away, availability, tells_who=marks.tells_who),
            "away_count": len(away),
            "quick": choices(self.data, availability, lines=lines, past=past) if not (nobody or unsold) else None,
            "notices": self.notices,
            "list_notices": self.list_notices,
            "list_name": self.list_name,
            "years": [(each, f"{each}-{each + 1}", each == year.number) for each in self._years()],
            # A year that was chosen and has no day (any more) is told as such, with the way to the other one.
            "published": bool(year.days) or "annee" in self.request.GET,
            "booking_rule": sentence(self.activity.booking_rule),
            "cancel_rule": cancel_sentence(self.activity.cancel_rule),
            "next_deadline": upcoming,
            "opens_on": opens_on if opens_on and opens_on > timezone.localdate() else None,
            "quantity": sum(line["count"] for line in lines),
            "dates_count": len(selection.all_dates & {*free, *away}),
            "total": None if None in costs.values() else sum(filter(None, costs.values()), ZERO),
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
            start, last = school_year(dt.date(year, 9, 1))
            first = max(start, this_month)
            days = list(OpenDay.objects.filter(activity=self.activity, date__range=(first, last)))
            found.append(Year(year, start, first, last, days))
            if any(row.is_bookable(now) for row in days):
                return found[-1]
        return found[0]

    def _unusual(self, prices: Prices, availability: Availability) -> Callable[[int | None, OpenDay], str]:
        """What a square says of its price: nothing where it is that written beside the person, unless it is late.

        A square of the calendar, which is nobody's, speaks for the first of those chosen who may have it.
        """
        slot, access, at = self.chosen_slot, self.access, availability.at
        everybody = [row.pk for row in self.people]
        chosen = [pk for pk in everybody if pk in self.selection.people] or everybody
        usual = {pk: prices.usual(access, slot, pk) for pk in everybody} if slot else {}
        apart = prices.tells_people_apart
        known: dict[int, str] = {}  # what was said of a day, for everybody

        def words(person: int | None, open_day: OpenDay) -> str:
            if slot is None or not chosen or usual.get(chosen[0]) is None:
                return ""
            if person is None:
                asked = chosen if apart else chosen[:1]
                fitting = (pk for pk in asked if availability.may_have(pk, open_day.date, slot))
                person = next(fitting, chosen[0])
            if not apart and open_day.pk in known:
                return known[open_day.pk]
            is_late = open_day.is_late(at)
            price = prices.of_place(access, Place(person, slot.pk, open_day.date, is_late))
            said = _("sans tarif") if price is None else euros(price) if is_late or price != usual[person] else ""
            known[open_day.pk] = said
            return said

        return words

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

    def _lines(
        self, prices: Prices, availability: Availability, costs: Mapping[Place, Decimal | None]
    ) -> list[dict[str, Any]]:
        """Each person: their mark, whether they are chosen, how many of the ticked days count for them, for how much."""
        slot = self.chosen_slot
        letters = initials(self.people)
        lines = []
        for index, person in enumerate(self.people):
            own = [cost for place, cost in costs.items() if place.member == person.pk]
            others = [row.pk for row in self.people if row.pk != person.pk and row.pk not in self.never]
            price = prices.usual(self.access, slot, person.pk) if slot and person.pk not in self.never else None
            beside = prices.with_others(self.access, slot, person.pk, others) if slot else None
            lines.append(
                {
                    "row": person,
                    "letter": letters[person.pk],
                    "hue": index % 6 + 1,
                    "checked": person.pk in self.selection.people,
                    "closed": availability.closed.sentences(person),
                    "never": self.never.get(person.pk, ""),
                    "price": price,
                    "beside": beside,
                    "beside_words": "" if person.pk in self.never else self._beside(prices, person.pk, others),
                    "beside_differs": beside != price,
                    "data": _data(prices.person_data(person.pk, others)),
                    "count": len(own),
                    "total": sum(filter(None, own), ZERO),
                }
            )
        return lines

    def _beside(self, prices: Prices, person: int, others: Collection[int]) -> str:
        """When a person has another rank than alone: `les jours où Théo vient aussi`; empty where ranks do not count."""
        elders = prices.elders(person, others)
        names = enumeration(row.first_name for row in self.people if row.pk in elders)
        if not names:
            return ""
        if RankBasis.PRESENT in prices.bases:
            return ngettext("les jours où %s vient aussi", "les jours où %s viennent aussi", len(elders)) % names
        return ngettext("si %s a aussi une place", "si %s ont aussi une place", len(elders)) % names

    def _hidden(
        self, away: Sequence[dt.date], availability: Availability, *, tells_who: bool
    ) -> list[tuple[str, SafeString]]:
        """The values of what is chosen in the other school year, and what the live total has to know of them (calendar.js)."""
        if self.selection.by_person:
            chosen = [(f"{each.beneficiary_id}:{each.date}", each.date) for each in sorted(self.selection.days)]
        else:
            chosen = [(f"{date}", date) for date in away]
        return [
            (
                value,
                _data(
                    {
                        "skip": availability.skips(date),
                        "here": " ".join(map(str, availability.there(date))) if tells_who else "",
                    }
                ),
            )
            for value, date in chosen
            if date in away
        ]


def _data(values: Mapping[str, str]) -> SafeString:
    """Attributes for static/js/calendar.js, those that say something."""
    return format_html_join("", ' data-{}="{}"', ((name, value) for name, value in values.items() if value))
