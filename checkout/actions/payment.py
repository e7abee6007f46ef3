"""From the cart to a payment: the steps' answers, the frozen order, the wallet's part and the provider's start."""

import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Prefetch
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Address, Terms, User
from bookings.models import Booking, Ticket
from bookings.tickets import actions as tickets
from bookings.tickets.words import note
from checkout.actions.cart import SENTENCES, being_paid, retake, retake_items
from checkout.actions.completion import complete, end_payment, end_running, expired
from checkout.actions.keeping import is_over, keep, keep_for_the_bank
from checkout.actions.payer import payer_of
from checkout.actions.reconciliation import ask_about
from checkout.models import Cart, CartLine, Order, OrderLine, Payment
from checkout.providers import base, default_provider
from checkout.providers import provider as find_provider
from checkout.vouchers import settling
from checkout.vouchers.rules import Reduction
from checkout.vouchers.words import OVERUSED
from families.models import Beneficiary
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import day, enumeration, euros
from portal.common.money import ZERO
from services.models import Subscription
from wallet import actions as ledger
from wallet.models import Movement

logger = logging.getLogger(__name__)


class Means(enum.StrEnum):
    """How the person chose to pay: from the wallet, by a card, or the wallet first and the card for the rest."""

    WALLET = "wallet"
    CARD = "card"
    BOTH = "both"


# A waiting order that can no longer be paid as it is ends: its cart is open again, and shows what to change.
REOPEN = {"expired", "closed", "not_yours", "no_access"}


@dataclass(frozen=True)
class Card:
    """The provider that was chosen, and the kind of card where it asks for one; by default the first that is offered."""

    provider: str = ""
    method: str = ""


ANY_CARD = Card()


@dataclass(frozen=True)
class Started:
    """The order, and where the browser goes when a provider must be asked (None when all is paid).

    `was_paid`: it turned out to be paid already, by an earlier press or at the bank, and nothing was taken now.
    """

    order: Order
    departure: base.Departure | None = None
    was_paid: bool = False


def choose_address(*, user: User, address: Address) -> None:
    """Step 03: the address that the order will carry. Raises Refused once there is an order: it keeps what it was placed with."""
    if address.user_id != user.pk:
        raise Refused(_("Cette adresse n’est pas la vôtre."), code="not_yours")
    _answer(user, address=address)


def accept_sale_terms(*, user: User, terms: Terms) -> None:
    """Step 04: the person accepts this version of the conditions of sale for this order. Raises Refused once it is placed."""
    _answer(user, terms=terms)


def _answer(user: User, **answer: Address | Terms) -> None:
    if not Cart.objects.live().filter(user=user, status=Cart.Status.OPEN).update(**answer):
        raise Refused(being_paid(), code="being_paid")


def pay(*, user: User, cart_id: int, means: Means, shown_total: Decimal, card: Card = ANY_CARD) -> Started:
    """Step 05: order the cart and pay it, with the wallet at once or by sending the browser to the card's provider.

    Pressing twice orders once: the second call finds the cart ordered and returns the same order. A card payment that
    an earlier try left open is first asked about, and may turn out to be paid. `shown_total` is what the person saw, in
    euros; when the cart is worth something else by now (another tab), nothing is ordered. Raises Refused with a
    sentence in each case where it cannot be done; nothing is debited then.
    """
    ask_about(Order.objects.filter(user=user, cart=cart_id))
    try:
        started, payment = _order_and_start(user, cart_id, means, shown_total, card)
    except Refused as refusal:
        order = Order.objects.filter(user=user, cart=cart_id, status=Order.Status.PENDING).first()
        if order is not None and refusal.code in REOPEN and not abandon_order(user=user, order=order):
            return Started(order, was_paid=True)  # the bank answered between the two questions: it is paid
        raise
    return started if payment is None else Started(started.order, start_at_provider(payment, user))


@retry_on_deadlock
def _order_and_start(
    user: User, cart_id: int, means: Means, shown_total: Decimal, card: Card
) -> tuple[Started, Payment | None]:
    """One transaction: the order, its payments, and the card's payment when a provider must be asked."""
    with refusing({name: str(text) for name, text in {**SENTENCES, **OVERUSED}.items()}):
        order, lines = order_of_cart(user, cart_id, shown_total)
        if lines is None:
            return Started(order, was_paid=True), None
        payment = _start(order, user, means, card, lines)
        if payment is not None:
            assert order.cart is not None
            keep_for_the_bank(order.cart)
            Cart.objects.filter(pk=order.cart.pk).update(status=Cart.Status.PAYING)
    return Started(order), payment


