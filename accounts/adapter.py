"""How django-allauth works here: its e-mails leave through the outbox, its pages lead to ours."""

import uuid
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from portal.outbox.actions import queue_message, surroundings


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("L’adresse e-mail ou le mot de passe n’est pas le bon."),
        "enter_current_password": _("Ce n’est pas votre mot de passe actuel."),
        "too_many_login_attempts": _(
            "Trop d’essais de connexion avec cette adresse : attendez cinq minutes, ou choisissez un nouveau mot de passe "
            "par « Mot de passe oublié ? »."
        ),
    }

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write allauth's e-mail (confirmation, forgotten password…) into the outbox."""
        days = settings.PASSWORD_RESET_TIMEOUT // (24 * 60 * 60)
        ours = {**surroundings(), "email": email, "password_reset_days": days}
        message = self.render_mail(template_prefix, email, {**ours, **context})
        queue_message(
            key=f"account:{uuid.uuid4()}", to=email, subject=message.subject, body=str(message.body).strip() + "\n"
        )

    def format_email_subject(self, subject: str) -> str:
        return " ".join(subject.split())

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Staff land in the administration; somebody who has not finished signing up goes on where they stopped."""
        user = request.user
        assert isinstance(user, User)
        if user.is_staff:
            return reverse("admin:index")
        if user.completed_at is None:
            return reverse("signup_filiations")
        return reverse("account_home")

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return reverse("signup_filiations")

    def get_email_verification_redirect_url(self, email_address: Any) -> str:
        return reverse("signup_filiations") if self.request.user.is_authenticated else reverse("account_login")
