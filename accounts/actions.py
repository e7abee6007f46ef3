"""Everything that changes an account: its sign-up, its validation, its residence."""

from collections.abc import Mapping
from typing import Any

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Address, Commune, CommuneFile, Consent, StaffRole, Terms, User, UserQuerySet
from accounts.staff import tell_staff
from portal.common.errors import Refused
from portal.common.formats import of
from portal.outbox.actions import queue_email

EDITABLE_DETAILS = {
    "title", "first_name", "last_name", "birth_date", "phone", "company", "newsletter", "partner_offers", "reminders"
}  # fmt: skip
MAX_ADDRESSES = 20


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
def update_details(*, user: User, details: Mapping[str, Any], by: User) -> None:
    """Write what a person tells of themselves: civility, names, date of birth, telephone, company, letters.

    `details` holds names of EDITABLE_DETAILS; where the person lives is another matter (set_residence).
    """
    unknown = set(details) - EDITABLE_DETAILS
    if unknown:
        raise ValueError(f"not a personal detail: {sorted(unknown)}")
    for name, value in details.items():
        setattr(user, name, value)
    user.save(update_fields=list(details))


@transaction.atomic
def save_address(*, user: User, address: Address | None = None, values: Mapping[str, Any], by: User) -> Address:
    """Add an address, or change one of this person's. The first is the main one; there is always exactly one."""
    User.objects.select_for_update().get(pk=user.pk)  # two pages may both ask for the main address
    others = Address.objects.of(user)
    if address is None:
        if others.count() >= MAX_ADDRESSES:
            raise Refused(
                _("Vous avez déjà %d adresses : supprimez-en une avant d’en ajouter.") % MAX_ADDRESSES, code="too_many"
            )
        address = Address(user=user)
    else:
        address = others.get(pk=address.pk)
        others = others.exclude(pk=address.pk)
    was_default = address.is_default
    for name in ("label", "line1", "line2", "postal_code", "city"):
        if name in values:
            setattr(address, name, values[name])
    address.is_default = bool(values.get("is_default")) or was_default or not others.filter(is_default=True).exists()
    if address.is_default:
        others.filter(is_default=True).update(is_default=False)
    address.save()
    return address


@transaction.atomic
def delete_address(*, address: Address, by: User) -> None:
    """Remove an address; when it was the main one, the oldest of the others takes its place."""
    User.objects.select_for_update().get(pk=address.user_id)
    user, was_default = address.user, address.is_default
    address.delete()
    if was_default and (heir := Address.objects.of(user).order_by("pk").first()):
        heir.is_default = True
        heir.save(update_fields=["is_default"])


@transaction.atomic
def accept_terms(*, user: User, terms: Terms) -> None:
    """Record that a person accepted this version of a text; again changes nothing."""
    Consent.objects.get_or_create(user=user, terms=terms)


@transaction.atomic
def complete_signup(*, user: User) -> None:
    """The third step is done: the account waits for an answer; its owner and those who give the answers are told."""
    account = User.objects.select_for_update().get(pk=user.pk)
    if account.completed_at is not None:
        return
    account.completed_at = user.completed_at = timezone.now()
    account.save(update_fields=["completed_at"])
    if account.status == User.Status.PENDING:
        queue_email(
            key=f"signup:{account.pk}", to=account.email, template="signup_completed", context={"user": account}
        )
        requested = account.subscriptions.values_list("profile__service__commune", flat=True)  # of the app above
        tell_staff(communes=[account.commune_id, *requested])


# --- The answer to an account ----------------------------------------------------------------------------------------


def decided_by(staff: User) -> UserQuerySet:
    """The accounts whose answer is this member of staff's to give.

    Those who live in their communes; for an operator everybody, among them whoever lives outside the agglomération. A
    commune that was only asked for a service sees the person, and decides that request alone. Never one's own account.
    """
    others: UserQuerySet = User.objects.visible_to(staff).exclude(pk=staff.pk)
    return others if staff.is_operator else others.filter(commune__in=staff.commune_ids)


def holds_a_role(account: User) -> bool:
    """Whether this person works here: such an account is not refused before its roles are withdrawn."""
    return account.is_superuser or StaffRole.objects.filter(user=account).exists()


def obstacle_to_deciding(account: User, *, by: User, refusing: bool) -> Refused | None:
    """Why `by` may not give this account the answer, however it stands; None when they may."""
    if account.pk == by.pk:
        return Refused(
            _("Vous ne pouvez pas décider de votre propre compte\u00a0: demandez-le à un collègue."), code="own_account"
        )
    if not decided_by(by).filter(pk=account.pk).exists():
        return Refused(
            _(
                "Ce compte ne dépend pas de votre commune\u00a0: la mairie où la personne réside, ou l’agglomération, en décide. "
                "Vous décidez des demandes d’accès à vos services."
            ),
            code="not_yours",
        )
    if refusing and holds_a_role(account):
        return Refused(
            _("%s a un rôle dans l’administration\u00a0: ce compte ne peut être refusé qu’une fois ses rôles retirés.")
            % account,
            code="holds_a_role",
        )
    return None


@transaction.atomic
def approve_user(*, user: User, by: User) -> None:
    """Validate an account; its owner gets an e-mail and may book as soon as a service is validated.

    Raises Refused when the e-mail address has not been verified, when the account is already validated, and when the
    answer is not `by`'s to give (obstacle_to_deciding).
    """
    account = _to_decide(user, by, refusing=False)
    if account.status == User.Status.APPROVED:
        raise Refused(_("Le compte %s est déjà validé.") % of(str(account)), code="already_decided")
    if not EmailAddress.objects.filter(user=account, verified=True).exists():
        raise Refused(
            _("Le compte %s ne peut pas encore être validé : son adresse e-mail n’est pas vérifiée.")
            % of(str(account)),
            code="email_not_verified",
        )
    _decide(account, status=User.Status.APPROVED, reason="", by=by)


@transaction.atomic
def refuse_user(*, user: User, reason: str, by: User) -> None:
    """Refuse an account with a reason that its owner reads in an e-mail; its bookings and its money stay as they are.

    Raises Refused without a reason, for an account that holds a role, and when the answer is not `by`'s to give
    (obstacle_to_deciding).
    """
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    account = _to_decide(user, by, refusing=True)
    if account.status == User.Status.REFUSED:
        raise Refused(_("Le compte %s est déjà refusé.") % of(str(account)), code="already_decided")
    _decide(account, status=User.Status.REFUSED, reason=reason, by=by)


def _to_decide(user: User, by: User, *, refusing: bool) -> User:
    """The account, locked (whoever gives it a role waits), if the answer is `by`'s to give."""
    account = User.objects.select_for_update().get(pk=user.pk)
    if obstacle := obstacle_to_deciding(account, by=by, refusing=refusing):
        raise obstacle
    return account


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
