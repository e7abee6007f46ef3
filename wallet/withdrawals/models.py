"""Credits that a family takes back to its bank account, and the transfer orders that carry them there."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from text_unidecode import unidecode

from portal.common.db import not_truncated
from portal.common.formats import sort_key
from portal.common.money import MoneyField

if TYPE_CHECKING:
    from accounts.models import User

# Words of a name that two strangers may share.
TITLES = {"m", "mr", "mme", "mlle", "monsieur", "madame", "mademoiselle"}
NOBODYS = TITLES | set(
    """
    ou et de du des d la le les l saint sainte st ste
    da do dos das di del della dello lo san santa o mac mc
    van von der den ter ten te zu el al ben bel bin bint ibn abou abu ould ait n
    """.split()  # noqa: SIM905  a list of words, read as one
)


# Banks carry nothing out in the past, on a weekend, or a month ahead. TARGET's own holidays follow Easter: the action knows
# them (portal.common.bank_days).
DATE_A_BANK_CAN_KEEP = """
    IF NEW.execution_date NOT BETWEEN (now() AT TIME ZONE 'Europe/Paris')::date
            AND (now() AT TIME ZONE 'Europe/Paris')::date + 30
        OR extract(isodow FROM NEW.execution_date) > 5 THEN
        RAISE EXCEPTION 'wallet_transferorder: no bank carries it out on %', NEW.execution_date
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


