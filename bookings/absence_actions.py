"""Reporting absences: which bookings may be, what the rule will give back, and the family's own second thoughts."""

import datetime as dt
import functools
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.documents import CleanFile, clean_upload
from accounts.models import User
from accounts.staff import tell_staff
from bookings.absences import Absence, AbsenceDay, AbsenceProof
from bookings.models import Booking, BookingQuerySet
from bookings.own_family import is_own_absence
from families.models import Beneficiary
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import moment, today
from portal.outbox.actions import queue_email
from services.models import AbsenceRule, Service

# What may be reported, around today; and how far back an absence may have begun that goes on.
BACK, AHEAD = dt.timedelta(days=31), dt.timedelta(days=60)
MOST_PROOFS = 5

SENTENCES = {
    "absent_once": gettext_lazy(
        "Une de ces absences vient d’être signalée, par vous ou par l’autre parent. Rien n’a été changé."
    ),
}


@dataclass(frozen=True)
class Day:
    """A booking of an absence, and whether the rule gives its price back."""

    booking: Booking
    refundable: bool


@dataclass(frozen=True)
class Plan:
    """What reporting some bookings of one service would come to; `certificate_until` where the rule wants a proof."""

    service: Service
    days: Sequence[Day]
    certificate_until: dt.datetime | None

    @property
    def rule(self) -> AbsenceRule | None:
        return self.service.absence_rule

    @property
    def refund(self) -> str:
        return self.rule.refund if self.rule else AbsenceRule.Refund.NEVER

    @property
    def too_late_to_prove(self) -> bool:
        """Whether a certificate could no longer come in time."""
        return self.certificate_until is not None and self.certificate_until <= timezone.now()


def reportable(user: User, beneficiary: Beneficiary) -> BookingQuerySet:
    """The bookings of a child around today that may be reported, soonest first.

    What the person may still cancel is not among them: cancelling gives back everything.
    """
    return (
        Booking.objects.booked()
        .filter(
            ~Exists(AbsenceDay.objects.filter(booking=OuterRef("pk"), is_live=True)),
            beneficiary=beneficiary,
            open_day__date__range=(today() - BACK, today() + AHEAD),
        )
        .exclude(_cancellable_by(user))
        .select_related("beneficiary", "slot", "open_day__activity__service__absence_rule")
        .order_by("period", "pk")
    )


def cancellable(user: User, beneficiary: Beneficiary) -> BookingQuerySet:
    """The bookings of a child in the same days that the person had better cancel, soonest first."""
    return (
        Booking.objects.booked()
        .filter(_cancellable_by(user), beneficiary=beneficiary, open_day__date__lte=today() + AHEAD)
        .select_related("beneficiary", "slot", "open_day__activity")
        .order_by("period", "pk")
    )


def _cancellable_by(user: User) -> Q:
    return Q(made_by=user, open_day__cancel_until__gt=timezone.now())


def plans(bookings: Iterable[Booking]) -> list[Plan]:
    """What the rules of their services make of these bookings of one child, by service; one query.

    An absence goes on over days without a booking and over reports made one after the other; a day on which the child came
    ends it, and the next one waits anew.
    """
    chosen = sorted(bookings, key=lambda row: (row.open_day.activity.service_id, row.period.lower))
    if not chosen:
        return []
    first = min(row.date for row in chosen) - AHEAD
    away = Exists(AbsenceDay.objects.filter(booking=OuterRef("pk"), is_live=True))
    known = (
        Booking.objects.filter(
            Q(status=Booking.Status.BOOKED) | Q(away), beneficiary=chosen[0].beneficiary_id, open_day__date__gte=first
        )
        .annotate(away=away)
        .order_by("open_day__date")
        .values_list("open_day__activity__service", "open_day__date", "away")
    )
    past = list(known)
    found = []
    for _key, rows in itertools.groupby(chosen, key=lambda row: row.open_day.activity.service_id):
        theirs = list(rows)
        service = theirs[0].open_day.activity.service
        absent = {row.date for row in theirs}
        starts = _starts([(date, away or date in absent) for key, date, away in past if key == service.pk])
        found.append(_plan(service, theirs, starts))
    return found


