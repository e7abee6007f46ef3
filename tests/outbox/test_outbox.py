"""E-mails leave after the commit, once, again when the server was down, and visibly when it stays down."""

import datetime as dt
import time
from itertools import pairwise
from pathlib import Path
from smtplib import SMTPServerDisconnected
from typing import Any

import pgtrigger
import pytest
from django.conf import settings
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import DatabaseError, transaction
from django.utils import timezone

from portal.celery import app
from portal.outbox import actions, attachments, back_off
from portal.outbox.models import Email

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", sorted(settings.BASE_DIR.glob("templates/emails/*.txt")), ids=lambda path: path.stem)
def test_the_address_of_the_wallet_says_what_it_is(path: Path) -> None:
    """A bare address in a letter about money is what a thief would send."""
    lines = path.read_text().splitlines()
    for before, line in pairwise(lines):
        assert not line.startswith('{{ site_url }}{% url "wallet" %}') or before.endswith(':" %}'), line


def test_an_attachment_that_nobody_makes_is_found_at_the_writing() -> None:
    with pytest.raises(KeyError, match="nothing"):
        actions.queue_message(key="k", to="a@exemple.fr", subject="x", body="y", attachment="nothing:1")
    assert not Email.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["is_ready", "make", "read"])
@pytest.mark.parametrize("fault", [RuntimeError("a mistake of ours"), KeyError("renamed"), DatabaseError("gone")])
def test_one_e_mail_that_cannot_be_made_holds_up_no_other(
    step: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_subject: str) -> Any:
        if isinstance(fault, DatabaseError):
            Email.objects.raw("SELECT nothing")[0]
        raise fault

    steps = {"is_ready": lambda _subject: step != "make", "make": fails, "read": fails} | {step: fails}
    monkeypatch.setitem(attachments._makers, "broken", attachments.Maker(**steps))
    actions.queue_message(key="broken", to="a@exemple.fr", subject="x", body="y", attachment="broken:1")
    queue("behind")
    assert actions.send_due() == 1
    broken, behind = Email.objects.order_by("pk")
    assert (behind.status, broken.status, broken.attempts) == ("sent", "waiting", 1)
    assert broken.last_error and broken.next_attempt_at > timezone.now()


@pytest.fixture(autouse=True)
def _mail(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def queue(key: str = "k") -> None:
    actions.queue_message(key=key, to="parent@exemple.fr", subject="Bonjour\nà vous", body="Texte")


def test_an_e_mail_is_sent_and_marked() -> None:
    queue()
    assert actions.send_due() == 1
    row = Email.objects.get()
    assert row.status == Email.Status.SENT and row.sent_at and mail.outbox[0].subject == "Bonjour à vous"


def test_the_same_key_is_written_once() -> None:
    queue()
    queue()
    actions.send_due()
    queue()
    assert actions.send_due() == 0 and len(mail.outbox) == 1


def test_a_copy_would_carry_the_same_message_id() -> None:
    queue()
    actions.send_due()
    with pgtrigger.ignore("outbox.Email:email_transitions"):
        Email.objects.update(status=Email.Status.WAITING, sent_at=None)  # the mark was lost in a crash
    actions.send_due()
    first, second = (message.extra_headers["Message-ID"] for message in mail.outbox)
    assert first == second


def test_a_rolled_back_change_writes_to_nobody() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        queue()
        1 / 0  # noqa: B018
    assert actions.send_due() == 0


def test_a_server_that_is_down_is_tried_again_later_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(self: EmailBackend, messages: object) -> int:
        raise SMTPServerDisconnected("down")

    queue()
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", down)
        for _attempt in range(len(back_off.BACK_OFF_MINUTES)):
            Email.objects.update(next_attempt_at=timezone.now())
            assert actions.send_due() == 0
            row = Email.objects.get()
            assert row.status == Email.Status.WAITING and row.next_attempt_at > timezone.now()
        Email.objects.update(next_attempt_at=timezone.now() - dt.timedelta(minutes=1))
        actions.send_due()
    row = Email.objects.get()
    assert row.status == Email.Status.DEAD and "down" in row.last_error
    actions.retry(email=row)
    assert actions.send_due() == 1


def test_an_apostrophe_arrives_as_one() -> None:
    from tests.factories import UserFactory

    user = UserFactory(last_name="d'Arsac & fils")
    actions.queue_email(key="a", to=user.email, template="signup_completed", context={"user": user})
    assert "d'Arsac & fils" in Email.objects.get().body


def test_the_page_does_not_wait_for_a_broker_that_is_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    """A poke that fails is a line in the log; the sweep sends the e-mail (settings: one quick try)."""
    monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    start = time.monotonic()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        queue()
    assert len(callbacks) == 1 and "does not answer" in caplog.text
    assert time.monotonic() - start < 1
    caplog.clear()
    with django_capture_on_commit_callbacks(execute=True):
        queue("second")  # is not even asked for a while
    assert "does not answer" not in caplog.text
    actions.pause.end()
    with django_capture_on_commit_callbacks(execute=True):
        queue("third")
    assert "does not answer" in caplog.text
    assert actions.send_due() == 3
