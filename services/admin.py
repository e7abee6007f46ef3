"""The catalogue: services, who may use them, activities, prices and calendars."""

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, ScopedAdmin, ScopedInline, staff
from accounts.admin_history import Happening, additions
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, euros, long_date, short_date, today
from services.admin_bus import BusLineAdmin as BusLineAdmin
from services.admin_forms import (
    ActivityForm,
    ClosingForm,
    DeadlineForm,
    OpenDayForm,
    PeriodForm,
    ServiceForm,
    TariffForm,
)
from services.calendars import close_days, generate_open_days, preview_open_days
from services.deadlines import sentence
from services.models import (
    AccessProfile,
    Activity,
    Category,
    Deadline,
    OpenDay,
    SchoolHoliday,
    Service,
    Slot,
    Tariff,
)
from services.school_calendar import import_school_holidays

PROFILE_SENTENCES = {
    "one_profile_per_label": ("label", gettext_lazy("Ce service propose déjà cette situation.")),
}
SLOT_SENTENCES = {
    "one_slot_per_name": ("name", gettext_lazy("Cette activité a déjà un type de prestation de ce nom.")),
    "slot_ends_after_it_starts": ("ends_at", gettext_lazy("La fin doit venir après le début.")),
    "slot_has_hours_or_a_validity": (
        "",
        gettext_lazy(
            "Une prestation de calendrier a un début et une fin\u00a0; la formule d’un billet, une durée de validité et son unité."
        ),
    ),
}


@admin.register(Category)
class CategoryAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["name", "position", "icon"]
    search_fields = ["name"]
    prepopulated_fields = {"slug": ["name"]}


# --- Services ----------------------------------------------------------------------------------------------------------


class ProfileInline(ScopedInline):
    model = AccessProfile
    agents = operators = Right.EDIT
    can_delete = False  # « proposé » is unticked instead: requests and prices hang on it
    fields = ["label", "position", "is_active"]
    constraint_messages = PROFILE_SENTENCES


@admin.register(Service)
class ServiceAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = ServiceForm
    inlines = [ProfileInline]
    shared = ["category", "booking_deadline", "cancel_deadline"]
    list_display = ["name", "commune_name", "category", "is_active"]
    list_filter = ["category", "commune", "is_active"]
    list_select_related = ["commune", "category"]
    search_fields = ["name", "commune__name"]
    prepopulated_fields = {"slug": ["name"]}

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.for_operator = staff(request).is_operator
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Service | None = None) -> list[str]:
        """Who earns a service's money is settled once; only the agglomération corrects it."""
        return ["commune"] if obj and not staff(request).is_operator else []

    def view_on_site(self, obj: Service) -> str:
        return obj.get_absolute_url()

    @admin.display(description=gettext_lazy("commune"), ordering="commune__name_key")
    def commune_name(self, obj: Service) -> str:
        return obj.commune_name


@admin.register(AccessProfile)
class AccessProfileAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    list_display = ["label", "service", "position", "is_active"]
    list_filter = ["service", "is_active"]
    list_select_related = ["service"]
    label_related = ["service"]
    search_fields = ["label", "service__name"]
    ordering = ["service__name", "position", "pk"]
    constraint_messages = PROFILE_SENTENCES

    def label_for(self, obj: AccessProfile) -> str:
        return f"{obj.service} – {obj.label}"

    def get_readonly_fields(self, request: HttpRequest, obj: AccessProfile | None = None) -> list[str]:
        return ["service"] if obj else []  # the requests and prices that hang on it stay with their service


# --- Activities --------------------------------------------------------------------------------------------------------


