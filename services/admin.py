"""The catalogue: services, who may use them, activities, prices and deadlines."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

import services.admin_calendar
import services.admin_classrooms  # noqa: F401  registers the classes of schools
from accounts.admin_base import Right, ScopedAdmin, ScopedInline, staff
from accounts.admin_history import Happening, events_of, parts_of
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS
from services import tariff_admin  # noqa: F401  (grids and fares register themselves)
from services.admin_bus import BusLineAdmin as BusLineAdmin
from services.admin_forms import ActivityForm, PeriodForm, SchoolForm, ServiceForm
from services.admin_rules import DEADLINES, recompute
from services.calendar_forms import SPOKEN, ActivityPeriodForm, ActivityPeriodFormSet
from services.calendars import generate_open_days, preview_open_days
from services.deadline_forms import ONE_LIMIT, OTHER_COMMUNE
from services.limits import classes
from services.models import (
    AccessProfile,
    Activity,
    ActivityPeriod,
    Category,
    School,
    SchoolHoliday,
    Service,
    Slot,
)

PROFILE_SENTENCES = {
    "one_profile_per_label": ("label", gettext_lazy("Ce service propose déjà cette situation.")),
}
SLOT_SENTENCES = {
    "cost_is_positive": ("cost_per_user", gettext_lazy("Écrivez un coût au-dessus de zéro, ou laissez vide.")),
    "cost_covers_the_fares": (
        "cost_per_user",
        gettext_lazy(
            "Un tarif en vigueur de cette prestation dépasse ce coût\u00a0: baissez d’abord ce tarif dans sa grille."
        ),
    ),
    "care_with_a_meal_says_its_price": (
        "meal_price",
        gettext_lazy(
            "«\u00a0Garde et repas\u00a0» demande la part du repas, au-dessus de zéro\u00a0; les autres natures n’en ont pas."
        ),
    ),
    "nature_agrees_about_the_meal": (
        "nature",
        gettext_lazy("«\u00a0Repas compris\u00a0» et la nature pour les impôts se contredisent\u00a0: accordez-les."),
    ),
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
    shared = ["category", "absence_rule"]
    list_display = ["name", "commune_name", "category", "is_active"]
    list_filter = ["category", "commune", "is_active"]
    list_select_related = ["commune", "category"]
    search_fields = ["name", "commune__name"]
    prepopulated_fields = {"slug": ["name"]}
    constraint_messages = {
        "cancelling_is_never_late": ("cancel_deadline", ONE_LIMIT),
        "deadline_is_of_its_commune": ("booking_deadline", OTHER_COMMUNE),
    }

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.for_operator = staff(request).is_operator
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Service | None = None) -> list[str]:
        """Who earns a service's money is settled once; only the agglomération corrects it."""
        return ["commune"] if obj and not staff(request).is_operator else []

    def view_on_site(self, obj: Service) -> str:
        return obj.get_absolute_url()

    def save_model(self, request: HttpRequest, obj: Service, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and DEADLINES & set(form.changed_data):
            recompute(self, request, Activity.objects.filter(service=obj))

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


# --- Schools -----------------------------------------------------------------------------------------------------------


@admin.register(School)
class SchoolAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = SchoolForm
    list_display = ["name", "commune", "class_names", "is_active"]
    list_filter = ["commune", "is_active"]
    list_select_related = ["commune"]
    label_related = ["commune"]
    search_fields = ["name", "commune__name"]
    ordering = ["commune__name_key", "name", "pk"]
    constraint_messages = {
        "one_school_per_name": ("name", gettext_lazy("Cette commune a déjà une école de ce nom.")),
    }

    def label_for(self, obj: School) -> str:
        return f"{obj.commune} – {obj.name}"

    def get_readonly_fields(self, request: HttpRequest, obj: School | None = None) -> list[str]:
        return ["commune"] if obj else []  # its pupils and closures are that commune's

    @admin.display(description=gettext_lazy("niveaux"))
    def class_names(self, obj: School) -> str:
        return classes(obj.levels)


# --- Activities --------------------------------------------------------------------------------------------------------


class SlotInline(ScopedInline):
    model = Slot
    extra = 1  # a line to write on, without JavaScript too
    agents = operators = Right.EDIT
    can_delete = False
    constraint_messages = SLOT_SENTENCES

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What the kind of the activity asks for; both while it is being made."""
        hours = ["starts_at", "ends_at", "includes_meal", "nature", "meal_price", "capacity"]
        formula = ["entries", "validity", "validity_unit"]
        kinds = {obj.kind} if obj is not None else set(Activity.Kind)
        asked = (hours if Activity.Kind.CALENDAR in kinds else []) + (formula if kinds - {"calendar"} else [])
        return ["name", *asked, "position", "is_active"]


class PeriodInline(ScopedInline):
    """When the activity is open. The activity's page says which of two periods counts."""

    model = ActivityPeriod
    form = ActivityPeriodForm
    formset = ActivityPeriodFormSet
    extra = 1  # a line to write on, without JavaScript too
    agents = operators = Right.ALL
    constraint_messages = {
        "period_has_places": (
            "capacity",
            gettext_lazy("Une période a au moins une place\u00a0: ne cochez aucun jour pour fermer."),
        ),
    }

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.offered = obj.slots_to_choose if obj else []
        formset.form.holidays = set(SchoolHoliday.objects.values_list("name", flat=True))
        return formset

    def get_fields(self, request: HttpRequest, obj: Activity | None = None) -> Any:
        """With the slots to choose from, where there are several."""
        slots = ["slots"] if obj and obj.slots_to_choose else []
        return ["kind", "holiday", "first_day", "last_day", "weekdays", *slots, "capacity"]


# What a change of decides which days are open and for how many: a preview shows who has booked before it is applied.
CALENDAR_RULES = {"open_on_public_holidays", "capacity"}


@admin.register(Activity)
class ActivityAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = ActivityForm
    inlines = [PeriodInline, SlotInline]
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
        "one_period_per_weekday": ("", ActivityPeriodForm.TWICE),
        "ages_are_in_order": ("max_age", gettext_lazy("L’âge le plus haut est en dessous du plus bas.")),
        "cancelling_is_never_late": ("cancel_deadline", ONE_LIMIT),
        "deadline_is_of_its_commune": ("booking_deadline", OTHER_COMMUNE),
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
        (_("Calendrier"), {"fields": ["open_on_public_holidays"], "description": SPOKEN}),
        (_("Pour qui"), {"fields": [("min_age", "max_age"), "schools", "levels"]}),
        (_("Délais et règles"), {"fields": ["booking_deadline", "cancel_deadline", "may_overlap"]}),
        (_("Jours complets"), {"fields": ["waiting_list", "waiting_order", "offer_hours"]}),
        (_("E-billets, abonnements, locations"), {"fields": ["refund_days"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Activity | None = None) -> Any:
        """All of them while it is being made, then those of its kind."""
        common, *calendar, tickets = self.fieldsets
        if obj is None:
            return [common, *calendar, tickets]
        return [common, *calendar] if obj.kind == Activity.Kind.CALENDAR else [common, tickets]

    def get_inlines(self, request: HttpRequest, obj: Activity | None = None) -> Any:
        """Periods where there is a calendar."""
        return self.inlines if obj is None or obj.kind == Activity.Kind.CALENDAR else [SlotInline]

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
        weekdays = {number for period in obj.periods.all() for number in period.weekdays}
        return ", ".join(WEEKDAYS[number] for number in sorted(weekdays)) or "–"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("periods")

    def story(self, request: HttpRequest, obj: Activity) -> list[Happening]:
        told = [*super().story(request, obj), *parts_of(events_of(ActivityPeriod), staff(request), activity_id=obj.pk)]
        return sorted(told, key=lambda line: line.when, reverse=True)

    def save_model(self, request: HttpRequest, obj: Activity, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and DEADLINES & set(form.changed_data):
            recompute(self, request, Activity.objects.filter(pk=obj.pk))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        periods = any(formset.has_changed() for formset in formsets if formset.model is ActivityPeriod)
        has_calendar = form.instance.kind == Activity.Kind.CALENDAR
        # Days that offer some slots alone do not know of a new one.
        slots = any(formset.new_objects for formset in formsets if formset.model is Slot)
        periods |= slots and form.instance.periods.exclude(slots=[]).exists()
        if has_calendar and (not change or periods or CALENDAR_RULES & set(form.changed_data)):
            words = _("Les jours ouverts ne suivent pas encore ces règles\u00a0:")
            link = format_html(
                '<a href="{}">{}</a>', self.url("generate", form.instance.pk), _("générez-les maintenant")
            )
            self.say(request, messages.WARNING, [format_html("{} {}.", words, link)])

    # -- Calendar --

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/generer/", self.guarded(self.generate_view), name="services_activity_generate"),
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
