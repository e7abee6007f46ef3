"""Tariff grids: what is wrong with one, and last year's grid carried over.

Rule: within a grid, each slot sold to a situation has exactly one fare for every rank, quotient and age; the database
forbids two (one_price_at_a_time), this finds both faults and names the bands.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from portal.common.errors import Refused
from portal.common.formats import NBSP, enumeration, long_date, today
from services.models import AccessProfile, OpenDay, Slot, Tariff, TariffGrid
from services.pricing import range_words

FIRST = {"rank": 1, "quotient": 0, "age": 0}  # ranks begin at one
BANDS = tuple(FIRST)
Ages = tuple[int | None, int | None]  # the youngest and the oldest, both included
Box = tuple[tuple[int, int | None], ...]  # for each of BANDS: first, and the one after the last (None: no end)


def faults(rows: Iterable[Tariff], *, rank_basis: str, ages: Mapping[int, Ages] | None = None) -> list[str]:
    """One sentence for each gap and each overlap of the fares of one grid, the bands named; empty when it is whole.

    `ages` says who may come to a slot (by key); of one that it does not name, only the ages between two fares are asked for.
    """
    found = []
    for tariffs in _by_offer(rows).values():
        what = f"«{NBSP}{tariffs[0].slot}, {tariffs[0].profile}{NBSP}»"
        if rank_basis == TariffGrid.RankBasis.NONE and any(_bounded(row.rank) for row in tariffs):
            found.append(_("%s : choisissez d’abord comment compter le rang des enfants.") % what)
            continue
        boxes = [_box(row) for row in tariffs]
        found += [
            _("%(what)s : « %(one)s » et « %(other)s » se chevauchent.") % {"what": what, "one": one, "other": other}
            for one, other in _overlaps(boxes)
        ]
        found += [
            _("%(what)s : aucun tarif pour %(band)s.") % {"what": what, "band": band}
            for band in _gaps(boxes, (ages or {}).get(tariffs[0].slot_id))
        ]
    return found


def without_fare(service_id: int) -> list[str]:
    """What of a service is open to come and has no fare: one sentence for each slot, or situation of a slot; empty when all has.

    A situation for which a slot never had a fare is not sold it: that is a choice, and is not told. Three queries.
    """
    days: dict[int, list[dt.date]] = {}
    coming = OpenDay.objects.filter(activity__service=service_id, activity__is_active=True, is_open=True)
    for activity, date in coming.filter(date__gte=today()).order_by("date").values_list("activity", "date"):
        days.setdefault(activity, []).append(date)
    fares: dict[int, dict[AccessProfile, list[Tariff]]] = {}
    for row in Tariff.objects.filter(slot__activity__in=days, slot__is_active=True).select_related("profile"):
        fares.setdefault(row.slot_id, {}).setdefault(row.profile, []).append(row)
    told = []
    for slot in Slot.objects.filter(activity__in=days, is_active=True).select_related("activity"):
        name = f"«{NBSP}{slot} ({slot.activity}){NBSP}»"
        if slot.pk not in fares:
            told.append(_("%s n’a aucun tarif\u00a0: personne ne peut le réserver.") % name)
        for profile, rows in fares.get(slot.pk, {}).items():
            bare = [date for date in days[slot.activity_id] if not any(row.holds_on(date) for row in rows)]
            if bare:
                told.append(
                    _("%(slot)s, %(profile)s\u00a0: aucun tarif le %(date)s, qui est ouvert aux réservations.")
                    % {"slot": name, "profile": profile, "date": long_date(bare[0])}
                    if len(bare) == 1
                    else _(
                        "%(slot)s, %(profile)s\u00a0: aucun tarif pour %(count)d jours ouverts, à partir du %(date)s."
                    )
                    % {"slot": name, "profile": profile, "count": len(bare), "date": long_date(bare[0])}
                )
    return told


def overlapping_grid(grid: TariffGrid) -> TariffGrid | None:
    """Another grid that has one of this one's fares during its dates (as they are in memory); None when there is none."""
    same = Tariff.objects.filter(
        grid=grid,
        slot=OuterRef("slot"),
        profile=OuterRef("profile"),
        rank__overlap=OuterRef("rank"),
        quotient__overlap=OuterRef("quotient"),
        age__overlap=OuterRef("age"),
    )
    rivals = Tariff.objects.exclude(grid=grid).filter(Exists(same), valid__overlap=grid.valid).select_related("grid")
    found = rivals.first()
    return found.grid if found else None


