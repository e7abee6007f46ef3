"""Gunicorn's configuration, the same in the demonstration, in the container and elsewhere: gunicorn -c portal/gunicorn.py portal.wsgi

WEB_CONCURRENCY sets the number of workers (gunicorn reads it itself) and BIND the address.
"""

import gc
import os
from typing import Any

bind = os.environ.get("BIND", "127.0.0.1:8000")
# Synchronous workers: a request holds one database connection for as long as it lasts, and no longer.
worker_class = "sync"
if "WEB_CONCURRENCY" not in os.environ:
    workers = 2
# The application is loaded once, before the fork: workers share its memory and start at once.
preload_app = True
timeout = 60
graceful_timeout = 20
# A worker proves that it lives by touching a file: on a disk, a slow write would look like a dead worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
# By default gunicorn opens a control socket in the home folder of whoever starts it; nothing here uses it.
control_socket_disable = True
accesslog = "-" if os.environ.get("ACCESS_LOG", "off") == "on" else None

# A page makes tens of thousands of short-lived objects; Python's cycle collector, which starts by default each time 700
# more of them are alive, finds next to nothing and costs a tenth of the page.
gc.set_threshold(10_000, 10, 10)


def compile_templates() -> None:
    """Compile every template of the site once, instead of each with the first visit of each worker.

    The first page of a kind would otherwise take ten times as long, and the first e-mail too: long enough to tell.
    """
    from django.conf import settings
    from django.template.loader import get_template

    folder = settings.BASE_DIR / "templates"
    for path in sorted(folder.rglob("*.*")):
        get_template(str(path.relative_to(folder)))


def when_ready(server: Any) -> None:
    """Before the fork: what was loaded stays for good, so the collector of no worker looks at it or copies its memory."""
    compile_templates()
    gc.collect()
    gc.freeze()
