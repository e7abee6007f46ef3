"""Many more bookings in the table: other families' years, written as fast as PostgreSQL takes them.

Triggers rest meanwhile (places are not counted, nothing is checked but constraints): what is measured afterwards is how
pages read a large table, and no account is verified on it.
"""

import sys

import django
from django.db import connection

CHILDREN = """
    INSERT INTO families_beneficiary (first_name, last_name, birth_date, created_at)
    SELECT 'Enfant ' || n, 'Foule', DATE '2016-01-01', now() FROM generate_series(1, %s) n RETURNING id
"""
# By day, as a year of bookings comes in: neighbours in the table are not neighbours in the index of children.
BOOKINGS = """
    INSERT INTO bookings_booking (beneficiary_id, open_day_id, slot_id, hold_id, period, may_overlap, is_late, status,
                                  made_by_id, created_at, booked_at, ended_reason)
    SELECT child.id, day.id, slot.id, hold.id,
           tstzrange((day.date + slot.starts_at) AT TIME ZONE 'Europe/Paris',
                     (day.date + slot.ends_at) AT TIME ZONE 'Europe/Paris'),
           false, false, 'booked', hold.user_id, now(), now(), ''
    FROM services_openday day
    JOIN LATERAL (SELECT * FROM services_slot WHERE activity_id = day.activity_id ORDER BY id LIMIT 1) slot ON true
    CROSS JOIN families_beneficiary child
    CROSS JOIN (SELECT id, user_id FROM bookings_hold ORDER BY id LIMIT 1) hold
    WHERE child.last_name = 'Foule' AND day.activity_id = %s
    ORDER BY day.date
"""


def grow(bookings: int) -> int:
    """Fill the table until it holds at least so many bookings, of the canteen that is measured; returns how many it holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bookings_booking")
        (held,) = cursor.fetchone()
        cursor.execute(
            "SELECT d.activity_id, count(*) FROM services_openday d JOIN bookings_booking b ON b.open_day_id = d.id "
            "GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
        )
        activity, _count = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM services_openday WHERE activity_id = %s", [activity])
        (days,) = cursor.fetchone()
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute(CHILDREN, [max(1, -(-(bookings - held) // days))])
        cursor.execute(BOOKINGS, [activity])
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ANALYZE bookings_booking")
        cursor.execute("VACUUM ANALYZE families_beneficiary")
        cursor.execute("SELECT count(*) FROM bookings_booking")
        (total,) = cursor.fetchone()
    return int(total)


if __name__ == "__main__":
    django.setup()
    print(grow(int(sys.argv[1])))
