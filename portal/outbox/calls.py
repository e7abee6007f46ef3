"""Calls that must happen at somebody else's server: written with the change they follow, made after it is committed."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.outbox.actions import try_to_start
from portal.outbox.back_off import back_in_line, put_off
from portal.outbox.models import Call

logger = logging.getLogger(__name__)

# How long one run of the task asks providers that may each take ten seconds to say nothing; the rest is the next run's.
RUN_SECONDS = 20

Handler = Callable[..., None]
_handlers: dict[str, Handler] = {}


class Later(Exception):
    """The other side does not answer: the call is made again after a while."""


def handles(name: str) -> Callable[[Handler], Handler]:
    """Declare the function that makes the calls of a name; it is given the payload as keyword arguments.

    It may run twice for one call (a crash between the call and its mark): what it asks for must carry a key of its own.
    It raises Later to be called again; after the last try an operator decides.
    """

    def register(handler: Handler) -> Handler:
        _handlers[name] = handler
        return handler

    return register


def queue_call(*, key: str, name: str, payload: dict[str, Any]) -> None:
    """Write a call that is made once the surrounding transaction is committed; the same key is written once.

    Raises KeyError for a name that nobody handles: found at the writing, not at night.
    """
    if name not in _handlers:
        raise KeyError(name)
    Call.objects.bulk_create([Call(key=key, name=name, payload=payload)], ignore_conflicts=True)
    transaction.on_commit(poke, robust=True)


def poke() -> None:
    """Tell a worker that a call waits. Another task than the e-mails': they do not wait for a provider."""
    from portal.outbox.tasks import make_calls

    try_to_start(make_calls)


def make_due(*, limit: int = 100, seconds: float | None = None) -> int:
    """Make up to `limit` calls whose turn it is, none begun after so many seconds; returns how many were made.

    Must not run inside a transaction. Each is claimed, made and marked in one of its own: other workers step over it, and a
    crash loses nothing but the mark.
    """
    made = 0
    begun = time.monotonic()
    for _attempt in range(limit):
        if seconds is not None and time.monotonic() - begun >= seconds:
            break
        with transaction.atomic(durable=True):
            call = Call.objects.due().select_for_update(skip_locked=True).order_by("next_attempt_at").first()
            if call is None:
                break
            made += _make(call)
    return made


def try_again(*, call: Call) -> None:
    """Put an abandoned call back in line (an operator's decision)."""
    back_in_line(call)
    transaction.on_commit(poke, robust=True)


def _make(call: Call) -> bool:
    call.attempts += 1
    try:
        with transaction.atomic():
            _handlers[call.name](**call.payload)
    except Exception as error:  # whatever it was, the call is kept, tried again and shown to an operator
        if not isinstance(error, Later):
            logger.exception("The call %s failed", call.key)
        put_off(call, error)
        return False
    call.status, call.done_at, call.last_error = Call.Status.DONE, timezone.now(), ""
    call.save(update_fields=["attempts", "status", "done_at", "last_error"])
    return True
