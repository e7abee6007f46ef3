"""Changing a booking while others do: the place, the money and the change itself exist once."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bookings import absence_actions, change_actions
from bookings.absence_actions import report_absence
from bookings.absences import Absence, AbsenceDay
from bookings.feed_actions import open_feed
from bookings.models import Booking, CalendarFeed, Change
from checkout.actions import Means, cancel_bookings, change, change_booking, justify_absence
from checkout.verification import verify
from portal.common.errors import Refused
from services.models import OpenDay, Service
from tests.concurrency.conftest import race
from tests.factories import AbsenceRuleFactory, FiliationFactory, UserFactory, agent_of
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db(transaction=True)
Meet = Callable[[Any, str, int], None]


def paid(shop: Shop, day: int = 0) -> Shop:
    shop.add(days=shop.days[day : day + 1])
    shop.pay(Means.WALLET, "7.90")
    return shop


def move(shop: Shop, day: int) -> Callable[[], Booking]:
    def act() -> Booking:
        booking = (
            Booking.objects.filter(made_by=shop.user, open_day=shop.days[0])
            .select_related("beneficiary", "slot", "open_day__activity__service")
            .get()
        )
        return change_booking(
            booking=booking, slot=shop.slot, date=shop.days[day].date, shown_difference=Decimal("0.00"), by=shop.user
        )

    return act


def codes(outcomes: list[Any]) -> list[str]:
    return sorted(each.code if isinstance(each, Refused) else type(each).__name__ for each in outcomes)


def test_pressed_five_times_it_changes_once() -> None:
    shop = paid(open_shop(days=2, credit="50"))
    outcomes = race([move(shop, 1)] * 5)
    assert codes(outcomes) == ["Booking", *["not_booked"] * 4]
    assert shop.balance == Decimal("42.10") and Change.objects.count() == 1 and list(verify()) == []


def test_with_the_locks_off_the_database_still_changes_it_once(no_locks: None, meet: Meet) -> None:
    shop = paid(open_shop(days=2, credit="50"))
    meet(change, "quote", 2)
    outcomes = race([move(shop, 1)] * 2)
    assert "Booking" in codes(outcomes) and codes(outcomes) != ["Booking", "Booking"]
    assert Change.objects.count() == 1 and shop.balance == Decimal("42.10") and list(verify()) == []


def test_two_families_move_to_the_last_place_and_nobody_loses_theirs() -> None:
    first = open_shop(days=2, credit="50")
    second = family(first.tariff, credit="50", days=first.days)
    for shop in (first, second):
        paid(shop)
    OpenDay.objects.filter(pk=first.days[1].pk).update(capacity=1)
    assert codes(race([move(first, 1), move(second, 1)])) == ["Booking", "full"]
    assert [first.fresh(index).taken for index in range(2)] == [1, 1]
    assert Booking.objects.booked().count() == 2 and list(verify()) == []


def test_two_families_swap_their_days_without_a_deadlock() -> None:
    first = open_shop(days=2, credit="50")
    second = family(first.tariff, credit="50", days=first.days[::-1])
    for shop in (first, second):
        paid(shop)
    outcomes = race([move(first, 1), move(second, 1)])
    assert codes(outcomes) == ["Booking", "Booking"] and list(verify()) == []
    assert [first.fresh(index).taken for index in range(2)] == [1, 1]


def test_changed_and_cancelled_at_once_one_of_the_two_happens() -> None:
    shop = paid(open_shop(days=2, credit="50"))
    pk = Booking.objects.get().pk
    outcomes = race([move(shop, 1), lambda: cancel_bookings(ids=[pk], by=shop.user)])
    assert "not_booked" in codes(outcomes) and list(verify()) == []
    changed = Change.objects.exists()
    assert shop.balance == (Decimal("42.10") if changed else Decimal("50.00"))
    assert Booking.objects.booked().count() == int(changed)


def test_the_old_place_is_never_free_in_between(meet: Meet) -> None:
    """Somebody who wants the old place of a full day gets it after the change, or not at all when it fails."""
    shop = paid(open_shop(days=2, credit="50", capacity=1))
    other = family(shop.tariff, credit="50", days=shop.days)
    paid(other, day=1)  # the day that is wanted is full: the change must fail
    third = family(shop.tariff, credit="50", days=shop.days)
    meet(change_actions.actions, "end_booked", 1)
    outcomes = race([move(shop, 1), lambda: third.add(days=shop.days[:1])])
    assert codes(outcomes) == ["full", "full"]
    assert Booking.objects.booked().filter(made_by=shop.user, open_day=shop.days[0]).exists()


class TestAbsences:
    def away(self) -> Shop:
        shop = open_shop(days=2, credit="50")
        shop.add()
        shop.pay(Means.WALLET, "15.80")
        Service.objects.update(absence_rule=AbsenceRuleFactory(waiting=1))
        return shop

    def test_two_parents_report_one_absence_once(self) -> None:
        shop = self.away()
        parents = [FiliationFactory(beneficiary=shop.children[0]).user for _index in range(2)]
        ids = list(Booking.objects.values_list("pk", flat=True))

        def report(user: Any) -> list[Absence]:
            return report_absence(user=user, beneficiary=shop.children[0], ids=ids, kind="illness", by=user)

        outcomes = race([lambda: report(parents[0]), lambda: report(parents[1])])
        assert codes(outcomes) == ["list", "not_reportable"] and AbsenceDay.objects.count() == 2

    def test_with_the_locks_off_the_constraint_refuses_the_second(self, no_locks: None, meet: Meet) -> None:
        shop = self.away()
        parents = [FiliationFactory(beneficiary=shop.children[0]).user for _index in range(2)]
        ids = list(Booking.objects.values_list("pk", flat=True))
        meet(absence_actions, "plans", 2)

        def report(user: Any) -> list[Absence]:
            return report_absence(user=user, beneficiary=shop.children[0], ids=ids, kind="illness", by=user)

        outcomes = race([lambda: report(parents[0]), lambda: report(parents[1])])
        assert codes(outcomes) == ["absent_once", "list"] and AbsenceDay.objects.count() == 2

    def test_two_agents_decide_once(self) -> None:
        shop = self.away()
        other = FiliationFactory(beneficiary=shop.children[0]).user
        ids = list(Booking.objects.values_list("pk", flat=True))
        (absence,) = report_absence(user=other, beneficiary=shop.children[0], ids=ids, kind="illness", by=other)
        agents = [agent_of() for _index in range(2)]
        outcomes = race([lambda agent=agent: justify_absence(absence=absence, by=agent) for agent in agents])  # type: ignore[misc]
        assert codes(outcomes) == ["already_decided", "list"]
        assert shop.balance == Decimal("42.10") and list(verify()) == []


class TestFeed:
    def test_two_tabs_leave_one_address(self) -> None:
        user = UserFactory()
        outcomes = race([lambda: open_feed(user=user, by=user)] * 4)
        assert codes(outcomes) == ["CalendarFeed"] * 4 and CalendarFeed.objects.of(user).count() == 1

    def test_with_the_lock_off_the_constraint_keeps_one(self, no_locks: None) -> None:
        user = UserFactory()
        outcomes = race([lambda: open_feed(user=user, by=user)] * 4)
        assert set(codes(outcomes)) <= {"CalendarFeed", "IntegrityError"}
        assert CalendarFeed.objects.of(user).count() == 1
