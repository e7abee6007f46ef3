"""What a line of a cart, an order or a page says about a ticket beside its name."""

import datetime as dt

from django.utils.translation import gettext as _
from psycopg.types.range import DateRange

from portal.common.formats import MONTHS, NBSP
from services.models import BusStop


def note(valid: DateRange, stop: BusStop | None = None) -> str:
    """`du 21 novembre 2026 au 20 novembre 2027`, with the stop where there is one."""
    return note_at(valid, str(stop) if stop else "")


def note_at(valid: DateRange, stop: str) -> str:
    """The same where only the stop's words are at hand."""
    assert valid.lower is not None
    assert valid.upper is not None  # ticket_has_its_dates
    first, last = valid.lower, valid.upper - dt.timedelta(days=1)
    if first == last:
        text = _("le %s") % _date(first)
    else:
        text = _("du %(first)s au %(last)s") % {"first": _date(first), "last": _date(last)}
    return _("%(dates)s, arrêt %(stop)s") % {"dates": text, "stop": stop} if stop else text


def _date(date: dt.date) -> str:
    number = "1er" if date.day == 1 else str(date.day)
    return f"{number}{NBSP}{MONTHS[date.month - 1]}{NBSP}{date.year}"
