"""Vouchers (« bons de réduction »): what they take off, from what, for whom; and each use, down to the cent of a line."""

import re
from typing import TYPE_CHECKING, Self

import pghistory
import pgtrigger
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Commune
from families.own_family import family_of
from portal.common.db import not_truncated
from portal.common.money import ZERO, MoneyField
from services.models import AccessProfile, Activity, Service

if TYPE_CHECKING:
    from accounts.models import User

CODE = re.compile(r"^[A-Z0-9-]{3,24}$")
# Every use moves the counter, which is not followed: the uses themselves are kept.
NOT_FOLLOWED = ["used"]


def typed(code: str) -> str:
    """A code as it is stored, however it was typed: `rentrée 10` is not one, `rentree 10` is RENTREE10."""
    return "".join(code.split()).upper()


class VoucherQuerySet(models.QuerySet["Voucher"]):
    def visible_to(self, user: "User") -> Self:
        """Those whose cost one of this member of staff's communes bears."""
        return self if user.is_operator else self.filter(commune__in=user.commune_ids)

    def of(self, user: "User") -> Self:
        """Those that were given to this person alone."""
        return self.filter(user=user)

    def offered_to(self, user: "User") -> Self:
        """Those that this person may enter: everybody's, and their own."""
        return self.filter(Q(user=None) | Q(user=user))


