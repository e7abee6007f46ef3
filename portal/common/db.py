"""Database helpers: constraint names become sentences, a lost lock race is tried again, a trigger many tables share."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import pgtrigger
import psycopg.errors
from django.db import IntegrityError, OperationalError, connection, models, transaction

from portal.common.errors import Refused

P = ParamSpec("P")
R = TypeVar("R")
Rows = TypeVar("Rows", bound="models.QuerySet[Any]")


def not_truncated(name: str) -> pgtrigger.Trigger:
    """A trigger that refuses TRUNCATE, which runs no trigger of rows: neither « append-only » nor « kept » sees it.

    The tests' flush switches it off (tests/conftest.py); nothing else empties a table.
    """
    return pgtrigger.Trigger(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func="RAISE EXCEPTION '% is never emptied', TG_TABLE_NAME;",
    )


def annotated(rows: Rows, **facts: Any) -> Rows:
    """`rows.annotate(**facts)`, for facts that the model declares as attributes of its rows."""
    found: Any = rows.annotate(**facts)
    return cast(Rows, found)


def one_at_a_time(name: str) -> None:
    """Wait until nobody else is in a transaction that asked for this name; until the commit, others wait for us.

    For what no single row stands for. Asked for before any lock of a row that others take under it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [name])


@contextlib.contextmanager
def one_moment() -> Iterator[None]:
    """What is read within is the database as of one moment, however long it takes; nothing can be written.

    Of statements one after the other, the second sees what was committed since the first: figures that are compared would
    differ for no reason. Within a transaction that runs already it is that one's view.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextlib.contextmanager
def if_nobody_else(name: str) -> Iterator[bool]:
    """Whether nobody else is in a block of this name; who is told so keeps others out until the block ends.

    For work outside a transaction. Nobody waits; a process that dies gives the name back with its connection.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name])
        alone = bool(cursor.fetchone()[0])
    try:
        yield alone
    finally:
        if alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [name])


def somebody_is_in(name: str) -> bool:
    """Whether somebody is in a block of `if_nobody_else` right now, here or in another process."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT 1 FROM pg_locks
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND ((classid::bigint << 32) | objid::bigint) = hashtext(%s)::bigint
            )
            """,
            [name],
        )
        return bool(cursor.fetchone()[0])


def violated_constraint(error: IntegrityError) -> str:
    """The name of the constraint that PostgreSQL refused, or an empty text."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error):
        return cause.diag.constraint_name or ""
    return ""


@contextlib.contextmanager
def refusing(sentences: dict[str, str]) -> Iterator[None]:
    """Run a block in a savepoint and turn a violation of a named constraint into its sentence.

    Raises Refused with the sentence, the constraint's name being its code; other violations pass unchanged.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        name = violated_constraint(error)
        if name in sentences:
            raise Refused(sentences[name], code=name) from error
        raise


def retry_on_deadlock(function: Callable[P, R]) -> Callable[P, R]:
    """Run an atomic action again, at most twice, when PostgreSQL chose it to break a deadlock.

    Only for actions that open their own transaction: inside an outer one the whole of it is already lost.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for _attempt in range(2):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                retryable = isinstance(error.__cause__, psycopg.errors.DeadlockDetected)
                if not retryable or connection.in_atomic_block:
                    raise
        return function(*args, **kwargs)

    return wrapper
