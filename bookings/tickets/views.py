"""At the door, on an agent's phone: choosing what is checked, one code at a time, and what a phone without network needs.

Without JavaScript a code is typed and the page answers. With it the camera reads, and static/js/scan.js goes on without network.
"""

import datetime as dt
import hashlib
import json
import uuid
from typing import Any

from django import forms
from django.contrib.staticfiles import finders
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from accounts.views import current_user
from bookings.tickets import codes
from bookings.tickets.control import REPEATED, Passage, Result, let_in
from bookings.tickets.doors import doors_of, opens_doors
from bookings.tickets.models import Ticket, TicketUse
from portal.common.formats import today
from services.models import Activity
from services.models.catalogue import ActivityQuerySet

MOST_PASSAGES = 200  # sent at once; a phone sends the rest after


class CodeForm(forms.Form):
    """What is typed under « Code », and the passage's own name, so that a page sent twice counts once."""

    code = forms.CharField(
        label=_("Code du billet"),
        max_length=300,
        help_text=_("Les douze caractères écrits sous le code QR, avec ou sans tirets."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
        error_messages={"required": _("Écrivez le code du billet.")},
    )
    passage = forms.UUIDField(widget=forms.HiddenInput)


def agent(request: HttpRequest) -> User:
    """The member of staff or controller who asks; for everybody else there is nothing here."""
    user = current_user(request)
    if not opens_doors(user):
        raise Http404
    return user


def _checked_by(user: User) -> ActivityQuerySet:
    return doors_of(user).select_related("service").order_by("service__name", "position", "name")


@require_safe
def checks(request: HttpRequest) -> HttpResponse:
    """What this person may let people in for."""
    return render(request, "bookings/checks.html", {"activities": list(_checked_by(agent(request)))})


@require_http_methods(["GET", "HEAD", "POST"])
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """One activity's door: the form, and after a code its answer."""
    user = agent(request)
    activity = get_object_or_404(_checked_by(user), pk=pk)
    form = CodeForm(request.POST if request.method == "POST" else None)
    result: Result | None = None
    if form.is_valid():
        passage = Passage(text=form.cleaned_data["code"], client_id=form.cleaned_data["passage"])
        result = let_in(activity=activity, passage=passage, by=user)
        form = CodeForm()
    form.initial["passage"] = uuid.uuid4()
    repeated_minutes = REPEATED // dt.timedelta(minutes=1)
    context = {"activity": activity, "form": form, "result": result, "repeated_minutes": repeated_minutes}
    return render(request, "bookings/check.html", context, status=422 if form.errors else 200)


@require_safe
def checklist(request: HttpRequest, pk: int) -> HttpResponse:
    """What a phone takes along: every ticket that is or will be good, by the hash of its code, and the key of signatures.

    Hashes, so that a lost phone holds no code that could be shown; of the beneficiary the first name and an initial.
    """
    activity = get_object_or_404(_checked_by(agent(request)), pk=pk)
    rows = Ticket.objects.filter(
        activity=activity, status__in=[Ticket.Status.BOOKED, Ticket.Status.CANCELLED], valid__endswith__gt=today()
    ).select_related("beneficiary", "slot")
    uses = TicketUse.objects.filter(ticket__in=rows, problem="").order_by()
    last = dict(uses.values("ticket").annotate(last=Max("at")).values_list("ticket", "last"))
    tickets = {hashlib.sha256(row.code.encode()).hexdigest(): _facts(row, last.get(row.pk)) for row in rows}
    return JsonResponse({"at": timezone.now().isoformat(), "key": codes.public_key(), "tickets": tickets})


def _facts(ticket: Ticket, last: dt.datetime | None) -> dict[str, Any]:
    """What a phone decides by when it has no network; `last` is when somebody was last let in."""
    return {
        "entries": ticket.entries,
        "used": ticket.used,
        "last": last and last.isoformat(),
        "from": ticket.first_day.isoformat(),
        "to": ticket.last_day.isoformat(),
        "cancelled": ticket.ended_at and ticket.ended_at.isoformat(),
        "who": f"{ticket.beneficiary.first_name} {ticket.beneficiary.last_name[:1]}.",
        "what": ticket.slot.name,
    }


@require_POST
def passages(request: HttpRequest, pk: int) -> HttpResponse:
    """What a phone scanned: one passage with the network, or those that it let through without, oldest first.

    Each is `{id, text, device, at}`, with `at` only for one that was let through already. Answers each by its id; what
    cannot be read is answered too, so that a phone keeps nothing for ever.
    """
    user = agent(request)
    activity = get_object_or_404(_checked_by(user), pk=pk)
    try:
        sent = json.loads(request.body)["passages"][:MOST_PASSAGES]
        read = [_passage(entry) for entry in sent]
    except (ValueError, KeyError, TypeError, AttributeError):
        return JsonResponse({"error": "unreadable"}, status=400)
    results = {str(each.client_id): _told(activity, let_in(activity=activity, passage=each, by=user)) for each in read}
    return JsonResponse({"results": results})


def _passage(entry: dict[str, Any]) -> Passage:
    at = entry.get("at")
    moment: dt.datetime | None = parse_datetime(at) if at else None
    if at and (moment is None or moment.tzinfo is None):
        raise ValueError(at)
    return Passage(
        text=str(entry["text"])[:300],
        client_id=uuid.UUID(str(entry["id"])),
        device=str(entry.get("device", ""))[:20],
        offline_at=moment,
    )


def _told(activity: Activity, result: Result) -> dict[str, Any]:
    """The answer as the page shows it, and what the phone remembers of this door's ticket for when the network leaves."""
    ticket = result.ticket
    here = ticket is not None and ticket.activity_id == activity.pk
    return {
        "answer": result.answer,
        "sentence": result.sentence,
        "caution": result.caution,
        "facts": _facts(ticket, result.last) if ticket and here else None,
        "who": str(ticket.beneficiary) if ticket else "",
        "what": ticket.slot.name if ticket else "",
        "stop": str(ticket.stop) if ticket and ticket.stop else "",
    }


@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """The service worker of the pages below this address, which keeps them for when there is no network."""
    agent(request)
    return worker_script()


def worker_script() -> HttpResponse:
    """static/js/offline.js from the address whose pages it may answer for."""
    path = finders.find("js/offline.js")
    assert isinstance(path, str)
    with open(path, "rb") as script:
        return HttpResponse(script.read(), content_type="text/javascript; charset=utf-8")
