"""« Mes services », in the account and as the third step of signing up."""

from collections.abc import Sequence

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.actions import complete_signup
from accounts.middleware import signup_step
from accounts.models import User
from accounts.views import current_user, get_or_post
from portal.common.errors import Refused
from services.actions import ask_renewal, request_subscriptions
from services.models import Subscription
from services.subscription_forms import SubscriptionForm


@get_or_post
def subscriptions(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = SubscriptionForm(request.POST if request.method == "POST" else None, user=user)
    if form.is_valid():
        try:
            asked = request_subscriptions(user=user, profiles=form.cleaned_data["profiles"], by=user)
        except Refused as refused:
            form.add_error("profiles", list(refused.messages))
        else:
            _thank(request, asked)
            return redirect("subscriptions")
    return render(request, "services/subscriptions.html", {"form": form, "subscriptions": _of(user)})


@require_POST
def subscription_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask again for an access that was refused."""
    user = current_user(request)
    subscription = get_object_or_404(Subscription.objects.of(user).select_related("profile"), pk=pk)
    try:
        asked = request_subscriptions(user=user, profiles=[subscription.profile], by=user)
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        _thank(request, asked)
    return redirect("subscriptions")


@require_POST
def subscription_renew(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for another school year of an access."""
    subscription = get_object_or_404(
        Subscription.objects.of(current_user(request)).select_related("profile__service"), pk=pk
    )
    try:
        ask_renewal(subscription=subscription, by=current_user(request))
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        _thank(request, [subscription])
    return redirect("subscriptions")


@signup_step
@get_or_post
def signup_services(request: HttpRequest) -> HttpResponse:
    """The third step; « Terminer mon inscription » completes it, with or without a choice."""
    user = current_user(request)
    if user.is_approved and user.completed_at is not None:
        return redirect("subscriptions")
    form = SubscriptionForm(request.POST if request.method == "POST" else None, user=user, required=False)
    if form.is_valid():
        try:
            with transaction.atomic():
                request_subscriptions(user=user, profiles=form.cleaned_data["profiles"], by=user)
                complete_signup(user=user)
        except Refused as refused:
            form.add_error("profiles", list(refused.messages))
        else:
            return redirect("signup_done")
    return render(request, "services/subscriptions_signup.html", {"form": form, "subscriptions": _of(user)})


def _of(user: User) -> list[Subscription]:
    return list(
        Subscription.objects.of(user)
        .select_related("profile__service__commune")
        .order_by("profile__service__name", "profile__position", "pk")
    )


def _thank(request: HttpRequest, asked: Sequence[Subscription]) -> None:
    """Say whom these requests went to, in the words of the page of the service."""
    if not asked:
        messages.info(request, _("Ces services figurent déjà parmi vos demandes."))
        return
    one = (
        _("Votre demande est envoyée à la mairie. Vous recevrez un courriel dès qu’elle aura répondu.")
        if asked[0].profile.service.commune_id
        else _("Votre demande est envoyée à l’agglomération. Vous recevrez un courriel dès qu’elle aura répondu.")
    )
    many = _("Vos %d demandes sont envoyées. Vous recevrez un courriel à chaque réponse.") % len(asked)
    messages.success(request, one if len(asked) == 1 else many)
