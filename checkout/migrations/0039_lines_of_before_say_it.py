"""What the commune declares of a slot today is written on the lines of before: until now their certificates followed the slot.

Not what its history says of the day of the order: a mistake that was set right since would come back. What is not declared
stays empty, and follows the slot. A few lines at a time, each statement on its own, so that nobody who buys or cancels
meanwhile waits. Run again, it goes on where it stopped.
"""

from typing import Any, ClassVar

from django.db import migrations

SLICE = 20_000

FILL = """
    UPDATE checkout_orderline line SET nature = said.nature, meal_price = said.meal_price
    FROM (
        SELECT l.id, s.nature, s.meal_price
        FROM checkout_orderline l
        LEFT JOIN bookings_booking b ON b.id = l.booking_id
        LEFT JOIN bookings_ticket t ON t.id = l.ticket_id
        JOIN services_slot s ON s.id = coalesce(b.slot_id, t.slot_id)
        WHERE l.id >= %s AND l.id < %s AND l.nature = '' AND s.nature <> ''
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
