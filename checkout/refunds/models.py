"""Money on its way back to a card."""

from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated
from portal.common.money import MoneyField
from wallet.models import Movement

if TYPE_CHECKING:
    from accounts.models import User


def new_refund_reference() -> str:
    from checkout.models import new_reference

    return new_reference()


# What failed counts too: a cancellation is sent to the cards once. The movement's row is locked, of two at once the second
# counts the first.
WITHIN_ITS_CANCELLATION = """
    PERFORM 1 FROM wallet_movement WHERE id = NEW.cancellation_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(e.amount), 0) INTO given FROM checkout_payment p
        JOIN checkout_order o ON o.id = p.order_id
        JOIN wallet_wallet w ON w.user_id = o.user_id
        JOIN wallet_entry e ON e.account_id = w.account_id AND e.movement_id = NEW.cancellation_id
        JOIN wallet_movement m ON m.id = e.movement_id AND m.kind = 'cancellation'
        WHERE p.id = NEW.payment_id;
    SELECT coalesce(sum(amount), 0) INTO back FROM checkout_refund WHERE cancellation_id = NEW.cancellation_id;
    IF back + NEW.amount > given THEN
        RAISE EXCEPTION 'checkout_refund: cancellation % gave its payer less than that', NEW.cancellation_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


LONGEST_REASON = 200
# The key of the movement that puts a refund's euros into the wallet again, by the refund's reference.
FAILED_KEY = "refund:%s:failed"

# Nobody decides alone on what comes to their own family (checkout_own_payment, made by a migration): neither to its card, unless a
# cancellation has just given it to them, nor that it never reached it, which puts it into a wallet.
NOT_TO_ONES_OWN_CARD = """
    IF checkout_own_payment(NEW.payment_id, NEW.by_id) THEN
        RAISE EXCEPTION 'checkout_refund: nobody decides on their own card'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""

# Who says so stands on the movement, which is posted before the row says so.
NOT_BACK_FROM_ONES_OWN_CARD = """
    IF EXISTS (
        SELECT 1 FROM wallet_movement m
        WHERE m.key = format('FAILED_KEY', NEW.reference) AND checkout_own_payment(NEW.payment_id, m.by_id)
    ) THEN
        RAISE EXCEPTION 'checkout_refund: nobody says of their own card that it was not reached'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
""".replace("FAILED_KEY", FAILED_KEY)


class RefundQuerySet(models.QuerySet["Refund"]):
    def live(self) -> Self:
        """Refunds that have reached the card, or will."""
        return self.exclude(status=Refund.Status.FAILED)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.none()


class Refund(models.Model):
    """Euros of a card payment that go back to the card (« remboursement »), from their owner's wallet.

    requested -> done once the provider has taken it; requested -> failed when it never will: then they are in the wallet
    again. The ledger holds them on the provider's `refunding` account in between. done -> failed when a bank sends back days
    later what its provider had taken.
    """

    class Status(models.TextChoices):
        REQUESTED = "requested", _("Demandé")
        DONE = "done", _("Fait")
        FAILED = "failed", _("Impossible, porté au porte-monnaie")

    payment = models.ForeignKey(
        "checkout.Payment", on_delete=models.PROTECT, related_name="refunds", verbose_name=_("règlement")
    )
    # The key under which the provider pays back once, however often it is asked.
    reference = models.CharField(
        _("référence"), max_length=20, unique=True, default=new_refund_reference, editable=False
    )
    amount = MoneyField(_("montant"))
    reason = models.CharField(_("motif"), max_length=LONGEST_REASON)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.REQUESTED)
    movement = models.OneToOneField(Movement, on_delete=models.PROTECT, related_name="+", verbose_name=_("mouvement"))
    # The movement that put these euros into the wallet a moment before, whose note tells of both: none for what is sent
    # by hand, a note of its own.
    cancellation = models.ForeignKey(
        Movement, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("annulation")
    )
    provider_reference = models.CharField(_("référence chez le prestataire"), max_length=80, blank=True)
    note = models.CharField(_("remarque"), max_length=200, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("demandé par")
    )
    created_at = models.DateTimeField(_("demandé le"), auto_now_add=True)
    ended_at = models.DateTimeField(_("terminé le"), null=True)

    objects = RefundQuerySet.as_manager()

    class Meta:
        verbose_name = _("remboursement sur carte")
        verbose_name_plural = _("remboursements sur carte")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="refund_is_positive"),
            models.CheckConstraint(
                condition=Q(status="requested", ended_at=None) | (~Q(status="requested") & Q(ended_at__isnull=False)),
                name="ended_refund_is_dated",
            ),
        ]
        indexes = [models.Index(fields=["created_at"], condition=Q(status="requested"), name="refund_requested")]
        triggers = [
            pgtrigger.FSM(
                name="refund_transitions",
                field="status",
                transitions=[("requested", "done"), ("requested", "failed"), ("done", "failed")],
            ),
            pgtrigger.ReadOnly(
                name="refund_is_frozen",
                fields=["payment", "reference", "amount", "reason", "movement", "cancellation", "by", "created_at"],
            ),
            pgtrigger.Protect(name="refunds_are_kept", operation=pgtrigger.Delete),
            not_truncated("refunds_are_not_emptied"),
            # The payment's row is locked: of two refunds at once the second counts the first.
            pgtrigger.Trigger(
                name="refund_is_within_its_payment",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                declare=[("paid", "numeric"), ("state", "text"), ("back", "numeric")],
                func="""
                    SELECT amount, status INTO paid, state FROM checkout_payment WHERE id = NEW.payment_id FOR UPDATE;
                    IF state NOT IN ('captured', 'credited') THEN
                        RAISE EXCEPTION 'checkout_refund: payment % holds no money', NEW.payment_id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    SELECT coalesce(sum(amount), 0) INTO back FROM checkout_refund
                        WHERE payment_id = NEW.payment_id AND status <> 'failed';
                    IF back + NEW.amount > paid THEN
                        RAISE EXCEPTION 'checkout_refund: payment % would give back more than it took', NEW.payment_id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="refund_is_within_its_cancellation",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.cancellation_id IS NOT NULL"),
                declare=[("given", "numeric"), ("back", "numeric")],
                func=WITHIN_ITS_CANCELLATION,
            ),
            pgtrigger.Trigger(
                name="nobody_refunds_themselves",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.cancellation_id IS NULL"),
                func=NOT_TO_ONES_OWN_CARD,
            ),
            pgtrigger.Trigger(
                name="nobody_fails_their_own_refund",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.status <> 'failed' AND NEW.status = 'failed'"),
                func=NOT_BACK_FROM_ONES_OWN_CARD,
            ),
        ]

    def __str__(self) -> str:
        return self.reference
