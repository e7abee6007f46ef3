"""What providers answered when they were asked whether they are there."""

from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated

if TYPE_CHECKING:
    from accounts.models import User


class ProviderCheckQuerySet(models.QuerySet["ProviderCheck"]):
    def visible_to(self, user: "User") -> Self:
        """The means of payment are the régie's."""
        return self if user.is_operator else self.none()

    def latest_of_each(self) -> Self:
        """The last answer of each provider."""
        return self.order_by("provider", "-asked_at", "-pk").distinct("provider")


class ProviderCheck(models.Model):
    """One question to a provider, whether it is configured and answers, and what came of it; never changed."""

    provider = models.CharField(_("prestataire"), max_length=20)
    configured = models.BooleanField(_("configuré"))
    answers = models.BooleanField(_("répond"))
    sentence = models.CharField(_("réponse"), max_length=400)
    asked_at = models.DateTimeField(_("vérifié le"), auto_now_add=True)
    # Nobody: the platform itself.
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("vérifié par")
    )

    objects = ProviderCheckQuerySet.as_manager()

    class Meta:
        verbose_name = _("vérification d’un moyen de paiement")
        verbose_name_plural = _("moyens de paiement")
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(configured=True) | Q(answers=False), name="who_answers_is_configured")
        ]
        indexes = [models.Index(fields=["provider", "-asked_at"], name="check_by_provider")]
        triggers = [
            pgtrigger.Protect(name="checks_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("checks_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.asked_at:%d/%m/%Y %H:%M:%S}"
