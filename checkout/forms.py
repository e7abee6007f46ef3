"""What the booking, checkout and wallet pages send. A price is never among it, but what the person was shown is."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.forms.utils import ErrorList
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.documents import MAX_MEGABYTES
from accounts.models import Terms
from bookings.absences import Absence
from bookings.actions import Wish
from checkout.actions.payment import Card, Means
from checkout.actions.top_up import out_of_bounds
from checkout.papers.models import Regie
from portal.common.formats import euros
from portal.common.forms import AmountField, SummaryOnPage

MOST_DATES = 400


def proof_field(*, required: bool) -> forms.FileField:
    """A certificate, as « Mes pièces justificatives » takes its documents."""
    return forms.FileField(
        label=_("Certificat ou justificatif"),
        help_text=_("PDF, JPEG ou PNG, %(size)d Mo au plus. Une photo prise avec votre téléphone convient.")
        % {"size": MAX_MEGABYTES},
        required=required,
        error_messages={
            "required": _("Choisissez d’abord un fichier."),
            "empty": _("Ce fichier est vide : choisissez-en un autre."),
        },
        widget=forms.FileInput(attrs={"accept": ".pdf,.jpg,.jpeg,.png,application/pdf,image/jpeg,image/png"}),
    )


def keys(texts: Iterable[str]) -> set[int]:
    """The keys of rows among some texts; what cannot be one (« ² », five thousand digits) is left out."""
    return {int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 19}


def amount(text: str) -> Decimal:
    """The euros that a form says were shown; what is no number is equal to nothing."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    return found if found.is_finite() else Decimal("NaN")


def wish(text: str) -> Wish | None:
    """`12:2026-12-01`, a box of the booking grid: who and when. None for what it cannot have sent."""
    person, _sep, date = text.partition(":")
    try:
        return next((Wish(key, dt.date.fromisoformat(date)) for key in keys([person])), None)
    except ValueError:
        return None


