"""Nobody decides about their own family's money: what an agent who is also a parent leaves to somebody else of the service."""

from django.db.models import Q

from accounts.models import User
from bookings.absences import Absence
from families.own_family import of_own_family


def is_own_absence(absence: Absence, user: User) -> bool:
    """Whether somebody of this person's family reported it or made one of its bookings, or this person answers for who is absent."""
    own = of_own_family(user, accounts=["reported_by", "days__booking__made_by"], beneficiaries=["beneficiary"])
    return Absence.objects.filter(own, pk=absence.pk).exists()


def own_bookings(user: User) -> Q:
    """The bookings that somebody of this person's family made, or that are for somebody this person answers for."""
    return of_own_family(user, accounts=["made_by"], beneficiaries=["beneficiary"])
