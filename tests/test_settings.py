"""Settings refuse what must not run, in one sentence each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from portal.checks import demonstration_is_not_deployed, demonstration_stays_at_home, postgresql_is_recent

PRODUCTION = {
    "SECRET_KEY": "x" * 60,
    "DATABASE_URL": "postgres://portail@127.0.0.1:1/portail",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SITE_URL": "https://citoyens.exemple.fr",
    "ALLOWED_HOSTS": "citoyens.exemple.fr",
}


def load(**changes: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of their own, with this environment and no other."""
    environment = {name: value for name, value in (PRODUCTION | changes).items() if value}
    return subprocess.run(
        [sys.executable, "-c", "import portal.settings"],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=Path(settings.BASE_DIR),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_production_settings_load() -> None:
    result = load()
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
def test_a_missing_variable_is_named(name: str) -> None:
    result = load(**{name: ""})
    assert result.returncode and f"La variable d'environnement {name} manque" in result.stderr


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"DATABASE_URL": "sqlite:///db.sqlite3"}, "seul PostgreSQL 15"),
        ({"DATABASE_URL": "mysql://x@127.0.0.1/x"}, "seul PostgreSQL 15"),
        ({"DEMO": "on"}, "c'est refusé dès que ALLOWED_HOSTS"),
        ({"SITE_URL": "http://citoyens.exemple.fr"}, "commence par https://"),
    ],
)
def test_what_must_not_run_is_refused(changes: dict[str, str], words: str) -> None:
    result = load(**changes)
    assert result.returncode and words in result.stderr


def test_the_demonstration_stays_at_home(settings: pytest.FixtureRequest) -> None:
    assert demonstration_stays_at_home() == []
    settings.ALLOWED_HOSTS = ["citoyens.exemple.fr"]  # type: ignore[attr-defined]
    assert [error.id for error in demonstration_stays_at_home()] == ["portal.E001"]
    assert [error.id for error in demonstration_is_not_deployed()] == ["portal.E003"]


def test_the_demonstration_bank_is_refused_elsewhere(settings: pytest.FixtureRequest) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from checkout.providers import default_provider

    settings.DEMO = False  # type: ignore[attr-defined]
    assert [error.id for error in demonstration_stays_at_home()] == ["portal.E002"]
    with pytest.raises(ImproperlyConfigured):
        default_provider()


@pytest.mark.django_db
def test_an_old_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert postgresql_is_recent(databases=["default"]) == []
    monkeypatch.setattr("portal.checks.MINIMUM_POSTGRESQL", 990000)
    assert [error.id for error in postgresql_is_recent(databases=["default"])] == ["portal.E004"]
