from celery import shared_task

from portal.common.db import if_nobody_else
from portal.outbox.actions import send_due
from portal.outbox.calls import RUN_SECONDS, make_due

# One process at most is with the providers: those that dawdle never take all that would send e-mails.
CALLING = "outbox.calls"


@shared_task(name="outbox.sweep")
def sweep() -> int:
    """Send the e-mails that are due; returns how many left."""
    return send_due()


# A provider that accepts the connection and never says anything is interrupted: its call counts as failed.
@shared_task(name="outbox.make_calls", soft_time_limit=2 * RUN_SECONDS, time_limit=3 * RUN_SECONDS)
def make_calls() -> int:
    """Make the calls that are due, for a while and unless another process is at it; returns how many were made."""
    with if_nobody_else(CALLING) as alone:
        return make_due(seconds=RUN_SECONDS) if alone else 0