class BookingForm(forms.Form):
    """One slot, some beneficiaries, some dates; or with `by_person` (the grid) the days of each.

    Values that a browser cannot have sent are dropped as not chosen.
    """

    def __init__(
        self,
        data: QueryDict | None,
        *,
        slots: Iterable[Any],
        people: Iterable[Any],
        profiles: Iterable[Any],
        by_person: bool = False,
    ) -> None:
        super().__init__(data)
        self.by_person = by_person
        self.fields["profile"] = forms.ChoiceField(
            label=_("Situation"), choices=[(str(row.pk), str(row.profile)) for row in profiles], required=False
        )
        self.fields["slot"] = forms.ChoiceField(
            label=_("Type de prestation"),
            choices=[(str(row.pk), row.name) for row in slots],
            widget=forms.RadioSelect,  # the error summary leads to the first of its boxes
            error_messages={
                "required": _("Choisissez un type de prestation."),
                "invalid_choice": _("Ce type de prestation n’est pas proposé ici : choisissez-en un autre."),
            },
        )
        people = list(people)
        if by_person:
            self.fields["days"] = DaysField(label=_("Jours de chacun"), people={row.pk for row in people})
            return
        self.fields["people"] = forms.MultipleChoiceField(
            label=_("Bénéficiaire"),
            choices=[(str(row.pk), str(row)) for row in people],
            widget=forms.CheckboxSelectMultiple,
            error_messages={
                "required": _("Choisissez au moins un bénéficiaire."),
                "invalid_choice": _("Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
            },
        )
        self.fields["dates"] = DatesField(label=_("Date de réservation"))

    @property
    def date_errors(self) -> ErrorList:
        """What is wrong with the ticked dates, or days."""
        return self["days" if self.by_person else "dates"].errors

    @property
    def wishes(self) -> list[Wish]:
        """Each chosen beneficiary on each chosen date."""
        if self.by_person:
            return sorted(self.cleaned_data["days"], key=lambda each: (each.date, each.beneficiary_id))
        return [
            Wish(int(person), date)
            for date in sorted(self.cleaned_data["dates"])
            for person in dict.fromkeys(self.cleaned_data["people"])  # once, however often it was sent
        ]


class DatesField(forms.Field):
    """ISO dates from the calendar's checkboxes."""

    widget = forms.SelectMultiple
    default_error_messages = {
        "required": _("Choisissez au moins une date dans le calendrier."),
        "invalid": _("Une des dates n’est pas lisible : choisissez-la dans le calendrier."),
        "too_many": _("Choisissez %d dates au plus à la fois.") % MOST_DATES,
    }

    def to_python(self, value: Any) -> set[dt.date]:
        texts = set(value or ())
        if len(texts) > MOST_DATES:
            raise forms.ValidationError(self.error_messages["too_many"], code="too_many")
        try:
            return {dt.date.fromisoformat(text) for text in texts}
        except ValueError as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error

    def validate(self, value: Any) -> None:
        if not value:  # an empty set is none of Django's empty values
            raise forms.ValidationError(self.error_messages["required"], code="required")


class DaysField(forms.Field):
    """The boxes of the grid: who and when. Only those of `people` can be chosen."""

    widget = forms.SelectMultiple
    default_error_messages = {
        "required": _("Choisissez au moins un jour dans la grille."),
        "invalid": DatesField.default_error_messages["invalid"],
        "too_many": DatesField.default_error_messages["too_many"],
        "not_yours": _("Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
    }

    def __init__(self, *, people: Collection[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.people = people

    def to_python(self, value: Any) -> set[Wish]:
        texts = set(value or ())
        found = {each for text in texts if (each := wish(text))}
        if len(found) != len(texts):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        if len({each.date for each in found}) > MOST_DATES:
            raise forms.ValidationError(self.error_messages["too_many"], code="too_many")
        if not {each.beneficiary_id for each in found} <= set(self.people):
            raise forms.ValidationError(self.error_messages["not_yours"], code="not_yours")
        return found

    def validate(self, value: Any) -> None:
        if not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")


NO_SUCH_MEANS = _("Ce moyen de paiement n’existe pas : choisissez-en un autre.")


class PayForm(forms.Form):
    """Which cart, how, and the total that the page showed (the server's own is what is paid).

    How: `wallet`, `card` or `both`; a card may name its provider and kind, `card:paybox:VISA`.
    """

    cart = forms.IntegerField(min_value=1)
    total = forms.DecimalField(max_digits=10, decimal_places=2)
    means = forms.CharField(
        max_length=60,
        error_messages={
            "required": _("Choisissez un moyen de paiement."),
            "max_length": NO_SUCH_MEANS,
        },
    )

    def clean_means(self) -> tuple[Means, Card]:
        means, _sep, card = self.cleaned_data["means"].partition(":")
        if means not in set(Means) or (card and means == Means.WALLET):
            raise forms.ValidationError(NO_SUCH_MEANS, code="invalid_choice")
        return Means(means), chosen_card(card)


def chosen_card(text: str) -> Card:
    """`paybox:VISA`: a provider and a kind of card, as our pages' buttons name them."""
    provider, _sep, method = text.partition(":")
    return Card(provider, method)


class TermsForm(forms.Form):
    """Step 04: the version that was read is the one accepted."""

    terms = forms.CharField(widget=forms.HiddenInput, required=False)
    accept = forms.BooleanField(
        label=_("J’ai lu les conditions générales de vente et j’y adhère sans réserve."),
        error_messages={"required": _("Cochez la case pour accepter les conditions générales de vente.")},
    )

    def __init__(self, data: QueryDict | None = None, *, in_force: Terms) -> None:
        super().__init__(data)
        self.in_force = in_force
        self.initial["terms"] = in_force.pk

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("accept") and data["terms"] != str(self.in_force.pk):
            # The page comes back with the new version, to be accepted anew.
            self.data = {**self.data, "terms": str(self.in_force.pk), "accept": ""}
            self.add_error(
                "accept", _("Ces conditions ont changé entre-temps : lisez la nouvelle version, puis acceptez-la.")
            )
        return data


class VoucherForm(forms.Form):
    """« Code du bon »: as it was typed, with what was refused of it beside it."""

    # Whether it is written, and what it is worth, says checkout.vouchers.actions.enter_code.
    code = forms.CharField(label=_("Code du bon"), max_length=40, required=False)
    code.widget.attrs |= {"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}

    def __init__(self, typed: str, refused: Sequence[str] = ()) -> None:
        super().__init__({"code": typed[:40]} if refused else None, initial={"code": typed[:40]}, auto_id="voucher-%s")
        for sentence in refused:
            self.add_error("code", sentence)


class TopUpForm(forms.Form):
    """A pack, or an amount of one's own."""

    CUSTOM = "custom"

    def __init__(self, data: Mapping[str, Any] | None = None, *, packs: Iterable[Decimal], regie: Regie) -> None:
        """`regie` says how much a custom amount may be, and what it costs besides."""
        super().__init__(data)
        bounds = out_of_bounds(regie)
        self.fields["pack"] = forms.ChoiceField(
            label=_("Choisissez un pack de crédits"),
            choices=[(str(amount), str(amount)) for amount in packs] + [(self.CUSTOM, _("Personnalisé"))],
            widget=forms.RadioSelect,
            required=False,  # an amount alone says it too
            error_messages={
                "invalid_choice": _("Ce pack n’existe pas : choisissez-en un autre."),
            },
        )
        self.fields["amount"] = AmountField(
            label=_("Montant personnalisé, en euros"),
            required=False,
            min_value=regie.top_up_least,
            max_value=regie.top_up_most,
            error_messages={
                "invalid": _("Écrivez le montant en chiffres, par exemple 30,00."),
                "min_value": bounds,
                "max_value": bounds,
                "max_digits": bounds,
                "max_whole_digits": bounds,
                "max_decimal_places": _("Un montant a au plus deux chiffres après la virgule, par exemple 30,00."),
            },
            help_text=_custom_amount(regie),
            widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 8}),
        )
        # What the page of a custom amount has said that it costs.
        self.fields["shown"] = forms.DecimalField(required=False, max_digits=10, decimal_places=2)
        self.fields["card"] = forms.CharField(required=False, max_length=50)  # the button's, `paybox:VISA`

    def clean_card(self) -> Card:
        return chosen_card(self.cleaned_data["card"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self.errors.pop("shown", None)  # nobody types it: what cannot be read is shown anew
        pack = data.get("pack")
        if pack and pack != self.CUSTOM:  # what the hidden field still holds does not count
            self.errors.pop("amount", None)
        elif "amount" in self.errors:  # too many digits are too much as well: said once
            self.errors["amount"] = self.error_class(self.errors["amount"][:1])
        elif data.get("amount") is None:
            if pack == self.CUSTOM:
                self.add_error("amount", _("Écrivez le montant à créditer, par exemple 30,00."))
            elif pack is not None:
                self.add_error("pack", _("Choisissez un pack, ou « Personnalisé » et un montant."))
        elif pack == "":
            data["pack"] = self.CUSTOM
        return data

    @property
    def chosen(self) -> Decimal:
        """The credits in euros, without the fee."""
        pack = self.cleaned_data["pack"]
        amount: Decimal = self.cleaned_data["amount"] if pack == self.CUSTOM else Decimal(pack)
        return amount

    @property
    def total(self) -> Decimal | None:
        """What the person was told to pay, in euros, with the fee; None for a custom amount that was not shown yet."""
        if self.cleaned_data["pack"] != self.CUSTOM:
            return self.chosen
        shown: Decimal | None = self.cleaned_data.get("shown")
        return shown


def _custom_amount(regie: Regie) -> str:
    words = _("De %(least)s à %(most)s.") % {"least": euros(regie.top_up_least), "most": euros(regie.top_up_most)}
    if not regie.top_up_fee:
        return words
    return words + " " + _("Des frais de %s s’ajoutent à un montant personnalisé.") % euros(regie.top_up_fee)


class AbsenceForm(SummaryOnPage, forms.Form):
    """Why a child is away, and its proof."""

    kind = forms.ChoiceField(
        label=_("Pourquoi ?"),
        choices=Absence.Reason.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Dites pourquoi : maladie, raison familiale…")},
    )
    note = forms.CharField(
        label=_("Précision"),
        help_text=_("N’écrivez pas de détail médical : le service n’en a pas besoin."),
        max_length=300,
        required=False,
    )
    file = proof_field(required=False)


class ProofForm(forms.Form):
    file = proof_field(required=True)
