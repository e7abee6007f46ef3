"""« Rien de réservé pour la semaine prochaine » : one e-mail a week to families who usually come and have not booked."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.reminders import reminders_key
from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from families.models import Filiation
from portal.common.formats import PARIS, enumeration
from portal.outbox.actions import queue_email
from portal.outbox.models import Email
from services.models import Activity, OpenDay, Subscription

# How long before its first limit of the week an activity is due for a reminder, and how far back « usually » looks.
BEFORE = dt.timedelta(hours=48)
USUALLY = dt.timedelta(days=70)
BATCH = 500

Limits = Mapping[int, dt.datetime]  # of each activity with days next week: until when the first of them is booked


def remind(*, at: dt.datetime | None = None) -> int:
    """Write to the families concerned; returns to how many. Run each hour: one e-mail a family and week.

    Concerned is who has an approved access and a child who came to the activity lately, has nothing booked, held or
    waited for next week, and has not said no to reminders. The reminder leaves within BEFORE of the first limit of one
    of these activities and names them all. A batch of families costs the same few statements whatever it holds.
    """
    now = at or timezone.now()
    monday = _next_monday(now)
    limits = _limits(monday, now)
    due = {pk for pk, limit in limits.items() if limit <= now + BEFORE}
    if not due:
        return 0
    activities = {row.pk: row for row in Activity.objects.filter(pk__in=limits).select_related("service")}
    return sum(_remind(batch, activities, limits, due, monday) for batch in _batches(due))


def _next_monday(now: dt.datetime) -> dt.date:
    today = now.astimezone(PARIS).date()
    return today + dt.timedelta(days=7 - today.weekday())


def _limits(monday: dt.date, now: dt.datetime) -> Limits:
    """The activities that can be booked for the week of that Monday, each with its first limit that is not past."""
    days = OpenDay.objects.bookable(at=now).filter(
        date__range=(monday, monday + dt.timedelta(days=6)),
        book_until__gt=now,
        activity__is_active=True,
        activity__service__is_active=True,
    )
    return dict(days.order_by().values_list("activity").annotate(Min("book_until")))


def _batches(due: Iterable[int]) -> Iterator[list[User]]:
    """The accounts with an access to one of these activities that want reminders, BATCH at a time."""
    services = Activity.objects.filter(pk__in=due).values("service")
    accesses = Subscription.objects.approved().filter(profile__service__in=services)
    people = User.objects.filter(
        reminders=True, is_active=True, status=User.Status.APPROVED, pk__in=accesses.values("user")
    ).order_by("pk")
    last = 0
    while batch := list(people.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


@transaction.atomic
def _remind(
    people: Sequence[User], activities: Mapping[int, Activity], limits: Limits, due: set[int], monday: dt.date
) -> int:
    keys = {user.pk: f"reminder:{user.pk}:{monday:%Y%m%d}" for user in people}
    told = set(Email.objects.filter(key__in=keys.values()).values_list("key", flat=True))
    missing = _missing([user for user in people if keys[user.pk] not in told], activities, monday)
    count = 0
    for user in people:
        wanted = missing.get(user.pk, {})
        if not wanted.keys() & due:
            continue
        lines = sorted(
            ((limits[pk], activities[pk], enumeration(sorted(names))) for pk, names in wanted.items()),
            key=lambda line: (line[0], line[1].name),
        )
        queue_email(
            key=keys[user.pk],
            to=user.email,
            template="nothing_booked",
            context={"user": user, "lines": lines, "first": lines[0][0], "monday": monday, "key": reminders_key(user)},
        )
        count += 1
    return count


def _missing(
    people: Sequence[User], activities: Mapping[int, Activity], monday: dt.date
) -> dict[int, dict[int, list[str]]]:
    """By account, the activities that some of its children usually come to and have nothing of in the week of that Monday:
    the first names of these children."""
    links = Filiation.objects.filter(user__in=people, ended_at=None)
    adults: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for user, child, name in links.values_list("user", "beneficiary", "beneficiary__first_name"):
        adults.setdefault(child, []).append(user)
        names[child] = name
    accesses = set(Subscription.objects.approved().filter(user__in=people).values_list("user", "profile__service"))
    came = Booking.objects.booked().filter(open_day__date__range=(monday - USUALLY, monday - dt.timedelta(days=1)))
    week = {"open_day__date__range": (monday, monday + dt.timedelta(days=6))}
    usual = _pairs(came, adults, activities)
    settled = _pairs(Booking.objects.live().filter(**week), adults, activities) | _pairs(
        WaitingListEntry.objects.live().filter(**week), adults, activities
    )
    missing: dict[int, dict[int, list[str]]] = {}
    for child, activity in usual - settled:
        for user in adults[child]:
            if (user, activities[activity].service_id) in accesses:
                missing.setdefault(user, {}).setdefault(activity, []).append(names[child])
    return missing


def _pairs(rows: QuerySet[Any], children: Iterable[int], activities: Iterable[int]) -> set[tuple[int, int]]:
    """Which of these children stand in these rows, by activity: one statement."""
    found = rows.filter(beneficiary__in=children, open_day__activity__in=activities)
    return set(found.order_by().values_list("beneficiary", "open_day__activity").distinct())
