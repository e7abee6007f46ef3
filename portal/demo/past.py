"""The months before the demonstration began: families who came to a counter, booked and cancelled, each at its own time.

All of it goes through the real actions, with the clock of the process set to the moment: nothing of the database is let off, and
what is written is what these actions would have written then. So there are days to close, communes to pay over, months to
invoice and a certificate to print from the first evening on. In the first days of a school year there is nothing yet.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from unittest.mock import patch

from django.utils import timezone

from accounts.models import Address, Commune, Terms, User
from bookings.actions import Wish
from bookings.models import Booking
from checkout.actions import Means, accept_sale_terms, add_to_cart, cancel_bookings, choose_address, pay
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means as TillMeans
from checkout.models import Cart
from families.models import Beneficiary
from portal.common.formats import PARIS, today
from services.models import Activity, OpenDay, Slot, Subscription

MONTHS = 2  # so many before this one
EACH = 4  # days that a family books in a month


@dataclass(frozen=True)
class Household:
    """A family of the demonstration, and what it books."""

    user: User
    people: Sequence[Beneficiary]
    activity: Activity
    slot: Slot
    access: Subscription
    cashier: User  # who takes its money
    counter: Commune | None  # at which counter; None: the agglomération's


@contextmanager
def clock(moment: dt.datetime) -> Iterator[None]:
    """Within the block the application's clock starts at this moment; seconds go by as they do."""
    begun = timezone.now()
    tick = timezone.now
    with (
        patch("django.utils.timezone.now", lambda: moment.astimezone(dt.UTC) + (tick() - begun)),
        patch("portal.common.formats.now", lambda: moment.astimezone(PARIS) + (tick() - begun)),
    ):
        yield


def months() -> list[dt.date]:
    """The first days of the months before this one, the oldest first."""
    found: list[dt.date] = []
    first = today().replace(day=1)
    for _month in range(MONTHS):
        first = (first - dt.timedelta(days=1)).replace(day=1)
        found.insert(0, first)
    return found


def joined_at() -> dt.datetime:
    """When these families had their accounts: before they first booked."""
    return dt.datetime.combine(months()[0] - dt.timedelta(days=30), dt.time(10, 30), tzinfo=PARIS)


def load(families: Sequence[Household]) -> None:
    """Tell the story of these families month by month, as money of one wallet must be: the oldest first."""
    receipts = count(1)
    for first in months():
        for minute, family in enumerate(families):
            days = _days(family.activity, first)
            if days:
                monday = days[0].date - dt.timedelta(days=7 + days[0].date.weekday())  # counters are open
                at = dt.datetime.combine(monday, dt.time(17, 5 + minute), tzinfo=PARIS)
                _one_month(family, days, at, next(receipts))


def _days(activity: Activity, first: dt.date) -> list[OpenDay]:
    rows = OpenDay.objects.filter(activity=activity, is_open=True, date__year=first.year, date__month=first.month)
    return list(rows.order_by("date")[1 : 1 + EACH])


def _one_month(family: Household, days: Sequence[OpenDay], at: dt.datetime, number: int) -> None:
    """Money at the counter on the way home, the order in the evening, and a day given back when there are several."""
    with clock(at):
        take_top_up(
            user=family.user,
            amount=Decimal(60),
            paper=Paper(TillMeans.CASH, f"Q-{at.year}-{number:03d}"),
            commune=family.counter,
            by=family.cashier,
        )
    with clock(at + dt.timedelta(hours=4)):
        added = add_to_cart(
            user=family.user,
            activity=family.activity,
            slot=family.slot,
            subscription=family.access,
            wishes=[Wish(person.pk, day.date) for day in days for person in family.people],
        )
        choose_address(user=family.user, address=Address.objects.get(user=family.user))
        accept_sale_terms(user=family.user, terms=Terms.objects.current(Terms.Kind.SALE))
        cart = Cart.objects.live().get(user=family.user)
        order = pay(user=family.user, cart_id=cart.pk, means=Means.WALLET, shown_total=added.total).order
    if number % 3 == 0:
        with clock(at + dt.timedelta(days=1, hours=4)):
            last = Booking.objects.filter(order_lines__order=order).order_by("-open_day__date", "pk").first()
            if last is not None:
                cancel_bookings(ids=[last.pk], by=family.user)
