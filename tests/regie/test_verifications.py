"""The nightly check: kept, told to every operator once a night, shown with all money that is on its way."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pgtrigger
import pytest
from celery.schedules import crontab
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from bookings.closures.models import Closure
from checkout import verification
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means
from checkout.models import Order, Payment
from checkout.regie import admin_verifications, verifications
from checkout.regie.models import Verification
from checkout.tasks import verify_ledger
from portal.outbox.models import Call, Email
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.checkout.test_closures import decided, paid_shop
from tests.checkout.test_tasks import forgotten
from tests.factories import CommuneFactory, UserFactory, agent_of
from tests.guards import bought, guarded, sql
from wallet import actions as ledger
from wallet.models import Account, Checkpoint, Movement, Wallet

pytestmark = pytest.mark.django_db


def page(name: str, *args: object) -> str:
    return reverse(f"admin:checkout_verification_{name}", args=args)


def break_a_balance() -> None:
    with pgtrigger.ignore("wallet.Wallet:balance_follows_entries"):
        Wallet.objects.update(balance=Decimal("99.00"))


def test_a_night_without_differences_is_kept_and_told_to_nobody() -> None:
    operator = agent_of()
    bought()
    Email.objects.all().delete()
    assert verify_ledger() == 0
    row = Verification.objects.get()
    assert (row.count, row.differences, row.by) == (0, [], None) and row.entries > 0 and row.seconds >= 0
    assert not Email.objects.exists()
    text = client_of(operator).get(page("report")).content.decode()
    assert "Rien à redire" in text and "Aucun contrôle depuis" not in text


def test_what_the_counter_took_is_no_providers_debt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the till, or at the bank: no provider's file will ever name it."""
    monkeypatch.setattr(admin_verifications, "UNSETTLED_AFTER", dt.timedelta(days=-1))
    operator, client = agent_of(), client_of(agent_of())
    shop = bought()
    for number, means in enumerate(Means):
        cheque = "Banque, 1" if means == Means.CHEQUE else ""
        paper = Paper(means, f"Q-{number}", cheque)
        take_top_up(user=shop.user, amount=Decimal("20"), paper=paper, commune=None, by=operator)
    assert "pas encore versés\u00a0: 0" in client.get(page("report")).content.decode()
    order = Order.objects.create(user=shop.user, kind="top_up", total=Decimal(5))
    Payment.objects.create(order=order, provider="demo", amount=Decimal(5), status="credited", ended_at=timezone.now())
    assert "pas encore versés\u00a0: 1" in client.get(page("report")).content.decode()


def test_differences_are_told_to_each_operator_once_a_night() -> None:
    operators = [agent_of(), agent_of()]
    agent_of(CommuneFactory())
    User.objects.filter(pk=agent_of().pk).update(is_active=False)
    bought()
    break_a_balance()
    Email.objects.all().delete()
    assert verify_ledger() == verify_ledger() > 0
    mails = Email.objects.order_by("to")
    assert {mail.to for mail in mails} == {operator.email for operator in operators} and len(mails) == 2
    assert "99,00" in mails[0].body and "Aucune écriture n’a été changée" in mails[0].body
    assert page("change", Verification.objects.order_by("pk")[0].pk) in mails[0].body
    client = client_of(operators[0])
    home = client.get("/admin/").content.decode()
    assert "dans les comptes" in home and page("report") in home
    assert "99,00" in client.get(page("report")).content.decode()
    assert "99,00" in client.get(page("change", Verification.objects.order_by("-pk")[0].pk)).content.decode()


def test_a_check_asked_for_by_hand_is_not_called_the_night_s() -> None:
    asker = agent_of()
    bought()
    break_a_balance()
    Email.objects.all().delete()
    verifications.run(by=asker)
    body = Email.objects.get().body
    assert f"Le contrôle demandé par {asker}, terminé " in body and "automatique" not in body
    with transaction.atomic():
        amounts = {"revenue:agglo": Decimal(500), "clearing:demo": Decimal(-500)}
        ledger.post(kind=Movement.Kind.ORDER, key="order:999999:paid", label="x", amounts=amounts, by=None)
    verifications.run(by=None)
    assert "Le contrôle automatique, terminé " in Email.objects.latest("pk").body


