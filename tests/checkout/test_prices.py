"""What a family pays: ranks among siblings, quotient and lateness, computed under lock and frozen with their reasons."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings.models import Booking
from bookings.pricing import Place, Pricer
from checkout.actions import Means, remove_lines
from checkout.models import CartLine, OrderLine
from families.models import IncomeQuotient
from portal.common.formats import NBSP, today
from services.models import Deadline, OpenDay, Tariff, TariffGrid
from tests.factories import DeadlineFactory, FiliationFactory, OpenDayFactory, TariffFactory, UserFactory
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db


def banded(shop: Shop, basis: str = "none", **bands: list[tuple[int | None, int | None, str]]) -> Shop:
    """The shop's one fare becomes some: `rank=[(1, 1, "1.90"), (2, None, "1.30")]`."""
    TariffGrid.objects.update(rank_basis=basis)
    ((name, rows),) = bands.items()
    first, *others = [
        {name: NumericRange(lower, None if last is None else last + 1), "price": Decimal(price)}
        for lower, last, price in rows
    ]
    Tariff.objects.filter(pk=shop.tariff.pk).update(**first)
    for row in others:
        TariffFactory(slot=shop.slot, profile=shop.tariff.profile, grid=shop.tariff.grid, **row)
    return shop


RANKS: list[tuple[int | None, int | None, str]] = [(1, 1, "1.90"), (2, None, "1.30")]


def ages(shop: Shop) -> None:
    """The children in the order of the list, the eldest first."""
    for number, child in enumerate(shop.children):
        child.birth_date = dt.date(2015 + number, 3, 1)
        child.save()


def prices(shop: Shop) -> list[tuple[str, str]]:
    rows = CartLine.objects.filter(cart=shop.cart).order_by(
        "booking__open_day__date", "booking__beneficiary__birth_date"
    )
    return [(row.booking.beneficiary.first_name, str(row.unit_price)) for row in rows]


def amounts(shop: Shop) -> list[str]:
    return [price for _name, price in prices(shop)]


def test_siblings_present_the_same_day() -> None:
    shop = banded(open_shop(days=2, children=3), "present", rank=RANKS)
    ages(shop)
    shop.add(days=shop.days[:1])
    assert amounts(shop) == ["1.90", "1.30", "1.30"]
    shop.add(days=shop.days[1:], children=shop.children[2:])
    assert amounts(shop) == ["1.90", "1.30", "1.30", "1.90"]  # alone that day, whatever its place in the family
    shop.add(days=shop.days[1:], children=shop.children[:1])
    assert amounts(shop)[3:] == ["1.90", "1.30"]  # the elder is the first now: what was in the cart is priced anew


def test_who_was_booked_before_keeps_the_rank_that_was_paid_for() -> None:
    shop = banded(open_shop(days=1, children=2, credit="20"), "present", rank=RANKS)
    ages(shop)
    shop.add(children=shop.children[1:])
    shop.pay(Means.WALLET, "1.90")
    shop.add(children=shop.children[:1])
    assert amounts(shop) == ["1.30"]


def test_a_sibling_taken_out_of_the_cart_is_no_longer_counted() -> None:
    shop = banded(open_shop(days=1, children=2), "present", rank=RANKS)
    ages(shop)
    shop.add()
    elder = CartLine.objects.get(booking__beneficiary=shop.children[0])
    remove_lines(user=shop.user, ids=[elder.pk])
    assert amounts(shop) == ["1.90"]


def test_declared_children_count_whoever_is_booked() -> None:
    shop = banded(open_shop(days=1, children=3), "declared", rank=RANKS)
    ages(shop)
    shop.add(children=shop.children[1:2])
    assert amounts(shop) == ["1.30"]
    line = CartLine.objects.get()
    assert "2e enfant déclaré et les suivants : 1,30 €" in line.explanation.replace(NBSP, " ")


def test_the_adult_is_not_a_child() -> None:
    shop = banded(open_shop(days=1), "declared", rank=RANKS)
    myself = FiliationFactory(user=shop.user, kind="self").beneficiary
    myself.birth_date = dt.date(1985, 1, 1)
    myself.save()
    shop.add()
    assert amounts(shop) == ["1.90"]


