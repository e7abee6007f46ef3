"""Money is a Decimal of euros with two places; this is the only place that rounds."""

from decimal import ROUND_HALF_UP, Decimal

from django.db import models

CENT = Decimal("0.01")
ZERO = Decimal("0.00")


def round_cents(amount: Decimal | int) -> Decimal:
    """The amount in euros rounded to the cent, halves away from zero (the rule of French public accounts)."""
    return Decimal(amount).quantize(CENT, rounding=ROUND_HALF_UP)


class MoneyField(models.DecimalField):
    """An amount of euros: 10 digits, 2 of them cents."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["max_digits"] = 10
        kwargs["decimal_places"] = 2
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
