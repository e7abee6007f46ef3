"""The papers of one order: its receipt, and a note for each movement that gave money of it back."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.papers.actions import cancel, issue, live
from checkout.papers.content import Block, Content, facts, means, price_times, table, text, total
from checkout.papers.models import LONGEST_REASON, Document, Kind
from checkout.summary import Group, Share, order_groups
from checkout.vouchers.models import VoucherUse
from checkout.vouchers.reading import uses_of
from checkout.vouchers.words import Fates
from portal.common.formats import euros, long_date, shortened
from portal.common.money import ZERO
from wallet.models import Account, Entry, Movement


def receipt_of(order: Order) -> Document | None:
    """The receipt that stands for this order."""
    return live(Kind.RECEIPT, order.user, f"order:{order.pk}")


def issue_receipt(*, order: Order, by: User | None = None) -> Document:
    """The receipt of a paid order, issued when there is none. Raises ValueError for an order that is not paid."""
    if order.paid_at is None:
        raise ValueError(f"order {order.pk} is not paid")
    return receipt_of(order) or issue(content=_receipt(order), by=by)


@transaction.atomic
def issue_refund_note(*, movement: Movement, by: User | None = None) -> Document | None:
    """The note of a movement that gave money of orders back, issued when there is none.

    A cancellation has one note, which says what of it is on a card and what in the wallet. None for a movement that gave
    nothing back to anybody (what vouchers had paid in full), and as long as a provider has not said what became of its refund to a card.
    """
    if movement.kind == Movement.Kind.REFUND:
        return _card_note(movement, by)
    rows = OrderLine.objects.filter(refund=movement).with_places().select_related("order__user")
    lines = list(rows.order_by("date", "pk"))
    if not any(line.paid for line in lines) or movement.kind != Movement.Kind.CANCELLATION:
        return None
    user = lines[0].order.user
    if standing := live(Kind.REFUND, user, f"movement:{movement.pk}"):
        return standing
    # Their lock: what a bank sends back while this is printed comes after it, and ends it.
    cards = Refund.objects.filter(cancellation=movement).select_related("payment").select_for_update(of=("self",))
    found = list(cards.order_by("pk"))
    if any(refund.status == Refund.Status.REQUESTED for refund in found):
        return None
    return issue(content=_refund_note(movement, lines, user, found), by=by)


def cancellations_without_note() -> QuerySet[Movement]:
    """Cancellations that gave something back, of which nothing is on its way to a card, and that no note tells of."""
    notes = Document.objects.filter(movement=OuterRef("pk"))
    gave_back = OrderLine.objects.filter(unit_price__gt=F("discount"), cancelled_at__gt=F("order__paid_at"))
    lines = gave_back.filter(refund=OuterRef("pk"))
    running = Refund.objects.filter(cancellation=OuterRef("pk"), status=Refund.Status.REQUESTED)
    return Movement.objects.filter(~Exists(notes), Exists(lines), ~Exists(running), kind=Movement.Kind.CANCELLATION)


def card_refunds_without_note() -> QuerySet[Refund]:
    """Refunds by hand that a card has and that no note tells of."""
    notes = Document.objects.filter(kind=Kind.REFUND, movement=OuterRef("movement"))
    return Refund.objects.filter(~Exists(notes), status=Refund.Status.DONE, cancellation=None)


def card_refunds_with_wrong_note() -> QuerySet[Refund]:
    """Refunds that a bank has sent back and that a note still says to be on the card."""
    notes = Document.objects.live().filter(kind=Kind.REFUND)
    own = notes.filter(movement=OuterRef("movement"))
    # A note that came after the bank's word says so.
    shared = notes.filter(movement=OuterRef("cancellation"), issued_at__lt=OuterRef("ended_at"))
    return Refund.objects.filter(Exists(own) | Exists(shared), status=Refund.Status.FAILED)


@transaction.atomic
def end_card_note(*, refund: Refund) -> Document | None:
    """End the note of a refund that the card never had; returns the last paper of it, None when no such note stands.

    The money of a cancellation was given back all the same: its note comes anew, and says that it is in the wallet.
    """
    user = refund.payment.order.user
    movement = refund.cancellation or refund.movement
    note = live(Kind.REFUND, user, f"movement:{movement.pk}")
    if note is None or (refund.cancellation and refund.ended_at and note.issued_at >= refund.ended_at):
        return None
    reason = shortened(_("Renvoyé par la banque : %s") % refund.note, LONGEST_REASON)
    ending = cancel(document=note, reason=reason, by=None)
    return issue_refund_note(movement=movement) if refund.cancellation else ending


def _card_note(movement: Movement, by: User | None) -> Document | None:
    """The note of a refund by hand; of one that a cancellation has sent, the cancellation's."""
    refund = Refund.objects.filter(movement=movement).select_related("payment__order__user", "cancellation").first()
    if refund is not None and refund.cancellation is not None:
        return issue_refund_note(movement=refund.cancellation, by=by)
    if refund is None or refund.status != Refund.Status.DONE:
        return None
    order = refund.payment.order
    content = Content(
        kind=Kind.REFUND,
        user=order.user,
        subject=f"movement:{movement.pk}",
        amount=refund.amount,
        title=_("Note de remboursement"),
        subtitle=_("Crédits du porte-monnaie, sur la carte qui a payé"),
        blocks=[
            facts(
                [
                    (_("Commande"), order.number),
                    (_("Motif"), refund.reason),
                    (_("Demandé le"), long_date(timezone.localdate(refund.created_at))),
                    *_by_provider(refund),
                ]
            ),
            total(_("Somme rendue sur la carte"), refund.amount),
            text(
                _(
                    "Cette somme est sortie du porte-monnaie pour revenir sur la carte. Elle ne s’ajoute pas à ce qui avait été rendu au "
                    "porte-monnaie."
                )
            ),
        ],
        address=order.billing_address,
        links={"movement": movement},
    )
    return live(Kind.REFUND, order.user, content.subject) or issue(content=content, by=by)