@pghistory.track(
    pghistory.UpdateEvent(label="before", row=pghistory.Old, condition=pgtrigger.AnyChange(exclude=NOT_FOLLOWED)),
    exclude=NOT_FOLLOWED,
    append_only=True,
)
class Voucher(models.Model):
    """A reduction that a code gives: a percentage or euros, on what its scope names, borne by a commune or the agglomération.

    Borne by a commune it takes off that commune's products alone. `used` is counted by PostgreSQL from the uses' rows. What
    it takes off, from whom and for whom is frozen: families were told; the rest may still be changed.
    """

    code = models.CharField(
        _("code"),
        max_length=24,
        unique=True,
        validators=[
            RegexValidator(CODE, _("Trois à vingt-quatre lettres majuscules sans accent, chiffres ou tirets."))
        ],
    )
    label = models.CharField(
        _("libellé"), max_length=120, help_text=_("Les familles le lisent\u00a0: « Rentrée 2026 ».")
    )
    percent = models.DecimalField(
        _("pourcentage"),
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    amount = MoneyField(_("montant (€)"), null=True, blank=True)
    commune = models.ForeignKey(
        Commune,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("qui paie la remise"),
        help_text=_("Une commune paie sur ses propres produits\u00a0; l’agglomération, sur tous."),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="vouchers",
        verbose_name=_("bon personnel de"),
        help_text=_("Vide\u00a0: toute personne qui connaît le code."),
    )
    valid_from = models.DateField(_("commandes à partir du"), null=True, blank=True)
    valid_until = models.DateField(_("commandes jusqu’au (inclus)"), null=True, blank=True)
    days_from = models.DateField(_("dates réservées à partir du"), null=True, blank=True)
    days_until = models.DateField(_("dates réservées jusqu’au (inclus)"), null=True, blank=True)
    max_uses = models.PositiveIntegerField(
        _("utilisations en tout"), null=True, blank=True, help_text=_("Vide\u00a0: sans limite.")
    )
    uses_per_family = models.PositiveSmallIntegerField(
        _("utilisations par famille"),
        null=True,
        blank=True,
        default=1,
        help_text=_("Vide\u00a0: sans limite. Les comptes qui ont un enfant en commun sont une famille."),
    )
    minimum = MoneyField(_("commande d’au moins (€)"), default=ZERO)
    stackable = models.BooleanField(_("se cumule avec d’autres bons"), default=False)
    is_active = models.BooleanField(_("en service"), default=True)
    batch = models.CharField(_("lot"), max_length=60, blank=True, default="", editable=False, db_index=True)
    used = models.PositiveIntegerField(_("utilisé"), default=0, editable=False)
    created_at = models.DateTimeField(_("créé le"), auto_now_add=True)

    objects = VoucherQuerySet.as_manager()

    class Meta:
        verbose_name = _("bon de réduction")
        verbose_name_plural = _("bons de réduction")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(code__regex=CODE.pattern), name="voucher_code_is_typed_easily"),
            models.CheckConstraint(
                condition=Q(percent__isnull=False, percent__gt=0, percent__lte=100, amount=None)
                | Q(percent=None, amount__isnull=False, amount__gt=0),
                name="voucher_is_percent_or_amount",
            ),
            models.CheckConstraint(condition=Q(minimum__gte=0), name="voucher_minimum_is_not_negative"),
            models.CheckConstraint(
                condition=Q(valid_from=None) | Q(valid_until=None) | Q(valid_until__gte=F("valid_from")),
                name="voucher_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(days_from=None) | Q(days_until=None) | Q(days_until__gte=F("days_from")),
                name="voucher_days_are_in_order",
            ),
            models.CheckConstraint(
                condition=(Q(max_uses=None) | Q(max_uses__gte=1))
                & (Q(uses_per_family=None) | Q(uses_per_family__gte=1)),
                name="voucher_can_be_used",
            ),
            models.CheckConstraint(
                condition=Q(max_uses=None) | Q(used__lte=F("max_uses")), name="voucher_is_not_overused"
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="voucher_is_frozen",
                fields=["code", "percent", "amount", "commune", "user", "batch", "created_at"],
            ),
            # Only the triggers of its uses write `used`: they run inside another trigger, hence the depth.
            pgtrigger.Trigger(
                name="uses_are_counted",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("used"),
                condition=pgtrigger.Condition("OLD.used IS DISTINCT FROM NEW.used AND pg_trigger_depth() = 0"),
                func="RAISE EXCEPTION 'checkout_voucher.used is counted from its uses';",
            ),
            pgtrigger.Trigger(
                name="voucher_starts_unused",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.used <> 0"),
                func="RAISE EXCEPTION 'checkout_voucher.used is counted from its uses: a voucher starts unused';",
            ),
            not_truncated("vouchers_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return self.code

    def save(self, *args: object, **kwargs: object) -> None:
        """Save all but `used`, which PostgreSQL counts and which may have moved since this row was read."""
        if self.pk is not None and not self._state.adding and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [f.name for f in self._meta.concrete_fields if f.name not in ("id", "used")]
        super().save(*args, **kwargs)  # type: ignore[arg-type]


WITHIN_THE_COMMUNE = """
    IF EXISTS (
        SELECT 1 FROM checkout_voucher v WHERE v.id = NEW.voucher_id AND v.commune_id IS NOT NULL
          AND v.commune_id IS DISTINCT FROM coalesce(
              NEW.commune_id,
              (SELECT s.commune_id FROM services_service s WHERE s.id = NEW.service_id),
              (SELECT s.commune_id FROM services_activity a JOIN services_service s ON s.id = a.service_id
               WHERE a.id = NEW.activity_id),
              (SELECT s.commune_id FROM services_accessprofile p JOIN services_service s ON s.id = p.service_id
               WHERE p.id = NEW.profile_id)
          )
    ) THEN
        RAISE EXCEPTION 'checkout_voucherscope: a commune gives reductions on its own products'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'scope_is_within_the_commune';
    END IF;
    RETURN NEW;
"""


class VoucherScopeQuerySet(models.QuerySet["VoucherScope"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(voucher__commune__in=user.commune_ids)


@pghistory.track(append_only=True)
class VoucherScope(models.Model):
    """One thing that a voucher is for: a commune, a service, an activity, or those of one situation.

    A product is concerned when one of the places (commune, service, activity) covers it and its situation is one of those
    that are named; no place named stands for all, no situation named stands for all.
    """

    voucher = models.ForeignKey(Voucher, on_delete=models.PROTECT, related_name="scopes", verbose_name=_("bon"))
    commune = models.ForeignKey(
        Commune, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("commune")
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("service")
    )
    activity = models.ForeignKey(
        Activity, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("activité")
    )
    profile = models.ForeignKey(
        AccessProfile, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("situation")
    )

    objects = VoucherScopeQuerySet.as_manager()

    class Meta:
        verbose_name = _("produits concernés")
        verbose_name_plural = _("produits concernés")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(commune__isnull=False, service=None, activity=None, profile=None)
                | Q(commune=None, service__isnull=False, activity=None, profile=None)
                | Q(commune=None, service=None, activity__isnull=False, profile=None)
                | Q(commune=None, service=None, activity=None, profile__isnull=False),
                name="scope_names_one_thing",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="scope_is_within_the_commune",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func=WITHIN_THE_COMMUNE,
            ),
        ]

    def __str__(self) -> str:
        return str(self.commune or self.service or self.activity or self.profile)


class CartVoucher(models.Model):
    """A code that was entered in a cart, whether it takes something off just now or not."""

    cart = models.ForeignKey("checkout.Cart", on_delete=models.PROTECT, related_name="codes")
    voucher = models.ForeignKey(Voucher, on_delete=models.PROTECT, related_name="+")

    class Meta:
        verbose_name = _("bon d’un panier")
        verbose_name_plural = _("bons des paniers")
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["cart", "voucher"], name="code_entered_once")]

    def __str__(self) -> str:
        return str(self.voucher)


