"""Everything that changes a family: who a person declares, corrects and takes off their account."""

import datetime as dt

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from families.models import Beneficiary, Enrolment, Filiation
from portal.common.errors import Refused
from portal.common.formats import sort_key
from services.limits import classes
from services.models import Classroom, Level, School

MAX_BENEFICIARIES = 30


@transaction.atomic
def add_filiation(
    *, user: User, first_name: str, last_name: str, birth_date: dt.date | None, kind: str, by: User
) -> Filiation:
    """Declare somebody this person answers for, or the person themselves (kind « self »).

    Somebody who was taken off the account comes back as the same beneficiary, with their past bookings. Raises
    Refused when the same person is already declared.
    """
    declared = _declared(user)
    _refuse_twins(declared, first_name, last_name, birth_date)
    _refuse_second_self(declared, kind)
    if len(declared) >= MAX_BENEFICIARIES:
        raise Refused(
            _("Vous avez déjà déclaré %d bénéficiaires : pour en ajouter, contactez votre mairie.") % MAX_BENEFICIARIES,
            code="too_many",
        )
    ended = Filiation.objects.filter(user=user, ended_at__isnull=False).select_related("beneficiary").order_by("-pk")
    beneficiary = next(
        (old.beneficiary for old in ended if _same_person(old.beneficiary, first_name, last_name, birth_date)), None
    ) or Beneficiary.objects.create(first_name=first_name, last_name=last_name, birth_date=birth_date)
    return Filiation.objects.create(user=user, beneficiary=beneficiary, kind=kind)


def add_self(*, user: User, by: User) -> Filiation:
    """Let an adult book for themselves. Raises Refused when they already can."""
    return add_filiation(
        user=user,
        first_name=user.first_name,
        last_name=user.last_name,
        birth_date=user.birth_date,
        kind=Filiation.Kind.SELF,
        by=by,
    )


@transaction.atomic
def update_filiation(
    *, filiation: Filiation, first_name: str, last_name: str, birth_date: dt.date | None, kind: str, by: User
) -> None:
    """Correct a beneficiary's names and date of birth, or the link. Raises Refused when that makes them somebody else's twin."""
    declared = _declared(filiation.user)
    current = next((each for each in declared if each.pk == filiation.pk), None)
    if current is None:
        raise Refused(_("Cette personne a été retirée de votre compte entre-temps."), code="ended")
    others = [each for each in declared if each.pk != filiation.pk]
    _refuse_twins(others, first_name, last_name, birth_date)
    _refuse_second_self(others, kind)
    beneficiary = current.beneficiary
    beneficiary.first_name, beneficiary.last_name, beneficiary.birth_date = first_name, last_name, birth_date
    beneficiary.save(update_fields=["first_name", "last_name", "birth_date"])
    current.kind = kind
    current.save(update_fields=["kind"])


@transaction.atomic
def end_filiation(*, filiation: Filiation, by: User) -> None:
    """Take somebody off an account. The link is ended and kept: bookings and orders still tell whom they were for."""
    updated = Filiation.objects.filter(pk=filiation.pk, ended_at=None).update(ended_at=timezone.now())
    if not updated:
        raise Refused(_("Cette personne est déjà retirée de votre compte."), code="ended")


def _declared(user: User) -> list[Filiation]:
    """The person's living links, under the account's lock: two pages cannot declare the same child at once."""
    User.objects.select_for_update().get(pk=user.pk)
    return list(Filiation.objects.of(user).select_related("beneficiary"))


def _same_person(beneficiary: Beneficiary, first_name: str, last_name: str, birth_date: dt.date | None) -> bool:
    names = (sort_key(beneficiary.first_name), sort_key(beneficiary.last_name))
    return names == (sort_key(first_name), sort_key(last_name)) and beneficiary.birth_date == birth_date


def _refuse_twins(declared: list[Filiation], first_name: str, last_name: str, birth_date: dt.date | None) -> None:
    if any(_same_person(each.beneficiary, first_name, last_name, birth_date) for each in declared):
        raise Refused(
            _("%(name)s est déjà sur votre compte, avec la même date de naissance.")
            % {"name": f"{first_name} {last_name}"},
            code="already_declared",
        )


