"""The demonstration provider: a true redirect-and-notification bank (portal/demo/bank.py) at the other end of HTTP.

Never outside the demonstration: settings, a system check and `provider()` below each refuse it.
"""

import hmac
import http.client
import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from checkout.providers.base import (
    Arrival,
    Departure,
    Forged,
    Health,
    Impossible,
    Known,
    Message,
    Outcome,
    Provider,
    Request,
    Unreachable,
)

SIGNATURE = "signature"
QUERY_TIMEOUT_SECONDS = 5


def sign(data: Mapping[str, str]) -> dict[str, str]:
    """The fields with their HMAC-SHA256, as both sides of the demonstration send them."""
    text = urllib.parse.urlencode(sorted(data.items()))
    return {**data, SIGNATURE: salted_hmac("checkout.demo-bank", text, algorithm="sha256").hexdigest()}


def verify(data: Mapping[str, str]) -> dict[str, str]:
    """The fields without their signature. Raises Forged when it is missing or wrong."""
    fields = {name: value for name, value in data.items() if name != SIGNATURE}
    # As bytes: compare_digest refuses texts beyond ASCII, which anybody may send.
    if not hmac.compare_digest(sign(fields)[SIGNATURE].encode(), data.get(SIGNATURE, "").encode()):
        raise Forged("signature")
    return fields


class DemoProvider(Provider):
    slug = "demo"
    label = "Carte bancaire (banque de démonstration)"
    can_refund = True
    signs_return = True

    def start(self, request: Request) -> Departure:
        fields = {
            "reference": request.reference,
            "amount": str(request.amount),
            "label": request.label,
            "return_url": request.return_url,
            "notify_url": request.notify_url,
        }
        return Departure(f"{settings.SITE_URL}/demo/banque/?{urllib.parse.urlencode(sign(fields))}")

    def read(self, arrival: Arrival) -> Message:
        return self._message(verify(arrival.fields))

    def query(self, known: Known) -> Message:
        return self._message(self._ask(f"etat/{urllib.parse.quote(known.reference)}/"))

    def refund(self, *, known: Known, amount: Decimal, key: str) -> str:
        fields = sign({"reference": known.reference, "amount": str(amount), "key": key})
        answer = self._ask("rembourser/", urllib.parse.urlencode(fields).encode())
        if "refused" in answer:
            raise Impossible(answer["refused"])
        return answer["refund_reference"]

    def health(self) -> Health:
        return Health(True, True, "Banque de démonstration : elle répond dans la démonstration seulement.")

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, str]:
        address = f"{settings.SITE_URL}/demo/banque/{path}"
        try:
            # The address is built from SITE_URL, which the operator sets: no scheme of anybody else's.
            with urllib.request.urlopen(address, data=body, timeout=QUERY_TIMEOUT_SECONDS) as response:  # noqa: S310
                data = json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(str(error)) from error
        return verify(data)

    def _message(self, fields: Mapping[str, str]) -> Message:
        try:
            return Message(
                reference=fields["reference"],
                outcome=Outcome(fields["outcome"]),
                amount=Decimal(fields["amount"]),
                provider_reference=fields.get("bank_reference", ""),
            )
        except (KeyError, ValueError, InvalidOperation) as error:
            raise Forged(str(error)) from error


def provider() -> DemoProvider:
    """The provider. Raises ImproperlyConfigured outside the demonstration."""
    if not settings.DEMO:
        raise ImproperlyConfigured("The demonstration provider exists only with DEMO=on.")
    return DemoProvider()
