"""School holidays and the days that activities are open."""

import datetime as dt
from typing import TYPE_CHECKING, Any, Self

import pghistory
import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from services.models.catalogue import Activity, Slot

if TYPE_CHECKING:
    from accounts.models import User


class SchoolHoliday(models.Model):
    """School holidays of zone A, imported from the ministry's calendar and editable here."""

    name = models.CharField(_("nom"), max_length=60)
    first_day = models.DateField(_("premier jour"))
    last_day = models.DateField(_("dernier jour"))

    class Meta:
        verbose_name = _("vacances scolaires")
        verbose_name_plural = _("vacances scolaires")
        ordering = ["first_day"]
        constraints = [
            models.CheckConstraint(condition=Q(last_day__gte=F("first_day")), name="holiday_ends_after_it_starts"),
            models.UniqueConstraint(fields=["first_day"], name="one_holiday_per_first_day"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.first_day:%d/%m/%Y} – {self.last_day:%d/%m/%Y})"


class OpenDayQuerySet(models.QuerySet["OpenDay"]):
    def bookable(self, *, at: dt.datetime) -> Self:
        """Days that may be booked at this moment, whatever their free places."""
        return self.filter(Q(book_from=None) | Q(book_from__lte=at), is_open=True).filter(
            Q(book_until__gt=at) | Q(late_until__gt=at)
        )

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


