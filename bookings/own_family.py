"""Nobody decides about their own family's money: what an agent who is also a parent leaves to somebody else of the service."""

from django.db.models import Q

from accounts.models import User
from bookings.absences import Absence
from bookings.models import Booking
from families.models import Beneficiary


def of_own_family(user: User) -> Q:
    """The bookings that this person made, or that are for somebody they answer for."""
    return Q(made_by=user) | Q(beneficiary__in=Beneficiary.objects.of(user))


def is_own_absence(absence: Absence, user: User) -> bool:
    """Whether this person reported it, answers for who is absent, or made one of its bookings."""
    if absence.reported_by_id == user.pk or Beneficiary.objects.of(user).filter(pk=absence.beneficiary_id).exists():
        return True
    return Booking.objects.filter(made_by=user, absence_days__absence=absence).exists()
