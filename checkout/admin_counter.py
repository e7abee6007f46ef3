"""« Encaissements au guichet »: find the family, take the money, hand over the receipt."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ReadOnlyAdmin, Right, ScopedRelatedFilter, staff, visible_rows
from accounts.admin_history import Happening, told
from accounts.models import Commune, User
from checkout.counter.actions import (
    Paper,
    deposit_till,
    in_the_till,
    out_of_bounds,
    own_account,
    take_payment,
    take_top_up,
)
from checkout.counter.models import CounterReceipt, Means, TillDeposit, numbered
from checkout.forms import keys
from checkout.models import Order
from checkout.summary import CartSummary
from portal.common.db import annotated
from portal.common.errors import Refused
from portal.common.formats import euros, short_date
from portal.common.forms import AmountField, offer
from wallet.actions import wallet_of
from wallet.corrections.actions import propose_till
from wallet.models import Movement

FOUND = 20  # families listed: who is not among them is searched for more closely
TOP_UP, CART = "top_up", "cart"


# Of numbers with so many digits that no field of the database holds them.
TOO_LONG = ("max_digits", "max_whole_digits")
out_of_bounds_lazy = lazy(out_of_bounds, str)


class TakingForm(forms.Form):
    """What is paid, how, and the number of the receipt; `cart` is what the family's cart is worth (None: empty)."""

    what = forms.ChoiceField(
        label=gettext_lazy("Pour quoi\u00a0?"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choisissez le panier de la famille, ou un dépôt.")},
    )
    amount = AmountField(
        label=gettext_lazy("Montant du dépôt, en euros"),
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 10}),
        error_messages={
            "invalid": gettext_lazy("Écrivez le montant en chiffres, par exemple 30,00."),
            **dict.fromkeys(TOO_LONG, out_of_bounds_lazy()),
        },
    )
    means = forms.ChoiceField(
        label=gettext_lazy("Comment\u00a0?"),
        choices=Means.choices,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choisissez espèces, chèque ou CESU.")},
    )
    cheque = forms.CharField(
        label=gettext_lazy("Banque et numéro du chèque"),
        help_text=gettext_lazy("Pour un chèque."),
        max_length=80,
        required=False,
        error_messages={"max_length": gettext_lazy("Écrivez la banque et le numéro en 80 caractères au plus.")},
    )
    number = forms.CharField(
        label=gettext_lazy("Numéro de la quittance remise"),
        max_length=30,
        error_messages={
            "required": gettext_lazy("Écrivez le numéro de la quittance remise."),
            "max_length": gettext_lazy("Le numéro de la quittance a 30 caractères au plus. Rien n’a changé."),
        },
    )
    counter = forms.ModelChoiceField(
        label=gettext_lazy("Guichet"), queryset=Commune.objects.none(), required=False, empty_label=_("Agglomération")
    )
    shown = forms.DecimalField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any, *, cart: Decimal | None, by: User) -> None:
        super().__init__(data, initial={"what": "" if cart else TOP_UP, "shown": cart})
        choices = [(TOP_UP, _("Un dépôt dans le porte-monnaie"))]
        if cart:
            choices.insert(0, (CART, _("Le panier de la famille\u00a0: %s") % euros(cart)))
        offer(self, "what", choices)
        if not cart:  # nothing to choose from
            self.fields["what"].widget = forms.HiddenInput()
        counter: Any = self.fields["counter"]
        communes = Commune.objects.order_by("name_key")
        counter.queryset = communes if by.is_operator else communes.filter(pk__in=by.till_communes)
        if not by.is_operator:
            counter.empty_label, counter.required = None, True
            counter.initial = communes.filter(pk__in=by.till_communes).first()

    def show_anew(self) -> None:
        """The page that comes back shows what the cart is worth now: sent again, that is what was seen."""
        self.data = {**{name: self.data.get(name) for name in self.data}, "shown": self.initial["shown"]}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("what") == TOP_UP and data.get("amount") is None and "amount" not in self.errors:
            self.add_error("amount", _("Écrivez le montant déposé, par exemple 30,00."))
        if data.get("what") == CART and data.get("amount") is not None:
            self.add_error(
                "amount",
                _("Vous avez choisi le panier, dont le montant est fixé : effacez ce montant, ou choisissez le dépôt."),
            )
        return data


class MeansFilter(admin.SimpleListFilter):
    """How it was paid."""

    title = gettext_lazy("moyen")
    parameter_name = "moyen"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Means.choices]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(payment__provider=self.value()) if self.value() else queryset


