"""What vouchers take off a cart: which apply and why others do not, how much, and from which line, to the cent.

The rules, for any number of codes:

1. Codes are looked at in the order in which they were entered. One that does not combine with others (« non cumulable »)
   stands alone: entered first it keeps later ones out, entered later it is kept out itself.
2. Percentages come off first, then euros, each in the order of entry and each from what the ones before it have left.
3. A percentage is taken of the sum of the lines that it concerns and rounded once, halves up; euros give no change: they
   take at most what those lines still cost.
4. A voucher's cents are shared out over its lines in proportion to what each still costs, by largest remainder (the first
   line wins among equals): the shares add up exactly, and no line falls below zero.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from checkout.vouchers.models import Voucher
from portal.common.formats import dated, enumeration, euros
from portal.common.money import CENT, ZERO, round_cents

Key = tuple[int | None, int | None]  # what a line holds: the keys of its booking and its ticket, one of which is None


@dataclass(frozen=True)
class Item:
    """A line as a voucher sees it: its price in euros, whose product it is, and for when (None for tickets)."""

    key: Key
    price: Decimal
    commune: int | None
    service: int
    activity: int
    profile: int
    date: dt.date | None = None


@dataclass(frozen=True)
class Known:
    """A voucher with all that its rules ask: what it is for, and the rank of each of this family's live uses of it."""

    voucher: Voucher
    communes: frozenset[int] = frozenset()
    services: frozenset[int] = frozenset()
    activities: frozenset[int] = frozenset()
    profiles: frozenset[int] = frozenset()
    ranks: Sequence[int] = ()  # may repeat: two accounts become one family when a child joins them
    concerns: str = ""  # what it is for, in words

    @property
    def next_rank(self) -> int:
        """The rank that the family's next use of it takes: the smallest that is free."""
        return next(rank for rank in range(1, len(self.ranks) + 2) if rank not in self.ranks)

    def covers(self, item: Item) -> bool:
        """Whether the voucher is for this line, wherever its cost lies."""
        voucher = self.voucher
        if voucher.commune_id is not None and item.commune != voucher.commune_id:
            return False
        if self.communes or self.services or self.activities:
            place = item.commune in self.communes or item.service in self.services or item.activity in self.activities
            if not place:
                return False
        if self.profiles and item.profile not in self.profiles:
            return False
        if voucher.days_from is None and voucher.days_until is None:
            return True
        return item.date is not None and (voucher.days_from or item.date) <= item.date <= (
            voucher.days_until or item.date
        )


@dataclass
class Reduction:
    """What one voucher comes to: euros off, line by line; or the sentence that says why it takes nothing off."""

    voucher: Voucher
    amount: Decimal = ZERO
    shares: dict[Key, Decimal] = field(default_factory=dict)
    reason: str = ""
    code: str = ""  # names the rule, for callers that react to it

    @property
    def refusal(self) -> str:
        """The reason behind the voucher's code: `BON1 : ce bon n’est plus en service.`"""
        return f"{self.voucher.code}\u00a0: {self.reason[:1].lower()}{self.reason[1:]}"

    @property
    def lost(self) -> Decimal:
        """The euros of the voucher that this order does not use and no other can: zero of one that counts no uses."""
        voucher = self.voucher
        if not self.amount or voucher.amount is None or (voucher.uses_per_family is None and voucher.max_uses is None):
            return ZERO
        return voucher.amount - self.amount

    @property
    def no_change(self) -> str:
        """The sentence that says so before the order; empty where nothing is lost."""
        if not self.lost:
            return ""
        return _("Ce bon vaut %(worth)s et ne rend pas la monnaie\u00a0: %(lost)s sont perdus avec cette commande.") % {
            "worth": euros(self.voucher.amount),
            "lost": euros(self.lost),
        }


# What more or other products in the cart may change; of anything else a code is refused when it is entered.
MAY_CHANGE = {"minimum", "other_products", "empty", "nothing_left"}


