"""Taking what the waiting list offers: into the cart, or paid at once from the wallet. Until it is paid, the offer stands."""

import itertools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Address, Terms, User
from bookings import actions as bookings
from bookings.models import Booking
from bookings.places import lock_days
from bookings.pricing import Place, Pricer
from bookings.waiting.models import WaitingListEntry, WaitingListEntryQuerySet
from checkout.actions.cart import SENTENCES, Added, being_paid, open_cart, price_what_remains, priced
from checkout.actions.completion import complete
from checkout.actions.keeping import locked_cart
from checkout.actions.payment import order_line
from checkout.models import Cart, CartLine, Order, OrderLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import day, euros
from portal.common.money import ZERO
from services.actions import check_offer
from services.models import Subscription
from services.pricing import Price
from wallet import actions as ledger

Status = WaitingListEntry.Status


@dataclass(frozen=True)
class Offer:
    """What is offered to a party, the access that it is sold to, and the price of each place (None: not sold)."""

    entries: list[WaitingListEntry]
    access: Subscription | None
    prices: list[Price | None]

    @property
    def total(self) -> Decimal | None:
        """Euros for all of it; None when a place has no price."""
        amounts = [price.amount for price in self.prices if price is not None]
        return sum(amounts, ZERO) if len(amounts) == len(self.entries) else None


@dataclass(frozen=True)
class Standing:
    """What an order asks for beside a price, as far as the person has settled it before."""

    address: Address | None
    terms: Terms | None
    balance: Decimal

    @classmethod
    def of(cls, user: User) -> "Standing":
        """The main address, the conditions of sale in force if an order was paid under them, and the wallet; reads only."""
        terms = Terms.objects.newest(Terms.Kind.SALE).first()
        accepted = Order.objects.of(user).filter(status=Order.Status.PAID, terms=terms)
        return cls(
            address=Address.objects.of(user).filter(is_default=True).first(),
            terms=terms if terms is not None and accepted.exists() else None,
            balance=ledger.wallet_of(user).balance,
        )

    def pays(self, total: Decimal | None) -> bool:
        """Whether one press is enough to order and pay this many euros."""
        return total is not None and self.address is not None and self.terms is not None and total <= self.balance


def offer_rows(user: User) -> WaitingListEntryQuerySet:
    """The person's entries with all that a price depends on."""
    return WaitingListEntry.objects.of(user).select_related(
        "beneficiary",
        "profile",
        "slot__activity__booking_deadline__late",
        "slot__activity__service__booking_deadline__late",
        "open_day__activity__service__commune",
        "booking__hold",
    )


def quote(*, user: User, entries: Iterable[WaitingListEntry]) -> list[Offer]:
    """What offered places cost this family, party by party: the price of the day they were offered on, late or not.

    A place is late when it was offered late: that its limit came nearer meanwhile is not the family's doing. Reads only.
    """
    rows = list(entries)
    if not rows:
        return []
    services = {row.open_day.activity.service_id for row in rows}
    accesses = Subscription.objects.of(user).approved().filter(profile__service__in=services)
    granted = sorted(accesses.select_related("profile"), key=lambda row: row.pk)
    places = {row.pk: _place(row) for row in rows}
    pricer = Pricer(
        user=user,
        profiles={row.profile for row in rows} | {row.profile for row in granted},
        slots={row.slot for row in rows},
        beneficiaries={row.beneficiary for row in rows},
        choice=list(places.values()),
        holds={row.booking.hold_id for row in rows if row.booking is not None},
    )
    found = []
    for _party, theirs in itertools.groupby(rows, key=lambda row: row.party):
        party = list(theirs)
        access = _access(party[0], granted)
        profile = party[0].profile_id if access is None else access.profile_id
        found.append(Offer(party, access, [pricer.price(profile_id=profile, place=places[row.pk]) for row in party]))
    return found


def _access(entry: WaitingListEntry, granted: Sequence[Subscription]) -> Subscription | None:
    """The access that was waited with, or else another of that service."""
    service = entry.open_day.activity.service_id
    theirs = [row for row in granted if row.profile.service_id == service]
    return min(theirs, key=lambda row: (row.profile_id != entry.profile_id, row.pk), default=None)


def _place(entry: WaitingListEntry) -> Place:
    late = entry.open_day.is_late(timezone.now()) if entry.booking is None else entry.booking.is_late
    return Place(entry.beneficiary_id, entry.slot_id, entry.open_day.date, late)


