"""The receipt of an order: with its e-mail, once, read back from its file; the note of what was given back."""

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pgtrigger
import pikepdf
import pytest
import typst
from django.conf import settings
from django.core import mail
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from PIL import Image, ImageOps

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from checkout.models import Order
from checkout.papers import files, tasks
from checkout.papers.actions import cancel, send, the_regie
from checkout.papers.models import Document, Kind, siret_number
from checkout.papers.paper import TEMPLATE, Damaged, logo, stored
from checkout.papers.receipts import issue_receipt, issue_refund_note
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox.actions import send_due
from portal.outbox.models import Email
from tests.factories import UserFactory, agent_of
from tests.guards import bought
from tests.papers.reading import plain, tags, words
from tests.shop import Shop, open_shop
from tests.vouchers.making import order_with, voucher
from wallet.models import Movement

pytestmark = pytest.mark.django_db
LOCMEM = override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend")


def receipt(shop: Shop) -> Document:
    return issue_receipt(order=Order.objects.get(user=shop.user))


def later(monkeypatch: pytest.MonkeyPatch, **delta: int) -> None:
    """What was done just now is old enough for the sweep."""
    monkeypatch.setattr(tasks, "WAIT", -dt.timedelta(**delta))


class TestReceipt:
    def test_it_says_what_was_paid_and_reads_back(self) -> None:
        shop = open_shop(days=4, credit="50")
        shop.add()
        order = shop.pay(Means.WALLET, "31.60").order
        paper = issue_receipt(order=order)
        assert paper.reference == f"R-{timezone.localdate().year}-000001" and paper.amount == Decimal("31.60")
        text = words(paper)
        for part in (paper.reference, order.number, str(shop.user), shop.activity.name, "4 × 7,90 €", "31,60 €"):
            assert plain(part) in text, part
        assert str(shop.children[0]) in text and "Porte-monnaie" in text

    def test_a_screen_reader_finds_titles_and_tables(self) -> None:
        paper = receipt(bought())
        found = tags(paper)
        assert found.count("/H1") == 1 and "/H2" in found
        assert found.count("/Table") == 2 and "/TH" in found and "/TD" in found and "/THead" in found
        with pikepdf.open(io.BytesIO(stored(paper))) as pdf:
            assert str(pdf.Root.Lang) == "fr" and bool(pdf.Root.MarkInfo.Marked)
            metadata = pdf.open_metadata()
            assert b"pdfuaid" in bytes(pdf.Root.Metadata.read_bytes())
            assert f"Reçu {paper.reference}" in str(metadata["dc:title"])
            assert bool(pdf.Root.ViewerPreferences.DisplayDocTitle)

    def test_nothing_in_a_name_becomes_markup(self) -> None:
        shop = bought()
        type(shop.user).objects.filter(pk=shop.user.pk).update(last_name="#panic() *L’Œuf* $x$ @a <b>")
        assert "#panic() *L’Œuf* $x$ @a <b>" in words(receipt(shop))

    def test_it_is_issued_once(self) -> None:
        shop = bought()
        assert receipt(shop) == receipt(shop)
        assert Document.objects.count() == 1

    def test_an_unpaid_order_has_none(self) -> None:
        with pytest.raises(ValueError, match="is not paid"):
            issue_receipt(order=Order.objects.create(user=UserFactory(), total=Decimal(5)))

    def test_the_head_is_the_regies(self) -> None:
        regie = the_regie()
        regie.siret, regie.address, regie.officer = "73282932000074", "1 place\n43000 Le Puy", "Mme Roche, régisseuse"
        regie.save()
        text = words(receipt(bought()))
        for part in ("SIRET 732 829 320 00074", "43000 Le Puy", "Mme Roche, régisseuse", "article 256 B"):
            assert part in text

    def test_the_logo_is_drawn_and_a_screen_reader_passes_it_over(self) -> None:
        paper = receipt(bought())
        assert "/Figure" not in tags(paper)  # beside the name it has nothing to tell
        with pikepdf.open(io.BytesIO(stored(paper))) as pdf:
            page = pdf.pages[0]
            marks = [
                (str(operator), str(operands[0]))
                for operands, operator in pikepdf.parse_content_stream(page)
                if str(operator) in ("BMC", "BDC", "Do")
            ]
            assert marks[:2] == [("BMC", "/Artifact"), ("Do", "/x0")]
        assert "var(" not in logo()


