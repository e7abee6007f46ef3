"""What communes offer: services, who may use them, activities, their slots, prices and open days."""

import datetime as dt
from typing import TYPE_CHECKING, Any, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateRangeField, RangeOperators
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from portal.common.formats import WEEKDAYS, hour
from portal.common.money import MoneyField

if TYPE_CHECKING:
    from accounts.models import User


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
    is_active = models.BooleanField(_("ouvert aux usagers"), default=True)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        verbose_name = _("service")
        verbose_name_plural = _("services")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("service", args=[self.slug])

    @property
    def commune_name(self) -> str:
        """The commune's name, or the agglomération's."""
        return self.commune.name if self.commune else str(_("Agglomération du Puy-en-Velay"))


class AccessProfileQuerySet(models.QuerySet["AccessProfile"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class AccessProfile(models.Model):
    """The « élément correspondant à votre situation » that fixes the price grid: Résident, 1er enfant, Tarif réduit…"""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="profiles", verbose_name=_("service"))
    label = models.CharField(_("situation"), max_length=120)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("proposé"), default=True)

    objects = AccessProfileQuerySet.as_manager()

    class Meta:
        verbose_name = _("situation")
        verbose_name_plural = _("situations")
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint(fields=["service", "label"], name="one_profile_per_label")]

    def __str__(self) -> str:
        return self.label


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def approved(self) -> Self:
        """Requests that open the booking of their service."""
        return self.filter(status=Subscription.Status.APPROVED, profile__service__is_active=True)

    def pending(self) -> Self:
        return self.filter(status=Subscription.Status.PENDING)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(profile__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Subscription(models.Model):
    """A user's request for access to a service in one situation (« Mes services »), decided by that service's staff."""

    class Status(models.TextChoices):
        PENDING = "pending", _("En attente")
        APPROVED = "approved", _("Validé")
        REFUSED = "refused", _("Refusé")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="subscriptions", verbose_name=_("usager")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, related_name="subscriptions", verbose_name=_("situation")
    )
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.PENDING, editable=False)
    requested_at = models.DateTimeField(_("demandé le"), auto_now_add=True)
    decided_at = models.DateTimeField(_("décidé le"), null=True, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("décidé par"),
    )
    reason = models.TextField(_("motif"), blank=True, editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("demande d’accès")
        verbose_name_plural = _("demandes d’accès")
        ordering = ["-requested_at"]
        constraints = [
            models.UniqueConstraint(fields=["user", "profile"], name="one_request_per_profile"),
            models.CheckConstraint(
                condition=Q(status="pending", decided_at=None) | (~Q(status="pending") & Q(decided_at__isnull=False)),
                name="request_decision_is_dated",
            ),
            models.CheckConstraint(condition=~Q(status="refused") | ~Q(reason=""), name="request_refusal_has_a_reason"),
        ]
        triggers = [
            pgtrigger.FSM(
                name="request_transitions",
                field="status",
                transitions=[
                    ("pending", "approved"),
                    ("pending", "refused"),
                    ("refused", "pending"),
                    ("refused", "approved"),
                    ("approved", "refused"),
                ],
            )
        ]
        indexes = [models.Index(fields=["profile", "status"], name="request_by_profile")]

    def __str__(self) -> str:
        return f"{self.profile.service} – {self.profile}"


class Deadline(models.Model):
    """A rule that says until when a day may be booked or cancelled, shared by the activities that name it.

    `before` days: `offset` days ahead at `time`, days of the skipped kinds not being counted (J-2 12:00).
    `week`: on `weekday` of the week before the day's week, at `time` (jeudi 12:00).
    """

    class Basis(models.TextChoices):
        DAYS = "days", _("Nombre de jours avant")
        WEEK = "week", _("Jour fixe de la semaine précédente")

    name = models.CharField(_("nom"), max_length=80, unique=True)
    basis = models.CharField(_("règle"), max_length=5, choices=Basis)
    offset = models.PositiveSmallIntegerField(
        _("nombre de jours"), default=0, validators=[MaxValueValidator(60)], help_text=_("0 : le jour même.")
    )
    weekday = models.PositiveSmallIntegerField(
        _("jour de la semaine"), null=True, blank=True, choices=list(enumerate(WEEKDAYS))
    )
    time = models.TimeField(_("heure"), default=dt.time(12))
    skip_weekends = models.BooleanField(_("sans compter samedis et dimanches"), default=True)
    skip_holidays = models.BooleanField(_("sans compter les jours fériés"), default=True)

    class Meta:
        verbose_name = _("délai")
        verbose_name_plural = _("délais")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(basis="days", weekday=None) | Q(basis="week", weekday__isnull=False),
                name="deadline_week_has_a_weekday",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ActivityQuerySet(models.QuerySet["Activity"]):
    def open(self) -> Self:
        """Activities that citizens see."""
        return self.filter(is_active=True, service__is_active=True)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Activity(models.Model):
    """What is booked (« produit »): « Inscription Accueil Périscolaire (mercredis) »."""

    class Kind(models.TextChoices):
        CALENDAR = "calendar", _("Calendrier")

    class Term(models.TextChoices):
        SCHOOL = "school", _("Semaines d’école")
        HOLIDAYS = "holidays", _("Vacances scolaires")
        ALWAYS = "always", _("Toute l’année")

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="activities", verbose_name=_("service"))
    name = models.CharField(_("nom"), max_length=120)
    slug = models.SlugField(max_length=140)
    description = models.TextField(_("présentation"), blank=True)
    kind = models.CharField(_("nature"), max_length=10, choices=Kind, default=Kind.CALENDAR)
    unit_name = models.CharField(
        _("unité"), max_length=40, default=_("date"), help_text=_("Ce qui est compté : repas, matinée, journée…")
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(choices=list(enumerate(WEEKDAYS))),
        verbose_name=_("jours d’ouverture"),
        help_text=_("0 = lundi … 6 = dimanche, séparés par des virgules."),
    )
    term = models.CharField(_("période"), max_length=10, choices=Term, default=Term.SCHOOL)
    open_on_public_holidays = models.BooleanField(_("ouvert les jours fériés"), default=False)
    capacity = models.PositiveIntegerField(_("places par jour"), validators=[MinValueValidator(1)])
    booking_opens_on = models.DateField(_("réservable à partir du"), null=True, blank=True)
    booking_deadline = models.ForeignKey(
        Deadline, on_delete=models.PROTECT, related_name="+", verbose_name=_("délai pour réserver")
    )
    cancel_deadline = models.ForeignKey(
        Deadline, on_delete=models.PROTECT, related_name="+", verbose_name=_("délai pour annuler")
    )
    may_overlap = models.BooleanField(
        _("compatible avec une autre réservation à la même heure"),
        default=False,
        help_text=_("Coché : un enfant peut avoir une autre réservation aux mêmes heures (un trajet de car, un vélo)."),
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
            models.CheckConstraint(condition=Q(capacity__gt=0), name="activity_has_places"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("activity", args=[self.service.slug, self.slug])


class SlotQuerySet(models.QuerySet["Slot"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(activity__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Slot(models.Model):
    """A way to attend (« type de prestation »): Matin, Matin + Repas, Journée…"""

    activity = models.ForeignKey(Activity, on_delete=models.PROTECT, related_name="slots", verbose_name=_("activité"))
    name = models.CharField(_("nom"), max_length=60)
    starts_at = models.TimeField(_("début"))
    ends_at = models.TimeField(_("fin"))
    includes_meal = models.BooleanField(_("repas compris"), default=False)
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
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def hours(self) -> str:
        """`7 h 30 – 12 h`."""
        return f"{hour(self.starts_at)} – {hour(self.ends_at)}"


class TariffQuerySet(models.QuerySet["Tariff"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(profile__service__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class Tariff(models.Model):
    """The price in euros of a slot for one situation, over a range of dates (upper bound excluded)."""

    slot = models.ForeignKey(
        Slot, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("type de prestation")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, related_name="tariffs", verbose_name=_("situation")
    )
    price = MoneyField(_("prix"))
    valid = DateRangeField(_("valable"), help_text=_("Du premier jour inclus au dernier jour exclu."))
    decision = models.CharField(_("délibération"), max_length=80, blank=True, help_text=_("Numéro et date."))

    objects = TariffQuerySet.as_manager()

    class Meta:
        verbose_name = _("tarif")
        verbose_name_plural = _("tarifs")
        ordering = ["valid"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="price_is_not_negative"),
            ExclusionConstraint(
                name="one_price_at_a_time",
                expressions=[
                    ("slot", RangeOperators.EQUAL),
                    ("profile", RangeOperators.EQUAL),
                    ("valid", RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.slot} – {self.profile}"


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
        return self.filter(is_open=True, book_until__gt=at)

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
    book_until = models.DateTimeField(_("réservable jusqu’au"))
    cancel_until = models.DateTimeField(_("annulable jusqu’au"))

    objects = OpenDayQuerySet.as_manager()

    class Meta:
        verbose_name = _("jour ouvert")
        verbose_name_plural = _("jours ouverts")
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(fields=["activity", "date"], name="one_open_day_per_date"),
            models.CheckConstraint(condition=Q(taken__lte=F("capacity")), name="places_are_not_oversold"),
            models.CheckConstraint(condition=Q(is_open=True) | ~Q(closed_reason=""), name="closed_day_says_why"),
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
            # Its bookings were made for this day of this activity.
            pgtrigger.ReadOnly(name="day_is_frozen", fields=["activity", "date"]),
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
