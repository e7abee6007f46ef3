"""Vouchers within an order's life: taken and frozen with it, used when it is paid, given back when it ends.

Lock order: cart, order, payment, beneficiaries, open days, bookings, tickets, then **vouchers** by ascending key, then
wallets. They come after the places because a cancellation starts from those, and learns only under their locks that it
ends an order; who holds a voucher touches no places but those that its own cart holds already, which nobody else waits for.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from django.utils import timezone

from accounts.models import User
from checkout.models import Cart, Order, OrderLine
from checkout.vouchers.models import CartVoucher, Voucher, VoucherShare, VoucherUse
from checkout.vouchers.reading import entered, items_of, known
from checkout.vouchers.rules import Known, Reduction, reductions
from portal.common.formats import today
from portal.common.money import ZERO
from wallet import actions as ledger

Settled = Sequence[tuple[Known, Reduction]]


def settle(cart: Cart, user: User, lines: Sequence[OrderLine]) -> Settled:
    """Under the cart's lock: lock the vouchers of its codes and write into the lines what they take off.

    The lines are not saved yet. Returns each voucher with what it comes to, or the reason why it takes nothing off.
    """
    lock(CartVoucher.objects.filter(cart=cart).values_list("voucher", flat=True))
    vouchers = known(entered(cart), user)  # read anew: another order may have used them while we waited for the lock
    found = reductions(vouchers, items_of(cart.pk), on=today())
    by_key = {(line.booking_id, line.ticket_id): line for line in lines}
    for reduction in found:
        for key, share in reduction.shares.items():
            by_key[key].discount += share
    return list(zip(vouchers, found, strict=True))


def lock(keys: Iterable[int]) -> None:
    """Lock vouchers in the order of their keys, until the end of the caller's transaction."""
    list(Voucher.objects.filter(pk__in=list(keys)).order_by("pk").select_for_update().values_list("pk"))


def take(order: Order, lines: Sequence[OrderLine], settled: Settled) -> None:
    """Freeze what the vouchers take off an order that was just written with its lines: a use each, and its shares.

    The database refuses the use that would be one too many (`voucher_is_not_overused`, `voucher_once_per_family`,
    `voucher_within_the_familys_limit`), whatever was read before.
    """
    by_key = {(line.booking_id, line.ticket_id): line for line in lines}
    applied = [(voucher, reduction) for voucher, reduction in settled if reduction.amount]
    uses = VoucherUse.objects.bulk_create(
        VoucherUse(
            voucher=reduction.voucher,
            user_id=order.user_id,
            order=order,
            amount=reduction.amount,
            rank=voucher.next_rank,
        )
        for voucher, reduction in applied
    )
    VoucherShare.objects.bulk_create(
        VoucherShare(line=by_key[key], use=use, amount=share)
        for use, (_voucher, reduction) in zip(uses, applied, strict=True)
        for key, share in reduction.shares.items()
    )


def end_with_payment(order: Order, kept: Sequence[OrderLine], lost: Sequence[OrderLine]) -> None:
    """The order is paid: its vouchers are used, or given back when nothing of it was left to sell."""
    if not any(line.discount for line in (*kept, *lost)):
        return
    if kept:
        VoucherUse.objects.filter(order=order, status=VoucherUse.Status.TAKEN).update(status=VoucherUse.Status.USED)
    else:
        give_back_uses([order.pk])
    CartVoucher.objects.filter(cart=order.cart_id).delete()


def give_back_uses(orders: Sequence[int]) -> None:
    """The uses of orders that ended count no more: their vouchers can be used again."""
    uses = VoucherUse.objects.filter(order__in=orders).live()
    lock(uses.values_list("voucher", flat=True))
    uses.update(status=VoucherUse.Status.GIVEN_BACK, ended_at=timezone.now())


def give_back_with(lines: Sequence[OrderLine]) -> list[VoucherUse]:
    """Give back the vouchers of orders of which nothing is left without these lines, which are ended first; no other is touched.

    Returns the uses of these orders as they are now. Called before wallets are locked. Two transactions may each end one of the last two lines: the second waits for the first one's lock of the uses, and then
    sees its lines.
    """
    live = VoucherUse.objects.filter(order__in={line.order_id for line in lines}).live()
    uses = list(live.select_related("voucher").order_by("pk").select_for_update(of=("self",)))
    concerned = {use.order_id for use in uses}
    if not concerned:
        return []
    OrderLine.objects.filter(pk__in=[line.pk for line in lines]).update(cancelled_at=timezone.now())
    left = OrderLine.objects.filter(order__in=concerned, cancelled_at=None).values_list("order", flat=True)
    ended = concerned - set(left)
    if ended:
        give_back_uses(sorted(ended))
    for use in uses:
        if use.order_id in ended:
            use.status = VoucherUse.Status.GIVEN_BACK
    return uses


def borne(lines: Iterable[OrderLine]) -> dict[str, Decimal]:
    """Who bears what vouchers take off these lines: euros by the code of the bearer's account; no query without any."""
    discounted = [line.pk for line in lines if line.discount]
    amounts: dict[str, Decimal] = {}
    if discounted:
        shares = VoucherShare.objects.filter(line__in=discounted)
        for commune, amount in shares.values_list("use__voucher__commune", "amount"):
            code = ledger.voucher_code(commune)
            amounts[code] = amounts.get(code, ZERO) + amount
    return amounts