@retry_on_deadlock
def take_offer(*, user: User, party: uuid.UUID) -> Added:
    """Put the places that the waiting list offers to a party into the person's cart, at the price in force, all or none.

    The offer stands until it is paid for or its limit comes, neither sooner nor later: what holds the places is the offer,
    not the cart. What is in the cart already is named in `already`. Raises Refused when the offer no longer stands, when
    the access to the service is gone, when a place has no price, and while an order is being paid.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        cart = open_cart(user)
        offer = _standing(user, _locked(user, party))
        places = _checked(user, offer)
        there = set(CartLine.objects.filter(booking__in=places).values_list("booking", flat=True))
        rows = [row for row in places if row.pk not in there]
        lines: list[CartLine] = []
        if rows:
            assert offer.access is not None  # _checked
            lines = priced(user, cart, offer.entries[0].slot, offer.access, rows)
            CartLine.objects.bulk_create(lines)
    return Added(
        quantity=len(lines),
        total=sum((line.unit_price for line in lines), ZERO),
        already=[f"{row.beneficiary.first_name}, {day(row.date)}" for row in places if row.pk in there],
    )


@retry_on_deadlock
def pay_offer(*, user: User, party: uuid.UUID, shown_total: Decimal) -> Order:
    """Take the places offered to a party and pay them from the wallet, in one transaction; returns the paid order.

    For who has an address and has paid an order under the conditions of sale in force. Pressing twice pays once: the
    second call returns the same order. `shown_total` is what the person saw, in euros. Raises Refused as take_offer does,
    when the price is another by now, and when the address, the conditions or the wallet's money are missing; the offer
    then stands as before, and nothing is debited.
    """
    with refusing({name: str(text) for name, text in SENTENCES.items()}):
        cart = locked_cart(user)
        entries = _locked(user, party)
        paid = Order.objects.of(user).filter(
            lines__booking__in=[row.booking_id for row in entries],
            lines__booking__status=Booking.Status.BOOKED,
            status=Order.Status.PAID,
        )
        done = paid.first()
        if done is not None:
            return done
        offer = _standing(user, entries)
        rows = _checked(user, offer)
        in_cart = CartLine.objects.filter(booking__in=rows)
        if cart is not None and cart.status == Cart.Status.PAYING and in_cart.exists():
            raise Refused(being_paid(), code="being_paid")
        order, lines = _order(user, offer, shown_total)
        if cart is not None and in_cart.delete()[0]:
            price_what_remains(cart)
        complete(order, card=None, lines=lines)
    return order


def _locked(user: User, party: uuid.UUID) -> list[WaitingListEntry]:
    """The party's entries under the locks of its beneficiaries and its day. Raises Refused when they are somebody else's."""
    rows = offer_rows(user).filter(party=party).order_by("pk")
    known = set(rows.values_list("open_day", flat=True))
    if not known:
        raise Refused(_("Cette proposition n’existe pas, ou n’est pas la vôtre."), code="not_yours")
    bookings.lock_beneficiaries(user, set(rows.values_list("beneficiary", flat=True)))
    lock_days(known)
    return list(rows)


def _standing(user: User, entries: Sequence[WaitingListEntry]) -> Offer:
    """What is offered to them, and at which price. Raises Refused when it no longer stands."""
    limit = timezone.now() - bookings.GRACE
    if not all(
        row.status == Status.OFFERED and row.booking is not None and row.booking.hold.expires_at >= limit
        for row in entries
    ):
        raise Refused(
            _("Cette proposition n’est plus valable : la place a été proposée à la famille suivante."),
            _("Rien n’a été débité."),
            code="offer_gone",
        )
    (offer,) = quote(user=user, entries=entries)
    return offer


def _checked(user: User, offer: Offer) -> list[Booking]:
    """The offered places, which may still be sold to this person. Raises Refused."""
    first = offer.entries[0]
    if offer.access is None:
        raise Refused(
            _("Votre accès à ce service n’est plus validé : demandez-le depuis « Mes services ». Rien n’a été débité."),
            code="no_access",
        )
    activity = first.open_day.activity
    check_offer(user=user, activity=activity, slot=first.slot, subscription=offer.access, dates=[first.open_day.date])
    undone = _("Rien n’a été débité.")
    bookings.check_bookable([first.open_day.date], {first.open_day.date: first.open_day}, timezone.now(), undone=undone)
    rows = []
    for entry in offer.entries:
        assert entry.booking is not None  # _standing
        entry.booking.beneficiary, entry.booking.slot = entry.beneficiary, entry.slot
        entry.booking.open_day = entry.open_day
        rows.append(entry.booking)
    return rows


def _order(user: User, offer: Offer, shown_total: Decimal) -> tuple[Order, list[OrderLine]]:
    """The order of an offer and its lines. Raises Refused with what is missing to pay it in one press."""
    standing = Standing.of(user)
    total = offer.total
    if total is None:
        raise Refused(
            _("Aucun tarif n’est fixé pour votre situation le %s. Rien n’a été débité.")
            % day(offer.entries[0].open_day.date),
            code="no_tariff",
        )
    if total != shown_total:
        raise Refused(
            _(
                "Le prix a changé : cette place coûte maintenant %s. Vérifiez-le avant de payer ; rien n’a été débité, "
                "et la place vous reste proposée."
            )
            % euros(total),
            code="changed",
        )
    if standing.address is None or standing.terms is None:
        raise Refused(
            _(
                "Pour payer, il faut d’abord choisir une adresse ou accepter les conditions générales de vente : mettez "
                "la place dans votre panier, puis commandez. Rien n’a été débité."
            ),
            code="not_settled",
        )
    if standing.balance < total:
        raise Refused(
            _("Votre porte-monnaie contient %(balance)s, il faut %(total)s. Rien n’a été débité.")
            % {"balance": euros(standing.balance), "total": euros(total)},
            code="wallet_is_not_overdrawn",
        )
    order = Order.objects.create(
        user=user, total=total, billing_address=str(standing.address), terms_id=standing.terms.pk
    )
    lines = []
    for entry, price in zip(offer.entries, offer.prices, strict=True):
        assert price is not None  # the total has them all
        row = CartLine(
            booking=entry.booking, unit_price=price.amount, surcharge=price.surcharge, explanation=price.words
        )
        line = order_line(row)
        line.order = order
        lines.append(line)
    OrderLine.objects.bulk_create(lines)
    return order, lines
