"""Filling the cart. Places are taken when a line enters it and kept together until one moment."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Booking, Hold, Ticket
from bookings.tickets import actions as tickets
from checkout.models import Cart, CartLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import day, enumeration
from portal.common.money import ZERO
from services.models import Activity, Slot, Subscription
from services.pricing import PriceGrid


@dataclass(frozen=True)
class Added:
    """What entered the cart: how many lines for how many euros, and what was booked before and left out."""

    quantity: int
    total: Decimal
    already: list[str]


# What the database refuses of places and tickets, as a parent reads it.
SENTENCES = {**bookings.SENTENCES, **tickets.SENTENCES}


def hold_time() -> dt.timedelta:
    """How long a cart keeps its places after the last change."""
    return dt.timedelta(minutes=settings.HOLD_MINUTES)


@retry_on_deadlock
def add_to_cart(
    *, user: User, activity: Activity, slot: Slot, subscription: Subscription, wishes: Collection[bookings.Wish]
) -> Added:
    """Take the places wished for and put them into the person's cart at the price of the tariff in force, all or none.

    The whole cart is then kept for HOLD_MINUTES. Raises Refused with a sentence for the parent: service not validated,
    no price for the slot, an order being paid, and all that bookings.actions.hold_places refuses.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        check_offer(user, activity, slot, subscription)
        cart = open_cart(user)
        held = bookings.hold_places(user=user, activity=activity, slot=slot, wishes=wishes, hold=cart.hold)
        grid = PriceGrid(profiles=[subscription.profile], slots=[slot])
        lines = [_line(cart, row, grid, subscription) for row in held.bookings]
        if not lines:
            raise Refused(
                _("Toutes ces dates sont déjà réservées ou dans votre panier. Rien n’a été ajouté."), code="already"
            )
        CartLine.objects.bulk_create(lines)
        if cart.hold.expires_at < timezone.now() + hold_time() - dt.timedelta(seconds=1):  # not just opened
            extend(cart)
    return Added(
        quantity=len(lines),
        total=sum((line.unit_price for line in lines), ZERO),
        already=[f"{row.beneficiary.first_name}, {day(row.open_day.date)}" for row in held.already],
    )


def remove_lines(*, user: User, ids: Collection[int]) -> int:
    """Take lines out of the person's open cart and give their places back; returns how many went."""
    with refusing({}):
        cart = _locked_cart(user)
        if cart is None:
            return 0
        if cart.status == Cart.Status.PAYING:
            raise Refused(_being_paid(), code="being_paid")
        lines = CartLine.objects.filter(cart=cart, pk__in=ids)
        gone = list(lines)
        lines.delete()
        drop_held(gone, by=user, reason=_("Retiré du panier"))
    return len(gone)


def recover_places(*, user: User) -> list[str]:
    """Hold the expired places of the cart again; returns the sentences about those that could not be had.

    What is gone leaves the cart, what remains is kept for HOLD_MINUTES from now, at today's price. Raises Refused while
    the cart's order is being paid.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        cart = _locked_cart(user)
        if cart is None:
            return []
        if cart.status == Cart.Status.PAYING:
            raise Refused(_being_paid(), code="being_paid")
        return [sentence for sentence in [retake(cart)] if sentence]


def retake(cart: Cart) -> str:
    """Under the cart's lock: hold expired lines again; returns a sentence that names those that are gone, or nothing."""
    lines = list(
        CartLine.objects.filter(cart=cart).select_related(
            *("booking__open_day", "booking__beneficiary", "booking__slot"),
            *("ticket__activity", "ticket__beneficiary", "ticket__slot"),
            "tariff__profile",
        )
    )
    expired = [line for line in lines if line.item.status == Booking.Status.EXPIRED]
    lost = retake_items([line.item for line in expired], at=timezone.now())
    back = [line for line in expired if line.item not in lost]
    unsold = _reprice(back)
    drop_held(unsold, by=None, reason=_("Plus de tarif à cette date"))
    gone = [line for line in expired if line.item in lost or line in unsold]
    CartLine.objects.filter(pk__in=[line.pk for line in gone]).delete()
    extend(cart)
    if not gone:
        return ""
    names = enumeration(_name(line.item) for line in gone)
    return _("Ces places n’ont pas pu être reprises et ont quitté votre panier : %s. Rien n’a été débité.") % names


def retake_items(items: Collection[Booking | Ticket], *, at: dt.datetime) -> list[Booking | Ticket]:
    """Hold what has expired among places and tickets again; returns what could not be had. In the caller's transaction."""
    places = [item for item in items if isinstance(item, Booking)]
    passes = [item for item in items if isinstance(item, Ticket)]
    if passes:  # everybody first: places lock theirs, then days, and a ticket must not come back to people after days
        list(bookings.locked_beneficiaries({item.beneficiary_id for item in items}))
    return [*bookings.retake_places(bookings=places, at=at), *tickets.retake_tickets(tickets=passes)]


