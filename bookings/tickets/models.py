"""Tickets and passes (« e-billets »), and each time that one was used."""

import datetime as dt
import secrets
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from families.models import Beneficiary
from portal.common.db import not_truncated
from portal.common.formats import today
from services.models import Activity, BusStop, Service, Slot

if TYPE_CHECKING:
    from accounts.models import User

# Without what is taken for something else when it is read aloud or typed: 0 and O, 1 and I.
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 12


def new_code() -> str:
    """A code that nobody guesses: 12 characters, 60 bits, and only staff can try any."""
    return "".join(secrets.choice(ALPHABET) for _position in range(CODE_LENGTH))


class TicketQuerySet(models.QuerySet["Ticket"]):
    def live(self) -> Self:
        """Held or booked: their units and their owners' periods are taken."""
        return self.filter(ended_at=None)

    def held(self) -> Self:
        return self.filter(status=Ticket.Status.HELD)

    def booked(self) -> Self:
        return self.filter(status=Ticket.Status.BOOKED)

    def of(self, user: "User") -> Self:
        """What this adult bought, and what the beneficiaries they answer for may use, whoever bought it."""
        return self.filter(Q(made_by=user) | Q(beneficiary__in=Beneficiary.objects.of(user)))

    def usable(self, *, on: dt.date) -> Self:
        """Paid, with something left on that day or later."""
        left = Q(entries=None) | Q(used__lt=F("entries"))
        return self.filter(left, status=Ticket.Status.BOOKED, valid__endswith__gt=on)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


