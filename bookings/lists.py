"""« Mes listes »: a selection that a family saves under a name, to book it again another month (seed 001)."""

from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from families.models import Beneficiary
from portal.common.formats import WEEKDAYS, enumeration
from services.models import AccessProfile, Slot

if TYPE_CHECKING:
    from accounts.models import User


class SavedListQuerySet(models.QuerySet["SavedList"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def with_rows(self) -> Self:
        """Each with what a page says of it."""
        return self.select_related("slot__activity__service").prefetch_related("rows__beneficiary")


class SavedList(models.Model):
    """A slot, and the weekdays of each beneficiary; it holds no place and fixes no price until it is put in the cart."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="saved_lists", verbose_name=_("usager")
    )
    name = models.CharField(_("nom"), max_length=60)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+", verbose_name=_("type de prestation"))
    profile = models.ForeignKey(AccessProfile, on_delete=models.PROTECT, related_name="+", verbose_name=_("situation"))
    created_at = models.DateTimeField(_("créée le"), auto_now_add=True)

    objects = SavedListQuerySet.as_manager()

    class Meta:
        verbose_name = _("liste")
        verbose_name_plural = _("listes")
        ordering = [Lower("name"), "pk"]
        constraints = [
            models.UniqueConstraint("user", Lower("name"), name="one_list_per_name"),
            models.CheckConstraint(condition=~Q(name=""), name="list_has_a_name"),
        ]
        triggers = [
            # Its weekdays were chosen among those of this activity; another slot is another list.
            pgtrigger.ReadOnly(name="list_is_frozen", fields=["user", "slot", "profile", "created_at"]),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("saved_list", args=[self.pk])


class SavedListRow(models.Model):
    """The weekdays of one beneficiary (0 is Monday, as in Activity)."""

    saved_list = models.ForeignKey(SavedList, on_delete=models.PROTECT, related_name="rows")
    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="+", verbose_name=_("bénéficiaire")
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(choices=list(enumerate(WEEKDAYS)), validators=[MaxValueValidator(6)]),
        verbose_name=_("jours"),
    )

    class Meta:
        verbose_name = _("jours d’une liste")
        verbose_name_plural = _("jours d’une liste")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["saved_list", "beneficiary"], name="one_row_per_person"),
            models.CheckConstraint(
                condition=Q(weekdays__len__gt=0, weekdays__contained_by=[0, 1, 2, 3, 4, 5, 6]),
                name="list_row_has_weekdays",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.beneficiary.first_name}\u00a0: {self.words}"

    @property
    def words(self) -> str:
        """`lundi, mardi et jeudi`."""
        return enumeration(WEEKDAYS[number] for number in sorted(self.weekdays))
