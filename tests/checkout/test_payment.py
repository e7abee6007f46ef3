"""Paying: by wallet, by card, by both; whatever the bank says, in whatever order, how often ever."""

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import pgtrigger
import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import Terms
from bookings.actions import release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import Means, abandon_order, apply_message, pay, recover_places, start_top_up
from checkout.actions.completion import complete
from checkout.models import Cart, CartLine, Order, OrderLine, Payment, ProviderEvent
from checkout.providers.base import Message, Outcome
from checkout.verification import verify
from portal.common.errors import Refused
from portal.outbox.models import Email
from services.models import OpenDay, Subscription
from tests.factories import TermsFactory
from tests.shop import Shop, family, open_shop
from wallet.actions import wallet_of
from wallet.models import Account, Movement, TopUpPack

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books_are_right() -> Any:
    """After every test: ledger, orders and places agree."""
    yield
    assert list(verify()) == []


def tell(payment: Payment, outcome: Outcome = Outcome.CAPTURED, amount: str | None = None) -> ProviderEvent:
    """What a provider's verified message does."""
    event = ProviderEvent.objects.create(provider=payment.provider, source="test", raw="{}")
    apply_message(
        message=Message(payment.reference, outcome, Decimal(amount) if amount else payment.amount, "B-1"),
        provider=payment.provider,
        event=event,
    )
    payment.refresh_from_db()
    return event


def card(shop: Shop, means: Means = Means.CARD, total: str = "31.60") -> Payment:
    started = shop.pay(means, total)
    assert started.departure and started.departure.url.startswith(f"{settings.SITE_URL}/demo/banque/?")
    return Payment.objects.exclude(provider="wallet").get(order=started.order)


def balances() -> dict[str, Decimal]:
    kinds = {account.kind: account.balance() for account in Account.objects.exclude(kind="adjustment")}
    return {kind: amount for kind, amount in kinds.items() if amount}


def run_out(shop: Shop) -> None:
    Hold.objects.filter(user=shop.user).update(expires_at=timezone.now() - dt.timedelta(minutes=5))
    release_expired_holds()


class TestWallet:
    def test_pays_at_once(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        order = shop.pay(Means.WALLET, "31.60").order
        assert (order.status, order.total) == (Order.Status.PAID, Decimal("31.60"))
        assert shop.balance == Decimal("18.40")
        assert set(Booking.objects.values_list("status", flat=True)) == {"booked"}
        assert balances() == {"wallet": Decimal("18.40"), "revenue": Decimal("31.60")}
        assert not CartLine.objects.exists() and not Cart.objects.live().exists()
        assert Email.objects.get(key=f"order:{order.pk}:paid").to == shop.user.email

    def test_freezes_what_the_paper_needs(self) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        order = shop.pay(Means.WALLET, "7.90").order
        line = OrderLine.objects.get()
        assert (line.label, line.detail, line.beneficiary_name, line.date, line.unit_price) == (
            shop.activity.name,
            shop.slot.name,
            str(shop.children[0]),
            shop.days[0].date,
            Decimal("7.90"),
        )
        assert order.terms == Terms.objects.get() and "Le Puy-en-Velay" in order.billing_address
        assert line.commune == shop.activity.service.commune

    def test_too_small_is_refused_and_nothing_is_ordered(self) -> None:
        shop = open_shop(credit="31.59")
        shop.add()
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.WALLET, "31.60")
        assert "31,59" in str(refusal.value) and "Rien n’a été débité" in str(refusal.value)
        assert not Order.objects.exists() and shop.balance == Decimal("31.59")

    def test_pressing_twice_pays_once(self) -> None:
        shop = open_shop(credit="100")
        shop.add()
        cart = shop.answer_steps()
        orders = {
            pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("31.60")).order.pk
            for _press in range(3)
        }
        assert len(orders) == 1 and shop.balance == Decimal("68.40")

    def test_a_free_order_needs_no_payment(self) -> None:
        shop = open_shop(price="0.00")
        shop.add()
        order = shop.pay(Means.WALLET, "0.00").order
        assert order.status == Order.Status.PAID and not Payment.objects.exists()


