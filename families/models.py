"""The people bookings are for, and the adults who answer for them."""

import datetime as dt
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import SupportingDocument, User
from portal.common.formats import today
from services.models import Classroom, Level, School

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class BeneficiaryQuerySet(models.QuerySet["Beneficiary"]):
    def of(self, user: User) -> Self:
        """The beneficiaries this adult answers for today."""
        return self.filter(filiations__user=user, filiations__ended_at=None)

    def visible_to(self, user: User) -> Self:
        if user.is_operator:
            return self
        return self.filter(
            pk__in=Filiation.objects.filter(user__in=User.objects.visible_to(user)).values("beneficiary")
        )


@pghistory.track(append_only=True)
class Beneficiary(models.Model):
    """Somebody a booking is for: a child, or an adult for themselves."""

    first_name = models.CharField(_("prénom"), max_length=80)
    last_name = models.CharField(_("nom"), max_length=80)
    birth_date = models.DateField(_("date de naissance"), null=True, blank=True)
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)

    objects = BeneficiaryQuerySet.as_manager()

    class Meta:
        verbose_name = _("bénéficiaire")
        verbose_name_plural = _("bénéficiaires")
        ordering = ["birth_date", "first_name"]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}"

    def age_on(self, date: dt.date) -> int | None:
        """Full years on that date, or None without a date of birth."""
        if self.birth_date is None:
            return None
        before = (date.month, date.day) < (self.birth_date.month, self.birth_date.day)
        return date.year - self.birth_date.year - before

    @property
    def age(self) -> int | None:
        """Full years today."""
        return self.age_on(today())


class FiliationQuerySet(models.QuerySet["Filiation"]):
    def of(self, user: User) -> Self:
        """The living links of an adult, eldest child first."""
        return self.filter(user=user, ended_at=None).order_by(
            "beneficiary__birth_date", "beneficiary__first_name", "beneficiary"
        )

    def visible_to(self, user: User) -> Self:
        """Links of the accounts that this member of staff may reach: the other parent's may not be one of them."""
        return self if user.is_operator else self.filter(user__in=User.objects.visible_to(user))


@pghistory.track(append_only=True)
class Filiation(models.Model):
    """The link of an adult to a beneficiary; a child may have two parents' accounts."""

    class Kind(models.TextChoices):
        FATHER = "father", _("Père")
        MOTHER = "mother", _("Mère")
        GUARDIAN = "guardian", _("Tuteur ou tutrice")
        GRANDPARENT = "grandparent", _("Grand-parent")
        FOSTER = "foster", _("Famille d’accueil")
        SELF = "self", _("Moi-même")
        OTHER = "other", _("Autre")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="filiations", verbose_name=_("usager")
    )
    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="filiations", verbose_name=_("bénéficiaire")
    )
    kind = models.CharField(_("type de filiation"), max_length=12, choices=Kind)
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)
    ended_at = models.DateTimeField(_("retiré le"), null=True, blank=True, editable=False)

    objects = FiliationQuerySet.as_manager()

    class Meta:
        verbose_name = _("filiation")
        verbose_name_plural = _("filiations")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "beneficiary"], condition=Q(ended_at=None), name="one_link_per_beneficiary"
            ),
            models.UniqueConstraint(fields=["user"], condition=Q(kind="self", ended_at=None), name="one_self_per_user"),
        ]

    def __str__(self) -> str:
        label: StrOrPromise = self.get_kind_display()
        return f"{self.beneficiary} ({label})"


class EnrolmentQuerySet(models.QuerySet["Enrolment"]):
    def visible_to(self, user: User) -> Self:
        """The pupils of this member of staff's communes, wherever they live."""
        return self if user.is_operator else self.filter(school__commune__in=user.commune_ids)

    def declared(self) -> Self:
        """What families wrote and no mairie has looked at."""
        return self.filter(status=Enrolment.Status.DECLARED)


