"""Vouchers in the administration: the agglomération writes all, a mairie those that it bears; their uses, and batches."""

import csv
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import (
    ReadOnlyAdmin,
    Right,
    ScopedAdmin,
    ScopedForm,
    ScopedInline,
    ScopedRelatedFilter,
    staff,
    visible_rows,
)
from accounts.admin_history import Happening, events_of, parts_of, told
from accounts.models import User
from checkout.models import Order
from checkout.vouchers.actions import MOST_AT_ONCE, make_batch
from checkout.vouchers.models import Voucher, VoucherScope, VoucherShare, VoucherUse, typed
from checkout.vouchers.words import worth
from portal.common.errors import Refused
from portal.common.formats import enumeration, euros, thousands
from portal.common.money import ZERO, MoneyField

SENTENCES = {
    "voucher_is_percent_or_amount": (
        "percent",
        gettext_lazy("Écrivez un pourcentage (plus de 0, au plus 100) ou un montant en euros, l’un des deux."),
    ),
    "voucher_ends_after_it_starts": ("valid_until", gettext_lazy("La dernière date vient avant la première.")),
    "voucher_days_are_in_order": ("days_until", gettext_lazy("La dernière date vient avant la première.")),
    "voucher_can_be_used": ("max_uses", gettext_lazy("Au moins une utilisation, ou rien\u00a0: sans limite.")),
    "voucher_is_not_overused": (
        "max_uses",
        gettext_lazy("Ce bon a déjà été utilisé plus souvent\u00a0: pour l’arrêter, décochez « en service »."),
    ),
    "voucher_minimum_is_not_negative": ("minimum", gettext_lazy("Un montant de zéro euro ou plus.")),
}
PERCENT = gettext_lazy("Un pourcentage de plus de 0 et d’au plus 100, par exemple 10 ou 12,5.")
NUMBER = gettext_lazy("Un nombre entier d’utilisations, ou rien\u00a0: sans limite.")
# What Django says of these fields by itself, in a sentence that says what to write.
FIELD_SENTENCES: dict[str, dict[str, Any]] = {
    "code": {
        "required": gettext_lazy("Écrivez le code que les familles taperont."),
        "max_length": gettext_lazy("Un code a vingt-quatre caractères au plus."),
        "unique": gettext_lazy("Ce code existe déjà\u00a0: choisissez-en un autre."),
    },
    "label": {"required": gettext_lazy("Écrivez le libellé que les familles liront.")},
    "percent": dict.fromkeys(
        ["invalid", "max_digits", "max_decimal_places", "max_whole_digits", "min_value", "max_value"], PERCENT
    ),
    "amount": {
        **dict.fromkeys(
            ["invalid", "max_decimal_places"], gettext_lazy("Un montant en euros et centimes, par exemple 5,00.")
        ),
        **dict.fromkeys(
            ["max_digits", "max_whole_digits"],
            gettext_lazy("Ce montant est trop grand. Un montant en euros et centimes, par exemple 5,00."),
        ),
    },
    "max_uses": dict.fromkeys(["invalid", "min_value", "max_value"], NUMBER),
    "uses_per_family": dict.fromkeys(["invalid", "min_value", "max_value"], NUMBER),
}
SCOPE_SENTENCES = {
    "scope_names_one_thing": (
        "",
        gettext_lazy("Une chose par ligne\u00a0: une commune, un service, une activité ou une situation."),
    ),
    "scope_is_within_the_commune": (
        "",
        gettext_lazy("Un bon à la charge d’une commune vaut pour les produits de cette commune."),
    ),
}
# What families were told stays; PostgreSQL refuses it too.
FROZEN = ["code", "percent", "amount", "commune", "user"]


