"""Manual movements take two persons, whoever asks and whatever address is tried; credits are prescribed after four years."""

import datetime as dt
import re
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import Error, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from checkout.counter.actions import Means, Paper, deposit_till, take_top_up
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import euros, today
from portal.outbox.models import Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.concurrency.conftest import race
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.faults_of import committed
from tests.guards import bought, guarded, sql
from tests.regie.ledger import dated
from wallet import actions as ledger
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import LOADED, Account, Movement

pytestmark = pytest.mark.django_db


def page(name: str, *args: object) -> str:
    return reverse(f"admin:wallet_correction_{name}", args=args)


def credited(amount: str = "10.00", user: User | None = None) -> tuple[User, Movement]:
    user = user or UserFactory()
    row = corrections.propose(user=user, amount=Decimal(amount), reason="Erreur de caisse", by=agent_of())
    return user, corrections.approve(correction=row, by=agent_of())


def by_hand(kind: Movement.Kind, key: str) -> None:
    amounts = {"fees": Decimal(1), "adjustment": Decimal(-1)}
    ledger.post(kind=kind, key=key, label="x", amounts=amounts, by=None)


def balance(user: User) -> Decimal:
    return ledger.wallet_of(user).balance


def reference_on(shown: str) -> dict[str, str]:
    """What a check page is known by."""
    (found,) = re.findall(r'name="reference" value="([0-9a-f-]{36})"', shown)
    return {"reference": found}


def press_twice(client: Client, shown: str, values: dict[str, str]) -> str:
    """« Proposer », a second time with the same page, and from a page that is none of ours; what is read then."""
    sent = values | reference_on(shown)
    first = client.post(page("check"), sent)["Location"]
    second = client.post(page("check"), sent, follow=True)
    assert second.redirect_chain == [(first, 302)] and Correction.objects.count() == 1
    assert "a déjà fait une autre proposition" in text(client.post(page("check"), sent | {"montant": "9"}, follow=True))
    assert client.post(page("check"), values)["Location"] == page("new") and Correction.objects.count() == 1
    return second.content.decode()


def code_of(action: Any, **words: Any) -> str:
    with pytest.raises(Refused) as refusal:
        action(**words)
    return refusal.value.code


def test_one_proposes_another_approves_and_the_owner_is_told() -> None:
    user, first, second = UserFactory(), agent_of(), agent_of()
    row = corrections.propose(user=user, amount=Decimal("12.30"), reason=" Erreur de caisse ", by=first)
    assert balance(user) == 0 and not Movement.objects.exists()
    assert code_of(corrections.approve, correction=row, by=first) == "same_person"
    assert code_of(corrections.approve, correction=row, by=agent_of(CommuneFactory())) == "out_of_scope"
    movement = corrections.approve(correction=row, by=second)
    assert (movement.kind, movement.label, movement.by, movement.key) == (
        "adjustment", "Erreur de caisse", second, f"correction:{row.pk}",
    )  # fmt: skip
    assert balance(user) == Decimal("12.30") and Account.objects.get(code="adjustment").balance() == Decimal("-12.30")
    mail = Email.objects.get(to=user.email)
    assert "12,30" in mail.subject and "Erreur de caisse" in mail.body
    assert code_of(corrections.approve, correction=row, by=agent_of()) == "already_decided"
    assert list(verify()) == []


def test_its_movement_names_both_and_leads_to_it() -> None:
    _user, movement = credited()
    row = Correction.objects.get()
    address = reverse("admin:wallet_movement_change", args=[movement.pk])
    text = client_of(agent_of()).get(address).content.decode()
    assert reverse("admin:wallet_correction_change", args=[row.pk]) in text
    assert f"Proposée par {row.proposed_by}, décidée par {row.decided_by}" in text


def test_a_refused_proposal_moves_nothing() -> None:
    row = corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
    assert code_of(corrections.refuse, correction=row, note=" ", by=agent_of()) == "reason_missing"
    corrections.refuse(correction=row, note="Déjà fait", by=agent_of())
    assert code_of(corrections.approve, correction=row, by=agent_of()) == "already_decided"
    assert not Movement.objects.exists()


