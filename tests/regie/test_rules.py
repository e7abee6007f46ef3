"""The régie's rules: written in the administration by those who answer for the money, and read from there."""

from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.urls import reverse

from checkout.actions import start_top_up
from checkout.models import Regie
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import CommuneFactory, agent_of, regie
from tests.guards import sql, undone
from tests.shop import open_shop
from wallet.transfers import Debtor

pytestmark = pytest.mark.django_db
IBAN = "FR7630006000011234567890189"
moved = import_module("checkout.migrations.0025_rules_out_of_the_environment")


def sent(**changes: str) -> dict[str, str]:
    """The page as it is sent, with these changes."""
    return {
        "name": "Régie",
        "authority": "Agglomération",
        "address": "",
        "siret": "",
        "officer": "Le régisseur",
        "legal": "",
        "top_up_fee": "0,01",
        "remittance_percent": "0",
        "iban": "",
        "bic": "",
        **changes,
    }


class TestThePage:
    def test_an_operator_writes_them_and_their_history_is_kept(self) -> None:
        row, client = regie(), client_of(agent_of())
        page = reverse("admin:checkout_regie_change", args=[row.pk])
        assert "En tête des pièces" in text(client.get(page))
        changes = {"iban": "fr76 3000 6000 0112 3456 7890 189", "bic": "agri fr pp", "card_refunds": "on"}
        answer = client.post(page, sent(top_up_fee="0,05", remittance_percent="1,20", **changes))
        assert answer.status_code == 302
        row.refresh_from_db()
        assert (row.iban, row.bic, row.card_refunds) == (IBAN, "AGRIFRPP", True)
        assert (row.top_up_fee, row.remittance_percent) == (Decimal("0.05"), Decimal("1.20"))
        assert 'value="FR76 3000 6000 0112 3456 7890 189"' in client.get(page).content.decode()
        events = apps.get_model("checkout", "RegieEvent").objects.filter(pgh_label="update")
        assert events.get().top_up_fee == Decimal("0.05")

    def test_what_was_not_touched_is_no_change(self) -> None:
        row = regie(address="16 place de la Libération\n43000 Le Puy-en-Velay", siret="12345678200010")
        page = reverse("admin:checkout_regie_change", args=[row.pk])
        as_sent = {"address": row.address.replace("\n", "\r\n"), "siret": "123 456 782 00010"}
        names = {"name": row.name, "authority": row.authority, "officer": row.officer, "legal": row.legal}
        kept = {"top_up_fee": f"{row.top_up_fee}", "remittance_percent": f"{row.remittance_percent}"}
        answer = client_of(agent_of()).post(page, sent(**as_sent, **names, **kept))
        assert answer.status_code == 302, text(answer)
        assert not apps.get_model("checkout", "RegieEvent").objects.filter(pgh_label="update").exists()

    @pytest.mark.parametrize(
        "wrong, words",
        [
            ({"iban": "FR7630006000011234567890188"}, "Cet IBAN n’est pas juste"),
            ({"iban": "x"}, "Cet IBAN n’est pas juste"),
            ({"bic": "AGRI"}, "Ce BIC n’est pas juste"),
            ({"top_up_fee": "-1"}, "Des frais de zéro à cinq euros"),
            ({"top_up_fee": "6"}, "Des frais de zéro à cinq euros"),
            ({"top_up_fee": "999999999"}, "Ce montant est trop grand"),
            ({"remittance_percent": "101"}, "Une part de 0 à 10 pour cent"),
            ({"remittance_percent": "abc"}, "Écrivez la part en chiffres"),
            ({"remittance_percent": "11"}, "Une part de 0 à 10 pour cent"),
            ({"siret": "12345678901234"}, "Un SIRET a quatorze chiffres"),
        ],
    )
    def test_what_cannot_be_is_said(self, wrong: dict[str, str], words: str) -> None:
        row = regie()
        answer = client_of(agent_of()).post(reverse("admin:checkout_regie_change", args=[row.pk]), sent(**wrong))
        assert answer.status_code == 200 and words in text(answer)

    def test_a_mairie_neither_sees_nor_changes_them(self) -> None:
        row, client = regie(), client_of(agent_of(CommuneFactory()))
        assert client.get(reverse("admin:checkout_regie_change", args=[row.pk])).status_code in {403, 404}

    def test_the_means_of_payment_say_whether_cards_are_paid_back(self) -> None:
        client, page = client_of(agent_of()), reverse("admin:checkout_providercheck_changelist")
        assert "ne lui est pas ouvert" in text(client.get(page))  # before the row exists, too
        row = regie(card_refunds=True)
        answer = client.get(page)
        assert "peut choisir d’être remboursée sur sa carte" in text(answer)
        assert reverse("admin:checkout_regie_change", args=[row.pk]) in answer.content.decode()


