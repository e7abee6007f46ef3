"""A paper's file: printed by typst (PDF/UA-1), read back only while it is what was issued, attached to e-mails."""

import datetime as dt
import hashlib
import logging
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


def print_paper(data: Mapping[str, Any], issued_at: dt.datetime) -> bytes:
    """The file of what is to be printed; the same data and moment give the same bytes."""
    return pdf(TEMPLATE, data, issued_at)


def stored(document: Document) -> bytes:
    """The paper's bytes. Raises OSError when the file is gone, Damaged when it is not what was issued."""
    with document.file.open("rb") as file:
        content: bytes = file.read()
    if hashlib.sha256(content).hexdigest() != document.sha256:
        raise Damaged(f"document {document.pk}")
    return content
