"""What the checkout's own rows say that each account of the ledger holds, and each order's movement: compared in SQL.

A movement that two persons approved (a correction, prescribed credits) explains itself: wallet/verification.py compares it
with what they agreed on, and nothing is left of it on the accounts that stand against such movements. The accounts on which money waits
for somebody (reserved, refunding, transfers, till, remitting) are compared in checkout/verification.py.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.counter.models import TillDeposit
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.regie.models import Settlement, Statement
from checkout.vouchers.models import VoucherShare
from portal.common.formats import euros, of
from portal.common.money import ZERO
from wallet import actions as ledger
from wallet.models import Account
from wallet.verification import EXPLAINS_ITSELF
from wallet.withdrawals.models import Withdrawal

Amounts = dict[str, Decimal]

SLICE = 100_000  # orders looked at in one statement
MOST = 1_000  # sentences of one slice: nobody reads more

# Summed by account; what was approved by two is taken off again, from its few movements.
HELD = """
    SELECT a.code, sum(e.amount) FROM wallet_account a JOIN wallet_entry e ON e.account_id = a.id
    WHERE a.kind IN ('clearing', 'revenue', 'fees', 'voucher', 'bank', 'bank_fees', 'adjustment', 'expired') GROUP BY 1
"""
MANUAL = f"""
    SELECT a.code, sum(e.amount) FROM wallet_movement m
    JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_account a ON a.id = e.account_id
    WHERE {EXPLAINS_ITSELF} AND a.kind <> 'wallet' GROUP BY 1
"""  # noqa: S608  built of constants of the code alone
BOUNDS = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM checkout_order"
# What a paid order has in the ledger by the sort of its accounts, beside its payments and lines. Lines that were lost when
# it was paid name that very movement: they came to the wallet and were no income.
ORDERS = """
    WITH paid AS (
        SELECT o.id, m.id AS movement FROM checkout_order o
        LEFT JOIN wallet_movement m ON m.key = 'order:' || o.id || ':paid'
        WHERE o.id >= %s AND o.id < %s AND o.status = 'paid'
    ), moved AS (
        SELECT paid.id,
               -sum(e.amount) FILTER (WHERE a.kind IN ('clearing', 'till')) AS taken,
               -sum(e.amount) FILTER (WHERE a.kind IN ('wallet', 'reserved')) AS wallet,
               sum(e.amount) FILTER (WHERE a.kind IN ('revenue', 'fees')) AS earned
        FROM paid JOIN wallet_entry e ON e.movement_id = paid.movement JOIN wallet_account a ON a.id = e.account_id
        GROUP BY 1
    ), means AS (
        SELECT p.order_id AS id,
               sum(p.amount) FILTER (WHERE p.provider <> 'wallet') AS taken,
               sum(p.amount) FILTER (WHERE p.provider = 'wallet') AS wallet
        FROM paid JOIN checkout_payment p ON p.order_id = paid.id WHERE p.status = 'captured' GROUP BY 1
    ), sold AS (
        SELECT l.order_id AS id, sum(l.unit_price) AS price,
               sum(l.unit_price) FILTER (WHERE l.kind <> 'credit' AND l.refund_id IS DISTINCT FROM paid.movement) AS earned,
               sum(l.unit_price) FILTER (WHERE l.kind = 'credit') AS credits,
               sum(l.unit_price - l.discount) FILTER (WHERE l.refund_id = paid.movement) AS lost
        FROM paid JOIN checkout_orderline l ON l.order_id = paid.id GROUP BY 1
    ), compared AS (
        SELECT paid.id, paid.movement, coalesce(sold.price, 0) AS price,
               coalesce(means.taken, 0) AS taken, coalesce(moved.taken, 0) AS taken_there,
               coalesce(means.wallet, 0) - coalesce(sold.credits, 0) - coalesce(sold.lost, 0) AS wallet,
               coalesce(moved.wallet, 0) AS wallet_there,
               coalesce(sold.earned, 0) AS earned, coalesce(moved.earned, 0) AS earned_there
        FROM paid LEFT JOIN moved USING (id) LEFT JOIN means USING (id) LEFT JOIN sold USING (id)
    )
    SELECT * FROM compared
    WHERE (movement IS NULL AND price > 0)
       OR (movement IS NOT NULL AND (taken, wallet, earned) IS DISTINCT FROM (taken_there, wallet_there, earned_there))
    ORDER BY id LIMIT %s
