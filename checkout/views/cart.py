"""The cart."""

from collections.abc import Sequence

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from accounts.views import current_user
from checkout.actions import abandon_order, prolong_hold, recover_places, remove_lines
from checkout.forms import keys
from checkout.models import Cart, CartLine, Order, Payment
from checkout.summary import CartSummary
from checkout.vouchers.reading import reductions_now
from checkout.vouchers.rules import Reduction
from checkout.vouchers.views import voucher_form
from portal.common.coming_back import page_before
from portal.common.errors import Refused
from portal.common.formats import enumeration
from services.models import Activity


@login_not_required
@require_safe
def cart(request: HttpRequest) -> HttpResponse:
    """What is in the cart, until when its places are kept, and how to go on."""
    summary = CartSummary.of(current_user(request)) if request.user.is_authenticated else None
    # The confirmation of « Ajouter au panier » holds the next actions; the page then does not say them twice.
    just_added = any("added" in message.tags for message in messages.get_messages(request))
    context = {"cart": summary, "just_added": just_added, "form": voucher_form(request)}
    return render(request, "checkout/cart.html", context)


@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    """Take some lines (fields `line`) out of the cart."""
    ids = keys(request.POST.getlist("line"))
    if not ids:
        messages.info(request, _("Cochez d’abord les dates à retirer."))
        return redirect(page_before(request, otherwise="cart"))
    user = current_user(request)
    before = reductions_now(user)
    try:
        removed = remove_lines(user=user, ids=ids)
    except Refused as refusal:  # its order is being paid, in another window
        for text in refusal.messages:
            messages.error(request, text)
        return redirect(page_before(request, otherwise="cart"))
    if not removed:
        messages.info(request, _("Ces dates ne sont plus dans votre panier."))
        return redirect(page_before(request, otherwise="cart"))
    messages.success(
        request,
        ngettext("%d réservation a quitté votre panier.", "%d réservations ont quitté votre panier.", removed)
        % removed,
    )
    if before:
        _say_what_ended(request, before, reductions_now(user))
    return redirect(page_before(request, otherwise="cart"))


def _say_what_ended(request: HttpRequest, before: Sequence[Reduction], now: Sequence[Reduction]) -> None:
    """Name the vouchers that took something off until some lines left the cart, and why they no longer do.

    What stays in a cart that is empty now is said too: it would act on the next order unasked.
    """
    kept = [row.voucher.code for row in now if row.code == "empty"]
    if kept:
        sentence = ngettext(
            "Le bon %s reste dans votre panier : il servira à ce que vous y mettrez.",
            "Les bons %s restent dans votre panier : ils serviront à ce que vous y mettrez.",
            len(kept),
        )
        messages.info(request, sentence % enumeration(kept))
    applied = {row.voucher.pk for row in before if row.amount}
    for row in now:
        if not row.amount and row.voucher.pk in applied and row.code != "empty":
            words = {"code": row.voucher.code, "reason": row.reason}
            messages.warning(request, _("Le bon %(code)s n’est plus appliqué. %(reason)s") % words)


@require_POST
def recover(request: HttpRequest) -> HttpResponse:
    """Hold the places again that ran out of time; what could not be had is named, with the way to its activity."""
    user = current_user(request)
    waited = {
        line.pk: line.item.slot.activity_id
        for line in CartLine.objects.filter(cart__in=Cart.objects.live().filter(user=user)).select_related(
            "booking__slot", "ticket__slot"
        )
    }
    try:
        lost = recover_places(user=user)
    except Refused as refusal:  # its order is being paid, in another window
        for text in refusal.messages:
            messages.error(request, text)
        return redirect(page_before(request, otherwise="cart"))
    there = set(CartLine.objects.filter(pk__in=waited).values_list("pk", flat=True))
    gone = {activity for pk, activity in waited.items() if pk not in there}
    elsewhere = Activity.objects.open().filter(pk__in=gone).select_related("service").order_by("name", "pk")
    ways = format_html_join(
        "",
        '<br><a href="{}">{}</a>',
        (
            (row.get_absolute_url(), _("%s\u00a0: choisir d’autres dates, ou attendre une place") % row)
            for row in elsewhere
        ),
    )
    for sentence in lost:
        messages.warning(request, format_html("{}{}", sentence, ways))
    if not lost:
        messages.success(request, _("Vos places sont de nouveau gardées."))
    return redirect(page_before(request, otherwise="cart"))


@require_POST
def prolong(request: HttpRequest) -> HttpResponse:
    """Keep the cart's places a quarter of an hour longer, once."""
    keep_longer(request)
    return redirect(page_before(request, otherwise="cart"))


def keep_longer(request: HttpRequest) -> None:
    """The same for a page that comes back by itself, with what was typed on it; until when, or why not, is said there."""
    try:
        prolong_hold(user=current_user(request))
    except Refused as refusal:
        for text in refusal.messages:
            messages.warning(request, text)
    else:
        messages.success(
            request, _("C’est fait\u00a0: le délai de vos places est prolongé.")
        )  # until when, every step says


@require_POST
def abandon(request: HttpRequest, reference: str) -> HttpResponse:
    """Give up paying an order and open its cart again."""
    order = get_object_or_404(Order.objects.of(current_user(request)), reference=reference)
    if not abandon_order(user=current_user(request), order=order):
        messages.success(request, _("La banque vient de confirmer votre paiement : la commande est payée."))
        return redirect(order)
    if order.payments.filter(status=Payment.Status.CREDITED).exists():
        return redirect(order)  # its page says that the bank's money is in the wallet
    if order.kind == Order.Kind.TOP_UP:
        messages.info(request, _("Le dépôt est abandonné : votre porte-monnaie n’a pas changé."))
        return redirect("wallet")
    messages.info(
        request,
        _("Le règlement est abandonné et votre panier de nouveau ouvert. La banque ne nous a confirmé aucun débit."),
    )
    return redirect("cart")
