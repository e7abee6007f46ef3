"""Validating and refusing accounts and requests: on the list, on the page, with a reason, only once."""

import threading
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from accounts.actions import set_residence
from accounts.models import CommuneFile, User
from families.models import Enrolment
from portal.outbox.models import Call, Email
from services.models import Subscription
from tests.admin.world import Town, client_of, shared_family, texts, url
from tests.factories import SubscriptionFactory, UserFactory
from wallet import actions as ledger

pytestmark = pytest.mark.django_db
BOTH = pytest.mark.parametrize("label", ["accounts.user", "services.subscription"])


def act(client: Any, label: str, action: str, *rows: Any) -> Any:
    data = {"action": action, ACTION_CHECKBOX_NAME: [row.pk for row in rows]}
    return client.post(url(label, "changelist"), data, follow=True)


def refuse_url(label: str, *rows: Any) -> str:
    return f"{url(label, 'refuse')}?" + "&".join(f"pk={row.pk}" for row in rows)


def stand(row: Any) -> str:
    row.refresh_from_db()
    return str(row.status)


@BOTH
def test_validating_on_the_page(label: str, rosieres: Town) -> None:
    row = rosieres.rows[label]
    client = client_of(rosieres.agent)
    page = client.get(url(label, "change", row.pk))
    answer = client.post(url(label, "approve", row.pk), {"seen": page.context["decision"].seen}, follow=True)
    assert "c’est validé" in texts(answer)[0]
    assert stand(row) == "approved"
    assert row.decided_by == rosieres.agent
    assert "Agnès Vey" in answer.content.decode()
    assert Email.objects.filter(to=rosieres.parent.email).count() == 1
    assert client.get(url(label, "approve", row.pk)).status_code == 405


@BOTH
def test_refusing_asks_for_a_reason(label: str, rosieres: Town) -> None:
    row = rosieres.rows[label]
    client = client_of(rosieres.agent)
    address = refuse_url(label, row)
    page = client.get(address)
    assert page.status_code == 200
    seen = {f"seen-{row.pk}": page.context["rows"][0][1]}
    for reason in ("", "   "):
        again = client.post(address, {**seen, "reason": reason})
        assert "Écrivez le motif du refus" in again.content.decode()
        assert stand(row) == "pending"
    answer = client.post(address, {**seen, "reason": "Le justificatif est illisible."}, follow=True)
    assert "c’est refusé" in texts(answer)[0]
    assert stand(row) == "refused"
    assert "Le justificatif est illisible." in answer.content.decode()
    assert "Le justificatif est illisible." in Email.objects.get().body


@BOTH
def test_the_second_agent_gets_a_sentence(label: str, rosieres: Town, operator: User) -> None:
    row = rosieres.rows[label]
    first, second = client_of(rosieres.agent), client_of(operator)
    seen = second.get(url(label, "change", row.pk)).context["decision"].seen
    page = second.get(refuse_url(label, row))
    first.post(url(label, "approve", row.pk), {"seen": seen})
    Email.objects.all().delete()

    answer = second.post(url(label, "approve", row.pk), {"seen": seen}, follow=True)
    assert "décision déjà prise par Agnès Vey" in texts(answer)[0].replace("\xa0", " ")
    late = {f"seen-{row.pk}": page.context["rows"][0][1], "reason": "Trop tard"}
    answer = second.post(refuse_url(label, row), late, follow=True)
    assert "Rien n’a été changé" in texts(answer)[0]
    assert stand(row) == "approved"
    assert not Email.objects.exists()


@BOTH
def test_a_decision_without_its_memory_is_refused(label: str, rosieres: Town) -> None:
    row = rosieres.rows[label]
    client = client_of(rosieres.agent)
    client.post(url(label, "approve", row.pk))
    client.post(refuse_url(label, row), {"reason": "Sans mémoire"})
    assert stand(row) == "pending"


@BOTH
def test_a_decision_may_be_taken_back(label: str, rosieres: Town) -> None:
    row = rosieres.rows[label]
    client = client_of(rosieres.agent)
    address = url(label, "change", row.pk)
    client.post(url(label, "approve", row.pk), {"seen": client.get(address).context["decision"].seen})
    page = client.get(address)
    assert not page.context["decision"].may_approve
    refusal = client.get(refuse_url(label, row))
    client.post(refuse_url(label, row), {f"seen-{row.pk}": refusal.context["rows"][0][1], "reason": "Erreur"})
    assert stand(row) == "refused"
    page = client.get(address)
    assert page.context["decision"].may_approve and not page.context["decision"].may_refuse
    assert [line.what for line in page.context["history"]][-1] == ["Premier enregistrement."]
    assert "En attente → Validé" in str([line.what for line in page.context["history"]])


