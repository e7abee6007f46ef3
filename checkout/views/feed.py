"""Bookings in the calendar of one's phone: the page that gives and withdraws the address, and the file behind it."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.middleware import not_activity
from accounts.views import current_user
from bookings.feed_actions import close_feed, open_feed
from bookings.feeds import CalendarFeed
from bookings.ical import calendar_file, entries_of, fingerprint

# Between two questions a program need not ask again.
FRESH_SECONDS = 900


@require_http_methods(["GET", "HEAD", "POST"])
def feed(request: HttpRequest) -> HttpResponse:
    """The address and how to use it (GET); give one, another one, or withdraw it (POST, field `do`)."""
    user = current_user(request)
    if request.method == "POST":
        if request.POST.get("do") == "withdraw":
            if close_feed(user=user, by=user):
                messages.success(
                    request, _("L’adresse est retirée : plus aucun agenda ne lit vos réservations par elle.")
                )
        else:
            had_one = CalendarFeed.objects.of(user).exists()
            open_feed(user=user, by=user)
            messages.success(
                request,
                _("Voici votre nouvelle adresse. L’ancienne ne s’ouvre plus : remplacez-la dans vos agendas.")
                if had_one
                else _("Voici votre adresse d’agenda."),
            )
        return redirect("feed")
    found = CalendarFeed.objects.of(user).first()
    address = settings.SITE_URL + found.get_absolute_url() if found else ""
    context = {
        "feed": found,
        "address": address,
        "webcal": f"webcal://{address.partition('://')[2]}",
        "account_section": "reservations",
    }
    return render(request, "checkout/feed.html", context)


@login_not_required
@not_activity
@require_safe
def feed_file(request: HttpRequest, key: str) -> HttpResponse:
    """The iCalendar file behind a secret address; a withdrawn or forged one is a page that does not exist."""
    found = CalendarFeed.objects.with_key(key).select_related("user").first()
    if found is None or not (found.user.is_active and found.user.is_approved):
        raise Http404
    entries = entries_of(found.user)
    etag = quote_etag(fingerprint(entries))
    response = get_conditional_response(request, etag=etag) or HttpResponse(
        calendar_file(entries, host=urlsplit(settings.SITE_URL).hostname or "localhost"),
        content_type="text/calendar; charset=utf-8",
        headers={"ETag": etag, "Content-Disposition": 'inline; filename="reservations.ics"'},
    )
    patch_cache_control(response, private=True, max_age=FRESH_SECONDS)
    response["X-Robots-Tag"] = "noindex"
    return response
