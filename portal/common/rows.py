"""Rows of which each is worked on by itself: what fails with one keeps no other from its turn."""

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator

from django.db.models import F, Model
from django.utils import timezone

# Of models with a `failed_at`: those that failed come after the others, the longest ago first.
FAILED_LAST = F("failed_at").asc(nulls_first=True)

# Their tasks come each few minutes: what is still there an hour after its time has failed again and again.
LATE_AFTER = dt.timedelta(hours=1)

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def apart(*, what: str, failed: Callable[[Exception], object] | None = None) -> Iterator[None]:
    """A block whose failure is its own: what it raises is logged with `what` it was about, handed to `failed`, and goes no
    further. Who counts what was done counts within the block."""
    try:
        yield
    except Exception as error:  # whatever it was: the other rows have nothing to do with it
        logger.exception("Failed with %s: the others go on", what)
        if failed is not None:
            failed(error)


def has_failed(row: Model, _error: Exception) -> None:
    """Keep on a row with a `failed_at` that it failed now: for `apart`, beside FAILED_LAST."""
    type(row)._default_manager.filter(pk=row.pk).update(failed_at=timezone.now())