@transaction.atomic
def carry_over(*, grid: TariffGrid, name: str, first: dt.date, decision: str, decision_date: dt.date) -> TariffGrid:
    """A copy of a grid from a day on, without end, under the decision that carries it over; the old one ends the day before.

    Raises Refused when the old grid begins on that day or later, ends before it, or is followed by another then.
    """
    grid = TariffGrid.objects.select_for_update().get(pk=grid.pk)
    valid = grid.valid
    if (valid.lower is not None and valid.lower >= first) or (valid.upper is not None and valid.upper < first):
        raise Refused(
            _("Cette grille ne vaut pas jusqu’au %s : rien n’a été fait.") % long_date(first - dt.timedelta(days=1)),
            code="not_in_force",
        )
    rows = list(grid.tariffs.all())
    grid.valid = DateRange(first, None, "[)")
    if rival := overlapping_grid(grid):
        raise Refused(
            _("La grille « %s » a déjà ces tarifs à partir de cette date : rien n’a été fait.") % rival.name,
            code="followed",
        )
    TariffGrid.objects.filter(pk=grid.pk).update(valid=DateRange(valid.lower, first, "[)"))
    after = TariffGrid.objects.create(
        service_id=grid.service_id,
        name=name,
        valid=DateRange(first, None, "[)"),
        rank_basis=grid.rank_basis,
        decision=decision,
        decision_date=decision_date,
    )
    for row in rows:
        row.pk, row.grid, row._state.adding = None, after, True
        row.valid = after.valid
    Tariff.objects.bulk_create(rows)
    return after


def _by_offer(rows: Iterable[Tariff]) -> dict[tuple[int, int], list[Tariff]]:
    found: dict[tuple[int, int], list[Tariff]] = {}
    for row in rows:
        found.setdefault((row.slot_id, row.profile_id), []).append(row)
    return found


def _bounded(band: NumericRange) -> bool:
    return band.lower is not None or band.upper is not None


def _box(row: Tariff) -> Box:
    return tuple(
        (max(getattr(row, name).lower or FIRST[name], FIRST[name]), getattr(row, name).upper) for name in BANDS
    )


def _overlaps(boxes: Sequence[Box]) -> Iterator[tuple[str, str]]:
    for one, other in itertools.combinations(boxes, 2):
        if all(
            (b[1] is None or a[0] < b[1]) and (a[1] is None or b[0] < a[1]) for a, b in zip(one, other, strict=True)
        ):
            # Named by the bands that tell the two apart, or all of them when they are the same.
            dims = [index for index in range(len(BANDS)) if one[index] != other[index]] or list(range(len(BANDS)))
            yield _words(one, dims), _words(other, dims)


def _gaps(boxes: Sequence[Box], ages: Ages | None) -> Iterator[str]:
    """The parts of what these boxes should cover that none does, neighbours along the last band joined.

    Every band must be covered from its beginning to infinity, except ages: those of who may come, or where that is not
    told, only those between the youngest and the oldest that a fare names.
    """
    if not any(_bounded_box(box, "age") for box in boxes):
        ages = None
    edges: list[list[tuple[int, int | None]]] = []
    for index, name in enumerate(BANDS):
        points = {box[index][0] for box in boxes} | {box[index][1] for box in boxes if box[index][1] is not None}
        if name != "age":
            points.add(FIRST[name])
        elif ages is not None:
            points |= {ages[0] or FIRST[name]} | ({ages[1] + 1} if ages[1] is not None else set())
        ordered = sorted(point for point in points if point is not None)
        cells: list[tuple[int, int | None]] = [*itertools.pairwise(ordered)]
        if name != "age" or ages is not None or any(box[index][1] is None for box in boxes):
            cells.append((ordered[-1], None))
        if name == "age" and ages is not None:
            cells = [cell for cell in cells if _within(cell, ages)]
        edges.append(cells)
    missing = [cell for cell in itertools.product(*edges) if not any(_covers(box, cell) for box in boxes)]
    for cell in _joined(missing):
        shown = [
            index for index in range(len(BANDS)) if len(edges[index]) > 1 or cell[index] != (FIRST[BANDS[index]], None)
        ]
        yield _words(cell, shown)


def _bounded_box(box: Box, name: str) -> bool:
    return box[BANDS.index(name)] != (FIRST[name], None)


def _within(cell: tuple[int, int | None], ages: Ages) -> bool:
    """Whether somebody of these ages may come; a cell lies on one side of each limit."""
    return cell[0] >= (ages[0] or 0) and (ages[1] is None or cell[0] <= ages[1])


def _covers(box: Box, cell: Box) -> bool:
    return all(
        b[0] <= c[0] and (b[1] is None or (c[1] is not None and c[1] <= b[1])) for b, c in zip(box, cell, strict=True)
    )


def _joined(cells: list[Box]) -> list[Box]:
    """Cells that touch along one band and agree on the others become one: « 1 001 à 4 000 », not two halves."""
    cells = list(cells)
    for index in range(len(BANDS)):
        merged: list[Box] = []
        for cell in sorted(cells, key=lambda cell: tuple((a, b is None, b or 0) for a, b in cell)):
            for position, other in enumerate(merged):
                rest = all(cell[i] == other[i] for i in range(len(BANDS)) if i != index)
                if rest and other[index][1] == cell[index][0]:
                    merged[position] = (*other[:index], (other[index][0], cell[index][1]), *other[index + 1 :])
                    break
            else:
                merged.append(cell)
        cells = merged
    return cells


def _words(box: Box, dims: Iterable[int]) -> str:
    return enumeration(range_words(BANDS[index], *box[index]) for index in dims) or _("tout le monde")
