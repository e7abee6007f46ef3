"""Who waits for a place of a full day. An entry is one beneficiary, one day, one slot."""

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from families.models import Beneficiary
from services.models import AccessProfile, OpenDay, Slot

if TYPE_CHECKING:
    from accounts.models import User


class WaitingListEntryQuerySet(models.QuerySet["WaitingListEntry"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(open_day__activity__service__commune__in=user.commune_ids)

    def live(self) -> Self:
        """Entries that wait, or to which a place is offered."""
        return self.filter(ended_at=None)

    def waiting(self) -> Self:
        return self.filter(status=WaitingListEntry.Status.WAITING)

    def offered(self) -> Self:
        return self.filter(status=WaitingListEntry.Status.OFFERED)

    def on_days(self, days: Collection[int]) -> Self:
        return self.filter(open_day__in=days)

    def in_order(self) -> Self:
        """Day by day in the order in which places are offered; those who want to come together stand together."""
        return self.order_by("open_day", "priority", "rank", "party", "pk")

    def with_position(self) -> Self:
        """Each with `position`: 1 for who is next on its day. Only meaningful for those who wait."""
        before = (
            WaitingListEntry.objects.waiting()
            .filter(open_day=OuterRef("open_day"))
            .filter(Q(priority__lt=OuterRef("priority")) | Q(priority=OuterRef("priority"), rank__lt=OuterRef("rank")))
            .order_by()
            .values("open_day")
            .annotate(parties=Count("party", distinct=True))
            .values("parties")
        )
        return self.annotate(position=Coalesce(Subquery(before), 0) + 1)


# A reordering without a reason is refused by the row itself, whoever writes it.
REORDERED = "OLD.priority IS DISTINCT FROM NEW.priority OR OLD.rank IS DISTINCT FROM NEW.rank"

FITS_ITS_DAY = """
    IF NOT EXISTS (
        SELECT 1 FROM services_openday d JOIN services_slot s ON s.activity_id = d.activity_id
        JOIN services_activity a ON a.id = d.activity_id JOIN services_accessprofile p ON p.service_id = a.service_id
        WHERE d.id = NEW.open_day_id AND s.id = NEW.slot_id AND p.id = NEW.profile_id
    ) THEN
        RAISE EXCEPTION 'bookings_waitinglistentry: slot and situation belong to the activity of the day'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""

# What is offered is a place that is really held, for this child, day and slot: nothing else can be promised.
OFFER_HOLDS_ITS_PLACE = """
    IF NOT EXISTS (
        SELECT 1 FROM bookings_booking b
        WHERE b.id = NEW.booking_id AND b.status = 'held' AND b.beneficiary_id = NEW.beneficiary_id
          AND b.open_day_id = NEW.open_day_id AND b.slot_id = NEW.slot_id AND b.made_by_id = NEW.user_id
    ) THEN
        RAISE EXCEPTION 'bookings_waitinglistentry %: an offer holds the place that it offers', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


@pghistory.track(
    pghistory.UpdateEvent(label="before", row=pghistory.Old),
    append_only=True,
)
class WaitingListEntry(models.Model):
    """One beneficiary who waits for one slot of a full day.

    waiting -> offered -> taken | expired; waiting or offered -> left (by the family) | withdrawn (by the house).
    The entries of one `party` are offered a place together or not at all; those of one `series` were asked for at once.
    Everything about an entry moves under the lock of its day.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("En attente")
        OFFERED = "offered", _("Place proposée")
        TAKEN = "taken", _("Place prise")
        EXPIRED = "expired", _("Proposition expirée")
        LEFT = "left", _("Quittée par la famille")
        WITHDRAWN = "withdrawn", _("Fermée")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="waiting", verbose_name=_("demandé par")
    )
    beneficiary = models.ForeignKey(
        Beneficiary, on_delete=models.PROTECT, related_name="waiting", verbose_name=_("bénéficiaire")
    )
    open_day = models.ForeignKey(OpenDay, on_delete=models.PROTECT, related_name="waiting", verbose_name=_("jour"))
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+", verbose_name=_("type de prestation"))
    profile = models.ForeignKey(AccessProfile, on_delete=models.PROTECT, related_name="+", verbose_name=_("situation"))
    party = models.UUIDField(_("ensemble"), default=uuid.uuid4, editable=False)
    series = models.UUIDField(_("série"), default=uuid.uuid4, editable=False)
    priority = models.PositiveSmallIntegerField(_("priorité"), default=0, help_text=_("0 passe d’abord."))
    rank = models.FloatField(_("rang"), help_text=_("À priorité égale, le plus petit passe d’abord."))
    moved_at = models.DateTimeField(_("déplacé le"), null=True, editable=False)
    moved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("déplacé par"),
    )
    moved_reason = models.CharField(_("motif du déplacement"), max_length=200, blank=True, editable=False)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.WAITING)
    booking = models.OneToOneField(
        "bookings.Booking",
        on_delete=models.PROTECT,
        null=True,
        related_name="waiting_entry",
        verbose_name=_("place proposée"),
    )
    created_at = models.DateTimeField(_("inscrit le"), auto_now_add=True)
    offered_at = models.DateTimeField(_("proposée le"), null=True)
    ended_at = models.DateTimeField(_("terminé le"), null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("terminé par")
    )
    ended_reason = models.CharField(_("motif"), max_length=200, blank=True)

    position: int  # read by with_position

    objects = WaitingListEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("attente d’une place")
        verbose_name_plural = _("listes d’attente")
        ordering = ["open_day", "priority", "rank", "party", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["open_day", "beneficiary", "slot"], condition=Q(ended_at=None), name="waits_once"
            ),
            models.CheckConstraint(
                condition=Q(status="waiting", booking=None, offered_at=None, ended_at=None)
                | Q(status="offered", booking__isnull=False, offered_at__isnull=False, ended_at=None)
                | Q(status__in=["taken", "expired"], booking__isnull=False, ended_at__isnull=False)
                | Q(status__in=["left", "withdrawn"], ended_at__isnull=False),
                name="waiting_status_is_dated",
            ),
            models.CheckConstraint(condition=~Q(status="withdrawn") | ~Q(ended_reason=""), name="withdrawal_says_why"),
        ]
        triggers = [
            pgtrigger.FSM(
                name="waiting_transitions",
                field="status",
                transitions=[
                    ("waiting", "offered"),
                    ("waiting", "left"),
                    ("waiting", "withdrawn"),
                    ("offered", "taken"),
                    ("offered", "expired"),
                    ("offered", "left"),
                    ("offered", "withdrawn"),
                ],
            ),
            pgtrigger.ReadOnly(
                name="waiting_is_frozen",
                fields=["user", "beneficiary", "open_day", "slot", "profile", "party", "series", "created_at"],
            ),
            pgtrigger.Trigger(
                name="waiting_fits_its_day",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=FITS_ITS_DAY,
            ),
            pgtrigger.Trigger(
                name="reordering_says_why",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    f"(({REORDERED}) AND (NEW.moved_by_id IS NULL OR NEW.moved_reason = '' "
                    "OR NEW.moved_at IS NULL OR NEW.moved_at IS NOT DISTINCT FROM OLD.moved_at))"
                ),
                func="RAISE EXCEPTION 'bookings_waitinglistentry %: a place in the list changes with a reason', OLD.id;",
            ),
            pgtrigger.Trigger(
                name="offer_holds_its_place",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.status = 'offered'"),
                func=OFFER_HOLDS_ITS_PLACE,
            ),
        ]
        indexes = [
            models.Index(
                fields=["open_day", "priority", "rank"], condition=Q(status="waiting"), name="waiting_in_order"
            ),
            models.Index(fields=["user"], condition=Q(ended_at=None), name="waiting_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.beneficiary} – {self.open_day} – {self.slot}"


# --- Beside the bookings ---------------------------------------------------------------------------------------------

# Run by bookings.models.Booking: the place of an offer is not given away while the offer stands.
OFFER_ENDS_FIRST = """
    IF EXISTS (
        SELECT 1 FROM new_rows r JOIN bookings_waitinglistentry w ON w.booking_id = r.id
        WHERE w.status = 'offered' AND r.status <> 'held'
    ) THEN
        RAISE EXCEPTION 'bookings_booking: this place is offered to somebody who waits: the offer ends first'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
"""
