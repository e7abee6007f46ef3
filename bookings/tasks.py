from celery import shared_task

from bookings import actions
from bookings.tickets.actions import release_expired_tickets


@shared_task(name="bookings.release_expired_holds")
def release_expired_holds() -> int:
    """Give back the places and tickets of carts whose time ran out; returns how many."""
    return actions.release_expired_holds() + release_expired_tickets()
