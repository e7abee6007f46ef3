"""Template filters for amounts, days and moments (builtin in every template)."""

import datetime as dt
import json
import re
from decimal import Decimal

from django import template
from django.template.defaultfilters import stringfilter
from django.utils.translation import gettext

from portal.common import formats

register = template.Library()


@register.filter
def euros(amount: Decimal | None) -> str:
    """`31,60 €`."""
    return formats.euros(amount)


@register.filter
def day(date: dt.date | None) -> str:
    """`mercredi 14 juin`."""
    return formats.day(date) if date else ""


@register.filter
def long_date(date: dt.date | None) -> str:
    """`mercredi 14 juin 2023`."""
    return formats.long_date(date) if date else ""


@register.filter
def of(name: object) -> str:
    """`de Zoé`, `d’Élodie`."""
    return formats.of(str(name))


@register.filter
def day_month(date: dt.date | None) -> str:
    """`14 juin`."""
    return formats.day(date).partition(" ")[2] if date else ""


@register.filter
def short_date(date: dt.date | None) -> str:
    """`14/06/2023`."""
    return formats.short_date(date) if date else ""


@register.filter
def thousands(number: int | None) -> str:
    """`1 500`."""
    return "" if number is None else formats.thousands(number)


@register.filter
def day_before(date: dt.date | None) -> dt.date | None:
    """The last day of a range whose end is excluded."""
    return date - dt.timedelta(days=1) if date else None


@register.filter
def day_of(when: dt.datetime | None) -> str:
    """`mercredi 14 juin 2023`, the day of a moment in Paris."""
    return formats.long_date(when.astimezone(formats.PARIS).date()) if when else ""


@register.filter
def moment(when: dt.datetime | None) -> str:
    """`jeudi 26 novembre à 12 h`."""
    return formats.moment(when) if when else ""


@register.filter
def month(date: dt.date | None) -> str:
    """`Décembre 2026`."""
    return formats.month(date) if date else ""


@register.filter
def hour(time: dt.time | None) -> str:
    """`7 h 30`."""
    return formats.hour(time) if time else ""


@register.filter(is_safe=True)
@stringfilter
def typography(text: str) -> str:
    """A sentence whose « : ; ? ! » never begin a line: what messages and errors go through, wherever they were written."""
    return re.sub(r" (?=[:;?!»])|(?<=«) ", formats.NBSP, text)


@register.filter
def one_more_line(data: str) -> str:
    """What an inline of the administration tells its script, whose link then says « Ajouter une ligne » rather than Django's
    « Ajouter un objet … supplémentaire »."""
    told = json.loads(data)
    told["options"]["addText"] = gettext("Ajouter une ligne")
    return json.dumps(told)
