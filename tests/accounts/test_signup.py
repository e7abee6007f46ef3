"""Signing up: the first step, the e-mail, the other two steps, and what a stranger must not learn."""

import re
import threading
from unittest import mock

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import hashers, tokens
from django.db import connection
from django.template.base import Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import CommuneFile, Consent, Terms, User
from families.models import Filiation
from portal.outbox.models import Email
from services.models import Subscription
from tests.factories import (
    PASSWORD,
    AccessProfileFactory,
    CommuneFactory,
    ServiceFactory,
    TermsFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

SIGNUP = "/inscription/"


@pytest.fixture
def terms():
    return [TermsFactory(kind=Terms.Kind.USE), TermsFactory(kind=Terms.Kind.PRIVACY)]


def answers(**changes):
    values = {
        "title": "MME",
        "first_name": "Élise",
        "last_name": "D'Angelo",
        "email": "Elise@Exemple.FR",
        "password1": PASSWORD,
        "birth_date_day": "9",
        "birth_date_month": "mars",
        "birth_date_year": "1985",
        "phone": "06 12 34 56 78",
        "commune": "hors",
        "accept": "on",
        "terms_seen": "-".join(str(pk) for pk in Terms.objects.order_by("pk").values_list("pk", flat=True)),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def link_in(email: Email) -> str:
    return re.search(r"http://testserver(\S+)", email.body).group(1)


def test_the_page_asks_what_the_guide_shows(client, terms, django_assert_max_num_queries):
    CommuneFactory(name="Aiguilhe")
    with django_assert_max_num_queries(3):  # univers, communes, texts in force
        page = client.get(SIGNUP).content.decode()
    for words in ("Prénom", "Nom", "Adresse e-mail", "Mot de passe", "Date de naissance", "Je suis une société"):
        assert words in page
    assert "S’inscrire à la newsletter" in page
    assert "J’habite hors de l’agglomération" in page
    assert "Aiguilhe" in page
    assert 'autocomplete="new-password"' in page


def test_three_steps_from_the_address_to_a_waiting_account(client, terms):
    rosieres = CommuneFactory(name="Rosières")
    profile = AccessProfileFactory(service=ServiceFactory(commune=CommuneFactory(name="Aiguilhe")))

    response = client.post(SIGNUP, answers(commune=str(rosieres.pk), is_company="on", company="Crêperie  du Port"))
    assert response.url == "/inscription/verification/"
    assert "Vérifiez votre boîte mail" in client.get(response.url).content.decode()

    user = User.objects.get()
    assert (user.email, user.status, user.is_active) == ("elise@exemple.fr", "pending", True)
    assert (user.first_name, user.last_name, user.company) == ("Élise", "D’Angelo", "Crêperie du Port")
    assert (str(user.birth_date), user.commune) == ("1985-03-09", rosieres)
    assert set(Consent.objects.values_list("terms__kind", flat=True)) == {"use", "privacy"}
    assert CommuneFile.objects.get().reason == "resident"

    email = Email.objects.get()
    assert (email.to, email.subject) == ("elise@exemple.fr", "Confirmez votre adresse e-mail")
    page = client.get(link_in(email))
    assert "Confirmer et continuer mon inscription" in page.content.decode()
    assert not EmailAddress.objects.get().verified  # opening the link changes nothing
    assert "_auth_user_id" not in client.session

    response = client.post(link_in(email))
    assert response.url == "/inscription/filiations/"
    assert EmailAddress.objects.get().verified
    assert int(client.session["_auth_user_id"]) == user.pk

    child = {"last_name": "Dupont", "first_name": "Louane", "birth_date": "2018-05-10", "kind": "mother", "add": "1"}
    response = client.post("/inscription/filiations/", child)
    assert response.url == "/inscription/filiations/"
    page = client.get(response.url).content.decode()
    assert "Louane" in page
    assert "10/05/2018" in page
    assert client.post(response.url, {"last_name": "D’Angelo", "continue": "1"}).url == "/inscription/services/"
    assert Filiation.objects.of(user).count() == 1

    page = client.get("/inscription/services/").content.decode()
    assert profile.label in page
    response = client.post("/inscription/services/", {"profiles": [profile.pk]})
    assert response.url == "/inscription/terminee/"
    page = client.get(response.url).content.decode()
    assert "Votre compte est en attente de validation." in page
    assert Subscription.objects.get().status == "pending"
    assert CommuneFile.objects.filter(reason="request").get().commune == profile.service.commune
    user.refresh_from_db()
    assert user.completed_at is not None
    assert Email.objects.filter(subject="Votre inscription est bien reçue").count() == 1
    # A second pass through the last step writes nothing twice.
    client.post("/inscription/services/", {"profiles": [profile.pk]})
    assert Email.objects.count() == 2


def test_from_another_browser_the_link_leads_to_signing_in_then_to_the_second_step(client, terms):
    client.post(SIGNUP, answers())
    link = link_in(Email.objects.get())
    other = Client()
    assert other.post(link).url == "/connexion/"
    assert EmailAddress.objects.get().verified
    assert "_auth_user_id" not in other.session
    response = other.post("/connexion/", {"login": "elise@exemple.fr", "password": PASSWORD})
    assert response.url == "/inscription/filiations/"


def test_a_link_used_twice_or_wrong_is_a_page_not_an_error(client, terms):
    client.post(SIGNUP, answers())
    link = link_in(Email.objects.get())
    client.post(link)
    for method in (client.get, client.post):
        assert "Ce lien ne sert plus" in method(link).content.decode()
        assert "Ce lien ne sert plus" in method("/inscription/verification/nimporte-quoi/").content.decode()


def test_opening_the_link_does_not_sign_somebody_else_out(client, terms):
    client.post(SIGNUP, answers())
    link = link_in(Email.objects.get())
    other = Client()
    other.force_login(UserFactory())
    other.get(link)
    assert "_auth_user_id" in other.session


def test_signing_in_before_verifying_sends_the_link_again(client, terms, settings):
    client.post(SIGNUP, answers())
    settings.ACCOUNT_RATE_LIMITS = False  # three minutes have passed
    response = Client().post("/connexion/", {"login": "elise@exemple.fr", "password": PASSWORD})
    assert response.url == "/inscription/verification/"
    assert [email.subject for email in Email.objects.all()] == ["Confirmez votre adresse e-mail"] * 2


# --- What a stranger must not learn ----------------------------------------------------------------------------------


def test_a_known_address_gets_the_same_page_and_an_e_mail_of_its_own(client, terms):
    owner = UserFactory(email="connu@exemple.fr")
    known = client.post(SIGNUP, answers(email="connu@exemple.fr"))
    unknown = Client().post(SIGNUP, answers(email="inconnu@exemple.fr"))
    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)
    pages = [client.get(known.url).content, Client().get(unknown.url).content]
    assert pages[0] == pages[1]
    assert User.objects.count() == 2
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)
    assert owner.first_name == "Camille"
    email = Email.objects.get(to="connu@exemple.fr")
    assert email.subject == "Vous avez déjà un compte"
    assert "/recuperation-mot-de-passe/" in email.body
    assert "avec l’adresse connu@exemple.fr." in email.body


