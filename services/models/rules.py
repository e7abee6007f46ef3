"""Until when a day may be booked and cancelled, as data."""

import datetime as dt
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from portal.common.formats import WEEKDAYS

if TYPE_CHECKING:
    from accounts.models import User

MINUTES_OF_DAY = 24 * 60

# The rows that a rule names are locked against a change in that moment: two writers see each other.
LATE_IS_PLAIN = """
    IF NEW.late_id IS NOT NULL THEN
        PERFORM 1 FROM services_deadline WHERE id = NEW.late_id FOR SHARE;
        IF NEW.late_id = NEW.id
           OR EXISTS (SELECT 1 FROM services_deadline d WHERE d.id = NEW.late_id AND d.late_id IS NOT NULL)
           OR EXISTS (SELECT 1 FROM services_deadline d WHERE d.late_id = NEW.id) THEN
            RAISE EXCEPTION 'services_deadline: a second limit has no third'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'late_is_the_last';
        END IF;
        IF EXISTS (SELECT 1 FROM services_service s WHERE s.cancel_deadline_id = NEW.id)
           OR EXISTS (SELECT 1 FROM services_activity a WHERE a.cancel_deadline_id = NEW.id) THEN
            RAISE EXCEPTION 'services_deadline: places are cancelled until its limit, never later'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'cancelling_is_never_late';
        END IF;
    END IF;
    RETURN NEW;
"""


# A commune's rule rules its own services; what belongs to nobody rules everybody's.
LATE_IS_OF_ITS_COMMUNE = """
    IF EXISTS (
        SELECT 1 FROM services_deadline d WHERE d.id = NEW.late_id
        AND d.commune_id IS NOT NULL AND d.commune_id IS DISTINCT FROM NEW.commune_id
    ) THEN
        RAISE EXCEPTION 'services_deadline: the second limit is another commune''s'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'deadline_is_of_its_commune';
    END IF;
    RETURN NEW;
"""


class DeadlineQuerySet(models.QuerySet["Deadline"]):
    def visible_to(self, user: "User") -> Self:
        """Those that everybody shares, and those of this member of staff's communes."""
        return self if user.is_operator else self.filter(Q(commune=None) | Q(commune__in=user.commune_ids))

    def offered_to(self, commune: int | None) -> Self:
        """Those that a service of this commune (by key; None: of the agglomération) may name."""
        return self.filter(Q(commune=None) | Q(commune=commune)) if commune else self.filter(commune=None)


def cancelling_is_never_late() -> pgtrigger.Trigger:
    """What names a deadline for cancelling (services, activities) names one without a second limit."""
    return pgtrigger.Trigger(
        name="cancelling_is_never_late",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("cancel_deadline_id"),
        condition=pgtrigger.Condition("NEW.cancel_deadline_id IS NOT NULL"),
        func="""
            PERFORM 1 FROM services_deadline WHERE id = NEW.cancel_deadline_id FOR SHARE;
            IF EXISTS (SELECT 1 FROM services_deadline d WHERE d.id = NEW.cancel_deadline_id AND d.late_id IS NOT NULL) THEN
                RAISE EXCEPTION '%: places are cancelled until one limit', TG_TABLE_NAME
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'cancelling_is_never_late';
            END IF;
            RETURN NEW;
        """,
    )


