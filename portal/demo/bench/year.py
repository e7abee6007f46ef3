"""A realistic year in the database, by bulk statements, and a plan that tells the measures who may do what.

Run as a process of its own: `python -m portal.demo.bench.year FAMILIES BOOKINGS BUYERS PLAN`.
"""

import datetime as dt
import itertools
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.demo.bench.settings")
    django.setup()

from allauth.account.models import EmailAddress
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from accounts.models import Address, Commune, CommuneFile, Terms, User
from bookings.models import Booking, Hold
from checkout.models import Cart, Order, OrderLine, Payment
from families.models import Beneficiary, Filiation
from portal.common.formats import today
from portal.common.money import ZERO
from portal.demo import data
from portal.demo.progress import say, step
from portal.outbox.models import Email
from services.models import Activity, OpenDay, Slot, Subscription, Tariff
from services.school_calendar import school_year
from wallet.actions import ADJUSTMENT, clearing_code, revenue_code, wallet_code
from wallet.models import LOADED, Account, Entry, Movement, Wallet

FIRST_NAMES = ("Louise", "Gabriel", "Jade", "Léo", "Ambre", "Raphaël", "Alba", "Maël", "Emma", "Noé", "Inès", "Adam")
LAST_NAMES = ("Roux", "Chambon", "Vidal", "Faure", "Gagne", "Souchon", "Boyer", "Pralong", "Liogier", "Bonnet")
CHUNK = 5000  # rows of one INSERT
LARGE_DEPOSIT = Decimal("30000.00")  # a buyer never runs out while the bench lasts
CROWD = 2000  # places a day where the bench buys again and again
CANTEEN, RACE, EVERY_DAY = "aiguilhe-restauration-scolaire", "agglo-ecole-des-sports", "agglo-velo-en-velay"
RACE_PLACES = 20

M = TypeVar("M", bound=Model)


@dataclass
class Offer:
    """One activity with one slot at one price, and its open days."""

    activity: Activity
    slot: Slot
    tariff: Tariff
    days: list[OpenDay]

    @classmethod
    def of(cls, service: str, first: dt.date, last: dt.date) -> "Offer":
        activity = Activity.objects.select_related("service").filter(service__slug=service).order_by("position")[0]
        slot = Slot.objects.filter(activity=activity).order_by("position")[0]
        tariff = Tariff.objects.select_related("profile").filter(slot=slot).order_by("profile__position")[0]
        days = OpenDay.objects.filter(activity=activity, date__range=(first, last), is_open=True).order_by("date")
        return cls(activity, slot, tariff, list(days))

    @property
    def path(self) -> str:
        return self.activity.get_absolute_url()


@dataclass
class Family:
    """An adult with children, what they may book, and what the children are booked for."""

    user: User
    children: list[Beneficiary]
    offers: list[Offer]
    deposit: Decimal = ZERO
    places: list[tuple[Beneficiary, OpenDay, Offer]] = field(default_factory=list)

    @property
    def children_keys(self) -> list[int]:
        return [child.pk for child in self.children]


@dataclass
class Purchase:
    """The lines of one month of a family, bought at once."""

    family: Family
    places: list[tuple[Beneficiary, OpenDay, Offer]]
    by_card: bool

    @property
    def total(self) -> Decimal:
        return sum((offer.tariff.price for _child, _day, offer in self.places), ZERO)


def bulk(rows: Iterable[M]) -> list[M]:
    """Insert rows of one model in large statements; returns them with their keys.

    The planner is then told of them: it would go on checking foreign keys by reading whole tables that were empty
    when it looked last, which makes the load ten times as long.
    """
    found = list(rows)
    if found:
        model = type(found[0])
        model._default_manager.bulk_create(found, batch_size=CHUNK)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {connection.ops.quote_name(model._meta.db_table)}")
    return found


