"""`make demo` as a person lives it: start, use, Ctrl-C, crash, start again, reset."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from portal.demo import run, servers
from portal.demo.processes import Refusal, start, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Machine:
    """A demonstration with a data folder and a port of its own."""

    home: Path
    port: int

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        # Not the tests' environment: their settings must not leak into it, and it may not count on them.
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env |= {
            "DEMO_DIR": str(self.home),
            "PORT": str(self.port),
            "DATABASE_URL": "postgres://ailleurs/production",
        } | extra
        return subprocess.Popen(
            [sys.executable, "-m", "portal.demo.run", *arguments],
            cwd=CHECKOUT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def until_ready(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Journaux :"):
                return "".join(lines)
        raise AssertionError("".join(lines))

    def refused(self, **extra: str) -> str:
        process = self.start(**extra)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output
        assert "Traceback" not in output
        return output.strip().splitlines()[-1]

    def processes(self) -> list[psutil.Process]:
        """All that lives of it: they name its folder on their command line or in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                inside = str(self.home) in " ".join(process.cmdline()) or process.environ().get("DEMO_DIR") == str(
                    self.home
                )
                if inside and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def gone(self) -> bool:
        return wait_until(lambda: not self.processes(), 5)

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return answer.read().decode()


@pytest.fixture
def machine() -> Iterator[Machine]:
    home = Path(tempfile.mkdtemp(prefix="pc-demo-", dir="/var/tmp"))
    machine = Machine(home, servers.free_port())
    yield machine
    for process in machine.processes():
        process.kill()
    shutil.rmtree(home, ignore_errors=True)


def test_a_whole_life(machine: Machine) -> None:
    first = machine.start()
    text = machine.until_ready(first)
    assert f"http://127.0.0.1:{machine.port}" in text
    assert all(login in text for login, _ in run.LOGINS)
    assert run.PASSWORD in text
    assert "Bienvenue" in machine.page("/")
    assert "courriel" in machine.page("/demo/courriels/").lower()

    # A second start of the same demonstration, on another port too, is told where it runs.
    assert f"tourne déjà sur http://127.0.0.1:{machine.port}" in machine.refused()
    assert "tourne déjà" in machine.refused(PORT=str(servers.free_port()))

    key = (machine.home / "cle-secrete").read_text()
    assert (machine.home / "cle-secrete").stat().st_mode & 0o077 == 0

    # Killed without a word: nothing of it survives for long, and the next start works on the same data.
    first.kill()
    first.wait()
    begun = time.monotonic()
    second = machine.start()
    text = machine.until_ready(second)
    assert time.monotonic() - begun < 20  # 10 on a machine that does nothing else; the other tests run beside this one
    assert "Fichiers statiques" not in text
    assert (machine.home / "cle-secrete").read_text() == key
    assert "Bienvenue" in machine.page("/")

    # One child dies: the others go too, and the terminal says which it was.
    worker = next(process for process in machine.processes() if "worker" in process.cmdline())
    worker.kill()
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "« celery » s'est arrêté (signal 9)" in output
    assert machine.gone()

    # Reset stops what runs, in order, and deletes this folder alone.
    third = machine.start()
    machine.until_ready(third)
    reset = machine.start("--reset")
    output, _ = reset.communicate(timeout=60)
    assert reset.returncode == 0, output
    output, _ = third.communicate(timeout=60)
    assert third.returncode == 0
    assert "Tout est arrêté" in output
    assert machine.gone()
    assert not machine.home.exists()
    with pytest.raises(urllib.error.URLError):
        machine.page("/")


@pytest.mark.parametrize("started", [2, 4], ids=["its first server", "more"])
def test_stopped_while_it_starts(machine: Machine, started: int) -> None:
    process = machine.start()
    assert wait_until(lambda: len(machine.processes()) >= started, 60)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGINT), output
    assert machine.gone()


def test_port_taken(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.port))
        taken.listen()
        assert machine.refused() == (
            f"Le port {machine.port} est déjà pris par un autre programme : choisissez-en un autre, par exemple "
            f"PORT={machine.port + 1 if machine.port < 65535 else 8001} make demo"
        )


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "80 80", "١٢٣"])
def test_a_port_that_is_none(port: str) -> None:
    with pytest.raises(Refusal, match="n'est pas un numéro de port"):
        run.parse_port(port)


def test_full_disk(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(path: object) -> object:
        return shutil._ntuple_diskusage(10**9, 10**9, 1000)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", usage)
    demo = run.Demo(machine.home, machine.port)
    with pytest.raises(Refusal, match="plus de place sur le disque"):
        demo.take_place()
    demo.lock.release()


def test_reset_deletes_only_a_demonstration(tmp_path: Path) -> None:
    (tmp_path / "thèse.odt").write_text("dix ans de travail")
    with pytest.raises(Refusal, match="rien n'a été effacé"):
        run.reset(tmp_path)
    assert (tmp_path / "thèse.odt").exists()


def test_production_variables_do_not_reach_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS", "CARD_PROVIDERS", "SECRET_KEY"):
        monkeypatch.setenv(name, "production")
    demo = run.Demo(machine.home, machine.port)
    env = demo.environment(servers.Postgres(machine.home), servers.Valkey(machine.home))
    assert "production" not in env.values()
    assert env["ALLOWED_HOSTS"] == "127.0.0.1,localhost"
    assert env["BIND"] == f"127.0.0.1:{machine.port}"


def test_static_files_are_collected_again_when_they_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("requirements-dev.lock", "portal/settings.py", "static/site.css"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(run, "CHECKOUT", tmp_path)
    before = run.static_fingerprint()
    assert run.static_fingerprint() == before
    (tmp_path / "static/site.css").write_text("ab")
    assert run.static_fingerprint() != before


def test_what_a_child_logs_as_an_error_is_shown(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    demo = run.Demo(machine.home, machine.port)
    log = machine.home / "gunicorn.log"
    program = (
        "print('2026-12-09 12:00:00,000 INFO portal tout va bien')\n"
        "print('2026-12-09 12:00:01,000 ERROR django.request Internal Server Error: /panier/')\n"
        "print('django.db.utils.OperationalError: the connection is lost')\n"
    )
    child = start("gunicorn", [sys.executable, "-c", program], notes=machine.home, log=log)
    child.popen.wait()
    demo.children.append(child)
    demo.show_faults()
    demo.show_faults()
    shown = capsys.readouterr().out
    assert shown.count("Internal Server Error: /panier/") == shown.count("the connection is lost") == 1
    assert "tout va bien" not in shown
