"""`make demo`: the whole platform on this machine, until Ctrl-C or SIGTERM; `make demo-reset`: its data deleted.

One supervisor starts PostgreSQL, Valkey, gunicorn, a Celery worker and beat, and stops them all when it is asked to or
when one of them ends. A file lock keeps two supervisors off one data folder.
"""

import argparse
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil

from portal.demo import servers
from portal.demo.processes import (
    Child,
    Lock,
    Refusal,
    start,
    stop_noted,
    tail,
    wait_until,
)
from portal.demo.progress import say, seconds, step

CHECKOUT = Path(__file__).resolve().parents[2]
DATABASE = "portail"
PASSWORD = "Velay-Demo-2026!"
LOGINS = [
    (
        "parent@demo.example",
        "parent de Louane et Théo, compte validé, 50 € dans le porte-monnaie",
    ),
    ("nouveau@demo.example", "usager dont le compte attend sa validation"),
    ("rosieres@demo.example", "agent de la mairie de Rosières (administration)"),
    ("aiguilhe@demo.example", "agent de la mairie d'Aiguilhe, encaisse au guichet (administration)"),
    ("chauffeur@demo.example", "conducteur de car : contrôle les cartes de transport, rien d'autre"),
    (
        "agglo@demo.example",
        "opérateur de l'agglomération, toutes les communes (administration)",
    ),
    ("tresorier@demo.example", "le second de l'agglomération, pour ce qui se décide à deux (administration)"),
]
SPACE_FIRST = 400 * 1024**2  # bytes that a first start writes, with room to work
SPACE_LATER = 50 * 1024**2
SPACE_LAST = 16 * 1024**2  # PostgreSQL asks for as much at once, for its log
FAULT = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC)\b|^Traceback|^[\w.]*(Error|Exception)\b")


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or the terminal is gone: an orderly end."""


class Signals:
    """Turns the stop signals into `Stopped`, but never between a process's start and its being noted."""

    def __init__(self) -> None:
        self._holding = 0
        self._received = False

    def install(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._handle)

    @staticmethod
    def ignore() -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._received = True
        if not self._holding:
            raise Stopped

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        if self._received and not self._holding:
            raise Stopped


