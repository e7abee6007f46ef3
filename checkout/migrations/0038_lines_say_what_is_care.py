"""Order lines keep what their price pays for: the new ones say it from now on, 0039 writes it on those of before."""

from typing import ClassVar

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import portal.common.money


class Migration(migrations.Migration):
    dependencies: ClassVar = [("checkout", "0037_slips_written_again")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="orderline",
            name="meal_price",
            field=portal.common.money.MoneyField(decimal_places=2, max_digits=10, null=True, verbose_name="dont repas"),
        ),
        migrations.AddField(
            model_name="orderline",
            name="nature",
            field=models.CharField(
                blank=True,
                choices=[
                    ("care", "Garde"),
                    ("meal", "Repas"),
                    ("both", "Garde et repas"),
                    ("other", "Autre (trajet, sport, sortie…)"),
                ],
                db_default="",
                default="",
                max_length=6,
                verbose_name="pour les impôts",
            ),
        ),
        # Without reading the lines under their lock; 0040 reads them while people buy.
        AddConstraintNotValid(
            model_name="orderline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("meal_price__gt", 0), ("meal_price__isnull", False), ("nature", "both")),
                    models.Q(models.Q(("nature", "both"), _negated=True), ("meal_price", None)),
                    _connector="OR",
                ),
                name="line_with_a_meal_says_its_price",
            ),
        ),
    ]
