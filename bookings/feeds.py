"""The secret address under which a family's calendar programs read its bookings."""

import uuid
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from accounts.models import User


def _signer() -> Signer:
    return Signer(salt="bookings.feed", sep=".")


class CalendarFeedQuerySet(models.QuerySet["CalendarFeed"]):
    def of(self, user: "User") -> Self:
        """The address in force of an adult, if there is one."""
        return self.filter(user=user, revoked_at=None)

    def with_key(self, key: str) -> Self:
        """The feed in force that an address's key opens; none for a forged or a withdrawn one."""
        try:
            number = uuid.UUID(_signer().unsign(key))
        except (BadSignature, ValueError):
            return self.none()
        return self.filter(number=number, revoked_at=None)


class CalendarFeed(models.Model):
    """An address that shows an adult's family bookings to whoever knows it, until it is withdrawn.

    What is stored is a random number; the address carries it signed with the site's secret key. Who reads the table (a
    backup, an export) cannot write an address from it, and a wrong one is refused before anything is looked up.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="calendar_feeds", verbose_name=_("usager")
    )
    number = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("créée le"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("retirée le"), null=True, editable=False)

    objects = CalendarFeedQuerySet.as_manager()

    class Meta:
        verbose_name = _("adresse d’agenda")
        verbose_name_plural = _("adresses d’agenda")
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(revoked_at=None), name="one_feed_per_user"),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="feed_is_frozen", fields=["user", "number", "created_at"]),
            # An address that was given away by mistake must not come back.
            pgtrigger.Protect(
                name="withdrawn_feed_stays_so",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__revoked_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("feed_file", args=[self.key])

    @property
    def key(self) -> str:
        """What the address carries: the number and its signature."""
        return _signer().sign(self.number.hex)
