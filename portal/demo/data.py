"""Loading the demonstration: real communes, the guides' catalogue, families who book through the real actions."""

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import F
from django.utils import timezone

from accounts.actions import complete_signup, set_residence
from accounts.models import Address, Commune, CommuneFile, StaffRole, Terms, User
from bookings.actions import Wish
from bookings.closures.actions import decide, fingerprint
from bookings.closures.models import Closure
from bookings.waiting.actions import join
from checkout.actions import Means, accept_sale_terms, add_to_cart, choose_address, pay
from checkout.actions.closures import apply_closure
from checkout.models import Cart, Regie
from checkout.vouchers.actions import enter_code
from families.models import Beneficiary, Enrolment, Filiation
from portal.common.formats import today
from portal.common.money import ZERO
from portal.demo import catalogue, past, tickets, vouchers
from portal.installation import CERTIFICATE, THREE_DAYS, prepare, school_years
from services.calendars import generate_open_days
from services.models import (
    AbsenceRule,
    AccessProfile,
    Activity,
    ActivityPeriod,
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

PASSWORD = "Velay-Demo-2026!"
WITH_A_COUNTER = "Aiguilhe"  # whose agent takes cash, cheques and CESU for the régie
TARIFFS_FROM = dt.date(2020, 9, 1)
Progress = Callable[[str], None]


def load(progress: Progress) -> None:
    """Load what is missing; a second run finds everything there and changes nothing but new open days."""
    prepare()
    _catalogue(progress)
    _open_days(progress)
    _regie()
    operator = _staff()
    _treasurer(operator)
    _main_family(operator)
    _newcomer()
    _driver(operator)
    vouchers.load()
    _neighbours(operator, progress)
    _one_closure()


def _catalogue(progress: Progress) -> None:
    if Service.objects.exists():
        return
    progress("Services, situations et tarifs des guides")
    with transaction.atomic():
        _late_rule()
        for plan in catalogue.SERVICES:
            _service(plan)
        communes = {row.name: row for row in Commune.objects.all()}
        School.objects.bulk_create(
            School(commune=communes[commune], name=name, levels=list(levels))
            for commune, name, levels in catalogue.SCHOOLS
        )
        Classroom.objects.bulk_create(
            Classroom(
                school=School.objects.get(commune__name=commune),
                year=school_years()[0].year,
                name=name,
                levels=list(levels),
            )
            for commune, name, levels in catalogue.CLASSROOMS
        )
        for kind, body in (
            (Terms.Kind.SALE, catalogue.SALE_TERMS),
            (Terms.Kind.USE, catalogue.USE_TERMS),
            (Terms.Kind.PRIVACY, catalogue.PRIVACY),
        ):
            published_at = past.joined_at() - dt.timedelta(days=1)
            Terms.objects.create(kind=kind, version="2026-1", body=body, published_at=published_at)


def _late_rule() -> None:
    noon = Deadline.objects.create(
        name="Le jour même à midi", basis=Deadline.Basis.DAYS, offset=0, skip_weekends=False, skip_holidays=False
    )
    Deadline.objects.create(
        name=catalogue.LATE,
        basis=Deadline.Basis.DAYS,
        offset=1,
        time=dt.time(17),
        skip_weekends=False,
        skip_holidays=False,
        late=noon,
        surcharge=Deadline.Surcharge.ADDED,
        surcharge_amount=Decimal("1.00"),
        free_times=1,
    )


def _service(plan: catalogue.ServicePlan) -> None:
    deadlines = {row.name: row for row in Deadline.objects.all()}
    rules = {"cantines": CERTIFICATE, "velo-en-velay": None}  # nobody is absent from a bicycle
    rule = rules.get(plan.category, THREE_DAYS)
    service = Service.objects.create(
        absence_rule=AbsenceRule.objects.filter(name=rule).first(),
        commune=Commune.objects.get(name=plan.commune) if plan.commune else None,
        category=Category.objects.get(slug=plan.category),
        name=plan.name,
        slug=plan.slug,
        description=plan.description,
        contact=plan.contact,
        address=plan.address,
        booking_deadline=deadlines[plan.booking],
        cancel_deadline=deadlines[plan.cancel],
    )
    profiles = [
        AccessProfile.objects.create(service=service, label=label, position=index)
        for index, label in enumerate(plan.profiles)
    ]
    grid = TariffGrid.objects.create(
        service=service,
        name="Tarifs",
        decision="2020-31",
        decision_date=dt.date(2020, 6, 25),
        valid=(TARIFFS_FROM, None),
        rank_basis=plan.rank_basis,
    )
    for position, item in enumerate(plan.activities):
        activity = Activity.objects.create(
            service=service,
            name=item.name,
            slug=item.slug,
            description=item.description,
            unit_name=item.unit,
            capacity=item.capacity,
            booking_deadline=deadlines.get(item.booking),
            cancel_deadline=deadlines.get(item.cancel),
            may_overlap=item.may_overlap,
            min_age=item.ages[0],
            max_age=item.ages[1],
            position=position,
        )
        ActivityPeriod.objects.bulk_create(
            ActivityPeriod(activity=activity, **facts) for period in item.periods for facts in _periods(period)
        )
        for index, way in enumerate(item.slots):
            slot = Slot.objects.create(
                activity=activity,
                name=way.name,
                starts_at=dt.time.fromisoformat(way.starts_at),
                ends_at=dt.time.fromisoformat(way.ends_at),
                includes_meal=way.meal,
                nature=_nature(plan, way),
                meal_price=Decimal(way.lunch) if way.lunch else None,
                position=index,
            )
            Tariff.objects.bulk_create(
                Tariff(
                    grid=grid,
                    slot=slot,
                    profile=profile,
                    price=Decimal(fare.price),
                    rank=_band(*fare.ranks),
                    quotient=_band(*fare.quotients),
                )
                for number, profile in enumerate(profiles)
                for fare in way.fares_of(number)
            )
    tickets.products(service, profiles, grid, plan.tickets)


def _nature(plan: catalogue.ServicePlan, way: catalogue.SlotPlan) -> str:
    """What a price pays for, for the taxes."""
    if way.lunch:
        return Slot.Nature.BOTH
    if plan.category in ("garderies", "centres-de-loisirs"):
        return Slot.Nature.CARE
    return Slot.Nature.MEAL if way.meal else Slot.Nature.OTHER


def _band(first: int | None, last: int | None) -> NumericRange:
    return NumericRange(first, None if last is None else last + 1)


def _periods(plan: catalogue.PeriodPlan) -> Iterator[dict[str, Any]]:
    """The rows of a period: one, or one for each year that calendars are made for when it is a month."""
    facts = {"kind": plan.kind, "holiday": plan.holiday, "weekdays": list(plan.weekdays), "capacity": plan.capacity}
    if not plan.month:
        yield facts
        return
    first, last = school_years()
    for year in range(first.year, last.year + 1):
        start = dt.date(year, plan.month, 1)
        end = (start + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
        yield {**facts, "first_day": start, "last_day": end}


def _open_days(progress: Progress) -> None:
    first, last = school_years()
    if OpenDay.objects.filter(date__gt=last - dt.timedelta(days=90)).exists():
        return
    progress("Calendriers de cette année scolaire et de la suivante")
    for activity in Activity.objects.with_deadlines():
        generate_open_days(activity=activity, first=first, last=last)
    _one_closed_day()


def _one_closed_day() -> None:
    day = OpenDay.objects.filter(
        activity__service__slug="aiguilhe-restauration-scolaire", date__gt=today() + dt.timedelta(days=24)
    ).first()
    if day is not None:
        day.is_open, day.closed_reason, day.by_hand = False, "Travaux dans la cuisine", True
        day.save()


def _person(email: str, title: str, first_name: str, last_name: str, commune: str, *, password: str = "") -> User:
    user = User(
        email=email, title=title, first_name=first_name, last_name=last_name, phone="04 71 00 00 00", password=password
    )
    if not password:
        user.set_password(PASSWORD)
    user.save()
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    set_residence(user=user, commune=Commune.objects.get(name=commune) if commune else None)
    return user


def _approve(user: User, by: User) -> None:
    now = timezone.now()
    User.objects.filter(pk=user.pk).update(status=User.Status.APPROVED, decided_at=now, decided_by=by, completed_at=now)
    user.refresh_from_db()


def _staff() -> User:
    known = User.objects.filter(email="agglo@demo.example").first()
    if known is not None:
        return known
    with transaction.atomic():
        operator = _person("agglo@demo.example", "MME", "Hélène", "Faure", "Le Puy-en-Velay")
        StaffRole.objects.create(user=operator, kind=StaffRole.Kind.OPERATOR)
        _approve(operator, operator)  # the first: nobody else is there to sign
        agents = (
            ("rosieres@demo.example", "MME", "Sylvie", "Chabanon", "Rosières"),
            ("aiguilhe@demo.example", "M", "Marc", "Vidal", "Aiguilhe"),
        )
        for email, title, first_name, last_name, commune in agents:
            agent = _person(email, title, first_name, last_name, commune)
            StaffRole.objects.create(
                user=agent,
                kind=StaffRole.Kind.AGENT,
                commune=Commune.objects.get(name=commune),
                takes_money=commune == WITH_A_COUNTER,
            )
            _approve(agent, operator)
        User.objects.filter(staff_roles__isnull=False).update(is_staff=True)
    return operator


@transaction.atomic
def _treasurer(operator: User) -> None:
    """A second person of the agglomération: what one proposes (corrections, transfers) another decides."""
    if User.objects.filter(email="tresorier@demo.example").exists():
        return
    person = _person("tresorier@demo.example", "M", "Bernard", "Sabatier", "Le Puy-en-Velay")
    StaffRole.objects.create(user=person, kind=StaffRole.Kind.OPERATOR)
    _approve(person, operator)
    User.objects.filter(pk=person.pk).update(is_staff=True)


def _regie() -> None:
    """The head of the papers, and rules with which everything can be tried. Its SIRET and its account are nobody's."""
    row = Regie.objects.get()
    if row.address:
        return
    row.address = "16 place de la Libération\n43000 Le Puy-en-Velay"
    row.siret = "12345678200010"
    row.officer = "Le régisseur, Bernard Sabatier"
    row.card_refunds = True
    row.iban, row.bic = "FR7610071430000000200123427", "TRPUFRP1"
    row.save()


def _child(user: User, first_name: str, last_name: str, birth: str, kind: str) -> Beneficiary:
    child = Beneficiary.objects.create(
        first_name=first_name, last_name=last_name, birth_date=dt.date.fromisoformat(birth)
    )
    Filiation.objects.create(user=user, beneficiary=child, kind=kind)
    return child


def _pupil(child: Beneficiary, commune: str, level: str) -> None:
    """A child of the commune's school, as the family declares it."""
    school = School.objects.filter(commune__name=commune).first()
    year = school_years()[0].year
    if school is not None:
        room = Classroom.objects.filter(school=school, year=year, levels__contains=[level]).first()
        Enrolment.objects.create(beneficiary=child, school=school, level=level, classroom=room, year=year)


def _access(user: User, service: str, label: str, *, by: User | None) -> Subscription:
    """Ask for a situation of a service; validated by `by`, or left waiting."""
    profile = AccessProfile.objects.select_related("service").get(service__slug=service, label=label)
    row = Subscription.objects.create(user=user, profile=profile)
    if profile.service.commune_id:
        CommuneFile.objects.get_or_create(
            user=user, commune_id=profile.service.commune_id, reason=CommuneFile.Reason.REQUEST
        )
    if by is not None:
        row.status, row.decided_at, row.decided_by = Subscription.Status.APPROVED, timezone.now(), by
        row.save()
    return row


@transaction.atomic
def _main_family(operator: User) -> None:
    if User.objects.filter(email="parent@demo.example").exists():
        return
    with past.clock(past.joined_at()):
        parent = _person("parent@demo.example", "MME", "Claire", "Dupont", "Aiguilhe")
        _approve(parent, operator)
    Address.objects.create(user=parent, line1="12 rue du Rocher", postal_code="43000", city="Aiguilhe", is_default=True)
    louane = _child(parent, "Louane", "Dupont", "2018-05-10", Filiation.Kind.MOTHER)
    _pupil(louane, "Aiguilhe", Level.CE2)
    _child(parent, "Théo", "Dupont", "2013-07-12", Filiation.Kind.MOTHER)
    _access(parent, "aiguilhe-restauration-scolaire", "Usager", by=operator)
    _access(parent, "rosieres-accueil-de-loisirs", "Résident hors-commune", by=operator)
    for service, label in tickets.SERVICES.items():
        _access(parent, service, label, by=operator)


@transaction.atomic
def _driver(operator: User) -> None:
    if User.objects.filter(email="chauffeur@demo.example").exists():
        return
    person = _person("chauffeur@demo.example", "M", "Paul", "Roche", "Saint-Paulien")
    _approve(person, operator)
    tickets.driver(person, operator=User.objects.get(pk=operator.pk))  # as the database knows them: with their role


def _newcomer() -> None:
    if User.objects.filter(email="nouveau@demo.example").exists():
        return
    user = _person("nouveau@demo.example", "M", "Julien", "Mercier", "Rosières")
    _child(user, "Inès", "Mercier", "2019-02-03", Filiation.Kind.FATHER)
    _access(user, "rosieres-accueil-de-loisirs", "Résident commune", by=None)
    complete_signup(user=user)


NEIGHBOURS = (
    ("Amandine", "Roche", ("Lina", "Hugo")),
    ("Karim", "Benali", ("Yanis",)),
    ("Élodie", "Chapuis", ("Zoé", "Malo")),
    ("Thomas", "Exbrayat", ("Jade",)),
    ("Nathalie", "Giraud", ("Nolan", "Éva")),
    ("Sébastien", "Boyer", ("Tom",)),
    ("Fatou", "Diallo", ("Aminata", "Ibrahim")),
    ("Julie", "Pascal", ("Manon",)),
)
FATHERS = {"Karim", "Thomas", "Sébastien"}  # among them
LITTLE = {"Manon"}  # under six, as the tax certificate of childcare counts


def _born(name: str) -> int:
    """The year of birth of a child in nursery school at the beginning of this school year; zero for the others."""
    return school_years()[0].year - 4 if name in LITTLE else 0


def _neighbours(operator: User, progress: Progress) -> None:
    """A few families who have paid in and book the coming weeks by the real actions, so that days fill and one is full."""
    if User.objects.filter(email="famille1@demo.example").exists():
        return
    progress("Quelques familles et leurs réservations")
    password = make_password(PASSWORD)
    with transaction.atomic():
        households = [
            _neighbour(number, first_name, last_name, children, operator, password)
            for number, (first_name, last_name, children) in enumerate(NEIGHBOURS, start=1)
        ]
        past.load(households, list(_deposits(households)))
        for number, household in enumerate(households, start=1):
            _books(household, number)
        first = User.objects.get(email="famille1@demo.example")
        accesses = {service: _access(first, service, label, by=operator) for service, label in tickets.SERVICES.items()}
        staff = User.objects.get(pk=operator.pk)  # as the database knows them: with their role
        tickets.purchases(user=first, accesses=accesses, operator=staff)
        _one_full_day()
        _one_who_waits()


def _neighbour(
    number: int, first_name: str, last_name: str, children: tuple[str, ...], operator: User, password: str
) -> past.Household:
    commune, service, slug, label = (
        ("Aiguilhe", "aiguilhe-restauration-scolaire", "repas", "Usager")
        if number % 2
        else ("Rosières", "rosieres-accueil-de-loisirs", "mercredis", "Résident commune")
    )
    with past.clock(past.joined_at()):
        user = _person(f"famille{number}@demo.example", "", first_name, last_name, commune, password=password)
        _approve(user, operator)
        access = _access(user, service, label, by=operator)
    Address.objects.create(
        user=user,
        line1=f"{number} place de la Mairie",
        postal_code="43800" if commune == "Rosières" else "43000",
        city=commune,
        is_default=True,
    )
    kind = Filiation.Kind.FATHER if first_name in FATHERS else Filiation.Kind.MOTHER
    people = [
        _child(user, name, last_name, f"{_born(name) or 2016 + index}-0{number}-1{index}", kind)
        for index, name in enumerate(children)
    ]
    for index, person in enumerate(people):
        _pupil(person, commune, Level.MS if _born(person.first_name) else (Level.CM2, Level.CM1)[index])
    activity = Activity.objects.select_related("service").get(service__slug=service, slug=slug)
    slot = Slot.objects.filter(activity=activity).earliest("position", "pk")
    here = commune == WITH_A_COUNTER
    cashier = User.objects.get(email="aiguilhe@demo.example" if here else "tresorier@demo.example")
    counter = activity.service.commune if here else None
    return past.Household(user, people, activity, slot, access, cashier, counter)


def _deposits(households: list[past.Household]) -> Iterator[past.Deposit]:
    """What the wallets hold today: the neighbours' cheques of the last days, then Claire's money."""
    for number, row in enumerate(households, start=1):
        yield past.Deposit(row.user, Decimal(300), row.cashier, row.counter, f"Crédit Agricole {4831200 + 7 * number}")
    parent = User.objects.get(email="parent@demo.example")
    agent = User.objects.get(email="aiguilhe@demo.example")
    yield past.Deposit(parent, Decimal(50), agent, Commune.objects.get(name=WITH_A_COUNTER))


def _books(household: past.Household, number: int) -> None:
    """The days that a family books of the coming weeks."""
    user, activity = household.user, household.activity
    days = OpenDay.objects.filter(activity=activity).bookable(at=timezone.now()).order_by("date")[: 6 + number]
    wishes = [Wish(person.pk, day.date) for day in days for person in household.people]
    if not wishes:
        return
    added = add_to_cart(user=user, activity=activity, slot=household.slot, subscription=household.access, wishes=wishes)
    choose_address(user=user, address=Address.objects.get(user=user))
    accept_sale_terms(user=user, terms=Terms.objects.current(Terms.Kind.SALE))
    cart = Cart.objects.live().get(user=user)
    off = enter_code(user=user, code="RENTREE10").amount if activity.service.slug == vouchers.ROSIERES else ZERO
    pay(user=user, cart_id=cart.pk, means=Means.WALLET, shown_total=added.total - off)


def _one_closure() -> None:
    """The big ones of the school of Aiguilhe go on a trip: decided and applied, with their families written to."""
    agent = User.objects.get(email="aiguilhe@demo.example")
    if Closure.objects.exists():
        return
    school = School.objects.filter(commune__name="Aiguilhe").first()
    days = OpenDay.objects.filter(activity__slug="repas", activity__service__commune__name="Aiguilhe", taken__gt=2)
    day = days.filter(is_open=True).order_by("date").last()
    if school is None:
        return
    if day is None:
        return
    closure = Closure(
        scope=Closure.Scope.CLASS,
        school=school,
        commune=school.commune,
        levels=[Level.CM1, Level.CM2],
        first_day=day.date,
        last_day=day.date,
        reason="Sortie scolaire",
    )
    decide(closure=closure, seen=fingerprint(closure), by=agent)
    apply_closure(closure=closure, by=agent)


def _one_full_day() -> None:
    for slug in ("repas", "mercredis"):
        days = OpenDay.objects.filter(activity__slug=slug, taken__gt=0, date__gt=today())
        day = days.order_by("date")[2:3].first()
        if day is not None:
            day.capacity, day.by_hand = day.taken, True
            day.save()


def _one_who_waits() -> None:
    """Louane waits for the full Wednesday: when one of the families there cancels it, she is offered the place."""
    parent = User.objects.get(email="parent@demo.example")
    activity = Activity.objects.select_related("service").get(
        service__slug="rosieres-accueil-de-loisirs", slug="mercredis"
    )
    activity.waiting_order = [Activity.Priority.RESIDENT]
    activity.save()
    days = OpenDay.objects.filter(activity=activity).bookable(at=timezone.now() + dt.timedelta(days=3))
    day = days.filter(taken=F("capacity")).first()
    slot = Slot.objects.filter(activity=activity).first()
    if day is not None and slot is not None:
        join(
            user=parent,
            activity=activity,
            slot=slot,
            subscription=Subscription.objects.get(user=parent, profile__service=activity.service_id),
            wishes=[Wish(Beneficiary.objects.get(first_name="Louane", last_name="Dupont").pk, day.date)],
        )
