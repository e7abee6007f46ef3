"""Signing in and out, the two hours without activity, the forgotten password."""

import datetime as dt
import re
import time

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.middleware import IdleLogoutMiddleware, not_activity
from accounts.tasks import clear_sessions
from portal.outbox.models import Email
from tests.factories import PASSWORD, UserFactory, agent_of

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "Nouveau-Velay-2027€"


class Clock:
    """Moves the time that sessions and the middleware see; nothing sleeps."""

    def __init__(self, monkeypatch):
        self.ahead = dt.timedelta()
        now, seconds = timezone.now, time.time
        monkeypatch.setattr(timezone, "now", lambda: now() + self.ahead)
        monkeypatch.setattr(time, "time", lambda: seconds() + self.ahead.total_seconds())

    def forward(self, **delta):
        self.ahead += dt.timedelta(**delta)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def sign_in(client, email, password=PASSWORD, **extra):
    return client.post("/connexion/", {"login": email, "password": password, **extra})


def is_in(client):
    return client.get("/mon-compte/").status_code == 200


# --- Two hours -------------------------------------------------------------------------------------------------------


def test_signed_out_by_the_server_after_two_hours_without_activity(client, clock):
    sign_in(client, UserFactory().email)
    clock.forward(hours=1, minutes=59)
    assert is_in(client)
    clock.forward(hours=1, minutes=59)
    assert is_in(client)  # every visit starts the two hours again
    clock.forward(hours=2, seconds=1)
    response = client.get("/mon-compte/")
    assert response.url == "/connexion/?next=/mon-compte/"


IDLE = "Vous avez été déconnecté après deux heures sans activité."
LOST = "Rien n’a été enregistré\xa0: reconnectez-vous, puis recommencez."
SENT_HERE = "Connectez-vous pour voir cette page."


@pytest.mark.parametrize("cookie_kept", [True, False], ids=["session-too-old", "cookie-gone"])
def test_after_two_hours_the_log_in_page_says_why(client, clock, cookie_kept):
    sign_in(client, UserFactory().email)
    assert is_in(client)
    clock.forward(hours=2, seconds=1)
    if not cookie_kept:  # what browsers do: the cookie has lived two hours
        del client.cookies[settings.SESSION_COOKIE_NAME]
    page = client.get("/mon-compte/adresses/", follow=True).content.decode()
    assert page.count(IDLE) == 1
    assert LOST not in page and SENT_HERE not in page
    # Once is enough.
    page = client.get("/mon-compte/adresses/", follow=True).content.decode()
    assert IDLE not in page and SENT_HERE in page


def test_it_says_so_too_to_those_who_come_by_the_menu(client, clock):
    sign_in(client, UserFactory().email)
    assert is_in(client)
    clock.forward(hours=2, seconds=1)
    assert IDLE not in client.get("/").content.decode()
    assert IDLE in client.get("/connexion/").content.decode()


@pytest.mark.parametrize("cookie_kept", [True, False], ids=["session-too-old", "cookie-gone"])
def test_what_was_sent_too_late_is_said_to_be_lost(client, clock, cookie_kept):
    user = UserFactory()
    sign_in(client, user.email)
    assert is_in(client)
    clock.forward(hours=2, seconds=1)
    if not cookie_kept:
        del client.cookies[settings.SESSION_COOKIE_NAME]
    page = "/mon-compte/filiations/"
    response = client.post(f"{page}moi-meme/", headers={"Referer": f"http://testserver{page}?x=1"})
    assert response.url == f"/connexion/?next={page}%3Fx%3D1"  # the address itself takes POST only
    text = client.get(response.url).content.decode()
    assert text.count(f"{IDLE} {LOST}") == text.count(IDLE) == 1
    assert not user.filiations.exists()
    # A page of somebody else's is not where one is led after signing in.
    response = client.post(f"{page}moi-meme/", headers={"Referer": "https://ailleurs.example/"})
    assert response.url == "/connexion/?next=/mon-compte/"
    text = client.get(response.url).content.decode()
    assert IDLE not in text and LOST in text


