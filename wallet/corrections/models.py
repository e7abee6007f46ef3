"""A correction: what is to be moved, who proposed it and why, who decided."""

from decimal import Decimal

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated
from portal.common.formats import euros
from portal.common.money import MoneyField
from wallet.models import CORRECTION, Account, Movement, Wallet

# What lies outside the platform and may be more or less than we wrote: a card contested at its bank, a cheque without
# provision, a line of the bank's that no file explains, a fee that a file gave wrongly. All else is explained by rows of its own.
OUTSIDE = (Account.Kind.CLEARING, Account.Kind.BANK, Account.Kind.BANK_FEES)
OUTSIDE_IN_SQL = ", ".join(f"'{kind}'" for kind in OUTSIDE)

# Nobody gives credits to themselves or to their family: not as the one who proposes, nor as the one who agrees. A reversal
# gives back what its movement took.
IN_NOBODYS_OWN_FAVOUR = """
    IF EXISTS (
        SELECT 1 FROM (
            SELECT user_id FROM wallet_wallet WHERE id = NEW.wallet_id AND NEW.amount > 0
            UNION ALL
            SELECT w.user_id FROM wallet_entry e JOIN wallet_wallet w ON w.account_id = e.account_id
            WHERE e.movement_id = NEW.reverses_id AND e.amount < 0
        ) credited
        WHERE families_own_family(
            CASE WHEN TG_OP = 'INSERT' THEN NEW.proposed_by_id ELSE NEW.decided_by_id END, credited.user_id
        )
    ) THEN
        RAISE EXCEPTION 'wallet_correction: nobody credits their own wallet or their family''s'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


# Two who read the same line of the bank's statement: the second waits for the first, and finds its proposal. A trigger, because
# proposals of before may be equal.
EQUAL_ONE_WAITS = """
    PERFORM pg_advisory_xact_lock(hashtext('correction:account:' || NEW.account_id));
    IF EXISTS (
        SELECT 1 FROM wallet_correction
        WHERE kind = 'account' AND status = 'proposed' AND account_id = NEW.account_id AND amount = NEW.amount
    ) THEN
        RAISE EXCEPTION 'wallet_correction: an equal one of account % waits', NEW.account_id
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'account_correction_proposed_once';
    END IF;
    RETURN NEW;
