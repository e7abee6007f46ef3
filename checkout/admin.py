"""Orders and payments, to be read: a commune sees the lines that it earns, the agglomération everything."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Prefetch, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

import checkout.admin_absences
import checkout.admin_cancelling
import checkout.admin_closures
import checkout.admin_counter
import checkout.admin_declarations
import checkout.admin_events
import checkout.admin_means
import checkout.admin_refunds
import checkout.papers.admin
import checkout.regie.admin_closings
import checkout.regie.admin_corrections
import checkout.regie.admin_settlements
import checkout.regie.admin_statements
import checkout.regie.admin_verifications
import checkout.regie.admin_withdrawals
import checkout.vouchers.admin  # noqa: F401  registers their tables
from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.actions.reconciliation import ask_provider
from checkout.given_back import GivenBack
from checkout.models import Order, OrderLine, Payment, Refund
from checkout.providers import provider as find_provider
from checkout.refunds.actions import left_of
from checkout.vouchers.models import VoucherUse
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros, short_date
from portal.common.money import ZERO

Fact = tuple[dt.datetime | None, int | None, str]


def means(payment: Payment) -> str:
    if payment.is_counter:
        return payment.means_name.lower()
    return _("porte-monnaie") if payment.is_wallet else _("carte (%s)") % payment.provider


def _called(slug: str) -> str:
    """« Carte bancaire (Stripe) »; the code alone of a provider that is no longer used here."""
    try:
        return find_provider(slug).label
    except KeyError:
        return _("Carte bancaire (%s)") % slug


def means_with_provider(payment: Payment) -> str:
    """« Carte bancaire (Paybox) »: through whom, since the régie has several."""
    return payment.means_name if payment.is_wallet or payment.is_counter else _called(payment.provider)


def by_number(term: str, path: str = "") -> Q:
    """What finds an order by the number that people quote, `2026-000123`; nothing for anything else."""
    year, _dash, number = term.strip().partition("-")
    if not (year.isdecimal() and number.isdecimal() and len(number) < 18):
        return Q(pk__in=[])
    return Q(**{f"{path}pk": int(number), f"{path}created_at__year": int(year[:4])})


def gone_back(refunds: Iterable[Refund]) -> list[str]:
    """`35,28 € sur la carte (fait)`, for each refund."""
    said = _("%(sum)s sur la carte (%(status)s)")
    return [said % {"sum": euros(row.amount), "status": row.get_status_display().lower()} for row in refunds]


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
        "price": euros(line.paid),
    }


class LineInline(ReadOnlyInline):
    model = OrderLine
    agents = Right.VIEW
    fields = ["label", "detail", "beneficiary_name", "date", "price", "off", "earner", "cancelled_at"]
    verbose_name_plural = gettext_lazy("Lignes")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("commune")

    @admin.display(description=gettext_lazy("prix"))
    def price(self, obj: OrderLine) -> str:
        return euros(obj.unit_price)

    @admin.display(description=gettext_lazy("remise"))
    def off(self, obj: OrderLine) -> str:
        return euros(obj.discount) if obj.discount else "–"

    @admin.display(description=gettext_lazy("commune qui encaisse"))
    def earner(self, obj: OrderLine) -> str:
        return str(obj.commune or _("Agglomération"))


class PaymentInline(ReadOnlyInline):
    """How it was paid concerns the régie alone."""

    model = Payment
    fields = ["means", "euros", "status", "back", "created_at", "ended_at"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("refunds")

    @admin.display(description=gettext_lazy("moyen"))
    def means(self, obj: Payment) -> str:
        return means_with_provider(obj)

    @admin.display(description=gettext_lazy("rendu"))
    def back(self, obj: Payment) -> str:
        return enumeration(gone_back(obj.refunds.all())) or "–"

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
            return rows.annotate(shown_total=Sum(F("lines__unit_price") - F("lines__discount")))
        return rows.annotate(
            shown_total=Sum(
                F("lines__unit_price") - F("lines__discount"), filter=Q(lines__commune__in=staff(request).commune_ids)
            )
        )

    def get_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        common = [
            "order_number",
            "user",
            "kind",
            "state",
            "created_at",
            "paid_at",
            "cancelled_at",
            "amount",
            "vouchers",
        ]
        return [*common, "back", "billing_address", "terms", "reference"] if staff(request).is_operator else common

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:  # for its page alone, not for each row of the list
            uses = VoucherUse.objects.visible_to(staff(request)).filter(order=obj)
            obj.shown_uses = list(uses.select_related("voucher").order_by("pk"))
        return obj

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if not search_term:
            return found, duplicates
        lines = OrderLine.objects.visible_to(staff(request))
        for word in search_term.split():
            lines = lines.filter(beneficiary_name__icontains=word)
        also = Q(pk__in=lines.values("order"))
        also |= by_number(search_term)
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
        return euros(obj.shown_total)

    @admin.display(description=gettext_lazy("statut"))
    def state(self, obj: Order) -> str:
        """Of a paid order also what became of the lines that one may see."""
        ended = [line for line in obj.shown_lines if line.cancelled_at]
        if obj.status != Order.Status.PAID or not ended:
            return obj.get_status_display()
        if len(ended) == len(obj.shown_lines):
            return _("Payée, puis annulée")
        return ngettext("Payée, %d ligne annulée", "Payée, %d lignes annulées", len(ended)) % len(ended)

    @admin.display(description=gettext_lazy("bons de réduction"))
    def vouchers(self, obj: Order) -> str:
        said = _("%(code)s\u00a0: %(sum)s (%(status)s)")
        uses = [
            said % {"code": use.voucher, "sum": euros(use.amount), "status": use.get_status_display().lower()}
            for use in obj.shown_uses
        ]
        return enumeration(uses) or "–"

    @admin.display(description=gettext_lazy("rendu"))
    def back(self, obj: Order) -> str:
        """Where the money of what was cancelled is; the vouchers' part went to those who bear them."""
        cards = list(Refund.objects.filter(payment__order=obj).order_by("pk"))
        given = GivenBack(
            [line for line in obj.shown_lines if line.cancelled_at],
            cards,
            sum((row.amount for row in obj.payments.all() if row.status == Payment.Status.CREDITED), ZERO),
        )
        to_wallet = [_("%s au porte-monnaie") % euros(given.to_wallet)] if given.to_wallet else []
        off = [_("%s à qui paie les bons") % euros(given.off)] if given.off else []
        return enumeration([*gone_back(cards), *to_wallet, *off]) or "–"

    @admin.display(description=gettext_lazy("bénéficiaires"))
    def beneficiaries(self, obj: Order) -> str:
        names = dict.fromkeys(line.beneficiary_name for line in obj.shown_lines if line.beneficiary_name)
        return ", ".join(names) or "–"


