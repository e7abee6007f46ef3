"""Passages that a phone without network let through against the rules: staff look at them and say what came of it."""

from collections.abc import Collection

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from bookings.tickets.models import TicketUse, TicketUseReview
from portal.common.errors import Refused


@transaction.atomic
def mark_seen(*, ids: Collection[int], note: str, by: User) -> int:
    """Say of flagged passages that they were looked at, with a note; returns how many. Those seen already stay as they are.

    Raises Refused without a note, and when none of these is left to be checked by this person.
    """
    note = " ".join(note.split())
    if not note:
        raise Refused(_("Écrivez ce qui a été fait : vos collègues le liront."), code="no_note")
    flagged = TicketUse.objects.visible_to(by).to_check().filter(pk__in=ids)
    # Locked by their keys, then read again: a colleague may be doing the same.
    list(TicketUse.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    left = list(flagged.order_by("pk"))
    if not left:
        raise Refused(
            _("Ces passages ont déjà été vus, ou n’étaient pas à vérifier. Rien n’a été changé."), code="seen"
        )
    TicketUseReview.objects.bulk_create([TicketUseReview(use=use, note=note, by=by) for use in left])
    return len(left)
