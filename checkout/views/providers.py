"""Where providers and the browsers they send back arrive. What they say is stored as it came, verified, then applied."""

import json
import logging

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from checkout.actions import apply_message
from checkout.models import Order, Payment, ProviderEvent
from checkout.providers import provider as find_provider
from checkout.providers.base import Forged

logger = logging.getLogger(__name__)


@csrf_exempt  # the caller is the provider; its signature is what counts
@login_not_required
@require_POST
def notification(request: HttpRequest, provider: str) -> HttpResponse:
    """A provider's own message; 200 once it is stored and applied, 400 when it is not the provider's."""
    body = request.body  # before POST: a multipart stream can be read once
    _payment, genuine = _receive(request, provider, request.POST.dict(), body, "notification")
    return HttpResponse("ok" if genuine else "invalid", status=200 if genuine else 400, content_type="text/plain")


@login_not_required
@require_safe
def back(request: HttpRequest, provider: str) -> HttpResponse:
    """The browser's return. The provider signed what it carries, so it is applied like a notification.

    It is the one GET that writes: nothing but what the provider states, once, whoever calls it how often.
    """
    payment, genuine = _receive(request, provider, request.GET.dict(), b"", "return")
    if not genuine or payment is None:
        messages.error(
            request,
            _(
                "Nous n’avons pas pu lire la réponse de la banque. Regardez l’état de votre commande : rien n’est perdu."
            ),
        )
        return redirect("orders")
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


def _receive(
    request: HttpRequest, slug: str, data: dict[str, str], body: bytes, source: str
) -> tuple[Payment | None, bool]:
    """Store what came, verify it, apply it. Returns the payment, and whether the message was the provider's."""
    try:
        provider = find_provider(slug)
    except KeyError as error:
        raise Http404 from error
    event = ProviderEvent.objects.create(provider=slug, source=source, raw=json.dumps(data, ensure_ascii=False)[:20000])
    try:
        message = provider.read(data, body)
    except Forged as error:
        logger.warning("A forged %s of provider %s was rejected: %s", source, slug, error)
        event.outcome, event.note = ProviderEvent.Outcome.REJECTED, f"forged: {error}"[:200]
        event.save(update_fields=["outcome", "note"])
        return None, False
    return apply_message(message=message, provider=slug, event=event), True