@pytest.mark.parametrize(
    "change, code",
    [
        ({"reason": " "}, "reason_missing"),
        ({"amount": Decimal(0)}, "amount_missing"),
        ({"by": "agent"}, "out_of_scope"),
    ],
)
def test_what_cannot_be_proposed_is_told(change: dict[str, Any], code: str) -> None:
    words = {"user": UserFactory(), "amount": Decimal(5), "reason": "x", "by": agent_of(), **change}
    if words["by"] == "agent":
        words["by"] = agent_of(CommuneFactory())
    assert code_of(corrections.propose, **words) == code and not Correction.objects.exists()


def test_a_wallet_is_not_debited_below_zero() -> None:
    user, _movement = credited("10.00")
    words = {"user": user, "amount": Decimal("-10.01"), "reason": "x", "by": agent_of()}
    with pytest.raises(Refused, match="contient 10,00\u00a0€") as refusal:
        corrections.propose(**words)
    assert refusal.value.code == "wallet_is_not_overdrawn" and Correction.objects.count() == 1
    rows = [corrections.propose(**{**words, "amount": Decimal(-6)}) for _index in range(2)]
    corrections.approve(correction=rows[0], by=agent_of())
    with pytest.raises(Refused, match="contient 4,00\u00a0€"), transaction.atomic():
        corrections.approve(correction=rows[1], by=agent_of())
    rows[1].refresh_from_db()
    assert rows[1].status == "proposed" and balance(user) == 4


def test_who_proposed_takes_it_back_and_nobody_else() -> None:
    first = agent_of()
    row = corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=first)
    assert code_of(corrections.withdraw, correction=row, by=agent_of()) == "not_yours"
    corrections.withdraw(correction=row, by=first)
    row.refresh_from_db()
    assert (row.status, row.decided_by) == ("withdrawn", first) and row.decided_at
    for action in (corrections.approve, corrections.withdraw):
        assert code_of(action, correction=row, by=first) == "already_decided"
    assert code_of(corrections.approve, correction=row, by=agent_of()) == "already_decided"
    assert not Movement.objects.exists()


def test_nobody_credits_their_own_wallet() -> None:
    operator = agent_of()
    mine = {"user": operator, "reason": "x"}
    assert code_of(corrections.propose, amount=Decimal(1), by=operator, **mine) == "own_wallet"
    row = corrections.propose(amount=Decimal(10), by=agent_of(), **mine)
    assert code_of(corrections.approve, correction=row, by=operator) == "own_wallet"
    corrections.approve(correction=row, by=agent_of())
    taken = corrections.propose(amount=Decimal(-4), by=operator, **mine)  # giving up one's credits is nobody's profit
    movement = corrections.approve(correction=taken, by=agent_of())
    assert code_of(corrections.propose_reversal, movement=movement, reason="x", by=operator) == "own_wallet"
    back = corrections.propose_reversal(movement=movement, reason="x", by=agent_of())
    assert code_of(corrections.approve, correction=back, by=operator) == "own_wallet"
    assert balance(operator) == 6


def test_a_manual_movement_is_reversed_once_and_no_other_kind() -> None:
    user, movement = credited("10.00")
    row = corrections.propose_reversal(movement=movement, reason="Saisi deux fois", by=agent_of())
    assert (
        code_of(corrections.propose_reversal, movement=movement, reason="x", by=agent_of()) == "reversal_proposed_once"
    )
    second = corrections.approve(correction=row, by=agent_of())
    assert (second.reverses, balance(user)) == (movement, 0)
    assert code_of(corrections.propose_reversal, movement=movement, reason="x", by=agent_of()) == "already_reversed"
    bought()
    order = Movement.objects.get(kind="order")
    assert code_of(corrections.propose_reversal, movement=order, reason="x", by=agent_of()) == "not_reversible"
    assert list(verify()) == []


