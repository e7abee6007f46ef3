"""Days and school holidays in the administration: days by hand, closed days, the import of the zone's calendar."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, ScopedAdmin, staff
from accounts.admin_history import Happening, additions
from portal.common.errors import Refused
from portal.common.formats import long_date, today
from services.admin_rules import recompute
from services.calendar_forms import ClosingForm, OpenDayForm
from services.calendars import close_days
from services.models import Activity, OpenDay, SchoolHoliday
from services.school_calendar import import_school_holidays

MOST_DAYS = 400  # closed at once: more than a year of an activity


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
        "booked_day_closes_by_a_closure": ("is_open", OpenDayForm.BOOKED),
        "late_is_after_the_deadline": (
            "late_until",
            gettext_lazy("La réservation tardive finit après la limite, ou reste vide."),
        ),
        "closed_dates_open_by_hand": (
            "by_hand",
            gettext_lazy("Une fermeture est en vigueur ce jour-là\u00a0: il n’est ouvert que réglé à la main."),
        ),
        "closed_day_says_why": (
            "closed_reason",
            gettext_lazy("Écrivez pourquoi ce jour est fermé\u00a0: les parents le liront."),
        ),
    }

    def get_fields(self, request: HttpRequest, obj: OpenDay | None = None) -> Any:
        rules = ["is_open", "closed_reason", "book_from", "book_until", "late_until", "cancel_until"]
        if obj is None:
            return ["activity", "date", "capacity", *rules]
        return [
            "activity",
            "date",
            "taken",
            "capacity",
            *OpenDayForm.of(obj.activity.slots_to_choose).slots,
            *rules,
            "by_hand",
        ]

    def get_form(self, request: HttpRequest, obj: OpenDay | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs.setdefault("form", OpenDayForm.of(obj.activity.slots_to_choose))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: OpenDay | None = None) -> list[str]:
        return ["activity", "date", "taken"] if obj else []

    def save_model(self, request: HttpRequest, obj: OpenDay, form: Any, change: bool) -> None:
        # What a person set stays: the generation passes over it. Unticking the box alone gives the day back.
        if not change or set(form.changed_data) - {"by_hand"}:
            obj.by_hand = True
        super().save_model(request, obj, form, change)

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
            "%d jour est fermé aux nouvelles réservations.", "%d jours sont fermés aux nouvelles réservations.", closed
        )
        self.say(request, messages.SUCCESS, [said % closed])

    @admin.display(description=gettext_lazy("places prises"), ordering="taken")
    def places(self, obj: OpenDay) -> str:
        return _("%(taken)d sur %(capacity)d") % {"taken": obj.taken, "capacity": obj.capacity}


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
        return [
            path("importer/", self.guarded(self.import_view), name="services_schoolholiday_import"),
            *super().get_urls(),
        ]

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Add what the packaged calendar of zone A knows and this table does not."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        year = today().year
        with transaction.atomic():
            added = import_school_holidays(year - 1, year + 3)
            said = ngettext(
                "%d période de vacances ajoutée\u00a0; celles qui existaient n’ont pas changé.",
                "%d périodes de vacances ajoutées\u00a0; celles qui existaient n’ont pas changé.",
                added,
            )
            self.say(request, messages.SUCCESS, [said % added])
            if added:
                self._follow(request)
        return redirect(self.url("changelist"))

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: SchoolHoliday, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.changed_data:
            self._follow(request)

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: SchoolHoliday) -> None:
        super().delete_model(request, obj)
        self._follow(request)

    def _follow(self, request: HttpRequest) -> None:
        """The limits count with these days at once; which days are open is looked at before it changes."""
        recompute(self, request, Activity.objects.filter(kind=Activity.Kind.CALENDAR))
        self.say(
            request,
            messages.WARNING,
            [
                _(
                    "Les jours ouverts eux-mêmes n’ont pas changé\u00a0: si des vacances ont bougé, générez ceux de chaque "
                    "activité depuis sa page, qui dit d’abord ce qui changera."
                )
            ],
        )
