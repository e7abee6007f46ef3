"""What a family does with an offered place: into the cart until its limit, or paid at once; and what stops it."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Address, Terms
from bookings import actions as bookings
from bookings.closures import actions as closures
from bookings.closures.models import Closure
from bookings.models import Booking, Hold
from bookings.waiting import actions
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means, pay_offer, recover_places, remove_lines, take_offer
from checkout.models import CartLine, Order
from checkout.summary import CartSummary
from checkout.verification import verify
from families.models import Filiation
from portal.common.errors import Refused
from services.models import OpenDay, Subscription, TariffGrid
from services.school_calendar import school_year
from tests.bookings.test_waiting import give_back, letters, run_out
from tests.factories import EnrolmentFactory, OpenDayFactory, SchoolFactory, TermsFactory, agent_of
from tests.guards import guarded
from tests.shop import Shop
from tests.waiting import entries, full_shop, neighbour, party, settled, statuses, wait

pytestmark = pytest.mark.django_db


def limit_of(who: Shop) -> dt.datetime:
    """Until when the place that is offered to a family is kept."""
    entry = WaitingListEntry.objects.offered().select_related("booking__hold").get(user=who.user)
    assert entry.booking is not None
    return entry.booking.hold.expires_at


class TestIntoTheCart:
    def test_the_offer_stands_until_it_is_paid_and_costs_the_price_in_force(self) -> None:
        shop = full_shop()
        who = neighbour(shop, credit="10")
        wait(who)
        give_back(shop)
        promised = limit_of(who)
        shop.tariff.price = Decimal("8.10")
        shop.tariff.save()
        added = take_offer(user=who.user, party=party(who))
        assert (added.quantity, added.total) == (1, Decimal("8.10"))
        line = CartLine.objects.get(cart__user=who.user)
        assert statuses(who) == ["offered"] and line.booking == entries(who)[0].booking and shop.fresh().taken == 1
        assert limit_of(who) == promised > line.cart.hold.expires_at + dt.timedelta(hours=23)
        assert who.pay(Means.WALLET, "8.10").order.status == "paid"
        assert statuses(who) == ["taken"] and shop.fresh().taken == 1
        assert list(verify()) == []

    def test_together(self) -> None:
        shop = full_shop(capacity=2)
        pair = neighbour(shop, children=2, credit="20")
        wait(pair, together=True)
        give_back(shop, places=2)
        assert take_offer(user=pair.user, party=party(pair)).quantity == 2
        pair.pay(Means.WALLET, "15.80")
        assert statuses(pair) == ["taken", "taken"] and shop.fresh().taken == 2

    def test_taking_twice_takes_once(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        take_offer(user=who.user, party=party(who))
        again = take_offer(user=who.user, party=party(who))
        assert again.quantity == 0 and len(again.already) == 1
        assert CartLine.objects.filter(cart__user=who.user).count() == 1

    def test_what_runs_out_passes_on(self) -> None:
        shop = full_shop()
        first, second = neighbour(shop), neighbour(shop)
        wait(first)
        wait(second)
        give_back(shop)
        run_out(first)
        with pytest.raises(Refused) as refusal:  # before the sweep as after it
            take_offer(user=first.user, party=party(first))
        assert refusal.value.code == "offer_gone"
        assert bookings.release_expired_holds() == 1
        assert statuses(first) == ["expired"] and statuses(second) == ["offered"]
        assert letters("La place proposée n’est plus gardée") == [first.user.email]
        with pytest.raises(Refused) as refusal:
            take_offer(user=first.user, party=party(first))
        assert refusal.value.code == "offer_gone"

    def test_in_the_moment_of_grace_it_can_still_be_taken(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        Hold.objects.filter(user=who.user).update(expires_at=timezone.now() - bookings.GRACE / 2)
        assert take_offer(user=who.user, party=party(who)).quantity == 1

    def test_an_offer_declined_passes_on_at_once_though_it_is_in_the_cart(self) -> None:
        shop = full_shop()
        first, second = neighbour(shop), neighbour(shop)
        wait(first)
        wait(second)
        give_back(shop)
        take_offer(user=first.user, party=party(first))
        assert actions.leave(user=first.user, ids=[entries(first)[0].pk]) == 1
        assert statuses(first) == ["left"] and statuses(second) == ["offered"]
        assert actions.leave(user=first.user, ids=[entries(first)[0].pk]) == 0
        (sentence,) = recover_places(user=first.user)
        assert "n’ont pas pu être reprises" in sentence and not first.cart.lines.exists()

    def test_the_carts_own_time_ends_nothing_that_was_promised_longer(self) -> None:
        """At 23:00 into the cart, paid the next morning: the half hour of a cart is not the offer's."""
        shop = full_shop(days=2)
        other = OpenDayFactory(activity=shop.activity, date=shop.days[-1].date + dt.timedelta(days=3))
        first, second = neighbour(shop, credit="50"), neighbour(shop)
        wait(first, days=shop.days[:1])
        wait(second, days=shop.days[:1])
        give_back(shop)
        take_offer(user=first.user, party=party(first))
        first.add(days=[other])
        promised = limit_of(first)
        Hold.objects.filter(cart__user=first.user).update(expires_at=timezone.now() - bookings.GRACE * 2)
        assert bookings.release_expired_holds() == 1
        assert statuses(first) == ["offered"] and statuses(second) == ["waiting"] and limit_of(first) == promised
        summary = CartSummary.of(first.user)
        assert summary is not None and not summary.is_over
        assert [line.kept_until for line in summary.offers] == [promised]
        assert recover_places(user=first.user) == [] and limit_of(first) == promised  # not prolonged either
        first.pay(Means.WALLET, "15.80")
        assert statuses(first) == ["taken"] and list(verify()) == []

    def test_what_is_not_paid_by_its_limit_goes_to_the_next_and_leaves_the_cart(self) -> None:
        shop = full_shop()
        first, second = neighbour(shop, credit="10"), neighbour(shop)
        wait(first)
        wait(second)
        give_back(shop)
        take_offer(user=first.user, party=party(first))
        run_out(first)
        bookings.release_expired_holds()
        assert statuses(first) == ["expired"] and statuses(second) == ["offered"]
        summary = CartSummary.of(first.user)
        assert summary is not None and summary.has_lapsed_offers
        with pytest.raises(Refused) as refusal:
            first.pay(Means.WALLET, "7.90")
        assert refusal.value.code == "expired" and first.balance == Decimal(10)
        actions.leave(user=second.user, ids=[entries(second)[0].pk])  # free again: yet the promise is over
        recover_places(user=first.user)
        assert not first.cart.lines.exists() and shop.fresh().taken == 0

    def test_taken_out_of_the_cart_it_is_still_offered(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        take_offer(user=who.user, party=party(who))
        promised = limit_of(who)
        remove_lines(user=who.user, ids=who.cart.lines.values_list("pk", flat=True))
        assert statuses(who) == ["offered"] and limit_of(who) == promised and shop.fresh().taken == 1

    @pytest.mark.parametrize("case", ["stranger", "no access", "closed", "late", "child gone"])
    @pytest.mark.parametrize("way", ["cart", "wallet"])
    def test_what_may_not_be_taken(self, case: str, way: str) -> None:
        shop = full_shop()
        who, stranger = neighbour(shop, credit="50"), neighbour(shop, credit="50")
        wait(who)
        give_back(shop)
        settled(who)
        before = who.balance
        if case == "no access":
            Subscription.objects.filter(user=who.user).update(status="refused", reason="Parti")
        if case == "closed":
            OpenDay.objects.filter(pk=who.days[0].pk).update(is_open=False, closed_reason="Grève")
        if case == "late":
            OpenDay.objects.update(book_until=timezone.now() - dt.timedelta(minutes=1))
        if case == "child gone":
            Filiation.objects.filter(user=who.user).update(ended_at=timezone.now())
        taker = stranger if case == "stranger" else who
        with pytest.raises(Refused) as refusal:
            if way == "cart":
                take_offer(user=taker.user, party=party(who))
            else:
                pay_offer(user=taker.user, party=party(who), shown_total=Decimal("7.90"))
        expected = {"stranger": "not_yours", "no access": "no_access", "child gone": "not_yours"}
        assert refusal.value.code == expected.get(case, "not_bookable")
        assert statuses(who) == ["offered"] and who.balance == before
        assert not CartLine.objects.filter(cart__user__in=[who.user, stranger.user]).exists()

    def test_a_school_that_closes_takes_the_offer_back(self) -> None:
        shop = full_shop()
        first, second = neighbour(shop, credit="50"), neighbour(shop)
        wait(first)
        wait(second)
        give_back(shop)
        take_offer(user=first.user, party=party(first))
        commune = shop.activity.service.commune
        school = SchoolFactory(commune=commune)
        day = shop.days[0].date
        EnrolmentFactory(beneficiary=first.children[0], school=school, year=school_year(day)[0].year)
        plan = Closure(
            scope="school", school=school, commune=commune, first_day=day, last_day=day, reason="Chauffage en panne"
        )
        closures.decide(closure=plan, seen=closures.fingerprint(plan), by=agent_of(commune))
        assert statuses(first) == ["withdrawn"] and statuses(second) == ["offered"]
        with pytest.raises(Refused):
            first.pay(Means.WALLET, "7.90")
        assert first.balance == Decimal(50)

    def test_booking_an_offered_day_says_where_it_is(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        with pytest.raises(Refused) as refusal:
            who.add()
        assert refusal.value.code == "offered" and "Mes listes d’attente" in str(refusal.value)

    @pytest.mark.parametrize("case", ["another's offer", "another's cart"])
    def test_the_database_lets_nobody_put_another_s_place_into_a_cart(self, case: str) -> None:
        shop = full_shop(days=2)
        who, thief = neighbour(shop), neighbour(shop, credit="50")
        wait(who, days=shop.days[:1])
        give_back(shop)
        if case == "another's cart":
            OpenDay.objects.update(capacity=9)
            who.add(days=shop.days[1:])
            place = Booking.objects.held().get(made_by=who.user, waiting_entry=None)
            CartLine.objects.filter(booking=place).delete()
        else:
            place = Booking.objects.held().get(made_by=who.user)
        own = OpenDayFactory(activity=shop.activity, date=shop.days[-1].date + dt.timedelta(days=9))
        thief.add(days=[own])
        line = {"cart": thief.cart, "booking": place, "tariff": shop.tariff, "unit_price": Decimal("7.90")}
        guarded(
            "checkout.CartLine:line_holds_its_place",
            lambda: CartLine.objects.create(**line),
            "a cart holds its places",
            lambda: CartLine.objects.filter(booking=place).exists(),
        )


class TestPaidInOnePress:
    def offered(self, *, credit: str = "50", children: int = 1) -> Shop:
        shop = full_shop(capacity=children)
        who = neighbour(shop, credit=credit, children=children)
        wait(who, together=True)
        give_back(shop, places=children)
        return who

    def test_ordered_paid_and_booked_at_once(self) -> None:
        who = settled(self.offered())
        before = who.balance
        order = pay_offer(user=who.user, party=party(who), shown_total=Decimal("7.90"))
        assert order.status == "paid" and order.total == Decimal("7.90") and who.balance == before - Decimal("7.90")
        assert statuses(who) == ["taken"] and who.fresh().taken == 1
        assert order.terms == Terms.objects.current(Terms.Kind.SALE) and order.billing_address
        assert Booking.objects.get(order_lines__order=order).status == "booked"
        assert list(verify()) == []

    def test_a_second_press_pays_nothing(self) -> None:
        who = settled(self.offered())
        first, again = (pay_offer(user=who.user, party=party(who), shown_total=Decimal("7.90")) for _press in range(2))
        assert first == again and Order.objects.filter(user=who.user).count() == 2  # with the one before

    def test_siblings_together_and_out_of_the_cart_where_they_waited(self) -> None:
        who = settled(self.offered(children=2))
        take_offer(user=who.user, party=party(who))
        order = pay_offer(user=who.user, party=party(who), shown_total=Decimal("15.80"))
        assert order.lines.count() == 2 and statuses(who) == ["taken", "taken"]
        assert not CartLine.objects.filter(cart__user=who.user).exists() and list(verify()) == []

    @pytest.mark.parametrize(
        "case, code",
        [
            ("price", "changed"),
            ("money", "wallet_is_not_overdrawn"),
            ("address", "not_settled"),
            ("never accepted", "not_settled"),
            ("new terms", "not_settled"),
            ("limit", "offer_gone"),
            ("no fare", "no_tariff"),
        ],
    )
    def test_refused_nothing_is_debited_and_the_offer_stands(self, case: str, code: str) -> None:
        who = self.offered(credit="12")
        if case != "never accepted":
            settled(who)
        if case != "money":
            who.credit("30")
        if case == "price":
            who.tariff.price = Decimal("8.10")
            who.tariff.save()
        if case == "address":
            Address.objects.filter(user=who.user).update(is_default=False)
        if case == "new terms":
            TermsFactory(kind=Terms.Kind.SALE, version="2027-01", published_at=timezone.now())
        if case == "limit":
            run_out(who)
        if case == "no fare":
            TariffGrid.objects.update(valid=(None, who.days[0].date))
        before = who.balance
        with pytest.raises(Refused) as refusal:
            pay_offer(user=who.user, party=party(who), shown_total=Decimal("7.90"))
        assert refusal.value.code == code and "débité" in str(refusal.value)
        assert who.balance == before and statuses(who) == ["offered"]

    def test_while_it_is_being_paid_by_card(self) -> None:
        who = settled(self.offered())
        take_offer(user=who.user, party=party(who))
        who.pay(Means.CARD, "7.90")
        with pytest.raises(Refused) as refusal:
            pay_offer(user=who.user, party=party(who), shown_total=Decimal("7.90"))
        assert refusal.value.code == "being_paid"


def test_whose_service_it_is_is_read_once_for_all_of_a_party() -> None:
    shop = full_shop(capacity=4)
    who = neighbour(shop, children=4, credit="500")
    settled(who)
    wait(who, days=shop.days[:1], together=True)
    give_back(shop, places=4)
    with CaptureQueriesContext(connection) as asked:
        pay_offer(user=who.user, party=party(who), shown_total=Decimal("31.60"))
    communes = [row for row in asked if "accounts_commune" in row["sql"] and "services_" not in row["sql"]]
    assert len(communes) <= 1
