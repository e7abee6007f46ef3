"""The régie's pages: the day's journal, what every account holds, and closing what is over."""

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from checkout.regie import journal
from checkout.regie.models import Verification
from portal.common.errors import Refused
from portal.common.exports import FORMATS, Cell
from portal.common.formats import euros, hour, long_date, month, of, today
from portal.common.money import ZERO
from wallet.closings import actions as closings
from wallet.closings.models import Closing, accounts_in, kinds_in
from wallet.models import Account

Pages = list[tuple[str, str]]
Shown = tuple[dict[str, Any], list[dict[str, Any]]]


EARLIEST = dt.date(2000, 1, 1)  # an older day is a slip of the keyboard


def asked_day(request: HttpRequest, name: str = "jour") -> tuple[dt.date, str]:
    """The day that the address names; today when it names none that we could show, with a sentence that says so."""
    date, wrong = day_or_why(request.GET.get(name, ""))
    return today() if date is None else date, wrong


def day_or_why(asked: str) -> tuple[dt.date | None, str]:
    """A day as an address or a form names it; None with the sentence that says why it is none of ours, if it names one."""
    date, wrong = _read(asked), ""
    if asked and date is None:
        wrong = _("Cette date ne peut pas être lue\u00a0: écrivez-la avec le calendrier.")
    elif date and date > today():
        wrong = _("Le %s est à venir\u00a0: choisissez un jour passé.") % long_date(date)
    elif date and date < EARLIEST:
        wrong = _("Le %s est trop ancien\u00a0: choisissez un jour à partir de l’an 2000.") % long_date(date)
    return None if wrong else date, wrong