def test_enrolled_children_are_those_with_a_place_in_the_school_year() -> None:
    shop = banded(open_shop(days=3, children=3, credit="20"), "enrolled", rank=RANKS)
    ages(shop)
    shop.add(days=shop.days[:1], children=shop.children[1:2])
    assert amounts(shop) == ["1.90"]
    shop.pay(Means.WALLET, "1.90")
    shop.add(days=shop.days[1:2], children=shop.children[2:])
    assert amounts(shop) == ["1.30"]
    shop.add(days=shop.days[2:], children=shop.children[:1])
    assert amounts(shop) == ["1.30", "1.90"]


def quotient(shop: Shop, value: int, first: dt.date | None = None, after: dt.date | None = None) -> None:
    IncomeQuotient.objects.create(
        user=shop.user,
        value=value,
        valid=DateRange(first or dt.date(2020, 1, 1), after),
        status=IncomeQuotient.Status.VALIDATED,
        decided_at=timezone.now(),
        decided_by=shop.user,
    )


QUOTIENTS: list[tuple[int | None, int | None, str]] = [(0, 1000, "1.00"), (1001, 1500, "3.25"), (1501, None, "3.70")]


def test_the_quotient_in_force_on_the_day() -> None:
    shop = banded(open_shop(days=3), quotient=QUOTIENTS)
    shop.add(days=shop.days[:1])
    assert amounts(shop) == ["3.70"]  # none known: the top band
    assert "quotient familial non connu" in CartLine.objects.get().explanation
    change = shop.days[2].date
    quotient(shop, 1000, after=change)
    quotient(shop, 1200, first=change)
    shop.add(days=shop.days[1:])
    assert amounts(shop) == ["3.70", "1.00", "3.25"]


def test_a_quotient_that_nobody_validated_does_not_count() -> None:
    shop = banded(open_shop(days=1), quotient=QUOTIENTS)
    IncomeQuotient.objects.create(user=shop.user, value=10, valid=DateRange(dt.date(2020, 1, 1), None))
    shop.add()
    assert amounts(shop) == ["3.70"]


def test_a_strangers_quotient_does_not_count() -> None:
    shop = banded(open_shop(days=1), quotient=QUOTIENTS)
    other = UserFactory()
    FiliationFactory(user=other, beneficiary=shop.children[0])  # the other parent
    IncomeQuotient.objects.create(
        user=other, value=10, valid=DateRange(dt.date(2020, 1, 1), None), status="validated",
        decided_at=timezone.now(), decided_by=other,
    )  # fmt: skip
    shop.add()
    assert amounts(shop) == ["3.70"]


# --- Late --------------------------------------------------------------------------------------------------------------


def late_shop(*, days: int = 1, children: int = 1, late_days: int = 1, price: str = "3.90", **rule: Any) -> Shop:
    """The first `late_days` days are past their deadline and may still be booked, under the rule."""
    shop = open_shop(days=days, children=children, price=price, credit="100")
    morning = DeadlineFactory(name="Le matin même", offset=0, time=dt.time(7), skip_weekends=False, skip_holidays=False)
    deadline = Deadline.objects.create(name="Avec retard", basis="days", offset=2, late=morning, **rule)
    type(shop.activity).objects.filter(pk=shop.activity.pk).update(booking_deadline=deadline)
    shop.activity.booking_deadline = deadline
    for day in shop.days[:late_days]:
        make_late(day)
    return shop


def make_late(day: OpenDay) -> None:
    hour = dt.timedelta(hours=1)
    OpenDay.objects.filter(pk=day.pk).update(book_until=timezone.now() - hour, late_until=timezone.now() + hour)


def test_bas_en_basset_doubles_the_price() -> None:
    shop = late_shop(days=2, surcharge="times", surcharge_amount=Decimal("2"))
    shop.add()
    assert amounts(shop) == ["7.80", "3.90"]
    late = CartLine.objects.get(booking__is_late=True)
    assert (str(late.surcharge), str(late.unit_price)) == ("3.90", "7.80")
    assert late.explanation.replace(NBSP, " ").endswith("réservation tardive au double du prix : 7,80 €")
    shop.pay(Means.WALLET, "11.70")
    lines = OrderLine.objects.order_by("date").values_list("unit_price", "surcharge", "explanation")
    assert [(str(price), str(surcharge)) for price, surcharge, _why in lines] == [("7.80", "3.90"), ("3.90", "0.00")]
    assert all(why for _price, _surcharge, why in lines)


def test_the_second_limit_ends_it() -> None:
    shop = late_shop(surcharge="added", surcharge_amount=Decimal("1"))
    OpenDay.objects.update(late_until=timezone.now() - dt.timedelta(minutes=1))
    with pytest.raises(Exception, match="Trop tard pour réserver"):
        shop.add()


