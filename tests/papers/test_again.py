"""What failed, or was ended, comes again: the invoices of past months, and a cancelled paper's successor."""

import datetime as dt
from typing import Any

import pytest
from django.urls import reverse

from bookings.models import Booking
from checkout.actions import cancel_bookings
from checkout.models import Order, OrderLine
from checkout.papers import runs, tasks
from checkout.papers.actions import cancel
from checkout.papers.again import issue_again
from checkout.papers.invoices import send_invoice
from checkout.papers.models import Document, InvoiceRun, Kind
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.papers.yearly import issue_certificate
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from tests.factories import UserFactory, agent_of
from tests.papers.test_pages import client_of
from tests.papers.test_periods import month_after, ordered
from tests.shop import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes it some months later for the runs."""

    def travel(months: int) -> dt.date:
        date = runs.month_before(today().replace(day=1), -months)
        monkeypatch.setattr(runs, "last_to_close", lambda: date - dt.timedelta(days=1))
        return date

    return travel


class TestRuns:
    def test_months_without_a_worker_are_taken_up_once(self, later: Any) -> None:
        shop = ordered(days=1)
        later(3)
        assert tasks.issue_invoices() >= 1
        first = today().replace(day=1)
        assert Document.objects.get(user=shop.user, first_day=first).kind == Kind.INVOICE
        assert list(InvoiceRun.objects.order_by("month").values_list("month", flat=True)) == [
            first, month_after(first), month_after(month_after(first)),
        ]  # fmt: skip
        assert not InvoiceRun.objects.filter(finished_at=None).exists() and tasks.issue_invoices() == 0

    def test_a_family_that_failed_all_month_is_not_forgotten(self, later: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = ordered(days=1)
        later(1)
        with monkeypatch.context() as broken:
            broken.setattr(runs, "send_invoice", lambda **_given: 1 / 0)
            assert tasks.issue_invoices() == 0
        later(2)
        tasks.issue_invoices()
        assert Document.objects.filter(user=shop.user, first_day=today().replace(day=1)).count() == 1
        assert not InvoiceRun.objects.filter(failed__gt=0).exists()

    def test_what_is_older_than_a_year_is_left(self, later: Any) -> None:
        ordered(days=1)
        later(runs.MONTHS + 2)
        assert tasks.issue_invoices() == 0 and not InvoiceRun.objects.exists()

    def test_without_money_there_is_no_run(self, later: Any) -> None:
        later(5)
        assert tasks.issue_invoices() == 0 and not InvoiceRun.objects.exists()

    def test_an_operator_takes_a_month_up_again(self, later: Any) -> None:
        shop, agent = ordered(days=1), agent_of()
        first = today().replace(day=1)
        run = InvoiceRun.objects.create(month=first, families=0)
        client, address = client_of(agent), reverse("admin:checkout_invoicerun_resume", args=[run.pk])
        assert "n’est pas fini" in client.post(address, {"x": "1"}).content.decode()
        later(1)
        assert "Relancer la facturation" in client.get(address).content.decode() and not Document.objects.exists()
        change = client.get(reverse("admin:checkout_invoicerun_change", args=[run.pk])).content.decode()
        assert address in change
        assert "1 facture éditée." in client.post(address, {"x": "1"}, follow=True).content.decode()
        paper = Document.objects.get()
        run.refresh_from_db()
        assert (paper.user, paper.issued_by) == (shop.user, agent)
        assert (run.families, run.issued) == (1, 1) and run.finished_at
        assert "ont leur facture" in client.post(address, {"x": "1"}).content.decode()
        assert client_of(agent_of(shop.activity.service.commune)).post(address).status_code == 404

    def test_a_finished_month_gets_what_it_lacks(self, later: Any) -> None:
        first = today().replace(day=1)
        later(1)
        run = runs.due()  # nothing has moved yet
        assert list(run) == []
        done = InvoiceRun.objects.create(month=first, families=0, finished_at="2026-01-01T00:00Z")
        ordered(days=1)
        assert tasks.issue_invoices() == 0
        assert runs.resume(run=done, by=agent_of()) == 1


def papers(kind: Kind) -> tuple[Shop, Document]:
    shop = ordered(days=2)
    match kind:
        case Kind.RECEIPT:
            return shop, issue_receipt(order=Order.objects.get())
        case Kind.INVOICE:
            return shop, send_invoice(user=shop.user, first=today().replace(day=1))
        case Kind.PAYMENTS:
            return shop, issue_certificate(kind=kind, user=shop.user, year=today().year, by=shop.user)
    cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=shop.user)
    movement = OrderLine.objects.exclude(refund=None).get().refund
    assert movement is not None
    note = issue_refund_note(movement=movement)
    assert note is not None
    return shop, note


class TestAgain:
    @pytest.mark.parametrize("kind", [Kind.RECEIPT, Kind.INVOICE, Kind.REFUND, Kind.PAYMENTS])
    def test_a_cancelled_paper_is_issued_again_once_and_sent(self, kind: Kind) -> None:
        shop, paper = papers(kind)
        agent = agent_of()
        with pytest.raises(Refused) as refusal:
            issue_again(document=paper, by=agent)
        assert refusal.value.code == "stands"
        ending = cancel(document=paper, reason="Erreur de nom", by=agent)
        Email.objects.all().delete()
        client = client_of(agent)
        change = reverse("admin:checkout_document_change", args=[paper.pk])
        address = reverse("admin:checkout_document_again", args=[paper.pk])
        page = client.get(change).content.decode()
        assert ending.reference in page and "Erreur de nom" in page and address in page
        assert "Éditer la nouvelle pièce" in client.get(address).content.decode()
        said = client.post(address, {"x": "1"}, follow=True).content.decode()
        made = Document.objects.live().get(kind=kind)
        assert made.reference in said and (made.user, made.issued_by, made.amount) == (shop.user, agent, paper.amount)
        assert made.edition == 2 and made.subject == paper.subject
        assert Email.objects.get().attachment == f"paper:{made.pk}"
        again = client.post(address, {"x": "1"}).content.decode()
        assert f"n° {made.reference} l’a déjà remplacée" in again and Document.objects.filter(kind=kind).count() == 2
        after = client.get(change).content.decode()
        assert made.reference in after and address not in after

    def test_the_pages_are_the_regies(self) -> None:
        shop, paper = papers(Kind.RECEIPT)
        cancel(document=paper, reason="x", by=agent_of())
        address = reverse("admin:checkout_document_again", args=[paper.pk])
        for user in (agent_of(shop.activity.service.commune), UserFactory()):
            assert client_of(user).post(address, {"x": "1"}).status_code == 404

    def test_a_standing_paper_says_nothing_of_an_end(self) -> None:
        _shop, paper = papers(Kind.RECEIPT)
        page = client_of(agent_of()).get(reverse("admin:checkout_document_change", args=[paper.pk])).content.decode()
        assert "nnulée par" not in page and "Motif" not in page
