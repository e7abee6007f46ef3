"""The schools that children of the agglomération go to."""

from typing import TYPE_CHECKING, Any, Self

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune

if TYPE_CHECKING:
    from accounts.models import User


class Level(models.TextChoices):
    """The classes of French nursery and primary schools, youngest first."""

    TPS = "tps", _("Toute petite section")
    PS = "ps", _("Petite section")
    MS = "ms", _("Moyenne section")
    GS = "gs", _("Grande section")
    CP = "cp", _("CP")
    CE1 = "ce1", _("CE1")
    CE2 = "ce2", _("CE2")
    CM1 = "cm1", _("CM1")
    CM2 = "cm2", _("CM2")


def levels_field(label: Any, help_text: Any = "") -> ArrayField:
    """Several classes; which of them none stands for is said where it is used."""
    return ArrayField(
        models.CharField(max_length=4, choices=Level),
        default=list,
        blank=True,
        verbose_name=label,
        help_text=help_text,
    )


class SchoolQuerySet(models.QuerySet["School"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)

    def chosen_from(self) -> Self:
        """The schools that a parent chooses from, by commune."""
        return self.filter(is_active=True).select_related("commune").order_by("commune__name_key", "name")


@pghistory.track(append_only=True)
class School(models.Model):
    """A school of a commune with the classes it has."""

    commune = models.ForeignKey(Commune, on_delete=models.PROTECT, related_name="schools", verbose_name=_("commune"))
    name = models.CharField(_("nom"), max_length=120)
    levels = levels_field(_("classes"))
    is_active = models.BooleanField(_("proposée aux familles"), default=True)

    objects = SchoolQuerySet.as_manager()

    class Meta:
        verbose_name = _("école")
        verbose_name_plural = _("écoles")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["commune", "name"], name="one_school_per_name"),
            models.CheckConstraint(condition=Q(levels__len__gt=0), name="school_has_classes"),
        ]

    def __str__(self) -> str:
        return self.name
