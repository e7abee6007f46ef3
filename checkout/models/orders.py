"""What was ordered, with frozen prices, and the means that pay it."""

import datetime as dt
import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune, Terms
from bookings.models import Booking, Ticket
from checkout.counter.models import Means
from checkout.models.cart import Cart
from checkout.models.events import ProviderEvent
from checkout.vouchers.models import LINE_IS_SHARED_OUT
from portal.common.db import not_truncated
from portal.common.formats import PARIS, euros
from portal.common.money import ZERO, MoneyField
from services.models import Slot
from wallet.actions import clearing_code, till_code
from wallet.models import Movement

if TYPE_CHECKING:
    from accounts.models import User
    from checkout.vouchers.models import VoucherUse


def new_reference() -> str:
    """A reference that nobody guesses: 20 characters, 119 bits."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(alphabet) for _ in range(20))


class OrderQuerySet(models.QuerySet["Order"]):
    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def visible_to(self, user: "User") -> Self:
        """Orders in which one of this member of staff's communes earns something."""
        if user.is_operator:
            return self
        return self.filter(pk__in=OrderLine.objects.filter(commune__in=user.commune_ids).values("order"))

    def awaiting_nobody(self) -> Self:
        """Pending orders that no payment is running for."""
        running = Payment.objects.filter(order=OuterRef("pk"), status__in=[*Payment.RUNNING])
        return self.filter(~Exists(running), status=Order.Status.PENDING)


