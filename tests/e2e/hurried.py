"""The platform's Celery with a beat that comes round each second instead of each minute: `celery -A tests.e2e.hurried beat`."""

from portal.celery import app

for name in ("outbox", "calls"):
    app.conf.beat_schedule[name]["schedule"] = 1
