"""A signed-in browser, a limit of statements, and a family at the bank."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

    from tests.shop import Shop  # models: read once Django is set up

MaxQueries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture
def at_most() -> MaxQueries:
    """At most so many statements; the savepoints by which a test undoes itself are not counted."""

    @contextmanager
    def limit(number: int) -> Iterator[None]:
        with CaptureQueriesContext(connection) as context:
            yield
        statements = [row["sql"] for row in context.captured_queries if "SAVEPOINT" not in row["sql"]]
        assert len(statements) <= number, "\n".join(
            [f"{len(statements)} > {number}", *(sql[:120] for sql in statements)]
        )

    return limit


@pytest.fixture
def browse() -> Callable[["Shop"], Client]:
    def signed_in(shop: "Shop") -> Client:
        client = Client()
        client.force_login(shop.user)
        client.get("/")  # the session's first write of the minute is not the page's cost
        return client

    return signed_in


@pytest.fixture
def shop(live_server: "LiveServer", settings: Any) -> "Shop":
    """A family that was sent to the bank of the demonstration to pay 31,60 €."""
    from checkout.actions import Means
    from tests.shop import open_shop

    settings.SITE_URL = live_server.url
    shop = open_shop()
    shop.add()
    shop.pay(Means.CARD, "31.60")
    return shop
