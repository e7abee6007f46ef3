"""Tariff grids in the administration: a decision, and all its fares on one page."""

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import Right, ScopedAdmin, ScopedInline, staff
from accounts.admin_history import Happening, events_of, parts_of
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import enumeration, period_words, today
from services.grids import BANDS, carry_over, without_fare
from services.models import Tariff, TariffGrid
from services.pricing import band_words, is_banded
from services.school_calendar import school_year
from services.tariff_forms import CarryForm, TariffForm, TariffFormSet, TariffGridForm

MOST_TOLD = 6  # of what has no fare: a forgotten year says the same of every slot

FARE_SENTENCES = {
    "price_is_not_negative": ("price", gettext_lazy("Un prix ne peut pas être négatif.")),
    "price_or_share_of_the_quotient": (
        "price",
        gettext_lazy("Écrivez un prix, ou un taux d’effort avec son plancher et un plafond qui n’est pas en dessous."),
    ),
    "fare_is_of_one_service": (
        "profile",
        gettext_lazy("Cette situation appartient à un autre service que le type de prestation."),
    ),
    "fare_is_within_the_cost": (
        "price",
        gettext_lazy("Un de ces tarifs dépasse le coût par usager que la commune a déclaré pour sa prestation."),
    ),
    "one_price_at_a_time": (
        "first_day",
        gettext_lazy(
            "Une autre grille a déjà un tarif pour la même prestation et la même situation pendant ces dates\u00a0: terminez-la "
            "d’abord."
        ),
    ),
}


class TariffInline(ScopedInline):
    model = Tariff
    form = TariffForm
    formset = TariffFormSet
    agents = operators = Right.ALL
    fields = ["slot", "profile", "rank", "quotient", "age", "price", "percent", "floor", "ceiling"]
    constraint_messages = FARE_SENTENCES
    extra = 1  # a line to write on, without JavaScript too

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("slot", "profile")

    def get_formset(self, request: HttpRequest, obj: TariffGrid | None = None, **kwargs: Any) -> Any:
        """Only what belongs to the grid's service; its slots are named with their activity."""
        formset = super().get_formset(request, obj, **kwargs)
        if obj is not None:
            slot, profile = (formset.form.base_fields[name] for name in ("slot", "profile"))
            slot.queryset = slot.queryset.filter(activity__service=obj.service_id).select_related("activity")
            slot.label_from_instance = lambda row: f"{row} ({row.activity})"
            profile.queryset = profile.queryset.filter(service=obj.service_id)
            profile.label_from_instance = str
        return formset


