"""Who may open which page: anonymous, waiting, refused, validated, somebody else."""

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from tests.factories import AddressFactory, FiliationFactory, SubscriptionFactory, UserFactory

pytestmark = pytest.mark.django_db

PUBLIC = ["/", "/connexion/", "/inscription/", "/inscription/verification/", "/recuperation-mot-de-passe/",
          "/recuperation-mot-de-passe/envoye/", "/recuperation-mot-de-passe/termine/", "/connexion/compte-ferme/"]  # fmt: skip
SIGNING_UP = ["/inscription/filiations/", "/inscription/services/", "/mon-compte/informations/"]
OWN = ["/mon-compte/mot-de-passe/", "/mon-compte/pieces-justificatives/", "/mon-compte/"]
VALIDATED = ["/mon-compte/services/", "/mon-compte/filiations/", "/mon-compte/filiations/ajouter/",
             "/mon-compte/adresses/", "/mon-compte/adresses/ajouter/"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_anybody(client, address):
    assert client.get(address).status_code == 200


@pytest.mark.parametrize("address", [*SIGNING_UP, *OWN, *VALIDATED, "/inscription/terminee/"])
def test_a_visitor_is_sent_to_sign_in_and_comes_back(client, address):
    assert client.get(address).url == f"/connexion/?next={address}"


@pytest.mark.parametrize("state", ["pending", "unfinished"])
def test_somebody_waiting_sees_where_they_stand_and_the_three_steps(client, state):
    client.force_login(UserFactory(**{state: True}))
    for address in [*SIGNING_UP, *OWN]:
        assert client.get(address).status_code == 200, address
    for address in VALIDATED:
        assert client.get(address).url == "/mon-compte/", address
    page = client.get("/mon-compte/").content.decode()
    assert "Cette page s’ouvrira quand votre compte aura été validé." in page
    assert ("en attente de validation" in page) == (state == "pending")
    assert ("n’est pas terminée" in page) == (state == "unfinished")


def test_somebody_refused_reads_why_and_whom_to_call(client):
    client.force_login(UserFactory(refused=True))
    page = client.get("/mon-compte/").content.decode()
    assert "Le justificatif de domicile est illisible." in page
    assert "04&nbsp;71&nbsp;06&nbsp;07&nbsp;00" in page
    for address in [*SIGNING_UP, *VALIDATED, "/inscription/terminee/"]:
        assert client.get(address).url == "/mon-compte/", address
        assert client.post(address).url == "/mon-compte/", address
    assert client.get("/mon-compte/mot-de-passe/").status_code == 200
    assert (
        "Le justificatif de domicile est illisible."
        in client.get("/mon-compte/pieces-justificatives/").content.decode()
    )


def test_somebody_validated_opens_all_and_is_led_past_the_steps(client):
    client.force_login(UserFactory())
    for address in [*OWN, *VALIDATED]:
        assert client.get(address).status_code == 200, address
    assert client.get("/inscription/filiations/").url == "/mon-compte/filiations/"
    assert client.get("/inscription/services/").url == "/mon-compte/services/"
    assert client.get("/inscription/terminee/").url == "/mon-compte/"


def test_a_stranger_finds_nothing_of_somebody_else():
    owner = UserFactory()
    address, child = AddressFactory(user=owner), FiliationFactory(user=owner)
    subscription = SubscriptionFactory(user=owner, refused=True)
    browser = Client()
    browser.force_login(UserFactory())
    for path in (
        f"/mon-compte/adresses/{address.pk}/",
        f"/mon-compte/adresses/{address.pk}/supprimer/",
        f"/mon-compte/filiations/{child.pk}/",
        f"/mon-compte/filiations/{child.pk}/retirer/",
    ):
        assert browser.get(path).status_code == 404, path
        assert browser.post(path).status_code == 404, path
    for path in (
        f"/mon-compte/adresses/{address.pk}/principale/",
        f"/mon-compte/services/{subscription.pk}/redemander/",
    ):
        assert browser.post(path).status_code == 404, path
    waiting = Client()
    waiting.force_login(UserFactory(unfinished=True))
    assert waiting.post(f"/inscription/filiations/{child.pk}/retirer/").status_code == 404


def test_no_page_of_these_apps_writes_on_get():
    """Addresses that only change something refuse to be opened."""
    owner = UserFactory()
    address, child = AddressFactory(user=owner), FiliationFactory(user=owner)
    subscription = SubscriptionFactory(user=owner, refused=True)
    browser = Client()
    browser.force_login(owner)
    for path in (
        f"/mon-compte/adresses/{address.pk}/principale/",
        f"/mon-compte/services/{subscription.pk}/redemander/",
        f"/inscription/filiations/{child.pk}/retirer/",
        "/mon-compte/filiations/moi-meme/",
    ):
        assert browser.get(path).status_code == 405, path


def test_forms_are_protected_against_forgery():
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(UserFactory())
    for path in (
        "/mon-compte/adresses/ajouter/",
        "/mon-compte/filiations/ajouter/",
        "/mon-compte/services/",
        "/deconnexion/",
    ):
        assert browser.post(path).status_code == 403, path


def test_allauth_pages_that_the_product_does_not_need_are_not_there():
    names = {pattern.name for pattern in get_resolver().url_patterns if isinstance(pattern, URLPattern)}
    assert not names & {"account_email", "account_set_password", "account_reauthenticate"}
