"""Taking places: all or none, and every rule said in a sentence."""

import datetime as dt

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from bookings import actions
from bookings.models import Booking, Hold
from families.models import Filiation
from portal.common.errors import Refused
from services.models import OpenDay, Slot
from tests.factories import (
    ActivityFactory,
    FiliationFactory,
    OpenDayFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    UserFactory,
)
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db


def expire(shop: Shop, *, ago: dt.timedelta = dt.timedelta(minutes=5)) -> None:
    Hold.objects.filter(user=shop.user).update(expires_at=timezone.now() - ago)


def test_places_are_taken_when_the_line_enters_the_cart() -> None:
    shop = open_shop(days=2, children=2)
    added = shop.add()
    assert (added.quantity, str(added.total)) == (4, "31.60")
    assert [day.taken for day in OpenDay.objects.order_by("date")] == [2, 2]


def test_the_guide_rosieres_one_child_four_wednesdays() -> None:
    """Seed 001: Matin at 7,90 €, one child, four dates: quantity 4, 31,60 €."""
    added = open_shop(days=4, price="7.90").add()
    assert (added.quantity, str(added.total)) == (4, "31.60")


def test_the_guide_aiguilhe_two_children_two_dates() -> None:
    """Seed 003: canteen at 3,80 €, two children, two dates: quantity 4, 15,20 €."""
    added = open_shop(days=2, children=2, price="3.80").add()
    assert (added.quantity, str(added.total)) == (4, "15.20")


def test_a_full_day_refuses_all_and_is_named() -> None:
    shop = open_shop(days=3, children=2, capacity=2)
    family(shop.tariff, days=[shop.days[1]]).add()
    with pytest.raises(Refused) as refusal:
        shop.add()
    assert refusal.value.code == "full"
    assert "il reste 1 place" in str(refusal.value)
    assert actions.dated(shop.days[1].date) in str(refusal.value)
    assert actions.dated(shop.days[0].date) not in str(refusal.value)
    assert not Booking.objects.filter(made_by=shop.user).exists()


def test_a_closed_day_says_why() -> None:
    shop = open_shop(days=2)
    OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Travaux")
    with pytest.raises(Refused, match="Travaux"):
        shop.add()


def test_a_day_past_its_deadline_says_until_when() -> None:
    shop = open_shop(days=2)
    OpenDay.objects.filter(pk=shop.days[0].pk).update(book_until=timezone.now() - dt.timedelta(minutes=1))
    with pytest.raises(Refused, match="Trop tard pour réserver"):
        shop.add()


def test_a_date_without_service_is_refused() -> None:
    shop = open_shop(days=1)
    elsewhere = OpenDayFactory(activity=ActivityFactory(), date=shop.days[0].date + dt.timedelta(days=1))
    with pytest.raises(Refused, match="pas de service ce jour-là"):
        shop.add(days=[elsewhere])


def test_nothing_chosen_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        open_shop().add(days=[])
    assert refusal.value.code == "nothing_chosen"


def test_somebody_elses_child_is_refused() -> None:
    shop = open_shop()
    stranger = FiliationFactory(user=UserFactory()).beneficiary
    with pytest.raises(Refused) as refusal:
        shop.add(children=[*shop.children, stranger])
    assert refusal.value.code == "not_yours"
    assert shop.fresh().taken == 0


def test_a_child_whose_filiation_ended_is_refused() -> None:
    shop = open_shop()
    Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
    with pytest.raises(Refused):
        shop.add()


def test_what_is_booked_already_is_left_out_and_named() -> None:
    shop = open_shop(days=2, children=2)
    shop.add(days=shop.days[:1], children=shop.children[:1])
    added = shop.add()
    assert added.quantity == 3
    assert added.already == [f"{shop.children[0].first_name}, {actions.dated(shop.days[0].date)}"]


def test_all_booked_already_is_said() -> None:
    shop = open_shop()
    shop.add()
    with pytest.raises(Refused) as refusal:
        shop.add()
    assert refusal.value.code == "already"


def test_one_child_is_in_one_place_at_a_time() -> None:
    shop = open_shop(days=1)
    shop.add()
    other = open_shop(days=0)
    meal = SlotFactory(activity=other.activity, name="Midi", starts_at=dt.time(11), ends_at=dt.time(13))
    tariff = TariffFactory(slot=meal, profile=other.tariff.profile)
    day = OpenDayFactory(activity=other.activity, date=shop.days[0].date)
    shop2 = Shop(tariff, shop.user, shop.children, SubscriptionFactory(user=shop.user, profile=tariff.profile), [day])
    with pytest.raises(Refused) as refusal:
        shop2.add()
    assert refusal.value.code == "one_place_at_a_time"
    assert shop.children[0].first_name in str(refusal.value)
    assert str(shop.activity) in str(refusal.value)