def test_the_first_late_times_of_a_month_are_free() -> None:
    shop = late_shop(
        days=4, late_days=4, surcharge="added", surcharge_amount=Decimal("1"), free_times=2, free_period="year"
    )
    shop.add(days=shop.days[:1])
    shop.pay(Means.WALLET, "3.90")
    shop.add(days=shop.days[1:])
    assert amounts(shop) == ["3.90", "4.90", "4.90"]
    assert CartLine.objects.earliest("booking__open_day__date").explanation.endswith("sans majoration")


def test_the_free_times_are_counted_by_month_and_by_child() -> None:
    shop = open_shop(days=0, children=2, price="3.90")
    first = (today().replace(day=1) + dt.timedelta(days=63)).replace(day=1)
    after = (first + dt.timedelta(days=31)).replace(day=1)
    late = late_shop(days=0, surcharge="added", surcharge_amount=Decimal("1"), free_times=1)
    shop = Shop(
        late.tariff, late.user, [*late.children, FiliationFactory(user=late.user).beneficiary], late.subscription
    )
    ages(shop)
    shop.days = [
        OpenDayFactory(activity=shop.activity, date=date) for date in (first, first + dt.timedelta(days=1), after)
    ]
    for day in shop.days:
        make_late(day)
    shop.add()
    assert amounts(shop) == ["3.90", "3.90", "4.90", "4.90", "3.90", "3.90"]


def test_a_late_place_that_expired_is_late_again_or_lost() -> None:
    shop = late_shop(days=2, surcharge="added", surcharge_amount=Decimal("1"))
    shop.add()
    Booking.objects.update(status="expired", ended_at=timezone.now())
    make_late(shop.days[1])  # it was in time when it was chosen: its price would be another now
    from checkout.actions import recover_places

    (sentence,) = recover_places(user=shop.user)
    assert "n’ont pas pu être reprises" in sentence
    assert amounts(shop) == ["4.90"]


# --- Cost, pages, database ---------------------------------------------------------------------------------------------


def test_280_lines_are_priced_in_three_queries() -> None:
    """Ranks of those present, quotient and free late times at once: all that may be asked is asked in three queries."""
    shop = late_shop(days=140, children=2, late_days=0, surcharge="added", surcharge_amount=Decimal("1"), free_times=1)
    banded(shop, "present", quotient=QUOTIENTS)
    Tariff.objects.update(rank=NumericRange(1, None))
    quotient(shop, 900)
    choice = [Place(child.pk, shop.slot.pk, day.date, is_late=True) for day in shop.days for child in shop.children]
    slot = type(shop.slot).objects.select_related("activity__service", "activity__booking_deadline__late").get()
    profile = shop.tariff.profile
    with CaptureQueriesContext(
        connection,
    ) as queries:
        pricer = Pricer(user=shop.user, profiles=[profile], slots=[slot], beneficiaries=shop.children, choice=choice)
        found = [pricer.price(profile_id=profile.pk, place=place) for place in choice]
    assert len(queries) <= 3
    assert len(found) == 280 and all(price is not None for price in found)


def test_cart_and_order_say_why(client: Client) -> None:
    shop = late_shop(days=2, surcharge="times", surcharge_amount=Decimal("2"))
    shop.add()
    client.force_login(shop.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get("/panier/").content.decode()
    assert "Pourquoi ce prix" in page and "au double du prix" in page and "délibération n° 2026-45" in page
    order = shop.pay(Means.WALLET, "11.70").order
    assert "au double du prix" in client.get(order.get_absolute_url()).content.decode()


def test_the_surcharge_is_part_of_the_price() -> None:
    shop = open_shop(days=1)
    shop.add()
    with pytest.raises(DatabaseError, match="cart_surcharge_is_in_the_price"), transaction.atomic():
        CartLine.objects.update(surcharge=Decimal("8"))


def test_two_validated_quotients_may_not_overlap() -> None:
    shop = open_shop(days=0)
    quotient(shop, 900)
    with pytest.raises(DatabaseError, match="one_quotient_at_a_time"), transaction.atomic():
        quotient(shop, 800)
    IncomeQuotient.objects.create(user=shop.user, value=1, valid=DateRange(today(), None))  # one may wait beside it
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        IncomeQuotient.objects.update(value=2)