@pghistory.track(append_only=True)
class Enrolment(models.Model):
    """In which class of which school a child is for a school year: declared by the family, confirmed by the mairie.

    A declaration counts at once; what the mairie has confirmed is hers to correct.
    """

    class Status(models.TextChoices):
        DECLARED = "declared", _("Déclarée")
        CONFIRMED = "confirmed", _("Confirmée")

    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="enrolments", verbose_name=_("enfant")
    )
    school = models.ForeignKey(School, on_delete=models.PROTECT, related_name="enrolments", verbose_name=_("école"))
    level = models.CharField(_("niveau"), max_length=4, choices=Level)
    classroom = models.ForeignKey(
        Classroom,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="pupils",
        verbose_name=_("classe"),
        help_text=_("Pour être prévenu quand elle ferme (enseignant absent, sortie). Vide si elle n’est pas connue."),
    )
    year = models.PositiveSmallIntegerField(_("année scolaire"), help_text=_("L’année de la rentrée."))
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.DECLARED, editable=False)
    declared_at = models.DateTimeField(_("déclarée le"), auto_now_add=True)
    confirmed_at = models.DateTimeField(_("confirmée le"), null=True, editable=False)
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("confirmée par"),
    )

    objects = EnrolmentQuerySet.as_manager()

    class Meta:
        verbose_name = _("scolarité")
        verbose_name_plural = _("scolarités")
        ordering = ["-year"]
        constraints = [
            models.UniqueConstraint(fields=["beneficiary", "year"], name="one_school_a_year"),
            models.CheckConstraint(
                condition=Q(status="declared", confirmed_at=None, confirmed_by=None)
                | Q(status="confirmed", confirmed_at__isnull=False, confirmed_by__isnull=False),
                name="confirmed_enrolment_is_signed",
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="enrolment_transitions", field="status", transitions=[("declared", "confirmed")]),
            pgtrigger.ReadOnly(name="enrolment_is_frozen", fields=["beneficiary", "year"]),
            pgtrigger.Trigger(
                name="pupil_is_of_the_classroom",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("school_id", "year", "level", "classroom_id"),
                condition=pgtrigger.Q(new__classroom__isnull=False),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM services_classroom c
                        WHERE c.id = NEW.classroom_id AND c.school_id = NEW.school_id AND c.year = NEW.year
                          AND NEW.level = ANY (c.levels)
                    ) THEN
                        RAISE EXCEPTION 'families_enrolment: a pupil has the school, the year and a level of the class'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'pupil_is_of_the_classroom';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]
        indexes = [models.Index(fields=["school", "year"], name="enrolment_by_school")]

    def __str__(self) -> str:
        return f"{self.beneficiary} – {self.place}, {self.school_year}"

    @property
    def place(self) -> str:
        """`École du Rocher, CE1 (CE1-CE2 de Mme Martin)`."""
        level = f"{self.school}, {self.get_level_display()}"
        return f"{level} ({self.classroom})" if self.classroom is not None else level

    @property
    def school_year(self) -> str:
        """`2026-2027`."""
        return f"{self.year}-{self.year + 1}"


class IncomeQuotientQuerySet(models.QuerySet["IncomeQuotient"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)

    def visible_to(self, user: User) -> Self:
        return self if user.is_operator else self.filter(user__in=User.objects.visible_to(user))


@pghistory.track(append_only=True)
class IncomeQuotient(models.Model):
    """A family's « quotient familial » (euros, of the CAF or the MSA) over a range of dates; it fixes the band of fares.

    Only a validated one counts: pending -> validated | refused; validated -> refused when it was a mistake.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("À vérifier")
        VALIDATED = "validated", _("Validé")
        REFUSED = "refused", _("Refusé")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quotients", verbose_name=_("usager")
    )
    value = models.PositiveIntegerField(_("quotient familial"), help_text=_("En euros, sans centimes."))
    valid = DateRangeField(_("valable"), help_text=_("Du premier jour inclus au dernier jour exclu."))
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.PENDING)
    document = models.ForeignKey(
        SupportingDocument, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("preuve")
    )
    declared_at = models.DateTimeField(_("déclaré le"), auto_now_add=True)
    decided_at = models.DateTimeField(_("décidé le"), null=True, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("décidé par"),
    )
    reason = models.TextField(_("motif"), blank=True, editable=False)

    objects = IncomeQuotientQuerySet.as_manager()

    class Meta:
        verbose_name = _("quotient familial")
        verbose_name_plural = _("quotients familiaux")
        ordering = ["-declared_at"]
        constraints = [
            ExclusionConstraint(
                name="one_quotient_at_a_time",
                expressions=[("user", RangeOperators.EQUAL), ("valid", RangeOperators.OVERLAPS)],
                condition=Q(status="validated"),
            ),
            models.UniqueConstraint(fields=["user"], condition=Q(status="pending"), name="one_quotient_to_verify"),
            models.CheckConstraint(condition=Q(value__lte=20000), name="quotient_is_plausible"),
            models.CheckConstraint(
                condition=Q(valid__isempty=False, valid__lower_inf=False), name="quotient_has_a_first_day"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", decided_at=None, decided_by=None)
                | (~Q(status="pending") & Q(decided_at__isnull=False, decided_by__isnull=False)),
                name="quotient_decision_is_signed",
            ),
            models.CheckConstraint(
                condition=~Q(status="refused") | ~Q(reason=""), name="quotient_refusal_has_a_reason"
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="quotient_transitions",
                field="status",
                transitions=[("pending", "validated"), ("pending", "refused"), ("validated", "refused")],
            ),
            pgtrigger.ReadOnly(name="declared_quotient_is_frozen", fields=["user", "value", "declared_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.user} : {self.value}"
