"""The rows written before 0021 are checked, in a transaction of their own, without keeping anybody from booking."""

from typing import ClassVar

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("bookings", "0021_hold_goes_so_far")]
    operations: ClassVar = [ValidateConstraint(model_name="hold", name="hold_ends_at_its_latest")]
