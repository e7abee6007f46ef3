"""What is Stripe's own: its sessions, its events, its refunds, and what it says no to."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from checkout.actions import Means, abandon_order, cancel_bookings
from checkout.models import Payment, ProviderEvent, Refund
from checkout.providers.base import Arrival, Forged, Ignored, Impossible, Known, Message, Outcome, Request, Unreachable
from checkout.providers.stripe import COMPLETED, OPEN_FOR, StripeProvider, from_cents, to_cents
from checkout.verification import verify
from portal.outbox.calls import make_due
from portal.outbox.models import Call, Email
from tests.factories import regie
from tests.faults.bank import NOBODY, Bank, Notification
from tests.faults.scene import at_the_bank, untouched
from tests.faults.stripe import StripeBank
from tests.faults.stripe_server import StripeServer

ADDRESS = "https://citoyens.exemple.fr/paiement/stripe/retour/REF/"
CENT = Decimal("0.01")


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeServer]:
    server = StripeServer()
    server.server.start()
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = server.key, server.secret
    settings.STRIPE_API_BASE = settings.STRIPE_CHECKOUT_ORIGIN = server.server.url
    yield server
    server.server.stop()


def request(reference: str = "REF", **changes: Any) -> Request:
    known = {
        "reference": reference,
        "amount": Decimal("31.60"),
        "label": "Commande 2026-000123",
        "email": "parent@exemple.fr",
        "return_url": ADDRESS,
        "notify_url": "",
        "number": "2026-000123",
        "at": timezone.now(),
    }
    return Request(**known | changes)


def started(**changes: Any) -> Known:
    asked = request(**changes)
    return Known(asked.reference, StripeProvider().start(asked).provider_reference, asked.amount)


def arrival(notification: Notification) -> Arrival:
    return Arrival(notification.query, notification.body, notification.headers)


class TestStart:
    def test_the_session_says_what_is_paid_by_whom_and_where_to_go_back(self, stripe: StripeServer) -> None:
        at = timezone.now()
        departure = StripeProvider().start(request(at=at))
        (session,) = stripe.sessions.values()
        assert departure.url == session["url"] and departure.provider_reference == session["id"]
        assert (session["amount_total"], session["currency"]) == (3160, "eur")
        assert (session["client_reference_id"], session["customer_email"]) == ("REF", "parent@exemple.fr")
        assert session["name"] == "Commande 2026-000123"
        assert session["success_url"] == session["cancel_url"] == ADDRESS
        assert session["allowed_payment_method_types"] == ["card"]
        assert session["metadata"] == {"reference": "REF", "order": "2026-000123"}
        assert session["expires_at"] == int((at + OPEN_FOR).timestamp())

    def test_the_same_reference_twice_is_one_session(self, stripe: StripeServer) -> None:
        asked = request()
        first, second = StripeProvider().start(asked), StripeProvider().start(asked)
        assert first == second and len(stripe.sessions) == 1

    def test_an_answer_that_was_lost_is_heard_at_the_second_call(self, stripe: StripeServer) -> None:
        asked = request()
        stripe.loses_answers = True
        with pytest.raises(Unreachable):
            StripeProvider().start(asked)
        stripe.loses_answers = False
        assert StripeProvider().start(asked).provider_reference in stripe.sessions
        assert len(stripe.sessions) == 1

    @pytest.mark.parametrize(
        "changes", [{"amount": Decimal("0.49")}, {"at": timezone.now() - dt.timedelta(hours=1)}, {"label": ""}]
    )
    def test_what_stripe_says_no_to_is_impossible(self, stripe: StripeServer, changes: dict[str, Any]) -> None:
        with pytest.raises(Impossible):
            StripeProvider().start(request(**changes))

    def test_a_page_elsewhere_than_our_policy_lets_browsers_go_is_said_at_once(
        self, stripe: StripeServer, settings: Any
    ) -> None:
        settings.STRIPE_CHECKOUT_ORIGIN = "https://checkout.stripe.com"
        with pytest.raises(Impossible, match="STRIPE_CHECKOUT_ORIGIN"):
            StripeProvider().start(request())

    @pytest.mark.parametrize("name, value", [("STRIPE_SECRET_KEY", "sk_autre"), ("STRIPE_API_BASE", NOBODY)])
    def test_a_wrong_key_or_nobody_there_may_be_asked_again(
        self, stripe: StripeServer, settings: Any, name: str, value: str
    ) -> None:
        setattr(settings, name, value)
        with pytest.raises(Unreachable):
            StripeProvider().start(request())
        assert stripe.sessions == {}


class TestEvents:
    def test_says_what_stripe_says(self, stripe: StripeServer) -> None:
        known = started()
        stripe.pay(known.provider_reference)
        said = StripeProvider().read(arrival(stripe.event(COMPLETED, known.provider_reference)))
        assert said == Message("REF", Outcome.CAPTURED, Decimal("31.60"), known.provider_reference, "EUR")

    def test_done_is_not_paid(self, stripe: StripeServer) -> None:
        known = started()
        stripe.complete_unpaid(known.provider_reference)
        said = StripeProvider().read(arrival(stripe.event(COMPLETED, known.provider_reference)))
        assert said.outcome == Outcome.PENDING

    @pytest.mark.parametrize("kind", ["payment_intent.succeeded", "charge.refunded", "checkout.session.nouveau", ""])
    def test_what_is_of_something_else_is_ignored(self, stripe: StripeServer, kind: str) -> None:
        with pytest.raises(Ignored, match=f"^{kind}$"):
            StripeProvider().read(arrival(stripe.event(kind, started().provider_reference)))

    @pytest.mark.parametrize("changes", [{"client_reference_id": None}, {"amount_total": None}])
    def test_the_sessions_of_another_shop_are_ignored(self, stripe: StripeServer, changes: dict[str, Any]) -> None:
        """One account of Stripe's may serve several sites: all of its webhooks hear of all of its sessions."""
        with pytest.raises(Ignored):
            StripeProvider().read(arrival(stripe.event(COMPLETED, started().provider_reference, **changes)))

    def test_what_is_signed_and_no_event_is_forged(self, stripe: StripeServer) -> None:
        with pytest.raises(Forged):
            StripeProvider().read(arrival(stripe.signed(["rien"])))

    def test_without_its_secret_nothing_is_believed(self, stripe: StripeServer, settings: Any) -> None:
        told = stripe.event(COMPLETED, started().provider_reference)
        settings.STRIPE_WEBHOOK_SECRET = ""
        with pytest.raises(Forged):
            StripeProvider().read(arrival(told))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("bank", ["stripe"], indirect=True)
