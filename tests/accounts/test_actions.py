"""Validating and refusing accounts, and finishing to sign up."""

import threading

import pytest
from django.db import connection

from accounts import actions
from accounts.models import CommuneFile, Consent, User, UserQuerySet
from accounts.staff import withdraw_role
from portal.common.errors import Refused
from portal.outbox.models import Email
from tests.factories import CommuneFactory, TermsFactory, UserFactory, agent_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent():
    return agent_of()


def test_validating_is_dated_signed_and_told(agent):
    user = UserFactory(pending=True, first_name="Zoé", last_name="D’Août & Cie")
    actions.approve_user(user=user, by=agent)
    user.refresh_from_db()
    assert (user.status, user.decided_by) == ("approved", agent)
    assert user.decided_at is not None
    email = Email.objects.get()
    assert (email.to, email.subject) == (user.email, "Votre compte usager est validé")
    assert "Bonjour Zoé D’Août & Cie," in email.body  # plain text: nothing is escaped
    assert "http://127.0.0.1:8000/mon-compte/services/" in email.body
    with pytest.raises(Refused) as refused:
        actions.approve_user(user=user, by=agent)
    assert refused.value.code == "already_decided"
    assert Email.objects.count() == 1


def test_an_address_that_is_not_verified_cannot_be_validated(agent):
    user = UserFactory(pending=True, verified_email=False)
    with pytest.raises(Refused) as refused:
        actions.approve_user(user=user, by=agent)
    assert refused.value.code == "email_not_verified"
    assert not Email.objects.exists()


def test_refusing_needs_a_reason_which_the_person_reads(agent):
    user = UserFactory(pending=True)
    with pytest.raises(Refused) as refused:
        actions.refuse_user(user=user, reason="  ", by=agent)
    assert refused.value.code == "reason_missing"
    actions.refuse_user(user=user, reason="Le justificatif date de 2019.", by=agent)
    user.refresh_from_db()
    assert (user.status, user.decision_reason) == ("refused", "Le justificatif date de 2019.")
    email = Email.objects.get()
    assert email.subject == "Votre compte usager n’a pas été validé"
    assert "Le justificatif date de 2019." in email.body
    assert "04 71 06 07 00" in email.body
    with pytest.raises(Refused):
        actions.refuse_user(user=user, reason="Encore.", by=agent)
    actions.approve_user(user=user, by=agent)  # a mistake is put right
    user.refresh_from_db()
    assert (user.status, user.decision_reason) == ("approved", "")
    assert Email.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("second", ["approve", "refuse"])
