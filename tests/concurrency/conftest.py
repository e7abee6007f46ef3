"""Real threads on real PostgreSQL: each has its own connection and its own transactions."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pgtrigger
import pytest
from django.db import connection
from django.db.models import QuerySet

Outcome = Any  # what the function returned, or the exception it raised


def race(functions: Sequence[Callable[[], Any]]) -> list[Outcome]:
    """Run the functions at the same moment, each in a thread; return what each returned or raised, in their order."""
    start = threading.Barrier(len(functions))
    outcomes: list[Outcome] = [None] * len(functions)

    def run(index: int) -> None:
        try:
            start.wait(timeout=30)
            outcomes[index] = functions[index]()
        except Exception as error:
            outcomes[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return outcomes


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every SELECT … FOR UPDATE of the actions becomes a plain SELECT: the guard in the code is off."""

    def plain(self: QuerySet[Any], **_options: Any) -> QuerySet[Any]:
        return self

    monkeypatch.setattr(QuerySet, "select_for_update", plain)


@pytest.fixture
def without_constraint() -> Callable[[str, str], AbstractContextManager[None]]:
    """Take a named constraint away for a block: the guard in the database is off."""

    @contextmanager
    def without(table: str, name: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name])
            (definition,) = cursor.fetchone()
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                # NOT VALID: the fault that was shown is still in the table.
                valid = "" if "EXCLUDE" in definition else " NOT VALID"
                if not valid:
                    with pgtrigger.ignore():
                        cursor.execute(f"TRUNCATE {table} CASCADE")
                cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{valid}")

    return without


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, int], None]:
    """Make racers wait for each other right after a check: the moment in which a missing guard shows."""

    def arrange(module: Any, name: str, racers: int) -> None:
        original = getattr(module, name)
        barrier = threading.Barrier(racers)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            # Broken when the others are held back by a lock: that is the guard at work.
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(timeout=3)
            return result

        monkeypatch.setattr(module, name, wrapper)

    return arrange
