"""Make `.venv` and install the hash-pinned lock in it. Run by the Makefile with the machine's own python3.

It uses the standard library alone, and says in one sentence what went wrong: the network, the disk, a package that
this machine cannot have.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = CHECKOUT / "requirements-dev.lock"
STAMP = VENV / ".installed"
SPACE = 700 * 1024**2  # what the virtual environment takes, bytes

NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Network is unreachable|Connection refused|ConnectTimeout"
    r"|Read timed out|ReadTimeout|ProxyError|RemoteDisconnected|ConnectionReset|No route to host|Max retries exceeded"
    r"|CERTIFICATE_VERIFY_FAILED|SSLError|Could not fetch URL",
    re.IGNORECASE,
)


class Refusal(Exception):
    """A whole sentence for the person at the terminal."""


def say(text: str) -> None:
    print(text, flush=True)


def works(python: Path) -> bool:
    command = [str(python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def installed_version() -> str:
    command = [str(PYTHON), "-c", "import sys; print(sys.version_info[0], sys.version_info[1], sep='.')"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def mark() -> str:
    """What a finished installation is marked with: another lock or another Python means another installation."""
    return f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {installed_version()}"


def make_venv() -> None:
    begun = time.monotonic()
    say(f"Création de .venv (Python {sys.version.split()[0]})…")
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        if "No space left" in done.stdout:
            raise Refusal(no_space())
        raise Refusal(
            f"L'environnement .venv n'a pas pu être créé ({' '.join(done.stdout.split())[:200]}). Sous Debian ou Ubuntu : "
            "sudo apt-get install python3-venv"
        )
    say(f"  ✓ .venv ({time.monotonic() - begun:.0f} s)")


def no_space() -> str:
    return f"Il n'y a plus de place sur le disque qui porte {CHECKOUT} : libérez au moins 1 Go, puis relancez."


def install() -> None:
    begun = time.monotonic()
    total = len(re.findall(r"^[A-Za-z0-9][^ ]*==", LOCK.read_text(), flags=re.M))
    say(f"Installation de {total} paquets, versions et empreintes fixées par {LOCK.name}…")
    command = [str(PYTHON), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--requirement", str(LOCK)]
    # What a person's own pip settings say about *where* to install does not hold here.
    env = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PYTHONPATH")}
    env |= {"PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, errors="replace"
    )
    lines: list[str] = []
    doing = "connexion au dépôt de paquets"
    seen = 0
    over = threading.Event()

    def show() -> None:
        while not over.wait(3):
            say(f"  … {min(seen, total)}/{total} : {doing} ({time.monotonic() - begun:.0f} s)")

    threading.Thread(target=show, daemon=True).start()
    assert pip.stdout is not None
    for line in pip.stdout:
        lines.append(line.rstrip())
        if found := re.match(r"(Collecting|Processing|Requirement already satisfied:|Ignoring) ([^\s:;]+)", line):
            seen += 1
            doing = found.group(2).rpartition("/")[2]
        elif line.startswith("Installing collected"):
            doing = "mise en place"
        elif "Retrying" in line:
            doing = "le réseau ne répond pas, nouvel essai"
    code = pip.wait()
    over.set()
    if code:
        raise Refusal(cause("\n".join(lines)))
    say(f"  ✓ {total} paquets installés ({time.monotonic() - begun:.0f} s)")


def cause(output: str) -> str:
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return no_space()
    if "DO NOT MATCH THE HASHES" in output:
        return (
            "Un paquet reçu n'est pas celui que requirements-dev.lock attend (empreinte différente) : rien n'a été installé ; "
            "relancez, et si cela se répète, méfiez-vous du dépôt de paquets configuré."
        )
    if NETWORK.search(output):
        return (
            "Le dépôt de paquets ne répond pas : vérifiez la connexion au réseau (et le mandataire : HTTPS_PROXY, pip config), "
            "puis relancez."
        )
    if missing := re.search(r"No matching distribution found for (\S+)", output):
        return (
            f"Le paquet {missing.group(1)} n'existe pas pour cette machine ({os.uname().sysname} {os.uname().machine}, Python "
            f"{sys.version.split()[0]}), ou le dépôt de paquets configuré ne l'a pas."
        )
    return "L'installation a échoué :\n" + "\n".join(output.splitlines()[-12:])


def main() -> int:
    try:
        if works(PYTHON) and STAMP.is_file() and STAMP.read_text() == mark():
            STAMP.touch()
            return 0
        if shutil.disk_usage(CHECKOUT).free < SPACE and not STAMP.exists():
            raise Refusal(no_space())
        if not works(PYTHON):
            make_venv()
        install()
        STAMP.write_text(mark())
    except Refusal as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\n{no_space() if error.errno == 28 else f'L’installation a échoué : {error}'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
