"""Closures in the administration: choose, see who is touched, confirm; then undo or apply at once until the e-mails leave."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, staff, visible_rows
from accounts.admin_history import Happening, told
from accounts.models import Commune, User
from bookings.closures import actions as closures
from bookings.closures.models import Closure
from checkout.actions.closures import apply_closure, impact
from portal.common.errors import Refused
from portal.common.formats import moment
from services.models import Activity, Classroom, Level, School, Service
from services.school_calendar import years_to_declare

MOST_SHOWN = 300


class ClosureForm(forms.Form):
    """What closes, from when to when, and why. Names of the fields stand in links: they are French."""

    quoi = forms.ChoiceField(label=gettext_lazy("Ce qui ferme"))
    classes = forms.MultipleChoiceField(
        label=gettext_lazy("Seulement ces niveaux"),
        help_text=gettext_lazy(
            "Pour une école. Aucun coché\u00a0: toute l’école. Un enseignant absent\u00a0: choisissez plutôt sa classe ci-dessus."
        ),
        choices=Level.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "boxes"}),
    )
    du = forms.DateField(label=gettext_lazy("Du"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    au = forms.DateField(
        label=gettext_lazy("au (inclus)"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    motif = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("Les familles le liront\u00a0: grève des agents, sortie scolaire, neige…"),
        max_length=120,
    )

    def __init__(self, data: Any = None, *, by: User, initial: Any = None) -> None:
        super().__init__(data, initial=initial)
        self.by = by
        what: Any = self.fields["quoi"]
        what.choices = [("", "–"), *_targets(by)]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("classes") and not data.get("quoi", "").startswith("school:"):
            self.add_error("classes", _("Des niveaux se ferment dans une école\u00a0: choisissez l’école."))
        if not self.errors:
            self.closure = self._closure(data)
            try:
                closures.check(self.closure, by=self.by)
            except Refused as refusal:
                raise ValidationError(list(refusal.messages), code=refusal.code) from refusal
        return data

    def _closure(self, data: dict[str, Any]) -> Closure:
        scope, _sep, key = data["quoi"].partition(":")
        closure = Closure(
            scope=scope, first_day=data["du"], last_day=data["au"], reason=data["motif"], levels=data["classes"]
        )
        match scope:
            case "commune":
                closure.commune_id = int(key)
            case "service":
                closure.service = Service.objects.get(pk=key)
                closure.commune_id = closure.service.commune_id
            case "activity":
                closure.activity = Activity.objects.select_related("service").get(pk=key)
                closure.commune_id = closure.activity.service.commune_id
            case "classroom":
                closure.classroom = Classroom.objects.select_related("school").get(pk=key)
                closure.school = closure.classroom.school
                closure.commune_id = closure.school.commune_id
            case _:
                closure.school = School.objects.get(pk=key)
                closure.commune_id = closure.school.commune_id
                closure.scope = Closure.Scope.CLASS if closure.levels else Closure.Scope.SCHOOL
        return closure


def _targets(by: User) -> list[tuple[str, list[tuple[str, str]]]]:
    """What this member of staff may close, by kind; five queries."""
    communes = Commune.objects.order_by("name_key")
    if not by.is_operator:
        communes = communes.filter(pk__in=by.commune_ids)
    schools = visible_rows(School.objects.chosen_from(), by)
    rooms = visible_rows(Classroom.objects.chosen_from(years_to_declare()), by)
    services = visible_rows(Service.objects.order_by("name"), by)
    activities = visible_rows(Activity.objects.select_related("service").order_by("service__name", "name"), by)
    return [
        (_("Une école"), [(f"school:{row.pk}", f"{row.commune} – {row}") for row in schools]),
        (
            _("Une classe"),
            [(f"classroom:{row.pk}", f"{row.school.commune} – {row.school}, {row.label}") for row in rooms],
        ),
        (_("Une activité"), [(f"activity:{row.pk}", f"{row.service} – {row}") for row in activities]),
        (_("Un service, toutes ses activités"), [(f"service:{row.pk}", str(row)) for row in services]),
        (_("Toute une commune"), [(f"commune:{row.pk}", str(row)) for row in communes]),
    ]


@admin.register(Closure)
class ClosureAdmin(ReadOnlyAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/bookings/closure/change_list.html"
    change_form_template = "admin/bookings/closure/change_form.html"
    list_display = ["name", "first_day", "last_day", "reason", "status", "made_by"]
    list_filter = ["status", "scope"]
    list_select_related = ["commune", "service", "activity", "school", "made_by"]
    date_hierarchy = "first_day"
    search_fields = ["reason", "school__name", "activity__name", "service__name", "commune__name"]
    ordering = ["-created_at", "-pk"]
    fields = ["name", "first_day", "last_day", "reason", "status", "made_by", "created_at"]
    readonly_fields = ["name"]

    def label_for(self, obj: Closure) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("ce qui ferme"))
    def name(self, obj: Closure) -> str:
        return obj.target

    def story(self, request: HttpRequest, obj: Closure) -> list[Happening]:
        undone = obj.status == Closure.Status.UNDONE
        facts = [
            (obj.created_at, obj.made_by_id, _("Fermeture confirmée.")),
            (
                obj.failed_at,
                None,
                _("N’a pas pu s’appliquer\u00a0: personne n’a été prévenu ni remboursé (dernier essai)."),
            ),
            (
                obj.ended_at,
                obj.ended_by_id,
                _("Fermeture annulée.") if undone else _("Familles remboursées et prévenues."),
            ),
        ]
        return told(staff(request), facts)

    def get_urls(self) -> list[Any]:
        return [
            path("nouvelle/", self.guarded(self.new_view), name="bookings_closure_new"),
            path("<int:pk>/annuler/", self.guarded(self.undo_view), name="bookings_closure_undo"),
            path("<int:pk>/appliquer/", self.guarded(self.apply_view), name="bookings_closure_apply"),
            *super().get_urls(),
        ]

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks, then shows who is touched; POST confirms what was shown."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        asked = "motif" in data
        form = ClosureForm(data if asked else None, by=staff(request), initial=request.GET.dict())
        closure = form.closure if asked and form.is_valid() else None
        if closure and request.method == "POST":
            try:
                closures.decide(closure=closure, seen=request.POST.get("vu", ""), by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
                closure.pk = None
            else:
                words = {"what": closure, "when": moment(closure.leaves_at)}
                said = _("Fermeture confirmée\u00a0: %(what)s. Vous pouvez l’annuler jusqu’au %(when)s.") % words
                self.say(request, messages.SUCCESS, [said])
                return redirect(self.url("change", closure.pk))
        context = {
            "title": _("Nouvelle fermeture"),
            "form": form,
            "closure": closure,
            "impact": impact(closure) if closure else None,
            "most": MOST_SHOWN,
            "seen": closures.fingerprint(closure) if closure else "",
            "minutes": closures.DELAY // dt.timedelta(minutes=1),
        }
        return self.page(request, "admin/bookings/closure/new.html", context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        context |= {"impact": impact(obj), "most": MOST_SHOWN, "closure": obj}
        context["may_decide"] = obj.status == Closure.Status.CONFIRMED and self.may(request, Right.DECIDE, obj)
        return super().render_change_form(request, context, *args, **kwargs)

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take it back: POST only."""
        closure = self._to_decide(request, pk)
        if isinstance(closure, HttpResponse):
            return closure
        try:
            closures.undo(closure=closure, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
        else:
            said = _(
                "Fermeture annulée\u00a0: les réservations sont intactes, aucun argent n’a bougé, aucun courriel n’est parti."
            )
            self.say(request, messages.SUCCESS, [said])
        return redirect(self.url("change", pk))

    def apply_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Do not wait for its time: POST only."""
        closure = self._to_decide(request, pk)
        if isinstance(closure, HttpResponse):
            return closure
        try:
            families = apply_closure(closure=closure, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
        else:
            said = ngettext(
                "%d famille est remboursée et prévenue.", "%d familles sont remboursées et prévenues.", families
            )
            self.say(request, messages.SUCCESS, [said % families])
        return redirect(self.url("change", pk))

    def _to_decide(self, request: HttpRequest, pk: int) -> Closure | HttpResponse:
        closure: Closure = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, closure):
            raise PermissionDenied
        # « Précédent », or a page that was loaded again after signing in: its buttons are there.
        return closure if request.method == "POST" else redirect(self.url("change", pk))
