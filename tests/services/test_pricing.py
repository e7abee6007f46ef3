"""Prices of real rule sets, each with the line that explains it."""

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from hypothesis import given
from hypothesis import strategies as st

from portal.common.formats import NBSP
from services.grids import carry_over, faults
from services.models import AccessProfile, Deadline, Slot, Tariff, TariffGrid
from services.pricing import Price, PriceGrid, Situation
from tests.factories import AccessProfileFactory, SlotFactory, TariffFactory, TariffGridFactory

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 12, 9)


def band(first: int | None, last: int | None) -> NumericRange:
    return NumericRange(first, None if last is None else last + 1)


def plain(text: str) -> str:
    return text.replace(NBSP, " ").replace("\u202f", " ")


class Offer:
    """A slot, a situation and its grid, with the fares of a test."""

    def __init__(self, *rows: dict[str, Any], basis: str = "none") -> None:
        self.slot: Slot = SlotFactory(name="Repas")
        service = self.slot.activity.service
        self.profile: AccessProfile = AccessProfileFactory(service=service, label="Résident")
        self.grid: TariffGrid = TariffGridFactory(service=service, rank_basis=basis)
        for row in rows:
            TariffFactory(slot=self.slot, profile=self.profile, grid=self.grid, **row)

    def price(self, **situation: Any) -> Price:
        grid = PriceGrid(profiles=[self.profile], slots=[self.slot])
        found = grid.price(profile_id=self.profile.pk, slot_id=self.slot.pk, date=DAY, situation=Situation(**situation))
        assert found is not None
        return found


COUBLANC = (
    {"quotient": band(0, 1000), "price": Decimal("1.00")},
    {"quotient": band(1001, 1500), "price": Decimal("3.25")},
    {"quotient": band(1501, None), "price": Decimal("3.70")},
)


@pytest.mark.parametrize(
    ("quotient", "price", "words"),
    [
        (0, "1.00", "Repas, Résident, quotient familial de 0 à 1 000 : 1,00 € (délibération n° 2026-45 du 03/06/2026)"),
        (1000, "1.00", "quotient familial de 0 à 1 000"),
        (1001, "3.25", "quotient familial de 1 001 à 1 500 : 3,25 €"),
        (1500, "3.25", "quotient familial de 1 001 à 1 500"),
        (1501, "3.70", "quotient familial à partir de 1 501 : 3,70 €"),
        (9000, "3.70", "quotient familial à partir de 1 501"),
        (None, "3.70", "quotient familial à partir de 1 501, quotient familial non connu : 3,70 €"),
    ],
)
def test_coublanc(quotient: int | None, price: str, words: str) -> None:
    """Règlement of Coublanc: quotient 0–1000: 1 €, 1001–1500: 3,25 €, above: 3,70 €; no quotient: the top band."""
    found = Offer(*COUBLANC).price(quotient=quotient)
    assert found.amount == Decimal(price)
    assert words in plain(found.words)


@pytest.mark.parametrize(
    ("ranks", "price", "words"),
    [
        ({"present": 1}, "1.90", "1er enfant présent le même jour : 1,90 €"),
        ({"present": 2}, "1.30", "2e enfant présent le même jour et les suivants : 1,30 €"),
        ({"present": 4}, "1.30", "2e enfant présent le même jour et les suivants"),
        ({"declared": 2}, "1.90", "1er enfant"),  # this grid does not count those
        ({}, "1.90", "1er enfant"),
    ],
)
def test_ranks(ranks: dict[str, int], price: str, words: str) -> None:
    """Garderie: 1,90 € for the first child, 1,30 € for those after."""
    offer = Offer(
        {"rank": band(1, 1), "price": Decimal("1.90")},
        {"rank": band(2, None), "price": Decimal("1.30")},
        basis="present",
    )
    found = offer.price(ranks=ranks)
    assert found.amount == Decimal(price)
    assert words in plain(found.words)


@pytest.mark.parametrize(
    ("quotient", "price", "words"),
    [
        (820, "4.10", "quotient 820 × 0,5 % = 4,10 € (de 1,00 € à 6,00 €)"),
        (821, "4.11", "= 4,11 €"),  # 4,105: halves away from zero
        (100, "1.00", "= 0,50 €, relevé au plancher de 1,00 €"),
        (5000, "6.00", "= 25,00 €, ramené au plafond de 6,00 €"),
        (None, "6.00", "plafond de : 0,5 % du quotient familial, de 1,00 € à 6,00 € (quotient familial non connu)"),
    ],
)
def test_effort_rate(quotient: int | None, price: str, words: str) -> None:
    share = {"price": None, "rate": Decimal("0.005"), "floor": Decimal("1"), "ceiling": Decimal("6")}
    found = Offer(share).price(quotient=quotient)
    assert found.amount == Decimal(price)
    assert words in plain(found.words)


