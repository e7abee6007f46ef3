from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.details import BirthDateField, PersonNameField
from families.models import Filiation


class FiliationForm(forms.Form):
    """« Ajouter un bénéficiaire »: nom, prénom, date de naissance, type de filiation."""

    last_name = PersonNameField(label=_("Nom du bénéficiaire"), widget=forms.TextInput(attrs={"autocomplete": "off"}))
    first_name = PersonNameField(
        label=_("Prénom du bénéficiaire"), widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    birth_date = BirthDateField(label=_("Date de naissance"), help_text=_("Par exemple\u00a0: 10 5 2018."))
    kind = forms.ChoiceField(
        label=_("Type de filiation"),
        choices=[("", _("Choisissez")), *Filiation.Kind.choices],
        help_text=_("Ce que vous êtes pour cette personne."),
    )

    @classmethod
    def of(cls, filiation: Filiation, data: Any = None) -> "FiliationForm":
        person = filiation.beneficiary
        initial = {
            "last_name": person.last_name,
            "first_name": person.first_name,
            "birth_date": person.birth_date,
            "kind": filiation.kind,
        }
        return cls(data, initial=initial)
