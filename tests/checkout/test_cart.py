"""The cart: prices frozen by the server, places kept until one moment, everything given back."""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange
from django.test import Client
from django.utils import timezone

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import recover_places, remove_lines
from checkout.models import CartLine
from checkout.summary import CartSummary
from portal.common.errors import Refused
from portal.common.formats import long_date
from services.models import Activity, OpenDay, Subscription, Tariff, TariffGrid
from tests.checkout.http import text
from tests.factories import SlotFactory, SubscriptionFactory, TariffFactory
from tests.shop import Shop, family, open_shop

pytestmark = pytest.mark.django_db
PAST, FUTURE = (timezone.now() + dt.timedelta(days=days) for days in (-1, 1))


def run_out(shop: Shop) -> None:
    Hold.objects.filter(user=shop.user).update(expires_at=timezone.now() - dt.timedelta(minutes=5))


def test_the_price_is_that_of_the_tariff_in_force_on_each_date() -> None:
    shop = open_shop(days=2, price="7.90")
    change = shop.days[1].date
    TariffGrid.objects.filter(pk=shop.tariff.grid_id).update(valid=(None, change))
    TariffFactory(slot=shop.slot, profile=shop.tariff.profile, price=Decimal("8.20"), grid__valid=(change, None))
    assert shop.add().total == Decimal("16.10")


def test_no_tariff_is_refused_and_no_place_is_lost() -> None:
    shop = open_shop(days=2)
    TariffGrid.objects.update(valid=(None, shop.days[1].date))
    with pytest.raises(Refused) as refusal:
        shop.add()
    assert refusal.value.code == "no_tariff"
    assert shop.fresh().taken == 0


@pytest.mark.parametrize("status", [Subscription.Status.PENDING, Subscription.Status.REFUSED])
def test_without_a_validated_access_nothing_is_added(status: str) -> None:
    shop = open_shop()
    shop.subscription = SubscriptionFactory(
        profile=TariffFactory(slot=shop.slot).profile, user=shop.user, **{status: True}
    )
    with pytest.raises(Refused) as refusal:
        shop.add()
    assert refusal.value.code == "no_access"


def test_anothers_access_and_another_services_access_are_refused() -> None:
    shop = open_shop()
    for access in (family(shop.tariff).subscription, SubscriptionFactory(user=shop.user)):
        shop.subscription = access
        with pytest.raises(Refused) as refusal:
            shop.add()
        assert refusal.value.code == "no_access"


def test_another_activitys_slot_is_refused() -> None:
    shop = open_shop()
    shop.tariff.slot.activity.pk  # noqa: B018  read before the slot is exchanged
    foreign = SlotFactory()
    with pytest.raises(Refused) as refusal:
        from checkout.actions import add_to_cart

        add_to_cart(
            user=shop.user,
            activity=shop.activity,
            slot=foreign,
            subscription=shop.subscription,
            wishes=shop.wishes(),
        )
    assert refusal.value.code == "not_offered"


def test_an_activity_opens_on_its_day() -> None:
    shop = open_shop()
    shop.activity.booking_opens_on = timezone.localdate() + dt.timedelta(days=3)
    with pytest.raises(Refused, match="ouvrent le"):
        shop.add()


def test_each_addition_keeps_the_whole_cart() -> None:
    shop = open_shop(days=2)
    shop.add(days=shop.days[:1])
    Hold.objects.update(expires_at=timezone.now() + dt.timedelta(minutes=2))
    shop.add(days=shop.days[1:])
    assert Hold.objects.get().expires_at > timezone.now() + dt.timedelta(minutes=29)
    assert CartLine.objects.filter(cart=shop.cart).count() == 2


def test_removing_a_line_gives_the_place_back() -> None:
    shop = open_shop(days=2)
    shop.add()
    line = CartLine.objects.get(booking__open_day=shop.days[0])
    assert remove_lines(user=shop.user, ids=[line.pk]) == 1
    assert (shop.fresh(0).taken, shop.fresh(1).taken) == (0, 1)


