"""What nobody could read of what providers sent: operators look at it and say what came of it."""

from collections.abc import Collection

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.models import ProviderEvent
from portal.common.errors import Refused


@transaction.atomic
def mark_seen(*, ids: Collection[int], note: str, by: User) -> int:
    """Say of messages that could not be read that they were looked at, with a note; returns how many: they are told no more.

    What is settled, or seen already, stays as it is. Raises Refused without a note, to anybody but the agglomération's
    operators, and when none of these is left.
    """
    if not by.is_operator:
        raise Refused(_("Seule l’agglomération lit les messages des prestataires. Rien n’a changé."), code="not_yours")
    note = " ".join(note.split())
    if not note:
        raise Refused(_("Écrivez ce qui a été fait\u00a0: vos collègues le liront."), code="no_note")
    # Locked by their keys, then read again: a colleague may be doing the same.
    list(ProviderEvent.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    left = list(ProviderEvent.objects.unread().filter(pk__in=ids).values_list("pk", flat=True))
    if not left:
        raise Refused(
            _("Ces messages ont déjà été vus, ou ce qu’ils disent est connu depuis. Rien n’a été changé."), code="seen"
        )
    return ProviderEvent.objects.filter(pk__in=left).update(seen_at=timezone.now(), seen_by=by, seen_note=note)