class SlotInline(ScopedInline):
    model = Slot
    agents = operators = Right.EDIT
    can_delete = False
    constraint_messages = SLOT_SENTENCES

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What the kind of the activity asks for; both while it is being made."""
        hours = ["starts_at", "ends_at", "includes_meal"]
        formula = ["entries", "validity", "validity_unit"]
        kinds = {obj.kind} if obj is not None else set(Activity.Kind)
        asked = (hours if Activity.Kind.CALENDAR in kinds else []) + (formula if kinds - {"calendar"} else [])
        return ["name", *asked, "position", "is_active"]


# What a change of decides which days are open, for how many, until when they are booked.
CALENDAR_RULES = {"weekdays", "term", "open_on_public_holidays", "capacity", "booking_deadline", "cancel_deadline"}


@admin.register(Activity)
class ActivityAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = ActivityForm
    inlines = [SlotInline]
    shared = ["booking_deadline", "cancel_deadline"]
    change_form_template = "admin/services/activity/change_form.html"
    list_display = ["name", "service", "kind", "days", "capacity", "is_active"]
    list_filter = ["service", "kind", "is_active"]
    list_select_related = ["service"]
    label_related = ["service"]
    search_fields = ["name", "service__name"]
    ordering = ["service__name", "position", "name", "pk"]
    prepopulated_fields = {"slug": ["name"]}
    constraint_messages = {
        "one_activity_per_slug": ("slug", gettext_lazy("Ce service a déjà une activité à cette adresse.")),
        "activity_has_places": ("capacity", gettext_lazy("Une activité a au moins une place.")),
    }
    fieldsets = [
        (
            None,
            {
                "fields": [
                    *("service", "kind", "name", "slug", "description", "unit_name"),
                    *("capacity", "booking_opens_on", "position", "is_active"),
                ]
            },
        ),
        (_("Calendrier"), {"fields": ["weekdays", "term", "open_on_public_holidays"]}),
        (_("Délais et règles"), {"fields": ["booking_deadline", "cancel_deadline", "may_overlap"]}),
        (_("E-billets, abonnements, locations"), {"fields": ["refund_days"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Activity | None = None) -> Any:
        """All of them while it is being made, then those of its kind."""
        common, calendar, rules, tickets = self.fieldsets
        if obj is None:
            return [common, calendar, rules, tickets]
        return [common, calendar, rules] if obj.kind == Activity.Kind.CALENDAR else [common, tickets]

    def label_for(self, obj: Activity) -> str:
        return f"{obj.service} – {obj.name}"

    def view_on_site(self, obj: Activity) -> str:
        return obj.get_absolute_url()

    def get_readonly_fields(self, request: HttpRequest, obj: Activity | None = None) -> list[str]:
        return ["service", "kind"] if obj else []  # prices and bookings were made for this service and in this way

    def get_prepopulated_fields(self, request: HttpRequest, obj: Activity | None = None) -> Any:
        return {} if obj else self.prepopulated_fields  # an address that has been printed does not change by itself

    @admin.display(description=gettext_lazy("jours d’ouverture"))
    def days(self, obj: Activity) -> str:
        return ", ".join(WEEKDAYS[number] for number in sorted(obj.weekdays))

    def save_model(self, request: HttpRequest, obj: Activity, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        has_calendar = obj.kind == Activity.Kind.CALENDAR
        if has_calendar and (not change or CALENDAR_RULES & set(form.changed_data)):
            words = _("Les jours ouverts ne suivent pas encore ces règles\u00a0:")
            link = format_html('<a href="{}">{}</a>', self.url("generate", obj.pk), _("générez-les maintenant"))
            self.say(request, messages.WARNING, [format_html("{} {}.", words, link)])

    # -- Calendar --

    def get_urls(self) -> list[Any]:
        guard = self.admin_site.guard(self)  # type: ignore[attr-defined]
        return [
            path("<int:pk>/generer/", guard(self.generate_view), name="services_activity_generate"),
            *super().get_urls(),
        ]

    def generate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET says what would be done between two dates, POST does it and shows the report (again changes nothing)."""
        activity = self.object_or_404(request, str(pk))
        if not self.has_change_permission(request, activity):
            raise PermissionDenied
        form = PeriodForm(request.POST if request.method == "POST" else request.GET)
        report, done = None, False
        if form.is_valid():
            work = generate_open_days if request.method == "POST" else preview_open_days
            try:
                report = work(activity=activity, first=form.cleaned_data["du"], last=form.cleaned_data["au"])
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                done = request.method == "POST"
        if done:
            self.log_change(request, activity, _("Jours ouverts générés."))
        days = f"{reverse('admin:services_openday_changelist')}?activity__id__exact={activity.pk}"
        context = {
            "title": _("Jours ouverts\u00a0: %s") % activity,
            "activity": activity,
            "form": form,
            "first": form.cleaned_data.get("du"),
            "last": form.cleaned_data.get("au"),
            "report": report,
            "done": done,
            "days_url": days,
            "back_url": self.url("change", activity.pk),
        }
        return self.page(request, "admin/services/activity/generate.html", context)


