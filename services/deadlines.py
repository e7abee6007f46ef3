"""When a day may be booked or cancelled until: the moment, and the sentence that a parent reads.

Sources: Cruas and Puy règlements (J-2 12 h without weekends), seed 002 (weekly deadline).
"""

import datetime as dt
from collections.abc import Container

from django.utils.translation import gettext as _

from portal.common.formats import NBSP, PARIS, WEEKDAYS, hour
from services.models import Deadline

NUMBERS = ("", "la veille", "deux jours", "trois jours", "quatre jours", "cinq jours", "six jours", "sept jours")


def moment_for(deadline: Deadline, date: dt.date, *, public_holidays: Container[dt.date]) -> dt.datetime:
    """The moment (Paris time) until which `date` may be booked or cancelled under this rule."""
    if deadline.basis == Deadline.Basis.WEEK:
        assert deadline.weekday is not None
        monday = date - dt.timedelta(days=date.weekday())
        day = monday - dt.timedelta(days=7 - deadline.weekday)
    else:
        day = date
        for _step in range(deadline.offset):
            day = _previous_counted(day, deadline, public_holidays)
    return dt.datetime.combine(day, deadline.time, tzinfo=PARIS)


def sentence(deadline: Deadline) -> str:
    """The rule's end of a sentence: `jusqu’au jeudi 12 h pour la semaine suivante`, `jusqu’à la veille 12 h`."""
    time = hour(deadline.time)
    if deadline.basis == Deadline.Basis.WEEK:
        assert deadline.weekday is not None
        return _("jusqu’au %(weekday)s %(time)s pour la semaine suivante") % {
            "weekday": WEEKDAYS[deadline.weekday],
            "time": time,
        }
    if deadline.offset == 0:
        return _("jusqu’au jour même à %s") % time
    not_counted = [
        words
        for words, skipped in (
            (_("samedis et dimanches"), deadline.skip_weekends),
            (_("jours fériés"), deadline.skip_holidays),
        )
        if skipped
    ]
    if deadline.offset == 1:
        text = _("jusqu’à la veille à %s") % time
    else:
        count = NUMBERS[deadline.offset] if deadline.offset < len(NUMBERS) else f"{deadline.offset}{NBSP}jours"
        text = _("jusqu’à %(days)s avant, à %(time)s") % {"days": count, "time": time}
    return text + (_(" (sans compter %s)") % " ni ".join(not_counted) if not_counted else "")


def _previous_counted(day: dt.date, deadline: Deadline, public_holidays: Container[dt.date]) -> dt.date:
    """The day before, going on over the days that the rule does not count."""
    day -= dt.timedelta(days=1)
    while (deadline.skip_weekends and day.weekday() >= 5) or (deadline.skip_holidays and day in public_holidays):
        day -= dt.timedelta(days=1)
    return day
