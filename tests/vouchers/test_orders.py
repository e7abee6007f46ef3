"""Vouchers through an order's life: entered, frozen, borne, given back; the families' money and the communes' to the cent."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, abandon_order, cancel_bookings, cancel_for, cancel_ticket, change_booking
from checkout.actions.completion import apply_message
from checkout.models import Order, OrderLine, Payment, ProviderEvent
from checkout.papers.receipts import issue_receipt
from checkout.providers.base import Message, Outcome
from checkout.verification import verify
from checkout.vouchers.actions import MOST_TRIES, enter_code, remove_code
from checkout.vouchers.models import CartVoucher, Voucher, VoucherShare, VoucherUse
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import long_date, today
from portal.outbox.models import Email
from services.models import OpenDay
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import FiliationFactory, UserFactory, agent_of
from tests.papers.reading import plain
from tests.papers.reading import words as words_of
from tests.shop import Shop, family, open_shop
from tests.tickets.kiosk import buy_ticket
from tests.vouchers.making import order_with, voucher
from wallet.actions import revenue_code, voucher_code
from wallet.models import Account

pytestmark = pytest.mark.django_db


def held(code: str) -> Decimal:
    """What an account of the ledger holds."""
    account = Account.objects.filter(code=code).first()
    return account.balance() if account else Decimal(0)


def capture(payment: Payment) -> None:
    event = ProviderEvent.objects.create(provider="demo", source="test", raw="x")
    message = Message(payment.reference, Outcome.CAPTURED, payment.amount, "B1")
    apply_message(message=message, provider="demo", event=event)


def uses() -> list[tuple[str, str]]:
    return list(VoucherUse.objects.order_by("pk").values_list("voucher__code", "status"))


class TestEntering:
    def test_what_it_comes_to_is_said(self) -> None:
        shop = open_shop()
        voucher()
        shop.add()
        assert enter_code(user=shop.user, code=" rentree10 ").amount == Decimal("3.16")
        assert CartVoucher.objects.get().cart == shop.cart

    @pytest.mark.parametrize(
        "code, fields, refused",
        [
            ("AUTRE", {}, "unknown"),
            ("", {}, "no_code"),
            ("RENTREE10", {"is_active": False}, "inactive"),
            ("RENTREE10", {"valid_until": dt.date(2020, 1, 1)}, "expired"),
            ("RENTREE10", {"valid_from": dt.date(2120, 1, 1)}, "not_yet"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, code: str, fields: dict[str, Any], refused: str) -> None:
        shop = open_shop()
        voucher(**fields)
        shop.add()
        with pytest.raises(Refused) as refusal:
            enter_code(user=shop.user, code=code)
        assert refusal.value.code == refused and refusal.value.messages[-1] == "Votre panier n’a pas changé."
        assert not CartVoucher.objects.exists()

    def test_somebody_elses_is_as_unknown_as_any(self) -> None:
        shop = open_shop()
        voucher(user=UserFactory())
        shop.add()
        sentences = []
        for code in ("RENTREE10", "INCONNU"):
            with pytest.raises(Refused) as refusal:
                enter_code(user=shop.user, code=code)
            sentences.append(str(refusal.value).replace(code, "…"))
        assert sentences[0] == sentences[1]

    def test_what_only_needs_more_products_waits_in_the_cart(self) -> None:
        shop = open_shop()
        voucher(minimum=Decimal(20))
        shop.add(days=shop.days[:1])
        assert enter_code(user=shop.user, code="RENTREE10").code == "minimum"
        shop.add(days=shop.days[1:])
        assert shop.pay(Means.CARD, "28.44").order.total == Decimal("28.44")

    def test_twice_too_many_and_not_beside_others(self) -> None:
        shop = open_shop()
        voucher()
        voucher("SEUL")
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        for code, refused in (("RENTREE10", "already"), ("SEUL", "not_stackable")):
            with pytest.raises(Refused) as refusal:
                enter_code(user=shop.user, code=code)
            assert refusal.value.code == refused
        assert remove_code(user=shop.user, code="rentree10") and not remove_code(user=shop.user, code="RENTREE10")
        assert enter_code(user=shop.user, code="SEUL").amount == Decimal("3.16")

    def test_five_at_most(self) -> None:
        shop = open_shop()
        shop.add()
        for number in range(6):
            voucher(f"BON{number}", stackable=True, percent=Decimal(1))
        for number in range(5):
            enter_code(user=shop.user, code=f"BON{number}")
        with pytest.raises(Refused, match="Pas plus de 5"):
            enter_code(user=shop.user, code="BON5")

    def test_codes_are_not_found_by_trying(self) -> None:
        shop = open_shop()
        voucher()
        shop.add()
        for number in range(MOST_TRIES):
            with pytest.raises(Refused, match="pas connu"):
                enter_code(user=shop.user, code=f"ESSAI{number}")
        with pytest.raises(Refused, match="Trop de codes"):
            enter_code(user=shop.user, code="RENTREE10")

    def test_not_without_a_cart_nor_while_it_is_being_paid(self) -> None:
        shop = open_shop()
        voucher()
        with pytest.raises(Refused, match="vide"):
            enter_code(user=shop.user, code="RENTREE10")
        shop.add()
        shop.pay(Means.CARD, "31.60")
        for action in (enter_code, remove_code):
            with pytest.raises(Refused, match="attend son règlement"):
                action(user=shop.user, code="RENTREE10")  # type: ignore[operator]


class TestPaying:
    def test_the_commune_earns_the_price_and_the_bearer_pays_the_difference(self) -> None:
        shop = open_shop(credit="50")
        commune = shop.activity.service.commune
        voucher(commune=commune)
        order = order_with(shop, "RENTREE10", total="28.44")
        assert (order.total, shop.balance) == (Decimal("28.44"), Decimal("21.56"))
        assert held(revenue_code(commune)) == Decimal("31.60")
        assert held(voucher_code(commune)) == Decimal("-3.16")
        assert {line.discount for line in order.lines.all()} == {Decimal("0.79")}
        assert uses() == [("RENTREE10", "used")] and Voucher.objects.get().used == 1
        assert not CartVoucher.objects.exists()
        assert list(verify()) == []

    def test_without_a_commune_the_agglomeration_bears_it(self) -> None:
        shop = open_shop(credit="50")
        voucher()
        order_with(shop, "RENTREE10", total="28.44")
        assert held("voucher:agglo") == Decimal("-3.16")

    def test_by_card_it_is_taken_with_the_order_and_used_when_it_is_paid(self) -> None:
        shop = open_shop()
        voucher()
        order = order_with(shop, "RENTREE10", total="28.44", means=Means.CARD)
        assert uses() == [("RENTREE10", "taken")]
        payment = order.payments.get()
        assert payment.amount == Decimal("28.44")
        capture(payment)
        order.refresh_from_db()
        assert order.status == "paid" and uses() == [("RENTREE10", "used")]
        assert held("clearing:demo") == Decimal("-28.44")
        assert list(verify()) == []

    def test_given_up_it_can_be_used_again(self) -> None:
        shop = open_shop()
        voucher(max_uses=1)
        order = order_with(shop, "RENTREE10", total="28.44", means=Means.CARD)
        abandon_order(user=shop.user, order=order)
        assert uses() == [("RENTREE10", "given_back")] and Voucher.objects.get().used == 0
        shop.credit("50")
        again = shop.pay(Means.WALLET, "28.44").order
        assert again.status == "paid" and uses()[1:] == [("RENTREE10", "used")]
        assert list(verify()) == []

    def test_a_second_try_pays_the_same_order_whatever_became_of_the_voucher(self) -> None:
        shop = open_shop(credit="50")
        row = voucher()
        order_with(shop, "RENTREE10", total="28.44", means=Means.CARD)
        row.is_active = False
        row.save()
        assert shop.pay(Means.WALLET, "28.44").order.status == "paid"
        assert uses() == [("RENTREE10", "used")] and list(verify()) == []

    def test_what_was_shown_and_no_longer_applies_is_named_and_nothing_is_ordered(self) -> None:
        shop = open_shop(credit="50")
        row = voucher()
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        row.is_active = False
        row.save()
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.WALLET, "28.44")
        assert refusal.value.code == "changed"
        assert refusal.value.messages[0] == "RENTREE10\u00a0: ce bon n’est plus en service."
        assert not Order.objects.exists() and shop.balance == 50

    def test_one_that_pays_all_makes_an_order_without_payment(self) -> None:
        shop = open_shop()
        commune = shop.activity.service.commune
        voucher(percent=Decimal(100))
        order = order_with(shop, "RENTREE10", total="0.00")
        assert order.status == "paid" and not order.payments.exists()
        assert (held(revenue_code(commune)), held("voucher:agglo")) == (Decimal("31.60"), Decimal("-31.60"))
        assert Booking.objects.booked().count() == 4 and list(verify()) == []

    def test_several_bearers_each_bear_their_own(self) -> None:
        shop = open_shop(credit="50")
        commune = shop.activity.service.commune
        voucher("COMMUNE", commune=commune, amount=5, stackable=True)
        voucher("AGGLO", percent=Decimal(50), stackable=True)
        order_with(shop, "COMMUNE", "AGGLO", total="10.80")
        assert (held(voucher_code(commune)), held("voucher:agglo")) == (-5, Decimal("-15.80"))
        assert list(verify()) == []

    def test_once_per_family_and_again_after_all_was_cancelled(self) -> None:
        shop = open_shop(days=2, credit="50")
        voucher()
        shop.add(days=shop.days[:1])
        enter_code(user=shop.user, code="RENTREE10")
        shop.pay(Means.WALLET, "7.11")
        shop.add(days=shop.days[1:])
        with pytest.raises(Refused) as refusal:
            enter_code(user=shop.user, code="RENTREE10")
        assert refusal.value.code == "used_by_family"
        cancel_bookings(ids=[Booking.objects.booked().get().pk], by=shop.user)
        assert enter_code(user=shop.user, code="RENTREE10").amount == Decimal("0.79")

    def test_both_parents_of_a_child_are_one_family(self) -> None:
        """Whoever of the two used it; while the child is theirs both, and not a stranger's with the same access."""
        first = open_shop(days=4, credit="50")
        other = family(first.tariff, days=first.days, credit="50")
        link = FiliationFactory(user=other.user, beneficiary=first.children[0])
        stranger = family(first.tariff, days=first.days, credit="50")
        voucher()
        first.add(days=first.days[:1])
        enter_code(user=first.user, code="RENTREE10")
        other.add(days=first.days[1:2])
        enter_code(user=other.user, code="RENTREE10")  # nobody has used it yet
        first.pay(Means.WALLET, "7.11")
        with pytest.raises(Refused, match="Les comptes des deux parents comptent ensemble") as refusal:
            other.pay(Means.WALLET, "7.11")
        assert refusal.value.code == "changed" and other.balance == 50
        stranger.add(days=first.days[2:3])
        assert enter_code(user=stranger.user, code="RENTREE10").amount == Decimal("0.79")
        Filiation.objects.filter(pk=link.pk).update(ended_at=timezone.now())
        other.pay(Means.WALLET, "7.11")
        assert VoucherUse.objects.live().count() == 2 and list(verify()) == []

    def test_as_many_families_as_it_has_uses(self) -> None:
        first = open_shop(days=1, credit="50")
        other = family(first.tariff, days=first.days, credit="50")
        voucher(max_uses=1)
        order_with(first, "RENTREE10", total="7.11")
        other.add()
        with pytest.raises(Refused) as refusal:
            enter_code(user=other.user, code="RENTREE10")
        assert refusal.value.code == "used_up"

    def test_a_deposit_takes_none(self) -> None:
        """Money is not bought cheaper: codes are entered in carts, and deposits have none."""
        assert Order.Kind.TOP_UP not in {order.kind for order in Order.objects.filter(voucher_uses__isnull=False)}
        with pytest.raises(Refused, match="vide"):
            enter_code(user=open_shop().user, code="RENTREE10")

    @pytest.mark.parametrize("days, most", [(4, 36), (280, 36)])
    def test_cost(self, at_most: Any, days: int, most: int) -> None:
        shop = open_shop(days=days, credit="5000")
        voucher()
        shop.add()
        enter_code(user=shop.user, code="RENTREE10")
        cart = shop.answer_steps()
        total = Decimal("7.11") * days
        from checkout.actions import pay

        with at_most(most):
            pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=total)


