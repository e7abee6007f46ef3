"""Closing the days and months of the ledger that are over."""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connection, transaction
from django.utils.translation import gettext as _

from accounts.models import User
from portal.common.errors import Refused
from portal.common.formats import PARIS, long_date, month, now
from portal.common.money import ZERO
from wallet.closings.models import Closing
from wallet.models import POSTING_LOCK, Account, Checkpoint, Entry, Movement
from wallet.words import account_name

# Longer than any of our transactions lasts (CELERY_TASK_TIME_LIMIT): what was dated yesterday is committed.
SETTLES_WITHIN = dt.timedelta(minutes=10)

# Whoever waits for everybody else holds back those who come after. Shorter than the moment at which PostgreSQL looks for
# a deadlock: who waits here steps back before a payment is chosen to break one.
PATIENCE = "400ms"
TRIES = 20

WALLETS = "wallet"  # one line for all of them: a closing names no family

BY_ACCOUNT = """
    SELECT CASE WHEN a.kind = 'wallet' THEN 'wallet' ELSE a.code END,
           coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0), coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)
    FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_account a ON a.id = e.account_id
    WHERE m.at >= %s AND m.at < %s GROUP BY 1 ORDER BY 1
"""
BY_KIND = """
    SELECT m.kind, count(DISTINCT m.id), coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)
    FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id
    WHERE m.at >= %s AND m.at < %s GROUP BY 1 ORDER BY 1
"""
# Receipts are what families bring from outside, to a card's provider or to the counter, before anybody has paid it over.
# Money that only changes its place (the till to the bank and back, a provider's transfer) and corrections are none.
BY_DAY = """
    SELECT (m.at AT TIME ZONE 'Europe/Paris')::date, count(DISTINCT m.id),
           coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0), coalesce(-sum(e.amount) FILTER (
               WHERE a.kind IN ('clearing', 'till') AND e.amount < 0
               AND m.kind IN ('order', 'top_up', 'counter', 'late_payment')), 0)
    FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_account a ON a.id = e.account_id
    WHERE m.at >= %s AND m.at < %s GROUP BY 1 ORDER BY 1
"""

# One look into the index for each day, rather than one at each movement.
OPEN_DAYS = """
    SELECT count(*) FROM generate_series(
        greatest(
            (SELECT max(last_day) + 1 FROM wallet_closing WHERE kind = 'day'),
            (SELECT (min(at) AT TIME ZONE 'Europe/Paris')::date FROM wallet_movement)
        ), %s::date, '1 day'
    ) AS day
    WHERE EXISTS (
        SELECT 1 FROM wallet_movement WHERE at >= day::timestamp AT TIME ZONE 'Europe/Paris'
        AND at < (day::date + 1)::timestamp AT TIME ZONE 'Europe/Paris'
    )
"""


@dataclass(frozen=True)
class DayTotal:
    """A day of the ledger: how many movements, how much they credited, and what came in from outside, in euros."""

    date: dt.date
    movements: int
    turnover: Decimal
    receipts: Decimal


def midnight(date: dt.date) -> dt.datetime:
    """The moment at which a day begins in Paris."""
    return dt.datetime.combine(date, dt.time(), tzinfo=PARIS)


def last_to_close() -> dt.date:
    """The newest day that may be closed: it is over, and so is every transaction that was dated in it."""
    return (now() - SETTLES_WITHIN).date() - dt.timedelta(days=1)


def closed_until(kind: Closing.Kind | None = None) -> dt.date | None:
    """The last closed day, None before any; with a kind, the last one closed as a day or as a month."""
    closings = Closing.objects.filter(kind=kind) if kind else Closing.objects.all()
    return closings.order_by("-last_day").values_list("last_day", flat=True).first()


def totals_by_day(first: dt.date, last: dt.date) -> list[DayTotal]:
    """The days from `first` to `last` that have movements, oldest first."""
    return [DayTotal(*row) for row in _rows(BY_DAY, first, last)]


