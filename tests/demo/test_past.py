"""The demonstration's months before it began: told through the real actions, in the order in which they happened."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.models import Booking
from checkout.counter.models import CounterReceipt
from checkout.models import Order
from checkout.verification import verify
from portal.common.formats import PARIS, today
from portal.demo import past
from portal.demo.data import load
from wallet.models import Entry, Movement, Wallet

FIRST_EVENING = dt.datetime(2026, 11, 20, 18, 30, tzinfo=PARIS)


@pytest.mark.django_db
def test_months_that_can_be_closed_and_invoiced() -> None:
    with past.clock(FIRST_EVENING):
        load(lambda _words: None)
        assert list(verify()) == []
        this_month = FIRST_EVENING.replace(day=1, hour=0, minute=0)
        before = Order.objects.filter(paid_at__lt=this_month, kind=Order.Kind.BOOKING)
        assert before.count() >= 12 and CounterReceipt.objects.filter(at__lt=this_month).count() >= 12
        assert Booking.objects.booked().filter(open_day__date__lt=this_month.date()).count() > 50
        assert Movement.objects.filter(kind=Movement.Kind.CANCELLATION, at__lt=this_month).exists()
        assert not Movement.objects.filter(at__gt=timezone.now()).exists()
        for wallet in Wallet.objects.all():  # a statement that goes back in time would not add up line by line
            times = list(Entry.objects.of_wallet(wallet).order_by("pk").values_list("movement__at", flat=True))
            assert times == sorted(times)
        assert not Movement.objects.filter(kind=Movement.Kind.ADJUSTMENT).exists()  # nobody corrects a wallet alone
        taken = list(CounterReceipt.objects.order_by("number").values_list("at", flat=True))
        assert taken == sorted(taken) and taken[-1].astimezone(PARIS).date() == FIRST_EVENING.date() - dt.timedelta(1)


def test_the_clock_goes_on_and_comes_back() -> None:
    before = timezone.now()
    with past.clock(FIRST_EVENING):
        assert today() == FIRST_EVENING.date() and timezone.now() >= FIRST_EVENING
        assert past.months() == [dt.date(2026, 9, 1), dt.date(2026, 10, 1)]
    assert timezone.now() >= before and timezone.now() - before < dt.timedelta(hours=1)
