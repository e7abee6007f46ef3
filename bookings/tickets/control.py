"""Letting people in: one ticket, checked and counted once, with the network or without.

With it the ticket is read under its lock, and nothing that the rules refuse is counted. A phone without it decides from the
list that it took along; what it let through arrives later, is always kept, and is flagged where the rules say no.
"""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from bookings.tickets import codes
from bookings.tickets.doors import doors_of
from bookings.tickets.models import Ticket, TicketUse
from portal.common.formats import PARIS, dated, hour
from services.models import Activity

# A phone's clock may be wrong, but not by more than it can have been without network.
LONGEST_WITHOUT_NETWORK = dt.timedelta(days=14)

# A pass seen again so soon is let in, and said: a picture of it boards right behind its owner, while the way back, the next
# class or the afternoon come later. No setting: it refuses nobody.
REPEATED = dt.timedelta(minutes=30)


class Answer(enum.StrEnum):
    """What staff reads first, and the colour of it."""

    ACCEPTED = "accepted"
    FLAGGED = "flagged"  # let in without network, and the rules would have refused
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Result:
    """The answer to one passage, with its sentence; `left` says how many entries remain (None: no such count).

    `caution` is what staff look at before the ticket's owner walks on; `last` when it was last let in, this time included.
    """

    answer: Answer
    sentence: str
    ticket: Ticket | None = None
    left: int | None = None
    caution: str = ""
    last: dt.datetime | None = None


@dataclass(frozen=True)
class Passage:
    """What a phone or the page says: what was scanned or typed, its own name for the passage, when and how."""

    text: str
    client_id: uuid.UUID
    device: str = ""
    offline_at: dt.datetime | None = None


@transaction.atomic
def let_in(*, activity: Activity, passage: Passage, by: User) -> Result:
    """Check a ticket for an activity and count one entry; the same passage sent again changes nothing.

    Online, a ticket that the rules refuse is not counted. A passage that was let through without network is always kept,
    flagged where the rules refuse it. `by` reaches the activity; the caller sees to it (`doors_of`).
    """
    code = codes.read(passage.text)
    rows = Ticket.objects.filter(activity__in=doors_of(by)).exclude(
        status__in=[Ticket.Status.HELD, Ticket.Status.EXPIRED]
    )
    ticket = (
        rows.filter(code=code)
        .select_related("activity", "slot", "beneficiary", "stop__line")
        .select_for_update(of=("self",))
        .first()
        if code
        else None
    )
    if ticket is None:
        return Result(Answer.UNKNOWN, _("Ce code n’est celui d’aucun billet que vous contrôlez : vérifiez-le."))
    known = TicketUse.objects.filter(client_id=passage.client_id).first()
    if known is not None:
        return _repeated(known, ticket)
    at = _moment(passage)
    last = _last(ticket)
    problem, sentence = _problem(ticket, activity, at, last)
    if problem and passage.offline_at is None:
        return Result(Answer.REFUSED, sentence, ticket, ticket.left, last=last)
    TicketUse.objects.create(
        client_id=passage.client_id,
        ticket=ticket,
        at=at,
        by=by,
        device=passage.device,
        offline=passage.offline_at is not None,
        problem=problem,
        reason=sentence,
    )
    if problem:
        return Result(Answer.FLAGGED, sentence, ticket, ticket.left, last=last)
    ticket.used += 1  # as the trigger has just counted
    caution = _caution(ticket, at, last)
    return Result(Answer.ACCEPTED, _accepted(ticket), ticket, ticket.left, caution, max(at, last or at))


def _moment(passage: Passage) -> dt.datetime:
    """When it was: now, or what the phone's clock said within reason."""
    now = timezone.now()
    if passage.offline_at is None:
        return now
    return min(max(passage.offline_at, now - LONGEST_WITHOUT_NETWORK), now)


def _repeated(known: TicketUse, ticket: Ticket) -> Result:
    if known.ticket_id != ticket.pk:  # two phones, one identifier: chance does not do that
        return Result(Answer.UNKNOWN, _("Ce passage est déjà noté pour un autre billet."))
    last = _last(ticket)
    if known.problem:
        return Result(Answer.FLAGGED, known.why, ticket, ticket.left, last=last)
    before = _last(ticket, before=known.at)
    return Result(Answer.ACCEPTED, _accepted(ticket), ticket, ticket.left, _caution(ticket, known.at, before), last)


def _last(ticket: Ticket, *, before: dt.datetime | None = None) -> dt.datetime | None:
    """When somebody was last let in with it, among the passages that count."""
    uses = ticket.uses.filter(problem="")
    if before is not None:
        uses = uses.filter(at__lt=before)
    return uses.order_by("-at").values_list("at", flat=True).first()


def _caution(ticket: Ticket, at: dt.datetime, last: dt.datetime | None) -> str:
    """What is said of a pass that was seen a moment ago; entries are counted instead, and a family passes with one card."""
    if ticket.entries is not None or last is None or not dt.timedelta() <= at - last < REPEATED:
        return ""
    return _("Déjà passé à %s.") % hour(last.astimezone(PARIS).time())


def _accepted(ticket: Ticket) -> str:
    left = ticket.left
    if left is None:
        return _("Accepté : valable jusqu’au %s.") % dated(ticket.last_day)
    if not left:
        return _("Accepté.") if ticket.entries == 1 else _("Accepté : c’était la dernière entrée.")
    return ngettext("Accepté : il reste %d entrée.", "Accepté : il reste %d entrées.", left) % left


def _problem(ticket: Ticket, activity: Activity, at: dt.datetime, last: dt.datetime | None) -> tuple[str, str]:
    """Why the rules refuse this ticket at this moment, and the sentence; two empty texts when they do not."""
    on = at.astimezone(PARIS).date()
    if ticket.activity_id != activity.pk:
        return TicketUse.Problem.ELSEWHERE, _("Ce billet est pour « %(sold)s », pas pour « %(here)s ».") % {
            "sold": ticket.activity,
            "here": activity,
        }
    if ticket.status != Ticket.Status.BOOKED:
        when = ticket.ended_at
        return TicketUse.Problem.CANCELLED, _("Ce billet a été annulé le %s.") % (_moment_words(when) if when else "")
    if on < ticket.first_day:
        return TicketUse.Problem.EARLY, _("Ce billet n’est valable qu’à partir du %s.") % dated(ticket.first_day)
    if on > ticket.last_day:
        return TicketUse.Problem.OVER, _("Ce billet n’est plus valable depuis le %s.") % dated(
            ticket.last_day + dt.timedelta(days=1)
        )
    if ticket.left == 0:
        return TicketUse.Problem.USED, _already(ticket, last)
    return "", ""


def _already(ticket: Ticket, last: dt.datetime | None) -> str:
    when = _moment_words(last) if last else ""
    if ticket.entries == 1:
        return _("Déjà utilisé le %s.") % when
    return _("Déjà utilisé : les %(entries)d entrées sont prises, la dernière le %(when)s.") % {
        "entries": ticket.entries,
        "when": when,
    }


def _moment_words(when: dt.datetime) -> str:
    """`samedi 21 novembre à 22 h 42`, with its year when that is not this one: a card of ten lasts for years."""
    local = when.astimezone(PARIS)
    return _("%(day)s à %(hour)s") % {"day": dated(local.date()), "hour": hour(local.time())}
