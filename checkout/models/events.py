"""What providers told us."""

from typing import Self

import pgtrigger
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated


class ProviderEventQuerySet(models.QuerySet["ProviderEvent"]):
    def notified_by(self, provider: str) -> Self:
        """What a provider has sent by itself, newest first."""
        return self.filter(provider=provider, source=ProviderEvent.NOTIFICATION).order_by("-received_at", "-pk")

    def unapplied(self) -> Self:
        """Those that state something of a payment of which nothing was made: applying them failed, or its process ended.

        Not those that what the provider said later has settled, nor those of a payment whose money is in our books.
        """
        settled = [ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED]
        since = ProviderEvent.objects.filter(payment=OuterRef("payment"), pk__gt=OuterRef("pk"), outcome__in=settled)
        left = self.filter(~Exists(since), outcome=ProviderEvent.Outcome.RECEIVED, note="", payment__isnull=False)
        return left.exclude(payment__status__in=["captured", "credited"])

    def unread(self) -> Self:
        """Those of which nobody knows what they state: a mistake of ours kept them from being read."""
        return self.filter(outcome=ProviderEvent.Outcome.RECEIVED, note__startswith=ProviderEvent.UNREAD)


class ProviderEvent(models.Model):
    """What a provider told us, stored as it came before anything is made of it."""

    class Outcome(models.TextChoices):
        RECEIVED = "received", _("Reçu")
        APPLIED = "applied", _("Appliqué")
        REPEATED = "repeated", _("Déjà connu")
        REJECTED = "rejected", _("Rejeté")

    NOTIFICATION = "notification"
    UNREAD = "unread:"  # how the note begins of what we failed to read

    provider = models.CharField(_("prestataire"), max_length=20)
    payment = models.ForeignKey("checkout.Payment", on_delete=models.PROTECT, null=True, related_name="events")
    source = models.CharField(_("origine"), max_length=20)
    raw = models.TextField(_("message reçu"))
    outcome = models.CharField(_("suite"), max_length=10, choices=Outcome, default=Outcome.RECEIVED)
    note = models.CharField(_("remarque"), max_length=200, blank=True)
    received_at = models.DateTimeField(_("reçu le"), auto_now_add=True)

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("message d’un prestataire")
        verbose_name_plural = _("messages des prestataires")
        ordering = ["-received_at"]
        indexes = [
            models.Index(fields=["provider", "-received_at"], condition=Q(source="notification"), name="event_notified")
        ]
        triggers = [
            pgtrigger.ReadOnly(name="event_is_kept_raw", fields=["provider", "source", "raw", "received_at"]),
            pgtrigger.Protect(name="events_are_kept", operation=pgtrigger.Delete),
            not_truncated("events_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.received_at:%d/%m/%Y %H:%M:%S}"
