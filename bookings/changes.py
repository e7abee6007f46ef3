"""One booking in the place of another: same child, same activity, another slot or date."""

import pgtrigger
from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

SAME_CHILD_AND_ACTIVITY = """
    IF NOT EXISTS (
        SELECT 1
        FROM bookings_booking before
        JOIN services_openday day_before ON day_before.id = before.open_day_id
        JOIN bookings_booking after ON after.id = NEW.after_id
        JOIN services_openday day_after ON day_after.id = after.open_day_id
        WHERE before.id = NEW.before_id
          AND before.status = 'cancelled'
          AND before.beneficiary_id = after.beneficiary_id
          AND day_before.activity_id = day_after.activity_id
    ) THEN
        RAISE EXCEPTION 'bookings_change: a cancelled booking is replaced by one of the same child and activity'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class Change(models.Model):
    """Who replaced which booking by which, and when (« changement »)."""

    before = models.OneToOneField("bookings.Booking", on_delete=models.PROTECT, related_name="changed_to")
    after = models.OneToOneField("bookings.Booking", on_delete=models.PROTECT, related_name="changed_from")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("changement de réservation")
        verbose_name_plural = _("changements de réservation")
        triggers = [
            pgtrigger.Trigger(
                name="change_keeps_child_and_activity",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=SAME_CHILD_AND_ACTIVITY,
            ),
            pgtrigger.Protect(name="changes_are_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"
