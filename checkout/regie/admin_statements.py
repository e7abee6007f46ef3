"""Statements to the communes: what is owed, paying it over, taking one back; a commune reads its own."""

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.regie import statements
from checkout.regie.admin_closings import day_or_why
from checkout.regie.models import Statement
from checkout.regie.paper import statement_pdf
from portal.common.errors import Refused
from portal.common.exports import FORMATS, Cell
from portal.common.formats import euros, long_date, period_words, short_date, today
from portal.common.money import ZERO
from wallet.closings.actions import closed_until, midnight
from wallet.models import Movement


class StateFilter(admin.SimpleListFilter):
    """Whether the bank has paid a statement over."""

    title = gettext_lazy("état")
    parameter_name = "etat"
    TO_PAY = "a-virer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.TO_PAY, _("À virer")), ("vire", _("Viré")), ("annule", _("Annulé"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case self.TO_PAY:
                return queryset.unpaid()
            case "vire":
                return queryset.filter(paid_on__isnull=False)
            case "annule":
                return queryset.filter(cancelled_at__isnull=False)
        return queryset


@admin.register(Statement)
class StatementAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/statement/change_list.html"
    change_form_template = "admin/checkout/statement/change_form.html"
    list_display = ["number", "holder", "dates", "sum", "issued_at", "state"]
    list_filter = [StateFilter]
    list_select_related = ["commune"]
    date_hierarchy = "issued_at"
    search_fields = ["commune__name"]
    ordering = ["-pk"]
    fields = ["holder", "dates", "issued_at", "issuer"]
    readonly_fields = ["holder", "dates", "issuer"]
    signers = ["issued_by", "cancelled_by", "paid_by"]

    def label_for(self, obj: Statement) -> str:
        return _("Relevé %(number)s\u00a0: %(holder)s") % {"number": obj.number, "holder": obj.holder}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        may = {"may_decide": self.may(request, Right.DECIDE)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def story(self, request: HttpRequest, obj: Statement) -> list[Happening]:
        # Its payments and those taken back: the ledger keeps what the statement itself no longer says.
        paid = Movement.objects.filter(key__startswith=f"statement:{obj.pk}:paid").values_list("at", "by_id", "label")
        facts = [
            (obj.issued_at, obj.issued_by_id, _("Relevé émis\u00a0: %s à virer.") % euros(obj.net)),
            *((at, by, f"{label}.") for at, by, label in paid),
            (obj.cancelled_at, obj.cancelled_by_id, _("Relevé annulé\u00a0: %s") % obj.reason),
        ]
        return told(staff(request), facts)

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.may(request, Right.DECIDE):
            return []
        waiting = Statement.objects.unpaid().count()
        words = ngettext("Relevé de reversement à virer", "Relevés de reversement à virer", waiting or 2)
        return [Todo(words, waiting, f"{self.url('changelist')}?{StateFilter.parameter_name}={StateFilter.TO_PAY}")]

    @admin.display(description=gettext_lazy("numéro"), ordering="pk")
    def number(self, obj: Statement) -> str:
        return obj.number

    @admin.display(description=gettext_lazy("à qui"), ordering="commune__name_key")
    def holder(self, obj: Statement) -> str:
        return obj.holder

    @admin.display(description=gettext_lazy("période"), ordering="period")
    def dates(self, obj: Statement) -> str:
        return period_words(obj.period)

    @admin.display(description=gettext_lazy("net"), ordering="net")
    def sum(self, obj: Statement) -> str:
        return euros(obj.net)

    @admin.display(description=gettext_lazy("état"))
    def state(self, obj: Statement) -> str:
        if obj.cancelled_at:
            return _("annulé")
        return _("viré le %s") % short_date(obj.paid_on) if obj.paid_on else _("à virer")

    @admin.display(description=gettext_lazy("émis par"))
    def issuer(self, obj: Statement) -> str:
        return self.signature(obj, "issued_by")

    def get_urls(self) -> list[Any]:
        return [
            path("nouveau/", self.guarded(self.new_view), name="checkout_statement_new"),
            path("<int:pk>/vire/", self.guarded(self.paid_view), name="checkout_statement_paid"),
            path("<int:pk>/non-vire/", self.guarded(self.unpaid_view), name="checkout_statement_unpaid"),
            path("<int:pk>/annuler/", self.guarded(self.cancel_view), name="checkout_statement_cancel"),
            path("<int:pk>/fichier/<str:kind>/", self.guarded(self.file_view), name="checkout_statement_file"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj: Statement = kwargs["obj"]  # nothing is added here
        is_open = obj.cancelled_at is None and obj.paid_on is None
        may_decide = self.may(request, Right.DECIDE, obj)
        context["may_decide"] = is_open and may_decide
        context["may_unpay"] = may_decide and obj.payment_id not in (None, obj.movement_id)
        context["undone"] = None if obj.paid_on else self._payment_taken_back(obj)
        context |= {"canceller": self.signature(obj, "cancelled_by"), "payer": self.signature(obj, "paid_by")}
        context["today"] = today()
        return super().render_change_form(request, context, *args, **kwargs)

    def _payment_taken_back(self, obj: Statement) -> dict[str, Any] | None:
        """The newest payment of the statement that was taken back: when it was written, when it was undone, and why."""
        back = Movement.objects.filter(key__startswith=f"statement:{obj.pk}:paid", key__endswith=":undone")
        row = back.select_related("reverses").order_by("-pk").first()
        if row is None or row.reverses is None:
            return None
        return {"paid_at": row.reverses.at, "at": row.at, "words": row.label}

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows what is owed up to a closed day; POST pays over to those that are ticked."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        reach = closed_until()
        data = request.POST if request.method == "POST" else request.GET
        chosen, wrong = day_or_why(data.get("jusqu_au", ""))
        until = _end_of_last_month(reach) if chosen is None else chosen
        if wrong:
            shown = _("Voici ce qui est dû jusqu’au %s.") % long_date(until) if until else ""
            self.say(request, messages.WARNING, [f"{wrong} {_('Rien n’a été reversé.')} {shown}".strip()])
        elif request.method == "POST" and until:
            try:
                issued = statements.issue(codes=set(data.getlist("a")), until=until, by=staff(request))
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                total = euros(sum((row.net for row in issued), ZERO))
                said = ngettext(
                    "%(count)d relevé est émis\u00a0: %(total)s à virer.",
                    "%(count)d relevés sont émis\u00a0: %(total)s à virer.",
                    len(issued),
                )
                self.say(request, messages.SUCCESS, [said % {"count": len(issued), "total": total}])
                return redirect(self.url("changelist"))
        rows = statements.owed(until) if until else []
        rows = [row for row in rows if row.gross or row.cancelled or row.vouchers]
        context = {
            "title": _("Reverser aux communes"),
            "until": until,
            "reach": reach,
            "open": bool(until and reach and until > reach),
            "rows": rows,
            "total": sum((row.net for row in rows if row.net > 0), ZERO),
        }
        return self.page(request, "admin/checkout/statement/new.html", context)

    def paid_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The bank has paid it over: POST only, with the day."""

        def paid(obj: Statement) -> str:
            date = _date(request.POST.get("le", "")) or dt.date.min
            statements.mark_paid(statement=obj, paid_on=date, by=staff(request))
            words = {"sum": euros(obj.net), "date": long_date(date)}
            return _("%(sum)s virés le %(date)s\u00a0: le compte de dépôt de fonds est débité.") % words

        return self.decided(request, pk, paid)

    def unpaid_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The bank has not paid it after all: POST only, with the reason."""

        def taken_back(obj: Statement) -> str:
            statements.mark_unpaid(statement=obj, reason=request.POST.get("motif", ""), by=staff(request))
            said = _(
                "Virement repris\u00a0: %s sont de nouveau à virer, et de nouveau sur le compte de dépôt de fonds."
            )
            return said % euros(obj.net)

        return self.decided(request, pk, taken_back)

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take a statement back, with its reason: POST only."""

        def cancelled(obj: Statement) -> str:
            statements.cancel(statement=obj, reason=request.POST.get("motif", ""), by=staff(request))
            return _("Relevé annulé par un mouvement contraire\u00a0: sa période est de nouveau due.")

        return self.decided(request, pk, cancelled)

    def file_view(self, request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        obj: Statement = self.object_or_404(request, str(pk))
        name = f"releve-{obj.number}-{obj.last_day}" + ("-annule" if obj.cancelled_at else "")
        if kind == "pdf":
            response = HttpResponse(statement_pdf(obj), content_type="application/pdf")
            response["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
            return response
        if kind not in FORMATS:
            raise Http404
        heads = [_("Service"), _("Activité"), _("Prestation"), _("Vendues"), _("Recettes"), _("Rendues"),
                 _("Annulations et remboursements"), _("Reste"),
                 _("Relevé"), _("À qui"), _("Du"), _("Au"), _("État")]  # fmt: skip
        # On each line: of several statements put together, a line still says whose it is and whether it counts.
        of: list[Cell] = [obj.number, obj.holder, obj.period.lower, obj.last_day, obj.state_words]
        rows: list[list[Cell]] = [
            [row["service"], row["activity"], row["detail"], row["sold"], row["gross"], row["returned"],
             row["cancelled"], row["net"]]
            for row in obj.lines
        ]  # fmt: skip
        gross, cancelled = (sum((row[name] for row in obj.lines), ZERO) for name in ("gross", "cancelled"))
        rows.append([_("Ensemble"), "", "", obj.sold, gross, obj.returned, cancelled, obj.earned])
        for words, amount in (
            (_("Remises à la charge de la commune"), -obj.vouchers),
            (_("Part des commissions bancaires"), -obj.fees),
            (obj.net_words, obj.net),
        ):
            rows.append([words, "", "", None, None, None, None, amount])
        return FORMATS[kind](name, heads, [[*row, *of] for row in rows])


def _date(text: str) -> dt.date | None:
    try:
        date = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return date if 2000 <= date.year <= 2100 else None


def _end_of_last_month(reach: dt.date | None) -> dt.date | None:
    """The end of the newest month that is closed whole, or else the last closed day: what is usually paid over."""
    if reach is None:
        return None
    after = reach + dt.timedelta(days=1)
    if after.day == 1:
        return reach
    end = reach.replace(day=1) - dt.timedelta(days=1)
    paid_over = Statement.objects.in_force().filter(period__endswith__gt=end).exists()
    has_begun = Movement.objects.filter(at__lt=midnight(end + dt.timedelta(days=1))).exists()
    return end if has_begun and not paid_over else reach
