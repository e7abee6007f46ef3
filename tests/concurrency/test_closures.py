"""A closure beside families who book, cancel and pay in the same moment, and beside itself."""

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pytest

from bookings import actions as bookings
from bookings.closures import actions as closures
from bookings.closures.calendar import closings
from bookings.closures.models import Closure
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.actions.closures import apply_closure
from checkout.verification import verify
from portal.common.errors import Refused
from services import calendars
from services.calendars import generate_open_days
from services.models import OpenDay
from services.school_calendar import school_year
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import EnrolmentFactory, SchoolFactory, agent_of, only_open
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db(transaction=True)


def bought() -> tuple[Shop, Closure, Any]:
    shop = open_shop(days=1, capacity=9, credit="20")
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    commune = shop.activity.service.commune
    day = shop.days[0].date
    plan = Closure(
        scope="activity", activity=shop.activity, commune=commune, first_day=day, last_day=day, reason="Neige"
    )
    return shop, plan, agent_of(commune)


def decide(plan: Closure, by: Any) -> Closure:
    return closures.decide(closure=plan, seen=closures.fingerprint(plan), by=by)


def test_who_books_in_that_moment_is_before_or_refused() -> None:
    shop, plan, by = bought()
    buyers = [family(shop.tariff, days=shop.days) for _buyer in range(4)]
    outcomes = codes(race([lambda: decide(plan, by), *(buyer.add for buyer in buyers)]))
    assert outcomes["Closure"] == 1 and outcomes["Added"] + outcomes["not_bookable"] == 4
    # Who was before lost the place again: nothing of a closed day stays in a cart.
    assert not Booking.objects.held().exists() and not shop.fresh().is_open and shop.fresh().taken == 1


def test_without_the_locks_a_cart_keeps_a_place_of_a_closed_day(
    no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buyer has found the day open, and writes after the closure has looked for held places."""
    shop, plan, by = bought()
    buyer = family(shop.tariff, days=shop.days)
    found_open, closed = threading.Event(), threading.Event()
    check = bookings.check_places

    def wait_for_the_closure(*facts: Any) -> None:
        check(*facts)
        found_open.set()
        assert closed.wait(timeout=20)

    monkeypatch.setattr(bookings, "check_places", wait_for_the_closure)

    def close() -> Closure:
        assert found_open.wait(timeout=20)
        try:
            return decide(plan, by)
        finally:
            closed.set()

    assert codes(race([close, buyer.add])) == {"Closure": 1, "Added": 1}
    assert Booking.objects.held().count() == 1 and not shop.fresh().is_open


def test_a_pupil_who_books_in_the_moment_in_which_the_school_closes() -> None:
    """Who waits for the day has read that no school is closed: the row itself is refused."""
    shop, plan, by = bought()
    buyers = [family(shop.tariff, days=shop.days) for _buyer in range(4)]
    school = SchoolFactory(commune=plan.commune)
    year = school_year(plan.first_day)[0].year
    for buyer in buyers:
        EnrolmentFactory(beneficiary=buyer.children[0], school=school, year=year)
    plan.scope, plan.activity, plan.school = "school", None, school
    outcomes = codes(race([lambda: decide(plan, by), *(buyer.add for buyer in buyers)]))
    refused = outcomes["school_closed"] + outcomes["booking_of_an_open_school"]
    assert outcomes["Closure"] == 1 and outcomes["Added"] + refused == 4
    assert not Booking.objects.held().exists() and shop.fresh().is_open


def test_undone_or_applied_but_never_both() -> None:
    shop, plan, by = bought()
    closure = decide(plan, by)
    outcomes = race(
        [
            lambda: closures.undo(closure=closure, by=by),
            lambda: apply_closure(closure=closure, by=by),
            lambda: apply_closure(closure=closure, by=by),
        ]
    )
    closure.refresh_from_db()
    if closure.status == "undone":
        assert shop.balance == Decimal("12.10") and Booking.objects.booked().count() == 1
    else:
        assert shop.balance == Decimal(20) and not Booking.objects.booked().exists()
        assert any(isinstance(outcome, Refused) and outcome.code == "too_late" for outcome in outcomes)
    assert list(verify()) == []


def test_a_family_that_cancels_while_it_is_applied_is_paid_once() -> None:
    shop, plan, by = bought()
    closure = decide(plan, by)
    booking = Booking.objects.get()
    race(
        [
            lambda: apply_closure(closure=closure, by=by),
            lambda: cancel_bookings(ids=[booking.pk], by=shop.user),
        ]
    )
    assert shop.balance == Decimal(20) and list(verify()) == []


def generating(shop: Shop, closure: Closure) -> Any:
    return generate_open_days(activity=shop.activity, first=closure.first_day, last=closure.last_day)


def two_days() -> tuple[Shop, Closure, Any]:
    """A day in the calendar, and the one after it, which is being made while both are closed."""
    shop, plan, by = bought()
    only_open(shop.activity, list(range(7)))
    plan.last_day = plan.first_day + dt.timedelta(days=1)
    return shop, plan, by


def test_a_day_that_is_made_in_that_moment_is_closed_too() -> None:
    shop, plan, by = two_days()
    race([lambda: decide(plan, by), lambda: generating(shop, plan)])
    assert OpenDay.objects.count() == 2 and not OpenDay.objects.filter(is_open=True).exists()


def test_without_the_lock_the_database_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation has found no closure, and writes its day after the closure has looked for days."""
    shop, plan, by = two_days()
    found_none, closed = threading.Event(), threading.Event()

    def wait_for_the_closure(*facts: Any) -> Any:
        found = closings(*facts)
        found_none.set()
        assert closed.wait(timeout=20)
        return found

    def close() -> Closure:
        assert found_none.wait(timeout=20)
        try:
            return decide(plan, by)
        finally:
            closed.set()

    for module in (calendars, closures):
        monkeypatch.setattr(module, "one_at_a_time", lambda _name: None)
    monkeypatch.setattr(calendars, "CLOSINGS", [wait_for_the_closure])
    _closure, refused = race([close, lambda: generating(shop, plan)])
    assert "a closure is in force" in str(refused)
    assert not OpenDay.objects.filter(is_open=True).exists()
