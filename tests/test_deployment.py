"""What a newcomer copies and starts: .env.example, docker-compose.yml and the settings fit together."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import environ
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SECRETS = {"SECRET_KEY": "f3" * 40, "POSTGRES_PASSWORD": "a1b2c3"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::(-|\?)([^}]*))?\}")


def example() -> dict[str, str]:
    """.env.example as copied: every line that is no comment."""
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def compose(variables: dict[str, str]) -> Any:
    """docker-compose.yml with these variables in their places, as `docker compose config` shows it."""

    def value(match: re.Match[str]) -> str:
        name, kind, other = match.groups()
        if found := variables.get(name):
            return found
        if kind == "-":
            return str(other)
        raise LookupError(name)

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(item) for key, item in node.items()}
        if isinstance(node, list):
            return [filled(item) for item in node]
        return VARIABLE.sub(value, node).replace("$$", "$") if isinstance(node, str) else node

    return filled(yaml.safe_load(COMPOSE))


def settings_with(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    shown = "import portal.settings as s; print(s.SITE_URL, s.ALLOWED_HOSTS, s.EMAIL_HOST, s.EMAIL_PORT, sep='|')"
    return subprocess.run(
        [sys.executable, "-c", shown],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_example_names_every_variable_of_compose() -> None:
    assert {match[1] for match in VARIABLE.finditer(COMPOSE)} <= set(example())


def test_the_example_names_every_variable_of_the_settings() -> None:
    read = re.findall(
        r"""(?:required|switch|number|env\.\w+)\(\s*"([A-Z_]+)\"""", (ROOT / "portal/settings.py").read_text()
    )
    assert len(read) > 15
    assert {name for name in read if not re.search(rf"\b{name}\b", EXAMPLE)} == set()


def test_both_readers_of_the_example_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose and the settings each read .env in their own way."""
    read: dict[str, str] = {}
    monkeypatch.setattr(environ.Env, "ENVIRON", read)
    environ.Env.read_env(ROOT / ".env.example")
    assert read == example()


@pytest.mark.parametrize("service", ["migrate", "web", "worker", "beat"])
@pytest.mark.parametrize("variables", [SECRETS, example() | SECRETS], ids=["secrets alone", "copied example"])
def test_what_is_copied_starts(service: str, variables: dict[str, str]) -> None:
    services = compose(variables)["services"]
    result = settings_with(services[service]["environment"])
    assert result.returncode == 0, result.stderr
    # The address that the proxy serves, a host that the site answers to, the mail catcher of this very file.
    assert result.stdout.strip() == "https://localhost:8443|['localhost']|mail|1025"
    assert "127.0.0.1:8443:8443" in services["proxy"]["ports"]
    assert "mail" in services and "https://localhost:8443 {" in (ROOT / "Caddyfile").read_text()


@pytest.mark.parametrize("name", SECRETS)
def test_compose_refuses_to_start_without_its_secrets(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        compose(example() | SECRETS | {name: ""})


def test_the_proxy_compresses_pages() -> None:
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in compose(SECRETS)["services"]["proxy"]["volumes"]
    assert re.search(r"^\s*encode .*gzip", (ROOT / "Caddyfile").read_text(), re.M)
