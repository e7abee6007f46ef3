"""What every provider of card payments does for us, and the one message that it tells us."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


class Outcome(enum.StrEnum):
    """How a payment stands at the provider."""

    PENDING = "pending"
    CAPTURED = "captured"
    REFUSED = "refused"
    ABANDONED = "abandoned"


class Forged(Exception):
    """A message that the provider has not signed, or that was changed on the way."""


class Unreachable(Exception):
    """The provider does not answer."""


@dataclass(frozen=True)
class Message:
    """A verified statement of a provider about one payment: ours by `reference`, its amount in euros."""

    reference: str
    outcome: Outcome
    amount: Decimal
    provider_reference: str = ""


@dataclass(frozen=True)
class Request:
    """What a provider needs to start a payment: amount in euros, and where to send the browser and the notification."""

    reference: str
    amount: Decimal
    label: str
    email: str
    return_url: str
    notify_url: str


class Provider(Protocol):
    """One means of card payment. Secrets come from the environment."""

    slug: str
    label: str

    def start(self, request: Request) -> str:
        """Announce a payment and return the address to send the browser to. Raises Unreachable."""

    def read(self, data: Mapping[str, str], body: bytes) -> Message:
        """Verify a notification or a browser's return and say what it states. Raises Forged."""

    def query(self, reference: str) -> Message:
        """Ask how a payment stands. Raises Unreachable or Forged."""
