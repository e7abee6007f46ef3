"""What happens to something that could not leave: it is tried again, less and less often, and at last by an operator's wish."""

import datetime as dt
import logging

from django.utils import timezone

from portal.outbox.models import Leaving

logger = logging.getLogger(__name__)

# Minutes before the next try, by the number of tries made; after the last one an operator decides.
BACK_OFF_MINUTES = (1, 2, 5, 15, 60, 180, 720, 1440)


def put_off(row: Leaving, error: Exception) -> None:
    """Note why the last try of a locked row has failed, and when the next one is: after the last, never by itself."""
    row.last_error = f"{type(error).__name__}: {error}"[:500]
    if row.attempts > len(BACK_OFF_MINUTES):
        row.status = Leaving.DEAD
        logger.error("« %s » is abandoned after %s tries: %s", row.key, row.attempts, row.last_error)
    else:
        row.next_attempt_at = timezone.now() + dt.timedelta(minutes=BACK_OFF_MINUTES[row.attempts - 1])
    row.save(update_fields=["attempts", "last_error", "status", "next_attempt_at"])


def back_in_line(row: Leaving) -> None:
    """Let an abandoned row be tried anew from the first wait on; any other stays as it is.

    Why it failed before is no longer true of it: the next failure says why anew.
    """
    type(row)._default_manager.filter(pk=row.pk, status=Leaving.DEAD).update(
        status=Leaving.WAITING, attempts=0, next_attempt_at=timezone.now(), last_error=""
    )
