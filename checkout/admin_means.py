"""« Moyens de paiement » for the régie: what each provider of cards can do here, whether it is configured and answers."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.means.actions import MeansOfPayment, broken_providers, check_provider, overview
from checkout.models import ProviderCheck, Regie
from portal.common.errors import Refused
from portal.common.formats import euros

# So many of the last questions are listed under the providers.
RECENT = 10


def abilities(means: MeansOfPayment) -> list[str]:
    """What a provider can do, in sentences."""
    provider = means.provider
    cards = [method.label for method in provider.methods]
    return [
        _("Le parent choisit sa carte ici\u00a0: %s.") % ", ".join(cards)
        if cards
        else _("Le parent choisit sa carte chez le prestataire."),
        _("Rembourse sur la carte.")
        if provider.can_refund
        else _("Ne rembourse pas sur la carte\u00a0: la somme va dans le porte-monnaie."),
        _("À partir de %s.") % euros(provider.smallest) if provider.smallest else _("Sans montant minimal."),
    ]


@admin.register(ProviderCheck)
class ProviderCheckAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    fields = ["provider", "asked_at", "asked_by", "configured", "answers", "sentence"]

    def get_urls(self) -> list[Any]:
        return [
            path("<slug:slug>/verifier/", self.guarded(self.ask_view), name="checkout_providercheck_ask"),
            *super().get_urls(),
        ]

    def label_for(self, obj: ProviderCheck) -> str:
        return _("Vérification de %s") % obj.provider

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        broken = broken_providers()
        words = ngettext("Moyen de paiement qui ne répond pas", "Moyens de paiement qui ne répondent pas", broken or 2)
        return [Todo(words, broken, self.url("changelist"))]

    def story(self, request: HttpRequest, obj: ProviderCheck) -> list[Happening]:
        return told(staff(request), [(obj.asked_at, obj.asked_by_id, obj.sentence)])

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The providers themselves, rather than the questions that they were asked."""
        rows = ProviderCheck.objects.select_related("asked_by")
        regie = Regie.objects.current()
        context = {
            "title": _("Moyens de paiement"),
            "means": [(each, abilities(each), self._notified_at(each)) for each in overview()],
            "recent": rows[:RECENT],
            "may_ask": self.may(request, Right.DECIDE),
            "card_refunds": regie.card_refunds,
            "regie_url": reverse("admin:checkout_regie_change", args=[regie.pk])
            if regie.pk
            else reverse("admin:checkout_regie_changelist"),
            "waiting_url": reverse("admin:checkout_payment_changelist") + "?status__exact=started",
        }
        return self.page(request, "admin/checkout/providercheck/means.html", context)

    def _notified_at(self, means: MeansOfPayment) -> str:
        return settings.SITE_URL + reverse("payment_notification", args=[means.provider.slug])

    @method_decorator(require_POST)
    def ask_view(self, request: HttpRequest, slug: str) -> HttpResponse:
        """« Vérifier maintenant »: ask, then show what came of it."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        try:
            check = check_provider(slug=slug, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
        else:
            self.say(request, messages.SUCCESS if check.answers else messages.ERROR, [check.sentence])
        return redirect(self.url("changelist"))