def test_two_members_of_staff_decide_one_account_at_once(second):
    """Each answer is given once: the second to come finds the account decided, or overrules what it has seen."""
    user = UserFactory(pending=True)
    agents = [agent_of() for _ in range(2)]
    barrier, outcomes = threading.Barrier(2), []

    def decide(agent, refuse):
        try:
            barrier.wait(timeout=10)
            if refuse:
                actions.refuse_user(user=User(pk=user.pk), reason="Double compte.", by=agent)
            else:
                actions.approve_user(user=User(pk=user.pk), by=agent)
            outcomes.append("done")
        except Refused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=decide, args=(agents[0], False)),
        threading.Thread(target=decide, args=(agents[1], second == "refuse")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = ["already_decided", "done"] if second == "approve" else ["done", "done"]
    assert sorted(outcomes) == expected
    assert Email.objects.count() == outcomes.count("done")
    user.refresh_from_db()
    # The last e-mail says what the account is.
    last = Email.objects.order_by("pk").last()
    assert (user.status == "approved") == (last.subject == "Votre compte usager est validé")


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_would_have_answered(monkeypatch):
    """The fault that the row's lock prevents: both read « en attente », both decide, two e-mails leave."""
    user = UserFactory(pending=True)
    agents = [agent_of() for _ in range(2)]
    both_have_read, decide = threading.Barrier(2), actions._decide

    def decide_after_both_have_read(account, **kwargs):
        both_have_read.wait(timeout=10)
        decide(account, **kwargs)

    monkeypatch.setattr(UserQuerySet, "select_for_update", lambda self, **_kwargs: self)
    monkeypatch.setattr(actions, "_decide", decide_after_both_have_read)

    def approve(agent):
        try:
            actions.approve_user(user=User(pk=user.pk), by=agent)
        finally:
            connection.close()

    threads = [threading.Thread(target=approve, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Email.objects.count() == 2


def test_finishing_tells_once():
    user = UserFactory(unfinished=True)
    for _again in range(2):
        actions.complete_signup(user=user)
    user.refresh_from_db()
    assert user.completed_at is not None
    assert Email.objects.get().subject == "Votre inscription est bien reçue"


def test_residence_gives_one_commune_the_file():
    first, second = CommuneFactory(), CommuneFactory()
    user = UserFactory(commune=first)
    asked = CommuneFile.objects.create(user=user, commune=first, reason="request")
    actions.set_residence(user=user, commune=second)
    assert set(CommuneFile.objects.values_list("commune", "reason")) == {(second.pk, "resident"), (first.pk, "request")}
    actions.set_residence(user=user, commune=None)
    assert CommuneFile.objects.get() == asked


def test_accepting_twice_is_accepting_once():
    user, terms = UserFactory(), TermsFactory()
    for _again in range(2):
        actions.accept_terms(user=user, terms=terms)
    assert Consent.objects.count() == 1


@pytest.mark.parametrize("resides", [True, False])
def test_only_the_staff_of_its_commune_decides_an_account(resides):
    commune = CommuneFactory()
    user = UserFactory(pending=True, commune=commune if resides else CommuneFactory())
    agent = agent_of(commune)
    decisions = (
        lambda: actions.approve_user(user=user, by=agent),
        lambda: actions.refuse_user(user=user, reason="Non.", by=agent),
    )
    for decide in decisions:
        if resides:
            decide()
            continue
        with pytest.raises(Refused) as refused:
            decide()
        assert refused.value.code == "not_yours"
    user.refresh_from_db()
    assert user.status == ("refused" if resides else "pending")


class TestWhoDecides:
    """The guard is one function: without it, the same call goes through (shown below, once for each rule)."""

    @pytest.fixture
    def unguarded(self, monkeypatch):
        def switch_off():
            monkeypatch.setattr(actions, "obstacle_to_deciding", lambda *args, **kwargs: None)

        return switch_off

    def refused(self, user, by):
        with pytest.raises(Refused) as refusal:
            actions.refuse_user(user=user, reason="Non.", by=by)
        user.refresh_from_db()
        assert user.status == "approved"
        return refusal.value.code

    def test_nobody_decides_about_themselves(self, agent, unguarded):
        commune = CommuneFactory()
        clerk = agent_of(commune)
        actions.set_residence(user=clerk, commune=commune)
        assert self.refused(agent, agent) == self.refused(clerk, clerk) == "own_account"
        with pytest.raises(Refused) as refusal:
            actions.approve_user(user=agent, by=agent)
        assert refusal.value.code == "own_account"
        unguarded()
        actions.refuse_user(user=agent, reason="Un clic.", by=agent)
        agent.refresh_from_db()
        assert agent.status == "refused"  # locked out of the administration

    def test_a_colleague_is_not_refused_before_their_roles_are_withdrawn(self, agent):
        commune = CommuneFactory()
        clerk, colleague = agent_of(commune), agent_of(commune)
        for resident in (colleague, agent):
            actions.set_residence(user=resident, commune=commune)
        assert self.refused(colleague, clerk) == self.refused(agent, clerk) == "holds_a_role"
        assert self.refused(colleague, agent) == "holds_a_role"
        boss = User.objects.create_superuser("chef@exemple.fr", "Velay-Tests-2026!")
        assert self.refused(boss, agent) == "holds_a_role"
        withdraw_role(role=colleague.staff_roles.get(), by=agent)
        actions.refuse_user(user=colleague, reason="Parti.", by=clerk)

    def test_a_commune_that_was_asked_for_a_service_decides_that_request_alone(self, agent, unguarded):
        home, elsewhere = CommuneFactory(), CommuneFactory()
        parent = UserFactory(commune=home)
        CommuneFile.objects.create(user=parent, commune=elsewhere, reason="request")
        stranger = agent_of(elsewhere)
        assert User.objects.visible_to(stranger).get() == parent
        assert self.refused(parent, stranger) == "not_yours"
        actions.refuse_user(user=parent, reason="Doublon.", by=agent_of(home))
        actions.approve_user(user=parent, by=agent)
        unguarded()
        actions.refuse_user(user=parent, reason="Mauvaise commune.", by=stranger)
        parent.refresh_from_db()
        assert parent.status == "refused"

    def test_whoever_lives_elsewhere_is_decided_by_the_agglomeration(self, agent):
        commune = CommuneFactory()
        outsider = UserFactory(commune=None)
        CommuneFile.objects.create(user=outsider, commune=commune, reason="request")
        assert self.refused(outsider, agent_of(commune)) == "not_yours"
        actions.refuse_user(user=outsider, reason="Doublon.", by=agent)
