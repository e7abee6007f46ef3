"""What a line says of its price stays, but for what its slot declares now: a mistake can be set right."""

from typing import ClassVar

import pgtrigger.compiler
import pgtrigger.migrations
from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("checkout", "0039_lines_of_before_say_it")]
    operations: ClassVar = [
        # First, for it reads the lines: the trigger is added under a lock that must be short.
        ValidateConstraint(model_name="orderline", name="line_with_a_meal_says_its_price"),
        pgtrigger.migrations.AddTrigger(
            model_name="orderline",
            trigger=pgtrigger.compiler.Trigger(
                name="line_says_what_is_declared",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."meal_price" IS DISTINCT FROM (NEW."meal_price") OR OLD."nature" IS DISTINCT FROM (NEW."nature"))',
                    func="\n                    IF NOT EXISTS (\n                        SELECT 1 FROM services_slot s\n                        WHERE s.id = coalesce(\n                            (SELECT b.slot_id FROM bookings_booking b WHERE b.id = NEW.booking_id),\n                            (SELECT t.slot_id FROM bookings_ticket t WHERE t.id = NEW.ticket_id)\n                        ) AND s.nature = NEW.nature AND s.meal_price IS NOT DISTINCT FROM NEW.meal_price\n                    ) THEN\n                        RAISE EXCEPTION 'checkout_orderline %: its slot does not declare that', NEW.id\n                            USING ERRCODE = 'integrity_constraint_violation';\n                    END IF;\n                    RETURN NEW;\n                ",
                    hash="b0ff8c3572aa003ad5ed6b75b886095fdd46148f",
                    operation="UPDATE",
                    pgid="pgtrigger_line_says_what_is_declared_8fec8",
                    table="checkout_orderline",
                    when="BEFORE",
                ),
            ),
        ),
    ]
