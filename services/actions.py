"""Everything that changes who may use a service."""

import datetime as dt
from collections.abc import Collection, Iterable

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import CommuneFile, User
from accounts.staff import tell_staff
from portal.common.errors import Refused
from portal.common.formats import day, long_date, today
from portal.outbox.actions import queue_email
from services.models import AccessProfile, Activity, Slot, Subscription
from services.models.access import RENEWED_BEFORE
from services.school_calendar import school_year

# --- Access to services (« Mes services ») ---------------------------------------------------------------------------


@transaction.atomic
def request_subscriptions(*, user: User, profiles: Iterable[AccessProfile], by: User) -> list[Subscription]:
    """Ask for access to services, each in one situation; the commune of each gets the person's file.

    A refused request is asked again; one that waits or is validated stays as it is and is not returned. The staff
    concerned is told, for somebody who still signs up at the end of it. Raises Refused when a situation is no longer
    offered: then none is asked.
    """
    wanted = {profile.pk for profile in profiles}
    # One at a time for one person: two tabs ask for the same thing without meeting at the unique constraint.
    User.objects.select_for_update().get(pk=user.pk)
    offered = list(
        AccessProfile.objects.filter(pk__in=wanted, is_active=True, service__is_active=True)
        .select_related("service")
        .order_by("pk")
    )
    if len(offered) < len(wanted):
        raise Refused(
            _("L’un des services choisis n’est plus proposé : vérifiez vos choix et validez de nouveau."),
            code="not_offered",
        )
    existing = {
        subscription.profile_id: subscription
        for subscription in Subscription.objects.of(user).filter(profile__in=offered).order_by("pk").select_for_update()
    }
    new = [Subscription(user=user, profile=profile) for profile in offered if profile.pk not in existing]
    again = [each for each in existing.values() if each.status == Subscription.Status.REFUSED]
    for subscription in again:
        subscription.status = Subscription.Status.PENDING
        subscription.requested_at = timezone.now()
        subscription.decided_at = subscription.decided_by = None
        subscription.reason = ""
    Subscription.objects.bulk_create(new)
    Subscription.objects.bulk_update(again, ["status", "requested_at", "decided_at", "decided_by", "reason"])
    communes = {profile.service.commune_id for profile in offered if profile.service.commune_id is not None}
    CommuneFile.objects.bulk_create(
        [CommuneFile(user=user, commune_id=commune, reason=CommuneFile.Reason.REQUEST) for commune in sorted(communes)],
        ignore_conflicts=True,
    )
    asked = {each.profile_id for each in new + again}
    if asked and user.completed_at is not None:
        tell_staff(communes=[profile.service.commune_id for profile in offered if profile.pk in asked])
    return new + again


@transaction.atomic
def approve_subscription(*, subscription: Subscription, by: User) -> Subscription:
    """Validate a request: the person may book this service, and an e-mail tells them so.

    Raises Refused when it is already validated, or belongs to a commune this member of staff does not work for.
    """
    current = _to_decide(subscription, by)
    if current.status == Subscription.Status.APPROVED:
        raise Refused(_("Cette demande d’accès est déjà validée."), code="already_decided")
    current.valid_until = _end_of_access() if current.profile.service.yearly_access else None
    return _decide(current, status=Subscription.Status.APPROVED, reason="", by=by)


@transaction.atomic
def ask_renewal(*, subscription: Subscription, by: User) -> Subscription:
    """Ask that an access of a school year be good for the next one too; the staff concerned is told.

    Raises Refused when there is nothing to renew: it has no end, was withdrawn, or was asked for already.
    """
    row = Subscription.objects.of(by).select_for_update(of=["self"]).filter(pk=subscription.pk).first()
    if row is None or not row.can_be_renewed:
        raise Refused(_("Cet accès n’est pas à renouveler, ou son renouvellement est déjà demandé."), code="not_due")
    row.renewal_asked_at = timezone.now()
    row.save(update_fields=["renewal_asked_at"])
    tell_staff(communes=[row.profile.service.commune_id])
    return row


