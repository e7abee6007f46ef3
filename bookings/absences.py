"""Absences that families report: which bookings, why, with what proof, and what the service decided."""

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from families.models import Beneficiary
from services.models import AbsenceRule, Service

if TYPE_CHECKING:
    from accounts.models import User


class AbsenceQuerySet(models.QuerySet["Absence"]):
    def of(self, user: "User") -> Self:
        """Those of the children this adult answers for, and those they reported."""
        return self.filter(Q(reported_by=user) | Q(beneficiary__in=Beneficiary.objects.of(user)))

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)

    def to_decide(self) -> Self:
        """Those whose refund waits for the service: what is never refunded, or lacks its certificate, waits for nobody."""
        refundable = AbsenceDay.objects.filter(absence=OuterRef("pk"), refundable=True)
        proven = AbsenceProof.objects.filter(absence=OuterRef("pk"), sent_at__lte=OuterRef("certificate_until"))
        ready = Q(refund=AbsenceRule.Refund.WAITING) | Exists(proven)
        return self.filter(ready, Exists(refundable), status=Absence.Status.REPORTED)


# What is justified is paid back: nobody grants that to their own family.
NOT_TO_ONES_OWN_FAMILY = """
    IF families_own_family(NEW.decided_by_id, NEW.reported_by_id) OR EXISTS (
        SELECT 1 FROM families_filiation f
        WHERE f.user_id = NEW.decided_by_id AND f.beneficiary_id = NEW.beneficiary_id AND f.ended_at IS NULL
    ) OR EXISTS (
        SELECT 1 FROM bookings_absenceday d JOIN bookings_booking b ON b.id = d.booking_id
        WHERE d.absence_id = NEW.id AND families_own_family(NEW.decided_by_id, b.made_by_id)
    ) THEN
        RAISE EXCEPTION 'bookings_absence: nobody justifies an absence of their own family'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class Absence(models.Model):
    """One child away from one service on some booked days. The rule in force is kept as it was when it was reported.

    reported -> justified | refused | withdrawn; refused -> justified when the service thinks again. What is justified is
    paid back and stays so.
    """

    class Reason(models.TextChoices):
        ILLNESS = "illness", _("Maladie")
        FAMILY = "family", _("Raison familiale")
        SCHOOL = "school", _("Sortie ou absence scolaire")
        OTHER = "other", _("Autre raison")

    class Status(models.TextChoices):
        REPORTED = "reported", _("Signalée")
        JUSTIFIED = "justified", _("Justifiée")
        REFUSED = "refused", _("Non justifiée")
        WITHDRAWN = "withdrawn", _("Retirée")

    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="absences", verbose_name=_("bénéficiaire")
    )
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="absences", verbose_name=_("service"))
    kind = models.CharField(_("raison"), max_length=10, choices=Reason)
    note = models.CharField(_("précision"), max_length=300, blank=True)
    refund = models.CharField(_("règle"), max_length=12, choices=AbsenceRule.Refund)
    waiting_days = models.PositiveSmallIntegerField(_("jours de carence"))
    certificate_until = models.DateTimeField(_("certificat jusqu’au"), null=True)
    reported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("signalée par")
    )
    reported_at = models.DateTimeField(_("signalée le"), auto_now_add=True)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.REPORTED)
    decided_at = models.DateTimeField(_("décidée le"), null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("décidée par")
    )
    decision_reason = models.TextField(_("motif"), blank=True)

    back: Decimal  # read by AbsenceAdmin: what validating it gives back

    objects = AbsenceQuerySet.as_manager()

    class Meta:
        verbose_name = _("absence")
        verbose_name_plural = _("absences")
        ordering = ["-reported_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["reported", "withdrawn"], decided_at=None, decided_by=None)
                | Q(status__in=["justified", "refused"], decided_at__isnull=False, decided_by__isnull=False),
                name="absence_decision_is_signed",
            ),
            models.CheckConstraint(
                condition=~Q(status="refused") | ~Q(decision_reason=""), name="absence_refusal_has_a_reason"
            ),
            models.CheckConstraint(
                condition=Q(refund="certificate", certificate_until__isnull=False)
                | (~Q(refund="certificate") & Q(certificate_until=None)),
                name="absence_certificate_has_a_limit",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="absence_transitions",
                field="status",
                transitions=[
                    ("reported", "justified"),
                    ("reported", "refused"),
                    ("reported", "withdrawn"),
                    ("refused", "justified"),
                ],
            ),
            # What was promised to the family when it reported.
            pgtrigger.ReadOnly(
                name="absence_is_frozen",
                fields=[
                    *("beneficiary", "service", "kind", "note", "refund", "waiting_days", "certificate_until"),
                    *("reported_by", "reported_at"),
                ],
            ),
            pgtrigger.Trigger(
                name="nobody_justifies_their_own",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
                condition=pgtrigger.Condition("NEW.status = 'justified'"),
                func=NOT_TO_ONES_OWN_FAMILY,
            ),
            pgtrigger.Protect(name="absences_are_kept", operation=pgtrigger.Delete),
        ]
        indexes = [models.Index(fields=["service", "status"], name="absence_by_service")]

    def __str__(self) -> str:
        return f"{self.beneficiary} – {self.service}"


class AbsenceDay(models.Model):
    """One booking of an absence, and whether the rule gives its price back."""

    absence = models.ForeignKey(Absence, on_delete=models.PROTECT, related_name="days")
    booking = models.ForeignKey("bookings.Booking", on_delete=models.PROTECT, related_name="absence_days")
    refundable = models.BooleanField(_("remboursable"))
    is_live = models.BooleanField(default=True)

    class Meta:
        verbose_name = _("jour d’absence")
        verbose_name_plural = _("jours d’absence")
        ordering = ["booking__period", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["booking"], condition=Q(is_live=True), name="absent_once"),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="absence_day_is_frozen", fields=["absence", "booking", "refundable"]),
            pgtrigger.Protect(name="absence_days_are_kept", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.absence} – {self.booking}"


def proof_path(proof: "AbsenceProof", _name: str) -> str:
    """A random name: nothing of what the person called the file reaches the disk."""
    return f"absences/{uuid.uuid4().hex}"


class AbsenceProof(models.Model):
    """A certificate, checked and rebuilt as accounts.documents does; read by its sender and by that service's staff alone.

    Its file goes once nobody needs it any more (`forgotten_at`, bookings.absence_actions.forget_proofs); that it came, and
    when, stays with the absence that it decided.
    """

    absence = models.ForeignKey(Absence, on_delete=models.PROTECT, related_name="proofs")
    file = models.FileField(_("fichier"), upload_to=proof_path)
    name = models.CharField(_("nom du fichier"), max_length=100)
    content_type = models.CharField(max_length=40)
    size = models.PositiveIntegerField(_("taille en octets"))
    sent_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    sent_at = models.DateTimeField(_("envoyé le"), auto_now_add=True)
    forgotten_at = models.DateTimeField(_("effacé le"), null=True, editable=False)

    class Meta:
        verbose_name = _("justificatif d’absence")
        verbose_name_plural = _("justificatifs d’absence")
        ordering = ["sent_at", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(size__gt=0), name="proof_is_not_empty"),
            models.CheckConstraint(
                condition=(Q(forgotten_at=None) & ~Q(file="")) | Q(forgotten_at__isnull=False, file=""),
                name="proof_has_its_file_until_it_is_forgotten",
            ),
        ]
        # When it came decides whether it counts.
        triggers = [pgtrigger.ReadOnly(name="proof_is_frozen", fields=["absence", "sent_by", "sent_at"])]

    def __str__(self) -> str:
        return self.name