def test_an_activity_that_may_overlap_says_so() -> None:
    shop = open_shop(days=1)
    shop.add()
    bus = ActivityFactory(may_overlap=True)
    slot: Slot = SlotFactory(activity=bus, name="Aller", starts_at=dt.time(7), ends_at=dt.time(8))
    tariff = TariffFactory(slot=slot)
    day = OpenDayFactory(activity=bus, date=shop.days[0].date)
    ride = Shop(tariff, shop.user, shop.children, SubscriptionFactory(user=shop.user, profile=tariff.profile), [day])
    assert ride.add().quantity == 1


def test_the_exclusion_constraint_guards_what_the_action_checks() -> None:
    """Law 2 in the database: a second live row at the same time is refused whatever code writes it."""
    shop = open_shop(days=1)
    shop.add()
    row = Booking.objects.get()
    twin = OpenDayFactory(activity=ActivityFactory(), date=shop.days[0].date)
    row.pk, row.open_day = None, twin
    with pytest.raises(IntegrityError, match="one_place_at_a_time"), transaction.atomic():
        row.save()


def test_the_check_guards_what_the_action_checks() -> None:
    """Law 1 in the database: a row too many is refused whatever code writes it."""
    shop = open_shop(days=1, capacity=1)
    shop.add()
    row = Booking.objects.get()
    row.pk, row.beneficiary = None, FiliationFactory().beneficiary
    with pytest.raises(IntegrityError, match="places_are_not_oversold"), transaction.atomic():
        row.save()


def test_taken_is_written_by_the_database_alone() -> None:
    shop = open_shop(days=1)
    with pytest.raises(Exception, match="counted from the bookings"), transaction.atomic():
        OpenDay.objects.filter(pk=shop.days[0].pk).update(taken=3)


def test_saving_a_day_does_not_write_stale_places() -> None:
    shop = open_shop(days=1)
    stale = shop.fresh()
    shop.add()
    stale.capacity = 25
    stale.save()
    assert (shop.fresh().taken, shop.fresh().capacity) == (1, 25)


def test_capacity_cannot_fall_below_the_places_taken() -> None:
    shop = open_shop(days=1, children=2)
    shop.add()
    with pytest.raises(IntegrityError, match="places_are_not_oversold"), transaction.atomic():
        OpenDay.objects.update(capacity=1)


def test_an_expired_hold_gives_its_place_to_whoever_wants_it() -> None:
    slow = open_shop(days=1, capacity=1)
    slow.add()
    quick = family(slow.tariff, days=slow.days)
    with pytest.raises(Refused):
        quick.add()
    expire(slow)
    assert quick.add().quantity == 1
    assert Booking.objects.get(made_by=slow.user).status == Booking.Status.EXPIRED
    assert slow.fresh().taken == 1


def test_a_hold_that_has_just_run_out_has_a_moment_of_grace() -> None:
    slow = open_shop(days=1, capacity=1)
    slow.add()
    expire(slow, ago=actions.GRACE / 2)
    with pytest.raises(Refused):
        family(slow.tariff, days=slow.days).add()


def test_an_expired_hold_elsewhere_does_not_block_the_child() -> None:
    shop = open_shop(days=1)
    shop.add()
    expire(shop)
    other_parent = FiliationFactory(beneficiary=shop.children[0]).user
    second = Shop(
        shop.tariff,
        other_parent,
        shop.children,
        SubscriptionFactory(user=other_parent, profile=shop.tariff.profile),
        shop.days,
    )
    assert second.add().quantity == 1


def test_the_sweep_gives_expired_places_back() -> None:
    shop = open_shop(days=3)
    shop.add()
    assert actions.release_expired_holds() == 0
    expire(shop)
    assert actions.release_expired_holds() == 3
    assert shop.fresh().taken == 0


@pytest.mark.parametrize("start, end", [("booked", "held"), ("cancelled", "booked"), ("held", "cancelled")])
def test_a_status_moves_only_along_declared_transitions(start: str, end: str) -> None:
    shop = open_shop(days=1)
    shop.add()
    now = timezone.now()
    if start != "held":
        Booking.objects.update(status="booked", booked_at=now)
    if start == "cancelled":
        Booking.objects.update(status="cancelled", ended_at=now)
    ended = now if end in {"cancelled", "expired"} else None
    with pytest.raises(Exception, match="Invalid transition"), transaction.atomic():
        Booking.objects.update(status=end, ended_at=ended, booked_at=None if end == "held" else now)


def test_places_follow_deleted_rows_too() -> None:
    shop = open_shop(days=1)
    shop.add()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM checkout_cartline")
        cursor.execute("DELETE FROM bookings_booking")
    assert shop.fresh().taken == 0
