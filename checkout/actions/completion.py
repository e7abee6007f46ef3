"""What a provider told us, applied once: an order is paid, or its money is in the wallet, and its owner is told."""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Booking, Ticket
from bookings.tickets import actions as tickets
from checkout.given_back import GivenBack, elsewhere, paid_each
from checkout.models import Cart, CartLine, Order, OrderLine, Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import EURO, Message, Outcome
from checkout.regie.operators import operators
from checkout.summary import order_groups
from checkout.vouchers import settling
from checkout.vouchers.reading import uses_of
from checkout.vouchers.rules import Reduction
from checkout.vouchers.words import Fates
from portal.common.db import retry_on_deadlock
from portal.common.errors import Refused
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from portal.outbox.calls import queue_call
from wallet import actions as ledger
from wallet.models import Movement

logger = logging.getLogger(__name__)

# The call that closes the bank's page of a payment; made by actions/reconciliation.py.
WITHDRAW = "checkout.withdraw_payment"

ENDED_WITH_MONEY = {Payment.Status.CAPTURED, Payment.Status.CREDITED}


@retry_on_deadlock
def apply_message(*, message: Message, provider: str, event: ProviderEvent) -> Payment | None:
    """Apply a provider's verified message to its payment, once; returns the payment as it then stands.

    Copies change nothing, and the order of arrival does not matter: money that was captured ends either in the order
    or in the wallet. A message about an unknown payment, another provider's or another amount is kept and rejected.
    """
    found = Payment.objects.filter(reference=message.reference, provider=provider).values("pk").first()
    if found is None:
        return _close(event, ProviderEvent.Outcome.REJECTED, "unknown payment")
    # Before it is applied: whose it is, and what it says, stays known where that fails (checkout.overdue).
    ProviderEvent.objects.filter(pk=event.pk).update(payment=found["pk"], stated=message.outcome)
    with transaction.atomic():
        order = lock_order(found["pk"])
        payment = Payment.objects.select_for_update().get(pk=found["pk"])
        payment.order = order
        event.payment = payment
        if (message.amount, message.currency) != (payment.amount, EURO):
            stated = f"{message.amount} {message.currency}"
            logger.error("Provider %s states %s for payment %s of %s", provider, stated, payment.pk, payment.amount)
            return _close(event, ProviderEvent.Outcome.REJECTED, f"amount {stated}, expected {payment.amount}"[:200])
        if payment.status in ENDED_WITH_MONEY:
            if _is_another_debit(payment, message):
                return _close(event, ProviderEvent.Outcome.REJECTED, _another_debit(payment, message))
            return _close(event, ProviderEvent.Outcome.REPEATED)
        if message.outcome == Outcome.CAPTURED:
            _capture(order, payment, message)
        elif payment.status == Payment.Status.STARTED and message.outcome != Outcome.PENDING:
            ended = Payment.Status.REFUSED if message.outcome == Outcome.REFUSED else Payment.Status.ABANDONED
            _end(payment, ended)
            if order.kind == Order.Kind.TOP_UP:
                close_deposit(order)
            _release_wallet_part(order)
        elif message.outcome == Outcome.PENDING:
            return _close(event, ProviderEvent.Outcome.RECEIVED, "pending")
        else:
            return _close(event, ProviderEvent.Outcome.REPEATED)
        return _close(event, ProviderEvent.Outcome.APPLIED)


def _is_another_debit(payment: Payment, message: Message) -> bool:
    """Whether a provider says that it took the same payment again, under another number of its own."""
    if message.outcome != Outcome.CAPTURED or not (message.provider_reference and payment.provider_reference):
        return False
    return message.provider_reference[:80] != payment.provider_reference


def _another_debit(payment: Payment, message: Message) -> str:
    """Tell operators of it: no book of ours knows whose money that is, which only the provider's file will say."""
    logger.error(
        "Payment %s was captured as %s, and again as %s",
        payment.pk,
        payment.provider_reference,
        message.provider_reference,
    )
    for operator in operators():
        queue_email(
            key=f"payment:{payment.pk}:again:{message.provider_reference[:40]}:{operator.pk}",
            to=operator.email,
            template="payment_captured_again",
            context={"user": operator, "payment": payment, "order": payment.order, "again": message.provider_reference},
        )
    return f"captured again, as {message.provider_reference}"[:200]


@retry_on_deadlock
def end_payment(*, payment_id: int, status: Payment.Status) -> bool:
    """End a running payment without money: the wallet's reserved part comes back.

    Returns False for one that has ended meanwhile, which is left alone.
    """
    with transaction.atomic():
        order = lock_order(payment_id)
        payment = Payment.objects.select_for_update().get(pk=payment_id)
        was_running = payment.status in Payment.RUNNING
        end_running(order, payment, status)
        return was_running


