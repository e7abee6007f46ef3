"""Controllers: they open the doors they were given, and reach nothing else."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from bookings.tickets.control import Answer
from bookings.tickets.doors import appoint, dismiss, doors_of, opens_doors
from bookings.tickets.models import Controller, TicketUse
from portal.common.errors import Refused
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import ControllerFactory, EntriesFactory, SlotFactory, UserFactory, agent_of
from tests.tickets.kiosk import buy, controller, kiosk, scan

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class TestDoors:
    def test_of_a_whole_service_or_of_one_activity(self) -> None:
        one = EntriesFactory().activity
        two = EntriesFactory(activity__service=one.service).activity
        calendar, elsewhere = SlotFactory(activity__service=one.service).activity, EntriesFactory().activity
        whole = ControllerFactory(service=one.service).user
        single = ControllerFactory(service=one.service, activity=two).user
        assert set(doors_of(whole)) == {one, two} and set(doors_of(single)) == {two}
        assert set(doors_of(UserFactory())) == set()
        agent, operator = agent_of(elsewhere.service.commune), agent_of()  # type: ignore[arg-type]
        assert set(doors_of(agent)) == {elsewhere} and set(doors_of(operator)) == {one, two, elsewhere}
        ControllerFactory(user=agent, service=one.service, activity=one)  # staff of a commune may help at the pool
        assert set(doors_of(agent)) == {elsewhere, one}
        assert calendar not in doors_of(operator)

    def test_not_for_an_account_that_is_not_validated(self) -> None:
        ticket = buy(kiosk())
        person = ControllerFactory(service=ticket.activity.service, user__pending=True).user
        assert not opens_doors(person) and not doors_of(person)
        assert scan(ticket, person).answer == Answer.UNKNOWN

    def test_lets_in_there_and_nowhere_else(self) -> None:
        here, there = buy(kiosk()), buy(kiosk())
        person = ControllerFactory(service=here.activity.service).user
        assert scan(here, person).answer == Answer.ACCEPTED and TicketUse.objects.get().by == person
        assert scan(there, person).answer == Answer.UNKNOWN

    def test_over_http(self, at_most: MaxQueries) -> None:
        ticket, other = buy(kiosk()), buy(kiosk())
        client = signed_in(ControllerFactory(service=ticket.activity.service).user)
        with at_most(6):
            page = text(client.get(reverse("ticket_checks")))
        assert ticket.activity.name in page and other.activity.name not in page
        address = reverse("ticket_check", args=[ticket.activity_id])
        answer = client.post(address, {"code": ticket.code, "passage": uuid.uuid4()})
        assert "Accepté" in text(answer)
        assert client.get(reverse("ticket_check", args=[other.activity_id])).status_code == 404
        assert f'href="{reverse("ticket_checks")}"' in client.get("/").content.decode()
        assert client.get("/admin/").status_code == 404
        assert f'href="{reverse("ticket_checks")}"' not in signed_in(UserFactory()).get("/").content.decode()

    def test_dismissed_the_page_is_gone_at_once(self) -> None:
        ticket = buy(kiosk())
        door: Controller = ControllerFactory(service=ticket.activity.service)
        client = signed_in(door.user)
        assert client.get(reverse("ticket_checks")).status_code == 200
        dismiss(controller=door, by=controller(ticket))
        assert client.get(reverse("ticket_checks")).status_code == 404


class TestAppointing:
    def test_by_the_services_staff_alone(self) -> None:
        activity = EntriesFactory().activity
        wanted = Controller(user=UserFactory(), service=activity.service)
        stranger = agent_of(EntriesFactory().activity.service.commune)
        with pytest.raises(Refused, match="pas le vôtre"):
            appoint(controller=wanted, by=stranger)
        door = appoint(controller=wanted, by=agent_of(activity.service.commune))  # type: ignore[arg-type]
        with pytest.raises(Refused, match="pas le vôtre"):
            dismiss(controller=door, by=stranger)
        assert Controller.objects.get() == door

    def test_what_makes_no_sense_is_refused(self) -> None:
        calendar, entry = SlotFactory().activity, EntriesFactory().activity
        by = agent_of()
        for wanted, words in (
            (Controller(user=UserFactory(pending=True), service=entry.service), "pas encore validé"),
            (Controller(user=UserFactory(), service=calendar.service), "ne vend ni e-billet"),
            (
                Controller(user=UserFactory(), service=entry.service, activity=EntriesFactory().activity),
                "n’est pas un e-billet",
            ),
        ):
            with pytest.raises(Refused, match=words):
                appoint(controller=wanted, by=by)
        assert not Controller.objects.exists()
