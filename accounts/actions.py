"""Everything that changes an account: its sign-up, its validation, its residence."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Commune, CommuneFile, Consent, Terms, User
from portal.common.errors import Refused
from portal.outbox.actions import queue_email


@transaction.atomic
def set_residence(*, user: User, commune: Commune | None) -> None:
    """Record where a person lives (None: outside the agglomération) and give that commune their file."""
    user.commune = commune
    user.save(update_fields=["commune"])
    residence = CommuneFile.objects.filter(user=user, reason=CommuneFile.Reason.RESIDENT)
    residence.exclude(commune=commune).delete()
    if commune is not None:
        CommuneFile.objects.get_or_create(user=user, commune=commune, reason=CommuneFile.Reason.RESIDENT)


@transaction.atomic
def accept_terms(*, user: User, terms: Terms) -> None:
    """Record that a person accepted this version of a text; again changes nothing."""
    Consent.objects.get_or_create(user=user, terms=terms)


@transaction.atomic
def complete_signup(*, user: User) -> None:
    """The third step is done: the account waits for an answer, and its owner gets an e-mail that says so."""
    account = User.objects.select_for_update().get(pk=user.pk)
    if account.completed_at is not None:
        return
    account.completed_at = user.completed_at = timezone.now()
    account.save(update_fields=["completed_at"])
    if account.status == User.Status.PENDING:
        queue_email(key=f"signup:{account.pk}", to=account.email, template="signup_completed", context={"user": account})


@transaction.atomic
def approve_user(*, user: User, by: User) -> None:
    """Validate an account; its owner gets an e-mail and may book as soon as a service is validated.

    Raises Refused when the e-mail address has not been verified or when the account is already validated.
    """
    account = User.objects.select_for_update().get(pk=user.pk)
    if account.status == User.Status.APPROVED:
        raise Refused(_("Le compte de %s est déjà validé.") % account, code="already_decided")
    if not account.emailaddress_set.filter(verified=True).exists():
        raise Refused(
            _("Le compte de %s ne peut pas encore être validé : son adresse e-mail n’est pas vérifiée.") % account,
            code="email_not_verified",
        )
    _decide(account, status=User.Status.APPROVED, reason="", by=by)


@transaction.atomic
def refuse_user(*, user: User, reason: str, by: User) -> None:
    """Refuse an account with a reason that its owner reads in an e-mail. Raises Refused without a reason."""
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    account = User.objects.select_for_update().get(pk=user.pk)
    if account.status == User.Status.REFUSED:
        raise Refused(_("Le compte de %s est déjà refusé.") % account, code="already_decided")
    _decide(account, status=User.Status.REFUSED, reason=reason, by=by)


def _decide(account: User, *, status: User.Status, reason: str, by: User) -> None:
    account.status = status
    account.decided_at = timezone.now()
    account.decided_by = by
    account.decision_reason = reason
    account.save(update_fields=["status", "decided_at", "decided_by", "decision_reason"])
    queue_email(
        key=f"account:{account.pk}:{status}:{account.decided_at:%Y%m%d%H%M%S%f}",
        to=account.email,
        template=f"account_{status}",
        context={"user": account, "reason": reason},
    )
