"""What the page of a waiting list sends: which full days, which slot, who, together or one by one."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from bookings.actions import Wish
from bookings.places import slot_room
from checkout.forms import BookingForm
from families.models import Beneficiary
from portal.common.formats import WEEKDAYS, dated, enumeration, euros, long_date
from services.models import Activity, OpenDay, Slot, Subscription
from services.pricing import PriceGrid

THESE = "ces-jours"
ALL = "tous"
MOST_NAMED = 6
MOST_DATES_ASKED = 100  # in an address


def waiting_url(activity: Activity, form: BookingForm, sent: QueryDict) -> str:
    """The waiting list's page for the full days among those that were asked for, with what else was chosen."""
    query = QueryDict(mutable=True)
    asked = Counter(wish.date for wish in form.wishes)
    days = list(OpenDay.objects.filter(activity=activity, date__in=asked).order_by("date"))
    slot = Slot.objects.get(pk=form.cleaned_data["slot"])
    room = slot_room([slot], days)
    full = [
        row.date
        for row in days
        if row.offers(slot) and min(row.free, room.get((row.pk, slot.pk), row.free)) < asked[row.date]
    ]
    query.setlist("dates", [date.isoformat() for date in full][:MOST_DATES_ASKED])
    for name in ("people", "slot", "profile"):
        query.setlist(name, sent.getlist(name))
    address = reverse("waiting_join", args=[activity.service.slug, activity.slug])
    return f"{address}?{query.urlencode()}"


def full_slots(days: Collection[OpenDay], slots: Collection[Slot], *, needed: int) -> dict[dt.date, set[int]]:
    """The days on which a slot (by key) has fewer places than are needed: the day is full, or that slot's own share."""
    room = slot_room(slots, days)
    found: dict[dt.date, set[int]] = {}
    for day in days:
        full = {
            slot.pk
            for slot in slots
            if day.offers(slot) and min(day.free, room.get((day.pk, slot.pk), day.free)) < needed
        }
        if full:
            found[day.date] = full
    return found


