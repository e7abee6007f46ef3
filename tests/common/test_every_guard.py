"""Each constraint and each trigger is shown: the fault with that one guard off, then refused.

A guard that is new stands in a table of tests/faults_of, or in a test that ELSEWHERE names; until then the last test fails.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pghistory.trigger
import pgtrigger
import pytest
from django.apps import apps
from django.conf import settings

from tests.admin.world import Town
from tests.faults_of import (
    Fault,
    bookings,
    catalogue,
    changed,
    checkout,
    committed,
    deleted,
    history,
    now,
    outbox,
    people,
    regie,
    vouchers,
    wallet,
)
from tests.faults_of.elsewhere import ELSEWHERE
from tests.faults_of.scene import scene
from tests.guards import guarded, off, sql, undone

pytestmark = pytest.mark.django_db
APPS = [config.label for config in apps.get_app_configs() if "site-packages" not in config.path]  # ours
TABLES: list[ModuleType] = [people, catalogue, bookings, wallet, checkout, vouchers, regie, outbox]
FAULTS: dict[str, list[Fault]] = {guard: faults for table in TABLES for guard, faults in table.FAULTS.items()}
CASES = [
    pytest.param(guard, fault, id=f"{guard}-{number}")
    for guard, faults in FAULTS.items()
    for number, fault in enumerate(faults)
]
SAYS: dict[type[pgtrigger.Trigger], str] = {
    pgtrigger.FSM: "Invalid transition",
    pgtrigger.ReadOnly: "Cannot update",
    pgtrigger.Protect: "Cannot (update|delete)",
}


def triggers(kind: Any) -> list[str]:
    """The guards of these apps whose trigger is one of these."""
    return [
        f"{model._meta.label}:{trigger.name}"
        for model, trigger in pgtrigger.registered()
        if model._meta.app_label in APPS and kind(trigger)
    ]


def constraints() -> list[str]:
    models = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    return [f"{model._meta.label}:{constraint.name}" for model in models for constraint in model._meta.constraints]


def follows_history(trigger: pgtrigger.Trigger) -> bool:
    return isinstance(trigger, pghistory.trigger.Event)


def keeps_from_truncating(trigger: pgtrigger.Trigger) -> bool:
    return trigger.operation == pgtrigger.Truncate


EMPTYING = triggers(keeps_from_truncating)
HISTORIES = triggers(follows_history)
APPEND_ONLY = triggers(lambda trigger: trigger.name == "append_only")
WALKED = {*FAULTS, *EMPTYING, *HISTORIES, *APPEND_ONLY}


def model_of(guard: str) -> Any:
    return apps.get_model(guard.partition(":")[0])


def words(guard: str, fault: Fault) -> str:
    """What PostgreSQL answers: a constraint its name, a trigger what those of its kind say, or its own sentence."""
    name = guard.partition(":")[2]
    known = {trigger.name: SAYS.get(type(trigger), "") for trigger in getattr(model_of(guard)._meta, "triggers", [])}
    found = fault.says or known.get(name, name)
    assert found, f"say what {guard} answers"
    return found


@pytest.fixture(scope="module")
def place(django_db_setup: None, django_db_blocker: Any) -> Iterator[Town]:
    """Made once for two hundred faults: each test takes back what it does."""
    with django_db_blocker.unblock(), undone():
        yield scene()


@pytest.mark.parametrize("guard, fault", CASES)
def test_the_fault_happens_without_its_guard_alone(place: Town, guard: str, fault: Fault) -> None:
    act = fault.at(place, guard.partition(":")[0])
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # what was made for it is committed
    assert not act.seen()
    with undone(), off(*fault.behind):
        if fault.is_refused:
            guarded(guard, committed(act.write), words(guard, fault), act.seen)
        else:
            with undone(), off(guard):
                committed(act.write)()
                assert act.seen(), f"without {guard} nothing is wrong"
            committed(act.write)()
            assert not act.seen()


@pytest.mark.parametrize("guard", EMPTYING)
def test_each_table_is_never_emptied_by_itself(place: Town, guard: str) -> None:
    """A cascade reaches tables that speak for themselves: all but this one look away."""
    table = model_of(guard)._meta.db_table
    rows = model_of(guard)._base_manager
    everybody = [
        f"{model._meta.label}:{trigger.name}"
        for model, trigger in pgtrigger.registered()
        if keeps_from_truncating(trigger)
    ]
    with undone(), off(*{*everybody} - {guard}):
        guarded(guard, lambda: sql(f"TRUNCATE {table} CASCADE"), f"{table} is never emptied", lambda: not rows.exists())


@pytest.mark.parametrize("guard", HISTORIES)
def test_without_its_trigger_a_change_leaves_no_trace(place: Town, guard: str) -> None:
    label, _, name = guard.partition(":")
    events = apps.get_model(f"{label}Event")._base_manager
    act = (history.MADE if name == "insert_insert" else history.CHANGED)[label].at(place, label)
    before = events.count()
    with undone(), off(guard):
        act.write()
        assert events.count() == before and act.seen()
    act.write()
    assert events.count() == before + 1


@pytest.mark.parametrize("guard", APPEND_ONLY)
def test_what_happened_stays_as_it_was_written(place: Town, guard: str) -> None:
    label = guard.partition(":")[0]
    for fault in (changed(pgh_created_at=now), deleted()):
        act = fault.at(place, label)
        guarded(guard, act.write, "Cannot update or delete", act.seen)


# --- None is forgotten ------------------------------------------------------------------------------------------------


def test_every_guard_is_shown() -> None:
    there = {*constraints(), *triggers(lambda _trigger: True)}
    shown = WALKED.union(*ELSEWHERE.values())
    assert sorted(there - shown) == [], "write a fault of each into tests/faults_of"
    assert sorted(shown - there) == [], "nothing is called so any more"


@pytest.mark.parametrize("file, guards", ELSEWHERE.items(), ids=ELSEWHERE)
def test_what_is_shown_elsewhere_is_shown_there(file: str, guards: list[str]) -> None:
    """By name, and as what is `guarded`: by itself or as the first value of a parametrized test."""
    source = (Path(settings.BASE_DIR) / file).read_text()
    by_name = set(re.findall(r'guarded\(\s*"([\w.]+:\w+)"', source))
    if re.search(r"guarded\(\s*(guard|trigger|f\")", source):
        by_name |= set(re.findall(r'"(\w+\.\w+:\w+)"', source))
    assert sorted(set(guards) - by_name) == []
    assert not WALKED.intersection(guards)