def _starts(days: Iterable[tuple[dt.date, bool]]) -> dict[dt.date, dt.date]:
    """On which day the absence began that each absent date belongs to."""
    found: dict[dt.date, dt.date] = {}
    start: dt.date | None = None
    for date, rows in itertools.groupby(days, key=lambda row: row[0]):
        if not any(away for _date, away in rows):
            start = None
            continue
        start = start or date
        found[date] = start
    return found


def _plan(service: Service, rows: Sequence[Booking], starts: dict[dt.date, dt.date]) -> Plan:
    rule = service.absence_rule
    if rule is None or rule.refund == AbsenceRule.Refund.NEVER:
        return Plan(service, [Day(row, False) for row in rows], None)
    waiting = dt.timedelta(days=rule.waiting_days)
    days = [Day(row, row.date >= starts.get(row.date, row.date) + waiting) for row in rows]
    until = None
    if rule.certificate_hours is not None:
        until = rows[0].period.lower + dt.timedelta(hours=rule.certificate_hours)
    return Plan(service, days, until)


def report_absence(
    *,
    user: User,
    beneficiary: Beneficiary,
    ids: Collection[int],
    kind: str,
    note: str = "",
    upload: UploadedFile | None = None,
    by: User,
) -> list[Absence]:
    """Report a child absent from some bookings, all or none; one absence for each service, each with the proof.

    Raises Refused for somebody else's child, for bookings that are not booked, too far away, already reported or that the
    person may still cancel, and for a file that accounts.documents refuses.
    """
    clean = clean_upload(upload) if upload else None  # before any lock: rebuilding a photo takes a moment
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        child = (
            Beneficiary.objects.of(user).select_for_update(of=("self",), no_key=True).filter(pk=beneficiary.pk).first()
        )
        if child is None:
            raise Refused(_("Cet enfant ne fait pas partie de vos filiations. Rien n’a été changé."), code="not_yours")
        rows = list(reportable(user, child).filter(pk__in=ids).select_for_update(of=("self",)))
        if not rows or len(rows) != len(set(ids)):
            raise Refused(
                _(
                    "Une de ces réservations ne peut plus être signalée : elle vient d’être annulée ou signalée, ou elle s’annule encore. Rien n’a été changé."
                ),
                code="not_reportable",
            )
        planned = plans(rows)
        made = [_report(plan, child, kind, note.strip(), clean, by) for plan in planned]
        queue_email(
            key=f"absence:{made[0].pk}:reported",
            to=by.email,
            template="absence_reported",
            context={"user": by, "child": child, "reported": list(zip(made, planned, strict=True))},
        )
        # Also what nobody has to decide: the kitchen counts its meals.
        told = [absence.service.commune_id for absence in made]
        tell_staff(communes=told, key="absences", template="absences_reported_to_staff")
        waiting = Absence.objects.to_decide().filter(pk__in=[absence.pk for absence in made])
        tell_staff(communes=waiting.values_list("service__commune", flat=True))
    return made


def _report(plan: Plan, child: Beneficiary, kind: str, note: str, clean: CleanFile | None, by: User) -> Absence:
    absence = Absence.objects.create(
        beneficiary=child,
        service=plan.service,
        kind=kind,
        note=note,
        refund=plan.refund,
        waiting_days=plan.rule.waiting_days if plan.rule else 0,
        certificate_until=plan.certificate_until,
        reported_by=by,
    )
    AbsenceDay.objects.bulk_create(
        AbsenceDay(absence=absence, booking=day.booking, refundable=day.refundable) for day in plan.days
    )
    if clean is not None:
        _keep(absence, clean, by)
    return absence


def add_proof(*, absence: Absence, upload: UploadedFile, by: User) -> AbsenceProof:
    """Add a certificate to a reported absence. Raises Refused once it is decided, past its limit, or too often."""
    clean = clean_upload(upload)
    with transaction.atomic():
        current = Absence.objects.of(by).select_for_update(of=("self",)).select_related("service").get(pk=absence.pk)
        if current.status != Absence.Status.REPORTED:
            raise Refused(_("Cette absence n’attend plus de justificatif : le service a répondu."), code="decided")
        if current.certificate_until is not None and current.certificate_until <= timezone.now():
            raise Refused(
                _("Trop tard : le certificat était attendu jusqu’au %s. Appelez le service.")
                % moment(current.certificate_until),
                code="too_late",
            )
        if current.proofs.count() >= MOST_PROOFS:
            raise Refused(_("Vous avez déjà envoyé %d fichiers pour cette absence.") % MOST_PROOFS, code="too_many")
        proof = _keep(current, clean, by)
        if Absence.objects.to_decide().filter(pk=current.pk).exists():
            tell_staff(communes=[current.service.commune_id])
    return proof


