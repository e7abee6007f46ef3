"""The régie's rules: written in the administration by those who answer for the money, and read from there."""

from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.urls import reverse

from checkout.actions import start_top_up
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means
from checkout.models import Regie
from portal.common.errors import Refused
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import CommuneFactory, agent_of, regie
from tests.shop import open_shop
from wallet.models import TopUpPack
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
        "top_up_least": "1,00",
        "top_up_most": "500,00",
        "counter_most": "2 000,00",
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
            ({"iban": "DE89 3704 0044 0532 0130 00", "bic": "AGRIFRPP"}, "Ce BIC n’est pas du pays de l’IBAN"),
            ({"top_up_fee": "-1"}, "Des frais de zéro à cinq euros"),
            ({"top_up_fee": "6"}, "Des frais de zéro à cinq euros"),
            ({"top_up_fee": "999999999"}, "Ce montant est trop grand"),
            ({"remittance_percent": "101"}, "Une part de 0 à 10 pour cent"),
            ({"remittance_percent": "abc"}, "Écrivez la part en chiffres"),
            ({"remittance_percent": "11"}, "Une part de 0 à 10 pour cent"),
            ({"top_up_least": "0"}, "Le plus petit dépôt va de 0,01"),
            ({"top_up_least": "-5"}, "Le plus petit dépôt va de 0,01"),
            ({"top_up_least": "20", "top_up_most": "10"}, "Le plus grand dépôt est au moins le plus petit"),
            ({"top_up_most": "1e3"}, "Écrivez un montant en euros"),
            ({"counter_most": "10001"}, "Le plus grand encaissement va de"),
            ({"siret": "12345678901234"}, "Un SIRET a quatorze chiffres"),
        ],
    )
    def test_what_cannot_be_is_said(self, wrong: dict[str, str], words: str) -> None:
        row = regie()
        answer = client_of(agent_of()).post(reverse("admin:checkout_regie_change", args=[row.pk]), sent(**wrong))
        assert answer.status_code == 200 and words in text(answer)
        assert list(wrong)[-1] in answer.context["adminform"].form.errors  # beside what was typed

    @pytest.mark.parametrize("bic", ["AGRIFRPP", "AGRIRERX", ""])
    def test_an_account_overseas_has_an_iban_of_france(self, bic: str) -> None:
        row = regie()
        page = reverse("admin:checkout_regie_change", args=[row.pk])
        assert client_of(agent_of()).post(page, sent(iban=IBAN, bic=bic)).status_code == 302

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

    def test_how_much_a_custom_amount_may_be(self) -> None:
        regie(top_up_least=Decimal(10), top_up_most=Decimal(50))
        TopUpPack.objects.create(amount=Decimal(100))
        shop = open_shop()
        for amount in ("9.99", "50.01"):
            with pytest.raises(Refused, match="10,00\u00a0€ à 50,00\u00a0€") as refusal:
                start_top_up(user=shop.user, amount=Decimal(amount), shown_total=Decimal(amount) + Decimal("0.01"))
            assert refusal.value.code == "amount"
        for amount, total in (("10", "10.01"), ("50", "50.01"), ("100", "100.00")):  # a pack is worth what it is worth
            order = start_top_up(user=shop.user, amount=Decimal(amount), shown_total=Decimal(total)).order
            assert order.total == Decimal(total)
        page = client_of(shop.user).get(reverse("wallet"))
        assert "De 10,00\u00a0€ à 50,00\u00a0€" in page.content.decode()
        said = client_of(shop.user).post(reverse("wallet"), {"pack": "custom", "amount": "50,01"}).content.decode()
        assert "Un montant personnalisé va de 10,00\u00a0€ à 50,00\u00a0€" in said
        said = client_of(shop.user).post(reverse("wallet"), {"pack": "custom", "amount": "1e1"}).content.decode()
        assert "Écrivez le montant en chiffres" in said

    @pytest.mark.parametrize(
        "amount, says",
        [
            ("7,50", "Un crédit vaut un euro : un pack va de 1 à 1 000 euros, sans centimes."),
            ("1001", "un pack va de 1 à 1 000 euros"),
            ("1e1", "Écrivez un montant en euros et centimes, par exemple 10,00."),
            ("25,00", "Un pack de ce montant existe déjà : proposez celui-là."),
            ("0", "Un pack vaut plus de zéro euro."),
        ],
    )
    def test_a_pack_is_of_whole_euros(self, amount: str, says: str) -> None:
        TopUpPack.objects.create(amount=Decimal(25))
        page = reverse("admin:wallet_topuppack_add")
        answer = client_of(agent_of()).post(page, {"amount": amount, "is_active": "on"})
        assert answer.status_code == 200 and says in text(answer)
        assert TopUpPack.objects.count() == 1

    def test_a_pack_says_its_credits(self) -> None:
        page = reverse("admin:wallet_topuppack_add")
        answer = client_of(agent_of()).post(page, {"amount": "1 000", "is_active": "on"}, follow=True)
        assert "1 000,00 €" in text(answer)
        wallet = text(client_of(open_shop().user).get(reverse("wallet")))
        assert "Pack 1 000 crédits" in wallet
        TopUpPack.objects.create(amount=Decimal("7.50"), is_active=False)  # of before this rule: written, not offered
        assert str(TopUpPack.objects.get(amount="7.50")) == "7,50 €"

    def test_how_much_a_counter_takes(self) -> None:
        regie(counter_most=Decimal(80))
        shop, agent = open_shop(), agent_of()
        taking = {"user": shop.user, "commune": None, "by": agent}
        with pytest.raises(Refused, match="0,01\u00a0€ à 80,00\u00a0€"):
            take_top_up(amount=Decimal("80.01"), paper=Paper(Means.CASH, "Q1"), **taking)
        assert take_top_up(amount=Decimal(80), paper=Paper(Means.CASH, "Q1"), **taking).total == 80

    def test_transfers_leave_from_its_account(self) -> None:
        regie(name="Régie du Velay", iban=IBAN)
        assert Regie.objects.current().debtor == Debtor("Régie du Velay", IBAN, "")

    def test_reading_them_writes_nothing(self) -> None:
        assert Regie.objects.current().top_up_fee == Decimal("0.01") and not Regie.objects.exists()
        assert Regie.objects.current().debtor.iban == "" and not Regie.objects.exists()


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
