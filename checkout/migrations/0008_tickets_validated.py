"""The rows written before 0007 are checked, in a transaction of their own, without keeping anybody from buying."""

from typing import ClassVar

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("checkout", "0007_tickets_in_cart_and_order")]
    operations: ClassVar = [
        ValidateConstraint(model_name="cartline", name="cart_line_is_a_booking_or_a_ticket"),
        ValidateConstraint(model_name="orderline", name="ticket_line_has_a_ticket"),
    ]
