"""Proposing a manual movement, and deciding on somebody else's proposal."""

import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, QuerySet, prefetch_related_objects
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from families.own_family import family_of, is_of_family
from portal.common.db import one_at_a_time, refusing
from portal.common.errors import Refused, within
from portal.common.formats import PARIS, euros, today
from portal.common.money import ZERO, round_cents
from portal.outbox.actions import queue_email
from wallet import actions as ledger
from wallet.corrections.models import OUTSIDE, Correction
from wallet.models import Account, Entry, Movement, Wallet

# What follows an order, a payment or a statement is taken back by their own actions.
REVERSIBLE = {Movement.Kind.ADJUSTMENT, Movement.Kind.EXPIRY, Movement.Kind.TILL_DEPOSIT}


@transaction.atomic
def propose(*, user: User, amount: Decimal, reason: str, by: User, reference: UUID | None = None) -> Correction:
    """Propose to credit (or debit, below zero) somebody's wallet, in euros, with a reason that its owner will read.

    `reference` is that of the page that asks: sent twice, the second call returns the first's proposal, or is refused
    when it asks for something else. Raises Refused without a reason or an amount, for more than the wallet holds, for a
    credit of a wallet of one's own family, and unless `by` works for the agglomération.
    """
    reference = reference or uuid4()
    if not Correction.objects.filter(reference=reference).exists():
        reason = check(user=user, amount=amount, reason=reason, by=by)
    return _proposed_once(
        reference, kind=Correction.Kind.WALLET, wallet=ledger.wallet_of(user), amount=amount, reason=reason, by=by
    )


@transaction.atomic
def propose_for_account(
    *, account: Account, amount: Decimal, reason: str, by: User, reference: UUID | None = None
) -> Correction:
    """Propose to write that a provider or the bank holds `amount` euros more for the régie (less, below zero) than we say.

    Of the fees: that providers have kept so much more. A contested card, a cheque without provision, a line of the bank's
    that no file explains; a fee that a file gave wrongly is corrected there and, the other way, on the bank's account. What a family owes for it is
    proposed for its wallet, by itself. `reference` as for `propose`. Raises Refused for another sort of account (OUTSIDE),
    without a reason or an amount, while another of the same amount waits, and unless `by` works for the agglomération.
    """
    if account.kind not in OUTSIDE:
        raise Refused(
            _("Ce compte suit les commandes et les relevés\u00a0: il ne se régularise pas. Rien n’a été proposé."),
            code="not_outside",
        )
    if not amount or amount != round_cents(amount):
        raise Refused(_("Écrivez un montant différent de zéro. Rien n’a été proposé."), code="amount_missing")
    reason = _checked(reason, by)
    said = _(
        "Une régularisation de ce compte, du même montant, attend déjà d’être décidée. Si c’est une autre opération, proposez-la ensuite. Rien de plus n’a été proposé."
    )
    with refusing({"account_correction_proposed_once": said}):
        return _proposed_once(
            reference or uuid4(), kind=Correction.Kind.ACCOUNT, account=account, amount=amount, reason=reason, by=by
        )


def _proposed_once(
    reference: UUID, *, kind: str, amount: Decimal, reason: str, by: User, **of: Wallet | Account
) -> Correction:
    """The proposal of a page, whose button may be pressed twice; refused when it asks for something else than before."""
    asked = {"kind": kind, "amount": amount, "reason": reason, "proposed_by": by, **of}
    # Of two presses at once the second waits for the first at the constraint, and finds its proposal.
    made, _is_new = Correction.objects.get_or_create(reference=reference, defaults=asked)
    if any(getattr(made, name) != value for name, value in asked.items()):
        raise Refused(
            _(
                "Cette page a déjà fait une autre proposition. Ouvrez-la de nouveau\u00a0: rien de plus n’a été proposé."
            ),
            code="sent",
        )
    return made


def check(*, user: User, amount: Decimal, reason: str, by: User) -> str:
    """What `propose` would refuse, said before anything is written. Returns the reason as it will be kept."""
    reason = _checked(reason, by)
    if not amount:
        raise Refused(_("Écrivez un montant différent de zéro. Rien n’a été proposé."), code="amount_missing")
    if amount > 0 and is_of_family(user, by):
        raise _own(themselves=user.pk == by.pk)
    balance = balance_of(user)
    if balance + amount < 0:
        raise _too_little(balance, _("Rien n’a été proposé."))
    return reason


def balance_of(user: User) -> Decimal:
    """What somebody's wallet holds, in euros; nothing before it is first needed."""
    return Wallet.objects.filter(user=user).values_list("balance", flat=True).first() or ZERO


@transaction.atomic
def propose_reversal(*, movement: Movement, reason: str, by: User) -> Correction:
    """Propose to undo a manual movement by its mirror image.

    Raises Refused without a reason, and whatever `check_reversal` refuses.
    """
    reason = _checked(reason, by)
    check_reversal(movement=movement, by=by)
    with refusing({"reversal_proposed_once": _already_proposed()}):
        return Correction.objects.create(
            kind=Correction.Kind.REVERSAL, reverses=movement, reason=reason, proposed_by=by
        )


