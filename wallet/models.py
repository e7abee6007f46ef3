"""The régie's double-entry ledger and the families' prepaid wallets.

An entry's amount is in euros; positive credits the account, negative debits it, and every movement sums to zero.
PostgreSQL guards it: entries and movements refuse UPDATE, DELETE and TRUNCATE, entries come in the transaction of their
movement, a deferred trigger refuses a movement that does not balance, and a wallet's stored balance moves only with its
entries.
"""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import Case, OuterRef, Q, Subquery, Sum, When
from django.db.models.functions import Coalesce, Floor, TruncMonth
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from portal.common.db import annotated, not_truncated
from portal.common.formats import PARIS, euros
from portal.common.money import ZERO, MoneyField

if TYPE_CHECKING:
    from accounts.models import User


class AccountQuerySet(models.QuerySet["Account"]):
    def with_totals(self) -> Self:
        """Each with its balance in euros as `total`: its wallet's, or its checkpoint and what came after it."""
        newer = Entry.objects.filter(account=OuterRef("pk"), pk__gt=Coalesce(OuterRef("checkpoint__upto"), 0))
        sums = newer.order_by().values("account").annotate(sum=Sum("amount")).values("sum")
        since = Case(When(kind=Account.Kind.WALLET, then=None), default=Subquery(sums))
        total = Coalesce("wallet__balance", Coalesce("checkpoint__balance", ZERO) + Coalesce(since, ZERO))
        return annotated(self, total=total)

    def wallets_total(self) -> Decimal:
        """What all the wallets hold together, in euros."""
        total: Decimal = Wallet.objects.aggregate(total=Sum("balance"))["total"] or ZERO
        return total


class Account(models.Model):
    """A ledger account. Only a wallet's balance is stored; every other account is summed, so that no row is hot."""

    class Kind(models.TextChoices):
        WALLET = "wallet", _("Porte-monnaie d’un usager")
        RESERVED = "reserved", _("Porte-monnaie, parts réservées")
        CLEARING = "clearing", _("Encaissements à recevoir")
        REVENUE = "revenue", _("Recettes dues à une commune")
        FEES = "fees", _("Frais")
        VOUCHER = "voucher", _("Remises à la charge d’une commune")
        REFUNDING = "refunding", _("Remboursements par carte en cours")
        TRANSFERS = "transfers", _("Virements à émettre aux usagers")
        REMITTING = "remitting", _("Reversements à virer aux communes")
        TILL = "till", _("Caisse du guichet")
        BANK = "bank", _("Compte de dépôt de fonds de la régie")
        BANK_FEES = "bank_fees", _("Commissions bancaires")
        EXPIRED = "expired", _("Crédits prescrits")
        ADJUSTMENT = "adjustment", _("Régularisations")

    kind = models.CharField(_("nature"), max_length=12, choices=Kind)
    code = models.CharField(_("code"), max_length=60, unique=True)
    commune = models.ForeignKey(
        Commune, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("commune")
    )

    total: Decimal  # read by with_totals

    objects = AccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("compte")
        verbose_name_plural = _("comptes")
        ordering = ["code"]
        # Entries are found by the code of their account: under another name a commune's share would be lost to it.
        triggers = [pgtrigger.ReadOnly(name="account_is_frozen", fields=["code", "kind", "commune"])]

    def __str__(self) -> str:
        return self.code

    def balance(self) -> Decimal:
        """The sum of the account's entries, in euros."""
        total: Decimal = Account.objects.with_totals().get(pk=self.pk).total
        return total


