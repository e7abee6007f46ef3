"""On which weekdays an activity is open during which part of the year."""

from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portal.common.formats import WEEKDAYS, short_date
from services.models.catalogue import Activity

if TYPE_CHECKING:
    from accounts.models import User

# Of two periods of one kind that cover the same days, neither would be the more exact. Looked at when all rows of a page are
# written: a weekday may move from one to another. The activity's row is locked, so that two writers see each other.
NO_WEEKDAY_TWICE = """
    PERFORM 1 FROM services_activity WHERE id = NEW.activity_id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT 1 FROM services_activityperiod n
        JOIN services_activityperiod p ON p.activity_id = n.activity_id AND p.kind = n.kind AND p.holiday = n.holiday
        WHERE n.id = NEW.id AND p.id <> n.id
          AND (n.kind <> 'dates' OR daterange(p.first_day, p.last_day, '[]') && daterange(n.first_day, n.last_day, '[]'))
          AND (p.weekdays && n.weekdays OR cardinality(p.weekdays) = 0 OR cardinality(n.weekdays) = 0)
    ) THEN
        RAISE EXCEPTION 'services_activityperiod: a weekday is in one period of a kind'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'one_period_per_weekday';
    END IF;
    RETURN NULL;
"""


SLOTS_OF_THE_ACTIVITY = """
    IF NOT NEW.slots <@ ARRAY(SELECT s.id FROM services_slot s WHERE s.activity_id = NEW.activity_id) THEN
        RAISE EXCEPTION 'services_activityperiod: a period offers slots of its activity'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'period_offers_slots_of_its_activity';
    END IF;
    RETURN NEW;
"""


class ActivityPeriodQuerySet(models.QuerySet["ActivityPeriod"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class ActivityPeriod(models.Model):
    """The weekdays on which an activity is open during one part of the year; without any, it is closed then.

    Of the periods that a date lies in, the most exact kind alone counts (`RANKS`): chosen dates, then holidays by their
    name, then school weeks, small holidays and summer, then all holidays, then the whole year. Periods of one kind share
    no weekday, so that at most one of them opens a date.
    """

    class Kind(models.TextChoices):
        SCHOOL = "school", _("Semaines d’école")
        HOLIDAYS = "holidays", _("Toutes les vacances scolaires")
        SMALL = "small", _("Petites vacances")
        SUMMER = "summer", _("Vacances d’été")
        NAMED = "named", _("Vacances choisies")
        ALWAYS = "always", _("Toute l’année")
        DATES = "dates", _("Dates choisies")

    RANKS = {
        Kind.ALWAYS: 0,
        Kind.HOLIDAYS: 1,
        Kind.SCHOOL: 2,
        Kind.SMALL: 2,
        Kind.SUMMER: 2,
        Kind.NAMED: 3,
        Kind.DATES: 4,
    }
    # What can be told from the date alone.
    WITHOUT_SCHOOL = (Kind.ALWAYS, Kind.DATES)

    activity = models.ForeignKey(Activity, on_delete=models.CASCADE, related_name="periods", verbose_name=_("activité"))
    kind = models.CharField(_("période"), max_length=10, choices=Kind, default=Kind.SCHOOL)
    holiday = models.CharField(_("vacances"), max_length=60, blank=True)
    first_day = models.DateField(_("du"), null=True, blank=True)
    last_day = models.DateField(_("au (inclus)"), null=True, blank=True)
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(choices=list(enumerate(WEEKDAYS))),
        default=list,
        blank=True,
        verbose_name=_("jours d’ouverture"),
    )
    capacity = models.PositiveIntegerField(
        _("places par jour"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    slots = ArrayField(
        models.BigIntegerField(),
        default=list,
        db_default=[],
        blank=True,
        verbose_name=_("prestations proposées"),
        help_text=_("Aucune cochée : toutes."),
    )

    objects = ActivityPeriodQuerySet.as_manager()

    class Meta:
        verbose_name = _("période d’ouverture")
        verbose_name_plural = _("périodes d’ouverture")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=(Q(kind="named") & ~Q(holiday="")) | (~Q(kind="named") & Q(holiday="")),
                name="named_period_names_its_holidays",
            ),
            models.CheckConstraint(
                # With its « is not null »: a CHECK that compares with nothing passes.
                condition=Q(kind="dates", first_day__isnull=False, last_day__isnull=False, last_day__gte=F("first_day"))
                | (~Q(kind="dates") & Q(first_day=None, last_day=None)),
                name="period_dates_are_in_order",
            ),
            models.CheckConstraint(condition=Q(capacity=None) | Q(capacity__gt=0), name="period_has_places"),
            models.CheckConstraint(
                condition=Q(weekdays__contained_by=[0, 1, 2, 3, 4, 5, 6]), name="period_has_weekdays_of_a_week"
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="one_period_per_weekday",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.Update,
                timing=pgtrigger.Deferred,
                func=NO_WEEKDAY_TWICE,
            ),
            pgtrigger.Trigger(
                name="period_offers_slots_of_its_activity",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("slots", "activity_id"),
                condition=pgtrigger.Condition("NEW.slots <> '{}'"),
                func=SLOTS_OF_THE_ACTIVITY,
            ),
        ]

    def __str__(self) -> str:
        if self.kind == self.Kind.NAMED:
            return self.holiday
        if self.first_day and self.last_day:
            return _("du %(first)s au %(last)s") % {
                "first": short_date(self.first_day),
                "last": short_date(self.last_day),
            }
        return str(self.get_kind_display())

    def clashes(self, other: "ActivityPeriod") -> bool:
        """Whether another period of the activity has the same days on one of the same weekdays (or none, where this has)."""
        if (self.kind, self.holiday) != (other.kind, other.holiday):
            return False
        if (self.last_day and other.first_day and self.last_day < other.first_day) or (
            other.last_day and self.first_day and other.last_day < self.first_day
        ):
            return False
        return bool(set(self.weekdays) & set(other.weekdays)) or not (self.weekdays and other.weekdays)

    @property
    def rank(self) -> int:
        """How exact it is: of the periods around a date the highest counts."""
        return self.RANKS[self.Kind(self.kind)]
