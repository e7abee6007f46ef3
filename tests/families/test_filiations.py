"""« Mes filiations »: declaring, correcting, taking off, and what may not be."""

import datetime as dt
import threading

import pytest
from django.db import connection

from checkout.actions import Means
from checkout.models import Cart
from families import actions
from families.models import Beneficiary, Filiation
from portal.common.errors import Refused
from tests.factories import BeneficiaryFactory, FiliationFactory, UserFactory
from tests.shop import family, open_shop

pytestmark = pytest.mark.django_db

PAGE = "/mon-compte/filiations/"
LOUANE = {"last_name": "Dupont", "first_name": "Louane", "birth_date": "2018-05-10", "kind": "mother"}


def declare(user, **changes):
    values = {"first_name": "Louane", "last_name": "Dupont", "birth_date": dt.date(2018, 5, 10), "kind": "mother"}
    return actions.add_filiation(user=user, by=user, **(values | changes))


@pytest.fixture
def user():
    return UserFactory(first_name="Camille", last_name="Dupont")


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    client.get("/mon-compte/")
    return client


# --- The pages -------------------------------------------------------------------------------------------------------


def test_the_table_of_the_guide(signed_in, user, django_assert_max_num_queries):
    assert "Aucun bénéficiaire" in signed_in.get(PAGE).content.decode()
    declare(user)
    declare(user, first_name="Théo", birth_date=dt.date(2013, 7, 12), kind="father")
    for _child in range(4):
        FiliationFactory(user=user)
    FiliationFactory()
    with django_assert_max_num_queries(6):
        page = signed_in.get(PAGE).content.decode()
    for words in ("Nom", "Prénom", "Date de naissance", "Type de filiation", "Action", "Louane", "10/05/2018", "Père"):
        assert words in page, words
    assert page.index("Théo") < page.index("Louane")  # the eldest first


def test_adding_correcting_taking_off(signed_in, user):
    assert 'value="Dupont"' in signed_in.get(f"{PAGE}ajouter/").content.decode()  # the family's name, ready
    response = signed_in.post(f"{PAGE}ajouter/", LOUANE, follow=True)
    assert "Louane Dupont figure maintenant dans vos filiations." in response.content.decode()
    filiation = Filiation.objects.get()
    assert 'value="Louane"' in signed_in.get(f"{PAGE}{filiation.pk}/").content.decode()
    signed_in.post(f"{PAGE}{filiation.pk}/", LOUANE | {"first_name": "Louanne", "kind": "guardian"})
    filiation.refresh_from_db()
    filiation.beneficiary.refresh_from_db()
    assert (filiation.kind, filiation.beneficiary.first_name) == ("guardian", "Louanne")
    page = signed_in.get(f"{PAGE}{filiation.pk}/retirer/").content.decode()
    assert "Retirer Louanne Dupont de votre compte" in page
    assert "aucune réservation à venir" in page
    signed_in.post(f"{PAGE}{filiation.pk}/retirer/")
    filiation.refresh_from_db()
    assert filiation.ended_at is not None
    assert Beneficiary.objects.count() == 1  # ended, not deleted
    assert "Aucun bénéficiaire" in signed_in.get(PAGE).content.decode()
    assert signed_in.get(f"{PAGE}{filiation.pk}/").status_code == 404


def test_taking_off_says_what_is_left_behind(client):
    """Bookings to come, dates in the cart, an order being paid; neither the past nor the other parent's, nor a sibling's."""
    shop = open_shop(days=5, children=2, credit="100")
    child, sibling = shop.children
    client.force_login(shop.user)
    page = f"{PAGE}{shop.user.filiations.get(beneficiary=child).pk}/retirer/"

    def told():
        return client.get(page).content.decode().replace("\xa0", " ")

    assert "aucune réservation à venir" in told()
    other = family(shop.tariff, days=shop.days[4:], credit="100")
    FiliationFactory(user=other.user, beneficiary=child)
    other.add(children=[child])
    other.pay(Means.WALLET, "7.90")
    shop.add(days=shop.days[:1], children=[sibling])
    shop.add(days=shop.days[:3], children=[child])
    text = told()
    assert f"Votre panier contient 3 dates pour {child.first_name} : vous ne pourrez plus les payer." in text
    assert "à venir" not in text
    shop.pay(Means.WALLET, "31.60")
    shop.add(days=shop.days[3:4], children=[child])
    text = told()
    assert f"{child.first_name} a 3 réservations à venir : elles ne sont pas annulées." in text
    assert f"Votre panier contient 1 date pour {child.first_name} : vous ne pourrez plus la payer." in text
    Cart.objects.live().filter(user=shop.user).update(status=Cart.Status.PAYING)
    text = told()
    assert "Une commande en cours de règlement contient 1 date" in text
    assert "Votre panier contient" not in text
    # And it is so: the bookings are still there to be cancelled.
    client.post(page)
    assert client.get("/mon-compte/reservations/").content.decode().count(child.first_name) >= 3


def test_an_adult_books_for_themselves_in_one_press(signed_in, user):
    assert "Réserver aussi pour moi-même" in signed_in.get(PAGE).content.decode()
    for _twice in range(2):
        signed_in.post(f"{PAGE}moi-meme/")
    filiation = Filiation.objects.get()
    assert (filiation.kind, str(filiation.beneficiary)) == ("self", "Camille Dupont")
    assert "Réserver aussi pour moi-même" not in signed_in.get(PAGE).content.decode()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"first_name": ""}, "Renseignez «\xa0Prénom du bénéficiaire\xa0»."),
        ({"first_name": "<b>Louane</b>"}, "contient autre chose que des lettres"),
        ({"birth_date": ""}, "Renseignez «\xa0Date de naissance\xa0»."),
        ({"birth_date": "2199-01-01"}, "dans l’avenir"),
        ({"birth_date": "2018-02-30"}, "n’existe pas"),
        ({"kind": "voisin"}, "voisin"),
        ({"kind": ""}, "Type de filiation"),
    ],
)
def test_wrong_answers_are_named(signed_in, changes, sentence):
    page = signed_in.post(f"{PAGE}ajouter/", LOUANE | changes).content.decode()
    assert "Il y a un problème" in page
    assert sentence in page
    assert not Filiation.objects.exists()


