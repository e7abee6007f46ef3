"""What the server's environment said of the régie until now becomes its row: read once, here, and never again."""

import os
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import migrations
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException


def found_in_the_environment() -> dict[str, Any]:
    """The fields that a variable was set for; what cannot be read is left out rather than keeping the site from starting."""
    fields: dict[str, Any] = {}
    said = {name: os.environ.get(name, "").strip() for name in _READ}
    if said["CARD_REFUNDS"]:
        fields["card_refunds"] = said["CARD_REFUNDS"].lower() in {"on", "true", "yes", "1", "oui"}
    try:
        percent = Decimal(said["REMITTANCE_FEE_BASIS_POINTS"] or 0) / 100
    except InvalidOperation:
        percent = Decimal(0)
    if 0 < percent <= 10:
        fields["remittance_percent"] = percent
    for name, kind in (("IBAN", IBAN), ("BIC", BIC)):
        if said[f"REGIE_{name}"]:
            try:
                fields[name.lower()] = str(kind(said[f"REGIE_{name}"]).compact)
            except SchwiftyException:
                continue
    return fields


_READ = ("CARD_REFUNDS", "REMITTANCE_FEE_BASIS_POINTS", "REGIE_IBAN", "REGIE_BIC")


def take_over(apps: Any, schema_editor: Any) -> None:
    """Write them into the régie, made here where no paper has made it yet."""
    fields = found_in_the_environment()
    if not fields:
        return
    Regie = apps.get_model("checkout", "Regie")
    row = Regie.objects.order_by("pk").first() or Regie(code="regie")
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()


class Migration(migrations.Migration):
    dependencies = [
        ("checkout", "0024_rules_of_the_regie"),
    ]

    operations = [
        migrations.RunPython(take_over, migrations.RunPython.noop, elidable=True),
    ]