@pghistory.track(append_only=True)
class Deadline(models.Model):
    """A rule that says until when a day may be booked or cancelled, shared by the services and activities that name it.

    `days`: `offset` days before at `time`, days of the skipped kinds not being counted (J-2 12:00).
    `week`: on `weekday` of the week before the day's week, at `time` (jeudi 12:00).
    `weekdays`: for each weekday booked, a moment of the seven days before it (lundi, mardi ← jeudi 10:00).
    `holidays`: `offset` weeks before the first day of the school holidays that the day lies in, at `time`.
    A limit that falls on a day of a skipped kind moves to the last day before. `opens_weeks` opens a day so many weeks before.
    With `late`, a day may still be booked until that second limit, at a surcharge (« réservation tardive »); the second limit has
    none of its own, and no place is cancelled late.
    """

    class Basis(models.TextChoices):
        DAYS = "days", _("Nombre de jours avant")
        WEEK = "week", _("Jour fixe de la semaine précédente")
        WEEKDAYS = "weekdays", _("Une limite pour chaque jour de la semaine")
        HOLIDAYS = "holidays", _("Nombre de semaines avant les vacances")

    class Surcharge(models.TextChoices):
        NONE = "", _("Sans majoration")
        ADDED = "added", _("Supplément, en euros")
        TIMES = "times", _("Prix multiplié par")
        FIXED = "fixed", _("Prix unique, en euros")

    class Period(models.TextChoices):
        MONTH = "month", _("par mois")
        YEAR = "year", _("par année scolaire")

    commune = models.ForeignKey(
        Commune,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("commune"),
        help_text=_("Vide : proposé à toutes les communes."),
    )
    name = models.CharField(_("nom"), max_length=80)
    basis = models.CharField(_("règle"), max_length=10, choices=Basis)
    offset = models.PositiveSmallIntegerField(
        _("nombre de jours ou de semaines"),
        default=0,
        validators=[MaxValueValidator(60)],
        help_text=_("0 : le jour même."),
    )
    weekday = models.PositiveSmallIntegerField(
        _("jour de la semaine"), null=True, blank=True, choices=list(enumerate(WEEKDAYS))
    )
    weekday_limits = ArrayField(
        models.PositiveSmallIntegerField(null=True, validators=[MaxValueValidator(7 * MINUTES_OF_DAY - 1)]),
        size=7,
        null=True,
        blank=True,
        verbose_name=_("limite de chaque jour"),
        help_text=_("Pour chaque jour réservé, la limite en minutes depuis le lundi à 0 h."),
    )
    time = models.TimeField(_("heure"), default=dt.time(12))
    opens_weeks = models.PositiveSmallIntegerField(
        _("ouverture, en semaines avant"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(60)],
        help_text=_("Avant la date, ou avant le début des vacances. Vide : ouvert dès la publication."),
    )
    skip_weekends = models.BooleanField(_("sans compter samedis et dimanches"), default=True)
    skip_holidays = models.BooleanField(_("sans compter les jours fériés"), default=True)
    skip_school_holidays = models.BooleanField(
        _("sans compter les vacances scolaires"),
        default=False,
        help_text=_("Pour le jour de la rentrée, la limite est alors avant les vacances."),
    )
    late = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("réservation tardive jusqu’à"),
        help_text=_("Vide : passé le délai, on ne peut plus réserver."),
    )
    surcharge = models.CharField(_("majoration"), max_length=10, choices=Surcharge, default="", blank=True)
    surcharge_amount = models.DecimalField(
        _("montant ou facteur"), max_digits=8, decimal_places=2, null=True, blank=True, help_text=_("1,00 ou 1,5.")
    )
    free_times = models.PositiveSmallIntegerField(
        _("fois sans majoration"), default=0, help_text=_("0 : majoré dès la première fois.")
    )
    free_period = models.CharField(_("comptées"), max_length=10, choices=Period, default=Period.MONTH)

    reader: "User"  # who looks at its page (DeadlineAdmin)

    objects = DeadlineQuerySet.as_manager()

    class Meta:
        verbose_name = _("délai")
        verbose_name_plural = _("délais")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["commune", "name"], nulls_distinct=False, name="one_deadline_per_name"),
            models.CheckConstraint(
                condition=Q(basis="week", weekday__isnull=False) | (~Q(basis="week") & Q(weekday=None)),
                name="deadline_week_has_a_weekday",
            ),
            models.CheckConstraint(
                # With its « is not null », as below: a CHECK that compares with nothing passes.
                condition=Q(basis="weekdays", weekday_limits__isnull=False, weekday_limits__len=7)
                | (~Q(basis="weekdays") & Q(weekday_limits=None)),
                name="deadline_has_a_limit_for_each_weekday",
            ),
            models.CheckConstraint(
                condition=Q(opens_weeks=None) | ~Q(basis="holidays") | Q(opens_weeks__gt=F("offset")),
                name="deadline_opens_before_it_closes",
            ),
            models.CheckConstraint(
                condition=Q(surcharge="", surcharge_amount=None)
                | (~Q(surcharge="") & Q(surcharge_amount__isnull=False, surcharge_amount__gte=0, late__isnull=False)),
                name="surcharge_has_an_amount",
            ),
            models.CheckConstraint(
                condition=~Q(surcharge="times") | Q(surcharge_amount__gte=1), name="late_is_never_cheaper"
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="late_is_the_last",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("late_id"),
                func=LATE_IS_PLAIN,
            ),
            pgtrigger.Trigger(
                name="late_is_of_its_commune",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("late_id"),
                func=LATE_IS_OF_ITS_COMMUNE,
            ),
            # Services and activities of this commune name it.
            pgtrigger.ReadOnly(name="deadline_stays_with_its_commune", fields=["commune"]),
        ]

    def __str__(self) -> str:
        return self.name
