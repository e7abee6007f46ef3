"""A receipt's or a slip's number has one spelling, PostgreSQL's: the index and the two triggers of 0037 say it alike.

No row changes. The receipts of counters are few: their index is built under the lock of a moment.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_takes_money"),
        ("checkout", "0043_what_is_overdue_apart"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="counterreceipt",
            name="receipt_number_in_any_spelling",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="tilldeposit",
            name="slip_stands_once",
        ),
        migrations.RemoveIndex(
            model_name="counterreceipt",
            name="receipt_number_spelled",
        ),
        migrations.AddIndex(
            model_name="counterreceipt",
            index=models.Index(
                models.Func(
                    "number",
                    template="trim(regexp_replace(replace(upper(normalize(regexp_replace(%(expressions)s, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g'))",
                ),
                name="receipt_number_spelled",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="counterreceipt",
            trigger=pgtrigger.compiler.Trigger(
                name="receipt_number_in_any_spelling",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('receipt:' || trim(regexp_replace(replace(upper(normalize(regexp_replace(NEW.number, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g'))));\n    IF EXISTS (\n        SELECT 1 FROM checkout_counterreceipt r\n        WHERE trim(regexp_replace(replace(upper(normalize(regexp_replace(r.number, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g')) = trim(regexp_replace(replace(upper(normalize(regexp_replace(NEW.number, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g')) AND r.number <> NEW.number\n          AND r.commune_id IS NOT DISTINCT FROM NEW.commune_id\n    ) THEN\n        RAISE EXCEPTION 'checkout_counterreceipt: % is taken in another spelling', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_number_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="ebb4f71251de46c5461645a9d3a41aa33a8058f1",
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
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('till:' || NEW.means));\n    IF EXISTS (\n        SELECT 1 FROM checkout_tilldeposit d\n        WHERE d.means = NEW.means AND trim(regexp_replace(replace(upper(normalize(regexp_replace(d.number, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g')) = trim(regexp_replace(replace(upper(normalize(regexp_replace(NEW.number, '[\\u00ad\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]', '', 'g'), NFKC)), 'ß', 'SS'), '[\\u0001-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g'))\n          AND NOT EXISTS (SELECT 1 FROM wallet_movement m WHERE m.reverses_id = d.movement_id)\n    ) THEN\n        RAISE EXCEPTION 'checkout_tilldeposit: slip % stands already', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'deposit_slip_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="d5290c87b5773886b48cfe0dfada191e4fd79fb8",
                    operation="INSERT",
                    pgid="pgtrigger_slip_stands_once_e21f8",
                    table="checkout_tilldeposit",
                    when="BEFORE",
                ),
            ),
        ),
    ]
