"""What an action says when a rule forbids what was asked."""

from collections.abc import Sequence

from django.core.exceptions import BadRequest
from django.utils.translation import gettext as _


class Refused(Exception):
    """A rule of the house forbids the request; nothing was written.

    The messages are whole French sentences for the person who asked: what happened, what to do, where the money is.
    `code` names the rule for tests and for callers that react to it.
    """

    def __init__(self, *messages: str, code: str = "refused") -> None:
        super().__init__(*messages)
        self.messages: Sequence[str] = messages
        self.code = code

    def __str__(self) -> str:
        return " ".join(self.messages)


def within(text: str, most: int) -> str:
    """What somebody wrote, without the blanks around it. Raises Refused above `most` characters: nothing is cut unsaid."""
    text = text.strip()
    if len(text) > most:
        raise Refused(
            _("Votre texte a %(count)d caractères, et %(most)d au plus\u00a0: raccourcissez-le. Rien n’a changé.")
            % {"count": len(text), "most": most},
            code="too_long",
        )
    return text


class NulSent(BadRequest):
    """What was sent holds a NUL, which the database keeps in no text: the page says so (400), and nothing was written."""