def test_who_left_by_themselves_is_told_nothing_of_two_hours(client, clock):
    sign_in(client, UserFactory().email)
    assert is_in(client)
    client.post("/deconnexion/", follow=True)
    clock.forward(hours=2, seconds=1)
    page = client.get("/mon-compte/", follow=True).content.decode()
    assert IDLE not in page and SENT_HERE in page


@pytest.mark.parametrize("tampered", ["", "hier", "²", "-5", "9" * 30, "9" * 400, "9" * 4400])
def test_a_strange_cookie_is_no_crash(client, tampered):
    client.cookies["last_seen"] = tampered
    assert client.get("/mon-compte/", follow=True).status_code == 200


def test_what_was_sent_from_nowhere_leads_to_the_account(client):
    """Without a page to go back to, the next one must at least be a page: the form's own address takes POST alone."""
    response = client.post("/panier/retirer/")
    assert response["Location"] == "/connexion/?next=/mon-compte/"


def test_the_log_in_page_says_that_a_page_is_for_signed_in_people(client):
    for address in ("/mon-compte/adresses/", "/admin/"):
        assert SENT_HERE in client.get(address, follow=True).content.decode(), address
    for address in ("/connexion/", "/connexion/?next=/panier/", "/connexion/?next=/nulle-part/"):
        assert SENT_HERE not in client.get(address).content.decode(), address


def test_public_pages_count_as_activity_too(client, clock):
    sign_in(client, UserFactory().email)
    for _visit in range(3):
        clock.forward(hours=1)
        client.get("/")
    assert is_in(client)


def test_the_session_is_written_at_most_once_a_minute(client, clock):
    sign_in(client, UserFactory().email)
    client.get("/mon-compte/")

    def writes():
        with CaptureQueriesContext(connection) as queries:
            client.get("/mon-compte/")
        return sum("django_session" in query["sql"] and query["sql"].startswith("UPDATE") for query in queries)

    assert [writes() for _visit in range(3)] == [0, 0, 0]
    clock.forward(seconds=61)
    assert [writes() for _visit in range(3)] == [1, 0, 0]


def test_a_page_that_calls_by_itself_is_no_activity(rf):
    request = rf.get("/")
    request.user, request.session = UserFactory.build(), {}
    middleware = IdleLogoutMiddleware(lambda request: None)
    middleware.process_view(request, not_activity(lambda request: None), (), {})
    assert "seen" not in request.session
    middleware.process_view(request, lambda request: None, (), {})
    assert "seen" in request.session


def test_ended_sessions_are_swept(client, clock):
    sign_in(client, UserFactory().email)
    clock.forward(hours=1)
    sign_in(Client(), UserFactory().email)
    assert Session.objects.count() == 2
    clock.forward(hours=1, seconds=1)
    clear_sessions()
    assert Session.objects.count() == 1
    assert "accounts.clear_sessions" in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


# --- In and out ------------------------------------------------------------------------------------------------------


def test_the_page_shows_both_halves_and_the_rules(client, django_assert_max_num_queries):
    with django_assert_max_num_queries(1):  # univers
        page = client.get("/connexion/").content.decode()
    for words in (
        "Créez votre compte",
        "Créer un compte",
        "Déjà inscrit&nbsp;?",
        "Longueur minimale de 12 caractères",
        "Contient à minima 1 chiffre et 1 lettre",
        "Contient à minima 1 majuscule et 1 minuscule",
        "Contient à minima 1 caractère spécial",
        "au bout de 2&nbsp;heures d’inactivité",
        "Mot de passe oublié&nbsp;?",
    ):
        assert words in page, words


@pytest.mark.parametrize(
    ("make", "url"),
    [
        (UserFactory, "/mon-compte/"),
        (lambda: UserFactory(pending=True), "/mon-compte/"),
        (lambda: UserFactory(refused=True), "/mon-compte/"),
        (lambda: UserFactory(unfinished=True), "/inscription/filiations/"),
        (agent_of, "/admin/"),
    ],
)
def test_where_each_lands(client, make, url):
    assert sign_in(client, make().email).url == url


