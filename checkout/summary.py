"""How the lines of a cart or an order are shown: one group per product and price, its beneficiaries and dates."""

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from bookings.models import Booking, Hold
from bookings.tickets.words import note_at
from checkout.models import Cart, Order, OrderLine
from checkout.vouchers.reading import reductions_of, reductions_taken
from checkout.vouchers.rules import Reduction
from portal.common.formats import MONTHS, NBSP, WEEKDAYS, enumeration, month
from portal.common.money import ZERO
from services.models.catalogue import named

# More dates than this are counted in one line, and unfolded by month on demand.
FEW_DATES = 8


@dataclass
class Person:
    """The dates of one beneficiary within a group."""

    name: str
    dates: list[dt.date] = field(default_factory=list)


class Share(NamedTuple):
    """Beneficiaries who have the same dates in a group, and those dates in order."""

    names: str
    dates: list[dt.date]

    @property
    def is_long(self) -> bool:
        return len(self.dates) > FEW_DATES

    @property
    def text(self) -> str:
        """`mercredis 25 novembre, 2 et 16 décembre 2026 et 6 janvier 2027`, `27 janvier, 3 et 10 février 2027`."""
        found = []
        months = list(self._by_month())
        for index, (first, days) in enumerate(months):
            year_ends = index + 1 == len(months) or months[index + 1][0].year != first.year
            found.append(f"{days}{NBSP}{MONTHS[first.month - 1]}" + (f"{NBSP}{first.year}" if year_ends else ""))
        weekday = self._weekday
        # The last word that joins is « et »: within the last month, or before it.
        ends_joined = bool(months) and " et " in months[-1][1]
        prefix = f"{WEEKDAYS[weekday]}{'s' if len(self.dates) > 1 else ''} " if weekday is not None else ""
        return prefix + (", ".join(found) if ends_joined else enumeration(found))

    @property
    def headline(self) -> str:
        """`30 mercredis, du 25 novembre 2026 au 16 juin 2027` when they are all those of the span (or all its days);
        `9 dates, entre le 20 janvier 2027 et le 19 mai 2027` when some between are left out."""
        count = len(self.dates)
        weekday = self._weekday
        steps = {(after - before).days for before, after in itertools.pairwise(self.dates)}
        is_whole = steps == {1 if weekday is None else 7}
        what = (
            f"{count} {WEEKDAYS[weekday]}s"
            if is_whole and weekday is not None
            else ngettext("%d date", "%d dates", count) % count
        )
        words = {"what": what.replace(" ", NBSP), "first": _date(self.dates[0]), "last": _date(self.dates[-1])}
        if is_whole:
            return _("%(what)s, du %(first)s au %(last)s") % words
        return _("%(what)s, entre le %(first)s et le %(last)s") % words

    @property
    def months(self) -> list[tuple[str, str]]:
        """(« Décembre 2026 », « mar. 1er, ven. 4 et lun. 7 »), month by month."""
        return [(month(first), days) for first, days in self._by_month()]

    @property
    def _weekday(self) -> int | None:
        """The weekday that all dates fall on, if there is one."""
        found = {date.weekday() for date in self.dates}
        return found.pop() if len(found) == 1 else None

    def _by_month(self) -> Iterable[tuple[dt.date, str]]:
        named = self._weekday is None
        for _key, rows in itertools.groupby(self.dates, key=lambda date: (date.year, date.month)):
            days = list(rows)
            yield days[0], enumeration(_day(date, named) for date in days)


def _day(date: dt.date, named: bool) -> str:
    number = "1er" if date.day == 1 else str(date.day)
    return f"{WEEKDAYS[date.weekday()][:3]}.{NBSP}{number}" if named else number


def _date(date: dt.date) -> str:
    return f"{_day(date, False)}{NBSP}{MONTHS[date.month - 1]}{NBSP}{date.year}"


class Line(NamedTuple):
    """One row of a cart or an order: a date of somebody, or (with its note) a ticket."""

    pk: int
    label: str
    detail: str
    unit_price: Decimal
    name: str
    date: dt.date | None
    note: str = ""
    why: str = ""
    place: str = ""  # the service, and whose it is
    kept_until: dt.datetime | None = None  # the limit of an offered place; None: its cart's
    left: int | None = None  # of what is no longer held: places of its date to be had at this moment