"""
UNEXPLAINED = """
    SELECT m.key, m.label FROM wallet_movement m
    LEFT JOIN checkout_order o ON m.key = 'order:' || o.id || ':paid' AND o.status = 'paid'
    WHERE m.kind IN ('order', 'top_up', 'counter') AND o.id IS NULL ORDER BY m.id LIMIT %s
"""
CREDITED = """
    WITH credited AS (
        SELECT 'payment:' || reference || ':credited' AS key, reference, amount
        FROM checkout_payment WHERE status = 'credited'
    ), moved AS (
        SELECT m.key, m.label, coalesce(-sum(e.amount) FILTER (WHERE a.kind = 'clearing'), 0) AS amount
        FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_account a ON a.id = e.account_id
        WHERE m.kind = 'late_payment' GROUP BY m.id
    )
    SELECT coalesce(credited.reference, moved.label), coalesce(credited.amount, 0), coalesce(moved.amount, 0)
    FROM credited FULL JOIN moved USING (key)
    WHERE credited.amount IS DISTINCT FROM moved.amount ORDER BY 1 LIMIT %s
"""
# What the rows of its owner say that a wallet holds, with what two have approved, and what it holds. Lost and cancelled
# lines came back to it; what goes on to a card or to a bank leaves it from there.
WALLETS = f"""
    WITH written AS (
        SELECT o.user_id, sum(CASE p.status WHEN 'credited' THEN p.amount ELSE -p.amount END) AS amount
        FROM checkout_payment p JOIN checkout_order o ON o.id = p.order_id
        WHERE p.status = 'credited' OR p.provider = 'wallet' AND p.status IN ('reserved', 'captured') GROUP BY 1
        UNION ALL
        SELECT o.user_id, sum(l.unit_price - l.discount)
        FROM checkout_orderline l JOIN checkout_order o ON o.id = l.order_id
        WHERE o.status = 'paid' AND (l.kind = 'credit' OR l.cancelled_at IS NOT NULL) GROUP BY 1
        UNION ALL
        SELECT o.user_id, -sum(r.amount)
        FROM checkout_refund r JOIN checkout_payment p ON p.id = r.payment_id JOIN checkout_order o ON o.id = p.order_id
        WHERE r.status <> 'failed' GROUP BY 1
        UNION ALL
        SELECT user_id, -sum(amount) FROM wallet_withdrawal
        WHERE status IN ('requested', 'approved', 'sent', 'paid') GROUP BY 1
        UNION ALL
        SELECT w.user_id, sum(e.amount) FROM wallet_movement m
        JOIN wallet_entry e ON e.movement_id = m.id JOIN wallet_wallet w ON w.account_id = e.account_id
        WHERE {EXPLAINS_ITSELF} GROUP BY 1
    ), said AS (
        SELECT user_id, sum(amount) AS amount FROM written GROUP BY 1
    ), held AS (
        SELECT w.user_id, e.amount FROM (SELECT account_id, sum(amount) AS amount FROM wallet_entry GROUP BY 1) e
        JOIN wallet_wallet w USING (account_id)
    )
    SELECT user_id, coalesce(said.amount, 0), coalesce(held.amount, 0) FROM said FULL JOIN held USING (user_id)
    WHERE coalesce(said.amount, 0) <> coalesce(held.amount, 0) ORDER BY 1 LIMIT %s
