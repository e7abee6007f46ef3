"""A provider's file: read whatever its form, matched line by line, posted once, its differences told."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from checkout.models import Order, OrderLine, Payment, Refund
from checkout.refunds import actions as refunds
from checkout.refunds.actions import back_to_wallet, make, refund_to_card
from checkout.regie import settlements
from checkout.regie.models import Commissions, Settlement, SettlementNote
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import moment
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.checkout.town import Bank
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.guards import guarded
from wallet import actions as ledger
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db
PAGE = "admin:checkout_settlement_new"


def paid(amount: str = "10.00", provider: str = "demo") -> Payment:
    """A card payment whose money went to the wallet, as the ledger has it."""
    user = UserFactory()
    ledger.wallet_of(user)
    order = Order.objects.create(user=user, kind="top_up", total=Decimal(amount))
    OrderLine.objects.create(order=order, kind="credit", label="x", unit_price=order.total)
    row = Payment.objects.create(
        order=order, provider=provider, amount=Decimal(amount), status="credited", ended_at=timezone.now(),
        provider_reference=f"B-{order.pk}",
    )  # fmt: skip
    ledger.post(
        kind=Movement.Kind.LATE_PAYMENT,
        key=f"payment:{row.reference}:credited",
        label="x",
        amounts={f"clearing:{provider}": -row.amount, ledger.wallet_code(user): row.amount},
        by=user,
    )
    return row


def refunded(payment: Payment, amount: str, number: int) -> Refund:
    """A refund of a payment that is done, the provider's name of it `re_<number>`."""
    operator, euros = agent_of(), Decimal(amount)
    movement = ledger.post(
        kind=Movement.Kind.REFUND,
        key=f"refund:{number}",
        label="x",
        amounts={ledger.wallet_code(payment.order.user): -euros, f"clearing:{payment.provider}": euros},
        by=operator,
    )
    return Refund.objects.create(
        payment=payment, amount=euros, reason="x", movement_id=movement, by=operator, status="done",
        ended_at=timezone.now(), provider_reference=f"re_{number}",
    )  # fmt: skip


def balances() -> dict[str, Decimal]:
    return {row.code: row.total for row in Account.objects.with_totals()}


def post(text: str, accepted: Commissions | None = None) -> Settlement:
    return settlements.post(provider="demo", name="a.csv", content=text.encode(), by=agent_of(), accepted=accepted)


def test_what_agrees_goes_to_the_bank_its_fee_apart_and_the_rest_is_told() -> None:
    first, second, third = paid("10.00"), paid("1234.50"), paid("7.00")
    row = post(
        f"Référence;Montant;Commission\n{first.reference};10,00;0,25\n{second.provider_reference};1 234,50 €;2\n"
        f"{third.reference};8,00;0\nINCONNUE;5;0\n{first.reference};10,00;0\n;x;0\n\n"
    )
    assert (row.lines, row.gross, row.fees, row.net) == (6, Decimal("1244.50"), Decimal("2.25"), Decimal("1242.25"))
    assert [line["problem"] for line in row.wrong] == [
        "montant différent du nôtre", "référence inconnue", "en double dans ce fichier", "montant illisible",
    ]  # fmt: skip
    labels = list(Movement.objects.filter(kind="settlement").order_by("pk").values_list("label", flat=True))
    assert labels[0] == f"Versement Carte bancaire (banque de démonstration), {first.reference}"
    assert [line["written"] for line in row.wrong] == ["", "", "", "x"]
    found = balances()
    assert (found["clearing:demo"], found["bank"], found["bank_fees"]) == (
        Decimal("-7.00"), Decimal("-1242.25"), Decimal("-2.25"),
    )  # fmt: skip
    assert list(verify()) == []


