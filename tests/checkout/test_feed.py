"""The family's calendar feed: its secret, its file read back by a parser, and what it does not tell."""

import datetime as dt
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from icalendar import Calendar, Component

from accounts.models import User
from bookings.absence_actions import report_absence
from bookings.feed_actions import close_feed, open_feed
from bookings.feeds import CalendarFeed
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings
from portal.common.formats import PARIS
from services.models import OpenDay, Service, Slot
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import AbsenceRuleFactory, FiliationFactory, UserFactory
from tests.guards import guarded
from tests.shop import Shop, open_shop
from tests.tickets.kiosk import bikes, buy, kiosk

pytestmark = pytest.mark.django_db


def paid(days: int = 2, children: int = 1) -> Shop:
    shop = open_shop(days=days, children=children, credit="9000")
    shop.add()
    shop.pay(Means.WALLET, Decimal("7.90") * days * children)
    return shop


def read(user: User) -> Calendar:
    feed = CalendarFeed.objects.of(user).first() or open_feed(user=user, by=user)
    return Calendar.from_ical(Client().get(feed.get_absolute_url()).content)  # type: ignore[return-value]


def events(calendar: Calendar) -> list[Component]:
    return list(calendar.walk("VEVENT"))


class TestFile:
    def test_a_timed_event_stands_at_its_hours_in_paris(self) -> None:
        shop = paid(days=1)
        calendar = read(shop.user)
        (event,) = events(calendar)
        row = Booking.objects.get()
        start, end = event["dtstart"], event["dtend"]
        assert start.params["TZID"] == end.params["TZID"] == "Europe/Paris"
        assert start.dt == dt.datetime.combine(row.date, shop.slot.starts_at, tzinfo=PARIS)
        assert end.dt == dt.datetime.combine(row.date, shop.slot.ends_at, tzinfo=PARIS)
        assert event["summary"] == f"{shop.children[0].first_name}\u00a0: {shop.activity.name} ({shop.slot.name})"
        assert event["uid"].startswith(f"reservation-{row.pk}@") and event["class"] == "PRIVATE"
        (zone,) = calendar.walk("VTIMEZONE")
        assert zone["tzid"] == "Europe/Paris"
        assert calendar.errors == [] and event.errors == []

    def test_a_reported_absence_is_said(self) -> None:
        shop = paid(days=1)
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(minutes=1))
        Service.objects.update(absence_rule=AbsenceRuleFactory())
        row = Booking.objects.get()
        report_absence(user=shop.user, beneficiary=shop.children[0], ids=[row.pk], kind="illness", by=shop.user)
        (event,) = events(read(shop.user))
        assert event["summary"].endswith(f"({shop.slot.name}), absence signalée")

    def test_a_slot_without_hours_fills_its_day(self) -> None:
        shop = open_shop(days=1, credit="10")
        Slot.objects.filter(pk=shop.slot.pk).update(starts_at=dt.time(0), ends_at=dt.time(23, 59))
        shop.slot.refresh_from_db()
        shop.add()
        shop.pay(Means.WALLET, "7.90")
        (event,) = events(read(shop.user))
        date = shop.days[0].date
        assert event["dtstart"].params["VALUE"] == "DATE"
        assert (event["dtstart"].dt, event["dtend"].dt) == (date, date + dt.timedelta(days=1))

    def test_a_rented_bike_lies_over_its_days_and_a_long_pass_on_its_last_one(self) -> None:
        bike, entry = buy(bikes(1)), buy(kiosk())
        (event,) = events(read(bike.made_by))
        assert event["dtstart"].params["VALUE"] == "DATE" and event["uid"].startswith(f"billet-{bike.pk}@")
        assert (event["dtstart"].dt, event["dtend"].dt) == (bike.first_day, bike.last_day + dt.timedelta(days=1))
        (event,) = events(read(entry.made_by))
        assert (event["dtstart"].dt, event["dtend"].dt) == (entry.last_day, entry.last_day + dt.timedelta(days=1))
        assert event["summary"].endswith(", dernier jour") and entry.code not in event.to_ical().decode()

    def test_the_zone_says_when_clocks_change(self) -> None:
        """Read by its own VTIMEZONE alone, a morning of March and one of April begin at the same hour of the day."""
        calendar = read(paid(days=200).user)
        zone = calendar.walk("VTIMEZONE")[0].to_tz()  # type: ignore[attr-defined]
        starts = [event["dtstart"].dt for event in events(calendar)]
        offsets = {start.replace(tzinfo=None).replace(tzinfo=zone).utcoffset() for start in starts}
        assert offsets == {dt.timedelta(hours=1), dt.timedelta(hours=2)} == {start.utcoffset() for start in starts}
        assert {start.hour for start in starts} == {starts[0].hour}

    def test_what_is_cancelled_or_only_in_the_cart_is_not_there(self) -> None:
        shop = paid(days=3)
        shop.days = shop.days[:1]
        cancel_bookings(ids=[Booking.objects.order_by("period")[0].pk], by=shop.user)
        shop.add()
        assert len(events(read(shop.user))) == 2

    def test_each_child_of_the_family_and_nobody_elses(self) -> None:
        shop, stranger = paid(days=1, children=2), paid(days=1)
        other = FiliationFactory(beneficiary=shop.children[0]).user
        assert len(events(read(shop.user))) == 2 and len(events(read(other))) == 1
        assert len(events(read(stranger.user))) == 1

    def test_it_tells_no_surname_no_service_and_no_price(self) -> None:
        shop = paid(days=1)
        feed = open_feed(user=shop.user, by=shop.user)
        body = Client().get(feed.get_absolute_url()).content.decode()
        assert shop.children[0].first_name in body.replace("\r\n ", "")
        for secret in (shop.children[0].last_name, shop.user.last_name, shop.user.email, "7,90", "7.90"):
            assert secret not in body

    def test_its_lines_are_folded_and_its_names_escaped(self) -> None:
        shop = open_shop(days=1, credit="10")
        type(shop.activity).objects.filter(pk=shop.activity.pk).update(name="Ski, neige; « découverte »\\ " + "é" * 80)
        shop.activity.refresh_from_db()
        shop.add()
        shop.pay(Means.WALLET, "7.90")
        feed = open_feed(user=shop.user, by=shop.user)
        raw = Client().get(feed.get_absolute_url()).content
        assert max(len(line) for line in raw.split(b"\r\n")) <= 75
        assert shop.activity.name in events(Calendar.from_ical(raw))[0]["summary"]  # type: ignore[arg-type]