class Year:
    """Builds the year; the order of the methods is that of the foreign keys."""

    def __init__(self, families: int, bookings: int, buyers: int) -> None:
        self.family_count, self.booking_count, self.buyer_count = families, bookings, buyers
        self.first, self.last = school_year(today())
        self.next_first, self.next_last = school_year(self.last + dt.timedelta(days=30))
        self.now = timezone.now()
        self.password = make_password(secrets.token_urlsafe(16))
        self.operator = User.objects.get(email="agglo@demo.example")
        self.terms = Terms.objects.current(Terms.Kind.SALE)
        self.commune = Commune.objects.get(name="Aiguilhe")
        self.numbers = itertools.count(1)

    def build(self) -> dict[str, Any]:
        canteens = [
            Offer.of(slug, self.first, self.last)
            for slug in Activity.objects.filter(slug="repas")
            .order_by("service__slug")
            .values_list("service__slug", flat=True)
        ]
        canteen = Offer.of(CANTEEN, self.next_first, self.next_last)
        race = Offer.of(RACE, today(), self.next_last)
        every_day = Offer.of(EVERY_DAY, self.next_first, self.next_last)
        with step(f"Familles : {self.family_count}, et {self.buyer_count} qui achèteront"):
            families = self.families(
                [(1 + index % 3, [canteens[index % len(canteens)]]) for index in range(self.family_count)]
            )
            lookers = self.families([(2, [canteen, every_day]), (6, [canteen, every_day])])
            (reader,) = self.families([(2, [canteens[0]])])
            buyers = self.families([(2, [canteen, race])] * self.buyer_count, deposit=LARGE_DEPOSIT)
        # What this one reads is the same however many others have booked: a year of both children.
        room = [day for day in canteens[0].days if day.free >= len(reader.children)]
        reader.places = [(child, day, canteens[0]) for child in reader.children for day in room]
        self.choose_places(families, canteens, Counter(day.pk for _child, day, _offer in reader.places))
        for family in lookers:  # a third of next year's days are booked for the first child
            family.places = [(family.children[0], day, canteen) for day in canteen.days[::3]]
        everybody = [*families, *lookers, reader, *buyers]
        purchases = list(self.purchases(everybody))
        count = sum(len(purchase.places) for purchase in purchases)
        with step(f"Réservations : {count}, en {len(purchases)} commandes payées"), transaction.atomic():
            orders = self.orders(purchases)
            self.ledger(everybody, purchases, orders)
        self.crowd(canteen)
        with step("Statistiques du planificateur"), connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        return self.plan(reader, lookers, buyers, canteen, race, every_day)

    # --- people

    def families(self, wanted: Sequence[tuple[int, list[Offer]]], *, deposit: Decimal = ZERO) -> list[Family]:
        users = bulk(self.user(next(self.numbers)) for _family in wanted)
        bulk(EmailAddress(user=user, email=user.email, verified=True, primary=True) for user in users)
        bulk(
            Address(user=user, line1=f"{user.pk} rue du Rocher", postal_code="43000", city="Aiguilhe", is_default=True)
            for user in users
        )
        bulk(CommuneFile(user=user, commune=self.commune, reason=CommuneFile.Reason.RESIDENT) for user in users)
        found = [
            Family(
                user,
                [
                    Beneficiary(
                        first_name=FIRST_NAMES[(user.pk + rank) % len(FIRST_NAMES)],
                        last_name=user.last_name,
                        birth_date=dt.date(2014 + rank, 1 + rank, 1 + user.pk % 28),
                    )
                    for rank in range(children)
                ],
                offers,
                deposit,
            )
            for user, (children, offers) in zip(users, wanted, strict=True)
        ]
        bulk(child for family in found for child in family.children)
        bulk(
            Filiation(user=family.user, beneficiary=child, kind=Filiation.Kind.MOTHER)
            for family in found
            for child in family.children
        )
        bulk(
            Subscription(
                user=family.user,
                profile=offer.tariff.profile,
                status=Subscription.Status.APPROVED,
                decided_at=self.now,
                decided_by=self.operator,
            )
            for family in found
            for offer in family.offers
        )
        accounts = bulk(Account(kind=Account.Kind.WALLET, code=wallet_code(family.user)) for family in found)
        bulk(Wallet(user=family.user, account=account) for family, account in zip(found, accounts, strict=True))
        return found

    def user(self, number: int) -> User:
        return User(
            email=f"mesure{number}@bench.example",
            first_name=FIRST_NAMES[number % len(FIRST_NAMES)],
            last_name=LAST_NAMES[number % len(LAST_NAMES)],
            commune=self.commune,
            password=self.password,
            status=User.Status.APPROVED,
            completed_at=self.now,
            decided_at=self.now,
            decided_by=self.operator,
        )

    # --- what they booked

    def choose_places(self, families: Sequence[Family], canteens: Sequence[Offer], taken: Counter[int]) -> None:
        """Canteen days of the whole year, child by child and day by day, until there are enough of them.

        `taken` are the places that somebody has had before, by day.
        """
        wednesdays = Offer.of(RACE, self.first, self.last)
        left = self.booking_count
        free = {day.pk: day.free - taken[day.pk] for offer in [*canteens, wednesdays] for day in offer.days}
        for offer_of in (lambda family: family.offers[0], lambda family: wednesdays):
            for index, family in enumerate(families):
                offer: Offer = offer_of(family)
                for rank, child in enumerate(family.children):
                    for number, day in enumerate(offer.days):
                        if not left:
                            return
                        # One day in nineteen is missed, not the same for all.
                        if free[day.pk] <= 0 or (number + index + rank) % 19 == 0:
                            continue
                        free[day.pk] -= 1
                        family.places.append((child, day, offer))
                        left -= 1

    def purchases(self, families: Sequence[Family]) -> Iterator[Purchase]:
        """One order a month and family; every other one by card."""
        for family in families:
            months = itertools.groupby(
                sorted(family.places, key=lambda place: (place[1].date, place[0].pk)),
                key=lambda place: (place[1].date.year, place[1].date.month),
            )
            for number, (_month, places) in enumerate(months):
                yield Purchase(family, list(places), by_card=number % 2 == 1)

    def orders(self, purchases: Sequence[Purchase]) -> list[Order]:
        """Holds, bookings, carts, orders with their lines and payments, e-mails: as a purchase leaves them."""
        holds = bulk(Hold(user=purchase.family.user, expires_at=self.now) for purchase in purchases)
        bookings = bulk(
            self.booking(purchase, hold, *place)
            for purchase, hold in zip(purchases, holds, strict=True)
            for place in purchase.places
        )
        carts = bulk(
            Cart(user=purchase.family.user, hold=hold, status=Cart.Status.DONE, terms=self.terms)
            for purchase, hold in zip(purchases, holds, strict=True)
        )
        orders = bulk(
            Order(
                user=purchase.family.user,
                status=Order.Status.PAID,
                paid_at=self.now,
                total=purchase.total,
                cart=cart,
                billing_address="12 rue du Rocher, 43000 Aiguilhe",
                terms=self.terms,
            )
            for purchase, cart in zip(purchases, carts, strict=True)
        )
        booked = iter(bookings)
        bulk(
            OrderLine(
                order=order,
                booking=next(booked),
                commune_id=offer.activity.service.commune_id,
                label=offer.activity.name,
                detail=offer.slot.name,
                beneficiary_name=str(child),
                date=day.date,
                unit_price=offer.tariff.price,
                nature=offer.slot.nature,
                meal_price=offer.slot.meal_price,
            )
            for purchase, order in zip(purchases, orders, strict=True)
            for child, day, offer in purchase.places
        )
        bulk(
            Payment(
                order=order,
                provider="demo" if purchase.by_card else Payment.WALLET,
                amount=purchase.total,
                status=Payment.Status.CAPTURED,
                ended_at=self.now,
            )
            for purchase, order in zip(purchases, orders, strict=True)
        )
        bulk(
            Email(
                key=f"order:{order.pk}:paid",
                to=order.user.email,
                subject=f"Commande {order.pk} payée",
                body="Bonjour,\n\nVotre commande est payée.\n" * 10,
                status=Email.Status.SENT,
                sent_at=self.now,
            )
            for order in orders
        )
        return orders

    def booking(self, purchase: Purchase, hold: Hold, child: Beneficiary, day: OpenDay, offer: Offer) -> Booking:
        return Booking(
            beneficiary=child,
            open_day=day,
            slot=offer.slot,
            hold=hold,
            made_by=purchase.family.user,
            may_overlap=offer.activity.may_overlap,
            status=Booking.Status.BOOKED,
            booked_at=self.now,
            period=TimestamptzRange(*offer.slot.span(day.date)),
        )

    def ledger(self, families: Sequence[Family], purchases: Sequence[Purchase], orders: Sequence[Order]) -> None:
        """A deposit for each family, then a movement for each order; the triggers move the balances."""
        spent: dict[int, Decimal] = {}
        for purchase in purchases:
            if not purchase.by_card:
                key = purchase.family.user.pk
                spent[key] = spent.get(key, ZERO) + purchase.total
        deposits = {
            family.user.pk: family.deposit + spent.get(family.user.pk, ZERO) + Decimal("50.00") for family in families
        }
        with connection.cursor() as cursor:  # loaded, as wallet.actions.adjust does: no counter has a receipt of them
            cursor.execute("SELECT set_config('wallet.loading', 'on', true)")
        self.post(
            Movement.Kind.ADJUSTMENT,
            "Crédits de départ",
            [
                (f"{LOADED}bench:deposit:{key}", {wallet_code(key): amount, ADJUSTMENT: -amount})
                for key, amount in deposits.items()
            ],
        )
        movements = []
        for purchase, order in zip(purchases, orders, strict=True):
            amounts: dict[str, Decimal] = {}
            for _child, _day, offer in purchase.places:
                code = revenue_code(offer.activity.service.commune_id)
                amounts[code] = amounts.get(code, ZERO) + offer.tariff.price
            source = clearing_code("demo") if purchase.by_card else wallet_code(purchase.family.user)
            movements.append((f"order:{order.pk}:paid", {source: -purchase.total, **amounts}))
        self.post(Movement.Kind.ORDER, "Commande", movements)

    def post(self, kind: Movement.Kind, label: str, wanted: Sequence[tuple[str, dict[str, Decimal]]]) -> None:
        codes = {code for _key, amounts in wanted for code in amounts}
        accounts = {row.code: row for row in Account.objects.filter(code__in=codes)}
        for code in codes - accounts.keys():
            nature, _sep, owner = code.partition(":")
            commune = int(owner) if nature == Account.Kind.REVENUE and owner.isdigit() else None
            accounts[code] = Account.objects.create(kind=Account.Kind(nature), code=code, commune_id=commune)
        movements = bulk(Movement(kind=kind, key=key, label=label, by=self.operator) for key, _amounts in wanted)
        bulk(
            Entry(movement=movement, account=accounts[code], amount=amount)
            for movement, (_key, amounts) in zip(movements, wanted, strict=True)
            for code, amount in amounts.items()
        )

    # --- for the measures

    def crowd(self, canteen: Offer) -> None:
        """Room for the bench to buy the same days again and again."""
        OpenDay.objects.filter(activity=canteen.activity, date__gte=today()).update(capacity=CROWD, by_hand=True)

    def plan(
        self,
        reader: Family,
        lookers: Sequence[Family],
        buyers: Sequence[Family],
        canteen: Offer,
        race: Offer,
        every_day: Offer,
    ) -> dict[str, Any]:
        soon = self.now + dt.timedelta(hours=1)
        open_days = [
            day.isoformat()
            for day in OpenDay.objects.filter(activity=canteen.activity)
            .bookable(at=soon)
            .order_by("date")
            .values_list("date", flat=True)
        ]
        # Read again: the year's bookings may have taken places there.
        race_days = OpenDay.objects.filter(pk__in=[day.pk for day in race.days], taken=0).bookable(at=soon)[:5]
        OpenDay.objects.filter(pk__in=[day.pk for day in race_days]).update(capacity=RACE_PLACES, by_hand=True)
        sessions = self.sessions([*buyers, *lookers, reader])
        return {
            "service": canteen.activity.service.get_absolute_url(),
            "activity": canteen.path,
            "every_day": every_day.path,
            "next_year": self.next_first.year,
            "slot": str(canteen.slot.pk),
            "dates": open_days,
            "every_day_count": len(every_day.days),
            "race": {
                "activity": race.path,
                "slot": str(race.slot.pk),
                "days": [[day.pk, day.date.isoformat()] for day in race_days],
                "places": RACE_PLACES,
            },
            "buyers": [
                {"session": session, "children": [str(key) for key in family.children_keys]}
                for session, family in zip(sessions, buyers, strict=False)
            ],
            "lookers": {
                str(len(row.children)): key for row, key in zip(lookers, sessions[len(buyers) :], strict=False)
            },
            "reader": sessions[-1],
            "bookings": Booking.objects.count(),
        }

    def sessions(self, families: Sequence[Family]) -> list[str]:
        """What signing in leaves: a session that names the user and proves their password."""
        rows = []
        for family in families:
            store = SessionStore()
            store[SESSION_KEY] = str(family.user.pk)
            store[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
            store[HASH_SESSION_KEY] = family.user.get_session_auth_hash()
            rows.append(
                Session(
                    session_key=f"bench{secrets.token_hex(13)}"[:32],
                    session_data=store.encode(dict(store.items())),
                    expire_date=store.get_expiry_date(),
                )
            )
        return [row.session_key for row in bulk(rows)]


def main() -> None:
    families, bookings, buyers = (int(text) for text in sys.argv[1:4])
    with step("Base de données : migrations"):
        call_command("migrate", interactive=False, verbosity=0)
    with step("Communes, services, calendriers"):
        data.load(lambda text: say(f"    {text}"))
    plan = Year(families, bookings, buyers).build()
    Path(sys.argv[4]).write_text(json.dumps(plan))


if __name__ == "__main__":
    main()
