"""What an absence gives back, as data."""

import pghistory
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


@pghistory.track(append_only=True)
class AbsenceRule(models.Model):
    """Whether days on which a child was absent are refunded, shared by the services that name it (« carence »).

    The first `waiting_days` calendar days of an absence are never refunded (3: the day itself and the two following). With
    `certificate`, the others are when a certificate comes within `certificate_hours` of the first hour missed.
    """

    class Refund(models.TextChoices):
        NEVER = "never", _("Jamais remboursée")
        WAITING = "waiting", _("Remboursée après la carence")
        CERTIFICATE = "certificate", _("Remboursée après la carence, sur certificat")

    name = models.CharField(_("nom"), max_length=80, unique=True)
    refund = models.CharField(_("une absence est"), max_length=12, choices=Refund, default=Refund.NEVER)
    waiting_days = models.PositiveSmallIntegerField(
        _("jours de carence"),
        default=0,
        validators=[MaxValueValidator(60)],
        help_text=_("Jours du calendrier. 0 : aucune carence ; 3 : le jour de l’absence et les deux suivants."),
    )
    certificate_hours = models.PositiveSmallIntegerField(
        _("certificat, dans les heures qui suivent"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text=_("Depuis le début de la première prestation manquée. 48, ou 168 pour sept jours."),
    )

    class Meta:
        verbose_name = _("règle d’absence")
        verbose_name_plural = _("règles d’absence")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(refund="certificate", certificate_hours__isnull=False, certificate_hours__gt=0)
                | (~Q(refund="certificate") & Q(certificate_hours=None)),
                name="certificate_has_its_hours",
            ),
            models.CheckConstraint(
                condition=~Q(refund="never") | Q(waiting_days=0), name="what_is_never_refunded_waits_for_nothing"
            ),
        ]

    def __str__(self) -> str:
        return self.name
