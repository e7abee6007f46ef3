"""Cancelling booked places, by the family or by staff: the money goes back to who paid, to the wallet or on to the card."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from bookings import actions as bookings
from bookings.models import Booking
from bookings.own_family import own_bookings
from checkout.models import Order, OrderLine, Regie
from checkout.refunds.actions import card_shares, lock_cards, refund_to_card
from checkout.refunds.models import LONGEST_REASON
from checkout.summary import booking_groups
from checkout.vouchers import settling
from checkout.vouchers.words import NO_FATES, Fates
from families.own_family import family_of
from portal.common.db import refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import dated, enumeration, long_date, shortened
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.models import Movement

# Named in the label of a movement; more are counted.
FEW_PEOPLE = 3
FEW_ACTIVITIES = 2


@dataclass(frozen=True)
class Returned:
    """What one person gets back, in euros, for which of their bookings; `to_card` of it goes on to cards.

    `off` is what vouchers had paid of their price, which goes back to whoever bears them; `vouchers` says which of these
    can be used again. `orders` are those that had paid for them.
    """

    payer: User
    bookings: Sequence[Booking]
    total: Decimal
    to_card: Decimal = ZERO
    off: Decimal = ZERO
    vouchers: Fates = NO_FATES
    orders: Sequence[Order] = ()

    @property
    def to_wallet(self) -> Decimal:
        """The euros that stay in the wallet."""
        return self.total - self.to_card

    @property
    def words(self) -> dict[str, Any]:
        """What an e-mail about it reads: amounts in euros, the fate of the vouchers and the orders (templates/emails/_vouchers.txt, _where.txt)."""
        return {
            "groups": booking_groups((row, ZERO) for row in self.bookings),
            "total": self.to_wallet,
            "to_card": self.to_card,
            "price": self.total + self.off,
            "off": self.off,
            "vouchers": self.vouchers,
            "orders": self.orders,
        }


@retry_on_deadlock
def cancel_bookings(*, ids: Collection[int], by: User, to_card: bool = False) -> Returned:
    """Cancel booked places before their deadline, all or none; returns what came back to the wallet, or to the card.

    `to_card`: what a card has paid of it goes back to the card, where the agglomération allows families to choose so
    (« Régies »). Raises Refused as bookings.actions.cancel does.
    """
    check_card_refunds(to_card)
    with refusing({}):
        ledger.wallet_of(by)
        if to_card:
            _lock_cards_of(ids)
        rows = bookings.cancel(ids=ids, by=by)
        returned = give_back(rows, by=by, reason=_("Annulation"), to_card=to_card)
        mine = next((each for each in returned if each.payer == by), Returned(by, rows, ZERO))
        queue_email(
            key=f"cancellation:{min(row.pk for row in rows)}",
            to=by.email,
            template="bookings_cancelled",
            context={"user": by, "bookings": rows, **mine.words},
        )
    return mine


@retry_on_deadlock
def cancel_for(
    *, ids: Collection[int], by: User, reason: str, override: bool = False, to_card: bool = False
) -> list[Returned]:
    """Cancel families' places (a closure, a mistake at the counter) and pay back whoever paid; returns who got what.

    Past their deadline only with `override`: a service that was given is not paid back by a wrong tick. Each payer gets
    one e-mail with the reason. What has ended meanwhile is left alone, so that a second call cancels nothing and pays
    nothing. `to_card`: what cards have paid goes back to the cards; for operators, who hold the money. Raises Refused as
    bookings.actions.cancel_by_staff does, and with `override` or `to_card` for what is of one's own family, who has in time
    what every family has: the wallet.
    """
    if to_card and not by.is_operator:
        raise Refused(
            _("Seule l’agglomération, qui tient la caisse, rend sur la carte. Rien n’a été annulé."),
            code="no_card_refund",
        )
    with refusing({}):
        if to_card:
            _lock_cards_of(ids)
        if (override or to_card) and (own := own_among(ids, by)):
            raise Refused(own_family(own), _("Rien n’a été annulé ni remboursé."), code="own_family")
        rows = bookings.cancel_by_staff(ids=ids, by=by, reason=reason, override=override)
        refunds = give_back(rows, by=by, reason=_("Annulation par le service"), to_card=to_card)
        for refund in refunds:
            queue_email(
                key=f"cancellation:{min(row.pk for row in refund.bookings)}",
                to=refund.payer.email,
                template="bookings_cancelled_by_staff",
                context={
                    "user": refund.payer,
                    "bookings": refund.bookings,
                    "reason": reason.strip(),
                    **refund.words,
                },
            )
    return refunds


def own_among(ids: Collection[int], user: User) -> list[Booking]:
    """Those of these bookings that this person's family paid or made, or that are for who they answer for.

    Past their deadline, and of the card, another decides.
    """
    paid = Q(order_lines__order__user__in=family_of(user), order_lines__order__status=Order.Status.PAID)
    own = own_bookings(user) | paid
    rows = Booking.objects.booked().visible_to(user).filter(pk__in=Booking.objects.filter(own, pk__in=ids).values("pk"))
    return list(rows.select_related("beneficiary", "open_day").order_by("period", "pk"))


def own_family(rows: Iterable[Booking]) -> str:
    """What an agent is told of bookings of their own family."""
    return _("%s\u00a0: c’est votre propre famille, une autre personne du service s’en charge.") % _some(rows)


def own_card(rows: Iterable[Booking]) -> str:
    """The same where only the card is another person's to give back."""
    return _(
        "%s\u00a0: c’est votre propre famille. Ici, tout revient donc au porte-monnaie\u00a0; sur la carte, une autre personne du service rend la somme."
    ) % _some(rows)