def check_reversal(*, movement: Movement, by: User) -> None:
    """What `propose_reversal` would refuse of a movement, said before a reason is typed.

    Raises Refused for a movement of an order or a payment, one that was reversed, one whose reversal is proposed, and
    one whose reversal would credit a wallet of one's own family.
    """
    if movement.kind not in REVERSIBLE:
        raise Refused(
            _(
                "Ce mouvement suit une commande ou un règlement\u00a0: c’est elle ou lui qui s’annule. Rien n’a été proposé."
            ),
            code="not_reversible",
        )
    if Movement.objects.filter(reverses=movement).exists():
        raise Refused(_("Ce mouvement a déjà été contre-passé. Rien n’a été changé."), code="already_reversed")
    of_a_till = Entry.objects.filter(movement=movement, account__kind=Account.Kind.TILL)
    if movement.kind != Movement.Kind.TILL_DEPOSIT and of_a_till.exists():
        raise Refused(
            _("Une correction de caisse se reprend en comptant de nouveau la caisse. Rien n’a été proposé."),
            code="not_reversible",
        )
    _check_not_own(movement, by)
    if Correction.objects.filter(reverses=movement, status=Correction.Status.PROPOSED).exists():
        raise Refused(_already_proposed(), code="reversal_proposed_once")


def entries_behind(path: str = "") -> "Prefetch[Any]":
    """What `mirrored` reads, for lists of many; `path` leads to the movement (`reverses__`)."""
    rows = Entry.objects.select_related("account__commune", "account__wallet__user").order_by("pk")
    return Prefetch(f"{path}entries", rows)


def mirrored(movement: Movement) -> dict[Account, Decimal]:
    """What the reversal of a movement writes: the other way round what it wrote, account by account, in euros."""
    prefetch_related_objects([movement], entries_behind())
    found: dict[Account, Decimal] = {}
    for entry in movement.entries.all():
        found[entry.account] = found.get(entry.account, ZERO) - entry.amount
    return found


def to_write(correction: Correction) -> list[tuple[Account, Decimal]]:
    """What approving a proposal about an account outside, or a reversal, writes: account by account, in euros."""
    if correction.reverses is not None:
        return list(mirrored(correction.reverses).items())
    if correction.account is None or correction.amount is None:
        return []
    against = Account(kind=Account.Kind.ADJUSTMENT, code=ledger.ADJUSTMENT)
    return [(correction.account, -correction.amount), (against, correction.amount)]


