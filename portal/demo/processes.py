"""Starting, recognising and stopping child processes, for the demonstration and for the tests' servers.

Every child has a session of its own, so that Ctrl-C reaches the supervisor alone and the children stop in order. A
supervisor killed with SIGKILL cannot stop anybody: on Linux the kernel then signals the children
(PR_SET_PDEATHSIG), and everywhere the next start finds them by their pid file. A pid alone proves nothing, numbers
are given again: a process counts as ours only while its command line is the one that was noted.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

PR_SET_PDEATHSIG = 1


class Refusal(Exception):
    """Something that the person at the terminal has to know: the message is a whole French sentence."""


def die_with_parent(signum: int) -> Callable[[], None] | None:
    """A hook run in the child before exec. It follows the *thread* that starts it: start children from the main one."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def hook() -> None:
        prctl(PR_SET_PDEATHSIG, signum)

    return hook


def identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """What subprocess needs to run a program as that user; None is whoever runs this."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


@dataclass
class Child:
    """A process that we started, and how to ask it to stop."""

    name: str
    popen: subprocess.Popen[bytes]
    note: Path
    log: Path
    stop_signal: int = signal.SIGTERM

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ask_to_stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(self.stop_signal)

    def stop(self, timeout: float = 10) -> None:
        """Stop it and all that it started; what does not leave in time is killed."""
        self.ask_to_stop()
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.note.unlink(missing_ok=True)


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    notes: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: pwd.struct_passwd | None = None,
    stdin: bytes | None = None,
    stop_signal: int = signal.SIGTERM,
    echo: bool = False,
) -> Child:
    """Start a child in its own session, and note it in `notes` for whoever comes after a crash.

    What it writes goes to `log`; with `echo`, its standard output goes to ours.
    """
    arguments = [str(argument) for argument in argv]
    notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        popen = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=None if echo else output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent(stop_signal),
            **identity(user),
        )
    note = notes / f"{name}.json"
    note.write_text(json.dumps({"pid": popen.pid, "argv": arguments, "signal": int(stop_signal)}))
    if stdin is not None and popen.stdin is not None:
        with contextlib.suppress(BrokenPipeError), popen.stdin:
            popen.stdin.write(stdin)
    return Child(name, popen, note, log, stop_signal)


def noted_process(note: Path) -> tuple[psutil.Process, int] | None:
    """The living process that a pid file names with its stop signal, or None: dead, or the number is somebody else's."""
    try:
        content = json.loads(note.read_text())
        process = psutil.Process(content["pid"])
        if process.status() != psutil.STATUS_ZOMBIE and process.cmdline() == content["argv"]:
            return process, content["signal"]
    except (OSError, ValueError, KeyError, psutil.Error):
        pass
    return None


def stop_noted(notes: Path, timeout: float = 15) -> list[str]:
    """Stop what an earlier run left behind; the names of what was still alive."""
    found = {note: process for note in sorted(notes.glob("*.json")) if (process := noted_process(note))}
    for process, signum in found.values():
        with contextlib.suppress(psutil.Error):
            process.send_signal(signum)
    _, alive = psutil.wait_procs([process for process, _ in found.values()], timeout=timeout)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    for note in notes.glob("*.json"):
        note.unlink(missing_ok=True)
    return [note.stem for note in found]


class Lock:
    """Held by the one supervisor of a folder; the kernel gives it back when the holder dies, whatever it died of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def holder(self) -> int | None:
        """The pid of the holder; meaningful only after acquire() was refused."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.path.read_text())
        return None


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.02) -> bool:
    """True as soon as the condition holds, False when the time is over."""
    for _ in ticks(timeout, pause):
        if condition():
            return True
    return condition()


def ticks(timeout: float, pause: float) -> Iterator[None]:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        yield
        time.sleep(pause)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, to be shown when something failed."""
    try:
        return "\n".join(log.read_text(errors="replace").rstrip().splitlines()[-lines:])
    except OSError:
        return ""
