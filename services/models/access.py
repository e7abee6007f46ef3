"""In which situation somebody uses a service, and who was let in."""

import datetime as dt
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.common.formats import today
from services.models.catalogue import Service

if TYPE_CHECKING:
    from accounts.models import User


# An access of a school year can be renewed from June on, and what is validated from then on is for the next one.
RENEWED_BEFORE = dt.timedelta(days=92)


class AccessProfileQuerySet(models.QuerySet["AccessProfile"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class AccessProfile(models.Model):
    """The « élément correspondant à votre situation » that fixes the price grid: Résident, 1er enfant, Tarif réduit…"""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="profiles", verbose_name=_("service"))
    label = models.CharField(_("situation"), max_length=120)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("proposé"), default=True)

    objects = AccessProfileQuerySet.as_manager()

    class Meta:
        verbose_name = _("situation")
        verbose_name_plural = _("situations")
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint(fields=["service", "label"], name="one_profile_per_label")]

    def __str__(self) -> str:
        return self.label


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def approved(self) -> Self:
        """Requests that open the booking of their service."""
        return self.filter(status=Subscription.Status.APPROVED, profile__service__is_active=True)

    def covering(self, date: dt.date) -> Self:
        """Those of approved() whose school year is not over on a date."""
        return self.approved().filter(Q(valid_until=None) | Q(valid_until__gte=date))

    def renewing(self) -> Self:
        """Accesses whose family asks for another school year."""
        return self.filter(renewal_asked_at__isnull=False)

    def pending(self) -> Self:
        return self.filter(status=Subscription.Status.PENDING)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(profile__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Subscription(models.Model):
    """A user's request for access to a service in one situation (« Mes services »), decided by that service's staff."""

    class Status(models.TextChoices):
        PENDING = "pending", _("En attente")
        APPROVED = "approved", _("Validé")
        REFUSED = "refused", _("Refusé")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="subscriptions", verbose_name=_("usager")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, related_name="subscriptions", verbose_name=_("situation")
    )
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.PENDING, editable=False)
    requested_at = models.DateTimeField(_("demandé le"), auto_now_add=True)
    decided_at = models.DateTimeField(_("décidé le"), null=True, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("décidé par"),
    )
    reason = models.TextField(_("motif"), blank=True, editable=False)
    valid_until = models.DateField(
        _("valable jusqu’au"), null=True, editable=False, help_text=_("Vide : sans date de fin.")
    )
    renewal_asked_at = models.DateTimeField(_("renouvellement demandé le"), null=True, editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("demande d’accès")
        verbose_name_plural = _("demandes d’accès")
        ordering = ["-requested_at"]
        constraints = [
            models.UniqueConstraint(fields=["user", "profile"], name="one_request_per_profile"),
            models.CheckConstraint(
                condition=Q(status="pending", decided_at=None) | (~Q(status="pending") & Q(decided_at__isnull=False)),
                name="request_decision_is_dated",
            ),
            models.CheckConstraint(
                condition=Q(renewal_asked_at=None) | Q(status="approved", valid_until__isnull=False),
                name="what_ends_is_renewed",
            ),
            models.CheckConstraint(condition=~Q(status="refused") | ~Q(reason=""), name="request_refusal_has_a_reason"),
        ]
        triggers = [
            pgtrigger.FSM(
                name="request_transitions",
                field="status",
                transitions=[
                    ("pending", "approved"),
                    ("pending", "refused"),
                    ("refused", "pending"),
                    ("refused", "approved"),
                    ("approved", "refused"),
                ],
            )
        ]
        indexes = [models.Index(fields=["profile", "status"], name="request_by_profile")]

    def __str__(self) -> str:
        return f"{self.profile.service} – {self.profile}"

    @property
    def can_be_renewed(self) -> bool:
        """Whether the family may ask for another school year: from the last June of this one on."""
        soon = self.valid_until is not None and self.valid_until < today() + RENEWED_BEFORE
        return soon and self.status == self.Status.APPROVED and self.renewal_asked_at is None

    @property
    def is_over(self) -> bool:
        """Whether its school year has passed."""
        return self.valid_until is not None and self.valid_until < today()
