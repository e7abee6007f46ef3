"""Taking credits back: the family asks, the régisseur grants, the bank transfers. Each step moves the money in the ledger."""

import datetime as dt
import re
from collections.abc import Sequence
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from accounts.models import User
from families.own_family import is_of_family
from portal.common.db import refusing
from portal.common.errors import Refused, within
from portal.common.formats import euros, long_date, today
from portal.common.money import ZERO, round_cents
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.models import Movement
from wallet.transfers import Debtor, Transfer, as_banks_write, check_execution_date, sepa_file
from wallet.withdrawals.models import TransferOrder, Withdrawal

MOST_IN_A_FILE = 500
# What stands before a request's key in the bank's file.
REFERENCE = "PORTE-MONNAIE-"


def read_iban(text: str) -> str:
    """The compact IBAN of what somebody typed. Raises Refused for one that is wrong or not of the SEPA zone."""
    try:
        iban = IBAN(text.replace("-", ""), validate_bban=True)
    except SchwiftyException as error:
        raise Refused(
            _(
                "Cet IBAN n’est pas juste : recopiez-le de votre relevé d’identité bancaire (il commence par FR76 en France)."
            ),
            code="iban",
        ) from error
    if not iban.in_sepa_zone:
        raise Refused(_("Ce compte est hors de la zone SEPA : donnez l’IBAN d’un compte européen."), code="iban")
    return str(iban.compact)


def read_family_iban(text: str, *, debtor: Debtor) -> str:
    """The compact IBAN of a family's account. Raises Refused as `read_iban` does, and for the régie's own account."""
    iban = read_iban(text)
    if iban == debtor.iban:
        raise Refused(
            _(
                "C’est le compte de la régie, d’où part le virement\u00a0: donnez l’IBAN de votre propre compte. Rien n’a été demandé, vos crédits sont toujours dans votre porte-monnaie."
            ),
            code="own_account",
        )
    return iban


def read_holder(text: str) -> str:
    """The name of an account's holder, as somebody typed it. Raises Refused for none, and for one that no bank can read."""
    name = " ".join(text.split())[:70]
    if not name:
        raise Refused(_("Écrivez le nom du titulaire du compte."), code="holder")
    if not as_banks_write(name):
        raise Refused(
            _(
                "La banque ne saurait pas lire ce nom\u00a0: écrivez le titulaire du compte en lettres, comme sur votre relevé d’identité bancaire. Rien n’a été demandé."
            ),
            code="holder",
        )
    return name


@transaction.atomic
def ask_withdrawal(*, user: User, amount: Decimal, holder: str, iban: str, debtor: Debtor) -> Withdrawal:
    """Ask for `amount` euros of one's wallet by bank transfer; they leave it at once and wait on an account of the régie.

    Raises Refused for a wrong IBAN or the régie's own (`debtor`), no holder or one that no bank can read, more than the wallet holds, and while an earlier request runs.
    """
    iban, holder = read_family_iban(iban, debtor=debtor), read_holder(holder)
    if amount != round_cents(amount) or amount <= ZERO:
        raise Refused(_("Écrivez un montant en euros et centimes, par exemple 30,00."), code="amount")
    running = {
        "one_running_withdrawal": _(
            "Une demande de remboursement est déjà en cours : attendez sa réponse, ou retirez-la. Rien n’a changé."
        )
    }
    with refusing(running):
        row = Withdrawal.objects.create(user=user, amount=amount, holder=holder, iban=iban)
        _move(row, "requested", _("Remboursement demandé, vers le compte %s") % row.masked_iban, by=user)
    queue_email(
        key=f"withdrawal:{row.pk}:requested",
        to=user.email,
        template="withdrawal_requested",
        context={"user": user, "withdrawal": row},
    )
    return row


@transaction.atomic
def cancel_withdrawal(*, withdrawal: Withdrawal, by: User) -> None:
    """The owner takes the request back before it is granted; the euros are in the wallet again.

    Raises Refused once it was granted or has ended.
    """
    row = _locked(withdrawal)
    if row.user_id != by.pk or row.status != Withdrawal.Status.REQUESTED:
        raise _too_late(row)
    _end(row, Withdrawal.Status.CANCELLED)
    _move(row, "back", _("Demande de remboursement retirée"), by=by)


@transaction.atomic
def approve_withdrawal(*, withdrawal: Withdrawal, by: User) -> None:
    """Grant a request: the next transfer order carries it.

    Raises Refused for one of one's own family, and when it no longer waits.
    """
    row = _locked(withdrawal)
    _check_decider(row, by)
    if row.status != Withdrawal.Status.REQUESTED:
        raise _too_late(row)
    row.status, row.decided_at, row.decided_by = Withdrawal.Status.APPROVED, timezone.now(), by
    row.save(update_fields=["status", "decided_at", "decided_by"])
    queue_email(
        key=f"withdrawal:{row.pk}:approved",
        to=row.user.email,
        template="withdrawal_approved",
        context={"user": row.user, "withdrawal": row},
    )


