"""Posting to the ledger. Nothing else writes it, and what is written stays."""

from collections.abc import Collection, Mapping
from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Commune, User
from portal.common.errors import Refused
from portal.common.formats import shortened
from portal.common.money import ZERO
from wallet.models import LOADED, LONGEST_LABEL, Account, Entry, Movement, Wallet

RESERVED = "reserved"
FEES = "fees"
TRANSFERS = "transfers"
REMITTING = "remitting"
BANK = "bank"
BANK_FEES = "bank_fees"
EXPIRED = "expired"
ADJUSTMENT = "adjustment"

OF_A_COMMUNE = {Account.Kind.REVENUE, Account.Kind.VOUCHER}

# The key is unique: of two that post the same, the second waits for the first and then writes nothing.
INSERT_MOVEMENT = """
    INSERT INTO wallet_movement (kind, key, label, at, by_id, reverses_id) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (key) DO NOTHING RETURNING id
"""

NOT_ENOUGH = gettext_lazy("Votre porte-monnaie ne contient pas assez pour ce règlement. Rien n’a été débité.")


def revenue_code(commune: Commune | int | None) -> str:
    """The code of the account that owes a commune (by key) its share; None stands for the agglomération."""
    return f"revenue:{_commune(commune)}"


def voucher_code(commune: Commune | int | None) -> str:
    """The code of the account of the discounts that a commune (by key) bears; None stands for the agglomération."""
    return f"voucher:{_commune(commune)}"


def _commune(commune: Commune | int | None) -> str:
    if commune is None:
        return "agglo"
    return str(commune.pk if isinstance(commune, Commune) else commune)


def clearing_code(provider: str) -> str:
    """The code of the account of what a provider has taken from cards and still owes the régie."""
    return f"clearing:{provider}"


def refunding_code(provider: str) -> str:
    """The code of the account of what is on its way back to cards."""
    return f"refunding:{provider}"


def till_code(means: str) -> str:
    """The code of the account of what lies in the till: `cash`, `cheque` or `cesu`."""
    return f"till:{means}"


def wallet_code(user: User | int) -> str:
    return f"wallet:{user.pk if isinstance(user, User) else user}"


def wallet_of(user: User) -> Wallet:
    """The person's wallet, opened empty when it is first needed."""
    wallet = Wallet.objects.filter(user=user).first()
    if wallet is None:
        with transaction.atomic():
            account, _created = Account.objects.get_or_create(
                code=wallet_code(user), defaults={"kind": Account.Kind.WALLET}
            )
            wallet, _created = Wallet.objects.get_or_create(user=user, defaults={"account": account})
    return wallet


def post(
    *,
    kind: Movement.Kind,
    key: str,
    label: str,
    amounts: Mapping[str, Decimal],
    by: User | None,
    reverses: Movement | None = None,
) -> int:
    """Write one movement of entries in euros, by account code, and return its key in the table.

    Runs in the caller's transaction. The same `key` is written once: a second call returns the first movement and
    posts nothing. Entries of zero are left out. Raises Refused when a wallet holds too little, ValueError when the
    amounts do not sum to zero (a mistake of ours, which the database would refuse at commit).
    """
    entries = {code: amount for code, amount in amounts.items() if amount}
    if sum(entries.values()) != ZERO:
        raise ValueError(f"the movement {key} does not sum to zero: {entries}")
    accounts = _accounts(entries.keys())
    # Wallets are locked before their entries are numbered: the order of the entries is then that of the balances.
    wallets = Wallet.objects.filter(account__in=accounts.values()).order_by("pk").select_for_update(no_key=True)
    if not _covers(entries, accounts, {wallet.account_id: wallet.balance for wallet in wallets}):
        # The money may be gone because this very movement took it: whoever wrote it held the lock that we have now.
        written = Movement.objects.filter(key=key).values_list("pk", flat=True).first()
        if written is None:
            raise Refused(str(NOT_ENOUGH), code="wallet_is_not_overdrawn")
        return written
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT_MOVEMENT,
            [
                kind,
                key,
                shortened(label, LONGEST_LABEL),
                timezone.now(),
                by.pk if by else None,
                reverses.pk if reverses else None,
            ],
        )
        row = cursor.fetchone()
    if row is None:
        return Movement.objects.values_list("pk", flat=True).get(key=key)
    movement_id: int = row[0]
    Entry.objects.bulk_create(
        [Entry(movement_id=movement_id, account=accounts[code], amount=amount) for code, amount in entries.items()]
    )
    return movement_id


@transaction.atomic
def adjust(*, user: User, amount: Decimal, reason: str, key: str, by: User) -> None:
    """Load a wallet in the demonstration and in tests, in euros: without the second person that a correction takes.

    Raises Refused anywhere else (wallet.corrections is the way there), without a reason, and when the wallet holds too
    little.
    """
    if not settings.DEMO:
        raise Refused(_("Une régularisation se propose, et une autre personne en décide."), code="two_persons")
    if not reason.strip():
        raise Refused(_("Écrivez le motif : la personne le lira dans ses mouvements."), code="reason_missing")
    wallet_of(user)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('wallet.loading', 'on', true)")
    post(
        kind=Movement.Kind.ADJUSTMENT,
        key=LOADED + key,
        label=reason.strip(),
        amounts={wallet_code(user): amount, ADJUSTMENT: -amount},
        by=by,
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('wallet.loading', 'off', true)")


def _covers(entries: Mapping[str, Decimal], accounts: Mapping[str, Account], balances: Mapping[int, Decimal]) -> bool:
    """Whether the wallets hold enough: what their CHECK would refuse is said in a sentence before."""
    return all(balances.get(accounts[code].pk, -amount) + amount >= 0 for code, amount in entries.items())


def _accounts(codes: Collection[str]) -> dict[str, Account]:
    wanted = set(codes)
    found = {account.code: account for account in Account.objects.filter(code__in=wanted)}
    for code in wanted - found.keys():
        kind, _sep, owner = code.partition(":")
        commune = int(owner) if kind in OF_A_COMMUNE and owner.isdigit() else None
        found[code], _created = Account.objects.get_or_create(
            code=code, defaults={"kind": Account.Kind(kind), "commune_id": commune}
        )
    return found
