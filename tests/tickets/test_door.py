"""The door over HTTP: a code typed without JavaScript, the list a phone takes along, and what it sends back."""

import hashlib
import json
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bookings.tickets import codes
from bookings.tickets.models import Ticket, TicketUse
from checkout.actions import cancel_ticket
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import EntriesFactory, PassFactory, agent_of
from tests.shop import family
from tests.tickets.kiosk import buy, controller, kiosk, take

pytestmark = pytest.mark.django_db


def at_the_door(ticket: Ticket) -> Client:
    client = Client()
    client.force_login(controller(ticket))
    return client


def page(ticket: Ticket, name: str = "ticket_check") -> str:
    return reverse(name, args=[ticket.activity_id])


def post(client: Client, ticket: Ticket, *passages: dict[str, Any]) -> Any:
    body = json.dumps({"passages": list(passages)})
    return client.post(page(ticket, "ticket_passages"), body, content_type="application/json")


class TestTyped:
    def test_accepted_then_refused_with_the_hour(self) -> None:
        ticket = buy(kiosk())
        client = at_the_door(ticket)
        assert ticket.activity.name in text(client.get("/agents/billets/"))
        form = client.get(page(ticket)).context["form"]
        sent = {"code": ticket.typed_code.lower(), "passage": form.initial["passage"]}
        assert "Accepté" in text(client.post(page(ticket), sent))
        # The browser's « Actualiser » sends the same page again: it is the same passage.
        assert "Accepté" in text(client.post(page(ticket), sent))
        again = text(client.post(page(ticket), {**sent, "passage": uuid.uuid4()}))
        assert "Refusé" in again and "Déjà utilisé le " in again and str(ticket.beneficiary) in again
        assert TicketUse.objects.count() == 1

    @pytest.mark.parametrize("code", ["", "²", "A" * 400, "'; DROP TABLE", "V1.é"])
    def test_what_is_no_code_is_said(self, code: str) -> None:
        ticket = buy(kiosk())
        answer = at_the_door(ticket).post(page(ticket), {"code": code, "passage": uuid.uuid4()})
        assert answer.status_code in (200, 422)
        assert any(words in text(answer) for words in ("Écrivez le code", "Inconnu", "caractères"))

    def test_a_missing_passage_is_asked_anew(self) -> None:
        ticket = buy(kiosk())
        assert at_the_door(ticket).post(page(ticket), {"code": ticket.code}).status_code == 422
        assert not TicketUse.objects.exists()

    def test_get_counts_nothing(self) -> None:
        ticket = buy(kiosk())
        at_the_door(ticket).get(page(ticket), {"code": ticket.code, "passage": uuid.uuid4()})
        assert not TicketUse.objects.exists()

    def test_another_communes_door_is_not_there(self) -> None:
        ticket, other = buy(kiosk()), buy(kiosk())
        client = at_the_door(other)
        for name in ("ticket_check", "ticket_checklist"):
            assert client.get(page(ticket, name)).status_code == 404
        assert post(client, ticket, {"id": str(uuid.uuid4()), "text": ticket.code}).status_code == 404
        typed = client.post(page(other), {"code": ticket.code, "passage": uuid.uuid4()})
        assert "Inconnu" in text(typed) and str(ticket.beneficiary) not in text(typed)

    def test_a_calendar_has_no_door(self) -> None:
        from tests.shop import open_shop

        shop = open_shop(days=1)
        client = Client()
        client.force_login(agent_of())
        assert client.get(reverse("ticket_check", args=[shop.activity.pk])).status_code == 404


class TestList:
    def test_hashes_first_names_and_what_is_left(self) -> None:
        shop = kiosk(EntriesFactory(entries=10))
        good, back = buy(shop), buy(shop)
        cancel_ticket(ticket=back, by=shop.user)
        take(family(shop.tariff))  # in a cart: nobody's yet
        client = at_the_door(good)
        post(client, good, {"id": str(uuid.uuid4()), "text": good.code})
        answer = client.get(page(good, "ticket_checklist"))
        listed = answer.json()["tickets"]
        assert set(listed) == {hashlib.sha256(row.code.encode()).hexdigest() for row in (good, back)}
        entry = listed[hashlib.sha256(good.code.encode()).hexdigest()]
        assert (entry["entries"], entry["used"], entry["cancelled"]) == (10, 1, None)
        assert entry["who"] == f"{good.beneficiary.first_name} {good.beneficiary.last_name[0]}."
        assert good.code not in answer.content.decode() and answer.json()["key"] == codes.public_key()
        assert "no-store" in answer["Cache-Control"]

    def test_it_costs_the_same_with_thirty(self, at_most: MaxQueries) -> None:
        shop = kiosk(children=6, credit="400")
        take(shop, quantity=5)
        shop.pay("wallet", "165.00")  # type: ignore[arg-type]
        ticket = Ticket.objects.select_related("activity__service").latest("pk")
        client = at_the_door(ticket)
        client.get("/")
        with at_most(6):
            assert len(client.get(page(ticket, "ticket_checklist")).json()["tickets"]) == 30