@admin.register(Slot)
class SlotAdmin(ScopedAdmin):
    """Slots are filled in on their activity's page; this one is where prices look for them."""

    agents = operators = Right.ALL
    list_display = ["name", "activity_name", "hours", "includes_meal", "is_active"]
    list_filter = ["activity__service", "is_active"]
    list_select_related = ["activity__service"]
    label_related = ["activity__service"]
    search_fields = ["name", "activity__name", "activity__service__name"]
    ordering = ["activity__service__name", "activity__name", "position", "pk"]
    constraint_messages = SLOT_SENTENCES

    def label_for(self, obj: Slot) -> str:
        return f"{obj.activity.service} – {obj.activity} – {obj.name}"

    def get_readonly_fields(self, request: HttpRequest, obj: Slot | None = None) -> list[str]:
        return ["activity"] if obj else []

    @admin.display(description=gettext_lazy("activité"), ordering="activity__name")
    def activity_name(self, obj: Slot) -> str:
        return f"{obj.activity.service} – {obj.activity}"

    @admin.display(description=gettext_lazy("horaires"), ordering="starts_at")
    def hours(self, obj: Slot) -> str:
        return obj.hours


@admin.register(Tariff)
class TariffAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = TariffForm
    list_display = ["name", "situation", "amount", "validity", "decision"]
    list_filter = ["slot__activity__service"]
    list_select_related = ["slot__activity__service", "profile"]
    search_fields = [
        "slot__name",
        "slot__activity__name",
        "slot__activity__service__name",
        "profile__label",
        "decision",
    ]
    autocomplete_fields = ["slot", "profile"]
    ordering = ["slot__activity__service__name", "slot__activity__name", "slot", "profile", "valid"]
    fields = ["slot", "profile", "price", "first_day", "last_day", "decision"]
    constraint_messages = {
        "price_is_not_negative": ("price", gettext_lazy("Un prix ne peut pas être négatif.")),
        "one_price_at_a_time": (
            "first_day",
            gettext_lazy(
                "Un autre tarif vaut déjà pour cette prestation et cette situation pendant ces dates\u00a0: terminez-le d’abord."
            ),
        ),
    }

    @admin.display(description=gettext_lazy("prestation"), ordering="slot__name")
    def name(self, obj: Tariff) -> str:
        return f"{obj.slot.activity.service} – {obj.slot.activity} – {obj.slot}"

    @admin.display(description=gettext_lazy("situation"), ordering="profile__label")
    def situation(self, obj: Tariff) -> str:
        return str(obj.profile)

    @admin.display(description=gettext_lazy("prix"), ordering="price")
    def amount(self, obj: Tariff) -> str:
        return euros(obj.price)

    @admin.display(description=gettext_lazy("valable"), ordering="valid")
    def validity(self, obj: Tariff) -> str:
        first = short_date(obj.valid.lower) if obj.valid.lower else "…"
        last = short_date(obj.valid.upper - dt.timedelta(days=1)) if obj.valid.upper else "…"
        return _("du %(first)s au %(last)s") % {"first": first, "last": last}


# --- Calendars ---------------------------------------------------------------------------------------------------------


MOST_DAYS = 400  # closed at once: more than a year of an activity


def remaining(taken: int) -> str:
    """What closing a day leaves as it is."""
    return (
        ngettext(
            "%d place reste prise\u00a0: fermer n’annule pas cette réservation et ne rembourse pas la famille.",
            "%d places restent prises\u00a0: fermer n’annule pas ces réservations et ne rembourse pas les familles.",
            taken,
        )
        % taken
    )


