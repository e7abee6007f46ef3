"""The quick choices of the booking page: which buttons there are, and what the one that was pressed ticks."""

import datetime as dt
from calendar import Calendar
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bookings.actions import Wish
from bookings.availability import Availability
from bookings.lists import SavedList
from bookings.selection import WEEK, WHOLE_WEEK, LastWeek, Pick, Selection, monday_of
from portal.common.formats import WEEKDAYS, day, enumeration, month, of_month, short_date
from services.models import Slot

SCHOOL_DAYS = "1245"
MOST_NAMED = 5
# How many weeks « Comme la semaine dernière » fills: value, words.
SPANS = (
    ("1", _("la prochaine semaine")),
    ("2", _("les 2 prochaines semaines")),
    ("4", _("les 4 prochaines semaines")),
    ("60", _("toute l’année")),
)


class Notice(NamedTuple):
    """What a quick choice did, beside the calendar: kind of notice, one sentence."""

    kind: str
    text: str

    @property
    def role(self) -> str:
        return "alert" if self.kind == "error" else "status"


@dataclass(frozen=True)
class Choices:
    """The buttons, as (value, words), and the typical week as it was sent.

    `week` and the `week` of each of `rows` are its boxes, as (value, name of the day, ticked); `past` names the week that
    « Comme… » repeats; `start` and `end` are what stands in the period's boxes, `first` and `last` what they may hold.
    """

    weekdays: Sequence[tuple[str, str]]
    periods: Sequence[tuple[str, str]]
    columns: Sequence[tuple[str, str]]
    week: Sequence[tuple[str, str, bool]]
    rows: Sequence[dict[str, Any]]
    past: str
    spans: Sequence[tuple[str, str]]
    span: str
    first: dt.date
    last: dt.date
    start: str
    end: str


def choices(
    data: QueryDict, availability: Availability, *, lines: Sequence[dict[str, Any]], past: LastWeek | None
) -> Choices | None:
    """What can be chosen quickly in the year on screen, and what was sent; None when nothing can be chosen.

    `lines` are the people as the page shows them.
    """
    dates = sorted(availability.quick_dates)
    if not dates:
        return None
    today = timezone.localdate()
    present = sorted({date.isoweekday() for date in dates})
    weekdays = [(str(number), f"{WEEKDAYS[number - 1]}s") for number in present]
    if {1, 2, 4, 5} < set(present):
        weekdays.append((SCHOOL_DAYS, _("lundis, mardis, jeudis et vendredis")))
    first, last = dates[0], dates[-1]
    asked = set(data.getlist("sem"))

    def week(prefix: str = "") -> list[tuple[str, str, bool]]:
        values = [(f"{prefix}{number}", WEEKDAYS[number - 1]) for number in present]
        return [(value, name, value in asked) for value, name in values]

    return Choices(
        weekdays=weekdays,
        periods=[
            (f"{monday_of(first)}:{WHOLE_WEEK}", _week_name(monday_of(first), today)),
            (f"{first:%Y-%m}:{WHOLE_WEEK}", _month_name(first, today)),
            (WHOLE_WEEK, _("Toute l’année")),
        ],
        columns=[(WEEKDAYS[number - 1], WEEKDAYS[number - 1][:3]) for number in present],
        week=week(),
        rows=[line | {"week": week(f"{line['row'].pk}:")} for line in lines],
        past=_past_name(past, today) if past else "",
        spans=SPANS,
        span=data.get("pendant", ""),
        first=first,
        last=last,
        start=data.get("du") or f"{first}",
        end=data.get("au") or f"{last}",
    )


def _week_name(monday: dt.date, today: dt.date) -> str:
    ahead = (monday - monday_of(today)) // WEEK
    if ahead < 2:
        return _("La semaine prochaine") if ahead else _("Cette semaine")
    return _("La semaine du %s") % day(monday).split(" ", 1)[1]


def _month_name(first: dt.date, today: dt.date) -> str:
    if (first.year, first.month) == (today.year, today.month):
        return _("Ce mois-ci")
    return _("Tout le mois %s") % of_month(first, year=False)


def _past_name(past: LastWeek, today: dt.date) -> str:
    if past.monday == monday_of(today) - WEEK:
        return _("Comme la semaine dernière")
    return _("Comme la semaine du %s") % day(past.monday).split(" ", 1)[1]


