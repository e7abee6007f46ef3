"""Forms of « Mon porte-monnaie »: filters of the movements, and taking credits back."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from portal.common.errors import Refused
from portal.common.formats import euros, month, today
from portal.common.forms import AmountField, SummaryOnPage, label_of, offer
from wallet.models import Movement, Wallet
from wallet.transfers import Debtor
from wallet.withdrawals.actions import read_family_iban, read_holder

# What the régie and its banks settle among themselves never passes by a wallet.
ELSEWHERE = {Movement.Kind.SETTLEMENT, Movement.Kind.TILL_DEPOSIT, Movement.Kind.REMITTANCE}
OF_A_WALLET = [(kind.value, kind.label) for kind in Movement.Kind if kind not in ELSEWHERE]
MONTHS_LISTED = 24


def last_months(date: dt.date) -> list[dt.date]:
    """The first days of this month and of those before it, MONTHS_LISTED in all, newest first."""
    found = [date.replace(day=1)]
    while len(found) < MONTHS_LISTED:
        found.append((found[-1] - dt.timedelta(days=1)).replace(day=1))
    return found


class MovementFilter(forms.Form):
    """Which movements are shown; what cannot be read filters nothing, and is said."""

    nature = forms.ChoiceField(
        label=_("Nature"),
        choices=[("", _("Toutes")), *OF_A_WALLET],
        required=False,
        error_messages={"invalid_choice": _("Cette nature de mouvement n’existe pas : toutes sont montrées.")},
    )
    mois = forms.ChoiceField(
        label=_("Mois"),
        required=False,
        error_messages={"invalid_choice": _("Ce mois n’est pas dans la liste : tous les mois sont montrés.")},
    )

    def __init__(self, data: Any, mine: Wallet) -> None:
        """Of a wallet read `with_months`, only those in which something moved are offered; another one that an address names
        is still read."""
        super().__init__(data)
        moved = {f"{begin:%Y-%m}" for begin in mine.moved_in} | {data.get("mois", "")}
        named = [(f"{first:%Y-%m}", month(first)) for first in last_months(today())]
        offer(self, "mois", [("", _("Tous")), *(choice for choice in named if choice[0] in moved)])

    def rows(self, entries: Any) -> Any:
        """The entries that pass."""
        self.full_clean()
        if nature := self.cleaned_data.get("nature"):
            entries = entries.of_nature(nature)
        return entries.between(*self.month) if self.month else entries

    @property
    def month(self) -> tuple[dt.date, dt.date] | None:
        """The first and the last day of the chosen month."""
        if not self.cleaned_data.get("mois"):
            return None
        first = dt.date.fromisoformat(f"{self.cleaned_data['mois']}-01")
        return first, (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)

    @property
    def problems(self) -> list[str]:
        """What of the choices could not be read, in sentences."""
        return [str(text) for texts in self.errors.values() for text in texts]

    @property
    def words(self) -> str:
        """Which movements these are, in words: « Règlement de commande, novembre 2026 »; all of them: an empty text."""
        chosen = []
        for name in ("nature", "mois"):
            if self.cleaned_data.get(name):
                chosen.append(label_of(self, name, self.cleaned_data[name]))
        return ", ".join(chosen)

    @property
    def is_used(self) -> bool:
        return any(self.data.get(name) for name in self.fields)


class WithdrawalForm(SummaryOnPage, forms.Form):
    """How many euros go back to which bank account."""

    amount = AmountField(
        label=_("Montant à reprendre, en euros"),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 8}),
        error_messages={
            "required": _("Écrivez le montant à reprendre, par exemple 30,00."),
            "invalid": _("Écrivez le montant en chiffres, par exemple 30,00."),
            "max_digits": _("Écrivez le montant en chiffres, par exemple 30,00."),
            "max_whole_digits": _("Écrivez le montant en chiffres, par exemple 30,00."),
            "max_decimal_places": _("Un montant a au plus deux chiffres après la virgule, par exemple 30,00."),
        },
    )
    holder = forms.CharField(
        label=_("Titulaire du compte"),
        help_text=_("Comme sur votre relevé d’identité bancaire."),
        max_length=70,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={
            "required": _("Écrivez le nom du titulaire du compte."),
            "max_length": _("Écrivez le nom du titulaire en 70 caractères au plus, comme la banque le connaît."),
        },
    )
    iban = forms.CharField(
        label=_("IBAN"),
        help_text=_("27 caractères en France, par exemple FR76 3000 6000 0112 3456 7890 189."),
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "characters"}),
        error_messages={
            "required": _("Écrivez l’IBAN de votre compte bancaire."),
            "max_length": _("Cet IBAN est trop long\u00a0: il a 27 caractères en France."),
        },
    )

    def __init__(self, data: Any = None, *, balance: Decimal, debtor: Debtor, **options: Any) -> None:
        super().__init__(data, **options)
        self.balance, self.debtor = balance, debtor

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if not 0 < amount <= self.balance:
            raise forms.ValidationError(
                _("Votre porte-monnaie contient %s : le montant va de 0,01\u00a0€ à cette somme.") % euros(self.balance)
            )
        return amount

    def clean_holder(self) -> str:
        try:
            return read_holder(self.cleaned_data["holder"])
        except Refused as refusal:
            raise forms.ValidationError(list(refusal.messages)) from refusal

    def clean_iban(self) -> str:
        try:
            return read_family_iban(self.cleaned_data["iban"], debtor=self.debtor)
        except Refused as refusal:
            raise forms.ValidationError(list(refusal.messages)) from refusal

    @property
    def seal(self) -> str:
        """What stands for amount, holder and account on the page that shows them before they are sent."""
        asked = "\n".join(str(self.cleaned_data[name]) for name in ("amount", "iban", "holder"))
        return salted_hmac("checkout.withdrawal", asked, algorithm="sha256").hexdigest()

    def was_shown(self, seal: str) -> bool:
        """Whether a page with this seal showed the very request: another tab may have written another one since."""
        return constant_time_compare(seal, self.seal)
