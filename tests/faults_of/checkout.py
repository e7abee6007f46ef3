"""What nobody may write past carts, orders, payments, refunds and the counter's till."""

import datetime as dt
from decimal import Decimal

from django.utils import timezone

from bookings.models import Hold
from checkout.models import Order, Payment
from tests.admin.world import Town
from tests.faults_of import Fault, added, changed, deleted, movement, now, other_parent, parent, posted, the
from wallet.models import Movement


def free_hold(place: Town) -> object:
    return Hold.objects.create(user=place.parent, expires_at=timezone.now() + dt.timedelta(hours=1))


def cart_ordered(place: Town) -> object:
    """The place's cart, which an order waits for the payment of."""
    cart = place.rows["checkout.cart"]
    Order.objects.create(user=cart.user, total=5, cart=cart)
    return cart


def late_payment(place: Town) -> object:
    """Another one that has ended."""
    order = place.rows["checkout.order"]
    return Payment.objects.create(order=order, provider="demo", amount=5, status="credited", ended_at=timezone.now())


SEEN = {"seen_at": now, "seen_by": lambda place: place.agent, "seen_note": "Vu"}

CARTS: dict[str, list[Fault]] = {
    "checkout.Cart:one_live_cart_per_user": [
        added(user=lambda place: place.rows["checkout.cart"].user, hold=free_hold),
        added(user=lambda place: place.rows["checkout.cart"].user, hold=free_hold, status="paying"),
    ],
    "checkout.CartVoucher:code_entered_once": [added(cart=the("checkout.Cart"), voucher=the("checkout.Voucher"))],
    "checkout.CartLine:cart_surcharge_is_in_the_price": [
        changed(surcharge=Decimal("7.91")),
        changed(surcharge=Decimal(-1)),
        changed(unit_price=Decimal(-1)),
    ],
    "checkout.CartLine:cart_line_is_a_booking_or_a_ticket": [
        changed(booking=None),
        changed(ticket=the("bookings.Ticket")),
    ],
}

