"""The rows written before 0004 are checked, in a transaction of their own, without keeping anybody from booking."""

from typing import ClassVar

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("bookings", "0004_frozen_bookings")]
    operations: ClassVar = [ValidateConstraint(model_name="booking", name="booking_has_its_hours")]
