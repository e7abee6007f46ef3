"""The forms of the account: allauth's with our words, personal details, addresses, documents."""

import uuid
from typing import Any, cast

from allauth.account import forms as allauth_forms
from allauth.account.models import EmailAddress
from django import forms
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.details import OUTSIDE, DetailsForm
from accounts.documents import MAX_MEGABYTES
from accounts.models import Address, SupportingDocument, User
from portal.common.forms import SummaryOnPage

PASSWORD_RULE = _(
    "12 caractères au moins, dont un chiffre, une minuscule, une majuscule et un caractère spécial (! ? € -)."
)


def _plain(field: forms.Field, label: Any, help_text: Any = "") -> None:
    """Give one of allauth's fields our words; its placeholder, which vanishes when typing begins, goes."""
    field.label = label
    field.help_text = help_text
    field.widget.attrs.pop("placeholder", None)


class LoginForm(SummaryOnPage, allauth_forms.LoginForm):
    """« Déjà inscrit ? »"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self.fields["login"], _("Adresse e-mail"))
        _plain(self.fields["password"], _("Mot de passe"))


class StartSignupForm(SummaryOnPage, forms.Form):
    """« Créez votre compte »: the address that the first step will be filled with."""

    email = forms.EmailField(
        label=_("Adresse e-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class SignupForm(allauth_forms.SignupForm):
    """The first step: allauth's e-mail and password amid the personal details."""

    account_already_exists: bool  # set by allauth while it checks the address

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(
            self.fields["email"],
            _("Adresse e-mail"),
            _("Elle vous servira à vous connecter, et à recevoir vos confirmations."),
        )
        _plain(self.fields["password1"], _("Mot de passe"), PASSWORD_RULE)

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Create the account, or write to the owner of the one that exists: the page and its timing are the same."""
        if not self.account_already_exists:
            try:
                with transaction.atomic():
                    return cast(tuple[User, None], super().try_save(request))
            except IntegrityError:
                # Somebody signed up with the same address since it was looked up: now it is a known one.
                self.account_already_exists = True
                return cast(tuple[None, HttpResponse], super().try_save(request))
        self._create_for_nothing(request)
        return cast(tuple[None, HttpResponse], super().try_save(request))

    def _create_for_nothing(self, request: HttpRequest) -> None:
        """Do all that creating an account costs, above all hashing its password, and undo it.

        Otherwise the time of the answer would tell a stranger which addresses have an account.
        """
        known = self.cleaned_data["email"]
        self.cleaned_data["email"] = f"{uuid.uuid4().hex}@personne.invalid"
        self.account_already_exists = False
        try:
            with transaction.atomic():
                self.save(request)
                transaction.set_rollback(True)
        finally:
            self.cleaned_data["email"] = known
            self.account_already_exists = True


class ResetPasswordForm(allauth_forms.ResetPasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self.fields["email"], _("Adresse e-mail"))

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Write to the address, whether it has an account or not: the time of the answer must not tell which."""
        if not self.users:
            # What the link of a known address costs besides its e-mail: a look-up and a hash.
            list(EmailAddress.objects.filter(user_id=0).values_list("email", flat=True))
            PasswordResetTokenGenerator().make_token(User(pk=0, email=self.cleaned_data["email"]))
        return cast(str, super().save(request, **kwargs))


class ResetPasswordKeyForm(allauth_forms.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["password2"]
        _plain(self.fields["password1"], _("Nouveau mot de passe"), PASSWORD_RULE)


class ChangePasswordForm(allauth_forms.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["password2"]
        _plain(self.fields["oldpassword"], _("Mot de passe actuel"))
        _plain(self.fields["password1"], _("Nouveau mot de passe"), PASSWORD_RULE)


class PersonalDetailsForm(DetailsForm):
    """« Mes informations personnelles »."""

    field_order = [
        "title",
        "first_name",
        "last_name",
        "birth_date",
        "phone",
        "commune",
        "newsletter",
        "partner_offers",
        "reminders",
        "is_company",
        "company",
    ]
    detail_fields = (*DetailsForm.detail_fields, "reminders")

    reminders = forms.BooleanField(
        label=_("Recevoir un rappel quand rien n’est réservé pour la semaine suivante"), required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["commune"].help_text = ""

    @classmethod
    def of(cls, user: User, data: Any = None) -> "PersonalDetailsForm":
        initial = {name: getattr(user, name) for name in cls.detail_fields}
        initial["commune"] = str(user.commune_id or OUTSIDE)
        initial["is_company"] = bool(user.company)
        return cls(data, initial=initial)


class AddressForm(forms.ModelForm):
    class Meta:
        model = Address
        fields = ["label", "line1", "line2", "postal_code", "city", "is_default"]
        help_texts = {"label": _("Par exemple «\u00a0Domicile\u00a0» ou «\u00a0Chez Mamie\u00a0».")}
        widgets = {
            "line1": forms.TextInput(attrs={"autocomplete": "address-line1"}),
            "line2": forms.TextInput(attrs={"autocomplete": "address-line2"}),
            "postal_code": forms.TextInput(attrs={"autocomplete": "postal-code", "inputmode": "numeric"}),
            "city": forms.TextInput(attrs={"autocomplete": "address-level2"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["is_default"].label = _("En faire mon adresse principale")


class ProofField(forms.FileField):
    """A proof that add_document checks and cleans."""

    widget = forms.FileInput(attrs={"accept": ".pdf,.jpg,.jpeg,.png,application/pdf,image/jpeg,image/png"})
    default_error_messages = {"empty": _("Ce fichier est vide : choisissez-en un autre.")}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault(
            "help_text",
            _("PDF, JPEG ou PNG, %(size)d Mo au plus. Une photo prise avec votre téléphone convient.")
            % {"size": MAX_MEGABYTES},
        )
        super().__init__(**kwargs)


class DocumentForm(forms.Form):
    kind = forms.ChoiceField(
        label=_("Nature du document"), choices=[("", _("Choisissez")), *SupportingDocument.Kind.choices]
    )
    file = ProofField(label=_("Fichier"))
