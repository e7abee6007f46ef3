"""The catalogue: univers, then services, then what can be booked there."""

from django.contrib.auth.decorators import login_not_required
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from services.deadlines import sentence
from services.models import Activity, Category, Service, Subscription


@login_not_required
@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """The services of one univers, by commune."""
    univers = get_object_or_404(Category, slug=slug)
    services = (
        univers.services.filter(is_active=True)
        .select_related("commune")
        .prefetch_related(Prefetch("activities", Activity.objects.filter(is_active=True)))
        .order_by("commune__name_key", "name")
    )
    return render(request, "services/category.html", {"category": univers, "univers": slug, "services": services})


@login_not_required
@require_safe
def service(request: HttpRequest, slug: str) -> HttpResponse:
    """What can be booked in one service, and whether this person may."""
    found = get_object_or_404(Service.objects.select_related("commune", "category"), slug=slug, is_active=True)
    activities = list(found.activities.filter(is_active=True).with_deadlines().prefetch_related("slots"))
    for activity in activities:
        activity.service = found
    requests = []
    if request.user.is_authenticated:
        requests = list(Subscription.objects.of(request.user).filter(profile__service=found).select_related("profile"))
    return render(
        request,
        "services/service.html",
        {
            "service": found,
            "univers": found.category.slug,
            "offers": [(activity, sentence(activity.booking_rule)) for activity in activities],
            "waiting": any(row.status == Subscription.Status.PENDING for row in requests),
            "may_book": any(row.status == Subscription.Status.APPROVED for row in requests),
        },
    )
