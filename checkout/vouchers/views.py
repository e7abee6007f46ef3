"""Bons de réduction: entering and taking out a code, and « Mes bons de réduction »."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from accounts.views import current_user
from checkout.forms import VoucherForm
from checkout.models import Cart
from checkout.vouchers.actions import enter_code, remove_code
from checkout.vouchers.models import CartVoucher, Voucher, VoucherUse
from checkout.vouchers.reading import SCOPES
from checkout.vouchers.words import conditions, standing, worth
from portal.common.coming_back import page_before
from portal.common.errors import Refused
from portal.common.formats import euros

USES_SHOWN = 50


AT_THE_FIELD = "at-voucher"  # tag of a message that base.html leaves to the field


def page_with_field(request: HttpRequest) -> str:
    """The page to come back to, if codes are typed there, or else the cart."""
    page = page_before(request, otherwise="cart")
    return page if page in {reverse("cart"), reverse("checkout_summary")} else reverse("cart")


def voucher_form(request: HttpRequest) -> VoucherForm:
    """The field for a code as a page of the cart shows it: with what was typed before, and why it was refused."""
    refused = [str(row) for row in messages.get_messages(request) if AT_THE_FIELD in row.tags.split()]
    return VoucherForm(request.GET.get("bon", ""), refused)


@require_POST
def enter(request: HttpRequest) -> HttpResponse:
    """Enter a code (field `code`) in the cart; what was refused comes back beside the field, with what was typed."""
    typed = request.POST.get("code", "")[:60]
    try:
        found = enter_code(user=current_user(request), code=typed)
    except Refused as refusal:
        lines = Cart.objects.live().filter(user=current_user(request), lines__isnull=False)
        if refusal.code == "being_paid" or not lines.exists():  # a page without the field
            messages.error(request, refusal.messages[0])
            return redirect(page_before(request, otherwise="cart"))
        messages.error(request, refusal.messages[0], extra_tags=AT_THE_FIELD)
        return redirect(f"{page_with_field(request)}?{urlencode({'bon': typed})}#voucher-code")
    if found.reason:
        messages.warning(
            request,
            _("Bon %(code)s gardé dans votre panier, non appliqué pour l’instant. %(why)s")
            % {"code": found.voucher.code, "why": found.reason},
        )
    else:
        words = {"code": found.voucher.code, "amount": euros(found.amount)}
        added = _("Bon %(code)s ajouté : %(amount)s de moins.") % words
        messages.success(request, " ".join(filter(None, (added, found.no_change))))
    return redirect(page_before(request, otherwise="cart"))


@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    """Take a code (field `code`) out of the cart."""
    code = request.POST.get("code", "")[:60]
    try:
        gone = remove_code(user=current_user(request), code=code)
    except Refused as refusal:
        for text in refusal.messages:
            messages.error(request, text)
        return redirect(page_before(request, otherwise="cart"))
    if gone:
        messages.success(request, _("Bon %s retiré de votre panier.") % code)
    else:
        messages.info(request, _("Ce bon n’est plus dans votre panier."))
    return redirect(page_before(request, otherwise="cart"))


@dataclass(frozen=True)
class Shown:
    """A voucher as « Mes bons de réduction » shows it."""

    voucher: Voucher
    worth: str
    conditions: list[str]
    state: str  # of the tag: usable, ended or in_cart
    words: str


@require_safe
def vouchers(request: HttpRequest) -> HttpResponse:
    """The person's own vouchers, those entered in the cart or given back, and what was used on which order."""
    user = current_user(request)
    uses = VoucherUse.objects.of(user).select_related("voucher", "order").order_by("-created_at", "-pk")[:USES_SHOWN]
    context = {"shown": _shown(user), "uses": uses, "account_section": "vouchers"}
    return render(request, "checkout/vouchers.html", context)


def _shown(user: User) -> list[Shown]:
    in_cart = set(
        CartVoucher.objects.filter(
            cart__user=user, cart__status__in=[Cart.Status.OPEN, Cart.Status.PAYING]
        ).values_list("voucher", flat=True)
    )
    # What came back from an order that is over can be used again, whosever it is.
    again = VoucherUse.objects.of(user).filter(status=VoucherUse.Status.GIVEN_BACK).values("voucher")
    concerned = Voucher.objects.of(user) | Voucher.objects.filter(Q(pk__in=in_cart) | Q(pk__in=again))
    rows = concerned.prefetch_related(Prefetch("scopes", SCOPES))
    # Counted as the rules count: what the other parent has used is used.
    live = list(VoucherUse.objects.of_family(user).live().filter(voucher__in=rows).values_list("voucher", flat=True))
    found = []
    for row in rows:
        state, words = ("in_cart", _("Dans votre panier")) if row.pk in in_cart else standing(row, live.count(row.pk))
        if state == "ended" and row.user_id != user.pk:
            continue
        found.append(Shown(row, worth(row), conditions(row), state, words))
    return sorted(found, key=lambda each: each.state == "ended")