@dataclass
class Group:
    """Lines of one product, slot and unit price (euros) of one service."""

    label: str
    detail: str
    unit_price: Decimal
    place: str = ""  # the service, and whose it is; empty where the page has no need to say it
    people: list[Person] = field(default_factory=list)
    tickets: list[tuple[str, str]] = field(default_factory=list)  # beneficiary, validity
    lines: list["Line"] = field(default_factory=list)
    why: list[str] = field(default_factory=list)  # each explanation of the price once
    is_gone: bool = False  # paid for, and no longer free when the money came

    @property
    def quantity(self) -> int:
        return len(self.lines)

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity

    def shared(self) -> Sequence[Share]:
        """Beneficiaries with the same dates together: « Louane Dupont, Théo Dupont », and their dates."""
        found: dict[tuple[dt.date, ...], list[str]] = {}
        for person in self.people:
            found.setdefault(tuple(sorted(person.dates)), []).append(person.name)
        return [Share(", ".join(names), list(dates)) for dates, names in found.items()]

    def shared_tickets(self) -> Sequence[tuple[str, str, int]]:
        """Tickets of one validity together: (« Louane Dupont, Théo Dupont », « du … au … », how many)."""
        found: dict[str, list[str]] = {}
        for name, note in self.tickets:
            found.setdefault(note, []).append(name)
        return [(", ".join(dict.fromkeys(names)), note, len(names)) for note, names in found.items()]


def _group(rows: Iterable[Line]) -> list[Group]:
    groups: dict[tuple[str, str, Decimal, str], Group] = {}
    people: dict[tuple[int, str], Person] = {}
    for row in rows:
        key = (row.label, row.detail, row.unit_price, row.place)
        group = groups.setdefault(key, Group(*key))
        group.lines.append(row)
        if row.why and row.why not in group.why:
            group.why.append(row.why)
        if row.note:
            group.tickets.append((row.name, row.note))
        elif row.name and row.date:
            whose = (id(group), row.name)
            if whose not in people:
                people[whose] = Person(row.name)
                group.people.append(people[whose])
            people[whose].dates.append(row.date)
    return list(groups.values())


def order_groups(lines: Iterable[OrderLine], *, gone: Collection[OrderLine] = ()) -> list[Group]:
    """The groups of an order's lines (read with their places); after them, marked, those of what was no longer free when its
    money came."""
    lost = order_groups(gone) if gone else []
    for group in lost:
        group.is_gone = True
    found = _group(
        Line(
            line.pk,
            line.label,
            line.detail,
            line.unit_price,
            line.beneficiary_name,
            line.date,
            line.note,
            line.explanation,
            line.place,
        )
        for line in lines
    )
    return found + lost


def booking_groups(rows: Iterable[tuple[Booking, Decimal]]) -> list[Group]:
    """The groups of bookings (with activity, slot and beneficiary), each with the price that it is shown at, in euros."""
    return _group(
        Line(row.pk, str(row.open_day.activity), str(row.slot), price, str(row.beneficiary), row.date)
        for row, price in rows
    )


# What is booked, of which service, whose that is.
NAMES = """SELECT ARRAY[activity.name, service.name, commune.name] FROM services_activity activity
                JOIN services_service service ON service.id = activity.service_id
                LEFT JOIN accounts_commune commune ON commune.id = service.commune_id"""
