"""One refund, one note: what came back of a cancellation, on a card or in the wallet, whatever becomes of it on its way."""

import datetime as dt
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.urls import reverse
from django.utils import timezone

from checkout.actions import Means, cancel_bookings
from checkout.models import Payment, Refund
from checkout.papers import receipts
from checkout.papers import tasks as papers
from checkout.papers.actions import cancel
from checkout.papers.again import issue_again
from checkout.papers.content import Content
from checkout.papers.invoices import invoice
from checkout.papers.models import Document, Kind
from checkout.papers.receipts import issue_refund_note
from checkout.papers.yearly import payments_certificate
from checkout.refunds.actions import back_to_wallet, refund_to_card
from checkout.verification import verify
from portal.common.formats import today
from portal.demo.models import BankPayment
from portal.outbox.calls import make_due
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.concurrency.conftest import no_locks, race
from tests.factories import agent_of
from tests.papers.reading import plain, words
from tests.refunds.conftest import pay_at_the_bank
from tests.refunds.test_refunds import ids
from tests.shop import Shop, open_shop
from wallet.models import Movement

pytestmark = pytest.mark.django_db(transaction=True)
Order = Callable[..., Shop]
__all__ = ["no_locks"]


@pytest.fixture(autouse=True)
def old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done just now is old enough for the sweep."""
    monkeypatch.setattr(papers, "WAIT", -dt.timedelta(minutes=1))


def notes() -> list[Document]:
    return list(Document.objects.filter(kind=Kind.REFUND).order_by("number"))


def standing() -> Document:
    return Document.objects.live().get(kind=Kind.REFUND)


def given_back(shop: Shop, count: int = 1) -> Movement:
    """So many dates are cancelled; what their card paid is on its way there."""
    cancel_bookings(ids=ids(shop, count), by=shop.user, to_card=True)
    return Movement.objects.get(kind=Movement.Kind.CANCELLATION)


class TestOneNote:
    def test_it_comes_once_the_card_has_it_and_says_so(self, by_card: Order) -> None:
        shop = by_card()
        movement = given_back(shop)
        papers.issue_papers()
        assert not notes() and issue_refund_note(movement=movement) is None  # nobody knows yet where the money arrives
        make_due()
        assert papers.issue_papers() == 1 and papers.issue_papers() == 0
        (note,) = notes()
        assert (note.movement, note.amount) == (movement, Decimal("7.90"))
        said, refund = words(note), Refund.objects.get()
        assert "Somme rendue : 7,90 €" in said and "Rendu sur la carte qui a payé : 7,90 €" in said
        assert "porte-monnaie" not in said and refund.provider_reference in said
        assert issue_refund_note(movement=refund.movement) == note  # whichever of the two is asked for
        page = text(client_of(shop.user).get(reverse("papers")))
        assert page.count("Note de remboursement") == page.count("RB-") + 1  # its kind among the filters

    def test_a_part_on_the_card_and_a_part_in_the_wallet(self, by_card: Order) -> None:
        """31,60 €: 10 € from the wallet, 21,60 € by card, all of it given back at once."""
        shop = by_card(Means.BOTH, credit="10")
        given_back(shop, 4)
        make_due()
        papers.issue_papers()
        (note,) = notes()
        said = words(note)
        assert note.amount == Decimal("31.60") and "Somme rendue : 31,60 €" in said
        assert "Rendu sur la carte qui a payé : 21,60 €" in said and "Rendu sur le porte-monnaie : 10,00 €" in said

    def test_two_cards_are_told_each(self, bank: object) -> None:
        """Two orders, two payments, one cancellation."""
        shop = open_shop(days=2)
        for day in shop.days:
            shop.add([day])
            departure = shop.pay(Means.CARD, "7.90").departure
            assert departure
            pay_at_the_bank(departure.url)
        given_back(shop, 2)
        assert Refund.objects.count() == 2 and make_due() == 2
        assert papers.issue_papers() == 3  # two receipts
        (note,) = notes()
        said = words(note)
        assert "Rendu sur la carte qui a payé : 15,80 €" in said and said.count("Somme : 7,90 €") == 2
        refund = Refund.objects.order_by("pk")[0]
        back_to_wallet(refund=refund, note="Compte clos", by=agent_of())
        papers.issue_papers()
        said = words(standing())
        assert "Rendu sur la carte qui a payé : 7,90 €" in said and "Rendu sur le porte-monnaie : 7,90 €" in said

    def test_without_a_card_it_says_the_wallet(self, by_card: Order) -> None:
        shop = by_card()
        cancel_bookings(ids=ids(shop, 1), by=shop.user)
        papers.issue_papers()
        said = words(standing())
        assert "Rendu sur le porte-monnaie : 7,90 €" in said and "carte" not in said.partition("Somme rendue")[2]

    def test_a_provider_that_was_down_for_a_month(self, by_card: Order) -> None:
        movement = given_back(by_card())
        with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
            Movement.objects.filter(pk=movement.pk).update(at=timezone.now() - dt.timedelta(days=30))
        papers.issue_papers()
        assert not notes()
        make_due()
        papers.issue_papers()
        assert standing().movement == movement


class TestNotTaken:
    """The card cannot have it: the money is in the wallet, and the note says so."""

    def test_at_once(self, by_card: Order) -> None:
        shop = by_card()
        given_back(shop)
        BankPayment.objects.update(outcome="refused")
        make_due()
        assert shop.balance == Decimal("7.90")
        papers.issue_papers()
        assert papers.issue_papers() == 0
        (note,) = notes()
        said = words(note)
        assert "Rendu sur le porte-monnaie : 7,90 €" in said and "Rendu sur la carte" not in said
        assert plain("La somme de 7,90 € devait revenir sur la carte, qui n’a pas pu la recevoir") in said

    def test_days_later_its_note_is_ended_and_another_says_where_it_is(self, by_card: Order) -> None:
        shop = by_card()
        given_back(shop)
        make_due()
        papers.issue_papers()
        first = standing()
        back_to_wallet(refund=Refund.objects.get(), note="Compte clos", by=agent_of())
        assert papers.issue_papers() == 1 and papers.issue_papers() == 0
        assert Document.objects.get(cancels=first).reason == "Renvoyé par la banque : Compte clos"
        second = standing()
        assert (second.amount, second.edition, second.number) == (first.amount, 2, 2) and shop.balance == first.amount
        said = words(second)
        assert "Rendu sur le porte-monnaie : 7,90 €" in said and "n’a pas pu la recevoir" in said
        assert list(verify()) == []

    def test_a_long_reason_fits_its_paper(self, by_card: Order) -> None:
        given_back(by_card())
        make_due()
        papers.issue_papers()
        back_to_wallet(refund=Refund.objects.get(), note="x" * 200, by=agent_of())
        papers.issue_papers()
        assert Document.objects.get(kind=Kind.CANCELLATION).reason.endswith("xxx") and len(notes()) == 2

    def test_what_an_operator_has_ended_stays_ended_until_it_is_issued_again(self, by_card: Order) -> None:
        given_back(by_card())
        make_due()
        papers.issue_papers()
        agent, first = agent_of(), standing()
        cancel(document=first, reason="Erreur de nom", by=agent)
        back_to_wallet(refund=Refund.objects.get(), note="Compte clos", by=agent)
        assert papers.issue_papers() == 0 and len(notes()) == 1
        made = issue_again(document=first, by=agent)
        assert "Rendu sur le porte-monnaie : 7,90 €" in words(made) and papers.issue_papers() == 0


class TestByHand:
    """An operator sends on to the card what a wallet holds: an act of its own, with its own note."""

    def test_its_note_adds_nothing_to_the_cancellations(self, by_card: Order) -> None:
        shop = by_card()
        cancel_bookings(ids=ids(shop, 1), by=shop.user)
        papers.issue_papers()
        refund = refund_to_card(
            payment=Payment.objects.get(), amount=Decimal("7.90"), reason="À sa demande", by=agent_of()
        )
        make_due()
        assert papers.issue_papers() == 1 and papers.issue_papers() == 0
        to_wallet, to_card = notes()
        assert to_card.movement == refund.movement and "ne s’ajoute pas" in words(to_card)
        assert "Rendu sur le porte-monnaie : 7,90 €" in words(to_wallet)
        refund.refresh_from_db()
        back_to_wallet(refund=refund, note="Compte clos", by=agent_of())
        assert papers.issue_papers() == 1 and papers.issue_papers() == 0
        assert standing() == to_wallet and shop.balance == Decimal("7.90")  # where it said that the money is


def figures(content: Content, title: str) -> list[str]:
    (block,) = [block for block in content.blocks if block.get("title") == title]
    return [plain(cell) for cell in block["total"]]


def test_the_year_and_the_month_count_each_euro_once(by_card: Order) -> None:
    """31,60 € by card, 7,90 € of it back on the card, then sent back by the bank: never more nor less is said."""
    shop = by_card()
    given_back(shop)

    def said() -> tuple[list[str], list[str], list[str]]:
        month = invoice(shop.user, today().replace(day=1))
        return (
            figures(payments_certificate(shop.user, today().year), "Sommes réglées par service")[2:],
            figures(month, "Versé par la famille")[-1:],
            figures(month, "Porte-monnaie")[-1:],
        )

    year = ["31,60 €", "7,90 €", "23,70 €"]
    assert said() == (year, ["31,60 €"], ["0,00 €"])
    make_due()
    papers.issue_papers()
    assert said() == (year, ["31,60 €"], ["0,00 €"])
    back_to_wallet(refund=Refund.objects.get(), note="Compte clos", by=agent_of())
    papers.issue_papers()
    assert said() == (year, ["31,60 €"], ["7,90 €"])
    assert sum(note.amount for note in Document.objects.live().filter(kind=Kind.REFUND)) == Decimal("7.90")


class TestSentBackWhileItIsPrinted:
    """The bank's word and the note at one moment: the note says where the money is, or is ended by the next sweep."""

    def both(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        movement = given_back(shop)
        make_due()
        refund, agent = Refund.objects.get(), agent_of()
        read, back = threading.Event(), threading.Event()
        original = receipts._refund_note

        def slow(*args: Any) -> Content:
            content = original(*args)
            read.set()
            back.wait(2)  # in vain where a lock holds the bank's word up
            return content

        def sent_back() -> None:
            read.wait(20)
            back_to_wallet(refund=refund, note="Compte clos", by=agent)
            back.set()

        with monkeypatch.context() as patched:
            patched.setattr(receipts, "_refund_note", slow)
            assert [type(each) for each in race([lambda: issue_refund_note(movement=movement), sent_back])] == [
                Document,
                type(None),
            ]
        papers.issue_papers()

    def test_with_the_lock_off_a_note_stays_wrong(
        self, by_card: Order, monkeypatch: pytest.MonkeyPatch, no_locks: None
    ) -> None:
        self.both(by_card(), monkeypatch)
        assert "Rendu sur la carte qui a payé : 7,90 €" in words(standing())

    def test_the_note_that_stands_is_right(self, by_card: Order, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = by_card()
        self.both(shop, monkeypatch)
        assert "Rendu sur le porte-monnaie : 7,90 €" in words(standing()) and shop.balance == Decimal("7.90")
