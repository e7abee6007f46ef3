"""What providers said that nobody has understood, and whether it was said again: found without reading all that is kept."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import MD5


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar = [("checkout", "0053_own_familys_cash")]
    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="providerevent",
            index=models.Index(
                condition=models.Q(
                    models.Q(
                        ("note__startswith", "unread:"),
                        models.Q(("note__startswith", "unreachable:"), ("payment__isnull", False)),
                        _connector="OR",
                    ),
                    ("outcome", "received"),
                    ("seen_at", None),
                ),
                fields=["received_at"],
                name="event_waiting",
            ),
        ),
        AddIndexConcurrently(
            model_name="providerevent",
            index=models.Index(
                MD5("raw"), "id", condition=models.Q(("outcome", "received"), _negated=True), name="event_understood"
            ),
        ),
    ]
