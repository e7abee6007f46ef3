"""Who works for a mairie or the agglomération: giving a role, taking it back, telling them that somebody waits."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import StaffRole, User
from portal.common.errors import Refused
from portal.common.formats import of, today
from portal.outbox.actions import queue_email


@transaction.atomic
def grant_role(*, role: StaffRole, by: User) -> StaffRole:
    """Give somebody a role. Raises Refused for an account that is not validated: it could not come in."""
    user = User.objects.select_for_update().get(pk=role.user_id)
    if not user.is_approved:
        raise Refused(
            _("Le compte %s n’est pas encore validé\u00a0: validez-le d’abord.") % of(str(user)), code="not_approved"
        )
    role.save()
    if not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    return role


@transaction.atomic
def withdraw_role(*, role: StaffRole, by: User) -> None:
    """Take a role back; with the last one the person no longer belongs to the staff.

    Raises Refused for one's own role: nobody locks themselves out by a click.
    """
    if role.user_id == by.pk:
        raise Refused(
            _("Vous ne pouvez pas retirer votre propre rôle\u00a0: demandez-le à un collègue."), code="own_role"
        )
    user = User.objects.select_for_update().get(pk=role.user_id)
    role.delete()
    if not user.is_superuser and not StaffRole.objects.filter(user=user).exists():
        user.is_staff = False
        user.save(update_fields=["is_staff"])


def tell_staff(*, communes: Iterable[int | None], key: str = "waiting", template: str = "requests_waiting") -> None:
    """Write to the agents of these communes that a request waits (None: the agglomération's operators).

    One e-mail a day for each: the first request brings it, the others of the day are found with that one. What else there
    is to tell has a `key` and a `template` of its own.
    """
    wanted = set(communes)
    theirs = Q(commune__in=wanted - {None})
    if None in wanted:
        theirs |= Q(commune=None)
    roles = StaffRole.objects.filter(theirs)
    staff = User.objects.filter(is_staff=True, is_active=True, status=User.Status.APPROVED, pk__in=roles.values("user"))
    for agent in staff.order_by(
        "pk"
    ):  # one order for all: two requests at once wait for each other's keys, never crossed
        queue_email(
            key=f"{key}:{agent.pk}:{today():%Y%m%d}",
            to=agent.email,
            template=template,
            context={"user": agent},
        )
