"""The home page, the page that a load balancer asks, and what is said where there is none."""

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import TooManyFieldsSent
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.template.loader import get_template
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.defaults import page_not_found

from portal.common.errors import NulSent


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


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400. Rendered without the request, reading what it holds is what failed; of a NUL it was read."""
    nul = isinstance(exception, NulSent)
    if nul and (answer := _in_the_administration(request, "admin/400.html", _("Caractère illisible"), 400)):
        return answer
    context = {"too_many": isinstance(exception, TooManyFieldsSent), "nul": nul}
    return HttpResponseBadRequest(get_template("400.html").render(context))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404. Who works in the administration stays there, with a way back to the list that they were in, if it is theirs."""
    answer = _in_the_administration(request, "admin/404.html", _("Page introuvable"), 404)
    return answer or page_not_found(request, exception)


def _in_the_administration(request: HttpRequest, template: str, title: str, status: int) -> HttpResponse | None:
    """A page of the administration to who works there and asked for one of its addresses; None to everybody else."""
    home = reverse("admin:index")
    if not request.path.startswith(home) or not hasattr(request, "user") or not admin.site.has_permission(request):
        return None
    app, _sep, rest = request.path.removeprefix(home).partition("/")
    try:
        table = admin.site.get_model_admin(apps.get_model(app, rest.partition("/")[0]))
    except (LookupError, ValueError, NotRegistered):
        table = None
    opts = table.opts if table is not None and table.has_view_or_change_permission(request) else None
    context = {**admin.site.each_context(request), "title": title, "opts": opts}
    return render(request, template, context, status=status)
