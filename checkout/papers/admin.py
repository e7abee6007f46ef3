"""The régie's papers for operators: found by number or name, sent again, ended by another; series without a gap."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Field
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from schwifty import IBAN

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ReadOnlyAdmin, Right, ScopedAdmin, ScopedForm, Todo, staff
from accounts.admin_history import Happening, told
from checkout.papers.actions import cancel, send
from checkout.papers.again import issue_again, successor
from checkout.papers.certifying import certify
from checkout.papers.models import LETTERS, MOST_TAKEN, Document, InvoiceRun, Kind, Regie, Series
from checkout.papers.runs import resume
from checkout.papers.views import download
from portal.common.errors import Refused
from portal.common.formats import euros, month, of, short_date
from portal.common.forms import AmountField
from wallet.withdrawals.actions import read_iban

MOST = 50  # papers sent again at once: each is an e-mail


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif de l’annulation"),
        help_text=gettext_lazy("Il est imprimé sur la pièce d’annulation, que l’usager lit dans « Mes factures »."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif : il est imprimé sur la pièce d’annulation.")},
    )


class StateFilter(admin.SimpleListFilter):
    """Whether a paper stands."""

    title = gettext_lazy("état")
    parameter_name = "etat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valable", _("Valable")), ("annulee", _("Annulée"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "valable":
                return queryset.filter(is_cancelled=False).exclude(kind=Kind.CANCELLATION)
            case "annulee":
                return queryset.filter(is_cancelled=True)
        return queryset


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    actions = ["send_again", "cancel_one"]
    list_display = ["paper_number", "kind", "user", "issued_at", "amount_in_euros", "state"]
    list_filter = ["kind", StateFilter]
    list_select_related = ["user"]
    date_hierarchy = "issued_at"
    # Read by get_search_results below, which knows numbers as people quote them too.
    search_fields = ["user__last_name", "user__first_name", "user__email"]
    search_help_text = gettext_lazy("Numéro de la pièce (F-2026-000012), nom ou adresse e-mail de l’usager.")
    ordering = ["-issued_at", "-pk"]
    fields = [
        *("paper_number", "kind", "user", "amount_in_euros", "issued_at", "issued_by", "about", "state"),
        *("reason", "ended_by", "replaced_by", "file_link", "sha256"),
    ]
    readonly_fields = ["about", "ended_by", "replaced_by", "file_link"]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_state().defer("data")

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, Right.DECIDE, obj)

    def label_for(self, obj: Document) -> str:
        return str(obj)

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/fichier/", self.guarded(self.file_view), name="checkout_document_file"),
            path("<int:pk>/annuler/", self.guarded(self.cancel_view), name="checkout_document_cancel"),
            path("<int:pk>/editer-a-nouveau/", self.guarded(self.again_view), name="checkout_document_again"),
            path(
                "attester/<int:user>/<slug:slug>/<int:year>/",
                self.guarded(self.certificate_view),
                name="checkout_document_certify",
            ),
            *super().get_urls(),
        ]

    def get_fields(self, request: HttpRequest, obj: Document | None = None) -> Any:
        """A reason stands on a paper that ends another; who ended it and what came after, on one that is ended."""
        left_out = set()
        if obj is None or obj.kind != Kind.CANCELLATION:
            left_out.add("reason")
        if obj is None or not obj.is_cancelled:
            left_out |= {"ended_by", "replaced_by"}
        return [name for name in self.fields or () if name not in left_out]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        letters, _dash, rest = search_term.strip().upper().partition("-")
        year, _dash, number = rest.partition("-")
        kinds = [kind for kind, letter in LETTERS.items() if letter == letters]
        if kinds and year.isdecimal() and len(year) == 4:
            of_year = queryset.filter(kind=kinds[0], series__year=int(year))
            if not number:  # the start of one: « AF-2026 »
                return of_year, False
            if number.isdecimal() and len(number) < 9:
                return of_year.filter(number=int(number)), False
        alone = search_term.strip()
        if alone.isdecimal() and len(alone) < 9:  # of any kind and year, beside the people whom digits name
            return found | queryset.filter(number=int(alone)), duplicates
        return found, duplicates

    def story(self, request: HttpRequest, obj: Document) -> list[Happening]:
        facts = [(obj.issued_at, obj.issued_by_id, _("Éditée : %s.") % obj.reference)]
        if ending := Document.objects.filter(cancels=obj).first():
            words = {"number": ending.reference, "reason": ending.reason}
            facts.append(
                (ending.issued_at, ending.issued_by_id, _("Annulée par la pièce n° %(number)s : %(reason)s.") % words)
            )
        return told(staff(request), facts)

    # -- Pages --

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        document = self.object_or_404(request, str(pk))
        try:
            return download(document)
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(self.url("change", document.pk))

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ends a paper by another one, whose reason is asked for."""
        document = self.object_or_404(request, str(pk))
        if not self.has_decide_permission(request, document):
            raise PermissionDenied

        def end(*, reason: str) -> Done:
            issued = cancel(document=document, reason=reason, by=staff(request))
            words = {"number": document.reference, "by": issued.reference}
            return Done(
                self.url("change", document.pk), _("La pièce %(number)s est annulée par la pièce %(by)s.") % words
            )

        question = Question(
            title=_("Annuler la pièce %s") % document.reference,
            facts=[
                (_("Pièce"), document),
                (_("Usager"), document.user),
                (_("Montant"), euros(document.amount)),
            ],
            notes=[
                _("Une pièce d’annulation est éditée, avec son propre numéro. Aucun argent ne bouge."),
                _("La pièce annulée reste lisible, marquée « annulée » ; elle pourra être éditée à nouveau."),
            ],
            button=_("Annuler cette pièce"),
            cancel=self.url("change", document.pk),
            cancel_words=_("Ne pas annuler"),
        )
        return ask(self, request, question, ReasonForm(request.POST or None), end)

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Issues anew what another paper has ended."""
        document = self.object_or_404(request, str(pk))
        if not self.has_decide_permission(request, document):
            raise PermissionDenied

        def issue() -> Done:
            made = issue_again(document=document, by=staff(request))
            words = {"number": made.reference, "old": document.reference}
            return Done(
                self.url("change", made.pk),
                _("La pièce %(number)s est éditée à la place de %(old)s et part par courriel.") % words,
            )

        question = Question(
            title=_("Éditer à nouveau la pièce %s") % document.reference,
            facts=[
                (_("Pièce"), document),
                (_("Usager"), document.user),
                (_("Montant de la pièce annulée"), euros(document.amount)),
            ],
            notes=[
                _("La nouvelle pièce dit ce qui est vrai aujourd’hui, sous un nouveau numéro. Aucun argent ne bouge."),
                _("Elle part par courriel à l’usager, qui la trouve aussi dans « Mes factures »."),
            ],
            button=_("Éditer la nouvelle pièce"),
            cancel=self.url("change", document.pk),
            cancel_words=_("Ne rien éditer"),
            danger=False,
        )
        return ask(self, request, question, forms.Form(request.POST or None), issue)

    def certificate_view(self, request: HttpRequest, user: int, slug: str, year: int) -> HttpResponse:
        """Issues a person's certificate of a year for them, as they would by themselves."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return certify(self, request, user, slug, year)

    @admin.action(description=gettext_lazy("Renvoyer par courriel"), permissions=["decide"])
    def send_again(self, request: HttpRequest, queryset: Any) -> None:
        documents = list(queryset.select_related("user")[: MOST + 1])
        if len(documents) > MOST:
            self.say(request, messages.ERROR, [_("Choisissez %d pièces au plus à la fois.") % MOST])
            return
        for document in documents:
            send(document=Document.objects.select_related("user").get(pk=document.pk), by=staff(request))
        said = ngettext("%d pièce part par courriel.", "%d pièces partent par courriel.", len(documents))
        self.say(request, messages.SUCCESS, [said % len(documents)])

    @admin.action(description=gettext_lazy("Annuler par une autre pièce…"), permissions=["decide"])
    def cancel_one(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        chosen = list(queryset.values_list("pk", flat=True)[:2])
        if len(chosen) != 1:
            self.say(request, messages.ERROR, [_("Choisissez une seule pièce : chacune a son motif.")])
            return None
        return redirect("admin:checkout_document_cancel", chosen[0])

    # -- Columns --

    @admin.display(description=gettext_lazy("numéro"), ordering="number")
    def paper_number(self, obj: Document) -> str:
        return obj.reference

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def amount_in_euros(self, obj: Document) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("état"))
    def state(self, obj: Document) -> str:
        if obj.kind == Kind.CANCELLATION:
            return _("Annule une pièce")
        return _("Annulée") if obj.is_cancelled else _("Valable")

    @admin.display(description=gettext_lazy("objet"))
    def about(self, obj: Document) -> str:
        """What the paper is about, with the way to it."""
        if obj.order_id and obj.order:
            address = reverse("admin:checkout_order_change", args=[obj.order_id])
            return format_html('<a href="{}">{}</a>', address, _("Commande %s") % obj.order.number)
        if obj.movement_id:
            address = reverse("admin:wallet_movement_change", args=[obj.movement_id])
            return format_html('<a href="{}">{}</a>', address, obj.movement)
        if obj.cancels_id and obj.cancels:
            return format_html('<a href="{}">{}</a>', self.url("change", obj.cancels_id), obj.cancels)
        if obj.first_day and obj.last_day:
            words = {"first": short_date(obj.first_day), "last": short_date(obj.last_day)}
            return _("Du %(first)s au %(last)s") % words
        return "–"

    @admin.display(description=gettext_lazy("annulée par"))
    def ended_by(self, obj: Document) -> str:
        """The paper that ends this one, with the way to it and its reason."""
        ending = Document.objects.get(cancels=obj)
        words = {"number": ending.reference, "date": short_date(timezone.localdate(ending.issued_at))}
        return format_html(
            '<a href="{}">{}</a> – {}',
            self.url("change", ending.pk),
            _("%(number)s du %(date)s") % words,
            _("motif\u00a0: %s") % ending.reason,
        )

    @admin.display(description=gettext_lazy("remplacée par"))
    def replaced_by(self, obj: Document) -> str:
        if standing := successor(obj):
            return format_html('<a href="{}">{}</a>', self.url("change", standing.pk), standing.reference)
        address = reverse("admin:checkout_document_again", args=[obj.pk])
        return format_html('{} · <a href="{}">{}</a>', _("Aucune pièce"), address, _("Éditer à nouveau…"))

    @admin.display(description=gettext_lazy("fichier"))
    def file_link(self, obj: Document) -> str:
        file = format_html(
            '<a href="{}">{}</a>', reverse("admin:checkout_document_file", args=[obj.pk]), _("Télécharger le PDF")
        )
        if obj.is_cancelled or obj.kind == Kind.CANCELLATION:
            return file
        return format_html(
            '{} · <a href="{}">{}</a>',
            file,
            reverse("admin:checkout_document_cancel", args=[obj.pk]),
            _("Annuler par une autre pièce…"),
        )


