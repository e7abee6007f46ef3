"""Money that goes back to a card: decided with the cancellation, made once by the bank, in the wallet when it cannot be."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for
from checkout.models import Payment, Refund
from checkout.providers.base import Unreachable
from checkout.providers.demo import DemoProvider
from checkout.refunds import actions as refunds
from checkout.refunds.actions import back_to_wallet, card_shares, left_of, refund_to_card
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import long_date
from portal.demo.models import BankPayment, BankRefund
from portal.outbox.calls import make_due
from portal.outbox.models import Call, Email
from services.models import Activity
from tests.factories import agent_of, regie
from tests.shop import Shop
from wallet.models import Account

pytestmark = pytest.mark.django_db(transaction=True)
Order = Callable[..., Shop]


def ids(shop: Shop, count: int) -> list[int]:
    rows = Booking.objects.booked().filter(made_by=shop.user).order_by("period")
    return list(rows.values_list("pk", flat=True)[:count])


def euros_of(code: str) -> Decimal:
    return Account.objects.get(code=code).balance()


def test_a_cancellation_goes_back_to_the_card(by_card: Order) -> None:
    shop = by_card()
    returned = cancel_bookings(ids=ids(shop, 2), by=shop.user, to_card=True)
    assert (returned.to_card, returned.to_wallet, shop.balance) == (Decimal("15.80"), 0, 0)
    assert "15,80\u00a0€ reviennent sur votre carte" in Email.objects.get(key__startswith="cancellation:").body
    assert euros_of("refunding:demo") == Decimal("15.80") and not BankRefund.objects.exists()
    assert list(verify()) == []
    assert make_due() == 1
    assert BankRefund.objects.get().amount == Decimal("15.80")
    refund = Refund.objects.get()
    assert refund.status == "done" and refund.provider_reference == BankRefund.objects.get().bank_reference
    assert euros_of("refunding:demo") == 0 and euros_of("clearing:demo") == Decimal("-15.80")


def test_names_that_are_long_keep_nothing_from_the_card(by_card: Order) -> None:
    """What is said of a cancellation is made of names: whoever cancels has typed none of it."""
    shop = by_card()
    Activity.objects.update(name=("Accueil de loisirs sans hébergement du mercredi " * 3)[:120])
    shop.children[0].first_name = ("Jean-Baptiste-Emmanuel-Marie " * 3)[:80]
    shop.children[0].save()
    cancel_bookings(ids=ids(shop, 2), by=shop.user, to_card=True)
    refund = Refund.objects.get()
    assert refund.amount == Decimal("15.80") and " … " in refund.reason and len(refund.reason) <= 200


def test_only_the_cards_part_goes_to_the_card(by_card: Order) -> None:
    """31,60 €: 10 € from the wallet, 21,60 € by card. All four dates come back: the card gets no more than it gave."""
    shop = by_card(Means.BOTH, credit="10")
    first = cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    assert (first.to_card, first.to_wallet) == (Decimal("7.90"), 0)
    rest = cancel_bookings(ids=ids(shop, 3), by=shop.user, to_card=True)
    assert (rest.to_card, rest.to_wallet) == (Decimal("13.70"), Decimal("10.00"))
    assert shop.balance == 10
    make_due()
    assert sum(row.amount for row in BankRefund.objects.all()) == Decimal("21.60")
    assert euros_of("clearing:demo") == 0


def test_the_wallet_says_whose_date_went_to_the_card_whatever_comes_before(by_card: Order) -> None:
    shop = by_card(days=1)
    Activity.objects.update(name="Inscription Accueil Périscolaire (mercredis), matin avec repas")
    cancel_for(ids=ids(shop, 1), by=agent_of(), reason="Grève", to_card=True)
    label = Refund.objects.get().movement.label
    assert label.endswith(f", {long_date(shop.days[0].date)} ({shop.children[0].first_name})") and len(label) <= 160
    assert label.startswith("Rendu à la carte, commande ")


def test_without_the_choice_nothing_is_cancelled(by_card: Order) -> None:
    shop = by_card()
    regie(card_refunds=False)
    with pytest.raises(Refused) as refusal:
        cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    assert refusal.value.code == "no_card_refund" and Booking.objects.booked().count() == 4
    assert "Rien n’a été annulé" in str(refusal.value)


def test_the_bank_is_down_and_comes_back(by_card: Order, settings: Any) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    there, settings.SITE_URL = settings.SITE_URL, "http://127.0.0.1:9"
    assert make_due() == 0
    call = Call.objects.get()
    assert call.status == "waiting" and "Later" in call.last_error and Refund.objects.get().status == "requested"
    assert list(verify()) == []
    settings.SITE_URL = there
    Call.objects.update(next_attempt_at=timezone.now())
    assert make_due() == 1 and Refund.objects.get().status == "done"


def test_the_mark_was_lost_in_a_crash_and_the_bank_pays_back_once(by_card: Order) -> None:
    """The bank has paid back, and the process died before it wrote so: the same key asks again and pays nothing more."""
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    refund = Refund.objects.get()
    refunds.find_provider("demo").refund(
        known=refunds.known(refund.payment), amount=refund.amount, key=refund.reference
    )
    assert make_due() == 1
    assert BankRefund.objects.count() == 1 and Refund.objects.get().status == "done"


def test_what_the_bank_refuses_is_in_the_wallet(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    BankPayment.objects.update(outcome="refused")  # closed the card's account, or sent it back by other means
    assert make_due() == 1
    assert Refund.objects.get().status == "failed" and shop.balance == Decimal("7.90")
    assert euros_of("refunding:demo") == 0
    letter = Email.objects.get(key__endswith=":failed")
    assert "n’a pas pu rendre 7,90\u00a0€" in letter.body and letter.to == shop.user.email
    make_due()
    assert shop.balance == Decimal("7.90")


def test_an_operator_gives_up_and_the_call_changes_nothing_more(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    back_to_wallet(refund=Refund.objects.get(), note="Carte résiliée", by=agent_of())
    assert shop.balance == Decimal("7.90")
    make_due()
    assert not BankRefund.objects.exists() and shop.balance == Decimal("7.90")
    with pytest.raises(Refused, match="déjà dans le porte-monnaie"):
        back_to_wallet(refund=Refund.objects.get(), note="x")


def test_a_refund_that_the_bank_sends_back_days_later(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    make_due()
    clearing = euros_of("clearing:demo")
    back_to_wallet(refund=Refund.objects.get(), note="Rejeté par la banque", by=agent_of())
    assert shop.balance == Decimal("7.90") and euros_of("clearing:demo") == clearing - Decimal("7.90")
    assert Refund.objects.get().status == "failed"


def test_an_answer_that_was_lost_is_not_paid_twice_when_the_contract_ends(
    by_card: Order, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    pays = DemoProvider.refund

    def lost(self: DemoProvider, **words: Any) -> str:
        pays(self, **words)
        raise Unreachable("the answer was lost")

    monkeypatch.setattr(DemoProvider, "refund", lost)
    make_due()
    assert BankRefund.objects.count() == 1 and Refund.objects.get().status == "requested"
    monkeypatch.setattr(DemoProvider, "refund", pays)
    settings.CARD_PROVIDERS = []
    Call.objects.update(next_attempt_at=timezone.now())
    make_due()
    assert Refund.objects.get().status == "requested" and shop.balance == 0
    assert "not used here any more" in Call.objects.get().last_error
    settings.CARD_PROVIDERS = ["demo"]
    Call.objects.update(next_attempt_at=timezone.now())
    make_due()
    assert Refund.objects.get().status == "done" and BankRefund.objects.count() == 1


def test_staff_of_the_agglomeration_alone_send_to_cards(by_card: Order) -> None:
    shop = by_card()
    with pytest.raises(Refused, match="Seule l’agglomération"):
        agent = agent_of(shop.activity.service.commune)
        cancel_for(ids=ids(shop, 1), by=agent, reason="Erreur", to_card=True)
    (returned,) = cancel_for(ids=ids(shop, 2), by=agent_of(), reason="Erreur", to_card=True)
    assert returned.to_card == Decimal("15.80") and shop.balance == 0


class TestByHand:
    """An operator sends a wallet's money back to the card that brought it."""

    def test_a_late_payment_goes_back(self, by_card: Order) -> None:
        shop = by_card()
        payment = Payment.objects.get()
        shop.credit("5")
        refund = refund_to_card(payment=payment, amount=Decimal("5"), reason="Erreur de commande", by=agent_of())
        assert refund.amount == 5 and shop.balance == 0 and left_of(payment) == Decimal("26.60")

    @pytest.mark.parametrize("amount", ["31.61", "0", "-1", "0.001"])
    def test_never_more_than_the_card_gave(self, by_card: Order, amount: str) -> None:
        shop = by_card(credit="100")
        with pytest.raises(Refused) as refusal:
            refund_to_card(payment=Payment.objects.get(), amount=Decimal(amount), reason="x", by=agent_of())
        assert refusal.value.code == "too_much" and shop.balance == 100 and not Refund.objects.exists()

    def test_never_more_than_the_wallet_holds(self, by_card: Order) -> None:
        shop = by_card()
        with pytest.raises(Refused) as refusal:
            refund_to_card(payment=Payment.objects.get(), amount=Decimal("1"), reason="x", by=agent_of())
        assert refusal.value.code == "wallet_is_not_overdrawn" and shop.balance == 0
        assert "Votre" not in str(refusal.value) and f"Le porte-monnaie de {shop.user}" in str(refusal.value)
        assert not Refund.objects.exists() and not Call.objects.exists()

    def test_not_without_a_reason(self, by_card: Order) -> None:
        by_card(credit="100")
        with pytest.raises(Refused, match="motif"):
            refund_to_card(payment=Payment.objects.get(), amount=Decimal("1"), reason="  ", by=agent_of())

    def test_not_where_the_provider_is_gone(self, by_card: Order, settings: Any) -> None:
        by_card(credit="100")
        settings.CARD_PROVIDERS = []
        assert left_of(Payment.objects.get()) == 0 and card_shares([]) == []


