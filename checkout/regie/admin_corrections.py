"""Manual movements: proposed by one person of the agglomération, decided by another."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_ask import Done, Question, ask, show
from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from accounts.models import User
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros
from portal.common.forms import AmountField
from portal.common.money import ZERO
from wallet.corrections import actions as corrections
from wallet.corrections.models import OUTSIDE, Correction
from wallet.models import Account, Movement
from wallet.words import account_name

PER_PAGE = 100
# Between the two pages of a proposal; in no address, since it names a family and says why.
DRAFT = "correction-draft"


class CorrectionForm(forms.Form):
    """Whose wallet, how much, why."""

    adresse = forms.EmailField(
        label=gettext_lazy("Adresse e-mail de l’usager"),
        help_text=gettext_lazy("Celle de son compte."),
        error_messages={
            "required": gettext_lazy("Écrivez l’adresse e-mail de son compte."),
            "invalid": gettext_lazy("Écrivez une adresse comme nom@exemple.fr, celle de son compte."),
        },
    )
    montant = AmountField(
        label=gettext_lazy("Montant en euros"), help_text=gettext_lazy("10,00 pour ajouter, −10,00 pour retirer.")
    )
    motif = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("La personne le lira dans ses mouvements."),
        max_length=160,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez le motif."),
            "max_length": gettext_lazy("Écrivez le motif en 160 caractères au plus."),
        },
    )

    def clean_adresse(self) -> User:
        user = User.objects.filter(email__iexact=self.cleaned_data["adresse"]).first()
        if user is None:
            raise forms.ValidationError(_("Aucun compte n’a cette adresse."), code="unknown")
        return user

    def clean_montant(self) -> Decimal:
        amount: Decimal = self.cleaned_data["montant"]
        if not amount:
            raise forms.ValidationError(_("Écrivez un montant différent de zéro."), code="zero")
        return amount


class CheckedForm(CorrectionForm):
    """What the check page showed, sent back as it was shown, with what this page is known by."""

    reference = forms.UUIDField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = forms.HiddenInput()


class AccountField(forms.ModelChoiceField):
    """The accounts outside by the names that people give them, each with what it says there is."""

    def label_from_instance(self, obj: Account) -> str:
        return f"{account_name(obj)}\u00a0: {euros(-obj.total)}"


class ReversalForm(forms.Form):
    """Why a movement is undone; nobody reads it in a wallet where it moves none (`of_a_wallet`)."""

    motif = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("La personne le lira dans ses mouvements."),
        max_length=160,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez le motif."),
            "max_length": gettext_lazy("Écrivez le motif en 160 caractères au plus."),
        },
    )

    def __init__(self, *args: Any, of_a_wallet: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not of_a_wallet:
            self.fields["motif"].help_text = _("Gardé avec le mouvement.")


class AccountForm(forms.Form):
    """By how much what lies outside differs from what is written, and why."""

    account = AccountField(
        label=gettext_lazy("Compte"),
        queryset=Account.objects.filter(kind__in=OUTSIDE).with_totals().order_by("code"),
        widget=forms.RadioSelect,
        empty_label=None,
        error_messages={
            "required": gettext_lazy("Choisissez le compte."),
            "invalid_choice": gettext_lazy("Choisissez le compte dans la liste."),
        },
    )
    amount = AmountField(
        label=gettext_lazy("Écart en euros"),
        help_text=gettext_lazy(
            "−31,60 si la régie a reçu, ou recevra, moins que le compte ne le dit\u00a0; 5,00 si c’est plus. Pour les commissions\u00a0: 5,00 si les prestataires ont retenu plus que le compte ne le dit."
        ),
    )
    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("Par exemple\u00a0: chèque n° 1234567 sans provision, quittance Q-12."),
        max_length=160,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif.")},
    )
    reference = forms.UUIDField(widget=forms.HiddenInput)


@admin.register(Correction)
class CorrectionAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/wallet/correction/change_list.html"
    change_form_template = "admin/wallet/correction/change_form.html"
    list_display = [
        "what",
        "person",
        "sum",
        "reason",
        "status",
        "proposed_by",
        "proposed_at",
        "decided_by",
        "decided_at",
    ]
    list_filter = ["status", "kind"]
    list_select_related = ["wallet__user", "reverses", "account", "proposed_by", "decided_by"]
    date_hierarchy = "proposed_at"
    search_fields = ["reason", "wallet__user__last_name", "wallet__user__email"]
    ordering = ["-pk"]
    fields = [
        *("kind", "person", "sum", "reverses", "reason", "status"),
        *("proposed_by", "proposed_at", "decided_by", "decided_at"),
    ]
    readonly_fields = ["person", "sum"]
    signers = ["proposed_by", "decided_by"]

    def pages(self, request: HttpRequest) -> list[tuple[str, str]]:
        if not self.has_view_permission(request):
            return []
        return [(_("Crédits prescrits"), self.url("expiry")), (_("Régulariser un compte"), self.url("account"))]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The movement that is undone only where one is, who decided only where somebody did."""
        empty = {"reverses"} if obj is None or not obj.reverses_id else set()
        empty |= {"decided_by", "decided_at"} if obj is None or not obj.decided_at else set()
        return [name for name in self.fields or [] if name not in empty]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        waiting = Correction.objects.filter(status="proposed").exclude(proposed_by=staff(request)).count()
        words = ngettext("Régularisation à décider", "Régularisations à décider", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?status__exact=proposed")]

    def story(self, request: HttpRequest, obj: Correction) -> list[Happening]:
        said = {
            Correction.Status.REFUSED: _("Refusée\u00a0: %s") % obj.note,
            Correction.Status.WITHDRAWN: _("Retirée par qui l’avait proposée."),
        }.get(Correction.Status(obj.status), _("Approuvée."))
        facts = [
            (obj.proposed_at, obj.proposed_by_id, _("Proposée\u00a0: %s") % obj.reason),
            (obj.decided_at, obj.decided_by_id, said),
        ]
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("régularisation"))
    def what(self, obj: Correction) -> str:
        return str(obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Each with what the movement that it reverses has written: who decides sees it without a look elsewhere."""
        return super().get_queryset(request).prefetch_related(corrections.entries_behind("reverses__"))

    @admin.display(description=gettext_lazy("usager ou compte"))
    def person(self, obj: Correction) -> str:
        if obj.account:
            return account_name(obj.account)
        wallet, _amount = corrections.wallet_moved(obj)
        if wallet is not None:
            return str(wallet.user)
        return (
            enumeration(account_name(account) for account in corrections.mirrored(obj.reverses))
            if obj.reverses
            else "–"
        )

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: Correction) -> str:
        return euros(corrections.wallet_moved(obj)[1]) or "–"

    def get_urls(self) -> list[Any]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("nouvelle/", self.new_view),
            "check": ("nouvelle/verifier/", self.check_view),
            "account": ("compte/", self.account_view),
            "reverse": ("contre-passer/<int:movement>/", self.reverse_view),
            "expiry": ("prescription/", self.expiry_view),
            "approve": ("<int:pk>/approuver/", self.approve_view),
            "refuse": ("<int:pk>/refuser/", self.refuse_view),
            "withdraw": ("<int:pk>/retirer/", self.withdraw_view),
        }
        own = [
            path(route, self.guarded(view), name=f"wallet_correction_{name}") for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj: Correction = kwargs["obj"]  # nothing is added here
        mine = obj.proposed_by_id == staff(request).pk
        waits = obj.status == Correction.Status.PROPOSED and self.may(request, Right.DECIDE, obj)
        context |= {"waits": waits, "may_decide": waits and not mine}
        wallet, amount = corrections.wallet_moved(obj)
        context["is_told"] = wallet is not None
        context["balance"] = corrections.balance_of(wallet.user) if waits and wallet else None
        context["after"] = context["balance"] + amount if context["balance"] is not None and amount else None
        context["shown"] = _in_words(corrections.to_write(obj)) if waits else []
        context["outside"] = None
        if waits and obj.account and obj.amount is not None:
            now = -obj.account.balance()
            outside = {"now": now, "then": now + obj.amount, "less": obj.amount < 0, "by": abs(obj.amount)}
            context["outside"] = outside | {"fees": obj.account.kind == Account.Kind.BANK_FEES}
        context |= {"proposer": self.signature(obj, "proposed_by"), "decider": self.signature(obj, "decided_by")}
        context["movement"] = Movement.objects.filter(key=obj.key).first()
        return super().render_change_form(request, context, *args, **kwargs)

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """First page: whose wallet, how much, why. What can be proposed is checked on a page of its own."""
        self._guard(request)
        draft = request.session.get(DRAFT) if "corriger" in request.GET else None
        form = CorrectionForm(request.POST or None, initial=draft)
        if form.is_valid():
            data = form.cleaned_data
            try:
                corrections.check(user=data["adresse"], amount=data["montant"], reason=data["motif"], by=staff(request))
            except Refused as refusal:
                form.add_error(None, list(refusal.messages))
            else:
                amount = f"{data['montant']:.2f}".replace(".", ",")
                request.session[DRAFT] = {
                    "adresse": data["adresse"].email, "montant": amount, "motif": data["motif"],
                    "reference": str(uuid4()),
                }  # fmt: skip
                return redirect(self.url("check"))
        return self._ask(request, _("Proposer une régularisation"), form, [], button=_("Vérifier"))

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Second page: the family by its name, what the wallet holds and would hold; POST proposes what was shown."""
        self._guard(request)
        back = self.url("new") + "?corriger"
        values = request.POST if request.method == "POST" else request.session.get(DRAFT)
        form = CheckedForm(values)
        if not values or not form.is_valid():
            return redirect(self.url("new"))
        user, amount, reason = (form.cleaned_data[name] for name in ("adresse", "montant", "motif"))
        try:
            if request.method == "POST":
                reference = form.cleaned_data["reference"]
                row = corrections.propose(
                    user=user, amount=amount, reason=reason, by=staff(request), reference=reference
                )
                request.session.pop(DRAFT, None)
                return self._proposed(request, self.url("change", row.pk))
            corrections.check(user=user, amount=amount, reason=reason, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(back)
        balance = corrections.balance_of(user)
        question = Question(
            title=_("Vérifier la régularisation"),
            facts=[
                (_("Usager"), f"{user.get_full_name()}, {user.email}"),
                (_("Solde de son porte-monnaie"), euros(balance)),
                (_("Montant à ajouter") if amount > 0 else _("Montant à retirer"), euros(abs(amount))),
                (_("Solde après l’accord d’une autre personne"), euros(balance + amount)),
                (_("Motif, que la personne lira"), reason),
            ],
            notes=[_("Une autre personne de l’agglomération décide. Jusque-là, aucun argent ne bouge.")],
            button=_("Proposer"),
            danger=False,
            cancel=back,
            cancel_words=_("Corriger"),
        )
        return show(self, request, question, form)

    def reverse_view(self, request: HttpRequest, movement: int) -> HttpResponse:
        """Propose to undo a movement."""
        self._guard(request)
        table: Any = self.admin_site._registry[Movement]
        row = table.object_or_404(request, str(movement))
        try:
            if request.method != "POST":  # nothing is typed for nothing
                corrections.check_reversal(movement=row, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(table.url("change", row.pk))
        of_a_wallet = any(account.kind == Account.Kind.WALLET for account in corrections.mirrored(row))
        form = ReversalForm(request.POST or None, of_a_wallet=of_a_wallet)
        if form.is_valid():
            try:
                found = corrections.propose_reversal(movement=row, reason=form.cleaned_data["motif"], by=staff(request))
            except Refused as refusal:
                form.add_error(None, list(refusal.messages))
            else:
                return self._proposed(request, self.url("change", found.pk))
        return self._ask(request, _("Contre-passer «\u00a0%s\u00a0»") % row.label, form, _to_write(row))

    def account_view(self, request: HttpRequest) -> HttpResponse:
        """A provider or the bank has more or less than is written: a correction, which another person decides."""
        self._guard(request)

        def propose(**asked: Any) -> Done:
            row = corrections.propose_for_account(**asked, by=staff(request))
            said = _("Régularisation de %s proposée\u00a0: une autre personne de l’agglomération en décide.")
            return Done(self.url("change", row.pk), said % euros(row.amount))

        chosen = {"account": request.GET.get("compte"), "reference": uuid4()}
        form = AccountForm(request.POST or None, initial=chosen)
        accounts: Any = form.fields["account"]
        none = _("Aucun prestataire ni la banque n’a encore reçu d’argent\u00a0: il n’y a pas de compte à régulariser.")
        question = Question(
            title=_("Régulariser un compte"),
            facts=[],
            notes=[
                _(
                    "Une carte contestée, un chèque sans provision, une ligne de la banque qu’aucun fichier n’explique, une commission qu’un fichier a mal dite."
                ),
                _("Ce que la famille doit se propose à part, sur son porte-monnaie."),
                *([] if accounts.queryset.exists() else [none]),
            ],
            button=_("Proposer"),
            danger=False,
            cancel=self.url("changelist"),
            cancel_words=_("Ne rien régulariser"),
        )
        return ask(self, request, question, form, propose)

    def expiry_view(self, request: HttpRequest) -> HttpResponse:
        """The wallets whose credits are prescribed; POST proposes those that are ticked."""
        self._guard(request)
        if request.method == "POST":
            chosen = [int(key) for key in request.POST.getlist("porte-monnaie") if key.isdecimal() and len(key) < 19]
            try:
                rows = corrections.propose_expiry(wallets=chosen, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
                return redirect(self.url("expiry"))
            said = ngettext("%d prescription est proposée.", "%d prescriptions sont proposées.", len(rows)) % len(rows)
            self.say(request, messages.SUCCESS, [said, _("Une autre personne de l’agglomération en décide.")])
            return redirect(self.url("changelist") + "?status__exact=proposed")
        wallets = corrections.dormant().select_related("user").order_by("user__last_name", "pk")
        page = Paginator(wallets, PER_PAGE).get_page(request.GET.get("page", "1"))
        context = {
            "title": _("Crédits prescrits"),
            "page": page,
            "total": sum((row.balance for row in page), ZERO),
            "year": corrections.last_year_kept(),
        }
        return self.page(request, "admin/wallet/correction/expiry.html", context)

    def approve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Post what was proposed: POST only."""
        obj: Correction = self.object_or_404(request, str(pk))
        self._guard(request)
        if request.method == "POST":
            try:
                corrections.approve(correction=obj, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                said = {
                    Correction.Kind.TILL: _("Approuvée\u00a0: la caisse est corrigée."),
                    Correction.Kind.ACCOUNT: _("Approuvée\u00a0: le compte est régularisé."),
                }.get(Correction.Kind(obj.kind), _("Approuvée\u00a0: le mouvement est écrit."))
                if corrections.wallet_moved(obj)[0] is not None:
                    said = _("Approuvée\u00a0: le mouvement est écrit, la personne est prévenue.")
                self.say(request, messages.SUCCESS, [said])
        return redirect(self.url("change", pk))

    def refuse_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Turn a proposal down: POST only."""
        obj: Correction = self.object_or_404(request, str(pk))
        self._guard(request)
        if request.method == "POST":
            try:
                corrections.refuse(correction=obj, note=request.POST.get("motif", ""), by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                self.say(request, messages.SUCCESS, [_("Refusée\u00a0: aucun argent n’a bougé.")])
        return redirect(self.url("change", pk))

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take one's own proposal back: POST only."""
        obj: Correction = self.object_or_404(request, str(pk))
        self._guard(request)
        if request.method == "POST":
            try:
                corrections.withdraw(correction=obj, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                self.say(request, messages.SUCCESS, [_("Proposition retirée\u00a0: aucun argent n’a bougé.")])
        return redirect(self.url("change", pk))

    def _guard(self, request: HttpRequest) -> None:
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied

    def _ask(
        self, request: HttpRequest, title: str, form: Any, shown: list[tuple[str, str]], *, button: str = ""
    ) -> HttpResponse:
        context = {"title": title, "form": form, "shown": shown, "button": button or _("Proposer")}
        return self.page(request, "admin/wallet/correction/new.html", context)

    def _proposed(self, request: HttpRequest, address: str) -> HttpResponse:
        said = _(
            "Régularisation proposée\u00a0: une autre personne de l’agglomération en décide. Aucun argent n’a bougé."
        )
        self.say(request, messages.SUCCESS, [said])
        return redirect(address)


def _to_write(movement: Movement) -> list[tuple[str, str]]:
    """What undoing a movement writes, as its two readers see it: who proposes it, and who decides."""
    return _in_words(corrections.mirrored(movement).items())


def _in_words(amounts: Iterable[tuple[Account, Decimal]]) -> list[tuple[str, str]]:
    return [(account_name(account), euros(amount)) for account, amount in amounts]
