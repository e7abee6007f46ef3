"""Importing what a provider paid over: choose its file, see what agrees, import."""

import base64
import zlib
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, signatures, told
from checkout.models import Payment
from checkout.providers import known_slugs, provider_name
from checkout.regie import settlements
from checkout.regie.models import Settlement
from portal.common.errors import Refused
from portal.common.formats import euros

# Under which the session keeps a file that is read and not imported.
DRAFT = "settlement_draft"
# From so many lines on, those that agree are folded.
MANY = 20


def _offered() -> list[tuple[str, str]]:
    """The providers whose files may come: those that parents may choose, and those that ever took a payment."""
    used = [slug for slug in known_slugs() if Payment.objects.filter(provider=slug).exists()]
    return [(slug, provider_name(slug)) for slug in known_slugs() if slug in settings.CARD_PROVIDERS or slug in used]


class GapFilter(admin.SimpleListFilter):
    """Whether lines did not agree, and somebody has said why."""

    title = gettext_lazy("écarts")
    parameter_name = "ecarts"
    TO_EXPLAIN = "a-expliquer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.TO_EXPLAIN, _("À expliquer")), ("expliques", _("Expliqués")), ("aucun", _("Aucun"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case self.TO_EXPLAIN:
                return queryset.to_explain()
            case "expliques":
                return queryset.filter(explained_at__isnull=False)
            case "aucun":
                return queryset.filter(differences=[])
        return queryset