class TestAddress:
    def test_it_opens_without_a_session_and_starts_none(self, at_most: MaxQueries) -> None:
        feed = open_feed(user=paid(days=2).user, by=UserFactory())
        with at_most(5):
            response = Client().get(feed.get_absolute_url())
        assert response.status_code == 200 and response["Content-Type"] == "text/calendar; charset=utf-8"
        assert "private" in response["Cache-Control"] and not response.cookies

    def test_sixty_times_as_many_events_cost_no_more_questions(self, at_most: MaxQueries) -> None:
        feed = open_feed(user=paid(days=60, children=2).user, by=UserFactory())
        with at_most(5):
            assert Client().get(feed.get_absolute_url()).status_code == 200

    def test_nothing_new_is_answered_with_304_until_something_is(self) -> None:
        shop = paid(days=2)
        address = open_feed(user=shop.user, by=shop.user).get_absolute_url()
        etag = Client().get(address)["ETag"]
        again = Client().get(address, headers={"If-None-Match": etag})
        assert again.status_code == 304 and again.content == b"" and "private" in again["Cache-Control"]
        cancel_bookings(ids=[Booking.objects.order_by("period")[0].pk], by=shop.user)
        assert Client().get(address, headers={"If-None-Match": etag}).status_code == 200

    def test_another_one_replaces_it_and_none_is_left_after_withdrawing(self) -> None:
        shop = paid(days=1)
        first = open_feed(user=shop.user, by=shop.user)
        second = open_feed(user=shop.user, by=shop.user)
        assert first.key != second.key
        assert Client().get(first.get_absolute_url()).status_code == 404
        assert Client().get(second.get_absolute_url()).status_code == 200
        assert close_feed(user=shop.user, by=shop.user) and not close_feed(user=shop.user, by=shop.user)
        assert Client().get(second.get_absolute_url()).status_code == 404

    @pytest.mark.parametrize("change", ["signature", "number", "x", "é", "0" * 32])
    def test_a_forged_one_opens_nothing(self, change: str) -> None:
        feed = open_feed(user=paid(days=1).user, by=UserFactory())
        other = open_feed(user=UserFactory(), by=UserFactory())
        number, _dot, signature = feed.key.partition(".")
        key = {"signature": f"{number}.{signature[:-2]}AA", "number": f"{other.number.hex}.{signature}"}.get(
            change, change
        )
        assert Client().get(f"/agenda/{key}.ics").status_code == 404

    def test_the_table_alone_does_not_give_an_address(self, settings: object) -> None:
        feed = open_feed(user=UserFactory(), by=UserFactory())
        address = feed.get_absolute_url()
        settings.SECRET_KEY = "another-secret-key-of-somebody-who-holds-a-backup"  # type: ignore[attr-defined]
        assert feed.get_absolute_url() != address
        assert Client().get(address).status_code == 404

    def test_it_closes_with_the_account(self) -> None:
        user = paid(days=1).user
        address = open_feed(user=user, by=user).get_absolute_url()
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert Client().get(address).status_code == 404


class TestGuards:
    def test_one_address_at_a_time(self) -> None:
        user = UserFactory()
        open_feed(user=user, by=user)
        with pytest.raises(IntegrityError, match="one_feed_per_user"), transaction.atomic():
            CalendarFeed.objects.create(user=user)

    def test_a_withdrawn_one_does_not_come_back(self) -> None:
        user = UserFactory()
        open_feed(user=user, by=user)
        close_feed(user=user, by=user)
        guarded(
            "bookings.CalendarFeed:withdrawn_feed_stays_so",
            lambda: CalendarFeed.objects.update(revoked_at=None),
            "Cannot update",
            lambda: CalendarFeed.objects.filter(revoked_at=None).exists(),
        )

    def test_it_stays_its_owners(self) -> None:
        user, thief = UserFactory(), UserFactory()
        open_feed(user=user, by=user)
        guarded(
            "bookings.CalendarFeed:feed_is_frozen",
            lambda: CalendarFeed.objects.update(user=thief),
            "Cannot update",
            lambda: CalendarFeed.objects.filter(user=thief).exists(),
        )


class TestPage:
    def test_gives_changes_and_withdraws(self) -> None:
        client, user = Client(), UserFactory()
        client.force_login(user)
        page = "/mon-compte/reservations/agenda/"
        assert "Créer mon adresse d’agenda" in text(client.get(page)) and not CalendarFeed.objects.exists()
        first = client.post(page, {"do": "open"}, follow=True).context["address"]
        assert first.startswith(f"{settings.SITE_URL}/agenda/") and first.endswith(".ics")
        response = client.post(page, {"do": "renew"}, follow=True)
        assert response.context["address"] != first and "L’ancienne ne s’ouvre plus" in text(response)
        assert "L’adresse est retirée" in text(client.post(page, {"do": "withdraw"}, follow=True))
        assert CalendarFeed.objects.filter(revoked_at__lte=timezone.now()).count() == 2
