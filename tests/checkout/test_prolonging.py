"""Until when a cart keeps its places: « 15 minutes de plus » once, each added line, and no further, by the database too."""

import datetime as dt
from collections.abc import Callable

import pgtrigger
import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts.models import Address, Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, abandon_order, prolong_hold, recover_places, remove_lines
from checkout.models import Cart
from portal.common.errors import Refused
from tests.checkout.http import text
from tests.factories import AddressFactory
from tests.guards import guarded, sql, undone
from tests.shop import Shop, family, open_shop
from tests.waiting import wait

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


@pytest.mark.parametrize("address", ["/panier/", "/commande/recapitulatif/", "/commande/paiement/"])
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


TYPED = {"label": "Chez Mamie", "line1": "3 rue <b>", "postal_code": "430", "is_default": "on", "prolong": "1"}


@pytest.mark.parametrize("has_address", [False, True])
def test_where_an_address_is_typed_it_comes_back(browse: Browse, has_address: bool) -> None:
    shop = open_shop()
    shop.add()
    if has_address:
        shop.answer_steps()
    client, page, addresses = browse(shop), "/commande/adresse/", Address.objects.count()
    # Behind the form's own button: Enter in a field presses the first of a form.
    assert text(client.get(page)).index("Enregistrer cette adresse") < text(client.get(page)).rindex(BUTTON)
    after = client.post(page, TYPED)
    words, shown = text(after), after.content.decode()
    assert after.status_code == 200 and "Vos places sont gardées jusqu’à" in words and BUTTON not in words
    for value in ('value="Chez Mamie"', 'value="3 rue &lt;b&gt;"', 'value="430"', 'name="is_default"'):
        assert value in shown
    assert shown.count("checked") == (2 if has_address else 1) and ("<details open>" in shown) == has_address
    assert "Erreur" not in words and Address.objects.count() == addresses  # nothing is said of what is half typed
    assert "déjà prolongé une fois" in text(client.post(page, TYPED))
    Hold.objects.update(expires_at=timezone.now() - dt.timedelta(minutes=5))
    release_expired_holds()
    assert client.post(page, TYPED)["Location"] == "/panier/"


def test_the_address_that_is_picked_stays_picked(browse: Browse) -> None:
    shop = open_shop()
    shop.add()
    shop.answer_steps()
    other = AddressFactory(user=shop.user)
    client, page = browse(shop), "/commande/adresse/"
    words = text(client.get(page))
    assert words.index("Continuer") < words.index(BUTTON) < words.index("Saisir une autre adresse")
    shown = client.post(page, {"address": other.pk, "prolong": "1"}).content.decode()
    assert f'value="{other.pk}" checked' in shown and shown.count("checked") == 1 and "<details open>" not in shown
    assert client.post(page, {"address": other.pk})["Location"] == "/commande/paiement/"


def test_a_ticked_box_comes_back_unless_the_terms_have_changed(browse: Browse) -> None:
    shop = open_shop()
    shop.add()
    shop.answer_steps()
    Cart.objects.update(terms=None)
    client, page = browse(shop), "/commande/conditions/"
    assert text(client.get(page)).index("Commander") < text(client.get(page)).index(BUTTON)
    ticked = {"terms": str(Terms.objects.get(kind="sale").pk), "accept": "on", "prolong": "1"}
    after = client.post(page, ticked)
    assert "Vos places sont gardées" in text(after) and after.context["form"]["accept"].value() is True
    assert "checked" in after.content.decode() and Cart.objects.get().terms is None  # ticked is not sent
    assert not client.post(page, ticked | {"terms": "0"}).context["form"]["accept"].value()
    assert not client.post(page, {"prolong": "1"}).context["form"]["accept"].value()
    del ticked["prolong"]
    assert client.post(page, ticked)["Location"] == "/commande/paiement/"


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


def later(**time: float) -> None:
    """So much time goes by for every hold."""
    ago = dt.timedelta(**time)
    with pgtrigger.ignore("bookings.Hold:hold_period_is_fixed"):
        Hold.objects.update(expires_at=F("expires_at") - ago, latest=F("latest") - ago)


def left(shop: Shop) -> dt.timedelta:
    return shop.cart.hold.expires_at - timezone.now()


MINUTE = dt.timedelta(minutes=1)