class WaitingForm(forms.Form):
    """Days are chosen by one question: those that were asked for, or all full days of a weekday until the calendar's end.

    `asked` are the fields of the address: `dates`, and what was chosen on the calendar (`slot`, `people`, `profile`).
    """

    def __init__(
        self,
        data: QueryDict | None,
        *,
        asked: QueryDict,
        full: Mapping[dt.date, Collection[int]],
        slots: Sequence[Slot],
        people: Sequence[Beneficiary],
        accesses: Sequence[Subscription],
        grid: PriceGrid,
    ) -> None:
        super().__init__(data)
        self.grid, self.full = grid, full
        self.accesses = {str(row.pk): row for row in accesses}
        named = {text for text in asked.getlist("dates") if len(text) == 10}
        self.asked = [date for date in sorted(full) if date.isoformat() in named]
        self.answers = self._choices(sorted(full))
        offers = [(row, self._price(row, sorted(full))) for row in slots]
        # With one situation its prices are known: what it is not sold is not offered.
        self.slots = {str(row.pk): row for row, price in offers if price is not None or len(accesses) > 1}
        prices = {row.pk: f", {euros(price)}" if price is not None else "" for row, price in offers}
        self.gone = len(named) - len(self.asked)
        self.fields["days"] = forms.ChoiceField(
            label=_("Quels jours ?"),
            choices=[(value, label) for value, (label, _dates) in self.answers.items()],
            widget=forms.RadioSelect,
            initial=next(iter(self.answers), None) if self.asked else None,
            error_messages={
                "required": _("Choisissez les jours que vous attendez."),
                "invalid_choice": _("Ces jours ne sont plus complets : revenez au calendrier pour les réserver."),
            },
        )
        self.fields["slot"] = forms.ChoiceField(
            label=_("Type de prestation"),
            choices=[(key, f"{row.name} ({row.hours}){prices[row.pk]}") for key, row in self.slots.items()],
            widget=forms.RadioSelect,
            initial=asked.get("slot") or (next(iter(self.slots)) if len(self.slots) == 1 else None),
            error_messages={
                "required": _("Choisissez un type de prestation."),
                "invalid_choice": _("Ce type de prestation n’est pas proposé ici : choisissez-en un autre."),
            },
        )
        self.fields["people"] = forms.MultipleChoiceField(
            label=_("Bénéficiaire"),
            choices=[(str(row.pk), str(row)) for row in people],
            widget=forms.CheckboxSelectMultiple,
            initial=asked.getlist("people") or ([str(people[0].pk)] if len(people) == 1 else None),
            error_messages={
                "required": _("Choisissez au moins un bénéficiaire."),
                "invalid_choice": _("Un des bénéficiaires choisis ne fait pas partie de vos filiations."),
            },
        )
        if len(accesses) > 1:
            self.fields["profile"] = forms.ChoiceField(
                label=_("Votre situation"),
                choices=[(key, str(row.profile)) for key, row in self.accesses.items()],
                initial=asked.get("profile") or next(iter(self.accesses)),
            )
        self.fields["together"] = forms.BooleanField(
            label=_("Ensemble ou pas du tout"),
            required=False,
            help_text=_(
                "Avec plusieurs enfants : une proposition ne vient que s’il y a une place pour chacun le même jour. "
                "En attendant, une place seule va à la famille suivante et vous gardez votre rang."
            ),
        )
        if len(people) < 2:
            self.fields["together"].widget = forms.HiddenInput()

    def _choices(self, full: Sequence[dt.date]) -> dict[str, tuple[str, list[dt.date]]]:
        """The answers to « Quels jours ? », with what each stands for."""
        found: dict[str, tuple[str, list[dt.date]]] = {}
        if self.asked:
            label = (
                enumeration(dated(date) for date in self.asked)
                if len(self.asked) <= MOST_NAMED
                else _("Les %(n)d jours choisis, du %(first)s au %(last)s")
                % {"n": len(self.asked), "first": dated(self.asked[0]), "last": dated(self.asked[-1])}
            )
            found[THESE] = (label[:1].upper() + label[1:], self.asked)
        weekdays = sorted({date.weekday() for date in self.asked or full})
        for number in weekdays:
            dates = [date for date in full if date.weekday() == number]
            if dates != self.asked:
                found[str(number + 1)] = (self._every(_("Tous les %ss complets") % WEEKDAYS[number], dates), dates)
        if len({date.weekday() for date in full}) > 1 and not self.asked:
            found[ALL] = (self._every(_("Tous les jours complets"), full), list(full))
        return found

    def _price(self, slot: Slot, full: Sequence[dt.date]) -> Decimal | None:
        """What a place costs on the first day in question; None with several situations, which may have several prices."""
        if len(self.accesses) > 1:
            return None
        (access,) = self.accesses.values()
        for date in self.asked or full:
            price = self.grid.price(profile_id=access.profile_id, slot_id=slot.pk, date=date)
            if price is not None:
                return price.amount
        return None

    def _every(self, words: Any, dates: Sequence[dt.date]) -> str:
        count = ngettext("%d\u00a0jour", "%d\u00a0jours", len(dates)) % len(dates)
        return f"{words}, {_('jusqu’au')} {long_date(dates[-1])} ({count})"

    @property
    def slot(self) -> Slot:
        return self.slots[self.cleaned_data["slot"]]

    @property
    def access(self) -> Subscription:
        return self.accesses.get(self.cleaned_data.get("profile", ""), next(iter(self.accesses.values())))

    @property
    def wishes(self) -> list[Wish]:
        """Each chosen beneficiary on each day that the answer stands for."""
        answer = self.cleaned_data["days"]
        _label, dates = self.answers[answer]
        if answer != THESE:  # of « tous les mercredis », those on which this slot is full
            dates = [date for date in dates if self.slot.pk in self.full[date]]
        people = dict.fromkeys(self.cleaned_data["people"])
        return [Wish(int(person), date) for date in dates for person in people]
