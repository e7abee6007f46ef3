"""Where somebody came from and goes back to: a page of ours, whatever the browser says."""

from urllib.parse import urlsplit, urlunsplit

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


def page_of_ours(request: HttpRequest, address: str) -> str:
    """The path (with what follows it) of the page of this site that an address names; empty for anything else.

    Only what begins with a slash is a page: Django's check lets `x` pass, which a redirect takes for the name of a view.
    """
    if not url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return ""
    path = urlunsplit(("", "", *urlsplit(address)[2:]))
    # Without its host, `http://ours//theirs` would be theirs.
    return path if path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None) else ""


def page_before(request: HttpRequest, *, otherwise: str) -> str:
    """The page of ours that a form says it stands on (field `back`), or the one of the name `otherwise`."""
    return page_of_ours(request, request.POST.get("back", "")) or resolve_url(otherwise)
