"""Filling the cart. Places are taken when a line enters it and kept together until one moment."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Booking, Hold, Ticket
from bookings.pricing import Place, Pricer
from bookings.tickets import actions as tickets
from checkout.actions.keeping import begin, drop_held, is_over, keep, locked_cart, period_from
from checkout.models import Cart, CartLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import day, enumeration, long_date
from portal.common.money import ZERO
from services.actions import check_offer
from services.deadlines import know_deadlines
from services.models import AccessProfile, Activity, Slot, Subscription


@dataclass(frozen=True)
class Added:
    """What entered the cart: how many lines for how many euros, and what was booked before and left out."""

    quantity: int
    total: Decimal
    already: list[str]


Item = Booking | Ticket  # what a line holds
# What the database refuses of places and tickets, as a parent reads it.
SENTENCES = {**bookings.SENTENCES, **tickets.SENTENCES}


@retry_on_deadlock
def add_to_cart(
    *, user: User, activity: Activity, slot: Slot, subscription: Subscription, wishes: Collection[bookings.Wish]
) -> Added:
    """Take the places wished for and put them into the person's cart at the price of the tariff in force, all or none.

    The whole cart is then kept for HOLD_MINUTES, as far as its period goes (checkout.actions.keeping). Raises Refused with
    a sentence for the parent: service not validated, no price for the slot, an order being paid, and all that
    bookings.actions.hold_places refuses.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        dates = {wish.date for wish in wishes}
        check_offer(user=user, activity=activity, slot=slot, subscription=subscription, dates=dates)
        cart = open_cart(user)
        if not cart.is_new:
            keep(cart, people={wish.beneficiary_id for wish in wishes})
        held = bookings.hold_places(user=user, activity=activity, slot=slot, wishes=wishes, hold=cart.hold)
        if not held.bookings:
            raise Refused(
                _("Toutes ces dates sont déjà réservées ou dans votre panier. Rien n’a été ajouté."), code="already"
            )
        slot.activity = activity
        lines = priced(user, cart, slot, subscription, held.bookings)
        CartLine.objects.bulk_create(lines)
    return Added(
        quantity=len(lines),
        total=sum((line.unit_price for line in lines), ZERO),
        already=[f"{row.beneficiary.first_name}, {day(row.open_day.date)}" for row in held.already],
    )


def remove_lines(*, user: User, ids: Collection[int]) -> int:
    """Take lines out of the person's open cart and give their places back; returns how many went."""
    with refusing({}):
        cart = locked_cart(user)
        if cart is None:
            return 0
        if cart.status == Cart.Status.PAYING:
            raise Refused(being_paid(), code="being_paid")
        lines = CartLine.objects.filter(cart=cart, pk__in=ids)
        gone = list(lines)
        lines.delete()
        drop_held(gone, by=user, reason=_("Retiré du panier"))
        price_what_remains(cart)
    return len(gone)


def price_what_remains(cart: Cart) -> None:
    """A sibling less may change the rank of another. (An expired place keeps its price until it is taken again.)

    Of a cart that holds nothing any more the time begins anew: its places are free for all.
    """
    lines = [line for line in _lines_of(cart) if line.item.status == Booking.Status.HELD]
    if lines:
        _reprice(cart, lines)
    elif not is_over(cart):
        begin(cart)


def recover_places(*, user: User) -> list[str]:
    """Hold the expired places of the cart again; returns the sentences about those that could not be had.

    What is gone leaves the cart, what remains is kept as new places are, at today's price. Raises Refused while
    the cart's order is being paid.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        cart = locked_cart(user)
        if cart is None:
            return []
        if cart.status == Cart.Status.PAYING:
            raise Refused(being_paid(), code="being_paid")
        return [sentence for sentence in [retake(cart)] if sentence]


def retake(cart: Cart) -> str:
    """Under the cart's lock: hold expired lines again; returns a sentence that names those that are gone, or nothing."""
    keep(cart)
    lines = _lines_of(cart)
    expired = [line.item for line in lines if line.item.status == Booking.Status.EXPIRED]
    # What the waiting list had offered was kept as long as was promised, and is another family's turn now.
    lost = [item for item in expired if item.hold_id != cart.hold_id]
    for item in lost:
        item.why_lost = _("proposée à la famille suivante")
    lost += retake_items([item for item in expired if item not in lost], at=timezone.now())
    kept = [line for line in lines if line.item not in lost]
    unsold = _reprice(cart, kept)
    drop_held(unsold, by=None, reason=_("Plus de tarif à cette date"))
    for line in unsold:
        line.item.why_lost = _("plus de tarif à cette date")
    gone = [line for line in lines if line.item in lost or line in unsold]
    CartLine.objects.filter(pk__in=[line.pk for line in gone]).delete()
    return _gone([line.item for line in gone]) if gone else ""


