"""What the commune had declared of a slot when it was ordered is written on the lines of before.

By the slot's history: what she last declared before the order, or else what she declared first after it. What she never
declared stays empty, and follows the slot. A few lines at a time, each statement on its own, so that nobody who buys or
cancels meanwhile waits; `line_is_frozen` does not know the two columns before 0040. Run again, it goes on where it stopped.
"""

from typing import Any, ClassVar

from django.db import migrations

SLICE = 20_000

FILL = """
    UPDATE checkout_orderline line SET nature = said.nature, meal_price = said.meal_price
    FROM (
        SELECT l.id, found.nature, found.meal_price
        FROM checkout_orderline l
        JOIN checkout_order o ON o.id = l.order_id
        LEFT JOIN bookings_booking b ON b.id = l.booking_id
        LEFT JOIN bookings_ticket t ON t.id = l.ticket_id
        JOIN services_slot s ON s.id = coalesce(b.slot_id, t.slot_id)
        CROSS JOIN LATERAL (
            SELECT d.nature, d.meal_price FROM (
                SELECT nature, meal_price, pgh_created_at AS at FROM services_slotevent WHERE pgh_obj_id = s.id
                UNION ALL
                SELECT s.nature, s.meal_price, 'infinity'  -- for a slot without a history
            ) d
            WHERE d.nature <> '' AND (d.nature = 'both') = (coalesce(d.meal_price, 0) > 0)
              AND (d.nature = 'both' OR d.meal_price IS NULL)
            ORDER BY d.at <= o.created_at DESC, CASE WHEN d.at <= o.created_at THEN d.at END DESC, d.at
            LIMIT 1
        ) found
        WHERE l.id >= %s AND l.id < %s AND l.nature = ''
    ) said
    WHERE line.id = said.id
"""


def fill(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM checkout_orderline")
        first, last = cursor.fetchone()
        for start in range(first, last + 1, SLICE):
            cursor.execute(FILL, [start, start + SLICE])


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar = [
        ("checkout", "0038_lines_say_what_is_care"),
        ("services", "0026_natures_of_the_usual_slots"),
    ]
    operations: ClassVar = [migrations.RunPython(fill, migrations.RunPython.noop)]