def test_orders_and_movements_of_a_difference_lead_to_their_pages() -> None:
    bought()
    order, movement = Order.objects.get(), Movement.objects.order_by("-pk")[0]
    differences = [
        f"Commande {order.number}, payée : aucun mouvement.",
        f"Repas (commande {order.number}) : payé sans place.",
        f"Mouvement {movement.pk} (x:1) : la somme vaut 1.",
        f"Mouvement « Essai <b> » ({movement.key}) : aucune commande payée ne l’explique.",
        f"Commande 1999-{order.pk:06d}, Mouvement {movement.pk + 1000}, Mouvement {'9' * 40}.",
    ]
    to_order = reverse("admin:checkout_order_change", args=[order.pk])
    to_movement = reverse("admin:wallet_movement_change", args=[movement.pk])
    found = admin_verifications.led(differences)
    assert ["".join(text for text, _address in pieces) for pieces in found] == differences
    assert [[address for _text, address in pieces if address] for pieces in found] == [
        [to_order], [to_order], [to_movement], [to_movement], [],
    ]  # fmt: skip
    at = timezone.now()
    row = Verification.objects.create(started_at=at, ended_at=at, count=5, differences=differences, entries=0)
    client = client_of(agent_of())
    for address in (page("report"), page("change", row.pk)):
        text = client.get(address).content.decode()
        assert text.count(f'href="{to_order}"') == text.count(f'href="{to_movement}"') == 2
        assert "Essai &lt;b&gt;" in text


def test_accounts_of_a_difference_are_named_in_words_and_lead_to_their_entries() -> None:
    commune, owner = CommuneFactory(name="Rosières"), UserFactory(first_name="Élodie", last_name="Roche")
    twins = [UserFactory(first_name="Jean", last_name="Petit") for _index in range(2)]
    wallets = [ledger.wallet_of(user) for user in (owner, *twins)]
    revenue, other = (
        Account.objects.get_or_create(code=code, defaults=facts)[0]
        for code, facts in (
            (ledger.revenue_code(commune.pk), {"kind": "revenue", "commune": commune}),
            ("adjustment", {"kind": "adjustment"}),
        )
    )
    lost = Account.objects.create(code="wallet:0", kind="wallet")
    differences = {
        f"Recettes ({revenue.code}) : 5,00 € d’après les relevés, au grand livre 7,00 €.": (
            "Recettes de Rosières : 5,00 € d’après les relevés, au grand livre 7,00 €.", [revenue],
        ),
        "Régularisation (correction:7), compte adjustment\u00a0: 1,00 € convenus à deux.": (
            "Régularisation (correction:7), compte Régularisations\u00a0: 1,00 € convenus à deux.", [other],
        ),
        "Arrêté du 1 au 2, compte wallet : 1,00 € gardés.": (
            "Arrêté du 1 au 2, compte Porte-monnaie des familles : 1,00 € gardés.", [],
        ),
        f"Compte {wallets[0].account.code} : solde intermédiaire 1,00 €.": (
            "Compte Porte-monnaie d’Élodie Roche : solde intermédiaire 1,00 €.", [wallets[0].account],
        ),
        "Compte wallet:0 : son porte-monnaie manque.": ("Compte wallet:0 : son porte-monnaie manque.", [lost]),
        "Porte-monnaie d’Élodie Roche\u00a0: 1,00 €.": ("Porte-monnaie d’Élodie Roche\u00a0: 1,00 €.", [wallets[0].account]),
        "Porte-monnaie de Jean Petit : solde 1,00 €.": ("Porte-monnaie de Jean Petit : solde 1,00 €.", []),
        "Recettes (revenue:0) : 1,00 €.": ("Recettes (revenue:0) : 1,00 €.", []),
        "Compte de dépôt de fonds : 1,00 €.": ("Compte de dépôt de fonds : 1,00 €.", []),
    }  # fmt: skip
    entries, families = reverse("admin:wallet_entry_changelist"), reverse("admin:wallet_wallet_changelist")
    with CaptureQueriesContext(connection) as queries:
        found = admin_verifications.led([*differences, *differences])
    assert len(queries) <= 3
    for pieces, (words, accounts) in zip(found, differences.values(), strict=False):
        assert "".join(text for text, _address in pieces) == words
        leads = [address for _text, address in pieces if address and address != families]
        assert leads == [f"{entries}?compte={account.pk}" for account in accounts], words