@pytest.mark.parametrize(
    "provider, file",
    [
        (
            "stripe",
            "balance_transaction_id,reporting_category,source_id,gross,fee,payment_intent_id,payment_metadata[reference]\n"
            "txn_1,charge,ch_1,10.00,0.25,pi_1,{payment}\ntxn_2,refund,re_8,-2.00,0.00,pi_1,{payment}\n",
        ),
        (
            "stripe",
            "id,Amount,Fee,client_reference_id,source_id\nch_1,10.00,0.25,{payment},ch_1\nre_8,-2.00,0,,re_8\n",
        ),
        ("paybox", "Référence commande;Montant;Commission\n{payment};10,00;0,25\n{payment};-2,00;0,00\n"),
        ("payfip", "REFDET;Montant;Commission\n{payment};10,00;0,25\n{refund};−2,00;\n"),
    ],
)
def test_the_file_of_each_provider(provider: str, file: str) -> None:
    payment, operator = paid(provider=provider), agent_of()
    refunds = [refunded(payment, "2", number) for number in (7, 8)]  # the file says which, where it can
    content = file.format(payment=payment.reference, refund=refunds[1].reference).encode()
    reading = settlements.read(provider=provider, content=content)
    assert [line.problem for line in reading.lines] == ["", ""]
    charge, refund = reading.lines
    assert (charge.payment, charge.gross, charge.fee) == (payment, 10, Decimal("0.25"))
    named = refunds[0] if provider == "paybox" else refunds[1]
    assert refund.refund == named
    row = settlements.post(provider=provider, name="a.csv", content=content, by=operator)
    assert (row.gross, row.wrong) == (8, []) and balances()[f"clearing:{provider}"] == 2  # the other refund is to come


def test_a_line_is_posted_once_whatever_file_it_comes_in() -> None:
    payment = paid()
    post(f"reference,gross,fee\n{payment.reference},10.00,0.25\n")
    with pytest.raises(Refused) as refusal:
        post(f"reference,gross,fee\n{payment.reference},10.00,0.25\n")
    assert refusal.value.code == "imported_before"
    again = post(f"reference,gross,fee\n{payment.reference},10.00,0.25\n\n")
    assert [line["problem"] for line in again.wrong] == ["déjà versé"] and again.net == 0
    assert balances()["clearing:demo"] == 0 and balances()["bank"] == Decimal("-9.75")


def test_two_refunds_of_one_amount_are_paid_over_by_two_files() -> None:
    """A line below zero means a refund that no file has paid over yet, and « déjà versé » only when there is none."""
    payment = paid("20.00")
    for number in (1, 2):
        refunded(payment, "5", number)
    line = f"{payment.reference};-5,00\n"
    assert post(f"reference;montant\n{payment.reference};20,00\n{line}").wrong == []
    assert post(f"reference;montant\n{line}\n").wrong == []
    assert balances().get("clearing:demo") == 0 and balances()["bank"] == -10
    (wrong,) = post(f"reference;montant\n{line}\n\n").wrong
    assert wrong["problem"] == "déjà versé"


def test_a_line_that_was_cut_or_shifted_is_told_and_posted_once_it_is_whole() -> None:
    """Its commission would be lost for good: what is posted once is not posted again."""
    cut, shifted = paid(), paid()
    head = "Référence,Montant,Commission,"  # nothing stands below a comma at the end
    row = post(f"{head}\n{cut.reference},10.00\n{shifted.reference},10,00,0,25\n")
    assert [line["problem"].partition("\u00a0:")[0] for line in row.wrong] == ["ligne coupée", "ligne décalée"]
    assert row.net == 0 and not Movement.objects.filter(kind="settlement").exists()
    row = post(f'{head}\n{cut.reference},10.00,0.25\n{shifted.reference},"10,00","0,25",\n')
    assert (row.wrong, row.net) == ([], Decimal("19.50")) and balances()["bank"] == Decimal("-19.50")
    other = paid()
    assert post(f"{head}\n{other.reference},10.00,\n").net == 10  # an empty cell says that there was none


