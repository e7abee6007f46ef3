"""The schools that children of the agglomération go to, and their classes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune

if TYPE_CHECKING:
    from accounts.models import User


class Level(models.TextChoices):
    """The levels of French nursery and primary schools, youngest first. A class may hold several."""

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
    """Several levels; which of them none stands for is said where it is used."""
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
    """A school of a commune with the levels it has."""

    commune = models.ForeignKey(Commune, on_delete=models.PROTECT, related_name="schools", verbose_name=_("commune"))
    name = models.CharField(_("nom"), max_length=120)
    levels = levels_field(_("niveaux"))
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


class ClassroomQuerySet(models.QuerySet["Classroom"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(school__commune__in=user.commune_ids)

    def chosen_from(self, years: Iterable[int]) -> Self:
        """The classes that a parent chooses from, school by school."""
        rows = self.filter(year__in=years, school__is_active=True).select_related("school__commune")
        return rows.order_by("school__commune__name_key", "school__name", "year", "name")


@pghistory.track(append_only=True)
class Classroom(models.Model):
    """A class of a school for one school year, as parents know it: « CE1-CE2 de Mme Martin »."""

    school = models.ForeignKey(School, on_delete=models.PROTECT, related_name="classrooms", verbose_name=_("école"))
    year = models.PositiveSmallIntegerField(_("année scolaire"), help_text=_("L’année de la rentrée."))
    name = models.CharField(
        _("nom"), max_length=80, help_text=_("Comme les parents la connaissent : CE1-CE2 de Mme Martin.")
    )
    levels = levels_field(_("niveaux"))

    objects = ClassroomQuerySet.as_manager()

    class Meta:
        verbose_name = _("classe")
        verbose_name_plural = _("classes")
        ordering = ["-year", "name"]
        constraints = [
            models.UniqueConstraint(fields=["school", "year", "name"], name="one_classroom_per_name"),
            models.CheckConstraint(condition=Q(levels__len__gt=0), name="classroom_has_levels"),
        ]
        triggers = [
            # Its pupils and its closures are that school's, in that year.
            pgtrigger.ReadOnly(name="classroom_keeps_its_school", fields=["school", "year"]),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        """`CE1-CE2 de Mme Martin (2026-2027)`."""
        return f"{self.name} ({self.year}-{self.year + 1})"
