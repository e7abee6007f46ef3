"""« Mon porte-monnaie » : balance, movements, putting money in and taking it back."""

from collections.abc import Sequence
from decimal import Decimal

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from schwifty import IBAN

from accounts.models import User
from accounts.views import current_user
from checkout.actions import fee_of, start_top_up
from checkout.forms import TopUpForm
from checkout.models import Regie
from checkout.movements import orders_behind
from checkout.papers.statements import Shown, span, statement
from checkout.providers import card_providers
from checkout.suggestion import suggestion
from checkout.views.providers import leave, may_leave
from checkout.wallet_forms import MovementFilter, WithdrawalForm, last_months
from portal.common.errors import Refused
from portal.common.exports import Cell, as_csv
from portal.common.formats import euros, today
from wallet.actions import wallet_of
from wallet.models import Entry, TopUpPack, Wallet
from wallet.withdrawals.actions import ask_withdrawal, cancel_withdrawal
from wallet.withdrawals.models import Withdrawal

PAGE_SIZE = 20
MOST_IN_A_FILE = 5000
MOST_ON_PAPER = 500
# Under which the session keeps a request for credits that is not sent yet.
WITHDRAWAL = "withdrawal"


@may_leave
@require_http_methods(["GET", "HEAD", "POST"])
def wallet(request: HttpRequest) -> HttpResponse:
    """The balance, packs and a custom amount whose fee is said before paying, and the movements.

    A custom amount first comes back with its fee and total, to be confirmed before the bank is asked.
    """
    packs = list(TopUpPack.objects.filter(is_active=True))
    regie = Regie.objects.current()
    form = TopUpForm(request.POST or None, packs=[pack.amount for pack in packs], regie=regie)
    if request.method == "POST" and form.is_valid():
        # An address of its own, so that going back from the bank shows it again.
        confirm = f"{reverse('wallet_deposit')}?montant={form.chosen}"
        if form.total is None:
            return redirect(confirm)
        try:
            return leave(
                request,
                start_top_up(
                    user=current_user(request),
                    amount=form.chosen,
                    shown_total=form.total,
                    card=form.cleaned_data["card"],
                ),
            )
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
            return redirect(confirm if refusal.code == "changed" else "wallet")
    mine = _mine(current_user(request))
    chosen = MovementFilter(request.GET, mine)
    page = Paginator(chosen.rows(Entry.objects.of_wallet(mine)), PAGE_SIZE).get_page(request.GET.get("page"))
    asked = Withdrawal.objects.of(current_user(request)).first()
    running = asked is not None and asked.is_running
    context = {
        "wallet": mine,
        "packs": packs,
        "form": form,
        "fee": regie.top_up_fee,
        "page": page,
        "filter": chosen,
        "movements": _shown(list(page.object_list)),
        "cards": card_providers(),
        # Not to who has just asked for the money back.
        "suggestion": None if running else suggestion(mine, packs),
        "withdrawal": asked,
        "withdrawal_status": _told(asked) if asked else "",
        "running": running,
        "query": urlencode({name: request.GET[name] for name in chosen.fields if request.GET.get(name)}),
    }
    return render(request, "wallet/wallet.html", context, status=422 if form.errors else 200)


def _mine(user: User) -> Wallet:
    """The person's wallet, with the months to choose from."""
    rows = Wallet.objects.with_months(since=last_months(today())[-1])
    return rows.filter(user=user).first() or wallet_of(user)


def _told(asked: Withdrawal) -> str:
    """How a request stands, to who has made it."""
    own = {
        Withdrawal.Status.CANCELLED: _("retirée par vous"),
        Withdrawal.Status.REQUESTED: _("en attente d’accord"),
    }
    return own.get(Withdrawal.Status(asked.status)) or asked.get_status_display().lower()


def _shown(entries: Sequence[Entry]) -> list[Shown]:
    """Each entry with its day, and the order that it comes from."""
    orders = orders_behind([entry.movement for entry in entries])
    return [(entry, timezone.localdate(entry.movement.at), orders.get(entry.movement_id)) for entry in entries]


@require_safe
def movements_file(request: HttpRequest) -> HttpResponse:
    """The movements that the filters show, as a CSV that a spreadsheet opens; of one month between its two balances."""
    heads = [_("Date"), _("Nature"), _("Libellé"), _("Commande"), _("Montant"), _("Solde")]
    mine = _mine(current_user(request))
    chosen = MovementFilter(request.GET, mine)
    shown, is_cut = _chosen(mine, chosen, MOST_IN_A_FILE)
    rows: list[list[Cell]] = [
        [
            date,
            entry.nature,
            entry.movement.label,
            order.number if order else "",
            entry.amount,
            entry.balance_after,
        ]
        for entry, date, order in shown
    ]
    if chosen.month is not None:
        month = span(mine, chosen.month, shown, is_cut=is_cut)
        rows.insert(0, [month.last, "", _("Solde à la fin"), "", None, month.closing])
        rows.append([month.first, "", _("Solde au début"), "", None, month.opening])
    return as_csv(_("porte-monnaie"), heads, rows)


