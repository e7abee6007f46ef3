"""What communes offer: services of a univers, their activities and the ways to attend them."""

import datetime as dt
from functools import cached_property
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from portal.common.formats import PARIS, euros, hour, of
from portal.common.money import MoneyField
from services.formulas import validity
from services.models.absences import AbsenceRule
from services.models.rules import Deadline, cancelling_is_never_late
from services.models.schools import School, levels_field

if TYPE_CHECKING:
    from accounts.models import User

AGGLOMERATION = _("Agglomération du Puy-en-Velay")  # who runs a service that names no commune


def named(service: str, commune: str | None) -> str:
    """A service's name, and its commune's (None: the agglomération's) where the name does not say it.

    `Mairie de Rosières – Garderie`, `Garderie (Rosières)`, `Piscine (Agglomération du Puy-en-Velay)`.
    """
    said = (_("Agglomération"),) if commune is None else (commune, of(commune))
    return service if any(str(words) in service for words in said) else f"{service} ({commune or AGGLOMERATION})"


class Category(models.Model):
    """An « univers » of the top navigation: Cantines, Garderies, Sports…"""

    name = models.CharField(_("nom"), max_length=60)
    slug = models.SlugField(unique=True)
    icon = models.CharField(
        _("icône"), max_length=30, default="grid", help_text=_("Nom d’un dessin de static/icons.svg.")
    )
    introduction = models.TextField(_("présentation"), blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("univers")
        verbose_name_plural = _("univers")
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("category", args=[self.slug])


# A service of a commune and its activities name that commune's rules or everybody's (services.models.rules).
SERVICE_NAMES_ITS_RULES = """
    IF EXISTS (
        SELECT 1 FROM services_deadline d
        LEFT JOIN services_activity a ON a.service_id = NEW.id
        WHERE d.id IN (NEW.booking_deadline_id, NEW.cancel_deadline_id, a.booking_deadline_id, a.cancel_deadline_id)
          AND d.commune_id IS NOT NULL AND d.commune_id IS DISTINCT FROM NEW.commune_id
    ) THEN
        RAISE EXCEPTION 'services_service: this deadline is another commune''s'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'deadline_is_of_its_commune';
    END IF;
    RETURN NEW;
"""
ACTIVITY_NAMES_ITS_RULES = """
    IF EXISTS (
        SELECT 1 FROM services_deadline d JOIN services_service s ON s.id = NEW.service_id
        WHERE d.id IN (NEW.booking_deadline_id, NEW.cancel_deadline_id)
          AND d.commune_id IS NOT NULL AND d.commune_id IS DISTINCT FROM s.commune_id
    ) THEN
        RAISE EXCEPTION 'services_activity: this deadline is another commune''s'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'deadline_is_of_its_commune';
    END IF;
    RETURN NEW;
"""


class ServiceQuerySet(models.QuerySet["Service"]):
    def visible_to(self, user: "User") -> Self:
        """The services of this member of staff's communes."""
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Service(models.Model):
    """What a mairie (or the agglomération, when no commune is named) runs: « Mairie de Rosières – Accueil de loisirs »."""

    commune = models.ForeignKey(
        Commune,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="services",
        verbose_name=_("commune"),
        help_text=_("Vide : service de l’agglomération."),
    )
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="services", verbose_name=_("univers"))
    name = models.CharField(_("nom"), max_length=120)
    slug = models.SlugField(max_length=140, unique=True)
    description = models.TextField(_("présentation"), blank=True)
    contact = models.CharField(_("contact"), max_length=160, blank=True)
    address = models.CharField(
        _("adresse"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_(
            "Du lieu d’accueil : rue, code postal et commune. L’attestation fiscale de frais de garde la nomme."
        ),
    )
    # Null only in the history of before there were any.
    booking_deadline = models.ForeignKey(
        Deadline, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("délai pour réserver")
    )
    cancel_deadline = models.ForeignKey(
        Deadline, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("délai pour annuler")
    )
    absence_rule = models.ForeignKey(
        AbsenceRule,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("absences"),
        help_text=_("Vide : une absence n’est jamais remboursée."),
    )
    yearly_access = models.BooleanField(
        _("accès pour une année scolaire"),
        default=False,
        db_default=False,
        help_text=_(
            "Les accès validés à partir de maintenant finissent avec l’année scolaire ; la famille les renouvelle."
        ),
    )
    is_active = models.BooleanField(_("ouvert aux usagers"), default=True)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        verbose_name = _("service")
        verbose_name_plural = _("services")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(booking_deadline__isnull=False, cancel_deadline__isnull=False), name="service_has_deadlines"
            )
        ]
        triggers = [
            cancelling_is_never_late(),
            pgtrigger.Trigger(
                name="service_names_its_rules",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert
                | pgtrigger.UpdateOf("commune_id", "booking_deadline_id", "cancel_deadline_id"),
                func=SERVICE_NAMES_ITS_RULES,
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("service", args=[self.slug])

    @property
    def commune_name(self) -> str:
        """The commune's name, or the agglomération's."""
        return self.commune.name if self.commune else str(AGGLOMERATION)

    @property
    def full_name(self) -> str:
        """Its name and whose it is (reads its commune)."""
        return named(self.name, self.commune.name if self.commune else None)


class ActivityQuerySet(models.QuerySet["Activity"]):
    def open(self) -> Self:
        """Activities that citizens see."""
        return self.filter(is_active=True, service__is_active=True)

    def with_deadlines(self) -> Self:
        """Each with what its rules read: its own deadlines and its service's."""
        return self.select_related(
            "booking_deadline__late",
            "cancel_deadline",
            "service__booking_deadline__late",
            "service__cancel_deadline",
        )

    def ruled_by(self, deadline: Deadline) -> Self:
        """Those whose days are booked, late or in time, or cancelled until what this deadline says."""
        own, inherited = Q(), Q()
        for name in ("booking_deadline", "booking_deadline__late", "cancel_deadline"):
            own |= Q(**{name: deadline})
            inherited |= Q(**{name.removesuffix("__late"): None, f"service__{name}": deadline})
        return self.filter(own | inherited)

    def with_limits(self) -> Self:
        """Each says whether it is for some schools only (`for_some_schools`): which ones is then asked for."""
        schools = Activity.schools.through.objects.filter(activity=models.OuterRef("pk"))
        return self.annotate(for_some_schools=models.Exists(schools))

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Activity(models.Model):
    """What is booked (« produit »): « Inscription Accueil Périscolaire (mercredis) »."""

    class Kind(models.TextChoices):
        CALENDAR = "calendar", _("Calendrier")
        TICKET = "ticket", _("E-billet (entrées)")
        PASS = "pass", _("Abonnement ou location")

    class Priority(models.TextChoices):
        RESIDENT = "resident", _("habitants de la commune")
        SIBLING = "sibling", _("enfants dont un frère ou une sœur vient déjà ce jour-là")

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="activities", verbose_name=_("service"))
    name = models.CharField(_("nom"), max_length=120)
    slug = models.SlugField(max_length=140)
    description = models.TextField(_("présentation"), blank=True)
    kind = models.CharField(_("nature"), max_length=10, choices=Kind, default=Kind.CALENDAR)
    unit_name = models.CharField(
        _("unité"), max_length=40, default=_("date"), help_text=_("Ce qui est compté : repas, matinée, journée…")
    )
    open_on_public_holidays = models.BooleanField(_("ouvert les jours fériés"), default=False)
    capacity = models.PositiveIntegerField(
        _("places par jour"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Pour une location : le nombre de vélos. Vide : autant qu’on en demande, sauf pour un calendrier."),
    )
    refund_days = models.PositiveSmallIntegerField(
        _("billet remboursable, en jours"),
        default=14,
        db_default=14,
        help_text=_("Après l’achat, tant qu’il n’a pas servi ; une location, avant son premier jour. 0 : jamais."),
    )
    booking_opens_on = models.DateField(_("réservable à partir du"), null=True, blank=True)
    booking_deadline = models.ForeignKey(
        Deadline,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("délai pour réserver"),
        help_text=_("Vide : celui du service."),
    )
    cancel_deadline = models.ForeignKey(
        Deadline,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("délai pour annuler"),
        help_text=_("Vide : celui du service."),
    )
    min_age = models.PositiveSmallIntegerField(
        _("à partir de (ans)"), null=True, blank=True, help_text=_("L’âge le jour de l’activité. Vide : sans limite.")
    )
    max_age = models.PositiveSmallIntegerField(
        _("jusqu’à (ans)"), null=True, blank=True, help_text=_("Compris : 12 vaut jusqu’à la veille des 13 ans.")
    )
    schools = models.ManyToManyField(
        School,
        blank=True,
        related_name="+",
        verbose_name=_("écoles"),
        help_text=_("Les élèves de ces écoles seulement. Aucune cochée : tous les enfants."),
    )
    levels = levels_field(
        _("niveaux"), help_text=_("Les élèves de ces niveaux seulement. Aucun coché : tous les niveaux.")
    )
    may_overlap = models.BooleanField(
        _("compatible avec une autre réservation à la même heure"),
        default=False,
        help_text=_("Coché : un enfant peut avoir une autre réservation aux mêmes heures (un trajet de car, un vélo)."),
    )
    waiting_list = models.BooleanField(
        _("liste d’attente"),
        default=True,
        help_text=_("Coché : une famille peut attendre une place d’un jour complet."),
    )
    waiting_order = ArrayField(
        models.CharField(max_length=10, choices=Priority),
        verbose_name=_("ordre de la liste d’attente"),
        default=list,
        blank=True,
        help_text=_("Qui passe d’abord. À égalité, et sans priorité : premier arrivé, premier servi."),
    )
    offer_hours = models.PositiveSmallIntegerField(
        _("délai pour prendre une place proposée, en heures"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(240)],
    )
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("ouvert aux usagers"), default=True)

    objects = ActivityQuerySet.as_manager()

    class Meta:
        verbose_name = _("activité")
        verbose_name_plural = _("activités")
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(fields=["service", "slug"], name="one_activity_per_slug"),
            # With its « is not null »: a CHECK that compares with nothing passes.
            models.CheckConstraint(
                condition=Q(kind__in=["calendar", "pass"], capacity__isnull=False, capacity__gt=0)
                | Q(kind__in=["ticket", "pass"], capacity=None),
                name="activity_has_places",
            ),
            models.CheckConstraint(condition=Q(offer_hours__range=(1, 240)), name="offer_lasts_a_while"),
            models.CheckConstraint(
                condition=Q(min_age=None) | Q(max_age=None) | Q(max_age__gte=F("min_age")), name="ages_are_in_order"
            ),
        ]
        triggers = [
            # Its slots, prices and what was sold were made for it.
            pgtrigger.ReadOnly(name="kind_is_frozen", fields=["kind"]),
            cancelling_is_never_late(),
            pgtrigger.Trigger(
                name="activity_names_its_rules",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("booking_deadline_id", "cancel_deadline_id"),
                func=ACTIVITY_NAMES_ITS_RULES,
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("activity", args=[self.service.slug, self.slug])

    @cached_property
    def slots_to_choose(self) -> "list[Slot]":
        """Its slots in use, where there are several: what a day or a period may tell apart."""
        found = list(self.slots.filter(is_active=True))
        return found if len(found) > 1 else []

    @property
    def booking_rule(self) -> Deadline:
        """Until when a day may be booked: the activity's own rule, or its service's."""
        found = self.booking_deadline or self.service.booking_deadline
        assert found is not None  # service_has_deadlines
        return found

    @property
    def cancel_rule(self) -> Deadline:
        """Until when a day may be cancelled: the activity's own rule, or its service's."""
        found = self.cancel_deadline or self.service.cancel_deadline
        assert found is not None  # service_has_deadlines
        return found


class SlotQuerySet(models.QuerySet["Slot"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Slot(models.Model):
    """A way to attend (« type de prestation »): Matin, Matin + Repas, Journée… ; of a ticket or pass, its formula.

    A calendar's slot has hours. A formula (« 1 entrée », « Carte 10 entrées », « 1 mois ») is valid for a time, for so many
    entries or as often as one likes.
    """

    class Unit(models.TextChoices):
        DAY = "day", _("jours")
        MONTH = "month", _("mois")
        SCHOOL_YEAR = "school_year", _("année scolaire")

    class Nature(models.TextChoices):
        CARE = "care", _("Garde")
        MEAL = "meal", _("Repas")
        BOTH = "both", _("Garde et repas")
        OTHER = "other", _("Autre (trajet, sport, sortie…)")

    activity = models.ForeignKey(Activity, on_delete=models.PROTECT, related_name="slots", verbose_name=_("activité"))
    name = models.CharField(_("nom"), max_length=60)
    starts_at = models.TimeField(_("début"), null=True, blank=True)
    ends_at = models.TimeField(_("fin"), null=True, blank=True)
    includes_meal = models.BooleanField(_("repas compris"), default=False)
    # What its price pays for on the childcare tax certificate, which counts care and no meals.
    nature = models.CharField(
        _("pour les impôts"),
        max_length=6,
        choices=Nature,
        blank=True,
        default="",
        db_default="",
        help_text=_("Garde et repas sont séparés sur l’attestation fiscale. Vide : le prix n’y est pas compté."),
    )
    meal_price = MoneyField(
        _("dont repas"),
        null=True,
        blank=True,
        help_text=_("De « Garde et repas » : la part du repas dans le prix, au plus le prix lui-même."),
    )
    capacity = models.PositiveIntegerField(
        _("places par jour"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Dans celles du jour. Vide : pas de limite propre. Ce qui est déjà réservé le reste."),
    )
    cost_per_user = MoneyField(
        _("coût par usager"),
        null=True,
        blank=True,
        help_text=_("Déclaré par la commune : aucun tarif ne peut le dépasser."),
    )
    entries = models.PositiveSmallIntegerField(
        _("entrées"), null=True, blank=True, help_text=_("Vide : autant qu’on veut pendant la validité.")
    )
    validity = models.PositiveSmallIntegerField(_("durée de validité"), null=True, blank=True)
    validity_unit = models.CharField(_("en"), max_length=12, choices=Unit, blank=True, default="", db_default="")
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("proposé"), default=True)

    objects = SlotQuerySet.as_manager()

    class Meta:
        verbose_name = _("type de prestation")
        verbose_name_plural = _("types de prestation")
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["activity", "name"], name="one_slot_per_name"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="slot_ends_after_it_starts"),
            models.CheckConstraint(condition=Q(cost_per_user=None) | Q(cost_per_user__gt=0), name="cost_is_positive"),
            models.CheckConstraint(
                condition=Q(nature="both", meal_price__isnull=False, meal_price__gt=0)
                | ~Q(nature="both") & Q(meal_price=None),
                name="care_with_a_meal_says_its_price",
            ),
            models.CheckConstraint(
                condition=Q(nature__in=["", "other"])
                | Q(nature="care", includes_meal=False)
                | Q(nature__in=["meal", "both"], includes_meal=True),
                name="nature_agrees_about_the_meal",
            ),
            models.CheckConstraint(
                condition=Q(
                    starts_at__isnull=False, ends_at__isnull=False, entries=None, validity=None, validity_unit=""
                )
                | Q(starts_at=None, ends_at=None, validity__isnull=False, validity__gt=0)
                & ~Q(validity_unit="")
                & (Q(entries=None) | Q(entries__isnull=False, entries__gt=0)),
                name="slot_has_hours_or_a_validity",
            ),
        ]
        triggers = [
            # The other half of services_tariff's fare_belongs_to_its_grid; fares of the past may have been above today's cost.
            pgtrigger.Trigger(
                name="cost_covers_the_fares",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("cost_per_user"),
                func="""
                    IF EXISTS (
                        SELECT 1 FROM services_tariff t WHERE t.slot_id = NEW.id
                        AND coalesce(t.price, t.ceiling) > NEW.cost_per_user
                        AND (upper(t.valid) IS NULL OR upper(t.valid) > (now() AT TIME ZONE 'Europe/Paris')::date)
                    ) THEN
                        RAISE EXCEPTION 'services_slot: a fare in force is above this cost'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'cost_covers_the_fares';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="slot_fits_its_activity",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("activity_id", "starts_at", "entries"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM services_activity a WHERE a.id = NEW.activity_id
                        AND (a.kind = 'calendar') = (NEW.starts_at IS NOT NULL)
                        AND (a.kind = 'ticket') = (NEW.entries IS NOT NULL)
                    ) THEN
                        RAISE EXCEPTION 'services_slot: a calendar has hours, a ticket has entries'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError for a meal's part above every price that the slot has had: a comma was forgotten."""
        super().clean()
        if self.pk is None or not self.meal_price:
            return
        prices = self.tariffs.aggregate(
            dearest=Max(Coalesce("price", "ceiling")), unbounded=Count("pk", filter=Q(price=None, ceiling=None))
        )
        dearest = prices["dearest"]
        if dearest is not None and not prices["unbounded"] and self.meal_price > dearest:
            raise ValidationError(
                _(
                    "La part du repas (%(meal)s) dépasse le prix le plus haut de cette prestation (%(price)s) : vérifiez-la."
                ),
                code="meal_above_price",
                params={"meal": euros(self.meal_price), "price": euros(dearest)},
            )

    @property
    def hours(self) -> str:
        """`7 h 30 – 12 h`; of a formula, how long it is good for: `valable 1 an`."""
        if self.starts_at is None or self.ends_at is None:
            return validity(self.validity or 0, self.validity_unit)
        return f"{hour(self.starts_at)} – {hour(self.ends_at)}"

    def span(self, date: dt.date) -> tuple[dt.datetime, dt.datetime]:
        """From when to when it is on a date, in Paris time. A formula has no hours: only a calendar's slot is asked."""
        assert self.starts_at is not None
        assert self.ends_at is not None  # slot_fits_its_activity
        return (
            dt.datetime.combine(date, self.starts_at, tzinfo=PARIS),
            dt.datetime.combine(date, self.ends_at, tzinfo=PARIS),
        )
