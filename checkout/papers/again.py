"""Issuing by an operator: a family's certificate at the counter, or anew what another paper has ended, under the next number."""

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.papers.actions import send
from checkout.papers.invoices import send_invoice
from checkout.papers.models import Document, Kind
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.papers.transfers import issue_transfer_note, transfer_of
from checkout.papers.yearly import issue_certificate, lock_year
from portal.common.errors import Refused
from portal.outbox.actions import poke


def successor(document: Document) -> Document | None:
    """The paper that stands in the place of this one, which another has ended."""
    about = {name: getattr(document, name) for name in ("kind", "user_id", "order_id", "movement_id", "first_day")}
    return Document.objects.live().filter(**about, pk__gt=document.pk).order_by("pk").first()


@transaction.atomic
def issue_again(*, document: Document, by: User) -> Document:
    """Issue a cancelled paper anew, once, from what is true today, and send it to its person; returns the new one.

    Raises Refused for a paper that stands, for one that was issued anew before, and when there is nothing left to state.
    """
    if document.kind in (Kind.PAYMENTS, Kind.CHILDCARE) and document.first_day:
        lock_year(document.kind, document.user_id, document.first_day.year)
    Document.objects.select_for_update().only("pk").get(
        pk=document.pk
    )  # of two clicks, the second sees the first's paper
    if document.kind == Kind.CANCELLATION or not Document.objects.filter(cancels=document).exists():
        raise Refused(_("Cette pièce est valable\u00a0: annulez-la d’abord. Rien n’a été édité."), code="stands")
    if standing := successor(document):
        raise Refused(
            _("La pièce n° %s l’a déjà remplacée. Rien n’a été édité.") % standing.reference, code="issued_again"
        )
    made = _issue(document, by)
    if made is None:
        raise Refused(
            _("Il n’y a plus rien à attester\u00a0: la somme n’a pas été rendue. Rien n’a été édité."),
            code="nothing_to_state",
        )
    if made.kind == Kind.INVOICE:  # its e-mail is written with it
        transaction.on_commit(poke, robust=True)
    elif made.issued_by_id:  # a transfer's note is the régie's own, and sent as such
        send(document=made, by=by)
    return made


@transaction.atomic
def issue_for(*, kind: Kind, user: User, year: int, by: User) -> tuple[Document, bool]:
    """Issue a person's certificate of a year for them and send it; returns it, and whether it is new.

    For who has no computer, or does not find the page: the same paper as they would issue, which says who did. Refused as
    issue_certificate is. One that stands and is true is returned, and nothing is sent.
    """
    lock_year(kind, user.pk, year)  # of two presses the second sees the first's paper
    before = Document.objects.of(user).order_by("-pk").values_list("pk", flat=True).first() or 0
    made = issue_certificate(kind=kind, user=user, year=year, by=by)
    is_new = made.pk > before
    if is_new and made.kind != Kind.CANCELLATION:
        send(document=made, by=by)
    return made, is_new


def _issue(document: Document, by: User) -> Document | None:
    match Kind(document.kind):
        case Kind.RECEIPT if document.order:
            return issue_receipt(order=document.order, by=by)
        case Kind.INVOICE if document.first_day:
            return send_invoice(user=document.user, first=document.first_day, by=by)
        case Kind.PAYMENTS | Kind.CHILDCARE as kind if document.first_day:
            return issue_certificate(kind=kind, user=document.user, year=document.first_day.year, by=by)
        case Kind.REFUND if document.movement:
            if withdrawal := transfer_of(document.movement):
                return issue_transfer_note(withdrawal=withdrawal)
            return issue_refund_note(movement=document.movement, by=by)
    return None
