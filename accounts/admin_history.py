"""What happened to a row, for people: who, when and which facts, from pghistory's events, the admin's journal or what
the row itself keeps (bookings, orders and payments: the dates of their states, and who brought them there)."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db import models
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts.models import User
from portal.common.formats import enumeration, euros, hour, short_date
from portal.common.money import MoneyField

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


def events_of(model: Any) -> Any:
    """The table in which a model's history is kept (pghistory)."""
    return model.pgh_event_model


def history_of(obj: Any, viewer: User) -> list[Happening]:
    """The newest happenings first, in two or three queries whatever their number."""
    event_model = getattr(type(obj), "pgh_event_model", None)
    return _from_events(obj, event_model, viewer) if event_model else _from_journal(obj, viewer)


def told(viewer: User, facts: Iterable[tuple[dt.datetime | None, int | None, str]]) -> list[Happening]:
    """A history that the row itself keeps: when (None: it has not happened), who (None: the platform), and what."""
    happened = sorted(((when, who, what) for when, who, what in facts if when), key=lambda fact: fact[0], reverse=True)
    names = signatures(viewer, [who for _when, who, _what in happened])
    return [Happening(when, names.get(who or 0, _("la plateforme")), [what]) for when, who, what in happened[:NEWEST]]


BEFORE = "before"  # the label of events that keep the row as it was before the change, instead of after


def _from_events(obj: Any, event_model: Any, viewer: User) -> list[Happening]:
    # One more than shown, so that the oldest shown has something to be compared with.
    events = list(
        event_model.objects.filter(pgh_obj_id=obj.pk).select_related("pgh_context").order_by("-pgh_id")[: NEWEST + 1]
    )
    if not events:
        return []
    if events[0].pgh_label == BEFORE:
        changes = list(zip(events, events, [obj, *events[:-1]], strict=True))
    else:
        changes = list(zip(events, [*events[1:], None], events, strict=True))
    names = signatures(viewer, [*map(_author, events), *_named(events), *_named([obj])])
    lines = []
    for event, before, after in changes[:NEWEST]:
        what = _changes(event_model, before, after, names) if before else [_("Premier enregistrement.")]
        if what:
            lines.append(Happening(event.pgh_created_at, names.get(_author(event) or 0, _("la plateforme")), what))
    return lines


def parts_of(event_model: Any, viewer: User, **which: Any) -> list[Happening]:
    """What happened to the rows shown inside another one's page, those that are gone too; each line names its row."""
    events = list(event_model.objects.filter(**which).select_related("pgh_context").order_by("pgh_id"))
    names = signatures(viewer, map(_author, events))
    last: dict[int, Any] = {}
    lines = []
    for event in events:
        row, before = event.pgh_tracked_model(**_facts(event)), last.get(event.pgh_obj_id)
        last[event.pgh_obj_id] = event
        what = _changes(event_model, before, event, names) if before else [_("Premier enregistrement.")]
        if what:
            who = names.get(_author(event) or 0, _("la plateforme"))
            lines.append(Happening(event.pgh_created_at, who, [f"{capfirst(str(row))}\u00a0– {each}" for each in what]))
    return lines[-NEWEST:][::-1]


def _facts(event: Any) -> dict[str, Any]:
    names = {field.attname for field in event.pgh_tracked_model._meta.concrete_fields}
    return {
        field.attname: getattr(event, field.attname) for field in event._meta.concrete_fields if field.attname in names
    }


def _author(event: Any) -> int | None:
    metadata = event.pgh_context.metadata if event.pgh_context else {}
    return metadata.get("user")


def _named(rows: Iterable[Any]) -> list[int | None]:
    """The accounts that these rows point to."""
    return [
        getattr(row, field.attname)
        for row in rows
        for field in row._meta.concrete_fields
        if field.is_relation and field.related_model is User
    ]


def _changes(event_model: Any, before: Any, after: Any, names: Mapping[int, str]) -> list[str]:
    return [
        _describe(field, before, after, names)
        for field in event_model._meta.concrete_fields
        if not field.name.startswith("pgh_")
        and field.name != "id"
        and getattr(before, field.attname) != getattr(after, field.attname)
    ]


def _describe(field: Any, before: Any, after: Any, names: Mapping[int, str]) -> str:
    name = capfirst(str(field.verbose_name))
    if field.is_relation and field.related_model is not User:
        # The row it led to may be another commune's: that it changed is enough.
        return _("%s\u00a0: modifié") % name
    return _("%(field)s\u00a0: %(before)s → %(after)s") % {
        "field": name,
        "before": _words(field, before, names),
        "after": _words(field, after, names),
    }


def _words(field: Any, row: Any, names: Mapping[int, str]) -> str:
    value = getattr(row, field.attname)
    if value in (None, "", []):
        return _("vide")
    if field.is_relation:
        return names.get(value, "–")
    if isinstance(value, bool):
        return _("oui") if value else _("non")
    if isinstance(value, list):
        choices = dict(field.base_field.choices or [])
        return enumeration(str(choices.get(each, each)) for each in value)
    if field.choices:
        return str(getattr(row, f"get_{field.name}_display")())
    if isinstance(field, MoneyField):
        return euros(value)
    return _date_words(field, value)


def _date_words(field: Any, value: Any) -> str:
    if isinstance(field, models.DateTimeField):
        return f"{timezone.localtime(value):%d/%m/%Y %H:%M}"
    if isinstance(value, dt.date):
        return short_date(value)
    if isinstance(value, dt.time):
        return hour(value)
    if isinstance(value, DateRange):
        last = short_date(value.upper - dt.timedelta(days=1)) if value.upper else "…"
        return _("du %(first)s au %(last)s") % {"first": short_date(value.lower) if value.lower else "…", "last": last}
    return str(value)


def additions(obj: Any, viewer: User) -> list[Happening]:
    """Who added the row in the administration: what events that keep the row as it was before a change do not know."""
    return _from_journal(obj, viewer, action_flag=ADDITION)


def _from_journal(obj: Any, viewer: User, **which: Any) -> list[Happening]:
    rows = LogEntry.objects.filter(object_id=str(obj.pk), content_type=get_content_type_for_model(obj), **which)
    entries = list(rows.order_by("-action_time")[:NEWEST])
    names = signatures(viewer, [entry.user_id for entry in entries])
    return [
        Happening(
            entry.action_time,
            names[entry.user_id],
            [_("Premier enregistrement.") if entry.action_flag == ADDITION else entry.get_change_message()],
        )
        for entry in entries
    ]