class TestCancelling:
    def test_a_part_gives_back_what_was_paid_for_it_and_the_bearers_share(self) -> None:
        shop = open_shop(credit="50")
        commune = shop.activity.service.commune
        voucher(commune=commune)
        order_with(shop, "RENTREE10", total="28.44")
        first = Booking.objects.booked().order_by("open_day__date").first()
        assert first is not None
        assert cancel_bookings(ids=[first.pk], by=shop.user).total == Decimal("7.11")
        assert (held(revenue_code(commune)), held(voucher_code(commune))) == (Decimal("23.70"), Decimal("-2.37"))
        assert uses() == [("RENTREE10", "used")] and list(verify()) == []

    def test_all_gives_the_voucher_back(self) -> None:
        shop = open_shop(credit="50")
        commune = shop.activity.service.commune
        voucher(commune=commune)
        order_with(shop, "RENTREE10", total="28.44")
        refunds = cancel_for(ids=list(Booking.objects.values_list("pk", flat=True)), by=agent_of(), reason="Grève")
        assert [refund.total for refund in refunds] == [Decimal("28.44")]
        assert (shop.balance, held(revenue_code(commune)), held(voucher_code(commune))) == (50, 0, 0)
        assert uses() == [("RENTREE10", "given_back")] and Voucher.objects.get().used == 0
        assert list(verify()) == []

    def test_what_cost_nothing_gives_back_to_the_bearer_alone(self) -> None:
        shop = open_shop()
        voucher(percent=Decimal(100))
        order_with(shop, "RENTREE10", total="0.00")
        ids = list(Booking.objects.values_list("pk", flat=True))
        assert cancel_bookings(ids=ids, by=shop.user).total == 0
        assert (held("voucher:agglo"), shop.balance) == (0, 0) and list(verify()) == []

    def test_a_change_gives_back_what_was_paid_and_costs_the_full_price(self) -> None:
        shop = open_shop(days=2, credit="50")
        voucher()
        shop.add(days=shop.days[:1])
        enter_code(user=shop.user, code="RENTREE10")
        shop.pay(Means.WALLET, "7.11")
        new = change_booking(
            booking=Booking.objects.booked().select_related("open_day__activity", "slot", "beneficiary").get(),
            slot=shop.slot,
            date=shop.days[1].date,
            shown_difference=Decimal("0.79"),
            by=shop.user,
        )
        assert new.date == shop.days[1].date and shop.balance == Decimal("42.10")
        assert uses() == [("RENTREE10", "given_back")] and list(verify()) == []

    def test_a_ticket(self) -> None:
        shop = open_shop(credit="100")
        ticket = buy_ticket(shop)
        line = OrderLine.objects.get(ticket=ticket)
        assert line.discount == 0 and cancel_ticket(ticket=ticket, by=shop.user).total == line.unit_price
        assert list(verify()) == []

    def test_places_lost_to_a_late_card_are_paid_back_as_they_were_paid(self) -> None:
        shop = open_shop(days=2, capacity=1)
        voucher()
        order = order_with(shop, "RENTREE10", total="14.22", means=Means.CARD)
        Hold.objects.update(expires_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        release_expired_holds()
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        capture(order.payments.get())
        order.refresh_from_db()
        commune = shop.activity.service.commune
        assert order.status == "paid" and shop.balance == Decimal("7.11")
        assert (held(revenue_code(commune)), held("voucher:agglo")) == (Decimal("7.90"), Decimal("-0.79"))
        assert uses() == [("RENTREE10", "used")] and list(verify()) == []
        self._adds_up_in_the_mail(order, gone=shop.days[0].date)
        self._adds_up_on_the_page(order)
        receipt = words_of(issue_receipt(order=order))
        assert (
            plain("qui n’est pas rendu en argent : 0,79 €") in receipt
            and plain("Rendu au porte-monnaie : 7,11 €") in receipt
        )

    @staticmethod
    def _adds_up_in_the_mail(order: Order, *, gone: dt.date) -> None:
        mail = Email.objects.get(key=f"order:{order.pk}:paid").body
        assert mail.count("1 × 7,90\u00a0€ = 7,90\u00a0€") == 2 and mail.count("plus libre, voir plus bas") == 1
        assert "−1,58\u00a0€" in mail and "Total : 14,22\u00a0€" in mail
        line = OrderLine.objects.get(order=order, date=gone)
        assert f"- {line.label}, {line.detail}, {line.beneficiary_name}, {long_date(gone)} : 7,90\u00a0€\n" in mail
        assert "7,90\u00a0€ − 0,79\u00a0€ de bons de réduction = 7,11\u00a0€" in mail
        assert "La somme payée pour elle, 7,11\u00a0€" in mail and "réservations sont confirmées" not in mail

    @staticmethod
    def _adds_up_on_the_page(order: Order) -> None:
        answer = client_of(order.user).get(order.get_absolute_url())
        words = text(answer)
        assert "réservations confirmées" not in words and "Le reste de votre commande est confirmé" in words
        assert "dont 7,11 € rendus" in words
        booked, lost = answer.context["groups"]
        assert (booked.is_gone, lost.is_gone, lost.total) == (False, True, Decimal("7.90"))
        assert words.count("Plus libre, rendu") == 1

    def test_all_places_lost_give_the_voucher_back(self) -> None:
        shop = open_shop(days=1)
        voucher()
        order = order_with(shop, "RENTREE10", total="7.11", means=Means.CARD)
        Hold.objects.update(expires_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        release_expired_holds()
        OpenDay.objects.update(is_open=False, closed_reason="Grève")
        capture(order.payments.get())
        assert shop.balance == Decimal("7.11") and uses() == [("RENTREE10", "given_back")]
        assert list(verify()) == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    percent=st.integers(1, 9_999).map(lambda n: Decimal(n) / 100),
    euros=st.integers(1, 3_000).map(lambda n: Decimal(n) / 100),
    price=st.integers(1, 1_500).map(lambda n: Decimal(n) / 100),
    order=st.permutations(range(5)),
)
def test_cancelling_line_by_line_neither_loses_nor_makes_a_cent(
    percent: Decimal, euros: Decimal, price: Decimal, order: list[int]
) -> None:
    from django.db import transaction

    with transaction.atomic():
        shop = open_shop(days=5, credit="100", price=str(price))
        voucher("PART", percent=percent, stackable=True)
        voucher("EUROS", amount=euros, stackable=True)
        shop.add()
        for code in ("EUROS", "PART"):
            enter_code(user=shop.user, code=code)
        from checkout.summary import CartSummary

        cart = CartSummary.of(shop.user)
        assert cart is not None
        shop.pay(Means.WALLET, cart.total)
        assert shop.balance == 100 - cart.total and list(verify()) == []
        ids = list(Booking.objects.booked().filter(made_by=shop.user).order_by("pk").values_list("pk", flat=True))
        back = [cancel_bookings(ids=[ids[index]], by=shop.user).total for index in order]
        assert sum(back) == cart.total and shop.balance == 100
        assert list(verify()) == []
        transaction.set_rollback(True)


def shares_of(shop: Shop) -> int:
    return VoucherShare.objects.filter(use__user=shop.user).count()


def test_dates_of_use_are_those_of_the_booking() -> None:
    shop = open_shop(credit="50")
    voucher(days_until=shop.days[1].date)
    order_with(shop, "RENTREE10", total="30.02")
    assert shares_of(shop) == 2 and today() < shop.days[0].date