def test_an_unverified_address_is_not_validated(rosieres: Town) -> None:
    user = UserFactory(commune=rosieres.commune, pending=True, verified_email=False)
    client = client_of(rosieres.agent)
    page = client.get(url("accounts.user", "change", user.pk))
    assert "Non vérifié" in page.content.decode()
    answer = client.post(url("accounts.user", "approve", user.pk), {"seen": page.context["decision"].seen}, follow=True)
    assert "n’est pas vérifiée" in texts(answer)[0]
    assert stand(user) == "pending"


def test_several_at_once(rosieres: Town, aiguilhe: Town) -> None:
    profile = rosieres.rows["services.accessprofile"]
    waiting = SubscriptionFactory.create_batch(3, profile=profile, pending=True)
    refused = SubscriptionFactory(profile=profile, refused=True)
    client = client_of(rosieres.agent)
    said = texts(act(client, "services.subscription", "approve_selected", *waiting, refused))
    assert [stand(row) for row in waiting] == ["approved"] * 3
    assert stand(refused) == "refused"
    assert len(said) == 2 and "décision déjà prise" in said[0] and "3 validations" in said[1]

    more = SubscriptionFactory.create_batch(2, profile=profile, pending=True)
    page = act(client, "services.subscription", "refuse_selected", *more)
    assert page.request["PATH_INFO"] == url("services.subscription", "refuse")
    data = {f"seen-{row.pk}": memory for row, memory, _stakes in page.context["rows"]} | {"reason": "Complet"}
    client.post(refuse_url("services.subscription", *more), data)
    assert [stand(row) for row in more] == ["refused"] * 2


@BOTH
def test_another_communes_rows_are_out_of_reach(label: str, rosieres: Town, aiguilhe: Town) -> None:
    own, strange = rosieres.rows[label], aiguilhe.rows[label]
    client = client_of(rosieres.agent)
    assert client.post(url(label, "approve", strange.pk), {"seen": "pending@"}).status_code == 404
    assert client.get(refuse_url(label, strange)).status_code == 404
    forged = {f"seen-{row.pk}": "pending@" for row in (own, strange)} | {"reason": "Faux"}
    assert client.post(refuse_url(label, strange), forged).status_code == 404
    assert client.post(refuse_url(label, own, strange), forged).status_code == 404
    assert texts(act(client, label, "approve_selected", strange)) == ["Aucune ligne n’a été choisie."]
    act(client, label, "refuse_selected", strange)
    assert stand(strange) == stand(own) == "pending"
    assert not Email.objects.exists()


@pytest.mark.parametrize("query", ["", "pk=x", "pk=-1", "pk=99999999999999999999", "pk=1&pk=" + "9" * 18])
def test_a_refusal_page_of_nothing_is_not_found(query: str, rosieres: Town) -> None:
    assert client_of(rosieres.agent).get(f"{url('accounts.user', 'refuse')}?{query}").status_code == 404


