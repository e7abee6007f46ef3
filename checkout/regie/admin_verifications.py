"""The checks of the accounts and what they found; with the newest, what still has to come together (« rapprochement »)."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Sum, Value
from django.db.models.functions import Concat, Trim
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ReadOnlyAdmin, Right, Todo, staff
from accounts.admin_history import Happening, told
from accounts.models import User
from checkout.counter.models import Means
from checkout.models import Order, Payment
from checkout.regie import verifications
from checkout.regie.models import Verification
from checkout.tasks import verify_ledger
from portal.common.db import annotated
from portal.common.errors import Refused
from portal.common.formats import euros, moment, thousands
from portal.common.money import ZERO
from portal.outbox.models import Call, Email
from wallet.models import Account, Movement
from wallet.words import account_name, meaning

# Providers pay over within two or three working days.
UNSETTLED_AFTER = dt.timedelta(days=7)
COUNTER = [means.value for means in Means]  # what the till took goes to the bank by « Verser la caisse »

# What the sentences of a check name: an order's number, a movement's key in the table, its idempotency key in brackets, an
# account by its code (which its name is shown for), a wallet by whose it is.
NAMED = re.compile(
    r"(?P<order>\b[Cc]ommande \d{4}-\d{6,18}\b)|(?P<movement>\bMouvement \d{1,18}\b)"
    r"|(?:Recettes|Remises|Encaissements à recevoir) \((?P<kept>[a-z_]+:[^\s()]+)\)"
    r"|\((?P<key>[a-z_]+:[^\s()]+)\)|(?<=\b[Cc]ompte )(?P<account>[a-z_]+(?::[\w-]+)?)(?= :|\u00a0:|,|\.)"
    r"|^Porte-monnaie (?:de |d’)(?P<owner>[^:]+?)(?= :|\u00a0:)"
)

Pieces = list[tuple[str, str]]  # text, and where it leads


def led(sentences: Sequence[str]) -> list[Pieces]:
    """The sentences of a check cut into pieces, of which orders, movements, accounts and wallets lead to their pages.

    Five statements at most, however many sentences.
    """
    named = [match for sentence in sentences for match in NAMED.finditer(sentence)]
    numbers = {_last_word(match) for match in named if match["order"]}
    ids = {int(_last_word(match)) for match in named if match["movement"]}
    keys = {match["key"] for match in named if match["key"]}
    serials = {int(number.partition("-")[2]) for number in numbers}
    orders = {row.number: row.pk for row in Order.objects.filter(pk__in=serials)} if serials else {}
    movements = set(Movement.objects.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()
    by_key = dict(Movement.objects.filter(key__in=keys).values_list("key", "pk")) if keys else {}

    accounts = _accounts({match["kept"] or match["account"] for match in named} - {None})
    wallets = _wallets({match["owner"] for match in named if match["owner"]})

    def piece(match: re.Match[str]) -> tuple[str, str]:
        code = match["kept"] or match["account"]
        if code in accounts:
            return accounts[code]
        return match[0], "" if code else address(match)

    def address(match: re.Match[str]) -> str:
        if match["order"]:
            pk = orders.get(_last_word(match))
            return reverse("admin:checkout_order_change", args=[pk]) if pk else ""
        if match["owner"]:
            return wallets.get(match["owner"], "")
        pk = by_key.get(match["key"]) if match["key"] else int(_last_word(match))
        known = match["key"] is not None or pk in movements
        return reverse("admin:wallet_movement_change", args=[pk]) if pk and known else ""

    found = []
    for sentence in sentences:
        pieces, end = [], 0
        for match in NAMED.finditer(sentence):
            pieces += [(sentence[end : match.start()], ""), piece(match)]
            end = match.end()
        found.append([*pieces, (sentence[end:], "")])
    return found


def _accounts(codes: set[str]) -> dict[str, tuple[str, str]]:
    """What people call the accounts of these codes, and where their entries are read. The wallets are one line of closings."""
    if not codes:
        return {}
    found = {}
    if Account.Kind.WALLET.value in codes:
        found[Account.Kind.WALLET.value] = (_("Porte-monnaie des familles"), reverse("admin:wallet_wallet_changelist"))
    for row in Account.objects.filter(code__in=codes).select_related("commune", "wallet__user"):
        # One that has lost its wallet is known by its code alone.
        lost = row.kind == Account.Kind.WALLET and not hasattr(row, "wallet")
        found[row.code] = (row.code if lost else account_name(row), entries_of(row.pk))
    return found


def _wallets(owners: set[str]) -> dict[str, str]:
    """Where the wallets of these people are read: of those whose name nobody shares."""
    if not owners:
        return {}
    named = annotated(User.objects.all(), full=Trim(Concat("first_name", Value(" "), "last_name")))
    rows = list(named.filter(Q(full__in=owners) | Q(email__in=owners), wallet__isnull=False).select_related("wallet"))
    times = Counter(str(row) for row in rows)
    return {str(row): entries_of(row.wallet.account_id) for row in rows if times[str(row)] == 1}


def entries_of(account: int) -> str:
    """The address of an account's entries."""
    return f"{reverse('admin:wallet_entry_changelist')}?compte={account}"


