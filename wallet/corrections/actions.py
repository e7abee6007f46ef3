"""Proposing a manual movement, and deciding on somebody else's proposal."""

import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from portal.common.db import refusing
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from portal.common.money import ZERO
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.corrections.models import Correction
from wallet.models import Entry, Movement, Wallet

# What follows an order, a payment or a statement is taken back by their own actions.
REVERSIBLE = {Movement.Kind.ADJUSTMENT, Movement.Kind.EXPIRY}


@transaction.atomic
def propose(*, user: User, amount: Decimal, reason: str, by: User) -> Correction:
    """Propose to credit (or debit, below zero) somebody's wallet, in euros, with a reason that its owner will read.

    Raises Refused without a reason or an amount, and unless `by` works for the agglomération.
    """
    reason = _checked(reason, by)
    if not amount:
        raise Refused(_("Écrivez un montant différent de zéro. Rien n’a été proposé."), code="amount_missing")
    wallet = ledger.wallet_of(user)
    return Correction.objects.create(
        kind=Correction.Kind.WALLET, wallet=wallet, amount=amount, reason=reason, proposed_by=by
    )


@transaction.atomic
def propose_reversal(*, movement: Movement, reason: str, by: User) -> Correction:
    """Propose to undo a manual movement by its mirror image.

    Raises Refused for a movement of an order or a payment, one that was reversed, and one whose reversal is proposed.
    """
    reason = _checked(reason, by)
    if movement.kind not in REVERSIBLE:
        raise Refused(
            _(
                "Ce mouvement suit une commande ou un règlement\u00a0: c’est elle ou lui qui s’annule. Rien n’a été proposé."
            ),
            code="not_reversible",
        )
    if Movement.objects.filter(reverses=movement).exists():
        raise Refused(_("Ce mouvement a déjà été contre-passé. Rien n’a été changé."), code="already_reversed")
    with refusing(
        {"reversal_proposed_once": _("La contre-passation de ce mouvement est déjà proposée. Rien n’a été changé.")}
    ):
        return Correction.objects.create(
            kind=Correction.Kind.REVERSAL, reverses=movement, reason=reason, proposed_by=by
        )


def last_year_kept(date: dt.date | None = None) -> int:
    """The year in or before which a wallet's last movement lies when its credits are prescribed.

    Four full years, counted from the 1st of January after the year in which the claim arose (law 68-1250 of
    31 December 1968, article 1): credits last moved in 2021 are prescribed from 1 January 2026.
    """
    return (date or today()).year - 5


def dormant() -> QuerySet[Wallet]:
    """The wallets whose credits are prescribed and not proposed yet."""
    start = dt.datetime(last_year_kept() + 1, 1, 1, tzinfo=PARIS)
    moved = Entry.objects.filter(account=OuterRef("account"), movement__at__gte=start)
    proposed = Correction.objects.filter(wallet=OuterRef("pk"), kind="expiry", status="proposed")
    return Wallet.objects.filter(~Exists(moved), ~Exists(proposed), balance__gt=0)


@transaction.atomic
def propose_expiry(*, wallets: Collection[int], by: User) -> list[Correction]:
    """Propose that the credits of dormant wallets (by key) go to the régie; what has moved meanwhile is left out.

    Raises Refused when none of them is dormant.
    """
    _checked("–", by)
    rows = list(dormant().filter(pk__in=wallets).order_by("pk"))
    if not rows:
        raise Refused(_("Aucun de ces porte-monnaie n’est prescrit. Rien n’a été proposé."), code="not_dormant")
    reason = _("Crédits sans mouvement depuis quatre années pleines (loi du 31 décembre 1968)")
    return [
        Correction.objects.create(
            kind=Correction.Kind.EXPIRY, wallet=row, amount=-row.balance, reason=reason, proposed_by=by
        )
        for row in rows
    ]


