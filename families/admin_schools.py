"""In which school and class children are: declared by families, confirmed or corrected by the commune of the school."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, ScopedAdmin, ScopedForm, Todo, staff
from families.actions import confirm_school
from families.models import Enrolment
from portal.common.errors import Refused


class EnrolmentForm(ScopedForm):
    """The school, the level and the class; saving confirms them."""

    class Meta:
        model = Enrolment
        fields = ["school", "level", "classroom"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        room: Any = self.fields.get("classroom")
        if room is not None:
            room.queryset = room.queryset.filter(year=self.instance.year)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        school, level, room = data.get("school"), data.get("level"), data.get("classroom")
        if school and level and level not in school.levels:
            self.add_error("level", _("Cette école n’a pas ce niveau."))
        if school and room and room.school_id != school.pk:
            self.add_error("classroom", _("Cette classe est d’une autre école."))
        elif level and room and level not in room.levels:
            self.add_error("classroom", _("Cette classe n’a pas ce niveau."))
        return data


@admin.register(Enrolment)
class EnrolmentAdmin(ScopedAdmin):
    agents = operators = Right.VIEW | Right.CHANGE
    form = EnrolmentForm
    actions = ["confirm_selected"]
    list_display = ["pupil", "school", "level", "classroom", "school_year", "status"]
    list_filter = ["status", "school", "level"]
    list_select_related = ["beneficiary", "school", "classroom"]
    label_related = ["beneficiary", "school"]
    search_fields = ["beneficiary__last_name", "beneficiary__first_name", "school__name", "classroom__name"]
    ordering = ["-year", "beneficiary__last_name", "beneficiary__first_name", "pk"]
    fields = ["beneficiary", "school_year", "school", "level", "classroom", "status", "declared_at", "confirmed_at"]
    readonly_fields = ["beneficiary", "school_year", "status", "declared_at", "confirmed_at"]

    def label_for(self, obj: Enrolment) -> str:
        return f"{obj.beneficiary} – {obj.school_year}"

    def todo(self, request: HttpRequest) -> list[Todo]:
        waiting = Enrolment.objects.visible_to(staff(request)).declared().count()
        words = ngettext("Scolarité à confirmer", "Scolarités à confirmer", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?status__exact=declared")]

    def save_model(self, request: HttpRequest, obj: Enrolment, form: Any, change: bool) -> None:
        try:
            confirm_school(
                enrolment=obj, school=obj.school, level=obj.level, classroom=obj.classroom, by=staff(request)
            )
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)

    @admin.action(description=gettext_lazy("Confirmer les scolarités choisies"), permissions=["change"])
    def confirm_selected(self, request: HttpRequest, queryset: Any) -> None:
        rows = list(queryset.declared().order_by("pk"))
        for row in rows:
            try:
                confirm_school(enrolment=row, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, [f"{row}\u00a0: {refusal}"])
                return
        said = ngettext("%d scolarité est confirmée.", "%d scolarités sont confirmées.", len(rows)) % len(rows)
        self.say(request, messages.SUCCESS, [said])

    @admin.display(description=gettext_lazy("enfant"), ordering="beneficiary__last_name")
    def pupil(self, obj: Enrolment) -> str:
        return capfirst(f"{obj.beneficiary.last_name} {obj.beneficiary.first_name}")

    @admin.display(description=gettext_lazy("année scolaire"), ordering="year")
    def school_year(self, obj: Enrolment) -> str:
        return obj.school_year