class TestStored:
    def test_what_is_ignored_is_kept_and_answered_with_a_success(self, bank: Any) -> None:
        scene = at_the_bank(bank)
        assert bank.deliver(bank.stripe.event("charge.updated", "")) == 200
        event = ProviderEvent.objects.get()
        assert (event.outcome, event.note) == (ProviderEvent.Outcome.RECEIVED, "charge.updated")
        assert untouched(scene)

    def test_another_currency_is_never_a_payment(self, bank: Any) -> None:
        """31,60 of something else: as many hundredths, and no euros."""
        scene = at_the_bank(bank)
        session = Payment.objects.get().provider_reference
        paid = {"payment_status": "paid", "status": "complete"}
        assert bank.deliver(bank.stripe.event(COMPLETED, session, currency="chf", **paid)) == 200
        event = ProviderEvent.objects.get()
        assert event.outcome == ProviderEvent.Outcome.REJECTED and "31.60 CHF" in event.note
        assert untouched(scene)

    def test_the_session_is_known_from_the_start(self, bank: Bank) -> None:
        scene = at_the_bank(bank)
        assert Payment.objects.get(pk=scene.payment.pk).provider_reference.startswith("cs_test_")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("bank", ["stripe"], indirect=True)
@pytest.mark.usefixtures("right_in_the_end")
class TestWithdrawn:
    """A page that was left open in another tab is closed once its payment is given up."""

    def test_a_second_try_closes_the_first_page(self, bank: Any) -> None:
        scene = at_the_bank(bank)
        first = Payment.objects.get()
        scene.shop.pay(Means.CARD, scene.payment.amount)
        make_due()
        assert bank.stripe.sessions[first.provider_reference]["status"] == "expired"
        second = Payment.objects.get(status="started")
        assert bank.stripe.sessions[second.provider_reference]["status"] == "open"
        bank.pay(second)
        assert bank.deliver(bank.notification(second)) == 200
        second.refresh_from_db()
        assert second.status == "captured"

    def test_an_order_that_is_given_up_closes_its_page(self, bank: Any) -> None:
        scene = at_the_bank(bank)
        assert abandon_order(user=scene.shop.user, order=scene.order)
        with bank.down():
            make_due()
        assert Call.objects.get().status == Call.Status.WAITING
        Call.objects.update(next_attempt_at=timezone.now())
        make_due()
        assert Call.objects.get().status == Call.Status.DONE
        (session,) = bank.stripe.sessions.values()
        assert session["status"] == "expired"
        # Stripe says so itself, and once more when nobody can pay any more: it is not asked about it for a week.
        assert bank.deliver(bank.notification(scene.payment)) == 200
        for _hour in range(2):
            scene.ask_again()
        assert not Payment.objects.may_still_be_paid().exists()

    def test_who_was_quicker_has_the_money_in_the_wallet(self, bank: Any) -> None:
        scene = at_the_bank(bank)
        with bank.down():
            assert abandon_order(user=scene.shop.user, order=scene.order)
        bank.pay(scene.payment)
        make_due()
        assert Call.objects.get().status == Call.Status.DONE
        scene.ask_again()
        assert scene.status == ("credited", "cancelled")
        assert scene.shop.balance == scene.payment.amount

    def test_what_is_paid_meanwhile_is_left_alone(self, bank: Any) -> None:
        scene = at_the_bank(bank)
        with bank.down():
            scene.give_up()
        bank.pay(scene.payment)
        assert scene.tell() == 200
        bank.stripe.requests.clear()
        make_due()
        assert scene.status == ("captured", "paid") and bank.stripe.requests == []


