"""Races for the last bike and the last entry: with the guards off each shows its fault; with them on, neither is sold twice."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connection

from bookings.tickets import actions as tickets
from bookings.tickets import control
from bookings.tickets.control import Answer, Result
from bookings.tickets.models import Ticket, TicketUse
from checkout.verification import verify
from tests.concurrency.conftest import race
from tests.concurrency.test_races import codes
from tests.factories import EntriesFactory
from tests.shop import family
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take

pytestmark = pytest.mark.django_db(transaction=True)
Without = Callable[[str, str], AbstractContextManager[None]]
Meet = Callable[[Any, str, int], None]


class TestBikes:
    def test_twenty_families_for_five_bikes_rent_exactly_five(self) -> None:
        first = bikes(5)
        families = [first] + [family(first.tariff, credit="100") for _other in range(19)]
        outcomes = race([lambda shop=shop: buy(shop) for shop in families])
        assert codes(outcomes) == {"Ticket": 5, "full": 15}
        assert sorted(Ticket.objects.booked().values_list("unit", flat=True)) == [1, 2, 3, 4, 5]
        assert list(verify()) == []

    def test_with_the_guards_off_one_bike_has_two_renters(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        first = bikes(1)
        second = family(first.tariff)
        meet(tickets, "_give_units", 2)
        with without_constraint("bookings_ticket", "one_unit_one_renter"):
            race([lambda: take(first), lambda: take(second)])
            assert list(Ticket.objects.live().values_list("unit", flat=True)) == [1, 1]

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        first = bikes(1)
        second = family(first.tariff)
        meet(tickets, "_give_units", 2)
        outcomes = codes(race([lambda: take(first), lambda: take(second)]))
        assert outcomes == {"tuple": 1, "one_unit_one_renter": 1}
        assert Ticket.objects.live().count() == 1


class TestEntries:
    def doors(self, ticket: Ticket, count: int, **options: Any) -> list[Result]:
        agent = controller(ticket)
        return race([lambda: scan(ticket, agent, **options) for _door in range(count)])

    def test_eight_doors_let_one_in(self) -> None:
        ticket = buy(kiosk())
        answers = sorted(result.answer for result in self.doors(ticket, 8))
        assert answers == [Answer.ACCEPTED] + [Answer.REFUSED] * 7
        assert Ticket.objects.get().used == 1 == TicketUse.objects.count()

    def test_a_card_of_ten_lets_ten_in(self) -> None:
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        answers = [result.answer for result in self.doors(ticket, 12)]
        assert answers.count(Answer.ACCEPTED) == 10 and answers.count(Answer.REFUSED) == 2

    def test_one_passage_sent_by_eight_threads_is_one(self) -> None:
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        results = self.doors(ticket, 8, client_id=uuid.uuid4())
        assert {result.answer for result in results} == {Answer.ACCEPTED}
        assert Ticket.objects.get().used == 1

    def test_with_the_guards_off_two_come_in_with_one_entry(
        self, no_locks: None, without_constraint: Without, meet: Meet
    ) -> None:
        ticket = buy(kiosk())
        meet(control, "_problem", 2)
        with without_constraint("bookings_ticket", "entries_are_not_overused"):
            self.doors(ticket, 2)
            assert Ticket.objects.get().used == 2
            with connection.cursor() as cursor:  # the constraint comes back NOT VALID over what was shown
                cursor.execute("SELECT count(*) FROM bookings_ticketuse")
                assert cursor.fetchone() == (2,)

    def test_with_the_lock_alone_off_the_database_refuses(self, no_locks: None, meet: Meet) -> None:
        ticket = buy(kiosk())
        meet(control, "_problem", 2)
        outcomes = codes(self.doors(ticket, 2))
        assert outcomes == {"Result": 1, "IntegrityError": 1}
        assert Ticket.objects.get().used == 1
