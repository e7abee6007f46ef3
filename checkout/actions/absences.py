"""What the service decides of an absence: the days that the rule gives back return to the wallet of whoever paid."""

from django.utils.translation import gettext as _

from accounts.models import User
from bookings import absence_actions
from bookings import actions as bookings
from bookings.absences import Absence, AbsenceProof
from bookings.models import Booking
from checkout.actions.cancellation import Returned, give_back
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import moment
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from services.models import AbsenceRule


@retry_on_deadlock
def justify_absence(*, absence: Absence, by: User) -> list[Returned]:
    """Accept an absence: its refundable days are cancelled and paid back; returns who got what.

    Raises Refused when the rule wants a certificate and none came in time, and as bookings.absence_actions.decide does.
    """
    with refusing({}):
        current = absence_actions.decide(absence=absence, status=Absence.Status.JUSTIFIED, reason="", by=by)
        _check_certificate(current)
        ids = current.days.filter(refundable=True, is_live=True, booking__status=Booking.Status.BOOKED).values_list(
            "booking", flat=True
        )
        refunds: list[Returned] = []
        if ids:
            rows = bookings.cancel_by_staff(ids=list(ids), by=by, reason=_("Absence justifiée"), override=True)
            refunds = give_back(rows, by=by, reason=_("Absence justifiée"))
        paid = {refund.payer: refund for refund in refunds}
        for person in {current.reported_by, *paid}:
            _tell(current, paid.get(person) or Returned(person, [], ZERO))
    return refunds


def refuse_absence(*, absence: Absence, reason: str, by: User) -> Absence:
    """Refuse an absence with a reason that the family reads; nothing is paid back. Raises Refused without a reason."""
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    with refusing({}):
        current = absence_actions.decide(absence=absence, status=Absence.Status.REFUSED, reason=reason, by=by)
        _tell(current, Returned(current.reported_by, [], ZERO))
    return current


def _check_certificate(absence: Absence) -> None:
    if absence.refund != AbsenceRule.Refund.CERTIFICATE:
        return
    assert absence.certificate_until is not None
    if not AbsenceProof.objects.filter(absence=absence, sent_at__lte=absence.certificate_until).exists():
        raise Refused(
            _(
                "Aucun certificat n’est arrivé avant le %s : selon la règle du service, cette absence n’est pas remboursée."
            )
            % moment(absence.certificate_until),
            code="no_certificate",
        )


def _tell(absence: Absence, returned: Returned) -> None:
    person = returned.payer
    queue_email(
        key=f"absence:{absence.pk}:{absence.status}:{person.pk}",
        to=person.email,
        template=f"absence_{absence.status}",
        context={
            "user": person,
            "absence": absence,
            "days": list(absence.days.select_related("booking__open_day__activity", "booking__slot")),
            **returned.words,
        },
    )