# Written out: each step of an order shows it, and Django takes as long to compose the statement as all else in it takes.
# Names are read aside: with two joins less PostgreSQL plans it in half the time. Carts come and go faster than
# PostgreSQL counts them: OFFSET 0 makes it go from this one cart to its lines and from each line to its booking, whatever
# it believes of the others. (It read all 60 000 bookings when the last carts it had counted were of 280 lines.)
CART_AND_LINES = """
    SELECT cart.id, cart.status, cart.address_id, cart.terms_id, cart.prolonged_at, hold.id, hold.expires_at,
           EXISTS (SELECT 1 FROM checkout_cartvoucher code WHERE code.cart_id = cart.id),
           line.id, coalesce(booked.names, pass.names), coalesce(booked.slot, pass.slot), line.unit_price,
           coalesce(booked.first_name, pass.first_name), coalesce(booked.last_name, pass.last_name), booked.date,
           line.explanation, coalesce(booked.status, pass.status), pass.valid, pass.stop, booked.kept_until, booked.free
    FROM checkout_cart cart
    JOIN bookings_hold hold ON hold.id = cart.hold_id
    LEFT JOIN LATERAL (SELECT * FROM checkout_cartline WHERE cart_id = cart.id OFFSET 0) line ON true
    LEFT JOIN LATERAL (
        SELECT child.first_name, child.last_name, day.date, booking.status,
               CASE WHEN booking.status = 'held' THEN NULL WHEN day.is_open AND coalesce(day.late_until, day.book_until) > now()
                    THEN day.capacity - day.taken ELSE 0 END AS free,
               -- What the waiting list offers has a limit of its own.
               CASE WHEN booking.hold_id <> cart.hold_id THEN (
                   SELECT offer.expires_at FROM bookings_hold offer WHERE offer.id = booking.hold_id
               ) END AS kept_until,
               (NAMES WHERE activity.id = day.activity_id) AS names,
               (SELECT slot.name FROM services_slot slot WHERE slot.id = booking.slot_id) AS slot
        FROM bookings_booking booking
        JOIN services_openday day ON day.id = booking.open_day_id
        JOIN families_beneficiary child ON child.id = booking.beneficiary_id
        WHERE booking.id = line.booking_id
        OFFSET 0
    ) booked ON true
    LEFT JOIN LATERAL (
        SELECT child.first_name, child.last_name, ticket.status, ticket.valid,
               (NAMES WHERE activity.id = ticket.activity_id) AS names,
               (SELECT slot.name FROM services_slot slot WHERE slot.id = ticket.slot_id) AS slot,
               (SELECT stop.name || ' (' || busline.name || ')' FROM services_busstop stop
                JOIN services_busline busline ON busline.id = stop.line_id WHERE stop.id = ticket.stop_id) AS stop
        FROM bookings_ticket ticket
        JOIN families_beneficiary child ON child.id = ticket.beneficiary_id
        WHERE ticket.id = line.ticket_id
        OFFSET 0
    ) pass ON true
    WHERE cart.user_id = %s AND cart.status IN ('open', 'paying')
    ORDER BY booked.date, line.id
""".replace("NAMES", NAMES)


def _cart(
    user: User,
    pk: int,
    status: str,
    address_id: int | None,
    terms_id: int | None,
    prolonged_at: dt.datetime | None,
    hold_id: int,
    expires_at: dt.datetime,
) -> Cart:
    """The cart of a row; what the row does not hold is read when it is asked for."""
    hold = Hold.from_db("default", ["id", "user_id", "expires_at"], [hold_id, user.pk, expires_at])
    names = ["id", "user_id", "hold_id", "status", "address_id", "terms_id", "prolonged_at"]
    cart = Cart.from_db("default", names, [pk, user.pk, hold_id, status, address_id, terms_id, prolonged_at])
    cart.hold, cart.user = hold, user
    return cart


