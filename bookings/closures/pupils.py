"""Which children a closed school or class keeps from booking, on which dates."""

import datetime as dt
from collections.abc import Collection
from typing import Any

from django.db.models import F
from django.utils.translation import gettext as _

from bookings.closures.models import Closure
from families.models import Beneficiary
from portal.common.formats import long_date
from services.models import Activity
from services.school_calendar import school_year


class ClosedSchools:
    """The closures of these children's schools that touch an activity between two dates; one query."""

    def __init__(self, activity: Activity, children: Collection[Beneficiary], dates: Collection[dt.date]) -> None:
        self.closures: list[Closure] = []
        self.classes: dict[tuple[int, int], tuple[int, str, int | None]] = {}
        commune = activity.service.commune_id
        if not dates or commune is None:
            return
        pupil = "school__enrolments__"
        rows = (
            Closure.objects.in_force()
            .filter(commune=commune, first_day__lte=max(dates), last_day__gte=min(dates))
            .filter(school__enrolments__beneficiary__in=[child.pk for child in children])
            .annotate(
                pupil=F(f"{pupil}beneficiary"),
                pupil_year=F(f"{pupil}year"),
                pupil_level=F(f"{pupil}level"),
                pupil_class=F(f"{pupil}classroom"),
            )
            .select_related("school", "classroom")
            .order_by("pk")
        )
        row: Any  # with what the annotations add
        for row in rows:  # each closure once for every pupil of its school
            self.classes[row.pupil, row.pupil_year] = (row.school_id, row.pupil_level, row.pupil_class)
            if not self.closures or self.closures[-1] != row:
                self.closures.append(row)

    def closure(self, child: Beneficiary, date: dt.date) -> Closure | None:
        """The closure that keeps this child away on this date."""
        if not self.closures:
            return None
        school, level, classroom = self.classes.get((child.pk, school_year(date)[0].year), (None, "", None))
        return next(
            (
                row
                for row in self.closures
                if row.school_id == school
                and row.first_day <= date <= row.last_day
                and (
                    row.scope == Closure.Scope.SCHOOL
                    or level in row.levels
                    or (row.classroom_id is not None and row.classroom_id == classroom)
                )
            ),
            None,
        )

    def why_not(self, child: Beneficiary, date: dt.date) -> str:
        """Why this child cannot be booked on this date, in a sentence; empty when nothing is closed for them."""
        found = self.closure(child, date)
        if found is None:
            return ""
        return _("Fermé pour %(child)s le %(date)s\u00a0: %(school)s (%(reason)s).") % {
            "child": child.first_name,
            "date": long_date(date),
            "school": found.target,
            "reason": found.reason,
        }

    def sentences(self, child: Beneficiary) -> list[str]:
        """What is closed for a child between the dates, one sentence for each closure."""
        told = []
        for row in self.closures:
            if self.closure(child, row.first_day) == row:
                words = {"dates": row.dates, "school": row.target, "reason": row.reason}
                told.append(_("fermé %(dates)s\u00a0: %(school)s (%(reason)s)") % words)
        return told
