"""« Activités », communes, univers and services: what is found, in which order, on how many pages, and by whom."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from services.catalogue import words
from services.models import Activity, Service
from tests.checkout.http import text
from tests.factories import ActivityFactory, CategoryFactory, CommuneFactory, ServiceFactory, SlotFactory
from tests.shop import open_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def offers() -> list[Activity]:
    canteens = CategoryFactory(name="Cantines", slug="cantines")
    made = []
    for commune, activity in (("Saint-Paulien", "Repas"), ("Rosières", "Repas"), ("Aiguilhe", "Étude surveillée")):
        service = ServiceFactory(commune=CommuneFactory(name=commune), name=f"École de {commune}", category=canteens)
        made.append(ActivityFactory(service=service, name=activity))
    agglo = ServiceFactory(commune=None, name="Pass’Card", category=CategoryFactory(name="Sports", slug="sports"))
    made.append(ActivityFactory(service=agglo, name="Entrée piscine"))
    return made


def titles(response: Any) -> list[str]:
    """The headings of what is listed, in order."""
    return [re.sub("<[^>]+>", "", found) for found in re.findall(r"<h2>(.*?)</h2>", response.content.decode())]


def communes_found(response: Any) -> list[str]:
    return [offer.activity.service.commune_name for offer in response.context["offers"]]


class TestSearch:
    @pytest.mark.parametrize(
        "q, found",
        [
            ("rosieres", ["Rosières"]),
            ("ROSIÈRES", ["Rosières"]),
            ("repas à st paulien", ["Saint-Paulien"]),
            ("Saint-Paulien", ["Saint-Paulien"]),
            ("etudes", ["Aiguilhe"]),
            ("cantine d’Aiguilhe", ["Aiguilhe"]),
            ("pass card", ["Agglomération du Puy-en-Velay"]),
            ("agglomération", ["Agglomération du Puy-en-Velay"]),
            ("repas sports", []),
            ("%", []),
            ("x" * 5000, []),
            ("\0", None),
            ("   ", None),
            ("' OR 1=1 --", []),
        ],
    )
    def test_words(self, client: Client, offers: list[Activity], q: str, found: list[str] | None) -> None:
        everything = ["Aiguilhe", "Rosières", "Saint-Paulien", "Agglomération du Puy-en-Velay"]
        response = client.get("/activites/", {"q": q})
        assert response.status_code == 200
        assert communes_found(response) == (everything if found is None else found)

    def test_small_words_are_looked_for_when_there_is_nothing_else(self) -> None:
        assert words("La cantine de St-Paulien") == ["cantine", "saint", "paulien"]
        assert words("le") == ["le"]

    def test_filters(self, client: Client, offers: list[Activity]) -> None:
        code = offers[1].service.commune.insee_code  # type: ignore[union-attr]
        assert communes_found(client.get("/activites/", {"commune": code})) == ["Rosières"]
        assert communes_found(client.get("/activites/", {"commune": "agglo"})) == ["Agglomération du Puy-en-Velay"]
        assert communes_found(client.get("/activites/", {"univers": "sports"})) == ["Agglomération du Puy-en-Velay"]
        assert communes_found(client.get("/activites/", {"univers": "sports", "commune": code})) == []

    def test_a_value_that_is_not_offered_counts_as_not_chosen(self, client: Client, offers: list[Activity]) -> None:
        asked = {"commune": "99999", "univers": "lune", "tri": "prix", "afficher": "1000000", "page": "-3"}
        response = client.get("/activites/", asked)
        assert len(response.context["offers"]) == 4 and "Résultats 1 – 4 sur 4" in text(response)

    def test_what_is_closed_to_the_public_is_not_found(self, client: Client, offers: list[Activity]) -> None:
        Activity.objects.filter(pk=offers[0].pk).update(is_active=False)
        Service.objects.filter(pk=offers[1].service_id).update(is_active=False)
        response = client.get("/activites/")
        assert communes_found(response) == ["Aiguilhe", "Agglomération du Puy-en-Velay"]
        # Nor is its commune among the choices.
        assert "Rosières" not in text(response)

    def test_a_commune_that_offers_nothing_is_told_apart_from_nothing_found(
        self, client: Client, offers: list[Activity]
    ) -> None:
        CommuneFactory(name="Bellevue-la-Montagne")
        words = text(client.get("/activites/", {"q": "bellevue"}))
        assert "Bellevue-la-Montagne ne propose encore rien à réserver en ligne" in words
        assert "Voir les services de l’agglomération" in words
        assert "Aucune activité ne correspond" in text(client.get("/activites/", {"q": "zzz"}))

    def test_within_an_univers(self, client: Client, offers: list[Activity]) -> None:
        assert titles(client.get("/univers/cantines/", {"q": "étude"})) == ["École de Aiguilhe"]
        response = client.get("/univers/cantines/", {"q": "piscine"})
        assert "Aucun service de cet univers" in text(response)
        assert 'href="/activites/?q=piscine"' in response.content.decode()


class TestOrderAndPages:
    def test_tri_par(self, client: Client, offers: list[Activity]) -> None:
        by_name = ["Entrée piscine", "Étude surveillée", "Repas", "Repas"]
        assert titles(client.get("/activites/", {"tri": "nom"})) == by_name  # É beside E
        assert titles(client.get("/activites/", {"tri": "nom-z"}))[::-1] == by_name
        service = offers[0].service
        ActivityFactory(service=service, name="Accueil", position=2)
        page = service.get_absolute_url()
        assert titles(client.get(page)) == ["Repas", "Accueil"]  # as the service has ordered them
        assert titles(client.get(page, {"tri": "nom"})) == ["Accueil", "Repas"]

    def test_results_1_to_12_of_31(self, client: Client) -> None:
        service = ServiceFactory()
        for number in range(31):
            ActivityFactory(service=service, name=f"Atelier {number:02}")
        page = service.get_absolute_url()
        first = client.get(page, {"tri": "nom"})
        assert "Résultats 1 – 12 sur 31" in text(first) and "Il y a 31 produits." in text(first)
        assert 'href="?tri=nom&amp;page=2"' in first.content.decode()  # the order goes along
        assert "Résultats 25 – 31 sur 31" in text(client.get(page, {"page": "3"}))
        assert "Résultats 1 – 31 sur 31" in text(client.get(page, {"afficher": "48"}))

    def test_one_result_is_not_asked_to_be_sorted(self, client: Client) -> None:
        activity = ActivityFactory()
        words = text(client.get(activity.service.get_absolute_url()))
        assert "Il y a 1 produit." in words and "Tri par" not in words
        assert "Résultats" not in words  # said once


class TestCommunes:
    def test_how_much_each_offers(self, client: Client, offers: list[Activity]) -> None:
        ActivityFactory(service=offers[0].service)
        ActivityFactory(service=offers[0].service, is_active=False)
        CommuneFactory(name="Le Brignon")
        response = client.get("/communes/", {"tri": "activites"})
        assert titles(response) == ["Saint-Paulien", "Aiguilhe", "Rosières", "Le Brignon"]
        assert "Saint-Paulien 2 activités" in text(response)
        assert "Le Brignon Rien à réserver en ligne pour l’instant" in text(response)
        assert titles(client.get("/communes/", {"q": "brign"})) == ["Le Brignon"]

    def test_one_commune(self, client: Client, offers: list[Activity]) -> None:
        commune = offers[2].service.commune
        assert commune is not None
        assert titles(client.get(reverse("commune", args=[commune.insee_code]))) == ["Étude surveillée"]
        quiet = CommuneFactory(name="Le Brignon")
        assert "Rien à réserver en ligne dans cette commune" in text(
            client.get(reverse("commune", args=[quiet.insee_code]))
        )
        assert client.get("/communes/00000/").status_code == 404


def test_who_may_book_goes_straight_to_the_calendar(client: Client) -> None:
    shop = open_shop()
    ActivityFactory(name="Sans accès")
    book = f'href="{shop.activity.get_absolute_url()}"'
    assert book not in client.get("/activites/").content.decode()
    client.force_login(shop.user)
    page = client.get("/activites/").content.decode()
    assert page.count("Personnaliser") == 1 and book in page and "Voir le service" in page


@pytest.mark.parametrize("rows", [1, 40])
def test_cost_does_not_follow_what_is_offered(
    client: Client, django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]], rows: int
) -> None:
    category = CategoryFactory()
    for _row in range(rows):
        SlotFactory(activity__service__category=category)
    commune = Service.objects.earliest("pk").commune
    assert commune is not None
    for address, most in (
        ("/activites/?q=a&afficher=48", 7),
        ("/communes/?afficher=48", 3),
        (reverse("commune", args=[commune.insee_code]), 6),
        (f"{category.get_absolute_url()}?afficher=48", 6),
        (Service.objects.earliest("pk").get_absolute_url(), 6),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    "service, commune, said",
    [
        ("Mairie de Rosières – Garderie", "Rosières", "Mairie de Rosières – Garderie"),
        ("Mairie du Puy-en-Velay – Cantine", "Le Puy-en-Velay", "Mairie du Puy-en-Velay – Cantine"),
        ("Garderie", "Rosières", "Garderie (Rosières)"),
        ("Agglomération – Pass’Card", None, "Agglomération – Pass’Card"),
        ("Pass’Card", None, "Pass’Card (Agglomération du Puy-en-Velay)"),
    ],
)
def test_a_service_is_named_with_whose_it_is(service: str, commune: str | None, said: str) -> None:
    owner = CommuneFactory(name=commune) if commune else None
    assert ServiceFactory(name=service, commune=owner).full_name == said


def test_who_decides_on_an_access_is_who_runs_the_service(client: Client) -> None:
    shop = open_shop(days=1)
    client.force_login(shop.user)
    shop.subscription.delete()
    service = shop.activity.service
    assert "La mairie le valide" in text(client.get(service.get_absolute_url()))
    Service.objects.filter(pk=service.pk).update(commune=None)
    said = text(client.get(service.get_absolute_url()))
    (notice,) = re.findall(r"Demandez l’accès pour réserver (.*?) Demander l’accès", said)
    assert "L’agglomération le valide" in notice and "mairie" not in notice