class TestQuery:
    def test_follows_the_session(self, stripe: StripeServer) -> None:
        known = started()
        assert StripeProvider().query(known).outcome == Outcome.PENDING
        stripe.complete_unpaid(known.provider_reference)
        assert StripeProvider().query(known).outcome == Outcome.PENDING
        stripe.fail_later(known.provider_reference)
        assert StripeProvider().query(known).outcome == Outcome.REFUSED
        stripe.succeed_later(known.provider_reference)
        assert StripeProvider().query(known).outcome == Outcome.CAPTURED

    def test_a_page_whose_time_is_over_is_abandoned(self, stripe: StripeServer) -> None:
        known = started()
        stripe.expire(known.provider_reference)
        assert StripeProvider().query(known).outcome == Outcome.ABANDONED

    @pytest.mark.parametrize("session", ["", "cs_test_inconnue"])
    def test_what_stripe_does_not_know_may_be_asked_again(self, stripe: StripeServer, session: str) -> None:
        with pytest.raises(Unreachable):
            StripeProvider().query(Known("REF", session, Decimal("31.60")))


class TestRefund:
    def paid(self, stripe: StripeServer) -> Known:
        known = started()
        stripe.pay(known.provider_reference)
        return known

    def refund(self, known: Known, amount: str, key: str = "k") -> str:
        return StripeProvider().refund(known=known, amount=Decimal(amount), key=key)

    def test_pays_back_in_parts_and_never_more_than_was_paid(self, stripe: StripeServer) -> None:
        known = self.paid(stripe)
        self.refund(known, "7.90", "a")
        self.refund(known, "23.70", "b")
        with pytest.raises(Unreachable):  # somebody may have paid back by hand: an operator finds out
            self.refund(known, "0.01", "c")
        assert sorted(row["amount"] for row in stripe.refunds.values()) == [790, 2370]

    def test_the_same_key_pays_once(self, stripe: StripeServer) -> None:
        known = self.paid(stripe)
        assert self.refund(known, "7.90") == self.refund(known, "7.90")
        assert len(stripe.refunds) == 1

    def test_the_same_key_pays_once_after_stripe_has_forgotten_it(self, stripe: StripeServer) -> None:
        """Its idempotency keys live a day, our tries go on for two: without the second guard it pays twice."""
        known = self.paid(stripe)
        first = self.refund(known, "7.90")
        stripe.forget_keys()
        assert self.refund(known, "7.90") == first and len(stripe.refunds) == 1

    def test_an_answer_that_was_lost_is_found_again(self, stripe: StripeServer) -> None:
        known = self.paid(stripe)
        first = self.refund(known, "7.90")
        with stripe.server.down(), pytest.raises(Unreachable):
            self.refund(known, "7.90")
        assert self.refund(known, "7.90") == first

    @pytest.mark.parametrize("status", ["failed", "canceled"])
    def test_one_that_stripe_gave_up_is_impossible(self, stripe: StripeServer, status: str) -> None:
        known = self.paid(stripe)
        stripe.refund_status = status
        with pytest.raises(Impossible, match=status):
            self.refund(known, "7.90")

    def test_what_was_never_paid_is_not_paid_back(self, stripe: StripeServer) -> None:
        known = started()
        with pytest.raises(Impossible):
            self.refund(known, "7.90")

    def test_a_wrong_key_of_the_operators_may_be_corrected(self, stripe: StripeServer, settings: Any) -> None:
        known = self.paid(stripe)
        settings.STRIPE_SECRET_KEY = "sk_autre"
        with pytest.raises(Unreachable):
            self.refund(known, "7.90")