def test_next_leads_back_but_never_to_another_site(client):
    user = UserFactory()
    page = client.get("/connexion/?next=/panier/").content.decode()
    assert '<input type="hidden" name="next" value="/panier/">' in page
    assert sign_in(client, user.email, next="/panier/").url == "/panier/"
    assert sign_in(Client(), user.email, next="https://ailleurs.example/").url == "/mon-compte/"


def test_the_address_may_be_typed_in_capitals(client):
    UserFactory(email="camille@exemple.fr")
    assert sign_in(client, " Camille@Exemple.FR ").url == "/mon-compte/"


def test_wrong_password_and_unknown_address_read_the_same(client):
    UserFactory(email="connu@exemple.fr")
    sentence = "L’adresse e-mail ou le mot de passe n’est pas le bon."
    for email in ("connu@exemple.fr", "inconnu@exemple.fr"):
        page = sign_in(client, email, "Faux-Mot-2026!").content.decode()
        assert page.count(sentence) == 1
        assert "Il y a un problème" in page


def test_five_wrong_passwords_close_the_door_for_five_minutes(client, clock):
    user = UserFactory()
    for _try in range(5):
        sign_in(client, user.email, "Faux-Mot-2026!")
    assert "Trop d’essais de connexion" in sign_in(client, user.email).content.decode()


def test_too_many_requests_have_a_page(client, settings):
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    sign_in(client, "a@exemple.fr")
    response = sign_in(client, "a@exemple.fr")
    assert response.status_code == 429
    assert "Trop d’essais en peu de temps" in response.content.decode()


def test_signing_out_is_a_button_not_a_link(client):
    client.force_login(UserFactory())
    assert "Voulez-vous vous déconnecter" in client.get("/deconnexion/").content.decode()
    assert is_in(client)
    response = client.post("/deconnexion/", follow=True)
    assert "Vous êtes déconnecté(e)." in response.content.decode()
    assert not is_in(client)


def test_a_closed_account_is_told_whom_to_call(client):
    response = client.get(sign_in(client, UserFactory(is_active=False).email).url)
    assert "Ce compte est fermé" in response.content.decode()
    assert not is_in(client)


# --- Passwords -------------------------------------------------------------------------------------------------------


def test_a_forgotten_password_is_replaced_by_the_link(client):
    user = UserFactory()
    client.post("/recuperation-mot-de-passe/", {"email": user.email})
    body = Email.objects.get().body
    assert "Ce lien est valable 3 jours et ne sert qu’une fois." in body
    link = re.search(r"http://testserver(\S+)", body).group(1)
    assert link.startswith("/recuperation-mot-de-passe/")
    form = client.get(link).url
    assert "Choisir un nouveau mot de passe" in client.get(form).content.decode()
    page = client.post(form, {"password1": "court"}).content.decode()
    assert "Il manque au mot de passe" in page
    response = client.post(form, {"password1": NEW_PASSWORD}, follow=True)
    assert "Votre mot de passe est changé" in response.content.decode()
    assert Email.objects.filter(subject="Votre mot de passe a été changé").count() == 1
    assert sign_in(Client(), user.email).status_code == 200
    assert sign_in(Client(), user.email, NEW_PASSWORD).status_code == 302
    # The link works once.
    assert "Ce lien ne sert plus" in Client().get(link, follow=True).content.decode()


def test_changing_the_password_asks_for_the_present_one(client):
    user = UserFactory()
    client.force_login(user)
    address = "/mon-compte/mot-de-passe/"
    page = client.post(address, {"oldpassword": "faux", "password1": NEW_PASSWORD}).content.decode()
    assert "Ce n’est pas votre mot de passe actuel." in page
    client.post(address, {"oldpassword": PASSWORD, "password1": NEW_PASSWORD})
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD)
    email = Email.objects.get()
    assert email.subject == "Votre mot de passe a été changé"
    assert re.search(r"C’était (lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche) \S+ \S+ à \d+\xa0h", email.body)
    assert "127.0.0.1" not in email.body  # means nothing to most readers
    assert is_in(client)  # this browser stays signed in
