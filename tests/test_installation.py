"""The first set-up of an installation: what it loads, what it leaves alone, what it says is missing."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Commune, StaffRole, Terms, User
from portal import installation
from services.models import Category, Deadline, SchoolHoliday, Service
from tests.factories import CommuneFactory, TariffFactory, TermsFactory, UserFactory
from wallet.models import TopUpPack

pytestmark = pytest.mark.django_db


def run() -> str:
    output = StringIO()
    call_command("prepare_site", stdout=output)
    return output.getvalue()


def counts() -> list[int]:
    return [model.objects.count() for model in (Commune, Category, Deadline, TopUpPack, SchoolHoliday)]


def test_an_empty_database_gets_what_every_installation_needs_and_no_demo_data() -> None:
    run()
    assert counts()[:4] == [72, 7, 4, 5]
    _first, last = installation.school_years()
    assert SchoolHoliday.objects.filter(last_day__gte=last - dt.timedelta(days=7)).exists()
    assert not User.objects.exists() and not Service.objects.exists() and not Terms.objects.exists()


def test_again_it_changes_nothing() -> None:
    run()
    before = counts()
    assert run().count("rien à ajouter") == 7
    assert counts() == before


def test_what_an_operator_changed_stays() -> None:
    run()
    Category.objects.filter(slug="cantines").update(name="Restauration", slug="restauration")
    Category.objects.filter(slug="sports").delete()
    TopUpPack.objects.filter(amount=1).delete()
    Commune.objects.filter(name="Rosières").update(population=1)
    run()
    assert set(Category.objects.values_list("slug", flat=True)) == {
        *(slug for _name, slug, _icon, _text in installation.CATEGORIES if slug not in {"cantines", "sports"}),
        "restauration",
    }
    assert TopUpPack.objects.count() == 4 and Commune.objects.get(name="Rosières").population == 1


def test_it_says_what_is_missing_until_nothing_is(settings: Settings) -> None:
    settings.CARD_PROVIDERS = []
    words = (
        "Aucun opérateur",
        "Conditions générales de vente : rien",
        "Conditions générales d’utilisation : rien",
        "Politique de confidentialité : rien",
        "Aucun service",
        "Aucun prestataire de carte",
    )
    said = run()
    assert [word for word in words if word not in said] == []
    assert said.count("\n- ") == len(words)

    UserFactory(is_staff=True)  # an agent is no operator
    TermsFactory(kind=Terms.Kind.SALE, published_at=timezone.now() + dt.timedelta(days=1))  # not in force yet
    assert len(installation.missing()) == len(words)

    StaffRole.objects.create(user=User.objects.get(), kind=StaffRole.Kind.OPERATOR)
    for kind in Terms.Kind:
        TermsFactory(kind=kind, version="1", published_at=timezone.now())
    TariffFactory()
    settings.CARD_PROVIDERS = ["demo"]
    assert "Il ne manque rien" in run()


def test_the_first_superuser_is_an_operator() -> None:
    assert "createsuperuser" in installation.missing()[0]
    User.objects.create_superuser("chef@exemple.fr", "x")
    assert not any("createsuperuser" in sentence for sentence in installation.missing())


def test_without_a_card_provider_pages_promise_no_counter_that_is_not_there(client: Client, settings: Settings) -> None:
    settings.CARD_PROVIDERS = []
    client.force_login(UserFactory())
    page = client.get(reverse("wallet")).content.decode()
    assert "Le paiement par carte n’est pas ouvert ici" in page and "adressez-vous à l’agglomération" in page
    # No page of the administration credits a wallet yet.
    templates = (settings.BASE_DIR / "templates").rglob("*.html")
    assert [path.name for path in templates if "fonds en mairie" in path.read_text()] == []


def test_the_operators_home_counts_the_texts_to_publish(client: Client) -> None:
    operator, agent = UserFactory(is_staff=True), UserFactory(is_staff=True)
    StaffRole.objects.create(user=operator, kind=StaffRole.Kind.OPERATOR)
    StaffRole.objects.create(user=agent, kind=StaffRole.Kind.AGENT, commune=CommuneFactory())
    TermsFactory(kind=Terms.Kind.USE, published_at=timezone.now())
    client.force_login(operator)
    assert "<b>2</b> <span>Textes légaux à publier</span>" in client.get(reverse("admin:index")).content.decode()
    client.force_login(agent)
    assert "Textes légaux" not in client.get(reverse("admin:index")).content.decode()