def test_what_an_older_check_found_is_not_the_answer_to_the_new_one() -> None:
    client, at = client_of(agent_of()), timezone.now()
    Verification.objects.create(started_at=at, ended_at=at, count=2, differences=["Premier", "Second"], entries=0)
    assert "2 différences à regarder" in client.get(page("report")).content.decode()
    asked = client.post(page("run"), follow=True).content.decode()
    assert "Contrôle demandé" in asked and "différences à regarder" not in asked and "Dernier contrôle" not in asked
    assert (
        asked.index("Un contrôle est en cours") < asked.index("Contrôle précédent") < asked.index("Il avait trouvé 2")
    )
    verify_ledger()
    assert "Rien à redire" in client.get(page("report")).content.decode()


def test_a_part_that_fails_is_one_more_difference_and_hides_no_other() -> None:
    operator = agent_of()
    bought()
    break_a_balance()
    Email.objects.all().delete()
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("ALTER TABLE checkout_tilldeposit RENAME TO elsewhere")
    row = verifications.run(by=None)
    sql("ALTER TABLE elsewhere RENAME TO checkout_tilldeposit")
    assert row is not None
    failed = [line for line in row.differences if line.startswith("Contrôle interrompu (")]
    assert [line.partition(")")[0] for line in failed] == [
        "Contrôle interrompu (comptes",
        "Contrôle interrompu (caisse",
    ]
    assert all("ProgrammingError" in line for line in failed)
    found = [line for line in row.differences if line.startswith("Porte-monnaie de ")]
    assert found and len(row.differences) == len(found) + len(failed)
    mail = Email.objects.get()
    assert mail.to == operator.email and "Contrôle interrompu (caisse)" in mail.body and "99,00" in mail.body


