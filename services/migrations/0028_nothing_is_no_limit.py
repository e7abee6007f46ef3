from django.db import migrations, models

# A CHECK that compares with nothing passes: these rows could be written, by no page of ours. Each becomes what it did: a
# surcharge of no amount adds nothing, a period without its last day is on no date, a map without limits books no weekday.
REPAIR = """
    UPDATE services_deadline SET surcharge = '' WHERE surcharge <> '' AND surcharge_amount IS NULL;
    UPDATE services_deadline SET weekday_limits = array_fill(NULL::smallint, ARRAY[7])
        WHERE basis = 'weekdays' AND weekday_limits IS NULL;
    DELETE FROM services_activityperiod WHERE kind = 'dates' AND last_day IS NULL;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [("services", "0027_services_have_an_address")]

    operations = [
        migrations.RunSQL(REPAIR, migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="activityperiod", name="period_dates_are_in_order"),
        migrations.RemoveConstraint(model_name="deadline", name="deadline_has_a_limit_for_each_weekday"),
        migrations.RemoveConstraint(model_name="deadline", name="surcharge_has_an_amount"),
        migrations.AddConstraint(
            model_name="activityperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("first_day__isnull", False),
                        ("kind", "dates"),
                        ("last_day__gte", models.F("first_day")),
                        ("last_day__isnull", False),
                    ),
                    models.Q(models.Q(("kind", "dates"), _negated=True), ("first_day", None), ("last_day", None)),
                    _connector="OR",
                ),
                name="period_dates_are_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("basis", "weekdays"), ("weekday_limits__isnull", False), ("weekday_limits__len", 7)),
                    models.Q(models.Q(("basis", "weekdays"), _negated=True), ("weekday_limits", None)),
                    _connector="OR",
                ),
                name="deadline_has_a_limit_for_each_weekday",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("surcharge", ""), ("surcharge_amount", None)),
                    models.Q(
                        models.Q(("surcharge", ""), _negated=True),
                        ("late__isnull", False),
                        ("surcharge_amount__gte", 0),
                        ("surcharge_amount__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="surcharge_has_an_amount",
            ),
        ),
    ]
