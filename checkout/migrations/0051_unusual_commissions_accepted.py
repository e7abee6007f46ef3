"""What somebody answered for stands with each file; of those of before nothing was asked, and the rule looks at new ones."""

from decimal import Decimal

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("checkout", "0050_numbers_by_letters_and_digits"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="settlement",
            name="settlement_is_frozen",
        ),
        migrations.AddField(
            model_name="settlement",
            name="accepted_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="commissions acceptées par",
            ),
        ),
        migrations.AddField(
            model_name="settlement",
            name="accepted_fees",
            field=models.DecimalField(
                db_default=Decimal("0.00"),
                decimal_places=2,
                default=Decimal("0.00"),
                max_digits=12,
                verbose_name="commissions acceptées",
            ),
        ),
        migrations.AddField(
            model_name="settlement",
            name="accepted_gross",
            field=models.DecimalField(
                db_default=Decimal("0.00"),
                decimal_places=2,
                default=Decimal("0.00"),
                max_digits=12,
                verbose_name="brut de ces lignes",
            ),
        ),
        migrations.AddField(
            model_name="settlement",
            name="accepted_lines",
            field=models.PositiveIntegerField(db_default=0, default=0, verbose_name="lignes de commission acceptées"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="settlement",
            trigger=pgtrigger.compiler.Trigger(
                name="unusual_commissions_are_accepted",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    IF (NEW.accepted_lines, NEW.accepted_fees, NEW.accepted_gross) <> (\n        SELECT count(*), coalesce(sum(abs(fee)), 0), coalesce(sum(abs(gross)), 0)\n        FROM jsonb_to_recordset(NEW.matched) AS line(gross numeric, fee numeric)\n        WHERE abs(fee) > least(abs(gross), abs(gross) * 0.05 + 0.50)\n    ) THEN\n        RAISE EXCEPTION 'checkout_settlement: nobody has accepted these commissions'\n            USING ERRCODE = 'integrity_constraint_violation';\n    END IF;\n    RETURN NEW;\n",
                    hash="574559398195ee4166c445f923b5bf4b7fc218af",
                    operation="INSERT",
                    pgid="pgtrigger_unusual_commissions_are_accepted_40f9e",
                    table="checkout_settlement",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="settlement",
            trigger=pgtrigger.compiler.Trigger(
                name="settlement_is_frozen",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."provider" IS DISTINCT FROM (NEW."provider") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."sha256" IS DISTINCT FROM (NEW."sha256") OR OLD."lines" IS DISTINCT FROM (NEW."lines") OR OLD."gross" IS DISTINCT FROM (NEW."gross") OR OLD."fees" IS DISTINCT FROM (NEW."fees") OR OLD."differences" IS DISTINCT FROM (NEW."differences") OR OLD."matched" IS DISTINCT FROM (NEW."matched") OR OLD."accepted_lines" IS DISTINCT FROM (NEW."accepted_lines") OR OLD."accepted_fees" IS DISTINCT FROM (NEW."accepted_fees") OR OLD."accepted_gross" IS DISTINCT FROM (NEW."accepted_gross") OR OLD."accepted_by_id" IS DISTINCT FROM (NEW."accepted_by_id") OR OLD."imported_at" IS DISTINCT FROM (NEW."imported_at") OR OLD."imported_by_id" IS DISTINCT FROM (NEW."imported_by_id"))',
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
                    hash="992ac04f8ab6b0b37b2002b8c609b87daed27010",
                    operation="UPDATE",
                    pgid="pgtrigger_settlement_is_frozen_8e245",
                    table="checkout_settlement",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="settlement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("accepted_by", None), ("accepted_lines", 0)),
                    models.Q(("accepted_by__isnull", False), ("accepted_lines__gt", 0)),
                    _connector="OR",
                ),
                name="accepted_commissions_are_signed",
            ),
        ),
    ]