def _gone(items: Sequence[Item]) -> str:
    """What left the cart and why, dates of one child and one reason together; what to do about it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in sorted(items, key=lambda item: item.date):
        what = f"{item.beneficiary.first_name}, {item.slot.activity} ({item.slot})"
        dates = groups.setdefault((what, str(item.why_lost)), [])
        if isinstance(item, Booking):
            dates.append(long_date(item.open_day.date))
    names = "\u00a0; ".join(
        f"{what}{', ' if dates else ''}{enumeration(dates)}\u00a0: {why}" for (what, why), dates in groups.items()
    )
    sentences = [_("Ces places n’ont pas pu être reprises et ont quitté votre panier\u00a0: %s.") % names]
    if any(isinstance(item, Booking) and item.lost_full and item.slot.activity.waiting_list for item in items):
        sentences.append(_("Pour ce qui est complet, la page de l’activité propose sa liste d’attente."))
    return " ".join([*sentences, _("Rien n’a été débité.")])


def retake_items(items: Collection[Item], *, at: dt.datetime) -> list[Item]:
    """Hold what has expired among places and tickets again; returns what could not be had. In the caller's transaction."""
    places = [item for item in items if isinstance(item, Booking)]
    passes = [item for item in items if isinstance(item, Ticket)]
    if passes:  # everybody first: places lock theirs, then days, and a ticket must not come back to people after days
        list(bookings.locked_beneficiaries({item.beneficiary_id for item in items}))
    return [*bookings.retake_places(bookings=places, at=at), *tickets.retake_tickets(tickets=passes)]


def priced(user: User, cart: Cart, slot: Slot, access: Subscription, rows: Sequence[Item]) -> list[CartLine]:
    """New lines at the price in force; where it depends on what else is in the cart, the lines there are priced anew.

    Raises Refused for a date without a price.
    """
    pricer = _pricer(user, cart, profiles=[access.profile], slots=[slot], rows=rows)
    if pricer.depends_on_others(is_late=any(row.is_late for row in rows)):
        before = [] if cart.is_new else _lines_of(cart, _of_service(slot.activity.service_id))
        held = [line for line in before if line.item.status == Booking.Status.HELD]
        if held:
            pricer = _pricer(
                user,
                cart,
                profiles=[access.profile, *(line.tariff.profile for line in held)],
                slots=[slot, *(line.item.slot for line in held)],
                rows=[*rows, *(line.item for line in held)],
            )
            _price_anew(held, pricer)
    lines = []
    for row in rows:
        price = pricer.price(profile_id=access.profile_id, place=_place(row))
        if price is None:
            raise Refused(
                _("Aucun tarif n’est fixé pour votre situation le %s. Rien n’a été ajouté.") % day(row.date),
                code="no_tariff",
            )
        lines.append(
            CartLine(
                cart=cart,
                booking=row if isinstance(row, Booking) else None,
                ticket=row if isinstance(row, Ticket) else None,
                tariff=price.tariff,
                unit_price=price.amount,
                surcharge=price.surcharge,
                explanation=price.words,
            )
        )
    return lines


def _reprice(cart: Cart, lines: Sequence[CartLine]) -> list[CartLine]:
    """Give lines the price in force for their dates today; returns those that have none any more."""
    if not lines:
        return []
    return _price_anew(
        lines,
        _pricer(
            cart.user,
            cart,
            profiles={line.tariff.profile for line in lines},
            slots={line.item.slot for line in lines},
            rows=[line.item for line in lines],
        ),
    )