def test_differences_are_told_as_they_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them must not lie in memory: the first are kept, the others counted."""
    looked_at: list[int] = []

    def part() -> Iterator[str]:
        for number in range(3):
            looked_at.append(number)
            yield str(number)

    monkeypatch.setattr(verification, "PARTS", (("x", part),))
    found = verification.verify()
    assert next(found) == "0" and looked_at == [0]
    assert list(found) == ["1", "2"]


class TestOverdue:
    """What is overdue is told beside the differences: the books are right all the same."""

    @pytest.fixture
    def order(self) -> Order:
        """A closure that should have been applied two hours ago, and an order that nobody has ended."""
        closure = decided(paid_shop())
        Closure.objects.filter(pk=closure.pk).update(leaves_at=timezone.now() - dt.timedelta(hours=2))
        return forgotten(hours=1)

    @pytest.mark.usefixtures("order")
    def test_the_books_are_right_and_their_checkpoints_written(self) -> None:
        row = verifications.run(by=None)
        assert row is not None and (row.count, row.differences) == (0, []) and row.overdue_count == 2
        assert [line.split()[0] for line in row.overdue] == ["Fermeture", "Commande"]
        assert Checkpoint.objects.exists() and verify_ledger() == 0
        said = text(client_of(agent_of()).get(reverse("admin:wallet_closing_balances")))
        assert "une somme nulle ne suffit pas" not in said and "Juste." in said and "À regarder" not in said

    def test_pages_show_both(self, order: Order) -> None:
        row, client = verifications.run(by=None), client_of(agent_of())
        assert row is not None
        for address in (page("report"), page("change", row.pk)):
            answer = client.get(address)
            said = text(answer)
            assert "Rien à redire" in said and "2 opérations automatiques n’ont pas été faites" in said
            assert f"Commande {order.number}" in said and "elle devait s’appliquer le" in said
            assert reverse("admin:checkout_order_change", args=[order.pk]) in answer.content.decode()
        assert "En retard" in text(client.get(page("changelist")))
        assert "Opérations en retard : 2." in text(client.get(page("history", row.pk)))
        home = text(client.get("/admin/"))
        assert "2 Opérations en retard" in home or "Opérations en retard 2" in home

    @pytest.mark.usefixtures("order")
    def test_operators_are_told_what_is_right_and_what_is_late(self) -> None:
        operator = agent_of()
        Email.objects.all().delete()
        verifications.run(by=None)
        verifications.run(by=None)
        mail = Email.objects.get()
        assert mail.to == operator.email and mail.subject == "Les comptes sont justes, 2 opérations sont en retard"
        assert "Tout concorde." in mail.body and "Aucune écriture n’a été changée" not in mail.body
        assert "Les comptes n’en sont pas faussés" in mail.body and "elle devait être abandonnée" in mail.body
        assert "annulez-la" in mail.body
        break_a_balance()
        verifications.run(by=None)
        both = Email.objects.latest("pk")
        assert both.subject.endswith(" à regarder, 2 opérations en retard")
        books, _sep, late = both.body.partition("Les comptes n’en sont pas faussés")
        assert "99,00" in books and "elle devait être abandonnée" not in books
        assert "elle devait être abandonnée" in late and "99,00" not in late

    @pytest.mark.usefixtures("order")
    def test_the_command_tells_it_under_a_heading_of_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("verify_ledger")
        said = capsys.readouterr()
        assert "est juste" in said.out and "En retard (les comptes n’en sont pas faussés)" in said.err
        assert "- Fermeture" in said.err and "- Commande" in said.err

    @pytest.mark.usefixtures("order")
    def test_many_are_counted_and_the_first_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifications, "MOST_KEPT", 1)
        row = verifications.run(by=None)
        assert row is not None and row.overdue_count == 2 and len(row.overdue) == 1

    def test_that_it_could_not_be_looked_at_is_told_and_no_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails() -> Iterator[str]:
            raise ZeroDivisionError
            yield

        monkeypatch.setattr(verification, "overdue", fails)
        row = verifications.run(by=None)
        assert row is not None and row.count == 0
        assert row.overdue[0].startswith("Contrôle interrompu (échéances)\u00a0: ZeroDivisionError")


def test_a_night_whose_checkpoints_fail_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(verifications, "write_checkpoints", fail)
    assert verifications.run(by=None) == Verification.objects.get()


def test_a_second_check_of_the_day_tells_what_is_new() -> None:
    """What was found by hand at half past midnight does not silence the night's check."""
    agent_of()
    bought()
    break_a_balance()
    Email.objects.all().delete()
    verifications.run(by=None)
    verifications.run(by=None)
    assert Email.objects.count() == 1
    with transaction.atomic():
        amounts = {"revenue:agglo": Decimal(500), "clearing:demo": Decimal(-500)}
        ledger.post(kind=Movement.Kind.ORDER, key="order:999999:paid", label="Sans commande", amounts=amounts, by=None)
    row = verifications.run(by=None)
    assert row is not None and any("Sans commande" in text for text in row.differences)
    assert Email.objects.count() == 2 and "Sans commande" in Email.objects.order_by("-pk")[0].body


