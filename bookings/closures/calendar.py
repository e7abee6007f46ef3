"""What closures in force say to the generation of calendars: their dates are made closed, however late they are made."""

import datetime as dt
from collections.abc import Mapping

from django.db.models import Q

from bookings.closures.models import Closure
from services.models import Activity

Scope = Closure.Scope


def closings(activity: Activity, first: dt.date, last: dt.date) -> Mapping[dt.date, str]:
    """The reason of each date between two on which a closure of the activity, its service or its commune is in force.

    A closure of a school or a class closes no day: other children come.
    """
    service = activity.service
    target = Q(scope=Scope.ACTIVITY, activity=activity) | Q(scope=Scope.SERVICE, service=service)
    if service.commune_id is not None:
        target |= Q(scope=Scope.COMMUNE, commune=service.commune_id)
    found: dict[dt.date, str] = {}
    for row in Closure.objects.in_force().filter(target, first_day__lte=last, last_day__gte=first).order_by("-pk"):
        start, end = max(first, row.first_day), min(last, row.last_day)
        found |= {start + dt.timedelta(days=n): row.reason for n in range((end - start).days + 1)}
    return found
