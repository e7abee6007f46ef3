"""What a reversal says to whoever decides, and what was reversed says from then on."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from checkout.counter.actions import Paper, deposit_till, take_top_up
from checkout.counter.models import Means, TillDeposit
from portal.common.formats import euros
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import UserFactory, agent_of
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import Account, Movement

pytestmark = pytest.mark.django_db
LIST = "/admin/wallet/correction/"


@pytest.fixture
def operator() -> User:
    return agent_of()


@pytest.fixture
def deposit(operator: User) -> TillDeposit:
    take_top_up(user=UserFactory(), amount=Decimal(100), paper=Paper(Means.CASH, "Q-1"), commune=None, by=operator)
    return deposit_till(means=Means.CASH, amount=Decimal(90), number="B-1", by=operator)


def page_of(row: Correction | Movement) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])


def plain(words: str) -> str:
    return " ".join(words.split())


def asking(movement: Movement) -> str:
    return reverse("admin:wallet_correction_reverse", args=[movement.pk])


def test_who_decides_sees_what_will_be_written(deposit: TillDeposit, operator: User) -> None:
    proposed = text(client_of(operator).get(asking(deposit.movement)))
    row = corrections.propose_reversal(movement=deposit.movement, reason="9 et non 90", by=operator)
    client = client_of(agent_of())
    shown, listed = text(client.get(page_of(row))), text(client.get(LIST))
    for words in ("Caisse : espèces −90,00 €", "Compte de dépôt de fonds de la régie 90,00 €"):
        assert words in proposed and words in shown
    assert "Montant : 90,00 €" in shown and "90,00 €" in listed
    assert "Caisse : espèces et Compte de dépôt de fonds de la régie" in listed


@pytest.mark.parametrize("amount, direction", [("-1.00", "1,00 € de moins"), ("2.50", "2,50 € de plus")])
def test_who_decides_on_an_account_sees_what_it_says_and_would_say(
    deposit: TillDeposit, operator: User, amount: str, direction: str
) -> None:
    bank = Account.objects.get(code="bank")
    sum_ = Decimal(amount)
    row = corrections.propose_for_account(account=bank, amount=sum_, reason="Ligne inconnue", by=operator)
    client = client_of(agent_of())
    shown = text(client.get(page_of(row)))
    assert f"La régie a reçu, ou recevra, {direction} que le compte ne le dit." in shown
    assert f"Il dit maintenant 90,00 € ; il dirait {plain(euros(90 + sum_))}." in shown
    assert f"Compte de dépôt de fonds de la régie {plain(euros(-sum_))}" in shown
    client.post(reverse("admin:wallet_correction_approve", args=[row.pk]))
    assert -bank.balance() == 90 + sum_ and "Il dit maintenant" not in text(client.get(page_of(row)))


def test_who_decides_on_the_till_sees_what_will_be_written(deposit: TillDeposit, operator: User) -> None:
    row = corrections.propose_till(
        means=Means.CASH, counted=Decimal(7), booked=Decimal(10), reason="Rendu de trop", by=operator
    )
    shown = text(client_of(agent_of()).get(page_of(row)))
    assert "Ils disent maintenant 10,00 €. Approuvée, ils diraient 7,00 €." in shown
    assert "Caisse : espèces 3,00 €" in shown


def test_the_list_and_the_page_say_who_decided_and_when(deposit: TillDeposit, operator: User) -> None:
    row = corrections.propose_till(
        means=Means.CASH, counted=Decimal(7), booked=Decimal(10), reason="Rendu de trop", by=operator
    )
    second = agent_of()
    client = client_of(second)
    assert "Décidée par" not in text(client.get(page_of(row)))
    corrections.approve(correction=row, by=second)
    assert "Décidée par" in text(client.get(page_of(row))) and str(second) in text(client.get(LIST))
    assert 'data-label="Décidée par"' in client.get(LIST).content.decode()


def test_nobody_is_told_of_what_moves_no_wallet(deposit: TillDeposit, operator: User) -> None:
    assert "La personne le lira" not in text(client_of(operator).get(asking(deposit.movement)))
    row = corrections.propose_reversal(movement=deposit.movement, reason="9 et non 90", by=operator)
    client = client_of(agent_of())
    assert "prévient la personne" not in text(client.get(page_of(row)))
    said = text(client.post(reverse("admin:wallet_correction_approve", args=[row.pk]), follow=True))
    assert "Approuvée : le mouvement est écrit." in said and "est prévenue" not in said


def test_the_owner_of_a_wallet_is_named_and_told() -> None:
    user, client = UserFactory(), client_of(agent_of())
    credit = corrections.propose(user=user, amount=Decimal(10), reason="Erreur de caisse", by=agent_of())
    movement = corrections.approve(correction=credit, by=agent_of())
    assert "La personne le lira" in text(client.get(asking(movement)))
    row = corrections.propose_reversal(movement=movement, reason="Saisi deux fois", by=agent_of())
    shown = text(client.get(page_of(row)))
    assert f"Usager ou compte : {user}" in shown and "Montant : −10,00 €" in shown
    assert "contient 10,00 € ; il contiendrait 0,00 €" in shown and "prévient la personne" in shown
    said = text(client.post(reverse("admin:wallet_correction_approve", args=[row.pk]), follow=True))
    assert "la personne est prévenue" in said


def test_a_movement_says_that_it_was_undone(deposit: TillDeposit, operator: User) -> None:
    """Proposed or undone, it is not proposed again: neither offered, nor asked for by its address."""
    client, movement = client_of(operator), deposit.movement
    assert asking(movement) in client.get(page_of(movement)).content.decode()
    row = corrections.propose_reversal(movement=movement, reason="9 et non 90", by=operator)
    waits = client.get(page_of(movement))
    assert "Sa contre-passation est proposée" in text(waits) and page_of(row) in waits.content.decode()
    assert asking(movement) not in waits.content.decode()
    assert "est déjà proposée" in text(client.get(asking(movement), follow=True))
    back = corrections.approve(correction=row, by=agent_of())
    undone = client.get(page_of(movement))
    assert "Contre-passé" in text(undone) and "9 et non 90" in text(undone) and page_of(back) in undone.content.decode()
    assert asking(movement) not in undone.content.decode()
    assert "a déjà été contre-passé" in text(client.get(asking(movement), follow=True))
    # It moved a till, which is counted instead.
    assert asking(back) not in client.get(page_of(back)).content.decode()


def test_the_list_of_deposits_says_which_were_taken_back(deposit: TillDeposit, operator: User) -> None:
    client, address = client_of(operator), reverse("admin:checkout_tilldeposit_changelist")
    assert "contre-passé le" not in text(client.get(address))
    row = corrections.propose_reversal(movement=deposit.movement, reason="9 et non 90", by=operator)
    corrections.approve(correction=row, by=agent_of())
    deposit_till(means=Means.CASH, amount=Decimal(9), number="B-2", by=operator)
    shown = text(client.get(address))
    assert shown.count("contre-passé le") == 1 and shown.count(" versé ") == 1


def test_every_kind_of_correction_is_proposed_from_the_list() -> None:
    shown = client_of(agent_of()).get(LIST).content.decode()
    for name in ("new", "account", "expiry"):
        assert reverse(f"admin:wallet_correction_{name}") in shown


def test_the_list_costs_the_same_with_many_reversals(operator: User) -> None:
    client, users = client_of(agent_of()), [UserFactory() for _index in range(6)]

    def reverse_one(user: User) -> None:
        credit = corrections.propose(user=user, amount=Decimal(10), reason="x", by=operator)
        movement = corrections.approve(correction=credit, by=agent_of())
        corrections.propose_reversal(movement=movement, reason="x", by=operator)

    reverse_one(users[0])
    client.get(LIST)
    with CaptureQueriesContext(connection) as before:
        client.get(LIST)
    for user in users[1:]:
        reverse_one(user)
    with CaptureQueriesContext(connection) as after:
        client.get(LIST)
    assert len(after) <= len(before)
