"""Several client processes whose clients start at the same moment. Nothing of Django is imported here."""

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from portal.demo.bench.tasks import TASKS

START_DELAY = 0.2  # seconds that every process has to get ready for the common start


class Sample(NamedTuple):
    """One request of one client."""

    label: str
    begun: float
    ended: float
    cpu: float
    status: int

    @property
    def ms(self) -> float:
        return (self.ended - self.begun) * 1000


class Failure(Exception):
    """A client did not get the answer that it expected."""


class Fleet:
    """Client processes; a job is what one client has to do."""

    def __init__(self, processes: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._links: list[Connection] = []
        self._processes = []
        for _index in range(processes):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._links.append(ours)
            self._processes.append(process)

    def run(self, task: str, jobs: Sequence[dict[str, Any]]) -> list[list[Sample]]:
        """Prepare every job, then do them all at once; returns the samples of each client."""
        links = self._links[: len(jobs)]
        for index, link in enumerate(links):
            link.send(("prepare", task, jobs[index :: len(links)]))
        self._answers(links)
        start_at = time.perf_counter() + START_DELAY
        for link in links:
            link.send(("run", task, start_at))
        return [[Sample(*row) for row in client] for clients in self._answers(links) for client in clients]

    def close(self) -> None:
        for link in self._links:
            with contextlib.suppress(OSError):
                link.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()

    @staticmethod
    def _answers(links: Sequence[Connection]) -> list[Any]:
        answers = [link.recv() for link in links]
        for fault, _answer in answers:
            if fault:
                raise Failure(fault)
        return [answer for _fault, answer in answers]


def _serve(link: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's; closing the link ends this process
    clients: list[Any] = []
    with contextlib.suppress(EOFError, OSError):
        while True:
            order, task, argument = link.recv()
            if order == "prepare":
                clients = [TASKS[task](job) for job in argument]
                link.send(_all_at_once([client.prepare for client in clients], 0.0))
            else:
                link.send(_all_at_once([client.run for client in clients], argument))


def _all_at_once(functions: Sequence[Any], start_at: float) -> tuple[str, list[Any]]:
    answers: list[Any] = [None] * len(functions)
    faults: list[str] = []

    def call(index: int) -> None:
        time.sleep(max(0.0, start_at - time.perf_counter()))
        try:
            answers[index] = functions[index]()
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (faults[0] if faults else ""), answers
