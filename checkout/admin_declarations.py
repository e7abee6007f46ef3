"""What a slot declares for the tax certificate, set right for what was ordered too: the layer of services knows of no order."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.formats import localize_input
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_ask import Question, show
from accounts.admin_base import ReadOnlyAdmin, Right, ScopedAdmin, staff
from accounts.admin_history import Happening, told
from checkout.actions import correct_declaration
from checkout.actions.declarations import (
    Concerned,
    Days,
    Declared,
    check_asked,
    check_found,
    concerned,
    said_otherwise,
)
from checkout.models import DeclarationCorrection
from checkout.models.declarations import declared_words, ordered_on
from portal.common.errors import Refused
from portal.common.formats import enumeration, thousands
from portal.common.forms import AmountField
from services.admin import ActivityAdmin, SlotAdmin
from services.admin_forms import day_box
from services.models import Activity, Slot

DECLARED = {"nature", "meal_price"}


@dataclass(frozen=True)
class Asked:
    """A correction as it is asked for."""

    declared: Declared
    days: Days
    reason: str

    def typed(self) -> dict[str, str]:
        """What its boxes held."""
        nature, meal_price = self.declared
        typed = {"nature": nature, "since": self.days.since.isoformat(), "reason": self.reason}
        if meal_price is not None:
            typed["meal_price"] = localize_input(meal_price)
        if self.days.until:
            typed["until"] = self.days.until.isoformat()
        return typed


class CorrectionForm(forms.Form):
    """What was to be declared, for what was ordered when, and why."""

    nature = forms.ChoiceField(label=gettext_lazy("À déclarer"), choices=Slot.Nature)
    meal_price = AmountField(
        label=gettext_lazy("Dont repas"),
        help_text=gettext_lazy("De «\u00a0Garde et repas\u00a0»\u00a0: la part du repas dans le prix, en ce temps-là."),
        required=False,
    )
    since = forms.DateField(
        label=gettext_lazy("Commandé à partir du"),
        help_text=gettext_lazy("Le jour où l’erreur a été déclarée, ou le premier jour où elle a compté."),
        widget=day_box(),
        error_messages={
            "required": gettext_lazy("Choisissez le jour à partir duquel corriger."),
            "invalid": gettext_lazy("Écrivez un jour comme 01/09/2026."),
        },
    )
    until = forms.DateField(
        label=gettext_lazy("jusqu’au (inclus)"),
        help_text=gettext_lazy(
            "Vide\u00a0: jusqu’à maintenant. Si le repas a changé de prix depuis l’erreur, la veille de ce changement."
        ),
        required=False,
        widget=day_box(),
        error_messages={"invalid": gettext_lazy("Écrivez un jour comme 31/08/2026.")},
    )
    reason = forms.CharField(
        label=gettext_lazy("Motif"),
        help_text=gettext_lazy(
            "Gardé avec la correction. Par exemple\u00a0: 0,37\u00a0€ saisi au lieu de 3,70\u00a0€."
        ),
        max_length=200,
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={
            "required": gettext_lazy("Écrivez le motif de la correction."),
            "max_length": gettext_lazy("Écrivez le motif en 200 caractères au plus."),
        },
    )

    def asked(self) -> Asked:
        given = self.cleaned_data
        declared = (given["nature"], given["meal_price"])
        return Asked(declared, Days(given["since"], given["until"]), given["reason"])


class CheckedForm(CorrectionForm):
    """The same, sent back from the page that showed what it changes, with the lines that it showed."""

    shown = forms.CharField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = forms.HiddenInput()


def lines_of(count: int) -> str:
    """« 3 lignes de commande »."""
    return ngettext("%s ligne de commande", "%s lignes de commande", count) % thousands(count)


def before_words(before: Any) -> str:
    """« Garde et repas, dont repas 0,37 € (4 lignes de commande) », for each of (nature, meal's part) and its lines."""
    return enumeration(f"{declared_words(*declared)} ({lines_of(count)})" for declared, count in before)


def say_what_stays(table: ScopedAdmin, request: HttpRequest, slot: Slot) -> None:
    """After a change of what the slot declares: what was ordered keeps the old one, and where it is set right."""
    if slot.nature and said_otherwise(slot, (slot.nature, slot.meal_price)).exists():
        words = _(
            "Ce qui est déjà commandé garde ce que «\u00a0%s\u00a0» déclarait alors. Si c’était une erreur\u00a0:"
        )
        address = reverse("admin:services_slot_correct", args=[slot.pk])
        link = format_html('<a href="{}">{}</a>', address, _("corrigez aussi ce qui est déjà commandé"))
        table.say(request, messages.WARNING, [format_html("{} {}.", words % slot, link)])


admin.site.unregister([Activity, Slot])


@admin.register(Activity)
class DeclaringActivityAdmin(ActivityAdmin):
    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        if formset.model is Slot:
            for slot, fields in formset.changed_objects:
                if DECLARED & set(fields):
                    say_what_stays(self, request, slot)


@admin.register(Slot)
class DeclaringSlotAdmin(SlotAdmin):
    change_form_template = "admin/services/slot/change_form.html"

    def save_model(self, request: HttpRequest, obj: Slot, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and DECLARED & set(form.changed_data):
            say_what_stays(self, request, obj)

    def story(self, request: HttpRequest, obj: Slot) -> list[Happening]:
        rows = DeclarationCorrection.objects.filter(slot=obj)
        corrected = told(staff(request), [(row.made_at, row.by_id, said_of(row)) for row in rows])
        return sorted([*super().story(request, obj), *corrected], key=lambda line: line.when, reverse=True)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        slot: Slot | None = kwargs.get("obj")
        context["correct_url"] = ""
        if slot and slot.nature and self.has_change_permission(request, slot):
            context["correct_url"] = self.url("correct", slot.pk)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        return [
            path("<int:pk>/corriger/", self.guarded(self.correct_view), name="services_slot_correct"),
            *super().get_urls(),
        ]

    def correct_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What was to be declared, for when and why; then what that changes; then it is done. The first two write nothing."""
        slot = self.object_or_404(request, str(pk))
        if not self.has_change_permission(request, slot):
            raise PermissionDenied
        checked = CheckedForm(request.POST) if "shown" in request.POST else None
        if checked is not None and checked.is_valid():
            asked = checked.asked()
            try:
                row = correct_declaration(
                    slot=slot,
                    declared=asked.declared,
                    days=asked.days,
                    reason=asked.reason,
                    shown=checked.cleaned_data["shown"],
                    by=staff(request),
                )
            except Refused as refusal:  # and the lines are shown as they are now
                self.say(request, messages.ERROR, refusal.messages)
                return self._shown(request, slot, asked)
            self.say(request, messages.SUCCESS, [said_of(row)])
            return redirect("admin:checkout_declarationcorrection_change", row.pk)
        held = {"nature": slot.nature, "meal_price": slot.meal_price} | request.GET.dict()
        form = CorrectionForm(request.POST or None, initial=held)
        if form.is_valid():
            asked = form.asked()
            try:
                check_asked(slot, asked.declared, asked.days)
                check_found(concerned(slot, asked.declared, asked.days).dearest, asked.declared)
            except Refused as refusal:
                form.add_error(refusal.code if refusal.code in form.fields else None, list(refusal.messages))
            else:
                return self._shown(request, slot, asked)
        return show(self, request, self._ask(slot), form)

    def _shown(self, request: HttpRequest, slot: Slot, asked: Asked) -> HttpResponse:
        """What a correction would change now."""
        found = concerned(slot, asked.declared, asked.days)
        form = CheckedForm(initial=asked.typed() | {"shown": found.token})
        return show(self, request, self._check(slot, asked, found), form)

    def _ask(self, slot: Slot) -> Question:
        return Question(
            title=_("Corriger ce qui est déjà commandé"),
            facts=[
                (_("Prestation"), self.label_for(slot)),
                (_("Elle déclare maintenant"), declared_words(slot.nature, slot.meal_price)),
            ],
            notes=[
                _(
                    "Seulement après une erreur de saisie\u00a0: écrivez ce que la prestation devait déclarer, et quand ces commandes "
                    "ont été passées. Si le repas a changé de prix, ne corrigez rien\u00a0: chaque commande garde le sien."
                ),
            ],
            button=_("Vérifier"),
            danger=False,
            cancel=self.url("change", slot.pk),
            cancel_words=_("Ne pas corriger"),
        )

    def _check(self, slot: Slot, asked: Asked, found: Concerned) -> Question:
        notes = [
            _("Aucun prix ne change, et aucun argent ne bouge\u00a0: seule l’attestation fiscale compte autrement.")
        ]
        if len(found.before) > 1:
            notes.append(
                _(
                    "Ces commandes ne déclarent pas toutes la même chose. Si l’une de ces déclarations était juste, modifiez les jours "
                    "pour ne prendre que l’erreur."
                )
            )
        if found.certificates:
            notes.append(
                ngettext(
                    "%s attestation fiscale déjà éditée dit ces sommes\u00a0: si elle ne dit plus vrai, la famille le lira sur sa page "
                    "et éditera la nouvelle. Prévenez-la.",
                    "%s attestations fiscales déjà éditées disent ces sommes\u00a0: celles qui ne disent plus vrai, les familles le "
                    "liront sur leur page et éditeront la nouvelle. Prévenez-les.",
                    found.certificates,
                )
                % thousands(found.certificates)
            )
        families = ngettext("%s famille", "%s familles", found.families) % thousands(found.families)
        return Question(
            title=_("Vérifier la correction"),
            facts=[
                (_("Prestation"), self.label_for(slot)),
                (_("Commandé"), ordered_on(asked.days.since, asked.days.until)),
                (
                    _("À corriger"),
                    _("%(lines)s de %(families)s") % {"lines": lines_of(found.lines), "families": families},
                ),
                (_("Avant"), before_words(found.before)),
                (_("Après"), declared_words(*asked.declared)),
                (_("Motif"), asked.reason),
            ],
            notes=notes,
            button=_("Corriger ce qui est déjà commandé"),
            cancel=f"{self.url('correct', slot.pk)}?{urlencode(asked.typed())}",
            cancel_words=_("Modifier"),
        )


def said_of(row: DeclarationCorrection) -> str:
    """« Corrigé pour ce qui est commandé à partir du 01/09/2026 (4 lignes de commande) : … »."""
    return _("Corrigé pour ce qui est commandé %(days)s (%(lines)s)\u00a0: %(now)s.") % {
        "days": row.days,
        "lines": lines_of(row.lines),
        "now": row.now_says,
    }


@admin.register(DeclarationCorrection)
class DeclarationCorrectionAdmin(ReadOnlyAdmin):
    agents = operators = Right.VIEW
    list_display = ["what", "ordered", "now", "lines", "families", "made_at"]
    list_select_related = ["slot__activity__service"]
    date_hierarchy = "made_at"
    search_fields = ["slot__name", "slot__activity__name", "slot__activity__service__name", "reason"]
    ordering = ["-pk"]
    fields = ["what", "ordered", "was", "now", "lines", "families", "reason", "corrector", "made_at"]
    readonly_fields = ["what", "ordered", "was", "now", "corrector"]
    signers = ["by"]

    def label_for(self, obj: DeclarationCorrection) -> str:
        return _("Correction\u00a0: %s") % self.what(obj)

    def story(self, request: HttpRequest, obj: DeclarationCorrection) -> list[Happening]:
        return told(staff(request), [(obj.made_at, obj.by_id, f"{said_of(obj)} {obj.reason}")])

    @admin.display(description=gettext_lazy("prestation"))
    def what(self, obj: DeclarationCorrection) -> str:
        return f"{obj.slot.activity.service} – {obj.slot.activity} – {obj.slot}"

    @admin.display(description=gettext_lazy("commandé"), ordering="since")
    def ordered(self, obj: DeclarationCorrection) -> str:
        return obj.days

    @admin.display(description=gettext_lazy("avant"))
    def was(self, obj: DeclarationCorrection) -> str:
        return before_words(
            ((row["nature"], row["meal_price"] and Decimal(row["meal_price"])), row["lines"]) for row in obj.before
        )

    @admin.display(description=gettext_lazy("après"))
    def now(self, obj: DeclarationCorrection) -> str:
        return obj.now_says

    @admin.display(description=gettext_lazy("par"))
    def corrector(self, obj: DeclarationCorrection) -> str:
        return self.signature(obj, "by")
