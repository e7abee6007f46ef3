"""Rows of which each is worked on by itself: what fails with one keeps no other from its turn."""

import logging
from collections.abc import Callable

from django.db.models import F, Model
from django.utils import timezone

# Of models with a `failed_at`: those that failed come after the others, the longest ago first.
FAILED_LAST = F("failed_at").asc(nulls_first=True)

logger = logging.getLogger(__name__)


def apart(work: Callable[[], object], *, what: str, failed: Callable[[Exception], object] | None = None) -> bool:
    """Whether `work` had something to do: False when it returned None or False, or raised.

    What it raised is logged with `what` it was about, handed to `failed`, and goes no further.
    """
    try:
        done = work()
    except Exception as error:  # whatever it was: the other rows have nothing to do with it
        logger.exception("Failed with %s: the others go on", what)
        if failed is not None:
            failed(error)
        return False
    return done is not None and done is not False


def has_failed(row: Model, _error: Exception) -> None:
    """Keep on a row with a `failed_at` that it failed now: for `apart`, beside FAILED_LAST."""
    type(row)._default_manager.filter(pk=row.pk).update(failed_at=timezone.now())
