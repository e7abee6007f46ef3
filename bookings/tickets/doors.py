"""Who may let people in, and for what: the staff of a service, and the controllers that it appoints."""

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.admin_base import works_here
from accounts.models import User
from bookings.tickets.models import Controller
from portal.common.errors import Refused
from portal.common.formats import of
from services.models import Activity, Service
from services.models.catalogue import ActivityQuerySet


def doors_of(user: User) -> ActivityQuerySet:
    """The activities whose tickets this person may check: those of their communes, and those of the doors they were given."""
    rows = Activity.objects.exclude(kind=Activity.Kind.CALENDAR)
    if not (user.is_active and user.is_approved):
        return rows.none()
    if works_here(user) and user.is_operator:
        return rows
    given = Controller.objects.filter(user=user)
    doors = Q(pk__in=given.values("activity")) | Q(service__in=given.filter(activity=None).values("service"))
    if works_here(user):
        doors |= Q(service__commune__in=user.commune_ids)
    return rows.filter(doors)


def opens_doors(user: User) -> bool:
    """Whether there is a door page for this person at all, were it an empty one."""
    return works_here(user) or (user.is_active and user.is_approved and Controller.objects.filter(user=user).exists())


@transaction.atomic
def appoint(*, controller: Controller, by: User) -> Controller:
    """Let somebody open the door of a service, or of one of its activities.

    Raises Refused for an account that is not validated, a service that `by` does not run, an activity of another service or
    without tickets.
    """
    user = User.objects.select_for_update().get(pk=controller.user_id)
    if not user.is_approved:
        raise Refused(
            _("Le compte %s n’est pas encore validé : validez-le d’abord.") % of(str(user)), code="not_approved"
        )
    if not Service.objects.visible_to(by).filter(pk=controller.service_id).exists():
        raise Refused(_("Ce service n’est pas le vôtre : rien n’a été changé."), code="not_yours")
    check_door(controller.service, controller.activity)
    controller.save(force_insert=True)
    return controller


def check_door(service: Service, activity: Activity | None) -> None:
    """Raises Refused unless the activity is one of the service and has tickets, or the service has any."""
    sold = Activity.objects.filter(service=service).exclude(kind=Activity.Kind.CALENDAR)
    if activity is None and not sold.exists():
        raise Refused(_("Ce service ne vend ni e-billet ni abonnement : il n’y a rien à contrôler."), code="no_ticket")
    if activity is not None and activity not in sold:
        raise Refused(
            _("« %s » n’est pas un e-billet ou un abonnement de ce service.") % activity, code="door_is_of_its_service"
        )


@transaction.atomic
def dismiss(*, controller: Controller, by: User) -> None:
    """Take a door back, for the staff of its service: from the next page on it is not there. Raises Refused for a stranger's."""
    if not Controller.objects.visible_to(by).filter(pk=controller.pk).exists():
        raise Refused(_("Ce service n’est pas le vôtre : rien n’a été changé."), code="not_yours")
    controller.delete()
