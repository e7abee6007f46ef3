"""The ground of every test: real PostgreSQL, real Valkey, a real browser, strict templates.

DATABASE_URL and REDIS_URL are used when they are set; otherwise the process that controls the run starts the embedded
servers once, and pytest-xdist's workers inherit their addresses. The settings are read when this file is imported, so
all of that happens at import.
"""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.demo import servers
from portal.demo.processes import Refusal
from tests import chromium

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # « gw3 » in a worker
resources = contextlib.ExitStack()


def prepare_environment() -> None:
    missing = {"DATABASE_URL", "REDIS_URL"} - {name for name in os.environ if os.environ[name]}
    if missing:
        try:
            os.environ.update(resources.enter_context(servers.throwaway(only=missing)))
        except Refusal as refusal:
            raise pytest.UsageError(str(refusal)) from None
    if WORKER:
        # Workers must not read each other's tasks; 16 databases is what a Redis has unless told otherwise.
        base = os.environ["REDIS_URL"].rsplit("/", 1)[0]
        os.environ["REDIS_URL"] = f"{base}/{(int(WORKER.removeprefix('gw')) + 1) % 16}"
    files = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="plateforme-citoyenne-fichiers-")))
    (files / "static").mkdir()
    os.environ.update(
        DJANGO_SETTINGS_MODULE="portal.settings",
        DEMO="on",
        DEBUG="off",
        SECRET_KEY="une clé qui ne sert que pendant les tests, assez longue",
        ALLOWED_HOSTS="127.0.0.1,localhost,testserver",
        SITE_URL="http://127.0.0.1:8000",
        CSRF_TRUSTED_ORIGINS="http://127.0.0.1:8000",
        BEHIND_PROXY="off",
        TRUSTED_PROXY_COUNT="0",
        HOLD_MINUTES="30",
        CARD_PROVIDERS="demo",
        DATABASE_POOL_SIZE="0",
        MEDIA_ROOT=str(files / "media"),
        STATIC_ROOT=str(files / "static"),
        CELERY_BEAT_SCHEDULE_FILENAME=str(files / "celerybeat"),
        # Playwright runs an event loop in the thread of the test, and Django then fears for its database connection.
        DJANGO_ALLOW_ASYNC_UNSAFE="true",
    )


prepare_environment()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let each worker read the settings from its own environment: with this name, pytest-django reads them before it."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


from django.conf import settings as django_settings  # noqa: E402

from tests import kept_tables, strict_templates  # noqa: E402

assert str(django_settings.MEDIA_ROOT) == os.environ["MEDIA_ROOT"], "the settings were read before their environment"

# Hashing a password well takes as long as a whole test.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Static files come from where they are written: no collectstatic before the tests.
django_settings.STORAGES = {
    **django_settings.STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


class CacheKeys:
    """Gives every test a cache of its own, without emptying a Redis that may be somebody's."""

    def __init__(self) -> None:
        self.test = uuid.uuid4().hex

    def __call__(self, key: str, prefix: str, version: int) -> str:
        return f"{self.test}:{prefix}:{version}:{key}"


cache_keys = CacheKeys()
django_settings.CACHES = {
    name: {**options, "KEY_FUNCTION": cache_keys} for name, options in django_settings.CACHES.items()
}

strict_templates.install(Path(django_settings.BASE_DIR) / "templates")


kept_tables.install()


def pytest_unconfigure() -> None:
    resources.close()


@pytest.fixture(scope="session", autouse=True)
def long_queue() -> Iterator[None]:
    """A hundred connections at once wait for their turn: Django's own server lets ten wait, and resets the others."""
    from django.core.servers.basehttp import WSGIServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WSGIServer, "request_queue_size", 128)
        yield


@pytest.fixture(autouse=True)
def _own_cache() -> None:
    cache_keys.test = uuid.uuid4().hex


@pytest.fixture(autouse=True)
def _broker_is_asked() -> None:
    """Whatever a test before did to its broker."""
    from portal.outbox.actions import pause

    pause.end()


@pytest.fixture(autouse=True)
def _strict_templates(request: pytest.FixtureRequest) -> Iterator[None]:
    """A page that prints or tests a variable nobody gave it fails its test, even where the error was swallowed."""
    if request.node.get_closest_marker("lenient_templates"):
        with strict_templates.lenient():
            yield
        return
    strict_templates.faults.clear()
    yield
    if strict_templates.faults:
        pytest.fail("; ".join(dict.fromkeys(strict_templates.faults)), pytrace=False)


# --- Browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    found = chromium.find()
    return {**browser_type_launch_args, "args": chromium.FLAGS, **({"executable_path": found} if found else {})}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, object]) -> dict[str, object]:
    return {**browser_context_args, "locale": "fr-FR", "timezone_id": "Europe/Paris"}
