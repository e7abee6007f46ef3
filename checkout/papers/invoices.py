"""The invoice of a family's month: what was given, what was paid and credited, what is left in the wallet."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import Order, OrderLine, Payment
from checkout.papers.actions import issue
from checkout.papers.content import Block, Content, facts, means, price_times, table, text, total
from checkout.papers.models import Document, Kind
from portal.common.formats import PARIS, euros, month, of, short_date
from portal.common.money import ZERO
from portal.outbox.actions import write_email
from services.models.catalogue import AGGLOMERATION
from wallet.models import Entry, Wallet


def last_day(first: dt.date) -> dt.date:
    """The last day of a month by its first."""
    return (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def moments(first: dt.date, last: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """From when until when (excluded) these days are, in Paris time."""
    start, end = (dt.datetime.combine(date, dt.time(), tzinfo=PARIS) for date in (first, last + dt.timedelta(days=1)))
    return start, end


def subject_of(first: dt.date, last: dt.date) -> str:
    """What a paper of a period is about."""
    return f"{first}/{last}"


def given_in(first: dt.date) -> Q:
    """The order lines whose service is of this month: dates by their day, tickets by that of their payment."""
    start, end = moments(first, last_day(first))
    dates = Q(kind=OrderLine.Kind.BOOKING, date__range=(first, last_day(first)))
    tickets = Q(kind=OrderLine.Kind.TICKET, order__paid_at__gte=start, order__paid_at__lt=end)
    return (dates | tickets) & Q(order__status=Order.Status.PAID, cancelled_at=None)


def families_of(first: dt.date) -> QuerySet[User]:
    """Whom the invoice of this month concerns and who has none yet: something was given, or paid."""
    start, end = moments(first, last_day(first))
    given = OrderLine.objects.filter(given_in(first), order__user=OuterRef("pk"))
    paid = _payments(start, end).filter(order__user=OuterRef("pk"))
    issued = Document.objects.filter(user=OuterRef("pk"), kind=Kind.INVOICE, subject=subject_of(first, last_day(first)))
    return User.objects.filter(Exists(given) | Exists(paid)).exclude(Exists(issued)).order_by("pk")


def invoice(user: User, first: dt.date) -> Content:
    """The invoice of a month (by its first day) of one person: at most six statements, whatever it holds."""
    last = last_day(first)
    start, end = moments(first, last)
    given = _given(user, first)
    price = sum((row["sum"] for row in given), ZERO)
    off = sum((row["off"] for row in given), ZERO)
    amount = price - off
    payments = list(_payments(start, end).filter(order__user=user).select_related("order").order_by("ended_at", "pk"))
    ended = _ended({row.order_id for row in payments})
    before, after, entries = _wallet(user, start, end)
    blocks = [
        facts([(_("Période"), _("du %(first)s au %(last)s") % {"first": short_date(first), "last": short_date(last)})]),
        *_services(given, price),
        *([facts([(_("Bons de réduction"), euros(-off))])] if off else []),
        total(_("Prestations du mois"), amount),
        *([text(_("Réglées d’avance, à la commande : il ne reste rien à payer."))] if given else []),
        *_paid(_("Versé par la famille"), [row for row in payments if not row.is_wallet], ended),
        *_paid(_("Réglé avec le porte-monnaie"), [row for row in payments if row.is_wallet], ended),
    ]
    blocks.append(
        table(
            _("Porte-monnaie"),
            [_("Date"), _("Mouvement"), _("Montant"), _("Solde")],
            [
                (short_date(first), _("Solde au début du mois"), "", euros(before)),
                *(
                    (
                        short_date(timezone.localdate(entry.movement.at)),
                        entry.movement.label,
                        euros(entry.amount),
                        euros(entry.balance_after),
                    )
                    for entry in entries
                ),
            ],
            [_("Solde à la fin du mois"), "", "", euros(after)],
            numbers=2,
            narrow=1,
        )
    )
    return Content(
        kind=Kind.INVOICE,
        user=user,
        subject=subject_of(first, last),
        amount=amount,
        title=_("Facture mensuelle"),
        subtitle=month(first),
        blocks=blocks,
        links={"first_day": first, "last_day": last},
    )


@transaction.atomic
def send_invoice(*, user: User, first: dt.date, by: User | None = None) -> Document:
    """Issue the invoice of a month and write the e-mail that brings it: both, or neither. The caller pokes a worker."""
    document = issue(content=invoice(user, first), by=by)
    write_email(
        key=f"invoice:{document.pk}",
        to=user.email,
        template="invoice",
        context={"user": user, "document": document, "of_month": of(month(first).lower())},
        attachment=f"paper:{document.pk}",
    )
    return document


def _given(user: User, first: dt.date) -> Sequence[dict[str, Any]]:
    service = Coalesce("booking__open_day__activity__service__name", "ticket__activity__service__name")
    rows = (
        OrderLine.objects.filter(given_in(first), order__user=user)
        .values("label", "detail", "beneficiary_name", "unit_price", service=service)
        .annotate(count=Count("pk"), sum=Sum("unit_price"), off=Sum("discount"))
    )
    return list(rows.order_by("service", "beneficiary_name", "label", "detail", "unit_price"))


def _services(given: Sequence[dict[str, Any]], price: Decimal) -> list[Block]:
    if not given:
        return [text(_("Aucune prestation ce mois-ci : rien n’est à payer."), title=_("Prestations du mois"))]
    return [
        table(
            _("Prestations du mois"),
            [_("Service"), _("Prestation"), _("Pour"), _("Quantité"), _("Montant")],
            [
                (
                    row["service"] or str(AGGLOMERATION),
                    ", ".join(part for part in (row["label"], row["detail"]) if part),
                    row["beneficiary_name"],
                    price_times(row["count"], row["unit_price"]),
                    euros(row["sum"]),
                )
                for row in given
            ],
            [_("Total"), "", "", "", euros(price)],
            numbers=2,
        )
    ]


def _payments(start: dt.datetime, end: dt.datetime) -> QuerySet[Payment]:
    """What was paid from this moment until that one (excluded): for orders, or too late for one and kept in the wallet."""
    captured = Q(status=Payment.Status.CAPTURED, order__paid_at__gte=start, order__paid_at__lt=end)
    return Payment.objects.filter(captured | Q(status=Payment.Status.CREDITED, ended_at__gte=start, ended_at__lt=end))


def _ended(orders: Collection[int]) -> dict[int, str]:
    """What to say of these orders (by key) of which something was given back since."""
    lines = OrderLine.objects.filter(order__in=orders).values("order").order_by()
    counted = lines.annotate(left=Count("pk", filter=Q(cancelled_at=None)), all=Count("pk")).filter(left__lt=F("all"))
    words = {False: _("annulée depuis"), True: _("annulée en partie depuis")}
    return {row["order"]: words[bool(row["left"])] for row in counted}


def _paid(title: str, payments: Sequence[Payment], ended: Mapping[int, str]) -> list[Block]:
    """A table of payments: what came from outside and what came from the wallet are never summed together."""
    if not payments:
        return []
    return [
        table(
            title,
            [_("Date"), _("Commande"), _("Réglé par"), _("Montant")],
            [
                (
                    short_date(timezone.localdate(row.ended_at)),
                    "{} ({})".format(row.order.number, ", ".join(_about(row, ended))),
                    means(row),
                    euros(row.amount),
                )
                for row in payments
            ],
            [_("Total"), "", "", euros(sum((row.amount for row in payments), ZERO))],
            narrow=1,
        )
    ]


def _about(payment: Payment, ended: Mapping[int, str]) -> list[str]:
    if payment.status == Payment.Status.CREDITED:
        return [_("réglée trop tard, porté au porte-monnaie")]
    kind = payment.order.get_kind_display().lower()
    return [kind, ended[payment.order_id]] if payment.order_id in ended else [kind]


def _wallet(user: User, start: dt.datetime, end: dt.datetime) -> tuple[Decimal, Decimal, Sequence[Entry]]:
    """The balance before and after the month, in euros, and what moved it."""
    wallet = Wallet.objects.filter(user=user).first()
    if wallet is None:
        return ZERO, ZERO, []
    rows = Entry.objects.filter(account=wallet.account_id).select_related("movement")
    entries = list(rows.filter(movement__at__gte=start, movement__at__lt=end).order_by("pk"))
    if entries:
        before = (entries[0].balance_after or ZERO) - entries[0].amount
        return before, entries[-1].balance_after or ZERO, entries
    earlier = rows.filter(movement__at__lt=start).order_by("-pk").first()
    balance = (earlier.balance_after if earlier else ZERO) or ZERO
    return balance, balance, []
