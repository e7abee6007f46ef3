"""What nobody may write past the ledger, its wallets, corrections, closings and transfers."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from accounts.models import User
from tests.admin.world import Town
from tests.factories import UserFactory, agent_of
from tests.faults_of import (
    Act,
    Fault,
    added,
    agent,
    changed,
    kept_right,
    made,
    movement,
    now,
    other_parent,
    parent,
    row_of,
    somebody,
    the,
    written,
)
from wallet import actions as ledger
from wallet.corrections.models import Correction
from wallet.models import Account, Entry, Movement, Wallet
from wallet.withdrawals.models import Withdrawal

ADJUSTMENT = Account(code="adjustment", kind="adjustment")
FEES, TILL = Account(code="fees", kind="fees"), Account(code="till:cash", kind="till")


def move(*entries: tuple[Account, str], **values: Any) -> None:
    """A movement as a psql prompt would write it: nothing is asked of its entries."""
    row = Movement.objects.create(**{"kind": "counter", "key": uuid.uuid4().hex, "label": "x"} | values)
    Entry.objects.bulk_create(
        Entry(
            movement=row,
            account=Account.objects.get_or_create(code=account.code, defaults={"kind": account.kind})[0],
            amount=Decimal(amount),
        )
        for account, amount in entries
    )


def account_of(place: Town) -> Account:
    account: Account = place.rows["wallet.account"]
    return account


def spend(amount: str) -> Fault:
    """Of the twenty euros that the place's wallet holds."""
    return written(
        lambda place: move((account_of(place), f"-{amount}"), (FEES, amount)),
        lambda _place: Wallet.objects.filter(balance__lt=0).exists(),
    )


def balance_is_wrong(place: Town) -> bool:
    entries = Entry.objects.filter(account=account_of(place)).aggregate(sum=Sum("amount"))["sum"]
    return Wallet.objects.get(account=account_of(place)).balance != entries


def another_operator(_place: Town) -> object:
    return agent_of()


def wallet_with_expiry(place: Town) -> object:
    """Somebody's wallet whose credits are proposed to be prescribed."""
    wallet = ledger.wallet_of(UserFactory())
    Correction.objects.create(kind="expiry", wallet=wallet, amount=-1, reason="x", proposed_by=place.agent)
    return wallet


def movement_to_be_reversed(place: Town) -> object:
    row = movement(place)
    Correction.objects.create(kind="reversal", reverses=row, reason="x", proposed_by=place.agent)
    return row


REVERSAL: dict[str, Any] = {"kind": "reversal", "wallet": None, "amount": None}

LEDGER: dict[str, list[Fault]] = {
    "wallet.Entry:entry_is_not_zero": [
        written(
            lambda _place: move((FEES, "1"), (TILL, "-1"), (TILL, "0")),
            lambda _place: Entry.objects.filter(amount=0).exists(),
        )
    ],
    "wallet.Entry:movement_sums_to_zero": [
        written(
            lambda _place: move((FEES, "500"), (TILL, "-1")),
            lambda _place: Entry.objects.filter(amount=500).exists(),
            "does not sum to zero",
        )
    ],
    "wallet.Entry:move_balance": [
        kept_right(lambda place: move((account_of(place), "3"), (TILL, "-3")), balance_is_wrong),
        kept_right(lambda place: move((account_of(place), "-3"), (FEES, "3")), balance_is_wrong),
        written(
            lambda _place: move((Account(code="wallet:987654", kind="wallet"), "3"), (TILL, "-3")),
            lambda _place: Entry.objects.filter(account__code="wallet:987654").exists(),
            "its wallet is not open",
        ),
    ],
    "wallet.Movement:movement_has_entries": [
        added("has fewer than two entries", kind="counter"),
        written(
            lambda _place: move((FEES, "1")),
            lambda _place: Entry.objects.filter(account__code="fees", amount=1).exists(),
            "has fewer than two entries",
            behind=("wallet.Entry:movement_sums_to_zero",),
        ),
    ],
    "wallet.Wallet:wallet_is_not_overdrawn": [spend("20.01"), spend("500")],
    "wallet.Wallet:balance_follows_entries": [
        changed("moves only with its entries", balance=Decimal(99)),
        changed("moves only with its entries", balance=Decimal(0)),
    ],
    "wallet.TopUpPack:pack_is_positive": [added(amount=Decimal(0)), added(amount=Decimal(-5))],
    "wallet.TopUpPack:offered_pack_is_of_whole_euros": [
        added(amount=Decimal("7.50")),
        added(amount=Decimal(1001)),
        changed(amount=Decimal("0.50")),
    ],
}


def reference_of_another(place: Town) -> object:
    person = another_operator(place)
    asked = {"kind": "till", "account": till(place), "amount": Decimal(2), "reason": "Compté", "proposed_by": person}
    return Correction.objects.create(reference=uuid.uuid4(), **asked).reference


