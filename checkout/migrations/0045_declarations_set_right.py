"""What was declared by mistake is set right for what was ordered: each time is kept."""

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

import portal.common.money


class Migration(migrations.Migration):
    dependencies = [
        ("checkout", "0044_numbers_in_one_spelling"),
        ("services", "0028_nothing_is_no_limit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DeclarationCorrection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateField(verbose_name="commandé à partir du")),
                (
                    "nature",
                    models.CharField(
                        choices=[
                            ("care", "Garde"),
                            ("meal", "Repas"),
                            ("both", "Garde et repas"),
                            ("other", "Autre (trajet, sport, sortie…)"),
                        ],
                        max_length=6,
                        verbose_name="pour les impôts",
                    ),
                ),
                (
                    "meal_price",
                    portal.common.money.MoneyField(
                        decimal_places=2, max_digits=10, null=True, verbose_name="dont repas"
                    ),
                ),
                ("before", models.JSONField(verbose_name="avant")),
                ("lines", models.PositiveIntegerField(verbose_name="lignes corrigées")),
                ("families", models.PositiveIntegerField(verbose_name="familles")),
                ("reason", models.CharField(max_length=200, verbose_name="motif")),
                ("made_at", models.DateTimeField(auto_now_add=True, verbose_name="corrigée le")),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="par",
                    ),
                ),
                (
                    "slot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="declaration_corrections",
                        to="services.slot",
                        verbose_name="type de prestation",
                    ),
                ),
            ],
            options={
                "verbose_name": "correction de déclaration",
                "verbose_name_plural": "corrections de déclarations",
                "ordering": ["-pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="declaration_correction_says_why"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("families__gt", 0), ("lines__gt", 0)),
                        name="declaration_correction_corrects",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("meal_price__gt", 0), ("meal_price__isnull", False), ("nature", "both")),
                            models.Q(("meal_price", None), ("nature__in", ["care", "meal", "other"])),
                            _connector="OR",
                        ),
                        name="declaration_correction_says_what",
                    ),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="declarationcorrection",
            trigger=pgtrigger.compiler.Trigger(
                name="declaration_corrections_are_kept",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="7658a88190441dc7dc7e64cf78d4d4ee1287a8ae",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_declaration_corrections_are_kept_2c768",
                    table="checkout_declarationcorrection",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="declarationcorrection",
            trigger=pgtrigger.compiler.Trigger(
                name="declaration_corrections_are_not_emptied",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION '% is never emptied', TG_TABLE_NAME;",
                    hash="eaba00c5b20fd80050e0855c1d1163d40ad9bb8f",
                    level="STATEMENT",
                    operation="TRUNCATE",
                    pgid="pgtrigger_declaration_corrections_are_not_emptied_8f3e0",
                    table="checkout_declarationcorrection",
                    when="BEFORE",
                ),
            ),
        ),
    ]
