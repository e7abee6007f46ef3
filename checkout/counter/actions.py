"""Taking money at a counter: into a wallet, or for what a family has in its cart. The receipt's number comes with it."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Address, Commune, Terms, User
from checkout.actions.completion import complete
from checkout.actions.payment import order_of_cart
from checkout.actions.reconciliation import ask_about
from checkout.counter.models import SPELLED, CounterReceipt, Means, TillDeposit
from checkout.models import Cart, Order, OrderLine, Payment
from checkout.papers.models import Regie
from families.own_family import is_of_family
from portal.common.db import one_at_a_time, refusing, retry_on_deadlock
from portal.common.errors import Refused
from portal.common.formats import euros, of
from portal.common.money import ZERO, round_cents
from wallet import actions as ledger
from wallet.models import Account, Movement

# Public accountants take no more in cash (code général des impôts, article 1680).
CASH_LIMIT = Decimal("300.00")

# What the spelling of a number leaves out (checkout.counter.models.SPELLED): soft hyphens, joiners, marks of direction,
# variants of a sign.
UNSEEN = re.compile(r"[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")


@dataclass(frozen=True)
class Paper:
    """What the agent holds: how it is paid, the number of the receipt, the cheque's bank and number."""

    means: Means
    number: str
    cheque: str = ""


@retry_on_deadlock
def take_top_up(*, user: User, amount: Decimal, paper: Paper, commune: Commune | None, by: User) -> Order:
    """Put `amount` euros taken at a counter (of a commune, None: the agglomération's) into a family's wallet, without fee.

    Raises Refused for a counter that is not the agent's, an account of the agent's own family, a number that was used, an
    amount that may not be taken.
    """
    paper = _checked(user, amount, paper, commune, by)
    with refusing(_sentences()):
        ledger.wallet_of(user)
        order = Order.objects.create(user=user, kind=Order.Kind.TOP_UP, total=amount)
        line = OrderLine.objects.create(
            order=order, kind=OrderLine.Kind.CREDIT, label=_("Crédits du porte-monnaie"), unit_price=amount
        )
        _take(order, [line], paper, commune, by)
    return order


def take_payment(*, user: User, shown_total: Decimal, paper: Paper, commune: Commune | None, by: User) -> Order:
    """Have a family's cart (or the order that waits for its payment) paid at a counter, whole; returns the paid order.

    The person stands at the counter and accepts the conditions of sale in force there. A card payment that still runs is
    asked about first. Raises Refused as checkout.actions.pay does, and as take_top_up.
    """
    paper = _checked(user, shown_total, paper, commune, by)
    ask_about(Order.objects.filter(user=user))
    return _take_payment(user, shown_total, paper, commune, by)


@retry_on_deadlock
def _take_payment(user: User, shown_total: Decimal, paper: Paper, commune: Commune | None, by: User) -> Order:
    with refusing(_sentences()):
        cart = Cart.objects.live().filter(user=user).select_related("user").first()
        if cart is None:
            raise Refused(_("Le panier de cette famille est vide. Rien n’a été encaissé."), code="empty")
        _answer_steps(cart)
        try:
            order, lines = order_of_cart(user, cart.pk, shown_total)
        except Refused as refusal:
            if refusal.code != "changed":
                raise
            raise Refused(
                _(
                    "Le panier de cette famille a changé depuis que cette page est ouverte : dites-lui la nouvelle somme. Rien n’a été encaissé."
                ),
                code="changed",
            ) from refusal
        if lines is None:
            raise Refused(_("Cette commande vient d’être payée autrement. Rien n’a été encaissé."), code="paid")
        _take(order, lines, paper, commune, by)
    return order


def out_of_bounds(regie: Regie | None = None) -> str:
    """What is said of an amount that no counter takes."""
    most = (regie or Regie.objects.current()).counter_most
    return _("Le montant va de 0,01\u00a0€ à %s, au centime près. Rien n’a été encaissé.") % euros(most)


