"""A parent who pays by card, and what must hold once it is over, whatever the bank and the network did."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

import pgtrigger
from django.db.models import F
from django.test import Client
from django.utils import timezone

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, start_top_up
from checkout.models import GIVE_UP_AFTER, Order, Payment, ProviderEvent, Refund
from checkout.providers.base import Departure
from checkout.regie.admin_verifications import sections
from checkout.tasks import ask_again, reconcile_payments
from checkout.verification import verify
from portal.common.formats import euros
from portal.common.money import ZERO
from portal.outbox.calls import make_due
from portal.outbox.models import Email
from tests.factories import AddressFactory
from tests.faults.bank import Bank
from tests.shop import Shop, open_shop
from wallet import actions as ledger
from wallet.models import Account, Movement, TopUpPack

TOTAL = Decimal("31.60")
DEPOSIT = Decimal("10.00")


@dataclass
class Scene:
    """Four mornings at 7,90 €, in front of the bank's page."""

    bank: Bank
    shop: Shop
    payment: Payment

    @property
    def order(self) -> Order:
        return Order.objects.get(pk=self.payment.order_id)

    @property
    def status(self) -> tuple[str, str]:
        """Of the card's payment and of its order."""
        self.payment.refresh_from_db()
        return str(self.payment.status), str(self.order.status)

    @property
    def booked(self) -> int:
        return Booking.objects.filter(beneficiary__in=self.shop.children, status=Booking.Status.BOOKED).count()

    def tell(self) -> int:
        """The bank says how the payment stands; the status of our answer."""
        self.payment.refresh_from_db()
        return self.bank.deliver(self.bank.notification(self.payment))

    def come_back(self) -> str:
        """The browser comes back from the bank; where it is sent on to."""
        return self.come_back_by(self.bank.way_back(self.payment))

    def come_back_by(self, address: str) -> str:
        """The same by an address that the bank gave before."""
        browser = Client()
        browser.force_login(self.shop.user)
        response = browser.get(address)
        assert response.status_code == 302
        return str(response["Location"])

    def give_up(self) -> None:
        """Six hours later nobody has heard anything of this payment."""
        let_time_pass(GIVE_UP_AFTER)
        reconcile_payments()

    def ask_again(self) -> None:
        """Another hour later, the payments that were given up unheard are asked about."""
        let_time_pass(dt.timedelta(hours=1))
        ask_again()

    def hold_runs_out(self) -> None:
        Hold.objects.filter(user=self.shop.user).update(expires_at=timezone.now() - dt.timedelta(minutes=5))
        release_expired_holds()

    def written(self) -> list[str]:
        """The subjects of what the parent was written."""
        return list(Email.objects.filter(to=self.shop.user.email).order_by("pk").values_list("subject", flat=True))


def paid_once(scene: Scene) -> bool:
    """The order is paid by the card, its places are booked, its money has moved and its parent is told: each once."""
    assert scene.status == ("captured", "paid")
    assert scene.booked == 4
    assert Movement.objects.filter(kind=Movement.Kind.ORDER).count() == 1
    assert len(scene.written()) == 1
    return True


def untouched(scene: Scene) -> bool:
    """Nothing was paid, and nobody was told that something was."""
    assert scene.status == ("started", "pending")
    assert scene.booked == 0
    assert not Movement.objects.filter(kind=Movement.Kind.ORDER).exists()
    assert scene.written() == []
    return True


def outcomes() -> list[str]:
    """What was made of the messages that arrived, oldest first."""
    return list(ProviderEvent.objects.order_by("pk").values_list("outcome", flat=True))


def choose_card(*, credit: str = "0", days: int = 4) -> tuple[Shop, Means]:
    """A parent with `credit` euros in the wallet who pays by card, the wallet first if there is something in it."""
    shop = open_shop(days=days, credit=credit)
    shop.add()
    return shop, Means.BOTH if Decimal(credit) else Means.CARD


def leave(bank: Bank, *, credit: str = "0") -> tuple[Scene, Departure]:
    """The parent presses « Payer », and the platform says where to go."""
    shop, means = choose_card(credit=credit)
    started = shop.pay(means, TOTAL)
    assert started.departure is not None
    payment = Payment.objects.get(order=started.order, provider=bank.slug)
    return Scene(bank, shop, payment), started.departure


def at_the_bank(bank: Bank, *, credit: str = "0") -> Scene:
    """The parent sees the bank's page."""
    scene, departure = leave(bank, credit=credit)
    bank.open(scene.payment, departure)
    return scene


def deposit_at_the_bank(bank: Bank) -> Scene:
    """A parent in front of the bank's page for ten euros of credits, without a fee."""
    shop = open_shop(days=1)
    AddressFactory(user=shop.user)  # some banks ask where the payer lives
    TopUpPack.objects.get_or_create(amount=DEPOSIT)
    started = start_top_up(user=shop.user, amount=DEPOSIT, shown_total=DEPOSIT)
    assert started.departure is not None
    scene = Scene(bank, shop, Payment.objects.get(order=started.order))
    bank.open(scene.payment, started.departure)
    return scene


def let_time_pass(span: dt.timedelta) -> None:
    """Every payment was started, and spoken of, so much earlier, and nobody has been asked lately."""
    Payment.objects.update(created_at=F("created_at") - span, checked_at=None)
    with pgtrigger.ignore("checkout.ProviderEvent:event_is_kept_raw"):
        ProviderEvent.objects.update(received_at=F("received_at") - span)


def reconcile() -> int:
    """Three minutes later, the task asks the bank about what it has not told; how many payments that ended."""
    let_time_pass(dt.timedelta(minutes=3))
    return reconcile_payments()


def ends_right(bank: Bank) -> None:
    """The tasks leave nothing open; ledger, orders and places agree; the bank holds what our books say that it holds."""
    assert list(verify()) == []
    reconcile()
    let_time_pass(GIVE_UP_AFTER)
    reconcile_payments()
    ask_again()
    make_due()
    assert not Refund.objects.filter(status=Refund.Status.REQUESTED).exists(), "a refund is left open"
    assert not Payment.objects.filter(status__in=Payment.RUNNING).exists(), "a payment is left open"
    assert list(verify()) == []
    clearing = Account.objects.filter(code=ledger.clearing_code(bank.slug)).first()
    held = clearing.balance() if clearing else ZERO
    assert -held == bank.taken(), "the bank's books and ours differ"
    reported = {address.rpartition("=")[2]: amount for _name, amount, address, _words in sections()[0]["rows"]}
    assert reported.get(str(clearing.pk) if clearing else "", euros(ZERO)) == euros(held), (
        "the report says something else"
    )
    told = Email.objects.filter(key__startswith="order:", key__endswith=":paid")
    assert told.count() == Order.objects.filter(status=Order.Status.PAID).count()
    credited = Email.objects.filter(key__startswith="payment:", key__endswith=":credited")
    assert credited.count() == Payment.objects.filter(status=Payment.Status.CREDITED).count()
