"""A family that has paid by card, at a bank that answers over HTTP and keeps books of its own."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from tests.checkout.conftest import browse

if TYPE_CHECKING:
    from tests.shop import Shop  # models: read once Django is set up


__all__ = ["browse"]


def path(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def pay_at_the_bank(address: str) -> str:
    """What a card holder does at the demonstration bank: pay, and go back; returns where that led."""
    client = Client()
    answer = client.post(path(address), {"outcome": "captured", "notification": "never"})
    return client.get(path(answer["Location"]))["Location"]


@pytest.fixture
def bank(live_server: Any, settings: Any) -> Iterator[Any]:
    """The demonstration bank on its own address; after the test the books are right."""
    from checkout.verification import verify
    from tests.factories import regie

    settings.SITE_URL = live_server.url
    regie(card_refunds=True)
    yield live_server
    assert list(verify()) == []


@pytest.fixture
def by_card(bank: Any) -> Callable[..., "Shop"]:
    """A paid order of four mornings at 7,90 €."""
    from checkout.actions import Means
    from checkout.models import Payment
    from tests.shop import open_shop

    def order(means: Means = Means.CARD, **options: Any) -> "Shop":
        shop = open_shop(**options)
        shop.add()
        started = shop.pay(means, str(Decimal("7.90") * len(shop.days)))
        assert started.departure
        pay_at_the_bank(started.departure.url)
        assert Payment.objects.exclude(status="captured").count() == 0
        return shop

    return order
