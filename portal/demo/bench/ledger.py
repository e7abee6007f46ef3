"""A ledger of ten million entries, and what posting, balances and the nightly check then cost.

    DATABASE_URL=… DEMO=on python -m portal.demo.bench.ledger [entries]

Writes into a migrated database of its own (COPY, triggers off) and leaves it there; prints each measure beside that of
the empty ledger, before anything was loaded.
"""

import io
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import django
from django.db import connection, transaction

ENTRIES = 10_000_000
CHUNK = 250_000
WALLETS = 5_000
DAYS = 1_500
NULL = r"\N"


def main(entries: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from wallet.closings.actions import write_checkpoints
    from wallet.verification import verify

    _accounts()
    write_checkpoints()
    before = {name: _median(action) for name, action in _measures().items()}
    print(f"Chargement de {entries} écritures…", flush=True)
    print(f"  {_seconds(lambda: _load(entries)):.0f} s")
    print(f"Soldes intermédiaires : {_seconds(write_checkpoints):.1f} s")
    for name, action in _measures().items():
        after = _median(action)
        print(f"{name:<28} {before[name] * 1000:7.2f} ms -> {after * 1000:7.2f} ms  (x {after / before[name]:.2f})")
    differences: list[str] = []
    print(f"verify_ledger : {_seconds(lambda: differences.extend(verify())):.1f} s, {len(differences)} différence(s)")
    print(f"mémoire la plus haute : {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} Mo")


def _measures() -> dict[str, Callable[[], object]]:
    from wallet import actions as ledger
    from wallet.models import Account, Entry, Movement, Wallet

    wallet = Wallet.objects.order_by("pk")[0]
    number = iter(range(10**9))

    def post() -> None:
        with transaction.atomic():
            ledger.post(
                kind=Movement.Kind.COUNTER,
                key=f"bench:{time.time_ns()}:{next(number)}",
                label="Mesure",
                amounts={wallet.account.code: Decimal(1), ledger.till_code("cash"): Decimal(-1)},
                by=None,
            )

    return {
        "écrire un mouvement": post,
        "soldes de tous les comptes": lambda: list(Account.objects.exclude(kind=Account.Kind.WALLET).with_totals()),
        "solde d’un compte": lambda: Account.objects.get(code="revenue:agglo").balance(),
        "page d’un porte-monnaie": lambda: list(Entry.objects.of_wallet(wallet)[:20]),
    }


def _accounts() -> None:
    from accounts.models import User
    from wallet.models import Account, Wallet

    users = User.objects.bulk_create(
        [User(email=f"grand-livre-{index}@exemple.fr", first_name="x", last_name="y") for index in range(WALLETS)]
    )
    accounts = Account.objects.bulk_create([Account(code=f"wallet:{user.pk}", kind="wallet") for user in users])
    Wallet.objects.bulk_create([Wallet(user=user, account=row) for user, row in zip(users, accounts, strict=True)])
    for code, kind in (("revenue:agglo", "revenue"), ("till:cash", "till")):
        Account.objects.get_or_create(code=code, defaults={"kind": kind})


def _load(entries: int) -> None:
    """Half the movements fill wallets, the other half spend what they were given, so that every balance is zero."""
    from wallet.models import Account

    wallets = list(Account.objects.filter(kind="wallet").order_by("pk").values_list("pk", flat=True))
    till, revenue = (Account.objects.get(code=code).pk for code in ("till:cash", "revenue:agglo"))
    start = time.time() - DAYS * 86400
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM wallet_movement")
        movement = cursor.fetchone()[0]
        cursor.execute("SELECT coalesce(max(id), 0) FROM wallet_entry")
        entry = cursor.fetchone()[0]
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SELECT account_id, balance FROM wallet_wallet")
        balances = {account: int(balance) for account, balance in cursor.fetchall()}
        for chunk in range(0, entries // 2, CHUNK):
            movements, lines = io.StringIO(), io.StringIO()
            for index in range(chunk, min(chunk + CHUNK, entries // 2)):
                movement += 1
                at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(start + index * DAYS * 86400 / (entries // 2)))
                account, fills = wallets[(index // 2) % len(wallets)], index % 2 == 0
                movements.write(f"{movement}\t{'counter' if fills else 'order'}\tcopy:{movement}\tx\t{at}\n")
                balances[account] += 5 if fills else -5
                for owner, amount, after in (
                    (account, 5 if fills else -5, balances[account]),
                    (till if fills else revenue, -5 if fills else 5, None),
                ):
                    entry += 1
                    lines.write(f"{entry}\t{movement}\t{owner}\t{amount}\t{NULL if after is None else after}\n")
            for table, columns, text in (
                ("wallet_movement", "id, kind, key, label, at", movements),
                ("wallet_entry", "id, movement_id, account_id, amount, balance_after", lines),
            ):
                with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    copy.write(text.getvalue())
        cursor.execute("SET session_replication_role = DEFAULT")
        for table in ("wallet_movement", "wallet_entry"):
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, max(movement, entry)])
            cursor.execute(f"ANALYZE {table}")


def _median(action: Callable[[], object], times: int = 200) -> float:
    for _warm in range(20):
        action()
    return statistics.median(_seconds(action) for _time in range(times))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES)