class TestExpiry:
    def moved_in(self, year: int) -> User:
        user, movement = credited("10.00")
        dated(movement.pk, dt.date(year, 12, 31))
        return user

    def test_four_full_years_after_the_year_of_the_last_movement(self) -> None:
        assert corrections.last_year_kept(dt.date(2025, 12, 31)) == 2020
        assert corrections.last_year_kept(dt.date(2026, 1, 1)) == 2021
        year = today().year
        old, young = self.moved_in(year - 5), self.moved_in(year - 4)
        ledger.wallet_of(UserFactory())  # empty: nothing to prescribe
        assert [wallet.user for wallet in corrections.dormant()] == [old]
        wallets = [ledger.wallet_of(user).pk for user in (old, young)]
        (row,) = corrections.propose_expiry(wallets=wallets, by=agent_of())
        assert not corrections.dormant().exists()
        movement = corrections.approve(correction=row, by=agent_of())
        assert movement.kind == "expiry" and balance(old) == 0 and balance(young) == 10
        assert Account.objects.get(code="expired").balance() == 10 and list(verify()) == []

    def test_who_moved_meanwhile_keeps_their_credits(self) -> None:
        user = self.moved_in(today().year - 5)
        (row,) = corrections.propose_expiry(wallets=[ledger.wallet_of(user).pk], by=agent_of())
        credited("1.00", user)
        assert code_of(corrections.approve, correction=row, by=agent_of()) == "not_dormant"
        assert balance(user) == 11

    def test_nobody_else_is_proposed(self) -> None:
        user = self.moved_in(today().year - 4)
        wallets = [ledger.wallet_of(user).pk]
        assert code_of(corrections.propose_expiry, wallets=wallets, by=agent_of()) == "not_dormant"


