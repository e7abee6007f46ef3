"""The papers of one order: its receipt, and a note for each movement that gave money of it back."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.papers.actions import cancel, issue, live
from checkout.papers.content import Block, Content, facts, means, price_times, table, text, total
from checkout.papers.models import Document, Kind
from checkout.summary import Group, Share, order_groups
from checkout.vouchers.reading import reductions_taken
from portal.common.formats import euros, long_date
from portal.common.money import ZERO
from wallet.models import Account, Entry, Movement

# Where money of a cancellation goes; what was refused at the payment itself stands on the receipt.
BACK_TO = (Account.Kind.WALLET, Account.Kind.REFUNDING, Account.Kind.CLEARING, Account.Kind.TILL)


def receipt_of(order: Order) -> Document | None:
    """The receipt that stands for this order."""
    return live(Kind.RECEIPT, order.user, f"order:{order.pk}")


def issue_receipt(*, order: Order, by: User | None = None) -> Document:
    """The receipt of a paid order, issued when there is none. Raises ValueError for an order that is not paid."""
    if order.paid_at is None:
        raise ValueError(f"order {order.pk} is not paid")
    return receipt_of(order) or issue(content=_receipt(order), by=by)


def issue_refund_note(*, movement: Movement, by: User | None = None) -> Document | None:
    """The note of a movement that gave money of orders back, issued when there is none.

    None for a movement that gave nothing back to anybody, and for a refund to a card that its provider has not made.
    """
    if movement.kind == Movement.Kind.REFUND:
        return _card_note(movement, by)
    lines = list(OrderLine.objects.filter(refund=movement).select_related("order__user").order_by("date", "pk"))
    if not lines or movement.kind != Movement.Kind.CANCELLATION:
        return None
    user = lines[0].order.user
    return live(Kind.REFUND, user, f"movement:{movement.pk}") or issue(
        content=_refund_note(movement, lines, user), by=by
    )


def card_refunds_without_note() -> QuerySet[Refund]:
    """Refunds that a card has and that no note tells of."""
    notes = Document.objects.filter(kind=Kind.REFUND, movement=OuterRef("movement"))
    return Refund.objects.filter(~Exists(notes), status=Refund.Status.DONE)


def card_refunds_with_wrong_note() -> QuerySet[Refund]:
    """Refunds that a bank has sent back and that a note still tells of."""
    notes = Document.objects.live().filter(kind=Kind.REFUND, movement=OuterRef("movement"))
    return Refund.objects.filter(Exists(notes), status=Refund.Status.FAILED)


def end_card_note(*, refund: Refund) -> Document | None:
    """The paper that ends the note of a refund that the card never had; None when no note stands."""
    note = live(Kind.REFUND, refund.payment.order.user, f"movement:{refund.movement_id}")
    return cancel(document=note, reason=_("Renvoyé par la banque : %s") % refund.note, by=None) if note else None


def _card_note(movement: Movement, by: User | None) -> Document | None:
    refund = (
        Refund.objects.filter(movement=movement, status=Refund.Status.DONE)
        .select_related("payment__order__user")
        .first()
    )
    if refund is None or refund.ended_at is None:
        return None
    order = refund.payment.order
    content = Content(
        kind=Kind.REFUND,
        user=order.user,
        subject=f"movement:{movement.pk}",
        amount=refund.amount,
        title=_("Note de remboursement"),
        subtitle=_("Sur la carte qui a payé"),
        blocks=[
            facts(
                [
                    (_("Commande"), order.number),
                    (_("Payée par"), means(refund.payment)),
                    (_("Motif"), refund.reason),
                    (_("Demandé le"), long_date(timezone.localdate(refund.created_at))),
                    (_("Fait par le prestataire le"), long_date(timezone.localdate(refund.ended_at))),
                    (_("Référence chez le prestataire"), refund.provider_reference),
                ]
            ),
            total(_("Somme rendue sur la carte"), refund.amount),
            text(_("Cette somme, rendue d’abord au porte-monnaie, en est sortie pour revenir sur la carte.")),
        ],
        address=order.billing_address,
        links={"movement": movement},
    )
    return live(Kind.REFUND, order.user, content.subject) or issue(content=content, by=by)


def _receipt(order: Order) -> Content:
    assert order.paid_at is not None
    lines = list(order.lines.order_by("date", "pk"))
    lost = [line for line in lines if line.cancelled_at and line.cancelled_at == order.paid_at]
    payments = list(order.payments.filter(status=Payment.Status.CAPTURED).order_by("pk"))
    paid_on = long_date(timezone.localdate(order.paid_at))
    blocks: list[Block] = [
        facts(
            [
                (_("Commande"), order.number),
                (_("Passée le"), long_date(timezone.localdate(order.created_at))),
                (_("Payée le"), paid_on),
                (_("Référence"), order.reference),
            ]
        ),
        lines_table(_("Ce qui est payé"), lines, sum((line.unit_price for line in lines), ZERO)),
        *_reductions(order, lines),
        total(_("Total payé"), order.total),
        table(
            _("Règlements"),
            [_("Moyen"), _("Date"), _("Montant")],
            [(means(payment), paid_on, euros(payment.amount)) for payment in payments],
        )
        if payments
        else text(_("Aucun : rien n’était à payer."), title=_("Règlements")),
    ]
    if lost:
        price = sum((line.unit_price for line in lost), ZERO)
        blocks.append(lines_table(_("Places qui n’étaient plus libres, rendues au porte-monnaie"), lost, price))
        back = sum((line.paid for line in lost), ZERO)
        off = euros(price - back) if back != price else ""
        blocks.append(
            facts(
                [
                    (_("Dont payé par un bon de réduction, non rendu"), off),
                    (_("Rendu au porte-monnaie"), euros(back)),
                ]
            )
        )
    return Content(
        kind=Kind.RECEIPT,
        user=order.user,
        subject=f"order:{order.pk}",
        amount=order.total,
        title=_("Reçu"),
        subtitle=_("Dépôt de fonds") if order.kind == Order.Kind.TOP_UP else "",
        blocks=blocks,
        address=order.billing_address,
        links={"order": order},
    )


def _reductions(order: Order, lines: Iterable[OrderLine]) -> list[Block]:
    """What vouchers took off the order."""
    if not any(line.discount for line in lines):
        return []
    taken = reductions_taken(order.pk)
    return [
        facts(
            [(f"{_('Bon')} {row.voucher.code} ({row.voucher.label})", euros(-row.amount)) for row in taken],
            _("Bons de réduction"),
        )
    ]


def _refund_note(movement: Movement, lines: Sequence[OrderLine], user: User) -> Content:
    to = {
        row["account__kind"]: row["sum"]
        for row in Entry.objects.filter(movement=movement, amount__gt=0, account__kind__in=BACK_TO)
        .values("account__kind")
        .annotate(sum=Sum("amount"))
    }
    back = sum(to.values(), ZERO)
    orders = dict.fromkeys(line.order.number for line in lines)
    where = {Account.Kind.WALLET: _("porte-monnaie"), Account.Kind.TILL: _("guichet")}
    blocks = [
        facts(
            [
                (_("Date"), long_date(timezone.localdate(movement.at))),
                (_("Objet"), movement.label),
                (_("Commande") if len(orders) == 1 else _("Commandes"), ", ".join(orders)),
            ]
        ),
        lines_table(_("Ce qui est rendu"), lines, sum((line.unit_price for line in lines), ZERO)),
    ]
    borne = sum((line.unit_price for line in lines), ZERO) - back
    if borne:
        blocks.append(facts([(_("Dont payé par un bon de réduction, non rendu"), euros(borne))]))
    blocks.append(total(_("Somme rendue"), back))
    blocks.append(
        facts(
            (_("Rendu sur") + " " + where.get(Account.Kind(kind), _("la carte qui a payé")), euros(amount))
            for kind, amount in to.items()
        )
    )
    return Content(
        kind=Kind.REFUND,
        user=user,
        subject=f"movement:{movement.pk}",
        amount=back,
        title=_("Note de remboursement"),
        blocks=blocks,
        address=lines[0].order.billing_address,
        links={"movement": movement},
    )


def lines_table(title: str, lines: Iterable[OrderLine], sum_of: Decimal) -> Block:
    """Lines as the order's page shows them: product, who and when, quantity × price, total."""
    return table(
        title,
        [_("Produit"), _("Pour qui, quand"), _("Quantité"), _("Total")],
        [
            (
                ", ".join(part for part in (group.label, group.detail) if part),
                "\n".join(_when(group)),
                price_times(group.quantity, group.unit_price),
                euros(group.total),
            )
            for group in order_groups(lines)
        ],
        [_("Total"), "", "", euros(sum_of)],
        numbers=2,
    )


def _when(group: Group) -> Iterable[str]:
    for share in group.shared():
        yield f"{share.names} : {_dates(share)}"
    for names, note, _count in group.shared_tickets():
        yield f"{names} : {note}"


def _dates(share: Share) -> str:
    if not share.is_long:
        return share.text
    return share.headline + " (" + " ; ".join(f"{name} : {days}" for name, days in share.months) + ")"
