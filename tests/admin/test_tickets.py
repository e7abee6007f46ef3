"""Tickets in the administration: made by a mairie for its own services, each kind asked for what it needs; then looked up."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from bookings.tickets.models import Controller, Ticket, TicketUse, TicketUseReview
from services.models import Activity, BusLine
from tests.admin.test_catalogue import edit, errors, saved
from tests.admin.world import Town, client_of, form_values, url
from tests.checkout.http import text
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def values(town: Town, kind: str, **more: Any) -> dict[str, Any]:
    """What a browser sends for a new activity of a kind, its periods left empty."""
    blank = form_values(client_of(town.agent).get(url("services.activity", "add")))
    return blank | {
        "service": str(town.rows["services.service"].pk),
        "kind": kind,
        "name": "Piscine d’été",
        "slug": "piscine-d-ete",
        "periods-TOTAL_FORMS": "0",
        "slots-TOTAL_FORMS": "0",
        **more,
    }


def test_a_mairie_sells_entries_of_its_own_pool(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    formula = {
        "slots-TOTAL_FORMS": "1",
        "slots-0-name": "Carte 10 entrées",
        "slots-0-entries": "10",
        "slots-0-validity": "24",
        "slots-0-validity_unit": "month",
        "slots-0-position": "0",
        "slots-0-is_active": "on",
    }
    sent = values(rosieres, "ticket", **formula)
    assert "en stock" in errors(client.post(url("services.activity", "add"), {**sent, "capacity": "4"}, follow=True))
    saved(client.post(url("services.activity", "add"), {**sent, "capacity": ""}, follow=True))
    activity = Activity.objects.get(slug="piscine-d-ete")
    assert (activity.kind, activity.capacity, activity.slots.get().entries) == ("ticket", None, 10)
    page = client.get(url("services.activity", "change", activity.pk))
    assert "Voir les e-billets vendus" in text(page) and "Générer les jours ouverts" not in text(page)
    edit(client, "services.activity", activity, kind="calendar", refund_days="3")
    activity.refresh_from_db()
    assert (activity.kind, activity.refund_days) == ("ticket", 3)


@pytest.mark.parametrize(
    "kind, formula, words",
    [
        ("calendar", {}, "combien de places"),
        ("pass", {"entries": "", "validity": ""}, "durée de validité"),
        ("pass", {"entries": "", "validity": "0", "validity_unit": "month"}, "durée de validité"),
    ],
)
def test_each_kind_is_asked_for_what_it_needs(rosieres: Town, kind: str, formula: dict[str, str], words: str) -> None:
    one = {"slots-TOTAL_FORMS": "1", "slots-0-name": "Un", "slots-0-position": "0", "slots-0-is_active": "on"}
    named = one | {f"slots-0-{name}": value for name, value in formula.items()} if formula else {}
    sent = values(rosieres, kind, capacity="", **named)
    assert words in errors(client_of(rosieres.agent).post(url("services.activity", "add"), sent, follow=True))
    assert not Activity.objects.filter(slug="piscine-d-ete").exists()


def test_a_line_and_its_stops(rosieres: Town) -> None:
    line: BusLine = rosieres.rows["services.busline"]
    client = client_of(rosieres.agent)
    again = {**form_values(client.get(url("services.busline", "add"))), "activity": str(line.activity_id)}
    again |= {"name": line.name, "stops-TOTAL_FORMS": "0"}
    assert "déjà une ligne" in errors(client.post(url("services.busline", "add"), again, follow=True))
    saved(client.post(url("services.busline", "add"), {**again, "name": "Ligne 27"}, follow=True))


def test_a_ticket_tells_its_life(rosieres: Town, operator: User) -> None:
    ticket: Ticket = rosieres.rows["bookings.ticket"]
    page = text(client_of(rosieres.agent).get(url("bookings.ticket", "history", ticket.pk)))
    assert "Mis au panier." in page and "Payé." in page and "Passage accepté." in page
    for who in (rosieres.agent, operator):
        found = client_of(who).get(url("bookings.ticket", "changelist"), {"q": ticket.code})
        assert list(found.context["cl"].result_list) == [ticket]


class TestSeen:
    """Passages to be checked: on the home page until somebody has looked, from the list and from the page."""

    def flagged(self, town: Town) -> TicketUse:
        ticket: Ticket = town.rows["bookings.ticket"]
        return TicketUse.objects.create(
            client_id=uuid.uuid4(),
            ticket=ticket,
            at=timezone.now() - dt.timedelta(days=40),
            by=town.agent,
            offline=True,
            problem="over",
            reason="Ce billet n’est plus valable depuis le lundi 1er juin.",
        )

    def test_from_the_page(self, rosieres: Town, aiguilhe: Town) -> None:
        use = self.flagged(rosieres)
        client = client_of(rosieres.agent)
        assert "Passage sans réseau à vérifier" in text(client.get("/admin/"))
        page = client.get(url("bookings.ticketuse", "change", use.pk))
        assert use.reason in text(page) and "Marquer comme vu…" in text(page)
        address = url("bookings.ticketuse", "see", use.pk)
        assert use.reason in text(client.get(address)) and not TicketUseReview.objects.exists()
        assert "Écrivez ce qui a été fait" in text(client.post(address, {"confirm": "1", "note": " "}))
        for stranger in (client_of(aiguilhe.agent), client_of(UserFactory())):
            assert stranger.post(address, {"confirm": "1", "note": "Vu"}).status_code == 404
        done = client.post(address, {"confirm": "1", "note": "Réglé à l’accueil"}, follow=True)
        assert "1 passage marqué comme vu." in text(done) and "Réglé à l’accueil" in text(done)
        assert str(rosieres.agent) in text(done) and "Marquer comme vu…" not in text(done)
        assert "Vu : Réglé à l’accueil" in text(client.get(url("bookings.ticketuse", "history", use.pk)))
        home = text(client.get("/admin/"))
        assert "Passages sans réseau à vérifier" in home  # among what is done
        assert "déjà été vus" in text(client.post(address, {"confirm": "1", "note": "Encore"}, follow=True))

    def test_several_from_the_list(self, rosieres: Town, aiguilhe: Town) -> None:
        uses = [self.flagged(rosieres), self.flagged(rosieres), self.flagged(aiguilhe)]
        client = client_of(rosieres.agent)
        address = url("bookings.ticketuse", "changelist")
        sent: dict[str, Any] = {"action": "see_selected", "_selected_action": [use.pk for use in uses]}
        asked = text(client.post(address, sent))
        assert asked.count("Ce billet n’est plus valable") == 2 and not TicketUseReview.objects.exists()
        done = client.post(address, {**sent, "confirm": "1", "note": "Vu"}, follow=True)
        assert "2 passages marqués comme vus." in text(done)
        assert list(TicketUse.objects.to_check()) == [uses[2]]
        again = client.post(address, {**sent, "confirm": "1", "note": "Vu"}, follow=True)
        assert "Aucun de ces passages n’est à vérifier." in text(again)
        for state, count in (("a-verifier", 0), ("vus", 2)):
            assert len(client.get(address, {"etat": state}).context["cl"].result_list) == count


def test_a_passage_is_named_by_its_hour_in_paris(rosieres: Town) -> None:
    use: TicketUse = rosieres.rows["bookings.ticketuse"]
    use.at = dt.datetime(2026, 11, 21, 21, 45, tzinfo=dt.UTC)
    assert str(use).endswith("(21/11/2026 22:45)")


def test_a_controller_is_appointed_and_dismissed(rosieres: Town, aiguilhe: Town) -> None:
    client = client_of(rosieres.agent)
    service, activity = rosieres.rows["services.service"], rosieres.rows["bookings.ticket"].activity
    person = UserFactory(commune=rosieres.commune)
    add = url("bookings.controller", "add")
    sent = {**form_values(client.get(add)), "user": str(person.pk), "service": str(service.pk)}
    foreign = {**sent, "service": str(aiguilhe.rows["services.service"].pk)}
    assert "choix" in errors(client.post(add, foreign, follow=True)).lower()
    calendar = {**sent, "activity": str(rosieres.rows["services.activity"].pk)}
    assert "choix" in errors(client.post(add, calendar, follow=True)).lower()
    saved(client.post(add, {**sent, "activity": str(activity.pk)}, follow=True))
    assert "contrôle déjà" in errors(client.post(add, {**sent, "activity": str(activity.pk)}, follow=True))
    door = Controller.objects.get(user=person)
    assert "Aiguilhe" not in client.get(add).content.decode()
    client.post(url("bookings.controller", "delete", door.pk), {"post": "yes"})
    assert not Controller.objects.filter(user=person).exists()
