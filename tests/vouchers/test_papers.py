"""What the régie's papers say of an order with a voucher: what the family really paid."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from checkout.papers import yearly
from checkout.papers.invoices import invoice
from checkout.papers.receipts import issue_receipt
from checkout.papers.yearly import childcare_of, paid_in
from families.models import Beneficiary
from portal.common.formats import today
from services.models import Slot
from tests.papers.reading import plain, words
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db


def shop_with_a_voucher() -> Shop:
    shop = open_shop(days=1, credit="50", price="10.00")
    voucher(percent=Decimal(50))
    return shop


def test_the_receipt_names_the_voucher_and_the_sum_that_was_paid() -> None:
    shop = shop_with_a_voucher()
    paper = issue_receipt(order=order_with(shop, "RENTREE10", total="5.00"))
    text = words(paper)
    assert paper.amount == Decimal("5.00")
    for part in ("RENTREE10", "−5,00 €", "10,00 €", "5,00 €"):
        assert plain(part) in text, part


def test_a_receipt_of_nothing_names_no_payment() -> None:
    shop = open_shop(days=1)
    voucher(percent=Decimal(100))
    text = words(issue_receipt(order=order_with(shop, "RENTREE10", total="0.00")))
    assert "Règlements Aucun : rien n’était à payer." in text and "Moyen" not in text


def test_the_month_and_the_year_count_what_was_paid() -> None:
    shop = shop_with_a_voucher()
    order_with(shop, "RENTREE10", total="5.00")
    assert invoice(shop.user, shop.days[0].date.replace(day=1)).amount == Decimal("5.00")
    assert [row.net for row in paid_in(shop.user, today(), today())] == [Decimal("5.00")]


def test_childcare_is_what_the_family_bore_each_part_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = shop_with_a_voucher()
    Slot.objects.filter(pk=shop.slot.pk).update(nature=Slot.Nature.BOTH, includes_meal=True, meal_price=Decimal("4.00"))
    Beneficiary.objects.filter(pk=shop.children[0].pk).update(birth_date=today() - dt.timedelta(days=900))
    order_with(shop, "RENTREE10", total="5.00")
    date: Any = shop.days[0].date
    monkeypatch.setattr(yearly, "today", lambda: date)
    (care,) = childcare_of(shop.user, date.year)
    assert (care.paid, care.meals, care.care) == (Decimal("5.00"), Decimal("2.00"), Decimal("3.00"))
