"""A question before an act of the administration: what it is about, a form, one button (templates/admin/ask.html)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.admin_base import ScopedAdmin
from portal.common.errors import Refused


@dataclass(frozen=True)
class Question:
    """What is said around the form: facts by name, sentences on what is at stake, the words of the button and of the way out."""

    title: str
    facts: Sequence[tuple[Any, Any]]
    button: str
    cancel: str  # the address that the way out leads to
    cancel_words: str
    notes: Sequence[str] = ()
    danger: bool = True  # the act is not a harmless one


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
    return table.page(request, "admin/ask.html", {"question": question, "title": question.title, "form": form})
