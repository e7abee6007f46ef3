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
        """Those that state money, or a refund that came back, of which nothing was made: applying them failed, or its process ended.

        A capture is settled by the money in our books alone, whatever else the provider says; a refund's failure by one that
        was applied later.
        """
        settled = [ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED]
        heard = ProviderEvent.objects.filter(
            payment=OuterRef("payment"), pk__gt=OuterRef("pk"), outcome__in=settled, stated=ProviderEvent.REFUND_FAILED
        )
        captured = Q(stated="captured") & ~Q(payment__status__in=["captured", "credited"])
        failed = Q(stated=ProviderEvent.REFUND_FAILED) & ~Exists(heard)
        return self.filter(captured | failed, outcome=ProviderEvent.Outcome.RECEIVED, payment__isnull=False)

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

    REFUND_FAILED = "refund_failed"

    provider = models.CharField(_("prestataire"), max_length=20)
    payment = models.ForeignKey("checkout.Payment", on_delete=models.PROTECT, null=True, related_name="events")
    source = models.CharField(_("origine"), max_length=20)
    raw = models.TextField(_("message reçu"))
    # How the payment stands by it (providers.base.Outcome), or that a refund came back: known once it is read, kept before it
    # is applied.
    stated = models.CharField(_("ce qu’il dit"), max_length=15, blank=True, default="", db_default="", editable=False)
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
