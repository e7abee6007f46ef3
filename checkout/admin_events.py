"""What providers sent, and those of their messages that nobody could read."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.actions.events import mark_seen
from checkout.models import ProviderEvent
from checkout.providers import provider_name
from portal.common.formats import enumeration, moment

MOST = 200  # messages seen at once
SOURCES = {
    ProviderEvent.NOTIFICATION: gettext_lazy("message du prestataire"),
    ProviderEvent.QUERY: gettext_lazy("réponse à notre question"),
    "return": gettext_lazy("retour de l’usager"),
}


class UnreadFilter(admin.SimpleListFilter):
    """What nobody could read: still to be looked at, or seen."""

    title = gettext_lazy("lecture")
    parameter_name = "lecture"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("a-regarder", _("À regarder")), ("vus", _("Vus"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "a-regarder":
                return queryset.unread()
            case "vus":
                return queryset.filter(seen_at__isnull=False)
        return queryset


class SeenForm(forms.Form):
    note = forms.CharField(
        label=gettext_lazy("Ce qui a été fait"),
        help_text=gettext_lazy("Par exemple\u00a0: «\u00a0Paiement refusé, vu chez le prestataire\u00a0»."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez ce qui a été fait\u00a0: vos collègues le liront."),
            "max_length": gettext_lazy("Écrivez ce qui a été fait en 200 caractères au plus."),
        },
    )


@admin.register(ProviderEvent)
class ProviderEventAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/checkout/providerevent/change_form.html"
    list_display = ["received_at", "who", "how", "outcome", "note", "seen_at"]
    list_filter = [UnreadFilter, "outcome"]
    date_hierarchy = "received_at"
    search_fields = ["payment__reference", "raw"]
    ordering = ["-received_at", "-pk"]
    actions = ["see_selected"]
    fields = ["received_at", "who", "how", "about", "outcome", "note", "raw", "seen_at", "seen_note"]
    readonly_fields = ["who", "how", "about", "seen_at"]

    @admin.display(description=gettext_lazy("prestataire"), ordering="provider")
    def who(self, obj: ProviderEvent) -> str:
        return provider_name(obj.provider)

    @admin.display(description=gettext_lazy("origine"), ordering="source")
    def how(self, obj: ProviderEvent) -> str:
        return str(SOURCES.get(obj.source, obj.source))

    @admin.display(description=gettext_lazy("règlement"))
    def about(self, obj: ProviderEvent) -> str:
        if obj.payment is None:
            return "–"
        address = reverse("admin:checkout_payment_change", args=[obj.payment.pk])
        return format_html('<a href="{}">{}</a>', address, obj.payment)

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DECIDE, obj)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        waiting = ProviderEvent.objects.unread().count()
        words = ngettext("Message d’un prestataire à regarder", "Messages de prestataires à regarder", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?lecture=a-regarder")]

    def get_urls(self) -> list[Any]:
        return [path("vu/", self.guarded(self.see_view), name="checkout_providerevent_see"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        waits = self.may(request, Right.DECIDE, obj) and ProviderEvent.objects.unread().filter(pk=obj.pk).exists()
        context["see_url"] = self._see_url([obj.pk]) if waits else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def _see_url(self, ids: list[int]) -> str:
        return f"{self.url('see')}?{urlencode({'id': ids}, doseq=True)}"

    @admin.action(description=gettext_lazy("Marquer comme vus…"), permissions=["decide"])
    def see_selected(self, request: HttpRequest, queryset: QuerySet[ProviderEvent]) -> HttpResponse | None:
        """Several, from the list: a page of its own asks for the note."""
        ids = list(queryset.filter(pk__in=ProviderEvent.objects.unread().values("pk")).values_list("pk", flat=True))
        if not ids:
            self.say(request, messages.WARNING, [_("Aucun de ces messages n’est à regarder.")])
            return None
        if len(ids) > MOST:
            self.say(request, messages.ERROR, [_("Choisissez %d messages au plus à la fois.") % MOST])
            return None
        return redirect(self._see_url(ids))

    def see_view(self, request: HttpRequest) -> HttpResponse:
        """The messages that the address names (`id`, once for each): GET asks for the note, POST keeps it."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        ids = [int(text) for text in request.GET.getlist("id")[:MOST] if text.isdecimal() and len(text) < 19]
        rows = list(ProviderEvent.objects.unread().filter(pk__in=ids).order_by("pk"))
        back = self.url("change", rows[0].pk) if len(rows) == 1 else self.url("changelist") + "?lecture=a-regarder"
        if not rows:
            self.say(request, messages.WARNING, [_("Aucun de ces messages n’est à regarder.")])
            return redirect(back)

        def act(note: str) -> Done:
            count = mark_seen(ids=ids, note=note, by=staff(request))
            said = ngettext("%d message marqué comme vu.", "%d messages marqués comme vus.", count) % count
            return Done(back, said)

        question = Question(
            title=ngettext("Marquer le message comme vu", "Marquer les messages comme vus", len(rows)),
            facts=[
                (_("Prestataire"), enumeration(sorted({provider_name(row.provider) for row in rows}))),
                (_("Reçu"), enumeration([moment(row.received_at) for row in rows[:3]])),
                (ngettext("Message", "Messages", len(rows)), str(len(rows))),
            ],
            notes=[
                _(
                    "Ce qui est dit là n’a pas pu être lu\u00a0: un règlement ou un remboursement a peut-être abouti. Regardez d’abord chez le"
                    " prestataire. Le message reste gardé\u00a0; le contrôle de la nuit n’en parle plus."
                )
            ],
            button=ngettext("Marquer comme vu", "Marquer comme vus", len(rows)),
            cancel=back,
            cancel_words=_("Ne rien changer"),
            danger=False,
        )
        return ask(self, request, question, SeenForm(request.POST or None), act)

    def story(self, request: HttpRequest, obj: ProviderEvent) -> list[Happening]:
        return told(
            staff(request),
            [
                (obj.received_at, None, _("Message reçu et gardé tel quel.")),
                (obj.seen_at, obj.seen_by_id, _("Vu\u00a0: %s") % obj.seen_note),
            ],
        )
