"""For whom an activity is, in words."""

from collections.abc import Collection

from django.utils.translation import gettext as _

from portal.common.formats import NBSP, enumeration
from services.models import Activity, Level


def ages(activity: Activity) -> str:
    """`de 3 à 12 ans`, `à partir de 6 ans`, `jusqu’à 12 ans`; empty without a limit."""
    low, high = activity.min_age, activity.max_age
    if low is not None and high is not None:
        return _("de %(low)d à %(high)d ans").replace(" ans", f"{NBSP}ans") % {"low": low, "high": high}
    if low is not None:
        return _("à partir de %d ans").replace(" ans", f"{NBSP}ans") % low
    if high is not None:
        return _("jusqu’à %d ans").replace(" ans", f"{NBSP}ans") % high
    return ""


def classes(levels: Collection[str]) -> str:
    """`CP et CE1`, youngest first."""
    return enumeration(str(level.label) for level in Level if level in levels)


def beyond_age(activity: Activity, age: int | None) -> str:
    """Why somebody of this age (in years; None: not told) may not come: `réservé aux enfants de 3 à 12 ans`; else empty."""
    low, high = activity.min_age, activity.max_age
    if age is None or ((low is None or low <= age) and (high is None or age <= high)):
        return ""
    return _("réservé aux enfants %s") % ages(activity)
