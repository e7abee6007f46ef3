"""« Mes réservations » : what a family sees, also after a filiation has ended."""

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from families.models import Filiation
from portal.common.formats import month
from tests.factories import FiliationFactory
from tests.shop import open_shop

pytestmark = pytest.mark.django_db
PAGE = "/mon-compte/reservations/"


def test_what_was_booked_for_a_child_of_a_former_filiation_can_still_be_cancelled() -> None:
    shop = open_shop(days=1, credit="10")
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
    client = Client()
    client.force_login(shop.user)
    booking = Booking.objects.get()
    assert f'value="{booking.pk}"' in client.get(PAGE).content.decode()
    cancel_bookings(ids=[booking.pk], by=shop.user)
    assert shop.balance == 10


def test_a_former_parent_does_not_see_what_the_other_books() -> None:
    shop = open_shop(days=1, credit="10")
    former = FiliationFactory(beneficiary=shop.children[0], ended_at=timezone.now()).user
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    client = Client()
    client.force_login(former)
    page = client.get(PAGE).content.decode()
    assert str(shop.children[0]) not in page and shop.activity.name not in page


def test_the_page_opens_on_the_month_of_the_next_booking() -> None:
    shop = open_shop(days=70, credit="10")
    day = shop.days[-1]
    shop.add(days=[day])
    shop.pay(Means.WALLET, "7.90")
    client = Client()
    client.force_login(shop.user)
    before = day.date.replace(day=1) - dt.timedelta(days=1)
    assert f'<h2 id="mois">{month(day.date)}</h2>' in client.get(PAGE).content.decode()
    page = client.get(PAGE, {"mois": f"{before:%Y-%m}"}).content.decode()
    assert f'<h2 id="mois">{month(before)}</h2>' in page and f'href="?mois={day.date:%Y-%m}"' in page
