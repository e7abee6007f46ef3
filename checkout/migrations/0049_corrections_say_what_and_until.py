"""A correction says what was to be declared and until when; lines become nothing but what one says."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("checkout", "0048_own_familys_card"),
        ("services", "0028_nothing_is_no_limit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="orderline",
            name="line_says_what_is_declared",
        ),
        migrations.AddField(
            model_name="declarationcorrection",
            name="until",
            field=models.DateField(null=True, verbose_name="commandé jusqu’au"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="orderline",
            trigger=pgtrigger.compiler.Trigger(
                name="line_says_what_is_declared",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."meal_price" IS DISTINCT FROM (NEW."meal_price") OR OLD."nature" IS DISTINCT FROM (NEW."nature"))',
                    func="\n                    IF NOT EXISTS (\n                        SELECT 1 FROM (\n                            SELECT * FROM checkout_declarationcorrection\n                            WHERE slot_id = coalesce(\n                                (SELECT b.slot_id FROM bookings_booking b WHERE b.id = NEW.booking_id),\n                                (SELECT t.slot_id FROM bookings_ticket t WHERE t.id = NEW.ticket_id)\n                            ) ORDER BY id DESC LIMIT 1\n                        ) c JOIN checkout_order o ON o.id = NEW.order_id\n                        WHERE c.nature = NEW.nature AND c.meal_price IS NOT DISTINCT FROM NEW.meal_price\n                            AND o.created_at <= c.made_at\n                            AND (o.created_at AT TIME ZONE 'Europe/Paris')::date\n                                BETWEEN c.since AND coalesce(c.until, 'infinity')\n                    ) THEN\n                        RAISE EXCEPTION 'checkout_orderline %: no correction says that', NEW.id\n                            USING ERRCODE = 'integrity_constraint_violation';\n                    END IF;\n                    RETURN NEW;\n                ",
                    hash="2cd4696ae4d2223e7b6080c967ffcf9464c9d600",
                    operation="UPDATE",
                    pgid="pgtrigger_line_says_what_is_declared_8fec8",
                    table="checkout_orderline",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="declarationcorrection",
            constraint=models.CheckConstraint(
                condition=models.Q(("until", None), ("until__gte", models.F("since")), _connector="OR"),
                name="declaration_correction_ends_after_it_begins",
            ),
        ),
    ]
