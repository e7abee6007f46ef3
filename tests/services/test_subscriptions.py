"""« Mes services »: asking, answering, asking again; what agents and strangers may not do."""

import datetime as dt
import threading

import pytest
from django.db import connection
from django.test import Client

from accounts import staff
from accounts.models import CommuneFile
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.models import Email
from services import actions
from services.models import Service, Subscription
from services.models.access import SubscriptionQuerySet
from tests.factories import (
    AccessProfileFactory,
    CommuneFactory,
    ServiceFactory,
    StaffRoleFactory,
    SubscriptionFactory,
    UserFactory,
    agent_of,
)

pytestmark = pytest.mark.django_db

PAGE = "/mon-compte/services/"


@pytest.fixture
def rosieres():
    return CommuneFactory(name="Rosières")


@pytest.fixture
def profile(rosieres):
    service = ServiceFactory(commune=rosieres, name="Mairie de Rosières – Accueil de loisirs", slug="rosieres-loisirs")
    return AccessProfileFactory(service=service, label="Résident hors commune")


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    client.get("/mon-compte/")
    return client


def ask(user, *profiles):
    return actions.request_subscriptions(user=user, profiles=profiles, by=user)


# --- The page --------------------------------------------------------------------------------------------------------


def test_asking_from_the_page(signed_in, user, profile):
    page = signed_in.get(PAGE).content.decode()
    assert "Aucun service demandé" in page
    assert "Ajouter un service" in page
    assert "Résident hors commune" in page
    response = signed_in.post(PAGE, {"profiles": [profile.pk]}, follow=True)
    page = response.content.decode()
    assert "Votre demande est envoyée à la mairie." in page
    for words in ("Nom du service", "Commune", "Statut", "En attente", "Rosières"):
        assert words in page, words
    assert "rosieres-loisirs/" not in page  # nothing to book yet
    assert CommuneFile.objects.get().reason == "request"


def test_the_agglomeration_is_no_mairie(signed_in, user):
    refused = SubscriptionFactory(user=user, profile__service__commune=None, refused=True)
    profile = AccessProfileFactory(service=refused.profile.service)
    said = signed_in.post(PAGE, {"profiles": [profile.pk]}, follow=True).content.decode()
    assert "Votre demande est envoyée à l’agglomération." in said and "à la mairie" not in said
    again = signed_in.post(f"{PAGE}{refused.pk}/redemander/", follow=True).content.decode()
    assert "Votre demande est envoyée à l’agglomération." in again


def test_the_state_of_each_and_the_way_to_book(signed_in, user, profile):
    SubscriptionFactory(user=user, profile=profile)
    refused = SubscriptionFactory(user=user, refused=True)
    SubscriptionFactory()
    page = signed_in.get(PAGE).content.decode()
    assert 'href="/services/rosieres-loisirs/"' in page
    for words in ("Validé", "Refusé", "Motif&nbsp;: Cet accueil est complet cette année.", "Redemander"):
        assert words in page, words
    response = signed_in.post(f"{PAGE}{refused.pk}/redemander/", follow=True)
    assert "Votre demande est envoyée à la mairie." in response.content.decode()
    refused.refresh_from_db()
    assert refused.status == "pending"
    response = signed_in.post(f"{PAGE}{refused.pk}/redemander/", follow=True)  # pressed twice
    assert "figurent déjà parmi vos demandes" in response.content.decode()


def test_the_page_costs_the_same_for_forty_situations(signed_in, user, django_assert_max_num_queries):
    for _service in range(10):
        service = ServiceFactory()
        for _profile in range(4):
            AccessProfileFactory(service=service)
        SubscriptionFactory(user=user, profile=service.profiles.first())
    # Session, person, univers, cart, wallet; requests twice (table, choices), situations.
    with django_assert_max_num_queries(8):
        signed_in.get(PAGE)


def test_the_own_commune_comes_first_and_open(client, profile):
    AccessProfileFactory(service=ServiceFactory(commune=CommuneFactory(name="Aiguilhe")))
    AccessProfileFactory(service=ServiceFactory(commune=None))
    client.force_login(UserFactory(commune=profile.service.commune))
    page = client.get(PAGE).content.decode()
    names = ("<strong>Rosières</strong>", "<strong>Agglomération du Puy-en-Velay</strong>", "<strong>Aiguilhe</strong>")
    places = [page.index(name) for name in names]
    assert places == sorted(places)
    assert page.count('<details class="fold" open>') == 1


SEVERAL = "Cochez la situation qui est la vôtre&nbsp;; plusieurs seulement si plusieurs personnes en dépendent."