"""  # noqa: S608  built of constants of the code alone


def without_order() -> Iterator[str]:
    """Movements of orders and deposits that no paid order has asked for."""
    for key, label in _rows(UNEXPLAINED, MOST):
        yield _("Mouvement « %(label)s » (%(key)s) : aucune commande payée ne l’explique.") % {
            "label": label,
            "key": key,
        }


def late_payments() -> Iterator[str]:
    """What cards paid for orders that could no longer be kept came to the ledger, each by its movement."""
    for what, amount, held in _rows(CREDITED, MOST):
        yield _("Règlement reçu trop tard (%(what)s) : %(amount)s encaissés, au grand livre %(held)s.") % {
            "what": what,
            "amount": euros(amount),
            "held": euros(held),
        }


def wallets() -> Iterator[str]:
    """Each wallet holds what the rows of its owner say: one statement for all of them."""
    rows = _rows(WALLETS, settings.DEMO, MOST)
    owners = User.objects.in_bulk([row[0] for row in rows])
    for owner, said, held in rows:
        yield _(
            "Porte-monnaie %(of_user)s\u00a0: %(said)s d’après ses commandes, règlements et remboursements, au grand livre %(held)s."
        ) % {"of_user": of(str(owners[owner])), "said": euros(said), "held": euros(held)}


def accounts() -> Iterator[str]:
    """Each account on which no money waits holds what its rows come to: as many statements as there are sorts."""
    held: Amounts = dict(_rows(HELD))
    for code, amount in _rows(MANUAL, settings.DEMO):
        if code in held:
            held[code] -= amount
    for kind, (expect, says) in RULES.items():
        expected = expect()
        for code in sorted(expected.keys() | {code for code in held if code.partition(":")[0] == kind}):
            wanted, found = expected.get(code, ZERO), held.get(code, ZERO)
            if wanted != found:
                yield says() % {"code": code, "expected": euros(wanted), "held": euros(found)}


def _clearing() -> Amounts:
    """What providers took from cards, less what they gave back and paid over; they owe it, so that it stands below zero."""
    ended = (Payment.Status.CAPTURED, Payment.Status.CREDITED)
    cards = Payment.objects.filter(status__in=ended).exclude(provider__in=(Payment.WALLET, *Payment.COUNTER))
    found: Amounts = {}
    _add(found, cards.values_list("provider"), -Sum("amount"), ledger.clearing_code)
    done = Refund.objects.filter(status=Refund.Status.DONE)
    _add(found, done.values_list("payment__provider"), Sum("amount"), ledger.clearing_code)
    _add(found, Settlement.objects.values_list("provider"), Sum("gross"), ledger.clearing_code)
    return found


def _revenue() -> Amounts:
    """What standing lines were sold for, less what statements have paid over."""
    sold = _standing().filter(kind__in=[OrderLine.Kind.BOOKING, OrderLine.Kind.TICKET])
    found: Amounts = {}
    _add(found, sold.values_list("commune"), Sum("unit_price"), ledger.revenue_code)
    stated = Statement.objects.in_force().values_list("commune")
    _add(found, stated, Sum(F("cancelled") - F("gross")), ledger.revenue_code)
    return found


def _vouchers() -> Amounts:
    """What vouchers took off standing lines, less what statements have counted: each bearer owes it, below zero."""
    shares = VoucherShare.objects.filter(line__order__status=Order.Status.PAID, line__cancelled_at=None)
    found: Amounts = {}
    _add(found, shares.values_list("use__voucher__commune"), -Sum("amount"), ledger.voucher_code)
    _add(found, Statement.objects.in_force().values_list("commune"), Sum("vouchers"), ledger.voucher_code)
    return found


def _fees() -> Amounts:
    return {ledger.FEES: _total(_standing().filter(kind=OrderLine.Kind.FEE), Sum("unit_price"))}


def _bank() -> Amounts:
    """What came to the régie's account at the bank stands below zero, what left it above."""
    paid = Statement.objects.in_force().exclude(paid_on=None)
    out = _total(paid, Sum("net")) + _total(Withdrawal.objects.filter(status=Withdrawal.Status.PAID), Sum("amount"))
    into = _total(Settlement.objects.all(), Sum(F("gross") - F("fees"))) + _total(
        TillDeposit.objects.all(), Sum("amount")
    )
    return {ledger.BANK: out - into}


