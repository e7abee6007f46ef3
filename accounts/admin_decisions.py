"""« Valider » and « Refuser… »: on the list for several rows, on a row's page for one, always through the actions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, ScopedAdmin, staff
from accounts.admin_history import signatures
from accounts.models import User
from portal.common.errors import Refused
from portal.common.formats import moment

MOST = 100  # rows decided at once: each writes an e-mail


class RefusalForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif du refus"),
        help_text=gettext_lazy("La personne le lira dans le courriel qui lui est envoyé."),
        widget=forms.Textarea(attrs={"rows": 5, "cols": 60}),
        max_length=2000,
        error_messages={
            "required": gettext_lazy("Écrivez le motif du refus\u00a0: la personne le lira dans son courriel.")
        },
    )


@dataclass(frozen=True)
class Decision:
    """Where a row stands, for the panel above its page."""

    status: str
    label: str
    when: Any
    who: str
    reason: str
    may_approve: bool
    may_refuse: bool
    seen: str
    note: str  # why nothing may be decided here, where it could be expected


class DecisionAdmin(ScopedAdmin):
    """A table whose rows wait for an answer. Its class names the two actions, which hold the rules."""

    change_form_template = "admin/dossier_change_form.html"
    actions = ["approve_selected", "refuse_selected"]
    PENDING, APPROVED, REFUSED = "pending", "approved", "refused"

    # What the screens say; see FileAdmin and RequestAdmin in families/admin.py.
    subject: Any = ""
    keeps: Any = ""  # what a refusal does not touch
    reason_field = "reason"

    def approve(self, obj: Any, by: User) -> None:
        raise NotImplementedError

    def refuse(self, obj: Any, reason: str, by: User) -> None:
        raise NotImplementedError

    def obstacle(self, obj: Any, by: User, *, refusing: bool) -> Refused | None:
        """What the action would answer whatever the row's state: its button is then not shown."""
        return None

    def at_stake(self, rows: Sequence[Any], by: User) -> dict[int, list[str]]:
        """What a refusal leaves behind, by row, said before it is confirmed."""
        return {}

    def approve_words(self, request: HttpRequest, obj: Any) -> str:
        """What the button says that approves this row: where money moves, how much."""
        return _("Valider")

    def panels(self, request: HttpRequest, obj: Any) -> Sequence[dict[str, Any]]:
        """The tables under the row's own facts: title, head, rows."""
        return []

    # -- Rights --

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DECIDE, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a status moves through the actions only (law 7)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # -- Addresses --

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("refuser/", self.guarded(self.refuse_view), name=f"{name}_refuse"),
            path("<int:pk>/valider/", self.guarded(self.approve_view), name=f"{name}_approve"),
            *super().get_urls(),
        ]

    # -- Deciding --

    def decide(self, pk: int, seen: str, act: Callable[[Any], None], viewer: User) -> None:
        """Run an action on a row that still stands as the person saw it.

        Raises Refused when somebody else has decided in the meantime, and whatever the action refuses.
        """
        with transaction.atomic():
            row = self.model._default_manager.select_for_update(of=("self",)).get(pk=pk)
            if seen != self.seen(row):
                raise Refused(self._decided_meanwhile(row, viewer), code="decided_meanwhile")
            act(row)

    def seen(self, row: Any) -> str:
        """What a page remembers of the row's state, so that a decision taken meanwhile is noticed."""
        return f"{row.status}@{row.decided_at.isoformat() if row.decided_at else ''}"

    def _decided_meanwhile(self, row: Any, viewer: User) -> str:
        words = {"name": row, "status": row.get_status_display().lower()}
        if row.decided_at is None:
            return (
                _("%(name)s\u00a0: la situation a changé depuis («\u00a0%(status)s\u00a0»). Rien n’a été changé.")
                % words
            )
        who = signatures(viewer, [row.decided_by_id]).get(row.decided_by_id, _("la plateforme"))
        words |= {"who": who, "when": moment(row.decided_at)}
        return (
            _(
                "%(name)s\u00a0: décision déjà prise par %(who)s, %(when)s («\u00a0%(status)s\u00a0»). Rien n’a été changé."
            )
            % words
        )

    def approve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        obj = self.object_or_404(request, str(pk))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_decide_permission(request, obj):
            raise PermissionDenied
        user = staff(request)
        try:
            self.decide(obj.pk, request.POST.get("seen", ""), lambda row: self.approve(row, user), user)
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
        else:
            self.say(request, messages.SUCCESS, [self.done_words(1, str(obj), approved=True)])
        return redirect(self.url("change", obj.pk))

    def refuse_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks for the reason, for one row or several (`?pk=1&pk=2`); POST refuses them."""
        rows = self._rows_or_404(request)
        if not self.has_decide_permission(request):
            raise PermissionDenied
        if request.method != "POST" and self._say_obstacles(request, rows):
            return redirect(self.url("change", rows[0].pk) if len(rows) == 1 else self.url("changelist"))
        form = RefusalForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            return self._refuse_rows(request, rows, form.cleaned_data["reason"])
        # On a second look the first look's memory is kept: what changed in between is still noticed.
        remembered = {row.pk: request.POST.get(f"seen-{row.pk}", self.seen(row)) for row in rows}
        stakes = self.at_stake(rows, staff(request))
        return self.page(
            request,
            "admin/refuse.html",
            {
                "title": _("Refuser\u00a0: %s") % rows[0] if len(rows) == 1 else _("Refuser plusieurs demandes"),
                "rows": [(row, remembered[row.pk], stakes.get(row.pk, [])) for row in rows],
                "keeps": self.keeps,
                "form": form,
                "cancel": self.url("change", rows[0].pk) if len(rows) == 1 else self.url("changelist"),
            },
        )

    def _refuse_rows(self, request: HttpRequest, rows: Sequence[Any], reason: str) -> HttpResponse:
        user = staff(request)
        done = []
        for row in rows:
            seen = request.POST.get(f"seen-{row.pk}", "")
            try:
                self.decide(row.pk, seen, lambda locked: self.refuse(locked, reason, user), user)
                done.append(row)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
        if done:
            self.say(request, messages.SUCCESS, [self.done_words(len(done), str(done[0]), approved=False)])
        return redirect(self.url("change", rows[0].pk) if len(rows) == 1 else self.url("changelist"))

    def _say_obstacles(self, request: HttpRequest, rows: Sequence[Any]) -> set[int]:
        """Say which rows may not be refused by this person, and why; their keys."""
        found = {row.pk: self.obstacle(row, staff(request), refusing=True) for row in rows}
        for obstacle in found.values():
            self.say(request, messages.ERROR, obstacle.messages if obstacle else [])
        return {pk for pk, obstacle in found.items() if obstacle}

    def _rows_or_404(self, request: HttpRequest) -> list[Any]:
        """The rows named in the address; one that is missing or a stranger's makes the whole page so."""
        wanted = set(request.GET.getlist("pk"))
        if not wanted or len(wanted) > MOST or not all(pk.isdecimal() and len(pk) < 19 for pk in wanted):
            raise Http404
        rows = list(self._named(self.get_queryset(request)).filter(pk__in=wanted))
        if len(rows) != len(wanted):
            raise Http404
        return rows

    def _named(self, rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return rows.select_related(*self.list_select_related) if isinstance(self.list_select_related, list) else rows

    # -- On the list --

    @admin.action(description=gettext_lazy("Valider"), permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        rows = self._few_enough(request, queryset)
        user = staff(request)
        done = []
        for row in rows:
            # The list may be old: only what still waits is validated from it.
            try:
                self.decide(row.pk, f"{self.PENDING}@", lambda locked: self.approve(locked, user), user)
                done.append(row)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
        if done:
            self.say(request, messages.SUCCESS, [self.done_words(len(done), str(done[0]), approved=True)])

    @admin.action(description=gettext_lazy("Refuser…"), permissions=["decide"])
    def refuse_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        rows = self._few_enough(request, queryset)
        blocked = self._say_obstacles(request, rows)
        rows = [row for row in rows if row.pk not in blocked]
        if not rows:
            return None
        return redirect(f"{self.url('refuse')}?{urlencode([('pk', row.pk) for row in rows])}")

    def _few_enough(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        rows = list(self._named(queryset).order_by("pk")[: MOST + 1])
        if len(rows) > MOST:
            self.say(request, messages.ERROR, [_("Choisissez %d lignes au plus à la fois.") % MOST])
            return []
        if not rows:
            self.say(request, messages.ERROR, [_("Aucune ligne n’a été choisie.")])
        return rows

    def done_words(self, count: int, name: str, *, approved: bool) -> str:
        """What is said once rows are decided: how many, or which one."""
        if approved:
            return ngettext(
                "%(subject)s «\u00a0%(name)s\u00a0»\u00a0: c’est validé, un courriel est envoyé.",
                "%(subject)s\u00a0: %(count)d validations, autant de courriels sont envoyés.",
                count,
            ) % {"subject": self.subject, "name": name, "count": count}
        return ngettext(
            "%(subject)s «\u00a0%(name)s\u00a0»\u00a0: c’est refusé, un courriel avec le motif est envoyé.",
            "%(subject)s\u00a0: %(count)d refus, autant de courriels avec le motif sont envoyés.",
            count,
        ) % {"subject": self.subject, "name": name, "count": count}

    # -- On the row's page --

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        assert obj is not None  # nothing is added here
        context |= {
            "decision": self.decision(request, obj),
            "panels": self.panels(request, obj),
            "history": self.story(request, obj),
            "elsewhere": "",
            "approve_words": self.approve_words(request, obj),
            "approve_url": self.url("approve", obj.pk),
            "refuse_url": f"{self.url('refuse')}?pk={obj.pk}",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def decision(self, request: HttpRequest, obj: Any) -> Decision:
        may = self.has_decide_permission(request, obj)
        against_yes, against_no = (self.obstacle(obj, staff(request), refusing=refusing) for refusing in (False, True))
        obstacle = against_yes or (against_no if obj.status != self.REFUSED else None)
        names = signatures(staff(request), [obj.decided_by_id])
        return Decision(
            status=obj.status,
            label=obj.get_status_display(),
            when=obj.decided_at,
            who=names.get(obj.decided_by_id, _("la plateforme")) if obj.decided_at else "",
            reason=getattr(obj, self.reason_field),
            may_approve=may and obj.status != self.APPROVED and against_yes is None,
            may_refuse=may and obj.status != self.REFUSED and against_no is None,
            seen=self.seen(obj),
            note=" ".join(obstacle.messages) if obstacle else "",
        )