class TestNoHoldIsWithoutEnd:
    """Adding and removing lines again and again keeps nothing from others: a period goes so far and no further."""

    def minutes(self, shop: Shop) -> int:
        return round(left(shop) / MINUTE)

    def test_each_line_keeps_the_cart_up_to_an_hour_from_the_first(self) -> None:
        shop = open_shop(days=5)
        shop.add(shop.days[:1])
        seen = []
        for day in shop.days[1:4]:
            later(minutes=20)
            shop.add([day])
            seen.append(self.minutes(shop))
        assert seen == [30, 20, 30]  # at 20, 40 and 60 minutes: the last line finds no time left, and has its own
        assert [row.item.status for row in shop.cart.lines.order_by("pk")] == ["expired"] * 3 + ["held"]

    def test_adding_and_removing_keeps_a_full_day_no_longer_than_that(self) -> None:
        """The fault: one line stays while another comes and goes; the day was its cart's for ever."""
        shop = open_shop(days=2, capacity=1)
        other = family(shop.tariff, days=shop.days)
        shop.add(shop.days[:1])
        for _time in range(8):
            later(minutes=9)
            shop.add(shop.days[1:])
            remove_lines(
                user=shop.user, ids=shop.cart.lines.filter(booking__open_day=shop.days[1]).values_list("pk", flat=True)
            )
        later(minutes=2)
        other.add(shop.days[:1])
        assert shop.fresh().taken == 1 and other.cart.lines.count() == 1

    def test_the_prolongation_is_on_top_of_it_and_lines_do_not_shorten_it(self) -> None:
        shop = open_shop(days=4)
        shop.add(shop.days[:1])
        prolong_hold(user=shop.user)
        shop.add(shop.days[1:2])
        assert self.minutes(shop) == 45
        later(minutes=44)
        shop.add(shop.days[2:3])
        assert self.minutes(shop) == 30
        later(minutes=29)
        shop.add(shop.days[3:])
        assert self.minutes(shop) == 2

    def test_who_waits_is_served_before_a_new_period(self) -> None:
        shop = open_shop(days=2, capacity=1)
        shop.add(shop.days[:1])
        other = family(shop.tariff, days=shop.days)
        wait(other, days=shop.days[:1])
        later(minutes=60)
        shop.add(shop.days[1:])
        assert Booking.objects.held().get(open_day=shop.days[0]).made_by == other.user
        assert self.minutes(shop) == 30 and recover_places(user=shop.user) != []

    def test_who_waits_is_served_before_an_order_takes_its_places_again(self) -> None:
        shop = open_shop(days=1, capacity=1)
        shop.add()
        other = family(shop.tariff, days=shop.days)
        wait(other)
        later(minutes=32)
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.CARD, "7.90")
        assert refusal.value.code == "expired"
        sweep = release_expired_holds()
        assert sweep == 1 and Booking.objects.held().get().made_by == other.user

    def test_an_order_after_its_time_gets_a_new_period_when_nobody_wants_the_places(self) -> None:
        shop = open_shop()
        shop.add()
        prolong_hold(user=shop.user)
        later(minutes=50)
        shop.pay(Means.CARD, "31.60")
        assert self.minutes(shop) == 30

    def test_an_emptied_cart_begins_anew(self) -> None:
        shop = open_shop()
        shop.add()
        later(minutes=25)
        remove_lines(user=shop.user, ids=list(shop.cart.lines.values_list("pk", flat=True)))
        later(minutes=25)
        shop.add()
        assert self.minutes(shop) == 30

    def test_a_cart_opened_before_there_were_periods_keeps_its_moment(self) -> None:
        shop = open_shop(days=2)
        shop.add(shop.days[:1])
        with pgtrigger.ignore("bookings.Hold:hold_period_is_fixed"):
            Hold.objects.update(latest=None)
        later(minutes=10)
        shop.add(shop.days[1:])
        assert self.minutes(shop) == 20

    def test_the_database_lets_nobody_move_the_end_while_places_are_held(self) -> None:
        shop = open_shop()
        shop.add()
        far = timezone.now() + dt.timedelta(days=1)
        guarded(
            "bookings.Hold:hold_period_is_fixed",
            lambda: Hold.objects.update(latest=far),
            "others wait for them",
            lambda: Hold.objects.filter(latest=far).exists(),
        )

    def test_nor_keep_them_past_it(self) -> None:
        shop = open_shop()
        shop.add()
        far = timezone.now() + dt.timedelta(minutes=80)
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE waits for no pending trigger
        with undone():
            sql("ALTER TABLE bookings_hold DROP CONSTRAINT hold_ends_at_its_latest")
            assert Hold.objects.update(expires_at=far) == 1
        with pytest.raises(IntegrityError, match="hold_ends_at_its_latest"), transaction.atomic():
            Hold.objects.update(expires_at=far)


def test_the_new_moment_is_said_once(browse: Browse) -> None:
    shop = open_shop()
    shop.add()
    after = text(browse(shop).post("/panier/prolonger/", {"back": "/panier/"}, follow=True))
    assert after.count("Vos places sont gardées jusqu’à") == 1 and "le délai de vos places est prolongé" in after
