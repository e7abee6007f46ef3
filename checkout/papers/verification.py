"""What must hold of the régie's papers: no gap in any series, each file as it was issued."""

import datetime as dt
from collections.abc import Iterator

from django.db.models import F, Q
from django.db.models.functions import Mod
from django.utils import timezone
from django.utils.translation import gettext as _

from checkout.papers.models import Document, Series
from checkout.papers.paper import Damaged, stored
from portal.common.db import annotated

# Reading every file of every year each night would take longer each year: each is read soon after its issue, then monthly.
ROUND = 28  # nights
NEW = dt.timedelta(days=2)


def verify_papers(*, every_file: bool = False) -> Iterator[str]:
    """One sentence per gap in a series, and per file that is gone or changed, of tonight's share (or of all)."""
    for series in Series.objects.with_count().exclude(Q(last=F("issued")) & Q(last=F("highest"))):
        yield _(
            "Série « %(series)s » : dernier numéro %(last)d, mais %(issued)d pièces, la plus haute %(highest)d."
        ) % {
            "series": series,
            "last": series.last,
            "issued": series.issued,
            "highest": series.highest,
        }
    papers = Document.objects.only("kind", "number", "issued_at", "file", "sha256")
    if not every_file:
        tonight = timezone.localdate().toordinal() % ROUND
        papers = annotated(papers, night=Mod("pk", ROUND)).filter(
            Q(night=tonight) | Q(issued_at__gt=timezone.now() - NEW)
        )
    for document in papers.order_by("pk").iterator(chunk_size=500):
        try:
            stored(document)
        except OSError:
            yield _("%s : son fichier manque.") % document
        except Damaged:
            yield _("%s : son fichier n’est plus celui qui a été édité.") % document