def _told(row: Verification) -> dict[str, list[Pieces]]:
    """What a check found, for its page: differences, and what is overdue."""
    sentences = led([*row.differences, *row.overdue])
    books = len(row.differences)
    return {"found": sentences[:books], "overdue": sentences[books:]}


def _last_word(match: re.Match[str]) -> str:
    return match[0].rpartition(" ")[2]


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    operators = Right.VIEW | Right.DECIDE
    change_list_template = "admin/checkout/verification/change_list.html"
    change_form_template = "admin/checkout/verification/change_form.html"
    list_display = ["when", "count", "overdue_count", "read", "duration", "by"]
    list_select_related = ["by"]
    date_hierarchy = "ended_at"
    ordering = ["-pk"]
    fields = ["when", "duration", "read", "by"]
    readonly_fields = ["when", "duration", "read"]

    def pages(self, request: HttpRequest) -> list[tuple[str, str]]:
        return [(_("Rapport de rapprochement"), self.url("report"))] if self.has_view_permission(request) else []

    def todo(self, request: HttpRequest) -> list[Todo]:
        if not self.has_view_permission(request):
            return []
        newest = Verification.objects.order_by("-pk").first()
        count = newest.count if newest else 0
        words = _("Différence dans les comptes") if count == 1 else _("Différences dans les comptes")
        late = newest.overdue_count if newest else 0
        late_words = _("Opération en retard") if late == 1 else _("Opérations en retard")
        return [Todo(words, count, self.url("report")), Todo(late_words, late, self.url("report"))]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        under_way = verifications.is_under_way()
        more = {
            "may_run": self.may(request, Right.DECIDE),
            "under_way": under_way,
            "none_yet": not under_way and not Verification.objects.exists(),
        }
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def story(self, request: HttpRequest, obj: Verification) -> list[Happening]:
        found = _("Contrôle terminé\u00a0: rien à redire.")
        if obj.count:
            found = _("Contrôle terminé\u00a0: différences trouvées (%d).") % obj.count
        if obj.overdue_count:
            found += " " + _("Opérations en retard\u00a0: %d.") % obj.overdue_count
        return told(staff(request), [(obj.started_at, obj.by_id, _("Contrôle commencé.")), (obj.ended_at, None, found)])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context |= _told(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("contrôle"), ordering="ended_at")
    def when(self, obj: Verification) -> str:
        return moment(obj.ended_at)

    @admin.display(description=gettext_lazy("durée"))
    def duration(self, obj: Verification) -> str:
        return f"{obj.seconds:.1f}\u00a0s".replace(".", ",")

    @admin.display(description=gettext_lazy("écritures relues"), ordering="entries")
    def read(self, obj: Verification) -> str:
        return thousands(obj.entries)

    def get_urls(self) -> list[Any]:
        return [
            path("rapprochement/", self.guarded(self.report_view), name="checkout_verification_report"),
            path("lancer/", self.guarded(self.run_view), name="checkout_verification_run"),
            *super().get_urls(),
        ]

    def report_view(self, request: HttpRequest) -> HttpResponse:
        """The newest check, and all money that is on its way between two places."""
        newest = Verification.objects.order_by("-pk").select_related("by").first()
        context = {
            "title": _("Rapport de rapprochement"),
            "newest": newest,
            **(_told(newest) if newest else {}),
            "late": verifications.is_late(newest),
            "under_way": verifications.is_under_way(),
            "sections": sections(),
            "may_run": self.may(request, Right.DECIDE),
        }
        return self.page(request, "admin/checkout/verification/report.html", context)

    def run_view(self, request: HttpRequest) -> HttpResponse:
        """Ask a worker for a check now: POST only. It reads all the ledger, which no page waits for."""
        if not self.may(request, Right.DECIDE):
            raise PermissionDenied
        if request.method == "POST":
            asker = staff(request)
            try:
                verifications.ask(by=asker)
            except Refused as refusal:
                self.say(request, messages.WARNING, refusal.messages)
                return redirect(self.url("report"))
            transaction.on_commit(lambda: _ask(asker.pk), robust=True)
            if verifications.is_under_way():
                said = _("Contrôle demandé\u00a0: son résultat sera ici dans quelques instants.")
                self.say(request, messages.SUCCESS, [said])
            else:
                said = _(
                    "La file des tâches ne répond pas\u00a0: le contrôle n’a pas été demandé. Réessayez, ou attendez celui de 3 h 30."
                )
                self.say(request, messages.ERROR, [said])
        return redirect(self.url("report"))