def wallet_moved(correction: Correction) -> tuple[Wallet | None, Decimal | None]:
    """The wallet that a proposal moves, with the amount (below zero: taken out); of a reversal, that of its movement.

    Without a wallet the amount is what goes from one account to another.
    """
    if correction.reverses is None:
        return correction.wallet, correction.amount
    amounts = mirrored(correction.reverses)
    for account, amount in amounts.items():
        if account.kind == Account.Kind.WALLET:
            return account.wallet, amount
    return None, sum((amount for amount in amounts.values() if amount > 0), ZERO)


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
def propose_till(*, means: str, counted: Decimal, booked: Decimal, reason: str, by: User) -> Correction:
    """Propose to bring a till (`cash`, `cheque`, `cesu`) to the euros that were counted in it.

    A wrong sum was typed, or some is missing. `booked` is what the page said the till should hold: what was taken in since
    lies in it and was not counted, so that another sum is refused. A family's wallet that a wrong receipt has credited is corrected by itself. Raises Refused without a reason, for less
    than nothing, when the count agrees, and while a correction of this till waits.
    """
    reason = _checked(reason, by)
    if counted < 0 or counted != round_cents(counted):
        raise Refused(_("Écrivez ce que contient la caisse, zéro ou plus. Rien n’a été proposé."), code="amount")
    till = Account.objects.get_or_create(code=ledger.till_code(means), defaults={"kind": Account.Kind.TILL})[0]
    one_at_a_time(till.code)
    if -till.balance() != booked:
        raise Refused(
            _(
                "La caisse contient maintenant %s d’après les comptes\u00a0: comptez-la de nouveau. Rien n’a été proposé."
            )
            % euros(-till.balance()),
            code="till_has_moved",
        )
    difference = counted - booked
    if not difference:
        raise Refused(_("Le compte y est\u00a0: il n’y a rien à corriger. Rien n’a été proposé."), code="no_difference")
    said = _("Une correction de cette caisse attend déjà d’être décidée. Rien de plus n’a été proposé.")
    with refusing({"till_correction_proposed_once": said}):
        return Correction.objects.create(
            kind=Correction.Kind.TILL,
            account=till,
            amount=difference,
            counted=counted,
            reason=reason,
            proposed_by=by,
        )


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

    Raises Refused to whoever proposed it or is of the family that it credits, when it is decided, when the wallet holds too little, and when
    credits that were to be prescribed have moved.
    """
    row = _to_decide(correction, by)
    if row.account is not None and row.kind == Correction.Kind.TILL:
        _check_till(row.account, row.amount or ZERO)
    if row.wallet and (row.amount or ZERO) > 0 and is_of_family(row.wallet.user, by):
        raise _own(themselves=row.wallet.user_id == by.pk)
    if row.reverses is not None:
        _check_not_own(row.reverses, by)
    amounts = _amounts(row)
    kind = Movement.Kind.EXPIRY if row.kind == Correction.Kind.EXPIRY else Movement.Kind.ADJUSTMENT
    _decide(row, Correction.Status.APPROVED, by)
    try:
        written = ledger.post(kind=kind, key=row.key, label=row.reason, amounts=amounts, by=by, reverses=row.reverses)
    except Refused as refusal:
        if refusal.code != "wallet_is_not_overdrawn":
            raise
        raise _too_little(
            balance_of(row.wallet.user) if row.wallet else None, _("Refusez la proposition\u00a0: rien n’a bougé.")
        ) from refusal
    movement = Movement.objects.get(pk=written)
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
    """Turn somebody else's proposal down, with a reason for whoever made it.

    Raises Refused without a reason, to whoever proposed it (`withdraw` is for them), and when it is decided.
    """
    if not note.strip():
        raise Refused(_("Écrivez pourquoi. Rien n’a été changé."), code="reason_missing")
    row = _to_decide(correction, by)
    _decide(row, Correction.Status.REFUSED, by, note=within(note, 160))


@transaction.atomic
def withdraw(*, correction: Correction, by: User) -> None:
    """Take one's own proposal back: a wrong family, a wrong amount. It stays readable, and says who and when.

    Raises Refused to anybody else, and when it is decided.
    """
    row = _locked(correction)
    if row.proposed_by_id != by.pk:
        raise Refused(
            _("Une autre personne l’a proposée\u00a0: vous pouvez la refuser. Rien n’a été changé."), code="not_yours"
        )
    _decide(row, Correction.Status.WITHDRAWN, by)


def _locked(correction: Correction) -> Correction:
    rows = Correction.objects.select_for_update(of=("self",)).select_related("wallet__user", "reverses", "account")
    row = rows.get(pk=correction.pk)
    if row.status == Correction.Status.WITHDRAWN:
        raise Refused(_("Cette régularisation a été retirée. Rien n’a été changé."), code="already_decided")
    if row.status != Correction.Status.PROPOSED:
        raise Refused(_("Cette régularisation est déjà décidée. Rien n’a été changé."), code="already_decided")
    return row


def _check_till(till: Account, difference: Decimal) -> None:
    """Nothing is taken out of a till that is not there: some of it went to the bank since it was counted."""
    one_at_a_time(till.code)
    if difference < till.balance():  # what lies in a till stands below zero in the ledger
        raise Refused(
            _(
                "La caisse ne contient plus autant\u00a0: comptez-la de nouveau, et refusez cette proposition. Rien n’a bougé."
            ),
            code="till_is_short",
        )


def _check_not_own(movement: Movement, by: User) -> None:
    """Raises Refused for a movement that took from a wallet of one's own family what its reversal would give back."""
    taken = Entry.objects.filter(movement=movement, amount__lt=0, account__wallet__user__in=family_of(by))
    owners = set(taken.values_list("account__wallet__user", flat=True))
    if owners:
        raise _own(themselves=by.pk in owners)


def _already_proposed() -> str:
    return _("La contre-passation de ce mouvement est déjà proposée. Rien n’a été changé.")


def _own(*, themselves: bool) -> Refused:
    """What is said to whose wallet it is; otherwise to whose family's."""
    if themselves:
        return Refused(
            _(
                "C’est votre propre porte-monnaie\u00a0: une autre personne de l’agglomération s’en charge. Rien n’a été changé."
            ),
            code="own_wallet",
        )
    return Refused(
        _(
            "C’est un porte-monnaie de votre propre famille\u00a0: une autre personne de l’agglomération s’en charge. Rien n’a été changé."
        ),
        code="own_family",
    )


def _too_little(balance: Decimal | None, ending: str) -> Refused:
    if balance is None:
        said = _("Le porte-monnaie ne contient plus assez.")
    else:
        said = _("Ce porte-monnaie contient %s\u00a0: on ne peut pas en retirer plus.") % euros(balance)
    return Refused(f"{said} {ending}", code="wallet_is_not_overdrawn")


def _to_decide(correction: Correction, by: User) -> Correction:
    row = _locked(correction)
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
    if row.account is not None:
        assert row.amount is not None  # correction_says_what_moves
        return {row.account.code: -row.amount, ledger.ADJUSTMENT: row.amount}
    if row.reverses is not None:
        if Movement.objects.filter(reverses=row.reverses).exists():
            raise Refused(_("Ce mouvement a déjà été contre-passé. Rien n’a été changé."), code="already_reversed")
        return {account.code: amount for account, amount in mirrored(row.reverses).items()}
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
        raise Refused(_("Écrivez le motif. Rien n’a été proposé."), code="reason_missing")
    return within(reason, 160)
