"""A closure: which activities, whose children, from when to when, why; and the places that it ends."""

import datetime as dt
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from families.models import Enrolment, Filiation
from portal.common.db import not_truncated
from portal.common.formats import long_date
from portal.common.rows import LATE_AFTER
from services.limits import classes
from services.models import Activity, Classroom, OpenDay, School, Service
from services.models.schools import levels_field
from services.school_calendar import school_year

if TYPE_CHECKING:
    from accounts.models import User


NO_PUPILS = Q(school=None, levels__len=0, classroom=None)
OF_A_SCHOOL = Q(commune__isnull=False, service=None, activity=None, school__isnull=False)


class ClosureQuerySet(models.QuerySet["Closure"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)

    def in_force(self) -> Self:
        """Closures that were not undone."""
        return self.exclude(status=Closure.Status.UNDONE)

    def due(self, *, at: dt.datetime) -> Self:
        """Confirmed ones whose e-mails leave now."""
        return self.filter(status=Closure.Status.CONFIRMED, leaves_at__lte=at)


class Closure(models.Model):
    """Days on which something does not take place (strike, trip, absent teacher, snow).

    From its confirmation on nobody can book what it closes. Until `leaves_at` everything else stands still: the places stay
    taken, no money moves, and undoing it leaves no trace. Then the bookings are cancelled, whoever paid is paid back and
    written to, and it can no longer be undone. One that could not be applied has moved nothing: it is tried again, and can be
    undone. A closure of a school, of levels or of a class leaves the days open to other children.
    """

    class Scope(models.TextChoices):
        COMMUNE = "commune", _("Toute la commune")
        SERVICE = "service", _("Un service")
        ACTIVITY = "activity", _("Une activité")
        SCHOOL = "school", _("Une école")
        CLASS = "class", _("Des niveaux d’une école")
        CLASSROOM = "classroom", _("Une classe")

    class Status(models.TextChoices):
        CONFIRMED = "confirmed", _("Confirmée, courriels à venir")
        UNDONE = "undone", _("Annulée")
        SENT = "sent", _("Appliquée, familles prévenues")

    scope = models.CharField(_("ce qui ferme"), max_length=10, choices=Scope)
    commune = models.ForeignKey(
        Commune, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("commune")
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("service")
    )
    activity = models.ForeignKey(
        Activity, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("activité")
    )
    school = models.ForeignKey(
        School, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("école")
    )
    levels = levels_field(_("niveaux"))
    classroom = models.ForeignKey(
        Classroom, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("classe")
    )
    first_day = models.DateField(_("du"))
    last_day = models.DateField(_("au (inclus)"))
    reason = models.CharField(_("motif"), max_length=120)
    status = models.CharField(_("état"), max_length=10, choices=Status, default=Status.CONFIRMED)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("décidée par")
    )
    created_at = models.DateTimeField(_("décidée le"), auto_now_add=True)
    leaves_at = models.DateTimeField(_("courriels à partir de"))
    ended_at = models.DateTimeField(_("terminée le"), null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulée par")
    )
    # When it could last not be applied by itself: the others come before it.
    failed_at = models.DateTimeField(null=True, editable=False)

    objects = ClosureQuerySet.as_manager()

    class Meta:
        verbose_name = _("fermeture")
        verbose_name_plural = _("fermetures")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scope="commune", commune__isnull=False, service=None, activity=None) & NO_PUPILS
                | Q(scope="service", service__isnull=False, activity=None) & NO_PUPILS
                | Q(scope="activity", service=None, activity__isnull=False) & NO_PUPILS
                | Q(scope="school", levels__len=0, classroom=None) & OF_A_SCHOOL
                | Q(scope="class", levels__len__gt=0, classroom=None) & OF_A_SCHOOL
                | Q(scope="classroom", levels__len=0, classroom__isnull=False) & OF_A_SCHOOL,
                name="closure_names_what_it_closes",
            ),
            models.CheckConstraint(condition=Q(last_day__gte=F("first_day")), name="closure_days_are_in_order"),
            models.CheckConstraint(condition=~Q(reason=""), name="closure_says_why"),
            models.CheckConstraint(
                condition=Q(status="confirmed", ended_at=None, ended_by=None)
                | Q(status="undone", ended_at__isnull=False, ended_by__isnull=False)
                | Q(status="sent", ended_at__isnull=False, ended_by=None),
                name="ended_closure_is_dated",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="closure_transitions",
                field="status",
                transitions=[("confirmed", "undone"), ("confirmed", "sent")],
            ),
            pgtrigger.ReadOnly(
                name="closure_is_frozen",
                fields=[
                    *("scope", "commune", "service", "activity", "school", "levels", "classroom"),
                    *("first_day", "last_day", "reason", "made_by", "created_at"),
                ],
            ),
            pgtrigger.Protect(name="closures_are_kept", operation=pgtrigger.Delete),
            not_truncated("closures_are_not_emptied"),
        ]
        indexes = [
            models.Index(fields=["leaves_at"], condition=Q(status="confirmed"), name="closure_due"),
            models.Index(fields=["school", "first_day"], condition=Q(school__isnull=False), name="closure_of_school"),
        ]

    def __str__(self) -> str:
        return f"{self.target}, {self.dates}"

    @property
    def target(self) -> str:
        """What is closed: `École publique de Rosières (CP et CE1)`."""
        if self.scope == self.Scope.CLASS:
            return f"{self.school} ({classes(self.levels)})"
        if self.classroom is not None:
            return f"{self.school} ({self.classroom})"
        return str(self.school or self.activity or self.service or self.commune)

    @property
    def dates(self) -> str:
        """`mardi 8 décembre 2026`, or from one day to another."""
        if self.first_day == self.last_day:
            return long_date(self.first_day)
        return _("du %(first)s au %(last)s") % {"first": long_date(self.first_day), "last": long_date(self.last_day)}

    @property
    def of_pupils(self) -> bool:
        """Whether it concerns the children of a school alone, and leaves the days open to others."""
        return self.scope in (self.Scope.SCHOOL, self.Scope.CLASS, self.Scope.CLASSROOM)

    @property
    def can_be_undone(self) -> bool:
        """Whether nobody was told, and nobody is about to be: before its time, or when it could not be applied."""
        return self.status == self.Status.CONFIRMED and (self.leaves_at > timezone.now() or self.is_stuck)

    @property
    def is_due(self) -> bool:
        """Whether its time is over, and it is not applied."""
        return self.status == self.Status.CONFIRMED and self.leaves_at <= timezone.now()

    @property
    def is_stuck(self) -> bool:
        """Whether it should have been applied, and failed, or nothing has come of it for long."""
        late = self.leaves_at <= timezone.now() - LATE_AFTER
        return self.is_due and (self.failed_at is not None or late)

    def open_days(self) -> "models.QuerySet[OpenDay]":
        """The days of the calendar that it touches: a school's are those of its commune's services."""
        days = OpenDay.objects.filter(date__range=(self.first_day, self.last_day))
        if self.activity_id:
            return days.filter(activity=self.activity_id)
        if self.service_id:
            return days.filter(activity__service=self.service_id)
        return days.filter(activity__service__commune=self.commune_id)

    def pupils(self) -> "models.QuerySet[Enrolment]":
        """The children of the school, of its levels or of its class, in the school year of the closure."""
        rows = Enrolment.objects.filter(school=self.school_id, year=school_year(self.first_day)[0].year)
        if self.scope == self.Scope.CLASSROOM:
            return rows.filter(classroom=self.classroom_id)
        return rows.filter(level__in=self.levels) if self.scope == self.Scope.CLASS else rows

    def may_be_pupils(self) -> "models.Q":
        """Which beneficiaries nobody knows to be concerned or not: without a school this year, or (when a class closes) of the
        school and without a class. Adults who book for themselves are none of them."""
        enrolled = Enrolment.objects.filter(year=school_year(self.first_day)[0].year)
        unknown = ~Q(beneficiary__in=enrolled.values("beneficiary"))
        if self.scope == self.Scope.CLASSROOM:
            unknown |= Q(beneficiary__in=enrolled.filter(school=self.school_id, classroom=None).values("beneficiary"))
        return unknown & ~Q(beneficiary__in=Filiation.objects.filter(kind=Filiation.Kind.SELF).values("beneficiary"))


