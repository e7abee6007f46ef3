"""Recomputing what must always hold of vouchers: each discount is borne, each use counted, the ledger knows all of it."""

from collections.abc import Iterator
from decimal import Decimal

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from checkout.models import Order, OrderLine
from checkout.vouchers.models import Voucher, VoucherShare, VoucherUse
from portal.common.formats import euros
from portal.common.money import ZERO, MoneyField
from wallet import actions as ledger
from wallet.models import Account


def verify() -> Iterator[str]:
    """One sentence per difference; a handful of queries, whatever the number of orders."""
    yield from _shares()
    yield from _uses()
    yield from _borne()


def _summed(key: str) -> Coalesce:
    sums = VoucherShare.objects.filter(**{key: OuterRef("pk")}).order_by().values(key).annotate(sum=Sum("amount"))
    return Coalesce(Subquery(sums.values("sum"), output_field=MoneyField()), ZERO)


def _shares() -> Iterator[str]:
    concerned = OrderLine.objects.filter(Q(discount__gt=0) | Q(pk__in=VoucherShare.objects.values("line")))
    for line in concerned.annotate(shared=_summed("line")).exclude(shared=F("discount")).select_related("order"):
        yield _("%(line)s (commande %(number)s) : remise de %(off)s, %(shared)s à la charge de bons.") % {
            "line": line,
            "number": line.order.number,
            "off": euros(line.discount),
            "shared": euros(line.shared),  # type: ignore[attr-defined]
        }
    for use in VoucherUse.objects.annotate(shared=_summed("use")).exclude(shared=F("amount")).select_related("voucher"):
        yield _("Bon %(code)s : une utilisation de %(amount)s, ses parts %(shared)s.") % {
            "code": use.voucher,
            "amount": euros(use.amount),
            "shared": euros(use.shared),  # type: ignore[attr-defined]
        }


def _uses() -> Iterator[str]:
    """Uses follow their orders, and the counter follows the uses."""
    live = Count("uses", filter=~Q(uses__status=VoucherUse.Status.GIVEN_BACK))
    for voucher in Voucher.objects.annotate(live=live).exclude(used=F("live")):
        yield _("Bon %(code)s : %(used)d utilisations comptées, %(live)d en cours.") % {
            "code": voucher,
            "used": voucher.used,
            "live": voucher.live,  # type: ignore[attr-defined]
        }
    left = OrderLine.objects.filter(order=OuterRef("order"), cancelled_at=None).order_by().values("order")
    standing = Count(Subquery(left.annotate(n=Count("pk")).values("n")))
    expected = (
        Q(order__status=Order.Status.PENDING, status=VoucherUse.Status.TAKEN)
        | Q(order__status=Order.Status.PAID, status=VoucherUse.Status.USED, standing__gt=0)
        | Q(order__status=Order.Status.PAID, status=VoucherUse.Status.GIVEN_BACK, standing=0)
        | Q(order__status=Order.Status.CANCELLED, status=VoucherUse.Status.GIVEN_BACK)
    )
    for use in VoucherUse.objects.annotate(standing=standing).exclude(expected).select_related("voucher", "order"):
        yield _("Bon %(code)s : %(status)s, alors que la commande %(number)s est « %(order)s ».") % {
            "code": use.voucher,
            "status": use.get_status_display().lower(),
            "number": use.order.number,
            "order": use.order.get_status_display().lower(),
        }


def _borne() -> Iterator[str]:
    """Each bearer's account holds what vouchers took off the paid lines that still stand."""
    standing = VoucherShare.objects.filter(line__order__status=Order.Status.PAID, line__cancelled_at=None)
    borne: dict[str, Decimal] = {
        ledger.voucher_code(commune): amount
        for commune, amount in standing.order_by().values_list("use__voucher__commune").annotate(Sum("amount"))
    }
    held = Account.objects.filter(kind=Account.Kind.VOUCHER).annotate(sum=Coalesce(Sum("entries__amount"), ZERO))
    accounts = dict(held.values_list("code", "sum"))
    for code in sorted(borne.keys() | accounts.keys()):
        if accounts.get(code, ZERO) != -borne.get(code, ZERO):
            yield _("Compte %(code)s : %(held)s au grand livre, %(borne)s de remises sur les commandes payées.") % {
                "code": code,
                "held": euros(accounts.get(code, ZERO)),
                "borne": euros(borne.get(code, ZERO)),
            }
