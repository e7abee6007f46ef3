"""The months before the demonstration began: families who came to a counter, booked and cancelled, each at its own time.

All of it goes through the real actions, with the clock of the process set to the moment: nothing of the database is let off, and
what is written is what these actions would have written then. So there are days to close, communes to pay over, months to
invoice and a certificate to print from the first evening on. In the first days of a school year there are deposits only.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import count, islice
from operator import itemgetter
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
from services.school_calendar import public_holidays

MONTHS = 2  # so many before this one
EACH = 4  # days that a family books in a month
EVENING = dt.timedelta(hours=4)  # after the counter


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


@dataclass(frozen=True)
class Deposit:
    """Money that somebody brings to a counter (None: the agglomération's)."""

    user: User
    amount: Decimal
    cashier: User
    counter: Commune | None
    cheque: str = ""  # empty: in cash


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


def load(families: Sequence[Household], deposits: Sequence[Deposit]) -> None:
    """Tell the story of these families up to yesterday, and of the deposits of its last days.

    Moment by moment across all of them: quittances and orders are numbered in the order in which they are made.
    """
    story: list[tuple[dt.datetime, Callable[[], None]]] = []
    numbers = count(1)
    visits = 0
    for first in [*months(), today().replace(day=1)]:
        for minute, family in enumerate(families):
            days = _days(family.activity, first)
            if not days:
                continue
            visits += 1
            monday = days[0].date - dt.timedelta(days=7 + days[0].date.weekday())  # counters are open
            at = dt.datetime.combine(monday, dt.time(17, 5 + minute), tzinfo=PARIS)
            story += [
                (at, partial(_pay_in, Deposit(family.user, Decimal(60), family.cashier, family.counter), numbers)),
                (at + EVENING, partial(_order, family, days)),
            ]
            if visits % 3 == 0:
                story.append((at + dt.timedelta(days=1) + EVENING, partial(_give_a_day_back, family)))
    for at, deposit in zip(_last_afternoons(len(deposits)), deposits, strict=True):
        story.append((at, partial(_pay_in, deposit, numbers)))
    for at, happens in sorted(story, key=itemgetter(0)):
        with clock(at):
            happens()


def _days(activity: Activity, first: dt.date) -> list[OpenDay]:
    """A few days of this month that are over; of a month that has hardly begun, none."""
    rows = OpenDay.objects.filter(activity=activity, is_open=True, date__year=first.year, date__month=first.month)
    return list(rows.filter(date__lt=today()).order_by("date")[1 : 1 + EACH])


def _last_afternoons(number: int) -> list[dt.datetime]:
    """So many of the newest afternoons on which counters were open, before today, the oldest first."""
    before = (today() - dt.timedelta(days=back) for back in count(1))
    closed = public_holidays(today() - dt.timedelta(days=2 * number + 14), today())
    work = (date for date in before if date.weekday() < 5 and date not in closed)
    return [dt.datetime.combine(date, dt.time(15, 20), tzinfo=PARIS) for date in islice(work, number)][::-1]


def _pay_in(deposit: Deposit, numbers: Iterator[int]) -> None:
    """Money at the counter, on the way home from work."""
    means = TillMeans.CHEQUE if deposit.cheque else TillMeans.CASH
    take_top_up(
        user=deposit.user,
        amount=deposit.amount,
        paper=Paper(means, f"Q-{today().year}-{next(numbers):03d}", deposit.cheque),
        commune=deposit.counter,
        by=deposit.cashier,
    )


def _order(family: Household, days: Sequence[OpenDay]) -> None:
    """In the evening, with what was paid in."""
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
    pay(user=family.user, cart_id=cart.pk, means=Means.WALLET, shown_total=added.total)


def _give_a_day_back(family: Household) -> None:
    """The last day of what they have just ordered."""
    booked = Booking.objects.booked().filter(order_lines__order__user=family.user)
    last = booked.order_by("-open_day__date", "pk").first()
    if last is not None:
        cancel_bookings(ids=[last.pk], by=family.user)