def test_a_thousand_differences_are_counted_and_the_first_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    agent_of()
    monkeypatch.setattr(verifications, "MOST_KEPT", 1)
    for _index in range(3):
        bought()
    break_a_balance()
    row = verifications.run(by=None)
    assert row is not None and row.count >= 3 and len(row.differences) == 1


def test_a_night_that_did_not_run_shows() -> None:
    client = client_of(agent_of())
    first = client.get(page("report")).content.decode()
    assert "Le premier a lieu cette nuit à 3 h 30" in first and "Aucun contrôle depuis" not in first
    assert "Il y en a un chaque nuit" in client.get(page("changelist")).content.decode()
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - dt.timedelta(hours=31))
    assert "Aucun contrôle depuis" in client.get(page("report")).content.decode()
    long_ago = timezone.now() - dt.timedelta(hours=31)
    Verification.objects.create(started_at=long_ago, ended_at=long_ago, count=0, differences=[], entries=0)
    assert "Aucun contrôle depuis" in client.get(page("report")).content.decode()


def test_the_report_shows_what_is_on_its_way_at_one_cost() -> None:
    client = client_of(agent_of())
    shop = bought()
    client.get(page("report"))
    with CaptureQueriesContext(connection) as before:
        client.get(page("report"))
    for index in range(10):
        order = Order.objects.create(user=shop.user, total=Decimal(5))
        Payment.objects.create(order=order, provider="demo", amount=Decimal(5), status=Payment.Status.STARTED)
        Call.objects.create(key=f"c{index}", name="x", payload={}, status="dead")
    with CaptureQueriesContext(connection) as after:
        text = client.get(page("report")).content.decode()
    assert "Attendent leur prestataire\u00a0: 10" in text and "50,00" in text
    assert len(after) == len(before) <= 14


def test_an_operator_asks_for_a_check_and_nobody_else() -> None:
    assert client_of(agent_of(CommuneFactory())).post(page("run")).status_code == 404
    assert client_of(UserFactory()).get(page("report")).status_code == 404
    client = client_of(agent_of())
    assert client.get(page("run")).status_code == 302 and client.get(page("run"), follow=True).status_code == 200
    assert "Contrôler maintenant" in client.get(page("changelist")).content.decode()
    assert "Contrôle demandé" in client.post(page("run"), follow=True).content.decode()
    waiting = client.get(page("report")).content.decode()
    assert "Un contrôle est en cours" in waiting and "Contrôler maintenant" not in waiting
    assert "Aucun contrôle n’a" not in waiting + client.get(page("changelist")).content.decode()
    second = client.post(page("run"), follow=True).content.decode()
    assert "vient d’être demandé" in second and "Contrôle demandé" not in second
    verify_ledger()
    done = client.get(page("report")).content.decode()
    assert "Rien à redire" in done and "Contrôler maintenant" in done and "Un contrôle est en cours" not in done


def test_what_a_check_found_stays() -> None:
    verify_ledger()
    guarded(
        "checkout.Verification:verifications_are_kept",
        lambda: Verification.objects.update(count=7),
        "Cannot update or delete",
        lambda: Verification.objects.filter(count=7).exists(),
    )


@pytest.mark.django_db(transaction=True)
def test_while_one_check_runs_another_leaves() -> None:
    from tests.concurrency.conftest import race

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", [verifications.RUNNING])
    assert race([verify_ledger]) == [0]
    asked = client_of(agent_of()).post(page("run"), follow=True).content.decode()
    assert "Un contrôle est en cours" in asked and "Rien n’a été demandé de plus" in asked
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [verifications.RUNNING])
    assert not Verification.objects.exists()


def test_what_runs_each_night_runs_at_an_hour_in_paris() -> None:
    assert settings.CELERY_TIMEZONE == "Europe/Paris"
    schedule = settings.CELERY_BEAT_SCHEDULE["ledger"]["schedule"]
    assert isinstance(schedule, crontab) and (schedule.hour, schedule.minute) == ({3}, {30})