@admin.register(Series)
class SeriesAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "regie", "year", "last", "count", "gaps"]
    list_filter = ["kind"]
    list_select_related = ["regie"]
    ordering = ["-year", "kind"]
    fields = ["regie", "kind", "year", "last", "count", "gaps", "papers"]
    readonly_fields = ["papers"]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_count()

    def elsewhere(self, obj: Series) -> str:
        return self.papers(obj)

    @admin.display(description=gettext_lazy("pièces"))
    def count(self, obj: Series) -> str:
        return str(obj.issued)

    @admin.display(description=gettext_lazy("continuité"))
    def gaps(self, obj: Series) -> str:
        """« Sans trou » as it is counted now, not as it should be."""
        return _("Sans trou") if obj.last == obj.issued == obj.highest else _("Des numéros manquent")

    @admin.display(description=gettext_lazy("détail"))
    def papers(self, obj: Series) -> str:
        address = f"{reverse('admin:checkout_document_changelist')}?kind__exact={obj.kind}&issued_at__year={obj.year}"
        return format_html('<a href="{}">{}</a>', address, _("Voir ses pièces"))


@admin.register(InvoiceRun)
class InvoiceRunAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    list_display = ["name", "families", "issued", "failed", "started_at", "finished_at"]
    ordering = ["-month"]
    change_form_template = "admin/checkout/invoicerun/change_form.html"
    fields = ["name", "families", "issued", "failed", "last_error", "started_at", "finished_at"]

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/relancer/", self.guarded(self.resume_view), name="checkout_invoicerun_resume"),
            *super().get_urls(),
        ]

    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Takes up a month whose families have not all had their invoice."""
        run: InvoiceRun = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, run):
            raise PermissionDenied

        def again() -> Done:
            made = resume(run=run, by=staff(request))
            run.refresh_from_db()
            said = ngettext("%d facture éditée.", "%d factures éditées.", made) % made
            if run.failed:
                said += (
                    " "
                    + ngettext(
                        "%d famille est encore en échec\u00a0: la dernière erreur est ci-dessous.",
                        "%d familles sont encore en échec\u00a0: la dernière erreur est ci-dessous.",
                        run.failed,
                    )
                    % run.failed
                )
            elif not run.finished_at:
                said += " " + _("Les autres suivent dans les dix minutes.")
            return Done(self.url("change", run.pk), said)

        question = Question(
            title=_("Relancer la facturation %s") % of(month(run.month).lower()),
            facts=[
                (_("Familles à facturer"), run.families),
                (_("Factures éditées"), run.issued),
                (_("En échec au dernier passage"), run.failed),
            ],
            notes=[
                _("Seules les familles qui n’ont pas leur facture la reçoivent, par courriel. Aucun argent ne bouge.")
            ],
            button=_("Relancer la facturation"),
            cancel=self.url("change", run.pk),
            cancel_words=_("Ne pas relancer"),
            danger=False,
        )
        return ask(self, request, question, forms.Form(request.POST or None), again)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        failing = InvoiceRun.objects.filter(failed__gt=0).count()
        words = ngettext("Facturation mensuelle en échec", "Facturations mensuelles en échec", failing or 2)
        return [Todo(words, failing, self.url("changelist"))]

    def label_for(self, obj: InvoiceRun) -> str:
        return _("Facturation %s") % of(month(obj.month).lower())

    def story(self, request: HttpRequest, obj: InvoiceRun) -> list[Happening]:
        facts = [
            (obj.started_at, None, _("Commencée.")),
            (obj.finished_at, None, _("Toutes les factures sont éditées.")),
        ]
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("mois"), ordering="month")
    def name(self, obj: InvoiceRun) -> str:
        return month(obj.month)


PART = gettext_lazy("Une part de 0 à 10 pour cent, par exemple 1,20.")


def _amount(name: str, **options: Any) -> AmountField:
    """A sum of the régie, typed as people write it."""
    field = Regie._meta.get_field(name)
    assert isinstance(field, Field)
    return AmountField(label=capfirst(field.verbose_name), help_text=field.help_text, **options)


class RegieForm(ScopedForm):
    """SIRET, IBAN and BIC may be typed as papers print them, in groups."""

    siret = forms.CharField(
        label=Regie._meta.get_field("siret").verbose_name,
        max_length=30,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
    )
    top_up_fee = _amount("top_up_fee")
    top_up_least = _amount("top_up_least")
    top_up_most = _amount("top_up_most")
    counter_most = _amount("counter_most")
    remittance_percent = _amount(
        "remittance_percent",
        max_digits=4,
        error_messages={
            "required": gettext_lazy("Écrivez la part, par exemple 1,20 ; 0 pour aucune."),
            "invalid": gettext_lazy("Écrivez la part en chiffres, par exemple 1,20."),
            **dict.fromkeys(("max_digits", "max_whole_digits"), PART),
        },
    )

    iban = forms.CharField(
        label=Regie._meta.get_field("iban").verbose_name,
        help_text=Regie._meta.get_field("iban").help_text,
        max_length=60,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("address", "legal"):
            self.fields[name].widget.attrs["rows"] = 3
        if self.instance.iban:
            self.initial["iban"] = IBAN(self.instance.iban, allow_invalid=True).formatted

    def clean_siret(self) -> str:
        return "".join(self.cleaned_data["siret"].split())

    def clean_address(self) -> str:
        return _same_line_ends(self.cleaned_data["address"])

    def clean_legal(self) -> str:
        return _same_line_ends(self.cleaned_data["legal"])

    def clean_top_up_least(self) -> Decimal:
        """The database holds both bounds in one rule, whose sentence stands under the other."""
        least: Decimal = self.cleaned_data["top_up_least"]
        if not 0 < least <= MOST_TAKEN:
            raise forms.ValidationError(_("Le plus petit dépôt va de 0,01\u00a0€ à %s.") % euros(Decimal(MOST_TAKEN)))
        return least

    def clean_iban(self) -> str:
        typed = self.cleaned_data["iban"]
        if not typed:
            return ""
        try:
            return read_iban(typed)
        except Refused as refusal:
            raise forms.ValidationError(list(refusal.messages)) from refusal

    def clean_bic(self) -> str:
        return "".join(self.cleaned_data["bic"].split()).upper()


def _same_line_ends(text: str) -> str:
    """As the text is kept: browsers end lines in two signs, and the history would tell of a change that nobody made."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


