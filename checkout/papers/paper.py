"""A paper's file: printed by typst (PDF/UA-1), read back only while it is what was issued, attached to e-mails."""

import datetime as dt
import functools
import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from checkout.papers.models import Document
from portal.common.pdf import pdf

logger = logging.getLogger(__name__)
TEMPLATE = Path(settings.BASE_DIR) / "templates/papers/paper.typ"


class Damaged(ValueError):
    """The stored file is not the one that was issued."""


# The site's logo (static/icons.svg) takes its colours from the theme; on paper it has those of the light one.
SPRITE = Path(settings.BASE_DIR) / "static/icons.svg"
COLOURS = {"var(--logo-sky)": "#0b5a63", "var(--logo-sun)": "#f0a35e", "var(--logo-rock)": "#f4e9d8"}


@functools.cache
def logo() -> str:
    """The site's drawing as an SVG of its own. Raises ValueError when the sprite has none, or one of unknown colours."""
    found = re.search(r'<symbol id="logo" (viewBox="[^"]*")>(.*?)</symbol>', SPRITE.read_text(), re.S)
    if found is None:
        raise ValueError("static/icons.svg has no logo")
    drawing = functools.reduce(lambda text, colour: text.replace(*colour), COLOURS.items(), found[2])
    if "var(" in drawing:
        raise ValueError("the logo has a colour that is not known on paper")
    return f'<svg xmlns="http://www.w3.org/2000/svg" {found[1]}>{drawing}</svg>'


def print_paper(data: Mapping[str, Any], issued_at: dt.datetime) -> bytes:
    """The file of what is to be printed; the same data and moment give the same bytes."""
    return pdf(TEMPLATE, {**data, "logo": logo()}, issued_at)


def stored(document: Document) -> bytes:
    """The paper's bytes. Raises OSError when the file is gone, Damaged when it is not what was issued."""
    with document.file.open("rb") as file:
        content: bytes = file.read()
    if hashlib.sha256(content).hexdigest() != document.sha256:
        raise Damaged(f"document {document.pk}")
    return content
