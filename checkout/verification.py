"""Recomputing what must always hold across ledger, orders and places."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from bookings.models import Absence, AbsenceDay, Booking, Ticket
from checkout import explained
from checkout.actions.declarations import contradicted
from checkout.counter.models import Means, TillDeposit
from checkout.models import PAID, Order, OrderLine, Payment, Refund
from checkout.overdue import overdue
from checkout.papers.verification import verify_papers
from checkout.regie.models import Statement
from checkout.vouchers.verification import verify as _vouchers
from portal.common.db import annotated
from portal.common.formats import euros, short_date, thousands
from portal.common.money import ZERO, MoneyField
from services.models import OpenDay
from wallet import actions as ledger
from wallet.corrections.models import Correction
from wallet.models import Account
from wallet.verification import verify as verify_entries
from wallet.withdrawals.models import Withdrawal

Part = Callable[[], Iterator[str]]

logger = logging.getLogger(__name__)


def verify() -> Iterator[str]:
    """One sentence per difference, as it is found: the ledger's, an order that is paid but not captured, a place counted
    wrongly."""
    for name, part in PARTS:
        yield from _apart(name, part)


def what_is_overdue() -> Iterator[str]:
    """One sentence for each thing that should have happened by itself and has not. The books are right all the same."""
    return _apart(_("échéances"), overdue)


def _apart(name: str | Promise, part: Part) -> Iterator[str]:
    """What one part finds; that it could not end is one more sentence, and keeps no other part from being looked at."""
    try:
        with transaction.atomic():  # a statement that fails would spoil the others of its transaction
            yield from part()
    except Exception as error:  # whatever it was: the other parts have nothing to do with it
        logger.exception("The check of %s could not end: the other parts go on", name)
        yield _(
            "Contrôle interrompu (%(part)s)\u00a0: %(error)s. Rien n’a été changé\u00a0; il manque la fin de cette"
            " partie. Prévenez l’exploitant, puis relancez le contrôle."
        ) % {"part": name, "error": type(error).__name__}


def _sum(rows: QuerySet[Any], field: str | Combinable) -> Coalesce:
    sums = rows.values("order").annotate(sum=Sum(field)).values("sum")
    return Coalesce(Subquery(sums, output_field=MoneyField()), ZERO)


def _orders() -> Iterator[str]:
    captured = Payment.objects.filter(order=OuterRef("pk"), status=Payment.Status.CAPTURED).order_by()
    lines = OrderLine.objects.filter(order=OuterRef("pk")).order_by()
    orders = annotated(Order.objects.all(), captured=_sum(captured, "amount"), lines_total=_sum(lines, PAID))
    wrong = orders.filter(
        ~Q(total=F("lines_total"))
        | (Q(status=Order.Status.PAID) & ~Q(captured=F("total")))
        | (~Q(status=Order.Status.PAID) & ~Q(captured=ZERO))
    )
    for order in wrong:
        yield _("Commande %(number)s (%(status)s) : total %(total)s, lignes %(lines)s, encaissé %(captured)s.") % {
            "number": order.number,
            "status": order.get_status_display(),
            "total": euros(order.total),
            "lines": euros(order.lines_total),
            "captured": euros(order.captured),
        }


def _reserved() -> Iterator[str]:
    """What is set aside belongs to orders that wait, and is what the ledger holds for them."""
    parts = Payment.objects.filter(status=Payment.Status.RESERVED)
    for part in parts.exclude(order__status=Order.Status.PENDING).select_related("order"):
        yield _("Commande %(number)s (%(status)s) : %(amount)s du porte-monnaie restent réservés.") % {
            "number": part.order.number,
            "status": part.order.get_status_display(),
            "amount": euros(part.amount),
        }
    total = parts.aggregate(sum=Sum("amount"))["sum"] or ZERO
    held = Account.objects.filter(code=ledger.RESERVED).aggregate(sum=Sum("entries__amount"))["sum"] or ZERO
    if total != held:
        yield _("Parts réservées : %(parts)s, au grand livre %(held)s.") % {"parts": euros(total), "held": euros(held)}


def _refunds() -> Iterator[str]:
    """What is on its way back to cards is what the ledger holds for each provider."""
    asked = Refund.objects.filter(status=Refund.Status.REQUESTED).values("payment__provider").order_by()
    expected = {row["payment__provider"]: row["sum"] for row in asked.annotate(sum=Sum("amount"))}
    accounts = Account.objects.filter(kind=Account.Kind.REFUNDING).annotate(sum=Sum("entries__amount"))
    held = {code.partition(":")[2]: total or ZERO for code, total in accounts.values_list("code", "sum")}
    for provider in sorted(expected.keys() | held.keys()):
        if expected.get(provider, ZERO) != held.get(provider, ZERO):
            yield _("Remboursements en cours (%(provider)s) : %(asked)s demandés, %(held)s au grand livre.") % {
                "provider": provider,
                "asked": euros(expected.get(provider, ZERO)),
                "held": euros(held.get(provider, ZERO)),
            }


def _withdrawals() -> Iterator[str]:
    """What families take back and no bank has paid yet is what the ledger holds to be transferred."""
    asked = Withdrawal.objects.running().aggregate(sum=Sum("amount"))["sum"] or ZERO
    held = Account.objects.filter(code=ledger.TRANSFERS).aggregate(sum=Sum("entries__amount"))["sum"] or ZERO
    if asked != held:
        yield _("Remboursements de crédits en cours : %(asked)s demandés, %(held)s au grand livre.") % {
            "asked": euros(asked),
            "held": euros(held),
        }


def _till() -> Iterator[str]:
    """What lies in the till is what was taken at counters and not taken to the bank yet."""
    payments = Payment.objects.filter(provider__in=Means, status=Payment.Status.CAPTURED).values("provider").order_by()
    taken = {row["provider"]: row["sum"] for row in payments.annotate(sum=Sum("amount"))}
    deposits = TillDeposit.objects.standing().values("means").order_by().annotate(sum=Sum("amount"))
    gone = {row["means"]: row["sum"] for row in deposits}
    accounts = Account.objects.filter(kind=Account.Kind.TILL).annotate(sum=Sum("entries__amount"))
    held = {code.partition(":")[2]: -(total or ZERO) for code, total in accounts.values_list("code", "sum")}
    corrected = Correction.objects.filter(kind=Correction.Kind.TILL, status=Correction.Status.APPROVED)
    counted = {
        row["account__code"]: row["sum"]
        for row in corrected.values("account__code").order_by().annotate(sum=Sum("amount"))
    }
    for means in Means:
        lies = taken.get(means, ZERO) - gone.get(means, ZERO) + counted.get(ledger.till_code(means), ZERO)
        if lies != held.get(means, ZERO):
            yield _("Caisse (%(means)s) : %(lies)s encaissés et non versés, au grand livre %(held)s.") % {
                "means": means.inside,
                "lies": euros(lies),
                "held": euros(held.get(means, ZERO)),
            }


def _remitting() -> Iterator[str]:
    """What is owed on statements that no bank has paid yet is what the ledger holds to be paid over."""
    due = Statement.objects.unpaid().aggregate(sum=Sum("net"))["sum"] or ZERO
    held = Account.objects.filter(code=ledger.REMITTING).aggregate(sum=Sum("entries__amount"))["sum"] or ZERO
    if due != held:
        yield _("Reversements à virer : %(due)s sur les relevés, au grand livre %(held)s.") % {
            "due": euros(due),
            "held": euros(held),
        }


def _places() -> Iterator[str]:
    live = Count("bookings", filter=Q(bookings__ended_at=None))
    for open_day in annotated(OpenDay.objects.all(), live=live).exclude(taken=F("live")).select_related("activity"):
        yield _("%(day)s : %(taken)d places comptées, %(live)d occupées.") % {
            "day": open_day,
            "taken": open_day.taken,
            "live": open_day.live,
        }
    booked_unpaid = Booking.objects.booked().exclude(order_lines__order__status=Order.Status.PAID)
    for booking in booked_unpaid.select_related("beneficiary", "open_day__activity", "slot"):
        yield _("%s est réservé sans commande payée.") % booking


def _ended() -> Iterator[str]:
    """What is cancelled is paid back, what is paid back is cancelled, and a justified absence has given its days back."""
    paid = OrderLine.objects.filter(order__status=Order.Status.PAID).select_related("order")
    for line in paid.filter(cancelled_at=None, booking__status=Booking.Status.CANCELLED):
        yield _("%(line)s (commande %(number)s) : réservation annulée, ligne non rendue.") % {
            "line": line,
            "number": line.order.number,
        }
    for line in paid.filter(cancelled_at__isnull=False, booking__status=Booking.Status.BOOKED):
        yield _("%(line)s (commande %(number)s) : ligne rendue, place toujours réservée.") % {
            "line": line,
            "number": line.order.number,
        }
    # Cancelled bookings were named above; a ticket has no other word.
    gone = Q(booking__status__in=[Booking.Status.HELD, Booking.Status.EXPIRED]) | (
        Q(ticket__isnull=False) & ~Q(ticket__status=Ticket.Status.BOOKED)
    )
    for line in paid.filter(gone, cancelled_at=None):
        yield _("%(line)s (commande %(number)s) : payé sans place.") % {"line": line, "number": line.order.number}
    owed = AbsenceDay.objects.filter(
        absence__status=Absence.Status.JUSTIFIED, refundable=True, booking__status=Booking.Status.BOOKED
    )
    for day in owed.select_related("absence__beneficiary", "absence__service", "booking__open_day"):
        yield _("Absence de %(absence)s, justifiée : %(date)s n’est pas rendu.") % {
            "absence": day.absence,
            "date": day.booking.date,
        }


def _tickets() -> Iterator[str]:
    counted = Count("uses", filter=Q(uses__problem=""))
    for ticket in (
        annotated(Ticket.objects.all(), counted=counted).exclude(used=F("counted")).select_related("activity")
    ):
        yield _("E-billet %(code)s (%(activity)s) : %(used)d entrées comptées, %(counted)d passages.") % {
            "code": ticket.typed_code,
            "activity": ticket.activity,
            "used": ticket.used,
            "counted": ticket.counted,
        }
    unpaid = Ticket.objects.booked().exclude(order_lines__order__status=Order.Status.PAID)
    for ticket in unpaid.select_related("activity"):
        yield _("L’e-billet %s est payé sans commande payée.") % ticket.typed_code


def _declarations() -> Iterator[str]:
    """What was set right says what its correction says."""
    for row, lines in contradicted():
        yield ngettext(
            "%(slot)s\u00a0: %(lines)s ligne de commande ne dit pas ce que dit la correction du %(day)s. Corrigez-la de nouveau.",
            "%(slot)s\u00a0: %(lines)s lignes de commande ne disent pas ce que dit la correction du %(day)s. Corrigez-les de nouveau.",
            lines,
        ) % {
            "slot": f"{row.slot.activity.service} – {row.slot.activity} – {row.slot}",
            "lines": thousands(lines),
            "day": short_date(timezone.localdate(row.made_at)),
        }


PARTS: tuple[tuple[str | Promise, Part], ...] = (
    (gettext_lazy("grand livre"), verify_entries),
    (gettext_lazy("commandes"), _orders),
    (gettext_lazy("comptes"), explained.accounts),
    (gettext_lazy("mouvements des commandes"), explained.orders),
    (gettext_lazy("mouvements sans commande"), explained.without_order),
    (gettext_lazy("règlements reçus trop tard"), explained.late_payments),
    (gettext_lazy("porte-monnaie"), explained.wallets),
    (gettext_lazy("bons de réduction"), _vouchers),
    (gettext_lazy("parts réservées"), _reserved),
    (gettext_lazy("remboursements sur carte"), _refunds),
    (gettext_lazy("remboursements de crédits"), _withdrawals),
    (gettext_lazy("caisse"), _till),
    (gettext_lazy("reversements"), _remitting),
    (gettext_lazy("places"), _places),
    (gettext_lazy("annulations"), _ended),
    (gettext_lazy("e-billets"), _tickets),
    (gettext_lazy("pièces"), verify_papers),
    (gettext_lazy("déclarations"), _declarations),
)
