"""Until when the places of a cart are kept. Others wait for them: nothing that a family presses keeps them without end.

A period begins with the first place of a cart that holds none, and says then until when it goes at the latest
(Hold.latest, which PostgreSQL lets nobody move while a place is held). Within it each added line keeps the whole cart for
HOLD_MINUTES again, up to twice HOLD_MINUTES from the first; « Garder mes places 15 minutes de plus », or leaving for the
bank in the last minutes, adds PROLONGED_BY once. A cart whose time is over gives its places back before it may have a new
period: who waits for one is served first, and what is still free can be taken again.
"""

import datetime as dt
from collections.abc import Collection

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Least
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Hold
from bookings.tickets import actions as tickets
from checkout.models import Cart, CartLine
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import hour

PROLONGED_BY = dt.timedelta(minutes=15)


def hold_time() -> dt.timedelta:
    """How long a cart keeps its places after the last change, as far as its period goes."""
    return dt.timedelta(minutes=settings.HOLD_MINUTES)


def period_from(start: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Until when places first held at a moment are kept, and until when at the latest."""
    return start + hold_time(), start + 2 * hold_time() + PROLONGED_BY


def keep(cart: Cart, *, people: Collection[int] = ()) -> None:
    """Before places enter the cart: keep those that it holds for HOLD_MINUTES from now, as far as their period goes.

    Where nothing is left of it, they are given back and a new period begins. What the waiting list offers keeps its own
    limit. Under the cart's lock; `people` are the beneficiaries (keys) that the caller is going to lock, since days are
    locked here and people come before them.
    """
    now, hold = timezone.now(), cart.hold
    latest = hold.latest or hold.expires_at + PROLONGED_BY
    until = min(now + hold_time(), latest if cart.prolonged_at else latest - PROLONGED_BY)
    if is_over(cart) or max(until, hold.expires_at) <= now:
        _let_go(cart, people)
        begin(cart)
    elif until > hold.expires_at:
        hold.expires_at = until
        Hold.objects.filter(pk=hold.pk).update(expires_at=until)


def begin(cart: Cart) -> None:
    """A new period, for a cart that holds nothing of its own. Under the cart's lock."""
    cart.hold.expires_at, cart.hold.latest = period_from(timezone.now())
    Hold.objects.filter(pk=cart.hold_id).update(expires_at=cart.hold.expires_at, latest=cart.hold.latest)


def is_over(cart: Cart) -> bool:
    """Whether the cart's time has run out, its owner's last minute (bookings.actions.GRACE) included."""
    return bookings.is_stale(cart.hold)


def _let_go(cart: Cart, people: Collection[int]) -> None:
    """Give back what the cart still holds after its time, as the sweep would; the lines stay, to be taken again."""
    lines = list(CartLine.objects.filter(cart=cart).select_related("booking", "ticket"))
    theirs = {line.item.beneficiary_id for line in lines}
    list(bookings.locked_beneficiaries({*theirs, *people}))
    drop_held(lines, by=None, reason=_("Délai du panier dépassé"))


def drop_held(lines: Collection[CartLine], *, by: User | None, reason: str) -> None:
    """Give back what lines hold, by their owner or (None) by the house. In the caller's transaction."""
    bookings.drop_held(ids=[line.booking_id for line in lines if line.booking_id], by=by, reason=reason)
    tickets.drop_held_tickets(ids=[line.ticket_id for line in lines if line.ticket_id], by=by, reason=reason)


def prolong_hold(*, user: User) -> dt.datetime:
    """Keep the cart's own places a quarter of an hour longer, once for each cart; returns until when.

    Whether it is being filled or paid. Raises Refused the second time, and when the time has run out (recover_places then
    takes the places again).
    """
    with refusing({}):
        cart = locked_cart(user)
        if cart is None:
            raise Refused(_("Votre panier est vide : il n’y a rien à garder."), code="empty")
        if cart.hold.expires_at <= timezone.now():
            raise Refused(
                _("Le délai de vos places est passé : reprenez-les depuis votre panier. Rien n’a été débité."),
                code="expired",
            )
        if cart.prolonged_at is not None:
            raise Refused(
                _("Vous avez déjà prolongé une fois : vos places sont gardées jusqu’à %s.")
                % hour(timezone.localtime(cart.hold.expires_at).time()),
                code="prolonged",
            )
        until = cart.hold.expires_at + PROLONGED_BY
        Hold.objects.filter(pk=cart.hold_id).update(expires_at=until)
        Cart.objects.filter(pk=cart.pk).update(prolonged_at=timezone.now())
    return until


def keep_for_the_bank(cart: Cart) -> None:
    """Time enough at the bank: with less than PROLONGED_BY left, the cart's one prolongation is taken now.

    Leaving for the bank again and again keeps nothing longer: others wait for these places. Who comes back paid after the
    limit gets them again if they are free (law 1). Under the cart's lock.
    """
    until = timezone.now() + PROLONGED_BY
    if cart.prolonged_at is None and cart.hold.expires_at < until:
        Hold.objects.filter(pk=cart.hold_id).update(expires_at=Least(until, F("latest")))
        Cart.objects.filter(pk=cart.pk).update(prolonged_at=timezone.now())


def locked_cart(user: User) -> Cart | None:
    """The person's live cart under its lock, if there is one."""
    cart = Cart.objects.live().filter(user=user).select_related("hold").select_for_update(of=("self",)).first()
    if cart is not None:
        cart.user = user
    return cart