class TestGuards:
    def test_no_manual_movement_without_two_persons(self) -> None:
        user = UserFactory()
        ledger.wallet_of(user)
        row = corrections.propose(user=user, amount=Decimal(5), reason="x", by=agent_of())
        of_two = ("corrected_by_two", "is no approved correction")
        agreed = ("moves_what_was_agreed", "moves something else than what was agreed")
        guards = {"by hand": of_two, f"{LOADED}x": of_two, row.key: agreed}
        guards |= {"correction:x": agreed, "correction:999999999999999999": agreed}
        for kind in (Movement.Kind.ADJUSTMENT, Movement.Kind.EXPIRY):
            for key, (guard, says) in guards.items():
                write = committed(partial(by_hand, kind, key))
                guarded(f"wallet.Movement:{guard}", write, says, lambda: Movement.objects.exists())

    def test_what_is_loaded_says_so_by_its_key(self) -> None:
        def load() -> None:
            sql("SELECT set_config('wallet.loading', 'on', true)")
            by_hand(Movement.Kind.ADJUSTMENT, "x")

        says = "is no approved correction"
        guarded("wallet.Movement:corrected_by_two", load, says, lambda: Movement.objects.exists())

    def test_loading_is_for_the_demonstration_alone(self, settings: Settings) -> None:
        settings.DEMO = False
        assert (
            code_of(ledger.adjust, user=UserFactory(), amount=Decimal(1), reason="x", key="k", by=agent_of())
            == "two_persons"
        )
        settings.DEMO = True
        ledger.adjust(user=UserFactory(), amount=Decimal(1), reason="x", key="k", by=agent_of())
        with pytest.raises(Error, match="is no approved correction"), transaction.atomic():  # the door is shut again
            Movement.objects.create(kind="adjustment", key=f"{LOADED}after", label="x")

    def test_nobody_decides_on_their_own_proposal(self) -> None:
        row = corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
        alone = {"status": "refused", "decided_by": row.proposed_by, "decided_at": timezone.now()}
        with pytest.raises(Error, match="correction_takes_two_persons"), transaction.atomic():
            Correction.objects.update(**alone)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with transaction.atomic():
            sql("ALTER TABLE wallet_correction DROP CONSTRAINT correction_takes_two_persons")
            Correction.objects.update(**alone)  # the fault with the guard off
            transaction.set_rollback(True)

    def test_a_proposal_is_taken_back_by_nobody_else(self) -> None:
        corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
        other = {"status": "withdrawn", "decided_by": agent_of(), "decided_at": timezone.now()}
        with pytest.raises(Error, match="correction_takes_two_persons"), transaction.atomic():
            Correction.objects.update(**other)
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with transaction.atomic():
            sql("ALTER TABLE wallet_correction DROP CONSTRAINT correction_takes_two_persons")
            Correction.objects.update(**other)  # the fault with the guard off
            transaction.set_rollback(True)

    def test_nobody_credits_themselves(self) -> None:
        operator = agent_of()
        row = corrections.propose(user=operator, amount=Decimal(5), reason="x", by=agent_of())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        own = Correction(kind="wallet", wallet=row.wallet, amount=5, reason="x", proposed_by=operator)
        guarded(
            "wallet.Correction:nobody_credits_themselves",
            lambda: Correction.objects.bulk_create([own]),
            "nobody credits their own wallet",
            lambda: Correction.objects.filter(proposed_by=operator).exists(),
        )
        sql("SET CONSTRAINTS ALL DEFERRED")
        guarded(
            "wallet.Correction:nobody_credits_themselves",
            lambda: Correction.objects.update(status="approved", decided_by=operator, decided_at=timezone.now()),
            "nobody credits their own wallet",
            lambda: Correction.objects.filter(status="approved").exists(),
        )
        corrections.approve(correction=row, by=agent_of())
        taken = corrections.propose(user=operator, amount=Decimal(-2), reason="x", by=agent_of())
        movement = corrections.approve(correction=taken, by=agent_of())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        back = Correction(kind="reversal", reverses=movement, reason="x", proposed_by=operator)
        guarded(
            "wallet.Correction:nobody_credits_themselves",
            lambda: Correction.objects.bulk_create([back]),
            "nobody credits their own wallet",
            lambda: Correction.objects.filter(kind="reversal").exists(),
        )

    @pytest.mark.parametrize(
        "guard, change, says",
        [
            ("correction_is_frozen", {"amount": Decimal(500)}, "Cannot update"),
            ("correction_is_frozen", {"reason": "Autre"}, "Cannot update"),
            ("correction_is_frozen", {"reference": uuid4()}, "Cannot update"),
            (
                "correction_transitions",
                {"status": "proposed", "decided_by": None, "decided_at": None},
                "Invalid transition",
            ),
        ],
    )
    def test_what_was_proposed_and_decided_stays(self, guard: str, change: dict[str, Any], says: str) -> None:
        credited()
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        guarded(
            f"wallet.Correction:{guard}",
            lambda: Correction.objects.update(**change),
            says,
            lambda: Correction.objects.filter(**change).exists(),
        )

    def test_it_is_proposed_first_and_kept(self) -> None:
        row = corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
        copy = Correction(
            kind="wallet", wallet=row.wallet, amount=5, reason="x", proposed_by=row.proposed_by, status="approved",
            decided_by=agent_of(), decided_at=timezone.now(),
        )  # fmt: skip
        guarded(
            "wallet.Correction:proposed_first",
            lambda: Correction.objects.bulk_create([copy]),
            "proposed first",
            lambda: Correction.objects.count() == 2,
        )
        guarded(
            "wallet.Correction:corrections_are_kept",
            lambda: Correction.objects.all()._raw_delete("default"),
            "Cannot delete",
            lambda: not Correction.objects.exists(),
        )

    def test_what_is_approved_is_posted(self) -> None:
        corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        other = agent_of()
        guarded(
            "wallet.Correction:approved_correction_is_posted",
            lambda: Correction.objects.update(status="approved", decided_by=other, decided_at=timezone.now()),
            "nothing is posted",
            lambda: Correction.objects.filter(status="approved").exists(),
        )


