"""Cells of the administration's lists with the names of their columns, which a phone shows in front of them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

register = template.Library()


@register.filter
def named(cells: Iterable[SafeString], heads: Sequence[Mapping[str, object]]) -> list[SafeString]:
    """The cells of a row as Django made them, each but the row's own head and its box with its column's as `data-label`."""
    return [_named(cell, head or {}) for cell, head in zip_longest(cells, heads) if cell is not None]


def _named(cell: SafeString, head: Mapping[str, object]) -> SafeString:
    is_box = "action-checkbox" in str(head.get("class_attrib") or "")
    if is_box or not head.get("text") or not cell.startswith("<td"):
        return cell
    rest = mark_safe(cell.removeprefix("<td"))  # noqa: S308 - Django's own, escaped by it
    return format_html('<td data-label="{}"{}', capfirst(str(head["text"])), rest)
