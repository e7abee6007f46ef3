"""The régie's ledger, to be read: a correction is a movement that an action posts (wallet.actions)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Sum
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin_base import ReadOnlyAdmin, ReadOnlyInline, Right, ScopedAdmin
from accounts.models import User
from families.admin import AccountAdmin as PeopleAdmin
from portal.common.formats import euros
from wallet.models import Account, Entry, Movement, TopUpPack, Wallet


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    """For the agglomération, which holds the money; a mairie has no business with a family's balance."""

    list_display = ["user", "email", "amount"]
    list_select_related = ["user"]
    search_fields = ["user__last_name", "user__first_name", "user__email"]
    ordering = ["user__last_name", "user__first_name", "pk"]
    fields = ["user", "account", "amount"]
    readonly_fields = ["amount"]

    @admin.display(description=gettext_lazy("adresse e-mail"), ordering="user__email")
    def email(self, obj: Wallet) -> str:
        return obj.user.email

    @admin.display(description=gettext_lazy("solde"), ordering="balance")
    def amount(self, obj: Wallet) -> str:
        return euros(obj.balance)


def money_at_stake(people: Sequence[User], by: User) -> dict[int, str]:
    """What refusing these accounts leaves in their wallets; how much is said to the agglomération alone."""
    rich = Wallet.objects.filter(user__in=people, balance__gt=0)
    if not by.is_operator:
        return {wallet.user_id: _("Il reste de l’argent dans son porte-monnaie.") for wallet in rich}
    return {wallet.user_id: _("Son porte-monnaie contient %s.") % euros(wallet.balance) for wallet in rich}


PeopleAdmin.stakes.append(money_at_stake)


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ["code", "kind", "commune", "total"]
    list_filter = ["kind"]
    list_select_related = ["commune"]
    search_fields = ["code", "commune__name", "wallet__user__last_name", "wallet__user__email"]
    ordering = ["code"]
    fields = ["code", "kind", "commune", "total"]
    readonly_fields = ["total"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(total=Sum("entries__amount"))

    @admin.display(description=gettext_lazy("solde"))
    def total(self, obj: Account) -> str:
        return euros(obj.total or Decimal(0))  # type: ignore[attr-defined]


class EntryInline(ReadOnlyInline):
    model = Entry
    fields = ["account", "euros", "after"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("account").order_by("pk")

    @admin.display(description=gettext_lazy("montant"))
    def euros(self, obj: Entry) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("solde après"))
    def after(self, obj: Entry) -> str:
        return euros(obj.balance_after)


@admin.register(Movement)
class MovementAdmin(ReadOnlyAdmin):
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
    fields = ["at", "kind", "label", "key", "by", "reverses"]


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ["pk", "movement", "account", "amount_in_euros", "after"]
    list_filter = ["account__kind"]
    list_select_related = ["movement", "account"]
    search_fields = ["account__code", "movement__label"]
    ordering = ["-pk"]
    fields = ["movement", "account", "amount_in_euros", "after"]
    readonly_fields = ["amount_in_euros", "after"]

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def amount_in_euros(self, obj: Entry) -> str:
        return euros(obj.amount)

    @admin.display(description=gettext_lazy("solde après"))
    def after(self, obj: Entry) -> str:
        return euros(obj.balance_after)


@admin.register(TopUpPack)
class TopUpPackAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["pack", "is_active"]
    fields = ["amount", "is_active"]
    ordering = ["amount"]
    constraint_messages = {
        "pack_is_positive": ("amount", gettext_lazy("Un pack vaut plus de zéro euro.")),
    }

    @admin.display(description=gettext_lazy("montant"), ordering="amount")
    def pack(self, obj: TopUpPack) -> str:
        return euros(obj.amount)
