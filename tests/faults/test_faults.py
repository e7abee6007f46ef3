"""What banks, browsers and networks do to a payment: the money and the places are right afterwards, for every provider.

The cases are the issue's list: a notification that is late, doubled, out of order, forged, about another amount, an
unknown or an already refunded order; a browser that never comes back; a bank that does not answer. What must hold after
each is in `scene.ends_right`.
"""

import datetime as dt
import itertools
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, abandon_order, cancel_bookings, payment, reconciliation, start_top_up
from checkout.actions.events import mark_seen
from checkout.counter.actions import Paper, take_payment
from checkout.counter.models import Means as Counter
from checkout.models import GIVE_UP_AFTER, Order, Payment, ProviderEvent
from checkout.overdue import overdue
from checkout.providers import payfip
from checkout.providers import provider as find_provider
from checkout.tasks import ASK_FOR, ask_again, reconcile_payments
from checkout.views import providers
from portal.common.errors import Refused
from services.models import OpenDay
from tests.concurrency.conftest import race
from tests.factories import AddressFactory, agent_of
from tests.faults.bank import ASKED_AT_THE_START, SIGNING, Bank
from tests.faults.scene import (
    DEPOSIT,
    TOTAL,
    Scene,
    at_the_bank,
    choose_card,
    deposit_at_the_bank,
    leave,
    let_time_pass,
    outcomes,
    paid_once,
    reconcile,
    untouched,
)
from tests.shop import family
from wallet.models import Movement, TopUpPack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("right_in_the_end")]

COPIES = 100  # at once: each is a request in a thread of its own, with its own connection to PostgreSQL


