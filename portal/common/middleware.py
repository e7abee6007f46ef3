"""The last net under the views: what none of them answered in words becomes a page."""

from collections.abc import Callable

from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render

from portal.common.errors import NulSent, Refused


class RefusedMiddleware:
    """Show the sentences of a Refused that a view let through (409), and a page where Django says nothing at all (405).

    A NUL that no form was there to refuse, and the database did, is what was sent, no fault of ours: 400.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Who opens the address of a form's button: a bookmark, the browser's history, a page restored.
        if isinstance(response, HttpResponseNotAllowed) and request.method == "GET" and not response.content:
            page = render(request, "not_allowed.html", status=405)
            page["Allow"] = response["Allow"]
            return page
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, DataError) and _holds_nul(request):
            raise NulSent from exception  # the site's handler of 400 says it
        if not isinstance(exception, Refused):
            return None
        return render(request, "refused.html", {"sentences": exception.messages}, status=409)


def _holds_nul(request: HttpRequest) -> bool:
    """Whether the address, the query or a field of what was sent holds a NUL."""
    sent = (value for data in (request.GET, request.POST) for pair in data.lists() for value in (pair[0], *pair[1]))
    return "\x00" in request.path or any("\x00" in value for value in sent)
