"""A closing: which days, their totals, who closed them. PostgreSQL holds the ledger to it."""

from decimal import Decimal
from typing import Any

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portal.common.db import not_truncated
from portal.common.formats import long_date, month
from portal.common.money import MoneyField

# Days are closed one after the other and months once their days are, over what the ledger holds when nothing is being
# posted: what was counted before somebody else's commit is refused here.
CLOSES_WHAT_IS_OVER = """
    PERFORM pg_advisory_xact_lock(43, 1);  -- wallet.models.POSTING_LOCK
    starts := NEW.first_day::timestamp AT TIME ZONE 'Europe/Paris';
    ends := (NEW.last_day + 1)::timestamp AT TIME ZONE 'Europe/Paris';
    IF ends > clock_timestamp() THEN
        RAISE EXCEPTION 'wallet_closing: % is not over', NEW.last_day USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.kind = 'month' AND (
        NEW.first_day <> date_trunc('month', NEW.first_day)::date
        OR NEW.last_day <> (date_trunc('month', NEW.first_day) + interval '1 month - 1 day')::date
    ) THEN
        RAISE EXCEPTION 'wallet_closing: a month is closed whole' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT max(last_day) INTO reach FROM wallet_closing WHERE kind = NEW.kind;
    IF NEW.first_day <= reach OR EXISTS (
        SELECT 1 FROM wallet_movement WHERE at < starts
        AND (reach IS NULL OR at >= (reach + 1)::timestamp AT TIME ZONE 'Europe/Paris')
    ) THEN
        RAISE EXCEPTION 'wallet_closing: closed in order, and % is not next', NEW.first_day
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM wallet_movement WHERE at < ends) THEN
        RAISE EXCEPTION 'wallet_closing: nothing was written until %', NEW.last_day
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.kind = 'month' THEN
        SELECT max(last_day) INTO reach FROM wallet_closing WHERE kind = 'day';
        IF EXISTS (
            SELECT 1 FROM wallet_movement WHERE at >= starts AND at < ends
            AND (reach IS NULL OR at >= (reach + 1)::timestamp AT TIME ZONE 'Europe/Paris')
        ) THEN
            RAISE EXCEPTION 'wallet_closing: a day of this month is open'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    SELECT count(DISTINCT m.id), coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) INTO counted, moved
        FROM wallet_movement m JOIN wallet_entry e ON e.movement_id = m.id WHERE m.at >= starts AND m.at < ends;
    IF NEW.movements <> counted OR NEW.turnover <> moved THEN
        RAISE EXCEPTION 'wallet_closing: % movements and % in the ledger, % and % in the closing',
            counted, moved, NEW.movements, NEW.turnover USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
"""


def accounts_in(totals: dict[str, Any]) -> list[dict[str, Any]]:
    """The accounts of totals as they are kept, their amounts as decimals."""
    amounts = ("opening", "debit", "credit", "closing")
    return [{**row, **{name: Decimal(row[name]) for name in amounts}} for row in totals["accounts"]]


def kinds_in(totals: dict[str, Any]) -> list[dict[str, Any]]:
    """The kinds of movements of totals as they are kept, their amounts as decimals."""
    return [{**row, "total": Decimal(row["total"])} for row in totals["kinds"]]


class Closing(models.Model):
    """A day or a month that is closed (« arrêté »): from then on no movement is dated inside, nor before."""

    class Kind(models.TextChoices):
        DAY = "day", _("Journée")
        MONTH = "month", _("Mois")

    kind = models.CharField(_("arrêté de"), max_length=5, choices=Kind)
    first_day = models.DateField(_("du"))
    last_day = models.DateField(_("au"), db_index=True)
    movements = models.PositiveIntegerField(_("mouvements"))
    turnover = MoneyField(_("total des crédits"))
    # {"accounts": [{code, name, opening, debit, credit, closing}], "kinds": [{kind, name, count, total}], "receipts"}
    totals = models.JSONField(_("totaux"))
    closed_at = models.DateTimeField(_("arrêté le"), auto_now_add=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("arrêté par")
    )

    class Meta:
        verbose_name = _("arrêté")
        verbose_name_plural = _("arrêtés")
        ordering = ["-last_day", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "first_day"], name="period_closed_once"),
            models.CheckConstraint(
                condition=(Q(kind="day") & Q(last_day=F("first_day")))
                | (Q(kind="month") & Q(last_day__gt=F("first_day"))),
                name="closing_is_a_day_or_a_month",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="closes_what_is_over",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                declare=[
                    ("starts", "timestamptz"),
                    ("ends", "timestamptz"),
                    ("reach", "date"),
                    ("counted", "bigint"),
                    ("moved", "numeric"),
                ],
                func=CLOSES_WHAT_IS_OVER,
            ),
            pgtrigger.Protect(name="closings_are_kept", operation=pgtrigger.Update | pgtrigger.Delete),
            not_truncated("closings_are_not_emptied"),
        ]

    def __str__(self) -> str:
        return month(self.first_day) if self.kind == self.Kind.MONTH else long_date(self.first_day)

    @property
    def accounts(self) -> list[dict[str, Any]]:
        """What each account was, received and became."""
        return accounts_in(self.totals)

    @property
    def kinds(self) -> list[dict[str, Any]]:
        """How many movements of each kind, and how much they moved."""
        return kinds_in(self.totals)