# Counted whatever code writes the uses; the voucher's CHECK then forbids the use that would be too many.
COUNT_USES = """
    UPDATE checkout_voucher v SET used = v.used + c.uses
    FROM (SELECT voucher_id, count(*) AS uses FROM new_rows WHERE status <> 'given_back' GROUP BY voucher_id) c
    WHERE v.id = c.voucher_id;
    RETURN NULL;
"""
UNCOUNT_USES = """
    UPDATE checkout_voucher v SET used = v.used - c.uses
    FROM (SELECT o.voucher_id, count(*) AS uses FROM old_rows o JOIN new_rows n ON n.id = o.id
          WHERE o.status <> 'given_back' AND n.status = 'given_back' GROUP BY o.voucher_id) c
    WHERE v.id = c.voucher_id;
    RETURN NULL;
"""

WITHIN_THE_FAMILYS_LIMIT = """
    IF EXISTS (SELECT 1 FROM checkout_voucher v WHERE v.id = NEW.voucher_id AND NEW.rank > v.uses_per_family) THEN
        RAISE EXCEPTION 'checkout_voucheruse: this family has used the voucher as often as it may'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'voucher_within_the_familys_limit';
    END IF;
    IF EXISTS (SELECT 1 FROM checkout_voucher v WHERE v.id = NEW.voucher_id AND v.user_id <> NEW.user_id) THEN
        RAISE EXCEPTION 'checkout_voucheruse: a personal voucher is used by its owner'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'voucher_is_its_owners';
    END IF;
    RETURN NEW;
"""

# The parents of one child share its limit. The voucher's row is locked first, so that the other parent's use, written at
# the same moment, is counted: each statement of a trigger sees what was committed while it waited.
WITHIN_THE_LIMIT_OF_ALL_PARENTS = """
    PERFORM FROM checkout_voucher v WHERE v.id = NEW.voucher_id AND v.uses_per_family IS NOT NULL FOR NO KEY UPDATE;
    IF FOUND AND (
        SELECT count(*) FROM checkout_voucheruse u
        WHERE u.voucher_id = NEW.voucher_id AND u.status <> 'given_back' AND (
            u.user_id = NEW.user_id OR u.user_id IN (
                SELECT other.user_id FROM families_filiation mine
                JOIN families_filiation other ON other.beneficiary_id = mine.beneficiary_id AND other.ended_at IS NULL
                WHERE mine.user_id = NEW.user_id AND mine.ended_at IS NULL
            )
        )
    ) >= (SELECT v.uses_per_family FROM checkout_voucher v WHERE v.id = NEW.voucher_id) THEN
        RAISE EXCEPTION 'checkout_voucheruse: the parents of a child share what their family may use'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'voucher_within_the_familys_limit';
    END IF;
    RETURN NEW;
"""


class VoucherUseQuerySet(models.QuerySet["VoucherUse"]):
    def visible_to(self, user: "User") -> Self:
        return self if user.is_operator else self.filter(voucher__commune__in=user.commune_ids)

    def of(self, user: "User") -> Self:
        return self.filter(user=user)

    def of_family(self, user: "User") -> Self:
        """Those of this account and of every other that answers for one of its beneficiaries: the parents of a child."""
        return self.filter(user__in=family_of(user))

    def live(self) -> Self:
        """Uses that count: of orders that wait or are paid."""
        return self.exclude(status=VoucherUse.Status.GIVEN_BACK)


