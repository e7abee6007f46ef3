"""What a line says of its price is frozen like the rest of it."""

from typing import ClassVar

import pgtrigger.compiler
import pgtrigger.migrations
from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("checkout", "0039_lines_of_before_say_it")]
    operations: ClassVar = [
        # First, for it reads the lines: the trigger is changed under a lock that must be short.
        ValidateConstraint(model_name="orderline", name="line_with_a_meal_says_its_price"),
        pgtrigger.migrations.RemoveTrigger(model_name="orderline", name="line_is_frozen"),
        pgtrigger.migrations.AddTrigger(
            model_name="orderline",
            trigger=pgtrigger.compiler.Trigger(
                name="line_is_frozen",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."order_id" IS DISTINCT FROM (NEW."order_id") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."booking_id" IS DISTINCT FROM (NEW."booking_id") OR OLD."ticket_id" IS DISTINCT FROM (NEW."ticket_id") OR OLD."commune_id" IS DISTINCT FROM (NEW."commune_id") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."detail" IS DISTINCT FROM (NEW."detail") OR OLD."beneficiary_name" IS DISTINCT FROM (NEW."beneficiary_name") OR OLD."date" IS DISTINCT FROM (NEW."date") OR OLD."note" IS DISTINCT FROM (NEW."note") OR OLD."unit_price" IS DISTINCT FROM (NEW."unit_price") OR OLD."surcharge" IS DISTINCT FROM (NEW."surcharge") OR OLD."discount" IS DISTINCT FROM (NEW."discount") OR OLD."explanation" IS DISTINCT FROM (NEW."explanation") OR OLD."nature" IS DISTINCT FROM (NEW."nature") OR OLD."meal_price" IS DISTINCT FROM (NEW."meal_price"))',
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
                    hash="d9e1805f5be43129963b4e476be5b1420f5f744e",
                    operation="UPDATE",
                    pgid="pgtrigger_line_is_frozen_c76c3",
                    table="checkout_orderline",
                    when="BEFORE",
                ),
            ),
        ),
    ]
