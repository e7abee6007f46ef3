"""Closing days and months: totals kept, nothing written inside afterwards, in order, past days only."""

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pgtrigger
import pytest
from django.db import Error, connection, transaction

from checkout.regie.journal import receipts_chart
from portal.common.errors import Refused
from portal.common.formats import today
from tests.concurrency.conftest import race
from tests.factories import agent_of
from tests.guards import guarded, sql
from tests.regie.ledger import corrected, counted_before, dated, days_ago, last_month, posted
from wallet import actions as ledger
from wallet.closings import actions as closings
from wallet.closings.models import Closing
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def cash(date: dt.date, key: str, amount: str = "10.00") -> Movement:
    return posted(date, key, revenue__agglo=amount, till__cash=f"-{amount}")


def test_a_day_keeps_what_each_account_was_and_became() -> None:
    operator = agent_of()
    cash(days_ago(5), "a", "10.00")
    cash(days_ago(3), "b", "2.50")
    cash(today(), "c", "99.00")
    assert [(row.date, row.movements, row.turnover, row.receipts) for row in closings.open_days()] == [
        (days_ago(5), 1, Decimal("10.00"), Decimal("10.00")),
        (days_ago(3), 1, Decimal("2.50"), Decimal("2.50")),
    ]
    assert closings.open_days_count() == 2
    first, second, third = closings.close_days(until=days_ago(2), by=operator)
    assert [row.first_day for row in (first, second, third)] == [days_ago(5), days_ago(3), days_ago(2)]
    till = {row["code"]: row for row in second.accounts}["till:cash"]
    assert (till["name"], till["opening"], till["debit"], till["credit"], till["closing"]) == (
        "Caisse : espèces",
        Decimal("-10.00"),
        Decimal("2.50"),
        Decimal("0.00"),
        Decimal("-12.50"),
    )
    assert [(row["kind"], row["count"], row["total"]) for row in second.kinds] == [("counter", 1, Decimal("2.50"))]
    assert (third.movements, third.turnover, third.accounts[0]["closing"]) == (0, 0, Decimal("12.50"))
    assert closings.open_days_count() == 0
    assert closings.open_days() == [] and closings.closed_until() == days_ago(2)


def test_the_wallets_are_one_line_that_names_no_family() -> None:
    from tests.shop import open_shop

    shop = open_shop(days=0, credit="50")
    dated(Movement.objects.get().pk, days_ago(1))
    (closing,) = closings.close_days(until=days_ago(1), by=agent_of())
    assert {row["code"]: row["closing"] for row in closing.accounts}["wallet"] == Decimal("50.00")
    assert shop.user.last_name not in str(closing.totals)


@pytest.mark.parametrize(
    "days, code", [(0, "not_over"), (-3, "not_over"), (4, "already_closed"), (3, "already_closed")]
)
def test_what_cannot_be_closed_is_told(days: int, code: str) -> None:
    operator = agent_of()
    cash(days_ago(4), "a")
    closings.close_days(until=days_ago(3), by=operator)
    with pytest.raises(Refused) as refusal:
        closings.close_days(until=days_ago(days), by=operator)
    assert refusal.value.code == code and Closing.objects.count() == 2


def _a_month_ago() -> tuple[dt.date, dt.date]:
    """A day of the last month but one, and that month's end."""
    first, _end = last_month()
    end = first - dt.timedelta(days=1)
    return end.replace(day=20), end


def test_a_month_s_end_is_offered_whatever_moved_then() -> None:
    date, end = _a_month_ago()
    cash(date, "a")
    assert [row.date for row in closings.open_days()] == [date] and closings.open_days_count() == 1
    assert [(row.date, row.movements) for row in closings.days_offered()] == [(date, 1), (end, 0)]
    assert [row.date for row in closings.days_until(end)] == [date, end]
    assert [row.last_day for row in closings.close_days(until=end, by=agent_of())] == [date, end]
    assert closings.days_offered() == [] and closings.open_months()[0] == date.replace(day=1)
    cash(today() - dt.timedelta(days=1), "b")  # of a month that is not over: its end is not offered
    assert [row.date for row in closings.days_offered() if row.date >= today()] == []


@pytest.mark.parametrize("until", [dt.date.min, dt.date(2000, 1, 1), days_ago(5)])
def test_nothing_is_closed_before_the_first_movement(until: dt.date) -> None:
    operator = agent_of()
    for said in ("Aucun mouvement n’est encore écrit", "Le premier mouvement est du"):
        with pytest.raises(Refused) as refusal:
            closings.close_days(until=until, by=operator)
        assert refusal.value.code == "too_early" and refusal.value.messages[0].startswith(said)
        row = Closing(
            kind="day", first_day=until, last_day=until, movements=0, turnover=0, totals={}, closed_by=operator
        )
        guarded(
            "wallet.Closing:closes_what_is_over",
            partial(Closing.objects.bulk_create, [row]),
            "nothing was written until",
            Closing.objects.exists,
        )
        if not Movement.objects.exists():
            cash(days_ago(4), "a")