class TestPages:
    def test_from_the_proposal_to_the_movement(self) -> None:
        user, first, second = UserFactory(), agent_of(), agent_of()
        client, other = client_of(first), client_of(second)
        values = {"adresse": user.email.upper(), "montant": "12,30", "motif": "Erreur de caisse"}
        checked = client.post(page("new"), values, follow=True)
        assert checked.redirect_chain == [(page("check"), 302)] and not Correction.objects.exists()
        shown = checked.content.decode()
        assert user.get_full_name() in shown and "0,00\u00a0€" in shown and "12,30\u00a0€" in shown
        assert "12,30" in client.get(page("new") + "?corriger").content.decode()
        said = press_twice(client, shown, values)
        assert "Aucun argent n’a bougé" in said and "Vous l’avez proposée" in said and page("approve", 1) not in said
        row = Correction.objects.get()
        assert "une autre personne" in client.post(page("approve", row.pk), follow=True).content.decode()
        assert "Régularisation à décider" in other.get("/admin/").content.decode()
        assert page("approve", row.pk) in other.get(page("change", row.pk)).content.decode()
        assert "la personne est prévenue" in other.post(page("approve", row.pk), follow=True).content.decode()
        assert balance(user) == Decimal("12.30")
        movement = Movement.objects.get()
        address = page("reverse", movement.pk)
        assert address in client.get(reverse("admin:wallet_movement_change", args=[movement.pk])).content.decode()
        assert "−12,30" in client.get(address).content.decode()
        assert client.post(address, {"motif": "Doublon"}, follow=True).status_code == 200
        reversal = Correction.objects.get(kind="reversal")
        said = other.post(page("refuse", reversal.pk), {"motif": "Non"}, follow=True).content.decode()
        assert "aucun argent n’a bougé" in said and balance(user) == Decimal("12.30")

    @pytest.mark.parametrize(
        "typed, amount",
        [
            ("−3,50", "-3.50"), ("–3,50", "-3.50"), ("- 3,50 €", "-3.50"), ("3,50\u00a0€", "3.50"), ("+3.5", "3.50"),
            ("1\u202f234,50", "1234.50"), ("1 234,5 euros", "1234.50"),
        ],
    )  # fmt: skip
    def test_an_amount_is_read_as_it_is_written(self, typed: str, amount: str) -> None:
        user, _movement = credited("10.00")
        values = {"adresse": user.email, "montant": typed, "motif": "x"}
        client = client_of(agent_of())
        shown = client.post(page("new"), values, follow=True).content.decode()
        assert euros(abs(Decimal(amount))) in shown
        client.post(page("check"), values | reference_on(shown))
        assert Correction.objects.first().amount == Decimal(amount)  # type: ignore[union-attr]

    def test_a_proposal_is_checked_first_and_can_be_taken_back(self) -> None:
        user, _movement = credited("37.50")
        client, other = client_of(agent_of()), client_of(agent_of())
        assert client.get(page("check")).headers["Location"] == page("new")  # nothing to check
        values = {"adresse": user.email, "montant": "−3,50", "motif": "Erreur"}
        shown = client.post(page("new"), values, follow=True).content.decode()
        for words in (user.get_full_name(), "37,50\u00a0€", "Montant à retirer", "34,00\u00a0€", "Erreur"):
            assert words in shown
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page("check")).status_code == 200
        assert len(queries) <= 12
        credited_less = corrections.propose(user=user, amount=Decimal(-37), reason="x", by=agent_of())
        corrections.approve(correction=credited_less, by=agent_of())
        said = client.post(page("check"), values | reference_on(shown), follow=True).content.decode()
        assert "contient 0,50\u00a0€" in said and "−3,50" not in said.partition("<form")[0]
        assert Correction.objects.count() == 2
        values["montant"] = "1"
        shown = client.post(page("new"), values, follow=True).content.decode()
        client.post(page("check"), values | reference_on(shown))
        row = Correction.objects.first()
        assert row is not None and page("withdraw", row.pk) not in other.get(page("change", row.pk)).content.decode()
        assert "vous pouvez la refuser" in other.post(page("withdraw", row.pk), follow=True).content.decode()
        assert "il contiendrait" in other.get(page("change", row.pk)).content.decode()
        assert page("withdraw", row.pk) in client.get(page("change", row.pk)).content.decode()
        assert client.get(page("withdraw", row.pk)).status_code == 302
        said = client.post(page("withdraw", row.pk), follow=True).content.decode()
        assert "Proposition retirée" in said and "Retirée par" in said
        assert "Retirée par qui l’avait proposée" in client.get(page("history", row.pk)).content.decode()
        assert balance(user) == Decimal("0.50")

    @pytest.mark.parametrize(
        "wrong, says",
        [
            ({"adresse": "inconnue@exemple.fr"}, "Aucun compte n’a cette adresse"),
            ({"montant": "0"}, "différent de zéro"),
            ({"montant": "12,345"}, "après la virgule"),
            ({"montant": "dix"}, "par exemple 10,00"),
            ({"montant": "NaN"}, "par exemple 10,00"),
            ({"montant": "1e99"}, "Écrivez un montant en euros et centimes"),
            ({"montant": "12345678"}, "trop grand"),
            ({"montant": "−10\u202f000,00"}, "contient 0,00\u00a0€"),
            ({"adresse": "personne"}, "nom@exemple.fr"),
            ({"motif": "x" * 161}, "160 caractères"),
            ({"motif": ""}, "Écrivez le motif."),
        ],
    )
    def test_bad_input_is_told(self, wrong: dict[str, str], says: str) -> None:
        values = {"adresse": UserFactory().email, "montant": "5", "motif": "x", **wrong}
        answer = client_of(agent_of()).post(page("new"), values)
        assert answer.status_code == 200 and says in answer.content.decode() and not Correction.objects.exists()

    def test_the_expiries(self) -> None:
        client = client_of(agent_of())
        assert "Aucun porte-monnaie n’est prescrit" in client.get(page("expiry")).content.decode()
        user = TestExpiry().moved_in(today().year - 5)
        client.get(page("expiry"))
        with CaptureQueriesContext(connection) as queries:
            assert user.email in client.get(page("expiry")).content.decode()
        assert len(queries) <= 12
        said = client.post(page("expiry"), {"porte-monnaie": ["x", "9" * 30]}, follow=True).content.decode()
        assert "Rien n’a été proposé" in said
        key = ledger.wallet_of(user).pk
        assert (
            "1 prescription est proposée"
            in client.post(page("expiry"), {"porte-monnaie": [key]}, follow=True).content.decode()
        )

    def test_nobody_but_the_agglomeration(self) -> None:
        row = corrections.propose(user=UserFactory(), amount=Decimal(5), reason="x", by=agent_of())
        addresses = [page("new"), page("check"), page("expiry"), page("reverse", 1)]
        addresses += [page(name, row.pk) for name in ("approve", "refuse", "withdraw")]
        for user in (UserFactory(), agent_of(CommuneFactory())):
            client = client_of(user)
            assert {ask(address).status_code for ask in (client.get, client.post) for address in addresses} == {404}
        client = client_of(agent_of())
        assert client.post(page("reverse", 999_999), {"motif": "x"}).status_code == 404
        assert client.get(page("approve", row.pk)).status_code == 302
        row.refresh_from_db()
        assert row.status == "proposed"


