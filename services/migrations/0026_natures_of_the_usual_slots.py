"""What is certain is filled in: a canteen sells meals, a garderie or a holiday centre without a meal sells care.

Where a price covers both, only the commune knows the meal's part: it stays empty, and out of the tax certificates, until
she says it.
"""

from django.db import migrations

FILL = """
    UPDATE services_slot s SET nature = CASE
        WHEN c.slug = 'cantines' AND s.includes_meal THEN 'meal'
        WHEN c.slug IN ('garderies', 'centres-de-loisirs') AND NOT s.includes_meal THEN 'care'
        ELSE 'other' END
    FROM services_activity a JOIN services_service v ON v.id = a.service_id JOIN services_category c ON c.id = v.category_id
    WHERE a.id = s.activity_id AND s.nature = '' AND (
        c.slug = 'cantines' AND s.includes_meal
        OR c.slug IN ('garderies', 'centres-de-loisirs') AND NOT s.includes_meal
        OR c.slug IN ('ramassage-scolaire', 'velo-en-velay', 'pass-card', 'sports')
    );
"""


class Migration(migrations.Migration):
    dependencies = [("services", "0025_what_prices_pay_for")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
