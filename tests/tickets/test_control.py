"""At the door: accepted once, refused with the reason, counted down; without network nothing is lost, doubles are flagged."""

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from bookings.tickets.control import Answer
from bookings.tickets.models import Ticket, TicketUse
from checkout.actions import cancel_ticket
from checkout.verification import verify
from portal.common.formats import moment, today
from tests.factories import EntriesFactory, PassFactory, agent_of
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take

pytestmark = pytest.mark.django_db


def an_hour_ago() -> dt.datetime:
    return timezone.now() - dt.timedelta(hours=1)


class TestOnline:
    def test_accepted_once_then_says_when(self) -> None:
        ticket = buy(kiosk())
        agent = controller(ticket)
        assert scan(ticket, agent).sentence == "Accepté."
        again = scan(ticket, agent)
        assert again.answer == Answer.REFUSED
        assert again.sentence == f"Déjà utilisé le {moment(TicketUse.objects.get().at)}."
        assert Ticket.objects.get().used == 1 and TicketUse.objects.count() == 1

    def test_ten_entries_and_no_eleventh(self) -> None:
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        agent = controller(ticket)
        told = [scan(ticket, agent).sentence for _entry in range(10)]
        assert told[0] == "Accepté : il reste 9 entrées." and told[8] == "Accepté : il reste 1 entrée."
        assert told[9] == "Accepté : c’était la dernière entrée."
        assert scan(ticket, agent).sentence.startswith("Déjà utilisé : les 10 entrées sont prises, la dernière le ")
        assert list(verify()) == []

    def test_a_pass_every_day(self) -> None:
        ticket = buy(kiosk(PassFactory()))
        agent = controller(ticket)
        assert {scan(ticket, agent).answer for _ride in range(3)} == {Answer.ACCEPTED}
        assert Ticket.objects.get().used == 3

    def test_the_same_passage_twice_is_one(self) -> None:
        """A double click, a page sent again, an answer that got lost."""
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        agent, name = controller(ticket), uuid.uuid4()
        answers = [scan(ticket, agent, client_id=name) for _time in range(3)]
        assert {answer.answer for answer in answers} == {Answer.ACCEPTED} and {answer.left for answer in answers} == {9}
        assert TicketUse.objects.count() == 1

    def test_one_name_for_two_tickets_counts_nothing(self) -> None:
        shop = kiosk()
        first, second = buy(shop), buy(shop)
        agent, name = controller(first), uuid.uuid4()
        scan(first, agent, client_id=name)
        assert scan(second, agent, client_id=name).answer == Answer.UNKNOWN
        assert TicketUse.objects.count() == 1

    def test_before_and_after(self) -> None:
        ticket = buy(kiosk(PassFactory()), first_day=today() + dt.timedelta(days=3))
        assert "qu’à partir du" in scan(ticket, controller(ticket)).sentence
        assert not TicketUse.objects.exists()

    def test_given_back_it_is_worth_nothing(self) -> None:
        shop = kiosk()
        ticket = buy(shop)
        cancel_ticket(ticket=ticket, by=shop.user)
        assert scan(ticket, controller(ticket)).sentence.startswith("Ce billet a été annulé le ")

    def test_for_another_door(self) -> None:
        pool, bike = buy(kiosk()), buy(bikes(1))
        bike.activity.service.commune = pool.activity.service.commune
        bike.activity.service.save()
        from bookings.tickets.control import Passage, let_in

        passage = Passage(text=bike.code, client_id=uuid.uuid4())
        found = let_in(activity=pool.activity, passage=passage, by=controller(pool))
        assert found.answer == Answer.REFUSED and found.sentence == f"Ce billet est pour « {bike.activity} »."

    def test_an_unpaid_or_strange_code_is_unknown(self) -> None:
        shop = kiosk()
        take(shop)
        held = Ticket.objects.get()
        assert scan(held, controller(held)).answer == Answer.UNKNOWN
        assert scan(held, controller(held), text="n’importe quoi").answer == Answer.UNKNOWN
        paid = buy(kiosk())
        assert scan(paid, agent_of(shop.activity.service.commune)).answer == Answer.UNKNOWN  # type: ignore[arg-type]


class TestWithoutNetwork:
    def test_kept_with_its_hour(self) -> None:
        ticket = buy(kiosk())
        at = an_hour_ago()
        found = scan(ticket, controller(ticket), offline_at=at, device="A3F2")
        assert found.answer == Answer.ACCEPTED
        use = TicketUse.objects.get()
        assert (use.at, use.offline, use.problem, use.device) == (at, True, "", "A3F2")

    def test_two_phones_one_ticket_both_are_kept_one_is_flagged(self) -> None:
        ticket = buy(kiosk())
        agent = controller(ticket)
        scan(ticket, agent, offline_at=an_hour_ago())
        assert scan(ticket, agent, offline_at=an_hour_ago()).answer == Answer.FLAGGED
        assert TicketUse.objects.count() == 2 and Ticket.objects.get().used == 1
        assert TicketUse.objects.to_check().get().problem == "used"
        assert list(verify()) == []

    def test_given_back_meanwhile_it_is_flagged(self) -> None:
        shop = kiosk()
        ticket = buy(shop)
        cancel_ticket(ticket=ticket, by=shop.user)
        assert scan(ticket, controller(ticket), offline_at=an_hour_ago()).answer == Answer.FLAGGED
        assert TicketUse.objects.get().problem == "cancelled"

    def test_sent_again_it_is_one_and_says_the_same(self) -> None:
        ticket = buy(kiosk())
        agent, name = controller(ticket), uuid.uuid4()
        scan(ticket, agent)
        for _time in range(2):
            assert scan(ticket, agent, client_id=name, offline_at=an_hour_ago()).answer == Answer.FLAGGED
        assert TicketUse.objects.count() == 2

    @pytest.mark.parametrize("days", [-400, 400])
    def test_a_wrong_clock_is_kept_within_reason(self, days: int) -> None:
        ticket = buy(kiosk())
        scan(ticket, controller(ticket), offline_at=timezone.now() + dt.timedelta(days=days))
        use = TicketUse.objects.get()
        assert timezone.now() - dt.timedelta(days=15) < use.at <= timezone.now()


def test_what_is_counted_wrongly_is_told() -> None:
    import pgtrigger

    ticket = buy(kiosk(EntriesFactory(entries=10)))
    with pgtrigger.ignore("bookings.Ticket:used_is_counted"):
        Ticket.objects.update(used=2)
    assert list(verify()) == [f"E-billet {ticket.typed_code} ({ticket.activity}) : 2 entrées comptées, 0 passages."]
