"""What a slot costs."""

from typing import TYPE_CHECKING, Self

import pghistory
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.common.money import MoneyField
from services.models.access import AccessProfile
from services.models.catalogue import Slot

if TYPE_CHECKING:
    from accounts.models import User


class TariffQuerySet(models.QuerySet["Tariff"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(profile__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Tariff(models.Model):
    """The price in euros of a slot for one situation, over a range of dates (upper bound excluded)."""

    slot = models.ForeignKey(
        Slot, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("type de prestation")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("situation")
    )
    price = MoneyField(_("prix"))
    valid = DateRangeField(_("valable"), help_text=_("Du premier jour inclus au dernier jour exclu."))
    decision = models.CharField(_("délibération"), max_length=80, blank=True, help_text=_("Numéro et date."))

    objects = TariffQuerySet.as_manager()

    class Meta:
        verbose_name = _("tarif")
        verbose_name_plural = _("tarifs")
        ordering = ["valid"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="price_is_not_negative"),
            ExclusionConstraint(
                name="one_price_at_a_time",
                expressions=[
                    ("slot", RangeOperators.EQUAL),
                    ("profile", RangeOperators.EQUAL),
                    ("valid", RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.slot} – {self.profile}"
