"""The world of the state machine: two families, a bank with books of its own, a régie, and what of all that was reached."""

import datetime as dt
import re
from collections import Counter
from decimal import Decimal

import pytest
from django.db.models import Sum

from accounts.models import Terms
from bookings.models import Booking, Ticket
from checkout.actions import payment, reconciliation
from checkout.models import Cart, Order, OrderLine, Payment, ProviderEvent, Refund
from checkout.providers.base import (
    Arrival,
    Departure,
    Health,
    Impossible,
    Known,
    Message,
    Outcome,
    Provider,
    Request,
    Unreachable,
)
from checkout.refunds import actions as refunds
from checkout.regie.models import Statement
from checkout.vouchers.models import VoucherUse
from portal.common.money import ZERO
from services.models import OpenDay, Tariff
from tests.factories import AddressFactory, EntriesFactory, SlotFactory, TariffFactory, TermsFactory, agent_of, regie
from tests.shop import Shop, family, open_shop
from tests.vouchers.making import voucher
from wallet.models import Account, Entry, Movement, TopUpPack
from wallet.withdrawals.models import Withdrawal

FEE = Decimal("0.10")  # what the bank keeps of each payment that it pays over


class Bank(Provider):
    """A provider with books of its own: what it was asked for and took by reference, what it paid back by key."""

    slug, label, can_refund = "demo", "Banque", True

    def __init__(self) -> None:
        self.asked: dict[str, Decimal] = {}
        self.stands: dict[str, Outcome] = {}
        self.taken: dict[str, Decimal] = {}
        self.back: dict[str, Decimal] = {}
        self.returned: dict[str, Decimal] = {}  # by the bank of the card, after it was paid back
        self.listed: set[str] = set()  # in a file of what it paid over
        self.files = 0
        self.down_for = 0  # calls
        self.refuses = False
        self.breaks_off = False

    def start(self, request: Request) -> Departure:
        self._answer()
        self.asked[request.reference] = request.amount
        return Departure("https://banque.exemple/")

    def read(self, arrival: Arrival) -> Message:
        raise AssertionError("messages are given to the action")

    def query(self, known: Known) -> Message:
        self._answer()
        return self.message(known.reference)

    def message(self, reference: str, amount: Decimal | None = None) -> Message:
        stands = self.stands.get(reference, Outcome.PENDING)
        return Message(reference, stands, amount or self.asked.get(reference, ZERO), f"B-{reference}")

    def decide(self, reference: str, outcome: Outcome) -> None:
        self.stands[reference] = outcome
        if outcome == Outcome.CAPTURED:
            self.taken[reference] = self.asked[reference]

    def refund(self, *, known: Known, amount: Decimal, key: str) -> str:
        self._answer()
        if self.refuses and key not in self.back:
            raise Impossible("closed account")
        assert self.back.setdefault(key, amount) == amount
        if self.breaks_off:
            raise Unreachable("the answer is lost")
        return f"R-{key}"

    def health(self) -> Health:
        return Health(True, not self.down_for, "")

    def _answer(self) -> None:
        if self.down_for:
            self.down_for -= 1
            raise Unreachable("down")

    def undecided(self) -> list[str]:
        """Who was refused may try again on the same page; a card is charged once for one reference."""
        return [reference for reference in self.asked if reference not in self.taken]

    def statement(self, *, again: bool) -> tuple[str, dict[str, Decimal]]:
        """The file of what it pays over, and its lines: those that no file had before, or (`again`) all."""
        lines = {
            **self.taken,
            **{key: -amount for key, amount in self.back.items()},
            **{f"{key}:returned": amount for key, amount in self.returned.items()},
        }
        if not again:
            lines = {key: amount for key, amount in lines.items() if key not in self.listed}
        self.listed |= lines.keys()
        self.files += 1
        rows = [
            f"{key.removesuffix(':returned')};{amount};{FEE if key in self.taken else 0}"
            for key, amount in lines.items()
        ]
        return "\n".join(["Référence;Montant;Commission", *rows, f"INCONNUE-{self.files};1,00;0"]), lines


