"""The form of a deadline: each rule asks for what it reads, and what the database would refuse is said first."""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ScopedForm
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, today
from services.deadline_preview import Preview, preview
from services.deadlines import check
from services.models import MINUTES_OF_DAY, Activity, Deadline, Service
from services.school_calendar import SchoolCalendar, end_of_next_school_year

OTHER_COMMUNE = gettext_lazy("Ce délai est celui d’une autre commune\u00a0: choisissez-en un autre.")
ONE_LIMIT = gettext_lazy(
    "Ce délai a une réservation tardive, et une annulation n’a qu’une limite\u00a0: choisissez-en un autre."
)


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

    for_operator = False
    # « Aperçu »: the form is read and shown again, and nothing is written.
    previewing = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "late" in self.fields:
            late: Any = self.fields["late"]
            late.queryset = late.queryset.filter(late=None).exclude(pk=self.instance.pk)
            late.error_messages["invalid_choice"] = _(
                "Choisissez un autre délai que celui-ci, et sans réservation tardive à son tour."
            )
        if "commune" in self.fields and not self.for_operator:
            commune: Any = self.fields["commune"]
            commune.required, commune.help_text = True, ""
            if commune.queryset.count() == 1:
                commune.empty_label, self.initial["commune"] = None, commune.queryset.get().pk
        for name, minutes in zip(self.LIMITS, self.instance.weekday_limits or [None] * 7, strict=True):
            self.initial.setdefault(name, minutes)
        for name in {"free_times", "free_period"} & set(self.fields):  # of no meaning without a surcharge
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

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors:
            self._check_moments()

    def _check_moments(self) -> None:
        """The rule over the days to come, alone and as the second limit of others."""
        rule, first = self.instance, today()
        last = end_of_next_school_year(first)
        calendar = SchoolCalendar.around(first, last)
        others = list(Deadline.objects.filter(late=rule.pk)) if rule.pk else []
        if rule.late is not None and others:
            self.add_error(
                "late",
                _("«\u00a0%s\u00a0» a déjà ce délai pour réservation tardive\u00a0: il n’en a pas à son tour.")
                % others[0],
            )
        if rule.late is not None and rule.pk and (user := _cancelled_until(rule)):
            self.add_error(
                "late",
                _(
                    "«\u00a0%s\u00a0» s’en sert pour annuler, et une annulation n’a qu’une limite\u00a0: laissez cette case vide, "
                    "ou faites un autre délai."
                )
                % user,
            )
        for other in [rule, *others]:
            if other is not rule:
                other.late = rule
            try:
                check(other, first=first, last=last, calendar=calendar)
            except Refused as refusal:
                field = "opens_weeks" if refusal.code == "opens_too_late" else "late"
                words = str(refusal)
                if other is not rule:
                    field, words = "", _("Il est la réservation tardive de «\u00a0%(rule)s\u00a0». %(why)s") % {
                        "rule": other, "why": refusal,
                    }  # fmt: skip
                self.add_error(field or None, ValidationError(words, code=refusal.code))

    def is_valid(self) -> bool:
        """Never while it is only looked at: whoever asks would save it."""
        return super().is_valid() and not self.previewing

    @property
    def shows(self) -> Preview | None:
        """What the rule says as it is in the boxes; None while there are mistakes, or nothing yet."""
        known = not self.errors if self.is_bound else bool(self.instance.pk)
        return preview(self.instance) if known else None


def _cancelled_until(rule: Deadline) -> Service | Activity | None:
    named = {"cancel_deadline": rule}
    return Service.objects.filter(**named).first() or Activity.objects.filter(**named).first()


def fitting_rules(form: forms.ModelForm, *, service: Service | None) -> None:
    """Offer the rules of the service's commune (not known yet: all in reach), for cancelling only those of one limit."""
    for name in ("booking_deadline", "cancel_deadline"):
        field: Any = form.fields.get(name)
        if field is None:
            continue
        if service is not None:
            field.queryset = field.queryset.offered_to(service.commune_id)
            field.error_messages["invalid_choice"] = OTHER_COMMUNE
        if name == "cancel_deadline":
            field.queryset = field.queryset.filter(late=None)
            field.error_messages["invalid_choice"] = ONE_LIMIT
