"""« Mon quotient familial », in the account."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.forms import ProofField
from accounts.views import current_user, get_or_post
from families.models import IncomeQuotient
from families.quotients import declare_quotient, withdraw_quotient
from portal.common.errors import Refused
from portal.common.formats import today

Status = IncomeQuotient.Status


class QuotientForm(forms.Form):
    value = forms.IntegerField(
        label=gettext_lazy("Quotient familial"),
        min_value=0,
        max_value=20000,
        help_text=gettext_lazy(
            "En euros, sans centimes, comme il est écrit sur l’attestation. Par exemple\u00a0: 820."
        ),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={
            "invalid": gettext_lazy("Écrivez un nombre entier, sans centimes, comme 820."),
            "min_value": gettext_lazy("Écrivez un nombre de 0 ou plus."),
            "max_value": gettext_lazy("Ce quotient est trop élevé\u00a0: vérifiez-le sur votre attestation."),
        },
    )
    proof = ProofField(label=gettext_lazy("Attestation de la CAF ou de la MSA"))


@get_or_post
def quotient(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = QuotientForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        try:
            declare_quotient(user=user, value=form.cleaned_data["value"], proof=form.cleaned_data["proof"], by=user)
        except Refused as refused:
            if refused.code == "one_quotient_to_verify":  # the page then shows that one instead of the form
                messages.error(request, " ".join(refused.messages))
                return redirect("quotient")
            form.add_error("proof", list(refused.messages))
        else:
            messages.success(request, _("Votre déclaration est bien arrivée. La mairie la vérifie et vous écrit."))
            return redirect("quotient")
    rows = list(IncomeQuotient.objects.of(user).select_related("document")[:20])
    now = today()
    return render(
        request,
        "families/quotient.html",
        {
            "form": form,
            "current": next((row for row in rows if row.status == Status.VALIDATED and _holds(row, now)), None),
            "pending": next((row for row in rows if row.status == Status.PENDING), None),
            "rows": [row for row in rows if row.status != Status.PENDING],
        },
    )


@require_POST
def quotient_withdraw(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    withdraw_quotient(user=user, by=user)
    messages.success(request, _("Votre déclaration est annulée."))
    return redirect("quotient")


def _holds(row: IncomeQuotient, date: object) -> bool:
    return row.valid.lower <= date and (row.valid.upper is None or date < row.valid.upper)
