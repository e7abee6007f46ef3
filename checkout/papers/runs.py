"""The invoices of past months: which months still want theirs, one pass over one, and taking one up again by hand."""

import datetime as dt
import logging
import time
from collections.abc import Sequence

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from checkout.papers.invoices import families_of, moments, send_invoice
from checkout.papers.models import Document, InvoiceRun, Kind
from portal.common.errors import Refused
from portal.outbox.actions import poke
from wallet.closings.actions import last_to_close
from wallet.models import Movement

logger = logging.getLogger(__name__)

# A month that could not be invoiced is taken up again for a year; what is older is an operator's to decide (`resume`).
MONTHS = 12
BATCH = 100  # families read, and e-mails written, at once
SECONDS_OF_A_PAGE = 10.0


def month_before(first: dt.date, count: int = 1) -> dt.date:
    """The first day of the month that is `count` months before this one."""
    months = first.year * 12 + first.month - 1 - count
    return dt.date(months // 12, months % 12 + 1, 1)


def running_month() -> dt.date:
    """The first day of the month that is not over: one is, once every payment that was dated in it is committed."""
    return (last_to_close() + dt.timedelta(days=1)).replace(day=1)


def due() -> Sequence[InvoiceRun]:
    """The runs of months that are over and not finished, the oldest first; a month that nobody has begun is begun.

    From the first movement of money on, and MONTHS back at most. Three statements when all is done.
    """
    this_month = running_month()
    earliest = month_before(this_month, MONTHS)
    since, _end = moments(earliest, earliest)
    oldest = Movement.objects.filter(at__gte=since).order_by("at").values_list("at", flat=True).first()
    if oldest is None:
        return []
    begun = set(InvoiceRun.objects.filter(month__gte=earliest).values_list("month", flat=True))
    first = timezone.localdate(oldest).replace(day=1)
    wanted = [month_before(this_month, count) for count in range(MONTHS, 0, -1)]
    new = [InvoiceRun(month=date, families=families_of(date).count()) for date in wanted if first <= date not in begun]
    InvoiceRun.objects.bulk_create(new, ignore_conflicts=True)  # another worker may begin them too
    return list(InvoiceRun.objects.filter(month__in=wanted, finished_at=None).order_by("month"))


def issue_month(*, run: InvoiceRun, until: float, by: User | None = None) -> int:
    """Issue the invoices that a month still wants, as many as fit until that monotonic second; returns how many.

    Each family's is a transaction of its own, its e-mail included: a run that is killed goes on where it stopped, and a
    family that fails is tried again by the next run while the others have theirs. A worker is told of the e-mails once
    for BATCH of them, which it sends meanwhile.
    """
    made = failed = reached = 0
    error = ""
    is_over = False
    while not is_over and time.monotonic() < until:
        families = list(families_of(run.month).filter(pk__gt=reached)[:BATCH])
        is_over = not families
        for user in families:
            reached = user.pk
            try:
                send_invoice(user=user, first=run.month, by=by)
                made += 1
            except Exception as problem:  # this family's alone
                logger.exception("The invoice of %s for user %s cannot be issued", run.month, user.pk)
                failed, error = failed + 1, f"{type(problem).__name__}: {problem}"[:500]
            if time.monotonic() > until:
                break
        poke()
    InvoiceRun.objects.filter(pk=run.pk).update(
        issued=Document.objects.filter(kind=Kind.INVOICE, first_day=run.month, edition=1).count(),
        failed=failed,
        last_error=error,
        finished_at=timezone.now() if is_over and not failed else None,
    )
    return made


def resume(*, run: InvoiceRun, by: User) -> int:
    """Take a month's invoices up again at an operator's wish, also when the run was finished; returns how many were issued.

    What does not fit into the answer of a page is issued by the task, ten minutes later. Raises Refused for a month that is
    not over, and when every family of it has its invoice.
    """
    if run.month >= running_month():
        raise Refused(_("Ce mois n’est pas fini\u00a0: ses factures partent le 1er du suivant."), code="month_not_over")
    missing = families_of(run.month).count()
    if run.finished_at and not missing:
        raise Refused(
            _(
                "Toutes les familles de ce mois ont leur facture. Une facture annulée s’édite à nouveau depuis sa propre page."
            ),
            code="nothing_missing",
        )
    InvoiceRun.objects.filter(pk=run.pk).update(
        finished_at=None,
        families=missing + Document.objects.filter(kind=Kind.INVOICE, first_day=run.month, edition=1).count(),
    )
    return issue_month(run=run, until=time.monotonic() + SECONDS_OF_A_PAGE, by=by)