def till(_place: Town) -> Account:
    return Account.objects.get_or_create(code="till:cesu", defaults={"kind": "till"})[0]


def reserved(_place: Town) -> Account:
    return Account.objects.get_or_create(code="reserved", defaults={"kind": "reserved"})[0]


def outside(_place: Town) -> Account:
    return Account.objects.get_or_create(code="bank", defaults={"kind": "bank"})[0]


def till_that_is_corrected(place: Town) -> Account:
    corrected = till(place)
    Correction.objects.create(
        kind="till", account=corrected, amount=Decimal(2), reason="Compté", proposed_by=another_operator(place)
    )
    return corrected


def outside_that_is_corrected(place: Town) -> Account:
    corrected = outside(place)
    Correction.objects.create(
        kind="account", account=corrected, amount=Decimal(2), reason="Inconnu", proposed_by=another_operator(place)
    )
    return corrected


def other_wallet(_place: Town) -> Account:
    return ledger.wallet_of(UserFactory()).account


def posted_as(
    *entries: tuple[Account | Callable[[Town], Account], str],
    kind: str = "adjustment",
    key: str = "correction:{}",
    first: bool = False,
    asked: dict[str, Any] | None = None,
) -> Fault:
    """Two have agreed on ten euros for the place's wallet, or on what is `asked`, and this is what moves; `first`: that too."""

    def at(place: Town, _label: str) -> Act:
        agreed = asked or {
            "kind": "wallet",
            "wallet": Wallet.objects.get(account=account_of(place)),
            "amount": Decimal(10),
        }
        row = Correction.objects.create(**made(place, agreed), reason="x", proposed_by=place.agent)
        second, name = agent_of(), key.format(row.pk)
        found = [(account(place) if callable(account) else account, amount) for account, amount in entries]

        def write() -> None:
            Correction.objects.filter(pk=row.pk).update(status="approved", decided_by=second, decided_at=timezone.now())
            if first:
                move((account_of(place), "10"), (ADJUSTMENT, "-10"), kind=kind, key=row.key)
            move(*found, kind=kind, key=name, reverses=row.reverses)

        return Act(write, lambda: Movement.objects.filter(key=name).exists())

    return Fault(at, "moves something else than what was agreed")


CORRECTIONS: dict[str, list[Fault]] = {
    "wallet.Movement:moves_what_was_agreed": [
        posted_as((account_of, "1000"), (ADJUSTMENT, "-1000")),
        posted_as((account_of, "-10"), (ADJUSTMENT, "10")),
        posted_as((other_wallet, "10"), (ADJUSTMENT, "-10")),
        posted_as((account_of, "10"), (FEES, "-10")),
        posted_as((account_of, "10"), (other_wallet, "5"), (ADJUSTMENT, "-15")),
        posted_as((account_of, "10"), (ADJUSTMENT, "-10"), kind="counter"),
        posted_as((account_of, "10"), (ADJUSTMENT, "-10"), key="correction:0{}", first=True),
        posted_as((till, "3"), (ADJUSTMENT, "-3"), asked={"kind": "till", "account": till, "amount": Decimal(3)}),
        posted_as((FEES, "-2"), (TILL, "2"), asked={"kind": "reversal", "reverses": movement}),
        posted_as((FEES, "1"), (TILL, "-1"), asked={"kind": "reversal", "reverses": movement}),
        written(
            lambda _place: move((FEES, "1"), (TILL, "-1"), key="correction:999999"),
            lambda _place: Movement.objects.filter(key="correction:999999").exists(),
            "moves something else than what was agreed",
        ),
    ],
    "wallet.Correction:correction_transitions": [
        changed(
            after={"status": "refused", "decided_by": another_operator, "decided_at": now},
            status="proposed",
            decided_by=None,
            decided_at=None,
        ),
    ],
    "wallet.Correction:correction_is_frozen": [
        changed(amount=Decimal(300)),
        changed(reason="Autre"),
        changed(proposed_by=another_operator),
    ],
    "wallet.Correction:correction_takes_two_persons": [
        changed(status="refused", decided_by=agent, decided_at=now),
        changed(status="withdrawn", decided_by=another_operator, decided_at=now),
    ],
    "wallet.Correction:decided_correction_is_signed": [
        changed(status="refused", decided_at=now),
        changed(status="refused", decided_by=another_operator),
        changed(decided_at=now),
    ],
    "wallet.Correction:correction_says_what_moves": [
        added(amount=Decimal(0)),
        added(amount=None),
        added(wallet=None),
        added(reverses=movement),
        added(kind="reversal"),
        added(kind="expiry", amount=Decimal(3)),
        added(account=till),
        added(kind="till", wallet=None, amount=Decimal(3)),
        added(kind="till", wallet=None, account=till, amount=Decimal(0)),
        added(kind="account", wallet=None, amount=Decimal(3)),
        added(kind="account", account=outside),
    ],
    "wallet.Correction:a_till_is_counted": [
        added(counted=Decimal(3)),
        added(kind="till", wallet=None, account=till, amount=Decimal(-3), counted=Decimal(-1)),
    ],
    "wallet.Correction:correction_of_a_page_once": [added(reference=reference_of_another)],
    "wallet.Correction:corrects_what_it_may": [
        added("not corrected like this", kind=kind, wallet=None, account=account, amount=Decimal(3))
        for kind, account in (("till", reserved), ("account", reserved), ("account", till))
    ],
    "wallet.Correction:till_correction_proposed_once": [
        added(kind="till", wallet=None, account=till_that_is_corrected, amount=Decimal(3)),
    ],
    "wallet.Correction:account_correction_proposed_once": [
        added("an equal one", kind="account", wallet=None, account=outside_that_is_corrected, amount=Decimal(2)),
    ],
    "wallet.Correction:expiry_proposed_once": [added(kind="expiry", amount=Decimal(-1), wallet=wallet_with_expiry)],
    "wallet.Correction:reversal_proposed_once": [added(**REVERSAL, reverses=movement_to_be_reversed)],
}

