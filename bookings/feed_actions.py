"""Giving a family an address for its calendar programs, another one, or none."""

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from bookings.feeds import CalendarFeed


@transaction.atomic
def open_feed(*, user: User, by: User) -> CalendarFeed:
    """Give this adult a new address; the one before, if any, opens nothing from now on."""
    User.objects.select_for_update().get(pk=user.pk)  # two tabs, one after the other
    CalendarFeed.objects.of(user).update(revoked_at=timezone.now())
    return CalendarFeed.objects.create(user=user)


def close_feed(*, user: User, by: User) -> bool:
    """Withdraw the address; returns whether there was one."""
    return bool(CalendarFeed.objects.of(user).update(revoked_at=timezone.now()))
