"""A process is killed between any two steps of a payment and started again: money and places are right afterwards.

Each test kills a process at its first step, starts the work again, then another one at its second step, and so on until
one lives to its end. See `victim` for what a step is, `scene.ends_right` for what must hold in the end.
"""

import datetime as dt
import itertools
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings

from checkout.actions import Means, abandon_order, cancel_bookings, pay
from checkout.models import GIVE_UP_AFTER, Order, Payment, Refund
from checkout.tasks import reconcile_payments
from checkout.verification import verify
from portal.outbox.calls import make_due
from portal.outbox.models import Email
from tests.factories import regie
from tests.faults.bank import REFUNDING, Bank
from tests.faults.scene import DEPOSIT, TOTAL, Scene, at_the_bank, deposit_at_the_bank, let_time_pass, reconcile
from tests.faults.victim import Victim
from tests.shop import Shop, open_shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("right_in_the_end")]


@pytest.fixture
def victim(bank: Bank) -> Iterator[Victim]:
    here = {**bank.settings, "SITE_URL": django_settings.SITE_URL, "CARD_PROVIDERS": [bank.slug]}
    with Victim(here) as victim:
        yield victim


def every_step() -> Iterator[int]:
    return itertools.islice(itertools.count(1), 200)


def press(victim: Victim, step: int, shop: Shop, means: str, *, every: bool = False) -> bool:
    """The parent presses « Payer », and the process that answers dies at a step."""
    data = urlencode({"cart": shop.cart.pk, "total": str(TOTAL), "means": means})
    return victim.dies(
        step,
        "post",
        every=every,
        user=shop.user.pk,
        path="/commande/paiement/",
        body=data,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )


def with_a_full_cart(credit: str) -> Shop:
    shop = open_shop(credit=credit)
    shop.add()
    shop.answer_steps()
    return shop


def is_paid(shop: Shop, left: Decimal) -> bool:
    order = Order.objects.get(user=shop.user, kind=Order.Kind.BOOKING, status=Order.Status.PAID)
    assert order.lines.filter(booking__status="booked", cancelled_at=None).count() == 4
    assert Email.objects.filter(to=shop.user.email, key__endswith=":paid").count() == 1
    assert shop.balance == left
    return True


@pytest.mark.parametrize("bank", ["demo"], indirect=True)  # none is asked
def test_paying_from_the_wallet(bank: Bank, victim: Victim) -> None:
    """Before the end nothing has happened, and pressing again pays once. Every statement is a step."""
    for step in every_step():
        shop = with_a_full_cart("40")
        died = press(victim, step, shop, "wallet", every=True)
        if not Order.objects.filter(user=shop.user, status=Order.Status.PAID).exists():
            assert died and shop.balance == 40
            pay(user=shop.user, cart_id=shop.cart.pk, means=Means.WALLET, shown_total=TOTAL)
        assert is_paid(shop, left=40 - TOTAL) and list(verify()) == []
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


def test_leaving_for_the_bank(bank: Bank, victim: Victim) -> None:
    """Pressing again leads to the bank; who never comes again has the wallet's part back in the end."""
    gone: list[Shop] = []
    for step in every_step():
        shop = with_a_full_cart("12")
        died = press(victim, step, shop, "both")
        assert list(verify()) == []
        if step % 3 == 0:
            gone.append(shop)
        else:
            started = pay(user=shop.user, cart_id=shop.cart.pk, means=Means.BOTH, shown_total=TOTAL)
            payment = Payment.objects.get(order=started.order, provider=bank.slug, status="started")
            assert started.departure is not None
            bank.open(payment, started.departure)
            bank.pay(payment)
            assert Scene(bank, shop, payment).tell() == 200
            assert is_paid(shop, left=Decimal(0))
        if not died:
            assert step > 4
            let_time_pass(GIVE_UP_AFTER)
            reconcile_payments()
            assert [each.balance for each in gone] == [Decimal(12)] * len(gone)
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("credit", ["0", "12"], ids=["card", "wallet and card"])
def test_the_banks_message(bank: Bank, victim: Victim, credit: str) -> None:
    """The bank says it again, as banks do that were not answered; or nobody ever does, and the bank is asked."""
    for step in every_step():
        scene = at_the_bank(bank, credit=credit)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        message = bank.notification(scene.payment)
        died = victim.dies(
            step,
            "post",
            every=bank.slug == "demo" and credit != "0",
            path=f"/paiement/{bank.slug}/notification/?{message.query}",
            body=message.body.decode("latin-1"),
            headers=dict(message.headers),
        )
        assert list(verify()) == []
        if step % 2:
            assert scene.tell() == 200
        else:
            reconcile()
        assert scene.status == ("captured", "paid") and is_paid(scene.shop, left=Decimal(0))
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


def test_the_banks_message_about_a_deposit(bank: Bank, victim: Victim) -> None:
    for step in every_step():
        scene = deposit_at_the_bank(bank)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        message = bank.notification(scene.payment)
        died = victim.dies(
            step,
            "post",
            path=f"/paiement/{bank.slug}/notification/?{message.query}",
            body=message.body.decode("latin-1"),
            headers=dict(message.headers),
        )
        assert list(verify()) == []
        if step % 2:
            assert scene.tell() == 200
        else:
            reconcile()
        assert scene.status == ("captured", "paid") and scene.shop.balance == DEPOSIT
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


def test_giving_an_order_up(bank: Bank, victim: Victim) -> None:
    """The wallet's part comes back once; who pays all the same at the page that stood open has it in the wallet."""
    for step in every_step():
        scene = at_the_bank(bank, credit="12")
        died = victim.dies(
            step,
            "post",
            user=scene.shop.user.pk,
            path=f"/commande/{scene.order.reference}/abandonner/",
            body="",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert list(verify()) == []
        abandon_order(user=scene.shop.user, order=scene.order)
        make_due()
        assert scene.status == ("abandoned", "cancelled") and scene.shop.balance == 12
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


def test_the_browsers_return(bank: Bank, victim: Victim) -> None:
    for step in every_step():
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        died = victim.dies(step, "get", user=scene.shop.user.pk, path=bank.way_back(scene.payment))
        assert list(verify()) == []
        if step % 2:
            scene.come_back()
        else:
            reconcile()
        assert scene.status == ("captured", "paid") and is_paid(scene.shop, left=Decimal(0))
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


def test_the_task_that_asks_the_bank(bank: Bank, victim: Victim) -> None:
    for step in every_step():
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        let_time_pass(dt.timedelta(minutes=3))
        died = victim.dies(step, "reconcile")
        assert list(verify()) == []
        reconcile()
        assert scene.status == ("captured", "paid") and is_paid(scene.shop, left=Decimal(0))
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("bank", REFUNDING, indirect=True)
def test_the_refund_to_a_card(bank: Bank, victim: Victim) -> None:
    """The card is paid back once, whether the process died before the bank heard of it or before it wrote so."""
    regie(card_refunds=True)
    for step in every_step():
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        assert scene.tell() == 200
        before = bank.taken()
        lines = scene.order.lines.values_list("booking", flat=True)
        cancel_bookings(ids=[pk for pk in lines if pk][:2], by=scene.shop.user, to_card=True)
        died = victim.dies(step, "calls")
        assert list(verify()) == []
        make_due()
        assert not Refund.objects.filter(status=Refund.Status.REQUESTED).exists()
        assert bank.taken() == before - 2 * Decimal("7.90") and scene.shop.balance == 0
        if not died:
            assert step > 4
            return
    pytest.fail("it never came to its end")