def _read(text: str) -> dt.date | None:
    """A day as an address or a form names it, None when it cannot be read."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _of_days(days: Sequence[closings.DayTotal]) -> Shown:
    """The question before closing these days, and what their movements make of the accounts."""
    first, last = days[0].date, days[-1].date
    many = ngettext(
        "Pour une journée\u00a0: %(first)s.", "Pour %(count)d journées, du %(first)s au %(last)s.", len(days)
    )
    chosen = {
        "field": "jusqu_au",
        "value": last,
        "question": _("Arrêter jusqu’au %s inclus\u00a0?") % long_date(last),
        "extent": many % {"count": len(days), "first": long_date(first), "last": long_date(last)},
        "button": _("Arrêter jusqu’au %s") % long_date(last),
    }
    return chosen, accounts_in(closings.totals_of(first, last, opening=closings.opening_of(Closing.Kind.DAY)))


def _of_month(first: dt.date) -> Shown:
    """The question before closing a month, and what it made of the accounts."""
    last, name = closings.end_of_month(first), month(first).lower()
    chosen = {
        "field": "mois",
        "value": first,
        "question": _("Arrêter %s\u00a0?") % name,
        "extent": _("Du %(first)s au %(last)s.") % {"first": long_date(first), "last": long_date(last)},
        "button": _("Arrêter %s") % name,
    }
    return chosen, accounts_in(closings.totals_of(first, last, opening=closings.opening_of(Closing.Kind.MONTH)))


def _said_of_the_whole(total: Decimal, newest: Verification | None) -> str:
    """What the sum of all accounts means beside the newest check: zero alone does not say that each of them is right."""
    if total:
        return _("Devrait être zéro\u00a0: lancez le contrôle.")
    if newest is None:
        return _("Pas encore contrôlé\u00a0: la somme est nulle, aucun contrôle n’a eu lieu.")
    return _("À regarder\u00a0: voir le dernier contrôle.") if newest.count else _("Juste.")


@admin.register(Closing)
class ClosingAdmin(ReadOnlyAdmin):
    """For the agglomération, which answers for the till."""

    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/wallet/closing/change_list.html"
    change_form_template = "admin/wallet/closing/change_form.html"
    list_display = ["name", "kind", "movements", "sum", "when", "closed_by"]
    list_filter = ["kind"]
    list_select_related = ["closed_by"]
    date_hierarchy = "last_day"
    ordering = ["-last_day", "-pk"]
    fields = ["kind", "since", "until", "movements", "sum", "when", "closed_by"]
    readonly_fields = ["since", "until", "sum", "when"]

    def pages(self, request: HttpRequest) -> Pages:
        """What the menu offers beside the table."""
        if not self.has_view_permission(request):
            return []
        return [(_("Journal du jour"), self.url("journal")), (_("Soldes des comptes"), self.url("balances"))]

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        count = closings.open_days_count()
        words = _("Journée à arrêter") if count == 1 else _("Journées à arrêter")
        return [Todo(words, count, self.url("new"))]

    def story(self, request: HttpRequest, obj: Closing) -> list[Happening]:
        return told(staff(request), [(obj.closed_at, obj.closed_by_id, _("Arrêté."))])

    @admin.display(description=gettext_lazy("période"), ordering="last_day")
    def name(self, obj: Closing) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("du"))
    def since(self, obj: Closing) -> str:
        return long_date(obj.first_day)

    @admin.display(description=gettext_lazy("au"))
    def until(self, obj: Closing) -> str:
        return long_date(obj.last_day)

    @admin.display(description=gettext_lazy("arrêté le"), ordering="closed_at")
    def when(self, obj: Closing) -> str:
        closed = timezone.localtime(obj.closed_at)
        return f"{long_date(closed.date())} {_('à')} {hour(closed.time())}"

    @admin.display(description=gettext_lazy("total des crédits"), ordering="turnover")
    def sum(self, obj: Closing) -> str:
        return euros(obj.turnover)

    def get_urls(self) -> list[Any]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("nouveau/", self.new_view),
            "journal": ("journal/", self.journal_view),
            "journal_file": ("journal/<str:kind>/", self.journal_file),
            "balances": ("soldes/", self.balances_view),
            "balances_file": ("soldes/<str:kind>/", self.balances_file),
            "file": ("<int:pk>/fichier/<str:kind>/", self.closing_file),
        }
        own = [path(route, self.guarded(view), name=f"wallet_closing_{name}") for name, (route, view) in views.items()]
        return [*own, *super().get_urls()]

    # -- Closing --

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows what may be closed, then what the chosen day or month makes of the accounts; POST closes it."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        if request.method == "POST":
            return self._close(request)
        days, months = closings.days_offered(), closings.open_months()[:1]
        chosen: dict[str, Any] | None = None
        preview: list[dict[str, Any]] = []
        if "jusqu_au" in request.GET or "mois" in request.GET:
            day, first = _read(request.GET.get("jusqu_au", "")), _read(request.GET.get("mois", ""))
            said: Sequence[str] = [_("Cette période n’attend pas d’être arrêtée\u00a0: choisissez-en une de la liste.")]
            if first in months:
                chosen, preview = _of_month(first)
            elif day:
                try:
                    chosen, preview = _of_days(closings.days_until(day))
                except Refused as refusal:
                    said = refusal.messages
            if chosen is None:
                self.say(request, messages.ERROR, said)
                return redirect(self.url("new"))
        context = {
            "title": _("Arrêter une journée ou un mois"),
            "days": days,
            "months": [(first, name, of(name)) for first in months for name in [month(first).lower()]],
            "until": closings.closed_until(),
            "chosen": chosen,
            "preview": preview,
        }
        return self.page(request, "admin/wallet/closing/new.html", context)

    def _close(self, request: HttpRequest) -> HttpResponse:
        date = _read(request.POST.get("jusqu_au", "") or request.POST.get("mois", ""))
        if date is None:
            self.say(request, messages.ERROR, [_("Choisissez la dernière journée à arrêter. Rien n’a été arrêté.")])
            return redirect(self.url("new"))
        try:
            if request.POST.get("jusqu_au"):
                rows = closings.close_days(until=date, by=staff(request))
                last = long_date(rows[-1].last_day)
                said = _("Arrêté jusqu’au %s inclus\u00a0: plus rien ne peut y être écrit.") % last
            else:
                row = closings.close_month(first_day=date, by=staff(request))
                said = _("%s est arrêté\u00a0: plus rien ne peut y être écrit.") % row
        except Refused as refusal:
            self.say(request, messages.ERROR, refusal.messages)
            return redirect(self.url("new"))
        self.say(request, messages.SUCCESS, [said])
        return redirect(self.url("changelist"))

    def closing_file(self, request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        closing: Closing = self.object_or_404(request, str(pk))
        heads = [_("Compte"), _("Code"), _("Solde avant"), _("Débit"), _("Crédit"), _("Solde après"),
                 _("Du"), _("Au"), _("Arrêté le"), _("Par")]  # fmt: skip
        # On each line: of several closings put together, a line still says which it is of.
        of_it: list[Cell] = [
            closing.first_day,
            closing.last_day,
            timezone.localdate(closing.closed_at),
            str(closing.closed_by or ""),
        ]
        amounts = ("opening", "debit", "credit", "closing")
        rows: list[list[Cell]] = [
            [row["name"], row["code"], *(row[name] for name in amounts)] for row in closing.accounts
        ]
        rows.append([_("Total"), "", *(sum((row[name] for row in closing.accounts), ZERO) for name in amounts)])
        name = f"arrete-{closing.first_day}-{closing.last_day}"
        return self._file(kind, name, heads, [[*row, *of_it] for row in rows])

    # -- Journal and balances --

    def journal_view(self, request: HttpRequest) -> HttpResponse:
        """The movements of a day, by kind, by account and one by one; the month's receipts as a chart."""
        date, wrong = asked_day(request)
        if wrong:
            self.say(request, messages.WARNING, [f"{wrong} {_('Voici le journal d’aujourd’hui.')}"])
        totals = closings.totals_of(date, date)
        accounts = accounts_in(totals)
        receipts = Decimal(totals["receipts"])
        closed = (reach := closings.closed_until()) is not None and date <= reach
        now_summed = sum((day.receipts for day in closings.totals_by_day(date, date)), ZERO) if closed else receipts
        page, lines = journal.page_of(date, request.GET.get("page", "1"))
        context = {
            "title": _("Journal du %s") % long_date(date),
            "date": date,
            "earliest": EARLIEST,
            "today": today(),
            "before": date - dt.timedelta(days=1) if date > EARLIEST else None,
            "after": date + dt.timedelta(days=1) if date < today() else None,
            "closed": closed,
            "kinds": kinds_in(totals),
            "accounts": accounts,
            "debit": sum((row["debit"] for row in accounts), ZERO),
            "credit": sum((row["credit"] for row in accounts), ZERO),
            "receipts": receipts,
            "summed_otherwise": now_summed if now_summed != receipts else None,
            "page": page,
            "lines": lines,
            "chart": journal.receipts_chart(date),
        }
        return self.page(request, "admin/wallet/closing/journal.html", context)

    def journal_file(self, request: HttpRequest, kind: str) -> HttpResponse:
        date, wrong = asked_day(request)
        if wrong:
            self.say(request, messages.WARNING, [f"{wrong} {_('Aucun fichier n’a été préparé.')}"])
            return redirect(self.url("journal"))
        heads, rows = journal.export_rows(date)
        return self._file(kind, f"journal-{date}", heads, rows)

    def balances_view(self, request: HttpRequest) -> HttpResponse:
        """What every account holds now, and what that means."""
        rows = journal.balances()
        total, newest = sum((row.total for row in rows), ZERO), Verification.objects.order_by("-pk").first()
        context = {
            "title": _("Soldes des comptes"),
            "rows": rows,
            "total": total,
            "newest": newest,
            "whole": _said_of_the_whole(total, newest),
        }
        return self.page(request, "admin/wallet/closing/balances.html", context)

    def balances_file(self, request: HttpRequest, kind: str) -> HttpResponse:
        heads = [_("Compte"), _("Code"), _("Solde"), _("Ce que cela veut dire"), _("Au"), _("Préparé par")]
        balances = journal.balances()
        total = sum((row.total for row in balances), ZERO)
        newest = Verification.objects.order_by("-pk").first()
        rows: list[list[Cell]] = [
            [row.name, row.account.code if row.account else Account.Kind.WALLET.value, row.total, row.meaning]
            for row in balances
        ]
        rows.append([_("Total"), "", total, _said_of_the_whole(total, newest)])
        of_it: list[Cell] = [today(), str(staff(request))]
        return self._file(kind, f"soldes-{today()}", heads, [[*row, *of_it] for row in rows])

    def _file(self, kind: str, name: str, heads: list[str], rows: list[list[Cell]]) -> HttpResponse:
        if kind not in FORMATS:
            raise Http404
        return FORMATS[kind](name, heads, rows)
