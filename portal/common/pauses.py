"""Leaving a server alone that does not answer: who waits for it once does not wait again at once."""

import time

SECONDS = 5.0


class Pause:
    """Of one server and one process: after a failure, `lasts` for SECONDS. Threads may share it."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        """The server has just failed to answer."""
        self._until = time.monotonic() + SECONDS

    def end(self) -> None:
        """It is asked again from now on."""
        self._until = 0.0

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self._until
