"""The régie's ledger, to be read: a correction is a movement that an action posts (wallet.actions)."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, ScopedAdmin, staff
from accounts.admin_history import Happening, told
from accounts.models import User
from families.admin import AccountAdmin as PeopleAdmin
from portal.common.errors import Refused
from portal.common.formats import euros, of, short_date
from portal.common.forms import AmountField
from portal.common.money import MoneyField
from wallet.corrections.actions import check_reversal
from wallet.corrections.models import Correction
from wallet.models import CORRECTION, Account, Entry, Movement, TopUpPack, Wallet
from wallet.words import account_name


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    """For the agglomération, which holds the money; a mairie has no business with a family's balance."""

    list_display = ["user", "email", "amount"]
    list_select_related = ["user"]
    search_fields = ["user__last_name", "user__first_name", "user__email"]
    ordering = ["user__last_name", "user__first_name", "pk"]
    fields = ["user", "amount", "movements"]
    readonly_fields = ["amount", "movements"]

    def label_for(self, obj: Wallet) -> str:
        return _("Porte-monnaie %s") % of(str(obj.user))

    def elsewhere(self, obj: Wallet) -> str:
        return entries_of(obj.account_id)

    @admin.display(description=gettext_lazy("mouvements"))
    def movements(self, obj: Wallet) -> str:
        return entries_of(obj.account_id)

    @admin.display(description=gettext_lazy("adresse e-mail"), ordering="user__email")
    def email(self, obj: Wallet) -> str:
        return obj.user.email

    @admin.display(description=gettext_lazy("solde"), ordering="balance")
    def amount(self, obj: Wallet) -> str:
        return euros(obj.balance)


def entries_of(account: int) -> str:
    """Where the movements of an account are read, which are all its history."""
    address = f"{reverse('admin:wallet_entry_changelist')}?{AccountFilter.parameter_name}={account}"
    return format_html('<a href="{}">{}</a>', address, _("Voir ses mouvements"))


class AccountFilter(admin.SimpleListFilter):
    """The entries of one account, named by the link that led here: there are too many to choose from."""

    title = gettext_lazy("compte")
    parameter_name = "compte"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = str(request.GET.get(self.parameter_name, ""))
        if not (chosen.isdecimal() and len(chosen) < 19):
            return []
        accounts = Account.objects.select_related("commune", "wallet__user").filter(pk=int(chosen))
        return [(chosen, account_name(account)) for account in accounts]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(account=self.value()) if self.value() else queryset


def money_at_stake(people: Sequence[User], by: User) -> dict[int, str]:
    """What refusing these accounts leaves in their wallets; how much is said to the agglomération alone."""
    rich = Wallet.objects.filter(user__in=people, balance__gt=0)
    if not by.is_operator:
        return {wallet.user_id: _("Il reste de l’argent dans son porte-monnaie.") for wallet in rich}
    return {wallet.user_id: _("Son porte-monnaie contient %s.") % euros(wallet.balance) for wallet in rich}


PeopleAdmin.stakes.append(money_at_stake)


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    change_form_template = "admin/wallet/account/change_form.html"
    list_display = ["name", "kind", "total", "code"]
    list_filter = ["kind"]
    list_select_related = ["commune", "wallet__user"]
    search_fields = ["code", "commune__name", "wallet__user__last_name", "wallet__user__email"]
    ordering = ["code"]
    fields = ["name", "kind", "commune", "total", "code", "movements"]
    readonly_fields = ["name", "total", "movements"]

    def label_for(self, obj: Account) -> str:
        return account_name(obj)

    def elsewhere(self, obj: Account) -> str:
        return entries_of(obj.pk)

    @admin.display(description=gettext_lazy("compte"), ordering="code")
    def name(self, obj: Account) -> str:
        return account_name(obj)

    @admin.display(description=gettext_lazy("mouvements"))
    def movements(self, obj: Account) -> str:
        return entries_of(obj.pk)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_totals()

    @admin.display(description=gettext_lazy("solde"))
    def total(self, obj: Account) -> str:
        return euros(obj.total)


class EntryInline(ReadOnlyInline):
    model = Entry
    fields = ["name", "euros", "after"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("account__commune", "account__wallet__user").order_by("pk")

    @admin.display(description=gettext_lazy("compte"))
    def name(self, obj: Entry) -> str:
        return account_name(obj.account)

    @admin.display(description=gettext_lazy("montant"))
    def euros(self, obj: Entry) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("solde du porte-monnaie après"))
    def after(self, obj: Entry) -> str:
        return euros(obj.balance_after) or "–"  # a system account stores none: it is summed