class TestHealth:
    def test_says_what_is_missing_by_name(self, settings: Any) -> None:
        settings.STRIPE_SECRET_KEY = ""
        health = StripeProvider().health()
        assert not health.configured and "STRIPE_SECRET_KEY" in health.sentence

    def test_really_asks(self, stripe: StripeServer) -> None:
        health = StripeProvider().health()
        assert health.configured and health.answers and "clé d’essai" in health.sentence
        assert stripe.requests == ["GET /v1/balance"]

    def test_never_shows_the_key(self, stripe: StripeServer, settings: Any) -> None:
        settings.STRIPE_SECRET_KEY = "sk_test_une_autre_cle"
        health = StripeProvider().health()
        assert not health.answers and "sk_test_une_autre_cle" not in health.sentence

    def test_a_dead_stripe_is_a_sentence(self, stripe: StripeServer) -> None:
        with stripe.server.down():
            health = StripeProvider().health()
        assert health.configured and not health.answers


@pytest.mark.parametrize("amount, cents", [("0.50", 50), ("31.60", 3160), ("99999999.99", 9999999999), ("7.9", 790)])
def test_cents_there_and_back(amount: str, cents: int) -> None:
    assert to_cents(Decimal(amount)) == cents and from_cents(cents) == Decimal(amount)


@pytest.mark.parametrize("bank", ["stripe"], indirect=True)
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("right_in_the_end")
def test_a_refund_that_fails_days_later_is_in_the_wallet(bank: StripeBank) -> None:
    regie(card_refunds=True)
    scene = at_the_bank(bank)
    bank.pay(scene.payment)
    scene.tell()
    lines = scene.order.lines.values_list("booking", flat=True)
    cancel_bookings(ids=[pk for pk in lines if pk][:2], by=scene.shop.user, to_card=True)
    make_due()
    assert Refund.objects.get().status == Refund.Status.DONE and scene.shop.balance == 0
    news = bank.stripe.failed_refund()
    for _copy in range(3):
        assert bank.deliver(news) == 200
    assert Refund.objects.get().status == Refund.Status.FAILED and scene.shop.balance == Decimal("15.80")
    assert list(verify()) == [] and Email.objects.filter(key__endswith=":failed").count() == 1
