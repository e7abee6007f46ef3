"""How a guard of the database is shown: the fault happens with it off, and is refused with it on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pgtrigger
import pytest
from django.db import Error, connection, transaction

from checkout.actions import Means
from tests.shop import Shop, open_shop


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


@contextmanager
def undone() -> Iterator[None]:
    """What happens here is looked at and taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def guarded(guard: str, fault: Callable[[], object], says: str, seen: Callable[[], bool]) -> None:
    """The fault happens with the guard (« app.Model:trigger ») off, and is refused with it on."""
    with undone(), pgtrigger.ignore(guard):
        fault()
        assert seen(), f"without {guard} nothing shows"
    assert not seen()
    with pytest.raises(Error, match=says), transaction.atomic():
        fault()
    assert not seen()


def bought(**options: Any) -> Shop:
    """A shop with one paid order."""
    shop = open_shop(days=1, credit="50", **options)
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    return shop
