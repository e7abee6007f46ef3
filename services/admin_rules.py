"""Rules that services and activities share: deadlines and absences. A changed deadline reaches the days to come at once."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.forms.widgets import Script
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin_base import Right, ScopedAdmin, staff
from portal.common.formats import thousands, today
from services.absences import sentence as absence_sentence
from services.deadline_forms import OTHER_COMMUNE, DeadlineForm
from services.deadlines import sentence
from services.models import AbsenceRule, Activity, Deadline, OpenDay, Service
from services.models.catalogue import ActivityQuerySet
from services.moments import recompute_limits

# The fields of a service or an activity that name its rules.
DEADLINES = {"booking_deadline", "cancel_deadline"}
# What of a deadline says nothing of when.
WITHOUT_MOMENT = {"name", "surcharge", "surcharge_amount", "free_times", "free_period"}


def recompute(page: ScopedAdmin, request: HttpRequest, activities: ActivityQuerySet) -> None:
    """Make the days to come follow what was just saved, in its transaction, and say how many did."""
    done = recompute_limits(activities=set(activities.values_list("pk", flat=True)))
    page.say(request, messages.SUCCESS, done.sentences)


@admin.register(Deadline)
class DeadlineAdmin(ScopedAdmin):
    """Agents make their commune's rules, and read those that all communes share."""

    agents = operators = Right.ALL
    list_display = ["name", "rule", "for_whom"]
    list_filter = ["commune"]
    list_select_related = ["commune", "late"]
    label_related = ["commune"]
    search_fields = ["name"]
    form = DeadlineForm
    constraint_messages = {
        "one_deadline_per_name": ("name", gettext_lazy("Un délai de ce nom existe déjà.")),
        "deadline_is_of_its_commune": ("late", OTHER_COMMUNE),
        "late_is_the_last": (
            "late",
            gettext_lazy("Choisissez un délai qui n’a pas de réservation tardive à son tour, et qui n’en est pas une."),
        ),
        "cancelling_is_never_late": (
            "late",
            gettext_lazy("Un service ou une activité s’en sert pour annuler, et une annulation n’a qu’une limite."),
        ),
        "deadline_opens_before_it_closes": (
            "opens_weeks",
            gettext_lazy("L’ouverture doit être plus de semaines avant les vacances que la limite."),
        ),
        "surcharge_has_an_amount": ("surcharge_amount", gettext_lazy("Écrivez un montant de 0 ou plus.")),
        "late_is_never_cheaper": (
            "surcharge_amount",
            gettext_lazy("Écrivez un facteur de 1 ou plus\u00a0: réserver tard ne coûte jamais moins."),
        ),
    }
    change_form_template = "admin/services/deadline/change_form.html"
    # A small script shows the boxes of the chosen rule alone (« for-… »); without it each part says when it counts.
    fieldsets = [
        (None, {"fields": ["commune", "name", "basis"]}),
        (
            _("Combien de jours ou de semaines avant"),
            {
                "fields": ["offset"],
                "classes": ["for-days", "for-holidays"],
                "description": gettext_lazy(
                    "Pour «\u00a0Nombre de jours avant\u00a0» et «\u00a0Nombre de semaines avant les vacances\u00a0»."
                ),
            },
        ),
        (
            _("Jour de la semaine précédente"),
            {
                "fields": ["weekday"],
                "classes": ["for-week"],
                "description": gettext_lazy("Pour «\u00a0Jour fixe de la semaine précédente\u00a0»."),
            },
        ),
        (
            _("Heure de la limite"),
            {
                "fields": ["time"],
                "classes": ["for-days", "for-week", "for-holidays"],
                "description": gettext_lazy(
                    "Pour toutes les règles, sauf «\u00a0Une limite pour chaque jour de la semaine\u00a0», qui a ses heures."
                ),
            },
        ),
        (
            _("Une limite pour chaque jour de la semaine"),
            {
                "fields": [*DeadlineForm.LIMITS],
                "classes": ["for-weekdays"],
                "description": gettext_lazy(
                    "Pour cette règle\u00a0: le jour et l’heure de la limite, dans les sept jours qui précèdent. Laissez vides "
                    "les jours où rien n’est ouvert."
                ),
            },
        ),
        (_("Jours non comptés"), {"fields": ["skip_weekends", "skip_holidays", "skip_school_holidays"]}),
        (_("Ouverture des réservations"), {"fields": ["opens_weeks"]}),
        (
            _("Réservation tardive (pour un délai de réservation)"),
            {"fields": ["late", "surcharge", "surcharge_amount", "free_times", "free_period"]},
        ),
    ]

    class Media:
        js = [Script("js/deadline.js", type="module")]

    def get_form(self, request: HttpRequest, obj: Deadline | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.previewing = "_preview" in request.POST
        form.for_operator = staff(request).is_operator
        return form

    def may(self, request: HttpRequest, right: Right, obj: Deadline | None = None) -> bool:
        """What all communes share is the agglomération's to change."""
        shared = obj is not None and obj.commune_id is None and not staff(request).is_operator
        return (right == Right.VIEW or not shared) and super().may(request, right, obj)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None:
            obj.reader = staff(request)
        return obj

    def label_for(self, obj: Deadline) -> str:
        return f"{obj} ({obj.commune})" if obj.commune else str(obj)

    @admin.display(description=gettext_lazy("pour"), ordering="commune__name_key")
    def for_whom(self, obj: Deadline) -> str:
        return str(obj.commune) if obj.commune else _("toutes les communes")

    @admin.display(description=gettext_lazy("règle"))
    def rule(self, obj: Deadline) -> str:
        return capfirst(sentence(obj))

    def get_fieldsets(self, request: HttpRequest, obj: Deadline | None = None) -> Any:
        """Above all boxes of one that exists: who depends on it. Who may only read it reads its sentence instead of boxes."""
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": ["used_by", "for_whom", "rule"]})]
        return [(None, {"fields": ["used_by"]}), *self.fieldsets] if obj else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Deadline | None = None) -> list[str]:
        return ["used_by", "commune", "for_whom", "rule"] if obj else []

    def save_model(self, request: HttpRequest, obj: Deadline, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and set(form.changed_data) - WITHOUT_MOMENT:
            recompute(self, request, Activity.objects.ruled_by(obj))

    @admin.display(description=gettext_lazy("utilisé par"))
    def used_by(self, obj: Deadline) -> SafeString | str:
        """Whom a change would reach: services, activities with a rule of their own, other deadlines, days to come."""
        named, reader = Q(booking_deadline=obj) | Q(cancel_deadline=obj), obj.reader
        activities = Activity.objects.visible_to(reader).select_related("service")
        lines = [
            *(("admin:services_service_change", row) for row in Service.objects.visible_to(reader).filter(named)),
            *(("admin:services_activity_change", row) for row in activities.filter(named)),
            *(("admin:services_deadline_change", row) for row in Deadline.objects.visible_to(reader).filter(late=obj)),
        ]
        if not lines:
            return _("Aucun service ni activité") + ("." if reader.is_operator else _(" de votre commune."))
        days = OpenDay.objects.filter(activity__in=activities.ruled_by(obj), date__gte=today(), is_open=True).count()
        touched = ngettext(
            "Enregistrer un changement recalcule aussitôt les limites de %(count)s jour à venir.",
            "Enregistrer un changement recalcule aussitôt les limites de %(count)s jours à venir.",
            days,
        ) % {"count": thousands(days)}
        links = format_html_join(
            "", '<li><a href="{}">{}</a></li>', ((reverse(name, args=[row.pk]), _named(row)) for name, row in lines)
        )
        return format_html('<ul class="users">{}</ul><p>{}</p>', links, touched)


def _named(row: Any) -> str:
    if isinstance(row, Activity):
        return f"{row.service} – {row}"
    return _("Réservation tardive du délai «\u00a0%s\u00a0»") % row if isinstance(row, Deadline) else str(row)


@admin.register(AbsenceRule)
class AbsenceRuleAdmin(ScopedAdmin):
    operators = Right.ALL
    list_display = ["name", "rule"]
    search_fields = ["name"]
    constraint_messages = {
        "certificate_has_its_hours": (
            "certificate_hours",
            gettext_lazy("Écrivez un délai pour une règle sur certificat, et aucun pour les autres."),
        ),
        "what_is_never_refunded_waits_for_nothing": (
            "waiting_days",
            gettext_lazy("Une absence jamais remboursée n’a pas de carence : écrivez 0."),
        ),
    }

    @admin.display(description=gettext_lazy("règle"))
    def rule(self, obj: AbsenceRule) -> str:
        return absence_sentence(obj)