def end_running(order: Order, payment: Payment, status: Payment.Status) -> None:
    """The same under the locks of order and payment."""
    payment.order = order
    if payment.status == Payment.Status.RESERVED:
        _release(payment)
    elif payment.status == Payment.Status.STARTED:
        _end(payment, status)
        _withdraw(payment)
        if order.kind == Order.Kind.TOP_UP:
            close_deposit(order)
        _release_wallet_part(order)


def _withdraw(payment: Payment) -> None:
    """Have the bank's page closed behind a payment that we gave up: what is paid there would only come to the wallet."""
    try:
        can = find_provider(payment.provider).can_withdraw
    except KeyError:  # no longer used here
        return
    if can and payment.provider_reference:
        queue_call(key=f"payment:{payment.reference}:withdraw", name=WITHDRAW, payload={"payment": payment.pk})


def lock_order(payment_id: int) -> Order:
    """Lock what a payment's change starts with, in the checkout's order: cart, then order."""
    cart = Cart.objects.filter(orders__payments=payment_id).order_by().values_list("pk", flat=True).first()
    if cart:
        Cart.objects.select_for_update().get(pk=cart)
    return Order.objects.select_for_update().get(payments=payment_id)


def complete(
    order: Order, *, card: Payment | None, lines: Sequence[OrderLine] | None = None, by: User | None = None
) -> None:
    """Make a pending order paid: places confirmed, money posted, cart closed, e-mail written. Under the order's lock.

    `card` is the captured card payment; what it does not cover comes from the wallet's reserved part, or else from
    the wallet. `lines` spares reading those of an order that was placed a moment ago; `by` is who took the money at a
    counter. Raises Refused when the wallet
    holds too little, and when places are gone while nothing was paid yet: only a card's money is kept for them.
    """
    if lines is None:
        lines = list(OrderLine.objects.filter(order=order).with_places().select_related("ticket__slot").order_by("pk"))
    lost = _confirm_items(order, lines)
    if lost and card is None:
        raise expired()
    kept = [line for line in lines if line not in lost]
    refund = sum((line.paid for line in lost), ZERO)
    now = timezone.now()
    settling.end_with_payment(order, kept, lost)
    sources = _sources(order, card)
    amounts = {code: -amount for code, amount in sources.items()}
    for line in kept:
        code = _income_code(order, line)
        amounts[code] = amounts.get(code, ZERO) + line.unit_price
    for code, amount in settling.borne(kept).items():
        amounts[code] = amounts.get(code, ZERO) - amount
    if refund:
        wallet = ledger.wallet_code(order.user_id)
        ledger.wallet_of(order.user)
        amounts[wallet] = amounts.get(wallet, ZERO) + refund
    movement = None
    if any(amounts.values()):  # also of an order that vouchers pay in full
        movement = ledger.post(
            kind=_movement_kind(order, card),
            key=f"order:{order.pk}:paid",
            label=_movement_label(order, card, lost),
            amounts=amounts,
            by=by or order.user,
        )
    Order.objects.filter(pk=order.pk).update(status=Order.Status.PAID, paid_at=now)
    order.status, order.paid_at = Order.Status.PAID, now
    if lost:
        OrderLine.objects.filter(pk__in=[line.pk for line in lost]).update(cancelled_at=now, refund=movement)
    if order.cart_id:
        Cart.objects.filter(pk=order.cart_id).update(status=Cart.Status.DONE)
        CartLine.objects.filter(cart=order.cart_id).delete()
    uses = uses_of(order.pk) if any(line.discount for line in lines) else []
    queue_email(
        key=f"order:{order.pk}:paid",
        to=order.user.email,
        template="order_paid",
        context={
            "order": order,
            "groups": order_groups(kept, gone=lost),
            "has_kept": bool(kept),
            "has_dates": any(line.kind == OrderLine.Kind.BOOKING for line in kept),
            "has_tickets": any(line.kind == OrderLine.Kind.TICKET for line in kept),
            "paid_with": _paid_with(sources, card),
            "lost": lost,
            "lost_back": GivenBack(lost),
            "elsewhere": elsewhere(lost) if lost else [],
            "paid_each": paid_each(kept),
            "credits": sum((line.unit_price for line in kept if line.kind == OrderLine.Kind.CREDIT), ZERO),
            "reductions": [Reduction(use.voucher, use.amount) for use in uses],
            "vouchers": Fates.of(uses),
        },
        attachment=f"receipt:{order.pk}",
    )


