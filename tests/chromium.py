"""The browser of the tests: found where there is one, installed where there is none (`python -m tests.chromium`)."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",  # the sandbox needs rights that root and containers do not have; the tests visit our pages only
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # a container's /dev/shm is too small for a large page
    "--disable-sync",
    "--no-first-run",
]
ADVICE = (
    "Aucun Chromium ne fonctionne ici : installez-le par « sudo apt-get install chromium » (Debian) ou « sudo .venv/bin/python -m "
    "playwright install --with-deps chromium », ou donnez son chemin dans la variable CHROMIUM, puis relancez."
)


def starts(program: str) -> bool:
    """Whether it really is a browser: Ubuntu's chromium-browser may be a script that only speaks of snaps."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "Chrom" in done.stdout


@cache
def find() -> str | None:
    """The path of a working Chromium of this machine, or None: then Playwright's own is to be used."""
    if chosen := os.environ.get("CHROMIUM"):
        return chosen
    return next((path for name in NAMES if (path := shutil.which(name)) and starts(path)), None)


def launches() -> str | None:
    """None when a page can be shown, else what prevents it."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
            browser.new_page().set_content("<p>Bonjour")
            browser.close()
        except Error as error:
            return error.message
    return None


def on_debian() -> bool:
    """Debian proper: Ubuntu's package of that name is an empty shell around a snap."""
    try:
        return "\nID=debian\n" in "\n" + Path("/etc/os-release").read_text() + "\n"
    except OSError:
        return False


def run(*command: str) -> bool:
    print("  $", " ".join(command), flush=True)
    try:
        return subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode == 0
    except OSError:
        return False


def install() -> None:
    if os.geteuid() == 0 and on_debian() and shutil.which("apt-get"):
        # The package lists of a fresh container are empty, those of an old machine are stale.
        if run("apt-get", "install", "--yes", "--no-install-recommends", "chromium"):
            return
        if run("apt-get", "update") and run("apt-get", "install", "--yes", "--no-install-recommends", "chromium"):
            return
    with_system_libraries = ["--with-deps"] if os.geteuid() == 0 and shutil.which("apt-get") else []
    run(sys.executable, "-m", "playwright", "install", *with_system_libraries, "chromium")


def main() -> int:
    if os.environ.get("CHROMIUM") and not starts(os.environ["CHROMIUM"]):
        print(f"CHROMIUM={os.environ['CHROMIUM']} n'est pas un Chromium qui démarre.", file=sys.stderr)
        return 1
    # Starting it is the only proof; where one is found, that proof is left to the tests.
    if find() or launches() is None:
        return 0
    print("Chromium manque : installation…", flush=True)
    install()
    find.cache_clear()
    if obstacle := launches():
        print(f"\n{obstacle.splitlines()[0]}\n{ADVICE}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
