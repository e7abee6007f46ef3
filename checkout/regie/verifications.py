"""The nightly check: everything recomputed, what was found kept, operators told when something is wrong."""

import contextlib
import itertools

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.models import StaffRole, User
from checkout.regie.models import Verification
from checkout.verification import verify
from portal.common.db import if_nobody_else
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.actions import queue_email
from wallet.closings.actions import write_checkpoints
from wallet.models import Entry

# A thousand more would say nothing new; all of them are counted.
MOST_KEPT = 200

# The worker's broker hands out a task again that takes long: the second one finds the first at work, and leaves.
RUNNING = "checkout.verification"


def run(*, by: User | None) -> Verification | None:
    """Recompute ledger, orders and places, and keep what was found; None when somebody else is at it.

    Every difference is told to each operator, in one e-mail a night. Reads all the ledger: for a task or the command.
    """
    with if_nobody_else(RUNNING) as alone:
        return _run(by) if alone else None


def _run(by: User | None) -> Verification:
    started = timezone.now()
    entries = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    found = verify()
    kept = list(itertools.islice(found, MOST_KEPT))
    count = len(kept) + sum(1 for _sentence in found)
    if not count:
        with contextlib.suppress(Refused):  # a ledger that never pauses: tomorrow night
            write_checkpoints()
    with transaction.atomic():
        row = Verification.objects.create(
            started_at=started, ended_at=timezone.now(), by=by, count=count, differences=kept, entries=entries
        )
        if count:
            _alert(row)
    return row


def _alert(row: Verification) -> None:
    for operator in operators():
        queue_email(
            key=f"verification:{today()}:{operator.pk}",
            to=operator.email,
            template="verification_failed",
            context={"user": operator, "verification": row, "shown": row.differences[:20], "more": row.count - 20},
        )


def operators() -> list[User]:
    """Those who answer for the till and can sign in: the agglomération's staff."""
    roles = StaffRole.objects.filter(user=OuterRef("pk"), commune=None)
    people = User.objects.filter(Exists(roles), is_staff=True, is_active=True, status=User.Status.APPROVED)
    return list(people.order_by("pk"))
