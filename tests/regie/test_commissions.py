"""What a provider keeps of a payment: an unusual commission is looked at and accepted before anything of its file is posted."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from checkout.regie.models import Commissions, Settlement
from checkout.verification import verify
from portal.common.errors import Refused
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import agent_of
from tests.papers.reading import plain
from tests.regie.test_settlements import PAGE, balances, paid, post, refunded
from wallet.corrections.actions import approve, propose_for_account
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "amount, columns, fee",
    [
        ("9.80", "commission\n{},9.80,12.00", "12.00"),
        ("9.80", "commission,net\n{},9.80,12.00,-2.20", "12.00"),
        ("50", "commission\n{},50.00,50", "50.00"),  # a comma forgotten: 0,50
        ("50", "commission\n{},50.00,3.01", "3.01"),
        ("0.20", "commission,net\n{},0.20,0.25,-0.05", "0.25"),  # a rest by card beside the wallet
    ],
)
def test_an_unusual_commission_is_posted_once_somebody_accepts_it(amount: str, columns: str, fee: str) -> None:
    payment = paid(amount)
    text = f"reference,montant,{columns.format(payment.reference)}\nX,1.00\n"
    meant = Commissions(1, Decimal(fee), Decimal(amount))
    for accepted in (None, Commissions(), replace(meant, fees=meant.fees + 1), replace(meant, lines=2)):
        with pytest.raises(Refused, match=r"commissions sont à regarder.*Rien n’a été importé") as refusal:
            post(text, accepted=accepted)
        assert refusal.value.code == "commissions_to_accept" and not Settlement.objects.exists()
    assert not Movement.objects.filter(kind="settlement").exists()
    row = post(text, accepted=meant)
    assert (row.accepted, row.accepted_by) == (meant, row.imported_by)
    assert balances()["bank_fees"] == -meant.fees and balances().get("bank", 0) == meant.fees - meant.gross
    assert list(verify()) == []


def test_a_usual_commission_asks_nothing() -> None:
    lines = {
        paid("50").reference: "50.00,3.00",
        paid("0.60").reference: "0.60,0.53",
        paid("0.20").reference: "0.20,0.20",
    }
    row = post("reference,montant,commission\n" + "".join(f"{key},{rest}\n" for key, rest in lines.items()))
    assert (row.fees, row.accepted, row.accepted_by) == (Decimal("3.73"), Commissions(), None)


def test_the_tick_names_the_commissions_and_the_file_waits_for_it() -> None:
    small, large, refund = paid("0.20"), paid("50"), refunded(paid(), "4", 8)
    lines = f"{small.reference};0,20;0,25\n{large.reference};50,00;50\n{refund.reference};-4,00;3,00\n"
    operator = agent_of()
    client, check = client_of(operator), reverse("admin:checkout_settlement_check")
    file = SimpleUploadedFile("remise.csv", f"reference;montant;commission\n{lines}".encode())
    client.post(reverse(PAGE), {"prestataire": "demo", "fichier": file})
    page = client.get(check)
    said, words = text(page), "53,25 € de commissions pour 54,20 €, sur 3 lignes"
    assert f"J’accepte {words}" in said and "Commissions à regarder" in said and "plus 0,50 €" in said
    assert "dépasse 5 % du montant" in said and "Toutes les lignes concordent" not in said
    seen = {"empreinte": page.context["reading"].sha256}
    for tick in ({}, {"commissions": ""}, {"commissions": "1:0.25:0.20"}):
        back = client.post(check, seen | tick, follow=True)
        assert f"à regarder : {words}. Cochez" in text(back) and "J’accepte" in text(back)
    assert not Settlement.objects.exists()
    client.post(check, seen | {"commissions": page.context["reading"].unusual.token})
    row = Settlement.objects.get()
    assert row.accepted_by == operator
    kept = text(client.get(reverse("admin:checkout_settlement_change", args=[row.pk])))
    assert "Commissions acceptées par" in kept and f"à l’import : {words}." in kept
    assert words in text(client.get(reverse("admin:checkout_settlement_history", args=[row.pk])))


def test_one_commission_is_told_as_one() -> None:
    assert plain(Commissions(1, Decimal("0.25"), Decimal("0.20")).words) == (
        "0,25 € de commission pour 0,20 €, sur une ligne"
    )


def test_a_commission_that_a_file_gave_wrongly_is_set_right_by_two() -> None:
    """4,00 € kept by the file, 0,40 € in truth: the bank has 3,60 € more, and its fees are as much less."""
    payment, operator, other = paid(), agent_of(), agent_of()
    seen = Commissions(1, Decimal(4), Decimal(10))
    post(f"reference,montant,commission\n{payment.reference},10.00,4.00\n", accepted=seen)
    for code, amount, words in (
        ("bank", "3.60", "La régie a reçu, ou recevra, 3,60 € de plus que le compte ne le dit."),
        (
            "bank_fees",
            "-3.60",
            "Les prestataires ont retenu 3,60 € de moins que le compte ne le dit. Il dit maintenant 4,00 €",
        ),
    ):
        account = Account.objects.get(code=code)
        row = propose_for_account(account=account, amount=Decimal(amount), reason="Commission de 0,40", by=operator)
        said = text(client_of(other).get(reverse("admin:wallet_correction_change", args=[row.pk])))
        assert words in said
        approve(correction=row, by=other)
    found = balances()
    assert (found["bank"], found["bank_fees"], found["adjustment"]) == (Decimal("-9.60"), Decimal("-0.40"), 0)
    assert list(verify()) == []