def test_a_page_proposes_once() -> None:
    user, operator, page_of_both = UserFactory(), agent_of(), uuid4()
    first = corrections.propose(user=user, amount=Decimal(5), reason="x", by=operator, reference=page_of_both)
    words = {"user": user, "amount": Decimal(5), "reason": "x", "by": operator, "reference": page_of_both}
    assert corrections.propose(**words) == first
    for other in ({"user": UserFactory()}, {"amount": Decimal(6)}, {"reason": "y"}, {"by": agent_of()}):
        assert code_of(corrections.propose, **words | other) == "sent"


@pytest.mark.django_db(transaction=True)
def test_of_two_presses_at_once_one_proposes() -> None:
    user, operator = UserFactory(), agent_of()
    press = partial(corrections.propose, user=user, amount=Decimal(5), reason="x", by=operator, reference=uuid4())
    outcomes = race([press] * 6)
    assert outcomes == [Correction.objects.get()] * 6


@pytest.mark.django_db(transaction=True)
def test_of_six_that_approve_at_once_one_does() -> None:
    user, operators = UserFactory(), [agent_of() for _index in range(6)]
    row = corrections.propose(user=user, amount=Decimal(5), reason="x", by=agent_of())
    outcomes = race([lambda by=by: corrections.approve(correction=row, by=by) for by in operators])
    assert sorted(getattr(each, "code", "done") for each in outcomes) == ["already_decided"] * 5 + ["done"]
    assert balance(user) == 5 and list(verify()) == []


