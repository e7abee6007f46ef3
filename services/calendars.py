"""From periods with their weekdays, the zone A school calendar and public holidays to open days."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from portal.common.db import one_at_a_time
from portal.common.errors import Refused
from portal.common.formats import enumeration, long_date
from services.models import Activity, ActivityPeriod, OpenDay, SchoolHoliday
from services.moments import CALENDARS, limits_of
from services.patterns import Pattern
from services.school_calendar import ZONE, SchoolCalendar

# Who else closes dates: each says why for every date of an activity between two. The app that decides closures stands above
# this one, which may not import it, and registers itself at startup.
Closings = Callable[[Activity, dt.date, dt.date], Mapping[dt.date, str]]
CLOSINGS: list[Closings] = []


@dataclass
class Report:
    """What a generation does (or would do), and the days that somebody holds a place on, each with its sentence."""

    opened: list[dt.date] = field(default_factory=list)
    changed: list[dt.date] = field(default_factory=list)
    withdrawn: list[dt.date] = field(default_factory=list)
    closed: list[dt.date] = field(default_factory=list)
    unchanged: int = 0
    kept: list[str] = field(default_factory=list)

    @property
    def changes_something(self) -> bool:
        return bool(self.opened or self.changed or self.withdrawn or self.closed)


@dataclass
class Plan:
    """The rows behind a report: what is not written yet."""

    report: Report = field(default_factory=Report)
    opened: list[OpenDay] = field(default_factory=list)
    changed: list[OpenDay] = field(default_factory=list)
    withdrawn: list[OpenDay] = field(default_factory=list)


def preview_open_days(*, activity: Activity, first: dt.date, last: dt.date) -> Report:
    """What `generate_open_days` would do now; writes nothing and raises what it raises."""
    return _plan(activity, first, last, OpenDay.objects.all()).report


@transaction.atomic
def generate_open_days(*, activity: Activity, first: dt.date, last: dt.date) -> Report:
    """Make the calendar of an activity between two dates agree with its rules; running it again changes nothing.

    A day set by hand is left alone. A day on which somebody holds a place stays, loses nothing that its families count
    on (places, time to cancel), and is named in the report. A date on which a closure is in force is made, and closed. Raises Refused when the dates are the wrong way round and
    when the school calendar is not known up to `last`.
    """
    one_at_a_time(CALENDARS)
    activity = Activity.objects.with_deadlines().get(pk=activity.pk)  # as its rules are now
    plan = _plan(activity, first, last, OpenDay.objects.select_for_update(no_key=True))
    _withdraw(plan.withdrawn)
    OpenDay.objects.bulk_update(plan.changed, FACTS, batch_size=500)
    OpenDay.objects.bulk_create(plan.opened)
    return plan.report


def _plan(activity: Activity, first: dt.date, last: dt.date, rows: models.QuerySet[OpenDay]) -> Plan:
    """The difference between the rules and `rows`, which are locked when it is to be written."""
    _check_dates(activity, first, last)
    plan = Plan()
    report = plan.report
    wanted = {row.date: row for row in _wanted_days(activity, first, last)}
    for day in rows.filter(activity=activity, date__range=(first, last)).order_by("pk"):
        rule = wanted.pop(day.date, None)
        if day.by_hand or (rule is None and not day.is_open) or (rule is not None and _agrees(day, rule)):
            report.unchanged += 1
        elif rule is None and day.taken:
            report.unchanged += 1
            report.kept.append(_stays_open(day))
        elif rule is None:
            plan.withdrawn.append(day)
        elif not rule.is_open:
            if day.taken and day.is_open:
                report.unchanged += 1
                report.kept.append(_stays_open(day))
            else:
                day.is_open, day.closed_reason = False, rule.closed_reason
                plan.changed.append(day)
        elif _adopt(day, rule, report):
            plan.changed.append(day)
        else:
            report.unchanged += 1
    plan.opened = list(wanted.values())
    report.opened = [day.date for day in plan.opened if day.is_open]
    report.closed = [day.date for day in plan.opened if not day.is_open]
    report.changed = sorted(day.date for day in plan.changed)
    report.withdrawn = sorted(day.date for day in plan.withdrawn)
    return plan


def _check_dates(activity: Activity, first: dt.date, last: dt.date) -> None:
    if last < first:
        raise Refused(
            _("Le dernier jour (%(last)s) est avant le premier (%(first)s)\u00a0: rien n’a été fait.")
            % {"first": long_date(first), "last": long_date(last)},
            code="dates_reversed",
        )
    if not activity.periods.exclude(kind__in=ActivityPeriod.WITHOUT_SCHOOL).exists():
        return
    known_until = SchoolHoliday.objects.order_by("-last_day").values_list("last_day", flat=True).first()
    if known_until is None or known_until < last:
        raise Refused(
            _("Le calendrier scolaire de la zone %(zone)s n’est connu que jusqu’au %(date)s : complétez-le d’abord.")
            % {"zone": ZONE, "date": long_date(known_until) if known_until else "…"},
            code="school_calendar_unknown",
        )


FACTS = [
    *("capacity", "slot_places", "is_open", "closed_reason"),
    *("book_from", "book_until", "late_until", "cancel_until"),
]


def _facts(day: OpenDay) -> tuple[Any, ...]:
    return tuple(getattr(day, name) for name in FACTS)


def _agrees(day: OpenDay, rule: OpenDay) -> bool:
    """Whether nothing is to be done: of a day that is closed only the reason counts."""
    if not day.is_open and not rule.is_open:
        return day.closed_reason == rule.closed_reason
    return _facts(day) == _facts(rule)


def _stays_open(day: OpenDay) -> str:
    return ngettext(
        "%(day)s reste ouvert\u00a0: %(taken)d place prise, alors que la règle le fermerait.",
        "%(day)s reste ouvert\u00a0: %(taken)d places prises, alors que la règle le fermerait.",
        day.taken,
    ) % {"day": long_date(day.date), "taken": day.taken}


def _withdraw(days: list[OpenDay]) -> None:
    """Take away days that the rules no longer open and where nobody holds a place, however many at the same cost.

    One that was booked once and cancelled is part of somebody's history: it is closed instead. Whoever books locks the
    day first, so nobody can between the look and the deletion.
    """
    keys = [day.pk for day in days]
    once_booked: set[int] = set()
    for relation in OpenDay._meta.related_objects:
        if keys and relation.on_delete is models.PROTECT:
            name = relation.field.attname
            table: Any = relation.related_model
            rows = table._default_manager.filter(**{f"{name}__in": keys})
            once_booked |= set(rows.values_list(name, flat=True))
    OpenDay.objects.filter(pk__in=once_booked).update(is_open=False, closed_reason=_("Hors calendrier"))
    OpenDay.objects.filter(pk__in=set(keys) - once_booked).delete()


@transaction.atomic
def close_days(*, days: Collection[int], reason: str, by: User) -> int:
    """Close days (by key) on which nobody holds a place, with the reason that parents read; returns how many.

    The generation leaves them closed; a day that is closed already keeps its reason. Raises Refused without a reason, when
    one of the days is not `by`'s, and when places are taken: a closure lists the families first. Then none is closed.
    """
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez pourquoi ces jours sont fermés\u00a0: les parents le liront."), code="reason_missing")
    wanted = set(days)
    rows = list(
        OpenDay.objects.visible_to(by).filter(pk__in=wanted).order_by("pk").select_for_update(of=("self",), no_key=True)
    )
    if len(rows) < len(wanted):
        raise Refused(
            _("L’un des jours choisis n’existe plus, ou dépend d’une autre commune. Rien n’a été fermé."),
            code="out_of_scope",
        )
    closing = [row for row in rows if row.is_open]
    booked = [row for row in closing if row.taken]
    if booked:
        raise Refused(
            ngettext(
                "%(count)d jour a des places prises (%(days)s)\u00a0: passez par une fermeture, qui dit qui est touché, "
                "prévient et rembourse. Rien n’a été fermé.",
                "%(count)d jours ont des places prises (%(days)s)\u00a0: passez par une fermeture, qui dit qui est touché, "
                "prévient et rembourse. Rien n’a été fermé.",
                len(booked),
            )
            % {"count": len(booked), "days": enumeration(long_date(row.date) for row in booked[:5])},
            code="booked",
        )
    OpenDay.objects.filter(pk__in=[row.pk for row in closing]).update(is_open=False, closed_reason=reason, by_hand=True)
    return len(closing)


def _adopt(day: OpenDay, rule: OpenDay, report: Report) -> bool:
    """Take over the rule's facts; where places are taken, only as far as nobody who booked loses by it.

    Returns whether the day has changed.
    """
    before = _facts(day)
    day.is_open, day.closed_reason = True, ""
    day.capacity = max(rule.capacity, day.taken)
    day.slot_places = rule.slot_places
    day.book_from, day.book_until, day.late_until = rule.book_from, rule.book_until, rule.late_until
    day.cancel_until = max(rule.cancel_until, day.cancel_until) if day.taken else rule.cancel_until
    if day.taken:
        if _facts(day) == _facts(rule):
            text = ngettext(
                "%(day)s\u00a0: la nouvelle règle est appliquée, %(taken)d place prise est gardée.",
                "%(day)s\u00a0: la nouvelle règle est appliquée, %(taken)d places prises sont gardées.",
                day.taken,
            )
        else:
            text = ngettext(
                "%(day)s\u00a0: la nouvelle règle n’est pas toute appliquée, pour ne rien retirer à %(taken)d place prise.",
                "%(day)s\u00a0: la nouvelle règle n’est pas toute appliquée, pour ne rien retirer à %(taken)d places prises.",
                day.taken,
            )
        report.kept.append(text % {"day": long_date(day.date), "taken": day.taken})
    return _facts(day) != before


def _wanted_days(activity: Activity, first: dt.date, last: dt.date) -> Iterator[OpenDay]:
    if activity.kind != Activity.Kind.CALENDAR:
        return  # tickets and passes are sold without a day
    calendar = SchoolCalendar.around(first, last)
    pattern = Pattern.of(activity, calendar)
    withheld = _withheld(activity, pattern)
    closed: dict[dt.date, str] = {}
    for closings in CLOSINGS:
        closed |= closings(activity, first, last)
    for offset in range((last - first).days + 1):
        date = first + dt.timedelta(days=offset)
        period = pattern.opening(date)
        if period is None:
            continue
        yield OpenDay(
            activity=activity,
            date=date,
            capacity=pattern.capacity(period),
            slot_places=withheld[period.pk],
            is_open=date not in closed,
            closed_reason=closed.get(date, ""),
            **limits_of(activity, date, calendar=calendar)._asdict(),
        )


def _withheld(activity: Activity, pattern: Pattern) -> dict[int, dict[str, int]]:
    """By period: the slots that its days do not offer, as OpenDay.slot_places says it. No query when all offer all."""
    if not any(period.slots for period in pattern.periods):
        return {period.pk: {} for period in pattern.periods}
    keys = list(activity.slots.order_by("pk").values_list("pk", flat=True))
    return {
        period.pk: {str(key): 0 for key in keys if key not in period.slots} if period.slots else {}
        for period in pattern.periods
    }
