"""Numbers of receipts and slips are compared by their letters and groups of digits, in one function of the database.

No row changes, and rows of before may collide (« BORD-77 » and « BORD 77 » were two): all of them stay as they were typed.
That is why nothing unique is built of the function: the index is an ordinary one, the triggers look at what is inserted from
now on, and the two checks, of which an older row « - » may be none, are NOT VALID. A number that stands twice is refused a
third time. The old index goes and the new one is built under the lock of a moment: the receipts of counters are few.
"""

import django.db.models.lookups
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

# Its body is parsed here and now: neither a search path nor a dump that is restored changes what it means. « ß » has a
# capital in some locales only. What nobody sees goes first: soft hyphens, joiners, marks of direction, variants of a sign.
# Then all that is no letter and no digit separates, and counts between two digits alone: 1-23 is no other 12-3, nor 123.
UNSEEN = r"[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]"
FUNCTION = f"""
    CREATE FUNCTION checkout_number_spelled(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(
        regexp_replace(
            regexp_replace(replace(upper(normalize($1, NFKC)), 'ß', 'SS'), '{UNSEEN}', '', 'g'),
            '[^[:alnum:]]+', '-', 'g'
        ),
        '(?<![0-9])-|-(?![0-9])', '', 'g'
    )
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_takes_money"),
        ("checkout", "0049_corrections_say_what_and_until"),
        ("wallet", "0023_fees_may_be_corrected"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION checkout_number_spelled(text)"),
        pgtrigger.migrations.RemoveTrigger(
            model_name="counterreceipt",
            name="receipt_number_in_any_spelling",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="tilldeposit",
            name="slip_stands_once",
        ),
        migrations.RemoveConstraint(
            model_name="counterreceipt",
            name="counter_receipt_has_a_number",
        ),
        migrations.RemoveConstraint(
            model_name="tilldeposit",
            name="till_deposit_has_a_number",
        ),
        migrations.RemoveIndex(
            model_name="counterreceipt",
            name="receipt_number_spelled",
        ),
        migrations.AddIndex(
            model_name="counterreceipt",
            index=models.Index(
                models.Func("number", function="checkout_number_spelled", output_field=models.TextField()),
                name="receipt_number_spelled",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="counterreceipt",
            trigger=pgtrigger.compiler.Trigger(
                name="receipt_number_in_any_spelling",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('receipt:' || checkout_number_spelled(NEW.number)));\n    IF EXISTS (\n        SELECT 1 FROM checkout_counterreceipt r\n        WHERE checkout_number_spelled(r.number) = checkout_number_spelled(NEW.number) AND r.number <> NEW.number\n          AND r.commune_id IS NOT DISTINCT FROM NEW.commune_id\n    ) THEN\n        RAISE EXCEPTION 'checkout_counterreceipt: % is taken in another spelling', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_number_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="78d2c4b92abd4e3da4fe71f85390d4d6aa4b3475",
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
                    func="\n    PERFORM pg_advisory_xact_lock(hashtext('till:' || NEW.means));\n    IF EXISTS (\n        SELECT 1 FROM checkout_tilldeposit d\n        WHERE d.means = NEW.means AND checkout_number_spelled(d.number) = checkout_number_spelled(NEW.number)\n          AND NOT EXISTS (SELECT 1 FROM wallet_movement m WHERE m.reverses_id = d.movement_id)\n    ) THEN\n        RAISE EXCEPTION 'checkout_tilldeposit: slip % stands already', NEW.number\n            USING ERRCODE = 'unique_violation', CONSTRAINT = 'deposit_slip_once';\n    END IF;\n    RETURN NEW;\n",
                    hash="238ee9d2a4fcd3bd4d79f652ad388e8746cc664c",
                    operation="INSERT",
                    pgid="pgtrigger_slip_stands_once_e21f8",
                    table="checkout_tilldeposit",
                    when="BEFORE",
                ),
            ),
        ),
        AddConstraintNotValid(
            model_name="counterreceipt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.Exact(
                        models.Func("number", function="checkout_number_spelled", output_field=models.TextField()),
                        models.Value("", output_field=models.TextField()),
                    ),
                    _negated=True,
                ),
                name="counter_receipt_has_a_number",
            ),
        ),
        AddConstraintNotValid(
            model_name="tilldeposit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.Exact(
                        models.Func("number", function="checkout_number_spelled", output_field=models.TextField()),
                        models.Value("", output_field=models.TextField()),
                    ),
                    _negated=True,
                ),
                name="till_deposit_has_a_number",
            ),
        ),
    ]
