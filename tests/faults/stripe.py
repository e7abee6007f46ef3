"""Stripe behind the face of the fault tests."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from typing import Self
from unittest import mock

from checkout.models import Payment
from checkout.providers import stripe as provider
from portal.common.money import CENT, ZERO
from tests.faults.bank import Bank, Notification
from tests.faults.stripe_server import StripeServer


class StripeBank(Bank):
    slug = "stripe"

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.stripe = StripeServer()

    def __enter__(self) -> Self:
        self.stripe.server.start()
        self.settings = {
            "STRIPE_SECRET_KEY": self.stripe.key,
            "STRIPE_WEBHOOK_SECRET": self.stripe.secret,
            "STRIPE_API_BASE": self.stripe.server.url,
            "STRIPE_CHECKOUT_ORIGIN": self.stripe.server.url,
        }
        return self

    def __exit__(self, *_error: object) -> None:
        self.stripe.server.stop()

    def pay(self, payment: Payment) -> None:
        self.stripe.pay(self._session(payment))

    def refuse(self, payment: Payment) -> None:
        self.stripe.complete_unpaid(self._session(payment))
        self.stripe.fail_later(self._session(payment))

    def abandon(self, payment: Payment) -> None:
        self.stripe.expire(self._session(payment))

    def notification(self, payment: Payment) -> Notification:
        session = self._session(payment)
        row = self.stripe.sessions[session]
        if row["status"] == "expired":
            return self.stripe.event(provider.EXPIRED, session)
        if row["payment_status"] == "paid":
            return self.stripe.event(provider.COMPLETED, session)
        return self.stripe.event(provider.FAILED_LATER, session)

    def history(self, payment: Payment) -> Sequence[Notification]:
        session = self._session(payment)
        told = [self.stripe.event("payment_intent.created", session)]
        self.stripe.complete_unpaid(session)
        told.append(self.stripe.event(provider.COMPLETED, session))
        self.stripe.succeed_later(session)
        told.append(self.stripe.event(provider.SUCCEEDED_LATER, session))
        return told

    def forged(self, payment: Payment) -> Sequence[Notification]:
        session = self._session(payment)
        claimed = {**self.stripe.sessions[session], "payment_status": "paid", "status": "complete"}
        event = {"object": "event", "type": provider.COMPLETED, "data": {"object": claimed}}
        paid = self.stripe.signed(event)
        body, headers = paid.body.decode(), dict(paid.headers)
        unpaid = self.stripe.event(provider.COMPLETED, session).body.decode()
        signature = headers["Stripe-Signature"]
        return [
            Notification(body.encode(), {**headers, "Stripe-Signature": ""}),
            Notification(body.encode(), {"Content-Type": headers["Content-Type"]}),
            Notification(body.encode(), self.stripe.headers(unpaid)),
            Notification(body.encode() + b" ", headers),
            Notification(body.encode(), {**headers, "Stripe-Signature": signature[:-4] + "\xe9\xe9\xe9\xe9"}),
            Notification(b"\xff\x00", headers),
            self.stripe.signed(event, secret="whsec_de_quelqu_un_d_autre"),
            # A copy that somebody kept, of a day when it was true.
            self.stripe.signed(event, at=0),
        ]

    def of_another_amount(self, payment: Payment) -> Notification:
        paid = {"payment_status": "paid", "status": "complete"}
        cents = int((payment.amount - CENT) * 100)
        return self.stripe.event(provider.COMPLETED, self._session(payment), amount_total=cents, **paid)

    def of_nobody(self) -> Notification:
        session = {
            "id": "cs_test_autre",
            "client_reference_id": "REFERENCEINCONNUE",
            "amount_total": 3160,
            "currency": "eur",
            "payment_status": "paid",
            "status": "complete",
        }
        return self.stripe.event(provider.COMPLETED, "", **session)

    def down(self) -> AbstractContextManager[None]:
        return self.stripe.server.down()

    @contextmanager
    def slow(self) -> Iterator[None]:
        with mock.patch.object(provider, "READ_SECONDS", 0.2), self.stripe.server.slow():
            yield

    def taken(self) -> Decimal:
        paid = [row["amount"] for row in self.stripe.intents.values() if row["status"] == "succeeded"]
        back = [row["amount"] for row in self.stripe.refunds.values() if row["status"] == "succeeded"]
        return ZERO + Decimal(sum(paid) - sum(back)).scaleb(-2)

    def _session(self, payment: Payment) -> str:
        (found,) = [
            name for name, row in self.stripe.sessions.items() if row["client_reference_id"] == payment.reference
        ]
        return found
