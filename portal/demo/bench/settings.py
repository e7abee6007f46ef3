"""Settings of the measured site: those of production, with a reference page and a header that tells a request's cost.

The files' fingerprints (collectstatic) are left out: they change no page's cost, and the bench asks for no file.
"""

from portal.settings import *  # noqa: F403
from portal.settings import BASE_DIR, MIDDLEWARE, STORAGES, TEMPLATES

ROOT_URLCONF = "portal.demo.bench.pages"
MIDDLEWARE = ["portal.demo.bench.pages.CostMiddleware", *MIDDLEWARE]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
TEMPLATES[0]["DIRS"] = [BASE_DIR / "portal/demo/bench/templates", *TEMPLATES[0]["DIRS"]]