def order_of_cart(user: User, cart_id: int, shown_total: Decimal) -> tuple[Order, Sequence[OrderLine] | None]:
    """The pending order of a live cart, placed when there is none, with its lines; no lines when it is paid already.

    In the caller's transaction, which pays it; the cart and the order stay locked. What an earlier try left open ends.
    """
    cart = (
        Cart.objects.filter(user=user, pk=cart_id)
        .select_related("hold", "address")
        .with_terms_in_force()
        .with_codes()
        .select_for_update(of=("self",))
        .first()
    )
    if cart is None:
        raise Refused(_("Ce panier n’existe pas."), code="no_cart")
    order = Order.objects.filter(cart=cart).exclude(status=Order.Status.CANCELLED).select_for_update().first()
    if order is not None and order.status == Order.Status.PAID:
        return order, None
    if is_over(cart):
        keep(cart)  # who waits for a place is served before it is taken again
    if order is None:
        return _place_order(user, cart, shown_total)
    order.cart = cart
    lines = _lines_still_had(order, shown_total)
    _end_running(order)
    return order, lines


def start_at_provider(payment: Payment, user: User) -> base.Departure:
    """Announce a committed payment to its provider; returns where the browser goes.

    Not within a transaction. Raises Refused when the provider does not answer or will not take it: the payment has ended
    then, and nothing was debited.
    """
    provider = find_provider(payment.provider)
    try:
        departure = provider.start(
            base.Request(
                reference=payment.reference,
                amount=payment.amount,
                label=_("Commande %s") % payment.order.number,
                email=user.email,
                return_url=settings.SITE_URL + reverse("payment_return", args=[provider.slug, payment.reference]),
                notify_url=settings.SITE_URL + reverse("payment_notification", args=[provider.slug]),
                method=payment.method,
                number=payment.order.number,
                at=payment.created_at,
                payer=payer_of(payment.order, user) if provider.wants_payer else None,
                quantity=payment.order.lines.count() if provider.wants_payer else 1,
            )
        )
    except (base.Unreachable, base.Impossible) as error:
        logger.error("Provider %s did not start payment %s: %s", provider.slug, payment.pk, error)
        end_payment(payment_id=payment.pk, status=Payment.Status.ABANDONED)
        raise Refused(
            _(
                "Le service de paiement par carte ne répond pas. Rien n’a été débité ; votre porte-monnaie n’a pas changé."
            )
            if payment.order.kind == Order.Kind.TOP_UP
            else _("Le service de paiement par carte ne répond pas. Rien n’a été débité ; vos places restent gardées."),
            code="provider_down",
        ) from error
    if departure.provider_reference:
        Payment.objects.filter(pk=payment.pk, provider_reference="").update(
            provider_reference=departure.provider_reference
        )
    return departure


def abandon_order(*, user: User, order: Order) -> bool:
    """Give up paying: the order ends, its wallet part comes back, and the cart is open again as it was.

    The provider is asked first: returns False when the order turns out to be paid. A card payment that it confirms later
    goes to the wallet, and its owner is told.
    """
    ask_about(Order.objects.filter(user=user, pk=order.pk))
    return _cancel(order, user) != Order.Status.PAID


@retry_on_deadlock
def close_forgotten(*, order: Order) -> bool:
    """End an order that nobody goes on paying; returns False for one that was taken up again meanwhile, which is left alone."""
    with transaction.atomic():
        cart, locked = _lock(order, order.user)
        if locked.status != Order.Status.PENDING or locked.payments.filter(status__in=Payment.RUNNING).exists():
            return False
        settling.give_back_uses([locked.pk])
        _set_cancelled(cart, locked)
        return True


@retry_on_deadlock
def _cancel(order: Order, user: User) -> str:
    """Under the locks: end what is running and the order; returns the order's status before."""
    with transaction.atomic():
        cart, locked = _lock(order, user)
        if locked.status == Order.Status.PENDING:
            settling.give_back_uses([locked.pk])  # before the wallet: see there
            _end_running(locked)
            _set_cancelled(cart, locked)
        return locked.status


def _lock(order: Order, user: User) -> tuple[Cart | None, Order]:
    cart = Cart.objects.select_for_update().filter(user=user, orders=order).first()
    return cart, Order.objects.select_for_update().get(pk=order.pk, user=user)


def _set_cancelled(cart: Cart | None, order: Order) -> None:
    Order.objects.filter(pk=order.pk, status=Order.Status.PENDING).update(
        status=Order.Status.CANCELLED, cancelled_at=timezone.now()
    )
    if cart is not None:
        Cart.objects.filter(pk=cart.pk).update(status=Cart.Status.OPEN)


def _end_running(order: Order) -> None:
    """Before another try: what an earlier one left open ends, its wallet part comes back."""
    for payment in order.payments.filter(status__in=Payment.RUNNING).order_by("pk").select_for_update():
        payment.refresh_from_db()  # the wallet's part may have come back with the card's end
        end_running(order, payment, Payment.Status.ABANDONED)


