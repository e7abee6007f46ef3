"""A family's yearly certificates in the administration: the way there from the person's page, what each would say, its issue."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ScopedAdmin, staff
from accounts.models import User
from checkout.papers.again import issue_for
from checkout.papers.models import Document, Kind
from checkout.papers.views import CERTIFICATES, is_a_year, preview
from checkout.papers.yearly import years_of
from families.admin import AccountAdmin
from portal.common.formats import euros, of, today


def address_of(user: User, slug: str, year: int) -> str:
    return reverse("admin:checkout_document_certify", args=[user.pk, slug, year])


def certify(table: ScopedAdmin, request: HttpRequest, user_pk: int, slug: str, year: int) -> HttpResponse:
    """The figures of a person's certificate as it would be printed (GET), and its issue by a member of staff (POST)."""
    user = get_object_or_404(User.objects.visible_to(staff(request)), pk=user_pk)
    kind = CERTIFICATES.get(slug)
    if kind is None or not is_a_year(year):
        raise Http404

    def issue() -> Done:
        made, is_new = issue_for(kind=kind, user=user, year=year, by=staff(request))
        return Done(reverse("admin:checkout_document_change", args=[made.pk]), _said(made, is_new) % made.reference)

    shown = preview(kind, user, year)
    question = Question(
        title=_("%(certificate)s %(of_person)s") % {"certificate": kind.label, "of_person": of(str(user))},
        facts=[
            (_("Année"), _years(user, slug, year)),
            (_("À qui"), ", ".join(shown["recipient"])),
            (_("Somme attestée"), euros(shown["content"].amount)),
        ],
        notes=_notes(shown),
        button=_button(shown),
        cancel=reverse("admin:accounts_user_change", args=[user.pk]),
        cancel_words=_("Ne rien éditer") if _button(shown) else _("Revenir à la personne"),
        danger=bool(shown["untrue"] and shown["obstacle"]),
        template="admin/checkout/document/certificate.html",
        context=shown,
    )
    return ask(table, request, question, forms.Form(request.POST or None), issue)


def _years(user: User, slug: str, year: int) -> SafeString:
    """The years in which the person paid something, and the one that is shown, each with its way."""
    years = sorted({year, *years_of(user)}, reverse=True)
    ways = [
        (format_html('<b aria-current="page">{}</b>', each),)
        if each == year
        else (format_html('<a href="{}">{}</a>', address_of(user, slug, each), each),)
        for each in years
    ]
    return format_html_join(" · ", "{}", ways)


def _notes(shown: dict[str, Any]) -> Sequence[str]:
    """What is at stake, or why there is nothing to do."""
    issued, obstacle = shown["issued"], shown["obstacle"]
    sent = _(
        "Elle part par courriel à l’usager, qui la trouve aussi dans « Mes factures »\u00a0; imprimez-la de sa page."
    )
    if issued is None:
        once = _(
            "L’attestation dira ceci. Une fois éditée, elle ne change plus\u00a0; son historique dit qui l’a éditée."
        )
        return [obstacle] if obstacle else [once, sent]
    address = reverse("admin:checkout_document_change", args=[issued.pk])
    link = format_html('<a href="{}">{}</a>', address, _("la pièce n° %s") % issued.reference)
    if not shown["untrue"]:
        return [format_html(_("Cette attestation est éditée\u00a0: c’est {}."), link)]
    ended = format_html(
        _("Ce que dit {} n’est plus vrai\u00a0: une autre pièce l’annulera. Aucun argent ne bouge."), link
    )
    return [ended, obstacle or sent]


def _button(shown: dict[str, Any]) -> str:
    if shown["untrue"]:
        return _("Annuler la pièce n° %s") % shown["issued"].reference if shown["obstacle"] else _("Éditer la nouvelle")
    return "" if shown["issued"] or shown["obstacle"] else _("Éditer l’attestation")


def _said(made: Document, is_new: bool) -> str:
    if not is_new:
        return _("La pièce n° %s le dit déjà\u00a0: rien n’a été édité.")
    if made.kind == Kind.CANCELLATION:
        return _("L’attestation est annulée par la pièce n° %s\u00a0: il n’y a plus rien à attester.")
    if made.edition > 1:
        return _("La pièce n° %s est éditée et part par courriel. La précédente est annulée.")
    return _("La pièce n° %s est éditée et part par courriel.")


# --- On the person's page ----------------------------------------------------------------------------------------------


def certificates_panel(user: User, by: User) -> Sequence[dict[str, Any]]:
    """For operators, who issue papers: the two certificates, with those that stand."""
    if not by.is_operator:
        return []
    standing: dict[str, list[tuple[str, str, int]]] = {}
    for row in Document.objects.live().filter(user=user, kind__in=CERTIFICATES.values()).defer("data").order_by("-pk"):
        year = row.first_day.year if row.first_day else row.issued_at.year
        address = reverse("admin:checkout_document_change", args=[row.pk])
        standing.setdefault(row.kind, []).append((address, row.reference, year))
    years = years_of(user)
    last = today().year - 1  # whose taxes are declared
    year = last if last in years or not years else years[0]
    words = {
        "reglements": _("Éditer l’attestation de règlements…"),
        "frais-de-garde": _("Éditer l’attestation fiscale de frais de garde…"),
    }
    rows = [
        [
            format_html('<a href="{}">{}</a>', address_of(user, slug, year), words[slug]),
            format_html_join(", ", '<a href="{}">{}</a> ({})', standing.get(kind, [])) or "–",
        ]
        for slug, kind in CERTIFICATES.items()
    ]
    return [
        {
            "title": _("Attestations de l’année"),
            "head": [_("Attestation"), _("Éditées et valables")],
            "rows": rows if years or standing else [],
            "empty": _("Cette personne n’a encore rien réglé\u00a0: il n’y a rien à attester."),
        }
    ]


AccountAdmin.panels_above.append(certificates_panel)
