"""Issuing the régie's papers, cancelling one by another, sending one again.

A paper is numbered, printed, stored and written in one transaction under the lock of its series, which comes last in the
order of locks: behind wallets. What fails takes its number back; its file, which no row names, is removed at
once or, when the transaction fails later, in the night (checkout.papers.files).
"""

import hashlib
import logging

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.papers.content import Content, cancellation, printed
from checkout.papers.models import LONGEST_REASON, Document, Kind, Regie, Series, reference
from checkout.papers.paper import print_paper
from portal.common.errors import Refused, within
from portal.outbox.actions import queue_email

logger = logging.getLogger(__name__)


def the_regie() -> Regie:
    """The régie that issues; its head and legal lines are written in the administration."""
    return Regie.objects.order_by("pk").first() or Regie.objects.get_or_create(code="regie")[0]


def live(kind: Kind, user: User, subject: str) -> Document | None:
    """The paper about this that stands, if it is issued."""
    return Document.objects.live().filter(kind=kind, user=user, subject=subject).first()


@transaction.atomic
def issue(*, content: Content, by: User | None) -> Document:
    """Issue a paper, once: when one about the same stands already, it is returned and nothing is written.

    After a cancellation the next is another edition. Raises typst.TypstError when it cannot be printed: no number is
    used then.
    """
    regie = the_regie()
    while True:
        series = _locked_series(regie, content.kind, timezone.localdate().year)
        issued_at = timezone.now()
        if timezone.localdate(issued_at).year == series.year:  # else the year turned while we waited
            break
    if standing := live(content.kind, content.user, content.subject):
        return standing
    number = series.last + 1
    data = printed(content, regie, reference(content.kind, issued_at, number), issued_at)
    file = print_paper(data, issued_at)
    document = Document(
        series=series,
        kind=content.kind,
        number=number,
        user=content.user,
        issued_at=issued_at,
        issued_by=by,
        subject=content.subject,
        edition=1 + Document.objects.filter(kind=content.kind, user=content.user, subject=content.subject).count(),
        amount=content.amount,
        data=data,
        file=ContentFile(file, name="piece.pdf"),
        sha256=hashlib.sha256(file).hexdigest(),
        size=len(file),
        **content.links,
    )
    try:
        with transaction.atomic():
            document.save(force_insert=True)
    except BaseException:
        if document.file.name:
            default_storage.delete(document.file.name)
        raise
    return document


def _locked_series(regie: Regie, kind: Kind, year: int) -> Series:
    found = Series.objects.select_for_update().filter(regie=regie, kind=kind, year=year).first()
    if found is None:
        Series.objects.get_or_create(regie=regie, kind=kind, year=year)
        found = Series.objects.select_for_update().get(regie=regie, kind=kind, year=year)
    return found


@transaction.atomic
def cancel(*, document: Document, reason: str, by: User | None) -> Document:
    """End a paper by another one that says why; what it states may then be issued anew.

    Raises Refused without a reason, for a paper that is ended already, and for one that ends another.
    """
    reason = within(" ".join(reason.split()), LONGEST_REASON)
    if not reason:
        raise Refused(_("Écrivez le motif : il est imprimé sur la pièce d’annulation. Rien n’a changé."), code="reason")
    if document.kind == Kind.CANCELLATION:
        raise Refused(_("Une pièce d’annulation ne s’annule pas : éditez plutôt une nouvelle pièce."), code="kind")
    Document.objects.select_for_update().only("pk").get(pk=document.pk)  # of two who end it, the second sees the first
    if ending := Document.objects.filter(cancels=document).first():
        raise Refused(
            _("Cette pièce est déjà annulée par la pièce n° %s. Rien n’a changé.") % ending.reference, code="cancelled"
        )
    return issue(content=cancellation(document, reason), by=by)


def send(*, document: Document, by: User) -> None:
    """Send a paper to its person by e-mail, attached, at an operator's or its owner's wish."""
    moment = timezone.now()
    queue_email(
        key=f"paper:{document.pk}:{by.pk}:{moment:%Y%m%d%H%M}",
        to=document.user.email,
        template="paper",
        context={"user": document.user, "document": document, "title": document.data["title"]},
        attachment=f"paper:{document.pk}",
    )