@transaction.atomic
def confirm_renewal(*, subscription: Subscription, by: User) -> Subscription:
    """Make an access good for another school year, as its family asked; an e-mail tells them so.

    Raises Refused when nobody asks (any more), and for another commune's service.
    """
    current = _to_decide(subscription, by)
    if current.renewal_asked_at is None:
        raise Refused(_("Aucun renouvellement n’est demandé pour cet accès."), code="not_asked")
    current.valid_until, current.renewal_asked_at = _end_of_access(), None
    current.save(update_fields=["valid_until", "renewal_asked_at"])
    queue_email(
        key=f"subscription:{current.pk}:renewed:{current.valid_until:%Y%m%d}",
        to=current.user.email,
        template="subscription_renewed",
        context={"user": current.user, "subscription": current},
    )
    return current


def _end_of_access() -> dt.date:
    """The last day of this school year; from June on, of the next one."""
    return school_year(today() + RENEWED_BEFORE)[1]


@transaction.atomic
def refuse_subscription(*, subscription: Subscription, reason: str, by: User) -> Subscription:
    """Refuse a request, or withdraw an access, with a reason that the person reads. Raises Refused without one."""
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    current = _to_decide(subscription, by)
    if current.status == Subscription.Status.REFUSED:
        raise Refused(_("Cette demande d’accès est déjà refusée."), code="already_decided")
    return _decide(current, status=Subscription.Status.REFUSED, reason=reason, by=by)


def _to_decide(subscription: Subscription, by: User) -> Subscription:
    current = (
        Subscription.objects.visible_to(by)
        .select_for_update(of=["self"])
        .select_related("user", "profile__service__commune")
        .filter(pk=subscription.pk)
        .first()
    )
    if current is None:
        raise Refused(_("Cette demande concerne un service d’une autre commune."), code="out_of_scope")
    return current


def _decide(subscription: Subscription, *, status: Subscription.Status, reason: str, by: User) -> Subscription:
    subscription.status = status
    subscription.decided_at = timezone.now()
    subscription.decided_by = by
    subscription.reason = reason
    subscription.renewal_asked_at = None
    subscription.save(update_fields=["status", "decided_at", "decided_by", "reason", "valid_until", "renewal_asked_at"])
    queue_email(
        key=f"subscription:{subscription.pk}:{status}:{subscription.decided_at:%Y%m%d%H%M%S%f}",
        to=subscription.user.email,
        template=f"subscription_{status}",
        context={"user": subscription.user, "subscription": subscription, "reason": reason},
    )
    return subscription


def check_offer(
    *, user: User, activity: Activity, slot: Slot, subscription: Subscription, dates: Collection[dt.date] = ()
) -> None:
    """Raise Refused unless this person may book this slot of this activity today, for these dates, in this situation."""
    approved = (
        subscription.user_id == user.pk
        and subscription.status == Subscription.Status.APPROVED
        and subscription.profile.service_id == activity.service_id
    )
    if not approved:
        raise Refused(
            _("Votre accès à ce service n’est pas validé : demandez-le depuis « Mes services »."), code="no_access"
        )
    until = subscription.valid_until
    if until is not None and until < max([today(), *dates]):
        raise Refused(
            _(
                "Votre accès à « %(service)s » vaut jusqu’au %(date)s : renouvelez-le depuis « Mes services ». "
                "Rien n’a été ajouté et rien n’a été débité."
            )
            % {"service": activity.service, "date": long_date(until)},
            code="access_over",
        )
    if slot.activity_id != activity.pk or not (slot.is_active and activity.is_active and activity.service.is_active):
        raise Refused(_("Cette prestation n’est pas proposée. Rien n’a été ajouté."), code="not_offered")
    opens_on = activity.booking_opens_on
    if opens_on and opens_on > timezone.localdate():
        raise Refused(_("Les réservations ouvrent le %s.") % day(opens_on), code="not_open_yet")
