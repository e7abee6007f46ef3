"""The lines of the school buses and their stops."""

from django.contrib import admin
from django.utils.translation import gettext_lazy

from accounts.admin_base import Right, ScopedAdmin, ScopedInline
from services.models import BusLine, BusStop


class StopInline(ScopedInline):
    model = BusStop
    agents = operators = Right.EDIT
    can_delete = False  # « desservi » is unticked instead: passes name it
    fields = ["name", "morning", "evening", "position", "is_active"]
    constraint_messages = {
        "one_stop_per_name": ("name", gettext_lazy("Cette ligne a déjà un arrêt de ce nom.")),
    }


@admin.register(BusLine)
class BusLineAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    inlines = [StopInline]
    list_display = ["name", "activity", "position", "is_active"]
    list_filter = ["activity", "is_active"]
    list_select_related = ["activity"]
    search_fields = ["name", "activity__name", "stops__name"]
    ordering = ["activity__name", "position", "pk"]
    constraint_messages = {
        "one_line_per_name": ("name", gettext_lazy("Cette activité a déjà une ligne de ce nom.")),
    }

    def get_readonly_fields(self, request: object, obj: BusLine | None = None) -> list[str]:
        return ["activity"] if obj else []  # the passes that were sold name its stops