"""


class Correction(models.Model):
    """What is to be moved by hand: posted once a second person agrees.

    An amount of a wallet, of a till or of an account outside, a movement to be reversed, credits that are prescribed. Its movement carries the key `correction:<pk>`; the ledger accepts no manual movement without an approved one
    (Movement, trigger `corrected_by_two`).
    """

    class Kind(models.TextChoices):
        WALLET = "wallet", _("Créditer ou débiter un porte-monnaie")
        REVERSAL = "reversal", _("Contre-passer un mouvement")
        EXPIRY = "expiry", _("Constater la prescription")
        TILL = "till", _("Corriger la caisse")
        ACCOUNT = "account", _("Régulariser un compte")

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("Proposée")
        APPROVED = "approved", _("Approuvée")
        REFUSED = "refused", _("Refusée")
        WITHDRAWN = "withdrawn", _("Retirée")

    kind = models.CharField(_("nature"), max_length=10, choices=Kind)
    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, null=True, related_name="corrections", verbose_name=_("porte-monnaie")
    )
    amount = MoneyField(_("montant"), null=True)
    reverses = models.ForeignKey(
        Movement, on_delete=models.PROTECT, null=True, related_name="corrections", verbose_name=_("mouvement")
    )
    # Of a till, a provider or the bank: there is more (or less, below zero) than what the ledger says by `amount`.
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, null=True, related_name="corrections", verbose_name=_("compte")
    )
    # Of a till: what was counted in it, when the ledger said `amount` less.
    counted = MoneyField(_("compté"), null=True)
    reason = models.CharField(_("motif"), max_length=160)
    # Of the page that proposed it: pressed twice, it proposes once. Reversals and expiries are told apart by what they undo.
    reference = models.UUIDField(null=True, editable=False)
    status = models.CharField(_("état"), max_length=10, choices=Status, default=Status.PROPOSED)
    proposed_at = models.DateTimeField(_("proposée le"), auto_now_add=True)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("proposée par")
    )
    decided_at = models.DateTimeField(_("décidée le"), null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("décidée par")
    )
    note = models.CharField(_("motif du refus"), max_length=160, blank=True)

    class Meta:
        verbose_name = _("régularisation")
        verbose_name_plural = _("régularisations")
        ordering = ["-pk"]
        constraints = [
            # A proposal is decided by another person, and taken back by nobody but whoever made it.
            models.CheckConstraint(
                condition=Q(status="withdrawn", decided_by=F("proposed_by"))
                | (~Q(status="withdrawn") & ~Q(decided_by=F("proposed_by"))),
                name="correction_takes_two_persons",
            ),
            models.CheckConstraint(
                condition=Q(status="proposed", decided_at=None, decided_by=None)
                | (~Q(status="proposed") & Q(decided_at__isnull=False, decided_by__isnull=False)),
                name="decided_correction_is_signed",
            ),
            models.CheckConstraint(
                condition=Q(kind="reversal", reverses__isnull=False, wallet=None, account=None, amount=None)
                | (
                    Q(
                        kind__in=["till", "account"],
                        reverses=None,
                        wallet=None,
                        account__isnull=False,
                        amount__isnull=False,
                    )
                    & ~Q(amount=0)
                )
                | (
                    ~Q(kind__in=["reversal", "till", "account"])
                    & Q(reverses=None, account=None, wallet__isnull=False, amount__isnull=False)
                    & ~Q(amount=0)
                    & (Q(kind="wallet") | Q(amount__lt=0))
                ),
                name="correction_says_what_moves",
            ),
            models.CheckConstraint(
                condition=Q(counted=None) | Q(counted__isnull=False, kind="till", counted__gte=0),
                name="a_till_is_counted",
            ),
            models.UniqueConstraint(
                fields=["wallet"], condition=Q(kind="expiry", status="proposed"), name="expiry_proposed_once"
            ),
            models.UniqueConstraint(
                fields=["account"], condition=Q(kind="till", status="proposed"), name="till_correction_proposed_once"
            ),
            models.UniqueConstraint(fields=["reference"], name="correction_of_a_page_once"),
            models.UniqueConstraint(fields=["reverses"], condition=Q(status="proposed"), name="reversal_proposed_once"),
        ]
        triggers = [
            pgtrigger.FSM(
                name="correction_transitions",
                field="status",
                transitions=[("proposed", "approved"), ("proposed", "refused"), ("proposed", "withdrawn")],
            ),
            pgtrigger.Trigger(
                name="proposed_first",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NEW.status <> 'proposed' THEN
                        RAISE EXCEPTION 'wallet_correction: it is proposed first'
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="corrects_what_it_may",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.kind IN ('till', 'account')"),
                func=f"""
                    IF EXISTS (
                        SELECT 1 FROM wallet_account
                        WHERE id = NEW.account_id AND CASE NEW.kind
                            WHEN 'till' THEN kind <> 'till' ELSE kind NOT IN ({OUTSIDE_IN_SQL}) END
                    ) THEN
                        RAISE EXCEPTION 'wallet_correction: account % is not corrected like this', NEW.account_id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,  # noqa: S608  built of constants of the code alone
            ),
            pgtrigger.Trigger(
                name="account_correction_proposed_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.kind = 'account' AND NEW.account_id IS NOT NULL"),
                func=EQUAL_ONE_WAITS,
            ),
            pgtrigger.Trigger(
                name="nobody_credits_themselves",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
                condition=pgtrigger.Condition("NEW.status IN ('proposed', 'approved')"),
                func=IN_NOBODYS_OWN_FAVOUR,
            ),
            pgtrigger.ReadOnly(
                name="correction_is_frozen",
                fields=[
                    "kind",
                    "wallet",
                    "account",
                    "amount",
                    "counted",
                    "reverses",
                    "reason",
                    "reference",
                    "proposed_at",
                    "proposed_by",
                ],
            ),
            pgtrigger.Trigger(
                name="approved_correction_is_posted",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("status"),
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.status = 'approved'"),
                func=f"""
                    IF NOT EXISTS (SELECT 1 FROM wallet_movement WHERE key = '{CORRECTION}' || NEW.id) THEN
                        RAISE EXCEPTION 'wallet_correction % is approved, and nothing is posted', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,  # noqa: S608  built of constants of the code alone
            ),
            pgtrigger.Protect(name="corrections_are_kept", operation=pgtrigger.Delete),
            not_truncated("corrections_are_not_emptied"),
        ]

    def __str__(self) -> str:
        if self.reverses is not None:
            return str(_("Contre-passer «\u00a0%s\u00a0»") % self.reverses.label)
        return f"{self.get_kind_display()}\u00a0: {euros(self.amount)}"

    @property
    def booked(self) -> Decimal | None:
        """What the ledger said of the till when it was counted."""
        return None if self.counted is None or self.amount is None else self.counted - self.amount

    @property
    def key(self) -> str:
        """The idempotency key of its movement."""
        return f"{CORRECTION}{self.pk}"
