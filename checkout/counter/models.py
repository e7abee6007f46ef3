"""What is taken at a counter: cash, cheques, CESU, each with the number of the receipt that the payer was given."""

from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Func
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from portal.common.db import not_truncated
from portal.common.formats import of
from portal.common.money import MoneyField
from wallet.models import Movement

if TYPE_CHECKING:
    from accounts.models import User


class Means(models.TextChoices):
    """How somebody pays at a counter; the values stand in Payment.provider."""

    CASH = "cash", _("Espèces")
    CHEQUE = "cheque", _("Chèque")
    CESU = "cesu", _("CESU préfinancé")

    @property
    def inside(self) -> str:
        """The same inside a sentence: « espèces », « CESU préfinancé »."""
        return str(self.label) if self == Means.CESU else str(self.label).lower()


# The one spelling in which the numbers of receipts and slips are compared: letters and groups of digits, in capitals, so that
# « bord 77 », « BORD77 » and BORD‑77 with the hyphen of a word processor are one, while 1/23 and 12/3 of two receipt books
# are two. A function of the database (migration 0050), which the index, the triggers and the actions ask; what was typed, as
# far as it is seen, is what is kept and shown.
SPELLED = "checkout_number_spelled"


def spelling(number: str | models.Value = "number") -> Func:
    """The column `number`, or what somebody has typed (a Value), in the spelling that is compared."""
    return Func(number, function=SPELLED, output_field=models.TextField())


def numbered(typed: str) -> models.Q:
    """Those of this number, however theirs and this one were typed."""
    return models.Q(Exact(spelling(), spelling(models.Value(typed))))


def has_letters_or_digits() -> models.Q:
    """Of « – » nothing would be left to compare."""
    return ~models.Q(Exact(spelling(), models.Value("", output_field=models.TextField())))


# Two that write « q 7 » and « Q-7 » at once come one after the other. Of the very same letters the constraint speaks. Both
# triggers look at what is written from now on: rows of before that are one number today stand as they are.
NUMBER_IN_ANY_SPELLING = f"""
    PERFORM pg_advisory_xact_lock(hashtext('receipt:' || {SPELLED}(NEW.number)));
    IF EXISTS (
        SELECT 1 FROM checkout_counterreceipt r
        WHERE {SPELLED}(r.number) = {SPELLED}(NEW.number) AND r.number <> NEW.number
          AND r.commune_id IS NOT DISTINCT FROM NEW.commune_id
    ) THEN
        RAISE EXCEPTION 'checkout_counterreceipt: % is taken in another spelling', NEW.number
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_number_once';
    END IF;
    RETURN NEW;
"""  # noqa: S608  built of constants of the code alone
# A slip is written again once its deposit was taken back: what stands bears a number once, in whatever spelling.
SLIP_STANDS_ONCE = f"""
    PERFORM pg_advisory_xact_lock(hashtext('till:' || NEW.means));
    IF EXISTS (
        SELECT 1 FROM checkout_tilldeposit d
        WHERE d.means = NEW.means AND {SPELLED}(d.number) = {SPELLED}(NEW.number)
          AND NOT EXISTS (SELECT 1 FROM wallet_movement m WHERE m.reverses_id = d.movement_id)
    ) THEN
        RAISE EXCEPTION 'checkout_tilldeposit: slip % stands already', NEW.number
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'deposit_slip_once';
    END IF;
    RETURN NEW;
"""  # noqa: S608  built of constants of the code alone
# One after the other, whoever takes something out: the second counts what the first has taken. The movement is posted by then.
WITHIN_THE_TILL = """
    PERFORM pg_advisory_xact_lock(hashtext('till:' || NEW.means));
    IF (
        SELECT coalesce(sum(e.amount), 0) FROM wallet_entry e JOIN wallet_account a ON a.id = e.account_id
        WHERE a.code = 'till:' || NEW.means
    ) > 0 THEN
        RAISE EXCEPTION 'checkout_tilldeposit: the till of % does not hold that much', NEW.means
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


# Whoever writes the receipt is not who is credited, nor of their family.
NOT_FOR_ONESELF = """
    IF EXISTS (
        SELECT 1 FROM checkout_payment p JOIN checkout_order o ON o.id = p.order_id
        WHERE p.id = NEW.payment_id AND families_own_family(NEW.by_id, o.user_id)
    ) THEN
        RAISE EXCEPTION 'checkout_counterreceipt: nobody takes money for their own account or family'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


