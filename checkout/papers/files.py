"""Files of papers that were never issued: printed in a transaction that failed after them, they name a family to nobody."""

import datetime as dt
import logging
from collections.abc import Iterator
from itertools import islice

from django.core.files.storage import default_storage
from django.utils import timezone

from checkout.papers.models import Document, folder

logger = logging.getLogger(__name__)

# A transaction that prints is over by then.
OLD_ENOUGH = dt.timedelta(days=1)
AT_ONCE = 500


def remove_orphans() -> int:
    """Remove the files of this month and the last one that no row names; returns how many."""
    removed = 0
    files = _files()
    while names := list(islice(files, AT_ONCE)):
        named = set(Document.objects.filter(file__in=names).values_list("file", flat=True))
        for name in set(names) - named:
            if default_storage.get_modified_time(name) < timezone.now() - OLD_ENOUGH:
                default_storage.delete(name)
                removed += 1
    if removed:
        logger.warning("%s files of papers that were not issued are removed", removed)
    return removed


def _files() -> Iterator[str]:
    now = timezone.now()
    for month in dict.fromkeys([folder(now), folder(now.replace(day=1) - dt.timedelta(days=1))]):
        try:
            _folders, files = default_storage.listdir(month)
        except FileNotFoundError:
            continue
        yield from (f"{month}/{name}" for name in files)
