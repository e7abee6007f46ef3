"""How every form of the site is drawn and read: the renderer, its bound field, and the date in three boxes."""

import datetime
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField as DjangoBoundField
from django.forms.boundfield import BoundWidget
from django.forms.renderers import TemplatesSetting
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from portal.common import formats
from portal.common.money import is_number, plain_amount


class BoundField(DjangoBoundField):
    """What the field template needs beyond Django's own: where an error link lands, and which fields may stay empty."""

    def __init__(self, form: forms.BaseForm, field: forms.Field, name: str) -> None:
        super().__init__(form, field, name)
        # « Ce champ est obligatoire. » says nothing in a summary on top of the page: name the field instead. The
        # field is the form's own copy, so nothing leaks to the class.
        if field.required and field.error_messages.get("required") == forms.Field.default_error_messages["required"]:
            sentence = _("Cochez «\u00a0%s\u00a0».") if self.is_single_checkbox else _("Renseignez «\u00a0%s\u00a0».")
            field.error_messages["required"] = sentence % self.label

    @property
    def error_target(self) -> str:
        """The id an error summary links to: the first control, since a group's own box cannot take the focus."""
        if not self.auto_id:
            return ""
        if hasattr(self.field.widget, "first_control"):
            return self.field.widget.first_control(self.auto_id)
        if self.is_option_group:
            options = [option for _group, options in self.option_groups for option in options]
            return options[0].id_for_label if options else ""
        return self.id_for_label or self.auto_id

    @property
    def is_single_checkbox(self) -> bool:
        return isinstance(self.field.widget, forms.CheckboxInput)

    @property
    def is_option_group(self) -> bool:
        return isinstance(self.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)

    @property
    def says_optional(self) -> bool:
        """Only the exceptions are marked, in words; an unticked box is an answer in itself."""
        return not (self.field.required or self.field.disabled or self.is_single_checkbox)

    @cached_property
    def option_groups(self) -> list[tuple[str | None, list[BoundWidget]]]:
        """The choices as (group name or None, [options]): one query for a model choice, groups kept."""
        widget = self.field.widget
        attrs = self.build_widget_attrs({"id": self.auto_id} if self.auto_id else {})
        context = widget.get_context(self.html_name, self.value(), attrs)
        return [
            (name, [BoundWidget(widget, option, self.form.renderer) for option in options])
            for name, options, _index in context["widget"]["optgroups"]
        ]


class Renderer(TemplatesSetting):
    """Forms are drawn by templates/django/forms/; the admin, which lays out its own fields, is left as it is."""

    form_template_name = "django/forms/form.html"
    formset_template_name = "django/forms/formset.html"
    field_template_name = "django/forms/group.html"
    bound_field_class = BoundField


class SummaryOnPage:
    """Mixin for a form whose page shows `<c-error-summary :form="form" />` itself, above its title."""

    draws_error_summary = False


class AmountField(forms.DecimalField):
    """An amount of euros as people write it, or paste it from one of our pages: `−3,50 €`, `1 234,5`."""

    default_error_messages: ClassVar = {
        "required": _("Écrivez le montant."),
        "invalid": _("Écrivez un montant en euros et centimes, par exemple 10,00."),
        "max_decimal_places": _("Deux chiffres au plus après la virgule."),
        "max_digits": _("Ce montant est trop grand\u00a0: vérifiez-le."),
        "max_whole_digits": _("Ce montant est trop grand\u00a0: vérifiez-le."),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 8, "decimal_places": 2, "localize": True, **options})

    def to_python(self, value: Any) -> Any:
        plain = plain_amount(value) if isinstance(value, str) else value
        if isinstance(plain, str) and plain and not is_number(plain):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(plain)


# --- A date in three boxes -------------------------------------------------------------------------------------------
#
# Not <input type="date">: a birthday is known by heart and quicker typed than found in a picker that opens on today;
# the picker's language and order follow the browser, not the page; and screen readers still disagree about it.


