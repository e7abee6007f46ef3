"""A process of the platform that dies at a step that the test chooses: by SIGKILL, as by a power cut.

`python -m tests.faults.victim` sets Django up once and waits for orders, a line of JSON each; for each it forks a process
that does the work (a request, a task) on the test's database, and dies at the given step. A step is a moment between two
things that outlive the process: before and after each COMMIT, each writing statement outside a transaction, each
question to somebody else's server and its answer, each e-mail that leaves; with `every`, before and after each statement, too.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import django
from django.conf import settings

if TYPE_CHECKING:
    from accounts.models import User

PATIENCE_SECONDS = 60
ALIVE = 1789  # the advisory lock that a victim's connection shares for as long as the database server believes in it


@dataclass
class Steps:
    """Counts what is left behind, and ends the process when its time has come."""

    last: int
    every: bool
    passed: int = 0

    def step(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = function(*arguments, **options)
            self.step()
            return result

        return counted

    def watch(self) -> None:
        from django.core.mail import EmailMultiAlternatives
        from django.db import connection
        from django.db.backends.base.base import BaseDatabaseWrapper

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock_shared(%s)", [ALIVE])
        connection.execute_wrappers.append(self.statement)
        commits: Any = BaseDatabaseWrapper
        commits._commit = self.around(commits._commit)
        requests: Any = http.client.HTTPConnection
        requests.request = self.around(requests.request)
        requests.getresponse = self.around(requests.getresponse)
        letters: Any = EmailMultiAlternatives
        letters.send = self.around(letters.send)

    def statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        writes = not sql.lstrip().upper().startswith("SELECT")
        if self.every or (writes and not context["connection"].in_atomic_block):
            return self.around(execute)(sql, params, many, context)
        return execute(sql, params, many, context)


def work(order: Mapping[str, Any]) -> None:
    """Do what the order says, dying at its step."""
    from django.test import Client

    from accounts.models import User
    from checkout import tasks
    from checkout.regie import settlements
    from portal.outbox.actions import send_due
    from portal.outbox.calls import make_due
    from wallet.closings.actions import close_days

    for name, value in order["settings"].items():
        setattr(settings, name, value)
    browser = Client()
    if order.get("user"):
        browser.force_login(User.objects.get(pk=order["user"]))
    Steps(order["dies_at"], order["every"]).watch()
    match order["what"]:
        case "post":
            browser.generic("POST", order["path"], order["body"].encode("latin-1"), headers=order["headers"])
        case "get":
            browser.get(order["path"])
        case "reconcile":
            tasks.reconcile_payments()
        case "calls":
            make_due()
        case "mail":
            send_due()
        case "settle":
            content = order["content"].encode()
            settlements.post(provider=order["provider"], name="a.csv", content=content, by=by(order))
        case "close":
            close_days(until=dt.date.fromisoformat(order["until"]), by=by(order))


def by(order: Mapping[str, Any]) -> User:
    """The operator who does it."""
    from accounts.models import User

    return User.objects.get(pk=order["by"])


def main() -> None:
    django.setup()
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018  reads every view before the first fork
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                work(json.loads(line))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


@dataclass
class Victim:
    """The test's side: sends the orders. Used as a context."""

    settings: dict[str, Any]
    process: Any = field(default=None)

    def __enter__(self) -> Self:
        from django.db import connection

        address = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "DATABASE_URL": address},
            cwd=settings.BASE_DIR,
            text=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE_SECONDS)

    def dies(self, at: int, what: str, *, every: bool = False, **order: Any) -> bool:
        """Have the work done by a process that dies at step `at`; False when it had fewer steps and has ended well.

        Returns once the database server has noticed and taken back what was not committed: until then its rows stay locked,
        and who steps over locked rows (the outbox) would leave them to the next minute's sweep.
        """
        from django.db import connection

        said = {"what": what, "dies_at": at, "every": every, "settings": self.settings, **order}
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        assert code in {0, -signal.SIGKILL}, f"step {at} of {what} ended with {code}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s), pg_advisory_unlock(%s)", [ALIVE, ALIVE])
        return code != 0


if __name__ == "__main__":
    main()