def drop_held(lines: Collection[CartLine], *, by: User | None, reason: str) -> None:
    """Give back what lines hold, by their owner or (None) by the house. In the caller's transaction."""
    bookings.drop_held(ids=[line.booking_id for line in lines if line.booking_id], by=by, reason=reason)
    tickets.drop_held_tickets(ids=[line.ticket_id for line in lines if line.ticket_id], by=by, reason=reason)


def _name(item: Booking | Ticket) -> str:
    if isinstance(item, Ticket):
        return f"{item.beneficiary.first_name}, {item.activity} ({item.slot})"
    return f"{item.beneficiary.first_name} {day(item.open_day.date)}"


def _reprice(lines: Collection[CartLine]) -> list[CartLine]:
    """Give lines the price in force for their dates today; returns those that have none any more."""
    grid = PriceGrid(profiles={line.tariff.profile for line in lines}, slots={line.item.slot for line in lines})
    unsold = []
    for line in lines:
        tariff = grid.tariff(profile_id=line.tariff.profile_id, slot_id=line.item.slot_id, date=line.item.date)
        if tariff is None:
            unsold.append(line)
        elif tariff.price != line.unit_price:
            line.tariff, line.unit_price = tariff, tariff.price
            line.save(update_fields=["tariff", "unit_price"])
    return unsold


def extend(cart: Cart) -> None:
    """Keep the cart's places for HOLD_MINUTES from now."""
    Hold.objects.filter(pk=cart.hold_id).update(expires_at=timezone.now() + hold_time())


def open_cart(user: User) -> Cart:
    """The person's cart, locked, opened when there is none. Raises Refused while its order is being paid."""
    cart = _locked_cart(user) or _new_cart(user)
    if cart.status == Cart.Status.PAYING:
        raise Refused(_being_paid(), code="being_paid")
    return cart


def _new_cart(user: User) -> Cart:
    """Open a cart that carries the person's main address; when another tab opened one in the meantime, that one."""
    hold = Hold.objects.create(user=user, expires_at=timezone.now() + hold_time())
    cart = Cart(user=user, hold=hold, created_at=timezone.now())
    with connection.cursor() as cursor:
        # The second tab waits here for the first one's commit, then finds its cart.
        cursor.execute(
            "INSERT INTO checkout_cart (user_id, hold_id, status, created_at, address_id) VALUES (%s, %s, %s, %s, "
            "(SELECT id FROM accounts_address WHERE user_id = %s AND is_default)) ON CONFLICT DO NOTHING RETURNING id",
            [user.pk, hold.pk, cart.status, cart.created_at, user.pk],
        )
        row = cursor.fetchone()
    if row is not None:
        cart.pk, cart._state.adding, cart._state.db = row[0], False, "default"
        return cart
    hold.delete()
    return Cart.objects.live().select_related("hold").select_for_update(of=("self",)).get(user=user)


def _locked_cart(user: User) -> Cart | None:
    return Cart.objects.live().filter(user=user).select_related("hold").select_for_update(of=("self",)).first()


def _being_paid() -> str:
    return _("Une commande attend son règlement : terminez-le, ou abandonnez-le depuis votre panier, puis recommencez.")


def check_offer(user: User, activity: Activity, slot: Slot, subscription: Subscription) -> None:
    approved = (
        subscription.user_id == user.pk
        and subscription.status == Subscription.Status.APPROVED
        and subscription.profile.service_id == activity.service_id
    )
    if not approved:
        raise Refused(
            _("Votre accès à ce service n’est pas validé : demandez-le depuis « Mes services »."), code="no_access"
        )
    if slot.activity_id != activity.pk or not (slot.is_active and activity.is_active and activity.service.is_active):
        raise Refused(_("Cette prestation n’est pas proposée. Rien n’a été ajouté."), code="not_offered")
    opens_on = activity.booking_opens_on
    if opens_on and opens_on > timezone.localdate():
        raise Refused(_("Les réservations ouvrent le %s.") % day(opens_on), code="not_open_yet")


def _line(cart: Cart, booking: Booking, grid: PriceGrid, access: Subscription) -> CartLine:
    tariff = grid.tariff(profile_id=access.profile_id, slot_id=booking.slot_id, date=booking.open_day.date)
    if tariff is None:
        raise Refused(
            _("Aucun tarif n’est fixé pour votre situation le %s. Rien n’a été ajouté.") % day(booking.open_day.date),
            code="no_tariff",
        )
    return CartLine(cart=cart, booking=booking, tariff=tariff, unit_price=tariff.price)
