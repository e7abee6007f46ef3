"""allauth's pages at our addresses: signing up (first step), signing in and out, forgotten password.

Only what differs from allauth's views is written here; templates/account/ draws them.
"""

from typing import Any
from urllib.parse import urlsplit

from allauth.account import views
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, resolve

from accounts import forms
from accounts.middleware import open_to_pending

SIGNUP_EMAIL = "signup_email"  # session key: the address typed on the page « Connexion »


class LoginView(views.LoginView):
    """« Créez votre compte » and « Déjà inscrit ? » side by side; a button named `create` belongs to the first."""

    form_class = forms.LoginForm

    def get_form_class(self) -> type[forms.LoginForm]:
        return forms.LoginForm

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "create" not in request.POST:
            return super().post(request, *args, **kwargs)
        start = forms.StartSignupForm(request.POST)
        if not start.is_valid():
            login = forms.LoginForm(request=request)
            return self.render_to_response(self.get_context_data(form=login, start_form=start))
        # By the session: an address has no place in an URL, which is logged, shared and kept in the history.
        request.session[SIGNUP_EMAIL] = start.cleaned_data["email"]
        return redirect("account_signup")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("start_form", forms.StartSignupForm())
        page = self.get_next_url() or ""
        # After a wrong password the page names that; a message (two hours without activity) says more than this sentence.
        sent_here = self.request.method == "GET" and is_protected(page)
        return super().get_context_data(next=page, sent_here=sent_here, **kwargs)


def is_protected(address: str) -> bool:
    """Whether this address of ours is for people who are signed in only."""
    try:
        match = resolve(urlsplit(address).path)
    except Resolver404:
        return False
    return "admin" in match.namespaces or getattr(match.func, "login_required", True)


class SignupView(views.SignupView):
    form_class = forms.SignupForm

    def get_form_class(self) -> type[forms.SignupForm]:
        return forms.SignupForm

    def get_initial(self) -> dict[str, Any]:
        return {"email": self.request.session.get(SIGNUP_EMAIL, "")}

    def form_valid(self, form: forms.SignupForm) -> HttpResponse:
        with transaction.atomic():  # the account, its consents and the e-mail that verifies its address
            response = super().form_valid(form)
        self.request.session.pop(SIGNUP_EMAIL, None)
        return response


class ConfirmEmailView(views.ConfirmEmailView):
    """The link of the e-mail: shows a button; pressing it verifies the address. Opening the link changes nothing."""

    def get(self, *args: Any, **kwargs: Any) -> HttpResponse:
        # allauth's would sign out whoever is signed in with another account; pressing the button does that.
        try:
            self.object = self.get_object()
        except Http404:
            self.object = None
        return self.render_to_response(self.get_context_data())

    def post(self, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(*args, **kwargs)
        except Http404:  # pressed twice, or too late
            return self.get(*args, **kwargs)


class PasswordResetView(views.PasswordResetView):
    def get_form_class(self) -> type[forms.ResetPasswordForm]:
        return forms.ResetPasswordForm


class PasswordResetFromKeyView(views.PasswordResetFromKeyView):
    def get_form_class(self) -> type[forms.ResetPasswordKeyForm]:
        return forms.ResetPasswordKeyForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("token_fail", False)
        return super().get_context_data(**kwargs)


class PasswordChangeView(views.PasswordChangeView):
    def get_form_class(self) -> type[forms.ChangePasswordForm]:
        return forms.ChangePasswordForm


login = LoginView.as_view()
signup = SignupView.as_view()
confirm_email = ConfirmEmailView.as_view()
password_reset = PasswordResetView.as_view()
password_reset_from_key = PasswordResetFromKeyView.as_view()
password_change = open_to_pending(PasswordChangeView.as_view())
