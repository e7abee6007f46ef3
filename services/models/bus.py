"""The lines of the school buses and their stops, between which a yearly pass is chosen."""

from typing import TYPE_CHECKING, Self

import pghistory
from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.formats import hour
from services.models.catalogue import Activity

if TYPE_CHECKING:
    from accounts.models import User


class BusLineQuerySet(models.QuerySet["BusLine"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class BusLine(models.Model):
    """A line that the passes of an activity are for: « Ligne 12 : Rosières – Le Puy-en-Velay »."""

    activity = models.ForeignKey(
        Activity, on_delete=models.PROTECT, related_name="bus_lines", verbose_name=_("activité")
    )
    name = models.CharField(_("nom"), max_length=80)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("proposée"), default=True)

    objects = BusLineQuerySet.as_manager()

    class Meta:
        verbose_name = _("ligne de car")
        verbose_name_plural = _("lignes de car")
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["activity", "name"], name="one_line_per_name")]

    def __str__(self) -> str:
        return self.name


class BusStopQuerySet(models.QuerySet["BusStop"]):
    def offered(self) -> Self:
        """Stops that can be chosen."""
        return self.filter(is_active=True, line__is_active=True)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(line__activity__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class BusStop(models.Model):
    """Where a line stops, and when: in the morning towards the school, in the evening back."""

    line = models.ForeignKey(BusLine, on_delete=models.PROTECT, related_name="stops", verbose_name=_("ligne"))
    name = models.CharField(_("arrêt"), max_length=80)
    morning = models.TimeField(_("passage du matin"), null=True, blank=True)
    evening = models.TimeField(_("passage du soir"), null=True, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("desservi"), default=True)

    objects = BusStopQuerySet.as_manager()

    class Meta:
        verbose_name = _("arrêt de car")
        verbose_name_plural = _("arrêts de car")
        ordering = ["line", "position", "pk"]
        constraints = [models.UniqueConstraint(fields=["line", "name"], name="one_stop_per_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.line})"

    @property
    def times(self) -> str:
        """`7 h 10, retour 17 h 50`."""
        parts = [hour(self.morning) if self.morning else "", f"retour {hour(self.evening)}" if self.evening else ""]
        return ", ".join(part for part in parts if part)