def _ask(by: int) -> None:
    try:
        verify_ledger.delay(by=by)
    except verify_ledger.OperationalError:  # the broker is down: the night's own run comes all the same
        verifications.not_asked()


def sections() -> list[dict[str, Any]]:
    """What is on its way: where it is, how much, where to look, and what that means; six statements."""
    kinds = [
        Account.Kind.CLEARING,
        Account.Kind.REFUNDING,
        Account.Kind.TRANSFERS,
        Account.Kind.REMITTING,
        Account.Kind.TILL,
    ]
    moving = Account.objects.filter(kind__in=kinds).select_related("commune").with_totals().order_by("code")
    payments = reverse("admin:checkout_payment_changelist")
    waiting = Payment.objects.awaiting_provider().aggregate(count=Count("pk"), sum=Sum("amount"))
    reserved = Payment.objects.filter(status=Payment.Status.RESERVED).aggregate(count=Count("pk"), sum=Sum("amount"))
    settled = Movement.objects.filter(
        key=Concat(Value("settlement:"), OuterRef("provider"), Value(":"), OuterRef("reference"))
    )
    by_card = Payment.objects.filter(status__in=[Payment.Status.CAPTURED, Payment.Status.CREDITED])
    old = by_card.exclude(provider__in=[Payment.WALLET, *COUNTER]).filter(ended_at__lt=timezone.now() - UNSETTLED_AFTER)
    unsettled = old.filter(~Exists(settled)).aggregate(count=Count("pk"), sum=Sum("amount"))
    dead_calls = Call.objects.filter(status=Call.Status.DEAD).count()
    dead_emails = Email.objects.filter(status=Email.Status.DEAD).count()
    return [
        {
            "title": _("Argent en chemin"),
            "rows": [
                (account_name(account), euros(account.total), entries_of(account.pk),
                 meaning(account.kind, account.total))
                for account in moving
                if account.total
            ],
        },
        {
            "title": _("Règlements sans fin connue"),
            "rows": [
                (_("Attendent leur prestataire\u00a0: %d") % waiting["count"], euros(waiting["sum"] or ZERO),
                 f"{payments}?status__exact=started", ""),
                (_("Encaissés depuis plus de %(days)d jours, pas encore versés\u00a0: %(count)d")
                 % {"days": UNSETTLED_AFTER.days, "count": unsettled["count"]}, euros(unsettled["sum"] or ZERO),
                 f"{payments}?status__exact=captured", ""),
                (_("Parts de porte-monnaie réservées\u00a0: %d") % reserved["count"], euros(reserved["sum"] or ZERO),
                 f"{payments}?status__exact=reserved", ""),
            ],
        },
        {
            "title": _("Envois abandonnés"),
            "rows": [
                (_("Appels à un prestataire"), str(dead_calls),
                 f"{reverse('admin:outbox_call_changelist')}?status__exact=dead", ""),
                (_("Courriels"), str(dead_emails),
                 f"{reverse('admin:outbox_email_changelist')}?status__exact=dead", ""),
            ],
        },
    ]  # fmt: skip
