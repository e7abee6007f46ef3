"""Processes are recognised by what they are, never by their number alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from portal.demo.processes import Lock, start, stop_noted, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_leftover_is_stopped(tmp_path: Path) -> None:
    child = start("dormeur", SLEEP, notes=tmp_path / "notes", log=tmp_path / "journaux" / "dormeur.log")
    assert stop_noted(tmp_path / "notes") == ["dormeur"]
    assert not psutil.pid_exists(child.pid)
    assert not list((tmp_path / "notes").iterdir())


def test_a_number_given_again_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        note = {"pid": stranger.pid, "argv": ["postgres", "-D", "/ailleurs"], "signal": int(signal.SIGTERM)}
        (tmp_path / "postgresql.json").write_text(json.dumps(note))
        assert stop_noted(tmp_path) == []
        assert stranger.poll() is None
        stranger.kill()


def test_a_broken_note_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "celery.json").write_text("{")
    assert stop_noted(tmp_path) == []


def test_children_of_a_child_go_with_it(tmp_path: Path) -> None:
    program = f"import subprocess, sys, time; p = subprocess.Popen({SLEEP!r}); print(p.pid, flush=True); time.sleep(60)"
    child = start("parent", [sys.executable, "-c", program], notes=tmp_path, log=tmp_path / "parent.log")
    while not (text := (tmp_path / "parent.log").read_text()):
        assert child.popen.poll() is None
    child.stop()
    grandchild = int(text)

    def gone() -> bool:
        return not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE

    assert wait_until(gone, 5)


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    child = start("sourd", [sys.executable, "-c", program], notes=tmp_path, log=tmp_path / "sourd.log")
    while not (tmp_path / "sourd.log").read_text():
        assert child.popen.poll() is None
    child.stop(timeout=0.3)
    assert child.popen.returncode == -signal.SIGKILL


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "verrou"), Lock(tmp_path / "verrou")
    assert first.acquire()
    assert not second.acquire()
    assert second.holder() == os.getpid()
    first.release()
    assert second.acquire()
    second.release()
