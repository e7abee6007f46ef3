"""What the page of a ticket or pass sends: a formula, for whom, how many, from when, at which stop. Never a price."""

import itertools
from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _

from bookings.tickets.actions import MOST_TICKETS, Wish
from families.models import Beneficiary
from portal.common.forms import DateField, SummaryOnPage
from services.formulas import SCHOOL_YEAR
from services.models import Activity, BusStop, Slot, Subscription


class TicketForm(SummaryOnPage, forms.Form):
    """Only what the activity asks: entries have a number, a pass has a first day, a bus has a stop."""

    def __init__(
        self,
        data: QueryDict | None,
        *,
        activity: Activity,
        slots: Sequence[Slot],
        people: Sequence[Beneficiary],
        accesses: Sequence[Subscription],
        stops: Sequence[BusStop],
    ) -> None:
        super().__init__(data)
        self.stops = {str(row.pk): row for row in stops}
        self.fields["profile"] = forms.ChoiceField(
            label=_("Votre situation"), choices=[(str(row.pk), str(row.profile)) for row in accesses], required=False
        )
        self.fields["slot"] = forms.ChoiceField(
            label=_("Formule"),
            choices=[(str(row.pk), row.name) for row in slots],
            widget=forms.RadioSelect,
            error_messages={
                "required": _("Choisissez une formule."),
                "invalid_choice": _("Cette formule n’est pas proposée ici : choisissez-en une autre."),
            },
        )
        self.fields["people"] = forms.MultipleChoiceField(
            label=_("Bénéficiaire"),
            choices=[(str(row.pk), str(row)) for row in people],
            widget=forms.CheckboxSelectMultiple,
            error_messages={
                "required": _("Choisissez au moins un bénéficiaire."),
                "invalid_choice": _("Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
            },
        )
        if stops:
            self.fields["stop"] = forms.ChoiceField(
                label=_("Arrêt"),
                choices=[("", _("Choisissez votre arrêt")), *_by_line(stops)],
                error_messages={
                    "required": _("Choisissez l’arrêt où le car s’arrêtera."),
                    "invalid_choice": _("Cet arrêt n’est plus desservi : choisissez-en un autre."),
                },
            )
        if activity.kind == Activity.Kind.TICKET:
            self.fields["quantity"] = forms.TypedChoiceField(
                label=_("Combien pour chacun"),
                choices=[(str(number), str(number)) for number in range(1, MOST_TICKETS + 1)],
                coerce=int,
                initial="1",
                error_messages={"invalid_choice": _("Choisissez un nombre de la liste.")},
            )
        elif any(slot.validity_unit != SCHOOL_YEAR for slot in slots):
            self.fields["first_day"] = DateField(
                label=_("Premier jour"), help_text=_("Le billet est valable à partir de ce jour.")
            )

    def sent(self, data: QueryDict) -> dict[str, Any]:
        """What was typed so far, for a page that shows it again unchecked."""
        return {
            name: field.widget.value_from_datadict(data, MultiValueDict(), name)
            for name, field in self.fields.items()
            if not field.widget.value_omitted_from_data(data, MultiValueDict(), name)
        }

    @property
    def wish(self) -> Wish:
        """What a valid form asks for."""
        data = self.cleaned_data
        return Wish(
            people={int(person) for person in data["people"]},
            quantity=data.get("quantity", 1),
            first_day=data.get("first_day"),
            stop=self.stops.get(data.get("stop", "")),
        )


def _by_line(stops: Sequence[BusStop]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The stops under their lines, with the times at which the bus passes."""
    return [
        (name, [(str(row.pk), f"{row.name} – {row.times}" if row.times else row.name) for row in rows])
        for name, rows in itertools.groupby(stops, key=lambda row: row.line.name)
    ]
