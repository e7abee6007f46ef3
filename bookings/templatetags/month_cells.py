"""The squares of templates/components/month.html and grid.html, in Python: a school year has 365 of them, the grid of six
children a thousand, and the template language takes ten times as long to write them (4.6 ms a page against 0.4)."""

from collections.abc import Iterable
from html import escape  # Django's asks each of thousands of texts first whether it is lazy; none is

from django import template
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from bookings.calendar import Cell, Column, Row
from portal.common.formats import NBSP

register = template.Library()


@register.simple_tag
def month_cells(weeks: Iterable[Iterable[Cell | None]], name: str) -> SafeString:
    """The rows of one month; `name` is the checkboxes'. Every text is escaped here."""
    field, few = escape(name), escape(_("pl."))
    rows = ("<tr>" + "".join(_cell(cell, field, few) for cell in week) + "</tr>\n" for week in weeks)
    return _joined(rows)


@register.simple_tag
def month_heads(columns: Iterable[Column], anchor: str) -> SafeString:
    """The head of one month: its weekdays, each a button that ticks them all where there is one to tick."""
    return _joined(
        f'<th scope="col" abbr="{escape(column.name)}">'
        + (
            f'<button name="pick" value="{escape(column.pick)}" aria-label="{escape(column.pick_label)}" '
            f'formaction="#{escape(anchor)}" formnovalidate>{escape(column.short)}</button>'
            if column.pick
            else escape(column.short)
        )
        + "</th>"
        for column in columns
    )


@register.simple_tag
def grid_rows(rows: Iterable[Row], name: str) -> SafeString:
    """The rows of one month of the grid: the day, then a box for each person."""
    field, few = escape(name), escape(_("pl."))
    return _joined(
        f'<tr{" class=nw" if row.starts_week else ""}><th scope="row" abbr="{escape(row.label)}">{escape(row.name)}</th>'
        + "".join(_cell(cell, field, few, number=False) for cell in row.cells)
        + "</tr>\n"
        for row in rows
    )


@register.simple_tag
def until_rows(until: Iterable[tuple[str, str]]) -> SafeString:
    """Up to when the days of one month can be booked and cancelled, a line for each moment."""
    return _joined(f"<li><b>{escape(days)}</b>{NBSP}: {escape(words)}</li>" for days, words in until)


def _joined(rows: Iterable[str]) -> SafeString:
    """Rows that were built of escaped parts."""
    return mark_safe("".join(rows))  # noqa: S308


def _cell(cell: Cell | None, field: str, few: str, *, number: bool = True) -> str:
    if cell is None:
        return "<td></td>"
    letters = f"<i>{escape(cell.letters)}</i>" if cell.letters else ""
    word = f"<em>{escape(cell.word)}</em>" if cell.word else ""
    if cell.wait:
        form = (
            _("%(day)s, %(why)s : voir mes listes d’attente")
            if cell.kind == "q"
            else _("%(day)s, %(why)s : s’inscrire sur la liste d’attente")
        )
        words = form % {"day": cell.label, "why": cell.reason}
        return (
            f'<td class="{cell.kind} w"><a href="{escape(cell.wait)}" aria-label="{escape(words)}">'
            f"{cell.day if number else ''}{letters}{word}<small>{escape(cell.reason)}</small></a></td>"
        )
    if not cell.value:
        reason = f"<small>{escape(cell.reason)}</small>" if cell.reason else ""
        kind = f' class="{cell.kind}"' if cell.kind else ""
        return f"<td{kind}>{cell.day if number else ''}{letters}{word}{reason}</td>"
    extra = (
        letters
        + (f"<em>{escape(cell.price)}</em>" if cell.price else word)
        + (f"<u>{cell.few} {few}</u>" if cell.few else "")
    )
    checked = " checked" if cell.checked else ""
    skip = f' data-skip="{escape(cell.skip)}"' if cell.skip else ""
    skip += f' data-here="{escape(cell.here)}"' if cell.here else ""
    late = " data-late" if cell.late else ""
    return (
        f'<td><label><input type="checkbox" name="{field}" value="{escape(cell.value)}" '
        f'aria-label="{escape(cell.label)}"{checked}{skip}{late}><b>{cell.day if number else ""}</b>{extra}</label></td>'
    )