class Town:
    """Two families (of two children and of one), four days of two places, one of them for the whole day; a pool."""

    def __init__(self) -> None:
        first = open_shop(days=4, capacity=2, children=2, credit="20")
        self.days: list[OpenDay] = first.days
        second = family(first.tariff, credit="20", days=first.days)
        self.families: list[Shop] = [first, second]
        self.commune = first.activity.service.commune
        whole_day = SlotFactory(
            activity=first.activity, name="Journée", capacity=1, starts_at=first.slot.starts_at, ends_at=dt.time(17)
        )
        entry = EntriesFactory(activity__service=first.activity.service, activity__refund_days=14)
        self.whole_days = self._beside(
            TariffFactory(slot=whole_day, profile=first.tariff.profile, price=Decimal("12.40"))
        )
        self.pool = self._beside(TariffFactory(slot=entry, profile=first.tariff.profile, price=Decimal("5.50")))
        for shop in self.families:
            AddressFactory(user=shop.user)
        TermsFactory(kind=Terms.Kind.SALE)
        self.operator = agent_of()
        regie(card_refunds=True)
        TopUpPack.objects.create(amount=Decimal(10))
        voucher("DIX", percent=Decimal(10), uses_per_family=None)
        voucher("CINQ", amount=Decimal(5), stackable=True, uses_per_family=3, commune=self.commune)
        voucher("UNEFOIS", percent=Decimal(50), max_uses=1)
        voucher("TOUT", percent=Decimal(100), uses_per_family=None, commune=self.commune)
        self.bank = Bank()
        self.settled: dict[str, Decimal] = {}  # lines of the bank's files that the platform had to post
        self.there: set[str] = set()
        self.last_movement = Movement.objects.latest("pk").pk
        self.counted: Counter[tuple[str, int, str]] = Counter()
        self.changed = True  # since the last look: something that the books are about
        self.patches = pytest.MonkeyPatch()
        for module, name in (
            (payment, "default_provider"),
            (payment, "find_provider"),
            (reconciliation, "find_provider"),
            (refunds, "find_provider"),
        ):
            self.patches.setattr(module, name, self._found)

    def _beside(self, tariff: Tariff) -> list[Shop]:
        """The same families at another slot."""
        return [Shop(tariff, row.user, row.children, row.subscription, row.days) for row in self.families]

    def _found(self, slug: str = "demo") -> Bank:
        if slug != "demo":
            raise KeyError(slug)
        return self.bank

    def leave(self) -> None:
        self.patches.undo()

    def someone(self, who: int, what: str) -> int:
        """The family that was drawn, or the other one where only she has what the step is about."""
        return who if f"{what} {who}" in self.there else 1 - who

    def look(self) -> set[str]:
        """See what is there, in words: `booked place 0`, `captured card`, `done refund`. What is new is returned."""
        before = self.there
        families = {shop.user.pk: number for number, shop in enumerate(self.families)}
        found: set[str] = set()
        carts = dict(Cart.objects.live().values_list("user", "status"))
        full = set(Cart.objects.live().filter(lines__isnull=False).values_list("user", flat=True))
        for user, number in families.items():
            if carts.get(user) != Cart.Status.PAYING:
                found.add(f"free {number}")
            if user in full:
                found |= {f"cart {number}", f"{carts[user]} cart {number}"}
        owned = [
            (Booking.objects.values_list("made_by", "status"), "place"),
            (Ticket.objects.values_list("made_by", "status"), "ticket"),
            (Order.objects.filter(kind="booking").values_list("user", "status"), "order"),
            (Order.objects.filter(kind="top_up").values_list("user", "status"), "deposit"),
            (Payment.objects.filter(provider="demo").values_list("order__user", "status"), "card"),
            (Payment.objects.filter(provider="wallet").values_list("order__user", "status"), "part"),
            (Refund.objects.values_list("payment__order__user", "status"), "refund"),
            (Withdrawal.objects.values_list("user", "status"), "withdrawal"),
            (VoucherUse.objects.values_list("user", "status"), "voucher"),
        ]
        counted = []
        for rows, what in owned:
            for user, status in rows.order_by():
                found |= {f"{status} {what}", f"{status} {what} {families[user]}"}
                counted.append((what, user, status))
        for provider in Payment.objects.filter(provider__in=Payment.COUNTER).values_list("provider", flat=True):
            found.add(f"{provider} at the counter")
        for outcome in ProviderEvent.objects.values_list("outcome", flat=True):
            found.add(f"{outcome} message")
        for paid, cancelled in Statement.objects.values_list("paid_on", "cancelled_at"):
            found.add(f"{'paid' if paid else 'cancelled' if cancelled else 'issued'} statement")
        if Order.objects.filter(status="paid", total=0).exists():
            found.add("order of nothing")
        if OrderLine.objects.filter(refund__key__startswith="order:").exists():
            found.add("line lost before its payment")
        if self.bank.undecided():
            found.add("open page")
        if self.bank.stands:
            found.add("word of the bank")
        if any(key not in self.bank.returned for key in self.bank.back):
            found.add("card that was paid back")
        moved = Movement.objects.filter(pk__gt=self.last_movement).order_by("pk").values_list("pk", "kind", "key")
        for pk, kind, key in moved:
            self.last_movement = pk
            found |= {f"movement {kind}", f"key {re.sub(r'[A-Z0-9-]*[A-Z0-9]{4,}[A-Z0-9-]*|[0-9-]+', '*', key)}"}
        self.changed, self.counted = bool(moved) or self.counted != Counter(counted), Counter(counted)
        self.there = {word for word in found if not word.startswith(("movement", "key"))}
        return found - before


def balance(code: str, **only: str) -> Decimal:
    """The sum of an account's entries, of the movements that are named."""
    rows = Entry.objects.filter(account__code=code, **only)
    return rows.aggregate(sum=Sum("amount"))["sum"] or ZERO


def balances(*kinds: Account.Kind) -> dict[str, Decimal]:
    """The same of all accounts of these kinds, by code."""
    rows = Account.objects.filter(kind__in=kinds).annotate(sum=Sum("entries__amount"))
    return {code: total or ZERO for code, total in rows.values_list("code", "sum")}
