"""What PostgreSQL refuses of vouchers, whoever writes: each fault is shown first, with its guard off."""

from decimal import Decimal

import pgtrigger
import pytest
from django.db import Error, IntegrityError, transaction
from django.utils import timezone

from checkout.actions import Means
from checkout.models import Order, OrderLine
from checkout.verification import verify
from checkout.vouchers.models import Voucher, VoucherScope, VoucherShare, VoucherUse
from families.models import Filiation
from tests.factories import CommuneFactory, FiliationFactory, UserFactory
from tests.guards import guarded, sql, undone
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher

pytestmark = pytest.mark.django_db


def used(**fields: object) -> Shop:
    shop = open_shop(days=2, credit="50")
    voucher(**fields)
    order_with(shop, "RENTREE10", total="14.22")
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    return shop


def again(**changes: object) -> VoucherUse:
    """The same use once more, on an order of nothing."""
    before = VoucherUse.objects.get()
    order = Order.objects.create(user=before.user, total=0)
    fields = {"voucher": before.voucher, "user": before.user, "order": order, "amount": Decimal(1), "rank": 2}
    return VoucherUse.objects.create(**(fields | changes))


def test_the_counter_follows_the_uses() -> None:
    used()
    guarded(
        "checkout.Voucher:uses_are_counted",
        lambda: Voucher.objects.update(used=0),
        "is counted from its uses",
        lambda: Voucher.objects.get().used == 0,
    )
    with undone():
        sql("ALTER TABLE checkout_voucher DISABLE TRIGGER USER")
        sql("UPDATE checkout_voucher SET used = 5")
        sql("ALTER TABLE checkout_voucher ENABLE TRIGGER USER")
        assert list(verify()) == ["Bon RENTREE10 : 5 utilisations comptées, 1 en cours."]


def test_a_voucher_starts_unused() -> None:
    guarded(
        "checkout.Voucher:voucher_starts_unused",
        lambda: voucher("NEUF", used=3),
        "starts unused",
        lambda: Voucher.objects.filter(code="NEUF", used=3).exists(),
    )


def test_without_its_check_a_voucher_is_used_once_too_often() -> None:
    used(max_uses=1, uses_per_family=None)
    with undone():
        sql("ALTER TABLE checkout_voucher DROP CONSTRAINT voucher_is_not_overused")
        again()
        assert Voucher.objects.get().used == 2
    with pytest.raises(IntegrityError, match="voucher_is_not_overused"), transaction.atomic():
        again()


def test_once_per_family_whatever_rank_is_written() -> None:
    used()
    with pgtrigger.ignore("checkout.VoucherUse:parents_share_the_limit"):
        with undone():
            sql("DROP INDEX voucher_once_per_family")
            again(rank=1)
            assert VoucherUse.objects.live().count() == 2
        with pytest.raises(IntegrityError, match="voucher_once_per_family"), transaction.atomic():
            again(rank=1)
        guarded(
            "checkout.VoucherUse:use_within_limits",
            lambda: again(rank=2),
            "as often as it may",
            lambda: VoucherUse.objects.live().count() == 2,
        )


def test_the_other_parent_has_the_same_limit() -> None:
    """While both have the child: a parent of other children has a limit of their own."""
    shop = used()
    child = Filiation.objects.get(user=shop.user).beneficiary
    link = FiliationFactory(beneficiary=child)
    guarded(
        "checkout.VoucherUse:parents_share_the_limit",
        lambda: again(user=link.user, rank=1),
        "the parents of a child share",
        lambda: VoucherUse.objects.filter(user=link.user).exists(),
    )
    Filiation.objects.filter(pk=link.pk).update(ended_at=timezone.now())
    again(user=link.user, rank=1)


def test_a_personal_voucher_is_its_owners() -> None:
    shop = open_shop(days=2, credit="50")
    voucher(user=shop.user, uses_per_family=None)
    order_with(shop, "RENTREE10", total="14.22")
    stranger = UserFactory()
    guarded(
        "checkout.VoucherUse:use_within_limits",
        lambda: again(user=stranger),
        "used by its owner",
        lambda: VoucherUse.objects.filter(user=stranger).exists(),
    )


@pytest.mark.parametrize(
    "change", [{"percent": Decimal(90)}, {"code": "AUTRE"}, {"commune": 0}, {"user": 0}, {"batch": "x"}]
)
def test_what_families_were_told_stays(change: dict[str, object]) -> None:
    voucher()
    name, value = next(iter(change.items()))
    if value == 0:
        value = {"commune": CommuneFactory, "user": UserFactory}[name]()
    guarded(
        "checkout.Voucher:voucher_is_frozen",
        lambda: Voucher.objects.update(**{name: value}),
        "Cannot update",
        lambda: Voucher.objects.filter(**{name: value}).exists(),
    )


