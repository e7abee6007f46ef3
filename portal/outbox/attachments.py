"""Files that go with an e-mail: named when it is written, made and read when it leaves.

The transaction that writes the e-mail pays nothing for them, and a paper that cannot be made yet holds up its own e-mail
alone, which is tried again like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

from portal.outbox.models import Email


@dataclass(frozen=True)
class File:
    """What is attached."""

    name: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Maker:
    """How the files of a name come to be, each given the subject: whether it is made, making it (once), reading it.

    `read` raises OSError or ValueError for a file that is gone or damaged.
    """

    is_ready: Callable[[str], bool]
    make: Callable[[str], None]
    read: Callable[[str], File]


_makers: dict[str, Maker] = {}


def register(name: str, maker: Maker) -> None:
    """Declare who makes the attachments called `name:subject`."""
    _makers[name] = maker


def check(attachment: str) -> None:
    """Raises KeyError for a name that nobody makes: found at the writing, not at night."""
    if attachment:
        _makers[attachment.partition(":")[0]]


def is_ready(email: Email) -> bool:
    """Whether the e-mail waits for no file."""
    return not email.attachment or _maker(email).is_ready(_subject(email))


def make(email: Email) -> None:
    """Make the e-mail's file. Outside the transaction that sends: a mail server's slowness keeps no paper's lock."""
    _maker(email).make(_subject(email))


def read(email: Email) -> File:
    """The e-mail's file."""
    return _maker(email).read(_subject(email))


def _maker(email: Email) -> Maker:
    return _makers[email.attachment.partition(":")[0]]


def _subject(email: Email) -> str:
    return email.attachment.partition(":")[2]