@transaction.atomic
def refuse_withdrawal(*, withdrawal: Withdrawal, reason: str, by: User) -> None:
    """Refuse a request, also a granted one that no order carries yet; the euros are in the wallet again.

    Raises Refused without a reason, for a request of one's own family, and when it has left for the bank or ended.
    """
    if not reason.strip():
        raise Refused(_("Écrivez le motif du refus : la personne le lira dans son courriel."), code="reason_missing")
    row = _locked(withdrawal)
    _check_decider(row, by)
    if row.status not in {Withdrawal.Status.REQUESTED, Withdrawal.Status.APPROVED}:
        raise _too_late(row)
    row.decided_at, row.decided_by, row.reason = timezone.now(), by, within(reason, 300)
    _end(row, Withdrawal.Status.REFUSED)
    _move(row, "back", _("Demande de remboursement refusée : %s") % row.reason, by=by)
    queue_email(
        key=f"withdrawal:{row.pk}:refused",
        to=row.user.email,
        template="withdrawal_refused",
        context={"user": row.user, "withdrawal": row},
    )


@transaction.atomic
def make_transfer_order(*, debtor: Debtor, execution_date: dt.date, by: User) -> TransferOrder:
    """Put all granted requests (MOST_IN_A_FILE at most) into one file of SEPA credit transfers.

    Raises Refused when nothing waits, when the régie's own account is not known, for a date on which no bank can carry it
    out, and for a request that no bank can read, naming it.
    """
    check_execution_date(execution_date)
    waiting = Withdrawal.objects.filter(status=Withdrawal.Status.APPROVED).order_by("pk")
    rows = list(waiting.select_for_update(of=("self",)).select_related("user")[:MOST_IN_A_FILE])
    if not rows:
        raise Refused(_("Aucune demande accordée n’attend son virement."), code="empty")
    order = TransferOrder.objects.create(
        file=_file(debtor, rows, execution_date),
        total=sum((row.amount for row in rows), ZERO),
        count=len(rows),
        execution_date=execution_date,
        created_by=by,
    )
    Withdrawal.objects.filter(pk__in=[row.pk for row in rows]).update(order=order, status=Withdrawal.Status.SENT)
    return order


@transaction.atomic
def mark_paid(*, order: TransferOrder, by: User) -> Decimal:
    """The bank has carried an order out: its money has left the régie's account. Returns the euros that did.

    What it had sent back before is not among them.
    Raises Refused when it was said before, before the day for which it was asked, and for a cancelled order.
    """
    locked = _open_order(order)
    if locked.execution_date > today():
        raise Refused(
            _("La banque l’exécutera le %s\u00a0: dites-le ce jour-là, quand le relevé le montre. Rien n’a changé.")
            % long_date(locked.execution_date),
            code="too_early",
        )
    locked.paid_at, locked.paid_by = timezone.now(), by
    locked.save(update_fields=["paid_at", "paid_by"])
    rows = list(locked.withdrawals.filter(status=Withdrawal.Status.SENT).order_by("pk").select_for_update())
    total = sum((row.amount for row in rows), ZERO)
    if total:
        ledger.post(
            kind=Movement.Kind.WITHDRAWAL,
            key=f"transfers:{locked.pk}:paid",
            label=_("Virements exécutés, ordre n°\u00a0%d") % locked.pk,
            amounts={ledger.TRANSFERS: -total, ledger.BANK: total},
            by=by,
        )
    for row in rows:
        _end(row, Withdrawal.Status.PAID)
    return total


@transaction.atomic
def cancel_order(*, order: TransferOrder, reason: str, by: User) -> None:
    """Take back an order that the bank will not carry out; its requests wait for another one.

    Raises Refused without a reason, for an order that was carried out or cancelled, and when the bank has already sent a
    transfer of it back: then it has the others too.
    """
    reason = within(reason, 160)
    if not reason:
        raise Refused(_("Écrivez pourquoi cet ordre est annulé. Rien n’a changé."), code="reason_missing")
    locked = _open_order(order)
    rows = list(locked.withdrawals.order_by("pk").select_for_update())
    if any(row.status != Withdrawal.Status.SENT for row in rows):
        raise Refused(
            _("La banque a déjà rejeté un virement de cet ordre\u00a0: elle a reçu les autres aussi. Rien n’a changé."),
            code="at_the_bank",
        )
    locked.cancelled_at, locked.cancelled_by, locked.reason = timezone.now(), by, reason
    locked.save(update_fields=["cancelled_at", "cancelled_by", "reason"])
    Withdrawal.objects.filter(pk__in=[row.pk for row in rows]).update(order=None, status=Withdrawal.Status.APPROVED)


def carried(order: TransferOrder) -> QuerySet[Withdrawal]:
    """The requests that an order's file names, also those of a cancelled one, which wait again or went elsewhere."""
    if order.cancelled_at is None:
        return order.withdrawals.select_related("user").order_by("pk")
    keys = [int(key) for key in re.findall(rf"{REFERENCE}([0-9]+)<", order.file)]
    return Withdrawal.objects.filter(pk__in=keys).select_related("user").order_by("pk")