def test_the_same_child_is_not_declared_twice(signed_in, user):
    declare(user)
    theo = declare(user, first_name="Théo")
    page = signed_in.post(f"{PAGE}ajouter/", LOUANE | {"first_name": " louane", "last_name": "DUPONT"}).content.decode()
    assert "est déjà sur votre compte" in page
    page = signed_in.post(f"{PAGE}{theo.pk}/", LOUANE).content.decode()
    assert "est déjà sur votre compte" in page
    assert Filiation.objects.count() == 2


# --- The second step of signing up -----------------------------------------------------------------------------------


def test_the_step_may_be_left_empty_and_says_so(client):
    client.force_login(UserFactory(unfinished=True, last_name="Roux"))
    step = "/inscription/filiations/"
    assert "Personne n’est encore déclaré." in client.get(step).content.decode()
    assert client.post(step, {"last_name": "Roux", "continue": "1"}).url == "/inscription/services/"
    assert not Filiation.objects.exists()


def test_going_on_never_loses_what_was_typed(client):
    user = UserFactory(unfinished=True)
    client.force_login(user)
    step = "/inscription/filiations/"
    page = client.post(step, {"last_name": "Roux", "first_name": "Noé", "continue": "1"}).content.decode()
    assert "Il y a un problème" in page
    assert 'value="Noé"' in page
    assert client.post(step, LOUANE | {"continue": "1"}).url == "/inscription/services/"
    assert Filiation.objects.of(user).count() == 1
    page = client.post(step, LOUANE | {"add": "1"}).content.decode()
    assert "est déjà sur votre compte" in page


def test_in_the_step_one_may_take_off_and_add_oneself(client, django_assert_max_num_queries):
    user = UserFactory(unfinished=True)
    client.force_login(user)
    step = "/inscription/filiations/"
    client.post(step, {"self": "1"})
    own = Filiation.objects.get()
    assert own.kind == "self"
    for _child in range(5):
        FiliationFactory(user=user)
    with django_assert_max_num_queries(4):  # session, person, univers, filiations
        assert client.get(step).content.decode().count("Retirer") == 6
    client.post(f"{step}{own.pk}/retirer/")
    own.refresh_from_db()
    assert own.ended_at is not None


# --- The actions -----------------------------------------------------------------------------------------------------


def test_somebody_who_comes_back_is_the_same_beneficiary(user):
    first = declare(user)
    actions.end_filiation(filiation=first, by=user)
    again = declare(user, kind="guardian")
    assert again.beneficiary == first.beneficiary
    assert again.pk != first.pk
    assert Beneficiary.objects.count() == 1


def test_two_parents_declare_each_their_own_child_of_the_same_name(user):
    other = UserFactory()
    assert declare(user).beneficiary != declare(other).beneficiary


def test_taking_off_twice_is_refused(user):
    filiation = declare(user)
    actions.end_filiation(filiation=filiation, by=user)
    with pytest.raises(Refused) as refused:
        actions.end_filiation(filiation=filiation, by=user)
    assert refused.value.code == "ended"
    with pytest.raises(Refused):
        actions.update_filiation(
            filiation=filiation, first_name="A", last_name="B", birth_date=None, kind="mother", by=user
        )


def test_a_child_of_two_accounts_is_corrected_for_both_and_taken_off_one(user):
    child = BeneficiaryFactory(first_name="Lina")
    mine, theirs = FiliationFactory(user=user, beneficiary=child), FiliationFactory(beneficiary=child)
    actions.update_filiation(
        filiation=mine, first_name="Léna", last_name="Dupont", birth_date=child.birth_date, kind="mother", by=user
    )
    theirs.beneficiary.refresh_from_db()
    assert theirs.beneficiary.first_name == "Léna"
    actions.end_filiation(filiation=mine, by=user)
    assert Filiation.objects.of(theirs.user).count() == 1


def test_only_one_self(user):
    actions.add_self(user=user, by=user)
    child = declare(user)
    with pytest.raises(Refused) as refused:
        actions.update_filiation(
            filiation=child, first_name="Louane", last_name="Dupont", birth_date=None, kind="self", by=user
        )
    assert refused.value.code == "already_self"


def test_there_is_a_limit(user, monkeypatch):
    monkeypatch.setattr(actions, "MAX_BENEFICIARIES", 1)
    declare(user)
    with pytest.raises(Refused) as refused:
        declare(user, first_name="Théo")
    assert refused.value.code == "too_many"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("guarded", [False, True], ids=["guard-off", "guard-on"])
def test_two_tabs_declare_one_child_at_once(guarded, monkeypatch):
    """Without the account's lock the child is declared twice; with it, once."""
    user = UserFactory()
    barrier, outcomes = threading.Barrier(2), []
    if not guarded:

        def read_together(person):
            people = list(Filiation.objects.of(person).select_related("beneficiary"))
            barrier.wait(timeout=10)
            return people

        monkeypatch.setattr(actions, "_declared", read_together)

    def add():
        try:
            if guarded:
                barrier.wait(timeout=10)
            declare(user)
            outcomes.append("done")
        except Refused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == (["already_declared", "done"] if guarded else ["done", "done"])
    assert Filiation.objects.of(user).count() == (1 if guarded else 2)