class VoucherForm(ScopedForm):
    """A code may be typed in small letters; a mairie bears what it gives. Whose a personal one is can also be written as the
    address of the account: without JavaScript the box to choose from stays empty."""

    holder_email = forms.CharField(
        label=gettext_lazy("ou l’adresse e-mail de son compte"),
        max_length=254,
        required=False,
        help_text=gettext_lazy(
            "Au lieu de choisir la personne ci-dessus. Rien dans l’un ni dans l’autre\u00a0: toute personne qui connaît le code."
        ),
        widget=forms.TextInput(attrs={"size": 40, "autocomplete": "off", "inputmode": "email"}),
        error_messages={"max_length": gettext_lazy("Une adresse e-mail a 254 caractères au plus.")},
    )
    by: User  # who writes it
    for_operator = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, sentences in FIELD_SENTENCES.items():
            if name in self.fields:  # a field that is frozen is no longer one of the form
                self.fields[name].error_messages.update(sentences)
        payer = self.fields.get("commune")
        if isinstance(payer, forms.ModelChoiceField):
            payer.empty_label = _("Agglomération") if self.for_operator else _("Choisissez une commune")

    def clean_code(self) -> str:
        return typed(self.cleaned_data["code"])

    def clean_amount(self) -> Decimal | None:
        amount: Decimal | None = self.cleaned_data["amount"]
        if amount is not None and amount <= ZERO:
            raise ValidationError(_("Écrivez un montant plus grand que zéro."), code="min_value")
        return amount

    def clean_commune(self) -> Any:
        commune = self.cleaned_data["commune"]
        if commune is None and not self.for_operator:
            raise ValidationError(_("Choisissez la commune qui supporte la remise."), code="required")
        return commune

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if (address := data.get("holder_email", "")) and "user" in self.fields:
            people, missing = accounts_of(address, self.by)
            if missing:
                self.add_error("holder_email", without_account(missing, self.by))
            elif not people:  # a comma alone
                self.add_error("holder_email", _("Écrivez une adresse e-mail."))
            elif len(people) > 1 or data.get("user") not in {None, people[0]}:
                self.add_error(
                    "holder_email",
                    _("Un bon personnel est d’une seule personne\u00a0: choisissez-la, ou écrivez son adresse."),
                )
            else:
                data["user"] = people[0]
        return data


def accounts_of(addresses: str, by: User) -> tuple[list[User], list[str]]:
    """The accounts that these addresses (apart by spaces, commas or lines) belong to, within somebody's reach; and which have none."""
    wanted = list(dict.fromkeys(addresses.lower().replace(",", " ").replace(";", " ").split()))
    people = {row.email.lower(): row for row in visible_rows(User.objects.filter(email__in=wanted), by)}
    return [people[each] for each in wanted if each in people], [each for each in wanted if each not in people]


def without_account(addresses: Sequence[str], by: User) -> str:
    """What is said of addresses without an account that this person may reach."""
    said = _("Sans compte\u00a0: %s.") if by.is_operator else _("Sans compte, ou pas de votre commune\u00a0: %s.")
    return said % enumeration(addresses)


class ScopeForm(ScopedForm):
    """One thing that a voucher is for."""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        voucher: Any = self.fields["voucher"]  # the row that the page is about, saved or not
        bearer = voucher.parent_instance.commune_id
        if bearer is not None and not self.errors:
            found = {
                data["commune"].pk if data.get("commune") else None,
                data["service"].commune_id if data.get("service") else None,
                data["activity"].service.commune_id if data.get("activity") else None,
                data["profile"].service.commune_id if data.get("profile") else None,
            }
            if found - {None, bearer}:
                raise ValidationError(SCOPE_SENTENCES["scope_is_within_the_commune"][1], code="other_commune")
        return data


