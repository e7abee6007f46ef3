"""« Mes factures et attestations » : the papers of a person, and those that they may have issued."""

import logging
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from accounts.views import current_user
from checkout.models import Order
from checkout.papers.actions import live
from checkout.papers.content import recipient
from checkout.papers.models import Document, Kind
from checkout.papers.paper import Damaged, stored
from checkout.papers.receipts import issue_receipt
from checkout.papers.subjects import subjects
from checkout.papers.yearly import as_issued, certificate, is_true, issue_certificate, obstacle, years_of
from portal.common.errors import Refused
from portal.common.formats import today

logger = logging.getLogger(__name__)
PAGE_SIZE = 24
# What stands in the addresses of the two certificates.
CERTIFICATES = {"reglements": Kind.PAYMENTS, "frais-de-garde": Kind.CHILDCARE}


@require_safe
def papers(request: HttpRequest) -> HttpResponse:
    """The person's papers, newest first, of a year (`annee`) or a kind (`nature`), and the certificates to be had."""
    user = current_user(request)
    mine = Document.objects.of(user)
    years = [moment.year for moment in mine.datetimes("issued_at", "year", order="DESC")]
    year = _number(request.GET.get("annee", ""), years)
    kind = request.GET.get("nature", "")
    rows = mine.with_state().select_related("cancels", "order", "movement").defer("data", "cancels__data")
    rows = rows.order_by("-issued_at", "-pk")
    if year:
        rows = rows.filter(series__year=year)
    if kind in Kind.values:
        rows = rows.filter(kind=kind)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    listed = list(page.object_list)
    about = subjects(listed)
    context = {
        "page": page,
        "listed": [(row, timezone.localdate(row.issued_at), about[row.pk]) for row in listed],
        "years": years,
        "year": year,
        "kinds": Kind.choices,
        "kind": kind if kind in Kind.values else "",
        "certified_years": years_of(user),
        "this_year": today().year,
        "account_section": "papers",
    }
    return render(request, "papers/papers.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def certificate_page(request: HttpRequest, slug: str, year: int) -> HttpResponse:
    """The figures of a yearly certificate as it would be printed (GET), and its issue (POST)."""
    user = current_user(request)
    kind = CERTIFICATES.get(slug)
    if kind is None or not is_a_year(year):
        raise Http404
    if request.method == "POST":
        try:
            document = issue_certificate(kind=kind, user=user, year=year, by=user)
        except Refused as refusal:
            for sentence in refusal.messages:
                messages.error(request, sentence)
            return redirect(request.path)
        if document.kind == Kind.CANCELLATION:
            said = _(
                "L’attestation est annulée par la pièce n° %s\u00a0: il n’y a plus rien à attester. Ne la produisez plus."
            )
        elif document.edition > 1:
            said = _("L’attestation n° %s est éditée. La précédente est annulée\u00a0: ne la produisez plus.")
        else:
            said = _("L’attestation n° %s est éditée.")
        messages.success(request, said % document.reference)
        return redirect("papers")
    return render(request, "papers/certificate.html", {**preview(kind, user, year), "account_section": "papers"})


def is_a_year(year: int) -> bool:
    """Whether there may be a certificate of this year: not of one to come."""
    return 2000 <= year <= today().year


def preview(kind: Kind, user: User, year: int) -> dict[str, Any]:
    """What the page of a certificate shows before its issue: the one that stands while it is true, else today's figures."""
    content = certificate(kind, user, year)
    issued = live(kind, user, content.subject)
    stands = issued is not None and is_true(issued, content)
    return {
        "content": as_issued(issued, content) if issued and stands else content,
        "recipient": issued.data["recipient"] if issued and stands else recipient(user),
        "obstacle": "" if stands else obstacle(content),
        "issued": issued,
        "untrue": issued is not None and not stands,
    }


@require_safe
def paper(request: HttpRequest, pk: int) -> HttpResponse:
    """The file of one's own paper."""
    return download(get_object_or_404(Document.objects.of(current_user(request)).defer("data"), pk=pk))


@require_POST
def receipt(request: HttpRequest, reference: str) -> HttpResponse:
    """Issue the receipt of one's own paid order, where its e-mail has not done so yet, and open it."""
    user: User = current_user(request)
    order = get_object_or_404(Order.objects.of(user).filter(status=Order.Status.PAID), reference=reference)
    return redirect(issue_receipt(order=order, by=user))


def download(document: Document) -> HttpResponse:
    """A paper's file, never one that is not what was issued. Raises Refused with whom to ask."""
    try:
        content = stored(document)
    except (OSError, Damaged) as error:
        logger.error("The file of document %s is gone or damaged", document.pk)
        raise Refused(
            _("Le fichier de la pièce n° %s n’est pas lisible : la régie est prévenue et vous la renverra.")
            % document.reference,
            code="damaged",
        ) from error
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{document.file_name}"'
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


def _number(text: str, among: list[int]) -> int | None:
    return next((year for year in among if str(year) == text), None)
