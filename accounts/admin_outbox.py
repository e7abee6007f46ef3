"""The outbox for operators: what left, what waits, what was given up and may be sent again.

It stands here because portal.outbox is below accounts, whose scope every page of the administration uses.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from portal.outbox.actions import retry
from portal.outbox.calls import try_again
from portal.outbox.models import Call, Email, Leaving

ADDRESS = re.compile(r"https?://\S+")


class LeavingAdmin(ReadOnlyAdmin):
    """What was given up is put back in line: one from its page, several from the list."""

    change_form_template = "admin/leaving_change_form.html"
    list_filter = ["status"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    left = gettext_lazy("Parti.")
    again_words = gettext_lazy("Renvoyer")
    only_dead = gettext_lazy("Seul ce qui est abandonné peut être renvoyé.")
    in_line_already = gettext_lazy("C’est déjà en file\u00a0: le prochain essai se fait tout seul.")
    left_already = gettext_lazy("C’est déjà parti\u00a0: rien n’est renvoyé.")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What has left, or was given up, has no next try."""
        fields = super().get_fields(request, obj)
        if obj is None or obj.status == Leaving.WAITING:
            return fields
        return [name for name in fields if name != "next_attempt_at"]

    def again(self, row: Any) -> None:
        """Put one back in line."""
        raise NotImplementedError

    def in_line(self, count: int) -> str:
        """What is said after so many were."""
        raise NotImplementedError

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.may(request, Right.VIEW)

    def put_back(self, request: HttpRequest, rows: Sequence[Leaving]) -> None:
        """Put back those of some rows that were given up, and say so; the others stay as they are."""
        dead = [row for row in rows if row.status == Leaving.DEAD]
        for row in dead:
            self.again(row)
        if dead:
            self.say(request, messages.SUCCESS, [self.in_line(len(dead))])
        if len(dead) < len(rows):
            self.say(request, messages.WARNING, [str(self.only_dead)])

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_again"
        return [path("<int:pk>/renvoyer/", self.guarded(self.again_view), name=name), *super().get_urls()]

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST only: put this one back in line."""
        obj: Leaving = self.object_or_404(request, str(pk))
        if not self.has_retry_permission(request):
            raise PermissionDenied
        if request.method == "POST" and obj.status == Leaving.DEAD:
            self.put_back(request, [obj])
        elif request.method == "POST":  # pressed twice: what the first press did is what is said
            words = self.in_line_already if obj.status == Leaving.WAITING else self.left_already
            self.say(request, messages.INFO, [str(words)])
        return redirect(self.url("change", pk))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj: Leaving = kwargs["obj"]  # nothing is added here
        is_dead = obj.status == Leaving.DEAD and self.has_retry_permission(request)
        context |= {"again_url": self.url("again", obj.pk) if is_dead else "", "again_words": self.again_words}
        return super().render_change_form(request, context, *args, **kwargs)

    def done(self, obj: Any) -> Any:
        """When it has left."""
        raise NotImplementedError

    def story(self, request: HttpRequest, obj: Any) -> list[Happening]:
        return told(staff(request), [(obj.created_at, None, _("Mis en file.")), (self.done(obj), None, str(self.left))])

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        dead = self.model._default_manager.filter(status=Leaving.DEAD).count()
        return [Todo(self.waiting_words(dead or 2), dead, self.url("changelist") + "?status__exact=dead")]

    def waiting_words(self, count: int) -> str:
        """What is to be done with so many that were given up."""
        raise NotImplementedError

    @admin.display(description=gettext_lazy("pourquoi"))
    def trouble(self, obj: Leaving) -> str:
        return obj.trouble or "–"


@admin.register(Email)
class EmailAdmin(LeavingAdmin):
    actions = ["send_again"]
    list_display = ["created_at", "to", "subject", "status", "attempts", "sent_at"]
    search_fields = ["to", "subject"]
    fields = [
        *("to", "subject", "status", "trouble", "attempts", "created_at", "next_attempt_at", "sent_at"),
        *("readable_body", "last_error"),
    ]
    readonly_fields = ["readable_body", "trouble"]
    left = gettext_lazy("Envoyé.")
    only_dead = gettext_lazy("Seuls les courriels abandonnés peuvent être renvoyés.")
    in_line_already = gettext_lazy("Ce courriel est déjà en file\u00a0: il part tout seul, une seule fois.")
    left_already = gettext_lazy("Ce courriel est déjà parti\u00a0: il n’est pas renvoyé.")

    def again(self, row: Email) -> None:
        retry(email=row)

    def in_line(self, count: int) -> str:
        return ngettext("%d courriel est remis en file.", "%d courriels sont remis en file.", count) % count

    def waiting_words(self, count: int) -> str:
        return ngettext("Courriel abandonné, à renvoyer", "Courriels abandonnés, à renvoyer", count)

    def done(self, obj: Email) -> Any:
        return obj.sent_at

    @admin.display(description=gettext_lazy("texte"))
    def readable_body(self, obj: Email) -> str:
        """Without its links: one of them may open the account of whoever clicks first."""
        return ADDRESS.sub(_("[lien masqué]"), obj.body)

    @admin.action(description=gettext_lazy("Renvoyer"), permissions=["retry"])
    def send_again(self, request: HttpRequest, queryset: Any) -> None:
        self.put_back(request, list(queryset))


@admin.register(Call)
class CallAdmin(LeavingAdmin):
    """Calls to providers; one that was given up is money that has not arrived where it belongs."""

    actions = ["make_again"]
    list_display = ["created_at", "name", "key", "status", "attempts", "done_at"]
    search_fields = ["key", "name"]
    fields = [
        *("name", "key", "payload", "status", "trouble", "attempts", "created_at", "next_attempt_at", "done_at"),
        "last_error",
    ]
    readonly_fields = ["trouble"]
    left = gettext_lazy("Fait.")
    again_words = gettext_lazy("Refaire l’appel")
    only_dead = gettext_lazy("Seuls les appels abandonnés peuvent être refaits.")
    in_line_already = gettext_lazy("Cet appel est déjà en file\u00a0: il se refait tout seul, une seule fois.")
    left_already = gettext_lazy("Cet appel est déjà fait\u00a0: il n’est pas refait.")

    def again(self, row: Call) -> None:
        try_again(call=row)

    def in_line(self, count: int) -> str:
        return ngettext("%d appel est remis en file.", "%d appels sont remis en file.", count) % count

    def waiting_words(self, count: int) -> str:
        return ngettext("Appel à un prestataire abandonné", "Appels à un prestataire abandonnés", count)

    def done(self, obj: Call) -> Any:
        return obj.done_at

    @admin.action(description=gettext_lazy("Refaire l’appel"), permissions=["retry"])
    def make_again(self, request: HttpRequest, queryset: Any) -> None:
        self.put_back(request, list(queryset))
