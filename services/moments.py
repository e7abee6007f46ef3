"""The limits of the days to come, worked out again at once when a rule that they were made from has changed.

A day carries its own moments, which bookings and pages read; parents read the rule's sentence beside them. Both change in
one transaction, or parents would be told one limit and held to another.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.db import one_at_a_time
from portal.common.formats import thousands, today
from services.deadlines import late_limit_for, moment_for, opening_for
from services.models import Activity, OpenDay
from services.school_calendar import SchoolCalendar

# Whoever writes days from rules holds this lock and reads the rules after it: a calendar that was being generated while a
# deadline changed would otherwise keep moments of the old one.
CALENDARS = "services.calendars"

# One statement for twenty thousand days; a bulk_update of as many takes a hundred times as long to compile.
WRITE = """
    UPDATE services_openday AS day
    SET book_from = made.book_from, book_until = made.book_until,
        late_until = made.late_until, cancel_until = made.cancel_until
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
        AS made (id, book_from, book_until, late_until, cancel_until)
    WHERE day.id = made.id
"""


class Limits(NamedTuple):
    """From when to when a day may be booked, until when late, and until when cancelled."""

    book_from: dt.datetime | None
    book_until: dt.datetime
    late_until: dt.datetime | None
    cancel_until: dt.datetime


def limits_of(activity: Activity, date: dt.date, *, calendar: SchoolCalendar) -> Limits:
    """What the rules of an activity say of a date. Raises Refused when they set no limit for its weekday."""
    booking = activity.booking_rule
    return Limits(
        opening_for(booking, date, calendar=calendar),
        moment_for(booking, date, calendar=calendar),
        late_limit_for(booking, date, calendar=calendar),
        moment_for(activity.cancel_rule, date, calendar=calendar),
    )


@dataclass(frozen=True)
class Recomputed:
    """How many activities and days to come have other limits now; which of them keep something, and why."""

    activities: int = 0
    days: int = 0
    promised: int = 0  # days with places taken that keep a later limit for cancelling
    by_hand: int = 0  # days set by hand, left as they are

    @property
    def sentences(self) -> list[str]:
        """What whoever changed the rule reads."""
        if not self.days:
            said = [_("Aucun jour à venir ne change de limite.")]
        else:
            activities = ngettext("%(count)s activité", "%(count)s activités", self.activities)
            days = ngettext("%(count)s jour à venir", "%(count)s jours à venir", self.days)
            said = [
                ngettext(
                    "Les limites de %(activities)s et %(days)s ont été recalculées\u00a0; aucune réservation n’a changé.",
                    "Les limites de %(activities)s et %(days)s ont été recalculées\u00a0; aucune réservation n’a changé.",
                    self.days,
                )
                % {
                    "activities": activities % {"count": thousands(self.activities)},
                    "days": days % {"count": thousands(self.days)},
                }
            ]
        if self.promised:
            said.append(
                ngettext(
                    "%(count)s jour où des places sont prises garde sa limite d’annulation, plus tardive\u00a0: les familles "
                    "y comptent.",
                    "%(count)s jours où des places sont prises gardent leur limite d’annulation, plus tardive\u00a0: les "
                    "familles y comptent.",
                    self.promised,
                )
                % {"count": thousands(self.promised)}
            )
        if self.by_hand:
            said.append(
                ngettext(
                    "%(count)s jour réglé à la main garde ses limites.",
                    "%(count)s jours réglés à la main gardent leurs limites.",
                    self.by_hand,
                )
                % {"count": thousands(self.by_hand)}
            )
        return said


@transaction.atomic
def recompute_limits(*, activities: Collection[int], days: Collection[int] | None = None) -> Recomputed:
    """Give the open days to come of these activities (by key), or of them these days alone, the limits that their rules say.

    Days set by hand keep theirs, as in a generation; where places are taken, a later limit for cancelling stays. Bookings
    are not touched. Raises Refused when a rule sets no limit for a weekday on which one of them is open: then nothing has
    changed.
    """
    one_at_a_time(CALENDARS)
    rules = Activity.objects.with_deadlines().in_bulk(activities)
    coming = OpenDay.objects.filter(activity__in=rules, date__gte=today(), is_open=True)
    if days is not None:
        coming = coming.filter(pk__in=days)
    rows = list(coming.filter(by_hand=False).order_by("pk").select_for_update(no_key=True))
    by_hand = coming.filter(by_hand=True).count()
    if not rows:
        return Recomputed(by_hand=by_hand)
    calendar = SchoolCalendar.around(min(day.date for day in rows), max(day.date for day in rows))
    known: dict[tuple[int | None, int | None, dt.date], Limits] = {}
    changed: list[tuple[OpenDay, Limits]] = []
    promised = 0
    for day in rows:
        activity = rules[day.activity_id]
        key = (activity.booking_rule.pk, activity.cancel_rule.pk, day.date)
        limits = known.get(key)
        if limits is None:
            limits = known[key] = limits_of(activity, day.date, calendar=calendar)
        if day.taken and day.cancel_until > limits.cancel_until:
            limits = limits._replace(cancel_until=day.cancel_until)
            promised += 1
        if limits != (day.book_from, day.book_until, day.late_until, day.cancel_until):
            changed.append((day, limits))
    _write(changed)
    return Recomputed(len({day.activity_id for day, _limits in changed}), len(changed), promised, by_hand)


def _write(changed: list[tuple[OpenDay, Limits]]) -> None:
    if changed:
        columns = [list(column) for column in zip(*(limits for _day, limits in changed), strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(WRITE, [[day.pk for day, _limits in changed], *columns])
