"""Quotients to verify: beside each the proof that the family sent."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, Todo, staff
from accounts.admin_decisions import DecisionAdmin
from accounts.models import User
from families import quotients
from families.models import IncomeQuotient
from portal.common.errors import Refused
from portal.common.formats import period_words, short_date, thousands


@admin.register(IncomeQuotient)
class QuotientAdmin(DecisionAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    APPROVED = IncomeQuotient.Status.VALIDATED
    subject = gettext_lazy("Quotient familial")
    keeps = gettext_lazy("Le prix des places déjà réservées ne change pas.")
    list_display = ["person", "quotient", "period", "status", "declared"]
    list_filter = ["status"]
    list_select_related = ["user"]
    search_fields = ["user__last_name", "user__first_name", "user__email"]
    search_help_text = gettext_lazy("Nom ou adresse e-mail.")
    ordering = ["-declared_at", "-pk"]
    fields = ["account", "quotient", "period", "status", "declared"]
    readonly_fields = ["account", "quotient", "period", "declared"]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[IncomeQuotient]:
        rows: models.QuerySet[IncomeQuotient] = super().get_queryset(request).select_related("user", "document")
        return rows

    def todo(self, request: HttpRequest) -> list[Todo]:
        rows = IncomeQuotient.objects.visible_to(staff(request)).exclude(user=staff(request))
        waiting = rows.filter(status=IncomeQuotient.Status.PENDING).count()
        words = ngettext("Quotient familial à vérifier", "Quotients familiaux à vérifier", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?status__exact=pending")]

    def approve(self, obj: IncomeQuotient, by: User) -> None:
        quotients.validate_quotient(quotient=obj, by=by)

    def refuse(self, obj: IncomeQuotient, reason: str, by: User) -> None:
        quotients.refuse_quotient(quotient=obj, reason=reason, by=by)

    def obstacle(self, obj: IncomeQuotient, by: User, *, refusing: bool) -> Refused | None:
        if not refusing and obj.status == IncomeQuotient.Status.REFUSED:
            return Refused(_("Ce qui a été refusé ne se valide plus : la famille envoie une nouvelle déclaration."))
        return quotients.obstacle(obj, by=by)

    def panels(self, request: HttpRequest, obj: IncomeQuotient) -> Sequence[dict[str, Any]]:
        proofs = []
        if obj.document is not None:
            address = reverse("admin:accounts_user_document", args=[obj.user_id, obj.document_id])
            link = format_html('<a href="{}">{}</a>', address, _("Télécharger «\u00a0%s\u00a0»") % obj.document.name)
            proofs.append([link, short_date(timezone.localdate(obj.document.sent_at))])
        return [
            {
                "title": _("Preuve"),
                "head": [_("Fichier"), _("Envoyée le")],
                "rows": proofs,
                "empty": _("La preuve a été supprimée par la famille."),
            }
        ]

    @admin.display(description=gettext_lazy("usager"), ordering="user__last_name")
    def person(self, obj: IncomeQuotient) -> str:
        return f"{obj.user.last_name} {obj.user.first_name}".strip() or obj.user.email

    @admin.display(description=gettext_lazy("usager"))
    def account(self, obj: IncomeQuotient) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[obj.user_id]), obj.user)

    @admin.display(description=gettext_lazy("quotient"), ordering="value")
    def quotient(self, obj: IncomeQuotient) -> str:
        return thousands(obj.value)

    @admin.display(description=gettext_lazy("valable"))
    def period(self, obj: IncomeQuotient) -> str:
        return period_words(obj.valid)

    @admin.display(description=gettext_lazy("déclaré le"), ordering="declared_at")
    def declared(self, obj: IncomeQuotient) -> str:
        return short_date(timezone.localdate(obj.declared_at))
