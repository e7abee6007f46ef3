"""A question before an act of the administration: what it is about, a form, one button (templates/admin/ask.html)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.admin_base import ScopedAdmin
from portal.common.errors import Refused


@dataclass(frozen=True)
class Question:
    """What is said around the form: facts by name, sentences on what is at stake, the words of the button and of the way out.

    A question that shows more than that has a `template` of its own, which extends the usual one and reads `context` too.
    """

    title: str
    facts: Sequence[tuple[Any, Any]]
    button: str  # none while there is nothing to do: then there is no form either
    cancel: str  # the address that the way out leads to
    cancel_words: str
    notes: Sequence[str] = ()
    danger: bool = True  # the act is not a harmless one
    template: str = "admin/ask.html"
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """Where to go after the act, and what is said there."""

    address: str
    sentence: str


def ask(
    table: ScopedAdmin, request: HttpRequest, question: Question, form: forms.Form, act: Callable[..., Done]
) -> HttpResponse:
    """Ask, and act on a valid answer: `act` is given the form's cleaned data by name. What it refuses is said at the form."""
    if request.method == "POST" and form.is_valid():
        try:
            done = act(**form.cleaned_data)
        except Refused as refusal:
            form.add_error(None, list(refusal.messages))
        else:
            table.say(request, messages.SUCCESS, [done.sentence])
            return redirect(done.address)
    return show(table, request, question, form)


def show(table: ScopedAdmin, request: HttpRequest, question: Question, form: forms.Form) -> HttpResponse:
    """The page of a question that its view answers by itself."""
    context = {"question": question, "title": question.title, "form": form, **question.context}
    return table.page(request, question.template, context)
