"""From the cart to a payment: the steps' answers, the frozen order, the wallet's part and the provider's start."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Address, Terms, User
from bookings import actions as bookings
from bookings.models import Booking
from checkout.actions.cart import extend, retake
from checkout.actions.completion import complete, end_payment
from checkout.models import Cart, CartLine, Order, OrderLine, Payment
from checkout.providers import base, default_provider
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import euros
from portal.common.money import ZERO
from wallet import actions as ledger
from wallet.models import Movement


class Means(enum.StrEnum):
    """How the person chose to pay."""

    WALLET = "wallet"
    CARD = "card"
    BOTH = "both"


@dataclass(frozen=True)
class Started:
    """The order, and where to send the browser when a provider must be asked (empty when all is paid)."""

    order: Order
    redirect: str = ""


def choose_address(*, user: User, address: Address) -> None:
    """Step 03: the address that the order will carry."""
    if address.user_id != user.pk:
        raise Refused(_("Cette adresse n’est pas la vôtre."), code="not_yours")
    Cart.objects.live().filter(user=user, status=Cart.Status.OPEN).update(address=address)


def accept_sale_terms(*, user: User, terms: Terms) -> None:
    """Step 04: the person accepts this version of the conditions of sale for this order."""
    Cart.objects.live().filter(user=user, status=Cart.Status.OPEN).update(terms=terms)


@retry_on_deadlock
def pay(*, user: User, cart_id: int, means: Means, shown_total: Decimal) -> Started:
    """Step 05: order the cart and pay it, with the wallet at once or by sending the browser to the card's provider.

    Pressing twice orders once: the second call finds the cart ordered and returns the same order. `shown_total` is
    what the person saw, in euros; when the cart is worth something else by now (another tab), nothing is ordered.
    Raises Refused with a sentence in each case where it cannot be done; nothing is debited then.
    """
    with refusing({name: str(text) for name, text in bookings.SENTENCES.items()}):
        cart = (
            Cart.objects.filter(user=user, pk=cart_id)
            .select_related("hold", "address", "terms")
            .select_for_update(of=("self",))
            .first()
        )
        if cart is None:
            raise Refused(_("Ce panier n’existe pas."), code="no_cart")
        order = Order.objects.filter(cart=cart).exclude(status=Order.Status.CANCELLED).select_for_update().first()
        if order is None:
            order, lines = _place_order(user, cart, shown_total)
        elif order.status == Order.Status.PAID:
            return Started(order)
        else:
            lines = None
            _end_running(order)
        payment = _start(order, user, means, lines)
        if payment is None:
            return Started(order)
        extend(cart)
        Cart.objects.filter(pk=cart.pk).update(status=Cart.Status.PAYING)
    return Started(order, start_at_provider(payment, user))


def start_at_provider(payment: Payment, user: User) -> str:
    """Announce a committed payment to its provider; returns where to send the browser. Raises Refused when it is down."""
    provider = default_provider()
    assert provider is not None
    try:
        return provider.start(
            base.Request(
                reference=payment.reference,
                amount=payment.amount,
                label=_("Commande %s") % payment.order.number,
                email=user.email,
                return_url=settings.SITE_URL + reverse("payment_return", args=[provider.slug]),
                notify_url=settings.SITE_URL + reverse("payment_notification", args=[provider.slug]),
            )
        )
    except base.Unreachable as error:
        end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
        raise Refused(
            _("Le service de paiement par carte ne répond pas. Rien n’a été débité ; vos places restent gardées."),
            code="provider_down",
        ) from error


def abandon_order(*, user: User, order: Order) -> None:
    """Give up paying: the order ends, its wallet part comes back, and the cart is open again as it was.

    A card payment that the bank still confirms later goes to the wallet, and its owner is told.
    """
    with refusing({}):
        cart = Cart.objects.select_for_update().filter(user=user, orders=order).first()
        locked = Order.objects.select_for_update().get(pk=order.pk, user=user)
        if locked.status != Order.Status.PENDING:
            return
        _end_running(locked)
        Order.objects.filter(pk=locked.pk).update(status=Order.Status.CANCELLED, cancelled_at=timezone.now())
        if cart is not None:
            Cart.objects.filter(pk=cart.pk).update(status=Cart.Status.OPEN)


def _end_running(order: Order) -> None:
    """Before another try: what an earlier one left open ends, its wallet part comes back."""
    for payment in order.payments.filter(status__in=[Payment.Status.STARTED, Payment.Status.RESERVED]):
        end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)


def _place_order(user: User, cart: Cart, shown_total: Decimal) -> tuple[Order, Sequence[OrderLine]]:
    """Freeze the open cart into an order and its lines, its places held. Runs under the cart's lock."""
    lines = _order_lines(cart)
    if not lines:
        raise Refused(_("Votre panier est vide."), code="empty")
    if any(line.booking.status != Booking.Status.HELD for line in lines):  # type: ignore[union-attr]
        sentence = retake(cart)
        if sentence:
            # Raising would undo the retake; the caller shows the cart again, where the person decides anew.
            raise Refused(
                _("Des places de votre panier ont expiré et ne sont plus libres : vérifiez votre panier."),
                _("Rien n’a été débité."),
                code="expired",
            )
        lines = _order_lines(cart)
    total = sum((line.unit_price for line in lines), ZERO)
    if total != shown_total:
        raise Refused(
            _(
                "Votre panier a changé : il vaut maintenant %(now)s au lieu de %(before)s. Vérifiez-le avant de payer ; rien n’a été débité."
            )
            % {"now": euros(total), "before": euros(shown_total)},
            code="changed",
        )
    if cart.address is None:
        raise Refused(_("Choisissez d’abord une adresse."), code="no_address")
    if cart.terms is None:
        raise Refused(_("Acceptez d’abord les conditions générales de vente."), code="no_terms")
    order = Order.objects.create(user=user, cart=cart, total=total, billing_address=str(cart.address), terms=cart.terms)
    for line in lines:
        line.order = order
    OrderLine.objects.bulk_create(lines)
    return order, lines


