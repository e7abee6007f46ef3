"""What is true of money and places after each step of the state machine, whatever the step was."""

from decimal import Decimal

from django.db import connection
from django.db.models import Sum

from bookings.models import Booking
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.refunds.actions import HOLDS_MONEY
from checkout.regie.models import Statement
from checkout.verification import verify
from portal.common.money import ZERO
from services.models import OpenDay
from tests.checkout.town import FEE, Town, balance, balances
from wallet import actions as ledger
from wallet.models import Account, Entry, Wallet
from wallet.withdrawals.models import Withdrawal


def the_database_agrees() -> None:
    """What it checks at the commit, which a story never reaches."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def entries_sum_to_zero() -> None:
    assert (Entry.objects.aggregate(sum=Sum("amount"))["sum"] or ZERO) == ZERO


def no_wallet_is_below_zero() -> None:
    summed = Wallet.objects.annotate(entries=Sum("account__entries__amount"))
    for held, entries in summed.values_list("balance", "entries"):
        assert held == (entries or ZERO) >= ZERO


def paid_is_captured() -> None:
    """An order is paid exactly when captured payments and vouchers cover its price; any other has captured nothing."""
    for order in Order.objects.prefetch_related("payments", "lines"):
        by_status: dict[str, list[Payment]] = {}
        for payment in order.payments.all():
            by_status.setdefault(payment.status, []).append(payment)
        captured = sum((row.amount for row in by_status.get("captured", [])), ZERO)
        price = sum((line.unit_price for line in order.lines.all()), ZERO)
        off = sum((line.discount for line in order.lines.all()), ZERO)
        assert order.total == price - off, f"{order} is {order.status}"
        assert captured == (price - off if order.status == Order.Status.PAID else ZERO), f"{order} is {order.status}"
        running = [*by_status.get("started", []), *by_status.get("reserved", [])]
        assert not running or order.status == Order.Status.PENDING, f"{order} is {order.status}"


def nothing_is_reserved_without_a_running_card() -> None:
    """A wallet's part beside a card ends with it: captured, or given back."""
    parts = list(Payment.objects.filter(status=Payment.Status.RESERVED))
    started = set(Payment.objects.filter(status=Payment.Status.STARTED).values_list("order", flat=True))
    assert {part.order_id for part in parts} <= started
    assert balance(ledger.RESERVED) == sum((part.amount for part in parts), ZERO)


def places_taken_are_live(town: Town) -> None:
    """Counted by day and, where a slot has places of its own, by slot; each is somebody's: paid for, or held."""
    live = list(Booking.objects.live().select_related("slot", "hold"))
    for day in OpenDay.objects.all():
        here = [row for row in live if row.open_day_id == day.pk]
        assert day.taken == len(here) <= day.capacity, f"{day.date}: {day.taken} taken"
        for shop in (town.families[0], town.whole_days[0]):
            most = shop.slot.capacity
            assert most is None or sum(row.slot_id == shop.slot.pk for row in here) <= most, (
                f"{day.date}: {shop.slot.name}"
            )
    standing = OrderLine.objects.filter(order__status=Order.Status.PAID, cancelled_at=None, booking__isnull=False)
    booked = [row.pk for row in live if row.status == Booking.Status.BOOKED]
    assert sorted(standing.values_list("booking", flat=True)) == sorted(booked)
    in_carts = Booking.objects.held().filter(cart_line__cart__status__in=["open", "paying"])
    assert Booking.objects.held().count() == in_carts.count()


def what_is_on_its_way_is_asked_for() -> None:
    """To cards, to bank accounts and to communes: the ledger holds what was decided and not done yet."""
    asked = Refund.objects.filter(status=Refund.Status.REQUESTED).aggregate(sum=Sum("amount"))["sum"] or ZERO
    assert balance(ledger.refunding_code("demo")) == asked
    transfers = Withdrawal.objects.running().aggregate(sum=Sum("amount"))["sum"] or ZERO
    assert balance(ledger.TRANSFERS) == transfers
    remitted = Statement.objects.unpaid().aggregate(sum=Sum("net"))["sum"] or ZERO
    assert balance(ledger.REMITTING) == remitted


def the_banks_books_are_ours(town: Town) -> None:
    """What the bank took, paid back and paid over, as far as we can know of it."""
    bank = town.bank
    known = Payment.objects.filter(provider="demo", status__in=HOLDS_MONEY)
    took = {row.reference: row.amount for row in known}
    assert took.items() <= bank.taken.items()
    refunds = {row.reference: row for row in Refund.objects.all()}
    done = {key: row.amount for key, row in refunds.items() if row.status == Refund.Status.DONE}
    kept = {key: amount for key, amount in bank.back.items() if key not in bank.returned}
    assert done.items() <= kept.items()
    # What the bank has paid back without our knowing (its answer was lost) is still asked for.
    assert all(refunds[key].status == Refund.Status.REQUESTED for key in kept.keys() - done.keys())
    assert all(refunds[key].status == Refund.Status.FAILED for key in bank.returned)
    over = sum(town.settled.values(), ZERO)
    owes = -balance("clearing:demo")
    assert owes == sum(took.values(), ZERO) - sum(done.values(), ZERO) - over, f"the bank owes {owes}"
    fees = FEE * len(town.settled.keys() & bank.taken.keys())
    assert balance(ledger.BANK_FEES) == -fees
    assert balance(ledger.BANK, movement__kind="settlement") == fees - over


def communes_earn_what_is_sold() -> None:
    """A commune's account, with what was stated already, is the price of what it has sold and not given back."""
    paid = OrderLine.objects.filter(order__status=Order.Status.PAID, cancelled_at=None)
    earned: dict[str, Decimal] = {}
    for line in paid.filter(kind__in=["booking", "ticket"]):
        code = ledger.revenue_code(line.commune_id)
        earned[code] = earned.get(code, ZERO) + line.unit_price
    for statement in Statement.objects.in_force().select_related("account"):
        earned[statement.account.code] = (
            earned.get(statement.account.code, ZERO) - statement.gross + statement.cancelled
        )
    held = balances(Account.Kind.REVENUE)
    assert {code: amount for code, amount in held.items() if amount} == {c: a for c, a in earned.items() if a}
    assert balance(ledger.FEES) == sum((line.unit_price for line in paid.filter(kind="fee")), ZERO)


def every_book_agrees() -> None:
    """What the nightly verification recomputes."""
    differences = list(verify())
    assert not differences, differences
