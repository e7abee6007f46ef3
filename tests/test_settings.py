"""Settings refuse what must not run, in one sentence each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django.fixtures import Settings

from portal.checks import (
    card_providers_exist,
    demonstration_is_not_deployed,
    demonstration_stays_at_home,
    postgresql_is_recent,
)

PRODUCTION = {
    "SECRET_KEY": "x" * 60,
    "DATABASE_URL": "postgres://portail@127.0.0.1:1/portail",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SITE_URL": "https://citoyens.exemple.fr",
    "ALLOWED_HOSTS": "citoyens.exemple.fr",
}


def load(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of their own, with this environment and no other."""
    environment = {name: value for name, value in (PRODUCTION | changes).items() if value}
    return subprocess.run(
        [sys.executable, *(arguments or ("-c", "import portal.settings"))],
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


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS"])
def test_a_missing_variable_is_named(name: str) -> None:
    result = load(**{name: ""})
    assert result.returncode == 1 and result.stderr.startswith(f"La variable d'environnement {name} manque")


@pytest.mark.parametrize(
    "command",
    [
        "manage.py check",
        "manage.py migrate",
        "-m gunicorn -c portal/gunicorn.py --bind 127.0.0.1:0 portal.wsgi",
        "-m celery -A portal worker",
        "-m celery -A portal beat",
    ],
)
def test_every_process_says_it_in_one_line(command: str) -> None:
    result = load(*command.split(), SECRET_KEY="")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "SECRET_KEY manque" in result.stderr, result.stderr


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"DATABASE_URL": "sqlite:///db.sqlite3"}, "seul PostgreSQL 15"),
        ({"DATABASE_URL": "mysql://x@127.0.0.1/x"}, "seul PostgreSQL 15"),
        ({"DEMO": "on"}, "c'est refusé dès que ALLOWED_HOSTS"),
        ({"SITE_URL": "http://citoyens.exemple.fr"}, "commence par https://"),
        ({"HOLD_MINUTES": "abc"}, "HOLD_MINUTES vaut « abc »"),
        ({"HOLD_MINUTES": "0"}, "HOLD_MINUTES vaut « 0 » : il faut un nombre entier, 1 ou plus"),
        ({"TRUSTED_PROXY_COUNT": "-1"}, "TRUSTED_PROXY_COUNT vaut « -1 »"),
        ({"DATABASE_POOL_SIZE": "2,5"}, "DATABASE_POOL_SIZE vaut"),
        ({"BEHIND_PROXY": "onn"}, "BEHIND_PROXY vaut « onn »"),
        ({"DATABASE_URL": "postgres://u:a/b@127.0.0.1/x"}, "DATABASE_URL est illisible"),
        ({"EMAIL_URL": "mail.exemple.fr:25"}, "EMAIL_URL est illisible"),
        ({"LOG_LEVEL": "bavard"}, "LOG_LEVEL vaut « BAVARD »"),
    ],
)
def test_what_must_not_run_is_refused(changes: dict[str, str], words: str) -> None:
    result = load(**changes)
    assert result.returncode == 1 and words in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_the_demonstration_stays_at_home(settings: Settings) -> None:
    assert demonstration_stays_at_home() == []
    settings.ALLOWED_HOSTS = ["citoyens.exemple.fr"]
    assert [error.id for error in demonstration_stays_at_home()] == ["portal.E001"]
    assert [error.id for error in demonstration_is_not_deployed()] == ["portal.E003"]


def test_the_demonstration_bank_is_refused_elsewhere(settings: Settings) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from checkout.providers import default_provider

    settings.DEMO = False
    assert [error.id for error in demonstration_stays_at_home()] == ["portal.E002"]
    with pytest.raises(ImproperlyConfigured):
        default_provider()


def test_a_provider_without_a_module_is_refused(settings: Settings) -> None:
    assert card_providers_exist() == []
    settings.CARD_PROVIDERS = ["tirelire"]
    (error,) = card_providers_exist()
    assert error.id == "portal.E005" and "« tirelire »" in error.msg and "demo" in str(error.hint)
    settings.DEMO = False
    assert "demo" not in str(card_providers_exist()[0].hint)  # E002 would refuse it


def test_the_check_knows_the_providers() -> None:
    result = load("manage.py", "check", CARD_PROVIDERS="tirelire")
    assert result.returncode == 1 and "portal.E005" in result.stderr


@pytest.mark.parametrize("missing", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"])
def test_a_provider_without_its_secrets_is_refused(missing: str) -> None:
    secrets = {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": "whsec_x"}
    given = load("manage.py", "check", CARD_PROVIDERS="stripe", **secrets)
    assert given.returncode == 0, given.stderr
    result = load("manage.py", "check", CARD_PROVIDERS="stripe", **{**secrets, missing: ""})
    assert result.returncode == 1 and "portal.E006" in result.stderr and missing in result.stderr
    assert "sk_test_x" not in result.stderr and "whsec_x" not in result.stderr, "a secret is never shown"


PAYBOX = {
    "CARD_PROVIDERS": "paybox",
    "PAYBOX_SITE": "1999888",
    "PAYBOX_RANG": "32",
    "PAYBOX_IDENTIFIANT": "107904482",
    "PAYBOX_HMAC_KEY": "01" * 32,
}


def test_paybox_is_deployed_with_the_key_that_verifies_its_payments() -> None:
    for options in (["check", "--deploy"], ["check"]):
        result = load("manage.py", *options, DEBUG="off", DEMO="off", **PAYBOX)
        assert result.returncode == 1 and "portal.E006" in result.stderr and "PAYBOX_DIRECT_KEY" in result.stderr
    given = load("manage.py", "check", DEBUG="off", DEMO="off", **PAYBOX, PAYBOX_DIRECT_KEY="1999888I")
    assert given.returncode == 0, given.stderr
    assert load("manage.py", "check", **PAYBOX, PAYBOX_MODE="test").returncode == 0  # the bank's acceptance tests


def test_what_a_provider_was_given_and_cannot_be_right_is_refused() -> None:
    result = load("manage.py", "check", CARD_PROVIDERS="paybox,payfip", PAYBOX_SITE="12", PAYFIP_NUMCLI="abc")
    assert result.returncode == 1 and "PAYBOX_HMAC_KEY" in result.stderr
    assert "portal.E007" in result.stderr
    assert "PAYBOX_SITE doit être" in result.stderr and "PAYFIP_NUMCLI doit être" in result.stderr


@pytest.mark.django_db
def test_an_old_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert postgresql_is_recent(databases=["default"]) == []
    monkeypatch.setattr("portal.checks.MINIMUM_POSTGRESQL", 990000)
    assert [error.id for error in postgresql_is_recent(databases=["default"])] == ["portal.E004"]