class WalletQuerySet(models.QuerySet["Wallet"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(user__in=type(user).objects.visible_to(user))

    def with_months(self, *, since: dt.date) -> Self:
        """Each with the months from then on in which something moved in it (`moved_in`); in the same statement."""
        entries = Entry.objects.filter(account=OuterRef("account")).between(since, None).order_by()
        months = entries.values_list(TruncMonth("movement__at", tzinfo=PARIS)).distinct()
        return annotated(self, moved_in=ArraySubquery(months))


class Wallet(models.Model):
    """A family's prepaid money (« porte-monnaie »), a liability of the régie."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="wallet", verbose_name=_("usager")
    )
    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="wallet", verbose_name=_("compte"))
    balance = MoneyField(_("solde"), default=ZERO, editable=False)

    moved_in: Sequence[dt.datetime] = ()  # read by with_months: when they begin, as clocks in Paris say

    objects = WalletQuerySet.as_manager()

    class Meta:
        verbose_name = _("porte-monnaie")
        verbose_name_plural = _("porte-monnaie")
        constraints = [models.CheckConstraint(condition=Q(balance__gte=0), name="wallet_is_not_overdrawn")]
        triggers = [
            # The balance follows the entries (trigger `move_balance`), which run it one trigger deeper.
            pgtrigger.Trigger(
                name="balance_follows_entries",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("balance"),
                condition=pgtrigger.Condition("OLD.balance IS DISTINCT FROM NEW.balance AND pg_trigger_depth() = 0"),
                func="RAISE EXCEPTION 'wallet_wallet.balance moves only with its entries';",
            ),
            pgtrigger.Trigger(
                name="wallet_starts_empty",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NEW.balance <> 0 OR EXISTS (SELECT 1 FROM wallet_entry WHERE account_id = NEW.account_id) THEN
                        RAISE EXCEPTION 'a wallet starts empty: post a movement';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.ReadOnly(name="wallet_is_frozen", fields=["user", "account"]),
            pgtrigger.Trigger(
                name="used_wallet_is_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                func="""
                    IF EXISTS (SELECT 1 FROM wallet_entry WHERE account_id = OLD.account_id) THEN
                        RAISE EXCEPTION 'wallet_wallet %: a wallet that has entries is kept', OLD.id;
                    END IF;
                    RETURN OLD;
                """,
            ),
            not_truncated("wallets_are_kept"),
        ]

    def __str__(self) -> str:
        return str(self.user)


# Whoever posts holds this key with the others until the commit; who has it alone (a closing, a checkpoint) reads a ledger
# to which nothing is being added. The lock comes with the row: posting pays no statement for it.
POSTING_LOCK = (43, 1)

OUTSIDE_CLOSED_DAYS = """
    PERFORM pg_advisory_xact_lock_shared(43, 1);
    IF EXISTS (SELECT 1 FROM wallet_closing WHERE last_day >= (NEW.at AT TIME ZONE 'Europe/Paris')::date) THEN
        RAISE EXCEPTION 'wallet_movement: % is closed', (NEW.at AT TIME ZONE 'Europe/Paris')::date
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""

# How the keys begin of the movements of corrections: the correction's number follows.
CORRECTION = "correction:"
# How the keys begin of balances that are loaded by one alone: wallet.actions.adjust, in the demonstration and its tests. The
# nightly check believes them nowhere else.
LOADED = "loaded:"

LONGEST_LABEL = 160

# A manual movement is somebody's proposal that somebody else approved: one that bears a correction's key is compared with it
# (MOVES_WHAT_WAS_AGREED). Balances that are loaded say so twice: by their key, and for the one INSERT.
CORRECTED_BY_TWO = f"""
    IF NOT starts_with(NEW.key, '{CORRECTION}')
        AND NOT (starts_with(NEW.key, '{LOADED}') AND current_setting('wallet.loading', true) IS NOT DISTINCT FROM 'on')
    THEN
        RAISE EXCEPTION 'wallet_movement: % is no approved correction', NEW.key
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""

# What approved corrections are to move, account by account: an amount and its counterpart, or the mirror image.
AGREED = """
    SELECT c.id, w.account_id, c.amount
    FROM wallet_correction c JOIN wallet_wallet w ON w.id = c.wallet_id WHERE c.status = 'approved'
    UNION ALL
    SELECT id, account_id, -amount FROM wallet_correction WHERE status = 'approved' AND kind IN ('till', 'account')
    UNION ALL
    SELECT c.id, a.id, CASE WHEN c.kind IN ('till', 'account') THEN c.amount ELSE -c.amount END
    FROM wallet_correction c
    JOIN wallet_account a ON a.code = CASE c.kind WHEN 'expiry' THEN 'expired' ELSE 'adjustment' END
    WHERE c.status = 'approved' AND c.kind <> 'reversal'
    UNION ALL
    SELECT c.id, e.account_id, -e.amount
    FROM wallet_correction c JOIN wallet_entry e ON e.movement_id = c.reverses_id WHERE c.status = 'approved'
"""

# Whatever its kind says: a movement that bears a correction's key is this correction's, once, and moves what was agreed.
MOVES_WHAT_WAS_AGREED = f"""
    number := CASE WHEN NEW.key ~ '^{CORRECTION}[0-9]{{1,18}}$' THEN split_part(NEW.key, ':', 2)::bigint END;
    IF NEW.key IS DISTINCT FROM '{CORRECTION}' || number OR NOT EXISTS (
        SELECT 1 FROM wallet_correction
        WHERE id = number AND status = 'approved' AND reverses_id IS NOT DISTINCT FROM NEW.reverses_id
          AND NEW.kind = CASE kind WHEN 'expiry' THEN 'expiry' ELSE 'adjustment' END
    ) OR EXISTS (
        SELECT 1 FROM (
            SELECT account_id, sum(amount) AS amount FROM ({AGREED}) a (id, account_id, amount)
            WHERE id = number GROUP BY 1
        ) agreed
        FULL JOIN (
            SELECT account_id, sum(amount) AS amount FROM wallet_entry WHERE movement_id = NEW.id GROUP BY 1
        ) moved USING (account_id)
        WHERE agreed.amount IS DISTINCT FROM moved.amount
    ) THEN
        RAISE EXCEPTION 'wallet_movement % moves something else than what was agreed', NEW.key
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
"""  # noqa: S608  built of constants of the code alone


class Movement(models.Model):
    """One event of the ledger: its entries sum to zero. A correction is another movement that reverses it."""

    class Kind(models.TextChoices):
        TOP_UP = "top_up", _("Dépôt de fonds")
        ORDER = "order", _("Règlement de commande")
        RESERVE = "reserve", _("Part du porte-monnaie d’une commande")
        RELEASE = "release", _("Part du porte-monnaie rendue")
        CANCELLATION = "cancellation", _("Annulation")
        REFUND = "refund", _("Remboursement sur la carte")
        WITHDRAWAL = "withdrawal", _("Remboursement de crédits par virement")
        COUNTER = "counter", _("Encaissement au guichet")
        SETTLEMENT = "settlement", _("Versement d’un prestataire")
        TILL_DEPOSIT = "till_deposit", _("Versement de la caisse à la banque")
        REMITTANCE = "remittance", _("Reversement à une commune")
        EXPIRY = "expiry", _("Crédits prescrits")
        LATE_PAYMENT = "late_payment", _("Règlement reçu trop tard, porté au porte-monnaie")
        ADJUSTMENT = "adjustment", _("Régularisation")

    kind = models.CharField(_("nature"), max_length=12, choices=Kind)
    key = models.CharField(
        _("référence de l’écriture"),
        max_length=80,
        unique=True,
        help_text=_("Elle dit d’où vient le mouvement ; la même ne s’écrit jamais deux fois."),
    )
    label = models.CharField(_("libellé"), max_length=LONGEST_LABEL)
    at = models.DateTimeField(_("date"), auto_now_add=True, db_index=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("par")
    )
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="reversed_by", verbose_name=_("contre-passe")
    )

    class Meta:
        verbose_name = _("mouvement")
        verbose_name_plural = _("mouvements")
        ordering = ["-at", "-pk"]
        triggers = [
            pgtrigger.Protect(name="movements_are_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("movements_are_kept"),
            pgtrigger.Trigger(
                name="outside_closed_days",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=OUTSIDE_CLOSED_DAYS,
            ),
            pgtrigger.Trigger(
                name="corrected_by_two",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.kind IN ('adjustment', 'expiry')"),
                func=CORRECTED_BY_TWO,
            ),
            pgtrigger.Trigger(
                name="moves_what_was_agreed",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition(f"starts_with(NEW.key, '{CORRECTION}')"),
                declare=[("number", "bigint")],
                func=MOVES_WHAT_WAS_AGREED,
            ),
            pgtrigger.Trigger(
                name="movement_has_entries",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                func="""
                    IF (SELECT count(*) FROM wallet_entry WHERE movement_id = NEW.id) < 2 THEN
                        RAISE EXCEPTION 'wallet_movement % has fewer than two entries', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return self.label


# An entry added to a movement of yesterday would pass by its idempotency key. A row that we see and whose transaction is
# still in progress was written by ours; xmin may be that of a savepoint, whose number is above its transaction's.
COMES_WITH_ITS_MOVEMENT = """
    mine := pg_current_xact_id()::text::bigint;
    SELECT mod(xmin::text::bigint - mod(mine, 4294967296) + 4294967296, 4294967296) INTO ahead
        FROM wallet_movement WHERE id = NEW.movement_id;
    IF ahead >= 2147483648 OR pg_xact_status((mine + ahead)::text::xid8) IS DISTINCT FROM 'in progress' THEN
        RAISE EXCEPTION 'wallet_movement % is closed: its entries come in its own transaction', NEW.movement_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class EntryQuerySet(models.QuerySet["Entry"]):
    def of_wallet(self, wallet: Wallet) -> Self:
        """The movements of a wallet, newest first."""
        return self.filter(account=wallet.account_id).select_related("movement").order_by("-pk")

    def of_nature(self, nature: str) -> Self:
        """Those of one nature (Entry.nature), by its code."""
        paid, late = Q(movement__kind=Movement.Kind.ORDER), Q(movement__kind=Movement.Kind.LATE_PAYMENT)
        if nature == Movement.Kind.LATE_PAYMENT:
            return self.filter(late | paid & Q(amount__gt=0))
        rows = self.filter(movement__kind=nature)
        return rows.filter(amount__lt=0) if nature == Movement.Kind.ORDER else rows

    def balance_before(self, date: dt.date) -> Decimal:
        """What one wallet, whose entries these are, held when this day began in Paris, in euros."""
        found = self.between(None, date - dt.timedelta(days=1)).order_by("-pk").first()
        return (found.balance_after or ZERO) if found else ZERO

    def between(self, first: dt.date | None, last: dt.date | None) -> Self:
        """Those of movements of these days in Paris, both included; None: without a limit on that side."""
        rows = self
        if first is not None:
            rows = rows.filter(movement__at__gte=dt.datetime.combine(first, dt.time(), tzinfo=PARIS))
        if last is not None:
            after = last + dt.timedelta(days=1)
            rows = rows.filter(movement__at__lt=dt.datetime.combine(after, dt.time(), tzinfo=PARIS))
        return rows


class Entry(models.Model):
    """One line of a movement: an account and an amount in euros, positive for a credit."""

    movement = models.ForeignKey(
        Movement, on_delete=models.PROTECT, related_name="entries", verbose_name=_("mouvement")
    )
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries", verbose_name=_("compte"))
    amount = MoneyField(_("montant"))
    balance_after = MoneyField(_("solde après"), null=True, help_text=_("Pour un porte-monnaie, écrit par la base."))

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("écriture")
        verbose_name_plural = _("écritures")
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="entry_is_not_zero")]
        triggers = [
            pgtrigger.Protect(name="entries_are_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("entries_are_kept"),
            pgtrigger.Trigger(
                name="entry_comes_with_its_movement",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                declare=[("mine", "bigint"), ("ahead", "bigint")],
                func=COMES_WITH_ITS_MOVEMENT,
            ),
            pgtrigger.Trigger(
                name="movement_sums_to_zero",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                func="""
                    IF (SELECT sum(amount) FROM wallet_entry WHERE movement_id = NEW.movement_id) <> 0 THEN
                        RAISE EXCEPTION 'wallet_movement % does not sum to zero', NEW.movement_id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
            pgtrigger.Trigger(
                name="move_balance",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    UPDATE wallet_wallet SET balance = balance + NEW.amount WHERE account_id = NEW.account_id
                        RETURNING balance INTO NEW.balance_after;
                    IF NOT FOUND AND (SELECT kind FROM wallet_account WHERE id = NEW.account_id) = 'wallet' THEN
                        RAISE EXCEPTION 'wallet_account %: its wallet is not open', NEW.account_id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="entry_by_account")]

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"

    @property
    def nature(self) -> str:
        """What the owner of a wallet calls it: money of an order that comes in was paid for what was no longer free."""
        kind = Movement.Kind(self.movement.kind)
        is_late = kind == Movement.Kind.ORDER and self.amount > 0
        return str((Movement.Kind.LATE_PAYMENT if is_late else kind).label)


class Checkpoint(models.Model):
    """What an account held after its entries up to `upto`: pages sum what came after it, not ten million rows.

    PostgreSQL writes the balance itself, from the checkpoint before, while nothing is being posted; verify_ledger sums
    every entry again.
    """

    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="checkpoint")
    upto = models.PositiveBigIntegerField(_("jusqu’à l’écriture"), default=0)
    balance = models.DecimalField(_("solde"), max_digits=14, decimal_places=2, default=ZERO)
    at = models.DateTimeField(_("écrit le"), auto_now=True)

    class Meta:
        verbose_name = _("solde intermédiaire")
        verbose_name_plural = _("soldes intermédiaires")
        triggers = [
            pgtrigger.Trigger(
                name="checkpoint_is_summed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                declare=[("since", "bigint")],
                func="""
                    PERFORM pg_advisory_xact_lock(43, 1);  -- POSTING_LOCK: entries of lower numbers are committed
                    since := 0;
                    NEW.balance := 0;
                    IF TG_OP = 'UPDATE' THEN
                        IF NEW.account_id <> OLD.account_id OR NEW.upto < OLD.upto THEN
                            RAISE EXCEPTION 'wallet_checkpoint %: it only goes forward', OLD.id;
                        END IF;
                        since := OLD.upto;
                        NEW.balance := OLD.balance;
                    END IF;
                    NEW.upto := least(NEW.upto, coalesce((SELECT max(id) FROM wallet_entry), 0));
                    NEW.balance := NEW.balance + coalesce((
                        SELECT sum(amount) FROM wallet_entry
                        WHERE account_id = NEW.account_id AND id > since AND id <= NEW.upto
                    ), 0);
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.upto}"


class TopUpPack(models.Model):
    """A pack of credits that parents buy without fee (« Pack 25 crédits », 25,00 €)."""

    amount = MoneyField(
        _("montant"),
        unique=True,
        error_messages={"unique": _("Un pack de ce montant existe déjà : proposez celui-là.")},
    )
    is_active = models.BooleanField(_("proposé"), default=True)

    class Meta:
        verbose_name = _("pack de crédits")
        verbose_name_plural = _("packs de crédits")
        ordering = ["amount"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="pack_is_positive"),
            # A credit is one euro. What was offered before this rule stays written, and is offered no more.
            models.CheckConstraint(
                condition=Q(is_active=False) | Q(amount=Floor("amount"), amount__lte=1_000),
                name="offered_pack_is_of_whole_euros",
            ),
        ]

    def __str__(self) -> str:
        return euros(self.amount)

    @property
    def credits(self) -> int:
        """How many credits of one euro it holds."""
        return int(self.amount)
