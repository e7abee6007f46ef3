"""Tickets and their uses are looked up here; they are sold, used and given back elsewhere."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, ScopedRelatedFilter, Todo, staff, visible_rows
from accounts.admin_history import Happening, told
from bookings.tickets import admin_doors  # noqa: F401  registers the controllers
from bookings.tickets.models import Ticket, TicketUse
from bookings.tickets.review import mark_seen
from bookings.tickets.words import note
from portal.common.errors import Refused
from portal.common.formats import moment
from services.models import Activity


class SoldFilter(ScopedRelatedFilter):
    """Among the activities that have tickets: the others' calendars would only be in the way."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        rows = visible_rows(Activity.objects.exclude(kind=Activity.Kind.CALENDAR), staff(request))
        return [(row.pk, str(row)) for row in rows.order_by("name", "pk")]


class UseInline(ReadOnlyInline):
    model = TicketUse
    agents = Right.VIEW
    fields = ["at", "offline", "why", "device"]
    verbose_name_plural = gettext_lazy("Passages")

    @admin.display(description=gettext_lazy("à vérifier"))
    def why(self, obj: TicketUse) -> str:
        return obj.why


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    inlines = [UseInline]
    list_display = ["typed", "beneficiary", "activity", "slot", "validity", "left", "status"]
    list_filter = ["status", ("activity", SoldFilter)]
    list_select_related = ["beneficiary", "activity", "slot"]
    date_hierarchy = "created_at"
    search_fields = ["code", "beneficiary__last_name", "beneficiary__first_name", "activity__name"]
    search_help_text = gettext_lazy("Code sans tirets, nom du bénéficiaire ou activité.")
    ordering = ["-created_at", "-pk"]
    fields = [
        *("typed", "beneficiary", "activity", "slot", "stop", "unit", "validity", "left", "status"),
        *("made", "created_at", "booked_at", "ended_at", "ended", "ended_reason"),
    ]
    readonly_fields = ["typed", "validity", "left", "made", "ended"]

    signers = ["made_by", "ended_by"]

    @admin.display(description=gettext_lazy("code"), ordering="code")
    def typed(self, obj: Ticket) -> str:
        return obj.typed_code

    @admin.display(description=gettext_lazy("valable"), ordering="valid")
    def validity(self, obj: Ticket) -> str:
        return note(obj.valid)

    @admin.display(description=gettext_lazy("entrées restantes"))
    def left(self, obj: Ticket) -> str:
        if obj.entries is None:
            return _("sans limite")
        return _("%(left)d sur %(entries)d") % {"left": obj.left, "entries": obj.entries}

    @admin.display(description=gettext_lazy("acheté par"))
    def made(self, obj: Ticket) -> str:
        return self.signature(obj, "made_by")

    @admin.display(description=gettext_lazy("annulé par"))
    def ended(self, obj: Ticket) -> str:
        return self.signature(obj, "ended_by")

    def story(self, request: HttpRequest, obj: Ticket) -> list[Happening]:
        ended = _("Annulé") if obj.status == Ticket.Status.CANCELLED else _("Rendu")
        facts = [
            (obj.created_at, obj.made_by_id, _("Mis au panier.")),
            (obj.booked_at, obj.made_by_id, _("Payé.")),
            (obj.ended_at, obj.ended_by_id, f"{ended}\u00a0: {obj.ended_reason}" if obj.ended_reason else ended),
            *((use.at, use.by_id, use_words(use)) for use in obj.uses.all()),
        ]
        return told(staff(request), facts)


def use_words(use: TicketUse) -> str:
    """`Passage accepté.`, `Passage sans réseau, à vérifier : déjà utilisé.`"""
    if use.problem:
        return _("Passage sans réseau, à vérifier. %s") % use.why
    return _("Passage accepté sans réseau.") if use.offline else _("Passage accepté.")


MOST = 200  # passages seen at once


class CheckFilter(admin.SimpleListFilter):
    """What a phone without network let through against the rules: still to be looked at, or seen."""

    title = gettext_lazy("vérification")
    parameter_name = "etat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("a-verifier", _("À vérifier")), ("vus", _("Vus"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "a-verifier":
                return queryset.to_check()
            case "vus":
                return queryset.checked()
        return queryset


