"""Faults, guard by guard: what somebody with a psql prompt could write, and how it shows once it is written.

A table of this package names each guard (« app.Model:name ») with its faults; tests/common/test_every_guard.py shows each of
them, first with that one guard off. A value that has to be made first is a function of the place (tests.faults_of.scene).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import models
from django.utils import timezone

from accounts.models import User
from tests.admin.world import Town
from tests.factories import FiliationFactory, UserFactory, agent_of
from tests.guards import sql
from wallet import actions as ledger
from wallet.models import Movement


@dataclass(frozen=True)
class Act:
    """One fault at one place: what is written, and whether it stands there."""

    write: Callable[[], object]
    seen: Callable[[], bool]


@dataclass(frozen=True)
class Fault:
    """One way past a guard."""

    at: Callable[[Town, str], Act]  # the place, and the label of the guard's model
    says: str = ""  # what PostgreSQL answers, unless the guard's kind or name says it
    behind: tuple[str, ...] = ()  # the guards in front of this one: off all along
    is_refused: bool = True  # else the guard writes itself what is right


def added(says: str = "", behind: tuple[str, ...] = (), of: str = "", **values: Any) -> Fault:
    """A copy of the place's row with these values is inserted; `of` names another model than the guard's."""

    def at(place: Town, label: str) -> Act:
        row = row_of(place, of or label)
        model: Any = type(row)
        found = made(place, values)
        row.pk = None
        for name, value in (others(place, model, found) | found).items():
            setattr(row, name, value)
        before = model._base_manager.filter(**found).count()

        def write() -> None:
            row.pk = None
            model._base_manager.bulk_create([row])  # past save()

        return Act(write, lambda: model._base_manager.filter(**found).count() == before + 1)

    return Fault(at, says, behind)


def doubled(*fields: str, behind: tuple[str, ...] = (), **values: Any) -> Fault:
    """A second row that has these values of the place's row, beside others that are its own."""

    def at(place: Town, label: str) -> Act:
        row = row_of(place, label)
        return added(behind=behind, **{name: getattr(row, name) for name in fields}, **values).at(place, label)

    return Fault(at, behind=behind)


def changed(says: str = "", behind: tuple[str, ...] = (), after: dict[str, Any] | None = None, **values: Any) -> Fault:
    """The place's row gets these values, once it has those of `after`."""

    def at(place: Town, label: str) -> Act:
        row = row_of(place, label)
        rows = type(row)._base_manager.filter(pk=row.pk)
        if after:
            rows.update(**made(place, after))
        found = made(place, values)
        return Act(lambda: rows.update(**found), lambda: rows.filter(**found).exists())

    return Fault(at, says, behind)


def deleted(says: str = "", of: Callable[[Town], Any] | None = None) -> Fault:
    """The place's row is deleted, or the one that is made for it where others hang on the place's."""

    def at(place: Town, label: str) -> Act:
        row = of(place) if of else row_of(place, label)
        rows = type(row)._base_manager.filter(pk=row.pk)
        return Act(lambda: rows._raw_delete("default"), lambda: not rows.exists())

    return Fault(at, says)


def written(
    write: Callable[[Town], object], seen: Callable[[Town], bool], says: str = "", behind: tuple[str, ...] = ()
) -> Fault:
    """Anything else, and how it shows."""
    return Fault(lambda place, _label: Act(lambda: write(place), lambda: seen(place)), says, behind)


def kept_right(write: Callable[[Town], object], wrong: Callable[[Town], bool]) -> Fault:
    """What anybody may write: the guard keeps something else right, which is wrong without it."""
    return Fault(lambda place, _label: Act(lambda: write(place), lambda: wrong(place)), is_refused=False)


# --- What the tables say ---------------------------------------------------------------------------------------------


def now(_place: Town) -> object:
    return timezone.now()


def agent(place: Town) -> object:
    return place.agent


def parent(place: Town) -> object:
    return place.parent


def other_parent(place: Town) -> User:
    """Who answers for a child of the place's parent, and works there."""
    other = agent_of()
    FiliationFactory(user=other, beneficiary=FiliationFactory(user=place.parent).beneficiary)
    return other


def somebody(_place: Town) -> object:
    return UserFactory()


def the(label: str) -> Callable[[Town], object]:
    """The place's row of this table."""
    return lambda place: row_of(place, label)


def movement(_place: Town) -> Movement:
    """One that nothing hangs on."""
    return posted(Movement.Kind.COUNTER, fees="1", till__cash="-1")


def posted(kind: Movement.Kind, **amounts: str) -> Movement:
    """A movement of these euros: `posted(kind, fees="1.00", till__cash="-1.00")`."""
    found = {code.replace("__", ":"): Decimal(amount) for code, amount in amounts.items()}
    key = uuid.uuid4().hex
    return Movement.objects.get(pk=ledger.post(kind=kind, key=key, label="x", amounts=found, by=None))


# --- How they are read -----------------------------------------------------------------------------------------------


def row_of(place: Town, label: str) -> Any:
    """The place's row of a model as the database has it."""
    known = place.rows.get(label.lower())
    model: Any = apps.get_model(label)
    return model._base_manager.get(pk=known.pk) if known else model._base_manager.order_by("pk")[0]


def made(place: Town, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value(place) if callable(value) else value for name, value in values.items()}


def others(place: Town, model: type[models.Model], given: dict[str, Any]) -> dict[str, Any]:
    """Another value for each column of a copy that no two rows share."""
    found: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if not field.unique or field.primary_key or field.name in given:
            continue
        if field.null:
            found[field.name] = None
        elif field.related_model is Movement:
            found[field.name] = movement(place)
        elif isinstance(field, models.UUIDField):
            found[field.name] = uuid.uuid4()
        else:
            found[field.name] = uuid.uuid4().hex[: min(20, field.max_length or 20)].upper()
    return found


def committed(write: Callable[[], object]) -> Callable[[], None]:
    """The same up to the commit, where deferred guards speak."""

    def whole() -> None:
        sql("SET CONSTRAINTS ALL DEFERRED")
        write()
        sql("SET CONSTRAINTS ALL IMMEDIATE")

    return whole
