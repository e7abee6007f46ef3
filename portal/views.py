"""The home page, the page that a load balancer asks, and what an unreadable request gets."""

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import TooManyFieldsSent
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.template.loader import get_template
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


@login_not_required
@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """200 while the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


def bad_request(_request: HttpRequest, exception: Exception) -> HttpResponse:
    """400. Rendered without the request: reading what it holds is what failed."""
    context = {"too_many": isinstance(exception, TooManyFieldsSent)}
    return HttpResponseBadRequest(get_template("400.html").render(context))
