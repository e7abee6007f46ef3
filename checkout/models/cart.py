"""What a person is about to order: held places and tickets with the prices that were shown."""

from typing import Self

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Address, Terms
from bookings.models import Booking, Hold, Ticket
from checkout.vouchers.models import CartVoucher
from portal.common.money import ZERO, MoneyField
from services.models import Tariff


class CartQuerySet(models.QuerySet["Cart"]):
    def live(self) -> Self:
        """Carts that are being filled or paid."""
        return self.exclude(status=Cart.Status.DONE)

    def with_terms_in_force(self) -> Self:
        """Each with the key of the conditions of sale in force, `terms_in_force`; None before any is published."""
        return self.annotate(terms_in_force=Terms.objects.newest(Terms.Kind.SALE).values("pk")[:1])

    def with_codes(self) -> Self:
        """Each with `has_codes`: whether a voucher's code was entered in it."""
        return self.annotate(has_codes=Exists(CartVoucher.objects.filter(cart=OuterRef("pk"))))


class Cart(models.Model):
    """What a person is about to order (« panier »): one live cart each, its places held together until one moment."""

    class Status(models.TextChoices):
        OPEN = "open", _("Ouvert")
        PAYING = "paying", _("En cours de règlement")
        DONE = "done", _("Commandé")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="carts")
    hold = models.OneToOneField(Hold, on_delete=models.PROTECT, related_name="cart")
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.OPEN)
    address = models.ForeignKey(Address, on_delete=models.SET_NULL, null=True, related_name="+")
    terms = models.ForeignKey(Terms, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)
    # By « Garder mes places 15 minutes de plus », once.
    prolonged_at = models.DateTimeField(_("prolongé le"), null=True)

    terms_in_force: int | None  # read by with_terms_in_force
    has_codes: bool  # read by with_codes
    is_new = False  # opened by the action that runs: there is no line of it to look for

    objects = CartQuerySet.as_manager()

    class Meta:
        verbose_name = _("panier")
        verbose_name_plural = _("paniers")
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(status__in=["open", "paying"]), name="one_live_cart_per_user"
            )
        ]
        triggers = [
            # What was ordered is not ordered again from the same cart.
            pgtrigger.FSM(
                name="cart_transitions",
                field="status",
                transitions=[("open", "paying"), ("paying", "open"), ("open", "done"), ("paying", "done")],
            ),
            pgtrigger.ReadOnly(name="cart_is_frozen", fields=["user", "hold", "created_at"]),
            pgtrigger.Trigger(
                name="cart_is_prolonged_once",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("prolonged_at"),
                condition=pgtrigger.Condition(
                    "OLD.prolonged_at IS NOT NULL AND NEW.prolonged_at IS DISTINCT FROM OLD.prolonged_at"
                ),
                func="RAISE EXCEPTION 'checkout_cart %: its places are kept longer once', OLD.id;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


# A place that its cart does not hold is one that the waiting list offers to the cart's owner: its own limit keeps it.
HOLDS_ITS_PLACE = """
    IF EXISTS (
        SELECT 1 FROM new_rows l
        JOIN checkout_cart c ON c.id = l.cart_id
        JOIN bookings_booking b ON b.id = l.booking_id AND b.hold_id <> c.hold_id
        WHERE NOT EXISTS (
            SELECT 1 FROM bookings_waitinglistentry w
            WHERE w.booking_id = b.id AND w.status = 'offered' AND w.user_id = c.user_id
        )
    ) THEN
        RAISE EXCEPTION 'checkout_cartline: a cart holds its places, or they are offered to its owner'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
"""


class CartLine(models.Model):
    """One held booking or ticket in a cart, with the price that was shown."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    booking = models.OneToOneField(Booking, on_delete=models.PROTECT, null=True, related_name="cart_line")
    ticket = models.OneToOneField(Ticket, on_delete=models.PROTECT, null=True, related_name="cart_line")
    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="+")
    unit_price = MoneyField(_("prix unitaire"))
    surcharge = MoneyField(_("dont majoration"), default=ZERO, db_default=ZERO)
    explanation = models.CharField(_("pourquoi ce prix"), max_length=400, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("ligne de panier")
        verbose_name_plural = _("lignes de panier")
        constraints = [
            # Nor is a price negative then.
            models.CheckConstraint(
                condition=Q(surcharge__gte=0, surcharge__lte=F("unit_price")), name="cart_surcharge_is_in_the_price"
            ),
            models.CheckConstraint(
                condition=Q(booking__isnull=False, ticket=None) | Q(booking=None, ticket__isnull=False),
                name="cart_line_is_a_booking_or_a_ticket",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="line_holds_its_place",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=HOLDS_ITS_PLACE,
            )
        ]

    def __str__(self) -> str:
        return str(self.item)

    @property
    def item(self) -> Booking | Ticket:
        """What the line is for: held places or a held ticket, which know their beneficiary, slot and status alike."""
        item = self.booking or self.ticket
        assert item is not None  # cart_line_is_a_booking_or_a_ticket
        return item