@pytest.mark.parametrize(
    "provider, file, fees",
    [
        # Stripe's signs are known.
        ("stripe", "fee\n{charge},10.00,0.25\n{refund},-4.00,-0.10\n", "0.15"),
        ("stripe", "fee\n{charge},10.00,0.25\n{refund},-4.00,0.10\n", "0.35"),
        ("stripe", "fee,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,-0.10,-3.90\n", "0.15"),
        ("stripe", "fee,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,-0.10,-4.10\n", None),
        (
            "stripe",
            "fee\n{charge},10.00,-0.25\n{refund},-4.00,-0.10\n",
            "0.15",
        ),  # a charge brings no more than its gross
        # Of others a minus may be how a deduction is written; the net tells.
        ("demo", "commission\n{charge},10.00,-0.25\n{refund},-4.00,-0.10\n", "0.35"),
        ("demo", "commission,montant net\n{charge},10.00,-0.25,9.75\n{refund},-4.00,-0.10,-4.10\n", "0.35"),
        ("demo", "commission,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,0.10,-3.90\n", "0.15"),
        ("demo", "commission,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,,-3.90\n", None),
        ("demo", "commission,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,0.10,-3.80\n", None),
        ("demo", "commission,net\n{charge},10.00,0.25,9.75\n{refund},-4.00,0.10,\n", None),
    ],
)
def test_a_fee_that_is_given_back_is_not_charged_again(provider: str, file: str, fees: str | None) -> None:
    payment = paid(provider=provider)
    refund = refunded(payment, "4", 8)
    names = {"charge": payment.reference, "refund": refund.reference}
    content = f"reference,gross,{file.format(**names)}".encode()
    row = settlements.post(provider=provider, name="a.csv", content=content, by=agent_of())
    if fees is None:  # the refund's line contradicts itself
        assert len(row.wrong) == 1 and "net" in row.wrong[0]["problem"]
        assert (row.gross, row.fees) == (10, Decimal("0.25"))
    else:
        assert (row.wrong, row.gross, row.fees) == ([], 6, Decimal(fees))
    assert balances()["bank"] == -row.net and balances()["bank_fees"] == -row.fees and list(verify()) == []


def test_a_charge_that_brings_more_than_its_gross_is_told() -> None:
    payment = paid(provider="stripe")
    content = f"reference,gross,fee,net\n{payment.reference},10.00,-0.25,10.25\n".encode()
    row = settlements.post(provider="stripe", name="a.csv", content=content, by=agent_of())
    assert row.wrong[0]["problem"] == "net plus élevé que le brut" and row.net == 0


def test_a_file_without_a_line_that_agrees_is_kept_and_waits() -> None:
    row = post("reference;montant\nINCONNUE;10,00\n")
    assert (row.lines, row.net, len(row.wrong)) == (1, 0, 1) and not Movement.objects.exists()
    assert list(Settlement.objects.to_explain()) == [row]
    with pytest.raises(IntegrityError, match="file_imported_once"), transaction.atomic():
        copy = {"name": "b", "sha256": row.sha256, "gross": 0, "fees": 0, "lines": 0, "imported_by": row.imported_by}
        Settlement.objects.create(provider="demo", differences=[], **copy)
    Settlement.objects.create(provider="stripe", differences=[], **copy)  # chosen for the wrong provider the first time


