"""At the door: accepted once, refused with the reason, counted down; without network nothing is lost, doubles are flagged."""

import datetime as dt
import uuid

import pgtrigger
import pytest
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone

from accounts.models import User
from bookings.tickets.control import Answer
from bookings.tickets.models import Ticket, TicketUse
from bookings.tickets.review import mark_seen
from checkout.actions import cancel_ticket
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import PARIS, hour, moment, today
from tests.factories import EntriesFactory, PassFactory, agent_of
from tests.tickets.kiosk import bikes, buy, controller, kiosk, scan, take

pytestmark = pytest.mark.django_db


def an_hour_ago() -> dt.datetime:
    return timezone.now() - dt.timedelta(hours=1)


def since_yesterday(ticket: Ticket) -> Ticket:
    """The same ticket, good since the day before: in the first hour of a day « an hour ago » was yesterday."""
    with pgtrigger.ignore("bookings.Ticket:ticket_is_frozen"):
        Ticket.objects.filter(pk=ticket.pk).update(
            valid=DateRange(ticket.first_day - dt.timedelta(days=1), ticket.valid.upper, "[)")
        )
    ticket.refresh_from_db()
    return ticket


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

    def test_a_pass_seen_again_at_once_is_accepted_and_said(self) -> None:
        ticket = buy(kiosk(PassFactory()))
        agent, name = controller(ticket), uuid.uuid4()
        assert scan(ticket, agent).caution == ""
        again = scan(ticket, agent, client_id=name)
        first = TicketUse.objects.earliest("at")
        assert again.answer == Answer.ACCEPTED
        assert again.caution == f"Déjà passé à {hour(first.at.astimezone(PARIS).time())}."
        assert scan(ticket, agent, client_id=name).caution == again.caution  # the same passage, sent again

    @pytest.mark.parametrize("minutes, said", [(29, True), (31, False), (-1, False)])
    def test_the_way_back_is_no_surprise(self, minutes: int, said: bool) -> None:
        ticket = since_yesterday(buy(kiosk(PassFactory())))
        agent = controller(ticket)
        scan(ticket, agent, offline_at=an_hour_ago())
        later = an_hour_ago() + dt.timedelta(minutes=minutes)
        assert bool(scan(ticket, agent, offline_at=later).caution) is said

    def test_a_family_passes_with_one_card(self) -> None:
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        agent = controller(ticket)
        assert [scan(ticket, agent).caution for _child in range(3)] == ["", "", ""]

    def test_an_entry_of_another_year_is_said_with_it(self) -> None:
        ticket = buy(kiosk())
        agent = controller(ticket)
        used = dt.datetime(today().year - 1, 11, 9, 21, 42, tzinfo=dt.UTC)
        TicketUse.objects.create(client_id=uuid.uuid4(), ticket=ticket, at=used, by=agent)
        assert f"novembre {used.year} à 22\u00a0h\u00a042." in scan(ticket, agent).sentence

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
        assert found.answer == Answer.REFUSED
        assert found.sentence == f"Ce billet est pour « {bike.activity} », pas pour « {pool.activity} »."

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
        ticket = since_yesterday(buy(kiosk()))
        at = an_hour_ago()
        found = scan(ticket, controller(ticket), offline_at=at, device="A3F2")
        assert found.answer == Answer.ACCEPTED
        use = TicketUse.objects.get()
        assert (use.at, use.offline, use.problem, use.device) == (at, True, "", "A3F2")

    def test_two_phones_one_ticket_both_are_kept_one_is_flagged(self) -> None:
        ticket = since_yesterday(buy(kiosk()))
        agent = controller(ticket)
        scan(ticket, agent, offline_at=an_hour_ago())
        assert scan(ticket, agent, offline_at=an_hour_ago()).answer == Answer.FLAGGED
        assert TicketUse.objects.count() == 2 and Ticket.objects.get().used == 1
        assert TicketUse.objects.to_check().get().problem == "used"
        assert list(verify()) == []

    def test_given_back_meanwhile_it_is_flagged(self) -> None:
        shop = kiosk()
        ticket = since_yesterday(buy(shop))
        cancel_ticket(ticket=ticket, by=shop.user)
        assert scan(ticket, controller(ticket), offline_at=an_hour_ago()).answer == Answer.FLAGGED
        assert TicketUse.objects.get().problem == "cancelled"

    def test_sent_again_it_is_one_and_says_the_same(self) -> None:
        ticket = since_yesterday(buy(kiosk()))
        agent, name = controller(ticket), uuid.uuid4()
        scan(ticket, agent)
        for _time in range(2):
            found = scan(ticket, agent, client_id=name, offline_at=an_hour_ago())
            assert found.answer == Answer.FLAGGED and found.sentence.startswith("Déjà utilisé le ")
        assert TicketUse.objects.count() == 2
        assert TicketUse.objects.to_check().get().why == found.sentence

    def test_the_reason_is_what_was_said_then(self) -> None:
        """A card that is used up twice over: each passage keeps its own « la dernière le … »."""
        ticket = since_yesterday(buy(kiosk(EntriesFactory(entries=10))))
        agent, name = controller(ticket), uuid.uuid4()
        for _entry in range(9):
            scan(ticket, agent, offline_at=an_hour_ago())
        scan(ticket, agent)
        said = scan(ticket, agent, client_id=name, offline_at=an_hour_ago()).sentence
        assert said == TicketUse.objects.to_check().get().reason
        assert said == scan(ticket, agent, client_id=name, offline_at=an_hour_ago()).sentence

    def test_one_flagged_before_reasons_were_kept_names_its_problem(self) -> None:
        use = TicketUse(problem=TicketUse.Problem.OVER)
        assert use.why == "Plus valable."

    @pytest.mark.parametrize("days", [-400, 400])
    def test_a_wrong_clock_is_kept_within_reason(self, days: int) -> None:
        ticket = since_yesterday(buy(kiosk()))
        scan(ticket, controller(ticket), offline_at=timezone.now() + dt.timedelta(days=days))
        use = TicketUse.objects.get()
        assert timezone.now() - dt.timedelta(days=15) < use.at <= timezone.now()


