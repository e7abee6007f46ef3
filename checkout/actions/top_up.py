"""Putting money into the wallet by card: packs without fee, a custom amount for one cent more (seed 000)."""

from decimal import Decimal

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.actions.payment import ANY_CARD, Card, Started, check_smallest, chosen_provider, start_at_provider
from checkout.models import Order, OrderLine, Payment, Regie
from portal.common.errors import Refused
from portal.common.formats import euros
from portal.common.money import ZERO, round_cents
from wallet import actions as ledger
from wallet.models import TopUpPack


def fee_of(amount: Decimal) -> Decimal:
    """What a deposit of `amount` euros costs besides: nothing for a pack, else the fee that « Régies » sets."""
    return ZERO if _is_pack(amount) else Regie.objects.current().top_up_fee


def out_of_bounds(regie: Regie) -> str:
    """What is said of a custom amount that the régie does not take."""
    return _("Un montant personnalisé va de %(least)s à %(most)s, au centime près. Rien n’a été débité.") % {
        "least": euros(regie.top_up_least),
        "most": euros(regie.top_up_most),
    }


def _is_pack(amount: Decimal) -> bool:
    return TopUpPack.objects.filter(amount=amount, is_active=True).exists()


def start_top_up(*, user: User, amount: Decimal, shown_total: Decimal, card: Card = ANY_CARD) -> Started:
    """Order credits of `amount` euros and start the card payment of them and their fee.

    `shown_total` is what the person saw, in euros. Raises Refused when it would be something else by now, for a custom
    amount outside the régie's bounds, and when no card provider is configured or it does not answer.
    """
    provider = chosen_provider(card)
    if provider is None:
        raise Refused(
            _(
                "Le paiement par carte n’est pas ouvert ici : le porte-monnaie ne peut pas être rechargé. Rien n’a été débité."
            ),
            code="no_card",
        )
    fee = ZERO
    if not _is_pack(amount):
        regie = Regie.objects.current()
        if amount != round_cents(amount) or not regie.top_up_least <= amount <= regie.top_up_most:
            raise Refused(out_of_bounds(regie), code="amount")
        fee = regie.top_up_fee
    if amount + fee != shown_total:
        raise Refused(
            _("Ce dépôt coûte maintenant %(now)s au lieu de %(before)s : vérifiez-le. Rien n’a été débité.")
            % {"now": euros(amount + fee), "before": euros(shown_total)},
            code="changed",
        )
    check_smallest(provider, amount + fee)
    with transaction.atomic():
        ledger.wallet_of(user)
        order = Order.objects.create(user=user, kind=Order.Kind.TOP_UP, total=amount + fee)
        lines = [
            OrderLine(order=order, kind=OrderLine.Kind.CREDIT, label=_("Crédits du porte-monnaie"), unit_price=amount)
        ]
        if fee:
            lines.append(
                OrderLine(
                    order=order, kind=OrderLine.Kind.FEE, label=_("Frais de montant personnalisé"), unit_price=fee
                )
            )
        OrderLine.objects.bulk_create(lines)
        payment = Payment.objects.create(
            order=order,
            provider=provider.slug,
            method=card.method,
            amount=order.total,
            status=Payment.Status.STARTED,
        )
    return Started(order, start_at_provider(payment, user))
