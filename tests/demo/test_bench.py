"""`make bench` with tiny sizes: it measures everything, its accounts balance, and it leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from portal.demo.bench.__main__ import IDLE, Busy
from portal.demo.bench.fleet import Sample
from portal.demo.bench.measures import Row, quantile, rate
from portal.demo.bench.report import missed, table
from portal.demo.processes import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
MEASURES = (
    "Page de référence",
    "Accueil",
    "Calendrier de l’année, cantine, 2 enfants",
    "Calendrier de l’année, cantine, 6 enfants",
    "Mes réservations",
    "Ajout au panier de 4 lignes",
    "Ajout au panier de 280 lignes",
    "Paiement de 4 lignes",
    "Paiement de 280 lignes",
    "Parcours entier",
    "40 clients pour 20 places",
    "Prix d’un panier de 280 lignes",
    "Mémoire",
    "Plafond de PostgreSQL, 4 lignes payées",
    "À 1 et à 4 clients, par seconde",
    "Calendrier de l’année, cantine, 2 enfants, 100 réservations",
    "Calendrier de l’année, cantine, 6 enfants, 2000 réservations",
    "Mes réservations, 2000 réservations",
)


def start() -> subprocess.Popen[str]:
    # Its own servers, whatever this test run uses.
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "portal.demo.bench", "--quick", "--reservations", "2000"],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_measures_everything_and_its_accounts_balance() -> None:
    process = start()
    output, _errors = process.communicate(timeout=400)
    assert process.returncode == 0, output
    for measure in MEASURES:
        assert re.search(rf"^{measure}.*\d", output, re.M), (measure, output)
    # Figures of a smoke run mean nothing, but what they count does not depend on the machine.
    assert "✓ 20 vendues exactement" in output
    for aim in ("3", "14", "15", "20", "25"):
        assert f"✓ {aim} requêtes au plus" in output and f"MANQUÉ : {aim} requêtes" not in output
    assert "verify_ledger" in output


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stops_all_that_it_started(signum: int) -> None:
    process = start()
    assert process.stdout is not None
    for line in process.stdout:
        if "Base de données" in line:
            break
    started = family(process)
    assert len(started) >= 3  # PostgreSQL, Valkey, the loading of the year
    process.send_signal(signum)
    rest, _errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "tout est arrêté" in rest
    assert wait_until(lambda: not any(lives(child) for child in started), 10), started


def test_it_says_when_others_used_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Busy()
    # Ten seconds on two processors: 16 s of work, of which 4 were ours.
    monkeypatch.setattr(clock, "duration", lambda: 10.0)
    monkeypatch.setattr("portal.demo.bench.__main__.psutil.cpu_count", lambda: 2)
    monkeypatch.setattr(clock, "_all", lambda: clock.all + 16.0)
    monkeypatch.setattr("portal.demo.bench.__main__.spent", lambda: clock.ours + 4.0)
    busy, others = clock.shares()
    assert (busy, others) == (pytest.approx(0.8), pytest.approx(0.6)) and others > IDLE


class TestTable:
    def test_a_missed_aim_is_marked(self) -> None:
        reference, page = Row("Référence", median=2.0), Row("Calendrier", queries=9, median=50.0, p95=60.5)
        page.aim("moins de 30 ms", False)
        page.aim("12 requêtes au plus", True)
        lines = table([reference, page]).splitlines()
        assert "25,0" in lines[-1] and "60,5" in lines[-1]
        assert lines[-1].endswith("✗ MANQUÉ : moins de 30 ms ; ✓ 12 requêtes au plus")
        assert missed([reference, page]) == ["Calendrier : moins de 30 ms"]

    def test_figures(self) -> None:
        clients = [[Sample("read", 0.0, 0.5, 1.0, 200), Sample("read", 0.5, 1.0, 1.0, 200)]] * 2
        assert rate(clients) == 4.0
        assert quantile([4.0, 1.0, 2.0, 3.0], 0.95) == 4.0