def _refuse_second_self(declared: list[Filiation], kind: str) -> None:
    if kind == Filiation.Kind.SELF and any(each.kind == Filiation.Kind.SELF for each in declared):
        raise Refused(_("Vous êtes déjà sur votre compte comme bénéficiaire."), code="already_self")


@transaction.atomic
def declare_school(
    *, beneficiary: Beneficiary, school: School, level: str, year: int, by: User, classroom: Classroom | None = None
) -> Enrolment:
    """Write down in which school, level and class a child is this year, as the family says; it counts at once.

    Raises Refused when the child is not on this account, the school has no such level or class, or the mairie has
    confirmed another: then the mairie corrects it.
    """
    found = Beneficiary.objects.of(by).filter(pk=beneficiary.pk).select_for_update(no_key=True, of=("self",)).first()
    if found is None:
        raise Refused(_("Cet enfant ne fait plus partie de vos filiations. Rien n’a été changé."), code="not_yours")
    _check_level(school, level)
    _check_classroom(classroom, school, level, year)
    row = Enrolment.objects.filter(beneficiary=found, year=year).first() or Enrolment(beneficiary=found, year=year)
    if row.status == Enrolment.Status.CONFIRMED:
        # What the mairie left open, the family may still say; saying less takes nothing back.
        classroom = classroom or row.classroom
        if (row.school, row.level, row.classroom or classroom) != (school, level, classroom):
            raise Refused(
                _("La mairie a confirmé « %(place)s » : pour corriger, contactez-la. Rien n’a été changé.")
                % {"place": row.place},
                code="confirmed",
            )
    row.school, row.level, row.classroom = school, level, classroom
    row.save()
    return row


@transaction.atomic
def confirm_school(
    *,
    enrolment: Enrolment,
    by: User,
    school: School | None = None,
    level: str = "",
    classroom: Classroom | None = None,
) -> Enrolment:
    """Confirm in which class a child is, as it was declared or as the mairie corrects it; it may be corrected again.

    A correction that names the school says the class too (None: not known). Raises Refused when the pupil is of another
    commune's school, and for a level or class that the school does not have.
    """
    row = Enrolment.objects.visible_to(by).select_for_update(of=("self",)).filter(pk=enrolment.pk).first()
    target = school if school is not None or row is None else row.school
    if row is None or target is None or not School.objects.visible_to(by).filter(pk=target.pk).exists():
        raise Refused(_("Cet élève est dans une école d’une autre commune. Rien n’a été changé."), code="out_of_scope")
    row.school, row.level = target, level or row.level
    if school is not None:
        row.classroom = classroom
    _check_level(row.school, row.level)
    _check_classroom(row.classroom, row.school, row.level, row.year)
    row.status, row.confirmed_at, row.confirmed_by = Enrolment.Status.CONFIRMED, timezone.now(), by
    row.save()
    return row


def _check_level(school: School, level: str) -> None:
    if level not in school.levels:
        raise Refused(
            _("L’école « %(school)s » n’a pas de niveau « %(level)s » : elle a %(levels)s.")
            % {"school": school, "level": dict(Level.choices).get(level, level), "levels": classes(school.levels)},
            code="no_such_class",
        )


def _check_classroom(classroom: Classroom | None, school: School, level: str, year: int) -> None:
    if classroom is None:
        return
    if (classroom.school_id, classroom.year) != (school.pk, year):
        raise Refused(
            _("La classe « %(class)s » n’est pas de « %(school)s » en %(year)s : choisissez-en une autre, ou aucune.")
            % {"class": classroom, "school": school, "year": f"{year}-{year + 1}"},
            code="other_school",
        )
    if level not in classroom.levels:
        raise Refused(
            _("La classe « %(class)s » n’a pas de niveau « %(level)s » : elle a %(levels)s.")
            % {"class": classroom, "level": dict(Level.choices).get(level, level), "levels": classes(classroom.levels)},
            code="other_level",
        )