def test_what_was_closed_too_early_before_costs_no_look_at_each_day_since() -> None:
    cash(days_ago(4), "a")
    first = dt.date.min
    with pgtrigger.ignore("wallet.Closing:closes_what_is_over"):
        Closing.objects.create(
            kind="day",
            first_day=first,
            last_day=first,
            movements=0,
            turnover=0,
            totals={"accounts": [], "kinds": []},
            closed_by=agent_of(),
        )
    assert closings.open_days_count() == len(closings.open_days()) == 1
    closings.close_days(until=days_ago(4), by=agent_of())
    assert closings.closed_until() == days_ago(4) and closings.open_days_count() == 0


def test_receipts_are_what_families_bring() -> None:
    """A deposit taken to the bank and back, and what was found in the till, bring nothing in."""
    cash(days_ago(4), "a", "65.50")
    posted(days_ago(4), "b", Movement.Kind.TILL_DEPOSIT, till__cash="1000.00", bank="-1000.00")
    corrected(days_ago(4), "c", till__cash="-1000.00", bank="1000.00")
    corrected(days_ago(4), "d", till__cash="-3.00", adjustment="3.00")
    posted(days_ago(4), "e", Movement.Kind.SETTLEMENT, clearing__demo="-7.00", bank="7.00")
    for key, kind in (("f", Movement.Kind.ORDER), ("g", Movement.Kind.TOP_UP), ("h", Movement.Kind.LATE_PAYMENT)):
        posted(days_ago(4), key, kind, clearing__demo="-1.00", fees="1.00")
    assert [row.receipts for row in closings.open_days()] == [Decimal("68.50")]
    (closing,) = closings.close_days(until=days_ago(4), by=agent_of())
    assert closing.totals["receipts"] == "68.50"


@pytest.mark.parametrize("days", [3, 4, 30])
def test_nothing_is_written_in_what_is_closed_nor_before(days: int) -> None:
    cash(days_ago(4), "a")
    closings.close_days(until=days_ago(3), by=agent_of())
    at = closings.midnight(days_ago(days)) + dt.timedelta(hours=23, minutes=59)
    insert = "INSERT INTO wallet_movement (kind, key, label, at) VALUES ('counter', 'late', 'x', %s)"
    guarded(
        "wallet.Movement:outside_closed_days",
        lambda: sql(insert, at),
        "is closed",
        lambda: Movement.objects.filter(key="late").exists(),
    )
    cash(days_ago(2), "after")  # what is open goes on


def test_a_closing_stays_as_it_is() -> None:
    cash(days_ago(4), "a")
    closings.close_days(until=days_ago(4), by=agent_of())
    guarded(
        "wallet.Closing:closings_are_kept",
        lambda: Closing.objects.update(turnover=0),
        "Cannot update or delete",
        lambda: Closing.objects.filter(turnover=0).exists(),
    )
    guarded(
        "wallet.Closing:closings_are_kept",
        lambda: Closing.objects.all()._raw_delete("default"),
        "Cannot update or delete",
        lambda: not Closing.objects.exists(),
    )
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE waits for no pending trigger
    with pytest.raises(Error, match="is never emptied"), transaction.atomic():
        sql("TRUNCATE wallet_closing")


@pytest.mark.parametrize(
    "change, says",
    [
        ({"movements": 2}, "in the closing"),
        ({"turnover": Decimal("9.99")}, "in the closing"),
        ({"first_day": 0, "last_day": 0, "movements": 0, "turnover": 0}, "is not over"),  # so many days ago
        ({"first_day": 2, "last_day": 2, "movements": 0, "turnover": 0}, "is not next"),
    ],
)
def test_the_database_closes_what_is_over_in_order_and_as_the_ledger_has_it(change: dict[str, Any], says: str) -> None:
    operator = agent_of()
    cash(days_ago(4), "a")
    facts: dict[str, Any] = {"kind": "day", "first_day": 4, "last_day": 4, "movements": 1, "turnover": 10} | change
    days = {name: days_ago(facts[name]) for name in ("first_day", "last_day")}
    row = Closing(**{**facts, **days, "totals": {}, "closed_by": operator})
    guarded(
        "wallet.Closing:closes_what_is_over",
        lambda: Closing.objects.bulk_create([row]),
        says,
        lambda: Closing.objects.exists(),
    )


