"""Statements written by hand for speed know the models' columns by heart: a column more must not pass them by."""

import re
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from checkout.actions.cart import open_cart
from checkout.models import Cart
from checkout.summary import CART_AND_LINES, CartSummary
from portal.context import HEADER, _header
from services.models import Category
from tests.factories import CategoryFactory, UserFactory
from tests.shop import open_shop
from wallet import actions as ledger
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def written(model: type[models.Model], queries: CaptureQueriesContext) -> set[str]:
    """The columns that the INSERT into a model's table names."""
    pattern = re.compile(rf'INSERT INTO "?{model._meta.db_table}"? \(([^)]*)\)')
    (columns,) = {found[1] for query in queries if (found := pattern.search(query["sql"]))}
    return {name.strip(' "') for name in columns.split(",")}


def write_cart() -> None:
    open_cart(UserFactory())


def write_movement() -> None:
    ledger.adjust(user=UserFactory(), amount=ledger.Decimal(1), reason="Dépôt", key="k", by=UserFactory())


@pytest.mark.parametrize(
    "model, write, left",
    [(Cart, write_cart, {"id", "terms_id", "prolonged_at"}), (Movement, write_movement, {"id"})],
    ids=["cart", "movement"],
)
def test_an_insert_names_every_column_or_leaves_it_out_knowingly(model: Any, write: Any, left: set[str]) -> None:
    """A new column goes into the statement, or here when its empty value is meant."""
    with CaptureQueriesContext(connection) as queries:
        write()
    fields = {field.column: field for field in model._meta.concrete_fields}
    assert written(model, queries) == fields.keys() - left
    must = {
        column
        for column, field in fields.items()
        if not field.null and not field.has_db_default() and not field.primary_key
    }
    assert must <= written(model, queries)


def same(built: models.Model, read: models.Model) -> None:
    """What the hand-written row holds is what Django reads; the rest is read when it is asked for."""
    missing = built.get_deferred_fields()
    for field in read._meta.concrete_fields:
        if field.attname not in missing:
            assert getattr(built, field.attname) == getattr(read, field.attname), field.attname


def test_the_summary_builds_the_cart_that_django_reads() -> None:
    shop = open_shop()
    shop.add()
    shop.answer_steps()
    summary = CartSummary.of(shop.user)
    assert summary is not None
    same(summary.cart, Cart.objects.get())
    same(summary.cart.hold, Cart.objects.get().hold)


def test_the_header_reads_whole_categories() -> None:
    CategoryFactory(name="Cantines", slug="cantines", introduction="Midi", position=3)
    user = UserFactory()
    rows = _header(user.pk).categories
    assert rows == list(Category.objects.all()) and not any(row.get_deferred_fields() for row in rows)


@pytest.mark.parametrize("statement", [HEADER, CART_AND_LINES], ids=["header", "cart"])
def test_the_states_they_name_are_the_models(statement: str) -> None:
    live = ", ".join(f"'{status}'" for status in Cart.Status if status != Cart.Status.DONE)
    assert f"cart.status IN ({live})" in statement
    assert set(re.findall(r"'(\w+)'", statement)) <= {*Cart.Status, *Booking.Status, *WaitingListEntry.Status}
