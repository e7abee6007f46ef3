"""Waiting lists for staff: the day's order, a move with its reason, and nothing of another commune's."""

from typing import Any

import pytest

from accounts.models import User
from bookings.waiting.actions import rule
from bookings.waiting.models import WaitingListEntry
from services.models import Activity
from tests.admin.test_catalogue import edit, errors, saved
from tests.admin.world import Town, client_of, texts, url, waiting
from tests.factories import FiliationFactory

pytestmark = pytest.mark.django_db
LABEL = "bookings.waitinglistentry"


@pytest.fixture
def listed(rosieres: Town) -> list[WaitingListEntry]:
    """Three who wait for one day."""
    others = [waiting(rosieres, FiliationFactory(user=rosieres.parent).beneficiary) for _other in range(2)]
    return [rosieres.rows[LABEL], *others]


def order(entry: WaitingListEntry) -> list[int]:
    return [row.pk for row in WaitingListEntry.objects.waiting().on_days([entry.open_day_id]).in_order()]


def test_the_list_stands_in_its_order_with_ranks(rosieres: Town, listed: list[WaitingListEntry]) -> None:
    page = client_of(rosieres.agent).get(url(LABEL, "changelist"))
    assert [(row.pk, row.position) for row in page.context["cl"].result_list] == [
        (row.pk, index) for index, row in enumerate(listed, start=1)
    ]


def test_what_is_over_is_shown_when_asked_for(rosieres: Town, listed: list[WaitingListEntry]) -> None:
    listed[0].status, listed[0].ended_at = "left", listed[0].created_at
    listed[0].save()
    client = client_of(rosieres.agent)
    for query, count in (("", 2), ("?statut=left", 1), ("?statut=tous", 3), ("?statut=x", 2)):
        assert len(client.get(url(LABEL, "changelist") + query).context["cl"].result_list) == count


def test_an_agent_moves_somebody_with_a_reason_that_the_history_keeps(
    rosieres: Town, listed: list[WaitingListEntry]
) -> None:
    client = client_of(rosieres.agent)
    last = listed[2]
    address = url(LABEL, "move", last.pk)
    assert address in client.get(url(LABEL, "change", last.pk)).content.decode()
    assert client.get(address).status_code == 200 and order(last) == [row.pk for row in listed]
    done = client.post(address, {"position": "1", "reason": "Situation d’urgence"}, follow=True)
    assert texts(done) == [f"{last.beneficiary} est maintenant au rang 1."]
    client.post(address, {"position": "2", "reason": "Erreur de saisie"})
    assert order(last) == [listed[0].pk, last.pk, listed[1].pk]
    told = [(line.who, line.what[0]) for line in client.get(url(LABEL, "history", last.pk)).context["history"]]
    assert told == [
        (str(rosieres.agent), "Rang changé\xa0: Erreur de saisie"),
        (str(rosieres.agent), "Rang changé\xa0: Situation d’urgence"),
        (str(rosieres.parent), "Inscription sur la liste d’attente."),
    ]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"position": "1", "reason": " "}, "Écrivez le motif"),
        ({"position": "9", "reason": "x"}, "Ce rang n’existe pas"),
        ({"position": "x", "reason": "x"}, "Ce rang n’existe pas"),
        ({"position": "3", "reason": "x"}, "C’est déjà son rang"),
    ],
)
def test_what_is_refused_is_said(
    rosieres: Town, listed: list[WaitingListEntry], values: dict[str, str], words: str
) -> None:
    page = client_of(rosieres.agent).post(url(LABEL, "move", listed[2].pk), values)
    assert page.status_code == 200 and words in page.content.decode()
    assert order(listed[2]) == [row.pk for row in listed]


def test_who_no_longer_waits_is_not_moved(rosieres: Town, listed: list[WaitingListEntry]) -> None:
    listed[1].status, listed[1].ended_at = "left", listed[1].created_at
    listed[1].save()
    page = client_of(rosieres.agent).post(
        url(LABEL, "move", listed[1].pk), {"position": "1", "reason": "x"}, follow=True
    )
    assert texts(page) == ["Cette personne n’attend plus\xa0: la liste n’a pas changé."]


def test_another_communes_list_is_not_there(
    rosieres: Town, aiguilhe: Town, operator: User, listed: list[WaitingListEntry]
) -> None:
    address = url(LABEL, "move", listed[2].pk)
    client = client_of(aiguilhe.agent)
    for ask in (client.get, client.post):
        assert ask(address, {"position": "1", "reason": "x"}).status_code == 404
    assert client_of(rosieres.parent).get(address).status_code == 404
    assert client_of(None).get(address).status_code == 302
    assert client_of(operator).get(address).status_code == 200
    assert order(listed[2]) == [row.pk for row in listed]


@pytest.mark.parametrize("chosen", ["", "resident", "sibling,resident"])
def test_an_activity_states_its_order(rosieres: Town, chosen: str) -> None:
    activity = rosieres.rows["services.activity"]
    client = client_of(rosieres.agent)
    saved(edit(client, "services.activity", activity, waiting_order=chosen, offer_hours="12"))
    activity = Activity.objects.get(pk=activity.pk)
    assert (activity.waiting_order, activity.offer_hours) == (chosen.split(",") if chosen else [], 12)
    again: Any = client.get(url("services.activity", "change", activity.pk)).context["adminform"].form
    assert again["waiting_order"].value() == chosen and rule(activity)


def test_an_offer_lasts_an_hour_at_least(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    assert "1" in errors(edit(client, "services.activity", rosieres.rows["services.activity"], offer_hours="0"))
