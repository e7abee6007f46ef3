"""Codes entered in a cart and taken out of it; vouchers made by the dozen."""

import secrets
from collections.abc import Sequence

from django.core.cache import cache
from django.db import transaction
from django.db.models import Prefetch
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.actions.cart import being_paid
from checkout.actions.keeping import locked_cart
from checkout.models import Cart
from checkout.vouchers.models import CODE, CartVoucher, Voucher, VoucherScope, typed
from checkout.vouchers.reading import SCOPES, items_of, known
from checkout.vouchers.rules import MAY_CHANGE, Reduction, reductions
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import today

MOST_CODES = 5
# Codes are not to be found by trying: so many unknown ones an hour, then no more is looked up.
MOST_TRIES, TRIES_SECONDS = 20, 3600

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # those that are not taken for another
RANDOM_LETTERS = 10  # 50 bits


def enter_code(*, user: User, code: str) -> Reduction:
    """Enter a voucher's code in the person's open cart; returns what it comes to as the cart stands.

    A code that only needs more or other products is kept and waits for them (`reason` says so). Raises Refused for one that
    is unknown (or somebody else's: nobody learns that it exists), that cannot be used today or by this family any more, or
    not beside those that were entered before; without a cart, and while an order is being paid.
    """
    unchanged = _("Votre panier n’a pas changé.")
    text = typed(code)
    with refusing({}):
        cart = locked_cart(user)
        if cart is None:
            raise Refused(_("Votre panier est vide : ajoutez d’abord des dates, puis votre bon."), code="empty")
        if cart.status == Cart.Status.PAYING:
            raise Refused(being_paid(), code="being_paid")
        if not text:
            raise Refused(_("Écrivez le code de votre bon, puis validez."), unchanged, code="no_code")
        voucher = _find(user, text, unchanged)
        before = [row.voucher for row in CartVoucher.objects.filter(cart=cart).select_related("voucher").order_by("pk")]
        if voucher in before:
            raise Refused(_("Le bon %s est déjà dans votre panier.") % voucher.code, code="already")
        if len(before) >= MOST_CODES:
            raise Refused(_("Pas plus de %d bons par commande.") % MOST_CODES, unchanged, code="too_many")
        rows = Voucher.objects.filter(pk__in=[row.pk for row in [*before, voucher]]).prefetch_related(
            Prefetch("scopes", SCOPES)
        )
        by_key = {row.pk: row for row in rows}
        found = reductions(known([by_key[row.pk] for row in [*before, voucher]], user), items_of(cart.pk), on=today())[
            -1
        ]
        if found.reason and found.code not in MAY_CHANGE:
            raise Refused(found.refusal, unchanged, code=found.code)
        CartVoucher.objects.create(cart=cart, voucher=voucher)
    return found


def _find(user: User, code: str, unchanged: str) -> Voucher:
    tries = f"voucher-tries:{user.pk}"
    if cache.get(tries, 0) >= MOST_TRIES:
        raise Refused(
            _("Trop de codes inconnus en une heure : vérifiez le vôtre, puis réessayez plus tard."),
            unchanged,
            code="too_many_tries",
        )
    voucher = Voucher.objects.offered_to(user).filter(code=code).first() if CODE.match(code) else None
    if voucher is None:
        cache.add(tries, 0, timeout=TRIES_SECONDS)
        cache.incr(tries)
        raise Refused(
            _("Le code « %s » n’est pas connu : vérifiez chaque lettre.") % code[:40], unchanged, code="unknown"
        )
    return voucher


def remove_code(*, user: User, code: str) -> bool:
    """Take a voucher out of the person's open cart; returns whether it was there. Raises Refused while it is being paid."""
    with refusing({}):
        cart = locked_cart(user)
        if cart is None:
            return False
        if cart.status == Cart.Status.PAYING:
            raise Refused(being_paid(), code="being_paid")
        text = typed(code)
        gone, _by_table = CartVoucher.objects.filter(cart=cart, voucher__code=text if CODE.match(text) else "").delete()
    return bool(gone)


MOST_AT_ONCE = 1000


@transaction.atomic
def make_batch(*, model: Voucher, count: int, prefix: str, batch: str, people: Sequence[User] = ()) -> list[Voucher]:
    """Make `count` vouchers like a model, with its scope, each with a code of its own that nobody guesses.

    Each can be used once; where `people` are named, each is one person's. Raises Refused for a number or a prefix that cannot be.
    """
    prefix = typed(prefix)
    if not 1 <= count <= MOST_AT_ONCE:
        raise Refused(_("Entre 1 et %d bons à la fois.") % MOST_AT_ONCE, code="count")
    if (prefix and not CODE.match(f"{prefix}-XXX"[:24])) or len(prefix) > 12:
        raise Refused(
            _("Le début des codes : douze lettres majuscules sans accent, chiffres ou tirets au plus."), code="prefix"
        )
    scopes = list(model.scopes.all())
    like = {
        name: getattr(model, name)
        for name in (
            *("label", "percent", "amount", "commune_id", "valid_from", "valid_until", "days_from", "days_until"),
            *("minimum", "stackable", "is_active"),
        )
    }
    codes: set[str] = set()
    while len(codes) < count:
        codes.add("-".join(part for part in (prefix, _random()) if part))
    owners: Sequence[User | None] = people or [None] * count
    made = Voucher.objects.bulk_create(
        Voucher(code=code, user=owner, max_uses=1, uses_per_family=1, batch=batch[:60], **like)
        for code, owner in zip(sorted(codes), owners, strict=True)
    )
    VoucherScope.objects.bulk_create(
        VoucherScope(
            voucher=voucher,
            commune_id=scope.commune_id,
            service_id=scope.service_id,
            activity_id=scope.activity_id,
            profile_id=scope.profile_id,
        )
        for voucher in made
        for scope in scopes
    )
    return made


def _random() -> str:
    return "".join(secrets.choice(LETTERS) for _index in range(RANDOM_LETTERS))