def own_account(user: User, by: User) -> Refused | None:
    """What an agent is told who would take money for themselves or for an account of their family; None for all others."""
    if user.pk == by.pk:
        return Refused(
            _("C’est votre propre compte\u00a0: une autre personne du service s’en charge. Rien n’a été encaissé."),
            code="own_account",
        )
    if is_of_family(user, by):
        return Refused(
            _("C’est votre propre famille\u00a0: une autre personne du service s’en charge. Rien n’a été encaissé."),
            code="own_family",
        )
    return None


@transaction.atomic
def deposit_till(*, means: Means, amount: Decimal, number: str, by: User) -> TillDeposit:
    """Write down what the régisseur has taken from the till to the bank, with the number of the bank's slip.

    A slip is written again once its deposit was taken back. Raises Refused for more than the till holds of that means, for a
    slip whose deposit stands, for a number that is too long, and to anybody but the agglomération's operators, who hold the
    money.
    """
    if not by.is_operator:
        raise Refused(_("Seule l’agglomération verse la caisse à la banque. Rien n’a changé."), code="not_yours")
    number, slip = _number(
        number,
        TillDeposit,
        missing=_("Écrivez le numéro du bordereau de versement."),
        name=_("Le numéro du bordereau"),
        outcome=_("Rien n’a changé."),
    )
    one_at_a_time(f"till:{means}")  # the second of two counts what the first has taken out
    held = in_the_till(means)
    if amount != round_cents(amount) or not ZERO < amount <= held:
        raise Refused(
            _(
                "La caisse contient %(held)s en %(means)s : le versement va de 0,01\u00a0€ à cette somme. Rien n’a changé."
            )
            % {"held": euros(held), "means": means.inside},
            code="too_much",
        )
    written = TillDeposit.objects.of_slip(means, slip)
    if written.standing().exists():
        raise Refused(
            _(
                "Ce bordereau est déjà enregistré. S’il a été mal saisi, proposez d’abord de contre-passer son versement. Rien n’a changé."
            ),
            code="deposit_slip_once",
        )
    edition = 1 + written.count()
    movement = ledger.post(
        kind=Movement.Kind.TILL_DEPOSIT,
        key=f"till_deposit:{means}:{edition}:{number}",  # before the number, which may hold anything
        label=_("Versement de la caisse, bordereau %s") % number,
        amounts={ledger.till_code(means): amount, ledger.BANK: -amount},
        by=by,
    )
    return TillDeposit.objects.create(
        means=means, amount=amount, number=number, edition=edition, movement_id=movement, by=by
    )


