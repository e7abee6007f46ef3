from celery import shared_task

from portal.outbox.actions import send_due
from portal.outbox.calls import make_due


@shared_task(name="outbox.sweep")
def sweep() -> int:
    """Send the e-mails and make the calls that are due; returns how many left."""
    return make_due() + send_due()
