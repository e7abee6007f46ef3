"""A ledger with a past: movements dated on other days, which only a test may write."""

import datetime as dt
from decimal import Decimal

import pgtrigger
from django.db import transaction

from portal.common.formats import today
from tests.guards import sql
from wallet import actions as ledger
from wallet.closings.actions import BY_DAY, last_to_close, midnight
from wallet.models import LOADED, Movement
from wallet.withdrawals.models import TransferOrder


def days_ago(days: int) -> dt.date:
    """So many days before the day that cannot be closed yet: at midnight that is, for ten minutes, still yesterday."""
    return last_to_close() + dt.timedelta(days=1 - days)


def last_month() -> tuple[dt.date, dt.date]:
    """The first and the last day of the newest month that may be closed: at midnight the month before may not yet."""
    end = days_ago(0).replace(day=1) - dt.timedelta(days=1)
    return end.replace(day=1), end


def counted_before() -> str:
    """wallet.closings.actions.BY_DAY as it first was: money that goes back from the bank to the till was a receipt."""
    now = "m.kind IN ('order', 'top_up', 'counter', 'late_payment')"
    assert now in BY_DAY
    return BY_DAY.replace(now, "m.kind NOT IN ('settlement', 'refund')")


def dated(movement: int, date: dt.date, hours: int = 12) -> Movement:
    """The movement as if it had been written on this day."""
    with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
        Movement.objects.filter(pk=movement).update(at=midnight(date) + dt.timedelta(hours=hours))
    return Movement.objects.get(pk=movement)


def posted(date: dt.date, key: str = "k", kind: Movement.Kind = Movement.Kind.COUNTER, **amounts: str) -> Movement:
    """A movement of a day: `posted(day, revenue__12="10.00", clearing__demo="-10.00")`."""
    found = {code.replace("__", ":"): Decimal(amount) for code, amount in amounts.items()}
    with transaction.atomic():
        return dated(ledger.post(kind=kind, key=key, label=f"Essai {key}", amounts=found, by=None), date)


def corrected(date: dt.date, key: str = "k", **amounts: str) -> Movement:
    """The same as of a balance that was loaded, which explains itself: the nightly check finds no fault with it."""
    with transaction.atomic():
        sql("SELECT set_config('wallet.loading', 'on', true)")
        row = posted(date, LOADED + key, Movement.Kind.ADJUSTMENT, **amounts)
        sql("SELECT set_config('wallet.loading', 'off', true)")
    return row


def due(order: TransferOrder) -> TransferOrder:
    """A transfer order whose day has come."""
    with pgtrigger.ignore("wallet.TransferOrder:transfer_order_is_frozen"):
        TransferOrder.objects.filter(pk=order.pk).update(execution_date=today())
    return TransferOrder.objects.get(pk=order.pk)
