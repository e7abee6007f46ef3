"""Another slot or date for a booked place, as one action: the difference of the prices moves in the wallet."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from bookings import actions as bookings
from bookings.change_actions import check_exchange, exchange, note_change
from bookings.models import Booking
from bookings.pricing import Place, Pricer
from checkout.actions.cancellation import give_back
from checkout.actions.completion import complete
from checkout.actions.payment import line_of
from checkout.models import Order, OrderLine
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import dated, euros
from portal.outbox.actions import queue_email
from services.actions import check_offer
from services.models import Activity, OpenDay, Slot, Subscription
from services.pricing import Price
from wallet import actions as ledger


@dataclass(frozen=True)
class Quote:
    """What a change comes to: the paid line, the new day and slot, the access and the price that it is sold at."""

    line: OrderLine
    open_day: OpenDay
    slot: Slot
    subscription: Subscription
    sold: Price

    @property
    def price(self) -> Decimal:
        """What the new place costs, in euros."""
        return self.sold.amount

    @property
    def difference(self) -> Decimal:
        """Euros that the wallet pays; less than zero when it gets some back."""
        return self.price - self.line.paid


def quote(*, booking: Booking, slot: Slot, date: dt.date, by: User) -> Quote:
    """What it would cost to change a booking of this person; reads only.

    Raises Refused with what change_booking would refuse as things stand, a wallet that holds too little excepted: what is
    shown to be confirmed can be had.
    """
    offer = _quote(booking=booking, slot=slot, date=date, by=by)
    slot.activity = booking.open_day.activity
    check_exchange(booking=booking, slot=slot, open_day=offer.open_day)
    return offer


def prices(*, booking: Booking, slots: Sequence[Slot], date: dt.date, by: User) -> dict[int, Decimal]:
    """What each slot costs this booking's child on a date, in euros by the slot's key; what is not sold is left out."""
    line = _line(booking, by)
    open_day = OpenDay.objects.filter(activity=booking.open_day.activity_id, date=date).first()
    if line is None or open_day is None:
        return {}
    found = _sold(_accesses(booking, by), booking, line, slots, open_day)
    return {key: price.amount for key, (_access, price) in found.items()}


def _quote(*, booking: Booking, slot: Slot, date: dt.date, by: User) -> Quote:
    """Without asking whether there is a place: raises Refused when nothing changes, when the day or its price does not
    exist, and without access to the service."""
    unchanged = _("Votre réservation n’a pas changé.")
    activity = booking.open_day.activity
    if (slot.pk, date) == (booking.slot_id, booking.date):
        raise Refused(
            _("C’est déjà ce que vous avez réservé : choisissez une autre date ou une autre prestation."), code="same"
        )
    line = _line(booking, by)
    if line is None or booking.made_by_id != by.pk:
        raise Refused(
            _("Cette réservation a déjà été annulée, ou n’est pas la vôtre. Rien n’a été changé."), code="not_booked"
        )
    open_day = OpenDay.objects.filter(activity=activity, date=date).first()
    if open_day is None:
        raise Refused(_("%s : pas de service ce jour-là.") % dated(date).capitalize(), unchanged, code="not_bookable")
    found = _sold(_accesses(booking, by), booking, line, [slot], open_day).get(slot.pk)
    if found is None:
        raise Refused(
            _("Cette prestation n’a pas de tarif pour votre situation ce jour-là."), unchanged, code="no_tariff"
        )
    subscription, sold = found
    check_offer(user=by, activity=activity, slot=slot, subscription=subscription, dates=[date])
    return Quote(line, open_day, slot, subscription, sold)


def _line(booking: Booking, by: User) -> OrderLine | None:
    """The line by which this person paid the booking, if it still stands."""
    paid = OrderLine.objects.filter(booking=booking, order__user=by, order__status=Order.Status.PAID, cancelled_at=None)
    return paid.select_related("order__user").first()


def _accesses(booking: Booking, by: User) -> list[Subscription]:
    rows = Subscription.objects.of(by).approved().filter(profile__service=booking.open_day.activity.service_id)
    return list(rows.select_related("profile").order_by("pk"))


def _sold(
    accesses: Sequence[Subscription], booking: Booking, line: OrderLine, slots: Sequence[Slot], open_day: OpenDay
) -> dict[int, tuple[Subscription, Price]]:
    """The access at whose price each slot is sold that day: first the one that the old place was sold to."""
    activity = Activity.objects.with_deadlines().get(pk=open_day.activity_id)
    for each in [*slots, booking.slot]:
        each.activity = activity
    old = Place(booking.beneficiary_id, booking.slot_id, booking.date, booking.is_late)
    late = open_day.is_late(timezone.now())
    new = {slot.pk: Place(booking.beneficiary_id, slot.pk, open_day.date, late) for slot in slots}
    pricer = Pricer(
        user=line.order.user,
        profiles=[row.profile for row in accesses],
        slots=[*slots, booking.slot],
        beneficiaries=[booking.beneficiary],
        choice=list(new.values())[:1],  # whoever comes in one of them comes
    )

    def sold_before(row: Subscription) -> bool:
        price = pricer.price(profile_id=row.profile_id, place=old)
        return price is not None and price.amount == line.unit_price

    found: dict[int, tuple[Subscription, Price]] = {}
    for row in sorted(accesses, key=lambda row: not sold_before(row)):
        for key, place in new.items():
            price = None if key in found else pricer.price(profile_id=row.profile_id, place=place)
            if price is not None:
                found[key] = row, price
    return found


@retry_on_deadlock
def change_booking(*, booking: Booking, slot: Slot, date: dt.date, shown_difference: Decimal, by: User) -> Booking:
    """Give a booked place up for another date or slot of its activity; returns the new one, booked and paid.

    What was paid returns to the wallet and the new price leaves it, in one transaction with both places: what a voucher took
    off the old place goes back to its bearer and does not follow. `shown_difference`
    is what the person saw, in euros. Raises Refused with the sentence of the rule that forbids it (either deadline, a full
    day, another booking at that time, a wallet that holds too little): then nothing has changed, the old place least of all.
    """
    with refusing({name: _unchanged(str(text)) for name, text in bookings.SENTENCES.items()}):
        offer = _quote(booking=booking, slot=slot, date=date, by=by)
        ledger.wallet_of(by)
        new = exchange(booking=booking, slot=slot, open_day=offer.open_day, by=by)
        new.open_day.activity = booking.open_day.activity  # which a change never leaves, with its service and commune
        if offer.difference != shown_difference:
            raise Refused(
                _(
                    "Le tarif a changé : la différence est maintenant de %s. Vérifiez-la avant de confirmer ; rien n’a été changé."
                )
                % euros(offer.difference),
                code="changed",
            )
        booking.beneficiary = new.beneficiary
        give_back([booking], by=by, reason=_("Changement, place rendue"))
        balance = ledger.wallet_of(by).balance
        if balance < offer.price:
            raise Refused(
                _(
                    "Ce changement coûte %(difference)s de plus, et votre porte-monnaie contient %(balance)s. Rechargez-le, puis recommencez ; rien n’a été changé."
                )
                % {"difference": euros(offer.difference), "balance": euros(balance - offer.line.paid)},
                code="wallet_is_not_overdrawn",
            )
        order, line = _order(offer, new, by)
        # One letter tells of the change: under the order's key, so that complete() does not write another.
        queue_email(
            key=f"order:{order.pk}:paid",
            to=by.email,
            template="booking_changed",
            context={
                "user": by,
                "before": booking,
                "after": new,
                "order": order,
                "difference": offer.difference,
                "returned": -offer.difference,
            },
        )
        complete(order, card=None, lines=[line])
        note_change(before=booking, after=new, by=by)
    return new


def _order(offer: Quote, new: Booking, by: User) -> tuple[Order, OrderLine]:
    """The order of the new place, on the terms and at the address of the old one's."""
    before = offer.line.order
    order = Order.objects.create(
        user=by, total=offer.price, billing_address=before.billing_address, terms_id=before.terms_id
    )
    line = line_of(new, unit_price=offer.price, surcharge=offer.sold.surcharge, explanation=offer.sold.words)
    line.order = order
    line.save(force_insert=True)
    return order, line


def _unchanged(sentence: str) -> str:
    """What the net under the action says, without the cart: `Une de ces dates vient d’être complète. …`."""
    return f"{sentence.partition('. ')[0]}. {_('Votre réservation n’a pas changé.')}"
