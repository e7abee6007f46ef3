from celery import shared_task

from portal.outbox.actions import send_due


@shared_task(name="outbox.sweep")
def sweep() -> int:
    """Send the e-mails that are due; returns how many left."""
    return send_due()