def test_a_month_is_closed_once_its_days_are() -> None:
    operator = agent_of()
    first, end = last_month()
    cash(first, "a", "10.00")
    cash(end - dt.timedelta(days=1), "b", "5.00")
    closings.close_days(until=first, by=operator)
    assert closings.open_months() == []
    with pytest.raises(Refused) as refusal:
        closings.close_month(first_day=first, by=operator)
    assert refusal.value.code == "month_not_next"
    early = Closing(
        kind="month", first_day=first, last_day=end, movements=2, turnover=15, totals={}, closed_by=operator
    )
    guarded(
        "wallet.Closing:closes_what_is_over",
        lambda: Closing.objects.bulk_create([early]),
        "a day of this month is open",
        lambda: Closing.objects.filter(kind="month").exists(),
    )
    closings.close_days(until=end - dt.timedelta(days=1), by=operator)
    assert closings.open_months() == [first]
    month = closings.close_month(first_day=first, by=operator)
    assert (month.last_day, month.movements, month.turnover) == (end, 2, Decimal("15.00"))
    assert closings.open_months() == [] and closings.closed_until() == end
    with pytest.raises(Refused):
        closings.close_month(first_day=first, by=operator)


def test_a_month_keeps_the_receipts_that_its_days_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first days were closed when the till's reversals still counted; the chart of the month reads the days."""
    operator = agent_of()
    first, end = last_month()
    cash(first, "a", "65.50")
    corrected(first, "b", till__cash="-1000.00", bank="1000.00")
    cash(end, "c", "5.00")
    with monkeypatch.context() as earlier:
        earlier.setattr(closings, "BY_DAY", counted_before())
        kept = closings.close_days(until=first, by=operator)
    kept += closings.close_days(until=end, by=operator)
    month = closings.close_month(first_day=first, by=operator)
    assert [row.totals["receipts"] for row in (*kept, month)] == ["1065.50", "5.00", "1070.50"]
    assert receipts_chart(end).total == Decimal("1070.50")


def test_a_month_is_closed_whole() -> None:
    first, end = last_month()
    row = Closing(
        kind="month", first_day=first, last_day=end - dt.timedelta(days=1), movements=0, turnover=0, totals={},
        closed_by=agent_of(),
    )  # fmt: skip
    guarded(
        "wallet.Closing:closes_what_is_over",
        lambda: Closing.objects.bulk_create([row]),
        "a month is closed whole",
        lambda: Closing.objects.exists(),
    )


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return bool(cursor.fetchone()[0])


@contextmanager
def pgtrigger_off(table: str, name: str) -> Iterator[None]:
    """For every connection: pgtrigger.ignore knows its own alone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE tgname LIKE %s", [f"pgtrigger_{name}%"])
        (trigger,) = cursor.fetchone()
    sql(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    try:
        yield
    finally:
        sql(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def closed_while_posting(self) -> tuple[Closing, int]:
        """A movement of yesterday is written, and committed only once somebody closes yesterday."""
        operator = agent_of()
        cash(days_ago(3), "before")
        closings.close_days(until=days_ago(3), by=operator)
        written, closed = threading.Event(), threading.Event()

        def late() -> None:
            with transaction.atomic():
                ledger.post(
                    kind=Movement.Kind.COUNTER,
                    key="late",
                    label="x",
                    amounts={"fees": Decimal(1), "till:cash": Decimal(-1)},
                    by=None,
                )
                sql("SET LOCAL session_replication_role = replica")  # as if midnight had passed meanwhile
                sql("UPDATE wallet_movement SET at = %s WHERE key = 'late'", closings.midnight(days_ago(1)))
                written.set()
                while not closed.is_set() and not somebody_waits():
                    pass

        def close() -> Closing:
            assert written.wait(timeout=30)
            (closing,) = closings.close_days(until=days_ago(1), by=operator)
            closed.set()
            return closing

        outcomes = race([late, close])
        assert outcomes[0] is None
        return outcomes[1], Movement.objects.filter(key="late").count()

    def test_a_closing_waits_for_what_is_being_posted(self) -> None:
        closing, movements = self.closed_while_posting()
        assert closing.movements == movements == 1

    def test_without_the_lock_it_would_close_beside_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(closings, "alone_in_the_ledger", lambda: None)
        with pgtrigger_off("wallet_closing", "closes_what_is_over"):
            closing, movements = self.closed_while_posting()
        assert closing.movements == 0 and movements == 1

    def test_of_two_that_close_the_same_day_one_does(self) -> None:
        operator = agent_of()
        cash(days_ago(2), "a")
        outcomes = race([lambda: closings.close_days(until=days_ago(2), by=operator)] * 2)
        assert Closing.objects.count() == 1
        assert [each.code for each in outcomes if isinstance(each, Refused)] == ["already_closed"]

    def test_who_cannot_be_alone_says_so_and_holds_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        operator = agent_of()
        monkeypatch.setattr(closings, "TRIES", 1)
        monkeypatch.setattr(closings, "PATIENCE", "50ms")
        with transaction.atomic():
            ledger.post(
                kind=Movement.Kind.COUNTER, key="x", label="x",
                amounts={"fees": Decimal(1), "till:cash": Decimal(-1)}, by=None,
            )  # fmt: skip
            (outcome,) = race([lambda: closings.close_days(until=days_ago(1), by=operator)])
        assert outcome.code == "busy" and not Closing.objects.exists()
