"""What a mairie decides on: accounts and requests for access, shown with the children they are for."""

from collections.abc import Callable, Sequence
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Exists, OuterRef, Prefetch, Q
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

import families.admin_quotients
import families.admin_schools  # noqa: F401  registers the pupils
from accounts.actions import approve_user, decided_by, obstacle_to_deciding, refuse_user
from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, Todo, staff
from accounts.admin_decisions import DecisionAdmin
from accounts.downloads import private_download
from accounts.models import SupportingDocument, User
from families.models import Beneficiary, Filiation
from portal.common.errors import Refused
from portal.common.formats import enumeration, short_date
from services.actions import approve_subscription, confirm_renewal, refuse_subscription
from services.models import Subscription

CHILDREN = Prefetch(
    "filiations",
    queryset=Filiation.objects.filter(ended_at=None)
    .select_related("beneficiary")
    .order_by("beneficiary__birth_date", "pk"),
    to_attr="living_filiations",
)


def children_of(user: Any) -> str:
    return enumeration(str(link.beneficiary) for link in user.living_filiations) or "–"


# --- Accounts ----------------------------------------------------------------------------------------------------------


class AccountStateFilter(admin.SimpleListFilter):
    """A person who has not finished signing up is « en attente » too, but nobody has anything to decide yet."""

    title = gettext_lazy("situation du compte")
    parameter_name = "etat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("a-valider", _("À valider")),
            ("en-cours", _("Inscription en cours")),
            ("valide", _("Validé")),
            ("refuse", _("Refusé")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "a-valider":
                return queryset.awaiting_validation().filter(pk__in=decided_by(staff(request)).values("pk"))
            case "en-cours":
                return queryset.filter(status=User.Status.PENDING, completed_at=None)
            case "valide":
                return queryset.filter(status=User.Status.APPROVED)
            case "refuse":
                return queryset.filter(status=User.Status.REFUSED)
        return queryset


class StaffFilter(admin.SimpleListFilter):
    title = gettext_lazy("personne")
    parameter_name = "personnel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("non", _("Usager")), ("oui", _("Membre du personnel"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(is_staff=self.value() == "oui") if self.value() in ("oui", "non") else queryset


@admin.register(User)
class AccountAdmin(DecisionAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    subject = gettext_lazy("Compte")
    keeps = gettext_lazy(
        "Le porte-monnaie et les réservations de la personne restent\u00a0: rien n’est annulé ni remboursé, mais elle ne peut "
        "plus réserver, annuler ni payer tant que le compte est refusé."
    )
    # What the apps above know of an account (its money, its bookings) and families may not import: they add to this.
    stakes: list[Callable[[Sequence[User], User], dict[int, str]]] = []
    # And panels of a person's page, for who looks at it.
    panels_above: list[Callable[[User, User], Sequence[dict[str, Any]]]] = []
    reason_field = "decision_reason"
    list_display = ["name", "email", "email_is_verified", "commune", "children", "state", "finished"]
    list_filter = [AccountStateFilter, "commune", StaffFilter]
    list_select_related = ["commune"]
    search_fields = [
        "last_name",
        "first_name",
        "email",
        "phone",
        "filiations__beneficiary__first_name",
        "filiations__beneficiary__last_name",
    ]
    search_help_text = gettext_lazy("Nom, adresse e-mail, téléphone ou nom d’un enfant.")
    ordering = ["last_name", "first_name", "pk"]
    fieldsets = [
        (_("Personne"), {"fields": ["title", "last_name", "first_name", "birth_date", "company"]}),
        (
            _("Coordonnées"),
            {"fields": ["email", "email_is_verified", "phone", "residence", "addresses"]},
        ),
        (_("Compte"), {"fields": ["state", "created_at", "completed_at", "last_login"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        verified = EmailAddress.objects.filter(user=OuterRef("pk"), email=OuterRef("email"), verified=True)
        return super().get_queryset(request).annotate(verified=Exists(verified)).prefetch_related(CHILDREN)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [
            each for each in super().get_list_filter(request) if each is not StaffFilter or staff(request).is_operator
        ]

    def todo(self, request: HttpRequest) -> list[Todo]:
        waiting = decided_by(staff(request)).awaiting_validation().count()
        words = ngettext("Compte à valider", "Comptes à valider", waiting or 2)  # « À jour » names them in the plural
        return [Todo(words, waiting, self.url("changelist") + "?etat=a-valider")]

    def approve(self, obj: User, by: User) -> None:
        approve_user(user=obj, by=by)

    def refuse(self, obj: User, reason: str, by: User) -> None:
        refuse_user(user=obj, reason=reason, by=by)

    def obstacle(self, obj: User, by: User, *, refusing: bool) -> Refused | None:
        return obstacle_to_deciding(obj, by=by, refusing=refusing)

    def at_stake(self, rows: Sequence[User], by: User) -> dict[int, list[str]]:
        told = [stake(rows, by) for stake in self.stakes]
        return {row.pk: [said[row.pk] for said in told if row.pk in said] for row in rows}

    def label_for(self, obj: User) -> str:
        return f"{obj} ({obj.email})"

    # -- Columns --

    @admin.display(description=gettext_lazy("nom"), ordering="last_name")
    def name(self, obj: User) -> str:
        return f"{obj.last_name} {obj.first_name}".strip() or obj.email

    @admin.display(description=gettext_lazy("e-mail vérifié"))
    def email_is_verified(self, obj: User) -> str:
        return _("Vérifié") if obj.verified else _("Non vérifié")  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("commune de résidence"))
    def residence(self, obj: User) -> str:
        return str(obj.commune or _("Hors de l’agglomération"))

    @admin.display(description=gettext_lazy("enfants et bénéficiaires"))
    def children(self, obj: User) -> str:
        return children_of(obj)

    @admin.display(description=gettext_lazy("situation"), ordering="status")
    def state(self, obj: User) -> str:
        if obj.status == User.Status.PENDING and obj.completed_at is None:
            return _("Inscription en cours")
        return obj.get_status_display()

    @admin.display(description=gettext_lazy("inscrit le"), ordering="completed_at")
    def finished(self, obj: User) -> str:
        return short_date(timezone.localdate(obj.completed_at)) if obj.completed_at else "–"

    @admin.display(description=gettext_lazy("adresses postales"))
    def addresses(self, obj: User) -> str:
        return " · ".join(str(address) for address in obj.addresses.all()) or "–"

    # -- The file --

    def panels(self, request: HttpRequest, obj: User) -> Sequence[dict[str, Any]]:
        children = [
            [
                link.beneficiary,
                short_date(link.beneficiary.birth_date) if link.beneficiary.birth_date else "–",
                link.get_kind_display(),
            ]
            for link in obj.living_filiations  # type: ignore[attr-defined]
        ]
        documents = [
            [
                format_html(
                    '<a href="{}">{}</a>',
                    reverse("admin:accounts_user_document", args=[obj.pk, document.pk]),
                    _("Télécharger «\u00a0%s\u00a0»") % document.name,
                ),
                document.get_kind_display(),
                short_date(timezone.localdate(document.sent_at)),
            ]
            for document in SupportingDocument.objects.visible_to(staff(request)).filter(user=obj)
        ]
        requests = [
            [
                format_html(
                    '<a href="{}">{}</a>',
                    reverse("admin:services_subscription_change", args=[row.pk]),
                    row.profile.service,
                ),
                row.profile,
                row.get_status_display(),
                short_date(timezone.localdate(row.requested_at)),
            ]
            for row in Subscription.objects.visible_to(staff(request))
            .filter(user=obj)
            .select_related("profile__service")
        ]
        return [
            {
                "title": _("Enfants et bénéficiaires"),
                "head": [_("Nom"), _("Date de naissance"), _("Filiation")],
                "rows": children,
                "empty": _("Personne n’est déclaré sur ce compte."),
            },
            {
                "title": _("Pièces justificatives"),
                "head": [_("Fichier"), _("Nature"), _("Envoyée le")],
                "rows": documents,
                "empty": _("Aucune pièce n’a été envoyée."),
            },
            {
                "title": _("Demandes d’accès"),
                "head": [_("Service"), _("Situation"), _("Statut"), _("Demandée le")],
                "rows": requests,
                "empty": _("Aucune demande pour vos services."),
            },
            *(panel for above in self.panels_above for panel in above(obj, staff(request))),
        ]

    def get_urls(self) -> list[Any]:
        address = "<int:user_pk>/pieces/<int:pk>/"
        return [path(address, self.guarded(self.document_view), name="accounts_user_document"), *super().get_urls()]

    def document_view(self, request: HttpRequest, user_pk: int, pk: int) -> HttpResponse | FileResponse:
        """A supporting document, always as a download: nothing of it is shown under our own address."""
        user = self.object_or_404(request, str(user_pk))
        if not self.has_view_permission(request, user):
            raise PermissionDenied
        document = get_object_or_404(SupportingDocument.objects.visible_to(staff(request)), user=user, pk=pk)
        return private_download(document.file, name=document.name, content_type=document.content_type)


# --- Requests for access -----------------------------------------------------------------------------------------------


class RenewalFilter(admin.SimpleListFilter):
    """Those whose family asks for another school year."""

    title = gettext_lazy("renouvellement")
    parameter_name = "renouveler"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("oui", _("Demandé"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.renewing() if self.value() == "oui" else queryset


@admin.register(Subscription)
class RequestAdmin(DecisionAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    subject = gettext_lazy("Demande d’accès")
    list_display = ["person", "email", "children", "service", "situation", "status", "asked"]
    list_filter = ["status", RenewalFilter, "profile__service", "profile__service__category"]
    actions = ["approve_selected", "refuse_selected", "renew_selected"]
    shared = ["category"]
    list_select_related = ["user", "profile__service"]
    search_fields = [
        "user__last_name",
        "user__first_name",
        "user__email",
        "user__filiations__beneficiary__first_name",
        "user__filiations__beneficiary__last_name",
        "profile__service__name",
    ]
    search_help_text = gettext_lazy("Nom, adresse e-mail, nom d’un enfant ou service.")
    ordering = ["-requested_at", "-pk"]
    fieldsets = [
        (None, {"fields": ["account", "email", "phone", "residence", "account_state"]}),
        (_("Demande"), {"fields": ["service", "situation", "status", "requested_at", "valid_until"]}),
    ]
    readonly_fields = ["account", "email", "phone", "residence", "account_state", "service", "situation"]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Subscription]:
        rows = super().get_queryset(request).select_related("user__commune", "profile__service")
        return rows.prefetch_related(
            Prefetch("user__filiations", queryset=CHILDREN.queryset, to_attr="living_filiations")
        )

    def todo(self, request: HttpRequest) -> list[Todo]:
        waiting = Subscription.objects.visible_to(staff(request)).pending().count()
        words = ngettext("Demande d’accès à valider", "Demandes d’accès à valider", waiting or 2)
        renewing = Subscription.objects.visible_to(staff(request)).renewing().count()
        more = ngettext("Renouvellement à confirmer", "Renouvellements à confirmer", renewing or 2)
        return [
            Todo(words, waiting, self.url("changelist") + "?status__exact=pending"),
            Todo(more, renewing, self.url("changelist") + "?renouveler=oui"),
        ]

    @admin.action(description=gettext_lazy("Confirmer le renouvellement"), permissions=["decide"])
    def renew_selected(self, request: HttpRequest, queryset: models.QuerySet[Subscription]) -> None:
        done = 0
        for row in self._few_enough(request, queryset):
            try:
                confirm_renewal(subscription=row, by=staff(request))
                done += 1
            except Refused as refusal:
                self.say(request, messages.ERROR, [f"{row.user} : {refusal}"])
        if done:
            said = ngettext("%d accès est renouvelé.", "%d accès sont renouvelés.", done) % done
            self.say(request, messages.SUCCESS, [said])

    def approve(self, obj: Subscription, by: User) -> None:
        approve_subscription(subscription=obj, by=by)

    def refuse(self, obj: Subscription, reason: str, by: User) -> None:
        refuse_subscription(subscription=obj, reason=reason, by=by)

    # -- Columns --

    @admin.display(description=gettext_lazy("usager"), ordering="user__last_name")
    def person(self, obj: Subscription) -> str:
        return f"{obj.user.last_name} {obj.user.first_name}".strip() or obj.user.email

    @admin.display(description=gettext_lazy("demandé le"), ordering="requested_at")
    def asked(self, obj: Subscription) -> str:
        return short_date(timezone.localdate(obj.requested_at))

    @admin.display(description=gettext_lazy("usager"))
    def account(self, obj: Subscription) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[obj.user_id]), obj.user)

    @admin.display(description=gettext_lazy("adresse e-mail"), ordering="user__email")
    def email(self, obj: Subscription) -> str:
        return obj.user.email

    @admin.display(description=gettext_lazy("téléphone"))
    def phone(self, obj: Subscription) -> str:
        return obj.user.phone

    @admin.display(description=gettext_lazy("commune de résidence"))
    def residence(self, obj: Subscription) -> str:
        return str(obj.user.commune or _("Hors de l’agglomération"))

    @admin.display(description=gettext_lazy("compte"))
    def account_state(self, obj: Subscription) -> str:
        return obj.user.get_status_display()

    @admin.display(description=gettext_lazy("enfants et bénéficiaires"))
    def children(self, obj: Subscription) -> str:
        return children_of(obj.user)

    @admin.display(description=gettext_lazy("service"), ordering="profile__service__name")
    def service(self, obj: Subscription) -> str:
        return str(obj.profile.service)

    @admin.display(description=gettext_lazy("situation"), ordering="profile__label")
    def situation(self, obj: Subscription) -> str:
        return str(obj.profile)

    def panels(self, request: HttpRequest, obj: Subscription) -> Sequence[dict[str, Any]]:
        rows = [
            [
                link.beneficiary,
                short_date(link.beneficiary.birth_date) if link.beneficiary.birth_date else "–",
                link.get_kind_display(),
            ]
            for link in obj.user.living_filiations  # type: ignore[attr-defined]
        ]
        return [
            {
                "title": _("Enfants et bénéficiaires"),
                "head": [_("Nom"), _("Date de naissance"), _("Filiation")],
                "rows": rows,
                "empty": _("Personne n’est déclaré sur ce compte."),
            }
        ]


# --- Beneficiaries -----------------------------------------------------------------------------------------------------


class FiliationInline(ReadOnlyInline):
    """The adults who answer for a child, as far as the person may see their accounts."""

    model = Filiation
    agents = Right.VIEW
    fields = ["account", "kind", "created_at", "ended_at"]
    verbose_name_plural = gettext_lazy("Adultes qui en répondent")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Filiation]:
        return super().get_queryset(request).select_related("user")

    @admin.display(description=gettext_lazy("compte"))
    def account(self, obj: Filiation) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[obj.user_id]), obj.user)


@admin.register(Beneficiary)
class BeneficiaryAdmin(ReadOnlyAdmin):
    """Families declare and correct their children themselves; here they are looked up."""

    agents = Right.VIEW
    list_display = ["name", "birth_date", "adults"]
    search_fields = ["last_name", "first_name", "filiations__user__last_name", "filiations__user__email"]
    search_help_text = gettext_lazy("Nom de l’enfant, nom ou adresse e-mail d’un adulte.")
    ordering = ["last_name", "first_name", "pk"]
    fields = ["first_name", "last_name", "birth_date", "created_at"]
    inlines = [FiliationInline]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Beneficiary]:
        links = Filiation.objects.visible_to(staff(request)).filter(ended_at=None).select_related("user")
        return (
            super()
            .get_queryset(request)
            .prefetch_related(Prefetch("filiations", queryset=links, to_attr="adult_links"))
        )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """A search for the other parent's name must not find a child by an account that one may not see."""
        if staff(request).is_operator or not search_term:
            return super().get_search_results(request, queryset, search_term)
        links = Filiation.objects.visible_to(staff(request))
        for word in search_term.split():
            by_adult = links.filter(Q(user__last_name__icontains=word) | Q(user__email__icontains=word))
            queryset = queryset.filter(
                Q(last_name__icontains=word) | Q(first_name__icontains=word) | Q(pk__in=by_adult.values("beneficiary"))
            )
        return queryset, False

    @admin.display(description=gettext_lazy("nom"), ordering="last_name")
    def name(self, obj: Beneficiary) -> str:
        return capfirst(f"{obj.last_name} {obj.first_name}")

    @admin.display(description=gettext_lazy("adultes"))
    def adults(self, obj: Beneficiary) -> str:
        return enumeration(str(link.user) for link in obj.adult_links) or "–"  # type: ignore[attr-defined]