class Order(models.Model):
    """A frozen set of lines to pay (« commande »)."""

    class Kind(models.TextChoices):
        BOOKING = "booking", _("Réservation")
        TOP_UP = "top_up", _("Dépôt de fonds")

    class Status(models.TextChoices):
        PENDING = "pending", _("En attente de règlement")
        PAID = "paid", _("Payée")
        CANCELLED = "cancelled", _("Abandonnée")

    reference = models.CharField(_("référence"), max_length=20, unique=True, default=new_reference, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", verbose_name=_("usager")
    )
    kind = models.CharField(_("nature"), max_length=10, choices=Kind, default=Kind.BOOKING)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.PENDING)
    total = MoneyField(_("total"))
    cart = models.ForeignKey(Cart, on_delete=models.PROTECT, null=True, related_name="orders")
    billing_address = models.TextField(_("adresse"), blank=True)
    terms = models.ForeignKey(
        Terms, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("conditions acceptées")
    )
    created_at = models.DateTimeField(_("créée le"), auto_now_add=True, db_index=True)
    paid_at = models.DateTimeField(_("payée le"), null=True)
    cancelled_at = models.DateTimeField(_("abandonnée le"), null=True)
    # When it could last not be ended by itself: the others come before it.
    failed_at = models.DateTimeField(null=True, editable=False)

    line_count: int  # read by checkout.standing, as are:
    lost_count: int
    ticket_count: int
    dates_back: int
    tickets_back: int
    has_expired: bool
    was_refused: bool
    credited: Decimal | None
    in_cart: bool
    captured: Decimal  # read by checkout.verification, as is:
    lines_total: Decimal
    shown_total: Decimal  # read by the administration: what one may see of it, as are:
    shown_lines: Sequence["OrderLine"]
    shown_uses: Sequence["VoucherUse"]

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = _("commande")
        verbose_name_plural = _("commandes")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=Q(total__gte=0), name="order_total_is_not_negative"),
            models.CheckConstraint(
                condition=Q(status="pending", paid_at=None, cancelled_at=None)
                | Q(status="paid", paid_at__isnull=False, cancelled_at=None)
                | Q(status="cancelled", paid_at=None, cancelled_at__isnull=False),
                name="order_status_is_dated",
            ),
            models.UniqueConstraint(
                fields=["cart"], condition=Q(status__in=["pending", "paid"]), name="cart_ordered_once"
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="order_transitions", field="status", transitions=[("pending", "paid"), ("pending", "cancelled")]
            ),
            pgtrigger.ReadOnly(
                name="order_is_frozen",
                fields=["reference", "user", "kind", "total", "cart", "billing_address", "terms", "created_at"],
            ),
            pgtrigger.Protect(name="orders_are_kept", operation=pgtrigger.Delete),
            not_truncated("orders_are_not_emptied"),
            # Deferred: the payments are written after the order when both come in one INSERT each.
            pgtrigger.Trigger(
                name="paid_order_has_its_payments",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.status = 'paid'"),
                func="""
                    IF NEW.total <> coalesce((
                        SELECT sum(amount) FROM checkout_payment WHERE order_id = NEW.id AND status = 'captured'
                    ), 0) THEN
                        RAISE EXCEPTION 'checkout_order % is paid, and its captured payments are not its total', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-created_at"], name="order_by_user"),
            models.Index(fields=["created_at"], condition=Q(status="pending"), name="order_pending"),
        ]

    def __str__(self) -> str:
        return f"{capfirst(self._meta.verbose_name)} {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.reference])

    @property
    def reserved(self) -> Decimal:
        """How many euros of the wallet a running try to pay has set aside."""
        parts = self.payments.filter(status=Payment.Status.RESERVED)
        return sum(parts.values_list("amount", flat=True), ZERO)

    @property
    def last_try(self) -> "Payment | None":
        """The newest try to pay it by card, however it ended."""
        return self.payments.exclude(provider=Payment.WALLET).order_by("-pk").first()

    @property
    def number(self) -> str:
        """What people quote on the telephone: year and serial number, `2026-000123`."""
        return f"{self.created_at.astimezone(PARIS).year}-{self.pk:06d}"


# What a family pays for a line, in euros: its price without what vouchers take off.
PAID = F("unit_price") - F("discount")


class OrderLineQuerySet(models.QuerySet["OrderLine"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)

    def with_places(self) -> Self:
        """Each with the service that it is of and whose that is: what `place` reads."""
        return self.select_related(
            "booking__open_day__activity__service__commune", "ticket__activity__service__commune"
        )


class OrderLine(models.Model):
    """One booking, one ticket or one item of an order, with everything its paper needs frozen."""

    class Kind(models.TextChoices):
        BOOKING = "booking", _("Réservation")
        TICKET = "ticket", _("E-billet")
        CREDIT = "credit", _("Crédits")
        FEE = "fee", _("Frais")

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines", verbose_name=_("commande"))
    kind = models.CharField(_("nature"), max_length=10, choices=Kind, default=Kind.BOOKING)
    booking = models.ForeignKey(Booking, on_delete=models.PROTECT, null=True, related_name="order_lines")
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, null=True, related_name="order_lines")
    commune = models.ForeignKey(
        Commune, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("commune qui encaisse")
    )
    label = models.CharField(_("produit"), max_length=120)
    detail = models.CharField(_("prestation"), max_length=60, blank=True)
    beneficiary_name = models.CharField(_("bénéficiaire"), max_length=165, blank=True)
    date = models.DateField(_("date"), null=True)
    # Of a ticket: when it is good, and its stop.
    note = models.CharField(_("validité"), max_length=250, blank=True, default="", db_default="")
    unit_price = MoneyField(_("prix"))
    surcharge = MoneyField(_("dont majoration"), default=ZERO, db_default=ZERO)
    # What vouchers take off, borne by those whom its shares name.
    discount = MoneyField(_("remise"), default=ZERO, db_default=ZERO)
    explanation = models.CharField(_("pourquoi ce prix"), max_length=400, blank=True, default="", db_default="")
    # What the price pays for, as the commune declared it of the slot when it was ordered, or set right since; empty: she
    # had not yet.
    nature = models.CharField(
        _("pour les impôts"), max_length=6, choices=Slot.Nature, blank=True, default="", db_default=""
    )
    meal_price = MoneyField(_("dont repas"), null=True)
    cancelled_at = models.DateTimeField(_("annulée le"), null=True)
    refund = models.ForeignKey(
        Movement, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("remboursement")
    )

    objects = OrderLineQuerySet.as_manager()

    class Meta:
        verbose_name = _("ligne de commande")
        verbose_name_plural = _("lignes de commande")
        ordering = ["pk"]
        constraints = [
            # Nor is a price negative then.
            models.CheckConstraint(
                condition=Q(surcharge__gte=0, surcharge__lte=F("unit_price")), name="line_surcharge_is_in_the_price"
            ),
            models.CheckConstraint(
                condition=Q(discount__gte=0, discount__lte=F("unit_price")), name="line_discount_is_in_the_price"
            ),
            models.CheckConstraint(
                condition=Q(kind="booking", booking__isnull=False) | (~Q(kind="booking") & Q(booking=None)),
                name="booking_line_has_a_booking",
            ),
            models.CheckConstraint(
                condition=Q(kind="ticket", ticket__isnull=False) | (~Q(kind="ticket") & Q(ticket=None)),
                name="ticket_line_has_a_ticket",
            ),
            models.CheckConstraint(
                condition=Q(refund=None) | Q(cancelled_at__isnull=False), name="refunded_line_is_cancelled"
            ),
            # As its slot says it; a part that is unknown would be counted as care.
            models.CheckConstraint(
                condition=Q(nature="both", meal_price__isnull=False, meal_price__gt=0)
                | ~Q(nature="both") & Q(meal_price=None),
                name="line_with_a_meal_says_its_price",
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="line_is_frozen", exclude=["cancelled_at", "refund", "nature", "meal_price"]),
            # What was declared by mistake is set right by checkout.actions.declarations: a line becomes nothing but what
            # the last correction of its slot says, which is kept, and which is of the days on which it was ordered.
            pgtrigger.Trigger(
                name="line_says_what_is_declared",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("nature", "meal_price"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM (
                            SELECT * FROM checkout_declarationcorrection
                            WHERE slot_id = coalesce(
                                (SELECT b.slot_id FROM bookings_booking b WHERE b.id = NEW.booking_id),
                                (SELECT t.slot_id FROM bookings_ticket t WHERE t.id = NEW.ticket_id)
                            ) ORDER BY id DESC LIMIT 1
                        ) c JOIN checkout_order o ON o.id = NEW.order_id
                        WHERE c.nature = NEW.nature AND c.meal_price IS NOT DISTINCT FROM NEW.meal_price
                            AND o.created_at <= c.made_at
                            AND (o.created_at AT TIME ZONE 'Europe/Paris')::date
                                BETWEEN c.since AND coalesce(c.until, 'infinity')
                    ) THEN
                        RAISE EXCEPTION 'checkout_orderline %: no correction says that', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="lines_are_kept", operation=pgtrigger.Delete),
            not_truncated("lines_are_not_emptied"),
            pgtrigger.Trigger(
                name="discount_is_shared_out",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.discount > 0"),
                func=LINE_IS_SHARED_OUT.format(line="NEW") + "RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def paid(self) -> Decimal:
        """What the family pays for it, in euros: the price without what vouchers take off."""
        return self.unit_price - self.discount

    @property
    def item(self) -> Booking | Ticket | None:
        """The places or the ticket that the line sells; None for credits and fees."""
        return self.booking or self.ticket

    @property
    def place(self) -> str:
        """Who gives it: the service and whose it is; empty for credits and fees."""
        return self.item.activity.service.full_name if self.item else ""


FORGET_AFTER = dt.timedelta(hours=24)  # an order that nobody goes on paying
GIVE_UP_AFTER = dt.timedelta(hours=6)  # a payment that its provider knows nothing of
# A page at a bank lives an hour, and a message takes a while: what the bank states later than this stays true.
PAGE_LIVES = dt.timedelta(minutes=75)


class PaymentQuerySet(models.QuerySet["Payment"]):
    def named(self, reference: str, *, provider: str) -> "Payment | None":
        """The payment of a provider that has this reference, ours or the provider's own; None for none."""
        if not reference:
            return None
        return self.filter(Q(reference=reference) | Q(provider_reference=reference), provider=provider).first()

    def awaiting_provider(self) -> Self:
        """Payments whose end only the provider knows."""
        return self.filter(status=Payment.Status.STARTED)

    def may_still_be_paid(self) -> Self:
        """Card payments that ended without money, and whose provider has not said so since their page was closed.

        A refused card is followed by another one on the same page, and we give payments up that nobody told us about.
        """
        stated = ProviderEvent.objects.filter(
            payment=OuterRef("pk"),
            outcome__in=[ProviderEvent.Outcome.APPLIED, ProviderEvent.Outcome.REPEATED],
            received_at__gt=OuterRef("created_at") + PAGE_LIVES,
        )
        ended = self.filter(~Exists(stated), status__in=Payment.WITHOUT_MONEY)
        return ended.exclude(provider__in=[Payment.WALLET, *Payment.COUNTER])

    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(order__in=Order.objects.visible_to(user))


class Payment(models.Model):
    """One means of payment of an order (« règlement »); wallet and card on one order are two rows.

    started -> captured | refused | abandoned; a card captured when the order can no longer be kept becomes `credited`:
    the money is in the wallet. reserved -> captured | abandoned for the wallet's part beside a card.
    """

    WALLET = "wallet"
    COUNTER = frozenset(Means.values)

    class Status(models.TextChoices):
        STARTED = "started", _("Commencé")
        RESERVED = "reserved", _("Réservé")
        CAPTURED = "captured", _("Encaissé")
        REFUSED = "refused", _("Refusé")
        ABANDONED = "abandoned", _("Abandonné")
        CREDITED = "credited", _("Porté au porte-monnaie")

    RUNNING = (Status.STARTED, Status.RESERVED)
    WITHOUT_MONEY = (Status.REFUSED, Status.ABANDONED)

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments", verbose_name=_("commande"))
    reference = models.CharField(_("référence"), max_length=20, unique=True, default=new_reference, editable=False)
    provider = models.CharField(_("moyen"), max_length=20)
    # The kind of card that was chosen on our page, where the provider asks for it.
    method = models.CharField(_("carte choisie"), max_length=20, blank=True, default="", db_default="")
    amount = MoneyField(_("montant"))
    status = models.CharField(_("statut"), max_length=10, choices=Status)
    provider_reference = models.CharField(_("référence chez le prestataire"), max_length=80, blank=True)
    created_at = models.DateTimeField(_("commencé le"), auto_now_add=True)
    ended_at = models.DateTimeField(_("terminé le"), null=True)
    checked_at = models.DateTimeField(_("dernière question au prestataire"), null=True)

    back: Decimal  # what has gone back to the card, read by checkout.refunds.actions.card_shares

    objects = PaymentQuerySet.as_manager()

    class Meta:
        verbose_name = _("règlement")
        verbose_name_plural = _("règlements")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_is_positive"),
            models.CheckConstraint(
                condition=Q(status__in=["started", "reserved"], ended_at=None)
                | (~Q(status__in=["started", "reserved"]) & Q(ended_at__isnull=False)),
                name="ended_payment_is_dated",
            ),
            models.UniqueConstraint(
                fields=["order", "provider"],
                condition=Q(status__in=["started", "reserved"]),
                name="one_running_payment_per_means",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="payment_transitions",
                field="status",
                transitions=[
                    ("started", "captured"),
                    ("started", "refused"),
                    ("started", "abandoned"),
                    ("started", "credited"),
                    ("refused", "captured"),
                    ("refused", "credited"),
                    ("abandoned", "captured"),
                    ("abandoned", "credited"),
                    ("reserved", "captured"),
                    ("reserved", "abandoned"),
                ],
            ),
            pgtrigger.ReadOnly(name="payment_is_frozen", fields=["order", "reference", "provider", "method", "amount"]),
            pgtrigger.Protect(name="payments_are_kept", operation=pgtrigger.Delete),
            not_truncated("payments_are_not_emptied"),
            # Paid is paid: payment and order in one transaction, whichever of the two is written first.
            pgtrigger.Trigger(
                name="captured_payment_pays_its_order",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.status = 'captured'"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM checkout_order o WHERE o.id = NEW.order_id AND o.status = 'paid' AND o.total = (
                            SELECT sum(amount) FROM checkout_payment WHERE order_id = NEW.order_id AND status = 'captured'
                        )
                    ) THEN
                        RAISE EXCEPTION 'checkout_payment % is captured, and its order is not paid by it', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
            pgtrigger.Trigger(
                name="counter_payment_has_its_receipt",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.provider IN ('cash', 'cheque', 'cesu')"),
                func="""
                    IF NOT EXISTS (SELECT 1 FROM checkout_counterreceipt WHERE payment_id = NEW.id) THEN
                        RAISE EXCEPTION 'checkout_payment % was taken at a counter without a receipt', NEW.id
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], condition=Q(status="started"), name="payment_started"),
            models.Index(fields=["created_at"], condition=Q(status="abandoned"), name="payment_abandoned"),
        ]

    def __str__(self) -> str:
        return f"{self.means_name}, {euros(self.amount)}"

    @property
    def is_wallet(self) -> bool:
        """Whether this part is paid from the prepaid wallet."""
        return self.provider == self.WALLET

    @property
    def page_closes_at(self) -> dt.datetime:
        """From when on nobody can pay at the provider's page any more."""
        return self.created_at + PAGE_LIVES

    @property
    def can_be_asked_about(self) -> bool:
        """Whether a provider may know more of it than we do: a card payment that has brought no money yet."""
        return self.status in {self.Status.STARTED, *self.WITHOUT_MONEY} and not (self.is_wallet or self.is_counter)

    @property
    def is_counter(self) -> bool:
        """Whether it was taken at a counter."""
        return self.provider in self.COUNTER

    @property
    def means_name(self) -> str:
        """How its payer calls the means: « Porte-monnaie », « Carte bancaire », « Chèque »."""
        if self.is_counter:
            return str(Means(self.provider).label)
        return str(_("Porte-monnaie") if self.is_wallet else _("Carte bancaire"))

    @property
    def source(self) -> str:
        """The code of the ledger's account that its money comes from, but for the wallet's part."""
        return till_code(self.provider) if self.is_counter else clearing_code(self.provider)
