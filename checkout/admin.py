"""Orders and payments, to be read: a commune sees the lines that it earns, the agglomération everything; absences, which
are decided here because deciding pays back."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, Q, Sum
from django.http import FileResponse, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

import checkout.admin_cancelling
import checkout.admin_closures  # noqa: F401  registers the closures
from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, Todo, staff
from accounts.admin_decisions import DecisionAdmin
from accounts.admin_history import Happening, told
from accounts.downloads import private_download
from accounts.models import User
from bookings.models import Absence, AbsenceDay, AbsenceProof
from checkout.actions import justify_absence, refuse_absence
from checkout.models import Order, OrderLine, Payment, ProviderEvent
from portal.common.errors import Refused
from portal.common.formats import euros, long_date, moment, short_date

Fact = tuple[dt.datetime | None, int | None, str]


def means(payment: Payment) -> str:
    return _("porte-monnaie") if payment.is_wallet else _("carte (%s)") % payment.provider


def payment_facts(payment: Payment, payer: int) -> list[Fact]:
    """What a payment keeps of its own life."""
    words = {"sum": euros(payment.amount), "means": means(payment), "status": payment.get_status_display().lower()}
    return [
        (payment.created_at, payer, _("Règlement commencé\u00a0: %(sum)s par %(means)s.") % words),
        (payment.ended_at, None, _("Règlement de %(sum)s par %(means)s\u00a0: %(status)s.") % words),
    ]


def cancellation(line: OrderLine) -> str:
    what = [line.label, line.detail, line.beneficiary_name, short_date(line.date) if line.date else ""]
    return _("Ligne annulée\u00a0: %(what)s (%(price)s).") % {
        "what": ", ".join(part for part in what if part),
        "price": euros(line.unit_price),
    }


class LineInline(ReadOnlyInline):
    model = OrderLine
    agents = Right.VIEW
    fields = ["label", "detail", "beneficiary_name", "date", "price", "earner", "cancelled_at"]
    verbose_name_plural = gettext_lazy("Lignes")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("commune")

    @admin.display(description=gettext_lazy("prix"))
    def price(self, obj: OrderLine) -> str:
        return euros(obj.unit_price)

    @admin.display(description=gettext_lazy("commune qui encaisse"))
    def earner(self, obj: OrderLine) -> str:
        return str(obj.commune or _("Agglomération"))


class PaymentInline(ReadOnlyInline):
    """How it was paid concerns the régie alone."""

    model = Payment
    fields = ["provider", "euros", "status", "created_at", "ended_at"]

    @admin.display(description=gettext_lazy("montant"))
    def euros(self, obj: Payment) -> str:
        return euros(obj.amount)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    inlines = [LineInline, PaymentInline]
    list_display = ["order_number", "created_at", "user", "kind", "status", "amount", "beneficiaries"]
    list_filter = ["status", "kind"]
    list_select_related = ["user"]
    date_hierarchy = "created_at"
    # Read by get_search_results below; the names among the lines are searched in the visible ones only.
    search_fields = ["user__last_name", "user__first_name", "user__email", "reference"]
    search_help_text = gettext_lazy("Numéro de commande, nom ou adresse e-mail de l’usager, nom d’un enfant.")
    ordering = ["-created_at", "-pk"]

    def get_queryset(self, request: HttpRequest) -> Any:
        lines = OrderLine.objects.visible_to(staff(request))
        rows = super().get_queryset(request).prefetch_related(Prefetch("lines", queryset=lines, to_attr="shown_lines"))
        if staff(request).is_operator:
            return rows.annotate(shown_total=Sum("lines__unit_price"))
        return rows.annotate(
            shown_total=Sum("lines__unit_price", filter=Q(lines__commune__in=staff(request).commune_ids))
        )

    def get_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        common = ["order_number", "user", "kind", "status", "created_at", "paid_at", "cancelled_at", "amount"]
        return [*common, "billing_address", "terms", "reference"] if staff(request).is_operator else common

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if not search_term:
            return found, duplicates
        lines = OrderLine.objects.visible_to(staff(request))
        for word in search_term.split():
            lines = lines.filter(beneficiary_name__icontains=word)
        also = Q(pk__in=lines.values("order"))
        year, _dash, number = search_term.strip().partition("-")
        if year.isdecimal() and number.isdecimal() and len(number) < 18:
            also |= Q(pk=int(number), created_at__year=int(year[:4]))
        return queryset.filter(also | Q(pk__in=found.values("pk"))), False

    def story(self, request: HttpRequest, obj: Order) -> list[Happening]:
        """From the order's own dates, those of the lines that one may see and, for the régie, of its payments."""
        facts: list[Fact] = [
            (obj.created_at, obj.user_id, _("Commande passée\u00a0: %s.") % self.amount(obj)),
            (obj.paid_at, None, _("Commande payée.")),
            (obj.cancelled_at, None, _("Commande abandonnée\u00a0: ses places sont rendues.")),
        ]
        cancelled = OrderLine.objects.visible_to(staff(request)).filter(order=obj, cancelled_at__isnull=False)
        for line in cancelled.select_related("booking", "ticket"):
            facts.append((line.cancelled_at, line.item.ended_by_id if line.item else None, cancellation(line)))
        if staff(request).is_operator:
            for payment in obj.payments.all():
                facts += payment_facts(payment, obj.user_id)
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("commande"), ordering="pk")
    def order_number(self, obj: Order) -> str:
        return obj.number

    @admin.display(description=gettext_lazy("montant"))
    def amount(self, obj: Order) -> str:
        """What the lines that one may see are worth; a mairie does not read what another earns."""
        return euros(obj.shown_total)  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("bénéficiaires"))
    def beneficiaries(self, obj: Order) -> str:
        names = dict.fromkeys(line.beneficiary_name for line in obj.shown_lines if line.beneficiary_name)  # type: ignore[attr-defined]
        return ", ".join(names) or "–"


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "order_number", "person", "provider", "sum", "status", "ended_at"]
    list_filter = ["status"]
    list_select_related = ["order__user"]
    date_hierarchy = "created_at"
    search_fields = ["reference", "provider_reference", "order__user__last_name", "order__user__email"]
    ordering = ["-created_at", "-pk"]
    fields = [
        *("order", "reference", "provider", "provider_reference", "sum", "status"),
        *("created_at", "ended_at", "checked_at"),
    ]
    readonly_fields = ["sum"]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        waiting = Payment.objects.visible_to(staff(request)).awaiting_provider().count()
        words = ngettext(
            "Règlement qui attend son prestataire", "Règlements qui attendent leur prestataire", waiting or 2
        )
        return [Todo(words, waiting, self.url("changelist") + "?status__exact=started")]

    def story(self, request: HttpRequest, obj: Payment) -> list[Happening]:
        facts = payment_facts(obj, obj.order.user_id)
        facts.append((obj.checked_at, None, _("Dernière question posée au prestataire.")))
        for event in obj.events.all():
            words = {"source": event.source, "outcome": event.get_outcome_display().lower(), "note": event.note}
            said = _("Message du prestataire (%(source)s)\u00a0: %(outcome)s. %(note)s") % words
            facts.append((event.received_at, None, said.strip()))
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("commande"))
    def order_number(self, obj: Payment) -> str:
        return obj.order.number

    @admin.display(description=gettext_lazy("usager"), ordering="order__user__last_name")
    def person(self, obj: Payment) -> str:
        return str(obj.order.user)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: Payment) -> str:
        return euros(obj.amount)