def _nothing() -> Amounts:
    """Manual movements alone come here, and were taken off."""
    return {}


def _bank_fees() -> Amounts:
    stated = _total(Statement.objects.in_force(), Sum("fees"))
    return {ledger.BANK_FEES: stated - _total(Settlement.objects.all(), Sum("fees"))}


# Kinds of accounts: what their rows come to, by code, and what is said when the ledger holds something else.
RULES: dict[str, tuple[Callable[[], Amounts], Callable[[], str]]] = {
    Account.Kind.CLEARING: (
        _clearing,
        lambda: _(
            "Encaissements à recevoir (%(code)s) : %(expected)s d’après les règlements, remboursements et versements, au grand livre %(held)s."
        ),
    ),
    Account.Kind.REVENUE: (
        _revenue,
        lambda: _(
            "Recettes (%(code)s) : %(expected)s d’après les commandes payées et les relevés, au grand livre %(held)s."
        ),
    ),
    Account.Kind.VOUCHER: (
        _vouchers,
        lambda: _(
            "Remises (%(code)s) : %(expected)s d’après les bons des commandes payées et les relevés, au grand livre %(held)s."
        ),
    ),
    Account.Kind.FEES: (
        _fees,
        lambda: _("Frais de dépôt : %(expected)s d’après les commandes payées, au grand livre %(held)s."),
    ),
    Account.Kind.BANK: (
        _bank,
        lambda: _(
            "Compte de dépôt de fonds : %(expected)s d’après les versements et les virements, au grand livre %(held)s."
        ),
    ),
    Account.Kind.BANK_FEES: (
        _bank_fees,
        lambda: _(
            "Commissions bancaires : %(expected)s d’après les versements et les relevés, au grand livre %(held)s."
        ),
    ),
    Account.Kind.ADJUSTMENT: (
        _nothing,
        lambda: _("Régularisations : %(held)s qu’aucune régularisation approuvée n’explique."),
    ),
    Account.Kind.EXPIRED: (
        _nothing,
        lambda: _("Crédits prescrits : %(held)s qu’aucune prescription approuvée n’explique."),
    ),
}


def orders() -> Iterator[str]:
    """Each paid order has its movement, which took, spent and earned what its payments and lines say."""
    ((first, last),) = _rows(BOUNDS)
    for start in range(first, last + 1, SLICE):
        rows = _rows(ORDERS, start, start + SLICE, MOST)
        found = Order.objects.in_bulk([row[0] for row in rows])
        for pk, movement, price, *compared in rows:
            number = found[pk].number
            if movement is None:
                yield _("Commande %(number)s, payée (%(price)s) : aucun mouvement au grand livre.") % {
                    "number": number,
                    "price": euros(price),
                }
                continue
            for what, (said, held) in zip(
                (_("carte ou guichet"), _("porte-monnaie"), _("recettes et frais")),
                zip(compared[::2], compared[1::2], strict=True),
                strict=True,
            ):
                if said != held:
                    yield _("Commande %(number)s, %(what)s : %(said)s, au grand livre %(held)s.") % {
                        "number": number,
                        "what": what,
                        "said": euros(said),
                        "held": euros(held),
                    }


def _standing() -> QuerySet[OrderLine]:
    return OrderLine.objects.filter(order__status=Order.Status.PAID, cancelled_at=None)


def _add(found: Amounts, rows: QuerySet[Any, Any], amount: Any, code: Callable[[Any], str]) -> None:
    """Add up rows by the code of their account."""
    for owner, total in rows.order_by().annotate(total=amount):
        found[code(owner)] = found.get(code(owner), ZERO) + total


def _total(rows: QuerySet[Any], amount: Any) -> Decimal:
    total: Decimal = rows.aggregate(total=amount)["total"] or ZERO
    return total


def _rows(statement: str, *values: int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()
