"""Who uses the platform: communes (the tenants), adults with an account, staff and what each may see."""

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated
from portal.common.formats import sort_key

postal_code = RegexValidator(r"^\d{5}$", _("Le code postal a cinq chiffres, par exemple 43000."))
phone_number = RegexValidator(
    r"^\+?[0-9][0-9 .]{8,18}$", _("Le numéro de téléphone a dix chiffres, par exemple 06 12 34 56 78.")
)


class CommuneQuerySet(models.QuerySet["Commune"]):
    def visible_to(self, user: "User") -> Self:
        """The communes whose rows this member of staff may reach."""
        if user.is_operator:
            return self
        return self.filter(pk__in=user.commune_ids)


class Commune(models.Model):
    """A commune of the agglomération; the tenant whose rows only its own agents reach."""

    insee_code = models.CharField(_("code Insee"), max_length=5, unique=True)
    name = models.CharField(_("nom"), max_length=80)
    name_key = models.CharField(max_length=80, editable=False, db_index=True)
    postal_code = models.CharField(_("code postal"), max_length=5, validators=[postal_code])
    population = models.PositiveIntegerField(_("population"))

    objects = CommuneQuerySet.as_manager()

    class Meta:
        verbose_name = _("commune")
        verbose_name_plural = _("communes")
        ordering = ["name_key"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.name_key = sort_key(self.name)
        super().save(*args, **kwargs)


class UserQuerySet(models.QuerySet["User"]):
    def visible_to(self, user: "User") -> Self:
        """The accounts this member of staff may reach: those whose file their communes hold."""
        if user.is_operator:
            return self
        return self.filter(pk__in=CommuneFile.objects.filter(commune__in=user.commune_ids).values("user"))

    def awaiting_validation(self) -> Self:
        """Citizens who have finished signing up and wait for an answer."""
        return self.filter(status=User.Status.PENDING, completed_at__isnull=False, is_staff=False)


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user: User = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        fields |= {
            "is_staff": True,
            "is_superuser": True,
            "status": User.Status.APPROVED,
            "decided_at": timezone.now(),
            "completed_at": timezone.now(),
        }
        return self.create_user(email, password, **fields)

    def get_by_natural_key(self, email: str | None) -> "User":
        return self.get(email=(email or "").lower())


@pghistory.track(
    pghistory.InsertEvent(),
    pghistory.UpdateEvent(condition=pghistory.AnyChange(exclude=["password", "last_login"])),
    exclude=["password", "last_login"],
    append_only=True,
)
class User(AbstractBaseUser, PermissionsMixin):
    """An adult who holds an account (« usager ») or works for a mairie or the agglomération; signs in by e-mail."""

    class Title(models.TextChoices):
        MR = "M", _("M.")
        MRS = "MME", _("Mme")

    class Status(models.TextChoices):
        PENDING = "pending", _("En attente")
        APPROVED = "approved", _("Validé")
        REFUSED = "refused", _("Refusé")

    email = models.EmailField(
        _("adresse e-mail"), unique=True, error_messages={"unique": _("Cette adresse est déjà utilisée.")}
    )
    title = models.CharField(_("civilité"), max_length=3, choices=Title, blank=True)
    first_name = models.CharField(_("prénom"), max_length=80)
    last_name = models.CharField(_("nom"), max_length=80)
    birth_date = models.DateField(_("date de naissance"), null=True, blank=True)
    phone = models.CharField(_("téléphone"), max_length=20, blank=True, validators=[phone_number])
    company = models.CharField(_("société"), max_length=120, blank=True)
    commune = models.ForeignKey(
        Commune,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("commune de résidence"),
        related_name="+",
    )
    newsletter = models.BooleanField(_("reçoit la lettre d’information"), default=False)
    partner_offers = models.BooleanField(_("reçoit les offres des partenaires"), default=False)
    reminders = models.BooleanField(_("reçoit les rappels de réservation"), default=True, db_default=True)

    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.PENDING, editable=False)
    completed_at = models.DateTimeField(_("inscription terminée le"), null=True, editable=False)
    decided_at = models.DateTimeField(_("décidé le"), null=True, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("décidé par"),
    )
    decision_reason = models.TextField(_("motif"), blank=True, editable=False)

    is_active = models.BooleanField(_("actif"), default=True)
    is_staff = models.BooleanField(_("membre du personnel"), default=False)
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)

    objects = UserManager()
    USERNAME_FIELD = EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("usager")
        verbose_name_plural = _("usagers")
        ordering = ["last_name", "first_name"]
        constraints = [
            models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_is_lower_case"),
            models.CheckConstraint(
                condition=Q(status="pending", decided_at=None) | (~Q(status="pending") & Q(decided_at__isnull=False)),
                name="user_decision_is_dated",
            ),
            models.CheckConstraint(
                condition=~Q(status="refused") | ~Q(decision_reason=""), name="user_refusal_has_a_reason"
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="user_transitions",
                field="status",
                transitions=[
                    ("pending", "approved"),
                    ("pending", "refused"),
                    ("refused", "approved"),
                    ("approved", "refused"),
                ],
            ),
            # A trigger and not a CHECK: the first accounts of an installation come in decided by nobody.
            pgtrigger.Trigger(
                name="user_decision_is_signed",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("status", "decided_by_id"),
                condition=pgtrigger.Condition(
                    "NEW.status <> 'pending' AND NEW.decided_by_id IS NULL AND NOT NEW.is_superuser "
                    "AND (OLD.status <> NEW.status OR OLD.decided_by_id IS NOT NULL)"
                ),
                func="RAISE EXCEPTION 'accounts_user %: a decision names who took it', OLD.id;",
            ),
        ]
        indexes = [models.Index(fields=["status", "created_at"], name="user_by_status")]

    def __str__(self) -> str:
        return self.get_full_name() or self.email

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name

    @property
    def is_approved(self) -> bool:
        """Whether the account has been validated and may book and pay."""
        return self.status == self.Status.APPROVED

    @property
    def is_operator(self) -> bool:
        """Whether this person works for the agglomération and reaches every commune."""
        return self.is_staff and self.is_active and (self.is_superuser or None in self.staff_communes)

    @property
    def commune_ids(self) -> frozenset[int]:
        """The communes this member of staff works for."""
        return frozenset(pk for pk in self.staff_communes if pk is not None)

    @property
    def staff_communes(self) -> frozenset[int | None]:
        """The communes of all staff roles, None standing for the agglomération; read once per request."""
        return frozenset(self._roles) if self.is_staff and self.is_active else frozenset()

    @property
    def till_communes(self) -> frozenset[int]:
        """The communes at whose counter this person takes money for the régie (« mandataire »)."""
        return frozenset(pk for pk, takes_money in self._roles.items() if pk is not None and takes_money)

    @property
    def takes_money(self) -> bool:
        """Whether this person takes money at a counter: the agglomération's operators, and agents named for it."""
        return self.is_operator or bool(self.till_communes)

    @property
    def _roles(self) -> dict[int | None, bool]:
        if not hasattr(self, "_staff_roles"):
            roles = (
                StaffRole.objects.filter(user=self) if self.is_staff and self.is_active else StaffRole.objects.none()
            )
            self._staff_roles: dict[int | None, bool] = {role.commune_id: role.takes_money for role in roles}
        return self._staff_roles