def _keep(absence: Absence, clean: CleanFile, by: User) -> AbsenceProof:
    return AbsenceProof.objects.create(
        absence=absence,
        file=ContentFile(clean.content, name=clean.name),
        name=clean.name,
        content_type=clean.content_type,
        size=len(clean.content),
        sent_by=by,
    )


@transaction.atomic
def forget_proofs(*, at: dt.datetime, limit: int = 500) -> int:
    """Delete the certificates that nobody needs any more, settings.PROOFS_KEPT_DAYS after the service's decision, or where
    it never decided after the last day missed; returns how many. That they came, and when, is kept."""
    before = at - dt.timedelta(days=settings.PROOFS_KEPT_DAYS)
    later = AbsenceDay.objects.filter(absence=OuterRef("absence"), booking__open_day__date__gte=before.date())
    over = Q(absence__decided_at__lt=before) | (Q(absence__decided_at=None) & ~Exists(later))
    rows = list(
        AbsenceProof.objects.filter(over, sent_at__lt=before, forgotten_at=None)
        .order_by("pk")
        .select_for_update(of=("self",), skip_locked=True)[:limit]
    )
    for proof in rows:
        file = proof.file
        stored, storage = file.name, file.storage
        proof.file, proof.forgotten_at = "", at
        proof.save(update_fields=["file", "forgotten_at"])
        transaction.on_commit(functools.partial(storage.delete, stored), robust=True)
    return len(rows)


@transaction.atomic
def withdraw_absence(*, absence: Absence, by: User) -> None:
    """Take back what one reported, while the service has not answered: its days may be reported again.

    Raises Refused when it is another person's report, or decided.
    """
    current = Absence.objects.select_for_update().get(pk=absence.pk)
    if current.reported_by_id != by.pk or current.status != Absence.Status.REPORTED:
        raise Refused(
            _("Cette absence ne peut plus être retirée : le service a répondu, ou elle l’est déjà."), code="decided"
        )
    current.status = Absence.Status.WITHDRAWN
    current.save(update_fields=["status"])
    AbsenceDay.objects.filter(absence=current).update(is_live=False)


@transaction.atomic
def decide(*, absence: Absence, status: Absence.Status, reason: str, by: User) -> Absence:
    """Set what the service decided, and return the absence; checkout.actions.absences pays back in the same transaction.

    Raises Refused for another commune's absence, when it was decided before or taken back, and to whoever would justify an
    absence of their own family.
    """
    current = (
        Absence.objects.visible_to(by)
        .select_for_update(of=("self",))
        .select_related("beneficiary", "service", "reported_by")
        .filter(pk=absence.pk)
        .first()
    )
    if current is None:
        raise Refused(_("Cette absence concerne un service d’une autre commune."), code="out_of_scope")
    may_be_decided = {Absence.Status.REPORTED} | (
        {Absence.Status.REFUSED} if status == Absence.Status.JUSTIFIED else set()
    )
    if current.status not in may_be_decided:
        raise Refused(
            _("Cette absence est déjà décidée ou retirée («\u00a0%s\u00a0») : rien n’a été changé.")
            % current.get_status_display().lower(),
            code="already_decided",
        )
    if status == Absence.Status.JUSTIFIED and is_own_absence(current, by):
        raise own_absence(current)
    current.status, current.decided_at, current.decided_by = status, timezone.now(), by
    current.decision_reason = reason
    current.save(update_fields=["status", "decided_at", "decided_by", "decision_reason"])
    return current


def own_absence(absence: Absence) -> Refused:
    """What an agent is told of an absence of their own family."""
    return Refused(
        _("%s\u00a0: c’est votre propre famille, une autre personne du service s’en charge. Rien n’a été changé.")
        % absence,
        code="own_family",
    )