class TestCart:
    def test_another_tab_changed_the_cart(self) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add(days=shop.days[:1])
        cart = shop.answer_steps()
        shop.add(days=shop.days[1:])
        with pytest.raises(Refused) as refusal:
            pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("7.90"))
        assert refusal.value.code == "changed" and "15,80" in str(refusal.value)

    def test_nobody_pays_anothers_cart(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        other = family(shop.tariff)
        with pytest.raises(Refused):
            pay(user=other.user, cart_id=shop.answer_steps().pk, means=Means.WALLET, shown_total=Decimal("31.60"))

    @pytest.mark.parametrize("missing, code", [("address", "no_address"), ("terms", "no_terms")])
    def test_every_step_is_needed(self, missing: str, code: str) -> None:
        shop = open_shop(credit="50")
        shop.add()
        cart = shop.answer_steps()
        Cart.objects.update(**{missing: None})
        with pytest.raises(Refused) as refusal:
            pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("31.60"))
        assert refusal.value.code == code

    def test_expired_places_are_taken_again_before_paying(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        run_out(shop)
        assert shop.pay(Means.WALLET, "31.60").order.status == Order.Status.PAID

    def test_a_place_that_is_gone_stops_the_order(self) -> None:
        shop = open_shop(capacity=1, credit="50")
        shop.add()
        run_out(shop)
        family(shop.tariff, days=shop.days[:1]).add()
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.WALLET, "31.60")
        assert refusal.value.code == "expired" and shop.balance == 50

    def test_a_day_that_closed_since_is_not_sold(self) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add()
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        with pytest.raises(Refused, match=r"Fermé depuis que vous l’avez choisi : .* \(Grève\)") as refusal:
            shop.pay(Means.WALLET, "15.80")
        assert refusal.value.code == "closed" and shop.balance == 50 and not Order.objects.exists()

    def test_an_access_withdrawn_since_sells_nothing(self) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        Subscription.objects.update(status="refused", reason="Déménagement")
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.WALLET, "7.90")
        assert refusal.value.code == "no_access" and shop.balance == 50 and not Order.objects.exists()

    def test_the_conditions_in_force_must_have_been_accepted(self) -> None:
        shop = open_shop(days=1, credit="50")
        shop.add()
        cart = shop.answer_steps()
        TermsFactory(version="2026-12", published_at=timezone.now())
        with pytest.raises(Refused) as refusal:
            pay(user=shop.user, cart_id=cart.pk, means=Means.WALLET, shown_total=Decimal("7.90"))
        assert refusal.value.code == "no_terms" and shop.balance == 50

    def test_while_an_order_is_being_paid_nothing_is_added(self) -> None:
        shop = open_shop(days=2)
        shop.add(days=shop.days[:1])
        card(shop, total="7.90")
        with pytest.raises(Refused) as refusal:
            shop.add(days=shop.days[1:])
        assert refusal.value.code == "being_paid"


