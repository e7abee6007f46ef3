"""The embedded PostgreSQL and Valkey: what they are to the machine they run on."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import environ
import psutil
import psycopg
import pytest

from portal.demo import servers
from portal.demo.processes import Refusal, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that the servers' user can reach, also when that is not us: pytest's own are closed to others."""
    folder = servers.make_private(Path(tempfile.mkdtemp(prefix="pc-essai-", dir="/var/tmp")), traversable=True)
    yield folder
    shutil.rmtree(folder)


def connect(url: str) -> psycopg.Connection:
    parts = environ.Env.db_url_config(url)
    return psycopg.connect(host=parts["HOST"], port=parts["PORT"], user=parts["USER"], dbname=parts["NAME"])


def test_throwaway_servers_answer_and_leave_nothing() -> None:
    with servers.throwaway() as variables:
        with connect(variables["DATABASE_URL"]) as connection:
            row = connection.execute("SELECT current_database(), upper('éàœ'), current_setting('fsync')").fetchone()
            pid = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row == ("portail", "ÉÀŒ", "off")
        assert pid is not None
        folder = Path(environ.Env.db_url_config(variables["DATABASE_URL"])["HOST"]).parent
        postmaster = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
    assert not folder.exists()
    assert not psutil.pid_exists(postmaster) or psutil.Process(postmaster).status() == psutil.STATUS_ZOMBIE


def test_only_what_is_asked_for_is_started() -> None:
    with servers.throwaway(only={"REDIS_URL"}) as variables:
        assert list(variables) == ["REDIS_URL"]


def test_postgres_is_closed_to_others(base: Path) -> None:
    with servers.Postgres(base) as postgres:
        postgres.ensure_database("essai")
        postgres.ensure_database("essai")
        with connect(postgres.url("essai")) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert stat.S_IMODE(postgres.run.stat().st_mode) == 0o700
        assert postgres.child is not None
        process = psutil.Process(postgres.child.pid)
        assert process.uids().real != 0
        assert not [link for link in process.net_connections("inet") if link.status == "LISTEN"]


def test_valkey_wants_its_password_and_listens_here_only(base: Path) -> None:
    with servers.Valkey(base) as valkey:
        with socket.create_connection(("127.0.0.1", valkey.port)) as link:
            link.sendall(b"PING\r\n")
            assert link.recv(100).startswith(b"-NOAUTH")
        assert valkey.child is not None
        process = psutil.Process(valkey.child.pid)
        assert valkey.password not in " ".join(process.cmdline())
        assert {link.laddr.ip for link in process.net_connections("inet")} == {"127.0.0.1"}
        assert urlsplit(valkey.url(3)).path == "/3"


def test_data_outlive_the_server(base: Path) -> None:
    for expected in (0, 1):
        with servers.Postgres(base) as postgres:
            postgres.ensure_database("essai")
            with connect(postgres.url("essai")) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS t (n int)")
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (expected,)
                connection.execute("INSERT INTO t VALUES (1)")


def test_locks_of_a_dead_server_do_not_matter(base: Path) -> None:
    """The pid they name lives, but is no PostgreSQL: a restarted container, or a zombie that nobody buries."""
    with servers.Postgres(base) as postgres:
        lock = (postgres.data / "postmaster.pid").read_text()
    lines = lock.split("\n")
    (postgres.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    (postgres.run / f"{servers.SOCKET}.lock").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with servers.Postgres(base) as postgres:
        postgres.ensure_database("essai")


def test_a_cluster_of_another_version_is_refused_in_one_sentence(base: Path) -> None:
    postgres = servers.Postgres(base)
    servers.make_server_folder(postgres.data)
    (postgres.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(Refusal, match=r"PostgreSQL 9, .*make demo-reset"):
        postgres.launch()
    (postgres.data / "PG_VERSION").unlink()
    (postgres.data / "base").mkdir()
    with pytest.raises(Refusal, match=r"PG_VERSION manque.*make demo-reset"):
        postgres.launch()


def test_a_damaged_cluster_is_refused_in_one_sentence(base: Path) -> None:
    with servers.Postgres(base) as postgres:
        pass
    (postgres.data / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with (
        pytest.raises(Refusal, match=r"PostgreSQL n'a pas démarré \(« .+ »\).*make demo-reset"),
        servers.Postgres(base),
    ):
        pass


def test_an_interrupted_creation_begins_again(base: Path) -> None:
    servers.make_server_folder(base / "postgresql.en-cours")
    (base / "postgresql.en-cours" / "PG_VERSION").write_text("18\n")
    with servers.Postgres(base) as postgres:
        postgres.ensure_database("essai")
    assert not (base / "postgresql.en-cours").exists()


def test_the_socket_of_a_deep_folder_is_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("un dossier " * 8)
    folder = servers.socket_folder(deep)
    assert len(os.fsencode(folder / servers.SOCKET)) < 100
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shutil.rmtree(folder.parent)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "cible"
    target.mkdir()
    (tmp_path / "lien").symlink_to(target)
    with pytest.raises(Refusal, match="appartient à un autre"):
        servers.make_private(tmp_path / "lien")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the next start stops them")
def test_a_killed_holder_takes_its_servers_along() -> None:
    program = (
        "import sys, time\nfrom portal.demo import servers\n"
        "with servers.throwaway() as variables:\n    print(variables['DATABASE_URL'], flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        folder = Path(environ.Env.db_url_config(holder.stdout.readline().strip())["HOST"]).parent
        pid = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        holder.send_signal(signal.SIGKILL)

    def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    assert wait_until(gone, 15)
    assert folder.exists()
    servers.sweep(folder.parent, folder.name)
    assert not folder.exists()