def spelled(number: str) -> str:
    """What a slip's or a receipt's number is compared by: « q 2026 001 » is Q2026-001, as Q-2026-001; 1/23 is not 12/3."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {SPELLED}(%s)", [number])
        return str(cursor.fetchone()[0])


def legible(number: str) -> str:
    """A number as it was typed, in one line of which all is seen: what is kept and shown is what is compared.

    What nobody sees is gone, marks of direction too (they show other digits than they keep); blanks and line ends are one
    space.
    """
    seen = UNSEEN.sub("", number)
    blanks = {char for char in seen if unicodedata.category(char) in {"Cc", "Cf", "Zs", "Zl", "Zp"}}
    return " ".join("".join(" " if char in blanks else char for char in seen).split())


def _number(
    typed: str, model: type[CounterReceipt | TillDeposit], *, missing: str, name: str, outcome: str
) -> tuple[str, str]:
    """A number as it is kept, and as it is compared.

    Raises Refused for none (`missing` says so), for nothing to compare, and for more characters than the model keeps, as
    typed or as compared: capitals may be more (« ß », SS). `name` is what it numbers, `outcome` what has not happened.
    """
    number = legible(typed)
    if not number:
        raise Refused(missing, code="number_missing")
    compared = spelled(number)
    if not compared:
        facts = {"name": name, "outcome": outcome}
        raise Refused(
            _("%(name)s contient au moins une lettre ou un chiffre. %(outcome)s") % facts, code="number_missing"
        )
    most = model._meta.get_field("number").max_length
    assert most is not None
    if max(len(number), len(compared)) > most:
        facts = {"name": name, "outcome": outcome, "most": str(most)}
        raise Refused(_("%(name)s a %(most)s caractères au plus. %(outcome)s") % facts, code="number_long")
    return number, compared


def in_the_till(means: Means) -> Decimal:
    """How many euros of a means wait in the till to be taken to the bank."""
    account = Account.objects.filter(code=ledger.till_code(means)).first()
    return -account.balance() if account else ZERO


def _answer_steps(cart: Cart) -> None:
    """What the person has not answered online: their main address, and the conditions that they accept at the counter."""
    if cart.address_id is None:
        address = Address.objects.of(cart.user).order_by("-is_default", "pk").first()
        if address is None:
            raise Refused(
                _(
                    "Cette famille n’a pas encore d’adresse : elle l’ajoute dans « Mes adresses ». Rien n’a été encaissé."
                ),
                code="no_address",
            )
        Cart.objects.filter(pk=cart.pk).update(address=address)
    Cart.objects.filter(pk=cart.pk).update(terms=Terms.objects.newest(Terms.Kind.SALE).values("pk")[:1])


def _take(order: Order, lines: Sequence[OrderLine], paper: Paper, commune: Commune | None, by: User) -> None:
    payment = Payment.objects.create(
        order=order,
        provider=paper.means,
        amount=order.total,
        provider_reference=paper.number,
        status=Payment.Status.CAPTURED,
        ended_at=timezone.now(),
    )
    CounterReceipt.objects.create(payment=payment, number=paper.number, cheque=paper.cheque, commune=commune, by=by)
    complete(order, card=payment, lines=lines, by=by)


def _checked(user: User, amount: Decimal, paper: Paper, commune: Commune | None, by: User) -> Paper:
    """The paper with its number as it will be kept, once all of it may be taken."""
    own = by.is_operator or (commune is not None and commune.pk in by.till_communes)
    if not own or not User.objects.visible_to(by).filter(pk=user.pk).exists():
        raise Refused(
            _("Vous n’encaissez pas à ce guichet, ou pas pour cette famille. Rien n’a été encaissé."), code="not_yours"
        )
    if refusal := own_account(user, by):
        raise refusal
    if not user.is_approved:
        raise Refused(_("Le compte %s n’est pas validé. Rien n’a été encaissé.") % of(str(user)), code="not_approved")
    number, _compared = _number(
        paper.number,
        CounterReceipt,
        missing=_("Écrivez le numéro de la quittance remise."),
        name=_("Le numéro de la quittance"),
        outcome=_("Rien n’a été encaissé."),
    )
    paper = replace(paper, number=number)
    if paper.means == Means.CHEQUE and not paper.cheque.strip():
        raise Refused(_("Écrivez la banque et le numéro du chèque."), code="cheque_missing")
    if paper.means != Means.CHEQUE and paper.cheque.strip():
        raise Refused(
            _(
                "Vous avez écrit un chèque et choisi un autre moyen : choisissez « Chèque », ou effacez-le. Rien n’a été encaissé."
            ),
            code="cheque_or_not",
        )
    regie = Regie.objects.current()
    if amount != round_cents(amount) or not ZERO < amount <= regie.counter_most:
        raise Refused(out_of_bounds(regie), code="amount")
    if paper.means == Means.CASH and amount > CASH_LIMIT:
        raise Refused(
            _("En espèces, la loi limite l’encaissement à %s. Rien n’a été encaissé.") % euros(CASH_LIMIT),
            code="too_much_cash",
        )
    return paper


def _sentences() -> dict[str, str]:
    return {
        "receipt_number_once": _("Ce numéro de quittance a déjà servi à ce guichet. Rien n’a été encaissé."),
    }
