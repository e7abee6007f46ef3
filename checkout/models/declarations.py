"""Declarations that were a mistake, and whose lines were set right: who, when, since when, why, from what to what."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.common.db import not_truncated
from portal.common.formats import euros, short_date
from portal.common.money import MoneyField
from services.models import Slot

if TYPE_CHECKING:
    from accounts.models import User


def declared_words(nature: str, meal_price: Decimal | None) -> str:
    """« Garde et repas, dont repas 3,70 € »."""
    if not nature:
        return _("Rien de déclaré")
    label = str(Slot.Nature(nature).label)
    if meal_price is None:
        return label
    return _("%(nature)s, dont repas %(price)s") % {"nature": label, "price": euros(meal_price)}


def ordered_on(since: dt.date, until: dt.date | None) -> str:
    """« à partir du 05/01/2026 », « du 05/01/2026 au 31/08/2026 » or « le 05/01/2026 »."""
    if until is None:
        return _("à partir du %s") % short_date(since)
    if until == since:
        return _("le %s") % short_date(since)
    return _("du %(since)s au %(until)s") % {"since": short_date(since), "until": short_date(until)}


class DeclarationCorrectionQuerySet(models.QuerySet["DeclarationCorrection"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(slot__activity__service__commune__in=user.commune_ids)


class DeclarationCorrection(models.Model):
    """What a slot was to declare for what was ordered on these days: written once, before the lines that it rewrites."""

    slot = models.ForeignKey(
        Slot,
        on_delete=models.PROTECT,
        related_name="declaration_corrections",
        verbose_name=gettext_lazy("type de prestation"),
    )
    since = models.DateField(gettext_lazy("commandé à partir du"))
    # None: until it was made.
    until = models.DateField(gettext_lazy("commandé jusqu’au"), null=True)
    nature = models.CharField(gettext_lazy("pour les impôts"), max_length=6, choices=Slot.Nature)
    meal_price = MoneyField(gettext_lazy("dont repas"), null=True)
    # What these lines said: a list of {"nature", "meal_price", "lines"}.
    before = models.JSONField(gettext_lazy("avant"))
    lines = models.PositiveIntegerField(gettext_lazy("lignes corrigées"))
    families = models.PositiveIntegerField(gettext_lazy("familles"))
    reason = models.CharField(gettext_lazy("motif"), max_length=200)
    made_at = models.DateTimeField(gettext_lazy("corrigée le"), auto_now_add=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=gettext_lazy("par")
    )

    objects = DeclarationCorrectionQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("correction de déclaration")
        verbose_name_plural = gettext_lazy("corrections de déclarations")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="declaration_correction_says_why"),
            models.CheckConstraint(condition=Q(lines__gt=0, families__gt=0), name="declaration_correction_corrects"),
            models.CheckConstraint(
                condition=Q(nature="both", meal_price__isnull=False, meal_price__gt=0)
                | Q(nature__in=["care", "meal", "other"], meal_price=None),
                name="declaration_correction_says_what",
            ),
            models.CheckConstraint(
                condition=Q(until=None) | Q(until__gte=F("since")), name="declaration_correction_ends_after_it_begins"
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="declaration_corrections_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("declaration_corrections_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return _("%(slot)s\u00a0: %(now)s") % {"slot": self.slot, "now": self.now_says}

    @property
    def days(self) -> str:
        """« à partir du 05/01/2026 » or « du 05/01/2026 au 31/08/2026 »."""
        return ordered_on(self.since, self.until)

    @property
    def now_says(self) -> str:
        """What the lines say now: « Garde et repas, dont repas 3,70 € »."""
        return declared_words(self.nature, self.meal_price)
