"""The nightly check: everything recomputed, what was found kept, operators told when something is wrong."""

import contextlib
import datetime as dt
import hashlib
import itertools
from collections.abc import Iterator

from django.core.cache import cache
from django.db import transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.regie.models import Verification
from checkout.regie.operators import operators
from checkout.verification import verify, what_is_overdue
from portal.common.db import if_nobody_else, one_moment, somebody_is_in
from portal.common.errors import Refused
from portal.common.formats import today
from portal.common.rows import apart
from portal.outbox.actions import queue_email
from wallet.closings.actions import write_checkpoints
from wallet.models import Entry

# A thousand more would say nothing new; all of them are counted.
MOST_KEPT = 200
MOST_WRITTEN = 20  # of each, in an e-mail

# The worker's broker hands out a task again that takes long: the second one finds the first at work, and leaves.
RUNNING = "checkout.verification"
# Asked for and not begun yet: after so many seconds no worker has taken it, and it may be asked for again.
ASKED = "checkout.verification.asked"
ASKED_FOR = 120
# A night that did not run is as wrong as one that found something.
LATE_AFTER = dt.timedelta(hours=30)


def run(*, by: User | None) -> Verification | None:
    """Recompute ledger, orders and places, and keep what was found; None when somebody else is at it.

    Every difference, and beside these what is overdue, is told to each operator: a check that finds the same as another one
    of the day writes no second e-mail. Reads all the ledger: for a task or the command.
    """
    with if_nobody_else(RUNNING) as alone:
        if not alone:
            return None
        try:
            return _run(by)
        finally:
            not_asked()


def ask(*, by: User) -> None:
    """Refuse a check while another one runs or was just asked for, and keep that this one is.

    Whoever calls it hands the task to a worker, and says `not_asked` when no broker takes it. Raises Refused.
    """
    if somebody_is_in(RUNNING):
        raise Refused(
            _(
                "Un contrôle est en cours\u00a0: son résultat sera ici dans quelques instants. Rien n’a été demandé de plus."
            ),
            code="running",
        )
    if not cache.add(ASKED, str(by.pk), ASKED_FOR):
        raise Refused(
            _(
                "Un contrôle vient d’être demandé\u00a0: son résultat sera ici dans quelques instants. Rien n’a été demandé de plus."
            ),
            code="asked",
        )


def not_asked() -> None:
    """The check that was asked for will not come, or has come: another one may be asked for."""
    cache.delete(ASKED)


def is_under_way() -> bool:
    """Whether a check runs, or was asked for and waits for its worker."""
    return somebody_is_in(RUNNING) or cache.get(ASKED) is not None


def is_late(newest: Verification | None) -> bool:
    """Whether a night's check is missing. Before the first night of an installation none is."""
    if newest is not None:
        return newest.ended_at < timezone.now() - LATE_AFTER
    installed = MigrationRecorder.Migration.objects.order_by("applied").values_list("applied", flat=True).first()
    return installed is not None and installed < timezone.now() - LATE_AFTER


def _run(by: User | None) -> Verification:
    started = timezone.now()
    with one_moment():  # families go on paying meanwhile
        entries = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        differences, count = _first(verify())
        overdue, overdue_count = _first(what_is_overdue())
    with transaction.atomic():
        row = Verification.objects.create(
            started_at=started,
            ended_at=timezone.now(),
            by=by,
            count=count,
            differences=differences,
            overdue_count=overdue_count,
            overdue=overdue,
            entries=entries,
        )
        if count or overdue_count:
            _alert(row)
    if not count:  # of right books; what was found is kept, whatever comes of them
        with apart(what="the checkpoints"), contextlib.suppress(Refused):  # a ledger that never pauses: tomorrow night
            write_checkpoints()
    return row


def _first(found: Iterator[str]) -> tuple[list[str], int]:
    """The first sentences, and how many there are; the others are kept nowhere."""
    kept = list(itertools.islice(found, MOST_KEPT))
    return kept, len(kept) + sum(1 for _sentence in found)


def _alert(row: Verification) -> None:
    counts = [str(row.count), str(row.overdue_count)]
    said = "\n".join([*counts, *sorted(row.differences), *sorted(row.overdue)])
    found = hashlib.sha256(said.encode()).hexdigest()[:16]
    for operator in operators():
        queue_email(
            key=f"verification:{today()}:{found}:{operator.pk}",
            to=operator.email,
            template="verification_failed",
            context={
                "user": operator,
                "verification": row,
                "shown": row.differences[:MOST_WRITTEN],
                "more": row.count - MOST_WRITTEN,
                "overdue": row.overdue[:MOST_WRITTEN],
                "more_overdue": row.overdue_count - MOST_WRITTEN,
            },
        )