def _some(rows: Iterable[Booking]) -> str:
    return bookings.some(f"{row.beneficiary} ({dated(row.date)})" for row in rows)


def check_card_refunds(to_card: bool) -> None:
    """Raises Refused when a family asks for its card and the agglomération gives families no choice."""
    if to_card and not Regie.objects.current().card_refunds:
        raise Refused(
            _("Le remboursement sur la carte n’est pas ouvert ici. Rien n’a été annulé."), code="no_card_refund"
        )


def _lock_cards_of(ids: Collection[int]) -> None:
    lines = OrderLine.objects.filter(booking__in=ids, order__status=Order.Status.PAID, cancelled_at=None)
    lock_cards(set(lines.values_list("order", flat=True)))


def give_back(
    rows: Sequence[Booking],
    *,
    by: User,
    reason: str,
    kind: Movement.Kind = Movement.Kind.CANCELLATION,
    to_card: bool = False,
) -> list[Returned]:
    """Post what these bookings cost back to whoever paid them, and end their lines; one movement for each payer.

    Under the locks of the bookings, in the caller's transaction. The commune's revenue goes down by the price: what vouchers
    took off goes back to whoever bears them, and a voucher on an order of which nothing is left can be used again. A booking
    is paid back once: its line keeps the movement, and a line that has ended is not found again. `to_card`: what cards have
    paid of it goes on from the wallet to the card, under a lock of the payments that the caller holds.
    """
    lines: dict[int, list[OrderLine]] = {}
    paid = OrderLine.objects.filter(booking__in=rows, order__status=Order.Status.PAID, cancelled_at=None)
    for line in paid.select_related("order__user").order_by("pk").select_for_update(of=("self",)):
        lines.setdefault(line.order.user_id, []).append(line)
    by_pk = {row.pk: row for row in rows}
    uses = settling.give_back_with([line for theirs in lines.values() for line in theirs])
    # Wallets one after the other in the order of their keys, as everywhere.
    payers = sorted((theirs[0].order.user for theirs in lines.values()), key=lambda user: ledger.wallet_of(user).pk)
    found = []
    for payer in payers:
        theirs = lines[payer.pk]
        booked = sorted((by_pk[line.booking_id] for line in theirs if line.booking_id), key=lambda row: row.date)
        total = sum((line.paid for line in theirs), ZERO)
        cost = any(line.unit_price for line in theirs)
        movement = _post(theirs, booked, payer, by, f"{reason}\u00a0: {_named(booked)}", kind) if cost else None
        OrderLine.objects.filter(pk__in=[line.pk for line in theirs]).update(
            cancelled_at=timezone.now(), refund=movement
        )
        on_card = send_to_cards(theirs, f"{reason}\u00a0: {_named(booked)}", by, movement) if to_card else ZERO
        off = sum((line.discount for line in theirs), ZERO)
        fates = Fates.of(use for use in uses if use.user_id == payer.pk)
        orders = list({line.order_id: line.order for line in theirs}.values())
        found.append(Returned(payer, booked, total, on_card, off, fates, orders))
    return found


def send_to_cards(lines: Sequence[OrderLine], reason: str, by: User, movement: int | None) -> Decimal:
    """Send what cards have paid for these lines on to the cards; returns how many euros.

    `movement`, by its key, is that of the cancellation, which gave them to the wallet; none where nothing was paid. `reason` is
    made of names, which may be long: nobody has typed it, so it is shortened.
    """
    reason = shortened(reason, LONGEST_REASON)
    shares = card_shares(lines)
    for share in shares:
        refund_to_card(payment=share.payment, amount=share.amount, reason=reason, by=by, cancellation=movement)
    return sum((share.amount for share in shares), ZERO)


def _post(
    lines: Sequence[OrderLine], booked: Sequence[Booking], payer: User, by: User, label: str, kind: Movement.Kind
) -> int:
    amounts: dict[str, Decimal] = {}
    for line in lines:
        code = ledger.revenue_code(line.commune_id)
        amounts[code] = amounts.get(code, ZERO) - line.unit_price
    amounts |= settling.borne(lines)
    amounts[ledger.wallet_code(payer)] = -sum(amounts.values(), ZERO)
    return ledger.post(
        kind=kind, key=f"cancellation:{min(row.pk for row in booked)}", label=label, amounts=amounts, by=by
    )


def _named(booked: Sequence[Booking]) -> str:
    """`Restauration scolaire, mardi 8 décembre 2026 et 2 autres dates (Louane et Théo)`: a date is one, whoever comes.

    With its year: the ledger is read for years, and a booking may be for the next. FEW_ACTIVITIES are named: what came
    back is of all of them.
    """
    activities: dict[int, list[Booking]] = {}
    for row in booked:
        activities.setdefault(row.open_day.activity_id, []).append(row)
    named = [str(rows[0].open_day.activity) for rows in activities.values()]
    if len(named) > FEW_ACTIVITIES:
        others = len(named) - 1
        named = [named[0], ngettext("%d autre activité", "%d autres activités", others) % others]
    more = len({row.date for row in booked}) - 1
    people = {row.beneficiary_id: row.beneficiary.first_name for row in booked}
    when = long_date(booked[0].date)
    when += ngettext(" et %d autre date", " et %d autres dates", more) % more if more else ""
    who = enumeration(people.values()) if len(people) <= FEW_PEOPLE else _("%d personnes") % len(people)
    return f"{enumeration(named)}, {when} ({who})"
