"""Rows of which each is worked on by itself: what fails with one keeps no other from its turn."""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


def apart(work: Callable[[], object], *, what: str) -> bool:
    """Whether `work` had something to do: False when it returned None or False, or raised.

    What it raised is logged with `what` it was about, and goes no further.
    """
    try:
        done = work()
    except Exception:  # whatever it was: the other rows have nothing to do with it
        logger.exception("Failed with %s: the others go on", what)
        return False
    return done is not None and done is not False
