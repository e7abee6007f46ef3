"""How a guard of the database is shown: the fault happens with it off, and is refused with it on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pgtrigger
import pytest
from django.apps import apps
from django.db import Error, connection, transaction

from checkout.actions import Means
from tests.shop import Shop, open_shop


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


@contextmanager
def undone() -> Iterator[None]:
    """What happens here is looked at and taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def in_the_way(table: str, condition: str) -> None:
    """Rows of which this is not true can no longer be written, until the test is taken back."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(f"ALTER TABLE {table} ADD CONSTRAINT in_the_way CHECK ({condition}) NOT VALID")
    sql("SET CONSTRAINTS ALL DEFERRED")


@contextmanager
def off(*guards: str) -> Iterator[None]:
    """Without these guards (« app.Model:name »): triggers look away, constraints are gone until what is `undone` is taken back."""
    triggers = []
    for guard in guards:
        label, _, name = guard.partition(":")
        model: Any = apps.get_model(label)
        if name in {constraint.name for constraint in model._meta.constraints}:
            drop(model._meta.db_table, name)
        else:
            triggers.append(guard)
    if not triggers:  # pgtrigger would ignore them all
        yield
        return
    with pgtrigger.ignore(*triggers):
        yield


def drop(table: str, constraint: str) -> None:
    """Some unique constraints, those with a condition, are no constraints to PostgreSQL but indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [constraint])
        known = cursor.fetchone()
    sql(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if known else f"DROP INDEX {constraint}")


def guarded(guard: str, fault: Callable[[], object], says: str, seen: Callable[[], bool]) -> None:
    """The fault happens with the guard (« app.Model:name », a trigger or a constraint) off, and is refused with it on."""
    with undone(), off(guard):
        fault()
        assert seen(), f"without {guard} nothing shows"
    assert not seen()
    with pytest.raises(Error, match=says), transaction.atomic():
        fault()
    assert not seen()


def bought(**options: Any) -> Shop:
    """A shop with one paid order."""
    shop = open_shop(days=1, credit="50", **options)
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    return shop
