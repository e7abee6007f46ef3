"""« Mon compte », personal details, addresses, legal texts, home page."""

import datetime as dt
import threading

import pytest
from django.db import connection
from django.utils import timezone

from accounts import actions
from accounts.models import Address, CommuneFile, Terms
from portal.common.errors import Refused
from tests.factories import AddressFactory, CategoryFactory, CommuneFactory, TermsFactory, UserFactory

pytestmark = pytest.mark.django_db

LINE = {"label": "Domicile", "line1": "3 place du Plot", "postal_code": "43000", "city": "Le Puy-en-Velay"}


@pytest.fixture
def user():
    return UserFactory(first_name="Camille", last_name="Dupont")


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    client.get("/mon-compte/")  # the session is touched once a minute: not in the counts below
    return client


# --- Home ------------------------------------------------------------------------------------------------------------


def test_the_home_page_welcomes_with_the_words_of_the_guide(client, django_assert_max_num_queries):
    CategoryFactory(name="Cantines", slug="cantines")
    with django_assert_max_num_queries(1):  # univers
        page = client.get("/").content.decode()
    for words in (
        "Bienvenue sur la plateforme citoyenne de la Communauté d’agglomération du Puy-en-Velay",
        "Créer ou accéder à mon compte usager",
        "Gérer mes services associés",
        "Gérer mes réservations",
        "Recharger vos crédits",
        "Connexion",
        "Panier&nbsp;: (vide)",
        "Cantines",
        "04&nbsp;71&nbsp;06&nbsp;07&nbsp;00",
    ):
        assert words in page, words


def test_the_account_shows_its_parts(signed_in, django_assert_max_num_queries):
    with django_assert_max_num_queries(5):  # session, person, univers, cart, wallet
        page = signed_in.get("/mon-compte/").content.decode()
    for words in (
        "Historique et détails de mes commandes",
        "Mes réservations",
        "Mes services",
        "Mes adresses",
        "Mes informations personnelles",
        "Mes pièces justificatives",
        "Mon porte-monnaie",
        "Mes filiations",
        "Merci de penser à mettre vos pièces justificatives.",
        "Camille Dupont",
        "Déconnexion",
    ):
        assert words in page, words


def test_a_refusal_that_no_view_answers_has_a_page(signed_in, user, monkeypatch):
    def refuse(**_kwargs):
        raise Refused("Cette adresse vient d’être supprimée.")

    monkeypatch.setattr(actions, "delete_address", refuse)
    address = AddressFactory(user=user)
    response = signed_in.post(f"/mon-compte/adresses/{address.pk}/supprimer/")
    assert response.status_code == 409
    assert "Cette adresse vient d’être supprimée." in response.content.decode()


# --- Personal details ------------------------------------------------------------------------------------------------


def test_details_are_shown_and_changed(signed_in, user, django_assert_max_num_queries):
    rosieres = CommuneFactory(name="Rosières")
    with django_assert_max_num_queries(6):
        assert 'value="Camille"' in signed_in.get("/mon-compte/informations/").content.decode()
    answers = {"title": "M", "first_name": "Camille-Rose", "last_name": "Dupont", "phone": "+33 6 12 34 56 78"}
    response = signed_in.post("/mon-compte/informations/", answers | {"commune": rosieres.pk}, follow=True)
    assert "Vos informations personnelles sont enregistrées." in response.content.decode()
    user.refresh_from_db()
    assert (user.first_name, user.title, user.birth_date, user.commune) == ("Camille-Rose", "M", None, rosieres)
    assert user.status == "approved"
    assert CommuneFile.objects.get().commune == rosieres
    signed_in.post("/mon-compte/informations/", answers | {"commune": "hors"})
    user.refresh_from_db()
    assert user.commune is None
    assert not CommuneFile.objects.exists()


def test_what_is_not_a_detail_cannot_be_written(signed_in, user):
    answers = {"first_name": "A", "last_name": "B", "phone": "06 12 34 56 78", "commune": "hors"}
    signed_in.post(
        "/mon-compte/informations/", answers | {"status": "refused", "is_staff": "1", "email": "x@exemple.fr"}
    )
    user.refresh_from_db()
    assert (user.status, user.is_staff, user.email.startswith("usager")) == ("approved", False, True)
    with pytest.raises(ValueError, match="not a personal detail"):
        actions.update_details(user=user, details={"status": "approved"}, by=user)