def _order_lines(cart: Cart) -> Sequence[OrderLine]:
    rows = (
        CartLine.objects.filter(cart=cart)
        .select_related("booking__beneficiary", "booking__slot", "booking__open_day__activity__service")
        .order_by("booking__open_day__date", "pk")
    )
    return [
        OrderLine(
            booking=row.booking,
            commune_id=row.booking.open_day.activity.service.commune_id,
            label=row.booking.open_day.activity.name,
            detail=row.booking.slot.name,
            beneficiary_name=str(row.booking.beneficiary),
            date=row.booking.open_day.date,
            unit_price=row.unit_price,
        )
        for row in rows
    ]


def _start(order: Order, user: User, means: Means, lines: Sequence[OrderLine] | None) -> Payment | None:
    """Open the payments of a pending order; returns the card's, or None when the order is paid."""
    if order.total == ZERO:
        complete(order, card=None, lines=lines)
        return None
    from_wallet = _wallet_part(order, user, means)
    from_card = order.total - from_wallet
    if not from_card:
        complete(order, card=None, lines=lines)
        return None
    provider = default_provider()
    if provider is None:
        raise Refused(
            _("Le paiement par carte n’est pas proposé : rechargez votre porte-monnaie en mairie."), code="no_card"
        )
    if from_wallet:
        _reserve(order, user, from_wallet)
    return Payment.objects.create(order=order, provider=provider.slug, amount=from_card, status=Payment.Status.STARTED)


def _wallet_part(order: Order, user: User, means: Means) -> Decimal:
    """How many euros of the order the wallet pays."""
    if means == Means.CARD:
        return ZERO
    balance = ledger.wallet_of(user).balance
    if means == Means.WALLET:
        if balance < order.total:
            raise Refused(
                _("Votre porte-monnaie contient %(balance)s, il faut %(total)s. Rien n’a été débité.")
                % {"balance": euros(balance), "total": euros(order.total)},
                code="wallet_is_not_overdrawn",
            )
        return order.total
    return min(balance, order.total)


def _reserve(order: Order, user: User, amount: Decimal) -> None:
    """Set the wallet's part aside: captured with the card, given back if the card fails (law 4)."""
    payment = Payment.objects.create(
        order=order, provider=Payment.WALLET, amount=amount, status=Payment.Status.RESERVED
    )
    ledger.post(
        kind=Movement.Kind.RESERVE,
        key=f"payment:{payment.reference}:reserve",
        label=_("Part réservée pour la commande %s") % order.number,
        amounts={ledger.wallet_code(user): -amount, ledger.RESERVED: amount},
        by=user,
    )