@require_safe
def movements_pdf(request: HttpRequest) -> HttpResponse:
    """The same on paper, MOST_ON_PAPER at most."""
    user = current_user(request)
    mine = _mine(user)
    chosen = MovementFilter(request.GET, mine)
    shown, is_cut = _chosen(mine, chosen, MOST_ON_PAPER)
    notes = []
    if chosen.cleaned_data.get("nature"):
        notes.append(_("Seuls les mouvements de cette nature sont listés et comptés dans les entrées et les sorties."))
    if is_cut:
        notes.append(
            _("Seuls les %d derniers mouvements sont listés : choisissez un mois pour les autres.") % len(shown)
        )
    file = statement(
        user=user,
        shown=shown,
        span=span(mine, chosen.month, shown, is_cut=is_cut),
        chosen=chosen.words,
        notes=notes,
    )
    response = HttpResponse(file, content_type="application/pdf")
    response["Content-Disposition"] = 'attachment; filename="porte-monnaie.pdf"'
    return response


def _chosen(mine: Wallet, chosen: MovementFilter, most: int) -> tuple[list[Shown], bool]:
    """The movements that pass, `most` of them, and whether there are more."""
    found = list(chosen.rows(Entry.objects.of_wallet(mine))[: most + 1])
    return _shown(found[:most]), len(found) > most


@require_http_methods(["GET", "HEAD", "POST"])
def withdraw(request: HttpRequest) -> HttpResponse:
    """How many credits go back to which bank account; what was typed is shown again before it is sent."""
    user = current_user(request)
    balance = wallet_of(user).balance
    if elsewhere := _nothing_to_ask(request, balance):
        return elsewhere
    start = {"amount": balance, "holder": user.get_full_name()}
    typed = request.POST if request.method == "POST" else request.session.get(WITHDRAWAL)
    form = WithdrawalForm(typed, balance=balance, debtor=Regie.objects.current().debtor, initial=start)
    if request.method == "POST" and form.is_valid():
        # An IBAN does not stand in an address: the session keeps it until the request is sent.
        request.session[WITHDRAWAL] = {name: form.data[name] for name in form.fields}
        return redirect("wallet_withdraw_check")
    status = 422 if request.method == "POST" else 200
    return render(request, "wallet/withdraw.html", {"form": form, "balance": balance}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def withdraw_check(request: HttpRequest) -> HttpResponse:
    """What was typed, to be confirmed (GET), then sent to the agglomération (POST) and forgotten here.

    Sent is what the page showed: when another tab has typed something else since, that is shown instead.
    """
    user = current_user(request)
    balance = wallet_of(user).balance
    if elsewhere := _nothing_to_ask(request, balance):
        return elsewhere
    debtor = Regie.objects.current().debtor
    form = WithdrawalForm(request.session.get(WITHDRAWAL), balance=balance, debtor=debtor)
    if not form.is_valid():  # nothing typed, or the wallet holds less by now
        return redirect("wallet_withdraw")
    asked = form.cleaned_data
    if request.method == "POST" and not form.was_shown(request.POST.get("seal", "")):
        messages.warning(
            request,
            _("Une autre demande a été écrite entre-temps, dans un autre onglet : la voici. Rien n’a été envoyé."),
        )
        return redirect("wallet_withdraw_check")
    if request.method == "POST":
        try:
            ask_withdrawal(user=user, debtor=debtor, **asked)
        except Refused as refusal:
            for text in refusal.messages:
                messages.error(request, text)
        else:
            del request.session[WITHDRAWAL]
            messages.success(
                request,
                _("Votre demande est partie : %s ont quitté votre porte-monnaie et vous seront virés après accord.")
                % euros(asked["amount"]),
            )
        return redirect("wallet")
    is_for_another = Withdrawal(user=user, **asked).is_for_another
    context = {
        "asked": asked,
        "iban": IBAN(asked["iban"]).formatted,
        "seal": form.seal,
        "is_for_another": is_for_another,
    }
    return render(request, "wallet/withdraw_confirm.html", context)


def _nothing_to_ask(request: HttpRequest, balance: Decimal) -> HttpResponse | None:
    """Back to the wallet, with the reason, while a request runs and when there is nothing to take back."""
    running = Withdrawal.objects.of(current_user(request)).running().exists()
    if not running and balance:
        return None
    request.session.pop(WITHDRAWAL, None)
    messages.info(
        request,
        _("Une demande de remboursement est déjà en cours.") if running else _("Votre porte-monnaie est vide."),
    )
    return redirect("wallet")


@require_POST
def withdraw_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back a request that nobody has granted yet."""
    user = current_user(request)
    found = get_object_or_404(Withdrawal.objects.of(user), pk=pk)
    try:
        cancel_withdrawal(withdrawal=found, by=user)
    except Refused as refusal:
        for text in refusal.messages:
            messages.error(request, text)
    else:
        messages.success(request, _("Demande retirée : la somme est de nouveau dans votre porte-monnaie."))
    return redirect("wallet")


@may_leave
@require_safe
def deposit(request: HttpRequest) -> HttpResponse:
    """A custom amount (`montant`) with its fee and its total, to be confirmed before the bank is asked."""
    regie = Regie.objects.current()
    form = TopUpForm({"pack": TopUpForm.CUSTOM, "amount": request.GET.get("montant", "")}, packs=[], regie=regie)
    if not form.is_valid():
        for texts in form.errors.values():
            for text in texts:
                messages.error(request, str(text))
        return redirect("wallet")
    fee = fee_of(form.chosen)
    confirm = {"amount": form.chosen, "fee": fee, "total": form.chosen + fee}
    return render(request, "wallet/confirm.html", {"confirm": confirm, "cards": card_providers()})
