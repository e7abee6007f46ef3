"""The broker is down while families pay: pages answer, and what must leave does once the broker is back.

Everything is a process of its own: gunicorn, a Celery worker, beat, and a Valkey that is stopped and started under them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.test import Client

from bookings.models import Booking
from checkout.actions import Means, pay
from checkout.actions.reconciliation import ask_provider
from checkout.models import Cart, Order, Payment, Refund
from portal.demo import processes, servers
from portal.demo.bench.browser import Browser
from portal.demo.bench.tasks import means
from portal.demo.models import BankRefund, Mail
from portal.outbox.models import Call, Email
from tests.e2e import baskets
from tests.e2e.baskets import PARENT, PAYMENT_PAGE
from tests.e2e.worker import Worker
from tests.faults.bank import call

PATIENCE = 60  # seconds for processes to start on a busy machine and do their work
ANSWERS_WITHIN = 10  # seconds for a page, on that machine; with the broker up or down
CANCEL = "/mon-compte/reservations/annuler/"


@contextmanager
def running(name: str, *arguments: str, folder: Path, env: dict[str, str]) -> Iterator[processes.Child]:
    child = processes.start(
        name,
        [sys.executable, "-m", *arguments],
        notes=folder / "notes",
        log=folder / f"{name}.log",
        env=env,
        cwd=django_settings.BASE_DIR,
    )
    try:
        yield child
    finally:
        child.stop(timeout=20)
        print(f"--- {name}", (folder / f"{name}.log").read_text(), sep="\n")  # shown when the test fails


@pytest.fixture
def valkey() -> Iterator[servers.Valkey]:
    with servers.throwaway_folder("courtier") as base, servers.Valkey(base) as valkey:
        yield valkey


@pytest.fixture
def platform(site: str, database_url: str, valkey: servers.Valkey, tmp_path: Path) -> Iterator[int]:
    """The port of a site whose cache, broker, worker and beat are on that Valkey."""
    port = servers.free_port()
    address = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.demo.bench.settings",  # production's, with static files as they are written
        "DATABASE_URL": database_url,
        "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),  # one shelf of papers for all, as in production
        "REDIS_URL": valkey.url(),
        "SITE_URL": address,
        "CSRF_TRUSTED_ORIGINS": address,
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "2",
        "CELERY_BEAT_SCHEDULE_FILENAME": str(tmp_path / "beat"),
    }
    celery = ["celery", "-A"]
    with ExitStack() as stack:
        for name, *arguments in (
            ("gunicorn", "gunicorn", "-c", "portal/gunicorn.py", "portal.wsgi"),
            ("worker", *celery, "portal", "worker", "--concurrency", "1", "--loglevel", "INFO"),
            ("beat", *celery, "tests.e2e.hurried", "beat", "--loglevel", "INFO", "--pidfile="),
        ):
            stack.enter_context(running(name, *arguments, folder=tmp_path, env=env))
        log = tmp_path / "worker.log"
        assert processes.wait_until(lambda: answers(port) and "succeeded" in log.read_text(), PATIENCE), "not started"
        yield port


def answers(port: int) -> bool:
    try:
        return Browser(port).get("/sante/", expect=None).status == 200
    except OSError:
        return False


def booked_by_card(worker: Worker) -> Booking:
    """A morning that the parent has paid by card, and of which nothing waits to leave."""
    baskets.fill_cart(1)
    cart = Cart.objects.get(user=baskets.parent(), status=Cart.Status.OPEN)
    started = pay(user=baskets.parent(), cart_id=cart.pk, means=Means.CARD, shown_total=Decimal("7.90"))
    assert started.departure is not None
    decision = {"outcome": "captured", "notification": "never", "stay": "on"}
    assert call(started.departure.url, urlencode(decision).encode()) == 200
    assert ask_provider(Payment.objects.get(order=started.order))
    while worker.send_the_mail():
        pass
    return Booking.objects.booked().get(order_lines__order=started.order)


def signed_in(port: int) -> Browser:
    client = Client()
    client.force_login(baskets.parent())
    return Browser(port, client.cookies["sessionid"].value)


def test_pages_answer_and_the_rest_leaves_later(worker: Worker, platform: int, valkey: servers.Valkey) -> None:
    booking = booked_by_card(worker)
    baskets.fill_cart(5)  # the first of these mornings is the booked one, and is left out
    browser = signed_in(platform)
    browser.get("/")

    valkey.stop()
    payment = browser.get(PAYMENT_PAGE)
    paid = browser.post(PAYMENT_PAGE, payment.token, means(payment))
    browser.get(paid.location)
    cancelling = browser.get(f"{CANCEL}?r={booking.pk}")
    browser.get(browser.post(CANCEL, cancelling.token, {"r": str(booking.pk), "vers": "carte"}).location)
    slowest = max(page.ended - page.begun for page in browser.pages)
    assert slowest < ANSWERS_WITHIN, f"{slowest:.1f} s"

    order = Order.objects.of(baskets.parent()).get(total=Decimal("31.60"))
    assert order.status == Order.Status.PAID and baskets.balance() == Decimal("18.40")
    letter, refund = Email.objects.get(key=f"order:{order.pk}:paid"), Refund.objects.get()
    order_to_bank = Call.objects.get(key=f"refund:{refund.reference}")
    assert (letter.status, order_to_bank.status, refund.status) == ("waiting", "waiting", "requested")
    assert not Mail.objects.filter(subject=letter.subject).exists() and not BankRefund.objects.exists()

    valkey.launch()
    valkey.wait_ready()
    assert processes.wait_until(lambda: Email.objects.filter(pk=letter.pk, status="sent").exists(), PATIENCE)
    assert processes.wait_until(lambda: Call.objects.filter(pk=order_to_bank.pk, status="done").exists(), PATIENCE)
    assert Mail.objects.filter(to=PARENT, subject=letter.subject).count() == 1
    assert BankRefund.objects.get().amount == Decimal("7.90")
    refund.refresh_from_db()
    assert refund.status == Refund.Status.DONE
    assert {page.status for page in browser.pages} == {200, 302}