def receipts_by_day(first: dt.date, last: dt.date) -> dict[dt.date, Decimal]:
    """What came in on the days from `first` to `last`, in euros: of closed days as they were kept, of the others summed.

    A day that was closed stays as it is, whatever is counted as a receipt since; so a month agrees with its days. Days
    without movements are left out.
    """
    kept = Closing.objects.filter(kind=Closing.Kind.DAY, first_day__gte=first, last_day__lte=last)
    amounts = {row.first_day: Decimal(row.totals["receipts"]) for row in kept}
    start = max(amounts) + dt.timedelta(days=1) if amounts else first  # days are closed one after the other
    return amounts | {row.date: row.receipts for row in totals_by_day(start, last)} if start <= last else amounts


def open_days() -> list[DayTotal]:
    """The days with movements that are over and not closed, oldest first."""
    reach = closed_until(Closing.Kind.DAY)
    first = reach + dt.timedelta(days=1) if reach else _first_day()
    return totals_by_day(first, last_to_close()) if first else []


def days_offered() -> list[DayTotal]:
    """The open days, and the ends of their months that are over: a month is closed up to its last day, whatever moved then."""
    days = open_days()
    found = {row.date for row in days}
    ends = {end_of_month(date) for date in found} - found
    last = last_to_close()
    days += [DayTotal(end, 0, ZERO, ZERO) for end in ends if end <= last]
    return sorted(days, key=lambda row: row.date)


def days_until(until: dt.date) -> list[DayTotal]:
    """The days that `close_days` closes: those with movements that are not closed, and `until` itself, oldest first.

    Raises Refused when `until` is not over, is closed already, or lies before the first movement.
    """
    if until > last_to_close():
        raise Refused(
            _(
                "Le %s n’est pas terminé\u00a0: une journée s’arrête à partir de 0 h 10 le lendemain. Rien n’a été arrêté."
            )
            % long_date(until),
            code="not_over",
        )
    reach = closed_until(Closing.Kind.DAY)
    if reach and until <= reach:
        raise Refused(_("Le %s est déjà arrêté. Rien n’a été changé.") % long_date(until), code="already_closed")
    begins = _first_day()
    if begins is None:
        raise Refused(
            _("Aucun mouvement n’est encore écrit\u00a0: il n’y a rien à arrêter. Rien n’a été arrêté."),
            code="too_early",
        )
    if until < begins:
        raise Refused(
            _("Le premier mouvement est du %s\u00a0: il n’y a rien à arrêter avant. Rien n’a été arrêté.")
            % long_date(begins),
            code="too_early",
        )
    days = totals_by_day(reach + dt.timedelta(days=1) if reach else begins, until)
    return days if days and days[-1].date == until else [*days, DayTotal(until, 0, ZERO, ZERO)]


