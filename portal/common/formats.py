"""How French people write amounts, days and moments. Plain Python: a school year on one page formats 365 days."""

import datetime as dt
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
NBSP = "\u00a0"
WEEKDAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
MONTHS = (
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
)


def now() -> dt.datetime:
    """This moment, in Paris time."""
    return dt.datetime.now(tz=PARIS)


def today() -> dt.date:
    """The date in Paris."""
    return now().date()


def euros(amount: Decimal | None) -> str:
    """`31,60 €`, `1 234,50 €`, `−4,00 €`; an empty text for None."""
    if amount is None:
        return ""
    text = f"{abs(amount):,.2f}".replace(",", "\u202f").replace(".", ",")
    return f"{'−' if amount < 0 else ''}{text}{NBSP}€"


def thousands(number: int) -> str:
    """`1 500`."""
    return f"{number:,}".replace(",", "\u202f")


def day(date: dt.date) -> str:
    """`mercredi 14 juin`."""
    return f"{WEEKDAYS[date.weekday()]} {_day_number(date)} {MONTHS[date.month - 1]}"


def long_date(date: dt.date) -> str:
    """`mercredi 14 juin 2023`."""
    return f"{day(date)} {date.year}"


def dated(date: dt.date) -> str:
    """`mercredi 14 juin`, with its year when that is not this one."""
    return day(date) if date.year == today().year else long_date(date)


def short_date(date: dt.date) -> str:
    """`14/06/2023`."""
    return f"{date:%d/%m/%Y}"


def period_words(period: Any) -> str:
    """`du 01/09/2026 au 31/08/2027` of a range of dates, whose last day is shown as included."""
    first = short_date(period.lower) if period.lower else "…"
    last = short_date(period.upper - dt.timedelta(days=1)) if period.upper else "…"
    return f"du {first} au {last}"


def month(date: dt.date) -> str:
    """`Juin 2023`."""
    return f"{MONTHS[date.month - 1].capitalize()} {date.year}"


def of_month(date: dt.date, *, year: bool = True) -> str:
    """`de juin 2023`, `d’avril 2023`."""
    name = MONTHS[date.month - 1]
    words = f"d’{name}" if name[0] in "ao" else f"de {name}"
    return f"{words} {date.year}" if year else words


def hour(time: dt.time) -> str:
    """`12 h`, `7 h 30`."""
    return f"{time.hour}{NBSP}h" + (f"{NBSP}{time.minute:02}" if time.minute else "")


def moment(when: dt.datetime) -> str:
    """`jeudi 26 novembre à 12 h`, in Paris time."""
    local = when.astimezone(PARIS)
    return f"{day(local.date())} à {hour(local.time())}"


def enumeration(items: Iterable[str]) -> str:
    """`a`, `a et b`, `a, b et c`."""
    words = list(items)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} et {words[-1]}"


def shortened(text: str, most: int) -> str:
    """The text in `most` characters at most: « … » stands for words of its middle, since dates and names come last."""
    if len(text) <= most:
        return text
    last = most * 7 // 10
    first = most - last - len(" … ")
    # With one character more, which shows whether the word beside it is whole.
    head, tail = text[: first + 1].rpartition(" ")[0], text[-last - 1 :].partition(" ")[2]
    return f"{head or text[:first]} … {tail or text[-last:]}"


def sort_key(text: str) -> str:
    """The text without accents, marks and case, for sorting and searching names as a French reader expects."""
    decomposed = unicodedata.normalize("NFKD", text.replace("œ", "oe").replace("Œ", "OE"))
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(plain.replace("’", " ").replace("'", " ").replace("-", " ").lower().split())


def of(name: str) -> str:
    """`de Rosières`, `d’Aiguilhe`, `du Puy-en-Velay`, `des Estables`."""
    for article, short in (("Le ", "du "), ("Les ", "des ")):
        if name.startswith(article):
            return short + name.removeprefix(article)
    return f"d’{name}" if sort_key(name)[:1] in tuple("aeiouh") else f"de {name}"


def _day_number(date: dt.date) -> str:
    return "1er" if date.day == 1 else str(date.day)
