"""Money that no row explains: each sum of the ledger is compared with the orders, payments and papers that it comes from."""

from collections.abc import Mapping
from decimal import Decimal

import pgtrigger
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from bookings.models import Booking, Ticket
from checkout import explained
from checkout.actions import Means, cancel_bookings
from checkout.counter.actions import Paper, take_top_up
from checkout.counter.models import Means as Counter
from checkout.models import Order, OrderLine, Payment
from checkout.refunds.actions import back_to_wallet, refund_to_card
from checkout.regie import settlements
from checkout.verification import verify
from portal.common.formats import of
from tests.factories import UserFactory, agent_of
from tests.guards import bought, undone
from tests.regie.ledger import corrected, days_ago
from tests.shop import open_shop
from tests.tickets.kiosk import buy_ticket, kiosk
from tests.wallet.test_withdrawals import IBAN
from wallet import actions as ledger
from wallet.corrections import actions as corrections
from wallet.corrections.models import Correction
from wallet.models import LOADED, Movement
from wallet.transfers import Debtor
from wallet.withdrawals.actions import approve_withdrawal, ask_withdrawal

pytestmark = pytest.mark.django_db
Kind = Movement.Kind


def moved(kind: Kind, amounts: Mapping[str, str | int], key: str = "x") -> None:
    with transaction.atomic():
        found = {code: Decimal(amount) for code, amount in amounts.items()}
        ledger.post(kind=kind, key=key, label="Essai", amounts=found, by=None)


@pytest.mark.parametrize(
    "kind, amounts, says",
    [
        (
            Kind.SETTLEMENT,
            {"clearing:stripe": 500, "revenue:agglo": -500},
            [
                "Encaissements à recevoir (clearing:stripe) : 0,00\u00a0€ d’après les règlements, remboursements et"
                " versements, au grand livre 500,00\u00a0€.",
                "Recettes (revenue:agglo) : 0,00\u00a0€ d’après les commandes payées et les relevés, au grand livre"
                " −500,00\u00a0€.",
            ],
        ),
        (
            Kind.REMITTANCE,
            {"fees": 3, "bank_fees": -3},
            [
                "Frais de dépôt : 0,00\u00a0€ d’après les commandes payées, au grand livre 3,00\u00a0€.",
                "Commissions bancaires : 0,00\u00a0€ d’après les versements et les relevés, au grand livre −3,00\u00a0€.",
            ],
        ),
        (
            Kind.REMITTANCE,
            {"voucher:agglo": -3, "bank": 3},
            [
                "Remises (voucher:agglo) : 0,00\u00a0€ d’après les bons des commandes payées et les relevés, au grand"
                " livre −3,00\u00a0€.",
                "Compte de dépôt de fonds : 0,00\u00a0€ d’après les versements et les virements, au grand livre 3,00\u00a0€.",
            ],
        ),
        (
            Kind.ORDER,
            {"reserved": 4, "expired": -4},
            [
                "Crédits prescrits : −4,00\u00a0€ qu’aucune prescription approuvée n’explique.",
                "Mouvement « Essai » (x) : aucune commande payée ne l’explique.",
                "Parts réservées : 0,00\u00a0€, au grand livre 4,00\u00a0€.",
            ],
        ),
        (
            Kind.LATE_PAYMENT,
            {"clearing:demo": -5, "expired": 5},
            [
                "Encaissements à recevoir (clearing:demo) : 0,00\u00a0€ d’après les règlements, remboursements et"
                " versements, au grand livre −5,00\u00a0€.",
                "Crédits prescrits : 5,00\u00a0€ qu’aucune prescription approuvée n’explique.",
                "Règlement reçu trop tard (Essai) : 0,00\u00a0€ encaissés, au grand livre 5,00\u00a0€.",
            ],
        ),
        (
            Kind.SETTLEMENT,
            {"adjustment": -50, "expired": 50},
            [
                "Régularisations : −50,00\u00a0€ qu’aucune régularisation approuvée n’explique.",
                "Crédits prescrits : 50,00\u00a0€ qu’aucune prescription approuvée n’explique.",
            ],
        ),
    ],
)
def test_what_no_row_explains_is_told(kind: Kind, amounts: dict[str, int], says: list[str]) -> None:
    bought()
    assert list(verify()) == []
    moved(kind, amounts)
    assert list(verify()) == says


