"""Rows for tests: each factory makes the smallest row that the rules accept, and builds what it hangs on.

Every default is the state in which things work (approved, open, in force), so that a test names only what it is
about. Somebody who can book: `tariff = TariffFactory()`, then `SubscriptionFactory(profile=tariff.profile)`,
`FiliationFactory(user=subscription.user)` and `OpenDayFactory(activity=tariff.slot.activity)`.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

import factory
from allauth.account.models import EmailAddress
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone
from factory.django import DjangoModelFactory

from accounts.models import Address, Commune, CommuneFile, StaffRole, Terms, User
from bookings.models import Controller
from checkout.models import Regie
from families.models import Beneficiary, Enrolment, Filiation, IncomeQuotient
from portal.common.formats import PARIS, today
from services.models import (
    AbsenceRule,
    AccessProfile,
    Activity,
    ActivityPeriod,
    BusLine,
    BusStop,
    Category,
    Classroom,
    Deadline,
    Level,
    OpenDay,
    School,
    Service,
    Slot,
    Subscription,
    Tariff,
    TariffGrid,
)
from services.school_calendar import school_year

PASSWORD = "Velay-Tests-2026!"


# --- Accounts --------------------------------------------------------------------------------------------------------


class CommuneFactory(DjangoModelFactory):
    class Meta:
        model = Commune
        django_get_or_create = ("insee_code",)

    insee_code = factory.Sequence(lambda n: f"{43000 + n % 1000:05}")
    name = factory.Sequence(lambda n: f"Commune {n}")
    postal_code = "43000"
    population = 1200


class UserFactory(DjangoModelFactory):
    """A citizen who has finished signing up and is validated, with a verified e-mail; the password is PASSWORD.

    Other states: `UserFactory(pending=True)`, `refused=True`, `unfinished=True` (pending, still signing up), and
    `verified_email=False`. Naming a `commune` gives it the person's file, as signing up does.
    """

    class Meta:
        model = User
        skip_postgeneration_save = True

    class Params:
        unfinished = factory.Trait(pending=True, completed_at=None)
        pending = factory.Trait(status=User.Status.PENDING, decided_at=None)
        refused = factory.Trait(
            status=User.Status.REFUSED, decision_reason="Le justificatif de domicile est illisible."
        )

    email = factory.Sequence(lambda n: f"usager{n}@exemple.fr")
    password = PASSWORD
    title = User.Title.MRS
    first_name = "Camille"
    last_name = factory.Sequence(lambda n: f"Martin{n}")
    birth_date = dt.date(1985, 3, 9)
    phone = "06 12 34 56 78"
    status = User.Status.APPROVED
    completed_at = factory.LazyFunction(timezone.now)
    decided_at = factory.LazyFunction(timezone.now)

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        return model_class.objects.create_user(**kwargs)

    @factory.post_generation
    def verified_email(user: User, create: bool, extracted: bool | None, **_kwargs: Any) -> None:
        if create:
            EmailAddress.objects.create(user=user, email=user.email, verified=extracted is not False, primary=True)

    @factory.post_generation
    def residence(user: User, create: bool, _extracted: object, **_kwargs: Any) -> None:
        if create and user.commune is not None:
            CommuneFile.objects.create(user=user, commune=user.commune, reason=CommuneFile.Reason.RESIDENT)


class StaffRoleFactory(DjangoModelFactory):
    class Meta:
        model = StaffRole

    user = factory.SubFactory(UserFactory, is_staff=True)
    kind = StaffRole.Kind.AGENT
    commune = factory.SubFactory(CommuneFactory)


def agent_of(*communes: Commune) -> User:
    """A member of staff of these communes; of the agglomération when none is named (an operator)."""
    staff: User = UserFactory(is_staff=True, first_name="Agnès", last_name="Vey")
    for commune in communes:
        StaffRoleFactory(user=staff, commune=commune)
    if not communes:
        StaffRoleFactory(user=staff, kind=StaffRole.Kind.OPERATOR, commune=None)
    return staff


class AddressFactory(DjangoModelFactory):
    class Meta:
        model = Address

    user = factory.SubFactory(UserFactory)
    line1 = "12 rue des Tables"
    postal_code = "43000"
    city = "Le Puy-en-Velay"


class TermsFactory(DjangoModelFactory):
    """A text in force since yesterday."""

    class Meta:
        model = Terms
        django_get_or_create = ("kind", "version")

    kind = Terms.Kind.SALE
    version = "2026-09"
    body = "Article 1\n\nLes réservations sont payées à la commande."
    published_at = factory.LazyFunction(lambda: timezone.now() - dt.timedelta(days=1))


# --- Families --------------------------------------------------------------------------------------------------------


class BeneficiaryFactory(DjangoModelFactory):
    """A child that nobody answers for yet: link it with FiliationFactory, or start from that one."""

    class Meta:
        model = Beneficiary

    first_name = factory.Iterator(["Louane", "Théo", "Noé", "Jade", "Lina", "Hugo"])
    last_name = "Dupont"
    birth_date = dt.date(2018, 5, 10)


class FiliationFactory(DjangoModelFactory):
    class Meta:
        model = Filiation

    user = factory.SubFactory(UserFactory)
    beneficiary = factory.SubFactory(BeneficiaryFactory)
    kind = Filiation.Kind.MOTHER


# --- Services --------------------------------------------------------------------------------------------------------


class CategoryFactory(DjangoModelFactory):
    class Meta:
        model = Category
        django_get_or_create = ("slug",)

    name = "Centres de loisirs"
    slug = "centres-de-loisirs"
    icon = "balloon"


class AbsenceRuleFactory(DjangoModelFactory):
    """A certificate within 48 hours, without carence; `waiting=3` refunds without one, after three days."""

    class Meta:
        model = AbsenceRule

    class Params:
        waiting = 0

    name = factory.Sequence(lambda n: f"Règle {n}")
    refund = factory.LazyAttribute(lambda row: "waiting" if row.waiting else "certificate")
    waiting_days = factory.LazyAttribute(lambda row: row.waiting)
    certificate_hours = factory.LazyAttribute(lambda row: 48 if row.refund == "certificate" else None)


class DeadlineFactory(DjangoModelFactory):
    """`J-2 12:00`, weekends and public holidays not counted."""

    class Meta:
        model = Deadline
        django_get_or_create = ("name",)

    name = "L’avant-veille à midi"
    basis = Deadline.Basis.DAYS
    offset = 2
    time = dt.time(12)


class ServiceFactory(DjangoModelFactory):
    """A service of a commune of its own; `commune=None` makes it one of the agglomération."""

    class Meta:
        model = Service

    commune = factory.SubFactory(CommuneFactory)
    category = factory.SubFactory(CategoryFactory)
    name = factory.Sequence(lambda n: f"Accueil de loisirs {n}")
    slug = factory.Sequence(lambda n: f"accueil-de-loisirs-{n}")
    booking_deadline = factory.SubFactory(DeadlineFactory)
    cancel_deadline = factory.SubFactory(DeadlineFactory)


class SchoolFactory(DjangoModelFactory):
    """A school of a commune of its own, with every level."""

    class Meta:
        model = School

    commune = factory.SubFactory(CommuneFactory)
    name = factory.Sequence(lambda n: f"École publique {n}")
    levels = list(Level.values)


class ClassroomFactory(DjangoModelFactory):
    """A class of this school year with every level."""

    class Meta:
        model = Classroom

    school = factory.SubFactory(SchoolFactory)
    year = factory.LazyFunction(lambda: school_year(today())[0].year)
    name = factory.Sequence(lambda n: f"Classe de Mme Martin {n}")
    levels = list(Level.values)


class QuotientFactory(DjangoModelFactory):
    """Waiting to be verified; the family has shown 820."""

    class Meta:
        model = IncomeQuotient

    user = factory.SubFactory(UserFactory)
    value = 820
    valid = factory.LazyFunction(lambda: DateRange(today(), dt.date(today().year + 1, 9, 1), "[)"))


class EnrolmentFactory(DjangoModelFactory):
    """A pupil of this school year, as the family declared it."""

    class Meta:
        model = Enrolment

    beneficiary = factory.SubFactory(BeneficiaryFactory)
    school = factory.SubFactory(SchoolFactory)
    level = Level.CP
    year = factory.LazyFunction(lambda: school_year(today())[0].year)


class AccessProfileFactory(DjangoModelFactory):
    class Meta:
        model = AccessProfile

    service = factory.SubFactory(ServiceFactory)
    label = factory.Sequence(lambda n: f"Résident {n}")


class SubscriptionFactory(DjangoModelFactory):
    """A validated access; `pending=True` and `refused=True` give the other states."""

    class Meta:
        model = Subscription

    class Params:
        pending = factory.Trait(status=Subscription.Status.PENDING, decided_at=None)
        refused = factory.Trait(status=Subscription.Status.REFUSED, reason="Cet accueil est complet cette année.")

    user = factory.SubFactory(UserFactory)
    profile = factory.SubFactory(AccessProfileFactory)
    status = Subscription.Status.APPROVED
    decided_at = factory.LazyFunction(timezone.now)


class ActivityFactory(DjangoModelFactory):
    """An activity of 20 places on the Wednesdays of school weeks; `weekdays` and `term` make another period of it."""

    class Meta:
        model = Activity

    service = factory.SubFactory(ServiceFactory)
    name = factory.Sequence(lambda n: f"Inscription mercredis {n}")
    slug = factory.Sequence(lambda n: f"inscription-mercredis-{n}")
    capacity = 20
    weekdays = [2]
    term = ActivityPeriod.Kind.SCHOOL

    @classmethod
    def _create(cls, model_class: type[Activity], *args: Any, **kwargs: Any) -> Activity:
        weekdays, term = kwargs.pop("weekdays"), kwargs.pop("term")
        activity = model_class.objects.create(**kwargs)
        only_open(activity, weekdays, term)
        return activity


def only_open(activity: Activity, weekdays: list[int], term: str = ActivityPeriod.Kind.ALWAYS) -> None:
    """Give an activity one period instead of those it has."""
    activity.periods.all().delete()
    ActivityPeriod.objects.create(activity=activity, kind=term, weekdays=weekdays)


class TicketActivityFactory(ActivityFactory):
    """Pool entries: no calendar, no stock."""

    kind = Activity.Kind.TICKET
    name = factory.Sequence(lambda n: f"Entrées de la piscine {n}")
    slug = factory.Sequence(lambda n: f"piscine-{n}")
    capacity = None


class PassActivityFactory(TicketActivityFactory):
    """A pass; with `capacity`, numbered bikes."""

    kind = Activity.Kind.PASS
    name = factory.Sequence(lambda n: f"Abonnement {n}")
    slug = factory.Sequence(lambda n: f"abonnement-{n}")


class SlotFactory(DjangoModelFactory):
    class Meta:
        model = Slot

    activity = factory.SubFactory(ActivityFactory)
    name = factory.Sequence(lambda n: "Matin" if n == 0 else f"Matin {n}")
    starts_at = dt.time(7, 30)
    ends_at = dt.time(12)


class EntriesFactory(DjangoModelFactory):
    """A formula of pool entries: one, good for six months."""

    class Meta:
        model = Slot

    activity = factory.SubFactory(TicketActivityFactory)
    name = factory.Sequence(lambda n: f"Formule {n}")
    entries = 1
    validity = 6
    validity_unit = Slot.Unit.MONTH


class PassFactory(EntriesFactory):
    """A formula of a pass: a month, as often as one likes."""

    activity = factory.SubFactory(PassActivityFactory)
    entries = None
    validity = 1


class BusStopFactory(DjangoModelFactory):
    class Meta:
        model = BusStop

    line = factory.SubFactory("tests.factories.BusLineFactory")
    name = factory.Sequence(lambda n: f"Arrêt {n}")
    morning = dt.time(7, 10)
    evening = dt.time(17, 50)


class BusLineFactory(DjangoModelFactory):
    class Meta:
        model = BusLine

    activity = factory.SubFactory(PassActivityFactory)
    name = factory.Sequence(lambda n: f"Ligne {n}")


class TariffGridFactory(DjangoModelFactory):
    """In force from last year to the year after next."""

    class Meta:
        model = TariffGrid
        django_get_or_create = ("service", "name")

    service = factory.SubFactory(ServiceFactory)
    name = factory.LazyAttribute(lambda grid: f"Tarifs {grid.valid}")
    decision = "2026-45"
    decision_date = dt.date(2026, 6, 3)
    valid = factory.LazyFunction(
        lambda: DateRange(dt.date(today().year - 1, 1, 1), dt.date(today().year + 2, 1, 1), "[)")
    )


class TariffFactory(DjangoModelFactory):
    """7,90 € for everybody; slot, profile and grid (one for each `grid__valid`) belong to one service."""

    class Meta:
        model = Tariff

    slot = factory.SubFactory(SlotFactory)
    profile = factory.SubFactory(AccessProfileFactory, service=factory.SelfAttribute("..slot.activity.service"))
    grid = factory.SubFactory(TariffGridFactory, service=factory.SelfAttribute("..slot.activity.service"))
    price = Decimal("7.90")


class OpenDayFactory(DjangoModelFactory):
    """A day two weeks or more ahead, each call the day after the last, still bookable and cancellable."""

    class Meta:
        model = OpenDay

    activity = factory.SubFactory(ActivityFactory)
    date = factory.Sequence(lambda n: today() + dt.timedelta(days=14 + n % 300))
    capacity = 20
    book_until = factory.LazyAttribute(
        lambda day: dt.datetime.combine(day.date - dt.timedelta(days=2), dt.time(12), tzinfo=PARIS)
    )
    cancel_until = factory.SelfAttribute("book_until")


def regie(**fields: object) -> Regie:
    """The régie with these rules."""
    return Regie.objects.update_or_create(code="regie", defaults=fields)[0]


class ControllerFactory(DjangoModelFactory):
    class Meta:
        model = Controller

    user = factory.SubFactory(UserFactory)
    service = factory.SubFactory(ServiceFactory)