def _month_number(text: str) -> str:
    """« 5 », « 05 », « mai », « déc. » : the number of the month, or the text as it came."""
    plain = formats.sort_key(text).strip(".")
    if len(plain) >= 3 and plain.isalpha():
        found = [n for n, month in enumerate(formats.MONTHS, start=1) if formats.sort_key(month).startswith(plain)]
        if len(found) == 1:
            return str(found[0])
    return text


class DateParts(forms.MultiWidget):
    """Jour, Mois, Année as three text boxes; posts as name_day, name_month, name_year (or one ISO `name`)."""

    template_name = "django/forms/widgets/date_parts.html"
    use_fieldset = True
    parts = (("day", _("Jour"), 2), ("month", _("Mois"), 10), ("year", _("Année"), 4))

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        self.autocomplete = (attrs or {}).get("autocomplete", "")
        super().__init__({part: forms.TextInput for part, _label, _size in self.parts}, attrs)

    def first_control(self, auto_id: str) -> str:
        return f"{auto_id}_0"

    def decompress(self, value: Any) -> list[Any]:
        if isinstance(value, datetime.date):
            return [value.day, value.month, value.year]
        if isinstance(value, str) and value.count("-") == 2:
            return value.split("-")[::-1]
        return ["", "", ""]

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        for (part, label, size), box in zip(self.parts, context["widget"]["subwidgets"], strict=True):
            box["part"], box["label"] = part, label
            if part != "month":  # a month may be typed in letters
                box["attrs"]["inputmode"] = "numeric"
                box["attrs"]["maxlength"] = size
            box["attrs"].pop("autocomplete", None)
            # "bday" on the widget means bday-day, bday-month, bday-year on its boxes.
            if self.autocomplete == "bday":
                box["attrs"]["autocomplete"] = f"bday-{part}"
        return context

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        texts = [str(data.get(f"{name}_{part}") or "").strip().replace("-", "") for part, _label, _size in self.parts]
        if not any(texts):
            return data.get(name) or None
        day, month, year = texts
        return f"{year}-{_month_number(month)}-{day}"

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data and super().value_omitted_from_data(data, files, name)


class DateField(forms.Field):
    """A calendar date whose errors say which box is wrong."""

    widget = DateParts
    default_error_messages: ClassVar = {
        "incomplete": _("La date doit comporter un jour, un mois et une année\u00a0: il manque %(missing)s."),
        "year": _("L’année s’écrit avec quatre chiffres, par exemple 2018."),
        "invalid": _("Cette date n’existe pas au calendrier\u00a0: vérifiez le jour et le mois."),
    }
    missing_words = (_("l’année"), _("le mois"), _("le jour"))

    def to_python(self, value: Any) -> datetime.date | None:
        if value in self.empty_values:
            return None
        if isinstance(value, datetime.datetime):
            return value.date()
        if isinstance(value, datetime.date):
            return value
        parts = str(value).split("-")
        if len(parts) != 3:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        missing = [str(word) for word, part in zip(self.missing_words, parts, strict=True) if not part]
        if missing:
            raise ValidationError(
                self.error_messages["incomplete"],
                code="incomplete",
                params={"missing": formats.enumeration(reversed(missing))},
            )
        if not re.fullmatch(r"[0-9]{4}", parts[0]):
            raise ValidationError(self.error_messages["year"], code="year")
        try:
            return datetime.date(*(int(part) for part in parts))
        except (ValueError, OverflowError) as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, self.to_python(data))
        except ValidationError:
            return True


def offer(form: forms.Form, name: str, choices: Sequence[tuple[str, Any]]) -> None:
    """What a form that is shown now gives to choose from, where it is not the same for everybody."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices = choices


def label_of(form: forms.Form, name: str, value: str) -> str:
    """How a choice of a form is called on the screen."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    return str(dict(field.choices)[value])  # type: ignore[arg-type]
