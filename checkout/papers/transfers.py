"""The note of credits that the bank has transferred: « note de remboursement », ended again when the transfer comes back."""

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone
from django.utils.translation import gettext as _

from checkout.papers.actions import cancel, issue, live
from checkout.papers.content import Content, facts, text, total
from checkout.papers.models import LONGEST_REASON, Document, Kind
from portal.common.db import annotated
from portal.common.formats import long_date, shortened
from portal.outbox.actions import queue_email
from wallet.models import Movement
from wallet.withdrawals.models import Withdrawal

# The movement by which the credits left the wallet; wallet.withdrawals.actions posts it under this key.
ASKED = Concat(Value("withdrawal:"), Cast("pk", CharField()), Value(":requested"))


def without_note() -> QuerySet[Withdrawal]:
    """Transfers that the bank has carried out and that no note tells of."""
    notes = Document.objects.filter(kind=Kind.REFUND, movement__key=OuterRef("key"))
    return annotated(Withdrawal.objects.all(), key=ASKED).filter(~Exists(notes), status=Withdrawal.Status.PAID)


def with_wrong_note() -> QuerySet[Withdrawal]:
    """Transfers that the bank has sent back and that a note still tells of."""
    notes = Document.objects.live().filter(kind=Kind.REFUND, movement__key=OuterRef("key"))
    return annotated(Withdrawal.objects.all(), key=ASKED).filter(Exists(notes), status=Withdrawal.Status.RETURNED)


@transaction.atomic
def issue_transfer_note(*, withdrawal: Withdrawal) -> Document | None:
    """The note of a transfer that the bank has carried out, issued and sent to its owner when there is none.

    None for one that it has not, or that came back.
    """
    row = Withdrawal.objects.select_for_update(of=("self",)).select_related("user").get(pk=withdrawal.pk)
    if row.status != Withdrawal.Status.PAID or row.ended_at is None:
        return None
    movement = _movement(row)
    content = Content(
        kind=Kind.REFUND,
        user=row.user,
        subject=f"movement:{movement.pk}",
        amount=row.amount,
        title=_("Note de remboursement"),
        subtitle=_("Crédits du porte-monnaie, par virement"),
        blocks=[
            facts(
                [
                    (_("Demandé le"), long_date(timezone.localdate(row.requested_at))),
                    (_("Exécuté par la banque, constaté le"), long_date(timezone.localdate(row.ended_at))),
                    (_("Titulaire du compte"), row.holder),
                    (_("Compte"), row.masked_iban),
                    (_("Référence du virement"), f"PORTE-MONNAIE-{row.pk}"),
                ]
            ),
            total(_("Somme virée"), row.amount),
            text(_("Cette somme a quitté le porte-monnaie le jour de la demande.")),
        ],
        links={"movement": movement},
    )
    if standing := live(Kind.REFUND, row.user, content.subject):
        return standing
    document = issue(content=content, by=None)
    queue_email(
        key=f"paper:{document.pk}:issued",
        to=row.user.email,
        template="paper",
        context={"user": row.user, "document": document, "title": document.data["title"]},
        attachment=f"paper:{document.pk}",
    )
    return document


def end_transfer_note(*, withdrawal: Withdrawal) -> Document | None:
    """The paper that ends the note of a transfer that came back, for the bank's reason; None when no note stands."""
    note = live(Kind.REFUND, withdrawal.user, f"movement:{_movement(withdrawal).pk}")
    return cancel(document=note, reason=shortened(withdrawal.reason, LONGEST_REASON), by=None) if note else None


def transfer_of(movement: Movement) -> Withdrawal | None:
    """The transfer by which this movement took credits out of a wallet."""
    what, _sep, rest = movement.key.partition(":")
    number, _sep, step = rest.partition(":")
    if (what, step) != ("withdrawal", "requested") or not number.isdecimal():
        return None
    return Withdrawal.objects.filter(pk=int(number)).first()


def _movement(withdrawal: Withdrawal) -> Movement:
    return Movement.objects.get(key=f"withdrawal:{withdrawal.pk}:requested")