def test_several_situations_of_one_service_are_explained_not_refused(client, profile, user):
    beside = AccessProfileFactory(service=profile.service)
    AccessProfileFactory()  # the only one of its service: nothing to explain
    client.force_login(user)
    assert client.get(PAGE).content.decode().count(SEVERAL) == 1
    newcomer = Client()
    newcomer.force_login(UserFactory(unfinished=True))
    assert newcomer.get("/inscription/services/").content.decode().count(SEVERAL) == 1
    assert len(ask(user, profile, beside)) == 2


@pytest.mark.parametrize("choice", [[], ["999999"], ["pas-un-numéro"], ["1;DROP TABLE"]])
def test_no_or_wrong_choices_are_a_sentence(signed_in, profile, choice):
    page = signed_in.post(PAGE, {"profiles": choice}).content.decode()
    assert "Il y a un problème" in page
    assert 'href="#id_profiles_0"' in page
    assert 'id="id_profiles_0"' in page
    assert not Subscription.objects.exists()


def test_a_situation_no_longer_offered_is_a_sentence(signed_in, profile):
    Service.objects.update(is_active=False)
    page = signed_in.post(PAGE, {"profiles": [profile.pk]}).content.decode()
    assert "n’est plus proposé" in page
    assert not Subscription.objects.exists()


# --- Asking ----------------------------------------------------------------------------------------------------------


def test_one_closed_situation_refuses_the_whole_request(user, profile):
    closed = AccessProfileFactory(is_active=False)
    with pytest.raises(Refused) as refused:
        ask(user, profile, closed)
    assert refused.value.code == "not_offered"
    assert not Subscription.objects.exists()
    assert not CommuneFile.objects.exists()


def test_asking_again_changes_only_what_was_refused(user, profile):
    agent = agent_of()
    (subscription,) = ask(user, profile)
    assert ask(user, profile) == []
    actions.refuse_subscription(subscription=subscription, reason="Dossier incomplet.", by=agent)
    asked_at = Subscription.objects.get().requested_at
    (again,) = ask(user, profile)
    again.refresh_from_db()
    assert (again.status, again.reason, again.decided_at, again.decided_by) == ("pending", "", None, None)
    assert again.requested_at > asked_at
    actions.approve_subscription(subscription=again, by=agent)
    assert ask(user, profile) == []
    assert Subscription.objects.get().status == "approved"


def test_a_service_of_the_agglomeration_gives_no_commune_a_file(user):
    ask(user, AccessProfileFactory(service=ServiceFactory(commune=None)))
    assert not CommuneFile.objects.exists()


def test_many_at_once_cost_the_same(user, django_assert_max_num_queries):
    profiles = [AccessProfileFactory() for _ in range(12)]
    # savepoint twice, lock, situations, known requests, requests, files, staff
    with django_assert_max_num_queries(8):
        ask(user, *profiles)
    assert Subscription.objects.count() == CommuneFile.objects.count() == 12


@pytest.mark.django_db(transaction=True)
def test_two_tabs_ask_for_one_thing_at_once(transactional_db):
    user, profile = UserFactory(), AccessProfileFactory()
    barrier, outcomes = threading.Barrier(2), []

    def send():
        try:
            barrier.wait(timeout=10)
            outcomes.append(len(ask(user, profile)))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0, 1]
    assert Subscription.objects.count() == CommuneFile.objects.count() == 1


# --- Answering -------------------------------------------------------------------------------------------------------


def waiting_mail():
    return sorted(Email.objects.filter(key__startswith="waiting:").values_list("to", flat=True))


def test_the_staff_concerned_is_told_once_a_day(user, profile, rosieres, monkeypatch):
    here, there, operator = agent_of(rosieres), agent_of(CommuneFactory()), agent_of()
    ask(user, profile)
    ask(UserFactory(), profile)
    assert waiting_mail() == [here.email]
    email = Email.objects.get(to=here.email)
    assert email.subject == "Des demandes attendent votre réponse"
    assert "/admin/" in email.body
    ask(user, AccessProfileFactory(service=ServiceFactory(commune=None)))  # the agglomération's own
    assert waiting_mail() == sorted([here.email, operator.email])
    # What changes nothing tells nothing; the next day is another e-mail.
    monkeypatch.setattr(staff, "today", lambda: today() + dt.timedelta(days=1))
    ask(user, profile)
    assert len(waiting_mail()) == 2
    ask(UserFactory(), profile)
    assert waiting_mail() == sorted([here.email, here.email, operator.email])
    assert there.email not in waiting_mail()


def test_those_who_cannot_come_in_are_not_told(user, profile, rosieres):
    for state in ({"is_active": False}, {"refused": True}, {"is_staff": False}):
        StaffRoleFactory(user=UserFactory(**{"is_staff": True, **state}), commune=rosieres)
    ask(user, profile)
    assert waiting_mail() == []