def test_a_use_is_kept_as_it_was() -> None:
    used()
    guarded(
        "checkout.VoucherUse:use_is_frozen",
        lambda: VoucherUse.objects.update(amount=Decimal(1)),
        "Cannot update",
        lambda: VoucherUse.objects.filter(amount=1).exists(),
    )
    guarded(
        "checkout.VoucherUse:use_transitions",
        lambda: VoucherUse.objects.update(status="taken"),
        "Invalid transition",
        lambda: VoucherUse.objects.filter(status="taken").exists(),
    )
    guarded(
        "checkout.VoucherShare:share_is_frozen",
        lambda: VoucherShare.objects.update(amount=Decimal("0.01")),
        "Cannot update",
        lambda: VoucherShare.objects.filter(amount=Decimal("0.01")).exists(),
    )


def test_shares_and_uses_stay() -> None:
    used()
    guarded(
        "checkout.VoucherShare:shares_are_kept",
        lambda: VoucherShare.objects.all().delete(),
        "Cannot delete",
        lambda: not VoucherShare.objects.exists(),
    )


def discounted_line(order: Order, *, commune: object = None) -> OrderLine:
    line = OrderLine.objects.filter(order=order).first()
    assert line is not None
    return OrderLine(
        order=order,
        kind=OrderLine.Kind.FEE,
        label="x",
        unit_price=Decimal(5),
        discount=Decimal(2),
        commune=line.commune,
    )


def test_a_discount_without_bearer_is_refused() -> None:
    shop = open_shop(days=1)
    shop.add()
    order = shop.pay(Means.CARD, "7.90").order
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    guarded(
        "checkout.OrderLine:discount_is_shared_out",
        lambda: discounted_line(order).save(),
        "not the sum of what its vouchers bear",
        lambda: OrderLine.objects.filter(discount=2).exists(),
    )


@pytest.mark.parametrize(
    "fault, says", [("order", "of one order"), ("amount", "sum of its shares"), ("commune", "own products")]
)
def test_a_share_fits_its_line_and_its_use(fault: str, says: str) -> None:
    shop = open_shop(days=1)
    shop.add()
    order = shop.pay(Means.CARD, "7.90").order
    elsewhere = Order.objects.create(user=shop.user, total=0)
    row = voucher("AILLEURS", commune=CommuneFactory() if fault == "commune" else None)
    sql("SET CONSTRAINTS ALL IMMEDIATE")

    def write() -> None:
        use = VoucherUse.objects.create(
            voucher=row,
            user=shop.user,
            order=elsewhere if fault == "order" else order,
            amount=Decimal(3) if fault == "amount" else Decimal(2),
            rank=1,
        )
        sql("SET CONSTRAINTS ALL DEFERRED")
        line = discounted_line(order)
        line.save()
        VoucherShare.objects.create(line=line, use=use, amount=Decimal(2))
        sql("SET CONSTRAINTS ALL IMMEDIATE")

    guarded("checkout.VoucherShare:share_fits", write, says, lambda: VoucherShare.objects.exists())


def test_the_discount_is_at_most_the_price() -> None:
    used()
    with pytest.raises(IntegrityError, match="line_discount_is_in_the_price"), transaction.atomic():
        line = discounted_line(Order.objects.get())
        line.discount = Decimal(6)
        line.save()


def test_a_communes_voucher_names_its_own_services() -> None:
    shop, other = open_shop(), open_shop()
    row = voucher(commune=shop.activity.service.commune)
    for field, value in (
        ("commune", other.activity.service.commune),
        ("service", other.activity.service),
        ("activity", other.activity),
        ("profile", other.tariff.profile),
    ):
        guarded(
            "checkout.VoucherScope:scope_is_within_the_commune",
            lambda field=field, value=value: VoucherScope.objects.create(voucher=row, **{field: value}),  # type: ignore[misc]
            "own products",
            lambda: VoucherScope.objects.exists(),
        )
    VoucherScope.objects.create(voucher=row, activity=shop.activity)


def test_a_use_given_back_is_dated() -> None:
    used()
    with pytest.raises(Error, match="use_given_back_is_dated"), transaction.atomic():
        VoucherUse.objects.update(status="given_back")
    VoucherUse.objects.update(status="given_back", ended_at=timezone.now())
    assert Voucher.objects.get().used == 0
    assert len(list(verify())) == 1  # its order still stands
