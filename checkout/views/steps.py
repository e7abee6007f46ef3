"""The five steps of an order. Each shows itself only when those before it are answered."""

import datetime as dt

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.forms import AddressForm
from accounts.models import Address, Terms, User
from accounts.views import current_user
from checkout.actions import Means, accept_sale_terms, choose_address, pay
from checkout.actions.cart import being_paid
from checkout.forms import PayForm, TermsForm
from checkout.models import Order, Payment
from checkout.providers import card_providers
from checkout.summary import CartSummary
from checkout.views.cart import keep_longer
from checkout.views.providers import leave, may_leave
from checkout.vouchers.views import voucher_form
from portal.common.errors import Refused
from portal.common.money import ZERO
from wallet.actions import wallet_of

JUST_PAID = dt.timedelta(minutes=30)

# Where a refused payment leads; anywhere else the person chooses again how to pay.
AFTER_REFUSAL = {
    **dict.fromkeys(["expired", "empty", "no_cart", "changed", "closed", "no_access", "not_yours"], "cart"),
    "no_terms": "checkout_terms",
}

SUMMARY, LOGIN, ADDRESS, TERMS, PAYMENT = 1, 2, 3, 4, 5


def _cart(user: User) -> CartSummary | None:
    """The cart that can be ordered: something in it, and its places still kept."""
    return _orderable(CartSummary.of(user))


def _orderable(cart: CartSummary | None) -> CartSummary | None:
    return None if cart is None or not cart.groups or cart.expired else cart


def _done(cart: CartSummary) -> list[int]:
    """The steps with nothing left to ask."""
    done = [LOGIN]
    if cart.cart.address_id:
        done.append(ADDRESS)
    if cart.cart.terms_id:
        done.append(TERMS)
    return done


def _next(cart: CartSummary) -> str:
    """The name of the page that asks what is still to be asked (seed 001 goes from 01 to 04 when the address is known)."""
    done = _done(cart)
    if ADDRESS not in done:
        return "checkout_address"
    return "checkout_payment" if TERMS in done else "checkout_terms"


@require_safe
def summary(request: HttpRequest) -> HttpResponse:
    """01 Récapitulatif."""
    cart = _cart(current_user(request))
    if cart is None:
        return redirect("cart")
    context = {
        "cart": cart,
        "editable": cart.pending is None,
        "form": voucher_form(request),
        "next": _next(cart),
        "checkout_step": SUMMARY,
        "checkout_done": _done(cart),
    }
    return render(request, "checkout/summary.html", context)


@login_not_required
@require_safe
def login(request: HttpRequest) -> HttpResponse:
    """02 Connexion: nothing to ask of somebody who is signed in."""
    if not request.user.is_authenticated:
        return redirect(f"{reverse('account_login')}?next={reverse('checkout_summary')}")
    cart = _cart(current_user(request))
    return redirect("cart" if cart is None else _next(cart))


