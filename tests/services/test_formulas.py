"""From a formula's duration to its dates, and the words for it."""

import datetime as dt

import pytest

from services.formulas import DAY, MONTH, SCHOOL_YEAR, period, validity


def d(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    "count, unit, first, expected",
    [
        (1, DAY, "2026-11-21", ("2026-11-21", "2026-11-22")),
        (7, DAY, "2026-12-28", ("2026-12-28", "2027-01-04")),
        (1, MONTH, "2026-03-14", ("2026-03-14", "2026-04-14")),
        (1, MONTH, "2026-12-05", ("2026-12-05", "2027-01-05")),
        (1, MONTH, "2027-01-31", ("2027-01-31", "2027-03-01")),  # to the last of February
        (1, MONTH, "2028-01-30", ("2028-01-30", "2028-03-01")),
        (3, MONTH, "2026-08-31", ("2026-08-31", "2026-12-01")),
        (12, MONTH, "2028-02-29", ("2028-02-29", "2029-03-01")),
        (24, MONTH, "2026-11-21", ("2026-11-21", "2028-11-21")),
        (1, SCHOOL_YEAR, "2026-11-21", ("2026-11-21", "2027-09-01")),
        (1, SCHOOL_YEAR, "2027-06-30", ("2027-06-30", "2027-09-01")),
        (1, SCHOOL_YEAR, "2027-07-01", ("2027-09-01", "2028-09-01")),  # in summer, the next one
        (1, SCHOOL_YEAR, "2027-09-01", ("2027-09-01", "2028-09-01")),
    ],
)
def test_period(count: int, unit: str, first: str, expected: tuple[str, str]) -> None:
    assert period(count=count, unit=unit, first=d(first)) == (d(expected[0]), d(expected[1]))


@pytest.mark.parametrize(
    "count, unit, words",
    [
        (1, DAY, "valable 1 jour"),
        (3, DAY, "valable 3 jours"),
        (1, MONTH, "valable 1 mois"),
        (6, MONTH, "valable 6 mois"),
        (12, MONTH, "valable 1 an"),
        (24, MONTH, "valable 2 ans"),
        (1, SCHOOL_YEAR, "valable l’année scolaire"),
    ],
)
def test_words(count: int, unit: str, words: str) -> None:
    assert validity(count, unit).replace("\u00a0", " ") == words