class Demo:
    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.signals = Signals()
        self.lock = Lock(home / "verrou")
        self.postgres: servers.Postgres | None = None
        self.valkey: servers.Valkey | None = None
        self.children: list[Child] = []
        self.read: dict[Path, int] = {}  # how far each log has been shown
        self.env: dict[str, str] = {}

    # --- from start to end

    def run(self) -> None:
        begun = time.monotonic()
        self.signals.install()
        # A killed `make` cannot tell us anything: its child is then handed to another parent.
        parent = os.getppid() if "MAKELEVEL" in os.environ else None
        try:
            self.take_place()
            self.start_all()
            self.welcome(time.monotonic() - begun)
            self.watch(parent)
        finally:
            self.signals.ignore()
            self.stop_all()

    def take_place(self) -> None:
        servers.make_private(self.home, traversable=servers.as_root())
        if not self.lock.acquire():
            with contextlib.suppress(OSError):
                address = (self.home / "adresse").read_text()
                raise Refusal(
                    f"La démonstration tourne déjà sur {address} (processus {self.lock.holder()}) : Ctrl-C dans son terminal "
                    "l'arrête."
                )
            raise Refusal("La démonstration est déjà en train de démarrer dans un autre terminal.")
        if left := stop_noted(self.home / "processus"):
            say(f"  ✓ Restes d'un arrêt brutal nettoyés : {', '.join(left)}")
        self.check_port()
        first = not (self.home / "postgresql").exists()
        if shutil.disk_usage(self.home).free < (SPACE_FIRST if first else SPACE_LATER):
            raise Refusal(servers.no_space(self.home))
        (self.home / "adresse").write_text(self.address)
        logs = self.home / "journaux"
        if logs.is_dir():
            for log in logs.glob("*.log"):
                log.replace(log.with_suffix(".log.precedent"))
        logs.mkdir(mode=0o700, exist_ok=True)

    def check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except PermissionError as error:
                raise Refusal(
                    f"Le port {self.port} est réservé à l'administrateur : choisissez-en un au-dessus de 1024, par exemple "
                    "PORT=8001 make demo"
                ) from error
            except OSError as error:
                raise Refusal(
                    f"Le port {self.port} est déjà pris par un autre programme : choisissez-en un autre, par exemple "
                    f"PORT={self.port + 1 if self.port < 65535 else 8001} make demo"
                ) from error

    def start_all(self) -> None:
        say("Démarrage de la démonstration…")
        with step("PostgreSQL et Valkey"):
            with self.signals.held():
                self.valkey = servers.Valkey(self.home)
                self.valkey.launch()
                self.postgres = servers.Postgres(self.home)
                self.env = self.environment(self.postgres, self.valkey)
                static = self.start_collectstatic()
                self.postgres.launch()
            self.valkey.wait_ready()
            self.postgres.wait_ready()
            self.postgres.ensure_database(DATABASE)
        self.finish(
            self.start("preparation", "-m", "portal.demo.prepare", echo=True),
            "La base de données n'a pas pu être préparée",
        )
        if static is not None:
            with step("Fichiers statiques"):
                self.finish(static, "Les fichiers statiques n'ont pas pu être rassemblés")
                (self.home / "statiques.empreinte").write_text(static_fingerprint())
        with step("Site (gunicorn), tâches (Celery)"):
            web = self.start("gunicorn", "-m", "gunicorn", "-c", "portal/gunicorn.py", "portal.wsgi")
            celery = ["-m", "celery", "-A", "portal", "--quiet"]
            lean = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            self.start(
                "celery",
                *celery,
                "worker",
                "--concurrency=1",
                "--loglevel=INFO",
                "-n",
                "demo@%h",
                *lean,
            )
            self.start(
                "beat",
                *celery,
                "beat",
                "--loglevel=INFO",
                "--pidfile=",
                f"--schedule={self.home / 'celerybeat'}",
            )
            if not wait_until(lambda: web.popen.poll() is not None or self.answers(), 60, pause=0.05):
                raise Refusal(f"Le site ne répond pas sur {self.address}. Journal : {web.log}")
            self.check_children()

    def stop_all(self) -> None:
        busy = [
            *self.children,
            *(server.child for server in (self.valkey, self.postgres) if server and server.child),
        ]
        if busy:
            begun = time.monotonic()
            say("Arrêt…")
            for child in self.children:
                child.ask_to_stop()
            for child in self.children:
                child.stop(timeout=15)
            if self.valkey:
                self.valkey.stop()
            if self.postgres:
                self.postgres.stop()
            say(f"  ✓ Tout est arrêté ({seconds(time.monotonic() - begun)}) ; les données restent dans {self.home}")
        with contextlib.suppress(OSError):
            if self.lock.held:
                (self.home / "adresse").unlink(missing_ok=True)
        self.lock.release()

    # --- pieces

    def environment(self, postgres: servers.Postgres, valkey: servers.Valkey) -> dict[str, str]:
        # Whatever the shell or a .env file says: a demonstration with known passwords touches only its own database,
        # and answers only this machine.
        key = self.home / "cle-secrete"
        if not key.exists():
            descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(50))
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DEMO": "on",
            "DEBUG": "off",
            "SECRET_KEY": key.read_text(),
            "DATABASE_URL": postgres.url(DATABASE),
            "DATABASE_POOL_SIZE": "0",
            "REDIS_URL": valkey.url(),
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "SITE_URL": self.address,
            "CSRF_TRUSTED_ORIGINS": f"{self.address},http://localhost:{self.port}",
            "BEHIND_PROXY": "off",
            "TRUSTED_PROXY_COUNT": "0",
            "CARD_PROVIDERS": "demo",
            "STATIC_ROOT": str(self.home / "statiques"),
            "MEDIA_ROOT": str(self.home / "medias"),
            "CELERY_BEAT_SCHEDULE_FILENAME": str(self.home / "celerybeat"),
            "BIND": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": "2",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, name: str, *arguments: str, echo: bool = False) -> Child:
        with self.signals.held():
            child = start(
                name,
                [sys.executable, *arguments],
                notes=self.home / "processus",
                log=self.home / "journaux" / f"{name}.log",
                env=self.env,
                cwd=CHECKOUT,
                echo=echo,
            )
            self.children.append(child)
            return child

    def start_collectstatic(self) -> Child | None:
        """The slowest step of a first start, and one that needs no database: it runs beside the others."""
        with contextlib.suppress(OSError):
            if (self.home / "statiques.empreinte").read_text() == static_fingerprint():
                return None
        return self.start(
            "statiques",
            "manage.py",
            "collectstatic",
            "--noinput",
            "--clear",
            "--verbosity=0",
        )

    def finish(self, child: Child, failure: str) -> None:
        code = child.popen.wait()
        self.children.remove(child)
        child.note.unlink(missing_ok=True)
        if code:
            self.refuse_full_disk(child)
            say(tail(child.log, 15))
            raise Refusal(f"{failure} : le détail est ci-dessus, et dans {child.log}")

    def refuse_full_disk(self, child: Child) -> None:
        """A full disk shows in many ways, and seldom in the log of the one that fell first."""
        full = "No space left on device" in tail(child.log, 40)
        if full or shutil.disk_usage(self.home).free < SPACE_LAST:
            raise Refusal(servers.no_space(self.home))

    def answers(self) -> bool:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"{self.address}/sante/", timeout=5
            ).close()
        except urllib.error.HTTPError as answer:
            return answer.code < 500
        except OSError:
            return False
        return True

    def welcome(self, duration: float) -> None:
        width = max(len(login) for login, _ in LOGINS)
        say()
        say(f"La plateforme citoyenne est prête : {self.address}  ({seconds(duration)})")
        say(f"  Administration des mairies : {self.address}/admin/")
        say(f"  Courriels envoyés          : {self.address}/demo/courriels/")
        say()
        say(f"Comptes de démonstration, tous avec le mot de passe {PASSWORD}")
        for login, who in LOGINS:
            say(f"  {login.ljust(width)}  {who}")
        say()
        say(
            f"Journaux : {self.home / 'journaux'}. Ctrl-C arrête tout ; les données sont gardées (« make demo-reset » les efface)."
        )

    def watch(self, parent: int | None) -> None:
        while True:
            self.check_children()
            self.show_faults()
            if parent is not None and os.getppid() != parent:
                raise Stopped
            time.sleep(0.5)

    def check_children(self) -> None:
        ours = [
            *self.children,
            *(server.child for server in (self.postgres, self.valkey) if server and server.child),
        ]
        for child in ours:
            code = child.popen.poll()
            if code is not None:
                self.refuse_full_disk(child)
                say(tail(child.log))
                how = f"signal {-code}" if code < 0 else f"code {code}"
                raise Refusal(f"« {child.name} » s'est arrêté ({how}), la démonstration aussi. Journal : {child.log}")

    def show_faults(self) -> None:
        """Repeat on the terminal what a child wrote as an error: nobody reads five log files."""
        for child in self.children:
            with contextlib.suppress(OSError), child.log.open("rb") as log:
                log.seek(self.read.get(child.log, 0))
                lines = log.readlines()
                self.read[child.log] = log.tell()
                for line in lines:
                    text = line.decode(errors="replace").rstrip()
                    if FAULT.search(text):
                        say(f"  ! {child.name} : {text}")