@pytest.mark.parametrize(
    "content, code",
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"reference;montant\n\n", "empty"),
        (b"a;b\n1;2\n", "columns_missing"),
        (b"\x00\x01\x02", "not_text"),
        (b"reference;montant\n" + b"x;1\n" * 5001, "too_long"),
        (b"x" * 1_500_001, "too_large"),
        (b'reference;montant\n"' + b"y" * 200_000 + b'";1\n', "not_text"),
    ],
)
def test_a_hostile_file_is_refused_in_a_sentence(content: bytes, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        settlements.read(provider="demo", content=content)
    assert refusal.value.code == code and "Rien n’a été importé" in str(refusal.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_the_encodings_of_spreadsheets_are_read(encoding: str) -> None:
    payment = paid()
    text = f"Référence;Montant\r\n{payment.reference};10,00\r\n"
    assert len(settlements.read(provider="demo", content=text.encode(encoding)).good) == 1


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e9", "10,001", "", "abc", "0"])
def test_an_amount_that_is_none_is_told(amount: str) -> None:
    payment = paid()
    reading = settlements.read(provider="demo", content=f"reference;montant\n{payment.reference};{amount}\n".encode())
    assert [line.problem for line in reading.lines] == ["montant illisible"]


def test_reading_costs_the_same_for_forty_lines() -> None:
    def cost(count: int) -> int:
        rows = "\n".join(f"{paid().reference};10,00" for _index in range(count))
        with CaptureQueriesContext(connection) as queries:
            assert len(settlements.read(provider="demo", content=f"reference;montant\n{rows}".encode()).good) == count
        return len(queries)

    assert cost(1) == cost(40) <= 5


def test_from_the_file_to_the_bank() -> None:
    payment, client = paid(), client_of(agent_of())
    address, check = reverse(PAGE), reverse("admin:checkout_settlement_check")
    lines = f"reference;montant\n{payment.reference};10,00\nX;3\n".encode()

    def send(content: bytes) -> Any:
        return client.post(address, {"prestataire": "demo", "fichier": SimpleUploadedFile("remise.csv", content)})

    assert client.get(check).headers["Location"] == address  # nothing is kept yet
    assert send(lines).headers["Location"] == check
    page = client.get(check)
    assert "référence inconnue" in page.content.decode() and not Settlement.objects.exists()
    seen = {"empreinte": page.context["reading"].sha256}
    send(lines + b"Y;3\n")  # in another window
    said = client.post(check, seen, follow=True).content.decode()
    assert "Un autre fichier" in said and not Settlement.objects.exists()
    send(lines)
    done = client.post(check, seen)
    change = reverse("admin:checkout_settlement_change", args=[Settlement.objects.get().pk])
    assert done.headers["Location"] == change
    said = client.get(change).content.decode()
    assert "arrivés en banque" in said and "référence inconnue" in said
    assert client.post(check, seen).headers["Location"] == change  # clicked twice
    for wrong in ({}, {"prestataire": "x"}, {"prestataire": "demo"}):
        assert "Rien n’a été" in client.post(address, wrong).content.decode()
    assert "déjà été importé" in send(lines).content.decode()
    send(b"reference;montant\nX;3\n")
    page = client.get(check)
    assert "Garder ce fichier" in page.content.decode()
    said = client.post(check, {"empreinte": page.context["reading"].sha256}, follow=True).content.decode()
    assert "aucune ligne ne concorde" in said and Settlement.objects.to_explain().count() == 2
    assert balances()["bank"] == -10
    for user, status in ((UserFactory(), 404), (agent_of(CommuneFactory()), 404)):
        assert client_of(user).get(address).status_code == client_of(user).get(check).status_code == status


def test_what_was_imported_stays() -> None:
    payment = paid()
    post(f"reference;montant\n{payment.reference};10,00\n")
    guarded(
        "checkout.Settlement:settlement_is_frozen",
        lambda: Settlement.objects.update(gross=0),
        "Cannot update",
        lambda: Settlement.objects.filter(gross=0).exists(),
    )
    guarded(
        "checkout.Settlement:settlements_are_kept",
        lambda: Settlement.objects.all()._raw_delete("default"),
        "Cannot delete",
        lambda: not Settlement.objects.exists(),
    )


def test_what_was_explained_stays_and_is_signed() -> None:
    payment, operator = paid(), agent_of()
    row = post(f"reference;montant\n{payment.reference};10,00\nINCONNUE;dix\n")
    with pytest.raises(IntegrityError, match="explained_settlement_is_signed"), transaction.atomic():
        Settlement.objects.update(explanation="x")
    settlements.explain(settlement=row, words="Essai du prestataire", by=operator)
    guarded(
        "checkout.Settlement:explained_settlement_stays",
        lambda: Settlement.objects.update(explanation="Autre"),
        "Cannot update",
        lambda: Settlement.objects.filter(explanation="Autre").exists(),
    )
    other = paid()
    agreed = post(f"reference;montant\n{other.reference};10,00\n")
    for act, of, words, code in (
        (settlements.explain, row, "Encore", "explained"),
        (settlements.explain, agreed, "x", "no_difference"),
        (settlements.complete, agreed, "x", "not_explained"),
        (settlements.complete, row, " ", "reason_missing"),
        (settlements.complete, row, "Essai du prestataire", "said_before"),
    ):
        with pytest.raises(Refused) as refusal:
            act(settlement=of, words=words, by=operator)
        assert refusal.value.code == code


def test_an_explanation_is_completed_and_nothing_of_it_is_lost() -> None:
    first, second = agent_of(), agent_of()
    row = post("reference;montant\nINCONNUE;dix\nAUTRE;3\n")
    client = client_of(second)
    address = reverse("admin:checkout_settlement_complete", args=[row.pk])
    assert "expliquez-les d’abord" in client.post(address, {"complement": "x"}, follow=True).content.decode()
    settlements.explain(settlement=row, words="xxxx", by=first)
    change = reverse("admin:checkout_settlement_change", args=[row.pk])
    assert address in client.get(change).content.decode() and client.get(address).status_code == 302
    for words in (
        "La ligne 2 est un essai",
        "La ligne 3 est d’un autre marchand",
        "La ligne 3 est d’un autre marchand",
    ):
        said = client.post(address, {"complement": words}, follow=True).content.decode()
    assert "le dit déjà" in said  # the second of two clicks
    assert [(note.words, note.by) for note in row.notes.all()] == [
        ("La ligne 2 est un essai", second), ("La ligne 3 est d’un autre marchand", second),
    ]  # fmt: skip
    assert f"Expliqué le {moment(timezone.now())[:6]}" in said and "xxxx" in said
    assert said.count(f"par {second}&nbsp;: La ligne ") == 2 and f"par {first}&nbsp;: xxxx" in said
    history = client.get(reverse("admin:checkout_settlement_history", args=[row.pk])).content.decode()
    assert "Explication complétée\u00a0: La ligne 2 est un essai" in history
    for user in (UserFactory(), agent_of(CommuneFactory())):
        assert client_of(user).post(address, {"complement": "x"}).status_code == 404
    guarded(
        "checkout.SettlementNote:note_follows_an_explanation",
        lambda: SettlementNote.objects.create(settlement=post("reference;montant\nX;1\n"), words="x", by=first),
        "nothing is explained yet",
        lambda: SettlementNote.objects.filter(words="x").exists(),
    )


def test_what_agrees_is_told_line_by_line_and_kept() -> None:
    payment = paid()
    refund = refunded(payment, "4", 8)
    others = [paid() for _index in range(20)]
    lines = f"{payment.reference};10,00;0,25\n{refund.reference};-4,00;0\n"
    client, check = client_of(agent_of()), reverse("admin:checkout_settlement_check")

    def page(more: str = "") -> str:
        file = SimpleUploadedFile("remise.csv", f"reference;montant;commission\n{lines}{more}".encode())
        client.post(reverse(PAGE), {"prestataire": "demo", "fichier": file})
        return client.get(check).content.decode()

    link = reverse("admin:checkout_payment_change", args=[payment.pk])
    assert "Les 22 lignes qui concordent" in page("".join(f"{row.reference};10;0\n" for row in others))
    seen = page("X;1;0\n")
    assert '<details class="dates" open>' in seen and "Les 2 lignes qui concordent" in seen
    row = post(f"reference;montant;commission\n{lines}X;1;0\n")
    kept = client.get(reverse("admin:checkout_settlement_change", args=[row.pk])).content.decode()
    for said in (seen, kept):
        assert said.count(f'href="{link}"') == 2 and payment.reference in said and refund.reference in said
        assert f"{payment.order.number}</td>" in said and f"{payment.order.number}, remboursement" in said
        assert "0,25\u00a0€" in said and "-4,00\u00a0€" in said.replace("\u2212", "-")
    assert [(line["line"], line["gross"], line["fee"]) for line in row.right] == [
        (2, Decimal("10.00"), Decimal("0.25")), (3, Decimal("-4.00"), Decimal("0")),
    ]  # fmt: skip
    guarded(
        "checkout.Settlement:settlement_is_frozen",
        lambda: Settlement.objects.update(matched=[]),
        "Cannot update",
        lambda: Settlement.objects.filter(matched=[]).exists(),
    )


@pytest.mark.parametrize("change", [{"gross": 1}, {"fees": 1}, {"lines": 1}])
def test_a_settlement_says_each_of_its_lines(change: dict[str, int]) -> None:
    facts = {"provider": "demo", "name": "a", "sha256": "0", "gross": 0, "fees": 0, "lines": 0, "differences": []}
    guarded(
        "checkout.Settlement:settlement_says_each_line",
        lambda: Settlement.objects.create(**facts | change, imported_by=agent_of()),
        "its lines say something else",
        Settlement.objects.exists,
    )


def test_differences_wait_until_they_are_explained(settings: Any) -> None:
    settings.CARD_PROVIDERS = ["stripe"]
    payment, client = paid(), client_of(agent_of())
    form = client.get(reverse(PAGE)).content.decode()
    assert "banque de démonstration" in form and "Stripe" in form and "PayFiP" not in form and ">demo<" not in form
    row = post(f"reference;montant\n{payment.reference};10,00\nINCONNUE;dix\n")
    change = reverse("admin:checkout_settlement_change", args=[row.pk])
    explain = reverse("admin:checkout_settlement_explain", args=[row.pk])
    listed = client.get(reverse("admin:checkout_settlement_changelist")).content.decode()
    assert "1, à expliquer" in listed and "banque de démonstration" in listed
    assert "Versement avec des écarts" in client.get("/admin/").content.decode()
    address = reverse("admin:checkout_settlement_changelist")
    counts = [client.get(address, {"ecarts": gap}).context["cl"].result_count for gap in ("a-expliquer", "expliques")]
    assert counts == [1, 0]
    assert "«&nbsp;dix&nbsp;»" in client.get(change).content.decode()
    assert client.get(explain).status_code == 302
    assert "Écrivez d’où viennent" in client.post(explain, {"explication": " "}, follow=True).content.decode()
    said = client.post(explain, {"explication": "Ligne d’essai"}, follow=True).content.decode()
    assert "Écarts expliqués" in said and "Ligne d’essai" in said and explain not in said
    assert "Versement avec des écarts" not in client.get("/admin/").content.decode()
    for user in (UserFactory(), agent_of(CommuneFactory())):
        assert client_of(user).post(explain, {"explication": "x"}).status_code == 404


def sent_back(payment: Payment, amount: str = "2.00") -> Refund:
    """A refund of a payment that was done, and that its card has sent back since."""
    refund = refund_to_card(payment=payment, amount=Decimal(amount), reason="Erreur", by=agent_of())
    make(refund=refund.pk)
    return refund


class TestARefundThatCameBack:
    """The provider has kept its euros once, and pays them over again: both lines are posted, the second after the first."""

    @pytest.fixture(autouse=True)
    def bank(self, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs = Bank()
        monkeypatch.setattr(refunds, "find_provider", lambda _slug: theirs)

    def test_after_it_was_deducted(self) -> None:
        refund = sent_back(paid())
        post(f"reference;montant\n{refund.payment.reference};10,00\n{refund.reference};-2,00\n")
        assert balances()["clearing:demo"] == 0
        back_to_wallet(refund=refund, note="compte clos")
        assert balances()["clearing:demo"] == -2  # the provider owes them again
        assert post(f"reference;montant\n{refund.reference};2,00\n").wrong == []
        assert balances()["clearing:demo"] == 0 and balances()["bank"] == -10
        again = post(f"reference;montant\n{refund.reference};2,00\n\n")
        assert [line["problem"] for line in again.wrong] == ["déjà versé"]

    def test_before_any_file_names_it(self) -> None:
        refund = sent_back(paid())
        back_to_wallet(refund=refund, note="compte clos")
        row = post(f"reference;montant\n{refund.reference};2,00\n{refund.reference};-2,00\n")
        assert (row.wrong, row.net) == ([], 0) and balances()["clearing:demo"] == -10

    @pytest.mark.parametrize("amount", ["4.00", "10.00"])
    def test_stripe_names_the_payment_beside_the_refund(self, amount: str) -> None:
        """The amount is another's than the payment's, or the very same: in both cases it is the refund that came back."""
        payment = paid(provider="stripe")
        refund = refunded(payment, amount, 8)
        back_to_wallet(refund=refund, note="compte clos", by=agent_of())
        content = (
            "reporting_category,source_id,gross,fee,payment_metadata[reference]\n"
            f"charge,ch_1,10.00,0.25,{payment.reference}\n"
            f"refund,re_8,-{amount},0.00,{payment.reference}\n"
            f"refund_failure,re_8,{amount},0.00,{payment.reference}\n"
        )
        row = settlements.post(provider="stripe", name="a.csv", content=content.encode(), by=agent_of())
        assert (row.wrong, row.net) == ([], Decimal("9.75"))
        assert balances()["clearing:stripe"] == 0 and balances()["bank"] == Decimal("-9.75")

    def test_what_the_file_says_and_we_do_not_know_is_told(self) -> None:
        refund = sent_back(paid())
        assert [line["problem"] for line in post(f"reference;montant\n{refund.reference};2,00\n").wrong] == [
            "remboursement qui n’est pas revenu chez nous"
        ]
        back_to_wallet(refund=refund, note="compte clos")
        row = post(f"reference;montant\n{refund.reference};2,00\n{refund.reference};1,00\n")
        assert [line["problem"] for line in row.wrong] == [
            "retour d’un remboursement qui n’a pas été déduit", "montant différent du nôtre",
        ]  # fmt: skip


@pytest.mark.parametrize("provider", ["stripe", "demo"])
def test_a_charge_never_brings_more_than_its_gross(provider: str) -> None:
    payment = paid(provider=provider)
    content = f"reference,gross,fee,net\n{payment.reference},10.00,0.25,10.25\n".encode()
    row = settlements.post(provider=provider, name="a.csv", content=content, by=agent_of())
    assert row.net == 0 and "brut et commission ne donnent pas le net" in row.wrong[0]["problem"]


def test_a_line_that_does_not_agree_stands_beside_what_it_names() -> None:
    payment = paid("5.00")
    refund = refunded(payment, "2.00", 7)
    row = post(
        f"reference;montant\n{payment.reference};6,00\n{refund.reference};-3,00\nINCONNUE;4,00\n{payment.reference}\n"
    )
    facts = [(line.get("order"), line.get("ours"), line["written"]) for line in row.wrong]
    number = payment.order.number
    assert facts == [(number, 5, ""), (number, None, ""), (None, None, ""), (number, None, "")]
    page = client_of(agent_of()).get(reverse("admin:checkout_settlement_change", args=[row.pk])).content.decode()
    link = reverse("admin:checkout_payment_change", args=[payment.pk])
    assert page.count(f'href="{link}"') == 3 and "5,00&nbsp;€" in page.replace("\u00a0", "&nbsp;")
    shifted = post(f"reference;montant;net\n{payment.reference};5,00;4,00\n{payment.reference};5,00;5,00;1\n")
    assert [(line["order"], line["payment"], line["ours"]) for line in shifted.wrong] == [(number, payment.pk, 5)] * 2
    again = post(f"reference;montant\n{payment.reference};5,00\n{payment.reference};5,00\n")
    assert [(line["problem"], line["ours"]) for line in again.wrong] == [("en double dans ce fichier", 5)]


def test_a_long_explanation_is_refused_and_none_is_cut() -> None:
    row = post("reference;montant\nX;1\n")
    client = client_of(agent_of())

    def sent(name: str, field: str, words: str) -> str:
        address = reverse(f"admin:checkout_settlement_{name}", args=[row.pk])
        return text(client.post(address, {field: words}, follow=True))

    assert "301 caractères, et 300 au plus" in sent("explain", "explication", "x" * 301)
    assert Settlement.objects.to_explain().exists()
    assert "Écarts expliqués" in sent("explain", "explication", "x" * 300)
    assert "301 caractères, et 300 au plus" in sent("complete", "complement", "y" * 301)
    assert not SettlementNote.objects.exists()
