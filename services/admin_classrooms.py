"""The classes of a school, each for one school year; the page of its pupils is in families.admin_schools."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import Right, ScopedAdmin, ScopedForm
from services.admin_forms import levels_box
from services.limits import classes
from services.models import Classroom
from services.school_calendar import years_to_declare


class ClassroomForm(ScopedForm):
    """A class holds levels of its school; a new one is of this school year or the next."""

    levels = levels_box(error_messages={"required": gettext_lazy("Cochez au moins un niveau.")})

    class Meta:
        model = Classroom
        exclude: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "year" in self.fields:
            years = years_to_declare()
            self.fields["year"] = forms.TypedChoiceField(
                label=gettext_lazy("Année scolaire"),
                choices=[(each, f"{each}-{each + 1}") for each in years],
                coerce=int,
                initial=years[0],
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        school = data.get("school") or getattr(self.instance, "school", None)
        if school and (other := [level for level in data.get("levels", []) if level not in school.levels]):
            self.add_error("levels", _("L’école n’a pas ce niveau\u00a0: %s.") % classes(other))
        return data


@admin.register(Classroom)
class ClassroomAdmin(ScopedAdmin):
    agents = operators = Right.ALL
    form = ClassroomForm
    list_display = ["name", "school_name", "school_year", "level_names", "pupil_count"]
    list_filter = ["school"]
    list_select_related = ["school__commune"]
    label_related = ["school__commune"]
    search_fields = ["name", "school__name", "school__commune__name"]
    ordering = ["-year", "school__commune__name_key", "school__name", "name", "pk"]
    constraint_messages = {
        "one_classroom_per_name": ("name", gettext_lazy("Cette école a déjà une classe de ce nom cette année-là.")),
    }

    def label_for(self, obj: Classroom) -> str:
        return f"{obj.school} – {obj.label}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Classroom]:
        return super().get_queryset(request).annotate(pupil_total=Count("pupils"))

    def get_readonly_fields(self, request: HttpRequest, obj: Classroom | None = None) -> list[str]:
        return ["school", "school_year"] if obj else []  # its pupils and closures are that school's, that year

    def get_fields(self, request: HttpRequest, obj: Classroom | None = None) -> Any:
        return ["school", "school_year" if obj else "year", "name", "levels"]

    @admin.display(description=gettext_lazy("école"), ordering="school__name")
    def school_name(self, obj: Classroom) -> str:
        return f"{obj.school.commune} – {obj.school}"

    @admin.display(description=gettext_lazy("année scolaire"), ordering="year")
    def school_year(self, obj: Classroom) -> str:
        return f"{obj.year}-{obj.year + 1}"

    @admin.display(description=gettext_lazy("niveaux"))
    def level_names(self, obj: Classroom) -> str:
        return classes(obj.levels)

    @admin.display(description=gettext_lazy("élèves"), ordering="pupil_total")
    def pupil_count(self, obj: Any) -> int:
        count: int = obj.pupil_total
        return count