@admin.register(Regie)
class RegieAdmin(ScopedAdmin):
    """Who stands at the head of every paper from now on, and the régie's rules; the first row is made with the first paper."""

    operators = Right.VIEW | Right.CHANGE
    form = RegieForm
    list_display = ["name", "authority", "siret", "card_refunds"]
    fieldsets = [
        (
            gettext_lazy("En tête des pièces"),
            {"fields": ["name", "authority", "address", "siret", "officer", "legal"]},
        ),
        (
            gettext_lazy("Ce que paient et reçoivent les familles"),
            {"fields": ["top_up_fee", "top_up_least", "top_up_most", "counter_most", "card_refunds"]},
        ),
        (gettext_lazy("Reversement aux communes"), {"fields": ["remittance_percent"]}),
        (gettext_lazy("Compte bancaire"), {"fields": ["iban", "bic"]}),
    ]
    constraint_messages = {
        "regie_fee_is_moderate": (
            "top_up_fee",
            gettext_lazy("Des frais de zéro à cinq euros, par exemple 0,01."),
        ),
        "regie_deposits_have_bounds": (
            "top_up_most",
            gettext_lazy(
                "Le plus grand dépôt est au moins le plus petit, et les deux vont de 0,01\u00a0€ à 10\u202f000,00\u00a0€."
            ),
        ),
        "regie_counter_has_a_bound": (
            "counter_most",
            gettext_lazy("Le plus grand encaissement va de 0,01\u00a0€ à 10\u202f000,00\u00a0€."),
        ),
        "regie_part_is_moderate": (
            "remittance_percent",
            PART,
        ),
        "regie_bic_is_of_its_iban": (
            "bic",
            gettext_lazy(
                "Ce BIC n’est pas du pays de l’IBAN\u00a0: la banque refuserait chaque fichier de virements. Recopiez les deux du même contrat."
            ),
        ),
    }
