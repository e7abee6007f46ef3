"""A pack that is offered is of whole euros, 1 000 at most: a credit is one euro."""

from typing import Any

import django.db.models.functions.math
from django.db import migrations, models

import portal.common.money


def withdraw_others(apps: Any, schema_editor: Any) -> None:
    packs = apps.get_model("wallet", "TopUpPack").objects.filter(is_active=True)
    whole = models.Q(amount=django.db.models.functions.math.Floor("amount"), amount__lte=1000)
    packs.exclude(whole).update(is_active=False)


class Migration(migrations.Migration):
    dependencies = [("wallet", "0014_withdrawals_granted")]

    operations = [
        migrations.RunPython(withdraw_others, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="topuppack",
            name="amount",
            field=portal.common.money.MoneyField(
                decimal_places=2,
                error_messages={"unique": "Un pack de ce montant existe déjà : proposez celui-là."},
                max_digits=10,
                unique=True,
                verbose_name="montant",
            ),
        ),
        migrations.AddConstraint(
            model_name="topuppack",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_active", False),
                    models.Q(
                        ("amount", django.db.models.functions.math.Floor("amount")),
                        ("amount__lte", 1000),
                    ),
                    _connector="OR",
                ),
                name="offered_pack_is_of_whole_euros",
            ),
        ),
    ]