def _price_anew(lines: Iterable[CartLine], pricer: Pricer) -> list[CartLine]:
    changed, unsold = [], []
    for line in lines:
        price = pricer.price(profile_id=line.tariff.profile_id, place=_place(line.item))
        if price is None:
            unsold.append(line)
            continue
        now = (price.tariff, price.amount, price.surcharge, price.words)
        if now != (line.tariff, line.unit_price, line.surcharge, line.explanation):
            line.tariff, line.unit_price, line.surcharge, line.explanation = now
            changed.append(line)
    CartLine.objects.bulk_update(changed, ["tariff", "unit_price", "surcharge", "explanation"])
    return unsold


def _of_service(service: int) -> Q:
    return Q(booking__open_day__activity__service=service) | Q(ticket__activity__service=service)


def _lines_of(cart: Cart, which: Q | None = None) -> list[CartLine]:
    """The cart's lines (those that a condition names) with all that their price depends on; three queries at most."""
    lines = list(
        CartLine.objects.filter(which or Q(), cart=cart)
        .select_related(
            "booking__open_day", "booking__beneficiary", "booking__slot__activity__service", "tariff__profile"
        )
        .prefetch_related(
            Prefetch("ticket", Ticket.objects.select_related("beneficiary", "activity", "slot__activity__service"))
        )
    )
    know_deadlines([line.item.slot.activity for line in lines])
    return lines


def _pricer(
    user: User, cart: Cart, *, profiles: Collection[AccessProfile], slots: Collection[Slot], rows: Sequence[Item]
) -> Pricer:
    return Pricer(
        user=user,
        profiles=set(profiles),
        slots=set(slots),
        beneficiaries={row.beneficiary for row in rows},
        choice=[_place(row) for row in rows],
        holds={cart.hold_id, *(row.hold_id for row in rows)},
    )


def _place(row: Item) -> Place:
    return Place(row.beneficiary_id, row.slot_id, row.date, row.is_late)


def open_cart(user: User) -> Cart:
    """The person's cart, locked, opened when there is none. Raises Refused while its order is being paid."""
    cart = locked_cart(user) or _new_cart(user)
    if cart.status == Cart.Status.PAYING:
        raise Refused(being_paid(), code="being_paid")
    return cart


NEW_CART = """
    WITH hold AS (INSERT INTO bookings_hold (user_id, expires_at, latest) VALUES (%s, %s, %s) RETURNING id, user_id),
         cart AS (
             INSERT INTO checkout_cart (user_id, hold_id, status, created_at, address_id)
             SELECT user_id, id, %s, %s,
                    (SELECT a.id FROM accounts_address a WHERE a.user_id = hold.user_id AND a.is_default)
             FROM hold ON CONFLICT DO NOTHING RETURNING id
         )
    SELECT hold.id, cart.id FROM hold LEFT JOIN cart ON true
"""


def _new_cart(user: User) -> Cart:
    """Open a cart that carries the person's main address; when another tab opened one in the meantime, that one."""
    now = timezone.now()
    until, latest = period_from(now)
    hold = Hold(user=user, expires_at=until, latest=latest)
    cart = Cart(user=user, created_at=now)
    with connection.cursor() as cursor:
        # The second tab waits here for the first one's commit, then finds its cart.
        cursor.execute(NEW_CART, [user.pk, until, latest, cart.status, now])
        hold.pk, cart.pk = cursor.fetchone()
    if cart.pk is not None:
        for row in (hold, cart):
            row._state.adding, row._state.db = False, "default"
        cart.hold, cart.is_new = hold, True
        return cart
    hold.delete()
    return Cart.objects.live().select_related("hold").select_for_update(of=("self",)).get(user=user)


def being_paid() -> str:
    """What is said to who would change a cart whose order waits for its payment."""
    return _("Une commande attend son règlement : terminez-le, ou abandonnez-le depuis votre panier, puis recommencez.")
