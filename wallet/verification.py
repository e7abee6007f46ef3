"""Recomputing the ledger from its entries and corrections: slice by slice, so that ten million need no more memory than ten."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from accounts.models import User
from portal.common.formats import euros, of
from portal.common.money import ZERO
from wallet.models import AGREED, CORRECTION, LOADED

SLICE = 500_000  # movements looked at in one statement

BOUNDS = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM wallet_movement"
UNBALANCED = """
    SELECT m.id, m.key, sum(e.amount)
    FROM wallet_movement m LEFT JOIN wallet_entry e ON e.movement_id = m.id
    WHERE m.id >= %s AND m.id < %s
    GROUP BY m.id HAVING count(e.id) < 2 OR sum(e.amount) <> 0 ORDER BY m.id
"""

# Every account summed in one pass: as many rows as there are accounts.
WALLETS = """
    WITH summed AS (
        SELECT account_id, sum(amount) AS total, max(id) AS newest FROM wallet_entry GROUP BY account_id
    )
    SELECT w.user_id, w.balance, coalesce(s.total, 0), coalesce(e.balance_after, 0)
    FROM wallet_wallet w
    LEFT JOIN summed s ON s.account_id = w.account_id
    LEFT JOIN wallet_entry e ON e.id = s.newest
    WHERE w.balance <> coalesce(s.total, 0) OR coalesce(s.total, 0) <> coalesce(e.balance_after, 0)
    ORDER BY w.id
"""
ORPHANS = """
    SELECT a.code, coalesce((SELECT sum(amount) FROM wallet_entry e WHERE e.account_id = a.id), 0)
    FROM wallet_account a LEFT JOIN wallet_wallet w ON w.account_id = a.id
    WHERE a.kind = 'wallet' AND w.id IS NULL ORDER BY a.code
"""
CHECKPOINTS = """
    SELECT a.code, c.balance, coalesce(sum(e.amount), 0)
    FROM wallet_checkpoint c JOIN wallet_account a ON a.id = c.account_id
    LEFT JOIN wallet_entry e ON e.account_id = c.account_id AND e.id <= c.upto
    GROUP BY c.id, a.code HAVING c.balance <> coalesce(sum(e.amount), 0) ORDER BY a.code
"""
# A closing keeps, by account, what moved in its days; the wallets are one line.
CLOSINGS = """
    WITH moved AS (
        SELECT (m.at AT TIME ZONE 'Europe/Paris')::date AS day,
               CASE WHEN a.kind = 'wallet' THEN 'wallet' ELSE a.code END AS code, sum(e.amount) AS total
        FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_account a ON a.id = e.account_id
        WHERE m.at < (SELECT (max(last_day) + 1)::timestamp AT TIME ZONE 'Europe/Paris' FROM wallet_closing)
        GROUP BY 1, 2
    ), kept AS (
        SELECT c.id, c.first_day, c.last_day, r->>'code' AS code,
               (r->>'credit')::numeric - (r->>'debit')::numeric AS total
        FROM wallet_closing c, jsonb_array_elements(c.totals->'accounts') r
    ), found AS (
        SELECT c.id, c.first_day, c.last_day, moved.code, sum(moved.total) AS total
        FROM wallet_closing c JOIN moved ON moved.day BETWEEN c.first_day AND c.last_day GROUP BY 1, 2, 3, 4
    )
    SELECT coalesce(kept.first_day, found.first_day), coalesce(kept.last_day, found.last_day),
           coalesce(kept.code, found.code), coalesce(kept.total, 0), coalesce(found.total, 0)
    FROM kept FULL JOIN found ON found.id = kept.id AND found.code = kept.code
    WHERE coalesce(kept.total, 0) <> coalesce(found.total, 0) ORDER BY 1, 2, 3
"""
# Balances that one alone has loaded are believed in the demonstration and its tests, and told anywhere else (settings.DEMO).
IS_LOADED = f"m.kind IN ('adjustment', 'expiry') AND starts_with(m.key, '{LOADED}') AND %s"
# A manual movement that explains itself: two have approved it, or it is loaded.
EXPLAINS_ITSELF = f"""
    m.kind IN ('adjustment', 'expiry') AND (
        m.key IN (SELECT '{CORRECTION}' || id FROM wallet_correction WHERE status = 'approved') OR {IS_LOADED}
    )
"""  # noqa: S608  built of constants of the code alone
# Each correction with what its movement moved; a manual movement, or one that bears such a key, that is none which was
# approved is told as well.
CORRECTIONS = f"""
    WITH agreed AS (
        SELECT '{CORRECTION}' || id AS key, account_id, sum(amount) AS amount
        FROM ({AGREED}) a (id, account_id, amount) GROUP BY 1, 2
    ), moved AS (
        SELECT m.key, e.account_id, sum(e.amount) AS amount
        FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id
        WHERE (m.kind IN ('adjustment', 'expiry') OR m.key ^@ '{CORRECTION}') AND NOT ({IS_LOADED}) GROUP BY 1, 2
    )
    SELECT key, a.code, coalesce(agreed.amount, 0), coalesce(moved.amount, 0)
    FROM agreed FULL JOIN moved USING (key, account_id) JOIN wallet_account a ON a.id = account_id
    WHERE coalesce(agreed.amount, 0) <> coalesce(moved.amount, 0) ORDER BY 1, 2
"""  # noqa: S608  built of constants of the code alone
TOTAL = "SELECT coalesce(sum(amount), 0) FROM wallet_entry"


def verify() -> Iterator[str]:
    """Recompute the ledger from its entries; yields one sentence per difference, none when all is right."""
    ((first, last),) = _rows(BOUNDS)
    for start in range(first, last + 1, SLICE):
        for movement, key, total in _rows(UNBALANCED, start, start + SLICE):
            yield _("Mouvement %(id)s (%(key)s) : la somme des écritures vaut %(total)s.") % {
                "id": movement,
                "key": key,
                "total": euros(total or ZERO),
            }
    for user, balance, summed, _newest in _rows(WALLETS):
        yield _("Porte-monnaie %(of_user)s : solde %(balance)s, somme des écritures %(summed)s.") % {
            "of_user": of(str(User.objects.get(pk=user))),
            "balance": euros(balance),
            "summed": euros(summed),
        }
    for code, summed in _rows(ORPHANS):
        yield _("Compte %(code)s : son porte-monnaie manque, somme des écritures %(summed)s.") % {
            "code": code,
            "summed": euros(summed),
        }
    for code, balance, summed in _rows(CHECKPOINTS):
        yield _("Compte %(code)s : solde intermédiaire %(balance)s, somme des écritures %(summed)s.") % {
            "code": code,
            "balance": euros(balance),
            "summed": euros(summed),
        }
    for start, end, code, kept, found in _rows(CLOSINGS):
        yield _("Arrêté du %(start)s au %(end)s, compte %(code)s : %(kept)s gardés, %(found)s au grand livre.") % {
            "start": f"{start:%d/%m/%Y}",
            "end": f"{end:%d/%m/%Y}",
            "code": code,
            "kept": euros(kept),
            "found": euros(found),
        }
    for key, code, agreed, moved in _rows(CORRECTIONS, settings.DEMO):
        yield _(
            "Régularisation (%(key)s), compte %(code)s\u00a0: %(agreed)s convenus à deux, %(moved)s au grand livre."
        ) % {
            "key": key,
            "code": code,
            "agreed": euros(agreed),
            "moved": euros(moved),
        }
    ((total,),) = _rows(TOTAL)
    if total:
        yield _("La somme de toutes les écritures vaut %s au lieu de zéro.") % euros(total)


def _rows(statement: str, *values: int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()
