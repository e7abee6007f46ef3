"""What anybody with a psql prompt could do to the papers, and PostgreSQL refuses: shown first with the guard off."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, transaction
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import Order
from checkout.papers.actions import cancel
from checkout.papers.models import Document, Kind, Series
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.verification import verify
from tests.factories import UserFactory, agent_of
from tests.guards import bought, guarded, sql
from tests.shop import open_shop
from wallet.models import Movement

pytestmark = pytest.mark.django_db


def paper() -> Document:
    found = issue_receipt(order=Order.objects.get(user=bought().user))
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE and TRUNCATE wait for no pending trigger
    sql("SET CONSTRAINTS ALL DEFERRED")
    return found


def copy(document: Document, **changes: Any) -> Document:
    """The same paper about something else, with another number unless told otherwise."""
    row = Document.objects.get(pk=document.pk)
    row.pk = None
    for name, value in {"number": row.number + 1, "subject": "order:0", **changes}.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize("number", [3, 1, 0])
def test_a_number_is_the_next_one(number: int) -> None:
    """A gap, a double and a step back."""
    first = paper()
    row = copy(first, number=number)

    def insert() -> None:
        if number == 1:  # the constraint speaks too
            sql("ALTER TABLE checkout_document DROP CONSTRAINT IF EXISTS one_document_per_number")
        Document.objects.bulk_create([row])
        row.pk = None

    guarded(
        "checkout.Document:document_takes_the_next_number",
        insert,
        "next number of its series",
        lambda: Document.objects.count() == 2 and any("dernier numéro 1" in line for line in verify()),
    )


@pytest.mark.parametrize("fault", ["kind", "year"])
def test_a_number_is_of_the_papers_kind_and_year(fault: str) -> None:
    first = paper()
    changes: dict[str, Any] = {"year": {"issued_at": timezone.now() + dt.timedelta(days=400)}}.get(
        fault,
        {"kind": Kind.INVOICE, "order": None, "first_day": dt.date(2026, 1, 1), "last_day": dt.date(2026, 1, 31)},
    )
    row = copy(first, **changes)

    def insert() -> None:
        row.pk = None
        Document.objects.bulk_create([row])

    guarded(
        "checkout.Document:document_takes_the_next_number",
        insert,
        "next number of its series",
        lambda: Document.objects.count() == 2,
    )


@pytest.mark.parametrize("field, value", [("amount", Decimal(1)), ("data", {}), ("number", 9), ("sha256", "0" * 64)])
def test_what_is_issued_never_changes(field: str, value: object) -> None:
    paper()
    guarded(
        "checkout.Document:documents_are_frozen",
        lambda: Document.objects.update(**{field: value}),
        "Cannot update",
        lambda: Document.objects.filter(**{field: value}).exists(),
    )


def test_what_is_issued_is_never_deleted() -> None:
    paper()
    guarded(
        "checkout.Document:documents_are_frozen",
        lambda: Document.objects.all().delete(),
        "Cannot update or delete",
        lambda: not Document.objects.exists() and any("0 pièces" in line for line in verify()),
    )


def test_a_counter_moves_only_with_its_papers() -> None:
    paper()
    guarded(
        "checkout.Series:counter_follows_documents",
        lambda: Series.objects.update(last=7),
        "moves only with its documents",
        lambda: Series.objects.filter(last=7).exists() and any("dernier numéro 7" in line for line in verify()),
    )


def test_a_series_starts_at_zero() -> None:
    regie = paper().series.regie
    guarded(
        "checkout.Series:series_starts_at_zero",
        lambda: Series.objects.create(regie=regie, kind=Kind.INVOICE, year=2030, last=5),
        "starts at zero",
        lambda: Series.objects.filter(last=5).exists(),
    )


@pytest.mark.parametrize("field, value", [("kind", Kind.INVOICE), ("year", 2030)])
def test_a_series_stays_what_it_is(field: str, value: object) -> None:
    paper()
    guarded(
        "checkout.Series:series_is_frozen",
        lambda: Series.objects.update(**{field: value}),
        "Cannot update",
        lambda: Series.objects.filter(**{field: value}).exists(),
    )


@pytest.mark.parametrize("fault", ["person", "amount", "cancellation"])
def test_a_cancellation_ends_a_paper_of_the_same_person(fault: str) -> None:
    first, other = paper(), paper()
    ending = cancel(document=first, reason="Erreur", by=agent_of())
    changes: dict[str, Any] = {
        "person": {"user": UserFactory(), "cancels": other},
        "amount": {"user": other.user, "cancels": other, "amount": Decimal("-1")},
        "cancellation": {"cancels": ending, "amount": -ending.amount},
    }[fault]
    row = copy(ending, **changes)

    def insert() -> None:
        row.pk = None
        Document.objects.bulk_create([row])

    guarded(
        "checkout.Document:document_follows_another",
        insert,
        "ends a document of the same person",
        lambda: Document.objects.filter(kind=Kind.CANCELLATION).count() == 2,
    )


def test_a_new_edition_follows_a_cancelled_one() -> None:
    first = paper()
    row = copy(first, subject=first.subject, edition=2)

    def insert() -> None:
        row.pk = None
        Document.objects.bulk_create([row])

    guarded(
        "checkout.Document:document_follows_another",
        insert,
        "follows a cancelled one",
        lambda: Document.objects.count() == 2,
    )


@pytest.mark.parametrize("amount", ["0.00", "-5.00"])
def test_a_note_tells_of_money(amount: str) -> None:
    """One that was issued over nothing before this rule stays, and another paper can end it."""
    shop = open_shop(days=2, credit="50")
    shop.add()
    shop.pay(Means.WALLET, "15.80")
    cancel_bookings(ids=[Booking.objects.earliest("pk").pk], by=shop.user)
    movement = Movement.objects.get(kind=Movement.Kind.CANCELLATION)
    note = issue_refund_note(movement=movement)
    assert note is not None
    row = copy(note, subject="movement:0", amount=Decimal(amount))

    def insert() -> None:
        row.pk = None
        Document.objects.bulk_create([row])

    guarded(
        "checkout.Document:document_gives_something_back",
        insert,
        "money that was given back",
        lambda: Document.objects.filter(kind=Kind.REFUND, amount=Decimal(amount)).exists(),
    )


def test_a_paper_is_cancelled_once() -> None:
    first = paper()
    ending = cancel(document=first, reason="Erreur", by=agent_of())
    with pytest.raises(Error, match="cancels_id"), transaction.atomic():
        Document.objects.bulk_create([copy(ending)])
