"""What the régie keeps of its own work: statements to the communes, and what each night's check found."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pgtrigger
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.models import Commune
from checkout.providers import provider_name
from portal.common.db import not_truncated
from portal.common.formats import PARIS, euros, long_date, moment, period_words
from portal.common.money import ZERO, MoneyField
from wallet.models import Account, Movement

if TYPE_CHECKING:
    from accounts.models import User

# A statement says what the ledger paid, over days that nobody changes any more.
STATES_WHAT_IS_CLOSED = """
    IF upper(NEW.period) - 1 > coalesce((SELECT max(last_day) FROM wallet_closing), '-infinity'::date) THEN
        RAISE EXCEPTION 'checkout_statement: % has days that are not closed', NEW.period
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM wallet_movement WHERE id = NEW.movement_id AND kind = 'remittance') OR NEW.net <> (
        SELECT coalesce(sum(e.amount), 0) FROM wallet_entry e JOIN wallet_account a ON a.id = e.account_id
        WHERE e.movement_id = NEW.movement_id AND a.kind = 'remitting'
    ) OR NEW.gross - NEW.cancelled <> (
        SELECT coalesce(-sum(amount), 0) FROM wallet_entry
        WHERE movement_id = NEW.movement_id AND account_id = NEW.account_id
    ) THEN
        RAISE EXCEPTION 'checkout_statement: its movement pays something else'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


# The day on which it was paid is one of those between its issue and now, and its payment says that the bank paid its net. What
# was marked by mistake, or sent back by the bank, is owed again once its payment is reversed.
PAID_BY_THE_BANK = """
    IF NEW.paid_on IS NOT NULL AND (
        OLD.paid_on IS NOT NULL
        OR NEW.paid_on NOT BETWEEN (NEW.issued_at AT TIME ZONE 'Europe/Paris')::date
            AND (now() AT TIME ZONE 'Europe/Paris')::date
        OR NEW.net <> (
            SELECT coalesce(sum(e.amount), 0) FROM wallet_entry e JOIN wallet_account a ON a.id = e.account_id
            WHERE a.kind = 'bank' AND e.movement_id = NEW.payment_id
        )
        OR EXISTS (SELECT 1 FROM wallet_movement WHERE reverses_id = NEW.payment_id)
    ) THEN
        RAISE EXCEPTION 'checkout_statement %: the bank has not paid it on %', NEW.id, NEW.paid_on
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.paid_on IS NULL AND NOT EXISTS (SELECT 1 FROM wallet_movement WHERE reverses_id = OLD.payment_id) THEN
        RAISE EXCEPTION 'checkout_statement %: its payment of % is not reversed', NEW.id, OLD.paid_on
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
"""


