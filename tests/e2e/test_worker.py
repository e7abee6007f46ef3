"""A real Celery worker in a process of its own, on the test's Redis and the test's copy of the database."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.app.routes import Router
from django.conf import settings as django_settings

from portal.celery import app
from portal.demo import processes
from portal.demo.models import Mail
from portal.outbox.models import Email
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.steps import Visitor

PATIENCE = 60  # seconds for a process to start on a busy machine and do its work


@pytest.fixture(autouse=True)
def worker(site: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[processes.Child]:
    """Takes the place of conftest's stand-in: tasks go to Redis, into a queue that only this worker reads."""
    queue = f"essai-{uuid.uuid4().hex}"
    here = [lambda *_task, **_options: {"queue": queue}]
    monkeypatch.setattr(app.amqp, "router", Router(here, app.amqp.queues, True, app))
    child = processes.start(
        "worker",
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "portal",
            "worker",
            "--queues",
            queue,
            "--concurrency",
            "1",
            "--loglevel",
            "INFO",
        ],
        notes=tmp_path / "notes",
        log=tmp_path / "worker.log",
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": django_settings.REDIS_URL,
            "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),
            "SITE_URL": site,
        },
        cwd=django_settings.BASE_DIR,
    )
    try:
        yield child
    finally:
        child.stop(timeout=20)
        print((tmp_path / "worker.log").read_text())  # shown when the test fails
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(queue)


def test_it_delivers_the_banks_notification_and_sends_the_e_mail(
    visit: Callable[..., Visitor], worker: processes.Child
) -> None:
    """The browser does not come back from the bank: what pays the order can only be the worker's POST."""
    baskets.fill_cart()
    who = visit(user=PARENT)
    who.open(PAYMENT_PAGE)
    who.press("Payer par carte")
    who.on("Payer 31,60 €")
    who.tick("Fermer le navigateur : ne pas revenir sur la plateforme")
    who.press("Payer")
    who.on("Le navigateur ne revient pas")
    order = baskets.orders().get()
    assert processes.wait_until(lambda: baskets.orders().filter(status="paid").exists(), PATIENCE), "not paid"
    assert baskets.paid_once(by="demo")
    who.open(order.get_absolute_url())
    steps.order_is_paid(who, "31,60 €")

    key = f"order:{order.pk}:paid"
    assert processes.wait_until(lambda: Email.objects.filter(key=key, status="sent").exists(), PATIENCE), "no e-mail"
    steps.open_mail(who, f"Votre commande {order.number} est payée", PARENT)
    who.reads("Vos réservations sont confirmées.")
    assert Mail.objects.filter(to=PARENT, subject__contains=order.number).count() == 1

    worker.stop(timeout=20)
    assert worker.popen.returncode == 0, "SIGTERM ends it in good order"
