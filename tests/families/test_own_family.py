"""Who is of whose family, and that asking does not read every account."""

import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from families.models import Filiation
from families.own_family import family_of, is_of_family, of_own_family
from tests.factories import FiliationFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def parents() -> tuple[User, User]:
    first = FiliationFactory()
    return first.user, FiliationFactory(beneficiary=first.beneficiary).user


def agreed(one: User, other: User) -> bool:
    """What we say, once PostgreSQL says the same."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT families_own_family(%s, %s)", [one.pk, other.pk])
        (said,) = cursor.fetchone()
    assert said == is_of_family(other, one) == (other in family_of(one))
    return bool(said)


def test_who_answers_for_a_child_in_common_today(parents: tuple[User, User]) -> None:
    one, other = parents
    assert agreed(one, one) and agreed(one, other) and agreed(other, one)
    assert family_of(one).count() == 2
    childless = UserFactory()
    assert agreed(childless, childless) and not agreed(one, childless) and not agreed(childless, one)
    Filiation.objects.filter(user=other).update(ended_at=timezone.now())
    assert not agreed(one, other) and not agreed(other, one)


def test_it_reads_no_other_account(parents: tuple[User, User]) -> None:
    one, other = parents
    FiliationFactory.create_batch(20)
    User.objects.bulk_create([UserFactory.build(email=f"u{n}@x.example") for n in range(2000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user, families_filiation, families_beneficiary")
    assert read_of(family_of(one)) <= 10
    assert read_of(family_of(one).filter(pk=other.pk)) <= 10
    mine = Filiation.objects.filter(of_own_family(one, accounts=["user"], beneficiaries=["beneficiary"]))
    assert mine.count() == 2 and read_of(mine) <= 10


def read_of(rows: QuerySet[Any]) -> int:
    """How many accounts a query's plan reads, also those that it then leaves out."""
    sql, params = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, params)
        ((found,),) = cursor.fetchall()
    (plan,) = found if isinstance(found, list) else json.loads(found)
    return _read(plan["Plan"])


def _read(step: dict[str, Any]) -> int:
    rows = step["Actual Rows"] + step.get("Rows Removed by Filter", 0)
    here = rows * step["Actual Loops"] if step.get("Relation Name") == "accounts_user" else 0
    return here + sum(map(_read, step.get("Plans", [])))
