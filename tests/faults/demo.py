"""The demonstration's bank behind the face of the fault tests: its pages are the live server's own (portal.demo)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from unittest import mock
from urllib.parse import urlencode

from django.db.models import Sum
from django.test import override_settings

from checkout.models import Payment
from checkout.providers import demo
from checkout.providers.base import Departure
from portal.common.money import CENT, ZERO
from portal.demo.bank import statement
from portal.demo.models import BankPayment, BankRefund
from tests.faults.bank import NOBODY, Bank, Notification, call, deaf_address


def signed(fields: Mapping[str, str]) -> Notification:
    return Notification(urlencode(demo.sign(fields)).encode())


class DemoBank(Bank):
    slug = "demo"

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.pages: dict[str, str] = {}

    def open(self, payment: Payment, departure: Departure) -> None:
        super().open(payment, departure)
        self.pages[payment.reference] = departure.url

    def pay(self, payment: Payment) -> None:
        self._decide(payment, "captured")

    def refuse(self, payment: Payment) -> None:
        self._decide(payment, "refused")

    def abandon(self, payment: Payment) -> None:
        self._decide(payment, "abandoned")

    def _decide(self, payment: Payment, outcome: str) -> None:
        choice = {"outcome": outcome, "notification": "never", "stay": "on"}
        assert call(self.pages[payment.reference], urlencode(choice).encode()) == 200

    def way_back(self, payment: Payment) -> str:
        if not BankPayment.objects.filter(reference=payment.reference).exists():
            return super().way_back(payment)  # by the browser's own button: the bank adds nothing
        return f"{super().way_back(payment)}?{urlencode(self._fields(payment))}"

    def notification(self, payment: Payment) -> Notification:
        return Notification(urlencode(self._fields(payment)).encode())

    def history(self, payment: Payment) -> Sequence[Notification]:
        told = []
        for step in (self.refuse, self.abandon, self.pay):
            step(payment)
            told.append(self.notification(payment))
        return told

    def forged(self, payment: Payment) -> Sequence[Notification]:
        unsigned = {"reference": payment.reference, "outcome": "captured", "amount": str(payment.amount)}
        claimed = {**demo.sign({**unsigned, "outcome": "refused"}), "outcome": "captured"}
        with override_settings(SECRET_KEY="de quelqu’un d’autre"):
            anothers = signed(unsigned)
        return [
            Notification(urlencode(claimed).encode()),
            Notification(urlencode(unsigned).encode()),
            Notification(urlencode({**claimed, demo.SIGNATURE: "é"}).encode()),
            Notification(b"\xff\x00"),
            Notification(),
            anothers,
        ]

    def of_another_amount(self, payment: Payment) -> Notification:
        return self._captured(payment.reference, payment.amount - CENT)

    def of_nobody(self) -> Notification:
        return self._captured("REFERENCEINCONNUE", Decimal("31.60"))

    @contextmanager
    def down(self) -> Iterator[None]:
        with override_settings(SITE_URL=NOBODY):
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        with (
            deaf_address() as address,
            override_settings(SITE_URL=address),
            mock.patch.object(demo, "QUERY_TIMEOUT_SECONDS", 0.2),
        ):
            yield

    def taken(self) -> Decimal:
        captured = BankPayment.objects.filter(outcome=BankPayment.Outcome.CAPTURED)
        paid = captured.aggregate(sum=Sum("amount"))["sum"] or ZERO
        back = BankRefund.objects.aggregate(sum=Sum("amount"))["sum"] or ZERO
        return Decimal(paid - back)

    def _fields(self, payment: Payment) -> dict[str, str]:
        return statement(BankPayment.objects.get(reference=payment.reference))

    def _captured(self, reference: str, amount: Decimal) -> Notification:
        fields = {"reference": reference, "outcome": "captured", "amount": str(amount), "bank_reference": "DEMO-1"}
        return signed(fields)