ORDERS: dict[str, list[Fault]] = {
    "checkout.Order:order_total_is_not_negative": [added(total=Decimal("-0.01"))],
    "checkout.Order:order_status_is_dated": [
        added(paid_at=now),
        added(cancelled_at=now),
        changed(status="cancelled"),
        changed(status="cancelled", cancelled_at=now, paid_at=now),
        added(total=Decimal(0), status="paid"),
    ],
    "checkout.Order:cart_ordered_once": [added(cart=cart_ordered)],
    "checkout.OrderLine:line_surcharge_is_in_the_price": [
        added(surcharge=Decimal("7.91")),
        added(surcharge=Decimal(-1)),
        added(unit_price=Decimal(-1), behind=("checkout.OrderLine:line_discount_is_in_the_price",)),
    ],
    "checkout.OrderLine:booking_line_has_a_booking": [added(booking=None), added(kind="fee")],
    "checkout.OrderLine:ticket_line_has_a_ticket": [
        added(kind="ticket", booking=None),
        added(kind="fee", booking=None, ticket=the("bookings.Ticket")),
    ],
    "checkout.OrderLine:refunded_line_is_cancelled": [changed(refund=movement)],
    "checkout.OrderLine:line_with_a_meal_says_its_price": [
        added(nature="both"),
        added(nature="both", meal_price=Decimal(0)),
        added(nature="care", meal_price=Decimal("3.70")),
    ],
    "checkout.OrderLine:line_says_what_is_declared": [
        changed("no correction says that", nature="care"),
        changed("no correction says that", nature="both", meal_price=Decimal("3.70")),
    ],
    "checkout.DeclarationCorrection:declaration_correction_says_why": [added(reason="")],
    "checkout.DeclarationCorrection:declaration_correction_corrects": [added(lines=0), added(families=0)],
    "checkout.DeclarationCorrection:declaration_correction_says_what": [
        added(nature=""),
        added(nature="both", meal_price=None),
        added(nature="both", meal_price=Decimal(0)),
        added(nature="care", meal_price=Decimal("3.70")),
    ],
    "checkout.DeclarationCorrection:declaration_correction_ends_after_it_begins": [
        added(since=dt.date(2026, 9, 2), until=dt.date(2026, 9, 1))
    ],
    "checkout.DeclarationCorrection:declaration_corrections_are_kept": [changed(reason="Autre"), deleted()],
    "checkout.Payment:payment_is_positive": [
        added(status="abandoned", ended_at=now, amount=Decimal(0)),
        added(status="abandoned", ended_at=now, amount=Decimal(-5)),
    ],
    "checkout.Payment:ended_payment_is_dated": [changed(status="refused"), changed(ended_at=now)],
    "checkout.Payment:one_running_payment_per_means": [
        added(status="started", provider="demo"),
        added(status="reserved", provider="demo"),
    ],
    "checkout.Payment:payment_transitions": [
        changed(after={"status": "refused", "ended_at": now}, status="abandoned"),
        changed(after={"status": "abandoned", "ended_at": now}, status="started", ended_at=None),
        changed(
            after={"status": "credited", "ended_at": now}, status="refused"
        ),  # money that is in a wallet, forgotten
    ],
    "checkout.Refund:refund_is_positive": [added(amount=Decimal(0)), added(amount=Decimal(-1))],
    "checkout.Refund:ended_refund_is_dated": [changed(status="done"), changed(ended_at=now)],
    "checkout.ProviderEvent:seen_event_says_by_whom_and_why": [
        changed(seen_at=now),
        changed(seen_at=now, seen_by=lambda place: place.agent),
        changed(seen_note="Vu"),
        changed(seen_at=now, seen_by=lambda place: place.agent, seen_note="Vu", outcome="applied"),
    ],
    "checkout.ProviderEvent:seen_event_stays_so": [
        changed(after=SEEN, seen_note="Autre"),
        changed(after=SEEN, seen_at=None, seen_by=None, seen_note=""),
    ],
    "checkout.ProviderCheck:who_answers_is_configured": [added(configured=False, answers=True)],
}


def more_than_there_is(_place: Town) -> object:
    return posted(Movement.Kind.TILL_DEPOSIT, till__cash="100", bank="-100")


TILL: dict[str, list[Fault]] = {
    "checkout.CounterReceipt:receipt_number_once": [added(number="W-1", commune=None, payment=late_payment)],
    "checkout.CounterReceipt:receipt_number_in_any_spelling": [
        added("in another spelling", number=number, commune=None, payment=late_payment)
        for number in ("w-1", "W-1\u00a0", "W\u00ad-\u200b1", "W\u20111", "w1")
    ],
    "checkout.CounterReceipt:nobody_takes_their_own_money": [
        added("for their own account", number="W-2", payment=late_payment, by=by) for by in (parent, other_parent)
    ],
    "checkout.CounterReceipt:counter_receipt_has_a_number": [
        added(number=number, payment=late_payment) for number in ("", "\u2013")
    ],
    "checkout.TillDeposit:till_deposit_is_positive": [
        added(number="B-2", amount=Decimal(0)),
        added(number="B-2", amount=Decimal(-5)),
    ],
    "checkout.TillDeposit:till_gives_what_it_holds": [
        added("does not hold that much", means="cash", number="B-2", amount=Decimal(100), movement=more_than_there_is)
    ],
    "checkout.TillDeposit:till_deposit_has_a_number": [added(number=""), added(number="\u2013")],
    "checkout.TillDeposit:slip_stands_once": [
        added("stands already", number="b-1", movement=movement),
        added("stands already", number="B\u20111", movement=movement),
        added("stands already", edition=2, movement=movement),
    ],
    # Without the trigger in front two of the same edition would still not be of one slip.
    "checkout.TillDeposit:deposit_slip_once": [
        added(means="cash", number="B-1", behind=("checkout.TillDeposit:slip_stands_once",))
    ],
}

FAULTS = CARTS | ORDERS | TILL
