"""Tickets and passes through the cart: held, paid, expired, taken again, given back; never a bike too many."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from bookings.models import Hold
from bookings.tasks import release_expired_holds
from bookings.tickets.actions import giving_back
from bookings.tickets.models import Ticket
from checkout.actions import Means, cancel_ticket, recover_places, remove_lines
from checkout.actions.completion import apply_message
from checkout.models import Cart, CartLine, Order, OrderLine, Payment, ProviderEvent
from checkout.providers.base import Message, Outcome
from checkout.summary import CartSummary
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import PARIS, today
from portal.outbox.models import Email
from services.models import Activity, Slot, Tariff
from tests.factories import (
    BeneficiaryFactory,
    BusStopFactory,
    EntriesFactory,
    FiliationFactory,
    PassFactory,
)
from tests.shop import family, open_shop
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take
from wallet.models import Movement

pytestmark = pytest.mark.django_db
NEXT_WEEK = dt.timedelta(days=7)


def refused(code: str, action: Any, **options: Any) -> str:
    with pytest.raises(Refused) as refusal:
        action(**options)
    assert refusal.value.code == code
    return str(refusal.value)


def run_out(shop: Any) -> None:
    Hold.objects.filter(user=shop.user).update(expires_at=timezone.now() - dt.timedelta(minutes=5))


class TestEntries:
    def test_two_children_three_each(self) -> None:
        shop = kiosk(children=2)
        assert take(shop, quantity=3) == (6, Decimal("33.00"))
        started = shop.pay(Means.WALLET, "33.00")
        rows = Ticket.objects.booked()
        assert rows.count() == 6 == len({row.code for row in rows})
        assert {row.first_day for row in rows} == {today()}
        assert shop.balance == Decimal("67.00")
        assert list(verify()) == []
        line = OrderLine.objects.filter(order=started.order).first()
        assert line is not None and line.kind == "ticket" and line.note.startswith("du ") and line.date is None

    def test_the_cart_says_when_they_are_good(self) -> None:
        shop = kiosk(EntriesFactory(name="Carte 10 entrées", entries=10), price="48", children=2)
        take(shop)
        summary = CartSummary.of(shop.user)
        assert summary is not None and summary.quantity == 2 and summary.total == Decimal(96)
        (group,) = summary.groups
        assert (group.label, group.detail) == (shop.activity.name, "Carte 10 entrées")
        ((names, note, count),) = group.shared_tickets()
        assert count == 2 and names == ", ".join(str(child) for child in shop.children) and note.startswith("du ")

    @pytest.mark.parametrize("quantity", [0, -1, 11])
    def test_one_to_ten(self, quantity: int) -> None:
        refused("quantity", take, shop=kiosk(), quantity=quantity)
        assert not Ticket.objects.exists() and not CartLine.objects.exists()

    def test_for_ones_own_only(self) -> None:
        refused("not_yours", take, shop=kiosk(), people=[BeneficiaryFactory()])
        refused("nothing_chosen", take, shop=kiosk(), people=[])

    def test_without_a_price_nothing_is_added(self) -> None:
        shop = kiosk()
        Tariff.objects.all().delete()
        refused("no_tariff", take, shop=shop)
        assert not Ticket.objects.exists()

    def test_what_is_withdrawn_is_not_sold(self) -> None:
        shop = kiosk()
        Slot.objects.update(is_active=False)
        shop.slot.refresh_from_db()
        refused("not_offered", take, shop=shop)

    def test_without_access_nothing_is_sold(self) -> None:
        shop = kiosk()
        shop.subscription.status = "pending"
        refused("no_access", take, shop=shop)

    def test_beside_dates_in_one_order(self) -> None:
        shop = open_shop(days=2, credit="50")
        shop.add()
        entry = kiosk(EntriesFactory(activity__service=shop.activity.service))
        shop.tariff, before = entry.tariff, shop.tariff
        entry.tariff.profile = before.profile
        entry.tariff.save()
        take(shop)
        started = shop.pay(Means.WALLET, "21.30")
        assert started.order.lines.count() == 3
        body = Email.objects.get(key=f"order:{started.order.pk}:paid").body
        assert "Vos e-billets, avec le code à montrer" in body and "Mes réservations" in body
        assert list(verify()) == []


class TestPasses:
    def test_it_begins_on_the_day_asked_for(self) -> None:
        shop = kiosk(PassFactory(validity=7, validity_unit=Slot.Unit.DAY))
        ticket = buy(shop, first_day=today() + NEXT_WEEK)
        assert (ticket.first_day, ticket.last_day) == (today() + NEXT_WEEK, today() + dt.timedelta(days=13))

    @pytest.mark.parametrize("days, code", [(-1, "past"), (181, "too_far")])
    def test_neither_in_the_past_nor_in_a_year(self, days: int, code: str) -> None:
        refused(code, take, shop=kiosk(PassFactory()), first_day=today() + dt.timedelta(days=days))

    def test_one_at_a_time(self) -> None:
        shop = kiosk(PassFactory())
        buy(shop)
        assert "a déjà un billet du" in refused("one_pass_at_a_time", take, shop=shop, first_day=today() + NEXT_WEEK)
        take(shop, first_day=today() + dt.timedelta(days=31))

    def test_never_two_of_one_for_one_child(self) -> None:
        """The quantity of a pass is one, whatever was sent."""
        assert take(kiosk(PassFactory()), quantity=5)[0] == 1

    def test_a_stop_where_there_are_stops(self) -> None:
        shop = kiosk(PassFactory(validity=1, validity_unit=Slot.Unit.SCHOOL_YEAR))
        stop = BusStopFactory(line__activity=shop.activity)
        refused("no_stop", take, shop=shop)
        refused("no_stop", take, shop=shop, stop=BusStopFactory())
        ticket = buy(shop, stop=stop)
        assert ticket.stop == stop and ticket.last_day.month == 8
        assert str(stop) in OrderLine.objects.get().note
        stop.is_active = False
        stop.save()
        refused("no_stop", take, shop=shop, stop=stop)


class TestBikes:
    def test_each_has_a_number_and_the_last_is_the_last(self) -> None:
        first, second = bikes(1), None
        assert buy(first).unit == 1
        second = family(first.tariff, credit="100")
        assert "Tout est pris" in refused("full", take, shop=second)
        take(second, first_day=today() + dt.timedelta(days=31))  # given back by then

    def test_some_left_but_not_enough(self) -> None:
        assert "que 2 sur 2" in refused("full", take, shop=bikes(2, children=3))
        assert not Ticket.objects.exists()

    def test_a_cart_that_ran_out_gives_its_bike_to_who_asks(self) -> None:
        first = bikes(1)
        take(first)
        second = family(first.tariff, credit="100")
        refused("full", take, shop=second)
        run_out(first)
        assert buy(second).unit == 1
        assert "n’ont pas pu être reprises" in recover_places(user=first.user)[0]
        assert not CartLine.objects.filter(cart__user=first.user).exists()

    def test_taken_again_it_may_be_another(self) -> None:
        first = bikes(2)
        take(first)
        run_out(first)
        assert release_expired_holds() == 1
        second = family(first.tariff, credit="100")
        assert buy(second).unit == 1
        assert recover_places(user=first.user) == []
        assert Ticket.objects.held().get().unit == 2

    def test_removed_it_is_free_at_once(self) -> None:
        first = bikes(1)
        take(first)
        assert remove_lines(user=first.user, ids=list(CartLine.objects.values_list("pk", flat=True))) == 1
        assert buy(family(first.tariff, credit="100")).unit == 1


class TestLateCards:
    def pay_late(self, shop: Any) -> Order:
        """By card, whose confirmation comes after the hold has run out."""
        started = shop.pay(Means.CARD, "35.00")
        run_out(shop)
        release_expired_holds()
        return started.order

    def confirm(self, order: Order) -> None:
        payment = Payment.objects.get(order=order)
        event = ProviderEvent.objects.create(provider="demo", source="test", raw="x")
        message = Message(
            reference=payment.reference, outcome=Outcome.CAPTURED, amount=payment.amount, provider_reference="b"
        )
        apply_message(message=message, provider="demo", event=event)
        order.refresh_from_db()

    def test_taken_again_when_one_is_free(self) -> None:
        shop = bikes(1)
        take(shop)
        order = self.pay_late(shop)
        assert Ticket.objects.get().status == "expired"
        self.confirm(order)
        assert order.status == "paid" and Ticket.objects.get().status == "booked"
        assert list(verify()) == []

    def test_the_money_in_the_wallet_when_none_is(self) -> None:
        shop = bikes(1, credit="0")
        take(shop)
        order = self.pay_late(shop)
        buy(family(shop.tariff, credit="100"))
        self.confirm(order)
        assert order.status == "paid" and shop.balance == Decimal(35)
        body = Email.objects.get(key=f"order:{order.pk}:paid").body
        assert shop.activity.name in body and "dans votre porte-monnaie" in body
        assert list(verify()) == []

    def test_withdrawn_before_the_confirmation(self) -> None:
        shop = bikes(1, credit="0")
        take(shop)
        started = shop.pay(Means.CARD, "35.00")
        Activity.objects.update(is_active=False)
        self.confirm(started.order)
        assert shop.balance == Decimal(35) and Ticket.objects.get().status == "expired"
        assert list(verify()) == []

    def test_withdrawn_before_paying(self) -> None:
        shop = kiosk()
        take(shop)
        Activity.objects.update(is_active=False)
        assert "n’est plus proposé" in refused("closed", shop.pay, means=Means.WALLET, total="5.50")
        assert not Order.objects.exists() and Cart.objects.get().status == "open"

    def test_a_new_price_is_shown_before_it_is_paid(self) -> None:
        shop = kiosk()
        take(shop)
        run_out(shop)
        release_expired_holds()
        Tariff.objects.update(price=Decimal("6.00"))
        refused("changed", shop.pay, means=Means.WALLET, total="5.50")
        recover_places(user=shop.user)
        assert CartLine.objects.get().unit_price == Decimal("6.00")


class TestGivingBack:
    def test_unused_the_price_comes_back_once(self) -> None:
        shop = kiosk()
        ticket = buy(shop)
        assert cancel_ticket(ticket=ticket, by=shop.user).to_wallet == Decimal("5.50")
        assert shop.balance == Decimal(100) and list(verify()) == []
        refused("not_booked", cancel_ticket, ticket=ticket, by=shop.user)
        body = Email.objects.get(key=f"ticket:{ticket.pk}:cancelled").body
        assert "Le code du billet ne vaut plus rien" in body and "/mon-compte/porte-monnaie/" in body
        movement = Movement.objects.get(key=f"ticket:{ticket.pk}:cancelled")
        label = movement.label
        assert movement.get_kind_display() == "Annulation"  # of what, the label says
        assert label == f"Annulation\u00a0: {ticket.activity}, {ticket.slot} ({ticket.beneficiary.first_name})"

    def test_used_it_stays(self) -> None:
        shop = kiosk(EntriesFactory(entries=10))
        ticket = buy(shop)
        scan(ticket, controller(ticket))
        refused("too_late", cancel_ticket, ticket=ticket, by=shop.user)
        assert shop.balance == Decimal("94.50")

    def test_a_pass_that_begins_at_once_has_its_days_too_until_it_is_used(self) -> None:
        shop = kiosk(PassFactory())
        ticket = buy(shop)
        until = giving_back(ticket).until
        assert ticket.booked_at is not None and until == ticket.booked_at + dt.timedelta(days=14)
        scan(ticket, controller(ticket))
        refused("too_late", cancel_ticket, ticket=ticket, by=shop.user)
        assert giving_back(Ticket.objects.get()).why_not == "Il a servi : il ne peut plus être rendu."

    def test_what_is_lent_comes_back_before_its_first_day(self) -> None:
        shop = bikes(2)
        begun = buy(shop)
        assert giving_back(begun).why_not == "Sa période a commencé : il ne peut plus être rendu."
        refused("too_late", cancel_ticket, ticket=begun, by=shop.user)
        coming = buy(family(shop.tariff, credit="100"), first_day=today() + NEXT_WEEK)
        first = dt.datetime.combine(today() + NEXT_WEEK, dt.time(), tzinfo=PARIS)
        assert giving_back(coming).until == first  # and not the fourteen days after the purchase

    def test_not_after_its_days_nor_after_its_last(self) -> None:
        shop = kiosk(PassFactory(validity=3, validity_unit="day"))
        ticket = buy(shop)
        assert giving_back(ticket).until == dt.datetime.combine(ticket.valid.upper, dt.time(), tzinfo=PARIS)
        long_ago = timezone.now() - dt.timedelta(days=15)
        Ticket.objects.update(booked_at=long_ago)
        assert giving_back(Ticket.objects.select_related("activity").get()).why_not.startswith(
            "Il pouvait être rendu jusqu’au "
        )
        refused("too_late", cancel_ticket, ticket=ticket, by=shop.user)

    def test_never_when_the_activity_says_so(self) -> None:
        coming = kiosk(PassFactory())
        ticket = buy(coming, first_day=today() + NEXT_WEEK)
        Activity.objects.update(refund_days=0)
        refused("too_late", cancel_ticket, ticket=ticket, by=coming.user)
        Activity.objects.update(refund_days=14)
        assert cancel_ticket(ticket=ticket, by=coming.user).to_wallet == Decimal("5.50")

    def test_by_who_bought_it_only(self) -> None:
        shop = kiosk()
        ticket = buy(shop)
        other = FiliationFactory(beneficiary=shop.children[0]).user
        assert ticket in Ticket.objects.of(other)  # the other parent may show it
        refused("not_booked", cancel_ticket, ticket=ticket, by=other)

    def test_a_bike_given_back_is_free(self) -> None:
        shop = bikes(1)
        cancel_ticket(ticket=buy(shop, first_day=today() + NEXT_WEEK), by=shop.user)
        assert buy(family(shop.tariff, credit="100"), first_day=today() + NEXT_WEEK).unit == 1
