"""The « quotient familial »: declared by the family with its proof, validated by staff who may reach the account.

Source: the CAF's and the MSA's attestation; régies ask for it once for each school year, and charge the top band without.
"""

import datetime as dt

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateRange
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.documents import add_document, delete_document
from accounts.models import SupportingDocument, User
from families.models import IncomeQuotient
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.actions import queue_email
from services.school_calendar import school_year


def declare_quotient(*, user: User, value: int, proof: UploadedFile, by: User) -> IncomeQuotient:
    """Keep a declaration (euros) with its proof until staff validate it: from today to the end of the school year.

    Raises Refused when one is waiting already, and when the proof is not a file that can be kept.
    """
    sentence = _("Une déclaration attend déjà d’être vérifiée : annulez-la d’abord pour en envoyer une autre.")
    with refusing({"one_quotient_to_verify": sentence}):
        if IncomeQuotient.objects.of(user).filter(status=IncomeQuotient.Status.PENDING).exists():
            raise Refused(sentence, code="one_quotient_to_verify")
        document = add_document(user=user, kind=SupportingDocument.Kind.INCOME, upload=proof, by=by)
        return IncomeQuotient.objects.create(
            user=user,
            value=value,
            valid=DateRange(today(), school_year(today())[1].replace(month=9, day=1)),
            document=document,
        )


@transaction.atomic
def withdraw_quotient(*, user: User, by: User) -> None:
    """Take back one's own declaration that nobody has looked at; its proof stays among the person's documents."""
    IncomeQuotient.objects.of(user).filter(status=IncomeQuotient.Status.PENDING).delete()


def forget_proofs(*, at: dt.datetime, limit: int = 500) -> int:
    """Delete the proofs of quotients that staff decided settings.PROOFS_KEPT_DAYS ago; returns how many.

    The decision stays, signed and dated; what a person keeps among their documents without a quotient is theirs to remove.
    """
    before = at - dt.timedelta(days=settings.PROOFS_KEPT_DAYS)
    decided = IncomeQuotient.objects.filter(decided_at__lt=before, document__isnull=False)
    needed = IncomeQuotient.objects.filter(Q(decided_at=None) | Q(decided_at__gte=before), document__isnull=False)
    old = SupportingDocument.objects.filter(pk__in=decided.values("document")).exclude(pk__in=needed.values("document"))
    rows = list(old.order_by("pk")[:limit])
    for document in rows:
        delete_document(document=document, by=None)
    return len(rows)


def obstacle(quotient: IncomeQuotient, *, by: User) -> Refused | None:
    """Why this member of staff may not decide, whatever the declaration's state; None when they may."""
    if quotient.user_id == by.pk:
        return Refused(
            _("Vous ne pouvez pas décider de votre propre quotient familial : demandez-le à un collègue."), code="own"
        )
    if not IncomeQuotient.objects.visible_to(by).filter(pk=quotient.pk).exists():
        return Refused(_("Cette famille ne dépend pas de votre commune."), code="out_of_scope")
    return None


@transaction.atomic
def validate_quotient(*, quotient: IncomeQuotient, by: User) -> IncomeQuotient:
    """Make a declaration count, from its first day on; the one in force until then ends the day before.

    Raises Refused when it was decided before, or is not this person's to decide.
    """
    current = _to_decide(quotient, by)
    if current.status != IncomeQuotient.Status.PENDING:
        raise Refused(_("Cette déclaration a déjà reçu une réponse. Rien n’a été changé."), code="already_decided")
    first = current.valid.lower
    others = IncomeQuotient.objects.of(current.user).filter(status=IncomeQuotient.Status.VALIDATED)
    for row in others.filter(valid__overlap=current.valid).select_for_update():
        if row.valid.lower >= first:
            _close(row, by, _("Remplacé par une déclaration plus récente."))
        else:
            row.valid = DateRange(row.valid.lower, first)
            row.save(update_fields=["valid"])
    return _decide(current, status=IncomeQuotient.Status.VALIDATED, reason="", by=by)


@transaction.atomic
def refuse_quotient(*, quotient: IncomeQuotient, reason: str, by: User) -> IncomeQuotient:
    """Refuse a declaration, or withdraw one that was validated by mistake, with a reason that the family reads."""
    reason = reason.strip()
    if not reason:
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    current = _to_decide(quotient, by)
    if current.status == IncomeQuotient.Status.REFUSED:
        raise Refused(_("Cette déclaration est déjà refusée."), code="already_decided")
    return _decide(current, status=IncomeQuotient.Status.REFUSED, reason=reason, by=by)


def _to_decide(quotient: IncomeQuotient, by: User) -> IncomeQuotient:
    current = IncomeQuotient.objects.select_for_update(of=("self",)).select_related("user").get(pk=quotient.pk)
    if found := obstacle(current, by=by):
        raise found
    return current


def _close(row: IncomeQuotient, by: User, reason: str) -> None:
    row.status, row.reason, row.decided_at, row.decided_by = IncomeQuotient.Status.REFUSED, reason, timezone.now(), by
    row.save(update_fields=["status", "reason", "decided_at", "decided_by"])


def _decide(row: IncomeQuotient, *, status: IncomeQuotient.Status, reason: str, by: User) -> IncomeQuotient:
    row.status, row.reason, row.decided_at, row.decided_by = status, reason, timezone.now(), by
    row.save(update_fields=["status", "reason", "decided_at", "decided_by"])
    queue_email(
        key=f"quotient:{row.pk}:{status}",
        to=row.user.email,
        template=f"quotient_{status}",
        context={"user": row.user, "quotient": row, "reason": reason},
    )
    return row
