"""« Mon porte-monnaie » : balance, movements, putting money in."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.views import current_user
from checkout.actions import TOP_UP_FEE, start_top_up
from checkout.forms import TopUpForm
from checkout.providers import card_providers
from checkout.views.providers import leave, may_leave
from portal.common.errors import Refused
from wallet.actions import wallet_of
from wallet.models import Entry, TopUpPack

PAGE_SIZE = 20


@may_leave
@require_http_methods(["GET", "HEAD", "POST"])
def wallet(request: HttpRequest) -> HttpResponse:
    """The balance, packs and a custom amount whose fee is said before paying, and the movements.

    A custom amount first comes back with its fee and total, to be confirmed before the bank is asked.
    """
    packs = list(TopUpPack.objects.filter(is_active=True))
    form = TopUpForm(request.POST or None, packs=[pack.amount for pack in packs])
    if request.method == "POST" and form.is_valid():
        custom = form.cleaned_data["pack"] == TopUpForm.CUSTOM
        if custom and "confirmed" not in request.POST and form.chosen not in {pack.amount for pack in packs}:
            # An address of its own, so that going back from the bank shows it again.
            return redirect(f"{reverse('wallet_deposit')}?montant={form.chosen}")
        try:
            return leave(
                request,
                start_top_up(user=current_user(request), amount=form.chosen, card=form.cleaned_data["card"]),
            )
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
            return redirect("wallet")
    mine = wallet_of(current_user(request))
    page = Paginator(Entry.objects.of_wallet(mine), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "wallet": mine,
        "packs": packs,
        "form": form,
        "fee": TOP_UP_FEE,
        "page": page,
        "movements": [(row, timezone.localdate(row.movement.at)) for row in page.object_list],
        "cards": card_providers(),
    }
    return render(request, "wallet/wallet.html", context, status=422 if form.errors else 200)


@may_leave
@require_safe
def deposit(request: HttpRequest) -> HttpResponse:
    """A custom amount (`montant`) with its fee and its total, to be confirmed before the bank is asked."""
    form = TopUpForm({"pack": TopUpForm.CUSTOM, "amount": request.GET.get("montant", "")}, packs=[])
    if not form.is_valid():
        return redirect("wallet")
    confirm = {"amount": form.chosen, "fee": TOP_UP_FEE, "total": form.chosen + TOP_UP_FEE}
    return render(request, "wallet/confirm.html", {"confirm": confirm, "cards": card_providers()})
