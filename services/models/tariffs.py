"""What a slot costs: the grids that a council voted, and the fares in them."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, IntegerRangeField, RangeOperators
from django.db import models
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portal.common.formats import euros, short_date
from portal.common.money import MoneyField, round_cents
from services.models.access import AccessProfile
from services.models.catalogue import Service, Slot

if TYPE_CHECKING:
    from accounts.models import User


def everybody() -> NumericRange:
    """The band that holds every rank, quotient or age."""
    return NumericRange(None, None)


class TariffGridQuerySet(models.QuerySet["TariffGrid"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class TariffGrid(models.Model):
    """The fares that one decision (délibération) set for a service, over a range of dates (upper bound excluded)."""

    class RankBasis(models.TextChoices):
        NONE = "none", _("Pas de tarif selon le rang")
        DECLARED = "declared", _("Rang parmi les enfants déclarés")
        ENROLLED = "enrolled", _("Rang parmi les enfants inscrits au service cette année scolaire")
        PRESENT = "present", _("Rang parmi les enfants présents le même jour")

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="grids", verbose_name=_("service"))
    name = models.CharField(_("nom"), max_length=80, help_text=_("Par exemple : Tarifs 2026-2027."))
    decision = models.CharField(_("délibération n°"), max_length=80, blank=True)
    decision_date = models.DateField(_("délibération du"), null=True, blank=True)
    valid = DateRangeField(_("valable"), help_text=_("Du premier jour inclus au dernier jour exclu."))
    rank_basis = models.CharField(
        _("rang dans la fratrie"), max_length=10, choices=RankBasis, default=RankBasis.NONE, db_default=RankBasis.NONE
    )

    objects = TariffGridQuerySet.as_manager()

    class Meta:
        verbose_name = _("grille tarifaire")
        verbose_name_plural = _("grilles tarifaires")
        ordering = ["service__name", "-valid", "name"]
        constraints = [
            models.CheckConstraint(condition=Q(valid__isempty=False), name="grid_lasts"),
            models.UniqueConstraint(fields=["service", "name"], name="one_grid_per_name"),
        ]
        triggers = [
            # The fares carry the dates of their grid, which their exclusion constraint reads.
            pgtrigger.Trigger(
                name="fares_follow_their_grid",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("valid"),
                func="UPDATE services_tariff SET valid = NEW.valid WHERE grid_id = NEW.id; RETURN NULL;",
            ),
            pgtrigger.ReadOnly(name="grid_stays_with_its_service", fields=["service"]),
        ]

    def __str__(self) -> str:
        return f"{self.service} – {self.name}"

    @property
    def voted(self) -> str:
        """`délibération n° 2026-45 du 03/06/2026`; empty for a grid from before decisions were asked for."""
        if not self.decision:
            return ""
        text = _("délibération n° %s") % self.decision
        return f"{text} {_('du %s') % short_date(self.decision_date)}" if self.decision_date else text


class TariffQuerySet(models.QuerySet["Tariff"]):
    def by_quotient(self) -> Self:
        """Those that depend on the family's quotient: of a band of them, or a share of it."""
        return self.filter(Q(quotient__lower_inf=False) | Q(quotient__upper_inf=False) | Q(price=None))

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(profile__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Tariff(models.Model):
    """What a slot costs somebody in one situation, of some ranks, quotients and ages: a price, or a share of the quotient.

    `price` in euros; or the family's quotient times `rate`, within `floor` and `ceiling` (« taux d’effort »). A band is a
    range of integers, its upper bound excluded; unbounded, it holds everybody.
    """

    grid = models.ForeignKey(TariffGrid, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("grille"))
    slot = models.ForeignKey(
        Slot, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("type de prestation")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("situation")
    )
    rank = IntegerRangeField(_("rang"), default=everybody)
    quotient = IntegerRangeField(_("quotient familial"), default=everybody)
    age = IntegerRangeField(_("âge"), default=everybody)
    price = MoneyField(_("prix"), null=True, blank=True)
    rate = models.DecimalField(_("taux d’effort"), max_digits=8, decimal_places=6, null=True, blank=True)
    floor = MoneyField(_("plancher"), null=True, blank=True)
    ceiling = MoneyField(_("plafond"), null=True, blank=True)
    valid = DateRangeField(_("valable"), editable=False)

    objects = TariffQuerySet.as_manager()

    class Meta:
        verbose_name = _("tarif")
        verbose_name_plural = _("tarifs")
        ordering = ["slot__position", "slot", "profile__position", "profile", "rank", "quotient", "age"]
        constraints = [
            models.CheckConstraint(condition=Q(price=None) | Q(price__gte=0), name="price_is_not_negative"),
            models.CheckConstraint(
                condition=Q(price__isnull=False, rate=None, floor=None, ceiling=None)
                # NULL would pass a CHECK.
                | Q(price=None, rate__isnull=False, floor__isnull=False, ceiling__isnull=False)
                & Q(rate__gt=0, floor__gte=0, ceiling__gte=F("floor")),
                name="price_or_share_of_the_quotient",
            ),
            models.CheckConstraint(
                condition=Q(rank__isempty=False, quotient__isempty=False, age__isempty=False, valid__isempty=False),
                name="fare_is_for_somebody",
            ),
            ExclusionConstraint(
                name="one_price_at_a_time",
                expressions=[
                    ("slot", RangeOperators.EQUAL),
                    ("profile", RangeOperators.EQUAL),
                    ("rank", RangeOperators.OVERLAPS),
                    ("quotient", RangeOperators.OVERLAPS),
                    ("age", RangeOperators.OVERLAPS),
                    ("valid", RangeOperators.OVERLAPS),
                ],
                # The page of a grid moves the edge between two bands one row after the other, and puts this off until
                # both are written.
                deferrable=models.Deferrable.IMMEDIATE,
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="fare_belongs_to_its_grid",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                declare=[("cost", "numeric"), ("home", "bigint")],
                # The regulated fares of public services stay within what the service costs for one user.
                func="""
                    SELECT g.valid, g.service_id INTO NEW.valid, home FROM services_tariffgrid g WHERE g.id = NEW.grid_id;
                    SELECT s.cost_per_user INTO cost FROM services_slot s
                    JOIN services_activity a ON a.id = s.activity_id
                    JOIN services_accessprofile p ON p.id = NEW.profile_id
                    WHERE s.id = NEW.slot_id AND a.service_id = home AND p.service_id = home;
                    IF NOT FOUND THEN
                        RAISE EXCEPTION 'services_tariff: grid, slot and profile are of one service'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'fare_is_of_one_service';
                    END IF;
                    IF coalesce(NEW.price, NEW.ceiling) > cost THEN
                        RAISE EXCEPTION 'services_tariff: a fare is not above the cost per user'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'fare_is_within_the_cost';
                    END IF;
                    RETURN NEW;
                """,
            )
        ]

    def __str__(self) -> str:
        return f"{self.slot} – {self.profile}"

    @property
    def dearest(self) -> Decimal:
        """The most that anybody pays under this fare, in euros."""
        found = self.ceiling if self.price is None else self.price
        assert found is not None  # price_or_share_of_the_quotient
        return found

    @property
    def words(self) -> str:
        """`7,90 €`, or `0,5 % du quotient familial, de 1,00 € à 6,00 €`."""
        if self.price is not None:
            return euros(self.price)
        assert self.floor is not None
        assert self.ceiling is not None
        return _("%(rate)s du quotient familial, de %(floor)s à %(ceiling)s") % {
            "rate": self.rate_words,
            "floor": euros(self.floor),
            "ceiling": euros(self.ceiling),
        }

    @property
    def rate_words(self) -> str:
        """`0,5 %`."""
        assert self.rate is not None
        return f"{(self.rate * 100).normalize():f} %".replace(".", ",")

    def amount(self, quotient: int | None) -> Decimal:
        """What a family with this quotient pays, in euros; without one the ceiling."""
        if self.price is not None:
            return self.price
        assert self.rate is not None
        assert self.floor is not None
        assert self.ceiling is not None
        if quotient is None:
            return self.ceiling
        return min(max(round_cents(self.rate * quotient), self.floor), self.ceiling)

    def holds_on(self, date: dt.date) -> bool:
        """Whether it is in force that day."""
        valid = self.valid
        return (valid.lower is None or valid.lower <= date) and (valid.upper is None or date < valid.upper)
