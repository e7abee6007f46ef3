"""A deadline that changes while a calendar is being generated: no day keeps a moment of the old rule."""

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import transaction

from portal.common.formats import PARIS, today
from services import calendars, moments
from services.calendars import generate_open_days
from services.models import Activity, ActivityPeriod, Deadline, OpenDay
from services.moments import recompute_limits
from tests.concurrency.conftest import race
from tests.factories import ActivityFactory

pytestmark = pytest.mark.django_db(transaction=True)


def generating(activity: Activity) -> Any:
    first = today() + dt.timedelta(days=10)
    return generate_open_days(activity=activity, first=first, last=first + dt.timedelta(days=30))


@transaction.atomic
def changing(activity: Activity) -> None:
    Deadline.objects.update(time=dt.time(9))
    recompute_limits(activities=[activity.pk])


def hours() -> set[int]:
    return {day.book_until.astimezone(PARIS).hour for day in OpenDay.objects.all()}


def test_every_day_has_the_new_limit() -> None:
    activity = ActivityFactory(weekdays=list(range(7)), term=ActivityPeriod.Kind.ALWAYS)
    report, nothing = race([lambda: generating(activity), lambda: changing(activity)])
    assert len(report.opened) > 25 and nothing is None
    assert hours() == {9}


def test_without_the_lock_days_keep_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation has read the rule, and writes its days after they were recomputed."""
    activity = ActivityFactory(weekdays=list(range(7)), term=ActivityPeriod.Kind.ALWAYS)
    has_read, changed = threading.Event(), threading.Event()
    check = calendars._check_dates

    def wait_for_the_change(*facts: Any) -> None:
        check(*facts)
        has_read.set()
        assert changed.wait(timeout=20)

    def change() -> None:
        assert has_read.wait(timeout=20)
        try:
            changing(activity)
        finally:
            changed.set()

    for module in (calendars, moments):
        monkeypatch.setattr(module, "one_at_a_time", lambda _name: None)
    monkeypatch.setattr(calendars, "_check_dates", wait_for_the_change)
    report, nothing = race([lambda: generating(activity), change])
    assert len(report.opened) > 25 and nothing is None
    assert hours() == {12}