class RefundInline(ReadOnlyInline):
    """What of a card's payment has gone back to the card, or is on its way."""

    model = Refund
    fields = ["euros", "status", "reason", "created_at", "ended_at"]
    verbose_name_plural = gettext_lazy("Rendu à la carte")

    @admin.display(description=gettext_lazy("montant"))
    def euros(self, obj: Refund) -> str:
        return euros(obj.amount)


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/checkout/payment/change_form.html"
    list_display = ["created_at", "order_number", "person", "means", "sum", "status", "ended_at"]
    list_filter = ["status"]
    list_select_related = ["order__user"]
    date_hierarchy = "created_at"
    search_fields = [
        *("reference", "provider_reference", "order__reference"),
        *("order__user__last_name", "order__user__first_name", "order__user__email"),
    ]
    search_help_text = gettext_lazy(
        "Numéro de commande (2026-000123), référence du règlement, ici ou chez le prestataire, nom ou adresse e-mail de "
        "l’usager."
    )
    ordering = ["-created_at", "-pk"]
    fields = [
        *("order", "reference", "means", "provider_reference", "sum", "status", "back"),
        *("created_at", "ended_at", "checked_at"),
    ]
    readonly_fields = ["means", "sum", "back"]

    def get_inlines(self, request: HttpRequest, obj: Payment | None = None) -> list[Any]:
        return [RefundInline] if obj and obj.refunds.exists() else []

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if not search_term:
            return found, duplicates
        return queryset.filter(by_number(search_term, "order__") | Q(pk__in=found.values("pk"))), False

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        waiting = Payment.objects.visible_to(staff(request)).awaiting_provider().count()
        words = ngettext(
            "Règlement qui attend son prestataire", "Règlements qui attendent leur prestataire", waiting or 2
        )
        return [Todo(words, waiting, self.url("changelist") + "?status__exact=started")]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        context["refund_url"] = reverse("admin:checkout_refund_new", args=[obj.pk]) if left_of(obj) else ""
        may = self.may(request, Right.DECIDE, obj)
        context["ask_url"] = self.url("ask", obj.pk) if may and obj.can_be_asked_about else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        asking = path("<int:pk>/demander/", self.guarded(self.ask_view), name="checkout_payment_ask")
        return [asking, *super().get_urls()]

    def ask_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the provider how a payment stands, which is applied: POST only."""
        obj: Payment = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, obj):
            raise PermissionDenied
        if request.method == "POST" and obj.can_be_asked_about:
            try:
                stated = ask_provider(obj)
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
                return redirect(self.url("change", pk))
            obj.refresh_from_db()
            if not stated:
                said = _(
                    "Le prestataire n’a pas de réponse pour l’instant\u00a0: aucun argent n’a bougé. Réessayez plus tard."
                )
                self.say(request, messages.WARNING, [said])
            else:
                said = _("Le prestataire a répondu\u00a0: règlement %s.") % obj.get_status_display().lower()
                self.say(request, messages.SUCCESS, [said])
        return redirect(self.url("change", pk))

    def story(self, request: HttpRequest, obj: Payment) -> list[Happening]:
        facts = payment_facts(obj, obj.order.user_id)
        facts.append((obj.checked_at, None, _("Dernière question posée au prestataire.")))
        for refund in obj.refunds.all():
            words = {"sum": euros(refund.amount), "status": refund.get_status_display().lower()}
            facts.append((refund.created_at, refund.by_id, _("Retour à la carte\u00a0: %(sum)s (%(status)s).") % words))
        for event in obj.events.all():
            words = {"source": event.source, "outcome": event.get_outcome_display().lower(), "note": event.note}
            said = _("Message du prestataire (%(source)s)\u00a0: %(outcome)s. %(note)s") % words
            facts.append((event.received_at, None, said.strip()))
        return told(staff(request), facts)

    @admin.display(description=gettext_lazy("moyen"), ordering="provider")
    def means(self, obj: Payment) -> str:
        return means_with_provider(obj)

    @admin.display(description=gettext_lazy("rendu"))
    def back(self, obj: Payment) -> str:
        """How much of it has gone back to the card, and what is left; of the wallet's part and of cash the order says it."""
        refunded = sum((row.amount for row in obj.refunds.live()), ZERO)
        if not refunded:
            return "–" if obj.is_wallet or obj.is_counter else _("Rien n’a été rendu.")
        words = {"sum": euros(refunded), "left": euros(obj.amount - refunded)}
        return _("%(sum)s à la carte ; reste %(left)s") % words

    @admin.display(description=gettext_lazy("commande"))
    def order_number(self, obj: Payment) -> str:
        return obj.order.number

    @admin.display(description=gettext_lazy("usager"), ordering="order__user__last_name")
    def person(self, obj: Payment) -> str:
        return str(obj.order.user)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: Payment) -> str:
        return euros(obj.amount)
