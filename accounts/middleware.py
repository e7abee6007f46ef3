"""Who may go where before any view runs: idle people are signed out, unvalidated accounts stay in the lobby."""

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _

from portal.common.coming_back import page_of_ours

View = TypeVar("View", bound=Callable[..., Any])

SESSION_TOUCH_SECONDS = 60
LAST_SEEN_LENGTH = 12  # seconds since 1970; what is longer nobody of ours wrote
LAST_SEEN = "last_seen"  # cookie: when this browser's session was last prolonged; names nobody


def open_to_pending(view: View) -> View:
    """Mark a view that a signed-in person may use before the account is validated."""
    view.open_to_pending = True  # type: ignore[attr-defined]
    return view


def signup_step(view: View) -> View:
    """Mark a view as one of the three steps: open before validation, closed once the account is refused."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated and request.user.status == request.user.Status.REFUSED:
            return redirect("account_home")
        response: HttpResponse = view(request, *args, **kwargs)
        return response

    return open_to_pending(wrapper)  # type: ignore[return-value]


def not_activity(view: View) -> View:
    """Mark a view that a page calls by itself: it does not prolong the session."""
    view.not_activity = True  # type: ignore[attr-defined]
    return view


class IdleLogoutMiddleware:
    """Prolong the session of an active person, writing it at most once a minute; end one that was idle for too long.

    The stores and the browser forget a session two hours (SESSION_COOKIE_AGE) after its last write; what they still hand
    out is judged by the moment written in it. So that the person can be told why they are out, the browser keeps that
    moment by itself until it is closed.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "seen" in request.session and time.time() - request.session["seen"] > settings.SESSION_COOKIE_AGE:
            logout(request)
        idle = _was_idle(request)
        response = self.get_response(request)
        if request.user.is_authenticated:
            _note_last_seen(request, response)
        elif _leads_to_login(response) and request.method not in ("GET", "HEAD"):
            response = _refuse_to_write(request, response, idle=idle)
            response.delete_cookie(LAST_SEEN)
        elif LAST_SEEN in request.COOKIES and (not idle or request.path == resolve_url(settings.LOGIN_URL)):
            response.delete_cookie(LAST_SEEN)  # they left by themselves, or the page has just said it
        return response

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        if request.method == "GET" and request.path == resolve_url(settings.LOGIN_URL) and _was_idle(request):
            messages.info(request, _idle_sentence())
        if getattr(view, "not_activity", False) or not request.user.is_authenticated:
            return
        now = int(time.time())
        if now - request.session.get("seen", 0) >= SESSION_TOUCH_SECONDS:
            request.session["seen"] = now


def _was_idle(request: HttpRequest) -> bool:
    """Whether nobody is signed in because two hours have passed since somebody was."""
    seen = request.COOKIES.get(LAST_SEEN, "")
    if not (seen.isdecimal() and len(seen) <= LAST_SEEN_LENGTH) or request.user.is_authenticated:
        return False
    return time.time() - int(seen) > settings.SESSION_COOKIE_AGE


def _note_last_seen(request: HttpRequest, response: HttpResponse) -> None:
    seen = str(request.session.get("seen", ""))
    if seen and request.COOKIES.get(LAST_SEEN) != seen:
        response.set_cookie(
            LAST_SEEN,
            seen,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def _leads_to_login(response: HttpResponse) -> bool:
    return response.status_code == 302 and response["Location"].startswith(f"{resolve_url(settings.LOGIN_URL)}?next=")


def _refuse_to_write(request: HttpRequest, response: HttpResponse, *, idle: bool) -> HttpResponse:
    """Say that what was sent is not kept, and lead back to the page it was sent from: its own address may be POST only."""
    reason = _idle_sentence() if idle else _("Vous n’êtes pas connecté.")
    messages.warning(request, f"{reason} " + _("Rien n’a été enregistré : reconnectez-vous, puis recommencez."))
    return redirect_to_login(page_of_ours(request, request.headers.get("Referer", "")) or resolve_url("account_home"))


def _idle_sentence() -> str:
    return _("Vous avez été déconnecté après deux heures sans activité.")


class PrivatePagesMiddleware:
    """What a signed-in person sees is kept by no cache, the browser's own included.

    Going back after paying asks the server again, and going back after signing out shows nothing of a family to whoever
    sits there next.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_private = request.user.is_authenticated  # asked before a view that signs out
        response = self.get_response(request)
        if is_private or request.user.is_authenticated:
            patch_cache_control(response, private=True, no_store=True)
        return response


class ValidatedAccountMiddleware:
    """A person whose account is not validated sees where it stands and finishes signing up, nothing else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if not request.user.is_authenticated or request.user.is_approved:
            return None
        is_public = not getattr(view, "login_required", True)  # set by @login_not_required
        if is_public or getattr(view, "open_to_pending", False):
            return None
        messages.info(request, _("Cette page s’ouvrira quand votre compte aura été validé."))
        return redirect("account_home")
