"""The fictitious bank: a page where the visitor plays the card holder and the network's moods.

It knows the platform only by the signed fields it is sent and by the addresses in them; the notification leaves from a
worker by HTTP, as a real provider's would: at once, late, twice or never.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from checkout.providers.base import Forged
from checkout.providers.demo import sign, verify
from portal.common.money import ZERO
from portal.demo.models import BankPayment, BankRefund
from portal.demo.tasks import notify

LATE = dt.timedelta(seconds=30)


class CardForm(forms.Form):
    """What the visitor lets happen."""

    outcome = forms.ChoiceField(choices=BankPayment.Outcome.choices[1:])
    notification = forms.ChoiceField(
        label=_("Notification de la banque à la plateforme"),
        choices=[
            ("now", _("tout de suite")),
            ("late", _("30 secondes plus tard")),
            ("twice", _("deux fois")),
            ("never", _("jamais")),
        ],
    )
    stay = forms.BooleanField(label=_("Fermer le navigateur : ne pas revenir sur la plateforme"), required=False)


@csrf_exempt
@login_not_required
@require_http_methods(["GET", "POST"])
def pay(request: HttpRequest) -> HttpResponse:
    """Show the payment that the signed address announces; a POST decides it and goes back."""
    try:
        fields = verify(request.GET.dict())
    except Forged as error:
        raise Http404 from error
    known = BankPayment.objects.filter(reference=fields["reference"]).first()
    if request.method == "GET":
        form = CardForm(initial={"notification": "now"})
        return render(
            request,
            "demo/bank.html",
            {"form": form, "payment": fields, "amount": Decimal(fields["amount"]), "known": known},
        )
    form = CardForm(request.POST)
    if not form.is_valid():
        return render(
            request,
            "demo/bank.html",
            {"form": form, "payment": fields, "amount": Decimal(fields["amount"]), "known": known},
            status=422,
        )
    payment = _decide(fields, form.cleaned_data)
    _schedule(payment, form.cleaned_data["notification"])
    if form.cleaned_data["stay"]:
        return render(request, "demo/bank_left.html", {"payment": payment})
    return redirect(f"{payment.return_url}?{urlencode(statement(payment))}")


@login_not_required
@require_safe
def status(request: HttpRequest, reference: str) -> HttpResponse:
    """How a payment stands, signed, for whoever asks with its unguessable reference."""
    return JsonResponse(statement(get_object_or_404(BankPayment, reference=reference)))


@csrf_exempt
@login_not_required
@require_POST
def refund(request: HttpRequest) -> HttpResponse:
    """Pay back a part of a captured payment, signed on both sides; the same key pays once."""
    try:
        fields = verify(request.POST.dict())
    except Forged as error:
        raise Http404 from error
    with transaction.atomic():
        payment = get_object_or_404(BankPayment.objects.select_for_update(), reference=fields["reference"])
        done = BankRefund.objects.filter(key=fields["key"]).first()
        if done is None:
            amount = Decimal(fields["amount"])
            before = payment.refunds.aggregate(sum=Sum("amount"))["sum"] or ZERO
            if payment.outcome != BankPayment.Outcome.CAPTURED or before + amount > payment.amount:
                return JsonResponse(sign({"refused": "more than was paid"}))
            done = BankRefund.objects.create(payment=payment, key=fields["key"], amount=amount)
    return JsonResponse(sign({"refund_reference": done.bank_reference}))


def statement(payment: BankPayment) -> dict[str, str]:
    """The bank's signed statement about a payment."""
    return sign(
        {
            "reference": payment.reference,
            "outcome": payment.outcome,
            "amount": str(payment.amount),
            "bank_reference": payment.bank_reference,
        }
    )


@transaction.atomic
def _decide(fields: Mapping[str, str], choice: Mapping[str, Any]) -> BankPayment:
    payment, _created = BankPayment.objects.select_for_update().get_or_create(
        reference=fields["reference"],
        defaults={name: fields[name] for name in ("amount", "label", "return_url", "notify_url")},
    )
    if payment.outcome != BankPayment.Outcome.CAPTURED:  # a card is not charged twice for one reference
        payment.outcome = choice["outcome"]
        payment.save()
    payment.refresh_from_db()
    return payment


def _schedule(payment: BankPayment, mood: str) -> None:
    copies = {"now": 1, "late": 1, "twice": 2, "never": 0}[mood]
    countdown = LATE.total_seconds() if mood == "late" else 0
    for _copy in range(copies):
        transaction.on_commit(lambda: notify.apply_async(args=(payment.pk,), countdown=countdown), robust=True)
