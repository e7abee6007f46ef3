"""« Simulation des tarifs »: for visitors, and with their own children and quotient for those who are signed in."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.models import User
from families.models import Filiation, IncomeQuotient
from portal.common.formats import WEEKDAYS, today
from services.models import AccessProfile, Service, Slot, Subscription
from services.school_calendar import school_year
from services.simulation import Child, simulate

ROWS = 4  # children that fit a family page; a larger family has as many rows as children


class SimulationForm(forms.Form):
    """Which place, in which situation, and for each child an age and the days of the week."""

    slot = forms.ModelChoiceField(
        label=gettext_lazy("Prestation"), queryset=Slot.objects.none(), empty_label=None, widget=forms.RadioSelect
    )
    profile = forms.ModelChoiceField(
        label=gettext_lazy("Votre situation"), queryset=AccessProfile.objects.none(), empty_label=None,
        widget=forms.RadioSelect,
    )  # fmt: skip
    quotient = forms.IntegerField(
        label=gettext_lazy("Quotient familial"),
        min_value=0,
        max_value=20000,
        required=False,
        help_text=gettext_lazy("Sans lui, c’est le tarif le plus élevé qui est calculé."),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={"invalid": gettext_lazy("Écrivez un nombre entier, sans centimes, comme 820.")},
    )

    def __init__(
        self, data: Any, *, slots: Sequence[Slot], profiles: Sequence[AccessProfile], people: Sequence[tuple[str, Any]],
        weekdays: Sequence[int], initial: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(data, initial=initial)
        self.people = people
        slot: Any = self.fields["slot"]
        slot.queryset = Slot.objects.filter(pk__in=[row.pk for row in slots])
        slot.choices = [(row.pk, f"{row.activity} – {row} ({row.hours})") for row in slots]
        profile: Any = self.fields["profile"]
        profile.queryset = AccessProfile.objects.filter(pk__in=[row.pk for row in profiles])
        profile.choices = [(row.pk, str(row)) for row in profiles]
        for number, (name, age) in enumerate(people, start=1):
            self.fields[f"age_{number}"] = forms.IntegerField(
                label=_("Âge de %s") % name,
                min_value=0,
                max_value=120,
                required=False,
                initial=age,
                widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
                error_messages={"invalid": _("Écrivez l’âge en années, comme 7.")},
            )
            self.fields[f"days_{number}"] = forms.TypedMultipleChoiceField(
                label=_("Jours de %s") % name,
                choices=[(day, WEEKDAYS[day].capitalize()) for day in weekdays],
                coerce=int,
                required=False,
                widget=forms.CheckboxSelectMultiple,
            )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not any(data.get(f"days_{number + 1}") for number in range(len(self.people))):
            self.add_error("days_1", _("Cochez au moins un jour pour un enfant."))
        return data

    @property
    def children(self) -> list[Child]:
        """Those for whom a day is ticked."""
        rows = enumerate(self.people, start=1)
        return [
            Child(name, self.cleaned_data.get(f"age_{number}"), self.cleaned_data[f"days_{number}"])
            for number, (name, _age) in rows
            if self.cleaned_data[f"days_{number}"]
        ]


@login_not_required
@require_safe
def simulation(request: HttpRequest, slug: str) -> HttpResponse:
    """A form whose answer has an address of its own; nothing is stored, and no name leaves the page."""
    service = get_object_or_404(Service.objects.select_related("commune", "category"), slug=slug, is_active=True)
    slots = list(
        Slot.objects.filter(is_active=True, activity__is_active=True, activity__service=service)
        .filter(activity__kind="calendar")
        .select_related("activity")
        .prefetch_related("activity__periods")
        .order_by("activity__position", "activity__name", "position", "pk")
    )
    profiles = list(service.profiles.filter(is_active=True))
    people, initial = _family(request, service)
    form = SimulationForm(
        request.GET if "slot" in request.GET else None,
        slots=slots,
        profiles=profiles,
        people=people,
        weekdays=_weekdays(slots),
        initial={"slot": slots[0].pk if slots else None, "profile": profiles[0].pk if profiles else None, **initial},
    )
    first, last = school_year(today())
    answer = None
    if form.is_valid():
        answer = simulate(
            slot=next(row for row in slots if row == form.cleaned_data["slot"]),
            profile=form.cleaned_data["profile"],
            children=form.children,
            quotient=form.cleaned_data["quotient"],
            first=first,
            last=last,
        )
    return render(
        request,
        "families/simulation.html",
        {
            "service": service,
            "univers": service.category.slug,
            "form": form,
            "answer": answer,
            "activity": answer and form.cleaned_data["slot"].activity,
            "year": f"{first.year}-{last.year}",
            "offered": bool(slots and profiles),
        },
    )


def _family(request: HttpRequest, service: Service) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """(name, age) of each child, with empty rows; and what is known of this person's situation."""
    user = request.user
    people: list[tuple[str, Any]] = []
    initial: dict[str, Any] = {}
    if isinstance(user, User) and user.is_approved:
        links = Filiation.objects.of(user).exclude(kind=Filiation.Kind.SELF).select_related("beneficiary")
        people = [(row.beneficiary.first_name, row.beneficiary.age) for row in links]
        found = (
            IncomeQuotient.objects.of(user)
            .filter(status=IncomeQuotient.Status.VALIDATED, valid__contains=today())
            .values_list("value", flat=True)
            .first()
        )
        initial["quotient"] = found
        access = Subscription.objects.of(user).approved().filter(profile__service=service).order_by("pk").first()
        if access:
            initial["profile"] = access.profile_id
    if not people:
        people = [(_("l’enfant %d") % number, None) for number in range(1, ROWS + 1)]
    return people, initial


def _weekdays(slots: Sequence[Slot]) -> list[int]:
    return sorted({day for row in slots for period in row.activity.periods.all() for day in period.weekdays}) or list(
        range(5)
    )
