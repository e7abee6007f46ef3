"""What the rules of vouchers ask of the database: the lines of a cart, and vouchers with their scope and their uses."""

from collections.abc import Iterable

from django.db.models import Exists, F, OuterRef, Prefetch
from django.db.models.functions import Coalesce

from accounts.models import User
from bookings.models import Booking
from checkout.models import Cart, CartLine, OrderLine
from checkout.vouchers.models import CartVoucher, Voucher, VoucherScope, VoucherUse
from checkout.vouchers.rules import Item, Known, Reduction, reductions
from checkout.vouchers.words import Fates, concerns
from portal.common.db import annotated
from portal.common.formats import today

# The scopes of vouchers with the names that they are said by.
SCOPES = VoucherScope.objects.select_related("commune", "service", "activity__service", "profile__service")


def items_of(cart: int) -> list[Item]:
    """The held lines of a cart in the order in which an order takes them; one query."""
    rows = (
        CartLine.objects.filter(cart=cart)
        .annotate(
            status=Coalesce("booking__status", "ticket__status"),
            day=F("booking__open_day__date"),
            activity=Coalesce("booking__open_day__activity", "ticket__activity"),
            service=Coalesce("booking__open_day__activity__service", "ticket__activity__service"),
            commune=Coalesce("booking__open_day__activity__service__commune", "ticket__activity__service__commune"),
        )
        .filter(status=Booking.Status.HELD)
        .order_by("day", "pk")
        .values_list(*("booking", "ticket", "unit_price", "commune", "service", "activity", "tariff__profile", "day"))
    )
    return [Item((booking, ticket), *facts) for booking, ticket, *facts in rows]


def known(vouchers: Iterable[Voucher], user: User) -> list[Known]:
    """Vouchers (with their SCOPES prefetched) as the rules want them, for this person and their family; one query."""
    ranks: dict[int, list[int]] = {}
    rows = list(vouchers)
    uses = VoucherUse.objects.of_family(user).live().filter(voucher__in=rows)
    for voucher, rank in uses.order_by().values_list("voucher", "rank"):
        ranks.setdefault(voucher, []).append(rank)
    return [
        Known(
            row,
            communes=frozenset(scope.commune_id for scope in row.scopes.all() if scope.commune_id),
            services=frozenset(scope.service_id for scope in row.scopes.all() if scope.service_id),
            activities=frozenset(scope.activity_id for scope in row.scopes.all() if scope.activity_id),
            profiles=frozenset(scope.profile_id for scope in row.scopes.all() if scope.profile_id),
            ranks=tuple(ranks.get(row.pk, ())),
            concerns=" ".join(concerns(row)),
        )
        for row in rows
    ]


def entered(cart: Cart) -> list[Voucher]:
    """The vouchers whose codes were entered in a cart, in that order; two queries."""
    scopes = Prefetch("voucher__scopes", SCOPES)
    rows = CartVoucher.objects.filter(cart=cart).select_related("voucher").prefetch_related(scopes)
    return [row.voucher for row in rows.order_by("pk")]


def reductions_of(cart: Cart, user: User) -> list[Reduction]:
    """What the codes of an open cart come to today; four queries, for carts that have codes."""
    return reductions(known(entered(cart), user), items_of(cart.pk), on=today())


def reductions_now(user: User) -> list[Reduction]:
    """The same for this person's cart as it is; one query where it has no codes."""
    cart = Cart.objects.filter(user=user, status=Cart.Status.OPEN).with_codes().first()
    return reductions_of(cart, user) if cart is not None and cart.has_codes else []


def uses_of(*orders: int) -> list[VoucherUse]:
    """The vouchers of an order (or of several), in the order in which they were entered; one query."""
    return list(VoucherUse.objects.filter(order__in=orders).select_related("voucher").order_by("pk"))


def reductions_taken(order: int) -> list[Reduction]:
    """What the vouchers of an order took off it, as it was frozen; one query."""
    return [Reduction(use.voucher, use.amount) for use in uses_of(order)]


def fates_without(lines: Iterable[OrderLine]) -> Fates:
    """What would become of the vouchers of these lines' orders if the lines were cancelled now; one query."""
    rows = list(lines)
    left = OrderLine.objects.filter(order=OuterRef("order"), cancelled_at=None).exclude(pk__in=[row.pk for row in rows])
    live = VoucherUse.objects.filter(order__in={row.order_id for row in rows}).live()
    uses = list(annotated(live, has_left=Exists(left)).select_related("voucher").order_by("pk"))
    for use in uses:
        if not use.has_left:
            use.status = VoucherUse.Status.GIVEN_BACK
    return Fates.of(uses)