class ScopeInline(ScopedInline):
    """What it is for; nothing written: everything that its bearer's products are."""

    model = VoucherScope
    form = ScopeForm
    extra = 1  # a line to write on, without JavaScript too
    agents = operators = Right.ALL
    fields = ["commune", "service", "activity", "profile"]
    constraint_messages = SCOPE_SENTENCES
    classes = ["stacked-lines"]
    description = gettext_lazy(
        "Sans aucune ligne, le bon vaut pour tous les produits de celui qui paie la remise. Une chose par ligne\u00a0: une commune, "
        "un service ou une activité — le bon vaut alors pour les produits de l’un ou de l’autre — ou bien une situation. Quand des "
        "lieux et des situations sont écrits, il faut les deux\u00a0: un de ces lieux et une de ces situations."
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return _only_choose(super().formfield_for_dbfield(db_field, request, **kwargs))


def _only_choose(field: Any) -> Any:
    """A voucher names what exists: nobody makes a commune or a service beside one."""
    if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
        field.widget.can_add_related = False
    return field


class BearerFilter(ScopedRelatedFilter):
    """The communes that bear a voucher, rather than all of them; without one the agglomération does."""

    def __init__(self, field: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.for_operator = staff(request).is_operator
        super().__init__(field, request, *args, **kwargs)
        self.title = _("qui paie la remise")
        self.empty_value_display = format_html("{}", _("Agglomération"))

    @property
    def include_empty_choice(self) -> bool:
        """« Agglomération », for those who reach its vouchers."""
        return self.for_operator

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        bearers = set(Voucher.objects.exclude(commune=None).values_list("commune", flat=True))
        return [choice for choice in super().field_choices(field, request, model_admin) if choice[0] in bearers]


class BatchFilter(admin.SimpleListFilter):
    """Vouchers that were made together."""

    title = gettext_lazy("lot")
    parameter_name = "lot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = visible_rows(Voucher.objects.exclude(batch=""), staff(request))
        return [(name, name) for name in rows.order_by("batch").values_list("batch", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Voucher]) -> QuerySet[Voucher]:
        return queryset.filter(batch=self.value()) if self.value() else queryset


HOW_MANY = format_lazy(gettext_lazy("Écrivez un nombre de bons, de 1 à {most}."), most=thousands(MOST_AT_ONCE))


class BatchForm(forms.Form):
    """How many vouchers like this one, or for whom."""

    batch = forms.CharField(label=gettext_lazy("Nom du lot"), max_length=60)
    start = forms.CharField(
        label=gettext_lazy("Début des codes"),
        max_length=12,
        required=False,
        help_text=gettext_lazy("Dix caractères tirés au sort le suivent\u00a0: NOEL-7KQ2MXBT4W."),
    )
    count = forms.IntegerField(
        label=gettext_lazy("Combien de bons"),
        min_value=1,
        max_value=MOST_AT_ONCE,
        required=False,
        error_messages=dict.fromkeys(["invalid", "min_value", "max_value"], HOW_MANY),
        help_text=gettext_lazy("Chacun sert une fois, à qui en connaît le code."),
    )
    emails = forms.CharField(
        label=gettext_lazy("Ou\u00a0: un bon personnel pour chacune de ces adresses"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "cols": 60}),
        help_text=gettext_lazy(
            "Adresses e-mail de comptes, séparées par des espaces ou des retours à la ligne\u00a0; chaque bon apparaît dans "
            "« Mes bons de réduction » de la personne."
        ),
    )

    def __init__(self, data: Any = None, *, by: User) -> None:
        super().__init__(data)
        self.by = by

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        name = data.get("batch")
        if name and Voucher.objects.filter(batch=name).exists():
            self.add_error("batch", _("Un lot porte déjà ce nom."))
        if "count" in self.errors:
            return data
        people, missing = accounts_of(data.get("emails", ""), self.by)
        if bool(people or missing) == bool(data.get("count")):
            self.add_error("count", _("Écrivez un nombre de bons, ou des adresses\u00a0: l’un des deux."))
            return data
        if missing:
            self.add_error("emails", without_account(missing, self.by))
        data["people"] = people
        return data


def _borne() -> Any:
    """What a voucher took off paid lines that still stand, for the outer query's row."""
    shares = VoucherShare.objects.filter(
        use__voucher=OuterRef("pk"), line__order__status=Order.Status.PAID, line__cancelled_at=None
    )
    sums = shares.order_by().values("use__voucher").annotate(sum=Sum("amount")).values("sum")
    return Coalesce(Subquery(sums, output_field=MoneyField()), ZERO)


@admin.register(Voucher)
class VoucherAdmin(ScopedAdmin):
    agents = operators = Right.EDIT  # one that is no longer given is taken out of service
    form = VoucherForm
    inlines = [ScopeInline]
    autocomplete_fields = ["user"]
    change_form_template = "admin/checkout/voucher/change_form.html"
    change_list_template = "admin/checkout/voucher/change_list.html"
    list_display = ["code", "label", "off", "bearer", "for_whom", "valid_until", "uses", "borne", "is_active"]
    list_filter = ["is_active", ("commune", BearerFilter), BatchFilter]
    list_select_related = ["commune", "user"]
    search_fields = ["code", "label", "user__last_name", "user__email"]
    ordering = ["-created_at", "-pk"]
    constraint_messages = SENTENCES
    fieldsets = [
        (None, {"fields": ["code", "label", ("percent", "amount"), "commune", "user", "holder_email", "is_active"]}),
        (
            gettext_lazy("Quand"),
            {"fields": [("valid_from", "valid_until"), ("days_from", "days_until")]},
        ),
        (gettext_lazy("Combien"), {"fields": ["minimum", ("uses_per_family", "max_uses"), "stackable"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(borne_so_far=_borne())

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return _only_choose(super().formfield_for_dbfield(db_field, request, **kwargs))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.for_operator, form.by = staff(request).is_operator, staff(request)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Voucher | None = None) -> list[str]:
        return [*FROZEN, "bearer", "holder", "uses", "borne"] if obj else []

    def get_fieldsets(self, request: HttpRequest, obj: Voucher | None = None) -> Any:
        if obj is None:
            return self.fieldsets
        # Told in words: what an empty choice means is « – » otherwise.
        what = {"fields": ["code", "label", ("percent", "amount"), "bearer", "holder", "is_active"]}
        return [(None, what), *self.fieldsets[1:], (_("Utilisations"), {"fields": ["uses", "borne"]})]

    def story(self, request: HttpRequest, obj: Voucher) -> list[Happening]:
        told_of = [*super().story(request, obj), *parts_of(events_of(VoucherScope), staff(request), voucher_id=obj.pk)]
        return sorted(told_of, key=lambda line: line.when, reverse=True)

    @admin.display(description=gettext_lazy("remise"))
    def off(self, obj: Voucher) -> str:
        return worth(obj)

    @admin.display(description=gettext_lazy("qui paie"), ordering="commune__name_key")
    def bearer(self, obj: Voucher) -> str:
        return str(obj.commune or _("Agglomération"))

    @admin.display(description=gettext_lazy("bon personnel de"))
    def holder(self, obj: Voucher) -> str:
        return str(obj.user or _("toute personne qui connaît le code"))

    @admin.display(description=gettext_lazy("pour qui"), ordering="user__last_name")
    def for_whom(self, obj: Voucher) -> str:
        """Whose it is, and which lot it is of: for everybody else a dash."""
        lot = _("lot %s") % obj.batch if obj.batch else ""
        return " – ".join(part for part in (str(obj.user or ""), lot) if part) or "–"

    @admin.display(description=gettext_lazy("utilisé"), ordering="used")
    def uses(self, obj: Voucher) -> str:
        if obj.max_uses is None:
            return str(obj.used)
        return _("%(used)d sur %(most)d") % {"used": obj.used, "most": obj.max_uses}

    @admin.display(description=gettext_lazy("coût"))
    def borne(self, obj: Voucher) -> str:
        return euros(obj.borne_so_far)  # type: ignore[attr-defined]

    # -- Batches --

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/lot/", self.guarded(self.batch_view), name="checkout_voucher_batch"),
            path("lot.csv", self.guarded(self.batch_csv), name="checkout_voucher_batch_csv"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            context["batch_url"] = self.url("batch", obj.pk)
            uses = f"admin:{self.opts.app_label}_voucheruse_changelist"
            context["uses_query"] = urlencode({"q": obj.code})
            context["uses_page"] = uses
        return super().render_change_form(request, context, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        batch = request.GET.get("lot", "")
        url = f"{self.url('batch_csv')}?{urlencode({'lot': batch})}" if batch else ""
        return super().changelist_view(request, {"batch_url": url, **(extra_context or {})})

    def batch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET asks how many vouchers like this one; POST makes them."""
        model = self.object_or_404(request, str(pk))
        if not self.may(request, Right.ADD):
            raise PermissionDenied
        form = BatchForm(request.POST if request.method == "POST" else None, by=staff(request))
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                made = make_batch(
                    model=model,
                    count=data["count"] or len(data["people"]),
                    people=data["people"],
                    prefix=data["start"],
                    batch=data["batch"],
                )
            except Refused as refusal:
                self.say(request, messages.ERROR, refusal.messages)
            else:
                self.say(request, messages.SUCCESS, [_made(len(made))])
                return redirect(f"{self.url('changelist')}?{urlencode({'lot': data['batch']})}")
        context = {
            "title": _("Créer un lot de bons comme %s") % model.code,
            "voucher": model,
            "off": worth(model),
            "form": form,
            "back_url": self.url("change", model.pk),
        }
        return self.page(request, "admin/checkout/voucher/batch.html", context)

    def batch_csv(self, request: HttpRequest) -> HttpResponse:
        """The codes of a batch (`?lot=`), as a mairie hands them out: spreadsheets open it as it is."""
        name = request.GET.get("lot", "")
        rows = self.get_queryset(request).filter(batch=name).select_related("user").order_by("code")
        if not name or not rows:
            raise Http404
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="bons.csv"'
        response.write("\ufeff")  # by which spreadsheets know the letters
        writer = csv.writer(response, delimiter=";")
        writer.writerow([_("Code"), _("Libellé"), _("Remise"), _("Valable jusqu’au"), _("Personne"), _("Utilisé")])
        for row in rows:
            writer.writerow(
                [
                    row.code,
                    _plain(row.label),
                    worth(row),
                    row.valid_until.isoformat() if row.valid_until else "",
                    _plain(str(row.user)) if row.user else "",
                    row.used,
                ]
            )
        return response


def _made(count: int) -> str:
    return ngettext("%d bon créé.", "%d bons créés.", count) % count


def _plain(text: str) -> str:
    """A spreadsheet takes `=…` for a formula, whoever wrote it."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


@admin.register(VoucherUse)
class VoucherUseAdmin(ReadOnlyAdmin):
    agents = Right.VIEW
    list_display = ["created_at", "voucher", "user", "order_number", "sum", "status"]
    list_filter = ["status"]
    list_select_related = ["voucher", "user", "order"]
    date_hierarchy = "created_at"
    search_fields = ["voucher__code", "user__last_name", "user__email"]
    ordering = ["-created_at", "-pk"]
    fields = ["voucher", "user", "order_number", "sum", "status", "created_at", "ended_at"]
    readonly_fields = ["order_number", "sum"]

    def story(self, request: HttpRequest, obj: VoucherUse) -> list[Happening]:
        return told(
            staff(request),
            [
                (obj.created_at, obj.user_id, _("Bon retenu pour la commande %s.") % obj.order.number),
                (obj.ended_at, None, _("Bon rendu\u00a0: il peut servir de nouveau.")),
            ],
        )

    @admin.display(description=gettext_lazy("commande"), ordering="order")
    def order_number(self, obj: VoucherUse) -> str:
        return obj.order.number

    @admin.display(description=gettext_lazy("remise"), ordering="amount")
    def sum(self, obj: VoucherUse) -> str:
        return euros(obj.amount)