# Each decision is looked at once, when it is written: those of before let their requests go on. Of one's own request the
# constraint speaks.
DECIDED_OUTSIDE_THE_FAMILY = """
    IF NEW.decided_by_id <> NEW.user_id
        AND (TG_OP = 'INSERT' OR NEW.decided_by_id IS DISTINCT FROM OLD.decided_by_id
            OR NEW.decided_at IS DISTINCT FROM OLD.decided_at)
        AND families_own_family(NEW.decided_by_id, NEW.user_id) THEN
        RAISE EXCEPTION 'wallet_withdrawal: nobody decides on a request of their own family'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""
# Who says that it came back is whose movement gives it back, which is posted by then.
RETURNED_BY_ANOTHER = """
    IF EXISTS (
        SELECT 1 FROM wallet_movement m
        WHERE m.key = format('withdrawal:%s:back', NEW.id) AND families_own_family(m.by_id, NEW.user_id)
    ) THEN
        RAISE EXCEPTION 'wallet_withdrawal: nobody says of their own family that a transfer came back'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class TransferOrder(models.Model):
    """A file of SEPA credit transfers (pain.001) for the régie's bank; paid once the bank has carried it out.

    Until then it can be cancelled: its requests are granted again, and wait for another order.
    """

    file = models.TextField(_("fichier"))
    total = MoneyField(_("total"))
    count = models.PositiveIntegerField(_("virements"))
    execution_date = models.DateField(_("date d’exécution demandée"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("préparé par")
    )
    created_at = models.DateTimeField(_("préparé le"), auto_now_add=True)
    paid_at = models.DateTimeField(_("exécuté, constaté le"), null=True)
    paid_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("constaté par")
    )
    cancelled_at = models.DateTimeField(_("annulé le"), null=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulé par")
    )
    reason = models.CharField(_("motif de l’annulation"), max_length=160, blank=True, default="", db_default="")

    came_back: Decimal | None  # read by the administration: what the bank sent back of it

    class Meta:
        verbose_name = _("ordre de virement")
        verbose_name_plural = _("ordres de virement")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(total__gt=0, count__gt=0), name="transfer_order_carries_money"),
            models.CheckConstraint(
                condition=Q(paid_at=None, paid_by=None) | Q(paid_at__isnull=False, paid_by__isnull=False),
                name="paid_transfer_order_is_signed",
            ),
            models.CheckConstraint(
                condition=Q(cancelled_at=None, cancelled_by=None, reason="")
                | (Q(cancelled_at__isnull=False, cancelled_by__isnull=False, paid_at=None) & ~Q(reason="")),
                name="cancelled_transfer_order_says_why",
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="transfer_order_is_frozen",
                exclude=["paid_at", "paid_by", "cancelled_at", "cancelled_by", "reason"],
            ),
            pgtrigger.Trigger(
                name="transfer_order_has_a_bank_day",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=DATE_A_BANK_CAN_KEEP,
            ),
            pgtrigger.Trigger(
                name="transfer_order_is_paid_in_time",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("paid_at"),
                condition=pgtrigger.Condition("((NEW.paid_at AT TIME ZONE 'Europe/Paris')::date < NEW.execution_date)"),
                func="""
                    RAISE EXCEPTION 'wallet_transferorder %: it is carried out on %', NEW.id, NEW.execution_date
                        USING ERRCODE = 'integrity_constraint_violation';
                """,
            ),
            pgtrigger.Trigger(
                name="paid_transfer_order_stays",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.paid_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL"),
                func="RAISE EXCEPTION 'wallet_transferorder % is paid or cancelled: it stays', OLD.id;",
            ),
            pgtrigger.Trigger(
                name="cancelled_transfer_order_is_empty",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("cancelled_at"),
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.cancelled_at IS NOT NULL"),
                func="""
                    IF EXISTS (SELECT 1 FROM wallet_withdrawal WHERE order_id = NEW.id) THEN
                        RAISE EXCEPTION 'wallet_transferorder % is cancelled, and carries requests', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
            pgtrigger.Protect(name="transfer_orders_are_kept", operation=pgtrigger.Delete),
            not_truncated("transfer_orders_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return str(_("Ordre de virement n°\u00a0%d") % self.pk)


class WithdrawalQuerySet(models.QuerySet["Withdrawal"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.none()

    def running(self) -> Self:
        """Those whose money is neither with the family nor in its wallet."""
        return self.filter(status__in=Withdrawal.RUNNING)


class Withdrawal(models.Model):
    """A request to have credits of the wallet back by bank transfer (« demande de remboursement »).

    Its euros leave the wallet when it is asked for, so that they cannot be spent twice, and come back with a refusal, the
    owner's change of mind or a transfer that the bank sends back.
    """

    class Status(models.TextChoices):
        REQUESTED = "requested", _("À décider")
        APPROVED = "approved", _("Accordée, à virer")
        SENT = "sent", _("Virement demandé à la banque")
        PAID = "paid", _("Virée")
        REFUSED = "refused", _("Refusée")
        CANCELLED = "cancelled", _("Retirée par l’usager")
        RETURNED = "returned", _("Rejetée par la banque, portée au porte-monnaie")

    RUNNING = (Status.REQUESTED, Status.APPROVED, Status.SENT)

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="withdrawals", verbose_name=_("usager")
    )
    amount = MoneyField(_("montant"))
    holder = models.CharField(_("titulaire du compte"), max_length=70)
    iban = models.CharField(_("IBAN"), max_length=34)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.REQUESTED)
    requested_at = models.DateTimeField(_("demandée le"), auto_now_add=True)
    decided_at = models.DateTimeField(_("décidée le"), null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("décidée par")
    )
    reason = models.CharField(_("motif"), max_length=300, blank=True)
    order = models.ForeignKey(
        TransferOrder, on_delete=models.PROTECT, null=True, related_name="withdrawals", verbose_name=_("ordre")
    )
    ended_at = models.DateTimeField(_("terminée le"), null=True)

    objects = WithdrawalQuerySet.as_manager()

    class Meta:
        verbose_name = _("remboursement de crédits")
        verbose_name_plural = _("remboursements de crédits")
        ordering = ["-requested_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="withdrawal_is_positive"),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "cancelled"], decided_at=None, decided_by=None)
                | Q(decided_at__isnull=False, decided_by__isnull=False),
                name="decided_withdrawal_is_signed",
            ),
            # Whoever asks for money does not grant it.
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=F("user")), name="withdrawal_is_decided_by_another"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "approved", "sent"], ended_at=None)
                | (~Q(status__in=["requested", "approved", "sent"]) & Q(ended_at__isnull=False)),
                name="ended_withdrawal_is_dated",
            ),
            models.CheckConstraint(
                condition=Q(order=None, status__in=["requested", "approved", "refused", "cancelled"])
                | Q(order__isnull=False, status__in=["sent", "paid", "returned"]),
                name="sent_withdrawal_has_its_order",
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(status__in=["requested", "approved", "sent"]),
                name="one_running_withdrawal",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="withdrawal_transitions",
                field="status",
                transitions=[
                    ("requested", "approved"),
                    ("requested", "refused"),
                    ("requested", "cancelled"),
                    ("approved", "refused"),
                    ("approved", "sent"),
                    ("sent", "approved"),
                    ("sent", "paid"),
                    ("sent", "returned"),
                    ("paid", "returned"),
                ],
            ),
            # What is at the bank waits again only when its order is taken back.
            pgtrigger.Trigger(
                name="withdrawal_leaves_a_cancelled_order",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("status"),
                condition=pgtrigger.Condition("OLD.status = 'sent' AND NEW.status = 'approved'"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM wallet_transferorder WHERE id = OLD.order_id AND cancelled_at IS NOT NULL
                    ) THEN
                        RAISE EXCEPTION 'wallet_withdrawal %: its order is not cancelled', OLD.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="withdrawal_is_decided_outside_its_family",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("decided_by_id", "decided_at"),
                func=DECIDED_OUTSIDE_THE_FAMILY,
            ),
            pgtrigger.Trigger(
                name="withdrawal_is_returned_by_another",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("status"),
                condition=pgtrigger.Condition("OLD.status <> 'returned' AND NEW.status = 'returned'"),
                func=RETURNED_BY_ANOTHER,
            ),
            pgtrigger.ReadOnly(
                name="withdrawal_is_frozen", fields=["user", "amount", "holder", "iban", "requested_at"]
            ),
            pgtrigger.Protect(name="withdrawals_are_kept", operation=pgtrigger.Delete),
            not_truncated("withdrawals_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.user}"

    @property
    def is_running(self) -> bool:
        """Whether its money is neither with the family nor in its wallet."""
        return self.status in self.RUNNING

    @property
    def masked_iban(self) -> str:
        """What pages show of the account: `FR76 … 0189`."""
        return f"{self.iban[:4]} … {self.iban[-4:]}"

    @property
    def holder_words(self) -> str:
        """To whom the bank transfers it, and whether that is somebody else than whose credits they are."""
        return str(_("%s (pas l’usager)") % self.holder) if self.is_for_another else self.holder

    @property
    def is_for_another(self) -> bool:
        """Whether the holder does not bear the last name of whose credits they are, or the first where no last is known.

        One word of it that is somebody's own is enough (« Çelik-Lœb »); a first name alone is shared with strangers.
        """
        return not _words(self.holder) & _own(_words(self.user.last_name or self.user.first_name))


def _words(text: str) -> set[str]:
    """The words of a name as they are compared."""
    return set(re.findall(r"\w+", unidecode(sort_key(text)).lower()))


def _own(words: set[str]) -> set[str]:
    """Those of a name that strangers do not share: no titles, particles or letters, unless there is nothing else (« Ly »)."""
    names = words - NOBODYS
    return {word for word in names if len(word) > 2} or names or words - TITLES or words