def orders_of(withdrawal: Withdrawal) -> QuerySet[TransferOrder]:
    """The orders that a request was put into, oldest first: also those that were cancelled, which only their files tell."""
    named = Q(created_at__gte=withdrawal.requested_at, file__contains=f"{REFERENCE}{withdrawal.pk}<")
    return TransferOrder.objects.filter(Q(pk=withdrawal.order_id) | named).defer("file").order_by("pk")


@transaction.atomic
def mark_returned(*, withdrawal: Withdrawal, reason: str, by: User) -> None:
    """The bank has sent a transfer back (closed account): its euros are in the wallet again and the owner is told.

    Raises Refused without a reason, for a request of one's own family, for one that no bank has, and before the day of its
    order: until then the file may still be on its way there, and what is given back could be paid as well. Such an order is
    cancelled as a whole.
    """
    if not reason.strip():
        raise Refused(_("Écrivez le motif donné par la banque : la personne le lira."), code="reason_missing")
    row = _locked(withdrawal)
    check_returnable(row, by=by)
    was_paid = row.status == Withdrawal.Status.PAID
    row.status, row.ended_at, row.reason = Withdrawal.Status.RETURNED, timezone.now(), within(reason, 300)
    _move(
        row,
        "back",
        _("Virement rejeté par la banque : %s") % row.reason,
        by=by,
        other=ledger.BANK if was_paid else ledger.TRANSFERS,
    )
    # After the movement, which tells PostgreSQL who says so.
    row.save(update_fields=["status", "ended_at", "reason"])
    queue_email(
        key=f"withdrawal:{row.pk}:returned",
        to=row.user.email,
        template="withdrawal_returned",
        context={"user": row.user, "withdrawal": row},
    )


def check_returnable(row: Withdrawal, *, by: User) -> None:
    """Raises Refused for one's own family, and when the bank cannot have sent this transfer back: it has it not, or not yet."""
    _check_decider(row, by)
    if row.status not in {Withdrawal.Status.SENT, Withdrawal.Status.PAID}:
        raise _too_late(row)
    if row.order is not None and row.order.execution_date > today():
        raise Refused(
            _(
                "Cet ordre est pour le %s : la banque n’a rien pu rejeter. Si son fichier n’est pas à la banque, annulez l’ordre. Rien n’a changé."
            )
            % long_date(row.order.execution_date),
            code="too_early",
        )


def _open_order(order: TransferOrder) -> TransferOrder:
    locked = TransferOrder.objects.select_for_update().get(pk=order.pk)
    if locked.paid_at is not None:
        raise Refused(_("Cet ordre est déjà marqué comme exécuté. Rien n’a changé."), code="paid")
    if locked.cancelled_at is not None:
        raise Refused(_("Cet ordre est annulé. Rien n’a changé."), code="cancelled")
    return locked


def _locked(withdrawal: Withdrawal) -> Withdrawal:
    rows = Withdrawal.objects.select_related("user", "order").defer("order__file")
    return rows.select_for_update(of=("self",)).get(pk=withdrawal.pk)


def _check_decider(row: Withdrawal, by: User) -> None:
    if own := own_request(row, by):
        raise own


def own_request(row: Withdrawal, by: User) -> Refused | None:
    """What an agent is told of a request of theirs or of their family, which another decides; None for all others."""
    if row.user_id == by.pk:
        return Refused(
            _("C’est votre propre demande\u00a0: un autre agent de l’agglomération la décide."), code="own_request"
        )
    if is_of_family(row.user, by):
        return Refused(
            _("C’est une demande de votre propre famille\u00a0: un autre agent de l’agglomération la décide."),
            code="own_family",
        )
    return None


def _too_late(row: Withdrawal) -> Refused:
    return Refused(
        _("Cette demande est maintenant « %s » : rien n’a été changé.") % row.get_status_display().lower(),
        code="too_late",
    )


def _end(row: Withdrawal, status: Withdrawal.Status) -> None:
    row.status, row.ended_at = status, timezone.now()
    row.save(update_fields=["status", "ended_at", "decided_at", "decided_by", "reason"])


def _move(row: Withdrawal, step: str, label: str, *, by: User, other: str = ledger.TRANSFERS) -> None:
    """Out of the wallet when it is asked for, back into it at the end; `other` is the account on the other side."""
    amount = -row.amount if step == "requested" else row.amount
    ledger.wallet_of(row.user)
    ledger.post(
        kind=Movement.Kind.WITHDRAWAL,
        key=f"withdrawal:{row.pk}:{step}",
        label=label,
        amounts={ledger.wallet_code(row.user): amount, other: -amount},
        by=by,
    )


def _file(debtor: Debtor, rows: Sequence[Withdrawal], execution_date: dt.date) -> str:
    transfers = [
        Transfer(
            asked_by=str(row.user),
            holder=row.holder,
            iban=row.iban,
            amount=row.amount,
            words=_("Remboursement porte-monnaie %s") % euros(row.amount).replace("\u00a0", " "),
            reference=f"{REFERENCE}{row.pk}",
        )
        for row in rows
    ]
    return sepa_file(debtor, transfers, execution_date)