# Each booking moves `taken`, which is not followed. The row is kept as it was before a change: a year of days is made at
# once, and days that nobody ever touches write nothing.
@pghistory.track(
    pghistory.UpdateEvent(label="before", row=pghistory.Old, condition=pgtrigger.AnyChange(exclude=["taken"])),
    exclude=["taken"],
    append_only=True,
)
class OpenDay(models.Model):
    """One date of an activity, with its places. `taken` is written by PostgreSQL alone, from the bookings' rows."""

    activity = models.ForeignKey(
        Activity, on_delete=models.PROTECT, related_name="open_days", verbose_name=_("activité")
    )
    date = models.DateField(_("date"))
    capacity = models.PositiveIntegerField(_("places"))
    taken = models.PositiveIntegerField(_("places prises"), default=0, editable=False)
    is_open = models.BooleanField(_("ouvert"), default=True)
    closed_reason = models.CharField(_("motif de fermeture"), max_length=120, blank=True)
    by_hand = models.BooleanField(
        _("réglé à la main"), default=False, help_text=_("Coché : la génération du calendrier n’y touche plus.")
    )
    slot_places = models.JSONField(
        _("places par prestation"),
        default=dict,
        db_default={},
        blank=True,
        help_text=_("Ce jour-là seulement, par prestation ; 0 : pas proposée."),
    )
    book_from = models.DateTimeField(_("réservable à partir du"), null=True, blank=True)
    book_until = models.DateTimeField(_("réservable jusqu’au"))
    late_until = models.DateTimeField(_("réservable tardivement jusqu’au"), null=True, blank=True)
    cancel_until = models.DateTimeField(_("annulable jusqu’au"))

    waited_for: bool  # both read by bookings.places.lock_days_where
    school_closed: bool

    live: int  # the bookings that stand, read by checkout.verification

    objects = OpenDayQuerySet.as_manager()

    class Meta:
        verbose_name = _("jour ouvert")
        verbose_name_plural = _("jours ouverts")
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(fields=["activity", "date"], name="one_open_day_per_date"),
            models.CheckConstraint(condition=Q(taken__lte=F("capacity")), name="places_are_not_oversold"),
            models.CheckConstraint(condition=Q(is_open=True) | ~Q(closed_reason=""), name="closed_day_says_why"),
            models.CheckConstraint(
                condition=Q(late_until=None) | Q(late_until__gt=F("book_until")), name="late_is_after_the_deadline"
            ),
        ]
        triggers = [
            # Only the triggers of bookings.Booking write `taken`: they run inside another trigger, hence the depth.
            pgtrigger.Trigger(
                name="taken_is_counted",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("taken"),
                condition=pgtrigger.Condition("OLD.taken IS DISTINCT FROM NEW.taken AND pg_trigger_depth() = 0"),
                func="RAISE EXCEPTION 'services_openday.taken is counted from the bookings';",
            ),
            pgtrigger.Trigger(
                name="day_is_of_a_calendar",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF (SELECT kind FROM services_activity WHERE id = NEW.activity_id) <> 'calendar' THEN
                        RAISE EXCEPTION 'services_openday: only a calendar has days'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="slot_places_are_of_its_slots",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("slot_places"),
                condition=pgtrigger.Condition("NEW.slot_places <> '{}'::jsonb"),
                func="""
                    IF TG_OP = 'UPDATE' AND OLD.slot_places = NEW.slot_places THEN
                        RETURN NEW;
                    END IF;
                    IF jsonb_typeof(NEW.slot_places) = 'object' THEN
                        IF NOT EXISTS (
                            SELECT 1 FROM jsonb_each(NEW.slot_places) AS each
                            LEFT JOIN services_slot s ON s.id::text = each.key AND s.activity_id = NEW.activity_id
                            WHERE s.id IS NULL OR each.value::text !~ '^[0-9]{1,6}$'
                        ) THEN
                            RETURN NEW;
                        END IF;
                    END IF;
                    RAISE EXCEPTION 'services_openday: places are told of slots of the activity'
                        USING ERRCODE = 'check_violation', CONSTRAINT = 'slot_places_are_of_its_slots';
                """,
            ),
            # Its bookings were made for this day of this activity.
            pgtrigger.ReadOnly(name="day_is_frozen", fields=["activity", "date"]),
            # A closure (bookings.closures) lists who is touched, ends the bookings and pays back; nothing else closes such a day.
            pgtrigger.Trigger(
                name="booked_day_closes_by_a_closure",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("is_open"),
                condition=pgtrigger.Condition("OLD.is_open AND NOT NEW.is_open AND OLD.taken > 0"),
                func="""
                    IF EXISTS (SELECT 1 FROM bookings_booking b WHERE b.open_day_id = NEW.id AND b.status = 'booked')
                       AND NOT EXISTS (
                        SELECT 1 FROM bookings_closedday d JOIN bookings_closure c ON c.id = d.closure_id
                        WHERE d.open_day_id = NEW.id AND c.status = 'confirmed'
                    ) THEN
                        RAISE EXCEPTION 'services_openday %: a day that is booked is closed by a closure', NEW.id
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'booked_day_closes_by_a_closure';
                    END IF;
                    RETURN NEW;
                """,
            ),
            # A day that is made, or opened again by its rules, while a closure is in force stays closed; a person may open it.
            pgtrigger.Trigger(
                name="closed_dates_open_by_hand",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("is_open", "by_hand"),
                condition=pgtrigger.Condition("NEW.is_open AND NOT NEW.by_hand"),
                func="""
                    IF EXISTS (
                        SELECT 1 FROM bookings_closure c
                        JOIN services_activity a ON a.id = NEW.activity_id JOIN services_service s ON s.id = a.service_id
                        WHERE c.status <> 'undone' AND NEW.date BETWEEN c.first_day AND c.last_day
                          AND (c.scope = 'activity' AND c.activity_id = a.id OR c.scope = 'service' AND c.service_id = s.id
                               OR c.scope = 'commune' AND c.commune_id = s.commune_id)
                    ) THEN
                        RAISE EXCEPTION 'services_openday: a closure is in force on %', NEW.date
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'closed_dates_open_by_hand';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="day_starts_empty",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.taken <> 0"),
                func="RAISE EXCEPTION 'services_openday.taken is counted from the bookings: a day starts empty';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.activity} – {self.date:%d/%m/%Y}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save all but `taken`, which PostgreSQL counts and which may have moved since this row was read."""
        if self.pk and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [f.name for f in self._meta.concrete_fields if f.name not in ("id", "taken")]
        super().save(*args, **kwargs)

    @property
    def free(self) -> int:
        """How many places are left."""
        return self.capacity - self.taken

    def places_of(self, slot: Slot) -> int | None:
        """How many places a slot has on this day: those of this day alone, or those it always has. None: only the day's."""
        places: int | None = self.slot_places.get(str(slot.pk), slot.capacity)
        return places

    def offers(self, slot: Slot) -> bool:
        """Whether a slot can be had on this day at all."""
        return self.places_of(slot) != 0

    @property
    def last_moment(self) -> dt.datetime:
        """Until when it may be booked at all, at a surcharge or not."""
        return self.late_until or self.book_until

    def is_bookable(self, at: dt.datetime) -> bool:
        """Whether it may be booked at this moment, whatever its free places."""
        return self.is_open and (self.book_from is None or self.book_from <= at) and at < self.last_moment

    def is_late(self, at: dt.datetime) -> bool:
        """Whether whoever books at this moment books late."""
        return self.book_until <= at