class TestWhatTheyDo:
    @pytest.mark.parametrize("fee, total", [("0.00", "30.00"), ("0.05", "30.05")])
    def test_the_fee_of_a_custom_amount(self, fee: str, total: str) -> None:
        regie(top_up_fee=Decimal(fee))
        shop = open_shop()
        order = start_top_up(user=shop.user, amount=Decimal(30), shown_total=Decimal(total)).order
        assert order.total == Decimal(total) and order.lines.count() == (2 if Decimal(fee) else 1)

    def test_transfers_leave_from_its_account(self) -> None:
        regie(name="Régie du Velay", iban=IBAN)
        assert Regie.objects.current().debtor == Debtor("Régie du Velay", IBAN, "")

    def test_reading_them_writes_nothing(self) -> None:
        assert Regie.objects.current().top_up_fee == Decimal("0.01") and not Regie.objects.exists()
        assert Regie.objects.current().debtor.iban == "" and not Regie.objects.exists()


@pytest.mark.parametrize(
    "constraint, fields",
    [
        ("regie_fee_is_moderate", {"top_up_fee": Decimal("-0.01")}),
        ("regie_fee_is_moderate", {"top_up_fee": Decimal("5.01")}),
        ("regie_part_is_moderate", {"remittance_percent": Decimal("10.01")}),
        ("regie_iban_is_compact", {"iban": "FR76 3000 6000 0112"}),
        ("regie_bic_is_compact", {"bic": "AGRI"}),
    ],
)
def test_what_no_regie_may_say(constraint: str, fields: dict[str, object]) -> None:
    with undone():
        sql(f"ALTER TABLE checkout_regie DROP CONSTRAINT {constraint}")
        regie(**fields)
        assert Regie.objects.filter(**fields).exists()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        regie(**fields)


class TestTakingOver:
    """What the environment said before these fields were there."""

    def test_what_was_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "CARD_REFUNDS": "on",
            "REMITTANCE_FEE_BASIS_POINTS": "120",
            "REGIE_IBAN": "FR76 3000 6000 0112 3456 7890 189",
            "REGIE_BIC": "AGRIFRPP",
        }.items():
            monkeypatch.setenv(name, value)
        moved.take_over(apps, None)
        row = Regie.objects.get()
        assert (row.card_refunds, row.remittance_percent, row.iban) == (True, Decimal("1.20"), IBAN)
        assert row.bic == "AGRIFRPP" and row.officer == "Le régisseur"

    def test_into_the_row_that_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        regie(address="1 place du Breuil", iban=IBAN)
        monkeypatch.setenv("CARD_REFUNDS", "on")
        moved.take_over(apps, None)
        row = Regie.objects.get()
        assert (row.address, row.iban, row.card_refunds) == ("1 place du Breuil", IBAN, True)

    @pytest.mark.parametrize(
        "said", [{}, {"REGIE_IBAN": "FR00"}, {"REGIE_BIC": "?"}, {"REMITTANCE_FEE_BASIS_POINTS": "x"}]
    )
    def test_nothing_or_nothing_that_can_be_read(self, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]) -> None:
        for name in moved._READ:
            monkeypatch.delenv(name, raising=False)
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        moved.take_over(apps, None)
        assert not Regie.objects.exists()
