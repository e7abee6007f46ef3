"""Waiting lists: who gets a freed place, in which order, for how long; and what is said when it cannot be had."""

import datetime as dt

import pgtrigger
import pytest
from django.utils import timezone

from bookings import actions as bookings
from bookings.models import Booking, Hold
from bookings.waiting import actions, offers
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means, cancel_bookings, cancel_for, recover_places, remove_lines
from checkout.models import CartLine
from families.models import Filiation
from portal.common.errors import Refused
from portal.outbox.models import Email
from services.models import Activity, OpenDay, Subscription
from tests.factories import (
    ActivityFactory,
    CommuneFactory,
    FiliationFactory,
    OpenDayFactory,
    SlotFactory,
    SubscriptionFactory,
    agent_of,
)
from tests.shop import Shop, open_shop
from tests.waiting import entries, full_shop, neighbour, statuses, wait

pytestmark = pytest.mark.django_db


def give_back(shop: Shop, places: int = 1) -> None:
    """The family that booked cancels some of its places."""
    rows = Booking.objects.booked().filter(made_by=shop.user).order_by("open_day__date", "pk")[:places]
    cancel_bookings(ids=[row.pk for row in rows], by=shop.user)


def run_out(who: Shop) -> None:
    Hold.objects.filter(user=who.user).update(expires_at=timezone.now() - bookings.GRACE * 2)


def letters(template_words: str) -> list[str]:
    """Who was written to in these words, in the order of writing."""
    return list(Email.objects.filter(subject__contains=template_words).order_by("pk").values_list("to", flat=True))