class CashierFilter(ScopedRelatedFilter):
    """Those who took the money of the receipts within reach, rather than every account."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        takers = model_admin.get_queryset(request).order_by().values("by")
        return [(row.pk, str(row)) for row in User.objects.filter(pk__in=takers)]


class NumberedAdmin(ReadOnlyAdmin):
    """Found by a number however it was typed, as it is compared when it is written."""

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, _twice = super().get_search_results(request, queryset, search_term)
        if not search_term.strip():
            return found, False
        return queryset.filter(Q(pk__in=found.order_by().values("pk")) | numbered(search_term)), False


@admin.register(CounterReceipt)
class CounterReceiptAdmin(NumberedAdmin):
    """For the agglomération, and the agents whom it has named for a counter (« mandataires »)."""

    agents = operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/counterreceipt/change_list.html"
    list_display = ["at", "number", "person", "means", "sum", "counter", "by"]
    list_select_related = ["payment__order__user", "commune", "by"]
    list_filter = [MeansFilter, ("by", CashierFilter)]
    date_hierarchy = "at"
    search_fields = ["number", "cheque", "payment__order__user__last_name", "payment__order__user__email"]
    ordering = ["-at", "-pk"]
    change_form_template = "admin/checkout/counterreceipt/change_form.html"
    fields = ["number", "person", "means", "sum", "cheque", "order_link", "movement_link", "counter", "by", "at"]
    readonly_fields = ["person", "means", "sum", "order_link", "movement_link", "counter"]

    def rights(self, request: HttpRequest) -> Right:
        return super().rights(request) if staff(request).takes_money else Right.NONE

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With what the listed receipts come to, by means: what is handed over in the evening."""
        response = super().changelist_view(request, extra_context)
        page = getattr(response, "context_data", None) or {}
        if "cl" in page:
            listed = page["cl"].queryset.order_by().values_list("payment__provider")
            sums = dict(listed.annotate(Sum("payment__amount")))
            page["sums"] = [(means.label, euros(sums[means])) for means in Means if means in sums]
        return response

    def label_for(self, obj: CounterReceipt) -> str:
        return _("Quittance %s") % obj.number

    def story(self, request: HttpRequest, obj: CounterReceipt) -> list[Happening]:
        return told(staff(request), [(obj.at, obj.by_id, _("Encaissé\u00a0: %s.") % self.sum(obj))])

    def get_urls(self) -> list[Any]:
        return [
            path("encaisser/", self.guarded(self.take_view), name="checkout_counterreceipt_take"),
            *super().get_urls(),
        ]

    def take_view(self, request: HttpRequest) -> HttpResponse:
        """Search a family (`q`), then take its money (`usager`)."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        by = staff(request)
        people = User.objects.visible_to(by).filter(status=User.Status.APPROVED)
        chosen = next(iter(keys([request.GET.get("usager", "")])), None)
        family = people.filter(pk=chosen).first() if chosen else None
        if chosen and family is None:
            raise Http404
        words = request.GET.get("q", "").strip()
        own = own_account(family, by) if family else None
        context = {
            "title": _("Encaisser au guichet"),
            "words": words,
            "found": list(_search(people, words)) if words and family is None else [],
            "most": FOUND,
            "family": family,
            "form": None,
            "own": " ".join(own.messages) if own else "",
        }
        if family is not None and own is None:
            cart = CartSummary.of(family)
            total = cart.total if cart and not cart.is_late else None
            form = TakingForm(request.POST or None, cart=total, by=by)
            if request.method == "POST" and form.is_valid() and (taken := self._take(request, family, form)):
                return taken
            context |= {
                "form": form,
                "cart": cart,
                "late": bool(cart and cart.is_late),
                # A mairie has no business with a family's balance.
                "balance": wallet_of(family).balance if by.is_operator else None,
            }
        return self.page(request, "admin/checkout/counterreceipt/take.html", context)

    def _take(self, request: HttpRequest, family: User, form: TakingForm) -> HttpResponse | None:
        data = form.cleaned_data
        paper = Paper(Means(data["means"]), data["number"].strip(), data["cheque"].strip())
        try:
            if data["what"] == CART:
                order = take_payment(
                    user=family,
                    shown_total=data["shown"] or Decimal(0),
                    paper=paper,
                    commune=data["counter"],
                    by=staff(request),
                )
            else:
                order = take_top_up(
                    user=family, amount=data["amount"], paper=paper, commune=data["counter"], by=staff(request)
                )
        except Refused as refusal:
            form.add_error(None, list(refusal.messages))
            form.show_anew()
            return None
        said = _("%(sum)s encaissés pour %(family)s, quittance %(number)s. La famille reçoit un courriel.")
        kept = CounterReceipt.objects.get(payment__order=order)
        facts = {"sum": euros(order.total), "family": family, "number": kept.number}
        self.say(request, messages.SUCCESS, [said % facts])
        return redirect(f"{reverse('admin:checkout_counterreceipt_take')}?usager={family.pk}")

    @admin.display(description=gettext_lazy("usager"), ordering="payment__order__user__last_name")
    def person(self, obj: CounterReceipt) -> str:
        return str(obj.payment.order.user)

    @admin.display(description=gettext_lazy("moyen"), ordering="payment__provider")
    def means(self, obj: CounterReceipt) -> str:
        return obj.payment.means_name

    @admin.display(description=gettext_lazy("montant"), ordering="payment__amount")
    def sum(self, obj: CounterReceipt) -> str:
        return euros(obj.payment.amount)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # A mairie does not correct wallets: it tells the agglomération, which does.
        context["corrections"] = reverse("admin:wallet_correction_changelist") if staff(request).is_operator else ""
        context["is_top_up"] = kwargs["obj"].payment.order.kind == Order.Kind.TOP_UP
        return super().render_change_form(request, context, *args, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: CounterReceipt | None = None) -> Any:
        """The ledger is the agglomération's: an agent at a counter sees no link to a page that is closed to them."""
        fields = super().get_readonly_fields(request, obj)
        return fields if staff(request).is_operator else [name for name in fields if name != "movement_link"]

    def get_fields(self, request: HttpRequest, obj: CounterReceipt | None = None) -> Any:
        fields = super().get_fields(request, obj)
        return fields if staff(request).is_operator else [name for name in fields if name != "movement_link"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Each with `order_is_shown`: an agent reaches the orders that concern the own commune, and no deposit."""
        mine = visible_rows(Order.objects.filter(pk=OuterRef("payment__order")), staff(request))
        return annotated(super().get_queryset(request), order_is_shown=Exists(mine))

    @admin.display(description=gettext_lazy("commande"))
    def order_link(self, obj: CounterReceipt) -> str:
        order = obj.payment.order
        if not obj.order_is_shown:
            return order.number
        return format_html('<a href="{}">{}</a>', reverse("admin:checkout_order_change", args=[order.pk]), order.number)

    @admin.display(description=gettext_lazy("mouvement"))
    def movement_link(self, obj: CounterReceipt) -> str:
        found = Movement.objects.filter(key=f"order:{obj.payment.order_id}:paid").first()
        if found is None:
            return "–"
        return format_html('<a href="{}">{}</a>', reverse("admin:wallet_movement_change", args=[found.pk]), found.label)

    @admin.display(description=gettext_lazy("guichet"), ordering="commune__name_key")
    def counter(self, obj: CounterReceipt) -> str:
        return str(obj.commune or _("Agglomération"))


def _search(people: Any, words: str) -> Any:
    """Families by name, address or a child's name; each word must be found somewhere."""
    for word in words.split()[:6]:
        people = people.filter(
            Q(last_name__unaccent__icontains=word)
            | Q(first_name__unaccent__icontains=word)
            | Q(email__icontains=word)
            | Q(filiations__beneficiary__first_name__unaccent__icontains=word)
            | Q(filiations__beneficiary__last_name__unaccent__icontains=word)
        )
    return people.distinct().order_by("last_name", "first_name", "pk")[:FOUND]


class DepositForm(forms.Form):
    means = forms.ChoiceField(
        label=gettext_lazy("Ce qui est versé"),
        choices=Means.choices,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choisissez espèces, chèques ou CESU.")},
    )
    amount = AmountField(
        label=gettext_lazy("Montant versé, en euros"),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 10}),
        error_messages={
            "required": gettext_lazy("Écrivez le montant versé, par exemple 310,00."),
            "invalid": gettext_lazy("Écrivez le montant en chiffres, par exemple 310,00."),
            **dict.fromkeys(
                TOO_LONG, gettext_lazy("La caisse ne contient pas autant\u00a0: vérifiez le montant. Rien n’a changé.")
            ),
        },
    )
    number = forms.CharField(
        label=gettext_lazy("Numéro du bordereau"),
        max_length=40,
        error_messages={
            "required": gettext_lazy("Écrivez le numéro du bordereau de versement."),
            "max_length": gettext_lazy("Le numéro du bordereau a 40 caractères au plus. Rien n’a changé."),
        },
    )


