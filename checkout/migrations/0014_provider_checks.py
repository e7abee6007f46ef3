"""What providers answered when they were asked whether they are there."""

from typing import ClassVar

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("checkout", "0013_statements"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="ProviderCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=20, verbose_name="prestataire")),
                ("configured", models.BooleanField(verbose_name="configuré")),
                ("answers", models.BooleanField(verbose_name="répond")),
                ("sentence", models.CharField(max_length=400, verbose_name="réponse")),
                ("asked_at", models.DateTimeField(auto_now_add=True, verbose_name="vérifié le")),
            ],
            options={
                "verbose_name": "vérification d’un moyen de paiement",
                "verbose_name_plural": "moyens de paiement",
                "ordering": ["-asked_at", "-pk"],
            },
        ),
        migrations.AddField(
            model_name="providercheck",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="vérifié par",
            ),
        ),
        migrations.AddIndex(
            model_name="providercheck",
            index=models.Index(fields=["provider", "-asked_at"], name="check_by_provider"),
        ),
        migrations.AddConstraint(
            model_name="providercheck",
            constraint=models.CheckConstraint(
                condition=models.Q(("configured", True), ("answers", False), _connector="OR"),
                name="who_answers_is_configured",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providercheck",
            trigger=pgtrigger.compiler.Trigger(
                name="checks_are_kept",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="3446424a79e2f9baffed3d7b5c4c02d67f0e84d3",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_checks_are_kept_cafdf",
                    table="checkout_providercheck",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providercheck",
            trigger=pgtrigger.compiler.Trigger(
                name="checks_are_not_emptied",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION '% is never emptied', TG_TABLE_NAME;",
                    hash="d8abb41fb9c58e9253fdfe6c2c0bb6d4d013d05a",
                    level="STATEMENT",
                    operation="TRUNCATE",
                    pgid="pgtrigger_checks_are_not_emptied_03422",
                    table="checkout_providercheck",
                    when="BEFORE",
                ),
            ),
        ),
    ]