class ClosedDay(models.Model):
    """A day that a closure closed, and what undoing it gives back."""

    closure = models.ForeignKey(Closure, on_delete=models.PROTECT, related_name="closed_days")
    open_day = models.ForeignKey(OpenDay, on_delete=models.PROTECT, related_name="closed_by")
    was_by_hand = models.BooleanField()

    class Meta:
        verbose_name = _("jour fermé")
        verbose_name_plural = _("jours fermés")
        constraints = [models.UniqueConstraint(fields=["closure", "open_day"], name="closed_once_by_a_closure")]
        triggers = [
            pgtrigger.Protect(name="closed_days_are_kept", operation=pgtrigger.Delete | pgtrigger.Update),
            not_truncated("closed_days_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.closure} – {self.open_day}"


class ClosedBooking(models.Model):
    """A booked place that a closure ends when its e-mails leave: those that staff were shown, and no other."""

    closure = models.ForeignKey(Closure, on_delete=models.PROTECT, related_name="closed_bookings")
    booking = models.ForeignKey("bookings.Booking", on_delete=models.PROTECT, related_name="closed_by")

    class Meta:
        verbose_name = _("réservation touchée")
        verbose_name_plural = _("réservations touchées")
        constraints = [models.UniqueConstraint(fields=["closure", "booking"], name="ended_once_by_a_closure")]
        triggers = [
            pgtrigger.Protect(name="closed_bookings_are_kept", operation=pgtrigger.Delete | pgtrigger.Update),
            not_truncated("closed_bookings_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.closure} – {self.booking}"
