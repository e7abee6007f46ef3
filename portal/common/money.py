"""Money is a Decimal of euros with two places; this is the only place that rounds."""

import re
from decimal import ROUND_HALF_UP, Decimal

from django.db import models

CENT = Decimal("0.01")
ZERO = Decimal("0.00")


def round_cents(amount: Decimal | int) -> Decimal:
    """The amount in euros rounded to the cent, halves away from zero (the rule of French public accounts)."""
    return Decimal(amount).quantize(CENT, rounding=ROUND_HALF_UP)


def plain_amount(text: str) -> str:
    """What somebody typed or pasted, as Decimal reads it: `− 1 234,50 €` becomes `-1234.50`.

    Minus signs of typographers, spaces of every width and a currency's sign are no mistakes of who copies what our own
    pages show. Whatever else is in the text stays there, for the reader to refuse.
    """
    plain = re.sub(r"\s|\u2060|€|(?i:euros?|eur)$", "", text.strip())
    plain = re.sub(r"^[−–—‐‑﹣－]", "-", plain)
    return plain.replace(".", "").replace(",", ".") if "," in plain else plain


def is_number(plain: str) -> bool:
    """Whether a text is digits with one point at most: Decimal would read `1e1` and `NaN` as well."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", plain) is not None


def read_amount(text: str) -> Decimal | None:
    """The amount in euros and whole cents that a text says, below ten million; None for anything else."""
    plain = plain_amount(text)
    if not is_number(plain):
        return None
    amount = Decimal(plain)
    if abs(amount) >= 10**7 or amount != round_cents(amount):
        return None
    return round_cents(amount)


class MoneyField(models.DecimalField):
    """An amount of euros: 10 digits, 2 of them cents."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["max_digits"] = 10
        kwargs["decimal_places"] = 2
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
