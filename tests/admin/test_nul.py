"""A NUL, which PostgreSQL keeps in no text, is answered in words wherever it is sent: by the form, or by a page of its own."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from checkout.regie.models import Settlement, SettlementNote
from checkout.vouchers.actions import make_batch
from tests.admin.world import client_of, registered, url
from tests.factories import UserFactory, agent_of
from tests.vouchers.making import voucher

pytestmark = pytest.mark.django_db

NUL = "x\x00"
WORDS = "un caractère invisible que la plateforme ne peut pas garder"


@pytest.mark.parametrize(
    ("name", "field", "back"),
    [
        ("checkout_counterreceipt_take", "q", "Encaissements au guichet"),
        ("checkout_voucher_changelist", "lot", "Bons de réduction"),
        ("checkout_voucher_batch_csv", "lot", "Bons de réduction"),
    ],
)
def test_an_address_with_one(operator: User, name: str, field: str, back: str) -> None:
    make_batch(model=voucher(), count=2, prefix="LOT", batch="Rentrée")  # lists of lots are filtered by lot
    answer = client_of(operator).get(reverse(f"admin:{name}"), {field: NUL})
    page = answer.content.decode()
    assert answer.status_code == 400 and WORDS in page, page
    assert f"Revenir à «\u00a0{back}" in page.replace("&nbsp;", "\u00a0")


def test_no_list_breaks_on_one(operator: User, everything: dict[str, Any]) -> None:
    client = client_of(operator)
    for label in registered():
        answer = client.get(url(label, "changelist"), {"q": NUL})
        assert answer.status_code in (200, 400), label


def test_what_is_written_with_one(operator: User, everything: dict[str, Any]) -> None:
    client = client_of(operator)
    file = Settlement.objects.create(
        provider="demo", name="b.csv", sha256="1" * 64, lines=1, gross=0, fees=0, matched=[], imported_by=operator,
        differences=[{"line": 2, "reference": "X", "amount": "1.00", "written": "", "problem": "inconnue"}],
    )  # fmt: skip
    answer = client.post(reverse("admin:checkout_settlement_explain", args=[file.pk]), {"explication": NUL})
    assert answer.status_code == 400 and WORDS in answer.content.decode()
    client.post(reverse("admin:checkout_settlement_explain", args=[file.pk]), {"explication": "Une carte étrangère"})
    answer = client.post(reverse("admin:checkout_settlement_complete", args=[file.pk]), {"complement": NUL})
    assert answer.status_code == 400 and not SettlementNote.objects.exists()
    for name, row, field in (
        ("checkout_statement_cancel", "checkout.statement", "motif"),
        ("checkout_statement_unpaid", "checkout.statement", "motif"),
        ("wallet_correction_refuse", "wallet.correction", "motif"),
    ):
        client = client_of(agent_of())
        answer = client.post(reverse(f"admin:{name}", args=[everything[row].pk]), {field: NUL}, follow=True)
        assert answer.status_code in (200, 400, 422), name


def test_a_family_reads_the_page_of_the_site() -> None:
    client = client_of(UserFactory())
    assert client.get(reverse("wallet"), {"page": NUL, "mois": NUL}).status_code == 200
    answer = client.get(reverse("vouchers"), {"bon": NUL})
    assert answer.status_code in (200, 400)


def test_who_works_nowhere_is_told_nothing_of_the_administration() -> None:
    address = reverse("admin:checkout_voucher_changelist")
    assert client_of(UserFactory()).get(address, {"lot": NUL}).status_code == 404
    assert Client().get(address, {"lot": NUL}).status_code == 302
