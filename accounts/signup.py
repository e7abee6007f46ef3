"""The first step of signing up: the person's details, asked beside e-mail and password.

django-allauth builds its sign-up form upon PersonalDetailsForm (ACCOUNT_SIGNUP_FORM_CLASS), so this module must not
import allauth's forms; accounts/forms.py adds what has to come after them.
"""

from typing import Any

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import actions
from accounts.details import DetailsForm
from accounts.models import Terms, User

ACCEPTED_AT_SIGNUP = (Terms.Kind.USE, Terms.Kind.PRIVACY)


def terms_in_force() -> list[Terms]:
    """The texts to accept when signing up, as they stand now (none on a site that has not published any)."""
    latest = Terms.objects.in_force(ACCEPTED_AT_SIGNUP)
    return [latest[kind] for kind in ACCEPTED_AT_SIGNUP if kind in latest]


def _acceptance_label() -> SafeString:
    return format_html(
        gettext(
            'J’accepte les <a href="{}" target="_blank">conditions générales</a> et la '
            '<a href="{}" target="_blank">politique de confidentialité</a>.'
        ),
        reverse("terms", args=[Terms.Kind.USE]),
        reverse("terms", args=[Terms.Kind.PRIVACY]),
    )


class PersonalDetailsForm(DetailsForm):
    accept = forms.BooleanField(
        error_messages={
            "required": _("Pour créer un compte, acceptez les conditions générales et la politique de confidentialité.")
        }
    )
    # The versions that were on screen: what is recorded is what was read, even if a text changes meanwhile.
    terms_seen = forms.CharField(required=False, widget=forms.HiddenInput)

    field_order = [
        "title",
        "first_name",
        "last_name",
        "email",
        "password1",
        "birth_date",
        "phone",
        "commune",
        "newsletter",
        "partner_offers",
        "is_company",
        "company",
        "accept",
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.terms = terms_in_force()
        self.fields["accept"].label = _acceptance_label()
        self.fields["terms_seen"].initial = self._terms_key()

    def _terms_key(self) -> str:
        return "-".join(str(terms.pk) for terms in self.terms)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("accept") and cleaned.get("terms_seen", "") != self._terms_key():
            # The page comes back with the new versions, to be accepted anew.
            answers = self.data.copy()  # type: ignore[attr-defined]
            answers["terms_seen"] = self._terms_key()
            answers.pop("accept", None)
            self.data = answers
            self.add_error(
                "accept", _("Ces textes ont changé pendant que vous remplissiez la page : relisez-les et acceptez-les.")
            )
        return cleaned

    def signup(self, request: HttpRequest, user: User) -> None:
        """Called by allauth once the account exists, in the same transaction."""
        actions.update_details(user=user, details=self.details(), by=user)
        actions.set_residence(user=user, commune=self.cleaned_data["commune"])
        for terms in self.terms:
            actions.accept_terms(user=user, terms=terms)
