"""The lines written before 0017 are checked, in a transaction of their own, without keeping anybody from buying."""

from typing import ClassVar

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("checkout", "0017_vouchers")]
    operations: ClassVar = [
        ValidateConstraint(model_name="orderline", name="line_discount_is_in_the_price"),
    ]
