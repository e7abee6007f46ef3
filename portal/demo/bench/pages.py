"""The reference page that every figure is compared with, and the header that says what a request cost."""

import time
from collections.abc import Callable
from decimal import Decimal

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test.utils import CaptureQueriesContext
from django.urls import path

from portal.demo.bench.browser import COUNT, CPU, QUERIES
from portal.installation import CATEGORIES
from portal.urls import urlpatterns as site
from services.models import Category

ROWS = 30


class CostMiddleware:
    """Outermost: says the worker's own processor time, and on request the SQL statements."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        begun = time.thread_time()
        if COUNT in request.headers:
            with CaptureQueriesContext(connection) as queries:
                response = self.get_response(request)
            response[QUERIES] = str(sum(row["sql"] not in ("BEGIN", "COMMIT") for row in queries.captured_queries))
        else:
            response = self.get_response(request)
        response[CPU] = f"{(time.thread_time() - begun) * 1000:.3f}"
        return response


@login_not_required
def reference(request: HttpRequest) -> HttpResponse:
    """The site's base template with a table of 30 rows; what its header shows is given, so that no query runs."""
    context = {
        "nav_categories": [Category(name=name, slug=slug, icon=icon) for name, slug, icon, _text in CATEGORIES],
        "cart_count": 4,
        "cart_lapsed": 0,
        "wallet_balance": Decimal("50.00"),
        "rows": [(number, f"Ligne {number}", Decimal(number)) for number in range(1, ROWS + 1)],
    }
    return render(request, "bench/reference.html", context)


urlpatterns = [path("bench/reference/", reference), *site]
