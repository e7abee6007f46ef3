"""Vouchers for tests."""

from decimal import Decimal
from typing import Any

from checkout.actions import Means
from checkout.models import Order
from checkout.vouchers.actions import enter_code
from checkout.vouchers.models import Voucher, VoucherScope
from tests.shop import Shop


def voucher(code: str = "RENTREE10", **fields: Any) -> Voucher:
    """Ten percent off everything, once per family, unless said otherwise; borne by the agglomération."""
    scope = {
        name: fields.pop(f"only_{name}")
        for name in ("commune", "service", "activity", "profile")
        if f"only_{name}" in fields
    }
    if "amount" not in fields and "percent" not in fields:
        fields["percent"] = Decimal(10)
    if "amount" in fields:
        fields["amount"] = Decimal(fields["amount"])
    row = Voucher.objects.create(code=code, **{"label": "Rentrée", **fields})
    for name, value in scope.items():
        VoucherScope.objects.create(voucher=row, **{name: value})
    return row


def order_with(shop: Shop, *codes: str, total: str, means: Means = Means.WALLET) -> Order:
    """The shop's days in a cart with these codes, ordered."""
    shop.add()
    for code in codes:
        enter_code(user=shop.user, code=code)
    return shop.pay(means, total).order
