"""Giving a card's money back to the card: decided here, done by the provider after the commit, once.

The money leaves its owner's wallet, where a cancellation has put it a moment before: whatever brought it there, what
goes on to the card is one movement that its owner reads, and comes back by its mirror image if the provider cannot.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.actions.reconciliation import known
from checkout.models import OrderLine, Payment, ProviderEvent, Regie
from checkout.providers import provider as find_provider
from checkout.providers.base import Impossible, RefundFailed, Unreachable
from checkout.refunds.models import FAILED_KEY, LONGEST_REASON, Refund
from families.own_family import of_own_family
from portal.common.db import annotated
from portal.common.errors import Refused, within
from portal.common.formats import euros, of
from portal.common.money import ZERO, MoneyField, round_cents
from portal.outbox.actions import queue_email
from portal.outbox.calls import Later, handles, queue_call
from wallet import actions as ledger
from wallet.models import Movement

logger = logging.getLogger(__name__)

CALL = "checkout.refund"
HOLDS_MONEY = {Payment.Status.CAPTURED, Payment.Status.CREDITED}


@dataclass(frozen=True)
class CardShare:
    """How many euros can go back to the card of one payment."""

    payment: Payment
    amount: Decimal


def left_of(payment: Payment) -> Decimal:
    """The euros of a card payment that have not gone back to the card; zero where its provider pays nothing back."""
    if payment.is_wallet or payment.status not in HOLDS_MONEY or not _pays_back(payment.provider):
        return ZERO
    return payment.amount - (payment.refunds.live().aggregate(sum=Sum("amount"))["sum"] or ZERO)


def _pays_back(slug: str) -> bool:
    try:
        return find_provider(slug).can_refund
    except KeyError:  # no longer used here
        return False


def card_shares(lines: Iterable[OrderLine]) -> Sequence[CardShare]:
    """What cards have paid of these lines and can go back there, by payment; one query.

    The card's part of an order goes back first: whoever paid partly from the wallet gets the card's euros on the card.
    """
    prices: dict[int, Decimal] = {}
    for line in lines:
        prices[line.order_id] = prices.get(line.order_id, ZERO) + line.paid
    cards = Payment.objects.filter(order__in=prices, status=Payment.Status.CAPTURED).exclude(provider=Payment.WALLET)
    live = Sum("refunds__amount", filter=~Q(refunds__status=Refund.Status.FAILED))
    shares = []
    for payment in annotated(cards, back=Coalesce(live, ZERO, output_field=MoneyField())).order_by("pk"):
        if not _pays_back(payment.provider):
            continue
        amount = min(prices[payment.order_id], payment.amount - payment.back)
        if amount > 0:
            shares.append(CardShare(payment, amount))
            prices[payment.order_id] -= amount
    return shares


def back_to(lines: Collection[OrderLine], *, by_family: bool = False) -> dict[str, Decimal]:
    """What a page of cancelling says of the money of these lines, in euros: all, what may go to cards, the rest, and what
    vouchers had paid of the price (`off`).

    A family has the choice of the card only where « Régies » gives it; asked only when a card has paid.
    """
    total = sum((line.paid for line in lines), ZERO)
    on_card = sum((share.amount for share in card_shares(lines)), ZERO)
    if on_card and by_family and not Regie.objects.current().card_refunds:
        on_card = ZERO
    off = sum((line.discount for line in lines), ZERO)
    return {"total": total, "on_card": on_card, "rest": total - on_card, "off": off}


def lock_cards(orders: Collection[int]) -> None:
    """Lock the payments of orders before anything that comes after them in the order of locks."""
    list(Payment.objects.filter(order__in=orders).order_by("pk").select_for_update().values_list("pk"))


@transaction.atomic
def refund_to_card(
    *,
    payment: Payment,
    amount: Decimal,
    reason: str,
    by: User,
    reference: str = "",
    cancellation: int | None = None,
) -> Refund:
    """Send `amount` euros of the payer's wallet back to the card of a payment; the provider is told after the commit.

    `reference` is that of the page that asks (new_refund_reference): sent twice, the second call returns the first's refund, or is refused
    when it asks for another sum. `cancellation` is the movement (by its key in the table) that has just put the money into the
    wallet: one note tells of both.
    Raises Refused without a reason, for more than the card gave (less what it has back), where the provider pays nothing
    back, when the wallet holds too little, and to who would send it to their own family without a cancellation that had the
    right to. Then nothing has changed.
    """
    reason = within(reason, LONGEST_REASON)
    if not reason:
        raise Refused(_("Écrivez le motif : la personne le lira dans ses mouvements."), code="reason_missing")
    locked = Payment.objects.select_related("order__user").select_for_update(of=("self",)).get(pk=payment.pk)
    if cancellation is None:
        check_not_own(locked, by)
    if made := Refund.objects.filter(reference=reference).first():
        if (made.payment_id, made.amount) == (locked.pk, amount):
            return made
        raise Refused(
            _(
                "Cette page a déjà rendu %s à la carte. Ouvrez-la de nouveau pour rendre une autre somme. Rien n’a changé."
            )
            % euros(made.amount),
            code="sent",
        )
    most = left_of(locked)
    if amount != round_cents(amount) or not ZERO < amount <= most:
        raise Refused(
            _(
                "Ce règlement peut rendre %s au plus à la carte. Rien n’a été remboursé, le porte-monnaie n’a pas changé."
            )
            % euros(most),
            code="too_much",
        )
    payer = locked.order.user
    refund = Refund(payment=locked, amount=amount, reason=reason, by=by, cancellation_id=cancellation)
    refund.reference = reference or refund.reference
    try:
        refund.movement_id = ledger.post(
            kind=Movement.Kind.REFUND,
            key=f"refund:{refund.reference}",
            label=_("Rendu à la carte, commande %(number)s : %(reason)s")
            % {"number": locked.order.number, "reason": refund.reason},
            amounts={ledger.wallet_code(payer): -amount, ledger.refunding_code(locked.provider): amount},
            by=by,
        )
    except Refused as refusal:
        if by == payer or refusal.code != "wallet_is_not_overdrawn":
            raise
        raise Refused(
            _("Le porte-monnaie %s ne contient pas assez\u00a0: il a servi depuis. Rien n’a été rendu.")
            % of(str(payer)),
            code=refusal.code,
        ) from refusal
    refund.save(force_insert=True)
    queue_call(key=f"refund:{refund.reference}", name=CALL, payload={"refund": refund.pk})
    return refund


def check_not_own(payment: Payment, by: User) -> None:
    """Raises Refused when a person would decide on a payment of their own family: whose account paid, whose dates it pays.

    Of the other parent too, whose credits pay the same child's dates. PostgreSQL asks the same (checkout_own_payment).
    """
    theirs = of_own_family(
        by,
        accounts=["order__user"],
        beneficiaries=["order__lines__booking__beneficiary", "order__lines__ticket__beneficiary"],
    )
    if Payment.objects.filter(theirs, pk=payment.pk).exists():
        raise Refused(
            _("Ce règlement est de votre famille\u00a0: une autre personne du service en décide. Rien n’a changé."),
            code="own_family",
        )


@handles(CALL)
@transaction.atomic
def make(*, refund: int) -> None:
    """Ask the provider to pay back; twice is once, by the refund's reference. Raises Later when it does not answer.

    Raises Later, too, while another worker is at it: a provider that has no keys of its own (Paybox) is asked first
    whether it is done, and two who ask at the same moment would both be told no.
    """
    rows = Refund.objects.select_related("payment__order__user").select_for_update(of=("self",), skip_locked=True)
    row = rows.filter(pk=refund).first()
    if row is None:
        raise Later("another worker is at it")
    if row.status != Refund.Status.REQUESTED:
        return
    try:
        reference = find_provider(row.payment.provider).refund(
            known=known(row.payment), amount=row.amount, key=row.reference
        )
    except Unreachable as error:
        raise Later(str(error)) from error
    except KeyError as error:
        # It is no longer used here; an earlier try whose answer was lost may have paid: for an operator to find out.
        raise Later(f"the provider {row.payment.provider} is not used here any more") from error
    except Impossible as error:
        logger.error("Refund %s is impossible: %s", row.reference, error)
        back_to_wallet(refund=row, note=str(error))
        return
    _finish(row, reference)


@transaction.atomic
def _finish(row: Refund, provider_reference: str) -> None:
    locked = Refund.objects.select_for_update().get(pk=row.pk)
    if locked.status != Refund.Status.REQUESTED:
        return
    ledger.post(
        kind=Movement.Kind.REFUND,
        key=f"refund:{locked.reference}:done",
        label=_("Remboursement sur carte de la commande %s, fait") % row.payment.order.number,
        amounts={
            ledger.refunding_code(row.payment.provider): -locked.amount,
            ledger.clearing_code(row.payment.provider): locked.amount,
        },
        by=None,
    )
    locked.status, locked.ended_at = Refund.Status.DONE, timezone.now()
    locked.provider_reference = provider_reference[:80]
    locked.save(update_fields=["status", "ended_at", "provider_reference"])


@transaction.atomic
def back_to_wallet(*, refund: Refund, note: str, by: User | None = None, seen: str | None = None) -> None:
    """End a refund that never reaches the card: its euros are in the wallet again, and their owner is told.

    Also one that was done, when the bank has sent it back: then the provider holds its euros again. `seen` is the status
    that a person decided upon. Raises Refused when it has failed before, when it is another by now (what the provider has done
    while a page stood open is not to be paid a second time), and to who would say so of their own family's money.
    """
    if by is not None:
        check_not_own(refund.payment, by)
    locked = Refund.objects.select_for_update().get(pk=refund.pk)
    if locked.status == Refund.Status.FAILED:
        raise Refused(_("Ce remboursement est déjà dans le porte-monnaie. Rien n’a été changé."), code="ended")
    if seen is not None and seen != locked.status:
        raise Refused(
            _(
                "Entre-temps, le prestataire a rendu la somme à la carte : la personne a son argent. Rien n’a été changé."
            ),
            code="done_meanwhile",
        )
    payment = refund.payment
    payer = payment.order.user
    was_done = locked.status == Refund.Status.DONE
    source = ledger.clearing_code(payment.provider) if was_done else ledger.refunding_code(payment.provider)
    ledger.post(
        kind=Movement.Kind.REFUND,
        key=FAILED_KEY % locked.reference,
        label=_("Remboursement sur carte impossible, commande %s") % payment.order.number,
        amounts={source: -locked.amount, ledger.wallet_code(payer): locked.amount},
        by=by,
    )
    locked.status, locked.ended_at, locked.note = Refund.Status.FAILED, timezone.now(), note[:200]
    locked.save(update_fields=["status", "ended_at", "note"])
    queue_email(
        key=FAILED_KEY % locked.reference,
        to=payer.email,
        template="refund_failed",
        context={"user": payer, "refund": locked, "order": payment.order},
    )


def apply_failure(*, failure: RefundFailed, provider: str, event: ProviderEvent) -> Payment | None:
    """Apply a provider's verified word that a refund has failed, once; returns its payment, None when it is not ours."""
    row = Refund.objects.filter(reference=failure.key, payment__provider=provider)
    refund = row.select_related("payment__order__user").first()
    if refund is None:
        event.outcome, event.note = ProviderEvent.Outcome.REJECTED, "unknown refund"
        event.save(update_fields=["outcome", "note"])
        return None
    # Before it is applied: whose it is, and what it says, stays known where that fails (checkout.overdue).
    event.payment, event.stated = refund.payment, ProviderEvent.REFUND_FAILED
    event.save(update_fields=["payment", "stated"])
    with transaction.atomic():
        try:
            back_to_wallet(refund=refund, note=failure.reason)
            event.outcome = ProviderEvent.Outcome.APPLIED
        except Refused:
            event.outcome = ProviderEvent.Outcome.REPEATED
        event.save(update_fields=["outcome"])
    return event.payment
