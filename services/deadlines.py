"""When a day may be booked or cancelled until: the moment, and the sentence that a parent reads.

Sources: règlements of Cruas (J-2 12 h without weekends), Cunac (a limit for each weekday), Bas-en-Basset; seed 002 (weekly
limit), seed 004 (a window before the holidays). All moments are Paris time.
"""

import datetime as dt
import itertools
from collections.abc import Collection, Iterator
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.errors import Refused
from portal.common.formats import NBSP, PARIS, WEEKDAYS, enumeration, euros, hour, long_date, moment
from portal.common.money import round_cents
from services.models import MINUTES_OF_DAY, Activity, Deadline, Service
from services.school_calendar import SchoolCalendar

NUMBERS = ("", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze")
WEEK = dt.timedelta(weeks=1)


def know_deadlines(activities: Collection[Activity]) -> None:
    """Give activities (each with its service) their deadlines, in one query.

    For a page of a few: joined to them they would be six tables more, which take longer to plan and to compose than all
    else in the statement. For all activities of the platform there is ActivityQuerySet.with_deadlines.
    """
    owners: list[Activity | Service] = [*activities, *(activity.service for activity in activities)]
    keys = {key for row in owners for key in (row.booking_deadline_id, row.cancel_deadline_id) if key is not None}
    found = Deadline.objects.select_related("late").in_bulk(keys)
    for row in owners:
        if row.booking_deadline_id is not None:
            row.booking_deadline = found[row.booking_deadline_id]
        if row.cancel_deadline_id is not None:
            row.cancel_deadline = found[row.cancel_deadline_id]


def moment_for(deadline: Deadline, date: dt.date, *, calendar: SchoolCalendar) -> dt.datetime:
    """The moment until which `date` may be booked or cancelled under this rule.

    Days of the kinds that the rule skips are not counted, and a limit that falls on one moves to the last day before.
    Raises Refused when the rule sets a limit for each weekday but none for this one.
    """
    if deadline.basis == Deadline.Basis.DAYS:
        before = (day for day in _days_before(date) if not _is_skipped(day, deadline, calendar))
        day = next(itertools.islice(before, deadline.offset - 1, None)) if deadline.offset else date
        return _at(day, deadline.time)
    if deadline.basis == Deadline.Basis.WEEKDAYS:
        assert deadline.weekday_limits is not None
        minutes = deadline.weekday_limits[date.weekday()]
        if minutes is None:
            raise Refused(
                _("Le délai « %(rule)s » ne fixe pas de limite pour le %(weekday)s : complétez-le d’abord.")
                % {"rule": deadline, "weekday": WEEKDAYS[date.weekday()]},
                code="no_limit",
            )
        weekday, time = divmod(minutes, MINUTES_OF_DAY)
        # The last such weekday before the day itself.
        day = date - dt.timedelta(days=(date.weekday() - weekday - 1) % 7 + 1)
        return _at(_not_skipped(day, deadline, calendar), _time(time))
    if deadline.basis == Deadline.Basis.WEEK:
        assert deadline.weekday is not None
        day = date - dt.timedelta(days=date.weekday()) - WEEK + dt.timedelta(days=deadline.weekday)
    else:
        day = _start(date, calendar) - deadline.offset * WEEK
    return _at(_not_skipped(day, deadline, calendar), deadline.time)


def opening_for(deadline: Deadline, date: dt.date, *, calendar: SchoolCalendar) -> dt.datetime | None:
    """The moment from which `date` may be booked: midnight, some weeks before it (before its holidays), or None."""
    if deadline.opens_weeks is None:
        return None
    day = _start(date, calendar) if deadline.basis == Deadline.Basis.HOLIDAYS else date
    return _at(day - deadline.opens_weeks * WEEK, dt.time())


def late_limit_for(deadline: Deadline, date: dt.date, *, calendar: SchoolCalendar) -> dt.datetime | None:
    """The second limit, until which `date` may be booked late; None when the rule has none or it is not later."""
    if deadline.late is None:
        return None
    limit = moment_for(deadline.late, date, calendar=calendar)
    return limit if limit > moment_for(deadline, date, calendar=calendar) else None


def check(deadline: Deadline, *, first: dt.date, last: dt.date, calendar: SchoolCalendar) -> None:
    """Raise Refused when for a day between two dates the rule opens after it closes, or its second limit comes first.

    Nor may the second limit never come later: nobody would ever book late. Weekdays without a limit are passed over.
    """
    later = False
    for offset in range((last - first).days + 1):
        date = first + dt.timedelta(days=offset)
        until = _moment_or_none(deadline, date, calendar)
        if until is None:
            continue
        opens = opening_for(deadline, date, calendar=calendar)
        if opens is not None and opens >= until:
            raise Refused(
                _("Pour le %(date)s, l’ouverture (%(opens)s) viendrait après la limite (%(until)s).")
                % {"date": long_date(date), "opens": moment(opens), "until": moment(until)},
                code="opens_too_late",
            )
        late = deadline.late and _moment_or_none(deadline.late, date, calendar)
        if late and late < until:
            raise Refused(
                _(
                    "Pour le %(date)s, la limite de «\u00a0%(late_rule)s\u00a0» (%(late)s) vient avant celle du délai "
                    "(%(until)s)\u00a0: choisissez-en une qui vient après."
                )
                % {
                    "date": long_date(date),
                    "late_rule": deadline.late,
                    "late": moment(late),
                    "until": moment(until),
                },
                code="late_too_early",
            )
        later = later or bool(late and late > until)
    if deadline.late is not None and not later:
        raise Refused(
            _("La limite de «\u00a0%s\u00a0» ne vient jamais après celle du délai\u00a0: personne ne réserverait tard.")
            % deadline.late,
            code="never_late",
        )


def _moment_or_none(deadline: Deadline, date: dt.date, calendar: SchoolCalendar) -> dt.datetime | None:
    if deadline.weekday_limits is not None and deadline.weekday_limits[date.weekday()] is None:
        return None
    return moment_for(deadline, date, calendar=calendar)


def late_sentence(deadline: Deadline) -> str:
    """What booking late costs: `jusqu’au jour même à 7 h avec un supplément de 1,00 €`; empty when it is refused."""
    if deadline.late is None:
        return ""
    text = _limit(deadline.late)
    if not deadline.surcharge:
        return text
    text = f"{text} {surcharge_words(deadline)}"
    if not deadline.free_times:
        return text
    period = _("du mois") if deadline.free_period == Deadline.Period.MONTH else _("de l’année scolaire")
    free = ngettext(
        "sauf la première fois %(period)s", "sauf les %(count)d premières fois %(period)s", deadline.free_times
    )
    return f"{text}, {free % {'period': period, 'count': deadline.free_times}}"


def surcharged(deadline: Deadline, price: Decimal) -> Decimal:
    """What a place of this price (euros) costs when it is booked late: never less."""
    amount = deadline.surcharge_amount
    if not deadline.surcharge or amount is None:
        return price
    match deadline.surcharge:
        case Deadline.Surcharge.ADDED:
            return price + amount
        case Deadline.Surcharge.TIMES:
            return round_cents(price * amount)
    return max(price, amount)


def surcharge_words(deadline: Deadline) -> str:
    """`avec un supplément de 1,00 €`, `au double du prix`, `à 1,5 fois le prix`, `au prix de 6,00 €`."""
    amount = deadline.surcharge_amount
    assert amount is not None
    if deadline.surcharge == Deadline.Surcharge.ADDED:
        return _("avec un supplément de %s") % euros(amount)
    if deadline.surcharge == Deadline.Surcharge.FIXED:
        return _("au prix de %s") % euros(amount)
    if amount == 2:
        return _("au double du prix")
    return _("à %s fois le prix") % f"{amount.normalize():f}".replace(".", ",")


def sentence(deadline: Deadline) -> str:
    """The rule's end of a sentence: `jusqu’au jeudi 12 h pour la semaine suivante`, `jusqu’à la veille à 12 h`."""
    text = _limit(deadline)
    if deadline.opens_weeks is not None:
        before = (
            _("avant le début des vacances") if deadline.basis == Deadline.Basis.HOLIDAYS else _("avant chaque date")
        )
        text = _("dès %(weeks)s %(before)s, et %(limit)s") % {
            "weeks": _weeks(deadline.opens_weeks),
            "before": before,
            "limit": text,
        }
    if deadline.late is not None:
        text = _("%(limit)s ; ensuite, %(late)s") % {"limit": text, "late": late_sentence(deadline)}
    return text


def cancel_sentence(deadline: Deadline) -> str:
    """The same of a rule for cancelling, of which the limit alone counts: not when it opens, nor booking late."""
    return _limit(deadline)


def _limit(deadline: Deadline) -> str:
    time = hour(deadline.time)
    moved = _moved(deadline)
    match deadline.basis:
        case Deadline.Basis.WEEK:
            assert deadline.weekday is not None
            text = _("jusqu’au %(weekday)s %(time)s pour la semaine suivante") % {
                "weekday": WEEKDAYS[deadline.weekday],
                "time": time,
            }
            return text + moved
        case Deadline.Basis.WEEKDAYS:
            return ", ".join(_weekday_limits(deadline)) + moved
        case Deadline.Basis.HOLIDAYS:
            text = _("jusqu’à %(weeks)s avant le début des vacances, à %(time)s") % {
                "weeks": _weeks(deadline.offset),
                "time": time,
            }
            return text + moved
    if deadline.offset == 0:
        return _("jusqu’au jour même à %s") % time
    if deadline.offset == 1:
        text = _("jusqu’à la veille à %s") % time
    else:
        text = _("jusqu’à %(days)s avant, à %(time)s") % {"days": _count(deadline.offset, _("jours")), "time": time}
    skipped = _skipped_kinds(deadline)
    return text + (_(" (sans compter %s)") % _joined(skipped, _("ni")) if skipped else "")


def _weekday_limits(deadline: Deadline) -> Iterator[str]:
    """`jusqu’au jeudi 10 h pour lundi et mardi`, one for each limit, in the order of the weekdays booked."""
    assert deadline.weekday_limits is not None
    together: dict[int, list[str]] = {}
    for weekday, minutes in enumerate(deadline.weekday_limits):
        if minutes is not None:
            together.setdefault(minutes, []).append(WEEKDAYS[weekday])
    for minutes, names in together.items():
        weekday, time = divmod(minutes, MINUTES_OF_DAY)
        yield _("jusqu’au %(weekday)s %(time)s pour %(days)s") % {
            "weekday": WEEKDAYS[weekday],
            "time": hour(_time(time)),
            "days": enumeration(names),
        }


def _moved(deadline: Deadline) -> str:
    kinds = [
        words
        for words, skipped in (
            (_("un week-end"), deadline.skip_weekends),
            (_("un jour férié"), deadline.skip_holidays),
            (_("pendant les vacances scolaires"), deadline.skip_school_holidays),
        )
        if skipped
    ]
    return _(" (avancé au dernier jour ouvré s’il tombe %s)") % _joined(kinds, _("ou")) if kinds else ""


def _skipped_kinds(deadline: Deadline) -> list[str]:
    kinds = (
        (_("samedis et dimanches"), deadline.skip_weekends),
        (_("jours fériés"), deadline.skip_holidays),
        (_("vacances scolaires"), deadline.skip_school_holidays),
    )
    return [words for words, skipped in kinds if skipped]


def _joined(words: list[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def _count(number: int, unit: str) -> str:
    return f"{NUMBERS[number] if number < len(NUMBERS) else number}{NBSP}{unit}"


def _weeks(number: int) -> str:
    if number == 1:
        return _("une semaine")
    return _count(number, ngettext("semaine", "semaines", number))


def _days_before(date: dt.date) -> Iterator[dt.date]:
    for back in itertools.count(1):
        yield date - dt.timedelta(days=back)


def _is_skipped(day: dt.date, deadline: Deadline, calendar: SchoolCalendar) -> bool:
    return (
        (deadline.skip_weekends and day.weekday() >= 5)
        or (deadline.skip_holidays and day in calendar.public_holidays)
        or (deadline.skip_school_holidays and calendar.holidays_of(day) is not None)
    )


def _not_skipped(day: dt.date, deadline: Deadline, calendar: SchoolCalendar) -> dt.date:
    """The day, or the last one before it that the rule does not skip."""
    while _is_skipped(day, deadline, calendar):
        day -= dt.timedelta(days=1)
    return day


def _start(date: dt.date, calendar: SchoolCalendar) -> dt.date:
    """The first day of the holidays around a date, or the date itself outside of them."""
    break_ = calendar.holidays_of(date)
    return break_.first_day if break_ else date


def _time(minutes: int) -> dt.time:
    return dt.time(*divmod(minutes, 60))


def _at(day: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(day, time, tzinfo=PARIS)
