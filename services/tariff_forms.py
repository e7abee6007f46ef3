"""A grid's form, and its fares' forms: bands and dates as people write them, the last one included."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget
from django.core.exceptions import ValidationError
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ScopedForm, ScopedFormSet
from portal.common.formats import euros
from services.admin_forms import day_box
from services.grids import faults, overlapping_grid
from services.models import Slot, Tariff, TariffGrid

ONE_DAY = dt.timedelta(days=1)


class TariffGridForm(ScopedForm):
    """A range with its last day included: `2026-09-01 … 2027-08-31` is stored as [2026-09-01, 2027-09-01)."""

    first_day = forms.DateField(label=gettext_lazy("Valable du"), widget=AdminDateWidget)
    last_day = forms.DateField(
        label=gettext_lazy("au (inclus)"),
        widget=AdminDateWidget,
        required=False,
        help_text=gettext_lazy("Vide\u00a0: sans date de fin."),
    )

    class Meta:
        model = TariffGrid
        fields = ["service", "name", "decision", "decision_date", "rank_basis"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("decision", "decision_date"):
            if name in self.fields:
                self.fields[name].required = True
        valid = self.instance.valid
        if valid:
            self.initial.setdefault("first_day", valid.lower)
            self.initial.setdefault("last_day", valid.upper and valid.upper - ONE_DAY)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        first, last = data.get("first_day"), data.get("last_day")
        if first and last and last < first:
            self.add_error("last_day", _("Le dernier jour est avant le premier."))
        elif first:
            self.instance.valid = DateRange(first, last + ONE_DAY if last else None, "[)")
            self._check_dates()
        return data

    def _check_dates(self) -> None:
        """Dates that would put two fares over one another are named here; the database refuses them on saving."""
        if self.instance.pk is None:
            return
        rival = overlapping_grid(self.instance)
        if rival is not None:
            self.add_error(
                "first_day",
                _("La grille «\u00a0%s\u00a0» a déjà ces tarifs pendant ces dates\u00a0: terminez-la d’abord.")
                % rival.name,
            )


class CarryForm(forms.Form):
    """From when on a grid is carried over, what the new one is called, and who decided it."""

    name = forms.CharField(label=gettext_lazy("Nom de la nouvelle grille"), max_length=80)
    first = forms.DateField(label=gettext_lazy("À partir du"), widget=day_box())
    decision = forms.CharField(label=gettext_lazy("Délibération n°"), max_length=80)
    decision_date = forms.DateField(label=gettext_lazy("Délibération du"), widget=day_box())


class BandWidget(forms.MultiWidget):
    """Two boxes, both included: from … to …, empty for no limit."""

    def __init__(self, label: str) -> None:
        first = forms.NumberInput(
            attrs={"min": 0, "aria-label": _("%s, à partir de") % label, "placeholder": _("de"), "class": "band"}
        )
        last = forms.NumberInput(
            attrs={"min": 0, "aria-label": _("%s, jusqu’à (inclus)") % label, "placeholder": _("à"), "class": "band"}
        )
        super().__init__({"from": first, "to": last})

    def decompress(self, value: NumericRange | None) -> list[int | None]:
        if value is None:
            return [None, None]
        return [value.lower, None if value.upper is None else value.upper - 1]


class BandField(forms.MultiValueField):
    """A band of integers as people write it, `0` to `1000` included, stored with its upper bound excluded."""

    def __init__(self, label: Any, first: int = 0) -> None:
        self.first = first
        boxes = [forms.IntegerField(min_value=first, max_value=1_000_000, required=False) for _box in range(2)]
        super().__init__(
            boxes,
            label=label,
            widget=BandWidget(str(label)),
            required=False,
            require_all_fields=False,
        )

    def compress(self, values: list[int | None]) -> NumericRange:
        first, last = values or (None, None)
        if first is not None and last is not None and last < first:
            raise ValidationError(
                _("%(last)s est avant %(first)s."), params={"first": first, "last": last}, code="reversed"
            )
        # « From the first on » and « from nowhere on » are the same band.
        return NumericRange(None if first == self.first else first, None if last is None else last + 1)


class TariffForm(ScopedForm):
    rank = BandField(gettext_lazy("Rang"), first=1)
    quotient = BandField(gettext_lazy("Quotient familial"))
    age = BandField(gettext_lazy("Âge"))
    percent = forms.DecimalField(
        label=gettext_lazy("Taux d’effort, en %"),
        max_digits=6,
        decimal_places=4,
        min_value=0,
        required=False,
        localize=True,
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "size": 6, "aria-label": gettext_lazy("Taux d’effort, en %")}
        ),
    )

    class Meta:
        model = Tariff
        fields = ["slot", "profile", "price", "floor", "ceiling"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("rank", "quotient", "age"):
            self.initial.setdefault(name, getattr(self.instance, name))
        if self.instance.rate is not None:
            self.initial.setdefault("percent", (self.instance.rate * 100).normalize())

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        for name in ("rank", "quotient", "age"):
            if name in data:
                setattr(self.instance, name, data[name])
        percent = data.get("percent")
        self.instance.rate = None if percent is None else percent / 100
        share = (percent, data.get("floor"), data.get("ceiling"))
        if data.get("price") is None and "price" not in self.errors and None in share:
            self.add_error("price", _("Écrivez un prix, ou un taux d’effort avec son plancher et son plafond."))
        elif data.get("price") is not None and share != (None, None, None):
            self.add_error("price", _("Écrivez un prix ou un taux d’effort, pas les deux."))
        self._check_cost(data)
        return data

    def _check_cost(self, data: dict[str, Any]) -> None:
        """The database refuses it too; here the amounts are said."""
        slot, dearest = data.get("slot"), data.get("price") if data.get("price") is not None else data.get("ceiling")
        if slot and slot.cost_per_user is not None and dearest is not None and dearest > slot.cost_per_user:
            self.add_error(
                "price",
                _(
                    "%(price)s dépasse le coût par usager que la commune a déclaré pour «\u00a0%(slot)s\u00a0» (%(cost)s)."
                )
                % {"price": euros(dearest), "slot": slot, "cost": euros(slot.cost_per_user)},
            )


class TariffFormSet(ScopedFormSet):
    """All fares of a grid at once: it is saved whole, without a gap or an overlap, or not at all."""

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        kept = [form for form in self.forms if form not in self.deleted_forms]
        rows = [form.instance for form in kept if form.has_changed() or form.instance.pk]
        slots = Slot.objects.filter(pk__in={row.slot_id for row in rows})
        limits = slots.values_list("pk", "activity__min_age", "activity__max_age")
        ages = {key: (low, high) for key, low, high in limits}
        found = faults(rows, rank_basis=self.instance.rank_basis, ages=ages)
        if found:
            raise ValidationError(found, code="not_whole")