def test_details_keep_a_company(signed_in, user):
    answers = {"first_name": "A", "last_name": "B", "phone": "06 12 34 56 78", "commune": "hors"}
    signed_in.post("/mon-compte/informations/", answers | {"is_company": "on", "company": "Dentelles & Cie"})
    user.refresh_from_db()
    assert user.company == "Dentelles & Cie"
    signed_in.post("/mon-compte/informations/", answers | {"company": "Dentelles & Cie"})
    user.refresh_from_db()
    assert user.company == ""


# --- Addresses -------------------------------------------------------------------------------------------------------


def test_addresses_are_added_changed_and_removed(signed_in, user, django_assert_max_num_queries):
    assert "Aucune adresse" in signed_in.get("/mon-compte/adresses/").content.decode()
    signed_in.post("/mon-compte/adresses/ajouter/", LINE)
    first = Address.objects.get()
    assert first.is_default  # the first one is, asked or not
    signed_in.post("/mon-compte/adresses/ajouter/", LINE | {"label": "Chez Mamie", "is_default": "on"})
    second = Address.objects.exclude(pk=first.pk).get()
    first.refresh_from_db()
    assert (first.is_default, second.is_default) == (False, True)
    with django_assert_max_num_queries(6):
        assert "Chez Mamie" in signed_in.get("/mon-compte/adresses/").content.decode()

    signed_in.post(f"/mon-compte/adresses/{second.pk}/", LINE | {"label": "Chez Papi"})
    second.refresh_from_db()
    assert (second.label, second.is_default) == ("Chez Papi", True)  # there is always a main one
    signed_in.post(f"/mon-compte/adresses/{first.pk}/principale/")
    first.refresh_from_db()
    assert (first.is_default, first.line1) == (True, "3 place du Plot")
    assert "Supprimer l’adresse" in signed_in.get(f"/mon-compte/adresses/{first.pk}/supprimer/").content.decode()
    signed_in.post(f"/mon-compte/adresses/{first.pk}/supprimer/")
    assert Address.objects.get().is_default


def test_an_order_that_asks_for_an_address_gets_its_reader_back(signed_in):
    page = signed_in.get("/mon-compte/adresses/ajouter/?next=/commande/adresse/").content.decode()
    assert '<input type="hidden" name="next" value="/commande/adresse/">' in page
    response = signed_in.post("/mon-compte/adresses/ajouter/", LINE | {"next": "/commande/adresse/"})
    assert response.url == "/commande/adresse/"
    response = signed_in.post("/mon-compte/adresses/ajouter/", LINE | {"next": "https://ailleurs.example/"})
    assert response.url == "/mon-compte/adresses/"


@pytest.mark.parametrize(
    ("field", "value"), [("postal_code", "4300"), ("line1", ""), ("city", ""), ("label", "x" * 41)]
)
def test_a_wrong_address_is_named(signed_in, field, value):
    page = signed_in.post("/mon-compte/adresses/ajouter/", LINE | {field: value}).content.decode()
    assert "Il y a un problème" in page
    assert f'href="#id_{field}"' in page
    assert not Address.objects.exists()


def test_addresses_have_a_limit(signed_in, user, monkeypatch):
    monkeypatch.setattr(actions, "MAX_ADDRESSES", 1)
    AddressFactory(user=user, is_default=True)
    page = signed_in.post("/mon-compte/adresses/ajouter/", LINE).content.decode()
    assert "Vous avez déjà 1 adresses" in page
    with pytest.raises(Refused):
        actions.save_address(user=user, values=LINE, by=user)


@pytest.mark.django_db(transaction=True)
def test_two_main_addresses_at_once_leave_one():
    user = UserFactory()
    barrier, errors = threading.Barrier(4), []

    def save():
        try:
            barrier.wait(timeout=10)
            actions.save_address(user=user, values=LINE | {"is_default": True}, by=user)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert Address.objects.count() == 4
    assert Address.objects.filter(is_default=True).count() == 1


# --- Legal texts -----------------------------------------------------------------------------------------------------


def test_the_text_in_force_is_shown_with_its_version(client):
    now = timezone.now()
    TermsFactory(kind=Terms.Kind.USE, version="1", published_at=now - dt.timedelta(days=30))
    TermsFactory(kind=Terms.Kind.USE, version="2", body="Article 1\n\n<script>alert(1)</script>")
    TermsFactory(kind=Terms.Kind.USE, version="3", published_at=now + dt.timedelta(days=1))
    page = client.get("/conditions/use/").content.decode()
    assert "Version 2" in page
    assert "<script>alert(1)" not in page
    assert client.get("/conditions/sale/").status_code == 404
    assert client.get("/conditions/autre/").status_code == 404