class StatementQuerySet(models.QuerySet["Statement"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)

    def in_force(self) -> Self:
        """Statements that were not cancelled."""
        return self.filter(cancelled_at=None)

    def unpaid(self) -> Self:
        """Those in force that the bank has not been told to pay, or has not paid yet."""
        return self.in_force().filter(paid_on=None)


class Statement(models.Model):
    """What the régie pays over to a commune for a period (« relevé de reversement »), frozen when it is issued.

    Issued, it is owed (account `remitting`); it leaves the bank's account on the day on which it is paid (`paid_on`).

    Net is what was earned, less what was given back, less the discounts that the commune bears, less its share of fees.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="statements", verbose_name=_("compte de recettes")
    )
    commune = models.ForeignKey(
        Commune, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("commune")
    )
    period = DateRangeField(_("période"))
    gross = MoneyField(_("recettes"))
    cancelled = MoneyField(_("annulations et remboursements"))
    vouchers = MoneyField(_("remises à sa charge"))
    fees = MoneyField(_("part des commissions bancaires"))
    net = MoneyField(_("net reversé"))
    # [{service, activity, detail, sold, gross, returned, cancelled}]
    rows = models.JSONField(_("détail"))
    movement = models.OneToOneField(
        Movement, on_delete=models.PROTECT, related_name="statement", verbose_name=_("mouvement")
    )
    issued_at = models.DateTimeField(_("émis le"), auto_now_add=True)
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("émis par")
    )
    cancelled_at = models.DateTimeField(_("annulé le"), null=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulé par")
    )
    reason = models.CharField(_("motif de l’annulation"), max_length=160, blank=True)

    paid_on = models.DateField(_("viré le"), null=True)
    paid_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("constaté par")
    )
    # The movement that debits the bank; that of the statement itself for those issued before payment was told apart.
    payment = models.OneToOneField(
        Movement, on_delete=models.PROTECT, null=True, related_name="paid_statement", verbose_name=_("virement")
    )

    objects = StatementQuerySet.as_manager()

    class Meta:
        verbose_name = _("relevé de reversement")
        verbose_name_plural = _("relevés de reversement")
        ordering = ["-pk"]
        constraints = [
            ExclusionConstraint(
                name="paid_over_once",
                expressions=[("account", RangeOperators.EQUAL), ("period", RangeOperators.OVERLAPS)],
                condition=Q(cancelled_at=None),
            ),
            models.CheckConstraint(
                condition=Q(net=F("gross") - F("cancelled") - F("vouchers") - F("fees"), net__gt=0),
                name="statement_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(cancelled_at=None, cancelled_by=None, reason="")
                | (Q(cancelled_at__isnull=False, cancelled_by__isnull=False) & ~Q(reason="")),
                name="cancelled_statement_says_why",
            ),
            models.CheckConstraint(
                condition=Q(paid_on=None, paid_by=None, payment=None)
                | Q(paid_on__isnull=False, paid_by__isnull=False, payment__isnull=False, cancelled_at=None),
                name="paid_statement_is_signed_and_stays",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="states_what_is_closed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=STATES_WHAT_IS_CLOSED,
            ),
            pgtrigger.ReadOnly(
                name="statement_is_frozen",
                exclude=["cancelled_at", "cancelled_by", "reason", "paid_on", "paid_by", "payment"],
            ),
            pgtrigger.Trigger(
                name="paid_statement_left_the_bank",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("paid_on", "payment_id"),
                condition=pgtrigger.AnyChange("paid_on", "payment"),
                func=PAID_BY_THE_BANK,
            ),
            pgtrigger.Trigger(
                name="cancelled_statement_is_paid_back",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("cancelled_at"),
                timing=pgtrigger.Deferred,
                func="""
                    IF NEW.cancelled_at IS NULL OR OLD.cancelled_at IS NOT NULL
                        OR NOT EXISTS (SELECT 1 FROM wallet_movement WHERE reverses_id = NEW.movement_id) THEN
                        RAISE EXCEPTION 'checkout_statement %: it is cancelled once, by a movement', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
            pgtrigger.Protect(name="statements_are_kept", operation=pgtrigger.Delete),
            not_truncated("statements_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.number}\u00a0: {self.holder}, {period_words(self.period)}"

    @property
    def number(self) -> str:
        """What people quote: `REV-2026-000012`; receipts are `R-…`."""
        return f"REV-{self.issued_at.astimezone(PARIS).year}-{self.pk:06d}"

    @property
    def holder(self) -> str:
        """Whom it pays: a commune, or the agglomération for its own services."""
        return str(self.commune) if self.commune else str(_("Agglomération"))

    @property
    def last_day(self) -> dt.date:
        """The last day of the period."""
        last: dt.date = self.period.upper - dt.timedelta(days=1)
        return last

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The detail, its amounts as decimals, each with what remains of it as `net`."""
        rows = [{**row, "gross": Decimal(row["gross"]), "cancelled": Decimal(row["cancelled"])} for row in self.rows]
        return [{**row, "net": row["gross"] - row["cancelled"]} for row in rows]

    @property
    def sold(self) -> int:
        """How many bookings and tickets were sold."""
        return sum(row["sold"] for row in self.rows)

    @property
    def returned(self) -> int:
        """How many were given back."""
        return sum(row["returned"] for row in self.rows)

    @property
    def net_words(self) -> str:
        """What its net is called: paid over only once the bank has paid it, and by no cancelled statement."""
        if self.cancelled_at:
            return str(_("Net annulé, à ne pas virer"))
        return str(_("Net reversé") if self.paid_on else _("Net à reverser"))

    @property
    def state_words(self) -> str:
        """Where its money is, inside a sentence: of a cancelled one also why."""
        if self.cancelled_at:
            words = {"date": long_date(self.cancelled_at.astimezone(PARIS).date()), "reason": self.reason}
            return str(_("annulé le %(date)s\u00a0: %(reason)s") % words)
        return str(_("viré le %s") % long_date(self.paid_on) if self.paid_on else _("à virer"))

    @property
    def earned(self) -> Decimal:
        """What remains of what was earned before discounts and fees."""
        return self.gross - self.cancelled or ZERO


class Verification(models.Model):
    """One run of the check of ledger, orders and places: every difference that it found, and beside these what is overdue."""

    started_at = models.DateTimeField(_("commencé le"))
    ended_at = models.DateTimeField(_("terminé le"))
    # The night's own run has nobody; an operator may ask for one at any time.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("demandé par")
    )
    count = models.PositiveIntegerField(_("différences"))
    # The first of them, as sentences: a thousand more would say nothing new.
    differences = models.JSONField(_("premières différences"))
    # What should have happened by itself and has not: the books are right all the same.
    overdue_count = models.PositiveIntegerField(_("en retard"), default=0, db_default=0)
    overdue = models.JSONField(_("premières opérations en retard"), default=list, db_default=[])
    entries = models.PositiveBigIntegerField(_("écritures relues"))

    class Meta:
        verbose_name = _("contrôle des comptes")
        verbose_name_plural = _("contrôles des comptes")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(ended_at__gte=F("started_at")), name="verification_ends_after_it_starts")
        ]
        triggers = [
            pgtrigger.Protect(name="verifications_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("verifications_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return str(_("Contrôle du %s") % moment(self.ended_at))

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()


# What was posted of a file is what its lines say, and each of its lines is told: it agreed, or it says why not.
SAYS_EACH_LINE = """
    IF NEW.lines <> jsonb_array_length(NEW.matched) + jsonb_array_length(NEW.differences) OR (NEW.gross, NEW.fees) <> (
        SELECT coalesce(sum((line->>'gross')::numeric), 0), coalesce(sum((line->>'fee')::numeric), 0)
        FROM jsonb_array_elements(NEW.matched) line
    ) THEN
        RAISE EXCEPTION 'checkout_settlement: its lines say something else'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


# What a provider keeps of a line without anybody wondering: above this, or above the line itself, somebody looks at it first.
USUAL_PART, USUAL_FIXED = Decimal("0.05"), Decimal("0.50")


def is_unusual_fee(gross: Decimal, fee: Decimal) -> bool:
    """Whether a line's fee (kept, or given back: below zero) is to be looked at; both in euros."""
    return abs(fee) > min(abs(gross), abs(gross) * USUAL_PART + USUAL_FIXED)


@dataclass(frozen=True)
class Commissions:
    """The unusual commissions of a file, for which somebody answers: of how many lines, together, and of how much; in euros."""

    lines: int = 0
    fees: Decimal = ZERO
    gross: Decimal = ZERO

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """What the unusual lines of a file come to, each with its gross and its fee."""
        sums = [(abs(row["fee"]), abs(row["gross"])) for row in rows]
        return cls(len(sums), sum((fee for fee, _gross in sums), ZERO), sum((gross for _fee, gross in sums), ZERO))

    def __bool__(self) -> bool:
        return self.lines > 0

    @property
    def words(self) -> str:
        """What is accepted: « 0,25 € de commission pour 0,20 €, sur une ligne »."""
        said = ngettext(
            "%(fees)s de commission pour %(gross)s, sur une ligne",
            "%(fees)s de commissions pour %(gross)s, sur %(lines)d lignes",
            self.lines,
        )
        return said % {"fees": euros(self.fees), "gross": euros(self.gross), "lines": self.lines}

    @property
    def rule(self) -> str:
        """Why they are shown."""
        said = _(
            "La commission dépasse %(part)s\u00a0%% du montant plus %(fixed)s, ou le montant lui-même\u00a0: une virgule oubliée, deux colonnes échangées, ou les frais d’un tout petit règlement."
        )
        return str(said) % {"part": f"{USUAL_PART:.0%}".rstrip("%"), "fixed": euros(USUAL_FIXED)}

    @property
    def token(self) -> str:
        """What the tick sends back: the very figures that stood beside it."""
        return f"{self.lines}:{self.fees}:{self.gross}"


# The same rule as `is_unusual_fee`: no line of such a commission is posted that nobody has answered for, sum by sum.
ANSWERS_FOR_FEES = f"""
    IF (NEW.accepted_lines, NEW.accepted_fees, NEW.accepted_gross) <> (
        SELECT count(*), coalesce(sum(abs(fee)), 0), coalesce(sum(abs(gross)), 0)
        FROM jsonb_to_recordset(NEW.matched) AS line(gross numeric, fee numeric)
        WHERE abs(fee) > least(abs(gross), abs(gross) * {USUAL_PART} + {USUAL_FIXED})
    ) THEN
        RAISE EXCEPTION 'checkout_settlement: nobody has accepted these commissions'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""  # noqa: S608  built of constants of the code alone


class SettlementQuerySet(models.QuerySet["Settlement"]):
    def to_explain(self) -> Self:
        """Those with lines that did not agree, about which nobody has said why."""
        return self.exclude(differences=[]).filter(explained_at=None)


class Settlement(models.Model):
    """A provider's file of what it paid over, as it was imported: what was posted of it, and what did not agree."""

    provider = models.CharField(_("prestataire"), max_length=20)
    name = models.CharField(_("fichier"), max_length=120)
    sha256 = models.CharField(_("empreinte"), max_length=64)
    lines = models.PositiveIntegerField(_("lignes"))
    gross = models.DecimalField(_("brut versé"), max_digits=12, decimal_places=2)
    fees = models.DecimalField(_("commissions"), max_digits=12, decimal_places=2)
    # [{line, reference, amount, written, problem}], and of a known règlement its {order, payment, ours}
    differences = models.JSONField(_("différences"))
    # [{line, reference, order, payment, nature, gross, fee}]; files imported before this was kept have none.
    matched = models.JSONField(_("lignes qui concordent"), default=list, db_default=[])
    # What is unusual of them was accepted when the file was imported, by these figures.
    accepted_lines = models.PositiveIntegerField(_("lignes de commission acceptées"), default=0, db_default=0)
    accepted_fees = models.DecimalField(
        _("commissions acceptées"), max_digits=12, decimal_places=2, default=ZERO, db_default=ZERO
    )
    accepted_gross = models.DecimalField(
        _("brut de ces lignes"), max_digits=12, decimal_places=2, default=ZERO, db_default=ZERO
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("commissions acceptées par"),
    )
    imported_at = models.DateTimeField(_("importé le"), auto_now_add=True)
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("importé par")
    )
    explained_at = models.DateTimeField(_("écarts expliqués le"), null=True)
    explained_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("expliqués par")
    )
    explanation = models.CharField(_("explication des écarts"), max_length=300, blank=True, default="", db_default="")

    objects = SettlementQuerySet.as_manager()

    class Meta:
        verbose_name = _("versement d’un prestataire")
        verbose_name_plural = _("versements des prestataires")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "sha256"], name="file_imported_once"),
            models.CheckConstraint(
                condition=Q(explained_at=None, explained_by=None, explanation="")
                | (Q(explained_at__isnull=False, explained_by__isnull=False) & ~Q(explanation="")),
                name="explained_settlement_is_signed",
            ),
            models.CheckConstraint(
                condition=Q(accepted_lines=0, accepted_by=None) | Q(accepted_lines__gt=0, accepted_by__isnull=False),
                name="accepted_commissions_are_signed",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="settlement_says_each_line",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=SAYS_EACH_LINE,
            ),
            pgtrigger.Trigger(
                name="unusual_commissions_are_accepted",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=ANSWERS_FOR_FEES,
            ),
            pgtrigger.ReadOnly(name="settlement_is_frozen", exclude=["explained_at", "explained_by", "explanation"]),
            pgtrigger.Protect(
                name="explained_settlement_stays",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.explained_at IS NOT NULL"),
            ),
            pgtrigger.Protect(name="settlements_are_kept", operation=pgtrigger.Delete),
            not_truncated("settlements_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_name}, {self.name}"

    @property
    def provider_name(self) -> str:
        """What people call the provider: « Paybox / Up2pay »."""
        return provider_name(self.provider)

    @property
    def net(self) -> Decimal:
        """What reached the bank."""
        return self.gross - self.fees

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The lines that were not posted, their amounts as decimals."""
        return [
            {**row, **{name: Decimal(row[name]) for name in ("amount", "ours") if name in row}}
            for row in self.differences
        ]

    @property
    def right(self) -> list[dict[str, Any]]:
        """The lines that were posted, their amounts as decimals."""
        return [{**row, "gross": Decimal(row["gross"]), "fee": Decimal(row["fee"])} for row in self.matched]

    @property
    def accepted(self) -> Commissions:
        """The unusual commissions that somebody has answered for."""
        return Commissions(self.accepted_lines, self.accepted_fees, self.accepted_gross)

    @property
    def keeps_what_matched(self) -> bool:
        """Whether each line can be read here: of files imported before, those that agreed stand in the ledger only."""
        return len(self.matched) + len(self.differences) == self.lines


class SettlementNote(models.Model):
    """What somebody adds to the explanation of a file's differences: signed and dated, beside what was said before."""

    settlement = models.ForeignKey(
        Settlement, on_delete=models.PROTECT, related_name="notes", verbose_name=_("versement d’un prestataire")
    )
    words = models.CharField(_("complément"), max_length=300)
    at = models.DateTimeField(_("écrit le"), auto_now_add=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("écrit par")
    )

    class Meta:
        verbose_name = _("complément d’explication")
        verbose_name_plural = _("compléments d’explication")
        ordering = ["pk"]
        constraints = [models.CheckConstraint(condition=~Q(words=""), name="settlement_note_says_something")]
        triggers = [
            pgtrigger.Trigger(
                name="note_follows_an_explanation",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM checkout_settlement WHERE id = NEW.settlement_id AND explained_at IS NOT NULL
                    ) THEN
                        RAISE EXCEPTION 'checkout_settlementnote: nothing is explained yet'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="settlement_notes_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("settlement_notes_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return self.words