class WhenFilter(admin.SimpleListFilter):
    """The days to come, unless one asks for others: a calendar is opened to see what is next."""

    title = gettext_lazy("période")
    parameter_name = "quand"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("passes", _("Passés")), ("tous", _("Tous"))]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, _("À venir")), *self.lookup_choices):
            yield {
                "selected": self.value() == value or (value is None and self.value() not in ("passes", "tous")),
                "query_string": changelist.get_query_string(
                    {self.parameter_name: value} if value else {}, [] if value else [self.parameter_name]
                ),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "tous":
                return queryset
            case "passes":
                return queryset.filter(date__lt=today())
        return queryset.filter(date__gte=today())


@admin.register(OpenDay)
class OpenDayAdmin(ScopedAdmin):
    agents = operators = Right.EDIT  # a day is closed, never deleted: the calendar would open it again
    form = OpenDayForm
    actions = ["close_selected"]
    list_display = ["day", "activity_name", "places", "state", "set_by"]
    list_filter = [WhenFilter, "activity", "is_open", "by_hand"]
    list_select_related = ["activity__service"]
    date_hierarchy = "date"
    search_fields = ["activity__name", "activity__service__name"]
    autocomplete_fields = ["activity"]
    ordering = ["date", "activity", "pk"]
    constraint_messages = {
        "one_open_day_per_date": ("date", gettext_lazy("Cette activité a déjà ce jour dans son calendrier.")),
        "places_are_not_oversold": (
            "capacity",
            gettext_lazy("Des places ont été prises entre-temps\u00a0: la capacité ne peut pas descendre en dessous."),
        ),
        "closed_day_says_why": (
            "closed_reason",
            gettext_lazy("Écrivez pourquoi ce jour est fermé\u00a0: les parents le liront."),
        ),
    }

    def get_fields(self, request: HttpRequest, obj: OpenDay | None = None) -> Any:
        rules = ["capacity", "is_open", "closed_reason", "book_until", "cancel_until"]
        return ["activity", "date", "taken", *rules, "by_hand"] if obj else ["activity", "date", *rules]

    def get_readonly_fields(self, request: HttpRequest, obj: OpenDay | None = None) -> list[str]:
        return ["activity", "date", "taken"] if obj else []

    def save_model(self, request: HttpRequest, obj: OpenDay, form: Any, change: bool) -> None:
        # What a person set stays: the generation passes over it. Unticking the box alone gives the day back.
        if not change or set(form.changed_data) - {"by_hand"}:
            obj.by_hand = True
        super().save_model(request, obj, form, change)
        if not obj.is_open:
            self._warn_of_taken(request, obj.taken)

    def story(self, request: HttpRequest, obj: OpenDay) -> list[Happening]:
        return [*super().story(request, obj), *additions(obj, staff(request))]

    def elsewhere(self, obj: OpenDay) -> str:
        return _("Ce jour n’a pas changé depuis que le calendrier l’a ouvert.")

    @admin.display(description=gettext_lazy("jour"), ordering="date")
    def day(self, obj: OpenDay) -> str:
        return capfirst(long_date(obj.date))

    @admin.display(description=gettext_lazy("activité"), ordering="activity__name")
    def activity_name(self, obj: OpenDay) -> str:
        return f"{obj.activity.service} – {obj.activity}"

    @admin.display(description=gettext_lazy("réservations"), ordering="is_open")
    def state(self, obj: OpenDay) -> str:
        return _("Ouvertes") if obj.is_open else _("Fermées\u00a0: %s") % obj.closed_reason

    @admin.display(description=gettext_lazy("réglé"), ordering="by_hand")
    def set_by(self, obj: OpenDay) -> str:
        return _("À la main") if obj.by_hand else _("Par le calendrier")

    @admin.action(description=gettext_lazy("Fermer les jours choisis…"), permissions=["change"])
    def close_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Asks for the reason, then closes: the page posts the same action to the same list again."""
        days = list(queryset.filter(is_open=True).order_by("date", "pk")[: MOST_DAYS + 1])
        if not days:
            self.say(request, messages.WARNING, [_("Ces jours sont déjà fermés.")])
            return None
        if len(days) > MOST_DAYS:
            self.say(request, messages.ERROR, [_("Choisissez %d jours au plus à la fois.") % MOST_DAYS])
            return None
        form = ClosingForm(request.POST if "confirm" in request.POST else None)
        if form.is_valid():
            self._close(request, days, form.cleaned_data["reason"])
            return None
        context = {
            "title": _("Fermer des jours"),
            "days": days,
            "remaining": remaining(taken) if (taken := sum(day.taken for day in days)) else "",
            "form": form,
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return self.page(request, "admin/services/openday/close.html", context)

    def _close(self, request: HttpRequest, days: list[OpenDay], reason: str) -> None:
        try:
            closed = close_days(days=[day.pk for day in days], reason=reason, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return
        said = ngettext(
            "%d jour est fermé aux nouvelles réservations.",
            "%d jours sont fermés aux nouvelles réservations.",
            closed.days,
        )
        self.say(request, messages.SUCCESS, [said % closed.days])
        self._warn_of_taken(request, closed.taken)

    def _warn_of_taken(self, request: HttpRequest, taken: int) -> None:
        if taken:
            self.say(request, messages.WARNING, [remaining(taken)])

    @admin.display(description=gettext_lazy("places prises"), ordering="taken")
    def places(self, obj: OpenDay) -> str:
        return _("%(taken)d sur %(capacity)d") % {"taken": obj.taken, "capacity": obj.capacity}


@admin.register(Deadline)
class DeadlineAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["name", "rule"]
    search_fields = ["name"]
    form = DeadlineForm
    constraint_messages = {
        "deadline_opens_before_it_closes": (
            "opens_weeks",
            gettext_lazy("L’ouverture doit être plus de semaines avant les vacances que la limite."),
        ),
        "surcharge_has_an_amount": ("surcharge_amount", gettext_lazy("Écrivez un montant de 0 ou plus.")),
        "late_is_never_cheaper": (
            "surcharge_amount",
            gettext_lazy("Écrivez un facteur de 1 ou plus\u00a0: réserver tard ne coûte jamais moins."),
        ),
    }
    fieldsets = [
        (None, {"fields": ["name", "basis", "time", "opens_weeks"]}),
        (_("Nombre de jours ou de semaines avant"), {"fields": ["offset"]}),
        (_("Jour fixe de la semaine précédente"), {"fields": ["weekday"]}),
        (_("Une limite pour chaque jour de la semaine"), {"fields": [*DeadlineForm.LIMITS]}),
        (_("Jours non comptés"), {"fields": ["skip_weekends", "skip_holidays", "skip_school_holidays"]}),
        (
            _("Réservation tardive (pour un délai de réservation)"),
            {"fields": ["late", "surcharge", "surcharge_amount", "free_times", "free_period"]},
        ),
    ]

    @admin.display(description=gettext_lazy("règle"))
    def rule(self, obj: Deadline) -> str:
        return capfirst(sentence(obj))


@admin.register(SchoolHoliday)
class SchoolHolidayAdmin(ScopedAdmin):
    operators = Right.ALL
    change_list_template = "admin/services/schoolholiday/change_list.html"
    list_display = ["name", "first_day", "last_day"]
    search_fields = ["name"]
    date_hierarchy = "first_day"
    constraint_messages = {
        "holiday_ends_after_it_starts": ("last_day", gettext_lazy("Le dernier jour est avant le premier.")),
        "one_holiday_per_first_day": ("first_day", gettext_lazy("Des vacances commencent déjà ce jour-là.")),
    }

    def get_urls(self) -> list[Any]:
        guard = self.admin_site.guard(self)  # type: ignore[attr-defined]
        return [path("importer/", guard(self.import_view), name="services_schoolholiday_import"), *super().get_urls()]

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Add what the packaged calendar of zone A knows and this table does not."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        year = today().year
        added = import_school_holidays(year - 1, year + 3)
        said = ngettext(
            "%d période de vacances ajoutée\u00a0; celles qui existaient n’ont pas changé.",
            "%d périodes de vacances ajoutées\u00a0; celles qui existaient n’ont pas changé.",
            added,
        )
        self.say(request, messages.SUCCESS, [said % added])
        return redirect(self.url("changelist"))