def test_a_newcomer_s_mairie_and_those_of_their_requests_are_told_at_the_end(client, profile, rosieres):
    home = CommuneFactory(name="Aiguilhe")
    of_home, of_service, operator = agent_of(home), agent_of(rosieres), agent_of()
    newcomer = UserFactory(unfinished=True, commune=home)
    ask(newcomer, profile)
    assert waiting_mail() == []  # still signing up
    client.force_login(newcomer)
    client.post("/inscription/services/", {})
    assert waiting_mail() == sorted([of_home.email, of_service.email])
    client.force_login(UserFactory(unfinished=True))  # lives elsewhere: the agglomération decides
    client.post("/inscription/services/", {})
    assert waiting_mail() == sorted([of_home.email, of_service.email, operator.email])


def test_validating_is_dated_signed_and_told(user, profile, rosieres):
    agent = agent_of(rosieres)
    (subscription,) = ask(user, profile)
    decided = actions.approve_subscription(subscription=subscription, by=agent)
    assert (decided.status, decided.decided_by) == ("approved", agent)
    email = Email.objects.get(to=user.email)
    assert (email.to, email.subject) == (user.email, "Votre accès à un service est validé")
    assert "Mairie de Rosières – Accueil de loisirs – Résident hors commune (Rosières)" in email.body
    assert "http://127.0.0.1:8000/services/rosieres-loisirs/" in email.body
    with pytest.raises(Refused) as refused:
        actions.approve_subscription(subscription=subscription, by=agent)
    assert refused.value.code == "already_decided"
    assert Email.objects.filter(to=user.email).count() == 1


def test_refusing_needs_a_reason_which_the_person_reads(user, profile, rosieres):
    agent = agent_of(rosieres)
    (subscription,) = ask(user, profile)
    with pytest.raises(Refused) as refused:
        actions.refuse_subscription(subscription=subscription, reason=" \n", by=agent)
    assert refused.value.code == "reason_missing"
    actions.refuse_subscription(subscription=subscription, reason="L’accueil est <complet>.", by=agent)
    email = Email.objects.get(to=user.email)
    assert email.subject == "Votre accès à un service n’est pas validé"
    assert "L’accueil est <complet>." in email.body
    with pytest.raises(Refused):
        actions.refuse_subscription(subscription=subscription, reason="Encore.", by=agent)
    actions.approve_subscription(subscription=subscription, by=agent)
    assert Email.objects.filter(to=user.email).count() == 2


@pytest.mark.parametrize("who", ["another mairie", "a citizen", "themselves"])
def test_only_staff_of_that_commune_decide(user, profile, who):
    by = {"another mairie": agent_of(CommuneFactory()), "a citizen": UserFactory(), "themselves": user}[who]
    (subscription,) = ask(user, profile)
    for decide in (
        lambda: actions.approve_subscription(subscription=subscription, by=by),
        lambda: actions.refuse_subscription(subscription=subscription, reason="Non.", by=by),
    ):
        with pytest.raises(Refused) as refused:
            decide()
        assert refused.value.code == "out_of_scope"
    assert Subscription.objects.get().status == "pending"


def test_a_service_of_the_agglomeration_is_decided_by_its_operators(user, rosieres):
    (subscription,) = ask(user, AccessProfileFactory(service=ServiceFactory(commune=None)))
    with pytest.raises(Refused):
        actions.approve_subscription(subscription=subscription, by=agent_of(rosieres))
    assert actions.approve_subscription(subscription=subscription, by=agent_of()).status == "approved"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("guarded", [False, True], ids=["guard-off", "guard-on"])
def test_two_agents_answer_one_request_at_once(guarded, monkeypatch):
    """Without the row's lock both answer and two e-mails leave; with it, one does."""
    commune = CommuneFactory()
    subscription = SubscriptionFactory(
        pending=True, profile=AccessProfileFactory(service=ServiceFactory(commune=commune))
    )
    agents = [agent_of(commune) for _ in range(2)]
    for agent in agents:
        assert agent.commune_ids  # read before the race
    barrier, outcomes, decide = threading.Barrier(2), [], actions._decide
    if not guarded:

        def decide_after_both_have_read(*args, **kwargs):
            barrier.wait(timeout=10)
            return decide(*args, **kwargs)

        monkeypatch.setattr(SubscriptionQuerySet, "select_for_update", lambda self, **_kwargs: self)
        monkeypatch.setattr(actions, "_decide", decide_after_both_have_read)

    def approve(agent):
        try:
            if guarded:
                barrier.wait(timeout=10)
            actions.approve_subscription(subscription=subscription, by=agent)
            outcomes.append("done")
        except Refused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=approve, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == (["already_decided", "done"] if guarded else ["done", "done"])
    assert Email.objects.count() == (1 if guarded else 2)