@pytest.mark.parametrize("known", [True, False])
def test_both_branches_hash_the_password_once(client, terms, known):
    if known:
        UserFactory(email="connu@exemple.fr")
    hasher = hashers.get_hasher()
    with mock.patch.object(type(hasher), "encode", autospec=True, side_effect=type(hasher).encode) as encode:
        client.post(SIGNUP, answers(email="connu@exemple.fr"))
    assert encode.call_count == 1


def test_the_forgotten_password_page_does_not_tell_either(client):
    UserFactory(email="connu@exemple.fr")
    address = reverse("account_reset_password")
    known = client.post(address, {"email": "connu@exemple.fr"})
    unknown = client.post(address, {"email": "inconnu@exemple.fr"})
    assert known.url == unknown.url == "/recuperation-mot-de-passe/envoye/"
    assert Email.objects.get(to="connu@exemple.fr").subject == "Choisissez un nouveau mot de passe"
    told = Email.objects.get(to="inconnu@exemple.fr")
    assert told.subject == "Aucun compte à cette adresse"
    assert "pour l’adresse inconnu@exemple.fr, mais" in told.body


def test_a_forgotten_password_costs_the_same_for_every_address(client):
    """Counted, not timed: statements, hashes and rendered templates are what the time of the answer is made of."""
    user = UserFactory(email="connu@exemple.fr")
    EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    address = reverse("account_reset_password")
    costs = []
    for email in ("connu@exemple.fr", "inconnu@exemple.fr"):
        with (
            CaptureQueriesContext(connection) as statements,
            mock.patch.object(tokens, "salted_hmac", side_effect=tokens.salted_hmac) as hashed,
            mock.patch.object(Template, "render", autospec=True, side_effect=Template.render) as rendered,
        ):
            client.post(address, {"email": email})
        costs.append((len(statements), hashed.call_count, rendered.call_count))
    assert costs[0] == costs[1]