class QuickChoices:
    """One press of a button of the page: changes the selection, and says what needs saying."""

    def __init__(
        self,
        data: QueryDict,
        availability: Availability,
        selection: Selection,
        slot: Slot | None,
        past: LastWeek | None,
    ) -> None:
        self.data = data
        self.availability = availability
        self.selection = selection
        self.slot = slot
        self.past = past

    def apply(self, button: str) -> list[Notice]:
        """What the button that was pressed says; one that is unknown changes nothing."""
        match button:
            case "none":
                self.selection.clear()
            case "grille":
                self.selection.to_grid(self._everybody)
            case "calendrier":
                return self._to_calendar()
            case "semaine":
                return self._week()
            case "comme":
                return self._like_last_week()
            case _:
                self._pick(Pick.read(button))
        return []

    @property
    def _everybody(self) -> list[int]:
        return [person.pk for person in self.availability.beneficiaries]

    def _can(self, people: Collection[int], dates: Collection[dt.date]) -> set[Wish]:
        """Each of these days of each of these people that can be had in the chosen slot."""
        return {
            Wish(person, date)
            for person in people
            for date in dates
            if self.slot and self.availability.may_have(person, date, self.slot)
        }

    def _pick(self, pick: Pick | None) -> None:
        if pick is None:
            return
        dates = pick.dates(self.availability.quick_dates)
        if self.selection.by_person:
            people = [pick.beneficiary_id] if pick.beneficiary_id in self._everybody else self._everybody
            self.selection.toggle(self._can([pk for pk in people if pk], dates))
        else:
            # A date that none of those who are chosen can have is left alone.
            people = sorted(self.selection.people) or self._everybody
            self.selection.toggle_dates({each.date for each in self._can(people, dates)})

    def _to_calendar(self) -> list[Notice]:
        """The calendar again, unless somebody's days differ: it could not show them."""
        people = {each.beneficiary_id for each in self.selection.days}
        dates = self.selection.all_dates
        everything = {Wish(person, date) for person in people for date in dates}
        if self.selection.to_calendar(left_out=everything - self._can(people, dates)):
            return []
        return [
            Notice(
                "info",
                _("Les jours ne sont pas les mêmes pour tous\u00a0: la grille les montre personne par personne."),
            )
        ]

    def _week(self) -> list[Notice]:
        """« Semaine type »: weekdays, of each person in the grid, between two dates."""
        quick = self.availability.quick_dates
        try:
            first = _date(self.data.get("du", ""), min(quick, default=dt.date.min))
            last = _date(self.data.get("au", ""), max(quick, default=dt.date.max))
        except (ValueError, OverflowError):
            return [
                Notice(
                    "error", _("La période n’est pas lisible\u00a0: écrivez ses deux dates, par exemple 01/12/2026.")
                )
            ]
        if first > last:
            return [Notice("error", _("La période finit avant de commencer\u00a0: inversez ses deux dates."))]
        within = [date for date in quick if first <= date <= last]
        asked = set(self.data.getlist("sem"))
        if not asked:
            return [Notice("error", _("Cochez au moins un jour de la semaine type."))]
        if self.selection.by_person:
            found = {
                each
                for person in self._everybody
                for each in self._can([person], [date for date in within if f"{person}:{date.isoweekday()}" in asked])
            }
            before = len(self.selection.days)
            self.selection.days |= found
            added = len(self.selection.days) - before
        else:
            dates = {date for date in within if str(date.isoweekday()) in asked}
            added = len(dates - self.selection.dates)
            self.selection.dates |= dates
        return [self._ticked(added, first, last)]

    def _ticked(self, count: int, first: dt.date, last: dt.date) -> Notice:
        period = {"count": count, "first": short_date(first), "last": short_date(last)}
        if not count:
            return Notice("info", _("Aucun autre jour à cocher du %(first)s au %(last)s.") % period)
        text = ngettext(
            "%(count)d jour coché, du %(first)s au %(last)s.",
            "%(count)d jours cochés, du %(first)s au %(last)s.",
            count,
        )
        return Notice("success", text % period)

    def _like_last_week(self) -> list[Notice]:
        """The days that each person had in the last booked week, in the weeks to come; what cannot be had is said."""
        if self.past is None:
            return []
        past = self.past
        self.slot = next((row for row in self.availability.slots if row.pk == past.slot_id), self.slot)
        if self.slot is None:
            return []
        span = self.data.get("pendant", "")
        many = int(span) if span in dict(SPANS) else 1
        weeks = sorted({monday_of(date) for date in self.availability.quick_dates})[:many]
        known = set(self._everybody)
        wanted = [each for each in past.wishes(weeks) if each.beneficiary_id in known]
        quick = set(self.availability.quick_dates)
        found = {each for each in wanted if each.date in quick} & self._can(known, quick)
        in_calendar = not self.selection.by_person
        self.selection.to_grid([])
        self.selection.days |= found
        notices = self._to_calendar() if in_calendar else []
        return [*notices, *self._left_out([each for each in wanted if each not in found])]

    def apply_list(self, saved: SavedList, first: dt.date) -> list[Notice]:
        """Tick the days of a list in one month (named by its first day); says what was ticked, and what not and why."""
        slot = next((row for row in self.availability.slots if row.pk == saved.slot_id), None)
        if slot is None:
            text = _(
                "La prestation «\u00a0%s\u00a0» de cette liste n’est plus proposée\u00a0: choisissez-en une autre."
            )
            return [Notice("error", text % saved.slot)]
        self.slot = slot
        known = set(self._everybody)
        rows = list(saved.rows.all())
        today = timezone.localdate(self.availability.at)
        dates = [date for date in Calendar().itermonthdates(first.year, first.month) if date.month == first.month]
        wanted = [
            Wish(row.beneficiary_id, date)
            for date in dates
            for row in rows
            if date >= today and date.weekday() in row.weekdays and row.beneficiary_id in known
        ]
        found = {each for each in wanted if not self.availability.obstacle(each.beneficiary_id, each.date, slot)}
        self.selection.to_grid([])
        self.selection.days |= found
        notices = [self._list_ticked(saved, len(found), first)]
        notices += self._to_calendar() if len({frozenset(row.weekdays) for row in rows}) == 1 else []
        notices += self._left_out([each for each in wanted if each not in found], most=len(wanted))
        gone = [row.beneficiary.first_name for row in rows if row.beneficiary_id not in known]
        if gone:
            text = _("Non cochés\u00a0: les jours de %s, qui ne fait plus partie de vos filiations.")
            notices.append(Notice("warning", text % enumeration(gone)))
        return notices

    def _list_ticked(self, saved: SavedList, count: int, first: dt.date) -> Notice:
        words = {"name": saved.name, "count": count, "month": month(first).lower()}
        if not count:
            return Notice("warning", _("Liste «\u00a0%(name)s\u00a0»\u00a0: aucun jour à cocher en %(month)s.") % words)
        text = ngettext(
            "Liste «\u00a0%(name)s\u00a0»\u00a0: %(count)d place cochée en %(month)s.",
            "Liste «\u00a0%(name)s\u00a0»\u00a0: %(count)d places cochées en %(month)s.",
            count,
        )
        return Notice("success", text % words)

    def _left_out(self, wishes: Sequence[Wish], most: int = MOST_NAMED) -> list[Notice]:
        assert self.slot is not None
        names = {person.pk: person.first_name for person in self.availability.beneficiaries}
        days: dict[tuple[dt.date, str], list[str]] = {}
        for each in wishes:
            if why := self.availability.obstacle(each.beneficiary_id, each.date, self.slot):
                days.setdefault((each.date, why), []).append(names[each.beneficiary_id])
        # One entry for a reason and those whom it keeps away, with all its days.
        reasons: dict[tuple[str, str], list[str]] = {}
        for (date, why), who in days.items():
            reasons.setdefault((enumeration(who), why), []).append(day(date))
        told = [f"{who}, {enumeration(dates)} ({why})" for (who, why), dates in reasons.items()]
        if not told:
            return []
        rest = len(told) - most
        if rest > 1:
            told = [*told[:most], _("%d autres jours") % rest]
        return [Notice("warning", _("Non cochés\u00a0: %s.") % "\u00a0; ".join(told))]


def _date(text: str, default: dt.date) -> dt.date:
    """A date as <input type="date"> sends it, or as it is typed where that is a plain text box; the default for none."""
    text = text.strip()
    if not text:
        return default
    if "/" in text:
        number, month, year = text.split("/")
        return dt.date(int(year), int(month), int(number))
    return dt.date.fromisoformat(text)
