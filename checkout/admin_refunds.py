"""Refunds to cards for the agglomération: what is on its way, what failed, and the page that decides one."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.models import Payment, Refund
from checkout.refunds.actions import back_to_wallet, check_not_own, left_of, refund_to_card
from checkout.refunds.models import new_refund_reference
from portal.common.errors import Refused
from portal.common.formats import euros, moment, of
from portal.common.forms import AmountField
from portal.common.money import ZERO
from wallet.actions import wallet_of

# A refund that the provider has not made by then is looked at by somebody.
SLOW = dt.timedelta(days=1)


class RefundForm(forms.Form):
    amount = AmountField(
        label=gettext_lazy("Montant à rendre, en euros"),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 10}),
        error_messages={
            "required": gettext_lazy("Écrivez le montant à rendre, par exemple 7,90."),
            "invalid": gettext_lazy("Écrivez le montant en chiffres, par exemple 7,90."),
        },
    )
    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("La personne le lira dans les mouvements de son porte-monnaie."),
        max_length=120,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif\u00a0: la personne le lira.")},
    )
    # What the page is known by: pressed twice, its money goes back once.
    reference = forms.CharField(widget=forms.HiddenInput, initial=new_refund_reference, required=False)

    def clean_reference(self) -> str:
        sent: str = self.cleaned_data["reference"]
        return sent if re.fullmatch(r"[A-Z0-9]{20}", sent) else ""


class GiveUpForm(forms.Form):
    # The status that the page showed: the worker may hear from the provider while somebody reads it.
    seen = forms.CharField(widget=forms.HiddenInput)
    note = forms.CharField(
        label=gettext_lazy("Ce que le prestataire a répondu"),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez ce que le prestataire a répondu\u00a0: c’est la preuve.")},
    )


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/checkout/refund/change_form.html"
    list_display = ["created_at", "order_number", "person", "sum", "status", "ended_at"]
    list_filter = ["status"]
    list_select_related = ["payment__order__user"]
    date_hierarchy = "created_at"
    search_fields = ["reference", "provider_reference", "payment__reference", "payment__order__user__last_name"]
    ordering = ["-created_at", "-pk"]
    fields = [
        *("payment", "order_number", "person", "sum", "reason", "status", "by", "created_at", "ended_at"),
        *("reference", "provider_reference", "note"),
    ]
    readonly_fields = ["order_number", "person", "sum"]

    def label_for(self, obj: Refund) -> str:
        return _("Remboursement de %(sum)s, commande %(number)s") % {
            "sum": euros(obj.amount),
            "number": obj.payment.order.number,
        }

    def get_urls(self) -> list[Any]:
        return [
            path("rendre/<int:payment>/", self.guarded(self.new_view), name="checkout_refund_new"),
            path("<int:pk>/porter/", self.guarded(self.give_up_view), name="checkout_refund_give_up"),
            *super().get_urls(),
        ]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        late = Refund.objects.filter(status=Refund.Status.REQUESTED, created_at__lt=timezone.now() - SLOW).count()
        words = ngettext("Remboursement sur carte qui tarde", "Remboursements sur carte qui tardent", late or 2)
        return [Todo(words, late, self.url("changelist") + "?status__exact=requested")]

    def story(self, request: HttpRequest, obj: Refund) -> list[Happening]:
        words = {"sum": euros(obj.amount), "reason": obj.reason}
        facts = [
            (obj.created_at, obj.by_id, _("Demandé\u00a0: %(sum)s, %(reason)s.") % words),
            (obj.ended_at, None, f"{obj.get_status_display()}. {obj.note}".strip()),
        ]
        return told(staff(request), facts)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        may = obj.status != Refund.Status.FAILED and self.may(request, Right.DECIDE, obj)
        context["give_up_words"] = _("Renvoyé par la banque…") if obj.ended_at else _("Porter au porte-monnaie…")
        context["give_up_url"] = reverse("admin:checkout_refund_give_up", args=[obj.pk]) if may else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def new_view(self, request: HttpRequest, payment: int) -> HttpResponse:
        """How much of a card payment goes back to its card, from the payer's wallet, and why."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        found = get_object_or_404(Payment.objects.select_related("order__user"), pk=payment)
        if left := self.left_to_another(request, found, reverse("admin:checkout_payment_change", args=[found.pk])):
            return left
        most = min(left_of(found), wallet_of(found.order.user).balance)
        form = RefundForm(request.POST or None, initial={"amount": most or None})

        def give_back(*, amount: Decimal, reason: str, reference: str) -> Done:
            refund = refund_to_card(payment=found, amount=amount, reason=reason, by=staff(request), reference=reference)
            said = _("%(sum)s repartent vers la carte %(of_person)s. Le prestataire est prévenu.")
            words = {"sum": euros(refund.amount), "of_person": of(str(found.order.user))}
            return Done(self.url("change", refund.pk), said % words)

        question = Question(
            title=_("Rendre à la carte"),
            facts=[
                (_("Règlement"), f"{found.order}, {euros(found.amount)}, {found.get_status_display().lower()}"),
                (_("Usager"), found.order.user),
                (_("Peut encore revenir à la carte"), euros(left_of(found))),
                (_("Porte-monnaie de l’usager"), euros(wallet_of(found.order.user).balance)),
            ],
            notes=[
                _("La somme quitte le porte-monnaie de l’usager\u00a0: annulez d’abord ce qui doit l’être."),
                *([] if most > ZERO else [_("Rien ne peut être rendu à cette carte pour l’instant.")]),
            ],
            button=_("Rendre à la carte"),
            cancel=reverse("admin:checkout_payment_change", args=[found.pk]),
            cancel_words=_("Ne rien rendre"),
        )
        return ask(self, request, question, form, give_back)

    def give_up_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A refund that the provider will never make ends in the wallet."""
        found: Refund = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, found):
            raise PermissionDenied
        if left := self.left_to_another(request, found.payment, self.url("change", pk)):
            return left

        def give_up(*, note: str, seen: str) -> Done:
            back_to_wallet(refund=found, note=note, by=staff(request), seen=seen)
            said = _("%s sont de nouveau dans le porte-monnaie ; la personne est prévenue.") % euros(found.amount)
            return Done(self.url("change", pk), said)

        question = Question(
            title=_("Porter au porte-monnaie"),
            facts=[
                (_("Règlement"), found.payment.order),
                (_("Montant"), euros(found.amount)),
                (_("Demandé"), moment(found.created_at)),
            ],
            notes=[
                _(
                    "Le prestataire a rendu la somme à la carte le %s. Ne la portez au porte-monnaie que si la banque l’a renvoyée depuis\u00a0: sinon elle serait rendue deux fois."
                )
                % moment(found.ended_at)
                if found.ended_at
                else _(
                    "Vérifiez d’abord chez le prestataire que la carte n’a pas été recréditée\u00a0: sinon la somme serait rendue deux fois."
                ),
            ],
            button=_("Porter au porte-monnaie"),
            cancel=self.url("change", pk),
            cancel_words=_("Attendre encore"),
        )
        return ask(self, request, question, GiveUpForm(request.POST or None, initial={"seen": found.status}), give_up)

    def left_to_another(self, request: HttpRequest, payment: Payment, address: str) -> HttpResponse | None:
        """Back to where one came from, with why, when it is one's own family's card: said before anything is typed."""
        try:
            check_not_own(payment, staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(address)
        return None

    @admin.display(description=gettext_lazy("commande"))
    def order_number(self, obj: Refund) -> str:
        return obj.payment.order.number

    @admin.display(description=gettext_lazy("usager"), ordering="payment__order__user__last_name")
    def person(self, obj: Refund) -> str:
        return str(obj.payment.order.user)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: Refund) -> str:
        return euros(obj.amount)
