"""What people call an account of the ledger, and what its balance means."""

from collections.abc import Callable
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.common.formats import of
from wallet.models import Account

# What people call a provider by its code; checkout, which knows them, says it when it starts: an app imports only downwards.
NAMES_OF_PROVIDERS: list[Callable[[str], str]] = []

TILLS = {
    "cash": gettext_lazy("Caisse : espèces"),
    "cheque": gettext_lazy("Caisse : chèques"),
    "cesu": gettext_lazy("Caisse : CESU"),
}

# Credits are positive: what the régie owes. What is owed to it, or lies at the bank, is negative.
MEANINGS = {
    Account.Kind.WALLET: gettext_lazy("Ce que la régie doit aux familles : leurs crédits."),
    Account.Kind.RESERVED: gettext_lazy("Parts de porte-monnaie mises de côté pendant qu’une carte est attendue."),
    Account.Kind.CLEARING: gettext_lazy("Négatif : ce que le prestataire a encaissé et doit encore verser."),
    Account.Kind.REVENUE: gettext_lazy("Ce que la régie doit reverser pour les services rendus."),
    Account.Kind.FEES: gettext_lazy("Frais payés par les familles."),
    Account.Kind.VOUCHER: gettext_lazy("Négatif : remises accordées, à déduire du reversement."),
    Account.Kind.REFUNDING: gettext_lazy("Ce qui repart vers des cartes et que le prestataire n’a pas encore rendu."),
    Account.Kind.TRANSFERS: gettext_lazy("Virements demandés par des familles et pas encore émis."),
    Account.Kind.REMITTING: gettext_lazy("Relevés émis aux communes et pas encore virés."),
    Account.Kind.TILL: gettext_lazy("Négatif : ce qui se trouve dans la caisse du guichet."),
    Account.Kind.BANK: gettext_lazy("Négatif : ce que la régie a sur son compte de dépôt de fonds."),
    Account.Kind.BANK_FEES: gettext_lazy("Négatif : ce que les prestataires ont retenu."),
    Account.Kind.EXPIRED: gettext_lazy("Crédits acquis à la régie, quatre ans après leur dernier mouvement."),
    Account.Kind.ADJUSTMENT: gettext_lazy("Contrepartie des régularisations faites à la main."),
}

# On the other side of zero than usual, most balances say that something is to be set right with somebody.
OTHER_SIDE = {
    Account.Kind.CLEARING: gettext_lazy(
        "Positif : dû au prestataire, qui le retiendra sur un versement (carte contestée, somme versée en trop)."
    ),
    Account.Kind.REVENUE: gettext_lazy(
        "Négatif : rendu aux familles après le reversement, à déduire du prochain relevé."
    ),
    Account.Kind.VOUCHER: gettext_lazy("Positif : remises rendues après le reversement, à ajouter au prochain relevé."),
    Account.Kind.TILL: gettext_lazy("Positif : il en est sorti plus qu’il n’y est entré. Comptez la caisse."),
    Account.Kind.BANK: gettext_lazy(
        "Positif : il en est sorti plus qu’il n’y est entré. Regardez le relevé de la banque."
    ),
    Account.Kind.BANK_FEES: gettext_lazy("Positif : les communes en ont porté plus que les prestataires n’ont retenu."),
}
USUALLY_NEGATIVE = (
    Account.Kind.CLEARING, Account.Kind.VOUCHER, Account.Kind.TILL, Account.Kind.BANK, Account.Kind.BANK_FEES,
)  # fmt: skip


def meaning(kind: str, total: Decimal) -> str:
    """What a balance of `total` euros says on an account of this kind, on its usual side of zero or on the other."""
    found = Account.Kind(kind)
    if found == Account.Kind.ADJUSTMENT or not total or (total < 0) == (found in USUALLY_NEGATIVE):
        return str(MEANINGS[found])
    return str(OTHER_SIDE.get(found, _("Signe inattendu : regardez ses écritures, et demandez un contrôle.")))


def account_name(account: Account) -> str:
    """An account as people say it: « Porte-monnaie de Claire Dupont », « Recettes de Rosières »."""
    kinds = Account.Kind
    match account.kind:
        case kinds.WALLET if hasattr(account, "wallet"):
            return _("Porte-monnaie %s") % of(str(account.wallet.user))
        case kinds.REVENUE:
            return _("Recettes %s") % (of(account.commune.name) if account.commune else _("de l’agglomération"))
        case kinds.VOUCHER:
            return _("Remises à la charge %s") % (
                of(account.commune.name) if account.commune else _("de l’agglomération")
            )
        case kinds.TILL:
            return str(TILLS.get(account.code.partition(":")[2], account.code))
        case kinds.CLEARING | kinds.REFUNDING:
            name = account.code.partition(":")[2]
            for called in NAMES_OF_PROVIDERS:
                name = called(name)
            return f"{account.get_kind_display()}\u00a0: {name}"
    return account.get_kind_display()
