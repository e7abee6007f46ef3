"""What every installation of this agglomération starts with, and what it still lacks before parents can pay.

The demonstration loads the same. Services, prices and legal texts are decided by the communes and the agglomération.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from decimal import Decimal

from django.conf import settings
from django.db import models, transaction

from accounts.communes import load_communes
from accounts.models import StaffRole, Terms, User
from checkout.papers.models import Regie
from portal.common.formats import today
from services.models import AbsenceRule, Category, Deadline, Service, Tariff
from services.school_calendar import import_school_holidays, school_year
from wallet.models import TopUpPack

CATEGORIES = (
    ("Cantines", "cantines", "fork-knife", "Les repas du midi à l’école, réservés au jour, à la semaine ou à l’année."),
    ("Garderies", "garderies", "puzzle", "L’accueil avant et après la classe."),
    ("Ramassage scolaire", "ramassage-scolaire", "bus-front", "Les trajets en car entre la maison et l’école."),
    ("Centres de loisirs", "centres-de-loisirs", "balloon", "Les mercredis et les vacances."),
    ("Vélo en Velay", "velo-en-velay", "bicycle", "Des vélos à assistance électrique à la journée."),
    ("Pass’Card", "pass-card", "ticket-perforated", "Les sorties et ateliers du Pass’Card."),
    ("Sports", "sports", "trophy", "Les stages et l’école des sports."),
)

DEADLINES = {
    # name: (basis, offset, weekday, time, skip weekends, skip holidays)
    "Jeudi 12 h de la semaine précédente": ("week", 0, 3, dt.time(12), False, False),
    "Deux jours avant à 12 h, hors week-ends et fériés": ("days", 2, None, dt.time(12), True, True),
    "La veille à 17 h": ("days", 1, None, dt.time(17), False, False),
    "Le jour même à 7 h": ("days", 0, None, dt.time(7), False, False),
}
THURSDAY, TWO_DAYS, DAY_BEFORE, SAME_DAY = DEADLINES

ABSENCE_RULES = {
    # name: (refund, days of carence, hours for the certificate)
    "Remboursée sur certificat sous 48 heures": ("certificate", 0, 48),
    "Remboursée sur certificat sous 7 jours": ("certificate", 0, 7 * 24),
    "Carence du jour et des deux suivants": ("waiting", 3, None),
    "Jamais remboursée": ("never", 0, None),
}
CERTIFICATE, CERTIFICATE_WEEK, THREE_DAYS, NEVER = ABSENCE_RULES

TOP_UP_PACKS = (1, 5, 10, 25, 50)  # euros


@transaction.atomic
def prepare() -> dict[str, int]:
    """Load what is missing; returns how many rows of each kind were created.

    A table that holds anything is left as it is: what an operator changed, renamed or deleted there was meant. Communes
    and school holidays, whose list goes on from year to year, are completed.
    """
    first, last = school_years()
    return {
        "communes": load_communes(),
        "univers": _fill(Category.objects.all(), _categories()),
        "délais": _fill(Deadline.objects.all(), _deadlines()),
        "règles d’absence": _fill(AbsenceRule.objects.all(), _absence_rules()),
        "packs de crédits": _fill(
            TopUpPack.objects.all(), (TopUpPack(amount=Decimal(amount)) for amount in TOP_UP_PACKS)
        ),
        "régie": _fill(Regie.objects.all(), [Regie()]),
        "vacances scolaires": import_school_holidays(first.year, last.year),
    }


def school_years() -> tuple[dt.date, dt.date]:
    """From the first day of this school year to the last of the next: how far calendars are opened."""
    first, _last = school_year(today())
    return first, school_year(first + dt.timedelta(days=400))[1]


def _fill(table: models.QuerySet[models.Model], rows: Iterable[models.Model]) -> int:
    return 0 if table.exists() else len(table.bulk_create(rows))


def _categories() -> Iterator[Category]:
    for position, (name, slug, icon, text) in enumerate(CATEGORIES):
        yield Category(name=name, slug=slug, icon=icon, introduction=text, position=position)


def _deadlines() -> Iterator[Deadline]:
    for name, (basis, offset, weekday, time, weekends, holidays) in DEADLINES.items():
        yield Deadline(
            name=name,
            basis=basis,
            offset=offset,
            weekday=weekday,
            time=time,
            skip_weekends=weekends,
            skip_holidays=holidays,
        )


def _absence_rules() -> Iterator[AbsenceRule]:
    for name, (refund, waiting, hours) in ABSENCE_RULES.items():
        yield AbsenceRule(name=name, refund=refund, waiting_days=waiting, certificate_hours=hours)


def missing() -> list[str]:
    """What keeps parents from signing up, booking or paying, one sentence each."""
    sentences = []
    operators = models.Q(is_superuser=True) | models.Q(staff_roles__kind=StaffRole.Kind.OPERATOR)
    if not User.objects.filter(operators, is_staff=True, is_active=True, status=User.Status.APPROVED).exists():
        sentences.append("Aucun opérateur de l’agglomération : créez le premier par « manage.py createsuperuser ».")
    published = Terms.objects.in_force(Terms.Kind)
    for kind, consequence in (
        (Terms.Kind.SALE, "aucune commande ne peut être payée"),
        (Terms.Kind.USE, "les familles s’inscrivent sans pouvoir le lire"),
        (Terms.Kind.PRIVACY, "les familles s’inscrivent sans pouvoir le lire"),
    ):
        if kind not in published:
            sentences.append(
                f"{kind.label} : rien n’est publié, {consequence}. Ajoutez le texte de l’agglomération sous "
                "Administration, « Textes légaux »."
            )
    if not Service.objects.filter(is_active=True).exists() or not Tariff.objects.exists():
        sentences.append(
            "Aucun service avec ses tarifs : ajoutez services, situations, activités, prestations et tarifs sous "
            "Administration, « Services », puis générez leurs calendriers."
        )
    if not settings.CARD_PROVIDERS:
        sentences.append(
            "Aucun prestataire de carte (CARD_PROVIDERS) : seul l’argent déjà dans les porte-monnaie paie les commandes."
        )
    return sentences
