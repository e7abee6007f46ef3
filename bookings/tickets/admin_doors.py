"""Controllers: who opens the doors of a service without being its staff."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import Right, ScopedAdmin, ScopedForm, staff
from accounts.models import User
from bookings.tickets.doors import appoint, check_door, dismiss
from bookings.tickets.models import Controller
from portal.common.errors import Refused
from portal.common.formats import of
from services.models import Activity


class ControllerForm(ScopedForm):
    class Meta:
        model = Controller
        fields = ["user", "service", "activity"]
        help_texts = {
            "user": gettext_lazy("Un compte validé. La personne ne verra que la page de contrôle, à /agents/billets/."),
            "activity": gettext_lazy("Vide pour tous les e-billets et abonnements du service."),
        }

    def clean_user(self) -> User:
        user: User = self.cleaned_data["user"]
        if not user.is_approved:
            raise forms.ValidationError(
                _("Le compte %s n’est pas encore validé\u00a0: validez-le d’abord.") % of(str(user)),
                code="not_approved",
            )
        return user

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("service"):
            try:
                check_door(data["service"], data.get("activity"))
            except Refused as refusal:
                self.add_error("activity" if data.get("activity") else "service", refusal.messages[0])
        return data


@admin.register(Controller)
class ControllerAdmin(ScopedAdmin):
    agents = operators = Right.VIEW | Right.ADD | Right.DELETE  # another door is another row: the history stays plain
    form = ControllerForm
    list_display = ["user", "email", "service", "door"]
    list_filter = ["service"]
    list_select_related = ["user", "service", "activity"]
    search_fields = ["user__last_name", "user__first_name", "user__email", "service__name", "activity__name"]
    autocomplete_fields = ["user"]
    ordering = ["user__last_name", "pk"]
    constraint_messages = {
        "one_controller_per_door": ("user", gettext_lazy("Cette personne contrôle déjà ces e-billets.")),
    }

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_field_queryset(db, db_field, request)
        if db_field.name == "activity":
            return rows.exclude(kind=Activity.Kind.CALENDAR)
        return rows

    @admin.display(description=gettext_lazy("adresse e-mail"), ordering="user__email")
    def email(self, obj: Controller) -> str:
        return obj.user.email

    @admin.display(description=gettext_lazy("contrôle"), ordering="activity__name")
    def door(self, obj: Controller) -> str:
        return str(obj.activity or _("tous les e-billets du service"))

    def save_model(self, request: HttpRequest, obj: Controller, form: Any, change: bool) -> None:
        appoint(controller=obj, by=staff(request))

    def delete_model(self, request: HttpRequest, obj: Controller) -> None:
        dismiss(controller=obj, by=staff(request))
