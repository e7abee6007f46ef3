"""Saying no to reminders: the key that an e-mail's link carries, and what it opens."""

from django.core.signing import BadSignature, Signer
from django.db import transaction

from accounts.models import User


def _signer() -> Signer:
    return Signer(salt="accounts.reminders", sep=".")


def reminders_key(user: User) -> str:
    """What a link carries so that its reader, without signing in, can stop the reminders of this account, and no more."""
    return _signer().sign(str(user.pk))


def account_of(key: str) -> User | None:
    """The account that a key names; None for a forged one."""
    try:
        return User.objects.filter(pk=int(_signer().unsign(key))).first()
    except (BadSignature, ValueError):
        return None


@transaction.atomic
def stop_reminders(*, user: User) -> None:
    """No more reminders for this account; again changes nothing. They are taken up again in the personal details."""
    User.objects.filter(pk=user.pk, reminders=True).update(reminders=False)
