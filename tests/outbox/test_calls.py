"""Calls to providers happen after the commit, once for each key, again when nobody answers, and visibly when given up."""

import datetime as dt
import threading
import time
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.utils import timezone

from portal.celery import app
from portal.outbox import back_off, calls, tasks
from portal.outbox.actions import queue_message
from portal.outbox.models import Call, Email

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


@pytest.mark.parametrize("fault", [calls.Later("down"), ValueError("a mistake of ours"), SoftTimeLimitExceeded()])
def test_a_failed_call_waits_longer_each_time_and_then_for_an_operator(server: Server, fault: Exception) -> None:
    server.fails = fault
    queue()
    waits = []
    for _attempt in back_off.BACK_OFF_MINUTES:
        turn()
        before = timezone.now()
        calls.make_due()
        row = Call.objects.get()
        assert row.status == Call.Status.WAITING
        waits.append(round((row.next_attempt_at - before) / dt.timedelta(minutes=1)))
    assert tuple(waits) == back_off.BACK_OFF_MINUTES
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


class TestADawdler:
    """A provider that takes its time holds up its own calls, never the e-mails."""

    def test_a_run_begins_no_call_once_its_time_is_over(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        def dawdle(*, payment: int) -> None:
            server(payment=payment)
            end = time.monotonic() + 0.05
            while time.monotonic() < end:
                pass

        monkeypatch.setitem(calls._handlers, "test", dawdle)
        for number in range(3):
            queue(f"k{number}", number)
        assert calls.make_due(seconds=0.05) == 1 and len(server.asked) == 1
        assert calls.make_due() == 2, "without an end the whole line is waited for"

    def test_the_worker_interrupts_a_call_that_never_ends(self) -> None:
        """Celery's soft limit raises in the call, which then waits as any that failed (above); the hard one comes later."""
        task = tasks.make_calls
        assert calls.RUN_SECONDS < task.soft_time_limit < task.time_limit < app.conf.task_time_limit

    def test_each_kind_is_swept_every_minute(self) -> None:
        every = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
        assert every["outbox.sweep"] == every["outbox.make_calls"] == 60

    @pytest.mark.django_db(transaction=True)
    def test_it_takes_one_process_and_the_e_mails_leave(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any, server: Server
    ) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        inside, go_on = threading.Event(), threading.Event()

        def hang(*, payment: int) -> None:
            server(payment=payment)
            inside.set()
            assert go_on.wait(20)

        monkeypatch.setitem(calls._handlers, "test", hang)
        for number in range(3):
            queue(f"k{number}", number)
        queue_message(key="mail", to="parent@exemple.fr", subject="Bonjour", body="Texte")
        made: list[int] = []

        def first() -> None:
            made.append(tasks.make_calls())
            connection.close()

        thread = threading.Thread(target=first)
        thread.start()
        try:
            assert inside.wait(20)
            assert tasks.make_calls() == 0 and server.asked == [0], "a second process does not hang beside it"
            assert tasks.sweep() == 1 and Email.objects.get().status == Email.Status.SENT
            monkeypatch.setitem(calls._handlers, "test", server)
            assert calls.make_due(limit=1) == 1, "without the guard the second process is with the provider, too"
        finally:
            go_on.set()
            thread.join(20)
        assert made == [2] and sorted(server.asked) == [0, 1, 2]
