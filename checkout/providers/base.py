"""What every provider of card payments does for us, and the messages that it tells us.

A provider is one module of this package. It declares what it can do; it starts a payment, reads what arrives from it,
says how a payment stands and, where it can, pays back. It never touches our tables: actions apply what it says.
"""

import datetime as dt
import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import parse_qsl

from django.conf import settings
from django.utils import timezone

from portal.common.money import ZERO

FORM = "application/x-www-form-urlencoded"
EURO = "EUR"


class Outcome(enum.StrEnum):
    """How a payment stands at the provider."""

    PENDING = "pending"
    CAPTURED = "captured"
    REFUSED = "refused"
    ABANDONED = "abandoned"


class Forged(Exception):
    """A message that the provider has not signed, or that was changed on the way."""


class Ignored(Exception):
    """A message that is the provider's and says nothing of any payment's end: kept as it came, nothing to apply.

    The text says what it was about. Providers repeat what is not answered with a success, so this is one.
    """


class Unreachable(Exception):
    """The provider does not answer: the same may be asked again later."""


class Impossible(Exception):
    """The provider answers that it will never do this; the text says why, for an operator."""


@dataclass(frozen=True)
class Method:
    """A card that a provider asks to be chosen on our page (« Carte Visa »); its code is the provider's own."""

    code: str
    label: str
    icon: str = "credit-card"


@dataclass(frozen=True)
class Message:
    """A verified statement of a provider about one payment: ours by `reference`, an amount of `currency` (ISO 4217)."""

    reference: str
    outcome: Outcome
    amount: Decimal
    provider_reference: str = ""
    currency: str = EURO


@dataclass(frozen=True)
class RefundFailed:
    """A verified statement that a refund which was taken did not reach its card: ours by `key`, with the reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class Payer:
    """Who pays and from where, for the bank's strong authentication (3-D Secure 2)."""

    first_name: str
    last_name: str
    street: str
    postal_code: str
    city: str


@dataclass(frozen=True)
class Request:
    """What a provider needs to start a payment: amount in euros, and where to send the browser and the notification.

    `reference` is unique for ever: a provider that is told the same one twice starts one payment.
    """

    reference: str
    amount: Decimal
    label: str
    email: str
    return_url: str
    notify_url: str
    method: str = ""
    number: str = ""  # what people call the order, `2026-000123`
    # When the payment was ordered: the same at each call for one reference, however late it is made.
    at: dt.datetime = field(default_factory=timezone.now)
    # Told to a provider that declares `wants_payer`, and to nobody else; None where the person gave us no place at all.
    payer: Payer | None = None
    quantity: int = 1  # how many articles


@dataclass(frozen=True)
class Departure:
    """Where the browser goes to pay: an address to open, or (with `fields`) one to send a form to."""

    url: str
    fields: Mapping[str, str] = field(default_factory=dict)
    provider_reference: str = ""


@dataclass(frozen=True)
class Known:
    """A payment as both sides know it: our reference, the provider's own (empty until it told us), euros, when it started."""

    reference: str
    provider_reference: str
    amount: Decimal
    since: dt.datetime | None = None


@dataclass(frozen=True)
class Arrival:
    """What came over HTTP, untouched: a provider signs these very bytes."""

    query: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, str]:
        """The values of the address and of a form's body, by name."""
        body = self.body.decode("utf-8", "replace") if self._is_form else ""
        return dict(parse_qsl(self.query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))

    @property
    def raw(self) -> str:
        """What is kept of it: the address's values, then the body, as text."""
        body = self.body.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
        return "\n".join(part for part in (self.query, body) if part)[:20000]

    @property
    def _is_form(self) -> bool:
        return self.headers.get("Content-Type", FORM).startswith(FORM)


@dataclass(frozen=True)
class Health:
    """Whether a provider is configured and answers, with a sentence for the operator."""

    configured: bool
    answers: bool
    sentence: str


class Provider(ABC):
    """One means of card payment. Secrets come from the environment; without them it can still be asked what it can do."""

    slug: str
    label: str
    # The settings, each named like its environment variable, that it cannot do without.
    variables: Sequence[str] = ()
    # What our page offers to choose from before leaving; none: the provider asks itself.
    methods: Sequence[Method] = ()
    # Less than this many euros it does not take.
    smallest: Decimal = ZERO
    can_refund = False
    # Whether it must be told who pays and how many articles. What a provider does not need it is not told (GDPR, art. 5).
    wants_payer = False
    # Whether a page that nobody has paid can be closed there.
    can_withdraw = False
    # Whether it signs what the browser brings back. Otherwise it is asked when the browser returns.
    signs_return = False

    @property
    def missing(self) -> Sequence[str]:
        """Those of its variables that this installation's environment does not give."""
        return [name for name in self.variables if not getattr(settings, name, "")]

    @property
    def origins(self) -> Sequence[str]:
        """The origins (`https://pay.example`) that the browser is sent to: our pages' forms may lead there."""
        return ()

    def faults(self) -> Sequence[str]:
        """What its variables must hold and do not, a French sentence each. Asks nobody."""
        return ()

    @abstractmethod
    def start(self, request: Request) -> Departure:
        """Announce a payment and say where the browser goes. Raises Unreachable, or Impossible with its reason."""

    @abstractmethod
    def read(self, arrival: Arrival) -> Message | RefundFailed:
        """Verify a notification (or a signed return) and say what it states. Raises Forged, Ignored, Unreachable."""

    def about(self, arrival: Arrival) -> str:
        """The reference, ours or the provider's own, of the payment that a message names which `read` could not ask about;
        empty: none. Nobody has verified it: it says whose end to look for, and no end."""
        return ""

    @abstractmethod
    def query(self, known: Known) -> Message:
        """Ask how a payment stands. Raises Unreachable or Forged."""

    def refund(self, *, known: Known, amount: Decimal, key: str) -> str:
        """Pay `amount` euros back to the card, once for each `key`; returns the provider's reference of the refund.

        Raises Unreachable (the same key may be sent again) and Impossible (it never will be).
        """
        raise Impossible(f"{self.slug} pays nothing back")

    def withdraw(self, known: Known) -> None:
        """Close the page of a payment that is no longer waited for, so that nobody pays it any more.

        Raises Unreachable (it may be asked again) and Impossible, when it has ended there already.
        """
        raise Impossible(f"{self.slug} closes no page")

    @abstractmethod
    def health(self) -> Health:
        """Whether it is configured here and answers. Raises nothing."""