def test_a_correction_explains_itself() -> None:
    corrected(days_ago(1), clearing__demo="-12.00", revenue__agglo="10.00", fees="2.00")
    assert list(verify()) == []


def test_what_one_alone_has_loaded_is_told_outside_the_demonstration(settings: Settings) -> None:
    user = UserFactory()
    ledger.adjust(user=user, amount=Decimal(1000), reason="x", key="x", by=agent_of())
    assert list(verify()) == []
    settings.DEMO = False
    assert list(verify()) == manual_says(f"{LOADED}x", user)


def test_a_manual_movement_that_nobody_agreed_to_is_told() -> None:
    user = UserFactory()
    ledger.wallet_of(user)
    with pgtrigger.ignore("wallet.Movement:corrected_by_two"):
        moved(Kind.ADJUSTMENT, {ledger.wallet_code(user): 1000, ledger.ADJUSTMENT: -1000})
    assert list(verify()) == manual_says("x", user)


def manual_says(key: str, user: User) -> list[str]:
    """Of 1 000 euros that somebody put into a wallet: the movement by its key, and both accounts."""
    agreed = "0,00\u00a0€ convenus à deux"
    return [
        f"Régularisation ({key}), compte adjustment\u00a0: {agreed}, −1\u202f000,00\u00a0€ au grand livre.",
        f"Régularisation ({key}), compte {ledger.wallet_code(user)}\u00a0: {agreed}, 1\u202f000,00\u00a0€ au grand livre.",
        "Régularisations : −1\u202f000,00\u00a0€ qu’aucune régularisation approuvée n’explique.",
        wallet_says(user, "0,00", "1\u202f000,00"),
    ]


def paid(user: User, *, of_credits: int = 5) -> Order:
    """A deposit that was paid by card, its rows alone: what the ledger has of it is the test's own."""
    order = Order.objects.create(user=user, kind="top_up", total=of_credits)
    OrderLine.objects.create(order=order, kind="credit", label="Crédits", unit_price=of_credits)
    Payment.objects.create(order=order, provider="demo", amount=of_credits, status="captured", ended_at=timezone.now())
    Order.objects.filter(pk=order.pk).update(status="paid", paid_at=timezone.now())
    return order


def wallet_says(user: User, said: str, held: str) -> str:
    return (
        f"Porte-monnaie {of(str(user))}\u00a0: {said}\u00a0€ d’après ses commandes, règlements et remboursements, au grand livre"
        f" {held}\u00a0€."
    )