@require_http_methods(["GET", "HEAD", "POST"])
def address(request: HttpRequest) -> HttpResponse:
    """03 Adresse: one of the person's addresses, or a new one."""
    prolongs = _prolongs(request)
    cart = _cart(current_user(request))
    if cart is None:
        return redirect("cart")
    if cart.pending:
        return _placed(request)
    addresses = list(Address.objects.of(current_user(request)))
    new = Address(user=current_user(request))
    sent = request.POST.get("address", "")
    chosen = next((row for row in addresses if str(row.pk) == sent), None)
    if prolongs:
        form = AddressForm(initial=request.POST.dict(), instance=new)
    else:
        form = AddressForm(request.POST or None, instance=new)
    if request.method == "POST" and not prolongs:
        if chosen is None and sent:
            messages.error(request, _("Cette adresse n’est pas une des vôtres : choisissez-en une dans la liste."))
            return redirect("checkout_address")
        if chosen is None and form.is_valid():
            chosen = form.save()
        if chosen is not None:
            choose_address(user=current_user(request), address=chosen)
            return redirect("checkout_payment" if TERMS in _done(cart) else "checkout_terms")
    context = {
        "cart": cart,
        "addresses": addresses,
        "form": form,
        "typed": prolongs and chosen is None,
        "chosen": (chosen.pk if chosen else None) or cart.cart.address_id or (addresses[0].pk if addresses else None),
        "checkout_step": ADDRESS,
        "checkout_done": _done(cart),
    }
    return render(request, "checkout/address.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def terms(request: HttpRequest) -> HttpResponse:
    """04 Conditions générales de vente, accepted in their current version."""
    prolongs = _prolongs(request)
    cart = _cart(current_user(request))
    if cart is None:
        return redirect("cart")
    if cart.pending:
        return _placed(request)
    if cart.cart.address_id is None:
        return redirect("checkout_address")
    current = Terms.objects.newest(Terms.Kind.SALE).first()
    if current is None:
        raise Refused(
            _("Les conditions générales de vente ne sont pas encore publiées : la commande n’est pas possible."),
            _("Rien n’a été débité ; adressez-vous à l’agglomération."),
            code="no_terms",
        )
    form = TermsForm(None if prolongs else request.POST or None, in_force=current)
    if prolongs:
        form.initial["accept"] = "accept" in request.POST and request.POST.get("terms") == str(current.pk)
    if request.method == "POST" and form.is_valid():
        accept_sale_terms(user=current_user(request), terms=current)
        return redirect("checkout_payment")
    context = {"cart": cart, "form": form, "terms": current, "checkout_step": TERMS, "checkout_done": _done(cart)}
    return render(request, "checkout/terms.html", context, status=422 if form.errors else 200)


def _prolongs(request: HttpRequest) -> bool:
    """Whether a step's form was sent by « Garder mes places… »: they are, and what was typed is to be shown again."""
    if "prolong" not in request.POST:
        return False
    keep_longer(request)
    return True


def _placed(request: HttpRequest) -> HttpResponse:
    """An order that waits for its payment keeps the answers that it was placed with."""
    messages.error(request, being_paid())
    return redirect("checkout_payment")


@may_leave
@require_http_methods(["GET", "HEAD", "POST"])
def payment(request: HttpRequest) -> HttpResponse:
    """05 Paiement."""
    if request.method == "POST":
        return _pay(request)
    current = CartSummary.of(current_user(request))
    cart = _orderable(current)
    if cart is None:
        # Who has something in a cart means that one, though its places are no longer kept, and no order of a moment ago.
        is_back = current is None or current.is_empty
        return (_already_paid(request) if is_back else None) or redirect("cart")
    missing = _next(cart)
    return _payment_page(request, cart) if missing == "checkout_payment" else redirect(missing)


def _already_paid(request: HttpRequest) -> HttpResponse | None:
    """Somebody who goes back after paying is shown the order that was paid a moment ago."""
    paid = Order.objects.filter(user=current_user(request), kind=Order.Kind.BOOKING, status=Order.Status.PAID)
    order = paid.filter(paid_at__gte=timezone.now() - JUST_PAID).order_by("-paid_at").first()
    if order is None:
        return None
    messages.info(request, _("Cette commande est déjà payée : rien ne sera débité une seconde fois."))
    return redirect(order)


def _pay(request: HttpRequest) -> HttpResponse:
    form = PayForm(request.POST)
    if not form.is_valid():
        cart = _cart(current_user(request))
        if cart is None:
            return redirect("cart")
        if set(form.errors) - {"means"}:  # what no page of ours sends
            messages.error(
                request, _("Cette page n’était plus à jour : vérifiez votre commande, puis payez. Rien n’a été débité.")
            )
            return redirect("checkout_payment")
        return _payment_page(request, cart, form, status=422)
    data = form.cleaned_data
    means, card = data["means"]
    try:
        started = pay(
            user=current_user(request), cart_id=data["cart"], means=means, shown_total=data["total"], card=card
        )
    except Refused as refusal:
        for text in refusal.messages:
            messages.error(request, text)
        return redirect(AFTER_REFUSAL.get(refusal.code, "checkout_payment"))
    if started.was_paid:
        _say_who_paid(request, started.order, means)
    return leave(request, started)


def _say_who_paid(request: HttpRequest, order: Order, means: Means) -> None:
    """Who presses again is told when the card of an earlier try had paid, without our hearing of it until now."""
    paid = list(order.payments.filter(status=Payment.Status.CAPTURED))
    if all(payment.is_wallet or payment.is_counter for payment in paid):
        return
    untouched = means == Means.WALLET and not any(payment.is_wallet for payment in paid)
    messages.info(
        request,
        _("Votre carte avait déjà payé cette commande : votre porte-monnaie n’a pas été débité.")
        if untouched
        else _("Votre carte avait déjà payé cette commande : rien n’est débité une seconde fois."),
    )


def _payment_page(
    request: HttpRequest, cart: CartSummary, form: PayForm | None = None, status: int = 200
) -> HttpResponse:
    # What an earlier try set aside is given back when the person chooses again: it counts as theirs.
    reserved = cart.pending.reserved if cart.pending else ZERO
    balance = wallet_of(current_user(request)).balance + reserved
    context = {
        "cart": cart,
        "form": form,
        "balance": balance,
        "reserved": reserved,
        "wallet_covers": balance >= cart.total,
        "left": balance - cart.total,
        "missing": cart.total - balance,
        "rest": cart.total - balance if ZERO < balance < cart.total else ZERO,
        "cards": card_providers(),
        "checkout_step": PAYMENT,
        "checkout_done": _done(cart),
    }
    return render(request, "checkout/payment.html", context, status=status)
