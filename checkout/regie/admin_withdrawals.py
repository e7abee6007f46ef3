"""Families' requests for their credits, granted by the régisseur, and the files that the bank carries out."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_ask import Done, Question, ask
from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_decisions import DecisionAdmin
from accounts.admin_history import Happening, told
from accounts.models import User
from checkout.papers.models import Regie
from portal.common.bank_days import next_bank_day
from portal.common.db import annotated
from portal.common.errors import Refused
from portal.common.formats import euros, long_date, of, short_date, today
from portal.common.money import ZERO
from wallet.models import Movement
from wallet.withdrawals.actions import (
    approve_withdrawal,
    cancel_order,
    carried,
    check_returnable,
    make_transfer_order,
    mark_paid,
    mark_returned,
    orders_of,
    own_request,
    refuse_withdrawal,
)
from wallet.withdrawals.models import TransferOrder, Withdrawal


@admin.register(Withdrawal)
class WithdrawalAdmin(DecisionAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_form_template = "admin/wallet/withdrawal/change_form.html"
    PENDING = Withdrawal.Status.REQUESTED
    subject = gettext_lazy("Remboursement de crédits")
    keeps = gettext_lazy("La somme revient aussitôt au porte-monnaie de la personne.")
    list_display = ["requested_at", "user", "sum", "account", "held_by", "status", "decided_by"]
    list_filter = ["status"]
    list_select_related = ["user", "decided_by"]
    date_hierarchy = "requested_at"
    search_fields = ["user__last_name", "user__first_name", "user__email", "holder"]
    ordering = ["-requested_at", "-pk"]
    fields = ["user", "sum", "holder", "account", "status", "requested_at", "order", "ended_at"]
    readonly_fields = ["sum", "account"]

    def label_for(self, obj: Withdrawal) -> str:
        return _("Remboursement de %(sum)s à %(user)s") % {"sum": euros(obj.amount), "user": obj.user}

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/rejet/", self.guarded(self.returned_view), name="wallet_withdrawal_returned"),
            *super().get_urls(),
        ]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        waiting = Withdrawal.objects.filter(status=Withdrawal.Status.REQUESTED).count()
        granted = Withdrawal.objects.filter(status=Withdrawal.Status.APPROVED).count()
        asked = ngettext("Remboursement de crédits à décider", "Remboursements de crédits à décider", waiting or 2)
        to_send = ngettext("Remboursement de crédits à virer", "Remboursements de crédits à virer", granted or 2)
        return [
            Todo(asked, waiting, self.url("changelist") + "?status__exact=requested"),
            Todo(to_send, granted, self.url("changelist") + "?status__exact=approved"),
        ]

    def approve(self, obj: Withdrawal, by: User) -> None:
        approve_withdrawal(withdrawal=obj, by=by)

    def refuse(self, obj: Withdrawal, reason: str, by: User) -> None:
        refuse_withdrawal(withdrawal=obj, reason=reason, by=by)

    def approve_words(self, request: HttpRequest, obj: Withdrawal) -> str:
        return _("Accorder %s") % euros(obj.amount)

    @admin.action(description=gettext_lazy("Accorder"), permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Withdrawal]) -> None:
        super().approve_selected(request, queryset)

    def done_words(self, count: int, name: str, *, approved: bool) -> str:
        if not approved:
            return super().done_words(count, name, approved=approved)
        return ngettext(
            "Remboursement de crédits %(name)s\u00a0: c’est accordé, un courriel est envoyé.",
            "%(count)d remboursements de crédits sont accordés, autant de courriels sont envoyés.",
            count,
        ) % {"name": of(name), "count": count}

    def obstacle(self, obj: Withdrawal, by: User, *, refusing: bool) -> Refused | None:
        if own := own_request(obj, by):
            return own
        open_to = {Withdrawal.Status.REQUESTED} | ({Withdrawal.Status.APPROVED} if refusing else set())
        return None if obj.status in open_to else Refused("")

    def story(self, request: HttpRequest, obj: Withdrawal) -> list[Happening]:
        facts: list[tuple[dt.datetime | None, int | None, str]] = [
            (obj.requested_at, obj.user_id, _("Demandé\u00a0: %s.") % euros(obj.amount))
        ]
        if obj.decided_at:
            refused = obj.status == Withdrawal.Status.REFUSED
            facts.append((obj.decided_at, obj.decided_by_id, _("Refusé.") if refused else _("Accordé.")))
        for order in orders_of(obj):
            words = {"number": order.pk, "reason": order.reason}
            ended = _("Ordre de virement %(number)s annulé\u00a0: %(reason)s") % words
            facts += [
                (order.created_at, order.created_by_id, _("Mis dans l’ordre de virement %(number)s.") % words),
                (order.cancelled_at, order.cancelled_by_id, ended),
            ]
            # A transfer that came back before the bank had carried the order out was not among those it carried out.
            of_this = order.pk == obj.order_id and obj.status == Withdrawal.Status.RETURNED
            if of_this and order.paid_at and obj.ended_at and order.paid_at < obj.ended_at:
                facts.append((order.paid_at, order.paid_by_id, _("Virée.")))
        if obj.ended_at and obj.status != Withdrawal.Status.REFUSED:  # which is told as the decision
            back = Movement.objects.filter(key=f"withdrawal:{obj.pk}:back").values_list("by", flat=True).first()
            said = f"{obj.get_status_display()}\u00a0: {obj.reason}" if obj.reason else f"{obj.get_status_display()}."
            facts.append((obj.ended_at, back, said))
        return told(staff(request), facts)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs["obj"]  # nothing is added here
        is_there = obj.order is not None and obj.order.execution_date <= today()
        at_bank = is_there and obj.status in {Withdrawal.Status.SENT, Withdrawal.Status.PAID}
        may = at_bank and self.may(request, Right.DECIDE, obj)
        is_open = obj.status in {Withdrawal.Status.REQUESTED, Withdrawal.Status.APPROVED}
        context["is_for_another"] = is_open and obj.is_for_another
        context["returned_url"] = self.url("returned", obj.pk) if may else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def returned_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The bank has sent a transfer back."""
        found: Withdrawal = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, found):
            raise PermissionDenied
        try:
            check_returnable(found, by=staff(request))
        except Refused as refusal:  # nothing is typed for nothing
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(self.url("change", pk))

        def returned(*, reason: str) -> Done:
            mark_returned(withdrawal=found, reason=reason, by=staff(request))
            said = _("%s sont de nouveau dans le porte-monnaie, la personne est prévenue.") % euros(found.amount)
            return Done(self.url("change", pk), said)

        question = Question(
            title=_("Virement rejeté par la banque"),
            facts=[
                (_("Usager"), found.user),
                (_("Montant"), euros(found.amount)),
                (_("Compte"), f"{found.holder_words}, {found.masked_iban}"),
            ],
            notes=[_("La somme revient au porte-monnaie de la personne, qui peut refaire sa demande.")],
            button=_("Porter au porte-monnaie"),
            cancel=self.url("change", pk),
            cancel_words=_("Ne rien changer"),
        )
        return ask(self, request, question, ReturnedForm(request.POST or None), returned)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def sum(self, obj: Withdrawal) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("titulaire"), ordering="holder")
    def held_by(self, obj: Withdrawal) -> str:
        return obj.holder_words

    @admin.display(description=gettext_lazy("IBAN"))
    def account(self, obj: Withdrawal) -> str:
        return obj.masked_iban


class ReturnedForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif donné par la banque"),
        help_text=gettext_lazy("La personne le lira."),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": gettext_lazy("Écrivez le motif donné par la banque\u00a0: la personne le lira.")},
    )


class CancelForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy("Gardé avec l’ordre."),
        max_length=160,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez pourquoi cet ordre est annulé."),
            "max_length": gettext_lazy("Écrivez le motif en 160 caractères au plus."),
        },
    )


class OrderForm(forms.Form):
    execution_date = forms.DateField(
        label=gettext_lazy("Date d’exécution demandée à la banque"),
        help_text=gettext_lazy("Un jour où les banques travaillent, dans les 30 jours."),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={
            "required": gettext_lazy("Choisissez la date d’exécution."),
            "invalid": gettext_lazy("Cette date n’existe pas\u00a0: choisissez-la dans le calendrier."),
        },
    )


@admin.register(TransferOrder)
class TransferOrderAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/wallet/transferorder/change_list.html"
    change_form_template = "admin/wallet/transferorder/change_form.html"
    list_display = ["number", "created_at", "count", "sum", "execution_date", "state"]
    list_select_related = ["created_by"]
    ordering = ["-created_at", "-pk"]
    fields = ["number", "count", "sum", "returned", "execution_date", "created_by", "created_at", "paid_at", "paid_by"]
    readonly_fields = ["number", "sum", "returned"]
    signers = ["cancelled_by"]

    def get_urls(self) -> list[Any]:
        return [
            path("preparer/", self.guarded(self.new_view), name="wallet_transferorder_new"),
            path("<int:pk>/fichier/", self.guarded(self.file_view), name="wallet_transferorder_file"),
            path("<int:pk>/annuler/", self.guarded(self.cancel_view), name="wallet_transferorder_cancel"),
            path("<int:pk>/execute/", self.guarded(self.paid_view), name="wallet_transferorder_paid"),
            *super().get_urls(),
        ]

    def story(self, request: HttpRequest, obj: TransferOrder) -> list[Happening]:
        facts = [
            (obj.created_at, obj.created_by_id, _("Préparé\u00a0: %s.") % euros(obj.total)),
            (obj.paid_at, obj.paid_by_id, _("Exécuté par la banque.")),
            (obj.cancelled_at, obj.cancelled_by_id, _("Annulé\u00a0: %s") % obj.reason),
        ]
        returned = obj.withdrawals.filter(status=Withdrawal.Status.RETURNED).select_related("user")
        writers = dict(
            Movement.objects.filter(key__in=[f"withdrawal:{row.pk}:back" for row in returned]).values_list("key", "by")
        )
        for row in returned:
            words = {"sum": euros(row.amount), "user": row.user, "reason": row.reason}
            said = _("Virement de %(sum)s à %(user)s rejeté par la banque\u00a0: %(reason)s") % words
            facts.append((row.ended_at, writers.get(f"withdrawal:{row.pk}:back"), said))
        return told(staff(request), facts)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Each with what the bank sent back of it (`came_back`, None: nothing)."""
        back = Q(withdrawals__status=Withdrawal.Status.RETURNED)
        return annotated(super().get_queryset(request), came_back=Sum("withdrawals__amount", filter=back))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What came back only where something did."""
        return [name for name in self.fields or [] if name != "returned" or (obj and obj.came_back)]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj: TransferOrder = kwargs["obj"]  # nothing is added here
        is_open = obj.paid_at is None and obj.cancelled_at is None
        context["rows"] = list(carried(obj))
        context["may_decide"] = is_open and self.may(request, Right.DECIDE, obj)
        context["is_due"] = obj.execution_date <= today()
        context["left"] = obj.total - (obj.came_back or ZERO)
        context["canceller"] = self.signature(obj, "cancelled_by")
        return super().render_change_form(request, context, *args, **kwargs)

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Say what waits, then put it into a file."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        waiting = list(Withdrawal.objects.filter(status=Withdrawal.Status.APPROVED).select_related("user"))
        if not waiting:
            self.say(request, messages.INFO, [_("Aucune demande accordée n’attend son virement.")])
            return redirect(self.url("changelist"))
        form = OrderForm(request.POST or None, initial={"execution_date": next_bank_day(today())})

        def prepare(*, execution_date: dt.date) -> Done:
            debtor = Regie.objects.current().debtor
            order = make_transfer_order(debtor=debtor, execution_date=execution_date, by=staff(request))
            return Done(self.url("change", order.pk), _("Ordre préparé\u00a0: déposez son fichier à la banque."))

        question = Question(
            title=_("Préparer un ordre de virement"),
            facts=[
                (row.user, f"{euros(row.amount)}, {_('titulaire')}\u00a0: {row.holder_words}, {row.masked_iban}")
                for row in waiting
            ],
            notes=[
                ngettext(
                    "%(count)d demande accordée, %(sum)s.",
                    "%(count)d demandes accordées, %(sum)s en tout.",
                    len(waiting),
                )
                % {"count": len(waiting), "sum": euros(sum((row.amount for row in waiting), start=ZERO))}
            ],
            button=_("Préparer l’ordre de virement"),
            danger=False,
            cancel=self.url("changelist"),
            cancel_words=_("Ne rien préparer"),
        )
        return ask(self, request, question, form, prepare)

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The file for the bank, unless it is not to be carried out any more."""
        found: TransferOrder = self.object_or_404(request, str(pk))
        if found.cancelled_at is not None:
            self.say(request, messages.ERROR, [_("Cet ordre est annulé\u00a0: son fichier n’est plus à déposer.")])
            return redirect(self.url("change", pk))
        if found.came_back:
            said = _(
                "La banque a déjà traité cet ordre, et en a rejeté un virement\u00a0: son fichier n’est plus à déposer."
            )
            self.say(request, messages.ERROR, [said])
            return redirect(self.url("change", pk))
        response = HttpResponse(found.file, content_type="application/xml")
        response["Content-Disposition"] = f'attachment; filename="virements-{found.pk}.xml"'
        return response

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take an order back that the bank will not carry out."""
        found: TransferOrder = self.object_or_404(request, str(pk))
        if not self.may(request, Right.DECIDE, found):
            raise PermissionDenied

        def cancel(*, reason: str) -> Done:
            cancel_order(order=found, reason=reason, by=staff(request))
            said = _("Ordre annulé\u00a0: ses demandes attendent de nouveau leur virement. Aucun argent n’a bougé.")
            return Done(self.url("change", pk), said)

        question = Question(
            title=_("Annuler cet ordre de virement"),
            facts=[
                (_("Ordre"), found),
                (_("Total"), euros(found.total)),
                (_("Date d’exécution"), long_date(found.execution_date)),
            ],
            notes=[
                _("N’annulez que si le fichier n’est pas à la banque, ou si elle confirme qu’elle ne l’exécutera pas\u00a0: "
                  "les familles seraient payées deux fois."),
                _("Ses demandes restent accordées et attendent un autre ordre."),
            ],
            button=_("Annuler cet ordre"),
            cancel=self.url("change", pk),
            cancel_words=_("Ne rien changer"),
        )  # fmt: skip
        return ask(self, request, question, CancelForm(request.POST or None), cancel)

    def paid_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The bank has carried it out: POST only."""
        found: TransferOrder = self.object_or_404(request, str(pk))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.may(request, Right.DECIDE, found):
            raise PermissionDenied
        try:
            total = mark_paid(order=found, by=staff(request))
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
        else:
            said = _("Virements du %(date)s marqués comme exécutés\u00a0: %(sum)s.")
            words = {"date": long_date(found.execution_date), "sum": euros(total)}
            self.say(request, messages.SUCCESS, [said % words])
        return redirect(self.url("change", pk))

    @admin.display(description=gettext_lazy("état"))
    def state(self, obj: TransferOrder) -> str:
        if obj.cancelled_at:
            return _("annulé")
        found = _("exécuté le %s") % short_date(timezone.localdate(obj.paid_at)) if obj.paid_at else _("à déposer")
        if not obj.came_back:
            return found
        # What came back before the rest was seen to leave was at the bank: nothing is handed in any more.
        words = {"state": found if obj.paid_at else _("à constater"), "sum": euros(obj.came_back)}
        return _("%(state)s, %(sum)s rejetés") % words

    @admin.display(description=gettext_lazy("ordre"), ordering="pk")
    def number(self, obj: TransferOrder) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("total"), ordering="total")
    def sum(self, obj: TransferOrder) -> str:
        return euros(obj.total)

    @admin.display(description=gettext_lazy("rejeté par la banque"))
    def returned(self, obj: TransferOrder) -> str:
        return euros(obj.came_back)
