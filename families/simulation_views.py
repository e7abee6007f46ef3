"""« Simulation des tarifs »: for visitors, and with their own children and quotient for those who are signed in."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.models import User
from families.limits import Limits
from families.models import Beneficiary, Filiation, IncomeQuotient
from portal.common.formats import WEEKDAYS, of, today
from services.limits import ages, beyond_age
from services.models import AccessProfile, Activity, Service, Slot, Subscription, Tariff
from services.school_calendar import school_year
from services.simulation import Child, formula_prices, simulate

ROWS = 4  # children that fit a family page; a larger family has as many rows as children


class WholeNumber(forms.IntegerField):
    """An integer as people write it: « 1 200 », whatever the space."""

    widget = forms.TextInput

    def to_python(self, value: Any) -> int | None:
        return super().to_python("".join(value.split()) if isinstance(value, str) else value)


def short_box() -> forms.TextInput:
    return forms.TextInput(attrs={"inputmode": "numeric", "class": "short"})


@dataclass(frozen=True)
class Imagined:
    """Somebody in the form: a name, an age to start from, and whose row it is when it is a child of the family."""

    name: str
    age: int | None = None
    child: Beneficiary | None = None


class SimulationForm(forms.Form):
    """Which place, in which situation and year, and for each child an age and the days of the week."""

    slot = forms.ModelChoiceField(
        label=gettext_lazy("Prestation"), queryset=Slot.objects.none(), empty_label=None, widget=forms.RadioSelect,
        error_messages={
            "invalid_choice": gettext_lazy("Cette prestation n’est plus proposée\u00a0: choisissez-en une autre."),
        },
    )  # fmt: skip
    profile = forms.ModelChoiceField(
        label=gettext_lazy("Votre situation"), queryset=AccessProfile.objects.none(), empty_label=None,
        widget=forms.RadioSelect,
        error_messages={
            "invalid_choice": gettext_lazy("Cette situation n’est plus proposée\u00a0: choisissez-en une autre."),
        },
    )  # fmt: skip
    year = forms.TypedChoiceField(
        label=gettext_lazy("Année scolaire"), coerce=int, required=False, empty_value=None, widget=forms.RadioSelect,
        error_messages={"invalid_choice": gettext_lazy("Choisissez l’une des années scolaires proposées.")},
    )  # fmt: skip
    quotient = WholeNumber(
        label=gettext_lazy("Quotient familial"),
        min_value=0,
        max_value=20000,
        required=False,
        help_text=gettext_lazy("Sans lui, c’est le tarif le plus élevé qui est calculé."),
        widget=short_box(),
        error_messages={"invalid": gettext_lazy("Écrivez un nombre entier, sans centimes, comme 820 ou 1\u202f200.")},
    )

    def __init__(
        self, data: Any, *, slots: Sequence[Slot], profiles: Sequence[AccessProfile], people: Sequence[Imagined],
        weekdays: Sequence[int], years: Sequence[int], by_quotient: bool, initial: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(data, initial=initial)
        self.people = people
        slot: Any = self.fields["slot"]
        slot.queryset = Slot.objects.filter(pk__in=[row.pk for row in slots])
        slot.choices = [(row.pk, f"{row.activity} – {row} ({row.hours})") for row in slots]
        profile: Any = self.fields["profile"]
        profile.queryset = AccessProfile.objects.filter(pk__in=[row.pk for row in profiles])
        profile.choices = [(row.pk, str(row)) for row in profiles]
        self.years = years
        if len(years) > 1:
            year: Any = self.fields["year"]
            year.choices, year.initial = [(start, f"{start}-{start + 1}") for start in years], years[0]
        else:
            del self.fields["year"]
        if not by_quotient:
            del self.fields["quotient"]
        for number, person in enumerate(people, start=1):
            name = person.name
            self.fields[f"age_{number}"] = WholeNumber(
                label=_("Âge %s") % of(name),
                min_value=0,
                max_value=120,
                required=False,
                initial=person.age,
                widget=short_box(),
                error_messages={"invalid": _("Écrivez l’âge en années, comme 7.")},
            )
            self.fields[f"days_{number}"] = forms.TypedMultipleChoiceField(
                label=_("Jours %s") % of(name),
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

    def children(self, activity: Activity, date: dt.date) -> list[Child]:
        """All who are known: with days, an age or a name of their own; each says why they may not come on that date."""
        own = [row.child for row in self.people if row.child is not None]
        limits = Limits(activity, own) if own else None
        found = []
        for number, row in enumerate(self.people, start=1):
            age, days = self.cleaned_data.get(f"age_{number}"), self.cleaned_data[f"days_{number}"]
            why_not = beyond_age(activity, age)
            if row.child is not None and limits is not None:
                why_not = why_not or limits.why_not_of_class(row.child, date)
            if days or age is not None or row.child is not None:
                found.append(Child(row.name, age, days, why_not))
        return found

    @property
    def school_year(self) -> int:
        """The year that it begins in."""
        return self.cleaned_data.get("year") or self.years[0]

    @property
    def own_children(self) -> list[int]:
        """The keys of the family's own children for whom a day is ticked."""
        rows = enumerate(self.people, start=1)
        return [row.child.pk for number, row in rows if row.child and self.cleaned_data[f"days_{number}"]]


