"""The component gallery at /composants/: every component with real content. Only in development and in the demo."""

import calendar
import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from bookings.calendar import Cell, Column, GridMonth, Month, Row
from checkout.providers.base import Method
from portal.common import formats
from portal.common.forms import DateField, DateParts
from services.catalogue import ACTIVITIES, CatalogueForm


class SampleForm(forms.Form):
    """One field of each kind, half of them wrong."""

    last_name = forms.CharField(label="Nom", widget=forms.TextInput(attrs={"autocomplete": "family-name"}))
    email = forms.EmailField(
        label="Adresse e-mail",
        help_text="Nous y envoyons les confirmations de réservation.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    phone = forms.CharField(
        label="Téléphone", required=False, widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"})
    )
    password = forms.CharField(
        label="Mot de passe",
        help_text="12 caractères ou plus, avec une minuscule, une majuscule, un chiffre et un caractère spécial.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    birth_date = DateField(
        label="Date de naissance", help_text="Par exemple 10 5 2018.", widget=DateParts(attrs={"autocomplete": "bday"})
    )
    kind = forms.ChoiceField(
        label="Type de filiation",
        choices=[("", "Choisir"), ("father", "Père"), ("mother", "Mère"), ("guardian", "Tuteur")],
    )
    profile = forms.ChoiceField(
        label="Votre situation",
        help_text="Choisissez, dans votre commune, l’élément qui correspond à votre situation.",
        widget=forms.RadioSelect,
        choices=[
            ("Rosières", [("1", "Résident de la commune"), ("2", "Résident hors commune")]),
            ("Polignac", [("3", "Adultes"), ("4", "Enfants")]),
        ],
    )
    diets = forms.MultipleChoiceField(
        label="Repas",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[("plain", "Repas courant"), ("meatless", "Repas sans viande")],
    )
    message = forms.CharField(label="Précisions pour la mairie", required=False, widget=forms.Textarea)
    document = forms.FileField(
        label="Justificatif de domicile", required=False, help_text="PDF, JPEG ou PNG, 5 Mo au plus."
    )
    terms = forms.BooleanField(
        label="J’accepte les conditions générales",
        error_messages={"required": "Cochez la case pour accepter les conditions."},
    )


@login_not_required
@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """Show every component."""
    if not (settings.DEBUG or getattr(settings, "DEMO", False)):
        raise Http404
    wrong = {
        "last_name": "Dupont",
        "email": "claire.dupont",
        "birth_date_day": "31",
        "birth_date_month": "2",
        "birth_date_year": "2018",
    }
    return render(
        request,
        "gallery.html",
        {
            "sample": SampleForm(),
            "wrong": SampleForm(wrong, auto_id="wrong_%s"),
            "months": [_month(2026, 11), _month(2026, 12)],
            "grid": _grid(2026, 12),
            "page": Paginator(range(95), 10).get_page(3),
            "listing": _listing(),
            "amount": Decimal("31.60"),
            "hold_until": formats.now() + dt.timedelta(minutes=24),
            "icons": ICONS,
            "cards": [
                SimpleNamespace(
                    slug="banque", label="", methods=[Method("CB", "Carte CB"), Method("VISA", "Carte Visa")]
                ),
                SimpleNamespace(slug="tresor", label="PayFiP (finances publiques)", methods=[]),
            ],
        },
    )


ICONS = [
    "fork-knife",
    "puzzle",
    "bus-front",
    "palette",
    "bicycle",
    "person-vcard",
    "trophy",
    "wallet2",
    "basket3",
    "person-circle",
    "calendar-check",
]


def _listing() -> Any:
    """What a page of the catalogue gives its components, without reading the database."""
    filters = {"commune": forms.ChoiceField(label="Commune", choices=[("", "Toutes"), ("43002", "Aiguilhe")])}
    form = CatalogueForm(QueryDict("q=repas"), sorts=ACTIVITIES, filters=filters, search="Commune ou activité")
    return SimpleNamespace(form=form, page=Paginator(range(31), 12).get_page(2), total=31, sortable=True)


def _month(year: int, month: int) -> Month:
    """A month of a canteen, as the booking page builds it (see templates/components/month.html)."""
    weeks = [
        [_cell(date) if date.month == month else None for date in week]
        for week in calendar.Calendar().monthdatescalendar(year, month)
    ]
    title = formats.month(dt.date(year, month, 1))
    tickable = {n for week in weeks for n, cell in enumerate(week, start=1) if cell and cell.value}
    columns = [
        Column(
            short=name[:3],
            name=name,
            pick=f"{year}-{month:02}:{n}" if n in tickable else "",
            pick_label=f"Tous les {name}s de {title.lower()}",
        )
        for n, name in enumerate(formats.WEEKDAYS, start=1)
    ]
    closed = {11: [("férié : Armistice", "11")], 12: [("vacances scolaires", "21, 22, 24, 25, 28, 29 et 31")]}
    code = f"{year}-{month:02}"
    return Month(title, columns, weeks, f"mois-{code}", closed.get(month, []), pick=f"{code}:1234567")


def _grid(year: int, month: int) -> GridMonth:
    """The first days of the same month in the grid, for two children."""
    title, code = formats.month(dt.date(year, month, 1)), f"{year}-{month:02}"
    columns = [
        Column(letter, name, f"{code}:1234567/{pk}", f"Tous les jours de {title.lower()} pour {name}", hue=pk)
        for pk, (letter, name) in enumerate((("L", "Louane"), ("T", "Théo")), start=1)
    ]
    rows = []
    for date in (dt.date(year, month, day) for day in (1, 3, 4, 7, 10)):
        cells = [_cell(date), _cell(date)]
        for pk, (cell, column) in enumerate(zip(cells, columns, strict=True), start=1):
            cell.letters = column.short if cell.letters else ""
            if cell.value:
                cell.value, cell.label = f"{pk}:{cell.value}", f"{column.name}, {formats.long_date(date)}"
                cell.skip = ""
        name = f"{formats.WEEKDAYS[date.weekday()][:3]}.{formats.NBSP}{date.day}"
        rows.append(Row(name, formats.long_date(date), cells, starts_week=date.weekday() == 0))
    return GridMonth(title, columns, rows, f"grille-{code}", [("fermé le mercredi", "2 et 9")])


def _cell(date: dt.date) -> Cell:
    if date == dt.date(2026, 11, 11):
        return Cell(date.day, kind="c", reason="férié : Armistice")
    if date.weekday() in (2, 5, 6) or date > dt.date(2026, 12, 18):
        return Cell(date.day, kind="c", reason="fermé")
    if date < dt.date(2026, 11, 27):
        return Cell(date.day, kind="l", reason="délai passé")
    if date == dt.date(2026, 12, 1):
        return Cell(date.day, kind="m", reason="déjà réservé pour Louane et Théo", letters="L T")
    if date == dt.date(2026, 12, 10):
        return Cell(date.day, kind="f", reason="complet")
    cell = Cell(
        date.day, value=f"{date:%Y-%m-%d}", label=formats.long_date(date), checked=date.day in (7, 8, 14, 15, 17)
    )
    if date == dt.date(2026, 12, 4):
        cell.few, cell.label = 2, f"{cell.label}, 2 places libres"
    if date == dt.date(2026, 12, 11):
        cell.price, cell.late, cell.label = "8,90\u00a0€", True, f"{cell.label}, 8,90\u00a0€, réservation tardive"
    if date == dt.date(2026, 12, 3):
        cell.label, cell.letters, cell.skip = f"{cell.label}, déjà réservé pour Louane", "L", "1"
    return cell
