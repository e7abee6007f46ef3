"""Places taken: holds of a cart and bookings, one row per beneficiary, day and slot."""

import datetime as dt
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from bookings.absences import Absence, AbsenceDay, AbsenceProof
from bookings.changes import Change
from bookings.closures.models import ClosedBooking, ClosedDay, Closure
from bookings.feeds import CalendarFeed
from bookings.lists import SavedList, SavedListRow
from bookings.tickets.models import Controller as Controller  # Django looks for tables here
from bookings.tickets.models import Ticket as Ticket
from bookings.tickets.models import TicketUse as TicketUse
from bookings.tickets.models import TicketUseReview as TicketUseReview
from bookings.waiting.models import OFFER_ENDS_FIRST
from families.models import Beneficiary
from portal.common.db import not_truncated
from services.models import Activity, OpenDay, Slot

if TYPE_CHECKING:
    from accounts.models import User

__all__ = [
    "Absence",
    "AbsenceDay",
    "AbsenceProof",
    "Booking",
    "CalendarFeed",
    "Change",
    "ClosedBooking",
    "ClosedDay",
    "Closure",
    "Hold",
    "SavedList",
    "SavedListRow",
]  # beside what is written here, what stands in modules of its own


# `OpenDay.taken` is counted here, by PostgreSQL, whatever code writes the bookings; its CHECK then forbids overselling.
# Whoever takes or frees places locks the days first, in the order of their keys (bookings.actions.lock_days).
COUNT_PLACES = """
    UPDATE services_openday d SET taken = d.taken + c.places
    FROM (
        SELECT open_day_id, sum(places) AS places FROM ({rows}) AS r GROUP BY open_day_id HAVING sum(places) <> 0
    ) AS c
    WHERE d.id = c.open_day_id;
    RETURN NULL;
"""
TAKEN = "SELECT open_day_id, 1 AS places FROM new_rows WHERE ended_at IS NULL"
FREED = "SELECT open_day_id, -1 AS places FROM old_rows WHERE ended_at IS NULL"

# All rows of an INSERT in one look: an order of a school year brings 280.
FITS_ITS_DAY = """
    IF EXISTS (
        SELECT 1 FROM new_rows r
        JOIN services_openday d ON d.id = r.open_day_id
        JOIN services_activity a ON a.id = d.activity_id
        JOIN services_slot s ON s.id = r.slot_id
        WHERE s.activity_id <> d.activity_id
           OR r.may_overlap <> a.may_overlap
           OR (lower(r.period) AT TIME ZONE 'Europe/Paris')::date <> d.date
           OR (upper(r.period) AT TIME ZONE 'Europe/Paris')::date <> d.date
    ) THEN
        RAISE EXCEPTION 'bookings_booking: a booking has the date, the activity and the overlap of its open day'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
"""


# The age on the day itself; without a date of birth nobody knows it.
KEEPS_THE_AGES = """
    IF EXISTS (
        SELECT 1 FROM new_rows r
        JOIN services_openday d ON d.id = r.open_day_id
        JOIN services_activity a ON a.id = d.activity_id AND (a.min_age IS NOT NULL OR a.max_age IS NOT NULL)
        JOIN families_beneficiary b ON b.id = r.beneficiary_id
        WHERE b.birth_date IS NULL
           OR date_part('year', age(d.date, b.birth_date)) NOT BETWEEN coalesce(a.min_age, 0) AND coalesce(a.max_age, 200)
    ) THEN
        RAISE EXCEPTION 'bookings_booking: the beneficiary has the age of the activity on the day'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'booking_keeps_the_ages';
    END IF;
    RETURN NULL;
"""


# The places of a slot within those of its day: those that the day gives it, or those it always has. It comes after the count of the day's places, which has locked the day: what
# others took of it in the meantime is committed, and counted here. Only rows that take a place are asked: a limit that is
# lowered takes nothing from those who have booked.
WITHIN_ITS_SLOT = """
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT open_day_id, slot_id FROM {taking}) AS t
        JOIN services_slot s ON s.id = t.slot_id
        JOIN services_openday d ON d.id = t.open_day_id
        JOIN LATERAL (SELECT coalesce((d.slot_places ->> s.id::text)::int, s.capacity) AS places) AS slot_of_day
            ON slot_of_day.places IS NOT NULL
        WHERE slot_of_day.places < (
            SELECT count(*) FROM bookings_booking b
            WHERE b.open_day_id = t.open_day_id AND b.slot_id = t.slot_id AND b.ended_at IS NULL
        )
    ) THEN
        RAISE EXCEPTION 'bookings_booking: a slot has no more places on the day'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'slots_are_not_oversold';
    END IF;
    RETURN NULL;
"""
NEWLY_TAKEN = "new_rows WHERE ended_at IS NULL"
TAKEN_AGAIN = (
    "new_rows n JOIN old_rows o USING (id, open_day_id, slot_id) WHERE n.ended_at IS NULL AND o.ended_at IS NOT NULL"
)

