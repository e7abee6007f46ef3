"""The squares of templates/components/month.html, in Python: a school year has 365 of them, and the template language
takes ten times as long to write them (4.6 ms a page against 0.4)."""

from collections.abc import Iterable

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from bookings.calendar import Cell

register = template.Library()


@register.simple_tag
def month_cells(weeks: Iterable[Iterable[Cell | None]], name: str) -> SafeString:
    """The rows of one month; `name` is the checkboxes'. Every text is escaped here."""
    field = escape(name)
    rows = ("<tr>" + "".join(_cell(cell, field) for cell in week) + "</tr>\n" for week in weeks)
    return mark_safe("".join(rows))  # noqa: S308 - built of escaped parts


def _cell(cell: Cell | None, field: str) -> str:
    if cell is None:
        return "<td></td>"
    letters = f"<i>{escape(cell.letters)}</i>" if cell.letters else ""
    if cell.wait:
        words = _("%(day)s, %(why)s : s’inscrire sur la liste d’attente") % {"day": cell.label, "why": cell.reason}
        return (
            f'<td class="{cell.kind} w"><a href="{escape(cell.wait)}" aria-label="{escape(words)}">{cell.day}{letters}'
            f"<small>{escape(cell.reason)}</small></a></td>"
        )
    if not cell.iso:
        return f'<td class="{cell.kind}">{cell.day}{letters}<small>{escape(cell.reason)}</small></td>'
    checked = " checked" if cell.checked else ""
    skip = f' data-skip="{escape(cell.skip)}"' if cell.skip else ""
    return (
        f'<td><label><input type="checkbox" name="{field}" value="{cell.iso}" aria-label="{escape(cell.label)}"'
        f"{checked}{skip}><b>{cell.day}</b>{letters}</label></td>"
    )
