"""The catalogue's forms: weekdays as boxes, dates as people say them, rules that the database would refuse said first."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget
from django.core.exceptions import ValidationError
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ScopedForm
from portal.common.formats import WEEKDAYS, today
from services.calendars import end_of_next_school_year, public_holidays
from services.deadlines import moment_for
from services.models import Activity, OpenDay, Service, Tariff

ONE_DAY = dt.timedelta(days=1)
MOST_DAYS = dt.timedelta(days=3 * 366)

PAGE_ADDRESS = {"slug": gettext_lazy("Adresse de la page")}


class ServiceForm(ScopedForm):
    """An agent's service belongs to one of their communes; only an operator leaves it to the agglomération."""

    class Meta:
        model = Service
        fields = ["commune", "category", "name", "slug", "description", "contact", "is_active"]
        labels = PAGE_ADDRESS

    for_operator = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "commune" in self.fields and not self.for_operator:
            commune: Any = self.fields["commune"]
            commune.required, commune.help_text = True, ""
            if commune.queryset.count() == 1:
                commune.empty_label = None


class ActivityForm(ScopedForm):
    weekdays = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Jours d’ouverture"),
        choices=[(number, name.capitalize()) for number, name in enumerate(WEEKDAYS)],
        coerce=int,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Cochez au moins un jour.")},
    )

    class Meta:
        model = Activity
        exclude: list[str] = []
        labels = PAGE_ADDRESS


class TariffForm(ScopedForm):
    """A range with its last day included: `2026-09-01 … 2027-08-31` is stored as [2026-09-01, 2027-09-01)."""

    first_day = forms.DateField(label=gettext_lazy("Valable du"), widget=AdminDateWidget)
    last_day = forms.DateField(
        label=gettext_lazy("au (inclus)"),
        widget=AdminDateWidget,
        required=False,
        help_text=gettext_lazy("Vide\u00a0: sans date de fin."),
    )

    class Meta:
        model = Tariff
        fields = ["slot", "profile", "price", "decision"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        valid = self.instance.valid
        if valid:
            self.initial.setdefault("first_day", valid.lower)
            self.initial.setdefault("last_day", valid.upper and valid.upper - ONE_DAY)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        slot, profile = data.get("slot"), data.get("profile")
        if slot and profile and slot.activity.service_id != profile.service_id:
            self.add_error("profile", _("Cette situation appartient à un autre service que le type de prestation."))
        first, last = data.get("first_day"), data.get("last_day")
        if first and last and last < first:
            self.add_error("last_day", _("Le dernier jour est avant le premier."))
        elif first:
            # Given to the row before its constraints are checked: two prices may not overlap.
            self.instance.valid = DateRange(first, last + ONE_DAY if last else None, "[)")
        return data

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"valid"} if self.instance.valid else excluded


class OpenDayForm(ScopedForm):
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

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        activity = data.get("activity") or (self.instance.activity if self.instance.activity_id else None)
        date = data.get("date") or self.instance.date
        if activity and date:
            off = public_holidays(date - dt.timedelta(days=90), date)
            for name, deadline in (
                ("book_until", activity.booking_deadline),
                ("cancel_until", activity.cancel_deadline),
            ):
                if name in self.fields and name not in self.errors and not data.get(name):
                    data[name] = moment_for(deadline, date, public_holidays=off)
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