def _movement_kind(order: Order, card: Payment | None) -> Movement.Kind:
    if order.kind != Order.Kind.TOP_UP:
        return Movement.Kind.ORDER
    return Movement.Kind.COUNTER if card is not None and card.is_counter else Movement.Kind.TOP_UP


def _movement_label(order: Order, card: Payment | None, lost: Sequence[OrderLine]) -> str:
    """What the family reads in its wallet; what was paid at a counter by the words of the receipt given there."""
    if order.kind == Order.Kind.TOP_UP:
        if card is not None and card.is_counter:
            return _("Dépôt au %s") % card.counter_receipt.words
        return _("Dépôt de fonds")
    if lost:
        return _("Commande %s, places qui n’étaient plus libres") % order.number
    return _("Commande %s") % order.number


def _paid_with(sources: Mapping[str, Decimal], card: Payment | None) -> list[tuple[str, Decimal]]:
    """What paid an order, as its owner calls it: « carte bancaire », « porte-monnaie », and how many euros each."""
    found: dict[str, Decimal] = {}
    for code, amount in sources.items():
        name = _("carte bancaire") if code.startswith("clearing:") else _("porte-monnaie")
        if card is not None and card.is_counter and code == card.source:
            name = card.counter_receipt.words
        found[name] = found.get(name, ZERO) + amount
    return list(found.items())


def expired() -> Refused:
    """What is said when places of a cart or an order are gone."""
    return Refused(
        _("Des places de votre panier ont expiré et ne sont plus libres : vérifiez votre panier."),
        _("Rien n’a été débité."),
        code="expired",
    )


def _capture(order: Order, payment: Payment, message: Message) -> None:
    payment.provider_reference = message.provider_reference[:80] or payment.provider_reference
    if order.status == Order.Status.PENDING and _wallet_covers_the_rest(order, payment):
        try:
            with transaction.atomic():
                complete(order, card=payment)
                _end(payment, Payment.Status.CAPTURED)
                _end_later_tries(order)
        except Refused as refusal:
            if refusal.code != "wallet_is_not_overdrawn":
                raise
            # The wallet was spent since it was looked at, its lock comes last: the card alone does not pay the order.
        else:
            return
    # Paid twice, abandoned, or the wallet's part is spent: the card's money is kept for its owner, and they are told.
    _end(payment, Payment.Status.CREDITED)
    ledger.wallet_of(order.user)
    ledger.post(
        kind=Movement.Kind.LATE_PAYMENT,
        key=f"payment:{payment.reference}:credited",
        label=_("Règlement par carte de la commande %s, porté au porte-monnaie") % order.number,
        amounts={
            ledger.clearing_code(payment.provider): -payment.amount,
            ledger.wallet_code(order.user_id): payment.amount,
        },
        by=order.user,
    )
    queue_email(
        key=f"payment:{payment.pk}:credited",
        to=order.user.email,
        template="payment_credited",
        context={"order": order, "payment": payment},
    )
    if order.status != Order.Status.PENDING:
        _end_later_tries(order)


def _end_later_tries(order: Order) -> None:
    """An earlier try's card has paid: nobody should be able to pay at the page of a later one, nor is its wallet part needed."""
    for payment in order.payments.filter(status__in=Payment.RUNNING).order_by("pk").select_for_update():
        payment.refresh_from_db()  # the wallet's part comes back with its card's end
        end_running(order, payment, Payment.Status.ABANDONED)


def _wallet_covers_the_rest(order: Order, card: Payment) -> bool:
    rest = order.total - card.amount
    if not rest or order.payments.filter(status=Payment.Status.RESERVED, amount=rest).exists():
        return True
    return ledger.wallet_of(order.user).balance >= rest


def _sources(order: Order, card: Payment | None) -> dict[str, Decimal]:
    """Where the order's money comes from, in euros by account code; the wallet's part becomes captured."""
    sources: dict[str, Decimal] = {}
    rest = order.total
    if card is not None:
        sources[card.source] = card.amount
        rest -= card.amount
    if not rest:
        return sources
    reserved = None
    if card is not None:
        reserved = order.payments.select_for_update().filter(status=Payment.Status.RESERVED, amount=rest).first()
    if reserved is not None:
        sources[ledger.RESERVED] = rest
        _end(reserved, Payment.Status.CAPTURED)
        return sources
    sources[ledger.wallet_code(order.user_id)] = rest
    Payment.objects.create(
        order=order, provider=Payment.WALLET, amount=rest, status=Payment.Status.CAPTURED, ended_at=timezone.now()
    )
    return sources