def movement_story(movement: Movement, viewer: User) -> list[Happening]:
    """What is written stays: the movement, and the one that reverses it."""
    written = [(movement.at, movement.by_id, _("Écrit\u00a0: %s.") % movement.label)]
    if reversal := Movement.objects.filter(reverses=movement).first():
        written.append((reversal.at, reversal.by_id, _("Contre-passé\u00a0: %s.") % reversal.label))
    return told(viewer, written)


@admin.register(Movement)
class MovementAdmin(ReadOnlyAdmin):
    change_form_template = "admin/wallet/movement/change_form.html"
    inlines = [EntryInline]
    list_display = ["at", "kind", "label", "by"]
    list_filter = ["kind"]
    list_select_related = ["by"]
    date_hierarchy = "at"
    search_fields = [
        "label",
        "key",
        "entries__account__wallet__user__last_name",
        "entries__account__wallet__user__email",
    ]
    ordering = ["-at", "-pk"]
    fields = ["at", "kind", "label", "correction", "by", "reverses", "key"]
    readonly_fields = ["correction"]

    def get_fields(self, request: HttpRequest, obj: Movement | None = None) -> Any:
        """Who proposed and who decided, where two persons made the movement."""
        two = obj is not None and obj.key.startswith(CORRECTION)
        return [name for name in self.fields or () if two or name != "correction"]

    @admin.display(description=gettext_lazy("correction"))
    def correction(self, obj: Movement) -> str:
        number = obj.key.removeprefix(CORRECTION)
        found = Correction.objects.select_related("proposed_by", "decided_by").filter(pk=number).first()
        if found is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:wallet_correction_change", args=[found.pk]),
            _("Proposée par %(first)s, décidée par %(second)s")
            % {"first": found.proposed_by, "second": found.decided_by},
        )

    def story(self, request: HttpRequest, obj: Movement) -> list[Happening]:
        return movement_story(obj, staff(request))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Whether it was undone, is about to be, or may be."""
        obj: Movement = kwargs["obj"]  # nothing is added here
        try:
            check_reversal(movement=obj, by=staff(request))
        except Refused:
            context["may_reverse"] = False
        else:
            context["may_reverse"] = True
        context["back"] = Movement.objects.filter(reverses=obj).first()
        context["proposal"] = Correction.objects.filter(reverses=obj, status=Correction.Status.PROPOSED).first()
        return super().render_change_form(request, context, *args, **kwargs)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ["number", "at", "movement", "name", "amount_in_euros", "after"]
    list_filter = [AccountFilter, "account__kind"]
    list_select_related = ["movement", "account__commune", "account__wallet__user"]
    search_fields = ["account__code", "movement__label"]
    ordering = ["-pk"]
    fields = ["movement", "name", "amount_in_euros", "after"]
    readonly_fields = ["name", "amount_in_euros", "after"]

    def label_for(self, obj: Entry) -> str:
        return f"{account_name(obj.account)}\u00a0: {euros(obj.amount)}"

    def story(self, request: HttpRequest, obj: Entry) -> list[Happening]:
        return movement_story(obj.movement, staff(request))

    @admin.display(description=gettext_lazy("n°"), ordering="pk")
    def number(self, obj: Entry) -> str:
        return str(obj.pk)

    @admin.display(description=gettext_lazy("date"), ordering="movement__at")
    def at(self, obj: Entry) -> str:
        return short_date(timezone.localdate(obj.movement.at))

    @admin.display(description=gettext_lazy("compte"), ordering="account__code")
    def name(self, obj: Entry) -> str:
        return account_name(obj.account)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def amount_in_euros(self, obj: Entry) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("solde du porte-monnaie après"))
    def after(self, obj: Entry) -> str:
        return euros(obj.balance_after) or "–"  # a system account stores none: it is summed


@admin.register(TopUpPack)
class TopUpPackAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["pack", "is_active"]
    fields = ["amount", "is_active"]
    ordering = ["amount"]
    constraint_messages = {
        "pack_is_positive": ("amount", gettext_lazy("Un pack vaut plus de zéro euro.")),
        "offered_pack_is_of_whole_euros": (
            "amount",
            gettext_lazy("Un crédit vaut un euro : un pack va de 1 à 1\u202f000 euros, sans centimes."),
        ),
    }

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, MoneyField):
            kwargs["form_class"] = AmountField
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def pack(self, obj: TopUpPack) -> str:
        return euros(obj.amount)
