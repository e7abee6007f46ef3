"""Waiting lists day by day for staff: who waits, in which order, and moving somebody with a reason."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ReadOnlyAdmin, Right, staff
from accounts.admin_history import Happening, events_of, told
from bookings.waiting.actions import move, rule
from bookings.waiting.models import WaitingListEntry
from portal.common.errors import Refused
from portal.common.formats import enumeration, long_date

Status = WaitingListEntry.Status


class MoveForm(forms.Form):
    """A position among those of the day, and why."""

    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("Il reste dans l’historique de la liste, avec votre nom."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif\u00a0: il reste dans l’historique de la liste.")},
    )

    def __init__(self, data: Any = None, *, count: int, position: int) -> None:
        super().__init__(data)
        self.fields["position"] = forms.TypedChoiceField(
            label=_("Nouveau rang"),
            choices=[(number, str(number)) for number in range(1, count + 1)],
            coerce=int,
            initial=position,
            error_messages={"invalid_choice": _("Ce rang n’existe pas dans la liste de ce jour.")},
        )
        self.order_fields(["position", "reason"])


class LiveFilter(admin.SimpleListFilter):
    """Those who wait or have an offer, unless one asks for what is over."""

    title = gettext_lazy("statut")
    parameter_name = "statut"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Status.choices, ("tous", _("Tous"))]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, _("En cours")), *self.lookup_choices):
            yield {
                "selected": self.value() == value or (value is None and self.value() not in [*Status.values, "tous"]),
                "query_string": changelist.get_query_string(
                    {self.parameter_name: value} if value else {}, [] if value else [self.parameter_name]
                ),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "tous":
            return queryset
        return queryset.filter(status=self.value()) if self.value() in Status.values else queryset.live()


@admin.register(WaitingListEntry)
class WaitingListEntryAdmin(ReadOnlyAdmin):
    """One list per day: the rows come day by day in the order in which places are offered."""

    agents = Right.VIEW | Right.DECIDE
    operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/bookings/waitinglistentry/change_form.html"
    list_display = ["day", "activity", "place", "beneficiary", "slot", "state", "created_at"]
    list_filter = [LiveFilter, "open_day__activity"]
    list_select_related = ["beneficiary", "slot", "open_day__activity__service", "booking__hold"]
    date_hierarchy = "open_day__date"
    search_fields = ["beneficiary__last_name", "beneficiary__first_name", "open_day__activity__name"]
    search_help_text = gettext_lazy("Nom de l’enfant ou activité.")
    ordering = ["open_day__date", "open_day", "-status", "priority", "rank", "party", "pk"]
    fields = [
        *("beneficiary", "activity", "day", "slot", "state", "place", "order", "companions"),
        *("made", "created_at", "offered_at", "ended_at", "ended", "ended_reason"),
        *("moved_at", "moved", "moved_reason"),
    ]
    readonly_fields = ["activity", "day", "state", "place", "order", "companions", "made", "ended", "moved"]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_position()

    signers = ["user", "ended_by", "moved_by"]

    def label_for(self, obj: WaitingListEntry) -> str:
        return f"{obj.beneficiary} – {obj.open_day.activity} – {long_date(obj.open_day.date)}"

    # -- Columns --

    @admin.display(description=gettext_lazy("jour"), ordering="open_day__date")
    def day(self, obj: WaitingListEntry) -> str:
        return capfirst(long_date(obj.open_day.date))

    @admin.display(description=gettext_lazy("activité"), ordering="open_day__activity__name")
    def activity(self, obj: WaitingListEntry) -> str:
        return f"{obj.open_day.activity.service} – {obj.open_day.activity}"

    @admin.display(description=gettext_lazy("rang"))
    def place(self, obj: WaitingListEntry) -> str:
        return str(obj.position) if obj.status == Status.WAITING else "–"

    @admin.display(description=gettext_lazy("statut"), ordering="status")
    def state(self, obj: WaitingListEntry) -> str:
        return str(obj.get_status_display())

    @admin.display(description=gettext_lazy("ordre de la liste"))
    def order(self, obj: WaitingListEntry) -> str:
        return rule(obj.open_day.activity)

    @admin.display(description=gettext_lazy("ensemble avec"))
    def companions(self, obj: WaitingListEntry) -> str:
        others = WaitingListEntry.objects.filter(party=obj.party).exclude(pk=obj.pk).select_related("beneficiary")
        return enumeration(str(row.beneficiary) for row in others) or "–"

    @admin.display(description=gettext_lazy("demandé par"))
    def made(self, obj: WaitingListEntry) -> str:
        return self.signature(obj, "user")

    @admin.display(description=gettext_lazy("terminé par"))
    def ended(self, obj: WaitingListEntry) -> str:
        return self.signature(obj, "ended_by")

    @admin.display(description=gettext_lazy("déplacé par"))
    def moved(self, obj: WaitingListEntry) -> str:
        return self.signature(obj, "moved_by")

    def story(self, request: HttpRequest, obj: WaitingListEntry) -> list[Happening]:
        """The row's own dates, and every move with its reason: the events keep the row as it was before each change."""
        events = events_of(WaitingListEntry)
        rows = [*events.objects.filter(pgh_obj=obj.pk).order_by("pgh_id"), obj]
        moves = {row.moved_at: row for row in rows if row.moved_at}
        ended = str(obj.get_status_display())
        facts = [
            (obj.created_at, obj.user_id, _("Inscription sur la liste d’attente.")),
            *(
                (when, row.moved_by_id, _("Rang changé\u00a0: %s") % row.moved_reason)
                for when, row in sorted(moves.items())
            ),
            (obj.offered_at, None, _("Place proposée.")),
            (obj.ended_at, obj.ended_by_id, f"{ended}\u00a0: {obj.ended_reason}" if obj.ended_reason else ended),
        ]
        return told(staff(request), facts)

    # -- Moving --

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/rang/", self.guarded(self.move_view), name="bookings_waitinglistentry_move"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        waits = obj.status == Status.WAITING and self.may(request, Right.DECIDE, obj)
        context["move_url"] = self.url("move", obj.pk) if waits else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def move_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows the day's list, a rank to choose and the reason to write; POST moves the entry there."""
        entry = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, entry):
            raise PermissionDenied
        day = f"{self.url('changelist')}?open_day__activity__id__exact={entry.open_day.activity_id}"
        if entry.status != Status.WAITING:
            self.say(request, messages.WARNING, [_("Cette personne n’attend plus\u00a0: la liste n’a pas changé.")])
            return redirect(self.url("change", entry.pk))
        rows = list(
            WaitingListEntry.objects.waiting()
            .on_days([entry.open_day_id])
            .in_order()
            .with_position()
            .select_related("beneficiary", "slot")
        )
        form = MoveForm(
            request.POST if request.method == "POST" else None,
            count=max(row.position for row in rows),
            position=entry.position,
        )
        if request.method == "POST" and form.is_valid():
            try:
                move(entry=entry, **form.cleaned_data, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                done = _("%(who)s est maintenant au rang %(position)d.")
                words = {"who": entry.beneficiary, "position": form.cleaned_data["position"]}
                self.say(request, messages.SUCCESS, [done % words])
                return redirect(day)
        context = {
            "title": _("Changer le rang\u00a0: %s") % self.label_for(entry),
            "entry": entry,
            "rows": rows,
            "rule": rule(entry.open_day.activity),
            "form": form,
            "back_url": self.url("change", entry.pk),
        }
        return self.page(request, "admin/bookings/waitinglistentry/move.html", context)
