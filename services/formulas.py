"""How long a ticket or pass is good for: its dates, and the words for them."""

import datetime as dt

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.formats import NBSP

DAY, MONTH, SCHOOL_YEAR = "day", "month", "school_year"
# From this month on the pass of the next school year is what a family means.
NEXT_YEAR_FROM = 7


def validity(count: int, unit: str) -> str:
    """`valable 1 jour`, `valable 3 mois`, `valable 1 an`, `valable l’année scolaire`."""
    if unit == SCHOOL_YEAR:
        return _("valable l’année scolaire")
    if unit == MONTH and count % 12 == 0:
        return _("valable %s") % (ngettext("%d an", "%d ans", count // 12) % (count // 12)).replace(" ", NBSP)
    if unit == MONTH:
        return _("valable %d\u00a0mois") % count
    return _("valable %s") % (ngettext("%d jour", "%d jours", count) % count).replace(" ", NBSP)


def period(*, count: int, unit: str, first: dt.date) -> tuple[dt.date, dt.date]:
    """The first date and the date after the last of a formula that begins on `first`.

    A month ends the day before its date comes back (14 March to 13 April); where the month is too short for that date, with
    its last day. A school year begins on 1 September, or on `first` when it is running.
    """
    if unit == SCHOOL_YEAR:
        year = first.year if first.month >= NEXT_YEAR_FROM else first.year - 1
        return max(first, dt.date(year, 9, 1)), dt.date(year + count, 9, 1)
    if unit == MONTH:
        return first, _months_later(first, count)
    return first, first + dt.timedelta(days=count)


def _months_later(date: dt.date, count: int) -> dt.date:
    months = date.month - 1 + count
    year, month = date.year + months // 12, months % 12 + 1
    try:
        return date.replace(year=year, month=month)
    except ValueError:  # 31 January and a month: up to the last of February
        return dt.date(year + month // 12, month % 12 + 1, 1)
