"""Tickets and their uses are looked up here; they are sold, used and given back elsewhere."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, Todo, staff
from accounts.admin_history import Happening, told
from bookings.tickets.models import Ticket, TicketUse
from bookings.tickets.words import note
from portal.common.formats import moment


class UseInline(ReadOnlyInline):
    model = TicketUse
    agents = Right.VIEW
    fields = ["at", "offline", "problem", "device"]
    verbose_name_plural = gettext_lazy("Passages")


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    inlines = [UseInline]
    list_display = ["typed", "beneficiary", "activity", "slot", "validity", "left", "status"]
    list_filter = ["status", "activity"]
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
        return _("Passage sans réseau, à vérifier\u00a0: %s.") % use.get_problem_display().lower()
    return _("Passage accepté sans réseau.") if use.offline else _("Passage accepté.")


RECENT = dt.timedelta(days=14)


class CheckFilter(admin.SimpleListFilter):
    """What a phone without network let through against the rules: all of it, or that of the last two weeks."""

    title = gettext_lazy("à vérifier")
    parameter_name = "etat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("recents", _("Ces 14 derniers jours")), ("a-verifier", _("Depuis toujours"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "recents":
                return queryset.exclude(problem="").filter(at__gte=timezone.now() - RECENT)
            case "a-verifier":
                return queryset.exclude(problem="")
        return queryset


@admin.register(TicketUse)
class TicketUseAdmin(ReadOnlyAdmin):
    """Each passage, and above all those that a phone without network let through against the rules."""

    agents = Right.VIEW
    list_display = ["moment", "typed", "person", "activity", "offline", "problem", "device"]
    list_filter = [CheckFilter, "offline", "ticket__activity"]
    list_select_related = ["ticket__beneficiary", "ticket__activity"]
    date_hierarchy = "at"
    search_fields = ["ticket__code", "ticket__beneficiary__last_name", "ticket__beneficiary__first_name", "device"]
    ordering = ["-at", "-pk"]
    fields = ["moment", "ticket", "activity", "problem", "offline", "device", "checked", "received_at", "client_id"]
    readonly_fields = ["moment", "activity", "checked"]

    signers = ["by"]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        recent = TicketUse.objects.visible_to(staff(request)).to_check().filter(at__gte=timezone.now() - RECENT)
        count = recent.count()
        words = ngettext("Passage sans réseau à vérifier", "Passages sans réseau à vérifier", count or 2)
        return [Todo(words, count, self.url("changelist") + "?etat=recents")]

    def story(self, request: HttpRequest, obj: TicketUse) -> list[Happening]:
        return told(staff(request), [(obj.at, obj.by_id, use_words(obj))])

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
