"""Lines of progress for whoever watches a terminal: a step, its seconds, and a sign of life while it lasts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEARTBEAT = 5.0  # seconds


def say(text: str = "") -> None:
    print(text, flush=True)


def seconds(duration: float) -> str:
    return f"{duration:.1f} s".replace(".", ",")


@contextmanager
def step(label: str) -> Iterator[Callable[[str], None]]:
    """« label… » at once, then the time it took; every few seconds in between, how long it has lasted.

    The block is given a function: what it says of its work stands in those lines.
    """
    begun = time.monotonic()
    over = threading.Event()
    doing = ""

    def now_doing(what: str) -> None:
        nonlocal doing
        doing = f", {what}"

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            say(f"    … {label}{doing} ({seconds(time.monotonic() - begun)})")

    say(f"  … {label}")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield now_doing
    finally:
        over.set()
    say(f"  ✓ {label} ({seconds(time.monotonic() - begun)})")
