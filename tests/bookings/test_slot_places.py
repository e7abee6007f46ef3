"""A slot with places of its own within those of the day: never oversold, said by name, and nothing taken from who booked."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, recover_places, remove_lines
from checkout.models import CartLine
from portal.common.errors import Refused
from services.models import Slot
from tests.factories import SlotFactory, TariffFactory
from tests.guards import guarded, sql
from tests.shop import Shop, family, open_shop
from tests.waiting import statuses, wait

pytestmark = pytest.mark.django_db


def limited(capacity: int = 1, **options: Any) -> Shop:
    """A shop whose only slot has so many places on days of twenty."""
    shop = open_shop(**{"days": 1, **options})
    Slot.objects.filter(pk=shop.slot.pk).update(capacity=capacity)
    shop.slot.refresh_from_db()
    return shop


def other_family(shop: Shop, **options: Any) -> Shop:
    return family(shop.tariff, days=shop.days, **options)


def test_a_full_slot_is_named_and_the_day_has_places_left() -> None:
    shop = limited(days=2)
    shop.add(days=shop.days[:1])
    other = other_family(shop)
    with pytest.raises(Refused, match=f"pour « {shop.slot.name} »") as refused:
        other.add()
    assert refused.value.code == "full" and not Booking.objects.filter(made_by=other.user).exists()
    assert other.add(days=shop.days[1:]).quantity == 1
    # Another slot of the same day is not touched.
    free: Slot = SlotFactory(activity=shop.activity, name="Soir")
    tariff = TariffFactory(slot=free, profile=shop.tariff.profile)
    third = family(tariff, days=shop.days)
    assert third.add().quantity == 2


def test_the_places_left_are_counted() -> None:
    shop = limited(2, children=3)
    with pytest.raises(Refused, match="il reste 2 places"):
        shop.add()
    assert shop.add(children=shop.children[:2]).quantity == 2


def test_a_place_given_back_is_free_again() -> None:
    shop, again = limited(), None
    shop.add()
    remove_lines(user=shop.user, ids=list(CartLine.objects.values_list("pk", flat=True)))
    again = other_family(shop)
    assert again.add().quantity == 1


def test_an_expired_cart_finds_the_slot_full() -> None:
    shop = limited()
    shop.add()
    Booking.objects.update(status="expired", ended_at=shop.cart.created_at)
    other_family(shop).add()
    (sentence,) = recover_places(user=shop.user)
    assert "n’ont pas pu être reprises" in sentence


def test_a_lowered_limit_takes_nothing_from_who_holds_a_place() -> None:
    shop = limited(2, children=2, credit="50")
    shop.add()
    Slot.objects.update(capacity=1)
    shop.pay(Means.WALLET, "15.80")
    assert Booking.objects.booked().count() == 2


def test_the_waiting_list_of_a_full_slot() -> None:
    shop = limited(credit="50")
    shop.activity.waiting_list = True
    shop.activity.save()
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    first, second = other_family(shop), other_family(shop)
    wait(first)
    wait(second)
    assert statuses(first) == ["waiting"]
    cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
    assert (statuses(first), statuses(second)) == (["offered"], ["waiting"])


@pytest.mark.parametrize("guard", ["within_its_slot", "within_its_slot_again"])
def test_the_database_never_oversells(guard: str) -> None:
    shop = limited(children=2)
    shop.add(children=shop.children[:1])
    row = Booking.objects.get()
    again = guard.endswith("again")
    row.pk, row.beneficiary = None, shop.children[1]
    if again:
        row.status, row.ended_at = "expired", row.created_at
        Booking.objects.bulk_create([row])
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    guarded(
        f"bookings.Booking:{guard}",
        (lambda: Booking.objects.filter(pk=row.pk).update(status="held", ended_at=None))
        if again
        else (lambda: Booking.objects.bulk_create([row])),
        "a slot has no more places",
        lambda: Booking.objects.live().count() == 2,
    )


def test_the_page_says_which_slot_is_full() -> None:
    shop = limited(days=2)
    SlotFactory(activity=shop.activity, name="Soir")
    other_family(shop).add(days=shop.days[:1])
    client = Client()
    client.force_login(shop.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = reverse("activity", args=[shop.activity.service.slug, shop.activity.slug])
    assert client.get(address).content.decode().count(f"complet pour {shop.slot.name}") == 1
    Slot.objects.filter(name="Soir").update(is_active=False)
    page = client.get(address).content.decode()
    assert "complet pour" not in page and "complet" in page