class TestSentLater:
    def test_two_phones_one_entry_one_is_flagged(self) -> None:
        ticket = buy(kiosk())
        client = at_the_door(ticket)
        at = timezone.now().isoformat()
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        one = post(client, ticket, {"id": first, "text": ticket.code, "device": "A1", "at": at}).json()["results"]
        two = post(client, ticket, {"id": second, "text": ticket.code, "device": "B2", "at": at}).json()["results"]
        assert (one[first]["answer"], two[second]["answer"]) == ("accepted", "flagged")
        again = post(client, ticket, {"id": first, "text": ticket.code, "device": "A1", "at": at}).json()["results"]
        assert again[first]["answer"] == "accepted" and TicketUse.objects.count() == 2
        operator = Client()
        operator.force_login(agent_of())
        assert "Passage sans réseau à vérifier" in text(operator.get("/admin/"))
        listed = text(operator.get("/admin/bookings/ticketuse/?etat=a-verifier"))
        assert ticket.typed_code in listed and "Déjà utilisé" in listed

    def test_the_phone_is_told_why_however_often_it_sends(self) -> None:
        ticket = buy(kiosk())
        client, name = at_the_door(ticket), str(uuid.uuid4())
        post(client, ticket, {"id": str(uuid.uuid4()), "text": ticket.code})
        for _time in range(2):
            sent = {"id": name, "text": ticket.code, "at": timezone.now().isoformat()}
            told = post(client, ticket, sent).json()["results"][name]
            assert told["answer"] == "flagged" and told["sentence"].startswith("Déjà utilisé le ")

    def test_an_answer_brings_what_the_phone_goes_on_with(self) -> None:
        """The same facts as the list's: a ticket let in with the network is refused a moment later without it."""
        ticket = buy(kiosk(EntriesFactory(entries=10)))
        client, name = at_the_door(ticket), str(uuid.uuid4())
        facts = post(client, ticket, {"id": name, "text": ticket.code}).json()["results"][name]["facts"]
        (listed,) = client.get(page(ticket, "ticket_checklist")).json()["tickets"].values()
        assert facts == listed and facts["used"] == 1
        assert facts["last"] == TicketUse.objects.get().at.isoformat()

    def test_of_another_doors_ticket_nothing_is_kept(self) -> None:
        ticket = buy(kiosk())
        other = buy(kiosk(EntriesFactory(activity__service=ticket.activity.service)))
        name = str(uuid.uuid4())
        told = post(at_the_door(ticket), ticket, {"id": name, "text": other.code}).json()["results"][name]
        assert told["answer"] == "refused" and told["facts"] is None

    def test_a_signed_code_is_read(self) -> None:
        ticket = buy(kiosk(PassFactory()))
        name = str(uuid.uuid4())
        sent = post(at_the_door(ticket), ticket, {"id": name, "text": codes.payload(ticket)})
        assert sent.json()["results"][name]["answer"] == "accepted"

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "[]",
            '{"passages": 3}',
            '{"passages": [{}]}',
            '{"passages": [{"id": "x", "text": "y"}]}',
            '{"passages": [{"id": "7f0f9a52-9f5f-4c57-8a3f-0a2f6d9b1c11", "text": "y", "at": "hier"}]}',
            '{"passages": [{"id": "7f0f9a52-9f5f-4c57-8a3f-0a2f6d9b1c11", "text": "y", "at": "2026-01-01T00:00"}]}',
            '{"passages": [{"id": "7f0f9a52-9f5f-4c57-8a3f-0a2f6d9b1c11", "text": "y", "at": 12}]}',
        ],
    )
    def test_what_cannot_be_read_is_400(self, body: str) -> None:
        ticket = buy(kiosk())
        answer = at_the_door(ticket).post(page(ticket, "ticket_passages"), body, content_type="application/json")
        assert answer.status_code == 400 and not TicketUse.objects.exists()

    def test_another_site_cannot_send(self) -> None:
        ticket = buy(kiosk())
        client = Client(enforce_csrf_checks=True)
        client.force_login(controller(ticket))
        assert post(client, ticket, {"id": str(uuid.uuid4()), "text": ticket.code}).status_code == 403


def test_the_workers_are_scripts_below_their_pages() -> None:
    ticket = buy(kiosk())
    client = at_the_door(ticket)
    for address in ("/agents/billets/hors-ligne.js", "/mon-compte/e-billets/hors-ligne.js"):
        answer = client.get(address)
        assert answer["Content-Type"].startswith("text/javascript") and b"addEventListener" in answer.content