def race(*jobs: Callable[[], object]) -> list[object]:
    outcomes: list[object] = []
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        start.wait(20)
        try:
            outcomes.append(job())
        except Exception as error:
            outcomes.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_two_operators_at_once_give_back_no_more_than_was_paid(by_card: Order) -> None:
    shop = by_card(credit="100")
    payment, by = Payment.objects.get(), agent_of()

    def half() -> object:
        return refund_to_card(payment=payment, amount=Decimal("20"), reason="x", by=by)

    outcomes = race(half, half, half)
    assert sum(isinstance(each, Refund) for each in outcomes) == 1, outcomes
    assert all(isinstance(each, Refund | Refused) for each in outcomes), outcomes
    assert shop.balance == 80


def test_two_cancellations_at_once_share_what_the_card_has_paid(by_card: Order) -> None:
    """Half the order each, the card having paid less than all: the second counts what the first has sent to the card."""
    shop = by_card(Means.BOTH, credit="12")
    both = ids(shop, 4)
    halves = [lambda half=half: cancel_bookings(ids=half, by=shop.user, to_card=True) for half in (both[:2], both[2:])]
    returned = race(*halves)
    assert sorted(each.to_card for each in returned) == [Decimal("3.80"), Decimal("15.80")], returned
    assert sum(refund.amount for refund in Refund.objects.all()) == Decimal("19.60") and shop.balance == 12


def test_workers_make_one_refund_once(by_card: Order) -> None:
    shop = by_card()
    cancel_bookings(ids=ids(shop, 1), by=shop.user, to_card=True)
    refund = Refund.objects.get()
    race(*[lambda: refunds.make(refund=refund.pk)] * 5)
    assert BankRefund.objects.count() == 1 and Refund.objects.get().status == "done"
    assert euros_of("refunding:demo") == 0
