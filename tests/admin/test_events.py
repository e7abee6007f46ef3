"""Messages of providers that nobody could read: operators look at them, and say what came of it."""

import datetime as dt
import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from checkout.actions.events import mark_seen
from checkout.models import ProviderEvent
from portal.common.errors import Refused
from tests.admin.world import client_of
from tests.checkout.http import text
from tests.factories import CommuneFactory, agent_of
from tests.guards import off

pytestmark = pytest.mark.django_db
LIST = "/admin/checkout/providerevent/"


@pytest.fixture
def operator() -> User:
    return agent_of()


def unread(raw: str = "x") -> ProviderEvent:
    return ProviderEvent.objects.create(provider="demo", source="notification", raw=raw, note="unread: KeyError")


def refused(code: str, ids: list[int], by: User, note: str = "Vu") -> None:
    with pytest.raises(Refused) as refusal:
        mark_seen(ids=ids, note=note, by=by)
    assert refusal.value.code == code


def test_one_is_seen_from_its_page_with_a_note(operator: User) -> None:
    event, client = unread(), client_of(operator)
    seeing = f"{reverse('admin:checkout_providerevent_see')}?id={event.pk}"
    page = reverse("admin:checkout_providerevent_change", args=[event.pk])
    assert seeing in client.get(page).content.decode() and "Marquer le message comme vu" in text(client.get(seeing))
    for note, says in ((" ", "Écrivez ce qui a été fait"), ("x" * 201, "en 200 caractères au plus")):
        assert says in text(client.post(seeing, {"note": note}))
    assert ProviderEvent.objects.unread().get() == event
    said = text(client.post(seeing, {"note": "Refusé chez la banque"}, follow=True))
    assert "1 message marqué comme vu." in said and "Refusé chez la banque" in said
    assert not ProviderEvent.objects.unread().exists() and seeing not in client.get(page).content.decode()
    history = text(client.get(reverse("admin:checkout_providerevent_history", args=[event.pk])))
    assert "Vu : Refusé chez la banque" in history and operator.last_name in history
    assert "Aucun de ces messages" in text(client.post(seeing, {"note": "Encore"}, follow=True))


def test_several_are_seen_from_the_list(operator: User) -> None:
    rows = [unread(f"x{number}") for number in range(3)]
    known = ProviderEvent.objects.create(provider="demo", source="notification", raw="y", outcome="applied")
    client = client_of(operator)
    assert "3 Messages de prestataires à regarder" in text(client.get("/admin/"))
    asked = {"action": "see_selected", "_selected_action": [row.pk for row in [*rows[:2], known]]}
    answer = client.post(LIST, asked)
    assert answer.status_code == 302
    client.post(answer["Location"], {"note": "Vus"})
    assert ProviderEvent.objects.unread().get() == rows[2]
    assert text(client.get(LIST, {"lecture": "a-regarder"})).count("unread: KeyError") == 1
    assert text(client.get(LIST, {"lecture": "vus"})).count("unread: KeyError") == 2
    assert "Aucun de ces messages" in text(client.post(LIST, asked, follow=True))


def test_who_may_and_what(operator: User) -> None:
    event = unread()
    agent = agent_of(CommuneFactory())
    refused("not_yours", [event.pk], agent)
    refused("no_note", [event.pk], operator, " ")
    known = ProviderEvent.objects.create(provider="demo", source="notification", raw="y", outcome="applied")
    refused("seen", [known.pk], operator)
    assert mark_seen(ids=[event.pk, known.pk], note="Vu", by=operator) == 1
    refused("seen", [event.pk], operator)
    seeing = f"{reverse('admin:checkout_providerevent_see')}?id={event.pk}"
    assert client_of(agent).get(seeing).status_code in {403, 404}
    assert client_of(operator).get(f"{seeing}&id=²&id=9999999999999999999999").status_code == 302


def test_a_message_is_named_in_words_and_at_paris_time(operator: User) -> None:
    event, client = unread(), client_of(operator)
    with off("checkout.ProviderEvent:event_is_kept_raw"):
        ProviderEvent.objects.update(received_at="2026-07-06T10:05:00Z")
    event.refresh_from_db()
    words = text(client.get(reverse("admin:checkout_providerevent_change", args=[event.pk])))
    assert str(event) == "Carte bancaire (banque de démonstration), lundi 6 juillet à 12\u00a0h\u00a005"
    assert str(event).replace("\u00a0", " ") in words
    assert "message du prestataire" in words and "notification" not in words and "Payment" not in words
    listed = text(client.get(LIST))
    assert "banque de démonstration" in listed and "message du prestataire" in listed


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows the steps of a plan have looked at, those that they left out too."""
    here = sum(plan.get(key, 0) for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int(here * plan["Actual Loops"] + sum(map(rows_read, plan.get("Plans", []))))


@pytest.mark.parametrize("waiting", [0, 20])
def test_what_is_settled_is_not_read_again(waiting: int) -> None:
    """However many messages are kept, the page of the agglomération and the night read those that may wait."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO checkout_providerevent (provider, source, raw, stated, outcome, note, received_at)
            SELECT 'demo', 'notification', repeat(md5(n::text), 30), 'captured',
                CASE WHEN n <= %s THEN 'received' WHEN n %% 2 = 0 THEN 'applied' ELSE 'repeated' END,
                CASE WHEN n <= %s THEN 'unread: X' ELSE '' END, now() - n * interval '1 minute'
            FROM generate_series(1, 8000) n
            """,
            [waiting, waiting],
        )
        cursor.execute("ANALYZE checkout_providerevent")
    late = timezone.now() + dt.timedelta(hours=1)
    events: QuerySet[ProviderEvent] = ProviderEvent.objects.unread()
    assert events.count() == waiting
    for asked in (events, events.filter(received_at__lt=late), events.filter(received_at__lt=late, payment=None)):
        (plan,) = json.loads(asked.explain(format="json", analyze=True))
        assert rows_read(plan["Plan"]) < 12 * waiting + 12, plan