def test_what_is_counted_wrongly_is_told() -> None:
    ticket = buy(kiosk(EntriesFactory(entries=10)))
    with pgtrigger.ignore("bookings.Ticket:used_is_counted"):
        Ticket.objects.update(used=2)
    assert list(verify()) == [f"E-billet {ticket.typed_code} ({ticket.activity}) : 2 entrées comptées, 0 passages."]


class TestSeen:
    """Flagged passages, looked at by staff."""

    def flagged(self, ticket: Ticket, agent: User) -> TicketUse:
        if not ticket.uses.exists():
            scan(ticket, agent)
        name = uuid.uuid4()
        scan(ticket, agent, client_id=name, offline_at=an_hour_ago())
        return TicketUse.objects.get(client_id=name)

    def test_who_when_and_what_came_of_it(self) -> None:
        ticket = since_yesterday(buy(kiosk()))
        agent = controller(ticket)
        use = self.flagged(ticket, agent)
        assert mark_seen(ids=[use.pk], note="  Vu avec\nla famille ", by=agent) == 1
        assert not TicketUse.objects.to_check().exists() and TicketUse.objects.checked().get() == use
        review = TicketUse.objects.get(pk=use.pk).review
        assert (review.note, review.by) == ("Vu avec la famille", agent) and review.at <= timezone.now()

    def test_once_and_the_first_word_stays(self) -> None:
        ticket = since_yesterday(buy(kiosk()))
        agent = controller(ticket)
        first, second = self.flagged(ticket, agent), self.flagged(ticket, agent)
        mark_seen(ids=[first.pk], note="Vu", by=agent)
        with pytest.raises(Refused, match="déjà été vus"):
            mark_seen(ids=[first.pk], note="Encore", by=agent)
        assert mark_seen(ids=[first.pk, second.pk], note="Le reste", by=agent) == 1
        assert TicketUse.objects.get(pk=first.pk).review.note == "Vu"

    def test_only_what_is_to_be_checked_with_a_note_by_its_staff(self) -> None:
        ticket = since_yesterday(buy(kiosk()))
        agent = controller(ticket)
        use = self.flagged(ticket, agent)
        fine = TicketUse.objects.get(problem="")
        for ids, note, by in (
            ([use.pk], "  ", agent),
            ([fine.pk], "Vu", agent),
            ([use.pk], "Vu", controller(buy(kiosk()))),
            ([], "Vu", agent),
        ):
            with pytest.raises(Refused):
                mark_seen(ids=ids, note=note, by=by)
        assert TicketUse.objects.to_check().get() == use
