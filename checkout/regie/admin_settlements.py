"""Importing what a provider paid over: choose its file, see what agrees, import."""

import base64
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ReadOnlyAdmin, Right, staff
from accounts.admin_history import Happening, told
from checkout.providers import known_slugs
from checkout.regie import settlements
from checkout.regie.models import Settlement
from portal.common.errors import Refused
from portal.common.formats import euros


@admin.register(Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/settlement/change_list.html"
    change_form_template = "admin/checkout/settlement/change_form.html"
    list_display = ["name", "provider", "lines", "bank", "imported_at", "imported_by"]
    list_select_related = ["imported_by"]
    date_hierarchy = "imported_at"
    search_fields = ["name", "provider"]
    ordering = ["-pk"]
    fields = ["provider", "name", "lines", "imported_at", "imported_by", "sha256"]

    def story(self, request: HttpRequest, obj: Settlement) -> list[Happening]:
        return told(staff(request), [(obj.imported_at, obj.imported_by_id, _("Fichier importé."))])

    @admin.display(description=gettext_lazy("arrivé en banque"))
    def bank(self, obj: Settlement) -> str:
        return euros(obj.net)

    def get_urls(self) -> list[Any]:
        return [path("importer/", self.guarded(self.new_view), name="checkout_settlement_new"), *super().get_urls()]

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """POST with a file shows what it says; POST of what was shown imports it."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        provider, reading, content, name = request.POST.get("prestataire", ""), None, b"", ""
        if request.method == "POST":
            try:
                if provider not in known_slugs():
                    raise Refused(_("Choisissez le prestataire. Rien n’a été importé."), code="provider_missing")
                content, name = self._content(request)
                if "importer" in request.POST:
                    row = settlements.post(provider=provider, name=name, content=content, by=staff(request))
                    self.say(request, messages.SUCCESS, [_("Importé\u00a0: %s arrivés en banque.") % euros(row.net)])
                    return redirect(self.url("change", row.pk))
                reading = settlements.read(provider=provider, content=content)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
        context = {
            "title": _("Importer un versement"),
            "providers": known_slugs(),
            "provider": provider,
            "reading": reading,
            "name": name,
            "content": base64.b64encode(content).decode() if reading else "",
        }
        return self.page(request, "admin/checkout/settlement/new.html", context)

    def _content(self, request: HttpRequest) -> tuple[bytes, str]:
        if "importer" in request.POST:
            try:
                return base64.b64decode(request.POST.get("contenu", ""), validate=True), request.POST.get("nom", "")
            except ValueError:  # binascii.Error is one too
                raise Refused(_("Choisissez le fichier de nouveau. Rien n’a été importé."), code="not_text") from None
        file: Any = request.FILES.get("fichier")
        if file is None:
            raise Refused(_("Choisissez le fichier. Rien n’a été importé."), code="file_missing")
        return file.read(settlements.MOST_BYTES + 1), str(file.name)
