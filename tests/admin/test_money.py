"""Money and bookings are read here: whatever is posted to whatever address, nothing moves."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from accounts.models import User
from tests.admin.world import Town, client_of, url

pytestmark = pytest.mark.django_db

READ_ONLY = (
    *("checkout.order", "checkout.payment", "checkout.providerevent"),
    *("wallet.wallet", "wallet.account", "wallet.movement", "wallet.entry"),
    "wallet.closing",
    "wallet.correction",
    *("bookings.booking", "outbox.email"),
)


@pytest.mark.parametrize("label", READ_ONLY)
def test_every_post_is_refused(label: str, everything: dict[str, Any], rosieres: Town, operator: User) -> None:
    row = everything[label]
    model = type(row)
    before = model._default_manager.filter(pk=row.pk).values().get(), model._default_manager.count()
    values = {field.name: "1" for field in model._meta.concrete_fields} | {"status": "paid", "post": "yes"}
    for user in (operator, rosieres.agent):
        client = client_of(user)
        for page, args in (("add", ()), ("change", (row.pk,)), ("delete", (row.pk,))):
            assert client.post(url(label, page, *args), values).status_code in (403, 404), (page, user)
        client.post(
            url(label, "changelist"), {"action": "delete_selected", ACTION_CHECKBOX_NAME: [row.pk], "post": "yes"}
        )
    assert (model._default_manager.filter(pk=row.pk).values().get(), model._default_manager.count()) == before


def test_no_table_offers_to_delete_what_is_ticked(rosieres: Town, operator: User) -> None:
    for model in admin.site._registry:
        page = client_of(operator).get(url(model._meta.label_lower, "changelist"))
        assert 'value="delete_selected"' not in page.content.decode(), model


def test_an_orders_page_writes_no_line(everything: dict[str, Any], rosieres: Town, operator: User) -> None:
    line = rosieres.rows["line"]
    values = {
        "lines-TOTAL_FORMS": "1", "lines-INITIAL_FORMS": "1", "lines-0-id": str(line.pk), "lines-0-unit_price": "0.01",
        "lines-0-DELETE": "on", "payments-TOTAL_FORMS": "0", "payments-INITIAL_FORMS": "0",
    }  # fmt: skip
    for user in (operator, rosieres.agent):
        assert client_of(user).post(url("checkout.order", "change", line.order_id), values).status_code == 403
    line.refresh_from_db()
    assert str(line.unit_price) == "7.90"


def test_agents_do_not_read_balances_nor_payments(everything: dict[str, Any], rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    for label in READ_ONLY[1:9]:
        assert client.get(url(label, "changelist")).status_code == 404
    page = client.get(url("checkout.order", "change", rosieres.rows["checkout.order"].pk)).content.decode()
    assert "Règlements" not in page and "demo" not in page
    assert "20,00" not in client.get(url("accounts.user", "change", rosieres.parent.pk)).content.decode()