def static_fingerprint() -> str:
    """Changes with whatever collectstatic reads or depends on."""
    digest = hashlib.sha256()
    sources = [CHECKOUT / "requirements-dev.lock", CHECKOUT / "portal" / "settings.py"]
    sources += sorted(path for path in (CHECKOUT / "static").rglob("*") if path.is_file())
    for path in sources:
        found = path.stat()
        digest.update(f"{path.relative_to(CHECKOUT)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def reset(home: Path) -> None:
    """Stop this demonstration if it runs, and delete its data: this folder, and nothing else."""
    if not home.exists():
        say("Rien à effacer : la démonstration n'a pas de données ici.")
        return
    lock = Lock(home / "verrou")
    if not lock.path.exists():
        raise Refusal(f"{home} n'est pas un dossier de la démonstration : rien n'a été effacé.")
    if not lock.acquire():
        holder = lock.holder()
        with step("Arrêt de la démonstration en cours"):
            with contextlib.suppress(psutil.Error):
                if holder and "portal.demo.run" in psutil.Process(holder).cmdline():
                    psutil.Process(holder).terminate()
            if not wait_until(lock.acquire, 45, pause=0.1):
                raise Refusal(f"La démonstration (processus {holder}) ne s'arrête pas : rien n'a été effacé.")
    stop_noted(home / "processus")
    with step(f"Effacement de {home}"):
        shutil.rmtree(servers.socket_folder(home), ignore_errors=True)
        shutil.rmtree(home)


def parse_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise Refusal(
            f"PORT={text} n'est pas un numéro de port : un nombre de 1 à 65535, par exemple PORT=8001 make demo"
        )
    return int(text)


def explain(error: OSError, home: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or home} n'est pas accessible ({error.strerror}) : vérifiez à qui est ce dossier, puis relancez."
    return f"La démonstration s'arrête sur une erreur du système : {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description="La démonstration de la plateforme citoyenne.")
    parser.add_argument(
        "--reset",
        action="store_true",
        help="arrête la démonstration et efface ses données",
    )
    options = parser.parse_args()
    home = servers.home(CHECKOUT)
    os.umask(0o077)
    try:
        if options.reset:
            reset(home)
        else:
            Demo(home, parse_port(os.environ.get("PORT") or "8000")).run()
    except (Stopped, KeyboardInterrupt):
        return 0
    except Refusal as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\n{servers.no_space(home) if servers.lacks_space(error) else explain(error, home)}", file=sys.stderr)
        return 1
    except Exception as error:
        if servers.lacks_space(error):
            print(f"\n{servers.no_space(home)}", file=sys.stderr)
            return 1
        journal = home / "journaux" / "demo.log"
        with contextlib.suppress(OSError):
            journal.write_text(traceback.format_exc())
        print(
            f"\nLa démonstration s'arrête sur une erreur imprévue ({error!r}). Journal : {journal}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
