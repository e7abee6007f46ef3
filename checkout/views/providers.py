"""Where providers and the browsers they send back arrive. What they say is stored as it came, verified, then applied."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.views import current_user
from checkout.actions import apply_message
from checkout.actions.payment import Started
from checkout.actions.reconciliation import ask_provider
from checkout.models import Order, Payment, ProviderEvent
from checkout.providers import card_providers
from checkout.providers import provider as find_provider
from checkout.providers.base import Arrival, Forged, Ignored, Provider, RefundFailed, Unreachable
from checkout.refunds.actions import apply_failure

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 5  # less than it takes to try another card; of returns alone, the tasks ask when they like


@csrf_exempt  # the caller is the provider; its signature is what counts
@login_not_required
@require_POST
def notification(request: HttpRequest, provider: str) -> HttpResponse:
    """A provider's own message; 200 once it is stored and applied, 400 when it is not the provider's.

    503 when the provider has to be asked what it means and does not answer: it will say it again.
    """
    try:
        _payment, genuine = _receive(request, provider, ProviderEvent.NOTIFICATION)
    except Unreachable:
        return HttpResponse("later", status=503, content_type="text/plain")
    return HttpResponse("ok" if genuine else "invalid", status=200 if genuine else 400, content_type="text/plain")


@csrf_exempt  # some send their payer back with a form
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def back(request: HttpRequest, provider: str, reference: str) -> HttpResponse:
    """The browser's return. What it carries counts only where the provider has signed it; otherwise the provider is asked.

    It is the one GET that writes: nothing but what the provider states, once, whoever calls it how often; and of a payment
    that has ended it is asked at most each ASK_AGAIN_SECONDS.
    """
    known = get_object_or_404(Payment.objects.select_related("order"), reference=reference, provider=provider)
    if not _find(provider).signs_return:
        if known.status == Payment.Status.STARTED:
            _ask(known)
        if known.status == Payment.Status.STARTED:
            messages.info(
                request,
                _(
                    "La banque n’a pas encore confirmé ce paiement : nous le vérifions auprès d’elle toutes les deux minutes. "
                    "S’il aboutit, vous recevrez un courriel."
                ),
            )
        return _after(request, known)
    try:
        payment, genuine = _receive(request, provider, "return")
    except Unreachable:
        payment, genuine = None, False
    if genuine and payment is not None:
        return _after(request, payment)
    messages.error(
        request,
        _("Nous n’avons pas pu lire la réponse de la banque. Regardez l’état de votre commande : rien n’est perdu."),
    )
    return redirect("orders")


# Where the forms to be sent to a provider are kept between the press of « Payer » and the page that sends them.
DEPARTURES = "departures"


def leave(request: HttpRequest, started: Started) -> HttpResponse:
    """Send the browser to the provider; to the order when there is nothing more to pay.

    A form goes by a page of its own, so that coming back from the bank never sends « Payer » again.
    """
    departure = started.departure
    if departure is None:
        return redirect(started.order)
    if not departure.fields:
        return redirect(departure.url)
    # A token of its own: each press of « Payer » leads on by itself once, also the second one for the same order.
    kept = {"url": departure.url, "fields": dict(departure.fields), "token": get_random_string(12)}
    request.session[DEPARTURES] = {started.order.reference: kept}
    return redirect("payment_departure", started.order.reference)


def may_leave(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page whose form may end at a provider: browsers hold the policy of the page also against where a form leads."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: Any = view(request, *args, **kwargs)
        origins = [origin for provider in card_providers() for origin in provider.origins]
        if origins:
            response._csp_update = {"form-action": origins}
        left: HttpResponse = response
        return left

    return wrapper


@may_leave
@require_safe
def departure(request: HttpRequest, reference: str) -> HttpResponse:
    """The page that sends the form of a payment to its provider; the order itself when nothing waits to be sent."""
    order = get_object_or_404(Order.objects.of(current_user(request)), reference=reference)
    kept = request.session.get(DEPARTURES, {}).get(reference)
    if kept is None or not order.payments.awaiting_provider().exists():
        return redirect(order)
    return render(request, "checkout/leave.html", {"departure": kept, "order": order})


def _after(request: HttpRequest, payment: Payment) -> HttpResponse:
    """Where somebody who comes back from the bank reads how it ended."""
    may_still_pay = payment.status in Payment.WITHOUT_MONEY and timezone.now() < payment.page_closes_at
    if may_still_pay and cache.add(f"checkout.return:{payment.reference}", True, ASK_AGAIN_SECONDS):
        _ask(payment)  # another card may have paid on the same page since
    order = payment.order
    if payment.status == Payment.Status.CREDITED:
        messages.warning(
            request,
            _(
                "Votre carte a été débitée, mais la commande n’attendait plus ce règlement : la somme est dans votre porte-monnaie."
            ),
        )
    elif order.status == Order.Status.PENDING and payment.status in {Payment.Status.REFUSED, Payment.Status.ABANDONED}:
        refused = payment.status == Payment.Status.REFUSED
        messages.error(
            request,
            _("La banque a refusé le paiement. Rien n’a été débité.")
            if refused
            else _("Vous avez abandonné le paiement. Rien n’a été débité."),
        )
        return redirect("checkout_payment" if order.kind == Order.Kind.BOOKING else "wallet")
    return redirect(order)


def _ask(payment: Payment) -> None:
    """Ask the provider, and read what became of the payment and its order."""
    ask_provider(payment)
    payment.refresh_from_db()
    payment.order.refresh_from_db()


def _find(slug: str) -> Provider:
    try:
        return find_provider(slug)
    except KeyError as error:
        raise Http404 from error


def _receive(request: HttpRequest, slug: str, source: str) -> tuple[Payment | None, bool]:
    """Store what came, verify it, apply it. Returns the payment, and whether the message was the provider's."""
    provider = _find(slug)
    arrival = Arrival(query=request.META.get("QUERY_STRING", ""), body=request.body, headers=request.headers)
    event = ProviderEvent.objects.create(provider=slug, source=source, raw=arrival.raw)
    try:
        message = provider.read(arrival)
    except Forged as error:
        logger.warning("A forged %s of provider %s was rejected: %s", source, slug, error)
        event.outcome, event.note = ProviderEvent.Outcome.REJECTED, f"forged: {error}"[:200]
        event.save(update_fields=["outcome", "note"])
        return None, False
    except Ignored as error:
        event.note = f"{error}"[:200]
        event.save(update_fields=["note"])
        return None, True
    except Unreachable as error:  # it will be said again, or is asked for; else told by the nightly check
        event.note = f"{ProviderEvent.UNASKED} {error}"[:200]
        event.payment = Payment.objects.named(provider.about(arrival), provider=slug)
        event.save(update_fields=["note", "payment"])
        raise
    except Exception as error:  # a mistake of ours: told by the nightly check (checkout.overdue)
        event.note = f"{ProviderEvent.UNREAD} {type(error).__name__}"[:200]
        event.save(update_fields=["note"])
        raise
    if isinstance(message, RefundFailed):
        return apply_failure(failure=message, provider=slug, event=event), True
    return apply_message(message=message, provider=slug, event=event), True