def test_ages_and_an_unknown_age() -> None:
    offer = Offer({"age": band(None, 5), "price": Decimal("8")}, {"age": band(6, None), "price": Decimal("10")})
    assert offer.price(age=5).amount == Decimal("8")
    assert offer.price(age=6).amount == Decimal("10")
    assert "à partir de 6 ans" in offer.price(age=6).words
    assert offer.price().amount == Decimal("10")  # what is not known never makes it cheaper


@pytest.mark.parametrize(
    ("surcharge", "amount", "price", "words"),
    [
        ("times", "2", "7.80", "réservation tardive au double du prix : 7,80 €"),  # Bas-en-Basset
        ("times", "1.5", "5.85", "réservation tardive à 1,5 fois le prix : 5,85 €"),
        ("added", "1", "4.90", "réservation tardive avec un supplément de 1,00 € : 4,90 €"),
        ("fixed", "6", "6.00", "réservation tardive au prix de 6,00 € : 6,00 €"),
        ("fixed", "3", "3.90", "réservation tardive, sans majoration"),  # never cheaper than in time
        ("", None, "3.90", "réservation tardive, sans majoration"),
    ],
)
def test_late(surcharge: str, amount: str | None, price: str, words: str) -> None:
    rule = Deadline(surcharge=surcharge, surcharge_amount=Decimal(amount) if amount else None)
    found = Offer({"price": Decimal("3.90")}).price().late(rule)
    assert (found.amount, found.base) == (Decimal(price), Decimal("3.90"))
    assert plain(found.words).endswith(words)


def test_not_sold_outside_of_its_dates() -> None:
    offer = Offer({"price": Decimal("3.90")})
    TariffGrid.objects.update(valid=DateRange(dt.date(2026, 9, 1), DAY, "[)"))
    grid = PriceGrid(profiles=[offer.profile], slots=[offer.slot])
    asked = {"profile_id": offer.profile.pk, "slot_id": offer.slot.pk}
    assert grid.price(**asked, date=DAY) is None
    assert grid.price(**asked, date=DAY - dt.timedelta(days=1)) is not None


# --- Grids -------------------------------------------------------------------------------------------------------------


def fares(*bands: tuple[str, int | None, int | None]) -> list[Tariff]:
    slot, profile = Slot(pk=1, name="Repas"), AccessProfile(pk=1, label="Résident")
    return [Tariff(slot=slot, profile=profile, **{name: band(first, last)}) for name, first, last in bands]


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (fares(("quotient", 0, 1000), ("quotient", 1001, None)), []),
        (fares(("quotient", None, 1000), ("quotient", 1001, None)), []),
        (fares(("rank", 1, 1), ("rank", 2, None)), []),
        (fares(("age", 3, 5), ("age", 6, 12)), []),  # the activity's own limits say the rest
        (
            fares(("quotient", 0, 499), ("quotient", 499, 4000)),
            [
                "« Repas, Résident » : « quotient familial de 0 à 499 » et « quotient familial de 499 à 4 000 » se chevauchent.",
                "« Repas, Résident » : aucun tarif pour quotient familial à partir de 4 001.",
            ],
        ),
        (
            fares(("quotient", 0, 400), ("quotient", 600, None)),
            ["« Repas, Résident » : aucun tarif pour quotient familial de 401 à 599."],
        ),
        (fares(("rank", 2, None)), ["« Repas, Résident » : aucun tarif pour rang 1."]),
        (fares(("age", 3, 5), ("age", 7, 12)), ["« Repas, Résident » : aucun tarif pour 6 ans."]),
    ],
)
def test_faults_name_the_bands(rows: list[Tariff], sentences: list[str]) -> None:
    assert [plain(text) for text in faults(rows, rank_basis="present")] == sentences


@pytest.mark.parametrize(
    ("rows", "ages", "missing"),
    [
        (fares(("age", 3, 5)), (3, 12), ["6 à 12 ans"]),
        (fares(("age", 3, 5), ("age", 6, 12)), (3, 12), []),
        (fares(("age", 3, 5), ("age", 6, None)), (4, 12), []),
        (fares(("age", 3, 5)), (None, None), ["de 0 à 2 ans", "à partir de 6 ans"]),
        (fares(("quotient", 0, None)), (3, 12), []),
        (fares(("age", 3, 12), ("age", 14, 18)), (3, 12), []),
    ],
)
def test_every_age_that_may_come_has_a_fare(
    rows: list[Tariff], ages: tuple[int | None, int | None], missing: list[str]
) -> None:
    found = [text.replace("\xa0", " ") for text in faults(rows, rank_basis="none", ages={1: ages})]
    assert len(found) == len(missing)
    assert all(text.endswith(f"{words}.") for text, words in zip(found, missing, strict=True))


