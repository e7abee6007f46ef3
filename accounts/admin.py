"""Communes, roles of the staff and legal texts. The accounts themselves are in families/admin.py, with the children."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

import accounts.admin_outbox  # noqa: F401  registers the outbox
from accounts.admin_base import Right, ScopedAdmin, ScopedForm, staff
from accounts.models import Commune, StaffRole, Terms, User
from accounts.staff import grant_role, withdraw_role
from portal.common.formats import of


@admin.register(Commune)
class CommuneAdmin(ScopedAdmin):
    operators = Right.EDIT  # never deleted: files and accounts hang on it
    list_display = ["name", "postal_code", "insee_code", "population"]
    search_fields = ["name", "name_key", "postal_code", "insee_code"]
    fields = ["name", "postal_code", "insee_code", "population"]

    def get_readonly_fields(self, request: HttpRequest, obj: Commune | None = None) -> list[str]:
        return ["insee_code"] if obj else []


class StaffRoleForm(ScopedForm):
    class Meta:
        model = StaffRole
        fields = ["user", "kind", "commune", "takes_money"]
        help_texts = {
            "commune": gettext_lazy("Vide pour un opérateur de l’agglomération, qui voit toutes les communes.")
        }

    def clean_user(self) -> User:
        user: User = self.cleaned_data["user"]
        if not user.is_approved:
            raise forms.ValidationError(
                _("Le compte %s n’est pas encore validé\u00a0: validez-le d’abord.") % of(str(user)),
                code="not_approved",
            )
        return user


@admin.register(StaffRole)
class StaffRoleAdmin(ScopedAdmin):
    operators = Right.VIEW | Right.ADD | Right.DELETE  # another role is another row: the history stays plain
    form = StaffRoleForm
    list_display = ["user", "email", "kind", "commune_name", "takes_money"]
    list_filter = ["kind", "takes_money", "commune"]
    list_select_related = ["user", "commune"]
    search_fields = ["user__last_name", "user__first_name", "user__email", "commune__name"]
    autocomplete_fields = ["user"]
    ordering = ["user__last_name", "pk"]
    constraint_messages = {
        "agent_has_a_commune": (
            "commune",
            gettext_lazy(
                "Un agent de mairie travaille pour une commune\u00a0; un opérateur, pour aucune en particulier."
            ),
        ),
        "one_role_per_commune": ("commune", gettext_lazy("Cette personne a déjà un rôle dans cette commune.")),
    }

    @admin.display(description=gettext_lazy("adresse e-mail"), ordering="user__email")
    def email(self, obj: StaffRole) -> str:
        return obj.user.email

    @admin.display(description=gettext_lazy("commune"), ordering="commune__name_key")
    def commune_name(self, obj: StaffRole) -> str:
        return str(obj.commune or _("toutes les communes"))

    def save_model(self, request: HttpRequest, obj: StaffRole, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        grant_role(role=obj, by=staff(request))

    def delete_model(self, request: HttpRequest, obj: StaffRole) -> None:
        assert isinstance(request.user, User)
        withdraw_role(role=obj, by=staff(request))


@admin.register(Terms)
class TermsAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["kind", "version", "published_at", "is_published"]
    list_filter = ["kind"]
    fields = ["kind", "version", "published_at", "body"]
    constraint_messages = {
        "one_text_per_version": (
            "version",
            gettext_lazy("Ce texte a déjà une version de ce nom\u00a0: donnez-lui le suivant."),
        )
    }

    @admin.display(description=gettext_lazy("déjà publié"), boolean=True)
    def is_published(self, obj: Terms) -> bool:
        return obj.is_published

    def has_change_permission(self, request: HttpRequest, obj: Terms | None = None) -> bool:
        """What people may have accepted stays as they read it; PostgreSQL refuses it too."""
        return super().has_change_permission(request, obj) and not (obj and obj.is_published)

    def has_delete_permission(self, request: HttpRequest, obj: Terms | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.is_published)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if request.method == "GET" and obj is not None and obj.is_published:
            messages.info(
                request,
                _("Cette version est publiée\u00a0: elle ne change plus. Pour corriger le texte, ajoutez une version."),
            )
        return super().change_view(request, object_id, form_url, extra_context)
