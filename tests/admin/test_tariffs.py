"""Tariff grids in the administration: whole or refused, the bands named."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange

from accounts.models import User
from portal.common.formats import NBSP
from services.models import Tariff, TariffGrid
from tests.admin.test_catalogue import edit, errors, saved
from tests.admin.world import Town, client_of, url
from tests.factories import AccessProfileFactory, OpenDayFactory, SlotFactory, TariffFactory, TariffGridFactory

pytestmark = pytest.mark.django_db


def fares(grid: TariffGrid, *rows: dict[str, str]) -> dict[str, str]:
    """What the page of a grid posts for its first fare and new ones."""
    tariff = grid.tariffs.get()
    values = {"tariffs-TOTAL_FORMS": str(len(rows))}
    for number, row in enumerate(rows):
        offer = {"slot": str(tariff.slot_id), "profile": str(tariff.profile_id)}
        values |= {f"tariffs-{number}-{name}": value for name, value in {**offer, **row}.items()}
    return values


def all_errors(answer: Any) -> str:
    said = errors(answer)
    for inline in answer.context["inline_admin_formsets"]:
        said += str(inline.formset.non_form_errors())
        said += " ".join(text for form in inline.formset.errors for texts in form.values() for text in texts)
    return said.replace(NBSP, " ").replace("\u202f", " ")


@pytest.fixture
def grid(rosieres: Town) -> TariffGrid:
    found: TariffGrid = rosieres.rows["services.tariffgrid"]
    return found


def test_a_grid_of_quotients_is_written_and_read_back(rosieres: Town, grid: TariffGrid) -> None:
    """Coublanc: quotient 0–1000: 1 €, 1001–1500: 3,25 €, above: 3,70 €."""
    client = client_of(rosieres.agent)
    bands = fares(
        grid,
        {"quotient_from": "0", "quotient_to": "1000", "price": "1"},
        {"quotient_from": "1001", "quotient_to": "1500", "price": "3,25"},
        {"quotient_from": "1501", "price": "3,70"},
    )
    saved(edit(client, "services.tariffgrid", grid, **bands))
    stored = [(row.quotient.lower, row.quotient.upper, str(row.price)) for row in grid.tariffs.order_by("price")]
    assert stored == [(None, 1001, "1.00"), (1001, 1501, "3.25"), (1501, None, "3.70")]
    # Moving the edge between two bands, one row after the other, is one change.
    saved(
        edit(
            client, "services.tariffgrid", grid, **{"tariffs-0-quotient_to": "1200", "tariffs-1-quotient_from": "1201"}
        )
    )
    assert grid.tariffs.filter(quotient__contains=1200).get().price == Decimal("1")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [{"quotient_from": "0", "quotient_to": "499", "price": "1"}, {"quotient_from": "499", "price": "2"}],
            "« quotient familial de 0 à 499 » et « quotient familial à partir de 499 » se chevauchent",
        ),
        (
            [
                {"quotient_from": "0", "quotient_to": "499", "price": "1"},
                {"quotient_from": "500", "quotient_to": "4000", "price": "2"},
            ],
            "aucun tarif pour quotient familial à partir de 4 001",
        ),
        ([{"quotient_from": "500", "price": "1"}], "aucun tarif pour quotient familial de 0 à 499"),
        (
            [{"rank_from": "1", "rank_to": "1", "price": "1,90"}, {"rank_from": "2", "price": "1,30"}],
            "comment compter le rang",
        ),
    ],
)
def test_a_grid_with_a_gap_or_an_overlap_is_refused(
    rosieres: Town, grid: TariffGrid, rows: list[dict[str, str]], sentence: str
) -> None:
    before = list(grid.tariffs.values_list("pk", "price"))
    answer = edit(client_of(rosieres.agent), "services.tariffgrid", grid, **fares(grid, *rows))
    assert sentence in all_errors(answer)
    assert list(grid.tariffs.values_list("pk", "price")) == before


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"price": "-1"}, "négatif"),
        ({"price": ""}, "Écrivez un prix, ou un taux d’effort"),
        ({"price": "2", "percent": "0,5", "floor": "1", "ceiling": "6"}, "pas les deux"),
        ({"price": "", "percent": "0,5", "floor": "6", "ceiling": "1"}, "plafond qui n’est pas en dessous"),
        ({"price": "2", "quotient_from": "9", "quotient_to": "5"}, "5 est avant 9"),
        ({"price": "9,50"}, "9,50 € dépasse le coût par usager que la commune a déclaré"),
    ],
)
def test_a_fare_that_is_none(rosieres: Town, grid: TariffGrid, row: dict[str, str], sentence: str) -> None:
    type(rosieres.rows["services.slot"]).objects.update(cost_per_user=Decimal("9"))
    answer = edit(client_of(rosieres.agent), "services.tariffgrid", grid, **fares(grid, row))
    assert sentence in all_errors(answer)


def test_an_effort_rate_is_written_in_percent(rosieres: Town, grid: TariffGrid) -> None:
    row = {"price": "", "percent": "0,5", "floor": "1", "ceiling": "6"}
    saved(edit(client_of(rosieres.agent), "services.tariffgrid", grid, **fares(grid, row)))
    fare = grid.tariffs.get()
    assert (fare.price, fare.rate, fare.floor, fare.ceiling) == (None, Decimal("0.005"), Decimal("1"), Decimal("6"))
    page = client_of(rosieres.agent).get(url("services.tariffgrid", "change", grid.pk))
    assert 'value="0,5"' in page.content.decode()


def test_a_new_grid_says_its_decision_and_leads_to_its_fares(rosieres: Town) -> None:
    client, service = client_of(rosieres.agent), rosieres.rows["services.service"]
    values = {"service": str(service.pk), "name": "Tarifs 2031", "first_day": "01/09/2031", "rank_basis": "present"}
    assert "decision" in errors(client.post(url("services.tariffgrid", "add"), values, follow=True))
    values |= {"decision": "2031-12", "decision_date": "03/06/2031"}
    reversed_dates = {**values, "last_day": "31/08/2031"}
    assert "avant le premier" in errors(client.post(url("services.tariffgrid", "add"), reversed_dates, follow=True))
    answer = client.post(url("services.tariffgrid", "add"), {**values, "last_day": "31/08/2032"}, follow=True)
    grid = TariffGrid.objects.get(name="Tarifs 2031")
    assert grid.valid == DateRange(dt.date(2031, 9, 1), dt.date(2032, 9, 1), "[)")
    assert answer.redirect_chain[-1][0] == url("services.tariffgrid", "change", grid.pk)
    assert answer.context["adminform"].form["last_day"].value() == dt.date(2032, 8, 31)


def test_two_grids_may_not_price_the_same_day(rosieres: Town, grid: TariffGrid) -> None:
    fare = grid.tariffs.get()
    upper = grid.valid.upper
    after = TariffFactory(slot=fare.slot, profile=fare.profile, grid__valid=DateRange(upper, None, "[)")).grid
    answer = edit(
        client_of(rosieres.agent), "services.tariffgrid", after, first_day=f"{upper - dt.timedelta(days=1):%d/%m/%Y}"
    )
    assert "a déjà ces tarifs pendant ces dates" in all_errors(answer)
    # A fare added to a grid whose dates are another's already is refused by the database, in the same words.
    late = TariffGridFactory(service=grid.service, name="Doublon", valid=grid.valid)
    added = {
        "tariffs-TOTAL_FORMS": "1", "tariffs-0-slot": str(fare.slot_id), "tariffs-0-profile": str(fare.profile_id),
        "tariffs-0-price": "5",
    }  # fmt: skip
    answer = edit(client_of(rosieres.agent), "services.tariffgrid", late, **added)
    assert "Une autre grille a déjà un tarif" in all_errors(answer)
    assert not late.tariffs.exists()


def test_fares_are_of_one_service(rosieres: Town, grid: TariffGrid, operator: User) -> None:
    elsewhere = AccessProfileFactory()
    answer = edit(
        client_of(operator), "services.tariffgrid", grid, **fares(grid, {"profile": str(elsewhere.pk), "price": "1"})
    )
    assert "profile" in errors(answer)
    assert Tariff.objects.get(grid=grid).profile.service == grid.service


def test_a_grid_is_carried_over_once(rosieres: Town, aiguilhe: Town, grid: TariffGrid) -> None:
    client, address = client_of(rosieres.agent), url("services.tariffgrid", "carry", grid.pk)
    page = client.get(address)
    first = page.context["form"]["first"].value()
    values = {"name": page.context["form"]["name"].value(), "first": first.isoformat()}
    assert "decision" in client.post(address, values).context["form"].errors
    values |= {"decision": "2027-12", "decision_date": "2027-06-03"}
    answer = client.post(address, values, follow=True)
    after = TariffGrid.objects.get(name=values["name"])
    assert answer.redirect_chain[-1][0] == url("services.tariffgrid", "change", after.pk)
    assert after.tariffs.get().price == grid.tariffs.get().price
    assert (after.decision, after.decision_date) == ("2027-12", dt.date(2027, 6, 3))
    again = client.post(address, {**values, "name": "Encore"})
    assert "ne vaut pas jusqu" in str(again.context["form"].errors) or "a déjà ces tarifs" in str(
        again.context["form"].errors
    )
    assert "déjà une grille" in str(
        client.post(url("services.tariffgrid", "carry", after.pk), {**values, "first": f"{first.year + 1}-09-01"})
        .context["form"]
        .errors
    )
    assert TariffGrid.objects.filter(service=grid.service).count() == 2
    assert client_of(aiguilhe.agent).get(address).status_code == 404


def test_what_is_open_and_has_no_fare_is_told(rosieres: Town, grid: TariffGrid) -> None:
    client, day = client_of(rosieres.agent), rosieres.rows["services.openday"]
    tariff = grid.tariffs.select_related("slot", "profile").get()
    SlotFactory(activity=tariff.slot.activity, name="Goûter")
    OpenDayFactory(activity=tariff.slot.activity, date=day.date + dt.timedelta(days=200))
    last = f"{day.date + dt.timedelta(days=100):%d/%m/%Y}"
    page = edit(client, "services.tariffgrid", grid, last_day=last).content.decode()
    words = page.replace(NBSP, " ").replace("\u202f", " ")
    assert "« Goûter (Repas Rosières) » n’a aucun tarif" in words
    assert f"{tariff.profile} : aucun tarif le" in words
