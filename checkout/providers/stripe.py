"""Stripe Checkout: the browser goes to Stripe's page, signed webhooks tell how the payment ended, and it can be asked.

A payment is one Checkout Session, which we know by its identifier and Stripe by our reference. What the browser brings
back is not signed: it counts for nothing, the session is asked about.
https://docs.stripe.com/api/checkout/sessions, https://docs.stripe.com/webhooks
"""

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import stripe
from django.conf import settings
from django.utils.translation import gettext as _

from checkout.providers.base import (
    EURO,
    Arrival,
    Departure,
    Forged,
    Health,
    Ignored,
    Impossible,
    Known,
    Message,
    Outcome,
    Provider,
    RefundFailed,
    Request,
    Unreachable,
)

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

logger = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 5, 10
# How long the page at Stripe can be paid; Stripe takes from 30 minutes to 24 hours.
OPEN_FOR = dt.timedelta(hours=1)
# A webhook older than that is somebody's copy: Stripe signs the moment, and signs anew when it tries again.
TOLERANCE_SECONDS = 300

COMPLETED = "checkout.session.completed"
SUCCEEDED_LATER = "checkout.session.async_payment_succeeded"
FAILED_LATER = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"
EVENTS = {COMPLETED, SUCCEEDED_LATER, FAILED_LATER, EXPIRED}

# Of a payment intent that no longer tries: its session is complete, and will never be paid.
FAILED_INTENTS = {"requires_payment_method", "canceled"}
# A bank has sent back, days later, what Stripe had taken for done.
REFUND_FAILED = "refund.failed"
# A refund that Stripe gave up; the money stays with us.
FAILED_REFUNDS = {"failed", "canceled"}


class StripeProvider(Provider):
    slug = "stripe"
    label = "Carte bancaire (Stripe)"
    variables = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")
    # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    smallest = Decimal("0.50")
    can_refund = True
    can_withdraw = True

    @property
    def origins(self) -> Sequence[str]:
        return [settings.STRIPE_CHECKOUT_ORIGIN]

    def start(self, request: Request) -> Departure:
        params: SessionCreateParams = {
            "mode": "payment",
            # What the dashboard offers besides is not always a card, and is paid out in other ways.
            "allowed_payment_method_types": ["card"],
            # Our euros are what is paid, whatever currency the card's country has.
            "adaptive_pricing": {"enabled": False},
            "locale": "fr",
            "client_reference_id": request.reference,
            "customer_email": request.email,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": EURO.lower(),
                        "unit_amount": to_cents(request.amount),
                        "product_data": {"name": request.label},
                    },
                }
            ],
            "metadata": {"reference": request.reference, "order": request.number},
            # On the payment itself too: that is what the dashboard and the exports of Stripe list.
            "payment_intent_data": {
                "description": request.label,
                "metadata": {"reference": request.reference, "order": request.number},
            },
            "success_url": request.return_url,
            "cancel_url": request.return_url,
            "expires_at": int((request.at + OPEN_FOR).timestamp()),
        }
        with spoken_to(), self._client() as client:
            session = client.v1.checkout.sessions.create(params, {"idempotency_key": request.reference})
        if session.url is None or not _leads_to(session.url, self.origins):
            raise Impossible(f"STRIPE_CHECKOUT_ORIGIN is not where Stripe's page is: {session.url}")
        return Departure(session.url, provider_reference=session.id)

    def read(self, arrival: Arrival) -> Message | RefundFailed:
        event = self._verified(arrival)
        kind = str(event.get("type", ""))
        if kind == REFUND_FAILED:
            return _failure(event.get("data", {}).get("object", {}))
        if kind not in EVENTS:
            raise Ignored(kind)
        return _message(event.get("data", {}).get("object", {}), failed=kind == FAILED_LATER)

    def query(self, known: Known) -> Message:
        if not known.provider_reference:
            # The address of its page never reached us, nor then the payer: nobody can pay it.
            raise Unreachable("the session is not known here")
        with unanswered(), spoken_to(), self._client() as client:
            found = client.v1.checkout.sessions.retrieve(known.provider_reference, {"expand": ["payment_intent"]})
            session = found.to_dict()
            intent = session.get("payment_intent") or {}
            over = session.get("status") == "complete" and intent.get("status") in FAILED_INTENTS
            return _message(session, failed=over)

    def refund(self, *, known: Known, amount: Decimal, key: str) -> str:
        with spoken_to(), self._client() as client:
            session = client.v1.checkout.sessions.retrieve(known.provider_reference)
            if not session.payment_intent:
                raise Impossible(f"session {session.id} was never paid")
            intent = str(session.payment_intent)
            # Stripe forgets idempotency keys after a day; what it paid back it keeps.
            made = client.v1.refunds.list({"payment_intent": intent, "limit": 100})
            for earlier in made.auto_paging_iter():
                if (earlier.to_dict().get("metadata") or {}).get("key") == key:
                    return _paid_back(earlier)
            try:
                refund = client.v1.refunds.create(
                    {
                        "payment_intent": intent,
                        "amount": to_cents(amount),
                        "metadata": {"key": key, "reference": known.reference},
                    },
                    {"idempotency_key": key},
                )
            except stripe.InvalidRequestError as error:
                if error.code == "charge_already_refunded" or error.param == "amount":
                    # Somebody has paid back at Stripe by hand: whether it was this, an operator finds out.
                    raise Unreachable(str(error)) from error
                raise
            return _paid_back(refund)

    def withdraw(self, known: Known) -> None:
        with spoken_to(), self._client() as client:
            client.v1.checkout.sessions.expire(known.provider_reference)

    def health(self) -> Health:
        if self.missing:
            return Health(False, False, _("Il manque : %s.") % ", ".join(self.missing))
        try:
            with spoken_to(), self._client() as client:
                balance = client.v1.balance.retrieve()
        except (Unreachable, Impossible) as error:
            logger.warning("Stripe does not answer as it should: %s", error)
            if isinstance(error.__cause__, stripe.AuthenticationError | stripe.PermissionError):
                return Health(True, False, _("Stripe répond et refuse la clé : vérifiez STRIPE_SECRET_KEY."))
            return Health(True, False, _("Stripe ne répond pas. Si cela dure : status.stripe.com."))
        if balance.livemode:
            return Health(True, True, _("Stripe répond et accepte la clé."))
        return Health(
            True, True, _("Stripe répond et accepte la clé, qui est une clé d’essai : aucun argent ne bouge.")
        )

    @contextmanager
    def _client(self) -> Iterator[stripe.StripeClient]:
        """A client of our own for each call: none of the library's global state, no connection that is kept."""
        http = stripe.RequestsClient(timeout=(CONNECT_SECONDS, READ_SECONDS))
        try:
            yield stripe.StripeClient(
                settings.STRIPE_SECRET_KEY,
                base_addresses={"api": settings.STRIPE_API_BASE},
                http_client=http,
                # A parent waits behind this: whether to ask again is decided by whoever called.
                max_network_retries=0,
            )
        finally:
            http.close()

    def _verified(self, arrival: Arrival) -> dict[str, Any]:
        """The event that Stripe has signed. Raises Forged."""
        try:
            stripe.WebhookSignature.verify_header(
                arrival.body,
                arrival.headers.get("Stripe-Signature"),
                settings.STRIPE_WEBHOOK_SECRET,
                TOLERANCE_SECONDS,
            )
            event = json.loads(arrival.body)
        # TypeError and ValueError: bytes that are no text, signatures beyond ASCII.
        except (stripe.SignatureVerificationError, TypeError, ValueError) as error:
            raise Forged(str(error)) from error
        if not isinstance(event, dict):
            raise Forged("not an event")
        return event