class CountForm(forms.Form):
    """What was counted in a till, and why it is not what was written."""

    means = forms.ChoiceField(
        label=gettext_lazy("Ce qui est compté"),
        choices=Means.choices,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choisissez espèces, chèques ou CESU.")},
    )
    counted = AmountField(
        label=gettext_lazy("Ce que contient vraiment la caisse, en euros"),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 10}),
    )
    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("Par exemple\u00a0: quittance Q-12, 100 tapés au lieu de 10."),
        max_length=160,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez le motif."),
            "max_length": gettext_lazy("Écrivez le motif en 160 caractères au plus."),
        },
    )

    def __init__(self, *args: Any, booked: Mapping[str, Decimal], **kwargs: Any) -> None:
        """`booked` is what the page says that each till holds, which comes back with the count."""
        super().__init__(*args, **kwargs)
        for means, amount in booked.items():
            self.fields[f"booked_{means}"] = forms.DecimalField(initial=amount, widget=forms.HiddenInput)

    def show_anew(self, booked: Mapping[str, Decimal]) -> None:
        """What the page says now is what the next count is compared with."""
        now = {f"booked_{means}": str(amount) for means, amount in booked.items()}
        self.data = {**{name: self.data.get(name) for name in self.data}, **now}


@admin.register(TillDeposit)
class TillDepositAdmin(NumberedAdmin):
    """The way of cash, cheques and CESU from the till to the bank."""

    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/tilldeposit/change_list.html"
    list_display = ["at", "means", "sum", "number", "state", "by"]
    list_filter = ["means"]
    list_select_related = ["by", "movement__reversed_by"]
    date_hierarchy = "at"
    search_fields = ["number"]
    ordering = ["-at", "-pk"]
    fields = ["at", "means", "sum", "number", "movement", "by"]
    readonly_fields = ["sum"]
    change_form_template = "admin/checkout/tilldeposit/change_form.html"

    def label_for(self, obj: TillDeposit) -> str:
        return _("Versement %(number)s, %(sum)s") % {"number": obj.number, "sum": euros(obj.amount)}

    def story(self, request: HttpRequest, obj: TillDeposit) -> list[Happening]:
        facts: list[Any] = [(obj.at, obj.by_id, _("Versé à la banque\u00a0: %s.") % euros(obj.amount))]
        if back := Movement.objects.filter(reverses=obj.movement_id).first():
            facts.append((back.at, back.by_id, _("Contre-passé\u00a0: %s.") % back.label))
        return told(staff(request), facts)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["back"] = Movement.objects.filter(reverses=kwargs["obj"].movement_id).first()
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        return [
            path("verser/", self.guarded(self.new_view), name="checkout_tilldeposit_new"),
            path("corriger/", self.guarded(self.count_view), name="checkout_tilldeposit_count"),
            *super().get_urls(),
        ]

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """What lies in the till, and what of it has gone to the bank."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied

        def deposit(*, means: str, amount: Decimal, number: str) -> Done:
            row = deposit_till(means=Means(means), amount=amount, number=number, by=staff(request))
            return Done(self.url("changelist"), _("%s sont sortis de la caisse.") % euros(row.amount))

        question = Question(
            title=_("Verser la caisse à la banque"),
            facts=[(means.label, euros(in_the_till(means))) for means in Means],
            button=_("Enregistrer le versement"),
            danger=False,
            cancel=self.url("changelist"),
            cancel_words=_("Ne rien verser"),
        )
        return ask(self, request, question, DepositForm(request.POST or None), deposit)

    def count_view(self, request: HttpRequest) -> HttpResponse:
        """What was counted in the till is not what the ledger says: a correction, which another person decides."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied

        booked = {str(means): in_the_till(means) for means in Means}
        form = CountForm(request.POST or None, booked=booked)

        def propose(*, means: str, counted: Decimal, reason: str, **shown: Decimal) -> Done:
            try:
                row = propose_till(
                    means=means, counted=counted, booked=shown[f"booked_{means}"], reason=reason, by=staff(request)
                )
            except Refused:
                form.show_anew(booked)
                raise
            said = _("Correction de %s proposée\u00a0: une autre personne de l’agglomération en décide.")
            return Done(reverse("admin:wallet_correction_change", args=[row.pk]), said % euros(row.amount))

        question = Question(
            title=_("Corriger la caisse"),
            facts=[(_("%s, dans les comptes") % Means(means).label, euros(amount)) for means, amount in booked.items()],
            notes=[
                _("Comptez la caisse\u00a0: l’écart avec ce qui est écrit ici est porté en régularisation."),
                _("Un dépôt mal saisi se corrige aussi dans le porte-monnaie de la famille\u00a0: proposez les deux."),
            ],
            button=_("Proposer"),
            danger=False,
            cancel=self.url("changelist"),
            cancel_words=_("Ne rien corriger"),
        )
        return ask(self, request, question, form, propose)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: TillDeposit) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("état"))
    def state(self, obj: TillDeposit) -> str:
        """Where its money is: a slip may be read twice, of the deposit that was taken back and of the right one."""
        back = getattr(obj.movement, "reversed_by", None)
        return _("contre-passé le %s") % short_date(timezone.localdate(back.at)) if back else _("versé")
