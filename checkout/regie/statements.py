"""What the régie owes each commune, and paying it over: a statement for a period that is closed."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Commune, User
from checkout.papers.models import Regie
from checkout.regie.models import Statement
from portal.common.db import one_at_a_time
from portal.common.errors import Refused, within
from portal.common.formats import long_date, today
from portal.common.money import ZERO, round_cents
from wallet import actions as ledger
from wallet.closings.actions import closed_until, midnight
from wallet.models import Account, Entry, Movement

# The day after the oldest of the last statements.
OLDEST = """
    SELECT min(day) FROM (
        SELECT max(upper(period)) AS day FROM checkout_statement WHERE cancelled_at IS NULL GROUP BY account_id
    ) since
"""

# Since the day after its last statement, whatever moved on a holder's accounts of revenue and discounts. A statement
# itself, and the movement that takes one back, are no revenue. Entries have no date: where a holder had a statement,
# PostgreSQL is made to start from the movements of the days since, rather than from all that it ever earned (OFFSET 0: it
# believes that all accounts are as small as a wallet). Who never had one is read whole: the agglomération, when it only
# bears discounts, never will.
OWED = """
    WITH since AS (
        SELECT a.code, max(upper(s.period)) AS day
        FROM checkout_statement s JOIN wallet_account a ON a.id = s.account_id WHERE s.cancelled_at IS NULL GROUP BY 1
    ), holder AS (
        SELECT a.id, a.kind, split_part(a.code, ':', 2) AS code, since.day
        FROM wallet_account a LEFT JOIN since ON since.code = 'revenue:' || split_part(a.code, ':', 2)
        WHERE a.kind IN ('revenue', 'voucher')
    ), moved AS (
        SELECT holder.*, recent.at, recent.amount
        FROM (
            SELECT m.at, e.account_id, e.amount
            FROM wallet_movement m
            JOIN LATERAL (SELECT account_id, amount FROM wallet_entry WHERE movement_id = m.id OFFSET 0) e ON true
            WHERE m.kind <> 'remittance' AND m.at >= %(oldest)s AND m.at < %(end)s OFFSET 0
        ) recent
        JOIN holder ON holder.id = recent.account_id
        WHERE recent.at >= holder.day::timestamp AT TIME ZONE 'Europe/Paris'
        UNION ALL
        SELECT holder.*, m.at, e.amount
        FROM holder
        JOIN LATERAL (SELECT movement_id, amount FROM wallet_entry WHERE account_id = holder.id OFFSET 0) e ON true
        JOIN wallet_movement m ON m.id = e.movement_id
        WHERE m.kind <> 'remittance' AND m.at < %(end)s AND holder.day IS NULL
    )
    SELECT code,
           min((at AT TIME ZONE 'Europe/Paris')::date),
           max(day),
           coalesce(sum(amount) FILTER (WHERE kind = 'revenue' AND amount > 0), 0),
           coalesce(-sum(amount) FILTER (WHERE kind = 'revenue' AND amount < 0), 0),
           coalesce(-sum(amount) FILTER (WHERE kind = 'voucher'), 0)
    FROM moved GROUP BY 1
"""

# An order's movement carries its key; what was paid back names the movement that did it.
SOLD = """
    SELECT s.name, l.label, l.detail, count(*), sum(l.unit_price)
    FROM wallet_movement m
    JOIN checkout_orderline l ON l.order_id =
        CASE WHEN m.key ~ '^order:[0-9]+:paid$' THEN split_part(m.key, ':', 2)::bigint END
    LEFT JOIN bookings_booking b ON b.id = l.booking_id
    LEFT JOIN services_openday d ON d.id = b.open_day_id
    LEFT JOIN bookings_ticket t ON t.id = l.ticket_id
    LEFT JOIN services_activity a ON a.id = coalesce(d.activity_id, t.activity_id)
    LEFT JOIN services_service s ON s.id = a.service_id
    WHERE m.kind = 'order' AND m.at >= %(start)s AND m.at < %(end)s AND l.kind IN ('booking', 'ticket')
      AND l.commune_id IS NOT DISTINCT FROM %(commune)s AND l.refund_id IS DISTINCT FROM m.id
    GROUP BY 1, 2, 3