def to_cents(amount: Decimal) -> int:
    return int(amount.scaleb(2).to_integral_exact())


def from_cents(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _failure(refund: Mapping[str, Any]) -> RefundFailed:
    """What a refund's failure says of ours. Raises Ignored for one that was made by hand at Stripe."""
    key = str((refund.get("metadata") or {}).get("key") or "")
    if not key:
        raise Ignored("a refund that is not ours has failed")
    return RefundFailed(key, f"Stripe : {refund.get('failure_reason') or 'refund.failed'}"[:200])


def _message(session: Mapping[str, Any], *, failed: bool) -> Message:
    """What a session states, in an event or when it is asked about. Raises Ignored for one that is not ours."""
    reference, cents = session.get("client_reference_id"), session.get("amount_total")
    if not isinstance(reference, str) or not isinstance(cents, int):
        raise Ignored(f"session {session.get('id')}: not one of this platform's")
    return Message(
        reference=reference,
        outcome=_outcome(session, failed),
        amount=from_cents(cents),
        provider_reference=str(session.get("id", "")),
        currency=str(session.get("currency", "")).upper(),
    )


def _outcome(session: Mapping[str, Any], failed: bool) -> Outcome:
    if session.get("payment_status") == "paid":
        return Outcome.CAPTURED
    if failed:
        return Outcome.REFUSED
    return Outcome.ABANDONED if session.get("status") == "expired" else Outcome.PENDING


def _paid_back(refund: stripe.Refund) -> str:
    if refund.status in FAILED_REFUNDS:
        raise Impossible(f"refund {refund.id}: {refund.to_dict().get('failure_reason') or refund.status}")
    return refund.id


def _leads_to(url: str, origins: Sequence[str]) -> bool:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" in origins


@contextmanager
def spoken_to() -> Iterator[None]:
    """Stripe's errors in our words: Impossible when it says no to what is asked, otherwise Unreachable.

    A key that it does not know is the operator's to correct: the same may then be asked again.
    """
    try:
        yield
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        raise Impossible(str(error)) from error
    except stripe.IdempotencyError as error:
        if error.code == "idempotency_key_in_use":
            raise Unreachable(str(error)) from error
        raise Impossible(str(error)) from error
    except stripe.StripeError as error:
        raise Unreachable(str(error)) from error


@contextmanager
def unanswered() -> Iterator[None]:
    """A question is never impossible: what Stripe does not know of, or knows as another's, may be asked about again."""
    try:
        yield
    except (Ignored, Impossible) as error:
        raise Unreachable(str(error)) from error


def provider() -> StripeProvider:
    return StripeProvider()
