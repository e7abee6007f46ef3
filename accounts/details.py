"""What a person tells of themselves: the fields of the first step of signing up, and of « Mes informations personnelles »."""

import datetime as dt
import unicodedata
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune, User, phone_number
from portal.common.formats import today
from portal.common.forms import DateField, DateParts

OUTSIDE = "hors"
OLDEST = 120  # years


class PersonNameField(forms.CharField):
    """A first or last name: letters of any language, spaces, hyphens, apostrophes and dots.

    Nothing else, because names are repeated in e-mails to people who may not have typed them: an address of a web
    site in a first name would turn the platform into a relay for advertising.
    """

    default_error_messages = {
        "letters": _(
            "«\u00a0%(name)s\u00a0» contient autre chose que des lettres, des espaces, des tirets et des apostrophes."
        ),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=80, **kwargs)

    def to_python(self, value: Any) -> str:
        return " ".join(unicodedata.normalize("NFC", super().to_python(value) or "").replace("'", "’").split())

    def validate(self, value: str) -> None:
        super().validate(value)
        letters = [c for c in value if c.isalpha()]
        others = [c for c in value if not (c.isalpha() or unicodedata.category(c)[0] == "M" or c in " -’.")]
        if value and (others or not letters):
            raise ValidationError(self.error_messages["letters"], code="letters", params={"name": value})


class BirthDateField(DateField):
    """A date of birth: in the past, and of somebody who can be alive."""

    default_error_messages = {
        "future": _("La date de naissance est dans l’avenir\u00a0: vérifiez l’année."),
        "ancient": _("La date de naissance remonte à plus de %(years)d ans\u00a0: vérifiez l’année."),
    }

    def validate(self, value: dt.date | None) -> None:
        super().validate(value)
        if value is None:
            return
        if value > today():
            raise ValidationError(self.error_messages["future"], code="future")
        if value.year < today().year - OLDEST:
            raise ValidationError(self.error_messages["ancient"], code="ancient", params={"years": OLDEST})


class ResidenceField(forms.ChoiceField):
    """A commune of the agglomération, or « J’habite hors de l’agglomération », which is None once cleaned."""

    def load(self) -> None:
        """Read the communes, once for each form; its __init__ calls this."""
        self.choices = [
            ("", _("Choisissez votre commune")),
            (OUTSIDE, _("J’habite hors de l’agglomération")),
            *((str(commune.pk), commune.name) for commune in Commune.objects.only("name")),
        ]

    def clean(self, value: Any) -> Commune | None:
        key = super().clean(value)
        return None if key in ("", OUTSIDE) else Commune.objects.get(pk=key)


class DetailsForm(forms.Form):
    """Civilité, name, date of birth, telephone, commune, newsletter, company."""

    title = forms.ChoiceField(
        label=_("Civilité"),
        choices=User.Title.choices,
        required=False,
        widget=forms.RadioSelect(attrs={"autocomplete": "honorific-prefix"}),
    )
    first_name = PersonNameField(label=_("Prénom"), widget=forms.TextInput(attrs={"autocomplete": "given-name"}))
    last_name = PersonNameField(label=_("Nom"), widget=forms.TextInput(attrs={"autocomplete": "family-name"}))
    birth_date = BirthDateField(
        label=_("Date de naissance"),
        required=False,
        help_text=_("Par exemple\u00a0: 10 5 1985."),
        widget=DateParts(attrs={"autocomplete": "bday"}),
    )
    phone = forms.CharField(
        label=_("Téléphone"),
        max_length=20,
        validators=[phone_number],
        help_text=_("Pour que la mairie puisse vous joindre, par exemple 06 12 34 56 78."),
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
    )
    commune = ResidenceField(label=_("Commune de résidence"), help_text=_("Elle validera votre compte."))
    is_company = forms.BooleanField(label=_("Je suis une société"), required=False)
    company = forms.CharField(
        label=_("Nom de la société"),
        max_length=120,
        required=False,
        help_text=_("Seulement si vous réservez pour une société ou une association."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    newsletter = forms.BooleanField(label=_("S’inscrire à la newsletter"), required=False)
    partner_offers = forms.BooleanField(label=_("Recevoir les offres spéciales de nos partenaires"), required=False)

    # What `details()` hands over: the names of User's fields.
    detail_fields: tuple[str, ...] = (
        "title",
        "first_name",
        "last_name",
        "birth_date",
        "phone",
        "company",
        "newsletter",
        "partner_offers",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(ResidenceField, self.fields["commune"]).load()

    def clean_phone(self) -> str:
        return " ".join(self.cleaned_data["phone"].split())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        company = " ".join(cleaned.get("company", "").split())
        if cleaned.get("is_company") and not company and "company" not in self.errors:
            self.add_error("company", _("Indiquez le nom de la société, ou décochez « Je suis une société »."))
        cleaned["company"] = company if cleaned.get("is_company") else ""
        return cleaned

    def details(self) -> dict[str, Any]:
        """The cleaned values that are plain fields of the account."""
        return {name: self.cleaned_data[name] for name in self.detail_fields}
