"""`make` on a machine that has nothing yet: which Python, and what is said when something is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from portal.demo import install

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout without .venv, in a folder with a space in its name."""
    folder = tmp_path / "un dossier"
    (folder / "portal" / "demo").mkdir(parents=True)
    for name in ("Makefile", "requirements-dev.lock", "portal/demo/install.py"):
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


def tools(folder: Path, python: str = "") -> str:
    """A PATH with make and a python3 that behaves as the given shell text says, or none."""
    place = folder / "outils"
    place.mkdir(exist_ok=True)
    for name in ("sh", "make", "awk"):
        found = shutil.which(name)
        assert found
        (place / name).symlink_to(found)
    if python:
        (place / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (place / "python3").chmod(0o755)
    return str(place)


def make(folder: Path, **env: str) -> str:
    done = subprocess.run(["make", "check-style"], cwd=folder, env=env, text=True, capture_output=True)
    assert done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr


def test_no_python(fresh: Path) -> None:
    assert "Python 3.11 ou plus récent manque" in make(fresh, PATH=tools(fresh))


def test_old_python(fresh: Path) -> None:
    python = 'case "$*" in --version) echo "Python 3.9.2"; exit 0;; esac; exit 1'
    assert "Python 3.9.2 est trop ancien" in make(fresh, PATH=tools(fresh, python))


def test_python_without_venv(fresh: Path) -> None:
    python = 'case "$*" in *ensurepip*) exit 1;; esac; exit 0'
    assert "sudo apt-get install python3-venv" in make(fresh, PATH=tools(fresh, python))


def test_no_network(fresh: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    # Nothing listens on the discard port, and no package comes from a cache or a folder of this machine.
    env |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    error = make(fresh, **env)
    assert "Le dépôt de paquets ne répond pas" in error
    assert not (fresh / ".venv" / ".installed").exists()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "plus de place"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "empreinte différente"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError('<pip._vendor", "ne répond pas"),
        ("Temporary failure in name resolution", "ne répond pas"),
        ("ERROR: No matching distribution found for pikepdf==10.0", "pikepdf==10.0 n'existe pas pour cette machine"),
        ("something\nelse\naltogether", "altogether"),
    ],
)
def test_what_pip_says_becomes_a_sentence(output: str, sentence: str) -> None:
    assert sentence in install.cause(output)
