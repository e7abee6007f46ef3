"""What providers told us."""

from typing import Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import MD5
from django.utils.translation import gettext_lazy as _

from checkout.providers import provider_name
from portal.common.db import not_truncated
from portal.common.formats import moment

_UNREAD, _UNASKED = "unread:", "unreachable:"
# What may have to be looked at, as its index says it too: however many messages are kept, no other is read for it. What names
# no payment of ours, and could not be asked about, is anybody's: whoever knows the address could write to operators with it.
_WAITING = Q(
    Q(note__startswith=_UNREAD) | Q(note__startswith=_UNASKED, payment__isnull=False), outcome="received", seen_at=None
)


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
        """Those of which nobody knows what they state, and no operator has seen: a mistake of ours kept them from being read, or
        their provider could not be asked what they mean.

        Settled once it is said again in the same words, and understood. What a provider could not be asked about is of a
        payment, and settled by its money in our books or by its end, as the provider answered it to a question asked since:
        what else it says by itself may be older.
        """
        settled = [ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED]
        later = ProviderEvent.objects.filter(pk__gt=OuterRef("pk"))
        # Its words are found by their digest, never by going through all that came later: the keys' own index is left alone.
        alike = ProviderEvent.objects.alias(digest=MD5("raw"), after=F("pk") + 0)
        same = alike.filter(digest=MD5(OuterRef("raw")), raw=OuterRef("raw"), after__gt=OuterRef("pk"))
        understood = same.filter(provider=OuterRef("provider"), source=OuterRef("source")).exclude(outcome="received")
        answered = later.filter(payment=OuterRef("payment"), source=ProviderEvent.QUERY, outcome__in=settled)
        ended = Q(payment__status__in=["captured", "credited"]) | Exists(answered)
        return self.filter(_WAITING, Q(note__startswith=_UNREAD) | ~ended, ~Exists(understood))


class ProviderEvent(models.Model):
    """What a provider told us, stored as it came before anything is made of it."""

    class Outcome(models.TextChoices):
        RECEIVED = "received", _("Reçu")
        APPLIED = "applied", _("Appliqué")
        REPEATED = "repeated", _("Déjà connu")
        REJECTED = "rejected", _("Rejeté")

    NOTIFICATION = "notification"
    QUERY = "query"  # our question's answer
    UNREAD = _UNREAD  # how the note begins of what we failed to read
    UNASKED = _UNASKED  # and of what its provider could not be asked the meaning of

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
    # That an operator has looked at what could not be read, and what came of it: it is told no more.
    seen_at = models.DateTimeField(_("vu le"), null=True, editable=False)
    seen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    seen_note = models.CharField(_("ce qui a été fait"), max_length=200, blank=True, default="", db_default="")

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("message d’un prestataire")
        verbose_name_plural = _("messages des prestataires")
        ordering = ["-received_at"]
        indexes = [
            models.Index(
                fields=["provider", "-received_at"], condition=Q(source="notification"), name="event_notified"
            ),
            models.Index(fields=["received_at"], condition=_WAITING, name="event_waiting"),
            models.Index(MD5("raw"), "id", condition=~Q(outcome="received"), name="event_understood"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(seen_at=None, seen_by=None, seen_note="")
                | Q(seen_at__isnull=False, seen_by__isnull=False, outcome="received") & ~Q(seen_note=""),
                name="seen_event_says_by_whom_and_why",
            )
        ]
        triggers = [
            pgtrigger.Protect(
                name="seen_event_stays_so",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.seen_at IS NOT NULL AND (OLD.seen_at, OLD.seen_by_id, OLD.seen_note)"
                    " IS DISTINCT FROM (NEW.seen_at, NEW.seen_by_id, NEW.seen_note)"
                ),
            ),
            pgtrigger.ReadOnly(name="event_is_kept_raw", fields=["provider", "source", "raw", "received_at"]),
            pgtrigger.Protect(name="events_are_kept", operation=pgtrigger.Delete),
            not_truncated("events_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{provider_name(self.provider)}, {moment(self.received_at)}"