@pytest.mark.django_db(transaction=True)
def test_two_people_take_one_address_at_once(terms):
    """Two tabs send the same new address: one account, and both see the same page."""
    barrier = threading.Barrier(2)
    save, urls = User.save, []

    def save_together(self, *args, **kwargs):
        if self.pk is None:  # each has looked the address up and found nobody
            barrier.wait(timeout=10)
        return save(self, *args, **kwargs)

    def sign_up():
        try:
            urls.append(Client().post(SIGNUP, answers()).url)
        finally:
            connection.close()

    with mock.patch.object(User, "save", save_together):
        threads = [threading.Thread(target=sign_up) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert urls == ["/inscription/verification/"] * 2
    assert User.objects.count() == 1
    assert sorted(Email.objects.values_list("subject", flat=True)) == ["Confirmez votre adresse e-mail"]


# --- Wrong answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"first_name": "Voir http://spam.example"}, "contient autre chose que des lettres"),
        ({"first_name": "Jean2"}, "contient autre chose que des lettres"),
        ({"last_name": "Le\u202eroy"}, "contient autre chose que des lettres"),
        ({"last_name": "-"}, "contient autre chose que des lettres"),
        ({"last_name": ""}, "Renseignez « Nom »."),
        ({"email": "pas-une-adresse"}, "adresse"),
        ({"password1": "Velay-2026!"}, "12 caractères au moins"),
        ({"password1": "velaydemo2026!"}, "une lettre majuscule"),
        ({"password1": "VelayDemo20266"}, "un caractère spécial"),
        ({"birth_date_year": "2199"}, "dans l’avenir"),
        ({"birth_date_year": "1785"}, "remonte à plus de 120 ans"),
        ({"birth_date_day": "31", "birth_date_month": "2"}, "n’existe pas au calendrier"),
        ({"phone": "12"}, "dix chiffres"),
        ({"commune": ""}, "Commune de résidence"),
        ({"commune": "999999"}, "999999"),
        ({"is_company": "on"}, "Indiquez le nom de la société"),
        ({"accept": None}, "acceptez les conditions générales"),
        ({"title": "DR"}, "DR"),
    ],
)
def test_a_wrong_answer_is_named_and_nothing_is_written(client, terms, changes, sentence):
    response = client.post(SIGNUP, answers(**changes))
    page = response.content.decode().replace("\xa0", " ").replace("&nbsp;", " ")
    assert response.status_code == 200
    assert "Il y a un problème" in page
    assert sentence in page
    assert not User.objects.exists()
    assert not Email.objects.exists()


def test_a_euro_sign_is_a_special_character(client, terms):
    assert client.post(SIGNUP, answers(password1="VelayDemo2026€")).status_code == 302


def test_a_text_that_changed_meanwhile_must_be_read_again(client, terms):
    seen = answers()
    newer = TermsFactory(kind=Terms.Kind.USE, version="2026-10", body="Nouveau texte")
    assert "Ces textes ont changé" in client.post(SIGNUP, seen).content.decode()
    page = client.post(SIGNUP, seen)
    key = re.search(r'name="terms_seen" value="([^"]+)"', page.content.decode()).group(1)
    assert client.post(SIGNUP, answers(terms_seen=key)).status_code == 302
    assert Consent.objects.filter(terms=newer).exists()


def test_without_published_texts_people_can_still_sign_up(client):
    assert client.post(SIGNUP, answers()).status_code == 302
    assert not Consent.objects.exists()


# --- The door: « Connexion » -----------------------------------------------------------------------------------------


def test_the_address_typed_at_the_door_fills_the_first_step_but_no_url(client):
    response = client.post("/connexion/", {"create": "1", "email": "nouvelle@exemple.fr"})
    assert response.url == SIGNUP
    assert 'value="nouvelle@exemple.fr"' in client.get(SIGNUP).content.decode()


def test_a_wrong_address_at_the_door_is_said_there(client):
    page = client.post("/connexion/", {"create": "1", "email": "nouvelle"}).content.decode()
    assert "Il y a un problème" in page
    assert "Déjà inscrit" in page


def test_somebody_signed_in_has_no_business_at_the_first_step(client):
    client.force_login(UserFactory())
    assert client.get(SIGNUP).url == "/mon-compte/"
