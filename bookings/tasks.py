from celery import shared_task
from django.utils import timezone

from bookings import absence_actions, actions
from bookings.reminders import remind
from bookings.tickets.actions import release_expired_tickets
from bookings.waiting.actions import sweep
from families import quotients


@shared_task(name="bookings.release_expired_holds")
def release_expired_holds() -> int:
    """Give back the places and tickets of carts whose time ran out; returns how many."""
    return actions.release_expired_holds() + release_expired_tickets()


@shared_task(name="bookings.run_waiting_lists")
def run_waiting_lists() -> int:
    """Close the waiting lists that are over and offer what came free without a booking ending; returns how many entries moved."""
    return sweep()


@shared_task(name="bookings.remind_families")
def remind_families() -> int:
    """Tell families who usually come that nothing is booked for next week; returns how many e-mails were written."""
    return remind()


@shared_task(name="bookings.forget_proofs")
def forget_proofs() -> int:
    """Delete certificates and proofs of quotients whose time is over; returns how many. Each night."""
    now = timezone.now()
    return absence_actions.forget_proofs(at=now) + quotients.forget_proofs(at=now)