@pghistory.track(append_only=True)
class StaffRole(models.Model):
    """What a member of staff may reach: one commune's rows, or all of them for the agglomération."""

    class Kind(models.TextChoices):
        AGENT = "agent", _("Agent de mairie")
        OPERATOR = "operator", _("Opérateur de l’agglomération")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="staff_roles", verbose_name=_("personne"))
    kind = models.CharField(_("rôle"), max_length=10, choices=Kind)
    commune = models.ForeignKey(Commune, on_delete=models.PROTECT, null=True, blank=True, verbose_name=_("commune"))
    takes_money = models.BooleanField(
        _("mandataire de la régie"),
        default=False,
        db_default=False,
        help_text=_("Encaisse au guichet de sa commune\u00a0; nommé par un acte de l’agglomération."),
    )

    class Meta:
        verbose_name = _("rôle")
        verbose_name_plural = _("rôles")
        constraints = [
            models.UniqueConstraint(fields=["user", "commune"], nulls_distinct=False, name="one_role_per_commune"),
            models.CheckConstraint(
                condition=Q(kind="operator", commune=None) | Q(kind="agent", commune__isnull=False),
                name="agent_has_a_commune",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} – {self.commune or _('toutes les communes')}"


class CommuneFile(models.Model):
    """A commune's reason to see an account: the person lives there, or asked for one of its services.

    Written by the actions that create the reason, so that what an agent may see is one indexed look-up and
    a line that can be explained to the person.
    """

    class Reason(models.TextChoices):
        RESIDENT = "resident", _("Réside dans la commune")
        REQUEST = "request", _("A demandé un service de la commune")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="commune_files")
    commune = models.ForeignKey(Commune, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(_("motif"), max_length=10, choices=Reason)
    since = models.DateTimeField(_("depuis"), auto_now_add=True)

    class Meta:
        verbose_name = _("dossier de commune")
        verbose_name_plural = _("dossiers de commune")
        constraints = [models.UniqueConstraint(fields=["commune", "user", "reason"], name="one_file_per_reason")]

    def __str__(self) -> str:
        return f"{self.commune} : {self.get_reason_display()}"


class AddressQuerySet(models.QuerySet["Address"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)


class Address(models.Model):
    """A postal address of an account, asked for in the checkout."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="addresses")
    label = models.CharField(_("nom de l’adresse"), max_length=40, default=_("Domicile"))
    line1 = models.CharField(_("numéro et voie"), max_length=120)
    line2 = models.CharField(_("complément d’adresse"), max_length=120, blank=True)
    postal_code = models.CharField(_("code postal"), max_length=5, validators=[postal_code])
    city = models.CharField(_("ville"), max_length=80)
    is_default = models.BooleanField(_("adresse principale"), default=False)

    objects = AddressQuerySet.as_manager()

    class Meta:
        verbose_name = _("adresse")
        verbose_name_plural = _("adresses")
        ordering = ["-is_default", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(is_default=True), name="one_default_address")
        ]

    def __str__(self) -> str:
        return ", ".join(part for part in (self.line1, self.line2, f"{self.postal_code} {self.city}") if part)


class TermsQuerySet(models.QuerySet["Terms"]):
    def current(self, kind: "Terms.Kind") -> "Terms":
        """The version in force. Raises Terms.DoesNotExist when none is published."""
        return self.newest(kind)[:1].get()

    def newest(self, kind: "Terms.Kind") -> Self:
        """The published versions of a text, the one in force first."""
        return self.filter(kind=kind, published_at__lte=timezone.now()).order_by("-published_at")

    def in_force(self, kinds: "Iterable[Terms.Kind]") -> "dict[str, Terms]":
        """The versions in force of several texts, by kind; a text that is not published is missing."""
        published = self.filter(kind__in=kinds, published_at__lte=timezone.now())
        return {terms.kind: terms for terms in published.order_by("kind", "-published_at").distinct("kind")}


class Terms(models.Model):
    """One version of the conditions that people accept; from the moment it is published it never changes.

    Not from its first acceptance: an order, a sign-up and whatever comes later keep that each in their own table.
    """

    class Kind(models.TextChoices):
        SALE = "sale", _("Conditions générales de vente")
        USE = "use", _("Conditions générales d’utilisation")
        PRIVACY = "privacy", _("Politique de confidentialité")

    kind = models.CharField(_("texte"), max_length=10, choices=Kind)
    version = models.CharField(_("version"), max_length=20)
    body = models.TextField(_("texte"))
    published_at = models.DateTimeField(_("publié le"))

    objects = TermsQuerySet.as_manager()

    class Meta:
        verbose_name = _("texte légal")
        verbose_name_plural = _("textes légaux")
        ordering = ["kind", "-published_at"]
        constraints = [models.UniqueConstraint(fields=["kind", "version"], name="one_text_per_version")]
        triggers = [
            pgtrigger.Trigger(
                name="published_text_is_frozen",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Condition("OLD.published_at <= now()"),
                func="RAISE EXCEPTION 'accounts_terms %: this version is published; publish a new one', OLD.id;",
            ),
            not_truncated("texts_are_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, version {self.version}"

    def get_absolute_url(self) -> str:
        return reverse("terms", args=[self.kind])

    @property
    def is_published(self) -> bool:
        """Whether its moment has come: people read and accept it, and it no longer changes."""
        return self.published_at <= timezone.now()


class Consent(models.Model):
    """Somebody accepted one version of a text at a moment."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="consents")
    terms = models.ForeignKey(Terms, on_delete=models.PROTECT, related_name="+")
    accepted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("acceptation")
        verbose_name_plural = _("acceptations")
        constraints = [models.UniqueConstraint(fields=["user", "terms"], name="one_consent_per_version")]

    def __str__(self) -> str:
        return f"{self.terms} ({self.accepted_at:%d/%m/%Y})"


def document_path(document: "SupportingDocument", _name: str) -> str:
    """A random name: nothing of what the person called the file reaches the disk."""
    return f"justificatifs/{uuid.uuid4().hex}"


class SupportingDocumentQuerySet(models.QuerySet["SupportingDocument"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)

    def visible_to(self, user: User) -> Self:
        return self.filter(user__in=User.objects.visible_to(user))


class SupportingDocument(models.Model):
    """A proof that a person sent (« pièce justificative »), checked and cleaned before it is stored."""

    class Kind(models.TextChoices):
        HOME = "home", _("Justificatif de domicile")
        INCOME = "income", _("Quotient familial ou avis d’imposition")
        FAMILY = "family", _("Livret de famille")
        INSURANCE = "insurance", _("Assurance scolaire")
        OTHER = "other", _("Autre document")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="documents")
    kind = models.CharField(_("nature"), max_length=10, choices=Kind)
    file = models.FileField(_("fichier"), upload_to=document_path)
    name = models.CharField(_("nom du fichier"), max_length=100)
    content_type = models.CharField(max_length=40)
    size = models.PositiveIntegerField(_("taille en octets"))
    sent_at = models.DateTimeField(_("envoyé le"), auto_now_add=True)

    objects = SupportingDocumentQuerySet.as_manager()

    class Meta:
        verbose_name = _("pièce justificative")
        verbose_name_plural = _("pièces justificatives")
        ordering = ["-sent_at"]
        constraints = [models.CheckConstraint(condition=Q(size__gt=0), name="document_is_not_empty")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.name})"