"""
RETURNED = """
    SELECT s.name, l.label, l.detail, count(*), sum(l.unit_price)
    FROM wallet_movement m
    JOIN checkout_orderline l ON l.refund_id = m.id
    LEFT JOIN bookings_booking b ON b.id = l.booking_id
    LEFT JOIN services_openday d ON d.id = b.open_day_id
    LEFT JOIN bookings_ticket t ON t.id = l.ticket_id
    LEFT JOIN services_activity a ON a.id = coalesce(d.activity_id, t.activity_id)
    LEFT JOIN services_service s ON s.id = a.service_id
    WHERE m.at >= %(start)s AND m.at < %(end)s AND l.kind IN ('booking', 'ticket')
      AND l.commune_id IS NOT DISTINCT FROM %(commune)s AND m.key <> 'order:' || l.order_id || ':paid'
    GROUP BY 1, 2, 3
"""


@dataclass
class Owed:
    """What is owed to a holder of revenue (a commune, or the agglomération itself) up to a day, in euros."""

    code: str  # what stands behind `revenue:`
    first_day: dt.date
    last_day: dt.date
    gross: Decimal
    cancelled: Decimal
    vouchers: Decimal
    percent: Decimal  # of what was earned: the part of the providers' fees
    fees: Decimal = field(init=False)
    commune: Commune | None = None

    def __post_init__(self) -> None:
        self.fees = fee_share(self.gross - self.cancelled, self.percent)

    @property
    def net(self) -> Decimal:
        return self.gross - self.cancelled - self.vouchers - self.fees

    @property
    def holder(self) -> str:
        return str(self.commune) if self.commune else _("Agglomération")


def fee_share(earned: Decimal, percent: Decimal) -> Decimal:
    """The commune's part of the providers' fees: so many percent of what it earned, as « Régies » says.

    Zero unless the council decided otherwise: the agglomération pays the fees itself.
    """
    return max(round_cents(earned * percent / 100), ZERO)


def owed(until: dt.date) -> list[Owed]:
    """What is owed to each commune up to the end of a day, by name; four statements."""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST)
        (oldest,) = cursor.fetchone()
        reach = midnight(until + dt.timedelta(days=1))
        cursor.execute(OWED, {"oldest": midnight(oldest) if oldest else reach, "end": reach})
        rows = cursor.fetchall()
    percent = Regie.objects.current().remittance_percent
    communes = Commune.objects.in_bulk([int(row[0]) for row in rows if row[0].isdecimal()])
    found = [
        Owed(
            code,
            since or first,
            until,
            gross,
            cancelled,
            vouchers,
            percent,
            communes.get(int(code)) if code.isdecimal() else None,
        )
        for code, first, since, gross, cancelled, vouchers in rows
    ]
    return sorted(found, key=lambda row: (row.commune is None, row.commune.name_key if row.commune else ""))


def detail(row: Owed) -> list[dict[str, Any]]:
    """What the amounts are made of, by service, activity and slot; the last line is what no order explains."""
    words = {
        "start": midnight(row.first_day),
        "end": midnight(row.last_day + dt.timedelta(days=1)),
        "commune": row.commune.pk if row.commune else None,
    }
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    with connection.cursor() as cursor:
        for statement, count, amount in ((SOLD, "sold", "gross"), (RETURNED, "returned", "cancelled")):
            cursor.execute(statement, words)
            for service, activity, slot, number, total in cursor.fetchall():
                line = found.setdefault(
                    (service or "", activity, slot),
                    {"service": service or "", "activity": activity, "detail": slot, "sold": 0, "gross": ZERO,
                     "returned": 0, "cancelled": ZERO},
                )  # fmt: skip
                line[count], line[amount] = number, total
    lines = [found[key] for key in sorted(found)]
    gross = row.gross - sum((line["gross"] for line in lines), ZERO)
    cancelled = row.cancelled - sum((line["cancelled"] for line in lines), ZERO)
    if gross or cancelled:
        lines.append(
            {"service": "", "activity": _("Autres mouvements"), "detail": "", "sold": 0, "gross": gross, "returned": 0,
             "cancelled": cancelled}
        )  # fmt: skip
    return [{**line, "gross": str(line["gross"]), "cancelled": str(line["cancelled"])} for line in lines]


@transaction.atomic
def issue(*, codes: Collection[str], until: dt.date, by: User) -> list[Statement]:
    """State what is owed up to a closed day to the named holders, to be paid over; returns their statements.

    Nothing is issued to those whom nothing is owed: what they owe is counted in their next statement. Raises Refused
    when the day is not closed, when nobody is named, and when nobody of those named is owed anything.
    """
    reach = closed_until()
    if reach is None or until > reach:
        raise Refused(
            _("Les journées jusqu’au %s ne sont pas toutes arrêtées\u00a0: arrêtez-les d’abord. Rien n’a été reversé.")
            % long_date(until),
            code="not_closed",
        )
    if not codes:
        raise Refused(_("Cochez au moins une commune. Rien n’a été reversé."), code="nobody_chosen")
    one_at_a_time("statements")
    due = [row for row in owed(until) if row.code in codes and row.net > 0]
    if not due:
        raise Refused(_("Rien n’est dû à ces communes jusqu’à cette date. Rien n’a été reversé."), code="nothing_owed")
    return [_issue(row, by) for row in due]


@transaction.atomic
def cancel(*, statement: Statement, reason: str, by: User) -> None:
    """Take back a statement by the mirror image of its movement; its period is owed again.

    Raises Refused without a reason or for one that is too long, for one that is cancelled or paid, and unless it is its commune's newest.
    """
    reason = within(reason, 160)
    if not reason:
        raise Refused(_("Écrivez le motif\u00a0: la commune le lira. Rien n’a été annulé."), code="reason_missing")
    one_at_a_time("statements")
    statement = Statement.objects.select_for_update(of=("self",)).select_related("movement").get(pk=statement.pk)
    if statement.cancelled_at:
        raise Refused(_("Ce relevé est déjà annulé. Rien n’a été changé."), code="already_cancelled")
    if statement.paid_on:
        raise Refused(
            _("Ce relevé a été viré le %s\u00a0: l’argent est chez la commune. Rien n’a été changé.")
            % long_date(statement.paid_on),
            code="paid",
        )
    theirs = Statement.objects.in_force().filter(account=statement.account_id)
    if theirs.filter(period__fully_gt=statement.period).exists():
        raise Refused(
            _("Un relevé plus récent de cette commune existe\u00a0: annulez-le d’abord. Rien n’a été changé."),
            code="not_newest",
        )
    entries = Entry.objects.filter(movement=statement.movement_id).values_list("account__code", "amount")
    ledger.post(
        kind=Movement.Kind.REMITTANCE,
        key=f"statement:{statement.movement.key.partition(':')[2]}:cancelled",
        label=_("Annulation du relevé %(number)s\u00a0: %(reason)s") % {"number": statement.number, "reason": reason},
        amounts={code: -amount for code, amount in entries},
        by=by,
        reverses=statement.movement,
    )
    Statement.objects.filter(pk=statement.pk).update(cancelled_at=timezone.now(), cancelled_by=by, reason=reason)


@transaction.atomic
def mark_paid(*, statement: Statement, paid_on: dt.date, by: User) -> None:
    """The bank has paid a statement over: its net leaves the régie's account.

    Raises Refused for one that is cancelled or paid, and for a day before its issue or to come.
    """
    one_at_a_time("statements")
    statement = Statement.objects.select_for_update(of=("self",)).get(pk=statement.pk)
    if statement.cancelled_at:
        raise Refused(_("Ce relevé est annulé\u00a0: il n’est pas à virer. Rien n’a été changé."), code="cancelled")
    if statement.paid_on:
        raise Refused(
            _("Ce relevé est déjà marqué comme viré le %s. Rien n’a été changé.") % long_date(statement.paid_on),
            code="paid",
        )
    if not timezone.localdate(statement.issued_at) <= paid_on <= today():
        raise Refused(
            _("Écrivez le jour du virement, entre l’émission du relevé et aujourd’hui. Rien n’a été changé."),
            code="date",
        )
    ledger_key = f"statement:{statement.pk}:paid"
    before = Movement.objects.filter(key__startswith=ledger_key).count()
    payment = ledger.post(
        kind=Movement.Kind.REMITTANCE,
        key=f"{ledger_key}:{before}" if before else ledger_key,
        label=_("Reversement viré\u00a0: %(holder)s, relevé %(number)s")
        % {"holder": statement.holder, "number": statement.number},
        amounts={ledger.REMITTING: -statement.net, ledger.BANK: statement.net},
        by=by,
    )
    Statement.objects.filter(pk=statement.pk).update(paid_on=paid_on, paid_by=by, payment=payment)


@transaction.atomic
def mark_unpaid(*, statement: Statement, reason: str, by: User) -> None:
    """A payment was marked by mistake, or the bank sent it back: its net is on the régie's account and owed again.

    Raises Refused without a reason, and for a statement that is not paid or whose issue itself debited the bank.
    """
    reason = reason.strip()
    if not reason:
        raise Refused(
            _("Écrivez le motif\u00a0: il reste dans l’historique. Rien n’a été changé."), code="reason_missing"
        )
    one_at_a_time("statements")
    statement = Statement.objects.select_for_update(of=("self",)).select_related("payment").get(pk=statement.pk)
    payment = statement.payment
    if payment is None or payment.pk == statement.movement_id:
        raise Refused(_("Ce relevé n’a pas de virement à reprendre. Rien n’a été changé."), code="not_paid")
    ledger.post(
        kind=Movement.Kind.REMITTANCE,
        key=f"{payment.key}:undone",
        label=_("Virement repris, relevé %(number)s\u00a0: %(reason)s")
        % {"number": statement.number, "reason": reason},
        amounts={ledger.REMITTING: statement.net, ledger.BANK: -statement.net},
        by=by,
        reverses=payment,
    )
    Statement.objects.filter(pk=statement.pk).update(paid_on=None, paid_by=None, payment=None)


def _issue(row: Owed, by: User) -> Statement:
    account = Account.objects.get_or_create(
        code=ledger.revenue_code(row.commune), defaults={"kind": Account.Kind.REVENUE, "commune": row.commune}
    )[0]
    # A period that was taken back is paid over again, under another key.
    tries = Statement.objects.filter(account=account).count()
    movement = ledger.post(
        kind=Movement.Kind.REMITTANCE,
        key=f"statement:{row.code}:{row.last_day}:{tries}",
        label=_("Reversement\u00a0: %(holder)s, jusqu’au %(date)s")
        % {"holder": row.holder, "date": long_date(row.last_day)},
        amounts={
            ledger.revenue_code(row.commune): row.cancelled - row.gross,
            ledger.voucher_code(row.commune): row.vouchers,
            ledger.BANK_FEES: row.fees,
            ledger.REMITTING: row.net,
        },
        by=by,
    )
    return Statement.objects.create(
        account=account,
        commune=row.commune,
        period=DateRange(row.first_day, row.last_day + dt.timedelta(days=1), "[)"),
        gross=row.gross,
        cancelled=row.cancelled,
        vouchers=row.vouchers,
        fees=row.fees,
        net=row.net,
        rows=detail(row),
        movement_id=movement,
        issued_by=by,
    )