@admin.register(Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/settlement/change_list.html"
    change_form_template = "admin/checkout/settlement/change_form.html"
    list_display = ["name", "who", "lines", "gaps", "bank", "imported_at", "imported_by"]
    signers = ["explained_by", "accepted_by"]
    list_select_related = ["imported_by"]
    list_filter = [GapFilter]
    date_hierarchy = "imported_at"
    search_fields = ["name", "provider"]
    ordering = ["-pk"]
    readonly_fields = ["who"]
    fields = ["who", "name", "lines", "imported_at", "imported_by", "sha256"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("matched")  # up to 5 000 lines, which only a file's own page shows

    def story(self, request: HttpRequest, obj: Settlement) -> list[Happening]:
        facts = [
            (obj.imported_at, obj.imported_by_id, _("Fichier importé.")),
            (
                obj.imported_at if obj.accepted else None,
                obj.accepted_by_id,
                _("Commissions acceptées\u00a0: %s.") % obj.accepted.words,
            ),
            (obj.explained_at, obj.explained_by_id, _("Écarts expliqués\u00a0: %s") % obj.explanation),
            *((note.at, note.by_id, _("Explication complétée\u00a0: %s") % note.words) for note in obj.notes.all()),
        ]
        return told(staff(request), facts)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.may(request, Right.DECIDE):
            return []
        count = Settlement.objects.to_explain().count()
        words = ngettext("Versement avec des écarts", "Versements avec des écarts", count or 2)
        return [Todo(words, count, f"{self.url('changelist')}?{GapFilter.parameter_name}={GapFilter.TO_EXPLAIN}")]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj: Settlement = kwargs["obj"]  # nothing is added here
        may = bool(obj.differences) and self.may(request, Right.DECIDE, obj)
        context["may_explain"] = may and obj.explained_at is None
        context["may_complete"] = may and obj.explained_at is not None
        context["explainer"] = self.signature(obj, "explained_by")
        context["accepter"] = self.signature(obj, "accepted_by")
        notes = list(obj.notes.all())
        names = signatures(staff(request), [note.by_id for note in notes])
        context["notes"] = [(note, names[note.by_id]) for note in notes]
        context["many"] = MANY
        return super().render_change_form(request, context, *args, **kwargs)

    def explain_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what the differences were about: POST only."""

        def explained(obj: Settlement) -> str:
            settlements.explain(settlement=obj, words=request.POST.get("explication", ""), by=staff(request))
            return _("Écarts expliqués. Aucune écriture n’a été changée.")

        return self.decided(request, pk, explained)

    def complete_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Add to the explanation of the differences: POST only."""

        def completed(obj: Settlement) -> str:
            settlements.complete(settlement=obj, words=request.POST.get("complement", ""), by=staff(request))
            return _("Explication complétée. Aucune écriture n’a été changée.")

        return self.decided(request, pk, completed)

    @admin.display(description=gettext_lazy("prestataire"), ordering="provider")
    def who(self, obj: Settlement) -> str:
        return obj.provider_name

    @admin.display(description=gettext_lazy("écarts"))
    def gaps(self, obj: Settlement) -> str:
        if not obj.differences:
            return "0"
        return f"{len(obj.differences)}, {_('expliqués') if obj.explained_at else _('à expliquer')}"

    @admin.display(description=gettext_lazy("arrivé en banque"))
    def bank(self, obj: Settlement) -> str:
        return euros(obj.net)

    def get_urls(self) -> list[Any]:
        return [
            path("importer/", self.guarded(self.new_view), name="checkout_settlement_new"),
            path("importer/verifier/", self.guarded(self.check_view), name="checkout_settlement_check"),
            path("<int:pk>/expliquer/", self.guarded(self.explain_view), name="checkout_settlement_explain"),
            path("<int:pk>/completer/", self.guarded(self.complete_view), name="checkout_settlement_complete"),
            *super().get_urls(),
        ]

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """The form; POST of a file that can be read keeps it and leads to the page that shows what it says."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        provider = request.POST.get("prestataire", "")
        if request.method == "POST":
            try:
                if provider not in known_slugs():
                    raise Refused(_("Choisissez le prestataire. Rien n’a été importé."), code="provider_missing")
                file: Any = request.FILES.get("fichier")
                if file is None:
                    raise Refused(_("Choisissez le fichier. Rien n’a été importé."), code="file_missing")
                content = file.read(settlements.MOST_BYTES + 1)
                settlements.read(provider=provider, content=content)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                packed = base64.b64encode(zlib.compress(content)).decode()
                request.session[DRAFT] = {"provider": provider, "name": str(file.name), "content": packed}
                return redirect(self.url("check"))
        context = {"title": _("Importer un versement"), "providers": _offered(), "provider": provider}
        return self.page(request, "admin/checkout/settlement/new.html", context)

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """What the kept file says; POST imports it. Back and forward show it again."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        seen, draft = request.POST.get("empreinte", ""), request.session.get(DRAFT)
        if draft is None:
            if imported := Settlement.objects.filter(sha256=seen).first():  # the second of two clicks
                return redirect(self.url("change", imported.pk))
            self.say(request, messages.WARNING, [_("Choisissez le fichier à importer.")])
            return redirect(self.url("new"))
        provider, content = draft["provider"], zlib.decompress(base64.b64decode(draft["content"]))
        try:
            reading = settlements.read(provider=provider, content=content)
            if request.method == "POST" and seen == reading.sha256:
                ticked = request.POST.get("commissions") == reading.unusual.token
                row = settlements.post(
                    provider=provider,
                    name=draft["name"],
                    content=content,
                    by=staff(request),
                    accepted=reading.unusual if ticked else None,
                )
                request.session.pop(DRAFT)
                said = _("Importé\u00a0: %s arrivés en banque.") % euros(row.net)
                if not reading.good:
                    said = _(
                        "Fichier gardé\u00a0: aucune ligne ne concorde, rien n’a été écrit. Ses écarts sont à expliquer."
                    )
                self.say(request, messages.SUCCESS, [said])
                return redirect(self.url("change", row.pk))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            if refusal.code == "commissions_to_accept":  # the file waits for its tick
                return redirect(self.url("check"))
            request.session.pop(DRAFT)
            return redirect(self.url("new"))
        if request.method == "POST":  # another file was chosen since, in another window
            said = _("Un autre fichier a été choisi depuis\u00a0: voici ce qu’il dit. Rien n’a été importé.")
            self.say(request, messages.WARNING, [said])
            return redirect(self.url("check"))
        context = {
            "title": _("Vérifier un versement"),
            "reading": reading,
            "name": draft["name"],
            "provider": provider_name(provider),
            "many": MANY,
        }
        return self.page(request, "admin/checkout/settlement/check.html", context)