def _by_provider(refund: Refund) -> list[tuple[str, str]]:
    """Which card has it, since when, and under which reference, for whoever asks their bank."""
    return [
        (_("Payée par"), means(refund.payment)),
        (
            _("Fait par le prestataire le"),
            long_date(timezone.localdate(refund.ended_at)) if refund.ended_at else "",
        ),
        (_("Référence chez le prestataire"), refund.provider_reference),
    ]


def _receipt(order: Order) -> Content:
    assert order.paid_at is not None
    lines = list(OrderLine.objects.filter(order=order).with_places().order_by("date", "pk"))
    lost = [line for line in lines if line.cancelled_at and line.cancelled_at == order.paid_at]
    sold = [line for line in lines if line not in lost]
    uses = uses_of(order.pk) if any(line.discount for line in lines) else []
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
        lines_table(_("Ce qui est payé"), sold, sum((line.unit_price for line in lines), ZERO), gone=lost),
        *_reductions(uses),
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
        title = ngettext(
            "Place qui n’était plus libre, rendue au porte-monnaie",
            "Places qui n’étaient plus libres, rendues au porte-monnaie",
            len(lost),
        )
        blocks.append(lines_table(title, lost, price))
        back = sum((line.paid for line in lost), ZERO)
        blocks += _borne(price - back, uses)
        blocks.append(facts([(_("Rendu au porte-monnaie"), euros(back))]))
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


def _reductions(uses: Sequence[VoucherUse]) -> list[Block]:
    """What vouchers took off the order."""
    rows = [(f"{_('Bon')} {use.voucher.code} ({use.voucher.label})", euros(-use.amount)) for use in uses]
    return [facts(rows, _("Bons de réduction"))] if rows else []


def _borne(off: Decimal, uses: Sequence[VoucherUse]) -> list[Block]:
    """The euros that vouchers had paid of what is given back, and what became of these vouchers."""
    if not off:
        return []
    fates = Fates.of(uses).afterwards
    said = facts([(_("Dont payé par un bon de réduction, qui n’est pas rendu en argent"), euros(off))])
    return [said, *([text(fates)] if fates else [])]


def _refund_note(movement: Movement, lines: Sequence[OrderLine], user: User, cards: Sequence[Refund]) -> Content:
    given = Entry.objects.filter(movement=movement, account__kind=Account.Kind.WALLET).aggregate(sum=Sum("amount"))
    back = given["sum"] or ZERO
    done = [refund for refund in cards if refund.status == Refund.Status.DONE]
    on_cards = sum((refund.amount for refund in done), ZERO)
    orders = dict.fromkeys(line.order.number for line in lines)
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
    blocks += _borne(borne, uses_of(*{line.order_id for line in lines}) if borne else [])
    blocks.append(total(_("Somme rendue"), back))
    in_wallet = back - on_cards
    blocks.append(
        facts(
            [
                (_("Rendu sur la carte qui a payé"), euros(on_cards) if on_cards else ""),
                (_("Rendu sur le porte-monnaie"), euros(in_wallet) if in_wallet or not on_cards else ""),
            ]
        )
    )
    for refund in done:
        sum_of = [(_("Somme"), euros(refund.amount))] if len(done) > 1 else []
        blocks.append(facts([*sum_of, *_by_provider(refund)], _("Sur la carte")))
    blocks += [text(_failed(refund)) for refund in cards if refund.status == Refund.Status.FAILED]
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


def _failed(refund: Refund) -> str:
    since = long_date(timezone.localdate(refund.ended_at)) if refund.ended_at else ""
    return _(
        "La somme de %(sum)s devait revenir sur la carte, qui n’a pas pu la recevoir\u00a0: elle est dans le porte-monnaie depuis "
        "le %(since)s."
    ) % {"sum": euros(refund.amount), "since": since}


def lines_table(title: str, lines: Iterable[OrderLine], sum_of: Decimal, *, gone: Collection[OrderLine] = ()) -> Block:
    """Lines as the order's page shows them: product, who and when, quantity × price, total; marked, those of what was gone."""
    return table(
        title,
        [_("Produit"), _("Pour qui, quand"), _("Quantité"), _("Total")],
        [
            (
                "\n".join(
                    filter(
                        None,
                        (
                            ", ".join(filter(None, (group.label, group.detail))),
                            group.place,
                            _("(plus libre, voir plus bas)") if group.is_gone else "",
                        ),
                    )
                ),
                "\n".join(_when(group)),
                price_times(group.quantity, group.unit_price),
                euros(group.total),
            )
            for group in order_groups(lines, gone=gone)
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
    return share.headline + " (" + " ; ".join(f"{name.lower()} : {days}" for name, days in share.months) + ")"