class CounterReceiptQuerySet(models.QuerySet["CounterReceipt"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(commune__in=user.till_communes)


class TillDepositQuerySet(models.QuerySet["TillDeposit"]):
    def standing(self) -> Self:
        """Those that were not taken back: a reversed one has left the till in nobody's hands."""
        return self.filter(movement__reversed_by=None)

    def of_slip(self, means: Means, number: str) -> Self:
        """Those of one slip, however its number was typed then; `number` is as `spelled` gives it."""
        return self.alias(spelling=spelling()).filter(means=means, spelling=number)

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.none()


class CounterReceipt(models.Model):
    """The receipt (« quittance ») of a payment at a counter: who took it, where, under which number of the receipt book."""

    payment = models.OneToOneField(
        "checkout.Payment", on_delete=models.PROTECT, related_name="counter_receipt", verbose_name=_("règlement")
    )
    number = models.CharField(_("numéro de quittance"), max_length=30)
    cheque = models.CharField(_("banque et numéro du chèque"), max_length=80, blank=True)
    commune = models.ForeignKey(
        Commune,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("guichet"),
        help_text=_("Vide\u00a0: le guichet de l’agglomération."),
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("encaissé par")
    )
    at = models.DateTimeField(_("encaissé le"), auto_now_add=True)

    order_is_shown: bool  # read by the administration: whether who asks may open the order

    objects = CounterReceiptQuerySet.as_manager()

    class Meta:
        verbose_name = _("encaissement au guichet")
        verbose_name_plural = _("encaissements au guichet")
        ordering = ["-at", "-pk"]
        constraints = [
            # Each counter has a receipt book of its own.
            models.UniqueConstraint(fields=["commune", "number"], nulls_distinct=False, name="receipt_number_once"),
            models.CheckConstraint(condition=has_letters_or_digits(), name="counter_receipt_has_a_number"),
        ]
        indexes = [models.Index(spelling(), name="receipt_number_spelled")]
        triggers = [
            pgtrigger.Trigger(
                name="receipt_number_in_any_spelling",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=NUMBER_IN_ANY_SPELLING,
            ),
            pgtrigger.Trigger(
                name="nobody_takes_their_own_money",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=NOT_FOR_ONESELF,
            ),
            pgtrigger.Protect(name="counter_receipts_stay", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("counter_receipts_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def words(self) -> str:
        """What its payer finds it by: « guichet d’Aiguilhe, espèces, quittance n° Q-2026-001 »."""
        return _("guichet %(where)s, %(means)s, quittance n°\u00a0%(number)s") % {
            "where": of(self.commune.name) if self.commune else _("de l’agglomération"),
            "means": Means(self.payment.provider).inside,
            "number": self.number,
        }


class TillDeposit(models.Model):
    """What the régisseur has taken from the till to the bank (« versement »): one means, one slip.

    A deposit that was written wrong is taken back by two; the right one is the next edition of the same slip.
    """

    means = models.CharField(_("moyen"), max_length=10, choices=Means)
    amount = MoneyField(_("montant"))
    number = models.CharField(_("numéro du bordereau"), max_length=40)
    edition = models.PositiveSmallIntegerField(_("édition"), default=1, db_default=1)
    movement = models.OneToOneField(Movement, on_delete=models.PROTECT, related_name="+", verbose_name=_("mouvement"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("versé par")
    )
    at = models.DateTimeField(_("versé le"), auto_now_add=True)

    objects = TillDepositQuerySet.as_manager()

    class Meta:
        verbose_name = _("versement de la caisse")
        verbose_name_plural = _("versements de la caisse")
        ordering = ["-at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="till_deposit_is_positive"),
            models.UniqueConstraint(fields=["means", "number", "edition"], name="deposit_slip_once"),
            models.CheckConstraint(condition=has_letters_or_digits(), name="till_deposit_has_a_number"),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="slip_stands_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=SLIP_STANDS_ONCE,
            ),
            pgtrigger.Trigger(
                name="till_gives_what_it_holds",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=WITHIN_THE_TILL,
            ),
            pgtrigger.Protect(name="till_deposits_stay", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("till_deposits_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return self.number
