"""A CHECK that compares with nothing is neither true nor false, and PostgreSQL lets the row pass: none may be in doubt.

Each is asked about all combinations of what its columns may hold: nothing, where they may, and each of their choices.
"""

import itertools
import re
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from tests.common.test_every_guard import APPS

pytestmark = pytest.mark.django_db
# A range or an array compares in ways of its own: a value of each kind.
ONE_OF = {
    "ArrayField": "'{1}'",
    "BooleanField": "true",
    "DateField": "'2027-01-04'",
    "DateRangeField": "'[2027-01-04,2027-02-01)'",
    "DateTimeField": "'2027-01-04'",
    "DateTimeRangeField": "'[2027-01-04,2027-02-01)'",
    "IntegerRangeField": "'[1,5)'",
    "TimeField": "'12:00'",
}
# Those that are in doubt about rows which another CHECK of the table decides about.
LEFT_TO = {
    "late_is_never_cheaper": "surcharge_has_an_amount",
    "slot_ends_after_it_starts": "slot_has_hours_or_a_validity",
    "correction_takes_two_persons": "decided_correction_is_signed",
}


def checks() -> list[Any]:
    return [
        pytest.param(model, constraint.name, id=constraint.name)
        for app in APPS
        for model in apps.get_app_config(app).get_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    ]


def condition(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = %s", [name])
        (found,) = cursor.fetchone()
    return str(found)


def values(field: Any) -> list[str]:
    """What is written in SQL of each value worth asking about."""
    kind = field.db_type(connection)
    known = [repr(str(value)) for value, _label in field.flatchoices] or [ONE_OF.get(field.get_internal_type(), "'1'")]
    if isinstance(field, models.CharField | models.TextField) and "''" not in known:
        known.append("''")
    return [f"{value}::{kind}" for value in known] + ([f"NULL::{kind}"] if field.null else [])


@pytest.mark.parametrize("model, name", checks())
def test_no_row_leaves_a_check_in_doubt(model: type[models.Model], name: str) -> None:
    asked = condition(name)
    other = condition(LEFT_TO[name]) if name in LEFT_TO else "NULL::boolean"
    words = {*re.findall(r"\w+", asked + other)}
    fields = [field for field in model._meta.concrete_fields if field.column in words]
    rows = [f"({', '.join(row)})" for row in itertools.product(*map(values, fields))]
    assert 0 < len(rows) < 20_000
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM (VALUES {', '.join(rows)}) AS row ({columns}) "
            f"WHERE ({asked}) IS NULL AND ({other}) IS NULL LIMIT 1"
        )
        assert cursor.fetchall() == [], f"{columns}: neither refused nor allowed"
