"""What the tasks look for each minute: orders that wait, payments that were given up. Both indexes hold few rows."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar = [("checkout", "0002_initial")]
    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(condition=models.Q(("status", "pending")), fields=["created_at"], name="order_pending"),
        ),
        AddIndexConcurrently(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("status", "abandoned")), fields=["created_at"], name="payment_abandoned"
            ),
        ),
    ]
