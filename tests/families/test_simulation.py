"""« Simulation des tarifs »: anonymous or signed in, with the line that explains each price."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.test import Client
from django.utils import timezone

from families import simulation_views
from families.models import IncomeQuotient
from portal.common.formats import today
from services.models import OpenDay, Tariff, TariffGrid
from services.school_calendar import school_year
from services.simulation import Child, simulate
from tests.factories import (
    EntriesFactory,
    FiliationFactory,
    OpenDayFactory,
    QuotientFactory,
    SubscriptionFactory,
    TariffFactory,
    UserFactory,
    only_open,
)

pytestmark = pytest.mark.django_db
FIRST, LAST = school_year(today())


@pytest.fixture
def tariff() -> Tariff:
    """Garderie: 1,90 € for the first child present, 1,30 € after; open ten Mondays and ten Tuesdays of the year."""
    found: Tariff = TariffFactory(price=Decimal("1.90"), rank=NumericRange(None, 2))
    TariffFactory(
        slot=found.slot, profile=found.profile, grid=found.grid, price=Decimal("1.30"), rank=NumericRange(2, None)
    )
    only_open(found.slot.activity, [0, 1])
    TariffGrid.objects.update(rank_basis="present", valid=DateRange(FIRST, None))
    monday = FIRST + dt.timedelta(days=-FIRST.weekday() % 7)
    for week in range(10):
        for day in (0, 1):
            OpenDayFactory(activity=found.slot.activity, date=monday + dt.timedelta(days=7 * week + day))
    return found


def test_two_children_on_their_own_days(tariff: Tariff) -> None:
    found = simulate(
        slot=tariff.slot, profile=tariff.profile, quotient=None, first=FIRST, last=LAST,
        children=[Child("Louane", 8, [0, 1]), Child("Théo", 11, [0])],
    )  # fmt: skip
    louane, theo = found.bills
    assert [(row.count, str(row.price)) for row in theo.prices] == [(10, "1.90")]
    assert sorted((row.count, str(row.price)) for row in louane.prices) == [(10, "1.30"), (10, "1.90")]
    assert (found.count, found.total) == (30, Decimal("51.00"))
    assert sum(row.total for row in found.months) == found.total
    assert max(row.share for row in found.months) == 100
    assert found.average == (found.total / sum(row.count > 0 for row in found.months)).quantize(Decimal("0.01"))


def test_closed_days_and_other_years_do_not_count(tariff: Tariff) -> None:
    OpenDay.objects.filter(date__week_day=2).update(is_open=False, closed_reason="Grève")
    children = [Child("Louane", 8, [0, 1])]
    found = simulate(slot=tariff.slot, profile=tariff.profile, quotient=None, first=FIRST, last=LAST, children=children)
    assert found.count == 10
    next_year = simulate(
        slot=tariff.slot, profile=tariff.profile, quotient=None, first=LAST + dt.timedelta(days=1),
        last=LAST + dt.timedelta(days=300), children=children,
    )  # fmt: skip
    assert (next_year.count, next_year.total, next_year.average) == (0, Decimal("0.00"), Decimal("0.00"))


def address(tariff: Tariff) -> str:
    return f"/services/{tariff.slot.activity.service.slug}/simulation/"


def ask(tariff: Tariff, **values: Any) -> dict[str, Any]:
    return {"slot": tariff.slot.pk, "profile": tariff.profile.pk, "age_1": "8", "days_1": ["0", "1"], **values}


def test_a_visitor_asks_without_an_account(client: Client, tariff: Tariff) -> None:
    assert "Âge de l’enfant 1" in client.get(address(tariff)).content.decode()
    page = client.get(address(tariff), ask(tariff, age_2="11", days_2=["0"])).content.decode().replace("\xa0", " ")
    assert "51,00 €" in page and "présent le même jour" in page and "délibération n° 2026-45" in page


@pytest.mark.parametrize(("name", "words"), [("Chloé", "Âge de Chloé"), ("Hugo", "Âge d’Hugo")])
def test_a_family_finds_its_children_and_its_quotient(client: Client, tariff: Tariff, name: str, words: str) -> None:
    user = UserFactory()
    FiliationFactory(user=user, beneficiary__first_name=name)
    QuotientFactory(
        user=user, value=743, status=IncomeQuotient.Status.VALIDATED, decided_at=timezone.now(), decided_by=user
    )
    SubscriptionFactory(user=user, profile=tariff.profile)
    Tariff.objects.update(quotient=NumericRange(0, None))
    client.force_login(user)
    page = client.get(address(tariff)).content.decode()
    assert words in page and "743" in page


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"days_1": []}, "Cochez au moins un jour"),
        ({"age_1": "huit"}, "Écrivez l’âge en années"),
        ({"slot": "999999"}, "Cette prestation n’est plus proposée"),
        ({"profile": "999999"}, "Cette situation n’est plus proposée"),
        ({"year": "1999"}, "Choisissez l’une des années"),
        ({"slot": "\x00"}, "Prestation"),
        ({"days_1": ["9"]}, "Jours"),
        ({"age_1": "9" * 40}, "Âge"),
    ],
)
def test_what_makes_no_sense_is_said(client: Client, tariff: Tariff, values: dict[str, Any], sentence: str) -> None:
    page = client.get(address(tariff), ask(tariff, **values))
    assert page.status_code == 422 and sentence in page.content.decode()
    assert "Ce que cela coûterait" not in page.content.decode()


def test_nothing_open_is_said(client: Client, tariff: Tariff) -> None:
    OpenDay.objects.all().delete()
    assert "Aucune place à ces dates" in client.get(address(tariff), ask(tariff)).content.decode()


def test_a_closed_service_has_no_simulation(client: Client, tariff: Tariff) -> None:
    type(tariff.slot.activity.service).objects.update(is_active=False)
    assert client.get(address(tariff)).status_code == 404


def test_the_cost_does_not_grow_with_the_days(
    client: Client, tariff: Tariff, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        client.get(address(tariff), ask(tariff))
    for number in range(30):
        OpenDayFactory(activity=tariff.slot.activity, date=FIRST + dt.timedelta(days=150 + number))
    with django_assert_max_num_queries(12):
        client.get(address(tariff), ask(tariff))


def test_a_quotient_is_written_with_spaces_and_asked_for_only_where_it_counts(client: Client, tariff: Tariff) -> None:
    assert "Quotient familial" not in client.get(address(tariff)).content.decode()
    Tariff.objects.filter(rank=NumericRange(None, 2)).update(quotient=NumericRange(None, 1001))
    TariffFactory(
        slot=tariff.slot, profile=tariff.profile, grid=tariff.grid, rank=NumericRange(None, 2), price=Decimal("3.70"),
        quotient=NumericRange(1001, None),
    )  # fmt: skip
    assert "Quotient familial" in client.get(address(tariff)).content.decode()
    for typed, total in (("820", "38,00"), ("1 200", "74,00"), ("1\u202f200", "74,00"), ("", "74,00")):
        page = client.get(address(tariff), ask(tariff, quotient=typed))
        assert page.status_code == 200 and f"{total}\xa0€" in page.content.decode(), typed
    page = client.get(address(tariff), ask(tariff, quotient="8,5"))
    assert page.status_code == 422 and "nombre entier" in page.content.decode()


def test_who_may_not_come_is_told_so_and_not_priced(client: Client, tariff: Tariff) -> None:
    """Nor do they make a brother or sister cheaper."""
    type(tariff.slot.activity).objects.update(min_age=3, max_age=12)
    page = client.get(address(tariff), ask(tariff, age_2="13", days_2=["0", "1"]))
    words = page.content.decode().replace("\xa0", " ")
    assert "Réservé aux enfants de 3 à 12 ans." in words and "pas de place" in words
    assert page.context["answer"].total == Decimal("38.00")
    alone = client.get(address(tariff), ask(tariff, age_1="13")).content.decode().replace("\xa0", " ")
    assert "Aucune place à ces dates" in alone and "réservé aux enfants de 3 à 12 ans" in alone


def test_the_school_of_a_child_of_the_family_counts(client: Client, tariff: Tariff) -> None:
    user = UserFactory()
    FiliationFactory(user=user)
    type(tariff.slot.activity).objects.update(levels=["cm2"])
    client.force_login(user)
    page = client.get(address(tariff), ask(tariff)).content.decode().replace("\xa0", " ")
    assert "n’est pas déclarée" in page and "Aucune place à ces dates" in page


def test_declared_children_count_even_without_a_day(tariff: Tariff) -> None:
    TariffGrid.objects.update(rank_basis="declared")
    found = simulate(
        slot=tariff.slot, profile=tariff.profile, quotient=None, first=FIRST, last=LAST,
        children=[Child("Louane", 8, [0]), Child("Théo", 11, [])],
    )  # fmt: skip
    (bill,) = found.bills
    assert [(row.count, str(row.price)) for row in bill.prices] == [(10, "1.30")]


def test_the_next_year_is_asked_for_by_its_name(client: Client, tariff: Tariff) -> None:
    year = FIRST.year
    OpenDayFactory(activity=tariff.slot.activity, date=LAST + dt.timedelta(days=7 - LAST.weekday()))
    page = client.get(address(tariff), ask(tariff, year=str(year + 1)))
    assert page.context["answer"].count == 1 and f"{year + 1}-{year + 2}" in page.content.decode()
    assert f"annee={year + 1}" in page.content.decode()


@pytest.mark.parametrize(
    "date, years", [("2026-11-21", [2026, 2027]), ("2027-06-30", [2026, 2027]), ("2027-07-01", [2027]), ("2027-09-01", [2027, 2028])]
)  # fmt: skip
def test_in_summer_one_asks_for_the_next_year(monkeypatch: pytest.MonkeyPatch, date: str, years: list[int]) -> None:
    monkeypatch.setattr(simulation_views, "today", lambda: dt.date.fromisoformat(date))
    assert simulation_views.simulated_years() == years


def test_tickets_and_passes_show_their_prices(client: Client) -> None:
    fare = TariffFactory(slot=EntriesFactory(), price=Decimal("5.50"))
    page = client.get(address(fare)).content.decode().replace("\xa0", " ")
    assert "Billets et abonnements" in page and "5,50 €" in page and str(fare.profile) in page
    assert "n’a pas encore publié" not in page and "Calculer" not in page