class TestEmail:
    @LOCMEM
    @pytest.mark.django_db(transaction=True)
    def test_the_orders_email_brings_it(self) -> None:
        shop = bought()
        assert not Document.objects.exists()  # the payment waits for no paper
        assert send_due() == 1
        (message,) = mail.outbox
        ((name, content, kind),) = message.attachments
        paper = Document.objects.get()
        assert (name, content, kind) == (f"{paper.reference}.pdf", stored(paper), "application/pdf")
        assert message.to == [shop.user.email]

    @LOCMEM
    @pytest.mark.django_db(transaction=True)
    def test_one_that_cannot_be_printed_waits_and_holds_up_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bought()
        Email.objects.create(key="other", to="a@exemple.fr", subject="x", body="y")
        with monkeypatch.context() as broken:
            broken.setattr("checkout.papers.actions.print_paper", lambda *_: 1 / 0)
            assert send_due() == 1
        waiting = Email.objects.get(key__startswith="order")
        assert waiting.attempts == 1 and "ZeroDivisionError" in waiting.last_error
        assert not Document.objects.exists()
        Email.objects.update(next_attempt_at=timezone.now())
        assert send_due() == 1
        assert Document.objects.get().number == 1

    @LOCMEM
    @pytest.mark.django_db(transaction=True)
    def test_a_changed_file_is_never_sent(self) -> None:
        paper = receipt(bought())
        with open(paper.file.path, "ab") as file:
            file.write(b" ")
        assert send_due() == 0 and not mail.outbox
        assert "Damaged" in Email.objects.get().last_error

    @LOCMEM
    @pytest.mark.django_db(transaction=True)
    def test_it_is_sent_again_on_demand(self) -> None:
        paper = receipt(bought())
        send_due()
        send(document=paper, by=agent_of())
        assert send_due() == 1
        assert mail.outbox[-1].attachments[0][0] == paper.file_name
        assert paper.reference in mail.outbox[-1].subject


