"""Browsers in front of the whole platform: a live server, real PostgreSQL, the demonstration's data.

Every test starts from the same data and may change all of it. The demonstration is loaded once per process (four
seconds) into a database of its own, from which PostgreSQL makes a copy for each test (half a second: it copies files).
Neither of Django's ways would do: a transaction that is rolled back is invisible to the server's threads, and a flush
would throw the demonstration away, to be loaded again before each test.

Models are imported inside the fixtures: pytest reads this file before Django is ready.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import override_settings
from playwright.sync_api import expect

from tests.e2e.server import LiveServer
from tests.e2e.watch import Faults

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.e2e.steps import Visitor
    from tests.e2e.worker import Worker

NAME = str(connection.settings_dict["NAME"])[:30]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "seul")
DEMONSTRATION, COPY = f"{NAME}_demo_{WORKER}", f"{NAME}_essai_{WORKER}"

PATIENCE = 15_000  # milliseconds: two processes of tests and two browsers share the processors
MAILBOX = "portal.demo.mailbox.MailboxBackend"

expect.set_options(timeout=PATIENCE)


def maintain(*statements: str) -> None:
    """Run statements that make and drop databases, from outside of them."""
    connections.close_all()
    with connection._nodb_cursor() as cursor:  # as Django itself does for its test databases
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def using(name: str) -> Iterator[None]:
    """Point Django at another database: this thread, and every thread of the server from its next connection on."""
    from django.contrib.contenttypes.models import ContentType

    before = connection.settings_dict["NAME"]
    connections.close_all()
    connection.settings_dict["NAME"] = name  # one dictionary for the connections of all threads
    ContentType.objects.clear_cache()  # its keys are another database's
    try:
        yield
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = before
        ContentType.objects.clear_cache()


@pytest.fixture(scope="session")
def demonstration(django_test_environment: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a database that holds the demonstration as `make demo` shows it on its first day."""
    from django.core.management import call_command

    from portal.demo.data import load
    from tests.e2e.worker import Worker

    with django_db_blocker.unblock():
        maintain(f'DROP DATABASE IF EXISTS "{DEMONSTRATION}" WITH (FORCE)', f'CREATE DATABASE "{DEMONSTRATION}"')
        with using(DEMONSTRATION), pytest.MonkeyPatch.context() as patch, override_settings(EMAIL_BACKEND=MAILBOX):
            Worker().take_over(patch)
            call_command("migrate", verbosity=0)
            load(lambda _step: None)
            while Worker().send_the_mail():
                pass
    yield DEMONSTRATION
    with django_db_blocker.unblock():
        maintain(f'DROP DATABASE IF EXISTS "{DEMONSTRATION}" WITH (FORCE)')


@pytest.fixture(scope="session")
def server(django_test_environment: None) -> Iterator[LiveServer]:
    with LiveServer() as running:
        yield running


@pytest.fixture(autouse=True)
def site(demonstration: str, server: LiveServer, settings: Any, django_db_blocker: Any) -> Iterator[str]:
    """The address of the platform, fresh for this test; afterwards its books and its places still add up."""
    from checkout.verification import verify

    settings.EMAIL_BACKEND = MAILBOX  # Django's tests put another in its place
    settings.SITE_URL = server.url
    settings.CSRF_TRUSTED_ORIGINS = [server.url]
    with django_db_blocker.unblock():
        maintain(
            f'DROP DATABASE IF EXISTS "{COPY}" WITH (FORCE)', f'CREATE DATABASE "{COPY}" TEMPLATE "{demonstration}"'
        )
        try:
            with using(COPY):
                yield server.url
                differences = list(verify())
        finally:
            maintain(f'DROP DATABASE IF EXISTS "{COPY}" WITH (FORCE)')
    assert not differences, differences


@pytest.fixture
def database_url(site: str) -> str:
    """DATABASE_URL of this test's copy, for another process."""
    return os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{COPY}"


@pytest.fixture(autouse=True)
def worker(site: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """What a Celery worker would do, done when the test says so (test_worker.py starts a real one)."""
    from tests.e2e.worker import Worker

    stand_in = Worker()
    stand_in.take_over(monkeypatch)
    return stand_in


@pytest.fixture
def visit(site: str, new_context: Callable[..., BrowserContext]) -> Iterator[Callable[..., Visitor]]:
    """Open a browser of one's own: `visit()`, or `visit(user="parent@demo.example", javascript=False, width=390)`.

    Whatever the test is about, it fails when a page logs an error, breaks its Content-Security-Policy, misses a file
    or answers 500.
    """
    from tests.e2e.steps import Visitor

    faults = Faults()

    def open_browser(user: str = "", *, javascript: bool = True, width: int = 1280) -> Visitor:
        context = new_context(
            base_url=site,
            java_script_enabled=javascript,
            viewport={"width": width, "height": 900},
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        faults.watch(context)
        if user:
            context.add_cookies([session_cookie(user, site)])
        return Visitor(context.new_page(), javascript=javascript)

    yield open_browser
    faults.assert_none()


def session_cookie(email: str, site: str) -> Any:
    """Somebody signed in already: for the tests that are not about signing in."""
    from django.test import Client

    from accounts.models import User

    client = Client()
    client.force_login(User.objects.get(email=email))
    name = django_settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": site}