def _place_order(user: User, cart: Cart, shown_total: Decimal) -> tuple[Order, Sequence[OrderLine]]:
    """Freeze the open cart into an order and its lines, its places held. Runs under the cart's lock."""
    lines = _order_lines(cart)
    if not lines:
        raise Refused(_("Votre panier est vide."), code="empty")
    if any(line.item.status != Booking.Status.HELD for line in lines if line.item is not None):
        if retake(cart):
            raise expired()  # which undoes the retake: the person decides anew in the cart
        lines = _order_lines(cart)
    _check_still_offered(user, cart.pk, lines)
    settled = settling.settle(cart, user, lines) if cart.has_codes else []
    total = sum((line.paid for line in lines), ZERO)
    _check_total(total, shown_total, [reduction for _voucher, reduction in settled])
    if cart.address is None:
        raise Refused(_("Choisissez d’abord une adresse."), code="no_address")
    if cart.terms_id is None or cart.terms_id != cart.terms_in_force:
        raise Refused(
            _("Acceptez d’abord les conditions générales de vente.")
            if cart.terms_id is None
            else _(
                "Les conditions générales de vente ont changé depuis que vous les avez acceptées : acceptez leur nouvelle version. Rien n’a été débité."
            ),
            code="no_terms",
        )
    order = Order.objects.create(
        user=user, cart=cart, total=total, billing_address=str(cart.address), terms_id=cart.terms_id
    )
    for line in lines:
        line.order = order
    OrderLine.objects.bulk_create(lines)
    if settled:
        settling.take(order, lines, settled)
    return order, lines


def _lines_still_had(order: Order, shown_total: Decimal) -> Sequence[OrderLine]:
    """The lines of an order that is paid at a second try, their places held, taken again where the hold ran out."""
    _check_total(order.total, shown_total)
    lines = list(
        OrderLine.objects.filter(order=order)
        .with_places()
        .select_related("ticket__slot", "ticket__stop__line")
        .order_by("pk")
    )
    if retake_items([line.item for line in lines if line.item is not None], at=timezone.now()):
        raise expired()
    _check_still_offered(order.user, order.cart_id, lines)
    return lines


def _check_total(total: Decimal, shown: Decimal, reductions: Sequence[Reduction] = ()) -> None:
    """Raises Refused when the order is worth something else than was shown, naming the vouchers that do not apply (any more)."""
    if total != shown:
        raise Refused(
            *(row.refusal for row in reductions if row.reason),
            _(
                "Votre panier a changé : il vaut maintenant %(now)s au lieu de %(before)s. Vérifiez-le avant de payer ; rien n’a été débité."
            )
            % {"now": euros(total), "before": euros(shown)},
            code="changed",
        )


def _check_still_offered(user: User, cart_id: int | None, lines: Sequence[OrderLine]) -> None:
    """What was closed since it entered the cart is not sold, whatever the deadline that its hold keeps."""
    days = {row.booking.open_day for row in lines if row.booking is not None}
    closed = sorted((row for row in days if not row.is_open), key=lambda row: row.date)
    if closed:
        raise Refused(
            ngettext(
                "Fermé depuis que vous l’avez choisi : %s. Retirez cette date de votre panier ; rien n’a été débité.",
                "Fermés depuis que vous les avez choisis : %s. Retirez ces dates de votre panier ; rien n’a été débité.",
                len(closed),
            )
            % enumeration(f"{day(row.date)} ({row.closed_reason})" for row in closed),
            code="closed",
        )
    withdrawn = [row.label for row in lines if row.ticket is not None and not tickets.is_offered(row.ticket)]
    if withdrawn:
        raise Refused(
            _("Ce produit n’est plus proposé : %s. Retirez-le de votre panier ; rien n’a été débité.")
            % enumeration(dict.fromkeys(withdrawn)),
            code="closed",
        )
    children = {row.item.beneficiary_id for row in lines if row.item is not None}
    granted = Subscription.objects.of(user).approved().values("profile")
    shut = Exists(CartLine.objects.filter(cart=cart_id).exclude(tariff__profile__in=granted))
    # Both questions in one statement: the same answer about access beside each child.
    theirs = dict(Beneficiary.objects.of(user).filter(pk__in=children).values_list("pk", shut))
    if len(theirs) != len(children):
        raise Refused(
            _("Un bénéficiaire de votre panier ne fait plus partie de vos filiations : retirez ses dates.")
            + " "
            + _("Rien n’a été débité."),
            code="not_yours",
        )
    if any(theirs.values()):
        raise Refused(
            _("Votre accès à un service de votre panier n’est plus validé : retirez ses dates. Rien n’a été débité."),
            code="no_access",
        )


