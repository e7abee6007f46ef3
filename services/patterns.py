"""Which period of an activity speaks on a date, and why a date is closed."""

import datetime as dt
from collections.abc import Iterable
from typing import Self

from django.utils.translation import gettext as _

from portal.common.formats import WEEKDAYS
from services.models import Activity, ActivityPeriod, SchoolHoliday
from services.school_calendar import SchoolCalendar, is_summer

Kind = ActivityPeriod.Kind


class Pattern:
    """The periods of an activity over a stretch of the school calendar."""

    def __init__(self, activity: Activity, periods: Iterable[ActivityPeriod], calendar: SchoolCalendar) -> None:
        self.activity = activity
        self.calendar = calendar
        self.periods = sorted(periods, key=lambda period: -period.rank)
        self.weekdays = {weekday for period in self.periods for weekday in period.weekdays}
        self._off = [_("fermé le %s") % name for name in WEEKDAYS]  # said of most days of a year

    @classmethod
    def of(cls, activity: Activity, calendar: SchoolCalendar) -> Self:
        """The pattern of an activity as it is now; one query unless the periods are known."""
        return cls(activity, activity.periods.all(), calendar)

    def opening(self, date: dt.date) -> ActivityPeriod | None:
        """The period that opens this date, or None: the activity is closed."""
        if date in self.calendar.public_holidays and not self.activity.open_on_public_holidays:
            return None
        return next((period for period in self.around(date) if date.weekday() in period.weekdays), None)

    def around(self, date: dt.date) -> list[ActivityPeriod]:
        """The periods of the most exact kind that the date lies in, whatever their weekdays."""
        holidays = self.calendar.holidays_of(date)
        found: list[ActivityPeriod] = []
        for period in self.periods:
            if found and period.rank < found[0].rank:
                break
            if covers(period, date, holidays):
                found.append(period)
        return found

    def capacity(self, period: ActivityPeriod) -> int:
        """How many places a day of this period has."""
        places = self.activity.capacity if period.capacity is None else period.capacity
        assert places is not None  # activity_has_places: a calendar has some
        return places

    def why_closed(self, date: dt.date) -> str:
        """Why the rules do not open this date, in a few words for a parent."""
        off = self.calendar.public_holidays
        if date in off and not self.activity.open_on_public_holidays:
            return _("férié\u00a0: %s") % off[date]
        weekday = date.weekday()
        if weekday not in self.weekdays:
            return self._off[weekday]
        holidays = self.calendar.holidays_of(date)
        if holidays is not None:
            return holidays.name[:1].lower() + holidays.name[1:]
        return self._off[weekday] if self.around(date) else _("période scolaire")


def covers(period: ActivityPeriod, date: dt.date, holidays: SchoolHoliday | None) -> bool:
    """Whether a date, which lies in these school holidays or in none, is in the period."""
    match period.kind:
        case Kind.ALWAYS:
            return True
        case Kind.DATES:
            first, last = period.first_day, period.last_day
            return first is not None and last is not None and first <= date <= last
        case Kind.SCHOOL:
            return holidays is None
    if holidays is None:
        return False
    match period.kind:
        case Kind.HOLIDAYS:
            return True
        case Kind.SUMMER:
            return is_summer(holidays)
        case Kind.SMALL:
            return not is_summer(holidays)
    return holidays.name == period.holiday
