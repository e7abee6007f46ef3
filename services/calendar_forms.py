"""Forms of the calendar: periods with their weekdays as boxes, days by hand, the reason of a closed day."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ScopedForm, ScopedFormSet
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, today
from services.models import Activity, ActivityPeriod, OpenDay, Slot
from services.moments import limits_of
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
    # The slots of the activity; without any to choose from the box is not shown.
    offered: Collection[Slot] = ()
    slots = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Prestations"),
        coerce=int,
        empty_value=[],
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "weekdays"}),
        help_text=gettext_lazy("Aucune cochée\u00a0: toutes."),
    )
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
        fields = ["kind", "holiday", "first_day", "last_day", "weekdays", "slots", "capacity"]
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
        slots: Any = self.fields["slots"]
        slots.choices = [(slot.pk, slot.name) for slot in self.offered]

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
        exclude = ["taken", "slot_places"]

    # The slots that the day's page asks places for, by the name of their box.
    slots: Mapping[str, Slot] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("book_until", "cancel_until"):
            if name in self.fields:
                self.fields[name].required = False
                self.fields[name].help_text = _("Vide\u00a0: selon le délai de l’activité.")
        for name, words in (
            ("book_from", _("Vide\u00a0: dès maintenant.")),
            ("late_until", _("Vide\u00a0: pas de réservation tardive ce jour-là.")),
        ):
            if name in self.fields:
                self.fields[name].help_text = (
                    words if self.instance.pk else _("Vide\u00a0: selon le délai de l’activité.")
                )
        for name, slot in self.slots.items():
            if name in self.fields:
                self.initial[name] = self.instance.slot_places.get(str(slot.pk))

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> "type[OpenDayForm]":
        """The form with a box for the places of each slot on that day alone."""
        boxes = {f"slot_{slot.pk}": slot for slot in slots}
        fields: dict[str, Any] = {
            name: forms.IntegerField(
                label=_("Places\u00a0: %s") % slot,
                min_value=0,
                max_value=999999,
                required=False,
                help_text=_("Vide\u00a0: %s. 0\u00a0: pas proposée ce jour-là. Ce qui est déjà réservé le reste.")
                % (_("pas de limite propre") if slot.capacity is None else _("%d, comme toujours") % slot.capacity),
            )
            for name, slot in boxes.items()
        }
        metaclass: Any = type(cls)  # which gathers the boxes
        made: type[OpenDayForm] = metaclass("OpenDayFormOfSlots", (cls,), {**fields, "slots": boxes})
        return made

    def clean_date(self) -> dt.date:
        date: dt.date = self.cleaned_data["date"]
        if date < today():
            raise ValidationError(_("Ce jour est passé\u00a0: choisissez une date à venir."), code="past")
        return date

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
            self._fill_limits(data, activity, date)
        if self.slots:
            told = {str(slot.pk): data.get(name) for name, slot in self.slots.items() if name in self.fields}
            self.instance.slot_places = {key: places for key, places in told.items() if places is not None}
        if self.instance.pk is None and data.get("is_open") and data.get("capacity") == 0:
            self.add_error("capacity", _("Écrivez au moins une place, ou fermez ce jour en disant pourquoi."))
        return data

    def _fill_limits(self, data: dict[str, Any], activity: Activity, date: dt.date) -> None:
        """What is left empty follows the deadlines; of a day that exists, only what it cannot be without."""
        try:
            limits = limits_of(activity, date, calendar=SchoolCalendar.around(date, date))
        except Refused as refusal:
            self.add_error("date" if "date" in self.fields else None, ValidationError(str(refusal), code=refusal.code))
            return
        for name in ("book_until", "cancel_until"):
            if name in self.fields and name not in self.errors and not data.get(name):
                data[name] = getattr(limits, name)
        if self.instance.pk is None:
            for name in ("book_from", "late_until"):
                if name not in self.errors and not data.get(name):
                    data[name] = getattr(limits, name)
        until, late = data.get("book_until"), data.get("late_until")
        if until and late and late <= until and "late_until" not in self.errors:
            if self.instance.pk is None and late == limits.late_until:
                data["late_until"] = None
            else:
                self.add_error("late_until", _("La réservation tardive finit après la limite, ou reste vide."))


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