class TestWhatLiesOutside:
    """A provider or the bank has more or less than is written."""

    @pytest.fixture
    def family(self) -> User:
        """Forty-five euros came by a cheque that was taken to the bank."""
        family, operator = UserFactory(), agent_of()
        cheque = Paper(Means.CHEQUE, "Q-1", "La Banque postale 1234567")
        take_top_up(user=family, amount=Decimal(45), paper=cheque, commune=None, by=operator)
        deposit_till(means=Means.CHEQUE, amount=Decimal(45), number="B-1", by=operator)
        assert bank().balance() == -45
        return family

    def test_a_cheque_without_provision_leaves_the_bank_and_the_wallet(self, family: User) -> None:
        first, second = client_of(operator := agent_of()), client_of(agent_of())
        address = page("account") + f"?compte={bank().pk}"
        shown = first.get(address)
        assert "Compte de dépôt de fonds de la régie : 45,00 €" in text(shown)
        assert re.search(rf"value=\"{bank().pk}\"[^>]* checked", shown.content.decode())
        asked = {"account": bank().pk, "amount": "−45,00", "reason": "Chèque 1234567 sans provision"}
        asked |= reference_on(shown.content.decode())
        for wrong, words in (
            ({"amount": "0"}, "différent de zéro"),
            ({"amount": "1e1"}, "en euros et centimes"),
            ({"account": ""}, "Choisissez le compte"),
            ({"account": Account.objects.get(code="till:cheque").pk}, "dans la liste"),
            ({"account": "x"}, "dans la liste"),
            ({"reason": " "}, "Écrivez le motif"),
        ):
            assert words in text(first.post(address, asked | wrong)), wrong
        assert not Correction.objects.exists()
        for _press in range(2):
            assert "Régularisation de −45,00 € proposée" in text(first.post(address, asked, follow=True))
        assert "a déjà fait une autre proposition" in text(first.post(address, asked | {"amount": "9"}))
        row = Correction.objects.get()
        assert bank().balance() == -45 and code_of(corrections.approve, correction=row, by=operator) == "same_person"
        assert "le compte est régularisé" in text(second.post(page("approve", row.pk), follow=True))
        assert bank().balance() == 0 and Account.objects.get(code="adjustment").balance() == -45
        owed = corrections.propose(user=family, amount=Decimal(-45), reason="Chèque sans provision", by=operator)
        corrections.approve(correction=owed, by=agent_of())
        assert Account.objects.get(code="adjustment").balance() == 0 and balance(family) == 0
        assert list(verify()) == []

    def test_it_is_undone_by_its_mirror_image(self, family: User) -> None:
        row = corrections.propose_for_account(account=bank(), amount=Decimal(5), reason="Inconnu", by=agent_of())
        movement = corrections.approve(correction=row, by=agent_of())
        assert bank().balance() == -50 and not Email.objects.filter(key__startswith="correction").exists()
        mirror = corrections.propose_reversal(movement=movement, reason="Retrouvé", by=agent_of())
        corrections.approve(correction=mirror, by=agent_of())
        assert bank().balance() == -45 and list(verify()) == []

    def test_what_rows_of_its_own_explain_is_not_corrected(self, family: User) -> None:
        ask = partial(corrections.propose_for_account, amount=Decimal(5), reason="x")
        assert code_of(ask, account=Account.objects.get(code="till:cheque"), by=agent_of()) == "not_outside"
        assert code_of(ask, account=ledger.wallet_of(family).account, by=agent_of()) == "not_outside"
        assert code_of(ask, account=bank(), by=agent_of(CommuneFactory())) == "out_of_scope"
        assert code_of(ask, account=bank(), amount=Decimal("0.001"), by=agent_of()) == "amount_missing"
        assert client_of(agent_of(CommuneFactory())).get(page("account")).status_code in {403, 404}

    def test_its_page_costs_the_same_with_many_accounts(self, family: User) -> None:
        client = client_of(agent_of())
        client.get(page("account"))
        with CaptureQueriesContext(connection) as before:
            client.get(page("account"))
        for name in ("stripe", "paybox", "payfip"):
            Account.objects.get_or_create(code=f"clearing:{name}", defaults={"kind": "clearing"})
        with CaptureQueriesContext(connection) as after:
            assert text(client.get(page("account"))).count("0,00 €") == 3
        assert len(after) == len(before)

    def test_the_accounts_page_leads_there(self, family: User) -> None:
        client = client_of(agent_of())
        shown = client.get(reverse("admin:wallet_account_change", args=[bank().pk]))
        assert f"{page('account')}?compte={bank().pk}" in shown.content.decode()
        till = Account.objects.get(code="till:cheque")
        other = client.get(reverse("admin:wallet_account_change", args=[till.pk]))
        assert page("account") not in other.content.decode()


def bank() -> Account:
    return Account.objects.get(code="bank")