def open_days_count() -> int:
    """How many days wait to be closed; one statement that does not read their movements."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN_DAYS, [last_to_close()])
        return int(cursor.fetchone()[0])


def open_months() -> list[dt.date]:
    """The first days of the months that are over, whose days are all closed, and that are not closed themselves."""
    reach, days = closed_until(Closing.Kind.MONTH), closed_until(Closing.Kind.DAY)
    start = reach + dt.timedelta(days=1) if reach else _first_day()
    if start is None or days is None:
        return []
    found = []
    start = start.replace(day=1)
    while (end := end_of_month(start)) <= last_to_close():
        if end > days and totals_by_day(max(days + dt.timedelta(days=1), start), end):
            break
        found.append(start)
        start = end + dt.timedelta(days=1)
    return found


@transaction.atomic
def close_days(*, until: dt.date, by: User) -> list[Closing]:
    """Close every open day up to `until`, oldest first; returns their closings.

    Days without movements need none, `until` itself gets one all the same: up to there, nothing is written any more.
    Raises Refused as `days_until` does, and when the platform posts without a pause.
    """
    alone_in_the_ledger()
    return [_close(Closing.Kind.DAY, day.date, day.date, by) for day in days_until(until)]


@transaction.atomic
def close_month(*, first_day: dt.date, by: User) -> Closing:
    """Close the month that begins on `first_day`.

    Raises Refused when it is not over, has an open day, is closed already or is not the next one.
    """
    alone_in_the_ledger()
    ready = open_months()
    if not ready or first_day != ready[0]:
        raise Refused(
            _(
                "%s ne peut pas être arrêté\u00a0: toutes ses journées doivent l’être, et les mois se suivent. Rien n’a été arrêté."
            )
            % month(first_day),
            code="month_not_next",
        )
    return _close(Closing.Kind.MONTH, first_day, end_of_month(first_day), by)


@transaction.atomic
def write_checkpoints() -> int:
    """Bring the checkpoint of every account but the wallets' up to now; returns how many. For the night.

    Raises Refused when the platform never pauses.
    """
    alone_in_the_ledger()
    newest = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    accounts = Account.objects.exclude(kind=Account.Kind.WALLET)
    known = Checkpoint.objects.filter(account__in=accounts)
    moved = known.update(upto=newest)
    new = accounts.filter(checkpoint=None).order_by("pk").values_list("pk", flat=True)
    return moved + len(Checkpoint.objects.bulk_create([Checkpoint(account_id=pk, upto=newest) for pk in new]))


def alone_in_the_ledger() -> None:
    """Wait until no posting is in flight; until the commit of this transaction, postings wait for us.

    Raises Refused when the platform never pauses for us.
    """
    for _try in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
                cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", POSTING_LOCK)
                cursor.execute("SET LOCAL lock_timeout = DEFAULT")
            return
        except OperationalError:  # lock_timeout
            time.sleep(0.05)
    raise Refused(
        _("Trop de règlements sont en cours à cet instant. Rien n’a été arrêté\u00a0: recommencez dans une minute."),
        code="busy",
    )


def totals_of(first: dt.date, last: dt.date, *, opening: dict[str, Decimal] | None = None) -> dict[str, Any]:
    """The totals of a period as a closing keeps them, `opening` being the balances before it by code.

    Its receipts are those of its days, see `receipts_by_day`.
    """
    before = opening or {}
    moved = {code: (debit, credit) for code, debit, credit in _rows(BY_ACCOUNT, first, last)}
    names = _names(moved.keys() | before.keys())
    accounts = []
    for code in sorted(moved.keys() | before.keys()):
        debit, credit = moved.get(code, (ZERO, ZERO))
        start = before.get(code, ZERO)
        accounts.append(
            {
                "code": code,
                "name": names[code],
                "opening": str(start),
                "debit": str(debit),
                "credit": str(credit),
                "closing": str(start + credit - debit),
            }
        )
    kinds = [
        {"kind": kind, "name": str(Movement.Kind(kind).label), "count": count, "total": str(total)}
        for kind, count, total in _rows(BY_KIND, first, last)
    ]
    receipts = sum(receipts_by_day(first, last).values(), ZERO)
    return {"accounts": accounts, "kinds": kinds, "receipts": str(receipts)}


def opening_of(kind: Closing.Kind) -> dict[str, Decimal]:
    """The balances that the newest closing of this kind ended with: the next one begins there."""
    newest = Closing.objects.filter(kind=kind).order_by("-last_day").first()
    return {row["code"]: row["closing"] for row in newest.accounts} if newest else {}


def _close(kind: Closing.Kind, first: dt.date, last: dt.date, by: User) -> Closing:
    totals = totals_of(first, last, opening=opening_of(kind))
    return Closing.objects.create(
        kind=kind,
        first_day=first,
        last_day=last,
        movements=sum(row["count"] for row in totals["kinds"]),
        turnover=sum((Decimal(row["total"]) for row in totals["kinds"]), ZERO),
        totals=totals,
        closed_by=by,
    )


def _names(codes: Sequence[str] | Any) -> dict[str, str]:
    accounts = Account.objects.filter(code__in=codes).exclude(kind=Account.Kind.WALLET).select_related("commune")
    return {WALLETS: _("Porte-monnaie des familles"), **{account.code: account_name(account) for account in accounts}}


def _rows(statement: str, first: dt.date, last: dt.date) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [midnight(first), midnight(last + dt.timedelta(days=1))])
        return cursor.fetchall()


def _first_day() -> dt.date | None:
    first = Movement.objects.order_by("at").values_list("at", flat=True).first()
    return first.astimezone(PARIS).date() if first else None


def end_of_month(date: dt.date) -> dt.date:
    """The last day of the month of a day."""
    return (date.replace(day=28) + dt.timedelta(days=4)).replace(day=1) - dt.timedelta(days=1)
