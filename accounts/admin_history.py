"""What happened to a row, for people: who, when and which facts, from pghistory's events or the admin's journal."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db import models
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts.models import User
from portal.common.formats import short_date

NEWEST = 100


@dataclass(frozen=True)
class Happening:
    """One line of a row's history."""

    when: dt.datetime
    who: str
    what: list[str]


def signatures(viewer: User, people: Iterable[int | None]) -> dict[int, str]:
    """The names that this member of staff may read under an act, by account, in one query.

    Colleagues and the agglomération's operators are named, as are the accounts one may open; an agent of another
    commune is only that.
    """
    wanted = {pk for pk in people if pk is not None}
    if not wanted:
        return {}
    rows = User.objects.filter(pk__in=wanted)
    if not viewer.is_operator:
        operators = models.Q(is_superuser=True) | models.Q(staff_roles__commune=None, staff_roles__isnull=False)
        colleagues = models.Q(staff_roles__commune__in=viewer.commune_ids)
        citizens = models.Q(pk__in=User.objects.visible_to(viewer).values("pk"))
        rows = rows.filter(operators | colleagues | citizens).distinct()
    names = {row.pk: str(row) for row in rows}
    return {pk: names.get(pk, _("un agent d’une autre commune")) for pk in wanted}


def history_of(obj: Any, viewer: User) -> list[Happening]:
    """The newest happenings first, in two or three queries whatever their number."""
    event_model = getattr(type(obj), "pgh_event_model", None)
    return _from_events(obj, event_model, viewer) if event_model else _from_journal(obj, viewer)


def _from_events(obj: Any, event_model: Any, viewer: User) -> list[Happening]:
    # One more than shown, so that the oldest shown has something to be compared with.
    events = list(
        event_model.objects.filter(pgh_obj_id=obj.pk).select_related("pgh_context").order_by("-pgh_id")[: NEWEST + 1]
    )
    people = [_author(event) for event in events]
    names = signatures(viewer, people)
    lines = []
    for index, event in enumerate(events[:NEWEST]):
        before = events[index + 1] if index + 1 < len(events) else None
        what = _changes(before, event) if before else [_("Premier enregistrement.")]
        who = names.get(people[index] or 0, _("la plateforme"))
        if what:
            lines.append(Happening(event.pgh_created_at, who, what))
    return lines


def _author(event: Any) -> int | None:
    metadata = event.pgh_context.metadata if event.pgh_context else {}
    return metadata.get("user")


def _changes(before: Any, after: Any) -> list[str]:
    return [
        _describe(field, before, after)
        for field in after._meta.concrete_fields
        if not field.name.startswith("pgh_")
        and field.name != "id"
        and getattr(before, field.attname) != getattr(after, field.attname)
    ]


def _describe(field: Any, before: Any, after: Any) -> str:
    name = capfirst(str(field.verbose_name))
    if field.is_relation:
        # The row it led to may be another commune's: that it changed is enough.
        return _("%s\u00a0: modifié") % name
    return _("%(field)s\u00a0: %(before)s → %(after)s") % {
        "field": name,
        "before": _words(field, before),
        "after": _words(field, after),
    }


def _words(field: Any, event: Any) -> str:
    value = getattr(event, field.attname)
    if value in (None, ""):
        return _("vide")
    if isinstance(value, bool):
        return _("oui") if value else _("non")
    if field.choices:
        return str(getattr(event, f"get_{field.name}_display")())
    if isinstance(field, models.DateTimeField):
        return f"{timezone.localtime(value):%d/%m/%Y %H:%M}"
    if isinstance(value, dt.date):
        return short_date(value)
    return str(value)


def _from_journal(obj: Any, viewer: User) -> list[Happening]:
    entries = list(
        LogEntry.objects.filter(object_id=str(obj.pk), content_type=get_content_type_for_model(obj)).order_by(
            "-action_time"
        )[:NEWEST]
    )
    names = signatures(viewer, [entry.user_id for entry in entries])
    return [
        Happening(
            entry.action_time,
            names[entry.user_id],
            [_("Premier enregistrement.") if entry.action_flag == ADDITION else entry.get_change_message()],
        )
        for entry in entries
    ]
