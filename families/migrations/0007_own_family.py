from django.db import migrations

# The rule of families.own_family for the triggers of other apps: accounts of one family are one and the same, or answer for a
# beneficiary in common today.
CREATE = """
    CREATE OR REPLACE FUNCTION families_own_family(adult bigint, account bigint) RETURNS boolean
    LANGUAGE sql STABLE AS $$
        SELECT adult = account OR EXISTS (
            SELECT 1 FROM families_filiation mine
            JOIN families_filiation other ON other.beneficiary_id = mine.beneficiary_id AND other.ended_at IS NULL
            WHERE mine.user_id = adult AND mine.ended_at IS NULL AND other.user_id = account
        )
    $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("families", "0006_classrooms"),
    ]

    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION IF EXISTS families_own_family(bigint, bigint)")]
