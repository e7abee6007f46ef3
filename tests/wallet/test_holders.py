"""Whose account credits go to: a holder who bears another family's name is said, to who asks and to who decides."""

from decimal import Decimal

import pytest

from accounts.models import User
from checkout.papers.models import Regie
from portal.common.bank_days import next_bank_day
from portal.common.formats import today
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of, regie
from wallet import actions as ledger
from wallet.withdrawals.actions import approve_withdrawal, make_transfer_order, read_iban, refuse_withdrawal
from wallet.withdrawals.models import Withdrawal

pytestmark = pytest.mark.django_db
IBAN = "FR76 3000 6000 0112 3456 7890 189"


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def parent(operator: User) -> User:
    regie(name="Régie du Velay", iban="DE89370400440532013000")
    parent = UserFactory(first_name="Zoé", last_name="Lœb-Çelik")
    ledger.adjust(user=parent, amount=Decimal("50"), reason="Dépôt", key="start", by=operator)
    return parent


def test_who_asks_for_anothers_account_is_told_before_it_is_sent(parent: User) -> None:
    client = client_of(parent)
    check = client.post(
        "/mon-compte/porte-monnaie/remboursement/",
        {"amount": "30,00", "holder": "Jean Dupuis", "iban": IBAN},
        follow=True,
    )
    assert "Ce compte est au nom de Jean Dupuis, un nom qui n’est pas le vôtre" in text(check)


@pytest.mark.parametrize(
    "holder, is_said",
    [
        ("M. ou Mme LOEB", False),
        ("celik zoe", False),
        ("Paul Lœb", False),
        ("Mme Rosa Martin", True),
        ("SARL Loebner", True),
        ("王芳", True),
    ],
)
def test_a_holder_who_is_somebody_else_is_said(parent: User, operator: User, holder: str, is_said: bool) -> None:
    row = Withdrawal.objects.create(user=parent, amount=Decimal(3), holder=holder, iban=read_iban(IBAN))
    client, page = client_of(operator), f"/admin/wallet/withdrawal/{row.pk}/change/"
    assert ("Le titulaire n’est pas l’usager" in text(client.get(page))) is is_said
    assert ("(pas l’usager)" in text(client.get("/admin/wallet/withdrawal/"))) is is_said


def test_the_holder_is_said_where_the_money_leaves(parent: User, operator: User) -> None:
    row = Withdrawal.objects.create(user=parent, amount=Decimal(3), holder="Amandine Petit", iban=read_iban(IBAN))
    approve_withdrawal(withdrawal=row, by=operator)
    client = client_of(operator)
    assert "titulaire : Amandine Petit (pas l’usager)" in text(client.get("/admin/wallet/transferorder/preparer/"))
    order = make_transfer_order(
        debtor=Regie.objects.current().debtor, execution_date=next_bank_day(today()), by=operator
    )
    shown = text(client.get(f"/admin/wallet/transferorder/{order.pk}/change/"))
    assert "Titulaire" in shown and "Amandine Petit (pas l’usager)" in shown


def test_the_account_of_a_name_with_a_vowel_is_said_in_french(parent: User) -> None:
    asked = {"amount": "30,00", "holder": "Amandine Petit", "iban": IBAN}
    check = client_of(parent).post("/mon-compte/porte-monnaie/remboursement/", asked, follow=True)
    assert "Ce compte est au nom d’Amandine Petit" in text(check)


def test_particles_and_titles_are_nobodys_name(operator: User) -> None:
    user = UserFactory(first_name="Ly", last_name="de La Tour")
    asked = {"user": user, "amount": Decimal(3), "iban": IBAN}
    holders = {"Mme de La Fontaine": True, "de la": True, "LY D’AUTRE": True, "LY TOUR": False, "Latour": True}
    assert {holder: Withdrawal(holder=holder, **asked).is_for_another for holder in holders} == holders
    row = Withdrawal.objects.create(holder="Rosa", **asked | {"iban": read_iban(IBAN)})
    refuse_withdrawal(withdrawal=row, reason="Compte d’un tiers", by=operator)
    page = client_of(operator).get(f"/admin/wallet/withdrawal/{row.pk}/change/")
    assert "Le titulaire n’est pas l’usager" not in text(page)  # it is decided


@pytest.mark.parametrize(
    ("name", "holder"),
    [
        ("Da Silva", "Mme Rosa Da Costa"),
        ("Dos Santos", "M. Rui Dos Reis"),
        ("El Amrani", "M. Karim El Idrissi"),
        ("Ben Ali", "M. Sami Ben Salah"),
        ("N’Diaye", "M. Paul N’Guessan"),
        ("Saint-Martin", "M. Luc Saint-Pierre"),
        ("Van Damme", "Mme Ilse Van Hove"),
    ],
)
def test_strangers_share_a_particle(name: str, holder: str) -> None:
    user = UserFactory(first_name="Marie", last_name=name)
    assert Withdrawal(user=user, holder=holder).is_for_another
    assert not Withdrawal(user=user, holder=f"M. ou Mme {name.upper()}").is_for_another


@pytest.mark.parametrize("name", ["Ly", "Le", "Ben"])
def test_a_name_that_is_nothing_else_is_somebodys_own(name: str) -> None:
    user = UserFactory(first_name="Marie", last_name=name)
    holders = {f"M. Paul {name}": False, "M. Paul Roux": True}
    assert {holder: Withdrawal(user=user, holder=holder).is_for_another for holder in holders} == holders


def test_a_first_name_is_shared_with_strangers() -> None:
    user = UserFactory(first_name="Marie", last_name="Lœb")
    holders = {"Marie Durand": True, "Paul Loeb": False, "Mme LOEB M.": False, "Marie": True}
    assert {holder: Withdrawal(user=user, holder=holder).is_for_another for holder in holders} == holders
    user.last_name = ""  # the first name is all that is known
    assert not Withdrawal(user=user, holder="Marie Durand").is_for_another