class Ticket(models.Model):
    """One e-billet: so many entries, or a period in which a pass or a numbered unit (a bike) is its owner's.

    held -> booked -> cancelled; held -> expired; expired -> held again when its unit, or another, is still free.
    A row is live while `ended_at` is empty. `used` is counted by PostgreSQL from the rows of TicketUse.
    """

    class Status(models.TextChoices):
        HELD = "held", _("Dans le panier")
        BOOKED = "booked", _("Payé")
        CANCELLED = "cancelled", _("Annulé")
        EXPIRED = "expired", _("Expiré")

    code = models.CharField(_("code"), max_length=CODE_LENGTH, unique=True, default=new_code, editable=False)
    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="tickets", verbose_name=_("bénéficiaire")
    )
    activity = models.ForeignKey(Activity, on_delete=models.PROTECT, related_name="tickets", verbose_name=_("activité"))
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+", verbose_name=_("formule"))
    stop = models.ForeignKey(BusStop, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("arrêt"))
    hold = models.ForeignKey("bookings.Hold", on_delete=models.PROTECT, related_name="tickets")
    valid = DateRangeField(_("valable"))
    entries = models.PositiveSmallIntegerField(_("entrées"), null=True)
    used = models.PositiveIntegerField(_("entrées utilisées"), default=0, editable=False)
    unit = models.PositiveSmallIntegerField(_("numéro"), null=True)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.HELD)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("acheté par")
    )
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)
    booked_at = models.DateTimeField(_("payé le"), null=True)
    ended_at = models.DateTimeField(_("terminé le"), null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulé par")
    )
    ended_reason = models.CharField(_("motif"), max_length=200, blank=True)

    counted: int  # read by checkout.verification

    # Said of an expired row that could not be held again (bookings.tickets.actions.retake_tickets).
    why_lost = ""

    objects = TicketQuerySet.as_manager()

    class Meta:
        verbose_name = _("e-billet")
        verbose_name_plural = _("e-billets")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(entries=None) | Q(used__lte=F("entries")), name="entries_are_not_overused"
            ),
            ExclusionConstraint(
                name="one_unit_one_renter",
                expressions=[
                    ("activity", RangeOperators.EQUAL),
                    ("unit", RangeOperators.EQUAL),
                    ("valid", RangeOperators.OVERLAPS),
                ],
                condition=Q(ended_at=None, unit__isnull=False),
            ),
            ExclusionConstraint(
                name="one_pass_at_a_time",
                expressions=[
                    ("beneficiary", RangeOperators.EQUAL),
                    ("activity", RangeOperators.EQUAL),
                    ("valid", RangeOperators.OVERLAPS),
                ],
                condition=Q(ended_at=None, entries=None),
            ),
            models.CheckConstraint(
                condition=Q(status__in=["held", "booked"], ended_at=None)
                | Q(status__in=["cancelled", "expired"], ended_at__isnull=False),
                name="ended_ticket_is_dated",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["held", "expired"], booked_at=None)
                | Q(status__in=["booked", "cancelled"], booked_at__isnull=False),
                name="confirmed_ticket_is_dated",
            ),
            # An empty period overlaps nothing: the exclusion constraints would never see it.
            models.CheckConstraint(
                condition=Q(valid__isempty=False, valid__lower_inf=False, valid__upper_inf=False),
                name="ticket_has_its_dates",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="ticket_fits_its_formula",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("unit"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM services_slot s JOIN services_activity a ON a.id = s.activity_id
                        WHERE s.id = NEW.slot_id AND a.id = NEW.activity_id AND a.kind <> 'calendar'
                          AND s.entries IS NOT DISTINCT FROM NEW.entries
                          AND ((a.capacity IS NULL AND NEW.unit IS NULL) OR NEW.unit BETWEEN 1 AND a.capacity)
                    ) OR (NEW.stop_id IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM services_busstop p JOIN services_busline l ON l.id = p.line_id
                        WHERE p.id = NEW.stop_id AND l.activity_id = NEW.activity_id
                    )) THEN
                        RAISE EXCEPTION 'bookings_ticket: a ticket has the activity, the entries, a unit and a stop of its formula'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            # Only the trigger of TicketUse writes `used`: it runs inside another trigger, hence the depth.
            pgtrigger.Trigger(
                name="used_is_counted",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("used"),
                condition=pgtrigger.Condition("OLD.used IS DISTINCT FROM NEW.used AND pg_trigger_depth() = 0"),
                func="RAISE EXCEPTION 'bookings_ticket.used is counted from the uses';",
            ),
            pgtrigger.Trigger(
                name="ticket_starts_unused",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.used <> 0"),
                func="RAISE EXCEPTION 'bookings_ticket.used is counted from the uses: a ticket starts unused';",
            ),
            # What was bought. A unit may change: taken again after its time ran out, it can be another bike.
            pgtrigger.ReadOnly(
                name="ticket_is_frozen",
                fields=[
                    *("code", "beneficiary", "activity", "slot", "stop", "hold"),
                    *("valid", "entries", "made_by", "created_at"),
                ],
            ),
            pgtrigger.Protect(name="tickets_are_kept", operation=pgtrigger.Delete),
            not_truncated("tickets_are_not_emptied"),
            pgtrigger.FSM(
                name="ticket_transitions",
                field="status",
                transitions=[("held", "booked"), ("held", "expired"), ("expired", "held"), ("booked", "cancelled")],
            ),
        ]
        indexes = [
            models.Index(fields=["beneficiary", "-created_at"], name="ticket_by_beneficiary"),
            models.Index(fields=["made_by", "-created_at"], name="ticket_by_buyer"),
        ]

    def __str__(self) -> str:
        return f"{self.activity} – {self.slot} – {self.beneficiary}"

    def get_absolute_url(self) -> str:
        return reverse("ticket", args=[self.pk])

    @property
    def typed_code(self) -> str:
        """The code as people read and type it: `K7QF-2M9X-WT4H`."""
        return "-".join(self.code[start : start + 4] for start in range(0, CODE_LENGTH, 4))

    @property
    def date(self) -> dt.date:
        """The day whose price it has, as a booking has its own."""
        return self.first_day

    @property
    def is_late(self) -> bool:
        """Never: it has no deadline that a surcharge could follow."""
        return False

    @property
    def first_day(self) -> dt.date:
        day: dt.date = self.valid.lower
        return day

    @property
    def last_day(self) -> dt.date:
        day: dt.date = self.valid.upper - dt.timedelta(days=1)
        return day

    @property
    def is_coming(self) -> bool:
        """Whether its first day is still to come."""
        return self.first_day > today()

    @property
    def left(self) -> int | None:
        """How many entries are left; None: as many as one likes."""
        return None if self.entries is None else self.entries - self.used

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be done with it: its last day is past or its last entry used."""
        return self.last_day < today() or self.left == 0


class TicketUseQuerySet(models.QuerySet["TicketUse"]):
    def to_check(self) -> Self:
        """Uses that a phone without network let through, that the rules would have refused, and that nobody has seen."""
        return self.exclude(problem="").filter(review=None)

    def checked(self) -> Self:
        """Those of them that staff have looked at."""
        return self.filter(review__isnull=False)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(ticket__activity__service__commune__in=user.commune_ids)


class TicketUse(models.Model):
    """One time that staff let somebody in with a ticket. `problem` says why the rules would have refused it.

    `client_id` is given by the phone (or the page), so that the same passage sent twice is one row.
    """

    class Problem(models.TextChoices):
        NONE = "", _("Aucun")
        USED = "used", _("Déjà utilisé")
        EARLY = "early", _("Pas encore valable")
        OVER = "over", _("Plus valable")
        CANCELLED = "cancelled", _("Annulé ou non payé")
        ELSEWHERE = "elsewhere", _("Pour une autre activité")

    client_id = models.UUIDField(_("identifiant du passage"), unique=True)
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, related_name="uses", verbose_name=_("e-billet"))
    at = models.DateTimeField(_("passage"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("contrôlé par")
    )
    device = models.CharField(_("appareil"), max_length=20, blank=True)
    offline = models.BooleanField(_("sans réseau"), default=False)
    problem = models.CharField(_("à vérifier"), max_length=10, choices=Problem, blank=True, default="")
    # What the phone was told, as it stood then: « déjà utilisé le … » would read otherwise after the next passage.
    reason = models.CharField(_("pourquoi"), max_length=400, blank=True, default="", db_default="")
    received_at = models.DateTimeField(_("reçu le"), auto_now_add=True)

    objects = TicketUseQuerySet.as_manager()

    class Meta:
        verbose_name = _("passage")
        verbose_name_plural = _("passages")
        ordering = ["-at", "-pk"]
        constraints = [
            # Online nothing is let through that the rules refuse.
            models.CheckConstraint(condition=Q(problem="") | Q(offline=True), name="problem_only_without_network"),
            # Those flagged before reasons were kept have none.
            models.CheckConstraint(condition=Q(reason="") | ~Q(problem=""), name="reason_only_for_a_problem"),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="count_entries",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.problem = ''"),
                func="UPDATE bookings_ticket SET used = used + 1 WHERE id = NEW.ticket_id; RETURN NULL;",
            ),
            pgtrigger.Protect(name="uses_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("uses_are_not_emptied"),
        ]
        indexes = [
            models.Index(fields=["ticket", "-at"], name="use_by_ticket"),
            models.Index(fields=["-at"], condition=~Q(problem=""), name="use_to_check"),
        ]

    def __str__(self) -> str:
        return f"{self.ticket} ({timezone.localtime(self.at):%d/%m/%Y %H:%M})"

    @property
    def why(self) -> str:
        """Why the rules would have refused it, in a sentence; empty when they would not."""
        return self.reason or (f"{self.get_problem_display()}." if self.problem else "")

    @property
    def seen_by_id(self) -> int | None:
        """Who looked at it when it was to be checked."""
        return self.review.by_id if hasattr(self, "review") else None


class TicketUseReview(models.Model):
    """That staff have looked at a passage to be checked: who, when, and what came of it. Written once, beside what it is
    about: a passage itself never changes."""

    use = models.OneToOneField(TicketUse, on_delete=models.PROTECT, related_name="review", verbose_name=_("passage"))
    note = models.CharField(_("ce qui a été fait"), max_length=200)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("vu par")
    )
    at = models.DateTimeField(_("vu le"), auto_now_add=True)

    class Meta:
        verbose_name = _("passage vu")
        verbose_name_plural = _("passages vus")
        constraints = [models.CheckConstraint(condition=~Q(note=""), name="review_has_a_note")]
        triggers = [
            pgtrigger.Trigger(
                name="only_flagged_uses_are_reviewed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NOT EXISTS (SELECT 1 FROM bookings_ticketuse u WHERE u.id = NEW.use_id AND u.problem <> '') THEN
                        RAISE EXCEPTION 'bookings_ticketusereview: there was nothing to check about this use'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="reviews_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("reviews_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.use}\u00a0: {self.note}"


class ControllerQuerySet(models.QuerySet["Controller"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Controller(models.Model):
    """Somebody who may let people in with the tickets of a service, or of one activity of it, and sees nothing else of the
    administration: a bus driver, a pool's cashier. Staff of the service need no such row."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="doors", verbose_name=_("personne")
    )
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="+", verbose_name=_("service"))
    activity = models.ForeignKey(
        Activity, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("activité")
    )

    objects = ControllerQuerySet.as_manager()

    class Meta:
        verbose_name = _("contrôleur")
        verbose_name_plural = _("contrôleurs")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "service", "activity"], nulls_distinct=False, name="one_controller_per_door"
            )
        ]
        triggers = [
            pgtrigger.Trigger(
                name="door_is_of_its_service",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.activity_id IS NOT NULL"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM services_activity a
                        WHERE a.id = NEW.activity_id AND a.service_id = NEW.service_id AND a.kind <> 'calendar'
                    ) THEN
                        RAISE EXCEPTION 'bookings_controller: the activity is one of the service, and has tickets'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} – {self.activity or self.service}"