def _confirm_items(order: Order, lines: Sequence[OrderLine]) -> list[OrderLine]:
    """Book what the order holds; take again what expired. Returns the lines whose places or tickets are gone."""
    rows = [line.ticket for line in lines if line.ticket is not None]
    if rows:  # everybody before any day or activity: see cart.retake_items
        people = {row.beneficiary_id for row in rows}
        people |= {line.booking.beneficiary_id for line in lines if line.booking is not None}
        list(bookings.locked_beneficiaries(people))
    lost_places = _confirm_places(order, [line.booking for line in lines if line.booking is not None])
    lost_tickets = _confirm_tickets(rows)
    return [line for line in lines if line.booking_id in lost_places or line.ticket_id in lost_tickets]


def _confirm_places(order: Order, rows: Sequence[Booking]) -> set[int]:
    """Book held places, retake those that expired; the keys of those that are gone."""
    closed = {row.pk for row in rows if row.status == Booking.Status.HELD and not row.open_day.is_open}
    if closed:
        bookings.drop_held(ids=closed, by=None, reason=_("Jour fermé avant le règlement"))
        rows = [row for row in rows if row.pk not in closed]
    lost: set[int] = set()
    if any(row.status == Booking.Status.EXPIRED for row in rows):
        lost = {row.pk for row in bookings.retake_places(bookings=rows, at=order.created_at)}
    kept = [row.pk for row in rows if row.pk not in lost]
    if not bookings.confirm(ids=kept):
        # Somebody ended a stale hold between our look and now: look again, with its days locked.
        fresh = list(Booking.objects.filter(pk__in=[row.pk for row in rows]))
        lost = {row.pk for row in bookings.retake_places(bookings=fresh, at=order.created_at)}
        bookings.confirm(ids=[row.pk for row in fresh if row.pk not in lost and row.status == Booking.Status.HELD])
    return lost | closed


def _confirm_tickets(rows: Sequence[Ticket]) -> set[int]:
    """The same for tickets; one that is no longer offered is not sold."""
    if not rows:
        return set()
    withdrawn = {row.pk for row in rows if not tickets.is_offered(row)}
    if withdrawn:
        tickets.drop_held_tickets(ids=withdrawn, by=None, reason=_("Retiré de la vente avant le règlement"))
        rows = [row for row in rows if row.pk not in withdrawn]
    lost = {row.pk for row in tickets.retake_tickets(tickets=rows)}
    if not tickets.confirm_tickets(ids=[row.pk for row in rows if row.pk not in lost]):
        fresh = list(Ticket.objects.filter(pk__in=[row.pk for row in rows]))
        lost = {row.pk for row in tickets.retake_tickets(tickets=fresh)}
        tickets.confirm_tickets(ids=[row.pk for row in fresh if row.status == Ticket.Status.HELD])
    return lost | withdrawn


def _income_code(order: Order, line: OrderLine) -> str:
    if line.kind == OrderLine.Kind.CREDIT:
        return ledger.wallet_code(order.user_id)
    if line.kind == OrderLine.Kind.FEE:
        return ledger.FEES
    return ledger.revenue_code(line.commune_id)


def close_deposit(order: Order) -> None:
    """A deposit ends with its only payment, there being nothing to keep for another try."""
    Order.objects.filter(pk=order.pk, status=Order.Status.PENDING).update(
        status=Order.Status.CANCELLED, cancelled_at=timezone.now()
    )


def _release_wallet_part(order: Order) -> None:
    """Give back what a try has set aside of the wallet."""
    for part in order.payments.filter(status=Payment.Status.RESERVED).select_for_update():
        part.order = order
        _release(part)


def _release(part: Payment) -> None:
    """Give a reserved wallet part back."""
    owner: User = part.order.user
    _end(part, Payment.Status.ABANDONED)
    ledger.post(
        kind=Movement.Kind.RELEASE,
        key=f"payment:{part.reference}:release",
        label=_("Commande %s, part du porte-monnaie rendue") % part.order.number,
        amounts={ledger.RESERVED: -part.amount, ledger.wallet_code(owner): part.amount},
        by=owner,
    )


def _end(payment: Payment, status: Payment.Status) -> None:
    payment.status, payment.ended_at = status, timezone.now()
    payment.save(update_fields=["status", "ended_at", "provider_reference"])


def _close(event: ProviderEvent, outcome: ProviderEvent.Outcome, note: str = "") -> Payment | None:
    event.outcome, event.note = outcome, note
    event.save(update_fields=["outcome", "note", "payment"])
    return event.payment