def test_two_dimensions_have_their_gap_named() -> None:
    slot, profile = Slot(pk=1, name="Repas"), AccessProfile(pk=1, label="Résident")
    rows = [
        Tariff(slot=slot, profile=profile, quotient=band(0, 999), rank=band(1, 1)),
        Tariff(slot=slot, profile=profile, quotient=band(0, 999), rank=band(2, None)),
        Tariff(slot=slot, profile=profile, quotient=band(1000, None), rank=band(1, 1)),
    ]
    (sentence,) = faults(rows, rank_basis="declared")
    assert plain(sentence).endswith("aucun tarif pour rang à partir de 2 et quotient familial à partir de 1 000.")


@given(cuts=st.lists(st.integers(1, 3000), unique=True, max_size=6), drop=st.integers(0, 6), grow=st.integers(0, 6))
def test_any_partition_is_whole_and_any_change_of_it_is_not(cuts: list[int], drop: int, grow: int) -> None:
    """Against the obvious reference: each quotient of 0…3200 belongs to exactly one band."""
    edges = [0, *sorted(cuts)]
    bands = [(edge, after - 1) for edge, after in itertools.pairwise(edges)] + [(edges[-1], None)]
    changed: list[tuple[int, int | None]] = [row for index, row in enumerate(bands) if index != drop]
    if grow < len(changed) and changed[grow][1] is not None:
        changed[grow] = (changed[grow][0], changed[grow][1] + 1)  # type: ignore[operator]
    for rows in (bands, changed):
        if not rows:
            continue
        counts = {sum(a <= value and (b is None or value <= b) for a, b in rows) for value in range(3200)}
        found = faults(fares(*(("quotient", a, b) for a, b in rows)), rank_basis="none")
        assert (found == []) == (counts == {1})


def test_a_grid_is_carried_over() -> None:
    offer = Offer(*COUBLANC)
    first = dt.date(DAY.year + 1, 9, 1)
    vote = {"decision": "2027-12", "decision_date": dt.date(2027, 6, 3)}
    after = carry_over(grid=offer.grid, name="Tarifs suivants", first=first, **vote)
    offer.grid.refresh_from_db()
    assert offer.grid.valid.upper == first == after.valid.lower
    assert [str(row.price) for row in after.tariffs.order_by("price")] == ["1.00", "3.25", "3.70"]
    assert {row.valid for row in after.tariffs.all()} == {after.valid}


# --- The database ------------------------------------------------------------------------------------------------------


def refused(**fields: Any) -> str:
    offer = Offer({"price": Decimal("3.90")})
    other = SlotFactory(activity=offer.slot.activity, name="Goûter")
    Slot.objects.update(cost_per_user=Decimal("9"))
    fields = {"slot": offer.slot if fields.pop("again", False) else other, **fields}
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        TariffFactory(**{"profile": offer.profile, "grid": offer.grid, **fields})
    return str(caught.value)


def test_the_database_refuses_what_no_grid_may_hold() -> None:
    assert "one_price_at_a_time" in refused(again=True, quotient=band(10, 20))
    assert "price_or_share_of_the_quotient" in refused(price=None)
    assert "fare_is_for_somebody" in refused(rank=NumericRange(empty=True))
    assert "one service" in refused(profile=AccessProfileFactory())
    assert "above the cost" in refused(price=Decimal("9.01"))
    share = {"price": None, "rate": Decimal("0.01"), "floor": Decimal("1"), "ceiling": Decimal("10")}
    assert "above the cost" in refused(**share)


def test_a_cost_below_the_fares_in_force_is_refused() -> None:
    offer = Offer({"price": Decimal("3.90")})
    Slot.objects.update(cost_per_user=Decimal("3.90"))
    with pytest.raises(DatabaseError, match="above this cost"), transaction.atomic():
        Slot.objects.update(cost_per_user=Decimal("3.89"))
    TariffGrid.objects.filter(pk=offer.grid.pk).update(valid=DateRange(dt.date(2020, 9, 1), dt.date(2021, 9, 1), "[)"))
    Slot.objects.update(cost_per_user=Decimal("3.89"))  # what was charged then is history


def test_fares_carry_their_grids_dates_whatever_is_written() -> None:
    offer = Offer({"price": Decimal("3.90")})
    later = DateRange(dt.date(2027, 9, 1), None, "[)")
    TariffGrid.objects.update(valid=later)
    assert Tariff.objects.get().valid == later
    Tariff.objects.update(valid=DateRange(dt.date(2020, 1, 1), None, "[)"))
    assert Tariff.objects.get().valid == later
    assert offer.grid.pk
