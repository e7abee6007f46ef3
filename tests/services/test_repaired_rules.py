"""Rows that a CHECK let pass because it compared with nothing: taken over as what they did."""

from importlib import import_module

import pytest
from django.db import connection

from services.models import ActivityPeriod, Deadline
from tests.factories import ActivityFactory, DeadlineFactory
from tests.guards import off, sql

pytestmark = pytest.mark.django_db
repair = import_module("services.migrations.0028_nothing_is_no_limit").REPAIR
CHECKS = (
    "services.Deadline:surcharge_has_an_amount",
    "services.Deadline:deadline_has_a_limit_for_each_weekday",
    "services.ActivityPeriod:period_dates_are_in_order",
)


def test_each_becomes_what_it_did() -> None:
    ActivityFactory(weekdays=[0])
    late = DeadlineFactory(name="Le matin", offset=0)
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no pending trigger
    with off(*CHECKS):
        DeadlineFactory(name="Sans montant", late=late, surcharge=Deadline.Surcharge.ADDED)
        DeadlineFactory(name="Sans limites", basis=Deadline.Basis.WEEKDAYS)
        ActivityPeriod.objects.update(kind=ActivityPeriod.Kind.DATES, first_day="2027-01-04")
        with connection.cursor() as cursor:
            cursor.execute(repair)
    assert Deadline.objects.get(name="Sans montant").surcharge == ""
    assert Deadline.objects.get(name="Sans limites").weekday_limits == [None] * 7
    assert not ActivityPeriod.objects.exists()
    assert Deadline.objects.get(name="Le matin").offset == 0
