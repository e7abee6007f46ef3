"""Whose family is whose: one rule for what its accounts share, and for what staff who are of it leave to somebody else.

PostgreSQL has the same rule, families_own_family(adult, account), for the triggers of the apps above.
"""

from collections.abc import Sequence

from django.db.models import Q, QuerySet

from accounts.models import User
from families.models import Beneficiary, Filiation


def family_of(user: User) -> "QuerySet[User]":
    """This adult's account, and every other that answers for one of their beneficiaries today.

    A union of both rather than one or the other: PostgreSQL looks up each by its key, where « or » reads every account.
    """
    others = Filiation.objects.filter(ended_at=None, beneficiary__in=Beneficiary.objects.of(user))
    themselves = User.objects.filter(pk=user.pk)
    return User.objects.filter(pk__in=themselves.values("pk").union(others.values("user")))


def is_of_family(account: User, of: User) -> bool:
    """Whether this account is that adult's own, or another parent's of their family."""
    return account.pk == of.pk or family_of(of).filter(pk=account.pk).exists()


def of_own_family(user: User, *, accounts: Sequence[str], beneficiaries: Sequence[str]) -> Q:
    """Rows one of whose `accounts` (who paid, who booked) is of this adult's family, or that are for a beneficiary of theirs."""
    found = Q()
    for name in accounts:
        found |= Q(**{f"{name}__in": family_of(user)})
    for name in beneficiaries:
        found |= Q(**{f"{name}__in": Beneficiary.objects.of(user)})
    return found