class TestSweep:
    def test_what_no_email_issued_is_issued(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bought()
        assert tasks.issue_papers() == 0  # its e-mail comes first
        later(monkeypatch, minutes=1)
        assert tasks.issue_papers() == 1 and tasks.issue_papers() == 0

    def test_in_the_order_of_payment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        orders = [Order.objects.get(user=bought().user) for _family in range(3)]
        later(monkeypatch, minutes=1)
        tasks.issue_papers()
        assert [issue_receipt(order=order).number for order in orders] == [1, 2, 3]

    def test_one_failure_is_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = bought(), bought()
        later(monkeypatch, minutes=1)
        real = tasks.issue_receipt

        def fails(*, order: Order) -> Document:
            if order.user == first.user:
                raise RuntimeError("broken")
            return real(order=order)

        monkeypatch.setattr(tasks, "issue_receipt", fails)
        assert tasks.issue_papers() == 1
        assert Document.objects.get().user == second.user


class TestRefundNote:
    def given_back(self, days: int = 2) -> tuple[Shop, Movement]:
        shop = open_shop(days=days, credit="50")
        shop.add()
        shop.pay(Means.WALLET, Decimal("7.90") * days)
        ids = [Booking.objects.order_by("pk").first().pk]  # type: ignore[union-attr]
        cancel_bookings(ids=ids, by=shop.user)
        return shop, Movement.objects.get(kind=Movement.Kind.CANCELLATION)

    def test_it_says_what_went_back_and_where(self) -> None:
        _shop, movement = self.given_back()
        note = issue_refund_note(movement=movement)
        assert note is not None and note.kind == Kind.REFUND and note.amount == Decimal("7.90")
        assert note.amount == movement.entries.get(account__kind="wallet").amount
        text = words(note)
        assert "Somme rendue : 7,90 €" in text and "Rendu sur le porte-monnaie" in text
        assert Order.objects.get().number in text and note.reference.startswith("RB-")

    def test_the_sweep_issues_it_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given_back()
        later(monkeypatch, minutes=1)
        assert tasks.issue_papers() == 2 and tasks.issue_papers() == 0
        assert set(Document.objects.values_list("kind", flat=True)) == {Kind.RECEIPT, Kind.REFUND}

    def test_what_could_not_be_issued_for_weeks_is_by_night(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _shop, movement = self.given_back()
        long_ago = timezone.now() - dt.timedelta(days=60)
        with pgtrigger.ignore("wallet.Movement:movements_are_append_only"):
            Movement.objects.filter(pk=movement.pk).update(at=long_ago)
        tasks.issue_papers()
        assert not Document.objects.filter(movement=movement).exists()
        (nightly,) = [row for row in settings.CELERY_BEAT_SCHEDULE.values() if row.get("kwargs", {}).get("days")]
        assert nightly["task"] == tasks.issue_papers.name
        tasks.issue_papers(**nightly["kwargs"])
        assert Document.objects.get(movement=movement).kind == Kind.REFUND

    def test_what_cost_nothing_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Vouchers had paid all of it: its movement gives back to who bears them, and no number is spent on 0,00 €."""
        shop = open_shop(days=1)
        voucher(percent=Decimal(100))
        order_with(shop, "RENTREE10", total="0.00")
        cancel_bookings(ids=[Booking.objects.get().pk], by=shop.user)
        movement = Movement.objects.get(kind=Movement.Kind.CANCELLATION)
        assert issue_refund_note(movement=movement) is None
        later(monkeypatch, minutes=10)
        tasks.issue_papers()
        assert [paper.kind for paper in Document.objects.all()] == [Kind.RECEIPT]

    def test_a_deposit_has_none(self) -> None:
        shop = open_shop(days=0, credit="50")
        (movement,) = Movement.objects.all()
        assert shop.balance == 50 and issue_refund_note(movement=movement) is None


class TestOrphans:
    @pytest.mark.django_db(transaction=True)
    def test_one_of_a_paper_that_was_not_issued_goes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
    ) -> None:
        settings.MEDIA_ROOT = (
            tmp_path  # on the other shelf lie the papers of the browsers' tests, unknown to this database
        )
        kept = receipt(bought())
        shop = bought()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            orphan = receipt(shop).file.name
            raise ZeroDivisionError  # what comes after the paper fails
        assert default_storage.exists(orphan) and tasks.remove_orphaned_papers() == 0  # perhaps it is being issued
        monkeypatch.setattr(files, "OLD_ENOUGH", -dt.timedelta(minutes=1))
        assert tasks.remove_orphaned_papers() == 1
        assert tasks.remove_orphaned_papers() == 0
        assert not default_storage.exists(orphan) and default_storage.exists(kept.file.name)


class TestCancelling:
    def test_another_paper_ends_it_and_a_new_edition_follows(self) -> None:
        shop = bought()
        first = receipt(shop)
        operator = agent_of()
        ending = cancel(document=first, reason="  Adresse   fausse ", by=operator)
        assert ending.reference.startswith("AN-") and ending.amount == -first.amount
        assert ending.reason == "Adresse fausse" and ending.cancels == first and ending.issued_by == operator
        text = words(ending)
        assert first.reference in text and "Adresse fausse" in text and "−" not in text
        second = receipt(shop)
        assert (second.number, second.edition) == (2, 2) and second.reference != first.reference
        assert list(verify()) == []

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_without_a_reason_nothing_changes(self, reason: str) -> None:
        paper = receipt(bought())
        with pytest.raises(Refused, match="Écrivez le motif"):
            cancel(document=paper, reason=reason, by=agent_of())
        assert Document.objects.count() == 1

    def test_once(self) -> None:
        paper, operator = receipt(bought()), agent_of()
        ending = cancel(document=paper, reason="Erreur", by=operator)
        with pytest.raises(Refused, match=ending.reference):
            cancel(document=paper, reason="Autre erreur", by=operator)
        with pytest.raises(Refused, match="ne s’annule pas"):
            cancel(document=ending, reason="Erreur", by=operator)


class TestFiles:
    def test_a_changed_file_is_not_read_and_verify_says_so(self) -> None:
        paper = receipt(bought())
        assert list(verify()) == []
        with open(paper.file.path, "r+b") as file:
            file.seek(100)
            file.write(b"X")
        with pytest.raises(Damaged):
            stored(paper)
        assert any(paper.reference in line and "n’est plus celui" in line for line in verify())

    def test_a_lost_file_is_said(self) -> None:
        paper = receipt(bought())
        paper.file.storage.delete(paper.file.name)
        assert any(paper.reference in line and "manque" in line for line in verify())

    def test_a_failed_issue_leaves_no_file_and_no_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = bought()
        kept: list[str] = []
        monkeypatch.setattr("checkout.papers.actions.default_storage.delete", kept.append)
        with monkeypatch.context() as broken:
            broken.setattr("checkout.papers.actions.hashlib.sha256", lambda _bytes: Broken())
            with pytest.raises(Exception, match="document_has_a_file"):
                receipt(shop)
        assert len(kept) == 1 and not Document.objects.exists()
        assert receipt(shop).number == 1


class Broken:
    def hexdigest(self) -> str:
        return "x"


@pytest.mark.parametrize("text", ["7328293200007", "73282932000075", "7328293200007X", "732 829 320 00074"])
def test_what_is_no_siret_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="quatorze chiffres"):
        siret_number(text)
    siret_number("73282932000074")


def test_nothing_is_printed_outside_the_margins() -> None:
    """Not even the full stop at the end of a line; twenty millimetres on each side."""
    data = json.dumps({**receipt(bought()).data, "logo": logo()})
    fonts = typst.Fonts(include_system_fonts=False)
    printed = typst.compile(TEMPLATE, format="png", ppi=254, sys_inputs={"data": data}, font_paths=fonts)
    page = Image.open(io.BytesIO(printed)).convert("L")
    left, _top, right, _bottom = ImageOps.invert(page).getbbox()
    assert left >= 198 and right <= page.width - 198  # half the width of a frame’s line
