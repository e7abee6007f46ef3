"""Which slots a period offers, and a slot's places on one day alone: generated, shown, and held by the database."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bookings.models import Booking
from bookings.places import slot_room
from portal.common.errors import Refused
from portal.common.formats import today
from services.calendars import generate_open_days
from services.models import ActivityPeriod, OpenDay, Slot
from tests.admin.test_catalogue import edit, errors, saved
from tests.admin.world import client_of, url
from tests.factories import SlotFactory, TariffFactory, agent_of, only_open
from tests.guards import guarded
from tests.shop import Shop, family, open_shop
from tests.waiting import wait

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    """A morning and an evening, both sold; the days offer both."""
    shop = open_shop(days=2)
    evening: Slot = SlotFactory(
        activity=shop.activity, name="Soir", starts_at=dt.time(16, 30), ends_at=dt.time(18, 30), position=5
    )
    TariffFactory(slot=evening, profile=shop.tariff.profile)
    return shop


def evening_of(shop: Shop) -> Slot:
    return Slot.objects.get(activity=shop.activity, name="Soir")


def give(shop: Shop, day: OpenDay, places: int, slot: Slot | None = None) -> None:
    OpenDay.objects.filter(pk=day.pk).update(slot_places={str((slot or shop.slot).pk): places})


class TestOneDay:
    def test_a_slot_has_fewer_places_on_one_day(self, shop: Shop) -> None:
        give(shop, shop.days[0], 1)
        shop.add()
        other = family(shop.tariff, days=shop.days)
        with pytest.raises(Refused, match=f"pour « {shop.slot} »") as refused:
            other.add()
        assert refused.value.code == "full"
        assert other.add(days=shop.days[1:]).quantity == 1

    def test_or_more_than_always(self, shop: Shop) -> None:
        Slot.objects.filter(pk=shop.slot.pk).update(capacity=1)
        give(shop, shop.days[0], 2)
        shop.add()
        assert family(shop.tariff, days=shop.days).add(days=shop.days[:1]).quantity == 1

    def test_what_is_not_offered_is_neither_booked_nor_waited_for(self, shop: Shop) -> None:
        give(shop, shop.days[0], 0)
        for ask in (shop.add, lambda: wait(shop, days=shop.days[:1])):
            with pytest.raises(Refused, match="n’est pas proposé") as refused:
                ask()
            assert refused.value.code == "slot_not_offered"
        assert not Booking.objects.exists()
        assert shop.add(days=shop.days[1:]).quantity == 1

    def test_the_database_counts_the_places_of_the_day(self, shop: Shop) -> None:
        shop.add(days=shop.days[:1])
        row = Booking.objects.get()
        Booking.objects.filter(pk=row.pk).update(status="expired", ended_at=row.created_at, ended_reason="x")
        give(shop, shop.days[0], 0)
        guarded(
            "bookings.Booking:within_its_slot_again",
            lambda: Booking.objects.filter(pk=row.pk).update(status="held", ended_at=None, ended_reason=""),
            "a slot has no more places on the day",
            lambda: Booking.objects.live().exists(),
        )

    def test_a_lowered_limit_takes_nothing_from_who_holds_a_place(self, shop: Shop) -> None:
        shop.add(days=shop.days[:1])
        give(shop, shop.days[0], 0)
        assert Booking.objects.live().count() == 1
        assert slot_room([shop.slot], [OpenDay.objects.get(pk=shop.days[0].pk)]) == {(shop.days[0].pk, shop.slot.pk): 0}

    @pytest.mark.parametrize("places", [{"0": 3}, {"x": 3}, [1], "own:-1", "own:1.5", 'own:"2"', "own:null"])
    def test_places_are_told_of_its_slots(self, shop: Shop, places: Any) -> None:
        values = {"own:-1": -1, "own:1.5": 1.5, 'own:"2"': "2", "own:null": None}
        told = {str(shop.slot.pk): values[places]} if isinstance(places, str) else places
        key = shop.days[0].pk
        guarded(
            "services.OpenDay:slot_places_are_of_its_slots",
            lambda: OpenDay.objects.filter(pk=key).update(slot_places=told),
            "places are told of slots of the activity",
            lambda: not OpenDay.objects.filter(pk=key, slot_places={}).exists(),
        )

    def test_no_query_where_nothing_is_limited(self, shop: Shop, django_assert_num_queries: Any) -> None:
        days = list(OpenDay.objects.all())
        with django_assert_num_queries(0):
            assert slot_room([shop.slot], days) == {}
        for day in days:
            day.slot_places = {str(shop.slot.pk): 0}
        with django_assert_num_queries(0):
            assert set(slot_room([shop.slot], days).values()) == {0}

    def test_the_calendar_says_it(self, client: Client, shop: Shop) -> None:
        give(shop, shop.days[0], 0)
        client.force_login(shop.user)
        activity = shop.activity
        page = client.get(reverse("activity", args=[activity.service.slug, activity.slug])).content.decode()
        assert f"sans {shop.slot.name}" in page
        OpenDay.objects.filter(pk=shop.days[0].pk).update(
            slot_places={str(shop.slot.pk): 0, str(evening_of(shop).pk): 0}
        )
        page = client.get(reverse("activity", args=[activity.service.slug, activity.slug])).content.decode()
        assert "aucune prestation ce jour-là" in page


class TestPeriods:
    def test_days_offer_the_slots_of_their_period(self, shop: Shop) -> None:
        activity, evening = shop.activity, evening_of(shop)
        only_open(activity, [0, 1, 3, 4], ActivityPeriod.Kind.ALWAYS)
        activity.periods.update(slots=[evening.pk])
        first = max(day.date for day in shop.days) + dt.timedelta(days=1)
        report = generate_open_days(activity=activity, first=first, last=first + dt.timedelta(days=20))
        made = OpenDay.objects.filter(activity=activity, date__gte=first)
        assert report.opened and [row.slot_places for row in made] == [{str(shop.slot.pk): 0}] * len(report.opened)
        again = generate_open_days(activity=activity, first=first, last=first + dt.timedelta(days=20))
        assert not again.changes_something
        with pytest.raises(Refused, match="n’est pas proposé"):
            shop.add(days=list(made[:1]))
        activity.periods.update(slots=[])
        changed = generate_open_days(activity=activity, first=first, last=first + dt.timedelta(days=20))
        assert changed.changed == report.opened
        assert shop.add(days=list(made[:1])).quantity == 1

    def test_a_period_offers_slots_of_its_activity(self, shop: Shop) -> None:
        only_open(shop.activity, [0])
        strange = SlotFactory()
        guarded(
            "services.ActivityPeriod:period_offers_slots_of_its_activity",
            lambda: shop.activity.periods.update(slots=[strange.pk]),
            "a period offers slots of its activity",
            lambda: shop.activity.periods.filter(slots=[strange.pk]).exists(),
        )


class TestAdministration:
    def test_boxes_of_a_period(self, shop: Shop) -> None:
        only_open(shop.activity, [0, 1])
        client, evening = client_of(agent_of(shop.activity.service.commune)), evening_of(shop)
        answer = edit(client, "services.activity", shop.activity, **{"periods-0-slots": [str(evening.pk)]})
        saved(answer)
        assert shop.activity.periods.get().slots == [evening.pk]
        forged = {"periods-0-slots": [str(SlotFactory().pk)]}
        assert "slots" in errors(edit(client, "services.activity", shop.activity, **forged))

    def test_places_of_one_day(self, shop: Shop) -> None:
        client, day = client_of(agent_of(shop.activity.service.commune)), shop.days[0]
        page = client.get(url("services.openday", "change", day.pk)).content.decode().replace("\xa0", " ")
        assert f"Places : {shop.slot}" in page and "Places : Soir" in page
        box = f"slot_{shop.slot.pk}"
        saved(edit(client, "services.openday", day, **{box: "3"}))
        day.refresh_from_db()
        assert day.slot_places == {str(shop.slot.pk): 3} and day.by_hand
        assert 'value="3"' in client.get(url("services.openday", "change", day.pk)).content.decode()
        saved(edit(client, "services.openday", day, **{box: ""}))
        day.refresh_from_db()
        assert day.slot_places == {}
        assert box in errors(edit(client, "services.openday", day, **{box: "-1"}))

    def test_a_day_by_hand_has_all_limits_of_its_rule(self, shop: Shop) -> None:
        """Late booking and opening too; what makes no sense is said at its box."""
        rule = shop.activity.booking_rule
        late = type(rule).objects.create(name="Le matin même", basis="days", offset=0, time=dt.time(7))
        plain = type(rule).objects.create(name="La veille", basis="days", offset=1, time=dt.time(7))
        type(shop.activity.service).objects.update(cancel_deadline=plain)
        type(rule).objects.filter(pk=rule.pk).update(late=late, opens_weeks=4)
        client = client_of(agent_of(shop.activity.service.commune))
        date = max(day.date for day in shop.days) + dt.timedelta(days=9)
        values = {"activity": str(shop.activity.pk), "date": f"{date:%d/%m/%Y}", "capacity": "5", "is_open": "on"}
        saved(client.post(url("services.openday", "add"), values, follow=True))
        day = OpenDay.objects.get(activity=shop.activity, date=date)
        assert day.late_until and day.book_from and day.late_until > day.book_until
        wrong = {"book_until_0": f"{date:%d/%m/%Y}", "book_until_1": "09:00"}
        assert "finit après la limite" in errors(edit(client, "services.openday", day, **wrong))
        past = {**values, "date": f"{today() - dt.timedelta(days=3):%d/%m/%Y}"}
        assert "Ce jour est passé" in errors(client.post(url("services.openday", "add"), past, follow=True))
        none = {**values, "date": f"{date + dt.timedelta(days=1):%d/%m/%Y}", "capacity": "0"}
        assert "au moins une place" in errors(client.post(url("services.openday", "add"), none, follow=True))