class TestJoining:
    def test_one_waits_for_a_full_day_and_knows_ones_position(self) -> None:
        shop = full_shop()
        first, second = neighbour(shop), neighbour(shop)
        wait(first)
        wait(second)
        assert [row.position for who in (first, second) for row in entries(who)] == [1, 2]
        assert shop.fresh().taken == 1

    def test_many_days_at_once_are_one_series(self) -> None:
        shop = full_shop(days=3)
        who = neighbour(shop)
        joined = wait(who)
        assert len(joined.entries) == 3 and len({row.series for row in entries(who)}) == 1

    def test_a_day_with_places_is_booked_not_waited_for(self) -> None:
        shop = open_shop(days=1)
        with pytest.raises(Refused) as refusal:
            wait(shop)
        assert refusal.value.code == "not_full" and "réservez directement" in str(refusal.value)

    def test_two_who_come_together_may_wait_beside_one_free_place(self) -> None:
        shop = full_shop(capacity=2)
        give_back(shop)
        who = neighbour(shop, children=2)
        with pytest.raises(Refused) as refusal:
            wait(who)
        assert refusal.value.code == "not_full"
        wait(who, together=True)
        assert statuses(who) == ["waiting", "waiting"]

    def test_who_waits_already_is_left_out(self) -> None:
        shop = full_shop(days=2)
        who = neighbour(shop)
        wait(who, days=shop.days[:1])
        joined = wait(who)
        assert len(joined.entries) == 1 and joined.left_out == [
            f"{who.children[0].first_name} attend déjà une place {bookings.dated(shop.days[0].date)}"
        ]
        with pytest.raises(Refused) as refusal:
            wait(who)
        assert refusal.value.code == "already"

    def test_the_other_parent_waits_already(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        other = neighbour(shop, children=0)
        FiliationFactory(user=other.user, beneficiary=who.children[0])
        other.children = who.children
        with pytest.raises(Refused) as refusal:
            wait(other)
        assert refusal.value.code == "already"

    def test_a_child_who_is_elsewhere_then_cannot_wait(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        elsewhere = open_shop(days=0)
        day = OpenDayFactory(activity=elsewhere.activity, date=shop.days[0].date)
        busy = Shop(elsewhere.tariff, who.user, who.children, access(elsewhere, who), [day])
        busy.add()
        with pytest.raises(Refused) as refusal:
            wait(who)
        assert refusal.value.code == "already" and str(elsewhere.activity) in str(refusal.value)

    def test_in_a_series_only_the_days_elsewhere_are_left_out(self) -> None:
        shop = full_shop(days=3)
        who = neighbour(shop)
        elsewhere = open_shop(days=0)
        day = OpenDayFactory(activity=elsewhere.activity, date=shop.days[1].date)
        Shop(elsewhere.tariff, who.user, who.children, access(elsewhere, who), [day]).add()
        joined = wait(who)
        assert len(joined.entries) == 2 and "à la même heure" in joined.left_out[0]

    @pytest.mark.parametrize(
        "case, code",
        [
            ("nobody", "nothing_chosen"),
            ("closed", "not_bookable"),
            ("late", "not_bookable"),
            ("stranger", "not_yours"),
            ("no list", "no_list"),
            ("no access", "no_access"),
        ],
    )
    def test_what_cannot_be_waited_for(self, case: str, code: str) -> None:
        shop = full_shop()
        who = neighbour(shop)
        if case == "nobody":
            who.children = []
        if case == "closed":
            with pgtrigger.ignore("services.OpenDay:booked_day_closes_by_a_closure"):
                OpenDay.objects.update(is_open=False, closed_reason="Travaux")
        if case == "late":
            OpenDay.objects.update(book_until=timezone.now() - dt.timedelta(minutes=1))
        if case == "stranger":
            who.children = [FiliationFactory().beneficiary]
        if case == "no list":
            who.activity.waiting_list = False
        if case == "no access":
            who.subscription.status = Subscription.Status.REFUSED
        with pytest.raises(Refused) as refusal:
            wait(who)
        assert refusal.value.code == code and not WaitingListEntry.objects.exists()
        assert "panier" not in str(refusal.value)


def access(shop: Shop, who: Shop) -> Subscription:
    found: Subscription = SubscriptionFactory(user=who.user, profile=shop.tariff.profile)
    return found


class TestOffering:
    def test_a_cancelled_place_is_offered_to_the_first_who_waits_and_to_nobody_else(self) -> None:
        shop = full_shop()
        first, second, third = neighbour(shop), neighbour(shop), neighbour(shop)
        wait(first)
        wait(second)
        give_back(shop)
        assert statuses(first) == ["offered"] and statuses(second) == ["waiting"]
        assert [row.position for row in entries(second)] == [1]
        assert shop.fresh().free == 0
        with pytest.raises(Refused) as refusal:
            third.add()
        assert refusal.value.code == "full"
        assert letters("Une place vous est proposée") == [first.user.email]

    @pytest.mark.parametrize("way", ["removed from the cart", "hold ran out", "cancelled by staff", "capacity raised"])
    def test_however_a_place_comes_free_it_is_offered(self, way: str) -> None:
        shop = open_shop(days=1, capacity=1)
        shop.add()
        if way == "cancelled by staff":
            shop.credit("10")
            shop.pay(Means.WALLET, "7.90")
        who, third = neighbour(shop), neighbour(shop)
        wait(who)
        match way:
            case "removed from the cart":
                remove_lines(user=shop.user, ids=CartLine.objects.values_list("pk", flat=True))
            case "hold ran out":
                run_out(shop)
                bookings.release_expired_holds()
            case "cancelled by staff":
                cancel_for(ids=[Booking.objects.get().pk], by=agent_of(), reason="Erreur")
            case "capacity raised":
                OpenDay.objects.update(capacity=2)
                assert actions.sweep() == 1
        assert statuses(who) == ["offered"] and shop.fresh().free == 0
        with pytest.raises(Refused):
            third.add()

    def test_a_place_that_nobody_has_offered_yet_goes_to_who_waits_before_a_third(self) -> None:
        """The sweep has not run: whoever books first finds out that somebody waits."""
        shop = full_shop()
        who, third = neighbour(shop), neighbour(shop)
        wait(who)
        OpenDay.objects.update(capacity=2)
        with pytest.raises(Refused):
            third.add()
        OpenDay.objects.update(capacity=3)
        third.add()
        assert statuses(who) == ["offered"] and shop.fresh().taken == 3

    def test_a_stale_hold_taken_on_demand_goes_to_who_waits(self) -> None:
        slow = open_shop(days=1, capacity=1)
        slow.add()
        who, third = neighbour(slow), neighbour(slow)
        wait(who)
        run_out(slow)
        with pytest.raises(Refused):
            third.add()
        bookings.release_expired_holds()
        assert statuses(who) == ["offered"]

    def test_an_expired_cart_comes_back_behind_who_waits(self) -> None:
        slow = open_shop(days=1, capacity=1)
        slow.add()
        who = neighbour(slow)
        wait(who)
        run_out(slow)
        bookings.release_expired_holds()
        assert "n’ont pas pu être reprises" in "".join(recover_places(user=slow.user))
        assert statuses(who) == ["offered"] and slow.fresh().taken == 1

    def test_many_places_of_many_days_go_to_many_families(self) -> None:
        shop = full_shop(days=3, capacity=2)
        families = [neighbour(shop) for _family in range(3)]
        for who in families:
            wait(who)
        give_back(shop, places=6)
        assert [statuses(who) for who in families] == [["offered"] * 3, ["offered"] * 3, ["waiting"] * 3]
        assert letters("3 places vous sont proposées") == [who.user.email for who in families[:2]]

    def test_a_list_that_nobody_may_book_from_offers_nothing(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        with pgtrigger.ignore("services.OpenDay:booked_day_closes_by_a_closure"):
            OpenDay.objects.update(is_open=False, closed_reason="Grève")
        cancel_for(ids=[Booking.objects.get().pk], by=agent_of(), reason="Grève")
        assert statuses(who) == ["waiting"] and shop.fresh().taken == 0

    def test_who_cannot_have_the_place_today_is_passed_over_and_keeps_the_rank(self) -> None:
        shop = full_shop()
        gone, refused, elsewhere, last = (neighbour(shop) for _family in range(4))
        for who in (gone, refused, elsewhere, last):
            wait(who)
        Filiation.objects.filter(user=gone.user).update(ended_at=timezone.now())
        Subscription.objects.filter(user=refused.user).update(status="refused", reason="Parti")
        other = open_shop(days=0)
        day = OpenDayFactory(activity=other.activity, date=shop.days[0].date)
        Shop(other.tariff, elsewhere.user, elsewhere.children, access(other, elsewhere), [day]).add()
        give_back(shop)
        assert [statuses(who) for who in (gone, refused, elsewhere, last)] == [["waiting"]] * 3 + [["offered"]]

    def test_a_child_who_waits_for_two_slots_at_once_is_offered_one(self) -> None:
        shop = full_shop(capacity=2)
        who = neighbour(shop)
        wait(who)
        WaitingListEntry.objects.create(
            user=who.user,
            beneficiary=who.children[0],
            open_day=shop.days[0],
            slot=SlotFactory(activity=shop.activity, name="Journée"),
            profile=shop.tariff.profile,
            rank=9,
        )
        give_back(shop, places=2)
        assert statuses(who) == ["offered", "waiting"] and shop.fresh().free == 1


class TestTogether:
    def test_all_or_none(self) -> None:
        shop = full_shop(capacity=2)
        pair = neighbour(shop, children=2)
        wait(pair, together=True)
        give_back(shop)
        assert statuses(pair) == ["waiting", "waiting"] and shop.fresh().free == 1
        give_back(shop)
        assert statuses(pair) == ["offered", "offered"] and shop.fresh().free == 0

    def test_a_single_place_goes_to_the_next_and_the_pair_keeps_its_rank(self) -> None:
        shop = full_shop(capacity=2)
        pair, single = neighbour(shop, children=2), neighbour(shop)
        wait(pair, together=True)
        wait(single)
        assert [row.position for row in entries(single)] == [2]
        give_back(shop)
        assert statuses(pair) == ["waiting", "waiting"] and statuses(single) == ["offered"]
        assert [row.position for row in entries(pair)] == [1, 1]

    def test_one_by_one_unless_asked(self) -> None:
        shop = full_shop(capacity=2)
        pair = neighbour(shop, children=2)
        wait(pair)
        assert [row.position for row in entries(pair)] == [1, 2]
        give_back(shop)
        assert statuses(pair) == ["offered", "waiting"]

    def test_together_they_leave(self) -> None:
        shop = full_shop()
        pair = neighbour(shop, children=2)
        wait(pair, together=True)
        assert actions.leave(user=pair.user, ids=[entries(pair)[0].pk]) == 2
        assert statuses(pair) == ["left", "left"]


class TestOrder:
    def order(self, shop: Shop, *priorities: str) -> None:
        Activity.objects.filter(pk=shop.activity.pk).update(waiting_order=list(priorities))
        shop.activity.refresh_from_db()

    def test_residents_first_then_siblings_then_first_come(self) -> None:
        shop = full_shop(capacity=2)
        self.order(shop, "resident", "sibling")
        far, sibling, resident, both = (neighbour(shop, children=2) for _family in range(4))
        for who in (resident, both):
            who.user.commune = shop.activity.service.commune
            who.user.save()
        for who in (sibling, both):  # one child has a place already
            OpenDay.objects.update(capacity=shop.fresh().capacity + 1)
            who.add(children=who.children[1:])
            Booking.objects.filter(made_by=who.user).update(status="booked", booked_at=timezone.now())
        for who in (far, sibling, resident, both):
            wait(who, children=who.children[:1])
        assert [entries(who)[0].position for who in (both, resident, sibling, far)] == [1, 2, 3, 4]

    def test_without_a_stated_order_first_come(self) -> None:
        shop = full_shop()
        far, resident = neighbour(shop), neighbour(shop)
        resident.user.commune = shop.activity.service.commune
        wait(far)
        wait(resident)
        assert [entries(who)[0].position for who in (far, resident)] == [1, 2]

    @pytest.mark.parametrize(
        "priorities, words",
        [
            ([], "Les places sont proposées dans l’ordre d’inscription."),
            (["resident"], "Les places vont d’abord aux habitants de la commune, puis dans l’ordre d’inscription."),
            (
                ["resident", "sibling"],
                "Les places vont d’abord aux habitants de la commune, puis aux enfants dont un frère ou une sœur vient "
                "déjà ce jour-là, puis dans l’ordre d’inscription.",
            ),
        ],
    )
    def test_the_order_is_said_in_one_sentence(self, priorities: list[str], words: str) -> None:
        assert actions.rule(ActivityFactory(waiting_order=priorities)) == words

    def test_staff_move_somebody_with_a_reason(self) -> None:
        shop = full_shop()
        families = [neighbour(shop) for _family in range(4)]
        for who in families:
            wait(who)
        agent = agent_of(shop.activity.service.commune)
        positions = []
        for where in (1, 3, 4, 2):
            actions.move(entry=entries(families[3])[0], position=where, reason="Situation urgente", by=agent)
            positions.append([entries(who)[0].position for who in families])
        assert positions == [[2, 3, 4, 1], [1, 2, 4, 3], [1, 2, 3, 4], [1, 3, 4, 2]]
        moved = entries(families[3])[0]
        assert (moved.moved_by, moved.moved_reason) == (agent, "Situation urgente")

    def test_across_classes_too(self) -> None:
        shop = full_shop()
        self.order(shop, "resident")
        far, resident = neighbour(shop), neighbour(shop)
        resident.user.commune = shop.activity.service.commune
        wait(far)
        wait(resident)
        actions.move(entry=entries(far)[0], position=1, reason="Urgence", by=agent_of())
        assert [entries(who)[0].position for who in (far, resident)] == [1, 2]
        actions.move(entry=entries(far)[0], position=2, reason="Erreur", by=agent_of())
        assert [entries(who)[0].position for who in (far, resident)] == [2, 1]

    @pytest.mark.parametrize(
        "position, reason, code",
        [
            (1, " ", "reason_missing"),
            (0, "x", "no_such_position"),
            (3, "x", "no_such_position"),
            (2, "x", "same_position"),
        ],
    )
    def test_what_staff_may_not(self, position: int, reason: str, code: str) -> None:
        shop = full_shop()
        families = [neighbour(shop) for _family in range(2)]
        for who in families:
            wait(who)
        with pytest.raises(Refused) as refusal:
            actions.move(entry=entries(families[1])[0], position=position, reason=reason, by=agent_of())
        assert refusal.value.code == code

    def test_another_communes_agent_and_a_parent_may_not(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        for by in (agent_of(CommuneFactory()), who.user):
            with pytest.raises(Refused) as refusal:
                actions.move(entry=entries(who)[0], position=1, reason="x", by=by)
            assert refusal.value.code == "out_of_scope"


class TestTheEnd:
    def test_when_the_deadline_is_past_the_list_closes_and_says_so(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        OpenDay.objects.update(book_until=timezone.now() - dt.timedelta(seconds=1))
        assert actions.sweep() == 1 and actions.sweep() == 0
        assert statuses(who) == ["withdrawn"]
        assert letters("Liste d’attente fermée") == [who.user.email]
        assert "La limite de réservation est passée" in Email.objects.get(subject="Liste d’attente fermée").body

    def test_a_day_that_closes_takes_its_offers_back(self) -> None:
        shop = full_shop(capacity=2)
        offered, waiting = neighbour(shop), neighbour(shop)
        wait(offered)
        give_back(shop)
        wait(waiting)
        assert actions.withdraw(days=[shop.days[0].pk], reason="Grève du personnel", by=agent_of()) == 2
        assert statuses(offered) == statuses(waiting) == ["withdrawn"] and shop.fresh().taken == 1
        assert letters("Liste d’attente fermée") == [offered.user.email, waiting.user.email]
        with pytest.raises(Refused):
            actions.withdraw(days=[shop.days[0].pk], reason="", by=agent_of())

    def test_a_day_closed_elsewhere_takes_its_offers_back_with_the_sweep(self) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        OpenDay.objects.update(is_open=False, closed_reason="Neige")
        assert (actions.sweep(), actions.sweep()) == (1, 0)
        assert statuses(who) == ["withdrawn"] and entries(who)[0].ended_reason == "Neige" and shop.fresh().taken == 0

    def test_the_sweep_has_nothing_to_do_twice(self) -> None:
        shop = full_shop()
        wait(neighbour(shop))
        OpenDay.objects.update(capacity=2)
        assert (actions.sweep(), actions.sweep()) == (1, 0)


@pytest.mark.parametrize(
    "left, hours, expected",
    [(240, 24, 24), (30, 24, 15), (1.5, 24, 1), (0.5, 24, 0.5), (240, 48, 48), (4, 1, 1)],
)
def test_how_long_an_offer_stands(left: float, hours: int, expected: float) -> None:
    """The activity's hours; half of what is left before the deadline when that is less, an hour at least; never past it."""
    now = timezone.now()
    day = OpenDay(book_until=now + dt.timedelta(hours=left), is_open=True)
    assert offers.offer_until(open_day=day, hours=hours, at=now) == now + dt.timedelta(hours=expected)