@dataclass
class CartSummary:
    """A live cart as a page shows it."""

    cart: Cart
    groups: list[Group]
    expired: list[Group]
    subtotal: Decimal
    pending: Order | None
    reductions: list[Reduction] = field(default_factory=list)

    @classmethod
    def of(cls, user: User) -> "CartSummary | None":
        """The person's live cart with its lines, or None; one query, one more while an order waits to be paid.

        With codes entered five more, or one for an order that waits.
        """
        with connection.cursor() as cursor:
            cursor.execute(CART_AND_LINES, [user.pk])
            rows = cursor.fetchall()
        if not rows:
            return None
        cart, has_codes = _cart(user, *rows[0][:7]), rows[0][7]
        shaped = [
            (
                Line(
                    pk,
                    names[0],
                    slot,
                    price,
                    f"{first} {last}",
                    date,
                    note_at(valid, stop or "") if valid else "",
                    why,
                    named(*names[1:]),
                    until,
                    free,
                ),
                status,
            )
            for pk, names, slot, price, first, last, date, why, status, valid, stop, until, free in (
                row[8:] for row in rows
            )
            if pk is not None
        ]
        held = [row for row, status in shaped if status == Booking.Status.HELD]
        gone = [row for row, status in shaped if status != Booking.Status.HELD]
        pending = None
        if cart.status == Cart.Status.PAYING:
            pending = Order.objects.filter(cart=cart, status=Order.Status.PENDING).first()
        found: list[Reduction] = []
        if has_codes:
            found = reductions_taken(pending.pk) if pending else reductions_of(cart, user)
        return cls(cart, _group(held), _group(gone), sum((row.unit_price for row in held), ZERO), pending, found)

    @property
    def total(self) -> Decimal:
        """What is to be paid, in euros: the products without what vouchers take off."""
        return self.subtotal - sum((row.amount for row in self.reductions), ZERO)

    @property
    def applied(self) -> list[Reduction]:
        """The vouchers that take something off."""
        return [row for row in self.reductions if row.amount]

    @property
    def quantity(self) -> int:
        return sum(group.quantity for group in self.groups)

    @property
    def is_empty(self) -> bool:
        return not self.groups and not self.expired

    @property
    def offers(self) -> list[Line]:
        """The places that the waiting list offers, which keep the limit that was promised."""
        return [line for group in self.groups for line in group.lines if line.kept_until]

    @property
    def has_own(self) -> bool:
        """Whether it holds anything for which its own moment counts."""
        return any(line.kept_until is None for group in self.groups for line in group.lines)

    @property
    def gone(self) -> list[Line]:
        """Places no longer kept whose day is closed, full or past its deadline by now."""
        return [line for group in self.expired for line in group.lines if line.left == 0 and not line.kept_until]

    @property
    def scarce(self) -> list[tuple[Line, int]]:
        """Dates no longer kept with some places left, fewer than the cart had: a line of each, and how many those are."""
        dates: dict[tuple[str, str, dt.date], list[Line]] = {}
        for group in self.expired:
            for line in group.lines:
                if line.date and line.left and not line.kept_until:
                    dates.setdefault((line.place, line.label, line.date), []).append(line)
        return [(lines[0], len(lines)) for lines in dates.values() if len(lines) > (lines[0].left or 0)]

    @property
    def has_lapsed_offers(self) -> bool:
        """Whether among what is no longer kept is a place that the waiting list had offered."""
        return any(line.kept_until for group in self.expired for line in group.lines)

    @property
    def is_over(self) -> bool:
        """Whether the time for the cart's own places has run out (nobody may have taken them yet)."""
        return self.has_own and self.cart.hold.expires_at <= timezone.now()

    @property
    def still_kept(self) -> list[Group]:
        """What is kept at this moment: nothing of a time that is over, though the sweep of each minute has not come yet."""
        return _group(line for group in self.groups for line in group.lines if self._is_kept(line))

    @property
    def to_retake(self) -> list[Group]:
        """What is no longer kept, swept or not."""
        over = [line for group in self.groups for line in group.lines if not self._is_kept(line)]
        return _group([*over, *(line for group in self.expired for line in group.lines)])

    def _is_kept(self, line: Line) -> bool:
        return (line.kept_until or self.cart.hold.expires_at) > timezone.now()

    @property
    def idle(self) -> list[Reduction]:
        """The vouchers that take nothing off."""
        return [row for row in self.reductions if not row.amount]

    @property
    def may_prolong(self) -> bool:
        """Whether « Garder mes places 15 minutes de plus » is offered: once, and while they are kept."""
        return self.has_own and self.cart.prolonged_at is None and not self.is_over and not self.expired

    @property
    def is_late(self) -> bool:
        """Whether the places are no longer kept (though nobody may have taken them yet)."""
        return bool(self.expired) or self.is_over
