"""Which children an activity is for: its ages, its schools and its classes, said of one child."""

import datetime as dt
from collections.abc import Collection, Iterable

from django.utils.translation import gettext as _

from families.models import Beneficiary, Enrolment
from portal.common.formats import NBSP, enumeration, long_date, of
from services.limits import ages, classes
from services.models import Activity
from services.school_calendar import school_year


class Limits:
    """The limits of one activity for some children, read in two queries (one, when every pupil may come)."""

    def __init__(self, activity: Activity, children: Collection[Beneficiary]) -> None:
        self.activity = activity
        asked = getattr(activity, "for_some_schools", True)  # ActivityQuerySet.with_limits
        self.schools = {row.pk: row.name for row in activity.schools.all()} if asked else {}
        self.by_school = bool(self.schools or activity.levels)
        self.by_age = activity.min_age is not None or activity.max_age is not None
        self.enrolments: dict[tuple[int, int], Enrolment] = {}
        if self.by_school:
            rows = Enrolment.objects.filter(beneficiary__in=[child.pk for child in children]).select_related("school")
            self.enrolments = {(row.beneficiary_id, row.year): row for row in rows}

    def why_not(self, child: Beneficiary, date: dt.date) -> str:
        """Why this child may not come on this date, in a sentence that names both; empty when the child may."""
        return (self.by_age and self._age(child, date)) or (self.by_school and self._class(child, date)) or ""

    def why_not_of_class(self, child: Beneficiary, date: dt.date) -> str:
        """The same for schools and classes alone: whoever asks imagines another age."""
        return (self.by_school and self._class(child, date)) or ""

    def why_never(self, child: Beneficiary, dates: Iterable[dt.date]) -> str:
        """The reason of the first date when the child may come on none of them; empty otherwise."""
        if not self.by_age and not self.by_school:
            return ""
        dates = list(dates)
        if not dates or not all(self.why_not(child, date) for date in dates):
            return ""
        age = child.age
        if self.by_age and age is not None and self._age(child, dates[0]) and age == child.age_on(dates[0]):
            # Said of today: it stands beside the name, under the activity's own.
            words = {"child": child.first_name, "age": _years(age), "ages": ages(self.activity)}
            return _("%(child)s a %(age)s\u00a0: réservé aux enfants %(ages)s.") % words
        return self.why_not(child, dates[0])

    def _age(self, child: Beneficiary, date: dt.date) -> str:
        low, high = self.activity.min_age, self.activity.max_age
        age = child.age_on(date)
        if age is None:
            return _(
                "La date de naissance %(of_child)s manque\u00a0: «\u00a0%(activity)s\u00a0» est réservé aux enfants %(ages)s. "
                "Complétez-la dans «\u00a0Mes filiations\u00a0»."
            ) % {"of_child": of(child.first_name), "activity": self.activity, "ages": ages(self.activity)}
        if (low is None or low <= age) and (high is None or age <= high):
            return ""
        return _(
            "%(child)s aura %(age)s le %(date)s\u00a0: «\u00a0%(activity)s\u00a0» est réservé aux enfants %(ages)s."
        ) % {
            "child": child.first_name,
            "age": _years(age),
            "date": long_date(date),
            "activity": self.activity,
            "ages": ages(self.activity),
        }

    def _class(self, child: Beneficiary, date: dt.date) -> str:
        year = school_year(date)[0].year
        row = self.enrolments.get((child.pk, year))
        words = {
            "child": child.first_name,
            "of_child": of(child.first_name),
            "activity": self.activity,
            "pupils": self.pupils,
            "year": f"{year}-{year + 1}",
        }
        if row is None:
            return (
                _(
                    "L’école %(of_child)s pour %(year)s n’est pas déclarée\u00a0: «\u00a0%(activity)s\u00a0» est réservé "
                    "%(pupils)s. Déclarez-la dans «\u00a0Mes filiations\u00a0»."
                )
                % words
            )
        if (self.schools and row.school_id not in self.schools) or (
            self.activity.levels and row.level not in self.activity.levels
        ):
            words |= {"school": row.school, "level": row.get_level_display()}
            return (
                _(
                    "%(child)s est en %(level)s à «\u00a0%(school)s\u00a0» en %(year)s\u00a0: «\u00a0%(activity)s\u00a0» est "
                    "réservé %(pupils)s."
                )
                % words
            )
        return ""

    @property
    def pupils(self) -> str:
        """`aux élèves de CP et CE1 de l’école publique`; empty when neither school nor class counts."""
        if not self.by_school:
            return ""
        parts = [_("aux élèves")]
        if self.activity.levels:
            parts.append(_("de %s") % classes(self.activity.levels))
        if self.schools:
            parts.append(_("de «\u00a0%s\u00a0»") % enumeration(sorted(self.schools.values())))
        return " ".join(parts)

    @property
    def sentence(self) -> str:
        """For whom the activity is: `Réservé aux enfants de 3 à 12 ans`; empty when it is for everybody."""
        parts = [_("aux enfants %s") % ages(self.activity)] if ages(self.activity) else []
        if self.by_school:
            parts.append(self.pupils)
        return _("Réservé %s.") % enumeration(parts) if parts else ""


def _years(age: int) -> str:
    return f"{age}{NBSP}ans" if age > 1 else f"{age}{NBSP}an"
