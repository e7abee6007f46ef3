"""Forms of the calendar: periods with their weekdays as boxes, days by hand, the reason of a closed day."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ScopedForm, ScopedFormSet
from portal.common.formats import WEEKDAYS
from services.deadlines import moment_for, opening_for
from services.models import Activity, ActivityPeriod, OpenDay
from services.school_calendar import SchoolCalendar

SPOKEN = gettext_lazy(
    "Les jours d’ouverture sont ceux des périodes ci-dessous. Quand une date est dans plusieurs périodes, seule la plus "
    "précise compte\u00a0: des dates choisies, puis des vacances choisies, puis semaines d’école, petites vacances ou été, "
    "puis toutes les vacances, puis toute l’année. Une période sans jour coché est fermée."
)


class ActivityPeriodForm(ScopedForm):
    """A period of one kind: the holidays or the dates of another kind are left empty, whatever the boxes hold."""

    TWICE = gettext_lazy(
        "Une autre période de la même sorte a déjà l’un de ces jours\u00a0: un jour n’est coché que dans une seule."
    )
    # The names of the school holidays, read once for all rows of a page.
    holidays: Collection[str] = ()
    holiday = forms.ChoiceField(label=gettext_lazy("Vacances"), required=False)
    weekdays = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Jours d’ouverture"),
        choices=[(number, f"{name[:3]}.") for number, name in enumerate(WEEKDAYS)],
        coerce=int,
        empty_value=[],
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "weekdays"}),
    )

    class Meta:
        model = ActivityPeriod
        fields = ["kind", "holiday", "first_day", "last_day", "weekdays", "capacity"]
        # The browser's own calendars, which need no room beside their boxes.
        widgets = {
            name: forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d") for name in ("first_day", "last_day")
        }
        help_texts = {"capacity": gettext_lazy("Vide\u00a0: celles de l’activité.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = {*self.holidays, self.instance.holiday} - {""}
        field: Any = self.fields["holiday"]
        field.choices = [("", "–"), *((name, name) for name in sorted(names))]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        kind = data.get("kind")
        if kind != ActivityPeriod.Kind.NAMED:
            data["holiday"] = ""
        elif not data.get("holiday") and "holiday" not in self.errors:
            self.add_error("holiday", _("Choisissez les vacances."))
        first, last = data.get("first_day"), data.get("last_day")
        if kind != ActivityPeriod.Kind.DATES:
            data["first_day"] = data["last_day"] = None
        elif not {"first_day", "last_day"} & set(self.errors):
            if first is None:
                self.add_error("first_day", _("Écrivez le premier jour."))
            elif last is None:
                self.add_error("last_day", _("Écrivez le dernier jour (inclus)."))
            elif last < first:
                self.add_error("last_day", _("Le dernier jour est avant le premier."))
        return data


class ActivityPeriodFormSet(ScopedFormSet):
    """The periods of an activity, of which no two of one kind share a weekday."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        # A cell's box has only its column's head for a label: say it to those who do not see the column.
        for name, field in form.fields.items():
            if name == "holiday":
                field.widget.attrs["aria-label"] = field.label

    def clean(self) -> None:
        super().clean()
        read: list[ActivityPeriod] = []
        for form in self.forms:
            if form.errors or form in self.deleted_forms or not (form.instance.pk or form.has_changed()):
                continue
            if any(form.instance.clashes(other) for other in read):
                form.add_error("weekdays", ValidationError(ActivityPeriodForm.TWICE, code="one_period_per_weekday"))
            read.append(form.instance)


class OpenDayForm(ScopedForm):
    BOOKED = gettext_lazy(
        "Des places sont prises ce jour-là\u00a0: fermez-le par «\u00a0Fermetures\u00a0», qui dit qui est touché, prévient les "
        "familles et les rembourse."
    )

    class Meta:
        model = OpenDay
        exclude = ["taken"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("book_until", "cancel_until"):
            if name in self.fields:
                self.fields[name].required = False
                self.fields[name].help_text = _("Vide\u00a0: selon le délai de l’activité.")

    def clean_capacity(self) -> int:
        capacity: int = self.cleaned_data["capacity"]
        taken = self.instance.taken
        if capacity < taken:
            raise ValidationError(
                ngettext(
                    "%d place est déjà prise ce jour-là\u00a0: la capacité ne peut pas descendre en dessous.",
                    "%d places sont déjà prises ce jour-là\u00a0: la capacité ne peut pas descendre en dessous.",
                    taken,
                )
                % taken,
                code="oversold",
            )
        return capacity

    def clean_is_open(self) -> bool:
        is_open: bool = self.cleaned_data["is_open"]
        if not is_open and self.instance.pk and self.initial.get("is_open") and self.instance.taken:
            raise ValidationError(self.BOOKED, code="booked")
        return is_open

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        activity = data.get("activity") or (self.instance.activity if self.instance.activity_id else None)
        if activity and activity.kind != Activity.Kind.CALENDAR:
            self.add_error("activity", _("Cette activité vend des billets\u00a0: elle n’a pas de calendrier."))
        date = data.get("date") or self.instance.date
        if activity and date:
            calendar = SchoolCalendar.around(date, date)
            if "book_from" in self.fields and not data.get("book_from"):
                data["book_from"] = opening_for(activity.booking_rule, date, calendar=calendar)
            for name, deadline in (
                ("book_until", activity.booking_rule),
                ("cancel_until", activity.cancel_rule),
            ):
                if name in self.fields and name not in self.errors and not data.get(name):
                    data[name] = moment_for(deadline, date, calendar=calendar)
        return data


class ClosingForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif de fermeture"),
        help_text=gettext_lazy("Les parents le liront dans le calendrier."),
        max_length=120,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez pourquoi ces jours sont fermés\u00a0: les parents le liront.")
        },
    )
