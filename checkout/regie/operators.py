"""Whom the régie's alarms go to."""

from django.db.models import Exists, OuterRef

from accounts.models import StaffRole, User


def operators() -> list[User]:
    """Those who answer for the till and can sign in: the agglomération's staff."""
    roles = StaffRole.objects.filter(user=OuterRef("pk"), commune=None)
    people = User.objects.filter(Exists(roles), is_staff=True, is_active=True, status=User.Status.APPROVED)
    return list(people.order_by("pk"))
