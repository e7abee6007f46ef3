from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.details import BirthDateField, PersonNameField
from families.models import Filiation
from services.models import Classroom, Level, School


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


class SchoolForm(forms.Form):
    """The school, the class and the year; the page offers this school year and the next."""

    year = forms.TypedChoiceField(label=_("Année scolaire"), coerce=int, widget=forms.RadioSelect)
    school = forms.ModelChoiceField(
        label=_("École"),
        queryset=School.objects.none(),
        empty_label=_("Choisissez"),
        help_text=_("Par commune. Si la vôtre n’y est pas, sa mairie peut l’ajouter."),
    )
    level = forms.ChoiceField(label=_("Niveau"), choices=[("", _("Choisissez")), *Level.choices])
    classroom = forms.ModelChoiceField(
        label=_("Classe"),
        queryset=Classroom.objects.none(),
        required=False,
        empty_label=_("Je ne sais pas"),
        help_text=_("Pour être prévenu quand elle ferme : enseignant absent, sortie…"),
    )

    def __init__(self, *args: Any, years: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        year: Any = self.fields["year"]
        year.choices = [(each, f"{each}-{each + 1}") for each in years]
        school: Any = self.fields["school"]
        school.queryset = School.objects.chosen_from()
        school.label_from_instance = lambda row: f"{row.commune} – {row}"
        rooms = Classroom.objects.chosen_from(years)
        if not rooms:
            del self.fields["classroom"]
            return
        room: Any = self.fields["classroom"]
        room.queryset = rooms
        room.choices = [("", room.empty_label), *_by_school(rooms)]


def _by_school(rooms: Iterable[Classroom]) -> list[tuple[str, list[tuple[int, str]]]]:
    """The classes under the heads of their schools: `Aiguilhe – École du Rocher, 2026-2027`."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rooms:
        head = f"{row.school.commune} – {row.school}, {row.year}-{row.year + 1}"
        found.setdefault(head, []).append((row.pk, row.name))
    return list(found.items())