@transaction.atomic
def approve(*, correction: Correction, by: User) -> Movement:
    """Post a proposal; the wallet's owner is written to. Returns the movement.

    Raises Refused to whoever proposed it, when it is decided, when the wallet holds too little, and when credits that
    were to be prescribed have moved.
    """
    row = _to_decide(correction, by)
    amounts, kind = (
        _amounts(row),
        Movement.Kind.EXPIRY if row.kind == Correction.Kind.EXPIRY else Movement.Kind.ADJUSTMENT,
    )
    _decide(row, Correction.Status.APPROVED, by)
    movement = Movement.objects.get(
        pk=ledger.post(kind=kind, key=row.key, label=row.reason, amounts=amounts, by=by, reverses=row.reverses)
    )
    for wallet in Wallet.objects.filter(account__code__in=amounts).select_related("user"):
        queue_email(
            key=f"{row.key}:{wallet.pk}",
            to=wallet.user.email,
            template="wallet_corrected",
            context={
                "user": wallet.user,
                "amount": abs(amounts[ledger.wallet_code(wallet.user)]),
                "credited": amounts[ledger.wallet_code(wallet.user)] > 0,
                "reason": row.reason,
                "balance": wallet.balance,
            },
        )
    return movement


@transaction.atomic
def refuse(*, correction: Correction, note: str, by: User) -> None:
    """Turn a proposal down, with a reason for whoever proposed it. They may also take their own back.

    Raises Refused without a reason and when it is decided.
    """
    if not note.strip():
        raise Refused(_("Écrivez pourquoi. Rien n’a été changé."), code="reason_missing")
    row = _to_decide(correction, by)
    _decide(row, Correction.Status.REFUSED, by, note=note.strip()[:160])


def _to_decide(correction: Correction, by: User) -> Correction:
    row = Correction.objects.select_for_update(of=("self",)).select_related("wallet", "reverses").get(pk=correction.pk)
    if row.status != Correction.Status.PROPOSED:
        raise Refused(_("Cette régularisation est déjà décidée. Rien n’a été changé."), code="already_decided")
    if row.proposed_by_id == by.pk:
        raise Refused(
            _("Vous l’avez proposée\u00a0: une autre personne de l’agglomération en décide. Rien n’a été changé."),
            code="same_person",
        )
    if not by.is_operator:
        raise Refused(_("Seule l’agglomération en décide. Rien n’a été changé."), code="out_of_scope")
    return row


def _decide(row: Correction, status: Correction.Status, by: User, *, note: str = "") -> None:
    Correction.objects.filter(pk=row.pk).update(status=status, decided_by=by, decided_at=timezone.now(), note=note)


def _amounts(row: Correction) -> Mapping[str, Decimal]:
    if row.reverses is not None:
        if Movement.objects.filter(reverses=row.reverses).exists():
            raise Refused(_("Ce mouvement a déjà été contre-passé. Rien n’a été changé."), code="already_reversed")
        found: dict[str, Decimal] = {}
        for code, amount in Entry.objects.filter(movement=row.reverses).values_list("account__code", "amount"):
            found[code] = found.get(code, ZERO) - amount
        return found
    assert row.wallet is not None  # correction_says_what_moves
    assert row.amount is not None
    if row.kind == Correction.Kind.EXPIRY:
        wallet = Wallet.objects.select_for_update(no_key=True).get(pk=row.wallet.pk)
        start = dt.datetime(last_year_kept() + 1, 1, 1, tzinfo=PARIS)
        if (
            wallet.balance != -row.amount
            or Entry.objects.filter(account=wallet.account_id, movement__at__gte=start).exists()
        ):
            raise Refused(
                _("Ce porte-monnaie a servi depuis\u00a0: ses crédits ne sont plus prescrits. Refusez la proposition."),
                code="not_dormant",
            )
    against = ledger.EXPIRED if row.kind == Correction.Kind.EXPIRY else ledger.ADJUSTMENT
    return {ledger.wallet_code(row.wallet.user_id): row.amount, against: -row.amount}


def _checked(reason: str, by: User) -> str:
    if not by.is_operator:
        raise Refused(
            _("Seule l’agglomération régularise un porte-monnaie. Rien n’a été proposé."), code="out_of_scope"
        )
    if not reason.strip():
        raise Refused(_("Écrivez le motif\u00a0: la personne le lira dans ses mouvements."), code="reason_missing")
    return reason.strip()[:160]
