"""The outbox for operators: what left, what waits, what was given up and may be sent again.

It stands here because portal.outbox is below accounts, whose scope every page of the administration uses.
"""

import re
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from portal.outbox.actions import retry
from portal.outbox.calls import try_again
from portal.outbox.models import Call, Email

ADDRESS = re.compile(r"https?://\S+")


@admin.register(Email)
class EmailAdmin(ReadOnlyAdmin):
    actions = ["send_again"]
    list_display = ["created_at", "to", "subject", "status", "attempts", "sent_at"]
    list_filter = ["status"]
    date_hierarchy = "created_at"
    search_fields = ["to", "subject"]
    ordering = ["-created_at", "-pk"]
    fields = [
        *("to", "subject", "status", "attempts", "created_at", "next_attempt_at", "sent_at"),
        *("last_error", "readable_body"),
    ]
    readonly_fields = ["readable_body"]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.may(request, Right.VIEW)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        dead = Email.objects.filter(status=Email.Status.DEAD).count()
        words = ngettext("Courriel abandonné, à renvoyer", "Courriels abandonnés, à renvoyer", dead or 2)
        return [Todo(words, dead, self.url("changelist") + "?status__exact=dead")]

    def story(self, request: HttpRequest, obj: Email) -> list[Happening]:
        facts = [(obj.created_at, None, _("Mis en file.")), (obj.sent_at, None, _("Envoyé."))]
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("texte"))
    def readable_body(self, obj: Email) -> str:
        """Without its links: one of them may open the account of whoever clicks first."""
        return ADDRESS.sub(_("[lien masqué]"), obj.body)

    @admin.action(description=gettext_lazy("Renvoyer"), permissions=["retry"])
    def send_again(self, request: HttpRequest, queryset: Any) -> None:
        dead = list(queryset.filter(status=Email.Status.DEAD))
        for email in dead:
            retry(email=email)
        others = queryset.exclude(pk__in=[email.pk for email in dead]).count()
        if dead:
            said = ngettext("%d courriel est remis en file.", "%d courriels sont remis en file.", len(dead)) % len(dead)
            self.say(request, messages.SUCCESS, [said])
        if others:
            self.say(request, messages.WARNING, [_("Seuls les courriels abandonnés peuvent être renvoyés.")])


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    """Calls to providers; one that was given up is money that has not arrived where it belongs."""

    actions = ["make_again"]
    list_display = ["created_at", "name", "key", "status", "attempts", "done_at"]
    list_filter = ["status"]
    date_hierarchy = "created_at"
    search_fields = ["key", "name"]
    ordering = ["-created_at", "-pk"]
    fields = [
        *("name", "key", "payload", "status", "attempts", "created_at", "next_attempt_at", "done_at"),
        "last_error",
    ]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.may(request, Right.VIEW)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        dead = Call.objects.filter(status=Call.Status.DEAD).count()
        words = ngettext("Appel à un prestataire abandonné", "Appels à un prestataire abandonnés", dead or 2)
        return [Todo(words, dead, self.url("changelist") + "?status__exact=dead")]

    def story(self, request: HttpRequest, obj: Call) -> list[Happening]:
        facts = [(obj.created_at, None, _("Mis en file.")), (obj.done_at, None, _("Fait."))]
        return told(staff(request), facts)

    @admin.action(description=gettext_lazy("Refaire l’appel"), permissions=["retry"])
    def make_again(self, request: HttpRequest, queryset: Any) -> None:
        dead = list(queryset.filter(status=Call.Status.DEAD))
        for call in dead:
            try_again(call=call)
        if dead:
            said = ngettext("%d appel est remis en file.", "%d appels sont remis en file.", len(dead)) % len(dead)
            self.say(request, messages.SUCCESS, [said])
        if queryset.exclude(pk__in=[call.pk for call in dead]).exists():
            self.say(request, messages.WARNING, [_("Seuls les appels abandonnés peuvent être refaits.")])
