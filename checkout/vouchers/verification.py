"""Recomputing what must always hold of vouchers: each discount is borne, each use counted."""

from collections.abc import Iterator

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from checkout.models import Order, OrderLine
from checkout.vouchers.models import Voucher, VoucherShare, VoucherUse
from portal.common.formats import euros
from portal.common.money import ZERO, MoneyField


def verify() -> Iterator[str]:
    """One sentence per difference; a handful of queries, whatever the number of orders."""
    yield from _shares()
    yield from _uses()


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
