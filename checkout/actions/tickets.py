"""Buying tickets and passes through the cart, and giving back one that was not used."""

from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.tickets import actions as tickets
from bookings.tickets.models import Ticket
from checkout.actions.cancellation import Returned, check_card_refunds, send_to_cards
from checkout.actions.cart import SENTENCES, open_cart, priced
from checkout.actions.keeping import keep
from checkout.models import CartLine, Order, OrderLine
from checkout.refunds.actions import lock_cards
from checkout.vouchers import settling
from checkout.vouchers.words import Fates
from portal.common.db import refusing, retry_on_deadlock
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from services.actions import check_offer
from services.models import Activity, Slot, Subscription
from wallet import actions as ledger
from wallet.models import Movement


@retry_on_deadlock
def add_tickets_to_cart(
    *, user: User, activity: Activity, slot: Slot, subscription: Subscription, wish: tickets.Wish
) -> tuple[int, Decimal]:
    """Set tickets aside and put them into the person's cart at the price in force on their first day, all or none.

    Returns how many entered and for how many euros; the whole cart is then kept as after add_to_cart. Raises
    Refused as add_to_cart does, and with all that bookings.tickets.actions.hold_tickets refuses.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        check_offer(user=user, activity=activity, slot=slot, subscription=subscription)
        cart = open_cart(user)
        if not cart.is_new:
            keep(cart, people=wish.people)
        rows = tickets.hold_tickets(user=user, activity=activity, slot=slot, wish=wish, hold=cart.hold)
        slot.activity = activity
        lines = priced(user, cart, slot, subscription, rows)
        CartLine.objects.bulk_create(lines)
    return len(lines), sum((line.unit_price for line in lines), ZERO)


@retry_on_deadlock
def cancel_ticket(*, ticket: Ticket, by: User, to_card: bool = False) -> Returned:
    """Give an unused ticket back; returns what came back to the wallet of the person who paid, or to the card.

    `to_card` as in cancel_bookings. Raises Refused as bookings.tickets.actions.cancel_booked does.
    """
    check_card_refunds(to_card)
    with refusing({}):
        if to_card:
            paid = OrderLine.objects.filter(ticket=ticket, order__status=Order.Status.PAID, cancelled_at=None)
            lock_cards(set(paid.values_list("order", flat=True)))
        row = tickets.cancel_booked(ticket_id=ticket.pk, by=by)
        ledger.wallet_of(by)
        line = (
            OrderLine.objects.filter(ticket=row, order__status=Order.Status.PAID, order__user=by, cancelled_at=None)
            .select_related("order")
            .select_for_update(of=("self",))
            .get()
        )
        uses = settling.give_back_with([line])
        words = {"activity": row.activity, "slot": row.slot, "name": row.beneficiary.first_name}
        label = _("Annulation\u00a0: %(activity)s, %(slot)s (%(name)s)") % words
        movement = None
        if line.unit_price:
            movement = ledger.post(
                kind=Movement.Kind.CANCELLATION,
                key=f"ticket:{row.pk}:cancelled",
                label=label,
                amounts={
                    ledger.revenue_code(line.commune_id): -line.unit_price,
                    ledger.wallet_code(by): line.paid,
                    **settling.borne([line]),
                },
                by=by,
            )
        OrderLine.objects.filter(pk=line.pk).update(cancelled_at=timezone.now(), refund=movement)
        on_card = send_to_cards([line], label, by, movement) if to_card else ZERO
        returned = Returned(by, [], line.paid, on_card, line.discount, Fates.of(uses), [line.order])
        queue_email(
            key=f"ticket:{row.pk}:cancelled",
            to=by.email,
            template="ticket_cancelled",
            context={"user": by, "ticket": row, **returned.words},
        )
    return returned