def _order_lines(cart: Cart) -> Sequence[OrderLine]:
    rows = (
        CartLine.objects.filter(cart=cart)
        .select_related("booking__beneficiary", "booking__slot", "booking__open_day__activity__service__commune")
        # Read aside, and only where there is one: with all joins in one statement PostgreSQL takes twice as long to plan it.
        .prefetch_related(
            Prefetch(
                "ticket",
                Ticket.objects.select_related("beneficiary", "slot", "activity__service__commune", "stop__line"),
            )
        )
        .order_by("booking__open_day__date", "pk")
    )
    return [order_line(row) for row in rows]


def order_line(row: CartLine) -> OrderLine:
    """The frozen line of an order, not written yet, for a line of a cart."""
    line = line_of(row.item, unit_price=row.unit_price, surcharge=row.surcharge, explanation=row.explanation)
    if row.ticket is not None:
        line.kind, line.date, line.note = OrderLine.Kind.TICKET, None, note(row.ticket.valid, row.ticket.stop)
    return line


def line_of(item: Booking | Ticket, *, unit_price: Decimal, surcharge: Decimal, explanation: str) -> OrderLine:
    """The frozen line of what is bought at a price, whoever sells it and however; without its order, not written yet."""
    return OrderLine(
        kind=OrderLine.Kind.BOOKING,
        booking=item if isinstance(item, Booking) else None,
        ticket=item if isinstance(item, Ticket) else None,
        commune_id=item.activity.service.commune_id,
        label=item.activity.name,
        detail=item.slot.name,
        beneficiary_name=str(item.beneficiary),
        date=item.date,
        unit_price=unit_price,
        surcharge=surcharge,
        explanation=explanation,
        nature=item.slot.nature,
        meal_price=item.slot.meal_price,
    )


def _start(order: Order, user: User, means: Means, card: Card, lines: Sequence[OrderLine] | None) -> Payment | None:
    """Open the payments of a pending order; returns the card's, or None when the order is paid."""
    if order.total == ZERO:
        complete(order, card=None, lines=lines)
        return None
    provider = None if means == Means.WALLET else chosen_provider(card)
    from_wallet = _wallet_part(order, user, means, provider)
    from_card = order.total - from_wallet
    if not from_card:
        complete(order, card=None, lines=lines)
        return None
    if provider is None:
        raise Refused(
            _("Le paiement par carte n’est pas ouvert ici, et votre porte-monnaie ne suffit pas. Rien n’a été débité."),
            code="no_card",
        )
    check_smallest(provider, from_card)
    if from_wallet:
        _reserve(order, user, from_wallet)
    return Payment.objects.create(
        order=order,
        provider=provider.slug,
        method=card.method,
        amount=from_card,
        status=Payment.Status.STARTED,
    )


def chosen_provider(card: Card) -> base.Provider | None:
    """The provider of the chosen card; None where no card is taken. Raises Refused for one that is not offered here."""
    try:
        provider = find_provider(card.provider) if card.provider else default_provider()
    except KeyError as error:
        raise unknown_card() from error
    if card.method and (provider is None or card.method not in {method.code for method in provider.methods}):
        raise unknown_card()
    return provider


def unknown_card() -> Refused:
    """What is said of a means of payment that is not offered (any more)."""
    return Refused(
        _("Ce moyen de paiement n’est pas proposé ici : choisissez-en un autre. Rien n’a été débité."), code="no_card"
    )


def check_smallest(provider: base.Provider, amount: Decimal) -> None:
    """Raises Refused for less than the provider takes."""
    if amount < provider.smallest:
        raise Refused(
            _("Par ce moyen, le plus petit règlement est de %(least)s : choisissez-en un autre. Rien n’a été débité.")
            % {"least": euros(provider.smallest)},
            code="too_little",
        )


def _wallet_part(order: Order, user: User, means: Means, provider: base.Provider | None) -> Decimal:
    """How many euros of the order the wallet pays; beside a card so much that the card's part is not too small for it."""
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
    if balance >= order.total or provider is None:
        return min(balance, order.total)
    return max(min(balance, order.total - provider.smallest), ZERO)


def _reserve(order: Order, user: User, amount: Decimal) -> None:
    """Set the wallet's part aside: captured with the card, given back if the card fails (law 4)."""
    payment = Payment.objects.create(
        order=order, provider=Payment.WALLET, amount=amount, status=Payment.Status.RESERVED
    )
    ledger.post(
        kind=Movement.Kind.RESERVE,
        key=f"payment:{payment.reference}:reserve",
        label=_("Commande %s, part du porte-monnaie") % order.number,
        amounts={ledger.wallet_code(user): -amount, ledger.RESERVED: amount},
        by=user,
    )
