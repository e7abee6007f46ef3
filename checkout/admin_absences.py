"""Absences in the administration: who is away on which day, and what the service decides, which pays back."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Prefetch, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import FileResponse, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, Todo, staff
from accounts.admin_decisions import DecisionAdmin
from accounts.admin_history import Happening, told
from accounts.downloads import private_download
from accounts.models import User
from bookings.absence_actions import own_absence
from bookings.models import Absence, AbsenceDay, AbsenceProof, Booking
from bookings.own_family import is_own_absence
from checkout.actions import justify_absence, refuse_absence
from checkout.models import PAID, Order, OrderLine
from portal.common.errors import Refused
from portal.common.formats import euros, long_date, moment, short_date, today
from portal.common.money import ZERO, MoneyField

Fact = tuple[dt.datetime | None, int | None, str]
DAYS_LISTED = 15


def paid_for(days: Iterable[AbsenceDay]) -> dict[int, Decimal]:
    """What was paid for the places of these days, in euros by the booking's key; one query."""
    lines = OrderLine.objects.filter(booking__in=[day.booking_id for day in days], order__status=Order.Status.PAID)
    return {pk: price for pk, price in lines.values_list("booking", PAID) if pk is not None}


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


def to_give_back() -> Any:
    """What validating an absence would give back, in euros, for the outer query's row."""
    place = "booking__absence_days__"
    lines = OrderLine.objects.filter(
        order__status=Order.Status.PAID,
        cancelled_at=None,
        booking__status=Booking.Status.BOOKED,
        **{f"{place}absence": OuterRef("pk"), f"{place}refundable": True, f"{place}is_live": True},
    )
    return lines.order_by().values(f"{place}absence").annotate(sum=Sum(PAID)).values("sum")


class AwayOnFilter(admin.SimpleListFilter):
    """« Absents le … »: what a kitchen asks in the morning. Any day may stand in the address; the next ones are listed."""

    title = gettext_lazy("jour d’absence")
    parameter_name = "jour"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        days = AbsenceDay.objects.filter(absence__in=Absence.objects.visible_to(staff(request)), is_live=True)
        coming = days.filter(booking__open_day__date__gte=today()).values_list("booking__open_day__date", flat=True)
        found = {
            today(),
            today() + dt.timedelta(days=1),
            *coming.distinct().order_by("booking__open_day__date")[:DAYS_LISTED],
        }
        named = {today(): _("Aujourd’hui"), today() + dt.timedelta(days=1): _("Demain")}
        return [(date.isoformat(), named.get(date, capfirst(long_date(date)))) for date in sorted(found)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        try:
            date = dt.date.fromisoformat(self.value() or "")
        except ValueError:
            return queryset
        days = AbsenceDay.objects.filter(absence=OuterRef("pk"), is_live=True, booking__open_day__date=date)
        return queryset.filter(Exists(days))


@admin.register(Absence)
class AbsenceAdmin(DecisionAdmin):
    agents = operators = Right.VIEW | Right.DECIDE
    PENDING, APPROVED, REFUSED = Absence.Status.REPORTED, Absence.Status.JUSTIFIED, Absence.Status.REFUSED
    subject = gettext_lazy("Absence")
    reason_field = "decision_reason"
    keeps = gettext_lazy("Les réservations restent, et rien n’est remboursé.")
    list_display = [
        "beneficiary",
        "service",
        "what",
        "days_shown",
        "kind",
        "certificate",
        "returned",
        "status",
        "reported_at",
    ]
    list_filter = [AwayOnFilter, AbsenceStateFilter, "kind", "service"]
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
        rows = (
            super()
            .get_queryset(request)
            .annotate(back=Coalesce(Subquery(to_give_back()), ZERO, output_field=MoneyField()))
        )
        return rows.prefetch_related(Prefetch("days", queryset=days), "proofs")

    signers = ["reported_by"]

    def todo(self, request: HttpRequest) -> list[Todo]:
        waiting = Absence.objects.visible_to(staff(request)).to_decide().count()
        words = ngettext("Absence à décider", "Absences à décider", waiting or 2)
        return [Todo(words, waiting, self.url("changelist") + "?etat=a-decider")]

    def approve(self, obj: Absence, by: User) -> None:
        justify_absence(absence=obj, by=by)

    def refuse(self, obj: Absence, reason: str, by: User) -> None:
        refuse_absence(absence=obj, reason=reason, by=by)

    def approve_words(self, request: HttpRequest, obj: Absence) -> str:
        """`Valider et rendre 11,40 €`: the press moves money and is not taken back."""
        return _("Valider et rendre %s") % euros(obj.back) if obj.back else _("Valider, sans rien rendre")

    def obstacle(self, obj: Absence, by: User, *, refusing: bool) -> Refused | None:
        if obj.status == Absence.Status.WITHDRAWN:
            return Refused(_("La famille a retiré cette absence."), code="withdrawn")
        if not refusing and obj.status != Absence.Status.JUSTIFIED and is_own_absence(obj, by):
            return own_absence(obj)
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
        prices = paid_for(obj.days.all())
        days = [
            [
                long_date(day.booking.date),
                f"{day.booking.open_day.activity}, {day.booking.slot}",
                euros(prices.get(day.booking_id, ZERO)),
                euros(prices.get(day.booking_id, ZERO)) if day.refundable else _("rien, selon la règle"),
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
                )
                if proof.forgotten_at is None
                else _("%(name)s, effacé le %(date)s")
                % {"name": proof.name, "date": short_date(timezone.localdate(proof.forgotten_at))},
                moment(proof.sent_at),
            ]
            for proof in obj.proofs.all()
        ]
        return [
            {
                "title": _("Jours d’absence"),
                "head": [_("Jour"), _("Prestation"), _("Payé"), _("Rendu si validée"), _("Réservation")],
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
        proof = get_object_or_404(AbsenceProof, absence=absence, pk=pk, forgotten_at=None)
        return private_download(proof.file, name=proof.name, content_type=proof.content_type)

    @admin.display(description=gettext_lazy("jours"))
    def days_shown(self, obj: Absence) -> str:
        dates = [day.booking.date for day in obj.days.all()]
        first, last = short_date(dates[0]), short_date(dates[-1])
        return first if first == last else f"{first} – {last}"

    @admin.display(description=gettext_lazy("prestations"))
    def what(self, obj: Absence) -> str:
        slots = {f"{day.booking.open_day.activity}, {day.booking.slot}": None for day in obj.days.all()}
        return " ; ".join(slots)

    @admin.display(description=gettext_lazy("rendu si validée"))
    def returned(self, obj: Absence) -> str:
        if obj.status in (Absence.Status.JUSTIFIED, Absence.Status.WITHDRAWN):
            return "–"
        return euros(obj.back)

    @admin.display(description=gettext_lazy("certificat"))
    def certificate(self, obj: Absence) -> str:
        if obj.proofs.all():
            return _("Reçu")
        return _("Attendu") if obj.certificate_until else "–"

    @admin.display(description=gettext_lazy("signalée par"))
    def reported(self, obj: Absence) -> str:
        return self.signature(obj, "reported_by")