# Who waits for the lock of a day has read the closures before: they are read again with the row itself.
SCHOOL_IS_OPEN = """
    IF EXISTS (
        SELECT 1 FROM bookings_closure c
        JOIN families_enrolment e ON e.school_id = c.school_id
            AND (c.scope = 'school' OR e.level = ANY (c.levels) OR e.classroom_id = c.classroom_id)
        JOIN new_rows r ON r.beneficiary_id = e.beneficiary_id AND r.status = 'held'
        JOIN services_openday d ON d.id = r.open_day_id AND d.date BETWEEN c.first_day AND c.last_day
        JOIN services_activity a ON a.id = d.activity_id
        JOIN services_service s ON s.id = a.service_id AND s.commune_id = c.commune_id
        WHERE c.school_id IS NOT NULL AND c.status <> 'undone'
          AND e.year = date_part('year', d.date) - (date_part('month', d.date) < 9)::int
    ) THEN
        RAISE EXCEPTION 'bookings_booking: the school of the beneficiary is closed on the day'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'booking_of_an_open_school';
    END IF;
    RETURN NULL;
"""


# Past the deadline nobody ends a booking that they made, or of somebody they answer for: it would be paid back. A closure ends
# everybody's alike. The action has compared the same clock a moment ago: a minute lies between the two at most.
ANOTHER_DECIDES_LATE = """
    IF NEW.ended_at > (
        SELECT d.cancel_until + interval '1 minute' FROM services_openday d WHERE d.id = NEW.open_day_id
    ) AND (
        families_own_family(NEW.ended_by_id, NEW.made_by_id) OR EXISTS (
            SELECT 1 FROM families_filiation f
            WHERE f.user_id = NEW.ended_by_id AND f.beneficiary_id = NEW.beneficiary_id AND f.ended_at IS NULL
        )
    ) AND NOT EXISTS (
        SELECT 1 FROM bookings_closedbooking b JOIN bookings_closure c ON c.id = b.closure_id
        WHERE b.booking_id = NEW.id AND c.status <> 'undone'
    ) THEN
        RAISE EXCEPTION 'bookings_booking: past the deadline another person than its family cancels it'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


PERIOD_IS_FIXED = """
    IF EXISTS (SELECT 1 FROM bookings_booking WHERE hold_id = NEW.id AND status = 'held')
        OR EXISTS (SELECT 1 FROM bookings_ticket WHERE hold_id = NEW.id AND status = 'held')
    THEN
        RAISE EXCEPTION 'bookings_hold %: places are held, others wait for them', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class Hold(models.Model):
    """The places of one cart or unpaid order, kept until a moment that the parent sees."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField(_("gardées jusqu’à"))
    # How far that moment may move while they are held (checkout.actions.keeping); an offer's never moves and has none.
    latest = models.DateTimeField(_("gardées au plus tard jusqu’à"), null=True)

    class Meta:
        verbose_name = _("places gardées")
        verbose_name_plural = _("places gardées")
        indexes = [models.Index(fields=["expires_at"], name="hold_by_expiry")]
        constraints = [
            models.CheckConstraint(
                condition=Q(latest=None) | Q(expires_at__lte=F("latest")), name="hold_ends_at_its_latest"
            )
        ]
        triggers = [
            pgtrigger.Trigger(
                name="hold_period_is_fixed",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("latest"),
                condition=pgtrigger.Condition("NEW.latest IS DISTINCT FROM OLD.latest"),
                func=PERIOD_IS_FIXED,
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.expires_at:%d/%m/%Y %H:%M})"


class BookingQuerySet(models.QuerySet["Booking"]):
    def live(self) -> Self:
        """Rows that occupy a place: held or booked."""
        return self.filter(ended_at=None)

    def booked(self) -> Self:
        return self.filter(status=Booking.Status.BOOKED)

    def held(self) -> Self:
        return self.filter(status=Booking.Status.HELD)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(open_day__activity__service__commune__in=user.commune_ids)


class Booking(models.Model):
    """One beneficiary on one open day in one slot (« réservation »).

    held -> booked -> cancelled; held -> expired; expired -> held again when the place is still free.
    A row is live while `ended_at` is empty: it then occupies a place of its day, which a trigger counts, and the
    beneficiary's time, which the exclusion constraint guards.
    """

    class Status(models.TextChoices):
        HELD = "held", _("Dans le panier")
        BOOKED = "booked", _("Réservé")
        CANCELLED = "cancelled", _("Annulé")
        EXPIRED = "expired", _("Expiré")

    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="bookings", verbose_name=_("bénéficiaire")
    )
    open_day = models.ForeignKey(OpenDay, on_delete=models.PROTECT, related_name="bookings", verbose_name=_("jour"))
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+", verbose_name=_("type de prestation"))
    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="bookings")
    period = DateTimeRangeField(_("horaire"))
    may_overlap = models.BooleanField(default=False)
    is_late = models.BooleanField(_("réservation tardive"), db_default=False, default=False)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.HELD)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("réservé par")
    )
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)
    booked_at = models.DateTimeField(_("confirmé le"), null=True)
    ended_at = models.DateTimeField(_("terminé le"), null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulé par")
    )
    ended_reason = models.CharField(_("motif"), max_length=200, blank=True)

    absence_status: str | None  # read by BookingAdmin and by the agenda

    # Said of an expired row that could not be held again (bookings.actions.retake_places).
    why_lost = ""
    lost_full = False

    objects = BookingQuerySet.as_manager()

    class Meta:
        verbose_name = _("réservation")
        verbose_name_plural = _("réservations")
        ordering = ["period"]
        constraints = [
            ExclusionConstraint(
                name="one_place_at_a_time",
                expressions=[("beneficiary", RangeOperators.EQUAL), ("period", RangeOperators.OVERLAPS)],
                condition=Q(ended_at=None, may_overlap=False),
            ),
            models.UniqueConstraint(
                fields=["open_day", "beneficiary", "slot"], condition=Q(ended_at=None), name="booked_once"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["held", "booked"], ended_at=None)
                | Q(status__in=["cancelled", "expired"], ended_at__isnull=False),
                name="ended_booking_is_dated",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["held", "expired"], booked_at=None)
                | Q(status__in=["booked", "cancelled"], booked_at__isnull=False),
                name="confirmed_booking_is_dated",
            ),
            # An empty period overlaps nothing: the exclusion constraint would never see it.
            models.CheckConstraint(
                condition=Q(period__isempty=False, period__lower_inf=False, period__upper_inf=False),
                name="booking_has_its_hours",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="take_places",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=COUNT_PLACES.format(rows=TAKEN),
            ),
            pgtrigger.Trigger(
                name="move_places",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(old="old_rows", new="new_rows"),
                func=COUNT_PLACES.format(rows=f"{TAKEN} UNION ALL {FREED}"),
            ),
            pgtrigger.Trigger(
                name="free_places",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Delete,
                referencing=pgtrigger.Referencing(old="old_rows"),
                func=COUNT_PLACES.format(rows=FREED),
            ),
            pgtrigger.Trigger(
                name="booking_fits_its_day",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=FITS_ITS_DAY,
            ),
            pgtrigger.Trigger(
                name="another_decides_late",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("status"),
                condition=pgtrigger.Condition("OLD.status = 'booked' AND NEW.status = 'cancelled'"),
                func=ANOTHER_DECIDES_LATE,
            ),
            pgtrigger.Trigger(
                name="offer_ends_first",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=OFFER_ENDS_FIRST,
            ),
            pgtrigger.Trigger(
                name="booking_keeps_the_ages",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=KEEPS_THE_AGES,
            ),
            pgtrigger.Trigger(
                name="booking_of_an_open_school",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=SCHOOL_IS_OPEN,
            ),
            pgtrigger.Trigger(
                name="retaken_in_an_open_school",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=SCHOOL_IS_OPEN,
            ),
            # By their names these two come after take_places and move_places: triggers run in the order of the alphabet.
            pgtrigger.Trigger(
                name="within_its_slot",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=WITHIN_ITS_SLOT.format(taking=NEWLY_TAKEN),
            ),
            pgtrigger.Trigger(
                name="within_its_slot_again",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(old="old_rows", new="new_rows"),
                func=WITHIN_ITS_SLOT.format(taking=TAKEN_AGAIN),
            ),
            # What the constraints and the count of places rest on: another child, day or time is another booking.
            pgtrigger.ReadOnly(
                name="booking_is_frozen",
                fields=["beneficiary", "open_day", "slot", "period", "may_overlap", "hold", "made_by", "created_at"],
            ),
            # The places of its rows would stay counted.
            not_truncated("bookings_are_kept"),
            pgtrigger.FSM(
                name="booking_transitions",
                field="status",
                transitions=[("held", "booked"), ("held", "expired"), ("expired", "held"), ("booked", "cancelled")],
            ),
        ]
        # No index of what is held: after a rush the planner, whose statistics are a minute old, takes it for nearly empty
        # and reads all of it for each order (docs/performance.md).
        indexes = [models.Index(fields=["beneficiary", "period"], name="booking_by_beneficiary")]

    def __str__(self) -> str:
        return f"{self.beneficiary} – {self.open_day} – {self.slot}"

    @property
    def date(self) -> dt.date:
        """The day booked."""
        return self.open_day.date

    @property
    def activity(self) -> Activity:
        """What is booked that day."""
        return self.open_day.activity
