"""Celery's part, without Celery: the tasks wait until the test says that a worker comes round."""

import urllib.error
from dataclasses import dataclass, field
from typing import Any

import pytest

from portal.demo import tasks as bank
from portal.outbox import tasks as outbox
from portal.outbox.actions import send_due


@dataclass
class Worker:
    """Keeps what the platform and the demonstration's bank ask of a worker; the outbox rows are their own list."""

    notifications: list[tuple[int, float]] = field(default_factory=list)  # the bank's payment, seconds to wait

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def keep(*, args: list[int], countdown: float) -> None:
            self.notifications.append((args[0], countdown))

        monkeypatch.setattr(outbox.sweep, "delay", lambda: None)
        monkeypatch.setattr(outbox.make_calls, "delay", lambda: None)
        monkeypatch.setattr(bank.notify, "apply_async", keep)

    def send_the_mail(self) -> int:
        return send_due()

    def deliver_notifications(self) -> list[Any]:
        """POST what the bank has to say to the platform, over HTTP; returns the status of each answer."""
        answers = []
        while self.notifications:
            payment, _countdown = self.notifications.pop(0)
            try:
                answers.append(bank.notify(payment))
            except urllib.error.HTTPError as error:
                answers.append(error.code)
        return answers