class TestAsItShould:
    def test_paid_told_and_back(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        assert untouched(scene)
        bank.pay(scene.payment)
        assert scene.tell() == 200
        assert paid_once(scene)
        assert scene.come_back() == scene.order.get_absolute_url()
        assert paid_once(scene)

    def test_the_wallets_part_is_paid_with_the_card(self, bank: Bank) -> None:
        scene = at_the_bank(bank, credit="12")
        assert (scene.payment.amount, scene.shop.balance) == (TOTAL - 12, 0)
        bank.pay(scene.payment)
        assert scene.tell() == 200
        assert scene.status == ("captured", "paid") and scene.shop.balance == 0

    def test_refused_and_paid_from_the_wallet(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.refuse(scene.payment)
        scene.tell()
        assert scene.come_back() == "/commande/paiement/"
        assert scene.status == ("refused", "pending") and scene.booked == 0
        scene.shop.credit("40")
        assert scene.shop.pay(Means.WALLET, TOTAL).order.status == Order.Status.PAID
        assert scene.shop.balance == 40 - TOTAL

    @pytest.mark.parametrize("way", ["refuse", "abandon"])
    def test_the_wallets_part_comes_back_when_the_card_does_not_pay(self, bank: Bank, way: str) -> None:
        scene = at_the_bank(bank, credit="12")
        getattr(bank, way)(scene.payment)
        scene.tell()
        scene.come_back()
        assert scene.status in {("refused", "pending"), ("abandoned", "pending")}
        assert scene.shop.balance == 12


class TestLate:
    def test_after_the_hold_has_run_out_the_places_are_taken_again(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.hold_runs_out()
        assert scene.tell() == 200
        assert paid_once(scene)

    def test_when_a_place_is_gone_its_price_is_in_the_wallet(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.hold_runs_out()
        OpenDay.objects.filter(pk=scene.shop.days[0].pk).update(capacity=1)
        family(scene.shop.tariff, days=scene.shop.days[:1]).add()
        assert scene.tell() == 200
        assert scene.status == ("captured", "paid")
        assert (scene.booked, scene.shop.balance) == (3, TOTAL / 4)
        assert len(scene.written()) == 1

    def test_when_the_order_was_given_up_the_money_is_in_the_wallet(self, bank: Bank) -> None:
        """The bank was down when it was asked; it tells us in the end."""
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        with bank.down():
            assert abandon_order(user=scene.shop.user, order=scene.order)
        assert scene.status == ("abandoned", "cancelled")
        assert scene.tell() == 200
        assert scene.status == ("credited", "cancelled")
        assert (scene.booked, scene.shop.balance) == (0, TOTAL)
        assert len(scene.written()) == 1

    def test_when_the_order_was_paid_otherwise_the_money_is_in_the_wallet(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.shop.credit("40")
        with bank.down():
            assert scene.shop.pay(Means.WALLET, TOTAL).order.status == Order.Status.PAID
        assert scene.tell() == 200
        assert scene.status == ("credited", "paid")
        assert (scene.booked, scene.shop.balance) == (4, 40)


class TestDoubled:
    def test_a_hundred_copies_at_once_pay_once(self, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bank that is asked back about each of them shares this process: it may take as long as they need together."""
        monkeypatch.setattr(payfip, "TIMEOUT", (60, 60))
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        notification = bank.notification(scene.payment)
        assert race([lambda: bank.deliver(notification)] * COPIES) == [200] * COPIES
        assert paid_once(scene)
        assert sorted(outcomes()) == ["applied"] + ["repeated"] * (COPIES - 1)

    def test_browsers_and_notifications_at_once_pay_once(self, bank: Bank) -> None:
        """Two tabs come back while the bank tells us and the task asks: whoever is first pays, for all."""
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        race([scene.tell, scene.come_back, scene.tell, scene.come_back, reconcile])
        assert paid_once(scene)


class TestOutOfOrder:
    @pytest.mark.parametrize("backwards", [False, True])
    def test_what_is_paid_is_paid_in_whatever_order_it_is_told(self, bank: Bank, backwards: bool) -> None:
        scene = at_the_bank(bank, credit="12")
        told = list(bank.history(scene.payment))
        assert len(told) > 1
        for notification in reversed(told) if backwards else told:
            assert bank.deliver(notification) == 200
        assert scene.status == ("captured", "paid")
        assert (scene.booked, scene.shop.balance) == (4, 0)
        assert Movement.objects.filter(kind=Movement.Kind.ORDER).count() == 1

    def test_the_browser_is_quicker_than_the_bank(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        assert scene.come_back() == scene.order.get_absolute_url()
        assert paid_once(scene)
        assert scene.tell() == 200
        assert paid_once(scene)

    def test_the_browser_comes_back_before_anything_is_decided(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        scene.come_back()
        assert untouched(scene)
        bank.pay(scene.payment)
        assert scene.tell() == 200
        assert paid_once(scene)


class TestForged:
    def test_what_is_not_the_banks_changes_nothing(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        forged = bank.forged(scene.payment)
        assert len(forged) > 2
        for notification in forged:
            assert bank.deliver(notification) in {200, 400}
            assert untouched(scene)
        assert ProviderEvent.objects.count() == len(forged), "each is kept as it came"
        assert "applied" not in outcomes()

    @pytest.mark.parametrize("bank", SIGNING, indirect=True)
    def test_what_is_not_signed_is_told_apart_from_what_is(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        for notification in bank.forged(scene.payment):
            assert bank.deliver(notification) == 400
        assert set(outcomes()) == {"rejected"}

    def test_another_amount_is_never_a_payment(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        assert bank.deliver(bank.of_another_amount(scene.payment)) in {200, 400}
        assert untouched(scene)
        assert outcomes() == ["rejected"]

    def test_an_unknown_payment_is_kept_and_rejected(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        assert bank.deliver(bank.of_nobody()) in {200, 400}
        assert untouched(scene)
        assert "applied" not in outcomes() and len(outcomes()) == 1

    def test_a_notification_that_comes_to_another_providers_address_is_nobodys(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        told, bank.slug = bank.notification(scene.payment), "autre"
        try:
            assert bank.deliver(told) == 404
        finally:
            bank.slug = scene.payment.provider
        assert untouched(scene) and outcomes() == []


class TestOver:
    def test_told_again_after_the_order_was_paid_back(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.tell()
        bookings = list(Booking.objects.values_list("pk", flat=True))
        cancel_bookings(ids=bookings, by=scene.shop.user)
        before = scene.shop.balance, Movement.objects.count(), len(scene.written())
        assert before[0] == TOTAL
        for _copy in range(3):
            assert scene.tell() == 200
            scene.come_back()
        assert (scene.shop.balance, Movement.objects.count(), len(scene.written())) == before
        assert scene.booked == 0 and scene.status == ("captured", "paid")


class TestDeposit:
    """Credits of the wallet, bought by card."""

    def test_told_again_and_again_it_is_credited_once(self, bank: Bank) -> None:
        scene = deposit_at_the_bank(bank)
        bank.pay(scene.payment)
        race([scene.tell, scene.come_back, scene.tell, scene.come_back, reconcile])
        assert scene.status == ("captured", "paid")
        assert scene.shop.balance == DEPOSIT and len(scene.written()) == 1

    @pytest.mark.parametrize("way", ["refuse", "abandon"])
    def test_not_paid_it_is_over_and_nothing_is_credited(self, bank: Bank, way: str) -> None:
        scene = deposit_at_the_bank(bank)
        getattr(bank, way)(scene.payment)
        scene.tell()
        assert scene.come_back() in {"/mon-compte/porte-monnaie/", scene.order.get_absolute_url()}
        assert scene.order.status == Order.Status.CANCELLED
        assert scene.shop.balance == 0 and scene.written() == []

    def test_given_up_unheard_and_paid_all_the_same_it_is_in_the_wallet(self, bank: Bank) -> None:
        scene = deposit_at_the_bank(bank)
        bank.pay(scene.payment)
        with bank.down():
            assert abandon_order(user=scene.shop.user, order=scene.order)
        assert scene.tell() == 200
        assert scene.status == ("credited", "cancelled")
        assert scene.shop.balance == DEPOSIT and len(scene.written()) == 1


class TestNobodyTells:
    """No notification, no browser: the task asks."""

    def test_what_was_paid(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        assert reconcile_payments() == 0, "the bank is given two minutes"
        assert reconcile() == 1
        assert paid_once(scene)
        assert reconcile() == 0

    @pytest.mark.parametrize("way", ["refuse", "abandon"])
    def test_what_was_not(self, bank: Bank, way: str) -> None:
        scene = at_the_bank(bank, credit="12")
        getattr(bank, way)(scene.payment)
        assert reconcile() == 1
        assert scene.status in {("refused", "pending"), ("abandoned", "pending")}
        assert scene.shop.balance == 12

    def test_what_is_not_decided_is_left_to_the_payer(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        assert reconcile() == 0
        assert untouched(scene)
        bank.pay(scene.payment)
        assert reconcile() == 1
        assert paid_once(scene)


# At Stripe a session that has ended cannot be paid; a refused card ends none.
PAGE_GOES_ON = ["demo", "paybox", "payfip"]
another_card = pytest.mark.parametrize(
    "bank, scene", list(itertools.product(PAGE_GOES_ON, ["refuse", "abandon"])), indirect=True
)


asked_at_the_start = pytest.mark.parametrize("bank", ASKED_AT_THE_START, indirect=True)


class TestAnotherTryThatDidNotStart:
    """The first page stands open in another tab and is paid there, unheard of; the second press reached nobody."""

    @pytest.fixture
    def scene(self, bank: Bank) -> Scene:
        scene = at_the_bank(bank)
        with bank.down(), pytest.raises(Refused):
            scene.shop.pay(Means.CARD, TOTAL)
        bank.pay(scene.payment)
        return scene

    @asked_at_the_start
    def test_who_presses_again_is_not_charged_twice(self, bank: Bank, scene: Scene) -> None:
        assert scene.shop.pay(Means.CARD, TOTAL).departure is None
        assert paid_once(scene)

    @asked_at_the_start
    def test_nor_at_the_counter(self, bank: Bank, scene: Scene) -> None:
        with pytest.raises(Refused):
            take_payment(
                user=scene.shop.user, shown_total=TOTAL, paper=Paper(Counter.CASH, "Q-1"), commune=None, by=agent_of()
            )
        assert paid_once(scene)

    def test_nor_beside_a_deposit_that_did_not_start_either(self, bank: Bank) -> None:
        """Its process died before its page had a name: its provider does not know it, and is asked about the others."""
        scene = at_the_bank(bank)
        TopUpPack.objects.get_or_create(amount=DEPOSIT)
        AddressFactory(user=scene.shop.user)
        with mock.patch.object(payment, "find_provider", side_effect=SystemExit), pytest.raises(SystemExit):
            start_top_up(user=scene.shop.user, amount=DEPOSIT, shown_total=DEPOSIT)
        bank.pay(scene.payment)
        with pytest.raises(Refused):
            take_payment(
                user=scene.shop.user, shown_total=TOTAL, paper=Paper(Counter.CASH, "Q-1"), commune=None, by=agent_of()
            )
        assert paid_once(scene)
        scene.give_up()

    @asked_at_the_start
    def test_a_bank_that_keeps_us_waiting_is_asked_once(self, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = at_the_bank(bank)
        with bank.down(), pytest.raises(Refused):
            scene.shop.pay(Means.CARD, TOTAL)
        scene.shop.pay(Means.CARD, TOTAL)
        Payment.objects.update(checked_at=None)
        monkeypatch.setattr(reconciliation, "PATIENCE_SECONDS", 0.1)
        with bank.slow():
            reconciliation.ask_about(Order.objects.all())
        assert Payment.objects.filter(checked_at__isnull=False).count() == 1


class TestPaidAfterItsEnd:
    """A refused card is followed by another one on the same page of the bank, and the second message is lost."""

    @pytest.fixture
    def scene(self, bank: Bank, request: pytest.FixtureRequest) -> Scene:
        scene = at_the_bank(bank)
        getattr(bank, request.param)(scene.payment)
        scene.tell()
        assert scene.status[1] == "pending" and scene.status[0] in {"refused", "abandoned"}
        bank.pay(scene.payment)
        return scene

    @another_card
    def test_the_task_asks(self, bank: Bank, scene: Scene) -> None:
        scene.ask_again()
        assert paid_once(scene)

    @another_card
    def test_the_browser_comes_back(self, bank: Bank, scene: Scene) -> None:
        assert scene.come_back() == scene.order.get_absolute_url()
        assert paid_once(scene)

    @another_card
    def test_the_browser_comes_back_a_moment_after_a_tasks_question(self, bank: Bank, scene: Scene) -> None:
        """Which was before the second card: nobody is told that nothing was taken."""
        Payment.objects.update(checked_at=timezone.now())
        assert scene.come_back() == scene.order.get_absolute_url()
        assert paid_once(scene)

    @another_card
    def test_who_presses_again_is_not_charged_twice(self, bank: Bank, scene: Scene) -> None:
        assert scene.shop.pay(Means.CARD, TOTAL).departure is None
        assert paid_once(scene) and Payment.objects.count() == 1

    @another_card
    def test_who_gives_up_is_told_that_it_is_paid(self, bank: Bank, scene: Scene) -> None:
        assert not abandon_order(user=scene.shop.user, order=scene.order)
        assert paid_once(scene)

    def test_each_way_back_neither_asks_nor_writes_again(self, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(providers, "ASK_AGAIN_SECONDS", 600)  # however long the three take on a slow machine
        scene = at_the_bank(bank)
        bank.refuse(scene.payment)
        scene.tell()
        told = ProviderEvent.objects.count()
        scene.come_back()
        asked = Payment.objects.get().checked_at
        way_back = bank.way_back(scene.payment)
        for _press in range(3):
            Client().get(way_back)  # nobody is signed in
        if not find_provider(bank.slug).signs_return:  # what a bank signs is kept as it came
            assert ProviderEvent.objects.count() == told
        assert Payment.objects.get().checked_at == asked

    @another_card
    def test_it_is_asked_about_until_the_bank_says_so_with_its_page_closed(self, bank: Bank, scene: Scene) -> None:
        with bank.down():
            scene.ask_again()
        assert Payment.objects.may_still_be_paid().exists()
        scene.ask_again()
        assert paid_once(scene) and not Payment.objects.may_still_be_paid().exists()

    def test_a_refusal_is_final_once_the_page_is_closed(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.refuse(scene.payment)
        scene.tell()
        assert Payment.objects.may_still_be_paid().get() == scene.payment
        scene.ask_again()
        assert Payment.objects.may_still_be_paid().exists(), "an hour later the page may be open"
        scene.ask_again()
        assert not Payment.objects.may_still_be_paid().exists() and scene.status == ("refused", "pending")


class TestDown:
    @pytest.mark.parametrize("bank", ASKED_AT_THE_START, indirect=True)
    @pytest.mark.parametrize("mood", ["down", "slow"])
    def test_at_the_start_nothing_is_debited_and_the_places_are_kept(self, bank: Bank, mood: str) -> None:
        shop, means = choose_card(credit="12")
        with getattr(bank, mood)(), pytest.raises(Refused) as refusal:
            shop.pay(means, TOTAL)
        assert refusal.value.code == "provider_down" and "Rien n’a été débité" in str(refusal.value)
        assert Payment.objects.get(provider=bank.slug).status == Payment.Status.ABANDONED
        assert (shop.balance, shop.fresh().taken) == (12, 1)
        again = shop.pay(means, TOTAL)  # it is back
        payment = Payment.objects.get(order=again.order, provider=bank.slug, status=Payment.Status.STARTED)
        assert again.departure is not None
        bank.open(payment, again.departure)
        bank.pay(payment)
        payment.refresh_from_db()
        assert bank.deliver(bank.notification(payment)) == 200
        payment.refresh_from_db()
        assert (payment.status, payment.order.status, shop.balance) == ("captured", "paid", 0)

    @pytest.mark.parametrize("mood", ["down", "slow"])
    def test_when_it_is_asked_it_is_asked_again(self, bank: Bank, mood: str) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        with getattr(bank, mood)():
            assert reconcile() == 0
        assert untouched(scene)
        assert reconcile() == 1
        assert paid_once(scene)

    def test_when_the_browser_comes_back_it_is_led_on(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        back = bank.way_back(scene.payment)
        with bank.down():
            browser_leads_to = scene.come_back_by(back)
        assert browser_leads_to == scene.order.get_absolute_url()
        reconcile()
        assert paid_once(scene)

    def test_for_so_long_that_we_give_up_and_yet_it_was_paid(self, bank: Bank) -> None:
        """Given up unheard after six hours, asked about for a week: the money ends in the order, which still waits."""
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        with bank.down():
            scene.give_up()
        assert scene.status == ("abandoned", "pending")
        scene.ask_again()
        assert scene.status == ("captured", "paid")
        assert scene.booked == 4


class TestNeverLeft:
    def test_the_browser_never_reached_the_bank(self, bank: Bank) -> None:
        """Announced, and the parent's network failed: the order waits, is given up, and the cart can be paid anew."""
        scene, _departure = leave(bank, credit="12")
        assert scene.status == ("started", "pending") and scene.shop.balance == 0
        assert abandon_order(user=scene.shop.user, order=scene.order)
        assert scene.status == ("abandoned", "cancelled") and scene.shop.balance == 12


class TestSpokenOfWhileNobodyAnswers:
    """A message says of itself little: what it means is asked for, and nobody answers (PayFiP; Paybox of a capture)."""

    both = pytest.mark.parametrize("bank", ["payfip", "paybox"], indirect=True)

    def told_once(self, bank: Bank) -> Scene:
        """The card is debited, the bank says so once, and cannot be asked."""
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        scene.payment.refresh_from_db()
        with bank.down():
            assert scene.tell() == 503
        assert list(overdue()) == []  # it may be said again any moment
        let_time_pass(dt.timedelta(minutes=61))
        return scene

    @both
    def test_it_is_told_until_the_bank_states_an_end(self, bank: Bank) -> None:
        scene = self.told_once(bank)
        with bank.down():
            for span in (GIVE_UP_AFTER, ASK_FOR):
                (said,) = overdue()
                assert said.startswith(f"Commande {scene.order.number}\u00a0: ") and "Demander au prestataire" in said
                let_time_pass(span)
                reconcile_payments()
                ask_again()
        assert Payment.objects.get().status == "abandoned" and len(list(overdue())) == 1
        assert reconciliation.ask_provider(Payment.objects.get())  # what the sentence tells to press
        assert list(overdue()) == [] and Payment.objects.get().status == "captured"

    @both
    def test_said_again_it_is_told_no_more(self, bank: Bank) -> None:
        scene = self.told_once(bank)
        assert scene.tell() == 200 and paid_once(scene) and list(overdue()) == []

    @pytest.mark.parametrize("bank", ["payfip"], indirect=True)
    def test_nor_when_it_was_a_refusal(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        bank.refuse(scene.payment)
        with bank.down():
            assert scene.tell() == 503
        let_time_pass(dt.timedelta(minutes=61))
        assert len(list(overdue())) == 1
        assert scene.tell() == 200 and list(overdue()) == []

    @pytest.mark.parametrize("bank", ["paybox"], indirect=True)
    def test_a_late_copy_of_the_first_cards_refusal_settles_nothing(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        refused, _given_up, captured = bank.history(scene.payment)
        assert bank.deliver(refused) == 200
        with bank.down():
            assert bank.deliver(captured) == 503
        assert bank.deliver(refused) == 200
        let_time_pass(dt.timedelta(minutes=61))
        assert len(list(overdue())) == 1

    @both
    def test_an_operator_who_has_seen_it_reads_of_it_no_more(self, bank: Bank) -> None:
        self.told_once(bank)
        event = ProviderEvent.objects.get()
        mark_seen(ids=[event.pk], note="Vu chez la banque", by=agent_of())
        assert list(overdue()) == []

    @pytest.mark.parametrize("bank", ["payfip"], indirect=True)
    def test_what_names_no_payment_of_ours_is_told_to_nobody(self, bank: Bank) -> None:
        at_the_bank(bank)
        with bank.down():
            assert bank.deliver(bank.of_nobody()) == 503
        let_time_pass(dt.timedelta(minutes=61))
        assert list(overdue()) == []
