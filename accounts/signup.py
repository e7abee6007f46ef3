"""The first step of signing up: the person's details, asked beside e-mail and password."""

from django import forms


class PersonalDetailsForm(forms.Form):
    def signup(self, request: object, user: object) -> None: ...
