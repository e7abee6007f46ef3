"""The other side of every provider, with one face: so that one list of faults (test_faults.py) runs for all of them.

A `Bank` plays a provider's servers, the payer in front of its page, and the network between. The platform asks it over
real HTTP, on a port of its own; it tells the platform over real HTTP, at the live server's address, with the signatures
that the real one would write. Nothing of the platform is replaced: its provider is only told other addresses and secrets,
as its environment would.

Another provider joins the list by a `Bank` of its own and its name in BANKS. What a bank cannot do at all (nothing is
asked at the start of a payment that is only a form; not every provider pays back) it says in its attributes, and the
faults that need it are drawn from those that can.
"""

import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from django.urls import reverse

from checkout.models import Payment
from checkout.providers.base import FORM, Departure

PATIENCE_SECONDS = 30

# Which banks play, by the provider's name.
BANKS = {
    "demo": "tests.faults.demo.DemoBank",
    "stripe": "tests.faults.stripe.StripeBank",
    "paybox": "tests.faults.paybox.PayboxBank",
    "payfip": "tests.faults.payfip.PayfipBank",
}
# Those that are asked when a payment starts; the others only get a form.
ASKED_AT_THE_START = ("stripe", "paybox", "payfip")
# Those whose word is its signature. The others only say that there is something to ask about.
SIGNING = ("demo", "stripe", "paybox")
# Those that pay back to the card.
REFUNDING = ("demo", "stripe", "paybox")


@dataclass(frozen=True)
class Notification:
    """What a bank sends to the platform, ready to be sent: late, twice, in another order."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": FORM})
    query: str = ""


class Bank(ABC):
    """One provider's other side. Used as a context: its server runs within."""

    slug: str
    # What the platform's environment holds to use it, by setting.
    settings: Mapping[str, Any] = {}

    def __init__(self, site: str) -> None:
        self.site = site  # the platform's address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    # -- The payer --

    def open(self, payment: Payment, departure: Departure) -> None:
        """The payer's browser goes where the platform sends it, as a browser does: to an address, or with a form."""
        body = urllib.parse.urlencode(departure.fields).encode() if departure.fields else None
        assert call(departure.url, body) == 200, "the bank has no page for this payment"

    @abstractmethod
    def pay(self, payment: Payment) -> None:
        """The payer pays: the bank has the money. Nobody is told yet, here and in the next two."""

    @abstractmethod
    def refuse(self, payment: Payment) -> None:
        """The card is refused, and the payer goes no further."""

    @abstractmethod
    def abandon(self, payment: Payment) -> None:
        """The payer gives up at the bank, or the bank's time for this payment runs out."""

    def way_back(self, payment: Payment) -> str:
        """The address at which the browser comes back, with what the bank adds to it."""
        return reverse("payment_return", args=[self.slug, payment.reference])

    # -- What the bank says --

    @abstractmethod
    def notification(self, payment: Payment) -> Notification:
        """How the payment stands now."""

    @abstractmethod
    def history(self, payment: Payment) -> Sequence[Notification]:
        """The payer ends by paying, not at once: all that the bank says of it meanwhile, oldest first, at least two."""

    @abstractmethod
    def forged(self, payment: Payment) -> Sequence[Notification]:
        """What others could send to say that it is paid: unsigned, signed with another key, changed on the way."""

    @abstractmethod
    def of_another_amount(self, payment: Payment) -> Notification:
        """The bank's own word that something was paid under this reference, one cent less than was asked."""

    @abstractmethod
    def of_nobody(self) -> Notification:
        """The bank's own word about a payment that is not ours: another shop's, another environment's."""

    def deliver(self, notification: Notification) -> int:
        """Send it to the platform's address over HTTP; the status of the answer."""
        address = f"{self.site}{reverse('payment_notification', args=[self.slug])}"
        query = f"?{notification.query}" if notification.query else ""
        return call(address + query, notification.body, notification.headers)

    # -- The network --

    @abstractmethod
    def down(self) -> AbstractContextManager[None]:
        """Within, nobody answers at the bank's address."""

    @abstractmethod
    def slow(self) -> AbstractContextManager[None]:
        """Within, the bank takes longer than the platform waits."""

    # -- Its own books --

    @abstractmethod
    def taken(self) -> Decimal:
        """The euros that it holds for the platform: paid by cards, less what was paid back."""


def call(address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> int:
    """GET an address, or POST to it; the status of the answer, redirects not followed to another page."""
    # The address is one of this machine's own servers.
    request = urllib.request.Request(address, data=body, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


class Patient(ThreadingHTTPServer):
    """Lets a hundred connections wait for their turn, where Python's own lets five and resets others."""

    request_queue_size = 128
    daemon_threads = True


class Server:
    """An HTTP server of a fake bank on a free port, each request in a thread; `down` and `slow` are its moods."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        server = self

        class Moody(handler):  # type: ignore[valid-type, misc]
            def parse_request(self) -> bool:
                if server.is_down:
                    self.close_connection = True
                    return False
                server.may_answer.wait(PATIENCE_SECONDS)
                return bool(super().parse_request())

            def log_message(self, *_arguments: object) -> None:
                """A test that fails says so itself."""

        self.is_down = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server = Patient(("127.0.0.1", 0), Moody)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=PATIENCE_SECONDS)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Connections end without an answer."""
        self.is_down = True
        try:
            yield
        finally:
            self.is_down = False

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Connections are taken and not answered before the block ends."""
        self.may_answer.clear()
        try:
            yield
        finally:
            self.may_answer.set()


@contextmanager
def deaf_address() -> Iterator[str]:
    """The address of somebody who picks up and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


NOBODY = "http://127.0.0.1:9"  # the port of « discard »: nothing listens there
