"""Vouchers in words: what one is worth, what for, how it stands; and what the database refuses of a use."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from checkout.vouchers.models import Voucher, VoucherScope, VoucherUse
from portal.common.formats import dated, enumeration, euros, today

OVERUSED = {
    "voucher_is_not_overused": gettext_lazy(
        "Ce bon vient d’être utilisé autant de fois que possible : vérifiez votre total. Rien n’a été débité."
    ),
    "voucher_once_per_family": gettext_lazy(
        "Vous venez d’utiliser ce bon pour une autre commande. Rien n’a été débité."
    ),
    "voucher_within_the_familys_limit": gettext_lazy(
        "Votre famille a déjà utilisé ce bon autant que possible : retirez-le de votre panier. Rien n’a été débité."
    ),
}


def worth(voucher: Voucher) -> str:
    """`−10 %`, `−12,5 %` or `−5,00 €`."""
    if voucher.percent is None:
        return f"−{euros(voucher.amount)}"
    number = f"{voucher.percent:f}".rstrip("0").rstrip(".") if "." in f"{voucher.percent:f}" else f"{voucher.percent:f}"
    return f"−{number.replace('.', ',')}\u00a0%"


def concerns(voucher: Voucher) -> list[str]:
    """Which products it is for, a sentence each; reads its prefetched scopes."""
    scopes = list(voucher.scopes.all())
    places = [_place(scope) for scope in scopes if scope.profile is None]
    people = [f"{scope.profile.label} ({scope.profile.service})" for scope in scopes if scope.profile is not None]
    found = []
    if places:
        found.append(_("Pour %s.") % enumeration(places))
    if people:
        found.append(_("Situation : %s.") % enumeration(people))
    if voucher.days_from or voucher.days_until:
        found.append(_between(voucher.days_from, voucher.days_until, _("Dates réservées")))
    return found


def conditions(voucher: Voucher) -> list[str]:
    """What it is for and when it counts, a sentence each; reads its prefetched scopes."""
    found = concerns(voucher)
    if voucher.valid_from or voucher.valid_until:
        found.append(_between(voucher.valid_from, voucher.valid_until, _("Commandes")))
    if voucher.minimum:
        found.append(_("À partir de %s de commande.") % euros(voucher.minimum))
    if voucher.amount is not None:
        found.append(_("Ne rend pas la monnaie\u00a0: ce qu’une commande n’en utilise pas est perdu."))
    found.append(_("Se cumule avec d’autres bons.") if voucher.stackable else _("Ne se cumule pas avec un autre bon."))
    return found


def _place(scope: VoucherScope) -> str:
    if scope.activity is not None:
        return f"{scope.activity.service} – {scope.activity}"
    return str(scope.commune or scope.service)


def _between(first: dt.date | None, last: dt.date | None, what: str) -> str:
    if first is None:
        assert last is not None  # asked for one of the two
        return _("%(what)s jusqu’au %(last)s.") % {"what": what, "last": dated(last)}
    if last is None:
        return _("%(what)s à partir du %(first)s.") % {"what": what, "first": dated(first)}
    return _("%(what)s du %(first)s au %(last)s.") % {"what": what, "first": dated(first), "last": dated(last)}


def standing(voucher: Voucher, uses: int) -> tuple[str, str]:
    """How it stands for a family that uses it `uses` times already: the kind of its tag, and the words."""
    on = today()
    if not voucher.is_active:
        return "ended", _("Plus en service")
    if voucher.uses_per_family is not None and uses >= voucher.uses_per_family:
        return "ended", _("Utilisé")
    if voucher.max_uses is not None and voucher.used >= voucher.max_uses:
        return "ended", _("Épuisé")
    if voucher.valid_until is not None and on > voucher.valid_until:
        return "ended", _("Expiré")
    if voucher.valid_from is not None and on < voucher.valid_from:
        return "ended", _("Pas encore valable")
    if voucher.uses_per_family is None or voucher.uses_per_family == 1:
        return "usable", _("À utiliser")
    left = voucher.uses_per_family - uses
    return "usable", ngettext("Encore %d fois", "Encore %d fois", left) % left


@dataclass(frozen=True)
class Fates:
    """What becomes of vouchers when lines of their orders are cancelled: the codes that can be used again, and the others.

    A voucher that is out of service or out of date, or that is good for any number of orders, is in neither: giving its use
    back changes nothing for anybody.
    """

    again: Sequence[str] = ()
    spent: Sequence[str] = ()

    @classmethod
    def of(cls, uses: Iterable[VoucherUse]) -> "Fates":
        """From uses (with their vouchers) as they are after the cancellation."""
        on = today()
        again: list[str] = []
        spent: list[str] = []
        for use in uses:
            voucher = use.voucher
            over = not voucher.is_active or (voucher.valid_until is not None and voucher.valid_until < on)
            if over or (voucher.uses_per_family is None and voucher.max_uses is None):
                continue
            (again if use.status == VoucherUse.Status.GIVEN_BACK else spent).append(voucher.code)
        return cls(tuple(dict.fromkeys(again)), tuple(dict.fromkeys(spent)))

    def __str__(self) -> str:
        """The sentences at the moment of cancelling, empty where there is nothing to say."""
        again = ngettext("Le bon %s pourra resservir.", "Les bons %s pourront resservir.", len(self.again))
        return " ".join([*([again % enumeration(self.again)] if self.again else []), *self._still_used])

    @property
    def afterwards(self) -> str:
        """The sentences on the order's page, where a voucher that came back may be on another order by now."""
        again = ngettext(
            "Le bon %s vous a été rendu, pour une autre commande.",
            "Les bons %s vous ont été rendus, pour une autre commande.",
            len(self.again),
        )
        return " ".join([*([again % enumeration(self.again)] if self.again else []), *self._still_used])

    @property
    def _still_used(self) -> list[str]:
        words = ngettext(
            "Le bon %s reste utilisé\u00a0: une partie de sa commande est gardée.",
            "Les bons %s restent utilisés\u00a0: une partie de leur commande est gardée.",
            len(self.spent),
        )
        return [words % enumeration(self.spent)] if self.spent else []


NO_FATES = Fates()
