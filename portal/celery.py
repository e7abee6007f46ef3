"""The Celery application: celery -A portal worker, celery -A portal beat."""

import os
from typing import Any

from celery import Celery
from celery.signals import celeryd_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@celeryd_init.connect
def _wait_for_work(conf: Any = None, **_options: Any) -> None:
    """A worker waits long for the broker's next word; the site, which only asks for a task, does not."""
    conf.broker_transport_options = {**conf.broker_transport_options, "socket_timeout": 30}