@admin.register(ProviderEvent)
class ProviderEventAdmin(ReadOnlyAdmin):
    list_display = ["received_at", "provider", "source", "outcome", "note"]
    list_filter = ["outcome"]
    date_hierarchy = "received_at"
    search_fields = ["payment__reference", "raw"]
    ordering = ["-received_at", "-pk"]
    fields = ["received_at", "provider", "source", "payment", "outcome", "note", "raw"]

    def story(self, request: HttpRequest, obj: ProviderEvent) -> list[Happening]:
        return told(staff(request), [(obj.received_at, None, _("Message reçu et gardé tel quel."))])


# --- Absences: looked up and decided by the service --------------------------------------------------------------------


class AbsenceStateFilter(admin.SimpleListFilter):
    """« À décider » leaves out what is never refunded and what still lacks its certificate."""

    title = gettext_lazy("situation")
    parameter_name = "etat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("a-decider", _("À décider")), *Absence.Status.choices]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "a-decider":
            return queryset.to_decide()
        return queryset.filter(status=self.value()) if self.value() in Absence.Status.values else queryset


@admin.register(Absence)
class AbsenceAdmin(DecisionAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    PENDING, APPROVED, REFUSED = Absence.Status.REPORTED, Absence.Status.JUSTIFIED, Absence.Status.REFUSED
    subject = gettext_lazy("Absence")
    reason_field = "decision_reason"
    keeps = gettext_lazy("Les réservations restent, et rien n’est remboursé.")
    list_display = ["beneficiary", "service", "days_shown", "kind", "certificate", "status", "reported_at"]
    list_filter = [AbsenceStateFilter, "kind", "service"]
    list_select_related = ["beneficiary", "service"]
    search_fields = ["beneficiary__last_name", "beneficiary__first_name", "service__name"]
    search_help_text = gettext_lazy("Nom de l’enfant ou service.")
    date_hierarchy = "reported_at"
    ordering = ["-reported_at", "-pk"]
    fieldsets = [
        (None, {"fields": ["beneficiary", "service", "kind", "note", "reported", "reported_at"]}),
        (_("Règle du service ce jour-là"), {"fields": ["refund", "waiting_days", "certificate_until"]}),
    ]
    readonly_fields = ["reported"]

    def get_queryset(self, request: HttpRequest) -> Any:
        days = AbsenceDay.objects.select_related("booking__open_day__activity", "booking__slot")
        return super().get_queryset(request).prefetch_related(Prefetch("days", queryset=days), "proofs")

    signers = ["reported_by"]

    def todo(self, request: HttpRequest) -> list[Todo]:
        waiting = Absence.objects.visible_to(staff(request)).to_decide().count()
        words = ngettext("Absence à décider", "Absences à décider", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?etat=a-decider")]

    def approve(self, obj: Absence, by: User) -> None:
        justify_absence(absence=obj, by=by)

    def refuse(self, obj: Absence, reason: str, by: User) -> None:
        refuse_absence(absence=obj, reason=reason, by=by)

    def obstacle(self, obj: Absence, by: User, *, refusing: bool) -> Refused | None:
        if obj.status == Absence.Status.WITHDRAWN:
            return Refused(_("La famille a retiré cette absence."), code="withdrawn")
        if refusing and obj.status == Absence.Status.JUSTIFIED:
            return Refused(_("Cette absence est justifiée et remboursée\u00a0: elle le reste."), code="already_decided")
        return None

    def story(self, request: HttpRequest, obj: Absence) -> list[Happening]:
        facts: list[Fact] = [(obj.reported_at, obj.reported_by_id, _("Absence signalée."))]
        facts += [
            (proof.sent_at, proof.sent_by_id, _("Justificatif reçu\u00a0: %s.") % proof.name)
            for proof in obj.proofs.all()
        ]
        facts.append((obj.decided_at, obj.decided_by_id, _("Décision\u00a0: %s.") % obj.get_status_display().lower()))
        return told(staff(request), facts)

    def panels(self, request: HttpRequest, obj: Absence) -> list[dict[str, Any]]:
        days = [
            [
                long_date(day.booking.date),
                f"{day.booking.open_day.activity}, {day.booking.slot}",
                _("Oui") if day.refundable else _("Non"),
                day.booking.get_status_display(),
            ]
            for day in obj.days.all()
        ]
        proofs = [
            [
                format_html(
                    '<a href="{}">{}</a>',
                    reverse("admin:bookings_absence_proof", args=[obj.pk, proof.pk]),
                    _("Télécharger «\u00a0%s\u00a0»") % proof.name,
                ),
                moment(proof.sent_at),
            ]
            for proof in obj.proofs.all()
        ]
        return [
            {
                "title": _("Jours d’absence"),
                "head": [_("Jour"), _("Prestation"), _("Remboursable"), _("Réservation")],
                "rows": days,
                "empty": "",
            },
            {
                "title": _("Justificatifs"),
                "head": [_("Fichier"), _("Reçu")],
                "rows": proofs,
                "empty": _("Aucun justificatif n’est arrivé."),
            },
        ]

    def get_urls(self) -> list[Any]:
        address = "<int:absence_pk>/pieces/<int:pk>/"
        return [path(address, self.guarded(self.proof_view), name="bookings_absence_proof"), *super().get_urls()]

    def proof_view(self, request: HttpRequest, absence_pk: int, pk: int) -> FileResponse:
        """A certificate, always as a download."""
        absence = self.object_or_404(request, str(absence_pk))
        proof = get_object_or_404(AbsenceProof, absence=absence, pk=pk)
        return private_download(proof.file, name=proof.name, content_type=proof.content_type)

    @admin.display(description=gettext_lazy("jours"))
    def days_shown(self, obj: Absence) -> str:
        dates = [day.booking.date for day in obj.days.all()]
        first, last = short_date(dates[0]), short_date(dates[-1])
        return first if first == last else f"{first} – {last}"

    @admin.display(description=gettext_lazy("certificat"))
    def certificate(self, obj: Absence) -> str:
        if obj.proofs.all():
            return _("Reçu")
        return _("Attendu") if obj.certificate_until else "–"

    @admin.display(description=gettext_lazy("signalée par"))
    def reported(self, obj: Absence) -> str:
        return self.signature(obj, "reported_by")
