"""Calls to providers happen after the commit, once for each key, again when nobody answers, and visibly when given up."""

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from portal.outbox import calls
from portal.outbox.models import Call

pytestmark = pytest.mark.django_db


class Server:
    """Somebody else's server: counts what it is asked, and may be down or broken."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.fails: Exception | None = None

    def __call__(self, *, payment: int) -> None:
        self.asked.append(payment)
        if self.fails:
            raise self.fails


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setitem(calls._handlers, "test", server)
    return server


def queue(key: str = "k", payment: int = 7) -> None:
    calls.queue_call(key=key, name="test", payload={"payment": payment})


def turn() -> None:
    Call.objects.update(next_attempt_at=timezone.now())


def test_a_call_is_made_and_marked(server: Server) -> None:
    queue()
    assert calls.make_due() == 1 and server.asked == [7]
    row = Call.objects.get()
    assert row.status == Call.Status.DONE and row.done_at and row.attempts == 1
    assert calls.make_due() == 0 and server.asked == [7]


def test_the_same_key_is_called_once(server: Server) -> None:
    queue()
    queue(payment=8)
    calls.make_due()
    queue()
    calls.make_due()
    assert server.asked == [7]


def test_nothing_is_called_for_a_change_that_was_undone(server: Server) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        queue()
        1 / 0  # noqa: B018
    assert calls.make_due() == 0 and server.asked == []


def test_a_name_that_nobody_handles_is_found_when_it_is_written() -> None:
    with pytest.raises(KeyError):
        calls.queue_call(key="k", name="nobody", payload={})


@pytest.mark.parametrize("fault", [calls.Later("down"), ValueError("a mistake of ours")])
def test_a_failed_call_waits_longer_each_time_and_then_for_an_operator(server: Server, fault: Exception) -> None:
    server.fails = fault
    queue()
    waits = []
    for _attempt in calls.BACK_OFF_MINUTES:
        turn()
        before = timezone.now()
        calls.make_due()
        row = Call.objects.get()
        assert row.status == Call.Status.WAITING
        waits.append(round((row.next_attempt_at - before) / dt.timedelta(minutes=1)))
    assert tuple(waits) == calls.BACK_OFF_MINUTES
    turn()
    calls.make_due()
    row = Call.objects.get()
    assert row.status == Call.Status.DEAD and str(fault) in row.last_error
    assert calls.make_due() == 0
    server.fails = None
    calls.try_again(call=row)
    assert calls.make_due() == 1 and Call.objects.get().status == Call.Status.DONE


def test_a_failed_call_keeps_nothing_of_what_it_wrote(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(*, payment: int) -> None:
        Call.objects.create(key="half", name="test", payload={})
        raise calls.Later("down")

    monkeypatch.setitem(calls._handlers, "test", half)
    queue()
    calls.make_due()
    assert not Call.objects.filter(key="half").exists()


@pytest.mark.django_db(transaction=True)
def test_workers_step_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers, one call: while the first waits for the answer the second finds nothing to do."""
    inside, go_on = threading.Event(), threading.Event()
    asked: list[int] = []

    def slow(*, payment: int) -> None:
        asked.append(payment)
        inside.set()
        assert go_on.wait(20)

    monkeypatch.setitem(calls._handlers, "test", slow)
    queue()
    made: dict[str, Any] = {}

    def first() -> None:
        made["first"] = calls.make_due()
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(20)
    assert calls.make_due() == 0
    go_on.set()
    thread.join(20)
    assert made == {"first": 1} and asked == [7]