class TestWallets:
    def test_its_owner_is_named_with_elision(self) -> None:
        one, other = bought().user, UserFactory(first_name="Élodie", last_name="Roche")
        ledger.wallet_of(other)
        moved(Kind.CANCELLATION, {ledger.wallet_code(one): -10, ledger.wallet_code(other): 10})
        assert any(line.startswith("Porte-monnaie d’Élodie Roche\u00a0: ") for line in verify())

    @pytest.mark.parametrize("kind", [Kind.CANCELLATION, Kind.REFUND, Kind.RELEASE, Kind.WITHDRAWAL])
    def test_money_that_went_from_one_family_to_another(self, kind: Kind) -> None:
        """No account of the régie's has moved: only whose it is."""
        one, other = bought().user, UserFactory()
        ledger.wallet_of(other)
        moved(kind, {ledger.wallet_code(one): -10, ledger.wallet_code(other): 10})
        assert list(verify()) == [wallet_says(one, "42,10", "32,10"), wallet_says(other, "0,00", "10,00")]

    def test_one_row_of_each_sort_is_what_moved(self) -> None:
        """Without any one of them the wallet would say so: deposits, payments, parts, lines, cards, transfers, late money."""
        operator, shop = agent_of(), open_shop(days=4, credit="3")
        user = shop.user
        take_top_up(user=user, amount=Decimal(20), paper=Paper(Counter.CASH, "Q-1", ""), commune=None, by=operator)
        shop.add(days=shop.days[:2])
        shop.pay(Means.WALLET, "15.80")
        cancel_bookings(ids=[Booking.objects.order_by("pk")[0].pk], by=user)
        asked = ask_withdrawal(user=user, amount=Decimal(4), holder="Zoé Celik", iban=IBAN, debtor=Debtor("Régie", ""))
        approve_withdrawal(withdrawal=asked, by=operator)
        order = Order.objects.create(user=user, kind="top_up", total=6)
        OrderLine.objects.create(order=order, kind="credit", label="Crédits", unit_price=6)
        late = Payment.objects.create(
            order=order, provider="demo", amount=6, status="credited", ended_at=timezone.now()
        )
        moved(
            Kind.LATE_PAYMENT,
            {"clearing:demo": -6, ledger.wallet_code(user): 6},
            f"payment:{late.reference}:credited",
        )
        refund_to_card(payment=late, amount=Decimal(2), reason="Essai", by=operator)
        lost = refund_to_card(payment=late, amount=Decimal(1), reason="Essai", by=operator)
        back_to_wallet(refund=lost, note="Compte fermé", by=operator)
        shop.add(days=shop.days[2:])
        shop.pay(Means.BOTH, "15.80")
        assert Payment.objects.filter(status="reserved").exists() and list(verify()) == []
        moved(Kind.RELEASE, {ledger.wallet_code(user): 1, ledger.RESERVED: -1})
        assert any(line.startswith(f"Porte-monnaie de {user}\u00a0: ") for line in verify())

    def test_all_wallets_take_one_statement(self) -> None:
        for _index in range(3):
            bought()
        with CaptureQueriesContext(connection) as queries:
            assert list(explained.wallets()) == []
        assert len(queries) == 1  # nobody is to be named


def test_a_correction_that_moved_more_than_two_have_agreed_on() -> None:
    one, user = agent_of(), UserFactory()
    agreed, other = (corrections.propose(user=user, amount=Decimal(10), reason="Geste", by=one) for _each in range(2))
    corrections.approve(correction=agreed, by=agent_of())
    with undone(), pgtrigger.ignore("wallet.Movement:moves_what_was_agreed"):
        Correction.objects.filter(pk=other.pk).update(
            status="approved", decided_by=agent_of(), decided_at=timezone.now()
        )
        moved(Kind.ADJUSTMENT, {ledger.wallet_code(user): 1000, ledger.ADJUSTMENT: -1000}, other.key)
        assert list(verify()) == [
            f"Régularisation ({other.key}), compte adjustment\u00a0: −10,00\u00a0€ convenus à deux, −1\u202f000,00\u00a0€ au"
            " grand livre.",
            f"Régularisation ({other.key}), compte {ledger.wallet_code(user)}\u00a0: 10,00\u00a0€ convenus à deux,"
            " 1\u202f000,00\u00a0€ au grand livre.",
        ]
    assert list(verify()) == []