class SeenForm(forms.Form):
    note = forms.CharField(
        label=gettext_lazy("Ce qui a été fait"),
        help_text=gettext_lazy("Par exemple\u00a0: «\u00a0Vu avec la famille, deuxième enfant sans billet\u00a0»."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez ce qui a été fait\u00a0: vos collègues le liront.")},
    )


@admin.register(TicketUse)
class TicketUseAdmin(ReadOnlyAdmin):
    """Each passage, and above all those that a phone without network let through against the rules."""

    agents = operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/bookings/ticketuse/change_form.html"
    list_display = ["moment", "typed", "person", "activity", "offline", "why", "seen", "device"]
    list_filter = [CheckFilter, "offline", ("ticket__activity", SoldFilter)]
    list_select_related = ["ticket__beneficiary", "ticket__activity", "ticket__slot", "review"]
    actions = ["see_selected"]
    date_hierarchy = "at"
    search_fields = ["ticket__code", "ticket__beneficiary__last_name", "ticket__beneficiary__first_name", "device"]
    ordering = ["-at", "-pk"]
    fields = ["moment", "ticket", "activity", "why", "offline", "device", "checked", "received_at", "client_id"]
    readonly_fields = ["moment", "activity", "why", "checked", "seen", "note", "viewer"]

    signers = ["by", "seen_by"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*self.fields, *(["seen", "note", "viewer"] if hasattr(obj, "review") else [])]

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DECIDE, obj)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        count = TicketUse.objects.visible_to(staff(request)).to_check().count()
        words = ngettext("Passage sans réseau à vérifier", "Passages sans réseau à vérifier", count or 2)
        return [Todo(words, count, self.url("changelist") + "?etat=a-verifier")]

    def story(self, request: HttpRequest, obj: TicketUse) -> list[Happening]:
        facts = [(obj.at, obj.by_id, use_words(obj))]
        if hasattr(obj, "review"):
            facts.append((obj.review.at, obj.review.by_id, _("Vu\u00a0: %s") % obj.review.note))
        return told(staff(request), facts)

    # -- « Marquer comme vus » --

    def get_urls(self) -> list[Any]:
        return [path("<int:pk>/vu/", self.guarded(self.see_view), name="bookings_ticketuse_see"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        waits = bool(obj.problem) and not hasattr(obj, "review") and self.may(request, Right.DECIDE, obj)
        context["see_url"] = self.url("see", obj.pk) if waits else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def see_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One passage, from its page: GET asks for the note, POST keeps it."""
        use = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, use):
            raise PermissionDenied
        return self._see(request, [use], back=self.url("change", use.pk)) or redirect(self.url("change", use.pk))

    @admin.action(description=gettext_lazy("Marquer comme vus…"), permissions=["decide"])
    def see_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Several, from the list: the page that asks for the note posts the same action to the list again."""
        rows = list(queryset.to_check().order_by("at", "pk")[: MOST + 1])
        if not rows:
            self.say(request, messages.WARNING, [_("Aucun de ces passages n’est à vérifier.")])
            return None
        if len(rows) > MOST:
            self.say(request, messages.ERROR, [_("Choisissez %d passages au plus à la fois.") % MOST])
            return None
        return self._see(request, rows, back=self.url("changelist"))

    def _see(self, request: HttpRequest, rows: list[TicketUse], *, back: str) -> HttpResponse | None:
        """The page that asks for the note, or None when they are marked (or refused) and that was said."""
        form = SeenForm(request.POST if "confirm" in request.POST else None)
        if form.is_valid():
            try:
                count = mark_seen(ids=[row.pk for row in rows], note=form.cleaned_data["note"], by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                said = ngettext("%d passage marqué comme vu.", "%d passages marqués comme vus.", count)
                self.say(request, messages.SUCCESS, [said % count])
            return None
        title = ngettext("Marquer le passage comme vu", "Marquer les passages comme vus", len(rows))
        context = {"title": title, "rows": rows, "form": form, "checkbox": ACTION_CHECKBOX_NAME, "back_url": back}
        return self.page(request, "admin/bookings/ticketuse/see.html", context)

    @admin.display(description=gettext_lazy("à vérifier"), ordering="problem")
    def why(self, obj: TicketUse) -> str:
        return obj.why

    @admin.display(description=gettext_lazy("vu"), ordering="review__at")
    def seen(self, obj: TicketUse) -> str:
        return capfirst(moment(obj.review.at)) if hasattr(obj, "review") else ""

    @admin.display(description=gettext_lazy("ce qui a été fait"))
    def note(self, obj: TicketUse) -> str:
        return obj.review.note if hasattr(obj, "review") else ""

    @admin.display(description=gettext_lazy("vu par"))
    def viewer(self, obj: TicketUse) -> str:
        return self.signature(obj, "seen_by")

    @admin.display(description=gettext_lazy("passage"), ordering="at")
    def moment(self, obj: TicketUse) -> str:
        return capfirst(moment(obj.at))

    @admin.display(description=gettext_lazy("e-billet"), ordering="ticket__code")
    def typed(self, obj: TicketUse) -> str:
        return obj.ticket.typed_code

    @admin.display(description=gettext_lazy("bénéficiaire"), ordering="ticket__beneficiary__last_name")
    def person(self, obj: TicketUse) -> str:
        return str(obj.ticket.beneficiary)

    @admin.display(description=gettext_lazy("activité"), ordering="ticket__activity__name")
    def activity(self, obj: TicketUse) -> str:
        return str(obj.ticket.activity)

    @admin.display(description=gettext_lazy("contrôlé par"))
    def checked(self, obj: TicketUse) -> str:
        return self.signature(obj, "by")
