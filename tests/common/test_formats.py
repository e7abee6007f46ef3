"""How French people write amounts, days and moments."""

import datetime as dt
from decimal import Decimal

import pytest
from django.template import Context, Template

from portal.common import formats
from portal.common.formats import NBSP, PARIS


def test_a_long_text_keeps_how_it_begins_and_ends() -> None:
    text = "Fermeture : " + "grève du personnel " * 9 + "communal, mardi 22 décembre 2026 (Louane et Maximilien)"
    short = formats.shortened(text, 160)
    assert len(short) <= 160 and short.count(" … ") == 1
    head, tail = short.split(" … ")
    assert text.startswith(f"{head} ") and text.endswith(f" {tail}") and len(short) > 140
    for most in (10, 20, 159, 160, 161, len(text) - 1):
        assert len(formats.shortened(text, most)) <= most
        assert formats.shortened("x" * 400, most)[-2:] == "xx" and len(formats.shortened("x" * 400, most)) == most
    assert formats.shortened(text, len(text)) == text


@pytest.mark.parametrize(
    "amount, text",
    [("31.60", "31,60 €"), ("0", "0,00 €"), ("-4", "−4,00 €"), ("1234.5", "1\u202f234,50 €"), ("0.01", "0,01 €")],
)
def test_euros(amount: str, text: str) -> None:
    assert formats.euros(Decimal(amount)) == text.replace(" €", f"{NBSP}€")


def test_no_amount_is_no_text() -> None:
    assert formats.euros(None) == ""


@pytest.mark.parametrize(
    "name, words", [("Élodie", "d’Élodie"), ("Hugo", "d’Hugo"), ("Zoé", "de Zoé"), ("Le Brignon", "du Brignon")]
)
def test_of_whom(name: str, words: str) -> None:
    assert formats.of(name) == words == Template("{{ name|of }}").render(Context({"name": name}))


def test_dates() -> None:
    date = dt.date(2026, 12, 9)
    assert formats.day(date) == "mercredi 9 décembre"
    assert formats.long_date(date) == "mercredi 9 décembre 2026"
    assert formats.short_date(date) == "09/12/2026"
    assert formats.month(date) == "Décembre 2026"
    assert formats.day(dt.date(2026, 12, 1)) == "mardi 1er décembre"


@pytest.mark.parametrize(
    "moment, text",
    [
        (dt.datetime(2026, 11, 26, 12, tzinfo=PARIS), "jeudi 26 novembre à 12 h"),
        (dt.datetime(2026, 11, 26, 11, 5, tzinfo=dt.UTC), "jeudi 26 novembre à 12 h 05"),
        (dt.datetime(2026, 7, 1, 22, 30, tzinfo=dt.UTC), "jeudi 2 juillet à 0 h 30"),
    ],
)
def test_a_moment_is_said_in_paris_time(moment: dt.datetime, text: str) -> None:
    assert formats.moment(moment).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    "items, text", [([], ""), (["a"], "a"), (["a", "b"], "a et b"), (["a", "b", "c"], "a, b et c")]
)
def test_enumeration(items: list[str], text: str) -> None:
    assert formats.enumeration(items) == text


def test_names_sort_as_a_reader_expects() -> None:
    names = ["Vorey", "Saint-Étienne-Lardeyrol", "Étival", "Le Brignon", "Saint-Geneys", "Fœtz"]
    assert sorted(names, key=formats.sort_key) == [
        "Étival",
        "Fœtz",
        "Le Brignon",
        "Saint-Étienne-Lardeyrol",
        "Saint-Geneys",
        "Vorey",
    ]
