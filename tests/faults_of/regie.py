"""What nobody may write past the régie: its papers and their numbers, its statements, its imports and its checks."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone

from checkout.models import Regie
from checkout.papers.models import Series
from tests.admin.world import Town
from tests.faults_of import Fault, added, agent, changed, deleted, movement, now, posted, the
from wallet import actions as ledger
from wallet.models import Movement


def remittance(place: Town) -> Movement:
    """Another euro that is owed to the commune."""
    revenue = ledger.revenue_code(place.commune).replace(":", "__")
    return posted(Movement.Kind.REMITTANCE, **{revenue: "-1", ledger.REMITTING: "1"})


EARLIER: dict[str, Any] = {"period": DateRange(dt.date(2019, 1, 1), dt.date(2019, 2, 1), "[)"), "movement": remittance}
JANUARY: dict[str, Any] = {"first_day": dt.date(2026, 1, 1), "last_day": dt.date(2026, 1, 31)}
# A rest of twenty cents, of which the provider keeps more.
ONE_LINE: dict[str, Any] = {
    "sha256": "1" * 64,
    "lines": 1,
    "differences": [],
    "gross": Decimal("0.20"),
    "fees": Decimal("0.25"),
    "matched": [{"line": 3, "gross": "0.20", "fee": "0.25"}],
    "accepted_lines": 1,
    "accepted_by": agent,
}

PAPERS: dict[str, list[Fault]] = {
    "checkout.Regie:regie_keeps_its_code": [changed(code="autre")],
    "checkout.Regie:regies_are_kept": [deleted(of=lambda _place: Regie.objects.create(code="autre"))],
    "checkout.Regie:regie_fee_is_moderate": [changed(top_up_fee=Decimal("-0.01")), changed(top_up_fee=Decimal("5.01"))],
    "checkout.Regie:regie_part_is_moderate": [
        changed(remittance_percent=Decimal("-0.01")),
        changed(remittance_percent=Decimal("10.01")),
    ],
    "checkout.Regie:regie_deposits_have_bounds": [
        changed(top_up_least=Decimal(0)),
        changed(top_up_least=Decimal(20), top_up_most=Decimal(10)),
        changed(top_up_most=Decimal("10000.01")),
    ],
    "checkout.Regie:regie_counter_has_a_bound": [
        changed(counter_most=Decimal(0)),
        changed(counter_most=Decimal("10000.01")),
    ],
    "checkout.Regie:regie_iban_is_compact": [changed(iban="FR76 3000 6000 0112"), changed(iban="x")],
    "checkout.Regie:regie_bic_is_compact": [changed(bic="AGRI")],
    "checkout.Regie:regie_bic_is_of_its_iban": [
        changed(iban="DE89370400440532013000", bic="AGRIFRPP"),
        changed(iban="DE89370400440532013000", bic="AGRIRERX"),
    ],
    "checkout.Series:series_are_kept": [
        deleted(of=lambda place: Series.objects.create(regie=place.rows["checkout.regie"], kind="invoice", year=2030))
    ],
    "checkout.Series:one_series_per_kind_and_year": [added(regie=the("checkout.Regie"), kind="receipt", last=0)],
    # The trigger in front gives each paper the next number; without it two papers would still not share one.
    "checkout.Document:one_document_per_number": [
        added(number=1, subject="order:0", behind=("checkout.Document:document_takes_the_next_number",))
    ],
    "checkout.Document:one_document_per_subject": [
        added(number=2, subject=lambda place: place.rows["checkout.document"].subject)
    ],
    "checkout.Document:receipt_has_its_order": [added(number=2, subject="order:0", order=None)],
    "checkout.Document:refund_has_its_movement": [added(number=2, subject="order:0", movement=movement)],
    "checkout.Document:document_has_its_period": [added(number=2, subject="order:0", **JANUARY)],
    "checkout.Document:cancellation_has_its_reason": [added(number=2, subject="order:0", reason="Erreur")],
    "checkout.Document:document_has_a_file": [
        added(number=2, subject="order:0", size=0),
        added(number=2, subject="order:0", sha256="Z" * 64),
    ],
    "checkout.InvoiceRun:run_is_of_a_month": [added(month=dt.date(2027, 1, 2))],
    "checkout.InvoiceRun:finished_run_has_no_failure": [changed(failed=1, finished_at=now)],
}

STATEMENTS: dict[str, list[Fault]] = {
    "checkout.Statement:paid_over_once": [
        added(account=lambda place: place.rows["checkout.statement"].account, movement=remittance)
    ],
    # Its movement says gross less cancelled, and net: discounts and fees are what this guard alone adds up.
    "checkout.Statement:statement_adds_up": [added(**EARLIER, vouchers=Decimal("0.50")), added(**EARLIER, fees=1)],
    "checkout.Statement:cancelled_statement_says_why": [
        added(**EARLIER, cancelled_at=now, cancelled_by=agent),
        added(**EARLIER, cancelled_at=now, reason="Erreur"),
        added(**EARLIER, reason="Erreur"),
    ],
    "checkout.Statement:paid_statement_is_signed_and_stays": [
        added(**EARLIER, paid_on=dt.date(2020, 2, 1)),
        added(**EARLIER, paid_by=agent),
        added(
            **EARLIER,
            paid_on=dt.date(2020, 2, 1),
            paid_by=agent,
            payment=movement,
            cancelled_at=now,
            cancelled_by=agent,
            reason="Erreur",
        ),
    ],
    "checkout.Verification:verification_ends_after_it_starts": [
        added(ended_at=lambda _place: timezone.now() - dt.timedelta(days=1))
    ],
    "checkout.Settlement:file_imported_once": [added(provider="demo", sha256="0" * 64)],
    "checkout.Settlement:explained_settlement_is_signed": [
        changed(explanation="Frais"),
        changed(explained_at=now, explained_by=agent),
        changed(explained_at=now, explanation="Frais"),
    ],
    "checkout.Settlement:accepted_commissions_are_signed": [added(sha256="1" * 64, accepted_by=agent)],
    "checkout.Settlement:unusual_commissions_are_accepted": [
        added("nobody has accepted these", **ONE_LINE),
        added("nobody has accepted these", **ONE_LINE | {"accepted_fees": Decimal("0.05")}),
        added("nobody has accepted these", **ONE_LINE | {"accepted_gross": Decimal("0.20")}),
    ],
    "checkout.SettlementNote:settlement_note_says_something": [added(words="")],
    "checkout.SettlementNote:settlement_notes_are_kept": [changed(words="Autre"), deleted()],
}

FAULTS = PAPERS | STATEMENTS
