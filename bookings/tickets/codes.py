"""What a ticket's QR code says, signed so that a phone without network can tell it from a forgery (docs/adr/0008).

`V1.<code>.<activity>.<entries>.<first day>.<last day>.<signature>`, all in the characters that a QR code packs tightest. An
empty `entries` is a pass. With the network the code alone is looked up, and the database answers.
"""

import base64
import functools
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.utils.crypto import salted_hmac

from bookings.tickets.models import ALPHABET, CODE_LENGTH, Ticket

VERSION = "V1"
WRITTEN = re.compile(
    rf"{VERSION}\.(?P<code>[{ALPHABET}]{{{CODE_LENGTH}}})\.[0-9]+\.[0-9]*\.[0-9]{{8}}\.[0-9]{{8}}\.[A-Z2-7]+"
)
TYPED = re.compile(rf"[{ALPHABET}]{{{CODE_LENGTH}}}")


def payload(ticket: Ticket) -> str:
    """The text of the ticket's QR code."""
    entries = "" if ticket.entries is None else ticket.entries
    days = f"{ticket.first_day:%Y%m%d}.{ticket.last_day:%Y%m%d}"
    facts = f"{VERSION}.{ticket.code}.{ticket.activity_id}.{entries}.{days}"
    return f"{facts}.{_base32(_key(settings.SECRET_KEY).sign(facts.encode()))}"


def is_ours(text: str) -> bool:
    """Whether the platform signed this text; what a phone without network asks itself."""
    facts, _dot, signature = text.rpartition(".")
    try:
        _key(settings.SECRET_KEY).public_key().verify(
            base64.b32decode(signature + "=" * (-len(signature) % 8)), facts.encode()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def read(text: str) -> str:
    """The ticket's code in what was scanned or typed; an empty text when there is none.

    Typed codes may have any case, spaces and dashes.
    """
    scanned = WRITTEN.fullmatch(text.strip())
    if scanned:
        return scanned["code"]
    typed = re.sub(r"[\s.\-–—]", "", text).upper()
    return typed if TYPED.fullmatch(typed) else ""


def public_key() -> str:
    """The key that phones verify with, raw, in base64."""
    raw = _key(settings.SECRET_KEY).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


@functools.lru_cache(maxsize=4)
def _key(secret: str) -> Ed25519PrivateKey:
    """The signing key, derived from the installation's secret: nothing more to keep, and another one elsewhere."""
    return Ed25519PrivateKey.from_private_bytes(
        salted_hmac("bookings.tickets", "ed25519", secret=secret, algorithm="sha256").digest()
    )


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")