@login_not_required
@require_safe
def simulation(request: HttpRequest, slug: str) -> HttpResponse:
    """A form whose answer has an address of its own; nothing is stored, and no name leaves the page."""
    service = get_object_or_404(Service.objects.select_related("commune", "category"), slug=slug, is_active=True)
    offered = list(
        Slot.objects.filter(is_active=True, activity__is_active=True, activity__service=service)
        .select_related("activity__service")
        .prefetch_related("activity__periods")
        .order_by("activity__position", "activity__name", "position", "pk")
    )
    slots = [row for row in offered if row.activity.kind == Activity.Kind.CALENDAR]
    profiles = list(service.profiles.filter(is_active=True))
    people, initial = _family(request, service)
    form = SimulationForm(
        request.GET if "slot" in request.GET else None,
        slots=slots,
        profiles=profiles,
        people=people,
        weekdays=_weekdays(slots),
        years=simulated_years(),
        by_quotient=Tariff.objects.filter(slot__in=slots).by_quotient().exists(),
        initial={"slot": slots[0].pk if slots else None, "profile": profiles[0].pk if profiles else None, **initial},
    )
    year, answer, activity, booking = form.years[0], None, None, {}
    if form.is_valid():
        year, activity = form.school_year, form.cleaned_data["slot"].activity
        first, last = school_year(dt.date(year, 9, 1))
        answer = simulate(
            slot=next(row for row in slots if row == form.cleaned_data["slot"]),
            profile=form.cleaned_data["profile"],
            children=form.children(activity, max(first, today())),
            quotient=form.cleaned_data.get("quotient"),
            first=first,
            last=last,
        )
        booking = {"slot": form.cleaned_data["slot"].pk, "people": form.own_children, "annee": year}
    formulas = [row for row in offered if row not in slots]
    return render(
        request,
        "families/simulation.html",
        {
            "service": service,
            "univers": service.category.slug,
            "form": form,
            "answer": answer,
            "activity": activity,
            "booking": urlencode(booking, doseq=True),
            "limits": {row.activity: ages(row.activity) for row in slots if ages(row.activity)},
            "formulas": formula_prices(slots=formulas, profiles=profiles, date=today()) if formulas else [],
            "year": f"{year}-{year + 1}",
            "offered": bool(slots and profiles),
        },
        status=HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK,
    )


def simulated_years() -> list[int]:
    """The school years that one can ask for, by the year they begin in: this one and the next, in summer the next alone."""
    this = school_year(today())[0].year
    return [this + 1] if today().month in (7, 8) else [this, this + 1]


def _family(request: HttpRequest, service: Service) -> tuple[list[Imagined], dict[str, Any]]:
    """Each child, or empty rows; and what is known of this person's situation."""
    user = request.user
    people: list[Imagined] = []
    initial: dict[str, Any] = {}
    if isinstance(user, User) and user.is_approved:
        links = Filiation.objects.of(user).exclude(kind=Filiation.Kind.SELF).select_related("beneficiary")
        people = [Imagined(row.beneficiary.first_name, row.beneficiary.age, row.beneficiary) for row in links]
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
        people = [Imagined(_("l’enfant %d") % number) for number in range(1, ROWS + 1)]
    return people, initial


def _weekdays(slots: Sequence[Slot]) -> list[int]:
    return sorted({day for row in slots for period in row.activity.periods.all() for day in period.weekdays}) or list(
        range(5)
    )
