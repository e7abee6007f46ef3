"""The service and whose it is, wherever a family reads what it orders: cart, steps, order, e-mail, receipt."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from checkout.actions import Means
from checkout.models import Order
from checkout.papers.receipts import issue_receipt
from checkout.summary import CartSummary
from portal.outbox.models import Email
from services.models import Service, Slot
from tests.checkout.http import text
from tests.factories import OpenDayFactory, ServiceFactory, SlotFactory, SubscriptionFactory, TariffFactory
from tests.papers.reading import plain, words
from tests.shop import Shop, open_shop
from tests.tickets.kiosk import buy_ticket

pytestmark = pytest.mark.django_db
Browse = Callable[[Shop], Client]
ADDRESSES = ("/panier/", "/commande/recapitulatif/", "/commande/paiement/")


def shop_of(name: str, **options: Any) -> Shop:
    shop = open_shop(**options)
    Service.objects.filter(pk=shop.activity.service_id).update(name=name)
    shop.activity.service.refresh_from_db()
    return shop


def test_from_the_cart_to_the_receipt(browse: Browse) -> None:
    shop = shop_of("Loisirs des vacances", credit="50")
    said = f"Loisirs des vacances ({shop.activity.service.commune_name})"
    assert shop.activity.service.commune
    shop.add()
    shop.answer_steps()
    client = browse(shop)
    for address in ADDRESSES:
        assert f"{shop.activity} {shop.slot} {said}" in text(client.get(address)), address
    order = shop.pay(Means.WALLET, "31.60").order
    assert f"{shop.activity} {shop.slot} {said}" in text(client.get(order.get_absolute_url()))
    assert f"\n  {said}\n" in Email.objects.get(key=f"order:{order.pk}:paid").body
    assert plain(said) in words(issue_receipt(order=order))


def test_of_a_ticket_and_of_the_agglomeration(browse: Browse) -> None:
    shop = shop_of("Piscine", credit="50")
    Service.objects.filter(pk=shop.activity.service_id).update(commune=None)
    shop.activity.service.refresh_from_db()
    buy_ticket(shop)
    order = Order.objects.get()
    said = "Piscine (Agglomération du Puy-en-Velay)"
    assert said in text(browse(shop).get(order.get_absolute_url())) and said in words(issue_receipt(order=order))
    assert said in Email.objects.get(key=f"order:{order.pk}:paid").body


def test_two_services_with_the_same_product_at_the_same_price_stand_apart() -> None:
    shop = open_shop(days=2)
    other = SlotFactory(name=shop.slot.name, activity__service=ServiceFactory(), activity__name=shop.activity.name)
    tariff = TariffFactory(slot=other, price=shop.tariff.price)
    day = OpenDayFactory(activity=other.activity, date=shop.days[1].date)
    shop.add([shop.days[0]])
    access = SubscriptionFactory(user=shop.user, profile=tariff.profile)
    other_shop = Shop(tariff, shop.user, shop.children, access, [day])
    other_shop.add()
    summary = CartSummary.of(shop.user)
    assert summary and Slot.objects.count() == 2
    assert [group.place for group in summary.groups] == [row.activity.service.full_name for row in (shop, other_shop)]
