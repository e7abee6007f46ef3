"""What each provider said last, without reading all that it ever said."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar = [("checkout", "0014_provider_checks")]
    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="providerevent",
            index=models.Index(
                condition=models.Q(("source", "notification")),
                fields=["provider", "-received_at"],
                name="event_notified",
            ),
        ),
    ]