class TestCard:
    def test_is_paid_when_the_bank_says_so(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        assert (payment.status, payment.order.status) == ("started", "pending")
        tell(payment)
        payment.order.refresh_from_db()
        assert (payment.status, payment.order.status) == ("captured", "paid")
        assert balances() == {"clearing": Decimal("-31.60"), "revenue": Decimal("31.60")}

    def test_the_second_and_the_hundredth_copy_change_nothing(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        outcomes = [tell(payment).outcome for _copy in range(100)]
        assert outcomes == ["applied"] + ["repeated"] * 99
        assert Movement.objects.filter(kind="order").count() == 1
        assert Email.objects.filter(key__startswith="order:").count() == 1

    @pytest.mark.parametrize(
        "order", list(itertools.permutations([Outcome.CAPTURED, Outcome.REFUSED, Outcome.PENDING]))
    )
    def test_the_order_of_arrival_does_not_matter(self, order: tuple[Outcome, ...]) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        for outcome in order:
            tell(payment, outcome)
        payment.order.refresh_from_db()
        assert (payment.status, payment.order.status) == ("captured", "paid")

    def test_another_amount_is_never_a_payment(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        assert tell(payment, amount="3.16").outcome == ProviderEvent.Outcome.REJECTED
        assert payment.status == "started" and balances() == {}

    def test_an_unknown_payment_is_kept_and_rejected(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        for reference, provider in (("UNKNOWN", "demo"), (payment.reference, "stripe")):
            event = ProviderEvent.objects.create(provider=provider, source="test", raw="{}")
            found = apply_message(
                message=Message(reference, Outcome.CAPTURED, payment.amount), provider=provider, event=event
            )
            assert found is None and event.outcome == ProviderEvent.Outcome.REJECTED

    def test_a_refused_card_may_be_tried_again(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        tell(payment, Outcome.REFUSED)
        again = shop.pay(Means.CARD, "31.60")
        assert again.order == payment.order
        second = Payment.objects.get(status="started")
        tell(second)
        assert second.status == "captured"

    def test_a_second_try_checks_what_was_shown(self) -> None:
        shop = open_shop(days=1)
        shop.add()
        card(shop, total="7.90")
        with pytest.raises(Refused) as refusal:
            pay(user=shop.user, cart_id=shop.cart.pk, means=Means.CARD, shown_total=Decimal("0.01"))
        assert refusal.value.code == "changed"

    def test_a_second_try_takes_the_places_again(self) -> None:
        shop = open_shop(days=1, credit="10")
        shop.add()
        payment = card(shop, total="7.90")
        run_out(shop)
        started = pay(user=shop.user, cart_id=shop.cart.pk, means=Means.WALLET, shown_total=Decimal("7.90"))
        assert started.order == payment.order and Booking.objects.get().status == "booked"

    @pytest.mark.parametrize("means", [Means.WALLET, Means.CARD, Means.BOTH])
    def test_a_second_try_without_its_places_opens_the_cart(self, means: Means) -> None:
        """Nothing is debited, and the cart shows what is gone; nobody is left with an order that leads nowhere."""
        shop = open_shop(days=2, capacity=1, credit="20")
        shop.add()
        payment = card(shop, total="15.80")
        run_out(shop)
        family(shop.tariff, days=shop.days[:1]).add()
        with pytest.raises(Refused) as refusal:
            pay(user=shop.user, cart_id=shop.cart.pk, means=means, shown_total=Decimal("15.80"))
        assert refusal.value.code == "expired" and shop.balance == 20
        assert shop.cart.status == Cart.Status.OPEN
        payment.order.refresh_from_db()
        assert payment.order.status == "cancelled"
        lost = recover_places(user=shop.user)
        assert len(lost) == 1 and CartLine.objects.filter(cart=shop.cart).count() == 1
        assert shop.pay(Means.WALLET, "7.90").order.status == "paid"

    def test_without_a_card_lost_places_are_never_ordered(self) -> None:
        """The net under the checks above: an order all of whose places are gone would post a movement of nothing."""
        shop = open_shop(days=1, capacity=1, credit="10")
        shop.add()
        order = card(shop, total="7.90").order
        run_out(shop)
        family(shop.tariff, days=shop.days).add()
        with pytest.raises(Refused) as refusal:
            complete(order, card=None)
        assert refusal.value.code == "expired"

    def test_a_day_closed_while_the_bank_was_asked_is_given_back(self) -> None:
        shop = open_shop(days=2)
        shop.add()
        payment = card(shop, total="15.80")
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        tell(payment)
        assert shop.balance == Decimal("7.90")
        assert sorted(Booking.objects.values_list("status", flat=True)) == ["booked", "expired"]

    def test_places_are_not_recovered_while_their_order_is_being_paid(self) -> None:
        shop = open_shop(days=1)
        shop.add()
        card(shop, total="7.90")
        run_out(shop)
        with pytest.raises(Refused) as refusal:
            recover_places(user=shop.user)
        assert refusal.value.code == "being_paid" and CartLine.objects.exists()

    def test_a_card_charged_twice_is_kept_in_the_wallet(self) -> None:
        shop = open_shop()
        shop.add()
        first = card(shop)
        tell(first, Outcome.REFUSED)
        shop.pay(Means.CARD, "31.60")
        second = Payment.objects.get(status="started")
        tell(second)
        tell(first)
        assert (first.status, second.status) == ("credited", "captured")
        assert shop.balance == Decimal("31.60")
        assert Email.objects.filter(key=f"payment:{first.pk}:credited").exists()

    def test_an_abandoned_order_opens_its_cart_again(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        abandon_order(user=shop.user, order=payment.order)
        payment.refresh_from_db()
        assert payment.status == "abandoned" and shop.cart.status == Cart.Status.OPEN
        assert shop.pay(Means.CARD, "31.60").order != payment.order

    def test_money_for_an_abandoned_order_goes_to_the_wallet(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        abandon_order(user=shop.user, order=payment.order)
        tell(payment)
        payment.order.refresh_from_db()
        assert (payment.status, payment.order.status, shop.balance) == ("credited", "cancelled", Decimal("31.60"))

    def test_late_money_takes_the_places_again(self) -> None:
        shop = open_shop()
        shop.add()
        payment = card(shop)
        run_out(shop)
        assert shop.fresh().taken == 0
        tell(payment)
        assert payment.status == "captured" and shop.fresh().taken == 1
        assert set(Booking.objects.values_list("status", flat=True)) == {"booked"}

    def test_late_money_counts_the_deadline_at_the_moment_the_parent_paid(self) -> None:
        shop = open_shop(days=1)
        shop.add()
        payment = card(shop, total="7.90")
        run_out(shop)
        OpenDay.objects.update(book_until=timezone.now())
        tell(payment)
        assert Booking.objects.get().status == "booked"

    def test_late_money_for_a_place_that_is_gone_is_in_the_wallet_and_said(self) -> None:
        shop = open_shop(days=2, capacity=1)
        shop.add()
        payment = card(shop, total="15.80")
        run_out(shop)
        family(shop.tariff, days=shop.days[:1]).add()
        tell(payment)
        order = Order.objects.get(user=shop.user)
        assert (order.status, shop.balance) == ("paid", Decimal("7.90"))
        gone, kept = OrderLine.objects.filter(order=order).order_by("date")
        assert gone.cancelled_at and gone.refund and not kept.cancelled_at
        text = Email.objects.get(key=f"order:{order.pk}:paid").body
        assert "Cette place n’était plus libre" in text and "7,90" in text

    def test_a_provider_that_is_down_is_said_and_nothing_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from checkout.providers.base import Unreachable
        from checkout.providers.demo import DemoProvider

        def down(self: DemoProvider, request: object) -> str:
            raise Unreachable("connection refused")

        monkeypatch.setattr(DemoProvider, "start", down)
        shop = open_shop()
        shop.add()
        with pytest.raises(Refused) as refusal:
            shop.pay(Means.CARD, "31.60")
        assert refusal.value.code == "provider_down" and "Rien n’a été débité" in str(refusal.value)
        assert Payment.objects.get().status == "abandoned" and shop.fresh().taken == 1


class TestBoth:
    def test_the_wallets_part_is_reserved_then_captured_with_the_card(self) -> None:
        shop = open_shop(credit="12")
        shop.add()
        payment = card(shop, Means.BOTH)
        assert payment.amount == Decimal("19.60") and shop.balance == 0
        assert balances() == {"reserved": Decimal("12.00")}
        tell(payment)
        assert set(Payment.objects.values_list("provider", "status")) == {("wallet", "captured"), ("demo", "captured")}
        assert balances() == {"clearing": Decimal("-19.60"), "revenue": Decimal("31.60")}
        part = Movement.objects.get(kind=Movement.Kind.RESERVE)  # what the family reads, paid or not
        assert part.label == f"Commande {payment.order.number}, part du porte-monnaie"

    @pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ABANDONED])
    def test_the_wallets_part_comes_back_when_the_card_fails(self, outcome: Outcome) -> None:
        shop = open_shop(credit="12")
        shop.add()
        tell(card(shop, Means.BOTH), outcome)
        assert shop.balance == 12 and balances() == {"wallet": Decimal("12.00")}

    def test_a_card_that_succeeds_after_it_failed_uses_the_wallet_again(self) -> None:
        shop = open_shop(credit="12")
        shop.add()
        payment = card(shop, Means.BOTH)
        tell(payment, Outcome.REFUSED)
        tell(payment)
        payment.order.refresh_from_db()
        assert payment.order.status == "paid" and shop.balance == 0

    def test_a_card_that_succeeds_after_the_wallet_was_spent_is_kept_in_the_wallet(self) -> None:
        shop = open_shop(credit="12")
        shop.add()
        payment = card(shop, Means.BOTH)
        tell(payment, Outcome.REFUSED)
        shop.credit("-12")
        tell(payment)
        assert payment.status == "credited" and shop.balance == Decimal("19.60")

    def test_a_wallet_that_covers_all_pays_all(self) -> None:
        shop = open_shop(credit="40")
        shop.add()
        assert shop.pay(Means.BOTH, "31.60").departure is None
        assert shop.balance == Decimal("8.40")


class TestTopUp:
    def test_a_pack_has_no_fee(self) -> None:
        TopUpPack.objects.create(amount=Decimal("25.00"))
        shop = open_shop()
        order = start_top_up(user=shop.user, amount=Decimal("25.00"), shown_total=Decimal("25.00")).order
        assert order.total == Decimal("25.00")
        tell(order.payments.get())
        assert shop.balance == Decimal("25.00")
        assert balances() == {"clearing": Decimal("-25.00"), "wallet": Decimal("25.00")}

    @pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ABANDONED])
    def test_a_deposit_that_fails_is_over(self, outcome: Outcome) -> None:
        user = open_shop().user
        TopUpPack.objects.create(amount=Decimal("25.00"))
        order = start_top_up(user=user, amount=Decimal("25.00"), shown_total=Decimal("25.00")).order
        tell(order.payments.get(), outcome)
        order.refresh_from_db()
        assert order.status == "cancelled"
        # Should the bank say later that it has the money after all, the wallet gets it.
        tell(order.payments.get())
        assert wallet_of(user).balance == 25

    def test_a_custom_amount_costs_one_cent_more(self) -> None:
        shop = open_shop()
        order = start_top_up(user=shop.user, amount=Decimal("30.00"), shown_total=Decimal("30.01")).order
        assert order.total == Decimal("30.01")
        tell(order.payments.get())
        assert balances() == {
            "clearing": Decimal("-30.01"),
            "wallet": Decimal("30.00"),
            "fees": Decimal("0.01"),
        }

    @pytest.mark.parametrize("amount", ["0", "0.99", "-5", "500.01", "10.005", "1000000"])
    def test_other_amounts_are_refused(self, amount: str) -> None:
        total = Decimal(amount) + Decimal("0.01")
        with pytest.raises(Refused) as refusal:
            start_top_up(user=open_shop().user, amount=Decimal(amount), shown_total=total)
        assert refusal.value.code == "amount"

    def test_another_total_than_was_shown_is_not_asked_for(self) -> None:
        shop = open_shop()
        pack = TopUpPack.objects.create(amount=Decimal("25.00"))
        TopUpPack.objects.filter(pk=pack.pk).update(is_active=False)  # while the person looked at it
        with pytest.raises(Refused, match="coûte maintenant 25,01") as refusal:
            start_top_up(user=shop.user, amount=Decimal("25.00"), shown_total=Decimal("25.00"))
        assert refusal.value.code == "changed" and not Order.objects.exists()


class TestGuards:
    @pytest.mark.parametrize("field, value", [("total", Decimal("1.00")), ("kind", "top_up")])
    def test_an_order_is_frozen(self, field: str, value: object) -> None:
        shop = open_shop(credit="50")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with pytest.raises(Exception, match="Cannot update"), transaction.atomic():
            Order.objects.update(**{field: value})

    def test_a_line_is_frozen(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with pytest.raises(Exception, match="Cannot update"), transaction.atomic():
            OrderLine.objects.update(unit_price=Decimal("0.01"))

    @pytest.mark.parametrize("model", [Order, OrderLine, Payment])
    def test_nothing_about_money_is_deleted(self, model: Any) -> None:
        shop = open_shop(credit="50")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with pytest.raises(Exception, match="Cannot delete"), transaction.atomic():
            model.objects.all()._raw_delete("default")

    def test_a_paid_order_does_not_become_unpaid(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with pytest.raises(Exception, match="Invalid transition"), transaction.atomic():
            Order.objects.update(status="pending", paid_at=None)

    def test_verification_sees_an_order_that_is_paid_but_not_captured(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        shop.pay(Means.WALLET, "31.60")
        with transaction.atomic():
            with pgtrigger.ignore("checkout.Payment:payment_transitions"):
                Payment.objects.update(status="refused")
            assert any("encaissé 0,00" in sentence for sentence in verify())
            transaction.set_rollback(True)

    def test_the_terms_of_an_order_cannot_be_rewritten(self) -> None:
        shop = open_shop(credit="50")
        shop.add()
        order = shop.pay(Means.WALLET, "31.60").order
        with transaction.atomic():
            with pgtrigger.ignore("accounts.Terms:published_text_is_frozen"):  # the fault with the guard off
                Terms.objects.update(body="Autre chose")
            assert Order.objects.get(pk=order.pk).terms.body == "Autre chose"
            transaction.set_rollback(True)
        for change in ({"body": "Autre chose"}, {"version": "2"}, {"kind": "use"}, {"published_at": timezone.now()}):
            with pytest.raises(Exception, match="this version is published"), transaction.atomic():
                Terms.objects.update(**change)
        other = TermsFactory(version="autre")
        with pytest.raises(Exception, match="Cannot update"), transaction.atomic():
            Order.objects.update(terms=other)