class TestOrders:
    def test_a_paid_order_without_its_movement(self) -> None:
        order = paid(UserFactory())
        assert f"Commande {order.number}, payée (5,00\u00a0€) : aucun mouvement au grand livre." in list(verify())

    def test_one_whose_money_went_elsewhere(self) -> None:
        """The sums of all orders together are right, as those of two deposits that were mixed up."""
        users = [UserFactory(), UserFactory()]
        orders = [paid(users[0], of_credits=5), paid(users[1], of_credits=7)]
        for user in users:
            ledger.wallet_of(user)
        for order, user, amount in zip(orders, users, (7, 5), strict=True):
            amounts = {"clearing:demo": -amount, ledger.wallet_code(user): amount}
            moved(Kind.TOP_UP, amounts, f"order:{order.pk}:paid")
        assert list(verify()) == [
            f"Commande {orders[0].number}, carte ou guichet : 5,00\u00a0€, au grand livre 7,00\u00a0€.",
            f"Commande {orders[0].number}, porte-monnaie : −5,00\u00a0€, au grand livre −7,00\u00a0€.",
            f"Commande {orders[1].number}, carte ou guichet : 7,00\u00a0€, au grand livre 5,00\u00a0€.",
            f"Commande {orders[1].number}, porte-monnaie : −7,00\u00a0€, au grand livre −5,00\u00a0€.",
            wallet_says(users[0], "5,00", "7,00"),
            wallet_says(users[1], "7,00", "5,00"),
        ]

    def test_credits_that_became_fees(self) -> None:
        order = paid(UserFactory())
        moved(Kind.TOP_UP, {"clearing:demo": -5, "fees": 5}, f"order:{order.pk}:paid")
        found = list(verify())
        assert f"Commande {order.number}, recettes et frais : 0,00\u00a0€, au grand livre 5,00\u00a0€." in found
        assert any(line.startswith("Frais de dépôt : 0,00") for line in found)

    def test_a_late_payment_that_came_to_no_wallet(self) -> None:
        order = Order.objects.create(user=UserFactory(), kind="top_up", total=5)
        row = Payment.objects.create(order=order, provider="demo", amount=5, status="credited", ended_at=timezone.now())
        says = f"Règlement reçu trop tard ({row.reference}) : 5,00\u00a0€ encaissés, au grand livre 0,00\u00a0€."
        assert says in list(verify())

    def test_a_file_that_was_posted_twice(self) -> None:
        """What the settlements say that they paid over is what the ledger has of them."""
        user = UserFactory()
        order, operator = paid(user), agent_of()
        ledger.wallet_of(user)
        moved(Kind.TOP_UP, {"clearing:demo": -5, ledger.wallet_code(user): 5}, f"order:{order.pk}:paid")
        reference = order.payments.get().reference
        content = f"reference;montant;commission\n{reference};5,00;0,20\n".encode()
        row = settlements.post(provider="demo", name="a.csv", content=content, by=operator)
        assert row.gross == 5 and list(verify()) == []
        moved(Kind.SETTLEMENT, {"clearing:demo": 5, "bank": "-4.80", "bank_fees": "-0.20"})
        assert [line.split(" : ")[0] for line in verify()] == [
            "Encaissements à recevoir (clearing:demo)", "Compte de dépôt de fonds", "Commissions bancaires",
        ]  # fmt: skip


class TestPlaces:
    @pytest.mark.parametrize("status", ["expired", "held"])
    def test_a_paid_line_has_its_place(self, status: str) -> None:
        bought()
        line = OrderLine.objects.select_related("order").get()
        with undone(), pgtrigger.ignore("bookings.Booking:booking_transitions"):
            ended = timezone.now() if status == "expired" else None
            Booking.objects.update(status=status, ended_at=ended, booked_at=None)
            assert f"{line} (commande {line.order.number}) : payé sans place." in list(verify())
        assert list(verify()) == []

    @pytest.mark.parametrize("status", ["expired", "cancelled"])
    def test_a_paid_line_has_its_ticket(self, status: str) -> None:
        buy_ticket(kiosk())
        line = OrderLine.objects.select_related("order").get()
        with undone(), pgtrigger.ignore("bookings.Ticket:ticket_transitions"):
            booked = timezone.now() if status == "cancelled" else None
            Ticket.objects.update(status=status, ended_at=timezone.now(), booked_at=booked)
            assert f"{line} (commande {line.order.number}) : payé sans place." in list(verify())
        assert list(verify()) == []