def test_nobody_removes_anothers_lines() -> None:
    shop = open_shop()
    shop.add()
    other = family(shop.tariff, days=shop.days)
    other.add()
    ids = list(CartLine.objects.filter(cart=shop.cart).values_list("pk", flat=True))
    assert remove_lines(user=other.user, ids=ids) == 0
    assert shop.fresh().taken == 2


def test_expired_places_are_taken_again_when_they_are_free() -> None:
    shop = open_shop(days=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    summary = CartSummary.of(shop.user)
    assert summary is not None and summary.expired and not summary.groups
    assert recover_places(user=shop.user) == []
    assert set(Booking.objects.values_list("status", flat=True)) == {"held"}
    assert shop.fresh().taken == 1


def test_expired_places_that_are_gone_leave_the_cart_by_name() -> None:
    shop = open_shop(days=2, capacity=1)
    shop.add()
    run_out(shop)
    quick = family(shop.tariff, days=shop.days)
    quick.add(days=quick.days[:1])
    run_out(shop)
    release_expired_holds()
    (sentence,) = recover_places(user=shop.user)
    child = shop.children[0].first_name
    assert sentence == (
        f"Ces places n’ont pas pu être reprises et ont quitté votre panier\u00a0: {child}, {shop.activity} ({shop.slot}), "
        f"{long_date(shop.days[0].date)}\u00a0: complet. "
        "Pour ce qui est complet, la page de l’activité propose sa liste d’attente. Rien n’a été débité."
    )
    assert CartLine.objects.filter(cart=shop.cart).count() == 1


@pytest.mark.parametrize(
    "change, says",
    [
        ({"is_open": False, "closed_reason": "Pont"}, "fermé, Pont."),
        ({"book_until": PAST, "late_until": None}, "trop tard, c’était possible jusqu’au "),
        ({"book_from": FUTURE}, "réservable à partir du "),
        ({"book_until": PAST, "late_until": FUTURE}, "son prix a changé, vous pouvez la réserver de nouveau."),
        ({"capacity": 0}, "complet. Pour ce qui est complet, la page de l’activité propose sa liste d’attente."),
    ],
)
def test_what_could_not_be_taken_again_says_why(change: dict[str, Any], says: str) -> None:
    shop = open_shop(days=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(**change)
    (sentence,) = recover_places(user=shop.user)
    assert f"{long_date(shop.days[0].date)}\u00a0: {says}" in sentence
    assert CartLine.objects.get(cart=shop.cart).booking.open_day == shop.days[1]


def test_dates_of_one_child_and_one_reason_are_said_together() -> None:
    shop = open_shop(days=3, children=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    OpenDay.objects.filter(pk__in=[shop.days[0].pk, shop.days[2].pk]).update(is_open=False, closed_reason="Pont")
    (sentence,) = recover_places(user=shop.user)
    dates = f"{long_date(shop.days[0].date)} et {long_date(shop.days[2].date)}\u00a0: fermé, Pont"
    assert sentence.count(dates) == 2


@pytest.mark.parametrize(
    "change", [{"is_open": False, "closed_reason": "Pont"}, {"capacity": 0}, {"book_until": PAST, "late_until": None}]
)
def test_the_page_says_before_what_cannot_be_taken_again(change: dict[str, Any]) -> None:
    shop = open_shop(days=2)
    shop.add()
    client = Client()
    client.force_login(shop.user)
    OpenDay.objects.filter(pk=shop.days[1].pk).update(book_until=FUTURE)
    run_out(shop)
    release_expired_holds()
    before = text(client.get("/panier/"))
    assert "Des places ne sont plus gardées" in before and "Celles-ci" not in before
    OpenDay.objects.filter(pk=shop.days[0].pk).update(**change)
    child, date = shop.children[0], long_date(shop.days[0].date)
    assert f"Celles-ci ne peuvent plus être reprises à cet instant : {child}, {shop.activity}, {date} Rep" in text(
        client.get("/panier/")
    )


def test_the_header_counts_what_is_to_be_taken_again(at_most: Any) -> None:
    shop = open_shop(days=3)
    shop.add(days=shop.days[:2])
    client = Client()
    client.force_login(shop.user)

    def header() -> str:
        return re.search(r'id="cart-link".*?<span>(.*?)</span>', client.get("/").content.decode(), re.S)[1]  # type: ignore[index]

    assert header() == "Panier&nbsp;: 2 produits"
    run_out(shop)
    release_expired_holds()
    assert header() == "Panier&nbsp;: 2 à reprendre"
    shop.add(days=shop.days[2:])
    assert header() == "Panier&nbsp;: 1 produit, 2 à reprendre"
    with at_most(4):
        client.get("/")


def test_places_taken_again_have_the_price_of_today() -> None:
    shop = open_shop(days=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    Tariff.objects.update(price="9.90")
    assert recover_places(user=shop.user) == []
    assert set(CartLine.objects.values_list("unit_price", flat=True)) == {Decimal("9.90")}


def test_places_that_have_no_price_any_more_leave_the_cart() -> None:
    shop = open_shop(days=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    TariffGrid.objects.update(valid=DateRange(shop.days[1].date, None))
    assert len(recover_places(user=shop.user)) == 1
    assert CartLine.objects.get().booking.open_day == shop.days[1]
    assert [shop.fresh(0).taken, shop.fresh(1).taken] == [0, 1]


def test_a_place_past_its_deadline_is_not_taken_again() -> None:
    shop = open_shop(days=1)
    shop.add()
    run_out(shop)
    release_expired_holds()
    OpenDay.objects.update(book_until=timezone.now() - dt.timedelta(minutes=1))
    assert recover_places(user=shop.user)
    assert shop.fresh().taken == 0


def test_the_cart_is_shown_as_in_the_guide() -> None:
    """Seed 003: one group, both children on one line with their dates."""
    shop = open_shop(days=2, children=2, price="3.80")
    shop.add()
    summary = CartSummary.of(shop.user)
    assert summary is not None
    (group,) = summary.groups
    names = ", ".join(str(child) for child in shop.children)
    assert (group.quantity, group.total, summary.total) == (4, Decimal("15.20"), Decimal("15.20"))
    assert group.shared() == [(names, [day.date for day in shop.days])]


def test_one_date_of_one_child_leaves_a_group() -> None:
    shop = open_shop(days=2, children=2)
    shop.add()
    summary = CartSummary.of(shop.user)
    assert summary is not None
    first = summary.groups[0].lines[0]
    assert remove_lines(user=shop.user, ids=[first[0]]) == 1
    left = CartSummary.of(shop.user)
    assert left is not None and left.groups[0].lines == summary.groups[0].lines[1:]
    assert [shop.fresh(0).taken, shop.fresh(1).taken] == [1, 2]


def test_what_could_not_be_taken_again_leads_to_its_activity() -> None:
    shop = open_shop(days=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=0)
    client = Client()
    client.force_login(shop.user)
    page = client.post("/panier/reprendre/", follow=True)
    assert (
        f'<a href="{shop.activity.get_absolute_url()}">{shop.activity}\u00a0: choisir d’autres dates, ou attendre'
        in (page.content.decode())
    )
    assert "Ces places n’ont pas pu être reprises" in text(page)


def test_the_page_says_before_where_places_are_too_few() -> None:
    shop = open_shop(days=2, children=2)
    shop.add()
    run_out(shop)
    release_expired_holds()
    client = Client()
    client.force_login(shop.user)
    assert "pas assez de places" not in text(client.get("/panier/"))
    OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=1)
    said = text(client.get("/panier/"))
    assert "Il n’y reste pas assez de places pour tous" in said
    assert f"{shop.activity}, {long_date(shop.days[0].date)} : 1 place libre pour 2" in said
    OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=0)
    assert "pas assez de places" not in text(client.get("/panier/"))


def test_what_is_lost_leads_nowhere_where_it_is_no_longer_offered(browse: Callable[[Shop], Client]) -> None:
    shop = open_shop(days=1)
    shop.add()
    run_out(shop)
    release_expired_holds()
    OpenDay.objects.update(is_open=False, closed_reason="Fermé")
    Activity.objects.filter(pk=shop.activity.pk).update(is_active=False)
    page = browse(shop).post("/panier/reprendre/", follow=True).content.decode()
    assert f'href="{shop.activity.get_absolute_url()}"' not in page and "Fermé" in page