def test_a_status_is_not_edited_here(rosieres: Town, operator: User) -> None:
    for label in ("accounts.user", "services.subscription"):
        row = rosieres.rows[label]
        for user in (rosieres.agent, operator):
            client = client_of(user)
            assert client.post(url(label, "change", row.pk), {"status": "approved"}).status_code == 403
            assert client.post(url(label, "add"), {"status": "approved"}).status_code == 403
            assert client.post(url(label, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert stand(row) == "pending"


def test_every_line_of_what_waits_opens(operator: User, rosieres: Town) -> None:
    """Also those of which there is none today."""
    for user in (operator, rosieres.agent):
        request = RequestFactory().get("/admin/")
        request.user = user
        tables: list[Any] = [table for table in admin.site._registry.values() if table.has_view_permission(request)]
        lines = [line for table in tables for line in table.todo(request)]
        assert lines
        for line in lines:
            assert client_of(user).get(line.url).status_code == 200, line


def test_home_counts_what_waits(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    UserFactory(commune=rosieres.commune, unfinished=True)  # nothing to decide yet
    home = client_of(rosieres.agent).get("/admin/")
    assert [(item.label, item.count) for item in home.context["todo"]] == [
        ("Compte à valider", 1),
        ("Demande d’accès à valider", 1),
        ("Scolarité à confirmer", 1),
        ("Quotient familial à vérifier", 1),
    ]
    for item in home.context["todo"]:
        listed = client_of(rosieres.agent).get(item.url)
        assert listed.context["cl"].result_count == 1
    Email.objects.create(key="dead", to="a@exemple.fr", subject="x", body="y", status="dead")
    home = client_of(operator).get("/admin/")
    assert [item.count for item in home.context["todo"]] == [
        2,
        2,
        2,
        2,
        1,
        2,
        3,
    ]  # statements to pay over; three legal texts
    done = {item.label for item in home.context["todo_done"]}
    assert done >= {
        "Renouvellements à confirmer",
        "Absences à décider",
        "Passages sans réseau à vérifier",
        "Règlements qui attendent leur prestataire",
        "Appels à un prestataire abandonnés",
        "Remboursements sur carte qui tardent",
        "Remboursements de crédits à décider",
    }


def test_home_when_nothing_waits(rosieres: Town) -> None:
    Subscription.objects.all().delete()
    Enrolment.objects.all().delete()
    CommuneFile.objects.filter(user=rosieres.parent).delete()
    page = client_of(rosieres.agent).get("/admin/")
    assert "Il n’y a rien à valider." in page.content.decode()


@pytest.fixture
def seen_only(rosieres: Town, aiguilhe: Town) -> User:
    """Lives in Aiguilhe, is validated, and asked Rosières for a service too: Rosières sees the account."""
    family = shared_family(aiguilhe, rosieres)
    User.objects.filter(pk=family.pk).update(status="approved", decided_at=timezone.now(), decided_by=aiguilhe.agent)
    family.refresh_from_db()
    return family


def test_no_button_where_somebody_else_decides(rosieres: Town, aiguilhe: Town, operator: User, seen_only: User) -> None:
    clerk = rosieres.agent
    set_residence(user=clerk, commune=rosieres.commune)
    set_residence(user=operator, commune=rosieres.commune)
    for who, row, words in (
        (clerk, seen_only, "ne dépend pas de votre commune"),
        (clerk, clerk, "propre compte"),
        (operator, operator, "propre compte"),
        (clerk, operator, "un rôle dans l’administration"),
        (operator, clerk, "un rôle dans l’administration"),
    ):
        client = client_of(who)
        page = client.get(url("accounts.user", "change", row.pk))
        assert not page.context["decision"].may_refuse and not page.context["decision"].may_approve
        assert words in page.content.decode()
        # By address, from the list and by a forged post: the same sentence, nothing changes.
        answer = client.get(refuse_url("accounts.user", row), follow=True)
        assert answer.redirect_chain and words in texts(answer)[0]
        assert words in texts(act(client, "accounts.user", "refuse_selected", row))[0]
        seen = f"approved@{row.decided_at.isoformat()}"
        forged = {f"seen-{row.pk}": seen, "reason": "Un clic."}
        assert words in texts(client.post(refuse_url("accounts.user", row), forged, follow=True))[0]
        assert stand(row) == "approved"


def test_the_list_to_validate_is_what_one_decides(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    family = shared_family(aiguilhe, rosieres)
    address = url("accounts.user", "changelist") + "?etat=a-valider"
    for user, listed in ((rosieres.agent, False), (aiguilhe.agent, True), (operator, True)):
        client = client_of(user)
        assert (family in client.get(address).context["cl"].result_list) is listed
        (count,) = (item.count for item in client.get("/admin/").context["todo"] if "Compte" in item.label)
        assert count == client.get(address).context["cl"].result_count
    request = family.subscriptions.get()
    client = client_of(rosieres.agent)
    client.post(url("services.subscription", "approve", request.pk), {"seen": "pending@"})
    assert stand(request) == "approved" and stand(family) == "pending"


def test_a_refusal_says_first_what_it_leaves(rosieres: Town, aiguilhe: Town, operator: User) -> None:
    parent = rosieres.parent
    set_residence(user=parent, commune=rosieres.commune)
    client, address = client_of(rosieres.agent), refuse_url("accounts.user", parent)
    page = client.get(address).content.decode()
    assert "1 réservation à venir" in page and "reste de l’argent" not in page
    ledger.adjust(user=parent, amount=Decimal("50"), reason="Dépôt", key="stake", by=operator)
    page = client.get(address).content.decode()
    assert "Il reste de l’argent dans son porte-monnaie." in page and "50,00" not in page
    page = client_of(operator).get(address).content.decode()
    assert "Son porte-monnaie contient 50,00\xa0€." in page and "rien n’est annulé ni remboursé" in page
    both = refuse_url("accounts.user", parent, aiguilhe.parent)
    assert client_of(operator).get(both).content.decode().count("1 réservation à venir") == 2


def test_a_refused_person_reads_where_their_money_is(rosieres: Town) -> None:
    User.objects.filter(pk=rosieres.parent.pk).update(
        status="refused", decided_at=timezone.now(), decided_by=rosieres.agent, decision_reason="Illisible."
    )
    page = client_of(rosieres.parent).get("/mon-compte/").content.decode()
    assert "Votre porte-monnaie et vos réservations sont conservés" in page


def test_a_dead_email_is_sent_again_by_operators(rosieres: Town, operator: User) -> None:
    dead = Email.objects.create(
        key="dead", to="a@exemple.fr", subject="x", body="Suivez http://127.0.0.1:8000/inscription/verification/abc/", status="dead", attempts=9
    )  # fmt: skip
    waiting = Email.objects.create(key="waiting", to="a@exemple.fr", subject="x", body="y", attempts=1)
    assert act(client_of(rosieres.agent), "outbox.email", "send_again", dead).status_code == 404
    client = client_of(operator)
    page = client.get(url("outbox.email", "change", dead.pk)).content.decode()
    assert "[lien masqué]" in page and "verification/abc" not in page
    said = texts(act(client, "outbox.email", "send_again", dead, waiting))
    assert said[0] == "1 courriel est remis en file."
    assert "Seuls les courriels abandonnés" in said[1]
    dead.refresh_from_db()
    waiting.refresh_from_db()
    assert (dead.status, dead.attempts, waiting.attempts) == ("waiting", 0, 1)


def test_a_dead_row_of_the_outbox_leaves_again_from_its_own_page(rosieres: Town, operator: User) -> None:
    client, agent = client_of(operator), client_of(rosieres.agent)
    dead = {"status": "dead", "attempts": 9, "last_error": "ConnectionRefusedError: [Errno 111] Connection refused"}
    email = Email.objects.create(key="dead", to="a@exemple.fr", subject="x", body="y", **dead)
    call = Call.objects.create(key="dead", name="refund", payload={}, **dead)
    for row, label in ((email, "outbox.email"), (call, "outbox.call")):
        again = url(label, "again", row.pk)
        page = client.get(url(label, "change", row.pk)).content.decode()
        assert again in page and "Le serveur d’en face n’a pas répondu." in page and "Essayé 9 fois" in page
        assert agent.post(again).status_code == 404
        assert client.get(again).status_code == 302 and type(row).objects.get(pk=row.pk).status == "dead"
        said = client.post(again, follow=True)
        assert "est remis en file." in texts(said)[0] and again not in said.content.decode()
        row.refresh_from_db()
        assert (row.status, row.attempts, row.trouble) == ("waiting", 0, "")  # why it failed is no longer true
        assert "Le serveur d’en face" not in said.content.decode() and "Prochain essai" in said.content.decode()
        assert "est déjà en file" in texts(client.post(again, follow=True))[0]  # pressed twice
        type(row).objects.update(**{"status": "sent", "sent_at": timezone.now()} if row is email else
                                 {"status": "done", "done_at": timezone.now()})  # fmt: skip
        gone = client.post(again, follow=True)
        assert "est déjà" in texts(gone)[0] and "Prochain essai" not in gone.content.decode()


@pytest.mark.django_db(transaction=True)
@BOTH
def test_two_agents_at_the_same_moment(label: str, rosieres: Town, operator: User) -> None:
    """One answer holds, one e-mail leaves, and the other agent reads that it was too late."""
    row = rosieres.rows[label]
    start = threading.Barrier(2)
    said: list[str] = []

    def decide(user: User, address: str, data: dict[str, str]) -> None:
        client = client_of(user)
        start.wait()
        try:
            # Not response.context: Django's test client hears the templates of every thread.
            said.append(client.post(address, data, follow=True).content.decode())
        finally:
            connection.close()

    threads = [
        threading.Thread(target=decide, args=arguments)
        for arguments in (
            (rosieres.agent, url(label, "approve", row.pk), {"seen": "pending@"}),
            (operator, refuse_url(label, row), {f"seen-{row.pk}": "pending@", "reason": "Complet"}),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
    assert sum("décision déjà prise" in page for page in said) == 1
    assert sum("c’est validé" in page or "c’est refusé" in page for page in said) == 1
    assert stand(row) in ("approved", "refused")
    assert Email.objects.count() == 1