class VoucherUse(models.Model):
    """A voucher on one order: taken with the order, used when it is paid, given back when it ends or all of it is cancelled.

    `rank` numbers the family's live uses of the voucher from 1: with the unique constraint it limits those of one account,
    whoever writes. A family is an account and those that have a beneficiary in common with it today; a trigger counts theirs.
    """

    class Status(models.TextChoices):
        TAKEN = "taken", _("Retenu pour une commande")
        USED = "used", _("Utilisé")
        GIVEN_BACK = "given_back", _("Rendu")

    voucher = models.ForeignKey(Voucher, on_delete=models.PROTECT, related_name="uses", verbose_name=_("bon"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("usager")
    )
    order = models.ForeignKey(
        "checkout.Order", on_delete=models.PROTECT, related_name="voucher_uses", verbose_name=_("commande")
    )
    amount = MoneyField(_("remise"))
    rank = models.PositiveSmallIntegerField(_("rang dans la famille"), editable=False)
    status = models.CharField(_("statut"), max_length=10, choices=Status, default=Status.TAKEN)
    created_at = models.DateTimeField(_("retenu le"), default=timezone.now, editable=False)
    ended_at = models.DateTimeField(_("rendu le"), null=True, editable=False)

    has_left: bool  # whether other lines of the order are kept, read by checkout.vouchers.reading.fates_without

    objects = VoucherUseQuerySet.as_manager()

    class Meta:
        verbose_name = _("utilisation d’un bon")
        verbose_name_plural = _("utilisations des bons")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="use_takes_something_off"),
            models.CheckConstraint(condition=Q(rank__gte=1), name="use_has_its_rank"),
            models.CheckConstraint(
                condition=Q(status="given_back", ended_at__isnull=False)
                | (~Q(status="given_back") & Q(ended_at__isnull=True)),
                name="use_given_back_is_dated",
            ),
            models.UniqueConstraint(fields=["voucher", "order"], name="voucher_once_per_order"),
            models.UniqueConstraint(
                fields=["voucher", "user", "rank"],
                condition=~Q(status="given_back"),
                name="voucher_once_per_family",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="use_transitions",
                field="status",
                transitions=[("taken", "used"), ("taken", "given_back"), ("used", "given_back")],
            ),
            pgtrigger.ReadOnly(
                name="use_is_frozen", fields=["voucher", "user", "order", "amount", "rank", "created_at"]
            ),
            pgtrigger.Trigger(
                name="use_within_limits",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=WITHIN_THE_FAMILYS_LIMIT,
            ),
            pgtrigger.Trigger(
                name="parents_share_the_limit",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func=WITHIN_THE_LIMIT_OF_ALL_PARENTS,
            ),
            pgtrigger.Trigger(
                name="uses_taken",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func=COUNT_USES,
            ),
            pgtrigger.Trigger(
                name="uses_given_back",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(old="old_rows", new="new_rows"),
                func=UNCOUNT_USES,
            ),
            pgtrigger.Protect(name="uses_are_kept", operation=pgtrigger.Delete),
            not_truncated("uses_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return f"{self.voucher} – {self.order_id}"


# The line's discount is the sum of its shares, whichever of the two is written first.
LINE_IS_SHARED_OUT = """
    IF {line}.discount <> coalesce((SELECT sum(amount) FROM checkout_vouchershare WHERE line_id = {line}.id), 0) THEN
        RAISE EXCEPTION 'checkout_orderline %: its discount is not the sum of what its vouchers bear', {line}.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
"""

SHARE_FITS = """
    SELECT * INTO line FROM checkout_orderline WHERE id = NEW.line_id;
    SELECT * INTO taken FROM checkout_voucheruse WHERE id = NEW.use_id;
    IF line.order_id <> taken.order_id THEN
        RAISE EXCEPTION 'checkout_vouchershare %: its line and its use are of one order', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF taken.amount <> (SELECT sum(amount) FROM checkout_vouchershare WHERE use_id = taken.id) THEN
        RAISE EXCEPTION 'checkout_voucheruse %: its amount is not the sum of its shares', taken.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (
        SELECT 1 FROM checkout_voucher v WHERE v.id = taken.voucher_id AND v.commune_id <> coalesce(line.commune_id, 0)
    ) THEN
        RAISE EXCEPTION 'checkout_vouchershare %: a commune gives reductions on its own products', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    {shared_out}
    RETURN NULL;
"""


class VoucherShare(models.Model):
    """How many euros of one line a voucher takes off: what its bearer gets back when the line is cancelled."""

    line = models.ForeignKey("checkout.OrderLine", on_delete=models.PROTECT, related_name="shares")
    use = models.ForeignKey(VoucherUse, on_delete=models.PROTECT, related_name="shares")
    amount = MoneyField(_("remise"))

    class Meta:
        verbose_name = _("part d’un bon")
        verbose_name_plural = _("parts des bons")
        constraints = [
            models.UniqueConstraint(fields=["line", "use"], name="one_share_per_line_and_use"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="share_is_positive"),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="share_is_frozen", fields=["line", "use", "amount"]),
            pgtrigger.Protect(name="shares_are_kept", operation=pgtrigger.Delete),
            not_truncated("shares_are_not_emptied"),
            pgtrigger.Trigger(
                name="share_fits",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                declare=[("line", "checkout_orderline"), ("taken", "checkout_voucheruse")],
                func=SHARE_FITS.format(shared_out=LINE_IS_SHARED_OUT.format(line="line")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line_id}: {self.amount}"
