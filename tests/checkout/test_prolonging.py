"""« Garder mes places 15 minutes de plus »: once for each cart, said on every step, and by the database too."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Hold
from checkout.actions import Means, abandon_order, prolong_hold
from checkout.models import Cart
from portal.common.errors import Refused
from tests.checkout.http import text
from tests.guards import guarded
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]
BUTTON = "Garder mes places 15 minutes de plus"


def test_a_quarter_of_an_hour_once() -> None:
    shop = open_shop()
    shop.add()
    before = Hold.objects.get().expires_at
    assert prolong_hold(user=shop.user) == before + dt.timedelta(minutes=15) == Hold.objects.get().expires_at
    with pytest.raises(Refused, match="déjà prolongé une fois"):
        prolong_hold(user=shop.user)
    assert Hold.objects.get().expires_at == before + dt.timedelta(minutes=15)


def test_while_a_card_is_being_paid_too() -> None:
    shop = open_shop()
    shop.add()
    shop.pay(Means.CARD, "31.60")
    before = Hold.objects.get().expires_at
    assert prolong_hold(user=shop.user) > before


def test_not_without_places_nor_after_their_time() -> None:
    shop = open_shop()
    with pytest.raises(Refused, match="vide"):
        prolong_hold(user=shop.user)
    shop.add()
    Hold.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    with pytest.raises(Refused, match="délai de vos places est passé"):
        prolong_hold(user=shop.user)


def test_the_database_knows_it_was_done() -> None:
    shop = open_shop()
    shop.add()
    prolong_hold(user=shop.user)
    guarded(
        "checkout.Cart:cart_is_prolonged_once",
        lambda: Cart.objects.update(prolonged_at=None),
        "kept longer once",
        lambda: Cart.objects.filter(prolonged_at=None).exists(),
    )


@pytest.mark.parametrize(
    "address",
    ["/panier/", "/commande/recapitulatif/", "/commande/adresse/", "/commande/conditions/", "/commande/paiement/"],
)
def test_on_every_step_where_one_comes_back_to(browse: Browse, address: str) -> None:
    shop = open_shop()
    shop.add()
    shop.answer_steps()
    client = browse(shop)
    page = client.get(address)
    assert BUTTON in text(page)
    back = page.content.decode().split('name="back" value="')[1].split('"')[0]
    after = client.post("/panier/prolonger/", {"back": back}, follow=True)
    assert after.redirect_chain == [(address, 302)]
    assert "Vos places sont gardées jusqu’à" in text(after) and BUTTON not in text(after)
    assert "déjà prolongé une fois" in text(client.post("/panier/prolonger/", {"back": back}, follow=True))


class TestAtTheBank:
    """Leaving to pay gives time enough once; leaving again and again keeps nothing from others."""

    def leave_and_give_up(self, shop: Shop) -> dt.datetime:
        order = shop.pay(Means.CARD, "31.60").order
        abandon_order(user=shop.user, order=order)
        return Hold.objects.get().expires_at

    def test_with_time_enough_nothing_changes(self) -> None:
        shop = open_shop()
        shop.add()
        before = Hold.objects.get().expires_at
        assert [self.leave_and_give_up(shop) for _time in range(3)] == [before] * 3

    def test_at_the_last_minute_a_quarter_of_an_hour_once(self) -> None:
        shop = open_shop()
        shop.add()
        Hold.objects.update(expires_at=timezone.now() + dt.timedelta(minutes=2))
        first = self.leave_and_give_up(shop)
        assert dt.timedelta(minutes=14) < first - timezone.now() < dt.timedelta(minutes=16)
        assert self.leave_and_give_up(shop) == first
        with pytest.raises(Refused, match="déjà prolongé une fois"):
            prolong_hold(user=shop.user)
