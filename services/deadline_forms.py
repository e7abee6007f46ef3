"""The form of a deadline: each rule asks for what it reads, and what the database would refuse is said first."""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.admin_base import ScopedForm
from portal.common.formats import WEEKDAYS
from services.models import MINUTES_OF_DAY, Deadline


class LimitWidget(forms.MultiWidget):
    """A weekday and an hour, stored as minutes since Monday, for the days booked on one weekday."""

    def __init__(self, booked: str, attrs: dict[str, Any] | None = None) -> None:
        weekdays = [("", "–"), *enumerate(WEEKDAYS)]
        # The label of the field stands for the first box only.
        day = forms.Select(choices=weekdays, attrs={"aria-label": _("Jour de la limite pour le %s") % booked})
        labelled = {"type": "time", "aria-label": _("Heure de la limite pour le %s") % booked}
        super().__init__({"weekday": day, "time": forms.TimeInput(attrs=labelled, format="%H:%M")}, attrs)

    def decompress(self, value: int | None) -> list[Any]:
        if value is None:
            return [None, None]
        weekday, minutes = divmod(value, MINUTES_OF_DAY)
        return [weekday, dt.time(*divmod(minutes, 60))]


class LimitField(forms.MultiValueField):
    """The limit of one weekday, as LimitWidget shows it: nothing, or both of its parts."""

    def __init__(self, number: int) -> None:
        weekday = forms.TypedChoiceField(choices=[("", "–"), *enumerate(WEEKDAYS)], coerce=int, required=False)
        super().__init__(
            [weekday, forms.TimeField(required=False)],
            label=_("Pour le %s") % WEEKDAYS[number],
            widget=LimitWidget(WEEKDAYS[number]),
            required=False,
            require_all_fields=False,
        )

    def compress(self, values: list[Any]) -> int | None:
        weekday, time = values or ("", None)
        if weekday in ("", None) and time is None:
            return None
        if weekday in ("", None) or time is None:
            raise ValidationError(_("Choisissez le jour et l’heure, ou ni l’un ni l’autre."), code="half")
        return int(weekday) * MINUTES_OF_DAY + time.hour * 60 + time.minute


class DeadlineForm(ScopedForm):
    """A rule for one basis: what another basis would read is left empty, whatever the boxes hold."""

    class Meta:
        model = Deadline
        exclude = ["weekday_limits"]

    LIMITS = [f"limit_{number}" for number in range(7)]
    limit_0 = LimitField(0)
    limit_1 = LimitField(1)
    limit_2 = LimitField(2)
    limit_3 = LimitField(3)
    limit_4 = LimitField(4)
    limit_5 = LimitField(5)
    limit_6 = LimitField(6)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, minutes in zip(self.LIMITS, self.instance.weekday_limits or [None] * 7, strict=True):
            self.initial.setdefault(name, minutes)
        for name in ("free_times", "free_period"):  # of no meaning without a surcharge
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        basis = data.get("basis")
        if basis == Deadline.Basis.WEEKDAYS:
            limits = [data.get(name) for name in self.LIMITS]
            self.instance.weekday_limits = limits
            if not any(minutes is not None for minutes in limits) and not self.errors:
                self.add_error("limit_0", _("Fixez la limite d’au moins un jour."))
        else:
            self.instance.weekday_limits = None
        if basis != Deadline.Basis.WEEK:
            data["weekday"] = None
        elif data.get("weekday") is None:
            self.add_error("weekday", _("Choisissez le jour de la semaine précédente."))
        self._check_late(data)
        return data

    def _check_late(self, data: dict[str, Any]) -> None:
        late, surcharge, amount = data.get("late"), data.get("surcharge"), data.get("surcharge_amount")
        data["free_times"] = data.get("free_times") or 0
        data["free_period"] = data.get("free_period") or Deadline.Period.MONTH
        if not surcharge:
            data["surcharge_amount"], data["free_times"] = None, 0
        elif late is None:
            self.add_error("late", _("Choisissez jusqu’à quand on peut réserver tardivement, ou aucune majoration."))
        elif amount is None and "surcharge_amount" not in self.errors:
            self.add_error("surcharge_amount", _("Écrivez le montant de la majoration, comme 1,00."))
        if late is not None and late.pk == self.instance.pk:
            self.add_error("late", _("Choisissez un autre délai que celui-ci."))
