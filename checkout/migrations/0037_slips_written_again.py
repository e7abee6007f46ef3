"""A slip is written again once its deposit was taken back: its editions; a receipt's number is looked up in one spelling.

Backwards, slips that have several editions keep their number once among the newest, and forwards again they are numbered anew:
deposits stay, whichever version runs.
"""

import django.db.models.functions.text
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

SLIP_LEAVES_ITS_BOUND = """
    ALTER TABLE checkout_tilldeposit DROP CONSTRAINT IF EXISTS deposit_slip_once;
    DROP INDEX IF EXISTS deposit_slip_once;
"""
# The version before knows no editions: those that were taken back stand out of its bound, by their keys.
SLIP_IS_BOUND_AGAIN = """
    DO $$
    DECLARE earlier text;
    BEGIN
        SELECT string_agg(d.id::text, ', ') INTO earlier FROM checkout_tilldeposit d WHERE EXISTS (
            SELECT 1 FROM checkout_tilldeposit n WHERE n.means = d.means AND n.number = d.number AND n.id > d.id
        );
        IF earlier IS NULL THEN
            ALTER TABLE checkout_tilldeposit ADD CONSTRAINT deposit_slip_once UNIQUE (means, number);
        ELSE
            EXECUTE 'CREATE UNIQUE INDEX deposit_slip_once ON checkout_tilldeposit (means, number) WHERE id NOT IN ('
                || earlier || ')';
        END IF;
    END $$
"""
# Only after a way back: a slip had one deposit before. The table is locked already, by its new column.
EDITIONS_OF_BEFORE = """
    ALTER TABLE checkout_tilldeposit DISABLE TRIGGER USER;
    UPDATE checkout_tilldeposit d SET edition = n.edition
    FROM (SELECT id, row_number() OVER (PARTITION BY means, number ORDER BY id) AS edition FROM checkout_tilldeposit) n
    WHERE n.id = d.id AND n.edition > 1;
    ALTER TABLE checkout_tilldeposit ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_takes_money"),
        ("checkout", "0036_settlement_lines"),
        ("wallet", "0020_account_corrections_once"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(SLIP_LEAVES_ITS_BOUND, SLIP_IS_BOUND_AGAIN)],
            state_operations=[migrations.RemoveConstraint(model_name="tilldeposit", name="deposit_slip_once")],
        ),
        migrations.AddField(
            model_name="tilldeposit",
            name="edition",
            field=models.PositiveSmallIntegerField(db_default=1, default=1, verbose_name="édition"),
        ),
        migrations.RunSQL(EDITIONS_OF_BEFORE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="counterreceipt",
            index=models.Index(
                django.db.models.functions.text.Trim(
                    models.Func(
                        django.db.models.functions.text.Upper("number"),
                        models.Value("[\\s\\u00a0\\u2007\\u202f]+"),
                        models.Value(" "),
                        models.Value("g"),
                        function="regexp_replace",
                    )
                ),
                name="receipt_number_spelled",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="counterreceipt",
            trigger=pgtrigger.compiler.Trigger(
                name="receipt_number_in_any_spelling",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('receipt:' || trim(regexp_replace(upper(NEW.number), '[\\s\\u00a0\\u2007\\u202f]+', ' ', 'g'))));\n    IF EXISTS (\n        SELECT 1 FROM checkout_counterreceipt r\n        WHERE trim(regexp_replace(upper(r.number), '[\\s\\u00a0\\u2007\\u202f]+', ' ', 'g')) = trim(regexp_replace(upper(NEW.number), '[\\s\\u00a0\\u2007\\u202f]+', ' ', 'g')) AND r.number <> NEW.number\n          AND r.commune_id IS NOT DISTINCT FROM NEW.commune_id\n    ) THEN\n        RAISE EXCEPTION 'checkout_counterreceipt: % is taken in another spelling', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_number_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="2d155ca27ee3bc4b083e09cc6f0eba8904d4ddb4",
                    operation="INSERT",
                    pgid="pgtrigger_receipt_number_in_any_spelling_dd03d",
                    table="checkout_counterreceipt",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tilldeposit",
            trigger=pgtrigger.compiler.Trigger(
                name="slip_stands_once",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('till:' || NEW.means));\n    IF EXISTS (\n        SELECT 1 FROM checkout_tilldeposit d\n        WHERE d.means = NEW.means AND trim(regexp_replace(upper(d.number), '[\\s\\u00a0\\u2007\\u202f]+', ' ', 'g')) = trim(regexp_replace(upper(NEW.number), '[\\s\\u00a0\\u2007\\u202f]+', ' ', 'g'))\n          AND NOT EXISTS (SELECT 1 FROM wallet_movement m WHERE m.reverses_id = d.movement_id)\n    ) THEN\n        RAISE EXCEPTION 'checkout_tilldeposit: slip % stands already', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'deposit_slip_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="7024dd28db1b9ba9fa57226a41c2c480b41eef32",
                    operation="INSERT",
                    pgid="pgtrigger_slip_stands_once_e21f8",
                    table="checkout_tilldeposit",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="tilldeposit",
            constraint=models.UniqueConstraint(fields=("means", "number", "edition"), name="deposit_slip_once"),
        ),
    ]
