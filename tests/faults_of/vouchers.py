"""What nobody may write past vouchers, their uses and what each line bears of them."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.utils import timezone

from checkout.models import Order, OrderLine
from checkout.vouchers.models import Voucher, VoucherShare, VoucherUse
from tests.admin.world import Town
from tests.factories import UserFactory
from tests.faults_of import Fault, added, changed, deleted, kept_right, now, parent, row_of, somebody, the, written
from tests.faults_of.scene import share_out


def order(_place: Town) -> Order:
    """Somebody's, of nothing."""
    return Order.objects.create(user=UserFactory(), total=0)


def without_limit(place: Town) -> Voucher:
    """The place's voucher, which a family may use as often as it likes."""
    row: Voucher = place.rows["checkout.voucher"]
    Voucher.objects.filter(pk=row.pk).update(uses_per_family=None)
    return row


def used_up(place: Town) -> Voucher:
    """The place's voucher, which has been used as often as it may."""
    row = row_of(place, "checkout.Voucher")
    Voucher.objects.filter(pk=row.pk).update(max_uses=row.used)
    return row


def of_everybody(_place: Town) -> Voucher:
    """One that the agglomération bears."""
    return Voucher.objects.create(code="PARTOUT", label="x", amount=Decimal(5))


def count_is_wrong(place: Town) -> bool:
    row = row_of(place, "checkout.Voucher")
    return row.used != VoucherUse.objects.live().filter(voucher=row).count()


def use_once_more(place: Town) -> None:
    row = order(place)
    VoucherUse.objects.create(
        voucher=place.rows["checkout.voucher"], user=row.user, order=row, amount=Decimal(5), rank=1
    )


def give_back(place: Town) -> None:
    use = VoucherUse.objects.filter(pk=place.rows["checkout.voucheruse"].pk)
    use.update(status="given_back", ended_at=timezone.now())


def share_of_nothing(place: Town) -> None:
    """A second line of the order, from which the voucher takes nothing."""
    use = row_of(place, "checkout.VoucherShare").use
    line = OrderLine.objects.create(order=use.order, kind="fee", commune=place.commune, label="y", unit_price=1)
    VoucherShare.objects.create(line=line, use=use, amount=0)


def another_voucher(**values: Any) -> Fault:
    return added(used=0, **values)


FAULTS: dict[str, list[Fault]] = {
    "checkout.Voucher:voucher_code_is_typed_easily": [
        another_voucher(code=code) for code in ("rentrée", "AB", "A B C")
    ],
    "checkout.Voucher:voucher_is_percent_or_amount": [
        another_voucher(percent=Decimal(10)),
        another_voucher(amount=None),
        another_voucher(amount=Decimal(0)),
        another_voucher(amount=None, percent=Decimal(0)),
        another_voucher(amount=None, percent=Decimal(101)),
    ],
    "checkout.Voucher:voucher_minimum_is_not_negative": [changed(minimum=Decimal(-1))],
    "checkout.Voucher:voucher_ends_after_it_starts": [
        changed(valid_from=dt.date(2027, 1, 2), valid_until=dt.date(2027, 1, 1))
    ],
    "checkout.Voucher:voucher_days_are_in_order": [
        changed(days_from=dt.date(2027, 1, 2), days_until=dt.date(2027, 1, 1))
    ],
    "checkout.Voucher:voucher_can_be_used": [another_voucher(max_uses=0), changed(uses_per_family=0)],
    "checkout.Voucher:voucher_is_not_overused": [
        added(of="checkout.VoucherUse", voucher=used_up, user=somebody, order=order),
        changed(max_uses=1),
    ],
    "checkout.VoucherScope:scope_names_one_thing": [
        added(voucher=of_everybody, service=None),
        added(activity=the("services.Activity")),
        added(commune=lambda place: place.commune),
    ],
    "checkout.VoucherUse:use_takes_something_off": [
        added(user=somebody, order=order, amount=Decimal(0)),
        added(user=somebody, order=order, amount=Decimal(-5)),
    ],
    "checkout.VoucherUse:use_has_its_rank": [added(user=somebody, order=order, rank=0)],
    "checkout.VoucherUse:use_given_back_is_dated": [changed(status="given_back"), changed(ended_at=now)],
    "checkout.VoucherUse:voucher_once_per_order": [
        added(voucher=without_limit, order=the("checkout.Order"), user=parent, rank=2)
    ],
    "checkout.VoucherUse:voucher_once_per_family": [added(voucher=without_limit, order=order, user=parent, rank=1)],
    "checkout.VoucherUse:uses_taken": [kept_right(use_once_more, count_is_wrong)],
    "checkout.VoucherUse:uses_given_back": [kept_right(give_back, count_is_wrong)],
    "checkout.VoucherUse:uses_are_kept": [deleted()],
    "checkout.VoucherShare:one_share_per_line_and_use": [
        written(
            lambda place: share_out(place, "2.00", "3.00"),
            lambda _place: VoucherShare.objects.filter(amount=3).exists(),
        )
    ],
    "checkout.VoucherShare:share_is_positive": [
        written(share_of_nothing, lambda _place: VoucherShare.objects.filter(amount=0).exists()),
        written(
            lambda place: share_out(place, "6.00", "-1.00"),
            lambda _place: VoucherShare.objects.filter(amount=-1).exists(),
            behind=("checkout.VoucherShare:one_share_per_line_and_use",),
        ),
    ],
    "checkout.OrderLine:line_discount_is_in_the_price": [
        written(
            lambda place: share_out(place, "6.00", price="5.00"),
            lambda _place: OrderLine.objects.filter(discount=6).exists(),
        ),
        added(discount=Decimal(-1)),
    ],
}