def reductions(known: Sequence[Known], items: Sequence[Item], *, on: dt.date) -> list[Reduction]:
    """What each voucher takes off these lines for an order of that day, in the order of entry; pure."""
    subtotal = sum((item.price for item in items), ZERO)
    found = []
    standing: list[Known] = []
    for each in known:
        code, reason = _refusal(each, items, subtotal, on) or _alone(each, standing) or ("", "")
        found.append(Reduction(each.voucher, code=code, reason=reason))
        if not reason:
            standing.append(each)
    left = {item.key: item.price for item in items}
    by_key = {reduction.voucher.pk: reduction for reduction in found}
    for each in sorted(standing, key=lambda row: row.voucher.percent is None):  # stable: otherwise the order of entry
        concerned = {item.key: left[item.key] for item in items if each.covers(item)}
        reduction = by_key[each.voucher.pk]
        reduction.amount = _worth(each.voucher, sum(concerned.values(), ZERO))
        reduction.shares = shared_out(reduction.amount, concerned)
        for key, share in reduction.shares.items():
            left[key] -= share
        if not reduction.amount:
            reduction.code = "nothing_left"
            reduction.reason = (
                _("Sa remise est de moins d’un centime.")
                if sum(concerned.values(), ZERO)
                else _("Les autres bons couvrent déjà le prix de ces produits : celui-ci n’est pas utilisé.")
            )
    return found


def shared_out(amount: Decimal, weights: dict[Key, Decimal]) -> dict[Key, Decimal]:
    """Split euros over lines in proportion to their weights (euros), exact to the cent; lines that get nothing are left out.

    `amount` is at most the sum of the weights; then no share is more than its weight.
    """
    total = int(sum(weights.values(), ZERO) / CENT)
    cents = int(amount / CENT)
    if not cents:
        return {}
    parts = {key: divmod(cents * int(weight / CENT), total) for key, weight in weights.items()}
    missing = cents - sum(whole for whole, _rest in parts.values())
    first = {key: index for index, key in enumerate(weights)}
    for key in sorted(parts, key=lambda key: (-parts[key][1], first[key]))[:missing]:
        parts[key] = (parts[key][0] + 1, 0)
    return {key: whole * CENT for key, (whole, _rest) in parts.items() if whole}


def _worth(voucher: Voucher, concerned: Decimal) -> Decimal:
    if voucher.percent is not None:
        return round_cents(concerned * voucher.percent / 100)
    return min(voucher.amount or ZERO, concerned)


def _refusal(known: Known, items: Sequence[Item], subtotal: Decimal, on: dt.date) -> tuple[str, str] | None:
    """The rule and the sentence by which a voucher takes nothing off, other vouchers aside."""
    voucher = known.voucher
    if not voucher.is_active:
        return "inactive", _("Ce bon n’est plus en service.")
    if voucher.valid_from is not None and on < voucher.valid_from:
        return "not_yet", _("Ce bon vaut pour les commandes à partir du %s.") % dated(voucher.valid_from)
    if voucher.valid_until is not None and on > voucher.valid_until:
        return "expired", _("Ce bon valait pour les commandes jusqu’au %s.") % dated(voucher.valid_until)
    if voucher.uses_per_family is not None and len(known.ranks) >= voucher.uses_per_family:
        times = len(known.ranks)
        return "used_by_family", (
            _("Votre famille a déjà utilisé ce bon. Les comptes des deux parents comptent ensemble.")
            if times == 1
            else _(
                "Votre famille a déjà utilisé ce bon %d fois, autant que possible. Les comptes des deux parents comptent ensemble."
            )
            % times
        )
    if voucher.max_uses is not None and voucher.used >= voucher.max_uses:
        return "used_up", _("Ce bon a déjà été utilisé autant de fois que possible.")
    if not items:
        return "empty", _("Votre panier ne contient rien à quoi l’appliquer.")
    if not any(known.covers(item) and item.price for item in items):
        words = [_("Ce bon ne concerne aucun des produits de votre panier."), known.concerns]
        return "other_products", " ".join(filter(None, words))
    if subtotal < voucher.minimum:
        return "minimum", _("Ce bon demande une commande d’au moins %(least)s : il manque %(missing)s.") % {
            "least": euros(voucher.minimum),
            "missing": euros(voucher.minimum - subtotal),
        }
    return None


def _alone(known: Known, standing: Sequence[Known]) -> tuple[str, str] | None:
    """The same for a voucher that does not combine with those entered before it."""
    others = [row.voucher.code for row in standing if not (known.voucher.stackable and row.voucher.stackable)]
    if not others:
        return None
    return "not_stackable", ngettext(
        "Ce bon ne se cumule pas avec %s : retirez l’autre pour l’utiliser.",
        "Ce bon ne se cumule pas avec %s : retirez les autres pour l’utiliser.",
        len(others),
    ) % enumeration(others)