CLOSINGS: dict[str, list[Fault]] = {
    # The trigger in front looks at the order of days; without it two closings would still not be of one day.
    "wallet.Closing:period_closed_once": [
        added(kind="day", first_day=dt.date(2020, 1, 6), behind=("wallet.Closing:closes_what_is_over",))
    ],
    "wallet.Closing:closing_is_a_day_or_a_month": [
        added(kind="day", first_day=dt.date(2020, 1, 7), last_day=dt.date(2020, 1, 8), movements=0, turnover=0)
    ],
}


def said_returned(place: Town, *, by: User) -> None:
    """The place's request was at the bank; who says that it came back posts what gives it back, in small coin."""
    rows = Withdrawal.objects.filter(pk=row_of(place, "wallet.Withdrawal").pk)
    sent = {"order": the("wallet.TransferOrder")(place), "decided_at": timezone.now(), "decided_by": place.agent}
    for status in ("approved", "sent"):
        rows.update(status=status, **(sent if status == "sent" else sent | {"order": None}))
    key, amounts = f"withdrawal:{rows.get().pk}:back", {"fees": Decimal(1), "till:cash": Decimal(-1)}
    ledger.post(kind=Movement.Kind.COUNTER, key=key, label="x", amounts=amounts, by=by)
    rows.update(status="returned", ended_at=timezone.now())


TRANSFERS: dict[str, list[Fault]] = {
    "wallet.TransferOrder:transfer_order_carries_money": [added(total=Decimal(0)), added(count=0)],
    "wallet.TransferOrder:paid_transfer_order_is_signed": [added(paid_at=now), added(paid_by=agent)],
    "wallet.TransferOrder:cancelled_transfer_order_says_why": [
        added(cancelled_at=now, cancelled_by=agent),
        added(cancelled_at=now, reason="Mauvaise date"),
        added(cancelled_by=agent, reason="Mauvaise date"),
        added(cancelled_at=now, cancelled_by=agent, reason="x", paid_at=now, paid_by=agent),
    ],
    "wallet.Withdrawal:withdrawal_is_positive": [
        added(user=somebody, amount=Decimal(0)),
        added(user=somebody, amount=Decimal(-5)),
    ],
    "wallet.Withdrawal:decided_withdrawal_is_signed": [
        changed(status="approved"),
        changed(status="approved", decided_at=now),
        changed(status="approved", decided_by=agent),
    ],
    "wallet.Withdrawal:withdrawal_is_decided_by_another": [
        changed(status="approved", decided_at=now, decided_by=parent)
    ],
    "wallet.Withdrawal:withdrawal_is_decided_outside_its_family": [
        changed("on a request of their own family", status="approved", decided_at=now, decided_by=other_parent)
    ],
    "wallet.Withdrawal:withdrawal_is_returned_by_another": [
        written(
            lambda place: said_returned(place, by=other_parent(place)),
            lambda _place: Withdrawal.objects.filter(status="returned").exists(),
            "of their own family that a transfer came back",
        )
    ],
    "wallet.Withdrawal:ended_withdrawal_is_dated": [changed(status="cancelled"), changed(ended_at=now)],
    "wallet.Withdrawal:sent_withdrawal_has_its_order": [
        added(user=somebody, status="sent", decided_at=now, decided_by=agent),
        changed(order=the("wallet.TransferOrder")),
    ],
    "wallet.Withdrawal:one_running_withdrawal": [added(user=parent, status="requested")],
}

FAULTS = LEDGER | CORRECTIONS | CLOSINGS | TRANSFERS