@admin.register(TariffGrid)
class TariffGridAdmin(ScopedAdmin):
    """The decision first, then, on the page of the grid, all its fares at once."""

    agents = operators = Right.ALL
    form = TariffGridForm
    list_display = ["name", "service", "decision", "validity", "rank_basis"]
    list_filter = ["service"]
    list_select_related = ["service"]
    search_fields = ["name", "decision", "service__name"]
    autocomplete_fields = ["service"]
    fields = ["service", "name", "decision", "decision_date", "first_day", "last_day", "rank_basis"]
    constraint_messages = FARE_SENTENCES | {
        "one_grid_per_name": ("name", gettext_lazy("Ce service a déjà une grille de ce nom.")),
    }

    def get_inlines(self, request: HttpRequest, obj: TariffGrid | None = None) -> list[Any]:
        return [TariffInline] if obj else []

    def get_readonly_fields(self, request: HttpRequest, obj: TariffGrid | None = None) -> list[str]:
        return ["service"] if obj else []

    def story(self, request: HttpRequest, obj: TariffGrid) -> list[Happening]:
        """The grid's own changes, and those of its fares: a price that moved is traced here."""
        told = [*super().story(request, obj), *parts_of(events_of(Tariff), staff(request), grid_id=obj.pk)]
        return sorted(told, key=lambda line: line.when, reverse=True)

    def response_change(self, request: HttpRequest, obj: TariffGrid) -> HttpResponse:
        """Says what is open and cannot be sold: nothing forbids it, for a grid may be written before the next one."""
        if told := without_fare(obj.service_id):
            self.say(request, messages.WARNING, told[:MOST_TOLD])
        return super().response_change(request, obj)

    def response_add(self, request: HttpRequest, obj: TariffGrid, post_url_continue: str | None = None) -> HttpResponse:
        """To its fares, which only the page of a grid that exists can offer."""
        self.say(request, messages.SUCCESS, [_("Ajoutez maintenant les tarifs de cette grille.")])
        return HttpResponseRedirect(self.url("change", obj.pk))

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/reconduire/", self.guarded(self.carry_view), name="services_tariffgrid_carry"),
            *super().get_urls(),
        ]

    def carry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET asks from when on, POST copies the grid and leads to the copy, to be changed."""
        grid = self.object_or_404(request, str(pk))
        if not self.has_change_permission(request, grid):
            raise PermissionDenied
        first, _last = school_year(school_year(today())[1] + dt.timedelta(days=1))
        initial = {"first": first, "name": _("Tarifs %(year)d-%(next)d") % {"year": first.year, "next": first.year + 1}}
        form = CarryForm(request.POST or None, initial=initial)
        if form.is_valid():
            try:
                with refusing({"one_grid_per_name": _("Ce service a déjà une grille de ce nom.")}):
                    after = carry_over(grid=grid, **form.cleaned_data)
            except Refused as refusal:
                form.add_error("name" if refusal.code == "one_grid_per_name" else "first", list(refusal.messages))
            else:
                self.log_change(request, grid, _("Tarifs reconduits."))
                self.say(
                    request, messages.SUCCESS, [_("Les tarifs sont reconduits\u00a0: changez maintenant leurs prix.")]
                )
                return HttpResponseRedirect(self.url("change", after.pk))
        context = {
            "title": _("Reconduire\u00a0: %s") % grid,
            "grid": grid,
            "form": form,
            "back_url": self.url("change", grid.pk),
        }
        return self.page(request, "admin/services/tariffgrid/carry.html", context)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS one_price_at_a_time DEFERRED")
            super().save_formset(request, form, formset, change)
            cursor.execute("SET CONSTRAINTS one_price_at_a_time IMMEDIATE")

    @admin.display(description=gettext_lazy("valable"), ordering="valid")
    def validity(self, obj: TariffGrid) -> str:
        return period_words(obj.valid)


@admin.register(Tariff)
class TariffAdmin(ScopedAdmin):
    """Every fare of every grid, to be found; it is changed on the page of its grid."""

    agents = operators = Right.VIEW
    list_display = ["name", "situation", "bands", "amount", "grid_name", "validity"]
    list_filter = ["slot__activity__service"]
    list_select_related = ["slot__activity__service", "profile", "grid"]
    search_fields = [
        "slot__name",
        "slot__activity__name",
        "slot__activity__service__name",
        "profile__label",
        "grid__name",
        "grid__decision",
    ]
    ordering = ["slot__activity__service__name", "slot__activity__name", "slot", "profile", "valid", "rank", "quotient"]
    fields = ["grid", "slot", "profile", "bands", "amount", "validity"]
    readonly_fields = ["bands", "amount", "validity"]

    @admin.display(description=gettext_lazy("prestation"), ordering="slot__name")
    def name(self, obj: Tariff) -> str:
        return f"{obj.slot.activity.service} – {obj.slot.activity} – {obj.slot}"

    @admin.display(description=gettext_lazy("situation"), ordering="profile__label")
    def situation(self, obj: Tariff) -> str:
        return str(obj.profile)

    @admin.display(description=gettext_lazy("pour qui"))
    def bands(self, obj: Tariff) -> str:
        return enumeration(band_words(obj, name) for name in BANDS if is_banded(obj, name)) or _("tout le monde")

    @admin.display(description=gettext_lazy("prix"), ordering="price")
    def amount(self, obj: Tariff) -> str:
        return obj.words

    @admin.display(description=gettext_lazy("grille"), ordering="grid__name")
    def grid_name(self, obj: Tariff) -> str:
        return obj.grid.name

    @admin.display(description=gettext_lazy("valable"), ordering="valid")
    def validity(self, obj: Tariff) -> str:
        return period_words(obj.valid)
