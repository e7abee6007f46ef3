"""The catalogue's forms: classes as boxes, dates as people say them, rules that the database would refuse said first."""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ScopedForm
from portal.common.formats import today
from services.deadline_forms import fitting_rules
from services.models import Activity, Level, School, Service
from services.school_calendar import end_of_next_school_year

ONE_DAY = dt.timedelta(days=1)
MOST_DAYS = dt.timedelta(days=3 * 366)

PAGE_ADDRESS = {"slug": gettext_lazy("Adresse de la page")}


class ServiceForm(ScopedForm):
    """An agent's service belongs to one of their communes; only an operator leaves it to the agglomération."""

    class Meta:
        model = Service
        fields = [
            "commune",
            "category",
            "name",
            "slug",
            "description",
            "contact",
            "address",
            "booking_deadline",
            "cancel_deadline",
            "absence_rule",
            "yearly_access",
            "is_active",
        ]
        labels = PAGE_ADDRESS

    for_operator = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fitting_rules(self, service=self.instance if self.instance.pk and not self.for_operator else None)
        if "commune" in self.fields and not self.for_operator:
            commune: Any = self.fields["commune"]
            commune.required, commune.help_text = True, ""
            if commune.queryset.count() == 1:
                commune.empty_label = None


def levels_box(**kwargs: Any) -> forms.TypedMultipleChoiceField:
    """Classes as boxes."""
    return forms.TypedMultipleChoiceField(
        label=gettext_lazy("Niveaux"),
        choices=Level.choices,
        empty_value=[],
        widget=forms.CheckboxSelectMultiple(attrs={"class": "boxes"}),
        **kwargs,
    )


class SchoolForm(ScopedForm):
    levels = levels_box(error_messages={"required": gettext_lazy("Cochez au moins un niveau.")})

    class Meta:
        model = School
        exclude: list[str] = []


class ActivityForm(ScopedForm):
    # Which order a list has, as people say it; an array of priorities in the row.
    waiting_order = forms.ChoiceField(
        label=gettext_lazy("Ordre de la liste d’attente"),
        choices=[
            ("", gettext_lazy("Premier arrivé, premier servi")),
            ("resident", gettext_lazy("Les habitants de la commune d’abord")),
            ("sibling", gettext_lazy("Les frères et sœurs d’un enfant présent d’abord")),
            ("resident,sibling", gettext_lazy("Les habitants, puis les frères et sœurs d’un enfant présent")),
            ("sibling,resident", gettext_lazy("Les frères et sœurs d’un enfant présent, puis les habitants")),
        ],
        required=False,
        help_text=gettext_lazy(
            "À égalité, le premier inscrit passe d’abord. Les parents lisent cette règle\u00a0; la changer ne touche pas les "
            "rangs de ceux qui attendent déjà."
        ),
    )
    levels = levels_box(
        required=False,
        help_text=gettext_lazy("Les élèves de ces niveaux seulement. Aucun coché\u00a0: tous les niveaux."),
    )

    class Meta:
        model = Activity
        exclude: list[str] = []
        labels = PAGE_ADDRESS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fitting_rules(self, service=self.instance.service if self.instance.pk else None)
        self.initial["waiting_order"] = ",".join(self.instance.waiting_order)
        if "schools" in self.fields:
            schools: Any = self.fields["schools"]
            schools.widget = forms.CheckboxSelectMultiple(attrs={"class": "boxes"})
            # Without « Ctrl »: these are boxes.
            schools.help_text = str(Activity._meta.get_field("schools").help_text)
            schools.label_from_instance = lambda school: f"{school.commune} – {school}"
            schools.queryset = schools.queryset.select_related("commune").order_by("commune__name_key", "name")
            commune = self.instance.service.commune_id if self.instance.pk else None
            if commune:  # those of an activity of the agglomération are chosen among all
                schools.queryset = schools.queryset.filter(
                    Q(commune=commune) | Q(pk__in=self.instance.schools.values("pk"))
                )

    def clean_waiting_order(self) -> list[str]:
        chosen: str = self.cleaned_data["waiting_order"]
        return chosen.split(",") if chosen else []

    def clean(self) -> dict[str, Any]:
        """A calendar has places, entries have no stock, a rental has one."""
        data = super().clean() or self.cleaned_data
        kind = data.get("kind") or self.instance.kind
        if kind == Activity.Kind.CALENDAR and "capacity" not in self.errors and data.get("capacity") is None:
            self.add_error("capacity", _("Écrivez combien de places il y a chaque jour."))
        if kind == Activity.Kind.TICKET and data.get("capacity") is not None:
            self.add_error("capacity", _("Des entrées ne sont pas comptées en stock\u00a0: laissez cette case vide."))
        return data


def day_box() -> forms.DateInput:
    """The browser's own calendar, which needs no script of ours."""
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class PeriodForm(forms.Form):
    """Between which dates a calendar is generated; what is left empty is from today to the end of the next school year."""

    du = forms.DateField(label=gettext_lazy("Du"), required=False, widget=day_box())
    au = forms.DateField(label=gettext_lazy("au (inclus)"), required=False, widget=day_box())

    def clean_du(self) -> dt.date:
        first: dt.date = self.cleaned_data["du"] or today()
        if first < today():
            raise ValidationError(_("Choisissez un premier jour à partir d’aujourd’hui."), code="past")
        return first

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        first = data.get("du")
        if first and "au" not in self.errors:
            last = data["au"] = data.get("au") or end_of_next_school_year(first)
            if last < first:
                self.add_error("au", _("Le dernier jour est avant le premier."))
            elif last > first + MOST_DAYS:
                self.add_error("au", _("Choisissez trois ans au plus."))
        return data
